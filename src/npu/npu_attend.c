/* SPDX-License-Identifier: MIT
 * npu_attend.c - commands of attention.
 *
 * A task is a sequence, a head of keys with the queries that share it, a range of rows, and where
 * there are fewer tasks than cores, a part of the context, whose results are joined afterwards.  It
 * goes through its positions block by block: scores, powers of the vector unit, the sum of values;
 * while the vector unit has one block, the matrix unit makes the scores of the next. */
#include "npu/npu_emit.h"

#include "base/num.h"

#include <math.h>

#define ROWS_MAX  128 /* queries of a task */
#define BLOCK_MAX 512 /* positions of a block */
#define PART_MIN  128 /* positions of a part */
#define SUM_BYTES 4

struct attend {
    struct npu_emit *e;
    uint64_t queries, group, rows, tiles; /* of a task; queries a head; rows and their ranges */
    uint64_t parts, block;
    uint64_t kv_slot, q_bytes, p_slot, o_slot;
    uint32_t kv_at, p_at, o_at;
    enum npu_level kv;
    bool cached; /* a head's keys and values come from memory once, for all ranges of its rows */
    double far;
    uint64_t n_kv, n_score, n_out; /* of the core, up to now: which slot is next */
};

struct task {
    uint64_t seq, head, tile, part, from, to; /* positions */
};

static struct npu_cmd *matrix(struct attend *a, unsigned core, uint64_t k, uint64_t n)
{
    struct npu_cmd *c = npu_emit_cmd(a->e, core, NPU_CMD_MATRIX);
    c->m = (uint32_t)a->queries;
    c->k = (uint32_t)k;
    c->n = (uint32_t)n;
    c->first = c->last = true;
    return c;
}

/* A task's queries come behind its first keys, into the same slot. */
static void queries(struct attend *a, unsigned core, const struct task *t, uint32_t sram)
{
    struct npu_cmd *c = npu_emit_cmd(a->e, core, NPU_CMD_LOAD);
    c->give[0] = NPU_A_FULL;
    c->base = NPU_BASE_IN;
    c->bytes = a->q_bytes;
    c->level = (uint8_t)a->e->at.in;
    c->addr = ((t->seq * a->e->op->kv_heads + t->head) * a->tiles + t->tile) * a->q_bytes;
    c->sram = sram;
    c->size = (uint32_t)a->kv_slot;
}

static void scores(struct attend *a, unsigned core, const struct task *t, uint64_t from)
{
    struct npu_emit *e = a->e;
    const struct npu_op *op = e->op;
    uint64_t n = MIN(a->block, t->to - from);
    double bytes = 2.0 * (double)(n * op->dim) * e->work->kv_bytes * a->far;
    bool first = from == t->from;
    struct npu_cmd *c = npu_emit_cmd(e, core, NPU_CMD_LOAD);
    c->take[0] = NPU_A_FREE;
    c->give[0] = first ? NPU_NO_SEM : NPU_A_FULL;
    c->base = NPU_BASE_IN2;
    c->bytes = (uint64_t)bytes;
    bool again = a->cached && t->tile + 1 < a->tiles; /* the last range sees all positions */
    c->level = !c->bytes ? NPU_HERE : again ? NPU_SHARED : (uint8_t)a->kv;
    c->addr = ((t->seq * op->kv_heads + t->head) * op->context + from) * 2 * op->dim *
              e->work->kv_bytes;
    c->sram = a->kv_at + (uint32_t)(a->kv_slot * (a->n_kv++ % NPU_SLOTS));
    c->size = (uint32_t)a->kv_slot;
    if (first)
        queries(a, core, t, c->sram);
    c = matrix(a, core, op->dim, n);
    c->take[0] = NPU_A_FULL;
    c->take[1] = NPU_O_FREE;
    c->give[0] = NPU_O_FULL;
    c->sram = a->p_at + (uint32_t)(a->p_slot * (a->n_score % NPU_SLOTS));
    c->size = (uint32_t)a->p_slot;
    struct npu_cmd *v = npu_emit_cmd(e, core, NPU_CMD_VECTOR);
    v->m = (uint32_t)MIN((double)(a->queries * n) * op->passes, (double)UINT32_MAX);
    v->take[0] = NPU_O_FULL;
    v->give[0] = NPU_P_FULL;
    v->sram = c->sram;
    v->size = c->size;
    a->n_score++;
}

static void values(struct attend *a, unsigned core, const struct task *t, uint64_t from)
{
    uint64_t n = MIN(a->block, t->to - from);
    struct npu_cmd *c = matrix(a, core, n, a->e->op->dim);
    bool first = from == t->from, last = from + n == t->to;
    c->take[0] = NPU_P_FULL;
    c->take[1] = first ? NPU_T_FREE : NPU_NO_SEM; /* a slot for the task's result */
    c->give[0] = NPU_A_FREE;
    c->give[1] = NPU_O_FREE;
    c->give[2] = last ? NPU_S_FULL : NPU_NO_SEM;
    c->sram = a->o_at + (uint32_t)(a->o_slot * (a->n_out % NPU_SLOTS));
    c->size = (uint32_t)a->o_slot;
}

static void emit_task(struct attend *a, unsigned core, const struct task *t)
{
    struct npu_emit *e = a->e;
    for (uint64_t at = t->from; at < t->to + a->block; at += a->block) {
        if (at < t->to)
            scores(a, core, t, at);
        if (at >= t->from + a->block)
            values(a, core, t, at - a->block);
    }
    struct npu_cmd *s = npu_emit_cmd(e, core, NPU_CMD_STORE);
    s->take[0] = NPU_S_FULL;
    s->give[0] = NPU_T_FREE;
    s->base = NPU_BASE_OUT;
    s->level = (uint8_t)(a->parts > 1 ? NPU_SHARED : e->at.out_cores ? NPU_HERE : e->at.out);
    s->bytes = s->level == NPU_HERE
                   ? 0
                   : a->queries * e->op->dim * (a->parts > 1 ? SUM_BYTES : e->work->act_bytes);
    s->addr = (t->seq * e->op->kv_heads + t->head) * a->o_slot;
    s->sram = a->o_at + (uint32_t)(a->o_slot * (a->n_out % NPU_SLOTS));
    s->size = (uint32_t)a->o_slot;
    a->n_out++;
}

static struct task task_at(const struct attend *a, uint64_t id)
{
    const struct npu_op *op = a->e->op;
    struct task t = {.part = id % a->parts};
    id /= a->parts;
    t.tile = id % a->tiles;
    t.head = id / a->tiles % op->kv_heads;
    t.seq = id / a->tiles / op->kv_heads;
    uint64_t past = op->context - MIN(op->rows, op->context);
    uint64_t seen = MIN(op->context, past + (t.tile + 1) * a->rows);
    uint64_t size = (seen + a->parts - 1) / a->parts;
    t.from = MIN(t.part * size, seen - 1);
    t.to = MAX(MIN(t.from + size, seen), t.from + 1);
    return t;
}

/* Sizes of tasks and blocks that fit into half a core's memory. */
static void cut(struct attend *a)
{
    const struct npu_op *op = a->e->op;
    const struct npu_work *w = a->e->work;
    double half = (double)npu_half_bytes(a->e->chip), acc = a->e->chip->v[NPU_ACC] * 1024;
    a->group = MAX(op->heads / op->kv_heads, 1u);
    a->rows = MIN(op->rows, MAX(ROWS_MAX / a->group, 1u));
    a->block = MIN(op->context, BLOCK_MAX);
    for (;;) {
        a->queries = a->rows * a->group;
        double kv = 2.0 * (double)(a->block * op->dim) * w->kv_bytes;
        double p = (double)(a->queries * a->block) * w->act_bytes;
        double o = (double)(a->queries * op->dim) * SUM_BYTES;
        double q = (double)(a->queries * op->dim) * w->act_bytes;
        if ((NPU_SLOTS * (kv + q + p + o) <= half * 0.99 &&
             (double)(a->queries * MAX(a->block, op->dim)) * SUM_BYTES <= acc) ||
            (a->block <= 16 && a->rows == 1))
            break;
        if (a->block > 64 || a->rows == 1)
            a->block = MAX(a->block / 2, 16u);
        else
            a->rows = (a->rows + 1) / 2;
    }
    a->tiles = (op->rows + a->rows - 1) / a->rows;
    uint64_t tasks = op->n_seq * op->kv_heads * a->tiles;
    a->parts = tasks >= a->e->cores ? 1 : (a->e->cores + tasks - 1) / tasks;
    a->parts = MAX(MIN(a->parts, op->context / PART_MIN), 1u);
}

/* Whether a cache holds what all cores read at once: ranges of a head's rows are dealt out one
 * after the other. */
static bool is_cached(const struct attend *a)
{
    const struct npu_chip *c = a->e->chip;
    const struct npu_op *op = a->e->op;
    double heads = ceil((double)a->e->cores / (double)(a->tiles * a->parts));
    double bytes = 2.0 * (double)(op->context * op->dim) * a->e->work->kv_bytes;
    double room = c->v[NPU_SHARED_KIB] * 1024 / a->e->instances;
    return c->cache && a->kv == NPU_MEMORY && heads * bytes <= room;
}

bool npu_emit_attend(struct npu_emit *e, const struct npu_op *op, const struct npu_where *at,
                     uint64_t *parts)
{
    struct attend a = {.e = e, .kv = at->in2};
    npu_emit_begin(e, op, at);
    cut(&a);
    a.cached = is_cached(&a);
    a.far = at->in2 == NPU_SHARED && at->in2_cores ? 1 - 1.0 / e->cores : 1;
    a.q_bytes = a.queries * op->dim * e->work->act_bytes;
    a.kv_slot = (2 * a.block * op->dim * e->work->kv_bytes + a.q_bytes + 63) & ~(uint64_t)63;
    a.p_slot = (a.queries * a.block * e->work->act_bytes + 63) & ~(uint64_t)63;
    a.o_slot = (a.queries * op->dim * SUM_BYTES + 63) & ~(uint64_t)63;
    a.kv_at = 0;
    a.p_at = (uint32_t)(a.kv_at + NPU_SLOTS * a.kv_slot);
    a.o_at = (uint32_t)(a.p_at + NPU_SLOTS * a.p_slot);
    e->half = a.o_at + NPU_SLOTS * a.o_slot;
    uint64_t tasks = op->n_seq * op->kv_heads * a.tiles * a.parts;
    uint64_t run = (tasks + e->cores - 1) / e->cores;
    e->beside = (unsigned)MAX(MIN((uint64_t)e->chip->v[NPU_TILES], run), 1u);
    for (unsigned core = 0; core < e->cores; core++) {
        a.n_kv = a.n_score = a.n_out = 0;
        npu_emit_await(e, core);
        for (uint64_t id = core; id < tasks; id += e->cores) { /* each has short and long ones */
            struct task t = task_at(&a, id);
            emit_task(&a, core, &t);
        }
    }
    npu_emit_end(e);
    *parts = a.parts;
    return a.parts > 1;
}
