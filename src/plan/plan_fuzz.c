/* SPDX-License-Identifier: MIT
 * plan_fuzz.c - any bytes as a model: what opens becomes a plan that prints. */
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
    CHECK_ALL(m->n_layer >= 1 && m->n_head % m->n_kv_head == 0 && m->n_rot <= m->k_dim);
    CHECK_ALL(isfinite(m->attn_scale) && isfinite(m->norm_eps) && isfinite(m->angles.magnitude));
    for (size_t i = 0; i < m->n_rot / 2; i++)
        CHECK_ALL(isfinite(m->angles.inverse[i]));
    for (size_t i = 0; i < m->n_layer; i++) {
        const struct model_layer *l = &m->layers[i];
        CHECK_ALL((!l->angles || l->angles->inverse) && l->window <= INT32_MAX);
        CHECK_ALL(!l->attends || ((m->kv_low || l->q.cols == m->dim) && l->o.rows == m->dim));
        CHECK_ALL(!m->index_top_k || !l->attends || i > 0 || l->indexer.q.rows);
        CHECK_ALL(!l->q_norm.gain == !l->k_norm.gain);
        CHECK_ALL(!l->ffn.n || (l->ffn.down.rows == m->dim && l->ffn.down.cols == l->ffn.n));
        CHECK_ALL(!l->experts.router.rows || l->experts.router.rows == m->n_expert);
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
    }
    str_init(&out, (size_t)1 << 20);
    plan_print(p, &out);
    CHECK_ALL(out.n > 0);
    str_done(&out);
    plan_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct gguf *g;
    struct model *m;
    struct errinfo e = {0};
    if (gguf_open_bytes(&g, data, n, &e) != ERR_OK)
        return 0;
    if (model_open(&m, g, &e) == ERR_OK) {
        check_model(m);
        check_plan(m);
        model_close(m);
    } else
        CHECK_ALL(e.text[0] && !m); /* an error explains itself */
    gguf_close(g);
    return 0;
}
