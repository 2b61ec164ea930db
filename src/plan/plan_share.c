/* SPDX-License-Identifier: MIT
 * plan_share.c - a view of the model with fewer rows and heads, its plan, and exchanges in it. */
#include "plan/plan_share.h"

#include "base/num.h"
#include "plan/plan_int.h"

#include <string.h>

/* Rows are dealt out in panels (kern/mm.h), unless a matrix is so small that some would get none.
 */
#define SHARE_UNIT 16

struct share {
    struct plan_ranks of;
    size_t t;          /* the rank's number in its stage */
    size_t from, to;   /* layers */
    struct model *m;   /* the view */
    struct plan *plan; /* that is made */
    /* Bounds, as in struct plan_op: */
    const size_t *dim;     /* of the residual stream */
    const size_t *mix;     /* of what heads give to the output matrix; NULL: each rank has all */
    const size_t *experts; /* in experts */
    const size_t *vocab;   /* of the logits */
    const size_t *ff;      /* of the feed-forward block that is put */
};

/* [tensor + 1] */
static const size_t *bounds_of(struct share *s, size_t n)
{
    size_t *b = arena_array(&s->plan->own, s->of.tensor + 1, sizeof *b);
    size_t unit = n >= 4 * SHARE_UNIT * s->of.tensor ? SHARE_UNIT : 1, units = n / unit;
    for (size_t t = 0; t < s->of.tensor; t++)
        b[t] = units * t / s->of.tensor * unit;
    b[s->of.tensor] = n;
    return b;
}

/* ---- the view of the model ---- */

static void cut_rows(struct model_matrix *w, const float **bias, size_t from, size_t to)
{
    if (w->data)
        w->data += from * format_bytes(w->format, w->cols);
    w->rows = to - from;
    if (bias && *bias)
        *bias += from;
}

/* A norm a head: of heads from `from` on. */
static void cut_norm(struct model_norm *x, size_t from, size_t n_heads)
{
    if (!x->gain || x->n_gains == 1)
        return;
    x->gain += from * x->n;
    if (x->bias)
        x->bias += from * x->n;
    x->n_gains = n_heads;
}

/* Can heads be dealt out?  Not where a norm is of all of them, and not unless each rank gets one.
 */
static bool heads_part(const struct share *s)
{
    const struct model *m = s->m;
    size_t n = s->of.tensor, group = m->n_head / m->n_kv_head;
    if (n == 1 || m->alibi > 0 || m->kv_from)
        return false;
    if (n > m->n_kv_head && (n % m->n_kv_head != 0 || n / m->n_kv_head > group))
        return false;
    for (size_t i = s->from; i < s->to; i++) {
        const struct model_layer *l = &m->layers[i];
        if (l->q_gated || (l->q_norm.gain && l->q_norm.n > m->k_dim) ||
            (l->k_norm.gain && l->k_norm.n > m->k_dim))
            return false;
    }
    return true;
}

struct heads {
    size_t q, n_q, kv, n_kv; /* first, and how many */
};

/* Of rank t: some key-value heads with their queries, or a part of the queries of one. */
static struct heads heads_of(const struct share *s, const struct model *m, size_t t)
{
    size_t n = s->of.tensor, group = m->n_head / m->n_kv_head;
    if (n <= m->n_kv_head) {
        size_t kv = m->n_kv_head * t / n, end = m->n_kv_head * (t + 1) / n;
        return (struct heads){kv * group, (end - kv) * group, kv, end - kv};
    }
    size_t a_head = n / m->n_kv_head, kv = t / a_head, part = t % a_head;
    size_t q = group * part / a_head, end = group * (part + 1) / a_head;
    return (struct heads){kv * group + q, end - q, kv, 1};
}

/* The keys and values, which all heads share, are made by each rank. */
static void cut_latent(const struct model *m, struct model_latent *x, const struct heads *h)
{
    size_t from = h->q, to = h->q + h->n_q;
    cut_rows(&x->q_high, NULL, from * m->head_dim, to * m->head_dim);
    cut_rows(&x->to_low, NULL, from * m->kv_low, to * m->kv_low);
    cut_rows(&x->to_value, NULL, from * m->value_dim, to * m->value_dim);
}

static void cut_heads(struct share *s)
{
    struct model *m = s->m;
    if (!heads_part(s))
        return;
    size_t *mix = arena_array(&s->plan->own, s->of.tensor + 1, sizeof *mix);
    size_t value = m->kv_low ? m->value_dim : m->v_dim;
    for (size_t t = 0; t < s->of.tensor; t++)
        mix[t] = heads_of(s, m, t).q * value;
    mix[s->of.tensor] = m->n_head * value;
    s->mix = mix;
    struct heads h = heads_of(s, m, s->t);
    for (size_t i = s->from; i < s->to; i++) {
        struct model_layer *l = &m->layers[i];
        if (!l->attends)
            continue;
        l->n_head = h.n_q;
        if (l->sinks)
            l->sinks += h.q;
        if (m->kv_low) {
            cut_latent(m, &l->latent, &h);
            continue;
        }
        cut_rows(&l->q, &l->q_bias, h.q * m->k_dim, (h.q + h.n_q) * m->k_dim);
        cut_rows(&l->k, &l->k_bias, h.kv * m->k_dim, (h.kv + h.n_kv) * m->k_dim);
        cut_rows(&l->v, &l->v_bias, h.kv * m->v_dim, (h.kv + h.n_kv) * m->v_dim);
        cut_norm(&l->q_norm, h.q, h.n_q);
        cut_norm(&l->k_norm, h.kv, h.n_kv);
        l->n_kv_head = h.n_kv;
    }
    m->n_head = h.n_q;
    m->n_kv_head = h.n_kv;
}

static void cut_ffn(struct share *s, struct model_ffn *f)
{
    const size_t *b = bounds_of(s, f->n);
    size_t from = b[s->t], to = b[s->t + 1];
    if (f->gate.rows)
        cut_rows(&f->gate, &f->gate_bias, from, to);
    cut_rows(&f->up, &f->up_bias, from, to);
    cut_rows(&f->down, &f->down_bias, s->dim[s->t], s->dim[s->t + 1]);
    f->n = to - from;
}

/* Whole experts. */
static void cut_experts(struct share *s, struct model_experts *x)
{
    struct model_ffn *f = &x->each;
    size_t from = s->experts[s->t], to = s->experts[s->t + 1], dim = s->m->dim;
    if (f->gate.rows)
        cut_rows(&f->gate, &f->gate_bias, from * f->n, to * f->n);
    size_t up = f->fused ? 2 * f->n : f->n;
    cut_rows(&f->up, &f->up_bias, from * up, to * up);
    cut_rows(&f->down, &f->down_bias, from * dim, to * dim);
    if (x->shared.n)
        cut_ffn(s, &x->shared);
}

static void cut(struct share *s)
{
    struct model *m = s->m;
    s->experts = bounds_of(s, m->n_expert);
    s->dim = bounds_of(s, m->dim);
    s->vocab = bounds_of(s, m->output.rows);
    cut_heads(s);
    for (size_t i = s->from; i < s->to; i++) {
        struct model_layer *l = &m->layers[i];
        if (l->attends || l->linear)
            cut_rows(&l->o, &l->o_bias, s->dim[s->t], s->dim[s->t + 1]);
        if (l->ffn.n)
            cut_ffn(s, &l->ffn);
        if (l->experts.router.rows)
            cut_experts(s, &l->experts);
    }
    cut_rows(&m->output, &m->output_bias, s->vocab[s->t], s->vocab[s->t + 1]);
}

/* The view shares what it points to with the model; a stage's layers that attend are numbered anew,
 * since its pages hold no others. */
static void view(struct share *s, const struct model *all)
{
    struct model *m = s->m = arena_array(&s->plan->own, 1, sizeof *m);
    *m = *all;
    m->layers = arena_array(&s->plan->own, m->n_layer, sizeof *m->layers);
    memcpy(m->layers, all->layers, m->n_layer * sizeof *m->layers);
    m->n_attend = 0;
    m->has_state = false;
    for (size_t i = 0; i < m->n_layer; i++) {
        struct model_layer *l = &m->layers[i];
        l->angles = l->angles == &all->angles         ? &m->angles
                    : l->angles == &all->angles_local ? &m->angles_local
                                                      : l->angles;
        if (i >= s->from && i < s->to && l->attends && !l->reuses_kv)
            l->kv_index = m->n_attend++;
        m->has_state |= i >= s->from && i < s->to && l->mixer.kind != MODEL_NO_MIXER;
    }
}

/* ---- its plan ---- */

static struct plan_op *put(struct plan *p, const struct plan_op *op)
{
    p->ops[p->n_ops] = *op;
    return &p->ops[p->n_ops++];
}

static void put_gather(const struct share *s, const struct plan_op *by, enum plan_buf buf,
                       const size_t *bounds)
{
    put(s->plan, &(struct plan_op){.kind = PLAN_GATHER,
                                   .rows = by->rows,
                                   .layer = by->layer,
                                   .dst = buf,
                                   .src = buf,
                                   .n = bounds[s->of.tensor],
                                   .n_groups = s->of.tensor,
                                   .bounds = bounds,
                                   .to_first = buf == PLAN_LOGITS});
}

/* The feed-forward block of all rows that a matrix belongs to; NULL: to none. */
static const struct model_ffn *block_of(const struct model_layer *l, const struct model_matrix *w)
{
    const struct model_ffn *of[] = {&l->ffn, &l->experts.shared};
    for (size_t i = 0; i < N_ELEMS(of); i++)
        if (w == &of[i]->gate || w == &of[i]->up || w == &of[i]->down)
            return of[i];
    return NULL;
}

/* A product of a layer: where its rows begin, and what has to be there before and is made whole
 * after it. */
static void put_product(struct share *s, const struct plan_op *op)
{
    const struct model_layer *l = op->layer >= 0 ? &s->m->layers[op->layer] : NULL;
    const struct model_matrix *w = op->part[0].weight;
    const struct model_ffn *f = l ? block_of(l, w) : NULL;
    bool ends = f && w == &f->down;
    s->ff = f ? bounds_of(s, f->down.cols) : s->ff;
    if (l && w == &l->o && l->attends && s->mix)
        put_gather(s, op, op->src, s->mix);
    if (ends)
        put_gather(s, op, op->src, s->ff);
    struct plan_op *x = put(s->plan, op);
    for (int k = 0; f && !ends && k < x->n_parts; k++)
        x->part[k].at = s->ff[s->t];
    const size_t *whole = w == &s->m->output ? s->vocab : ends || (l && w == &l->o) ? s->dim : NULL;
    if (!whole)
        return;
    x->part[0].at = whole[s->t];
    put_gather(s, op, op->part[0].dst, whole);
}

/* Products of spread rows, and what is between them: with the experts that are here.  The results
 * are gathered by expert. */
static void put_spread(struct share *s, const struct plan_op *op)
{
    struct plan_op *x = put(s->plan, op);
    x->expert = s->experts[s->t];
    x->n_experts = s->experts[s->t + 1] - x->expert;
    if (op->kind != PLAN_EXPERTS || op->part[0].dst != PLAN_SPREAD_OUT)
        return;
    put_gather(s, op, PLAN_SPREAD_OUT, s->experts);
    s->plan->ops[s->plan->n_ops - 1].spread = true;
    s->plan->ops[s->plan->n_ops - 1].n = s->m->dim;
}

static void put_op(struct share *s, const struct plan_op *op)
{
    if (op->kind == PLAN_MATMUL) {
        put_product(s, op);
        return;
    }
    if (op->kind == PLAN_EXPERTS || (op->kind == PLAN_GLU && op->spread)) {
        put_spread(s, op);
        return;
    }
    struct plan_op *x = put(s->plan, op);
    if (op->kind == PLAN_GLU)
        x->at = s->ff[s->t];
    if (op->kind == PLAN_ATTEND && s->mix && !s->m->kv_low)
        x->at = s->mix[s->t];
    if (op->kind == PLAN_HEADS && op->dst == PLAN_VALUES && s->mix)
        x->to.at += s->mix[s->t];
}

static void put_stream(struct share *s, enum plan_kind kind)
{
    put(s->plan, &(struct plan_op){.kind = kind,
                                   .layer = -1,
                                   .dst = PLAN_X,
                                   .src = PLAN_X,
                                   .n = s->m->dim,
                                   .n_groups = s->of.tensor * s->of.pipeline});
}

/* What follows the gathered logits is for the first rank alone. */
static void put_all(struct share *s, const struct plan *part)
{
    s->plan->ops = mem_alloc((3 * part->n_ops + 2) * sizeof *s->plan->ops);
    if (s->from > 0)
        put_stream(s, PLAN_RECEIVE);
    for (size_t i = 0; i < part->n_ops; i++) {
        const struct plan_op *op = &part->ops[i];
        bool product = op->kind == PLAN_MATMUL;
        if (op->rows == PLAN_ROWS_OUT && !product && s->t > 0)
            continue;
        if (s->of.tensor > 1)
            put_op(s, op);
        else
            put(s->plan, op);
    }
    if (s->to < s->m->n_layer)
        put_stream(s, PLAN_SEND);
}

/* ---- what cannot be dealt out ---- */

static enum err refuse(const struct model *m, const char *what, struct errinfo *e)
{
    return err_set(e, ERR_UNSUPPORTED,
                   "the family %s, %s, is not dealt out by its matrices; by its layers it is: "
                   "--pipeline-parallel",
                   m->arch->name, what);
}

static enum err check(const struct model *m, const struct plan_ranks *of, struct errinfo *e)
{
    if (!m->output.rows)
        return err_set(
            e, ERR_UNSUPPORTED,
            "a model of the family %s that makes vectors or scores of texts is computed by "
            "one process",
            m->arch->name);
    if (of->pipeline > m->n_layer)
        return err_set(e, ERR_USAGE, "%zu layers cannot be dealt out to %zu processes", m->n_layer,
                       of->pipeline);
    if (of->tensor == 1)
        return ERR_OK;
    if (of->tensor > MIN(m->dim, m->n_vocab))
        return err_set(e, ERR_USAGE, "a width of %zu cannot be dealt out to %zu processes", m->dim,
                       of->tensor);
    if (m->n_input || m->n_streams)
        return refuse(m, "which has embeddings for each layer", e);
    for (size_t i = 0; i < m->n_layer; i++) {
        const struct model_layer *l = &m->layers[i];
        if (l->attends && !m->kv_low &&
            (l->reuses_kv || l->gate.rows || !l->v.rows || l->n_kv_head != m->n_kv_head ||
             l->n_head != m->n_head || l->k_dim != m->k_dim))
            return refuse(m, "whose heads are not the same in all layers, or gated", e);
        if (l->experts.router_norm.gain || l->experts.input_norm.gain)
            return refuse(m, "whose experts stand beside a block", e);
        if (l->experts.router.rows && m->n_expert < of->tensor)
            return refuse(m, "with fewer experts than processes", e);
        if (l->experts.shared.n && l->experts.shared.n < of->tensor)
            return refuse(m, "whose blocks are narrow", e);
        if (l->mixer.kind == MODEL_WKV7)
            return err_set(e, ERR_UNSUPPORTED,
                           "the family %s, whose layers read the first one's values, is computed "
                           "by one process",
                           m->arch->name);
        if (l->mixer.kind != MODEL_NO_MIXER)
            return refuse(m, "whose layers have states", e);
        if (l->ffn.n && l->ffn.n < of->tensor)
            return refuse(m, "whose blocks are narrow", e);
    }
    return ERR_OK;
}

/* A stage knows of those before it what the residual stream says, and nothing else: so that a
 * family whose layers share more is not computed wrongly. */
static enum err check_stage(const struct share *s, const struct plan *part, struct errinfo *e)
{
    bool made[PLAN_BUF_N] = {[PLAN_X] = true}, there = true, chosen = false;
    int stored = -1;
    for (size_t i = 0; i < part->n_ops && there; i++) {
        const struct plan_op *op = &part->ops[i];
        if (op->kind == PLAN_STORE)
            stored = op->layer;
        chosen |= op->kind == PLAN_INDEX;
        there = op->kind == PLAN_EMBED || made[op->src];
        if (op->kind == PLAN_ATTEND)
            there = there && stored == op->layer && (chosen || !op->n);
        for (int k = 0; k < op->n_in; k++)
            there = there && made[op->in[k].buf];
        for (int k = 0; k < op->n_parts; k++)
            made[op->part[k].dst] = true;
        made[op->dst] = true;
    }
    return there ? ERR_OK
                 : err_set(e, ERR_UNSUPPORTED,
                           "the family %s, whose layers read more of each other than the residual "
                           "stream, is not dealt out by its layers",
                           s->m->arch->name);
}

/* All of them, so that each rank says the same. */
static enum err check_stages(const struct share *s, struct errinfo *e)
{
    size_t n = s->m->n_layer, of = s->of.pipeline;
    enum err r = ERR_OK;
    for (size_t k = 0; of > 1 && k < of && r == ERR_OK; k++) {
        struct plan *part = plan_of_layers(s->m, n * k / of, n * (k + 1) / of);
        r = check_stage(s, part, e);
        plan_free(part);
    }
    return r;
}

/* What a matrix with a scale gives would have to be scaled before it is gathered. */
static enum err check_scales(const struct model *m, const struct plan *part, struct errinfo *e)
{
    for (size_t i = 0; i < part->n_ops; i++)
        for (int k = 0; k < part->ops[i].n_parts; k++)
            if (part->ops[i].part[k].weight->scale)
                return refuse(m, "whose matrices have scales", e);
    return ERR_OK;
}

enum err plan_share_new(struct plan **out, const struct model *m, const struct plan_ranks *of,
                        size_t rank, struct errinfo *e)
{
    size_t stage = plan_stage(of, rank);
    struct share s = {.of = *of,
                      .t = rank % of->tensor,
                      .from = m->n_layer * stage / of->pipeline,
                      .to = m->n_layer * (stage + 1) / of->pipeline};
    *out = NULL;
    CHECK(rank < of->tensor * of->pipeline && of->tensor * of->pipeline <= PLAN_RANKS_MAX);
    TRY(check(m, of, e));
    s.plan = mem_alloc(sizeof *s.plan);
    arena_init(&s.plan->own);
    view(&s, m);
    s.plan->model = s.m;
    if (of->tensor > 1)
        cut(&s);
    struct plan *part = plan_of_layers(s.m, s.from, s.to);
    enum err r = check_stages(&s, e);
    if (r == ERR_OK && of->tensor > 1)
        r = check_scales(m, part, e);
    put_all(&s, part);
    s.plan->state_floats = part->state_floats;
    s.plan->hidden = part->hidden;
    plan_free(part);
    if (r != ERR_OK) {
        plan_free(s.plan);
        return r;
    }
    plan_place(s.plan);
    *out = s.plan;
    return ERR_OK;
}
