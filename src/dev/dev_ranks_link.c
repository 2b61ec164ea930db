/* SPDX-License-Identifier: MIT
 * dev_ranks_link.c - GATHER, SEND and RECEIVE between processes. */
#include "dev/dev_ranks_int.h"

#include "base/arena.h"
#include "base/num.h"

#include <string.h>

/* Rows' numbers [from, to) to or from one place behind the other. */
static void copy_part(float *packed, float *rows, size_t stride, size_t n_rows, size_t from,
                      size_t to, bool in)
{
    size_t n = to - from;
    for (size_t r = 0; r < n_rows; r++) {
        float *at = rows + r * stride + from;
        if (in)
            memcpy(packed + r * n, at, n * sizeof *at);
        else
            memcpy(at, packed + r * n, n * sizeof *at);
    }
}

static float *packed_of(struct ranks_link *l, size_t n)
{
    if (n > l->packed_n) {
        l->packed = mem_grow(l->packed, n * sizeof *l->packed);
        l->packed_n = n;
    }
    return l->packed;
}

/* One row is sent from where it lies, many go through `packed`: first the rank's own part, then
 * those of the others in order. */
static bool gather(void *arg, const struct plan_op *op, float *rows, size_t stride, size_t n_rows)
{
    struct ranks_link *l = arg;
    struct ranks_io io[2 * RANKS_MAX];
    const size_t *b = op->bounds;
    size_t n = l->of.tensor, me = l->rank % n, first = l->rank - me, n_io = 0;
    bool one = n_rows == 1, sends = !op->to_first || me > 0, takes = !op->to_first || me == 0;
    float *packed = one ? rows : packed_of(l, op->n * n_rows);
    float *own = one ? rows + b[me] : packed, *at = packed + (b[me + 1] - b[me]) * n_rows;
    if (!one && sends)
        copy_part(own, rows, stride, n_rows, b[me], b[me + 1], true);
    for (size_t d = 1; d < n; d++) {
        size_t t = (me + d) % n, own_bytes = (b[me + 1] - b[me]) * n_rows * sizeof(float);
        if (sends && own_bytes && (!op->to_first || t == 0))
            io[n_io++] = (struct ranks_io){own, own_bytes, first + t, true};
        size_t part = b[t + 1] - b[t];
        if (takes && part)
            io[n_io++] = (struct ranks_io){one ? rows + b[t] : at, part * n_rows * sizeof(float),
                                           first + t, false};
        at += part * n_rows;
    }
    if (!ranks_run(io, n_io, RANKS_STEP))
        return false;
    at = packed + (b[me + 1] - b[me]) * n_rows;
    for (size_t d = 1; d < n && !one && takes; d++) {
        size_t t = (me + d) % n;
        copy_part(at, rows, stride, n_rows, b[t], b[t + 1], false);
        at += (b[t + 1] - b[t]) * n_rows;
    }
    return true;
}

static bool send_rows(void *arg, const float *rows, size_t stride, size_t n_rows)
{
    struct ranks_link *l = arg;
    struct ranks_io io = {(void *)(uintptr_t)rows, n_rows * stride * sizeof *rows,
                          l->rank - l->of.tensor, true};
    return ranks_run(&io, 1, RANKS_STEP);
}

static bool receive_rows(void *arg, float *rows, size_t stride, size_t n_rows)
{
    struct ranks_link *l = arg;
    struct ranks_io io = {rows, n_rows * stride * sizeof *rows, l->rank + l->of.tensor, false};
    return ranks_run(&io, 1, RANKS_STEP);
}

void ranks_link_init(struct ranks_link *l, const struct plan_ranks *of, size_t rank)
{
    *l = (struct ranks_link){.of = *of, .rank = rank};
    l->link = (struct dev_link){gather, send_rows, receive_rows, l};
}

void ranks_link_done(struct ranks_link *l)
{
    mem_free(l->packed);
    l->packed = NULL;
    l->packed_n = 0;
}

size_t ranks_link_floats(const struct plan *share, const struct dev_opts *o)
{
    size_t most = 0;
    for (size_t i = 0; i < share->n_ops; i++) {
        const struct plan_op *op = &share->ops[i];
        size_t rows = op->rows == PLAN_ROWS_OUT ? o->out_max : o->rows_max;
        if (op->kind == PLAN_GATHER && !op->spread && rows > 1)
            most = MAX(most, op->n * rows);
    }
    return most;
}

uint64_t ranks_file_key(const struct model *m)
{
    uint64_t key = 0;
    for (size_t i = 0; m->gguf && i < gguf_n_tensors(m->gguf); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(m->gguf, i);
        uint64_t facts[] = {t->type, t->dims[0], t->dims[1], t->dims[2], t->bytes};
        key = num_hash(t->name.p, t->name.n, key);
        key = num_hash(facts, sizeof facts, key);
        key = num_hash(t->data, MIN(t->bytes, (size_t)64), key);
    }
    return key;
}
