/* SPDX-License-Identifier: MIT
 * plan_mixer.c - what stands beside attention or in its place: convolutions, state spaces and the
 * delta rule; RWKV's are in plan_wkv.c. */
#include "plan/plan_int.h"

static void emit_conv(struct plan *p, int i)
{
    const struct model_mixer *x = &p->model->layers[i].mixer;
    emit_mixed(p, i, PLAN_CONV, PLAN_CONV_OUT, PLAN_CONV_IN,
               (p->model->mixer.taps - 1) * x->n_conv);
}

static void emit_y_norm(struct plan *p, int i, const struct model_norm *norm)
{
    if (emit_norm(p, i, PLAN_Y, PLAN_Y, norm) == PLAN_Y && norm->gain)
        p->ops[p->n_ops - 1].n_groups = p->model->mixer.inner / norm->n;
}

/* Steps, b and c are read off the convolved channels: what is written with b, in steps, and read
 * with c, through the gate. */
static void emit_scanned(struct plan *p, int i)
{
    const struct model_mixer *x = &p->model->layers[i].mixer;
    const struct model_mixer_sizes *s = &p->model->mixer;
    struct plan_op *op = emit_matmul(p, i, PLAN_STEPS_LOW, PLAN_CONV_OUT, &x->dt, NULL);
    add_part(op, PLAN_STATE_B, &x->b, NULL);
    add_part(op, PLAN_STATE_C, &x->c, NULL);
    emit_norm(p, i, PLAN_STEPS_LOW, PLAN_STEPS_LOW, &x->dt_norm);
    emit_norm(p, i, PLAN_STATE_B, PLAN_STATE_B, &x->b_norm);
    emit_norm(p, i, PLAN_STATE_C, PLAN_STATE_C, &x->c_norm);
    emit_matmul(p, i, PLAN_STEPS, PLAN_STEPS_LOW, &x->dt_high,
                x->by_head ? NULL : x->dt_bias); /* heads add theirs where they scan */
    op = emit_mixed(p, i, PLAN_SCAN, PLAN_Y, PLAN_CONV_OUT, s->inner * s->state);
    add_in(op, PLAN_CONV_OUT, 0);
    add_in(op, PLAN_STEPS, 0);
    add_in(op, PLAN_STATE_B, 0);
    add_in(op, PLAN_STATE_C, 0);
    emit_gate(p, i);
}

static void emit_scan(struct plan *p, int i, enum plan_buf src)
{
    const struct model_mixer *x = &p->model->layers[i].mixer;
    struct plan_op *op = emit_matmul(p, i, PLAN_CONV_IN, src, &x->x, NULL);
    add_part(op, PLAN_Z, &x->z, NULL);
    emit_conv(p, i);
    emit_scanned(p, i);
}

/* Heads scan what is read off the channels as SCAN's is (PLaMo 2). */
static void emit_scan_by_head(struct plan *p, int i, enum plan_buf src)
{
    const struct model_mixer_sizes *s = &p->model->mixer;
    size_t each = s->inner / s->heads;
    const struct plan_groups to = {0, each}, z = {0, 2 * each}, channels = {each, 2 * each};
    emit_matmul(p, i, PLAN_Q_HEADS, src, &p->model->layers[i].mixer.x, NULL);
    emit_groups(p, i, PLAN_Z, to, PLAN_Q_HEADS, z, each, s->heads);
    emit_groups(p, i, PLAN_CONV_IN, to, PLAN_Q_HEADS, channels, each, s->heads);
    emit_conv(p, i);
    emit_scanned(p, i);
}

static void emit_scan_heads(struct plan *p, int i, enum plan_buf src)
{
    const struct model_mixer *x = &p->model->layers[i].mixer;
    const struct model_mixer_sizes *s = &p->model->mixer;
    if (x->by_head) {
        emit_scan_by_head(p, i, src);
        return;
    }
    struct plan_op *op = emit_matmul(p, i, PLAN_CONV_IN, src, &x->x, NULL);
    add_part(op, PLAN_Z, &x->z, NULL);
    add_part(op, PLAN_STEPS, &x->dt, NULL);
    emit_conv(p, i);
    op = emit_mixed(p, i, PLAN_SCAN, PLAN_Y, PLAN_CONV_OUT, s->inner * s->state);
    add_in(op, PLAN_CONV_OUT, 0);
    add_in(op, PLAN_STEPS, 0);
    add_in(op, PLAN_CONV_OUT, s->inner);
    add_in(op, PLAN_CONV_OUT, s->inner + s->groups * s->state);
    emit_gate(p, i);
    emit_y_norm(p, i, &x->norm);
}

static void emit_delta(struct plan *p, int i, enum plan_buf src)
{
    const struct model_mixer *x = &p->model->layers[i].mixer;
    const struct model_mixer_sizes *s = &p->model->mixer;
    size_t keys = s->groups * s->state;
    struct plan_op *op = emit_matmul(p, i, PLAN_CONV_IN, src, &x->x, NULL);
    add_part(op, PLAN_Z, &x->z, NULL);
    add_part(op, PLAN_STEPS, &x->dt, NULL);
    if (x->beta.rows)
        add_part(op, PLAN_BETA, &x->beta, NULL);
    emit_conv(p, i);
    op = emit_mixed(p, i, PLAN_DELTARULE, PLAN_Y, PLAN_CONV_OUT, s->inner * s->state);
    add_in(op, PLAN_CONV_OUT, 0);
    add_in(op, PLAN_CONV_OUT, keys);
    add_in(op, PLAN_CONV_OUT, 2 * keys);
    add_in(op, PLAN_STEPS, 0);
    add_in(op, x->beta.rows ? PLAN_BETA : PLAN_STEPS, 0);
    emit_y_norm(p, i, &x->norm);
    emit_gate(p, i);
}

static void emit_delta_each(struct plan *p, int i, enum plan_buf src)
{
    const struct model_mixer *x = &p->model->layers[i].mixer;
    const struct model_mixer_sizes *s = &p->model->mixer;
    struct plan_op *op = emit_matmul(p, i, PLAN_CONV_IN, src, &x->x, NULL);
    add_part(op, PLAN_CONV_IN, &x->k, NULL);
    add_part(op, PLAN_CONV_IN, &x->v, NULL);
    op->part[1].at = s->inner;
    op->part[2].at = 2 * s->inner;
    op = emit_matmul(p, i, PLAN_STEPS_LOW, src, &x->dt, NULL);
    add_part(op, PLAN_Z_LOW, &x->z_low, NULL);
    add_part(op, PLAN_BETA, &x->beta, NULL);
    emit_conv(p, i);
    emit_matmul(p, i, PLAN_STEPS, PLAN_STEPS_LOW, &x->dt_high, x->dt_bias);
    emit_matmul(p, i, PLAN_Z, PLAN_Z_LOW, &x->z, NULL);
    op = emit_mixed(p, i, PLAN_DELTARULE, PLAN_Y, PLAN_CONV_OUT, s->inner * s->state);
    add_in(op, PLAN_CONV_OUT, 0);
    add_in(op, PLAN_CONV_OUT, s->inner);
    add_in(op, PLAN_CONV_OUT, 2 * s->inner);
    add_in(op, PLAN_STEPS, 0);
    add_in(op, PLAN_BETA, 0);
    emit_y_norm(p, i, &x->norm);
    emit_mul(p, i, PLAN_Y, PLAN_Z, s->inner)->sigmoid = true;
}

enum plan_buf plan_mix(struct plan *p, int i, enum plan_buf src)
{
    const struct model_mixer *x = &p->model->layers[i].mixer;
    struct plan_op *op;
    switch (x->kind) {
    case MODEL_NO_MIXER: CHECK(false); break;
    case MODEL_SCAN: emit_scan(p, i, src); break;
    case MODEL_SCAN_HEADS: emit_scan_heads(p, i, src); break;
    case MODEL_DELTA: emit_delta(p, i, src); break;
    case MODEL_DELTA_EACH: emit_delta_each(p, i, src); break;
    case MODEL_WKV6:
    case MODEL_GATED:
    case MODEL_WKV7: plan_mix_wkv(p, i, src); break;
    case MODEL_CONV:
        op = emit_matmul(p, i, PLAN_CONV_IN, src, &x->x, NULL);
        add_part(op, PLAN_STATE_B, &x->b, NULL);
        add_part(op, PLAN_STATE_C, &x->c, NULL);
        emit_mul(p, i, PLAN_CONV_IN, PLAN_STATE_B, x->n_conv);
        emit_conv(p, i);
        emit_mul(p, i, PLAN_CONV_OUT, PLAN_STATE_C, x->n_conv);
        return PLAN_CONV_OUT;
    }
    return PLAN_Y;
}
