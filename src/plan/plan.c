/* SPDX-License-Identifier: MIT
 * plan.c - from a model's row of choices to operations, and from their order to places. */
#include "plan/plan.h"

#include "base/num.h"

#include <string.h>

/* The most operations: 20 a layer are more than any choice gives. */
#define PLAN_OPS_A_LAYER 20

static struct plan_op *emit(struct plan *p, enum plan_kind kind, int layer)
{
    CHECK(p->n_ops < (p->model->n_layer + 1) * PLAN_OPS_A_LAYER);
    struct plan_op *op = &p->ops[p->n_ops++];
    *op = (struct plan_op){.kind = kind, .layer = layer};
    return op;
}

static void emit_norm(struct plan *p, int layer, enum plan_buf dst, enum plan_buf src,
                      const float *gain, size_t n, size_t n_groups)
{
    struct plan_op *op = emit(p, PLAN_NORM, layer);
    op->dst = dst;
    op->src = src;
    op->gain = gain;
    op->n = n;
    op->n_groups = n_groups;
    op->by = p->model->norm_eps;
}

static struct plan_op *emit_matmul(struct plan *p, int layer, enum plan_buf src)
{
    struct plan_op *op = emit(p, PLAN_MATMUL, layer);
    op->src = src;
    return op;
}

static void add_part(struct plan_op *op, enum plan_buf dst, const struct model_matrix *w,
                     const float *bias)
{
    CHECK(op->n_parts < PLAN_PARTS_MAX);
    CHECK(op->n_parts == 0 || op->part[0].weight->cols == w->cols);
    op->part[op->n_parts++] = (struct plan_part){w, bias, dst};
    op->dst = op->part[0].dst;
}

static void emit_pick(struct plan *p, int layer, enum plan_buf dst, enum plan_buf src)
{
    struct plan_op *op = emit(p, PLAN_PICK, layer);
    op->dst = dst;
    op->src = src;
}

/* The end of a block: its output meets the residual stream x, through a norm where there is one. */
static void emit_output(struct plan *p, int layer, enum plan_buf x, enum plan_buf src,
                        const struct model_matrix *w, const float *bias, const float *post_norm)
{
    struct plan_op *op = emit_matmul(p, layer, src);
    op->add = !post_norm;
    add_part(op, post_norm ? PLAN_DELTA : x, w, bias);
    if (!post_norm)
        return;
    emit_norm(p, layer, PLAN_DELTA, PLAN_DELTA, post_norm, p->model->dim, 1);
    op = emit(p, PLAN_ADD, layer);
    op->dst = x;
    op->src = PLAN_DELTA;
    op->n = p->model->dim;
}

/* The queries, keys and values of a layer, and the mix of values. */
static void emit_attention(struct plan *p, int i)
{
    const struct model *m = p->model;
    const struct model_layer *l = &m->layers[i];
    emit_norm(p, i, PLAN_NORMED, PLAN_X, l->attn_norm, m->dim, 1);
    struct plan_op *op = emit_matmul(p, i, PLAN_NORMED);
    add_part(op, PLAN_Q, &l->q, l->q_bias);
    add_part(op, PLAN_K, &l->k, l->k_bias);
    add_part(op, PLAN_V, &l->v, l->v_bias);
    if (l->q_norm) {
        emit_norm(p, i, PLAN_Q, PLAN_Q, l->q_norm, m->k_dim, m->n_head);
        emit_norm(p, i, PLAN_K, PLAN_K, l->k_norm, m->k_dim, m->n_kv_head);
    }
    op = emit(p, PLAN_ROPE, i);
    op->dst = PLAN_Q;
    op->src = PLAN_K;
    op->angles = l->angles;
    op = emit(p, PLAN_STORE, i);
    op->src = PLAN_K;
    op->src2 = PLAN_V;
    op = emit(p, PLAN_ATTEND, i);
    op->dst = PLAN_MIX;
    op->src = PLAN_Q;
    op->by = m->attn_scale;
    op->cap = m->attn_cap;
    op->window = l->window;
}

static void emit_ffn(struct plan *p, int i, enum plan_buf x)
{
    const struct model_layer *l = &p->model->layers[i];
    emit_norm(p, i, PLAN_NORMED, x, l->ffn_norm, p->model->dim, 1);
    struct plan_op *op = emit_matmul(p, i, PLAN_NORMED);
    add_part(op, PLAN_GATE, &l->gate, NULL);
    add_part(op, PLAN_UP, &l->up, NULL);
    op = emit(p, PLAN_GLU, i);
    op->dst = PLAN_GATE;
    op->src = PLAN_GATE;
    op->src2 = PLAN_UP;
    op->n = p->model->ff;
    emit_output(p, i, x, PLAN_GATE, &l->down, NULL, l->ffn_post_norm);
}

/* Once the last layer has stored its keys and values, only the rows count of which something is
 * wanted: the rest of it, most of its work, is for them alone. */
static void emit_layer(struct plan *p, int i)
{
    const struct model_layer *l = &p->model->layers[i];
    bool last = (size_t)i + 1 == p->model->n_layer;
    enum plan_buf x = last ? PLAN_PICKED : PLAN_X, mix = last ? PLAN_PICKED_MIX : PLAN_MIX;
    emit_attention(p, i);
    size_t from = p->n_ops;
    if (last) {
        emit_pick(p, i, x, PLAN_X);
        emit_pick(p, i, mix, PLAN_MIX);
    }
    emit_output(p, i, x, mix, &l->o, l->o_bias, l->attn_post_norm);
    emit_ffn(p, i, x);
    for (; last && from < p->n_ops; from++)
        p->ops[from].rows = PLAN_ROWS_WANTED;
}

static void emit_head(struct plan *p)
{
    const struct model *m = p->model;
    emit_norm(p, -1, PLAN_PICKED, PLAN_PICKED, m->output_norm, m->dim, 1);
    p->ops[p->n_ops - 1].rows = PLAN_ROWS_WANTED;
    size_t from = p->n_ops;
    struct plan_op *op = emit_matmul(p, -1, PLAN_PICKED);
    add_part(op, PLAN_LOGITS, &m->output, NULL);
    if (m->logit_cap > 0) {
        op = emit(p, PLAN_SOFTCAP, -1);
        op->dst = op->src = PLAN_LOGITS;
        op->n = m->n_vocab;
        op->by = m->logit_cap;
    }
    for (; from < p->n_ops; from++)
        p->ops[from].rows = PLAN_ROWS_OUT;
}

/* First and last operation that touches each buffer. */
struct life {
    size_t first, last;
    bool used;
};

static void touch(struct life *life, size_t at)
{
    life->first = life->used ? life->first : at;
    life->last = at;
    life->used = true;
}

static void find_lives(const struct plan *p, struct life life[PLAN_BUF_N])
{
    memset(life, 0, PLAN_BUF_N * sizeof *life);
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        if (op->kind != PLAN_EMBED)
            touch(&life[op->src], i);
        if (op->kind != PLAN_STORE)
            touch(&life[op->dst], i);
        if (op->kind == PLAN_STORE || op->kind == PLAN_GLU)
            touch(&life[op->src2], i);
        for (int k = 0; k < op->n_parts; k++)
            touch(&life[op->part[k].dst], i);
    }
}

/* Within one layer buffers come and go, and every layer is alike: a buffer that is written anew in
 * each layer lives from its first to its last use there, which layer 0 shows.  The residual
 * stream lives throughout; what is picked in the last layer, from the end of its attention. */
static void layer_lives(const struct plan *p, struct life life[PLAN_BUF_N])
{
    struct plan one = *p;
    size_t n = 1, picks = 0;
    for (; n < p->n_ops && p->ops[n].layer == 0; n++)
        if (p->ops[n].kind == PLAN_ATTEND)
            picks = n + 1;
    one.n_ops = n;
    find_lives(&one, life);
    life[PLAN_X] = (struct life){0, p->n_ops, true};
    life[PLAN_MIX].last = MAX(life[PLAN_MIX].last, picks);
    life[PLAN_PICKED] = life[PLAN_PICKED_MIX] = (struct life){picks, p->n_ops, true};
    life[PLAN_LOGITS] = (struct life){0};
}

static bool lives_meet(const struct life *a, const struct life *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* First fit: the lowest place where no buffer lies whose life meets. */
static size_t find_place(const struct plan *p, const struct life *life, int b)
{
    size_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int o = 0; o < b; o++)
            if (life[o].used && lives_meet(&life[o], &life[b]) && at < p->place[o] + p->width[o] &&
                p->place[o] < at + p->width[b]) {
                at = p->place[o] + p->width[o];
                moved = true;
            }
    }
    return at;
}

static void place_buffers(struct plan *p)
{
    const struct model *m = p->model;
    struct life life[PLAN_BUF_N];
    const size_t width[PLAN_BUF_N] = {
        [PLAN_X] = m->dim,
        [PLAN_NORMED] = m->dim,
        [PLAN_Q] = m->n_head * m->k_dim,
        [PLAN_K] = m->n_kv_head * m->k_dim,
        [PLAN_V] = m->n_kv_head * m->v_dim,
        [PLAN_MIX] = m->n_head * m->v_dim,
        [PLAN_GATE] = m->ff,
        [PLAN_UP] = m->ff,
        [PLAN_DELTA] = m->dim,
        [PLAN_PICKED] = m->dim,
        [PLAN_PICKED_MIX] = m->n_head * m->v_dim,
        [PLAN_LOGITS] = m->n_vocab,
    };
    layer_lives(p, life);
    for (int b = 0; b < PLAN_BUF_N; b++) {
        /* whole cache lines, so that threads do not share them */
        p->width[b] = life[b].used || b == PLAN_LOGITS ? num_align(width[b], 16) : 0;
        if (b == PLAN_LOGITS || !life[b].used)
            continue;
        p->place[b] = find_place(p, life, b);
        p->row_floats = MAX(p->row_floats, p->place[b] + p->width[b]);
    }
}

struct plan *plan_new(const struct model *m)
{
    struct plan *p = mem_alloc(sizeof *p);
    p->model = m;
    p->ops = mem_alloc((m->n_layer + 1) * PLAN_OPS_A_LAYER * sizeof *p->ops);
    struct plan_op *op = emit(p, PLAN_EMBED, -1);
    op->dst = PLAN_X;
    op->table = &m->embed;
    op->by = m->embed_scale;
    for (int i = 0; i < (int)m->n_layer; i++)
        emit_layer(p, i);
    emit_head(p);
    place_buffers(p);
    return p;
}

void plan_free(struct plan *p)
{
    if (!p)
        return;
    mem_free(p->ops);
    mem_free(p);
}
