/* SPDX-License-Identifier: MIT */
#include "npu/npu_place.h"

#include "base/num.h"

#define SLICED_MAX 4096 /* operations */

double npu_op_weights(const struct npu_work *w, const struct npu_op *op)
{
    bool has = op->kind == NPU_MATMUL || op->kind == NPU_DEPTHWISE;
    return has ? (double)op->k * (double)op->n * w->weight_bits / 8 : 0;
}

double npu_tensor_bytes(const struct npu_work *w, int t)
{
    return (double)w->tensors[t].values * w->act_bytes;
}

/* What the cores of an instance can keep between operations. */
static double room_on_chip(const struct npu_chip *c, unsigned cores, unsigned instances)
{
    double shared = c->v[NPU_SHARED_KIB] * 1024 / instances;
    return shared + c->v[NPU_SRAM] * 1024 * c->v[NPU_KEEP] * cores;
}

/* When each tensor is made: by the first operation that writes it. */
static int *find_makers(const struct npu_work *w, struct arena *a)
{
    int *maker = arena_array(a, w->n_tensors, sizeof *maker); /* inputs: there from the start */
    for (size_t i = w->n_ops; i-- > 0;)
        if (w->ops[i].out >= 0)
            maker[w->ops[i].out] = (int)i;
    return maker;
}

static void place_weights(struct npu_places *p, const struct npu_work *w, double room)
{
    for (size_t i = 0; i < w->n_ops; i++) {
        const struct npu_op *op = &w->ops[i];
        double bytes = npu_op_weights(w, op);
        if (op->weights_of >= 0) {
            p->pinned[i] = p->pinned[op->weights_of];
        } else if (bytes > 0) {
            p->weights += bytes;
            p->pinned[i] = p->kept + bytes + MIN(p->peak, room / 2) <= room;
            p->kept += p->pinned[i] ? bytes : 0;
        }
        p->traffic += p->pinned[i] ? 0 : bytes;
    }
}

void npu_place(struct npu_places *p, const struct npu_work *w, const struct npu_chip *c,
               unsigned cores, unsigned instances, struct arena *a)
{
    double *used = arena_array(a, w->n_ops + 1, sizeof *used);
    const int *maker = find_makers(w, a);
    double room = w->streamed ? 0 : room_on_chip(c, cores, instances);
    *p = (struct npu_places){.on_chip = arena_array(a, w->n_tensors, sizeof *p->on_chip),
                             .pinned = arena_array(a, w->n_ops, sizeof *p->pinned)};
    for (size_t t = 0; t < w->n_tensors; t++)
        for (int i = maker[t]; i <= w->tensors[t].last; i++)
            used[i] += npu_tensor_bytes(w, (int)t);
    for (size_t i = 0; i < w->n_ops; i++) {
        p->peak = MAX(p->peak, used[i]);
        used[i] = 0;
    }
    place_weights(p, w, room);
    for (size_t t = 0; t < w->n_tensors; t++) {
        double bytes = npu_tensor_bytes(w, (int)t);
        bool fits = bytes <= room - p->kept; /* even of what nothing reads */
        for (int i = maker[t]; fits && i <= w->tensors[t].last; i++)
            fits = used[i] + bytes <= room - p->kept;
        p->on_chip[t] = fits;
        for (int i = maker[t]; fits && i <= w->tensors[t].last; i++)
            used[i] += bytes;
    }
    for (size_t i = 0; i < w->n_ops; i++) {
        const struct npu_op *op = &w->ops[i];
        double in = (double)op->m * (double)(op->kind == NPU_MATMUL ? op->k : op->n) * op->unique *
                    op->reads * w->act_bytes;
        double out = (double)op->m * (double)op->n * w->act_bytes;
        p->traffic += op->in >= 0 && !p->on_chip[op->in] ? in : 0;
        p->traffic += op->in2 >= 0 && !p->on_chip[op->in2] ? out : 0;
        p->traffic += op->out >= 0 && !p->on_chip[op->out] ? out : 0;
    }
}

/* What a way of slicing makes the chip wait, in seconds: for memory, and for its launches. */
static double price(const struct npu_work *w, const struct npu_chip *c, unsigned cores,
                    unsigned instances)
{
    struct arena a;
    struct npu_places p;
    arena_init(&a);
    npu_place(&p, w, c, cores, instances, &a);
    arena_done(&a);
    double launch = c->v[NPU_OP_US] * 1e-6 + 200 / (c->v[NPU_CLOCK] * 1e6);
    return p.traffic * instances / npu_chip_dram_bytes(c) + (double)w->n_ops * launch;
}

struct npu_work *npu_place_sliced(struct npu_work *w, const struct npu_chip *c, unsigned cores,
                                  unsigned instances)
{
    struct npu_work *best = w;
    double least = price(w, c, cores, instances);
    for (size_t n = 2; n < w->n_ops; n++)
        for (unsigned slices = 2; npu_work_cuts(w, n) && slices <= w->batch; slices++) {
            if (w->batch % slices)
                continue;
            if (slices * n > SLICED_MAX)
                break;
            struct npu_work *s = npu_work_slice(w, n, slices);
            double cost = price(s, c, cores, instances);
            if (cost < 0.98 * least) {
                if (best != w)
                    npu_work_free(best);
                best = s;
                least = cost;
            } else {
                npu_work_free(s);
            }
        }
    if (best != w)
        npu_work_free(w);
    return best;
}
