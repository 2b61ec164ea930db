/* SPDX-License-Identifier: MIT
 * npu_comp.c - the compiler: where everything lies, how each operation is cut, and the program.
 */
#include "base/num.h"
#include "npu/npu_emit.h"
#include "npu/npu_int.h"
#include "npu/npu_place.h"

#include <math.h>
#include <string.h>

struct cached { /* segments by what they do */
    struct npu_op op;
    struct npu_where at;
    bool sum;
    uint64_t parts;
    const struct npu_segment *segment;
    struct npu_tiling tiling;
    bool more; /* parts are to be added */
};

struct compiler {
    struct npu_prog *p;
    const struct npu_work *w;
    const struct npu_chip *c;
    unsigned cores, instances;
    struct npu_emit emit;
    struct npu_places places;
    bool *whole_rows;                /* [n_tensors]: a core has whole rows */
    uint64_t *tensor_at, *weight_at; /* addresses in memory */
    uint64_t kv_at;
    struct cached *cache; /* grows */
    size_t n_cached, cap_cached;
    struct npu_step *steps;
    struct arena tmp;
};

static enum err place_memory(struct compiler *x, struct errinfo *e)
{
    const struct npu_work *w = x->w;
    double have = x->c->v[NPU_DRAM_GB] * 1e9 / x->instances, need = 0;
    uint64_t at = 0, grain = npu_mem_grain(x->c); /* so that equal layers meet equal channels */
    for (size_t i = 0; i < w->n_ops; i++) {
        int of = w->ops[i].weights_of;
        double bytes = of >= 0 ? 0 : npu_op_weights(w, &w->ops[i]);
        x->weight_at[i] = of >= 0 ? x->weight_at[of] : at;
        at += ((uint64_t)bytes + grain - 1) / grain * grain;
        need += bytes;
    }
    for (size_t t = 0; t < w->n_tensors; t++) {
        double bytes = x->places.on_chip[t] ? 0 : npu_tensor_bytes(w, (int)t);
        x->tensor_at[t] = at;
        at += ((uint64_t)bytes + grain - 1) / grain * grain;
    }
    x->p->table_bytes = w->table_values * w->act_bytes;
    need += x->places.peak + x->p->table_bytes;
    x->kv_at = at;
    double kv = w->kv_values * w->kv_bytes;
    if (need + kv > have)
        return err_set(
            e, ERR_TOOBIG,
            "%s does not fit into %s: weights %.2f GB, keys and values %.2f GB, the rest "
            "%.2f GB, and it has %.1f GB%s; fewer bits, a smaller batch or context would help",
            w->name, x->c->name, (x->p->weight_bytes + x->p->table_bytes) / 1e9, kv / 1e9,
            x->places.peak / 1e9, have / 1e9, x->instances > 1 ? " for each instance" : "");
    x->p->memory = (uint64_t)(need + kv);
    return ERR_OK;
}

/* ---- operations ---- */

static struct npu_where where(const struct compiler *x, size_t i)
{
    const struct npu_op *op = &x->w->ops[i];
    bool cores_keep = x->c->v[NPU_KEEP] > 0;
    struct npu_where at = {.weight = x->places.pinned[i] ? NPU_SHARED : NPU_MEMORY,
                           .in = NPU_MEMORY,
                           .in2 = NPU_MEMORY,
                           .out = NPU_MEMORY,
                           .weight_kept = x->places.pinned[i] && cores_keep};
    if (op->in >= 0 && x->places.on_chip[op->in]) {
        at.in = NPU_SHARED;
        at.in_cores = cores_keep;
        at.in_rows = cores_keep && x->whole_rows[op->in];
    }
    if (op->in2 >= 0 && x->places.on_chip[op->in2]) {
        at.in2 = NPU_SHARED;
        at.in2_cores = cores_keep;
        at.in2_rows = cores_keep && x->whole_rows[op->in2];
    }
    if (op->out >= 0 && x->places.on_chip[op->out]) {
        at.out = NPU_SHARED;
        at.out_cores = cores_keep;
    }
    if (op->kind == NPU_ATTEND && x->w->kv_values == 0) { /* no cache: keys are in the input */
        at.in2 = at.in;
        at.in2_cores = at.in_cores;
    }
    return at;
}

/* Operations of one shape in one place are one segment. */
static bool same_place(const struct npu_where *a, const struct npu_where *b)
{
    return a->weight == b->weight && a->in == b->in && a->in2 == b->in2 && a->out == b->out &&
           a->in_cores == b->in_cores && a->in2_cores == b->in2_cores && a->in_rows == b->in_rows &&
           a->in2_rows == b->in2_rows && a->out_cores == b->out_cores &&
           a->weight_kept == b->weight_kept;
}

static void add_step(struct compiler *x, size_t i, const struct npu_segment *s)
{
    const struct npu_op *op = &x->w->ops[i];
    if (!s->working) /* on nothing: no core would ever say that it is through */
        return;
    struct npu_step *step = &x->steps[x->p->n_steps++];
    *step = (struct npu_step){.segment = s, .op = (uint32_t)i};
    step->base[NPU_BASE_WEIGHT] = x->weight_at[i];
    step->base[NPU_BASE_IN] = op->in >= 0 ? x->tensor_at[op->in] : 0;
    step->base[NPU_BASE_IN2] = op->kind == NPU_ATTEND && x->w->kv_values > 0 ? x->kv_at
                               : op->in2 >= 0                                ? x->tensor_at[op->in2]
                                                                             : 0;
    step->base[NPU_BASE_OUT] = op->out >= 0 ? x->tensor_at[op->out] : x->kv_at;
}

static struct cached *find_cached(struct compiler *x, const struct npu_op *op,
                                  const struct npu_where *at, bool sum, uint64_t parts)
{
    for (size_t i = 0; i < x->n_cached; i++) {
        struct cached *c = &x->cache[i];
        if (c->sum == sum && c->parts == parts && npu_op_alike(&c->op, op) &&
            same_place(&c->at, at))
            return c;
    }
    return NULL;
}

static enum err new_cached(struct compiler *x, const struct npu_op *op, const struct npu_where *at,
                           bool sum, uint64_t parts, struct cached **out, struct errinfo *e)
{
    if (x->n_cached == x->cap_cached) {
        x->cap_cached = x->cap_cached ? 2 * x->cap_cached : 32;
        x->cache = mem_grow(x->cache, x->cap_cached * sizeof *x->cache);
    }
    struct cached *c = &x->cache[x->n_cached++];
    *c = (struct cached){.op = *op, .at = *at, .sum = sum, .parts = parts};
    if (sum) {
        npu_emit_sum(&x->emit, op, at, parts);
    } else if (op->kind == NPU_MATMUL) {
        c->tiling = npu_tile_search(x->c, x->w, op, at, x->cores, x->instances);
        if (!c->tiling.tm)
            return err_set(e, ERR_TOOBIG,
                           "%s: no tile of %s, %llu x %llu x %llu, fits a core's memory of %g KiB",
                           x->c->name, op->name, (unsigned long long)op->m,
                           (unsigned long long)op->k, (unsigned long long)op->n, x->c->v[NPU_SRAM]);
        c->more = npu_emit_matmul(&x->emit, op, at, &c->tiling);
        c->tiling.ks = MAX(c->tiling.ks, 1u);
    } else if (op->kind == NPU_ATTEND) {
        c->tiling.ks = 1;
        c->more = npu_emit_attend(&x->emit, op, at, &c->tiling.ks);
    } else if (op->kind == NPU_EXCHANGE) {
        npu_emit_exchange(&x->emit, op, at);
    } else {
        npu_emit_vector(&x->emit, op, at);
    }
    c->segment = npu_emit_take(&x->emit, &x->p->arena);
    x->p->n_segments++;
    x->p->n_cmds += c->segment->n_cmds;
    if (c->segment->half > npu_half_bytes(x->c))
        return err_set(e, ERR_TOOBIG,
                       "%s: %s needs %llu bytes of a core's memory for its buffers "
                       "and has %llu",
                       x->c->name, op->name, (unsigned long long)c->segment->half,
                       (unsigned long long)npu_half_bytes(x->c));
    *out = c;
    return ERR_OK;
}

static enum err compile_op(struct compiler *x, size_t i, struct errinfo *e)
{
    const struct npu_op *op = &x->w->ops[i];
    struct npu_where at = where(x, i);
    struct cached *c = find_cached(x, op, &at, false, 0);
    if (!c)
        TRY(new_cached(x, op, &at, false, 0, &c, e));
    add_step(x, i, c->segment);
    bool rows = op->kind == NPU_MATMUL   ? npu_tile_rows(&c->tiling, x->cores)
                : op->kind == NPU_ATTEND ? false
                : op->in >= 0            ? x->whole_rows[op->in]
                                         : true;
    if (op->out >= 0)
        x->whole_rows[op->out] = rows && !c->more;
    if (!c->more)
        return ERR_OK;
    uint64_t parts = c->tiling.ks;
    c = find_cached(x, op, &at, true, parts);
    if (!c)
        TRY(new_cached(x, op, &at, true, parts, &c, e));
    add_step(x, i, c->segment);
    return ERR_OK;
}

static enum err compile(struct compiler *x, struct errinfo *e)
{
    npu_place(&x->places, x->w, x->c, x->cores, x->instances, &x->tmp);
    x->p->peak_bytes = x->places.peak;
    x->p->weight_bytes = x->places.weights;
    x->p->pinned_bytes = x->places.kept;
    TRY(place_memory(x, e));
    for (size_t i = 0; i < x->w->n_ops; i++)
        TRY(compile_op(x, i, e));
    if (!x->p->n_steps)
        return err_set(e, ERR_UNSUPPORTED, "%s: there is nothing to compute", x->w->name);
    return ERR_OK;
}

enum err npu_compile(struct npu_prog **out, const struct npu_work *w, const struct npu_chip *c,
                     unsigned cores, unsigned instances, struct errinfo *e)
{
    struct arena a;
    *out = NULL;
    CHECK(cores >= 1 && cores * (double)instances <= c->v[NPU_CORES]);
    arena_init(&a);
    struct npu_prog *p = arena_alloc(&a, sizeof *p);
    p->arena = a;
    p->work = w;
    p->chip = c;
    p->cores = cores;
    struct compiler x = {.p = p, .w = w, .c = c, .cores = cores, .instances = instances};
    arena_init(&x.tmp);
    npu_emit_init(&x.emit, c, w, cores, instances);
    x.whole_rows = arena_array(&x.tmp, w->n_tensors, sizeof *x.whole_rows);
    x.tensor_at = arena_array(&x.tmp, w->n_tensors, sizeof *x.tensor_at);
    x.weight_at = arena_array(&x.tmp, w->n_ops, sizeof *x.weight_at);
    x.steps = arena_array(&p->arena, 2 * w->n_ops, sizeof *x.steps);
    p->steps = x.steps;
    enum err code = compile(&x, e);
    npu_emit_done(&x.emit);
    mem_free(x.cache);
    arena_done(&x.tmp);
    if (code == ERR_OK)
        *out = p;
    else
        npu_prog_free(p);
    return code;
}

void npu_prog_free(struct npu_prog *p)
{
    if (!p)
        return;
    struct arena a = p->arena; /* the program lies in it */
    arena_done(&a);
}
