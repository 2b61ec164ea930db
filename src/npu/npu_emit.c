/* SPDX-License-Identifier: MIT
 * npu_emit.c - commands of products and of the vector unit's operations. */
#include "npu/npu_emit.h"

#include "base/num.h"

#include <math.h>
#include <string.h>

#define SUM_BYTES 4
#define LINE      64 /* buffers begin at multiples of it */

void npu_emit_init(struct npu_emit *e, const struct npu_chip *c, const struct npu_work *w,
                   unsigned cores, unsigned instances)
{
    *e = (struct npu_emit){.chip = c, .work = w, .cores = cores, .instances = instances};
    e->streams = mem_alloc((size_t)cores * NPU_N_QUEUES * sizeof *e->streams);
    e->launched = c->v[NPU_OP_US] > 0;
}

void npu_emit_done(struct npu_emit *e)
{
    for (size_t i = 0; i < (size_t)e->cores * NPU_N_QUEUES; i++)
        mem_free(e->streams[i].cmds);
    mem_free(e->streams);
}

struct npu_cmd *npu_emit_cmd(struct npu_emit *e, unsigned core, enum npu_cmd_kind kind)
{
    struct npu_stream *s = &e->streams[core * NPU_N_QUEUES + npu_queue_of(kind)];
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 16;
        s->cmds = mem_grow(s->cmds, s->cap * sizeof *s->cmds);
    }
    struct npu_cmd *c = &s->cmds[s->n++];
    *c = (struct npu_cmd){.kind = (uint8_t)kind};
    return c;
}

static struct npu_stream *stream(const struct npu_emit *e, unsigned core, enum npu_queue q)
{
    return &e->streams[core * NPU_N_QUEUES + q];
}

static struct npu_cmd *last_of(const struct npu_emit *e, unsigned core, enum npu_queue q)
{
    const struct npu_stream *s = stream(e, core, q);
    return &s->cmds[s->n - 1];
}

/* The core's first command takes its half. */
static struct npu_cmd *take_half(struct npu_emit *e, unsigned core, enum npu_cmd_kind kind)
{
    bool first = !stream(e, core, NPU_Q_LOAD)->n;
    struct npu_cmd *c = npu_emit_cmd(e, core, kind);
    c->take[0] = first ? NPU_HALF : NPU_NO_SEM;
    return c;
}

static void await(struct npu_emit *e, unsigned core)
{
    take_half(e, core, NPU_CMD_AWAIT)->bytes = (uint64_t)(e->chip->v[NPU_OP_US] * 1000);
}

void npu_emit_begin(struct npu_emit *e, const struct npu_op *op, const struct npu_where *at)
{
    e->op = op;
    e->at = *at;
    e->half = 0;
    e->n_keys = 1;
    e->beside = 1;
    e->working = 0;
    for (unsigned core = 0; core < e->cores && e->launched; core++)
        await(e, core);
}

struct npu_cmd *npu_emit_await(struct npu_emit *e, unsigned core)
{
    if (!e->launched)
        await(e, core);
    return last_of(e, core, NPU_Q_LOAD);
}

void npu_emit_end(struct npu_emit *e)
{
    for (unsigned core = 0; core < e->cores; core++) {
        const struct npu_stream *out = stream(e, core, NPU_Q_STORE);
        const struct npu_stream *in = stream(e, core, NPU_Q_LOAD);
        if (out->n) {
            out->cmds[out->n - 1].last = true;
            out->cmds[out->n - 1].give[1] = NPU_HALF;
            e->working++;
        } else if (in->n) { /* it waits with the others, and needs no memory */
            in->cmds[0].take[0] = NPU_NO_SEM;
        }
    }
}

struct npu_segment *npu_emit_take(struct npu_emit *e, struct arena *a)
{
    struct npu_segment *s = arena_alloc(a, sizeof *s);
    size_t n_streams = (size_t)e->cores * NPU_N_QUEUES, n = 0;
    for (size_t i = 0; i < n_streams; i++)
        n += e->streams[i].n;
    struct npu_cmd *cmds = arena_array(a, n, sizeof *cmds);
    uint32_t *from = arena_array(a, n_streams + 1, sizeof *from);
    unsigned queues = 0;
    n = 0;
    for (size_t i = 0; i < n_streams; i++) {
        queues |= (unsigned)(e->streams[i].n > 0) << i % NPU_N_QUEUES;
        from[i] = (uint32_t)n;
        if (e->streams[i].n)
            memcpy(cmds + n, e->streams[i].cmds, e->streams[i].n * sizeof *cmds);
        n += e->streams[i].n;
        e->streams[i].n = 0;
    }
    from[n_streams] = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        npu_cmd_tally(&cmds[i]);
        if (cmds[i].bytes == 0 && cmds[i].level != NPU_PEER)
            cmds[i].level = NPU_HERE;
    }
    *s = (struct npu_segment){.cmds = cmds,
                              .from = from,
                              .n_cmds = n,
                              .n_keys = e->n_keys,
                              .working = e->working,
                              .queues = (uint8_t)queues,
                              .beside = e->beside,
                              .half = e->half};
    return s;
}

static uint64_t lines(double bytes)
{
    return ((uint64_t)ceil(bytes) + LINE - 1) / LINE * LINE;
}

/* The place of a buffer with `slots` slots of `bytes`. */
static uint32_t place(struct npu_emit *e, uint64_t bytes, unsigned slots)
{
    uint64_t at = e->half;
    e->half += bytes * slots;
    return (uint32_t)at;
}

/* ---- products ---- */

struct use;

struct product {
    struct npu_emit *e;
    const struct npu_tiling *t;
    uint64_t run, step; /* tiles of a core; from one of them to the next */
    uint64_t a_slot, w_slot, o_slot;
    uint32_t a_at, w_at, r_at, o_at;
    uint64_t a_count, w_count, o_count; /* loads of the core up to now */
    uint64_t wave, behind;              /* tiles of all cores at once; from a tile to that which has
                                           its place then, 0: none waits for it */
    double a_far, r_far;                /* shares that come from elsewhere */
    struct use *rows, *columns;         /* [ks][mt], [ks][nt]; with a cache: NULL */
    bool awaited, waits;                /* the tile to be loaded waits for its place */
};

struct tile {
    uint64_t i, j, s;
};

static struct tile tile_at(const struct npu_tiling *t, uint64_t id)
{
    uint64_t inner = t->down_first ? t->mt : t->nt, outer = t->down_first ? t->nt : t->mt;
    uint64_t in = id % inner, out = id / inner % outer, s = id / inner / outer;
    return t->down_first ? (struct tile){in, out, s} : (struct tile){out, in, s};
}

static uint64_t id_of(const struct npu_tiling *t, struct tile x)
{
    return t->down_first ? (x.s * t->nt + x.j) * t->mt + x.i : (x.s * t->mt + x.i) * t->nt + x.j;
}

/* Without a cache: of all tiles with a row's inputs (a column's weights) the one whose turn comes
 * first, whose core then brings them for all; and whether they are of several cores. */
struct use {
    uint64_t first;
    bool several, known;
};

static void note_use(const struct product *p, struct use *u, uint64_t id)
{
    if (!u->known)
        *u = (struct use){.first = id, .known = true};
    u->several |= id / p->run != u->first / p->run; /* a core makes a run of tiles */
    if (id % p->run < u->first % p->run)
        u->first = id;
}

static void find_uses(struct product *p, uint64_t tiles)
{
    const struct npu_tiling *t = p->t;
    p->rows = mem_alloc(t->mt * t->ks * sizeof *p->rows);
    p->columns = mem_alloc(t->nt * t->ks * sizeof *p->columns);
    for (uint64_t id = 0; id < tiles; id++) {
        struct tile x = tile_at(t, id);
        note_use(p, &p->rows[x.s * t->mt + x.i], id);
        note_use(p, &p->columns[x.s * t->nt + x.j], id);
    }
}

/* The tile that last brought a tile's inputs (weights) into the cache: of those that have the same,
 * the first one, or in what the cache loses from wave to wave the first one of the wave. */
static uint64_t brought_by(const struct product *p, uint64_t id, bool row)
{
    const struct npu_tiling *t = p->t;
    uint64_t inner = t->down_first ? t->mt : t->nt, part_from = id - id % (t->mt * t->nt);
    uint64_t from = part_from;
    if (row ? t->lose_a : t->lose_w)
        from = MAX(from, id - id % p->wave);
    if (row == t->down_first) /* every `inner` tiles */
        return from + (id - from) % inner;
    return MAX(id - (id - part_from) % inner, from); /* tiles next to each other */
}

/* Through the cache: who needs in the same wave what another tile brings waits for that. */
static void load_cached(struct product *p, struct npu_cmd *c, struct tile x, bool row)
{
    uint64_t id = id_of(p->t, x), by = brought_by(p, id, row);
    CHECK(p->t->chunks == 1); /* so a tile and a side are a load, and may be its key */
    c->first = by == id;
    c->level = c->first ? NPU_MEMORY : NPU_SHARED;
    if (by / p->wave != id / p->wave)
        return;
    c->key = (uint32_t)(1 + 2 * by + row);
    p->e->n_keys = MAX(p->e->n_keys, c->key + 1);
}

/* A load of a row's inputs or a column's weights, chunk by chunk.  What several cores use, the
 * first of them brings and the others have from it; what a core brings again, it brings from the
 * memory that they share, where there is one. */
static void load(struct product *p, unsigned core, struct tile x, uint64_t chunk, bool row,
                 uint64_t bytes, uint64_t addr, bool again)
{
    struct npu_emit *e = p->e;
    enum npu_level level = row ? e->at.in : e->at.weight;
    struct npu_cmd *c = npu_emit_cmd(e, core, NPU_CMD_LOAD);
    c->take[0] = row ? NPU_A_FREE : NPU_W_FREE;
    c->give[0] = row ? NPU_A_FULL : NPU_W_FULL;
    c->base = row ? NPU_BASE_IN : NPU_BASE_WEIGHT;
    c->level = (uint8_t)level;
    c->bytes = row ? (uint64_t)((double)bytes * p->a_far) : bytes;
    c->addr = addr;
    c->pieces = (uint16_t)p->t->pieces;
    uint64_t *count = row ? &p->a_count : &p->w_count;
    c->size = (uint32_t)(row ? p->a_slot : p->w_slot);
    c->sram = (row ? p->a_at : p->w_at) + c->size * (uint32_t)((*count)++ % NPU_SLOTS);
    bool memory = level == NPU_MEMORY, shared = e->chip->v[NPU_SHARED_KIB] > 0;
    if (p->waits)
        c->take[1] = NPU_PLACE;
    p->waits = false;
    if (e->chip->cache) {
        if (memory)
            load_cached(p, c, x, row);
        return;
    }
    const struct use *use = row ? &p->rows[x.s * p->t->mt + x.i]
                                : &p->columns[x.s * p->t->nt + x.j];
    if (!use->several || (!memory && e->chip->v[NPU_MULTICAST] == 0))
        return;
    if (again) { /* not with the others */
        c->level = memory && !shared ? NPU_MEMORY : NPU_SHARED;
        return;
    }
    uint64_t lists = p->t->ks * p->t->chunks;
    uint64_t index = row ? x.i : p->t->mt + x.j;
    uint64_t key = 1 + index * lists + x.s * p->t->chunks + chunk;
    if (key >= NPU_KEYS_MAX)
        return;
    c->key = (uint32_t)key;
    c->first = id_of(p->t, x) == use->first;
    e->n_keys = MAX(e->n_keys, c->key + 1);
    if (!c->first)
        c->level = NPU_SHARED;
}

static uint64_t part(uint64_t whole, uint64_t size, uint64_t i)
{
    uint64_t from = i * size;
    return from >= whole ? 0 : MIN(size, whole - from);
}

static void residual(struct product *p, unsigned core, uint64_t bytes, uint64_t addr)
{
    struct npu_cmd *c = npu_emit_cmd(p->e, core, NPU_CMD_LOAD);
    c->take[0] = NPU_R_FREE;
    c->give[0] = NPU_R_FULL;
    c->base = NPU_BASE_IN2;
    c->bytes = (uint64_t)((double)bytes * p->r_far);
    c->level = c->bytes ? (uint8_t)p->e->at.in2 : NPU_HERE;
    c->addr = addr;
    c->size = (uint32_t)p->o_slot;
    c->sram = p->r_at + c->size * (uint32_t)(p->o_count % NPU_SLOTS);
}

/* Results that stay in the core are where they belong when the last unit has made them: nothing
 * stores them, but for a core's last tile, whose store says that the core is through. */
static bool is_stored(const struct product *p, bool last)
{
    return p->t->ks > 1 || !p->e->at.out_cores || last;
}

/* Of parts of sums another step makes results. */
static bool has_vector(const struct product *p)
{
    return p->e->op->passes > 0 && p->t->ks == 1;
}

/* What leaves the matrix unit: through the vector unit where there is work for it, and out. */
static void finish(struct product *p, unsigned core, uint64_t m, uint64_t n, uint64_t index,
                   bool stored)
{
    struct npu_emit *e = p->e;
    bool sum = p->t->ks > 1;
    uint64_t bytes = m * n * (sum ? SUM_BYTES : e->work->act_bytes);
    uint32_t slot = (uint32_t)p->o_slot, at = p->o_at + slot * (uint32_t)(p->o_count % NPU_SLOTS);
    if (has_vector(p)) {
        if (e->op->in2 >= 0)
            residual(p, core, bytes, index * p->o_slot);
        struct npu_cmd *v = npu_emit_cmd(e, core, NPU_CMD_VECTOR);
        v->m = (uint32_t)MIN((double)(m * n) * e->op->passes, (double)UINT32_MAX);
        v->take[0] = NPU_O_FULL;
        v->give[0] = stored ? NPU_S_FULL : NPU_O_FREE;
        v->sram = at;
        v->size = slot;
        if (e->op->in2 >= 0) {
            v->take[1] = NPU_R_FULL;
            v->give[1] = NPU_R_FREE;
        }
    }
    p->o_count++;
    if (!stored)
        return;
    struct npu_cmd *s = npu_emit_cmd(e, core, NPU_CMD_STORE);
    s->take[0] = NPU_S_FULL;
    s->give[0] = NPU_O_FREE;
    s->base = NPU_BASE_OUT;
    s->level = (uint8_t)(sum ? NPU_SHARED : e->at.out_cores ? NPU_HERE : e->at.out);
    s->bytes = s->level == NPU_HERE ? 0 : bytes;
    s->addr = index * p->o_slot;
    s->sram = at;
    s->size = slot;
}

/* Whether the core's tile before (after) `id` has the same column (row). */
static bool same(const struct product *p, uint64_t id, bool after, uint64_t from, uint64_t to,
                 bool row)
{
    if ((!after && id == from) || (after && id + p->step >= to))
        return false;
    struct tile a = tile_at(p->t, id), b = tile_at(p->t, after ? id + p->step : id - p->step);
    return a.s == b.s && (row ? a.i == b.i : a.j == b.j);
}

/* What a tile's chunks need to be loaded, and which of that is for its neighbours too. */
struct needs {
    struct tile x;
    uint64_t m, n, k_from, k_here;
    bool new_a, new_w, end_a, end_w, a_again, w_again;
};

static struct needs needs_of(const struct product *p, uint64_t id, uint64_t from, uint64_t to)
{
    const struct npu_tiling *t = p->t;
    const struct npu_op *op = p->e->op;
    struct needs u = {.x = tile_at(t, id)};
    uint64_t k_all = (op->k + t->ks - 1) / t->ks;
    bool kept = p->e->at.weight_kept && t->mt == 1;
    u.m = part(op->m, t->tm, u.x.i);
    u.n = part(op->n, t->tn, u.x.j);
    u.k_from = u.x.s * k_all;
    u.k_here = u.k_from >= op->k ? 0 : MIN(k_all, op->k - u.k_from);
    u.new_a = !t->keep_a || !same(p, id, false, from, to, true);
    u.new_w = !kept && (!t->keep_w || !same(p, id, false, from, to, false));
    u.end_a = !t->keep_a || !same(p, id, true, from, to, true);
    u.end_w = !kept && (!t->keep_w || !same(p, id, true, from, to, false));
    u.a_again = t->down_first ? id >= from + t->mt : same(p, id, false, from, to, true);
    u.w_again = t->down_first ? same(p, id, false, from, to, false) : id >= from + t->nt;
    return u;
}

static void load_weights(struct product *p, unsigned core, const struct needs *u, uint64_t ch)
{
    const struct npu_work *w = p->e->work;
    uint64_t k = MAX(part(u->k_here, p->t->tk, ch), 1u), k_at = u->k_from + ch * p->t->tk;
    load(p, core, u->x, ch, false, npu_weight_bytes(w, k * u->n),
         npu_weight_bytes(w, u->x.j * p->t->tn * p->e->op->k + k_at * u->n), u->w_again);
}

static void load_inputs(struct product *p, unsigned core, const struct needs *u, uint64_t ch)
{
    const struct npu_op *op = p->e->op;
    uint64_t k = MAX(part(u->k_here, p->t->tk, ch), 1u), k_at = u->k_from + ch * p->t->tk;
    double unique = op->unique * p->e->work->act_bytes;
    load(p, core, u->x, ch, true, (uint64_t)ceil((double)(u->m * k) * unique),
         (uint64_t)((double)(u->x.i * p->t->tm * op->k + k_at * u->m) * unique), u->a_again);
}

static void emit_tile(struct product *p, unsigned core, uint64_t id, uint64_t from, uint64_t to)
{
    struct npu_emit *e = p->e;
    const struct npu_tiling *t = p->t;
    struct needs u = needs_of(p, id, from, to);
    bool stored = is_stored(p, id + p->step >= to);
    uint64_t ahead = 0;
    p->waits = p->behind && id >= from + p->behind;
    if (!p->awaited) { /* weights may come before what the others still make */
        if (u.new_w)
            take_half(e, core, NPU_CMD_OPEN);
        for (; u.new_w && ahead < MIN(t->chunks, NPU_SLOTS); ahead++)
            load_weights(p, core, &u, ahead);
        await(e, core);
        p->awaited = true;
    }
    for (uint64_t ch = 0; ch < t->chunks; ch++) {
        if (u.new_w && ch >= ahead)
            load_weights(p, core, &u, ch);
        if (u.new_a)
            load_inputs(p, core, &u, ch);
        struct npu_cmd *c = npu_emit_cmd(e, core, NPU_CMD_MATRIX);
        c->m = (uint32_t)u.m;
        c->k = (uint32_t)MAX(part(u.k_here, t->tk, ch), 1u);
        c->n = (uint32_t)u.n;
        if (e->chip->v[NPU_TILE_MOST] > 0) {
            c->full_m = (uint16_t)MIN(t->tm, UINT16_MAX);
            c->full_n = (uint16_t)MIN(t->tn, UINT16_MAX);
        }
        c->pieces = (uint16_t)t->pieces;
        c->first = ch == 0;
        c->last = ch + 1 == t->chunks;
        c->take[0] = u.new_a ? NPU_A_FULL : NPU_NO_SEM;
        c->take[1] = u.new_w ? NPU_W_FULL : NPU_NO_SEM;
        c->take[2] = c->first ? NPU_O_FREE : NPU_NO_SEM;
        c->give[0] = u.end_a ? NPU_A_FREE : NPU_NO_SEM;
        c->give[1] = u.end_w ? NPU_W_FREE : NPU_NO_SEM;
        c->give[2] = !c->last        ? NPU_NO_SEM
                     : has_vector(p) ? NPU_O_FULL
                     : stored        ? NPU_S_FULL
                                     : NPU_O_FREE;
        c->sram = p->o_at + (uint32_t)(p->o_slot * (p->o_count % NPU_SLOTS));
        c->size = (uint32_t)p->o_slot;
    }
    finish(p, core, u.m, u.n, id, stored);
    if (p->behind && id + p->behind < to)
        last_of(e, core, NPU_Q_STORE)->give[1] = NPU_PLACE;
}

bool npu_emit_matmul(struct npu_emit *e, const struct npu_op *op, const struct npu_where *at,
                     const struct npu_tiling *t)
{
    struct product p = {.e = e, .t = t};
    uint64_t tiles = t->mt * t->nt * t->ks;
    npu_emit_begin(e, op, at);
    p.run = (tiles + e->cores - 1) / e->cores;
    p.step = e->chip->cache ? e->cores : 1; /* side by side in a cache, or in runs that keep data */
    p.a_far = 1 - npu_tile_here(t, at->in_cores, at->in_rows, e->cores);
    p.r_far = 1 - npu_tile_here(t, at->in2_cores, at->in2_rows, e->cores);
    double k = (double)((t->tk + t->pieces - 1) / t->pieces);
    p.a_slot = lines(k * (double)t->tm * op->unique * e->work->act_bytes);
    p.w_slot = lines(k * (double)t->tn * e->work->weight_bits / 8);
    p.o_slot = lines((double)(t->tm * t->tn) * (t->ks > 1 ? SUM_BYTES : e->work->act_bytes));
    p.a_at = place(e, p.a_slot, NPU_SLOTS);
    p.w_at = place(e, p.w_slot, NPU_SLOTS);
    p.o_at = place(e, p.o_slot, NPU_SLOTS);
    p.r_at = op->in2 >= 0 ? place(e, p.o_slot, NPU_SLOTS) : 0;
    e->beside = (unsigned)MAX(MIN((uint64_t)t->beside, p.run), 1u);
    p.wave = npu_tile_wave(t, e->cores);
    if (e->chip->v[NPU_TILE_MOST] > 0 && !at->out_cores && !t->keep_a) /* each tile loads */
        p.behind = MIN((uint64_t)npu_tile_wave(t, 1), p.run) * p.step;
    if (!e->chip->cache)
        find_uses(&p, tiles);
    for (unsigned core = 0; core < e->cores; core++) {
        uint64_t from = p.step == 1 ? core * p.run : core;
        uint64_t to = p.step == 1 ? MIN(from + p.run, tiles) : tiles;
        p.a_count = p.w_count = p.o_count = 0;
        p.awaited = e->launched;
        for (uint64_t id = from; id < to; id += p.step)
            emit_tile(&p, core, id, from, to);
        if (!p.awaited)
            await(e, core);
    }
    npu_emit_end(e);
    mem_free(p.rows);
    mem_free(p.columns);
    return t->ks > 1;
}

/* ---- the vector unit's own ---- */

/* Elements of a core, in pieces that fit. */
struct sweep {
    double passes, reads, in_bytes, out_bytes; /* of an element */
    enum npu_level in, out;
    double far; /* share of the input that comes from elsewhere */
};

static void emit_sweep(struct npu_emit *e, const struct sweep *s, uint64_t elements)
{
    /* no core is woken for less than one pass of its lanes */
    uint64_t each = MAX((elements + e->cores - 1) / e->cores, (uint64_t)e->chip->v[NPU_VEC_LANES]);
    double slot_bytes = (s->reads * s->in_bytes + s->out_bytes) * NPU_SLOTS;
    uint64_t room = (uint64_t)((double)npu_half_bytes(e->chip) * 0.9 / slot_bytes);
    uint64_t pieces = MAX((each + MAX(room, 1u) - 1) / MAX(room, 1u), each >= 4096 ? 2u : 1u);
    uint64_t size = (each + pieces - 1) / pieces;
    uint64_t a_slot = lines((double)size * s->reads * s->in_bytes);
    uint64_t o_slot = lines((double)size * s->out_bytes);
    uint32_t a_at = place(e, a_slot, NPU_SLOTS), o_at = place(e, o_slot, NPU_SLOTS);
    for (unsigned core = 0; core < e->cores; core++) {
        uint64_t from = core * each, to = MIN(from + each, elements);
        if (!e->launched)
            await(e, core);
        for (uint64_t at = from, i = 0; at < to; at += size, i++) {
            uint64_t n = MIN(size, to - at);
            struct npu_cmd *c = npu_emit_cmd(e, core, NPU_CMD_LOAD);
            c->take[0] = NPU_R_FREE;
            c->give[0] = NPU_R_FULL;
            c->base = NPU_BASE_IN;
            c->bytes = (uint64_t)((double)n * s->reads * s->in_bytes * s->far);
            c->level = c->bytes ? (uint8_t)s->in : NPU_HERE;
            c->addr = (uint64_t)((double)at * s->reads * s->in_bytes);
            c->sram = a_at + (uint32_t)(a_slot * (i % NPU_SLOTS));
            c->size = (uint32_t)a_slot;
            c = npu_emit_cmd(e, core, NPU_CMD_VECTOR);
            c->m = (uint32_t)MIN((double)n * s->passes, (double)UINT32_MAX);
            c->take[0] = NPU_R_FULL;
            c->take[1] = NPU_V_FREE;
            c->give[0] = NPU_R_FREE;
            c->give[1] = NPU_S_FULL;
            c->sram = o_at + (uint32_t)(o_slot * (i % NPU_SLOTS));
            c->size = (uint32_t)o_slot;
            struct npu_cmd *out = npu_emit_cmd(e, core, NPU_CMD_STORE);
            out->take[0] = NPU_S_FULL;
            out->give[0] = NPU_V_FREE;
            out->base = NPU_BASE_OUT;
            out->level = (uint8_t)s->out;
            out->bytes = s->out == NPU_HERE ? 0 : (uint64_t)((double)n * s->out_bytes);
            out->addr = (uint64_t)((double)at * s->out_bytes);
            out->sram = c->sram;
            out->size = c->size;
        }
    }
}

void npu_emit_vector(struct npu_emit *e, const struct npu_op *op, const struct npu_where *at)
{
    double act = e->work->act_bytes,
           far = at->in_cores ? at->in_rows || e->cores == 1 ? 0 : 1 - 1.0 / e->cores : 1;
    struct sweep s = {.passes = op->passes,
                      .reads = op->reads,
                      .in_bytes = act,
                      .out_bytes = act,
                      .in = at->in,
                      .out = at->out_cores ? NPU_HERE : at->out,
                      .far = far};
    npu_emit_begin(e, op, at);
    if (op->kind == NPU_DEPTHWISE)
        s.passes = (double)op->k * e->chip->v[NPU_VEC_LANES] / e->chip->v[NPU_VEC_MACS];
    if (op->kind == NPU_GATHER) {
        s.in = NPU_MEMORY;
        s.far = 1;
    }
    if (op->kind == NPU_STORE) {
        s.out = NPU_MEMORY;
        s.out_bytes = e->work->kv_bytes;
    }
    emit_sweep(e, &s, op->m * op->n);
    npu_emit_end(e);
}

void npu_emit_sum(struct npu_emit *e, const struct npu_op *op, const struct npu_where *at,
                  uint64_t parts)
{
    struct sweep s = {.passes = (double)parts + op->passes,
                      .reads = (double)parts,
                      .in_bytes = SUM_BYTES,
                      .out_bytes = e->work->act_bytes,
                      .in = NPU_SHARED,
                      .out = at->out_cores ? NPU_HERE : at->out,
                      .far = 1};
    uint64_t elements = op->kind == NPU_ATTEND ? op->n_seq * op->rows * op->heads * op->dim
                                               : op->m * op->n;
    npu_emit_begin(e, op, at);
    emit_sweep(e, &s, elements);
    npu_emit_end(e);
}
