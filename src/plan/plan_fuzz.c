/* SPDX-License-Identifier: MIT
 * plan_fuzz.c - any bytes as a model, and as a projector of pictures: what opens becomes a plan
 * that prints. */
#include "base/num.h"
#include "base/str.h"
#include "model/model.h"
#include "plan/plan.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define CHECK_ALL(cond)                                                                            \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

/* What every device takes for granted. */
static void check_model(const struct model *m)
{
    CHECK_ALL(m->n_layer >= 1 && m->n_head % m->n_kv_head == 0);
    CHECK_ALL(isfinite(m->attn_scale) && isfinite(m->norm_eps) && isfinite(m->angles.magnitude));
    CHECK_ALL(m->vision || m->n_rot <= m->k_dim); /* in a projector nothing turns */
    for (size_t i = 0; !m->vision && i < m->n_rot / 2; i++)
        CHECK_ALL(isfinite(m->angles.inverse[i]));
    for (size_t i = 0; i < m->n_layer; i++) {
        const struct model_layer *l = &m->layers[i];
        CHECK_ALL((!l->angles || l->angles->inverse) && l->window <= INT32_MAX);
        CHECK_ALL(!l->attends ||
                  ((model_is_latent(m) || l->q.cols == m->dim) && l->o.rows == m->dim));
        CHECK_ALL(!m->index_top_k || !l->attends || i > 0 || l->indexer.q.rows);
        CHECK_ALL(l->reuses_kv || !l->q_norm.gain == !l->k_norm.gain);
        CHECK_ALL(!l->ffn.n || (l->ffn.down.rows == m->dim && l->ffn.down.cols == l->ffn.n));
        CHECK_ALL(!l->experts.router.rows || l->experts.router.rows == m->n_expert);
    }
}

/* Behind the last of n_groups groups of n numbers. */
static size_t end_of(const struct plan_groups *g, size_t n_groups, size_t n)
{
    return n_groups ? g->at + (n_groups - 1) * g->stride + n : 0;
}

/* What states are written with and read by: of heads, or of groups of them. */
static void check_in(const struct plan *p, const struct plan_op *op)
{
    const struct model_mixer_sizes *s = &p->model->mixer;
    bool scan = op->kind == PLAN_SCAN && op->mixer->kind == MODEL_SCAN_HEADS;
    for (int k = 0; (scan || op->kind == PLAN_WKV) && k < op->n_in; k++) {
        size_t n = k == 2 || k == 3 ? s->groups * s->state : scan && k == 1 ? s->heads : s->inner;
        CHECK_ALL(op->in[k].at + n <= p->width[op->in[k].buf]);
    }
    if (op->kind == PLAN_LERP)
        CHECK_ALL(op->n_in == 0 || op->in[0].at + op->n <= p->width[op->in[0].buf]);
}

static void check_attention(const struct plan *p, const struct plan_op *op)
{
    const struct model *m = p->model;
    const struct model_layer *l = &m->layers[op->layer];
    size_t to = p->width[op->dst], from = p->width[op->src], also = p->width[op->src2];
    switch (op->kind) {
    case PLAN_STORE:
        CHECK_ALL(l->n_kv_head * l->k_dim <= from && l->n_kv_head * l->v_dim <= also);
        break;
    case PLAN_ATTEND: CHECK_ALL(l->n_head * l->k_dim <= from && l->n_head * l->v_dim <= to); break;
    case PLAN_STORE_INDEX: CHECK_ALL(m->index_dim <= from); break;
    case PLAN_INDEX:
        CHECK_ALL(m->index_heads * m->index_dim <= from && m->index_heads <= also);
        break;
    default: break;
    }
}

/* An operation stays within its rows. */
static void check_bounds(const struct plan *p, const struct plan_op *op)
{
    size_t to = p->width[op->dst], from = p->width[op->src];
    check_in(p, op);
    if (op->layer >= 0)
        check_attention(p, op);
    switch (op->kind) {
    case PLAN_MATMUL:
    case PLAN_EXPERTS: CHECK_ALL(op->part[0].weight->cols <= from); break;
    case PLAN_ROPE:
        CHECK_ALL(end_of(&op->to, op->n_groups, op->angles->n_rot) <= to);
        CHECK_ALL(op->alone || end_of(&op->from, op->n, op->angles->n_rot) <= from);
        break;
    case PLAN_COPY:
        CHECK_ALL(end_of(&op->to, op->n_groups, op->n) <= to);
        CHECK_ALL(end_of(&op->from, op->n_groups, op->n) <= from);
        break;
    case PLAN_HEADS:
        CHECK_ALL(end_of(&op->to, op->n_groups, plan_part_rows(op, 0)) <= to);
        CHECK_ALL(end_of(&op->from, op->n_groups, op->part[0].weight->cols) <= from);
        break;
    case PLAN_NORM: CHECK_ALL(op->n * op->n_groups <= MIN(to, from)); break;
    case PLAN_LERP:
    case PLAN_BLEND: CHECK_ALL(op->n <= p->width[op->src2]); /* fall through */
    case PLAN_MUL:
    case PLAN_POOL:
    case PLAN_SHIFT:
    case PLAN_SIGMOID: CHECK_ALL(op->n <= MIN(to, from)); break;
    default: break;
    }
}

/* The buffers that an operation touches are there. */
static void check_plan(const struct model *m)
{
    struct plan *p = plan_new(m);
    struct str out;
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        CHECK_ALL(op->kind == PLAN_STORE || p->width[op->dst] > 0);
        CHECK_ALL(p->width[op->src] > 0 && (op->kind != PLAN_ROPE || op->angles));
        for (int k = 0; k < op->n_parts; k++)
            CHECK_ALL(p->width[op->part[k].dst] >= plan_part_rows(op, k));
        check_bounds(p, op);
    }
    str_init(&out, (size_t)1 << 20);
    plan_print(p, &out);
    CHECK_ALL(out.n > 0);
    str_done(&out);
    plan_free(p);
}

static void check_file(const struct gguf *g,
                       enum err (*open)(struct model **, const struct gguf *, struct errinfo *))
{
    struct model *m;
    struct errinfo e = {0};
    if (open(&m, g, &e) == ERR_OK) {
        check_model(m);
        check_plan(m);
        model_close(m);
    } else
        CHECK_ALL(e.text[0] && !m); /* an error explains itself */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct gguf *g;
    struct errinfo e = {0};
    if (gguf_open_bytes(&g, data, n, &e) != ERR_OK)
        return 0;
    check_file(g, model_open);
    check_file(g, model_open_vision);
    gguf_close(g);
    return 0;
}
