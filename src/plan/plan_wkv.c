/* SPDX-License-Identifier: MIT
 * plan_wkv.c - RWKV's mixers (Peng et al. 2024 and 2025): each product reads the row moved its own
 * way to the row before, and what fades and how fast comes of low-rank products. */
#include "plan/plan_int.h"

void plan_shift(struct plan *p, int i, enum plan_buf src)
{
    struct plan_op *op = emit(p, PLAN_SHIFT, i, PLAN_SHIFTED, src);
    op->n = p->model->dim;
    take_state(p, op, op->n);
}

enum plan_buf plan_lerp(struct plan *p, int i, enum plan_buf src, const float *numbers)
{
    struct plan_op *op = emit(p, PLAN_LERP, i, PLAN_LERPED, src);
    op->src2 = PLAN_SHIFTED;
    op->numbers = numbers;
    op->n = p->model->dim;
    return PLAN_LERPED;
}

/* What one of the mixer's products reads; of RWKV 6 its numbers grow by those of the row. */
static enum plan_buf emit_read(struct plan *p, int i, enum plan_buf src, enum model_lerp which)
{
    /* Where a product's numbers are in LERP_BY: in the order of the file's matrix. */
    static const size_t place[MODEL_LERP_N] = {
        [MODEL_LERP_W] = 0, [MODEL_LERP_K] = 1, [MODEL_LERP_V] = 2,
        [MODEL_LERP_R] = 3, [MODEL_LERP_G] = 4,
    };
    const struct model_wkv *x = &p->model->layers[i].mixer.wkv;
    enum plan_buf buf = plan_lerp(p, i, src, x->lerp[which]);
    if (x->lerp_x)
        add_in(&p->ops[p->n_ops - 1], PLAN_LERP_BY, place[which] * p->model->dim);
    return buf;
}

static void emit_tanh(struct plan *p, int i, size_t n)
{
    emit_by(p, PLAN_SOFTCAP, i, PLAN_LOW, n, 1, 0);
}

static void emit_low(struct plan *p, int i, enum plan_buf src, const struct model_low_rank *x)
{
    emit_matmul(p, i, PLAN_LOW, src, &x->low, NULL);
}

static void emit_high(struct plan *p, int i, enum plan_buf dst, const struct model_low_rank *x)
{
    emit_matmul(p, i, dst, PLAN_LOW, &x->high, x->bias);
}

static void emit_decay(struct plan *p, int i, enum plan_buf src)
{
    const struct model_low_rank *x = &p->model->layers[i].mixer.wkv.decay;
    emit_low(p, i, emit_read(p, i, src, MODEL_LERP_W), x);
    emit_tanh(p, i, x->low.rows);
    emit_high(p, i, PLAN_STEPS, x);
}

/* LERP_BY = what the numbers of all five grow by, out of the row moved in a way of its own. */
static void emit_growth(struct plan *p, int i, enum plan_buf src)
{
    const struct model_wkv *x = &p->model->layers[i].mixer.wkv;
    size_t dim = p->model->dim, n = x->lerp_high.rows / dim;
    emit_matmul(p, i, PLAN_LOW, plan_lerp(p, i, src, x->lerp_x), &x->lerp_low, NULL);
    emit_tanh(p, i, x->lerp_low.rows);
    struct plan_op *op = emit(p, PLAN_HEADS, i, PLAN_LERP_BY, PLAN_LOW);
    add_part(op, PLAN_LERP_BY, &x->lerp_high, NULL);
    op->to.stride = dim;
    op->from.stride = x->lerp_high.cols;
    op->n_groups = n;
}

static void emit_state(struct plan *p, int i, bool rate)
{
    const struct model_mixer_sizes *s = &p->model->mixer;
    struct plan_op *op = emit_mixed(p, i, PLAN_WKV, PLAN_Y, PLAN_STATE_R, s->inner * s->state);
    add_in(op, PLAN_STATE_R, 0);
    add_in(op, PLAN_STEPS, 0);
    add_in(op, PLAN_STATE_K, 0);
    add_in(op, PLAN_STATE_V, 0);
    if (rate)
        add_in(op, PLAN_BETA, 0);
}

static void emit_6(struct plan *p, int i, enum plan_buf src)
{
    const struct model_wkv *x = &p->model->layers[i].mixer.wkv;
    emit_growth(p, i, src);
    emit_decay(p, i, src);
    emit_matmul(p, i, PLAN_STATE_R, emit_read(p, i, src, MODEL_LERP_R), &x->r, x->r_bias);
    emit_matmul(p, i, PLAN_STATE_K, emit_read(p, i, src, MODEL_LERP_K), &x->k, x->k_bias);
    emit_matmul(p, i, PLAN_STATE_V, emit_read(p, i, src, MODEL_LERP_V), &x->v, x->v_bias);
    emit_matmul(p, i, PLAN_Z, emit_read(p, i, src, MODEL_LERP_G), &x->gate, NULL);
    emit_state(p, i, false);
    if (x->first) {
        emit_gate(p, i);
        return;
    }
    emit_mul(p, i, PLAN_Y, PLAN_Z, p->model->mixer.inner)->sigmoid = true;
}

/* STATE_V, which the first layer keeps for the others, and they mix with it. */
static void emit_values(struct plan *p, int i, enum plan_buf src)
{
    const struct model_wkv *x = &p->model->layers[i].mixer.wkv;
    size_t n = p->model->mixer.inner;
    struct plan_op *op = emit_matmul(p, i, PLAN_STATE_V, emit_read(p, i, src, MODEL_LERP_V), &x->v,
                                     x->v_bias);
    if (!x->share.low.rows) {
        emit_take(p, i, PLAN_V_FIRST, PLAN_STATE_V, 0, n);
        return;
    }
    add_part(op, PLAN_LOW, &x->share.low, NULL);
    emit_high(p, i, PLAN_V_SHARE, &x->share);
    op = emit(p, PLAN_BLEND, i, PLAN_STATE_V, PLAN_V_FIRST);
    op->src2 = PLAN_V_SHARE;
    op->n = n;
}

static void emit_7(struct plan *p, int i, enum plan_buf src)
{
    const struct model_wkv *x = &p->model->layers[i].mixer.wkv;
    emit_decay(p, i, src);
    emit_matmul(p, i, PLAN_STATE_R, emit_read(p, i, src, MODEL_LERP_R), &x->r, x->r_bias);
    emit_matmul(p, i, PLAN_STATE_K, emit_read(p, i, src, MODEL_LERP_K), &x->k, x->k_bias);
    emit_values(p, i, src);
    emit_low(p, i, emit_read(p, i, src, MODEL_LERP_A), &x->rate);
    emit_high(p, i, PLAN_BETA, &x->rate);
    if (x->gate_low.low.rows) {
        emit_low(p, i, emit_read(p, i, src, MODEL_LERP_G), &x->gate_low);
        emit(p, PLAN_SIGMOID, i, PLAN_LOW, PLAN_LOW)->n = x->gate_low.low.rows;
        emit_high(p, i, PLAN_Z, &x->gate_low);
    }
    emit_state(p, i, true);
    if (x->gate_low.low.rows)
        emit_mul(p, i, PLAN_Y, PLAN_Z, p->model->mixer.inner);
}

void plan_mix_wkv(struct plan *p, int i, enum plan_buf src)
{
    plan_shift(p, i, src);
    if (p->model->layers[i].mixer.kind == MODEL_WKV7)
        emit_7(p, i, src);
    else
        emit_6(p, i, src);
}
