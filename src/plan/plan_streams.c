/* SPDX-License-Identifier: MIT
 * plan_streams.c - several residual streams of which a layer's blocks see one (Baykal et al. 2023,
 * "Alternating Updates"; Gemma 3n): the layer guesses what all become, works on the first, and puts
 * all right by how wrong that guess was.  Beside the attention is a small product of what it reads
 * (LAuReL, Menghani et al. 2024). */
#include "plan/plan_int.h"

#include <math.h>

/* buf times what makes it as large as the first stream is. */
static void emit_size(struct plan *p, enum plan_buf buf)
{
    struct plan_op *op = emit(p, PLAN_SIZE, -1, buf, PLAN_STREAMS);
    op->n = p->model->dim;
    op->by = 1e-5f; /* the least mean square, of the models' code */
}

/* n numbers of each row to place `at` of the streams. */
static void emit_put(struct plan *p, size_t at, enum plan_buf src)
{
    emit_take(p, -1, PLAN_STREAMS, src, 0, p->model->dim);
    p->ops[p->n_ops - 1].to.at = at;
}

void plan_begin_streams(struct plan *p)
{
    const struct model *m = p->model;
    emit_put(p, 0, PLAN_X);
    for (size_t k = 1; k < m->n_streams; k++) {
        emit_matmul(p, -1, PLAN_DELTA, PLAN_X, &m->stream_in[k - 1], NULL);
        emit_size(p, PLAN_DELTA);
        emit_put(p, k * m->dim, PLAN_DELTA);
    }
}

/* COEFS = w x tanh(router x norm(x)). */
static void emit_coefs(struct plan *p, int i, const struct model_matrix *w)
{
    const struct model *m = p->model;
    const struct model_streams *s = &m->layers[i].streams;
    emit_norm(p, i, PLAN_DELTA, PLAN_X, &s->router_norm);
    emit_matmul(p, i, PLAN_MODES, PLAN_DELTA, &s->router, NULL);
    emit_by(p, PLAN_SOFTCAP, i, PLAN_MODES, m->n_streams, 1, 0);
    emit_matmul(p, i, PLAN_COEFS, PLAN_MODES, w, NULL);
}

void plan_predict_streams(struct plan *p, int i)
{
    const struct model *m = p->model;
    emit_take(p, i, PLAN_X, PLAN_STREAMS, 0, m->dim);
    emit_coefs(p, i, &m->layers[i].streams.predict);
    struct plan_op *op = emit(p, PLAN_PREDICT, i, PLAN_STREAMS, PLAN_COEFS);
    op->n = m->dim;
    emit_take(p, i, PLAN_X, PLAN_STREAMS, 0, m->dim);
}

void plan_join_laurel(struct plan *p, int i, enum plan_buf normed)
{
    const struct model_streams *s = &p->model->layers[i].streams;
    emit_matmul(p, i, PLAN_LAUREL, normed, &s->laurel_low, NULL);
    emit_matmul(p, i, PLAN_DELTA, PLAN_LAUREL, &s->laurel_high, NULL);
    emit_norm(p, i, PLAN_DELTA, PLAN_DELTA, &s->laurel_norm);
    emit_add(p, i, PLAN_X, normed, 1);
    emit_add(p, i, PLAN_X, PLAN_DELTA, 1);
    emit_by(p, PLAN_SCALE, i, PLAN_X, p->model->dim, sqrtf(0.5f), 1);
}

void plan_correct_streams(struct plan *p, int i)
{
    const struct model_streams *s = &p->model->layers[i].streams;
    emit_coefs(p, i, &s->correct);
    struct plan_op *op = emit(p, PLAN_CORRECT, i, PLAN_STREAMS, PLAN_COEFS);
    op->src2 = PLAN_X;
    op->n = p->model->dim;
    op->numbers = s->scale;
}

void plan_add_to_streams(struct plan *p, int i, enum plan_buf src)
{
    const struct model *m = p->model;
    emit_add(p, i, PLAN_STREAMS, src, 1);
    struct plan_op *op = &p->ops[p->n_ops - 1];
    op->to = (struct plan_groups){m->dim, m->dim};
    op->n_groups = m->n_streams - 1;
}

/* x = the mean of the first stream and what the others' matrices make of them, of its size. */
void plan_end_streams(struct plan *p)
{
    const struct model *m = p->model;
    emit_take(p, -1, PLAN_X, PLAN_STREAMS, 0, m->dim);
    for (size_t k = 1; k < m->n_streams; k++) {
        emit_take(p, -1, PLAN_NORMED, PLAN_STREAMS, k * m->dim, m->dim);
        emit_matmul(p, -1, PLAN_DELTA, PLAN_NORMED, &m->stream_out[k - 1], NULL);
        emit_size(p, PLAN_DELTA);
        emit_add(p, -1, PLAN_X, PLAN_DELTA, 1);
    }
    emit_by(p, PLAN_SCALE, -1, PLAN_X, m->dim, 1 / (float)m->n_streams, 1);
}
