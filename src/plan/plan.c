/* SPDX-License-Identifier: MIT
 * plan.c - from a model's row of choices to operations, and from their order to places. */
#include "plan/plan_int.h"

#include "base/num.h"

#include <string.h>

/* The most operations of a layer are fewer than these, whatever a row chooses. */
#define PLAN_OPS_A_LAYER 40

static struct plan_op *emit(struct plan *p, enum plan_kind kind, int layer, enum plan_buf dst,
                            enum plan_buf src)
{
    CHECK(p->n_ops < (p->model->n_layer + 1) * PLAN_OPS_A_LAYER);
    struct plan_op *op = &p->ops[p->n_ops++];
    *op = (struct plan_op){.kind = kind, .layer = layer, .dst = dst, .src = src, .by = 1};
    return op;
}

/* A norm of one group; without gains there is none, and src is read as it is. */
static enum plan_buf emit_norm(struct plan *p, int layer, enum plan_buf dst, enum plan_buf src,
                               const struct model_norm *norm)
{
    if (!norm->gain)
        return src;
    struct plan_op *op = emit(p, PLAN_NORM, layer, dst, src);
    op->norm = norm;
    op->n = norm->n;
    op->n_groups = 1;
    op->by = p->model->norm_eps;
    return dst;
}

/* Of n_heads heads of k_dim each, or of all in one. */
static void emit_head_norm(struct plan *p, int layer, enum plan_buf buf, size_t n_heads,
                           const struct model_norm *norm)
{
    if (emit_norm(p, layer, buf, buf, norm) == buf && norm->gain)
        p->ops[p->n_ops - 1].n_groups = n_heads * p->model->k_dim / norm->n;
}

static void add_part(struct plan_op *op, enum plan_buf dst, const struct model_matrix *w,
                     const float *bias)
{
    CHECK(op->n_parts < PLAN_PARTS_MAX);
    CHECK(op->n_parts == 0 || op->part[0].weight->cols == w->cols);
    op->part[op->n_parts++] = (struct plan_part){.weight = w, .bias = bias, .dst = dst};
}

static struct plan_op *emit_matmul(struct plan *p, int layer, enum plan_buf dst, enum plan_buf src,
                                   const struct model_matrix *w, const float *bias)
{
    struct plan_op *op = emit(p, PLAN_MATMUL, layer, dst, src);
    add_part(op, dst, w, bias);
    return op;
}

/* dst op= by, over rows of n; nothing where that changes nothing. */
static void emit_by(struct plan *p, enum plan_kind kind, int layer, enum plan_buf dst, size_t n,
                    float by, float nothing)
{
    if (by == nothing)
        return;
    struct plan_op *op = emit(p, kind, layer, dst, dst);
    op->n = n;
    op->by = by;
}

static void emit_add(struct plan *p, int layer, enum plan_buf dst, enum plan_buf src, float by)
{
    struct plan_op *op = emit(p, PLAN_ADD, layer, dst, src);
    op->n = p->model->dim;
    op->by = by;
}

/* Is a block's output added to the residual stream as it is? */
static bool adds_at_once(const struct plan *p, const struct model_norm *post)
{
    return !post->gain && p->model->residual_scale == 1;
}

/* The end of a block whose output is in DELTA: it meets the residual stream x, through a norm where
 * there is one. */
static void emit_meet(struct plan *p, int layer, enum plan_buf x, const struct model_norm *post)
{
    emit_norm(p, layer, PLAN_DELTA, PLAN_DELTA, post);
    emit_add(p, layer, x, PLAN_DELTA, p->model->residual_scale);
}

static void emit_turn(struct plan *p, int i)
{
    const struct model_layer *l = &p->model->layers[i];
    if (!l->angles)
        return;
    struct plan_op *op = emit(p, PLAN_ROPE, i, PLAN_Q, PLAN_K);
    op->angles = l->angles;
    op->to.stride = op->from.stride = p->model->k_dim;
}

static void emit_head_norms(struct plan *p, int i)
{
    const struct model *m = p->model;
    emit_head_norm(p, i, PLAN_Q, m->n_head, &m->layers[i].q_norm);
    emit_head_norm(p, i, PLAN_K, m->n_kv_head, &m->layers[i].k_norm);
}

static struct plan_op *emit_heads(struct plan *p, int i, enum plan_buf dst, size_t dst_stride,
                                  enum plan_buf src, size_t src_stride,
                                  const struct model_matrix *w)
{
    struct plan_op *op = emit(p, PLAN_HEADS, i, dst, src);
    add_part(op, dst, w, NULL);
    op->to.stride = dst_stride;
    op->from.stride = src_stride;
    return op;
}

/* n numbers of each head in Q_HEADS to place `at` of its k_dim in dst. */
static void emit_copy(struct plan *p, int i, enum plan_buf dst, size_t at, struct plan_groups from,
                      size_t n)
{
    const struct model *m = p->model;
    struct plan_op *op = emit(p, PLAN_COPY, i, dst, PLAN_Q_HEADS);
    op->to = (struct plan_groups){at, m->k_dim};
    op->from = from;
    op->n = n;
    op->n_groups = m->n_head;
}

/* Queries in the small space and the turned part behind them, as keys are; values are the keys'
 * first part. */
static void emit_latent(struct plan *p, int i, enum plan_buf src)
{
    const struct model *m = p->model;
    const struct model_latent *x = &m->layers[i].latent;
    size_t plain = m->head_dim - m->n_rot;
    enum plan_buf low = src;
    struct plan_op *op = emit_matmul(p, i, PLAN_K, src, &x->kv_low, NULL);
    if (m->q_low) {
        add_part(op, PLAN_Q_LOW, &x->q_low, NULL);
        low = emit_norm(p, i, PLAN_Q_LOW, PLAN_Q_LOW, &x->q_norm);
    }
    emit_norm(p, i, PLAN_K, PLAN_K, &x->kv_norm);
    emit_matmul(p, i, PLAN_Q_HEADS, low, &x->q_high, NULL);
    if (m->layers[i].angles) {
        op = emit(p, PLAN_ROPE, i, PLAN_Q_HEADS, PLAN_K);
        op->angles = m->layers[i].angles;
        op->to = (struct plan_groups){plain, m->head_dim};
        op->from = (struct plan_groups){m->kv_low, m->k_dim};
    }
    emit_heads(p, i, PLAN_Q, m->k_dim, PLAN_Q_HEADS, m->head_dim, &x->to_low);
    emit_copy(p, i, PLAN_Q, m->kv_low, (struct plan_groups){plain, m->head_dim}, m->n_rot);
}

/* The queries, keys and values of a layer. */
static void emit_qkv(struct plan *p, int i, enum plan_buf src)
{
    const struct model *m = p->model;
    const struct model_layer *l = &m->layers[i];
    enum plan_buf q = l->q_gated ? PLAN_Q_HEADS : PLAN_Q;
    struct plan_op *op = emit_matmul(p, i, q, src, &l->q, l->q_bias);
    add_part(op, PLAN_K, &l->k, l->k_bias);
    add_part(op, PLAN_V, &l->v, l->v_bias);
    if (l->q_gated) {
        emit_copy(p, i, PLAN_Q, 0, (struct plan_groups){0, 2 * m->k_dim}, m->k_dim);
        emit_copy(p, i, PLAN_Q_GATE, 0, (struct plan_groups){m->k_dim, 2 * m->k_dim}, m->k_dim);
    }
    emit_by(p, PLAN_CLAMP, i, PLAN_Q, m->n_head * m->k_dim, m->qkv_clamp, 0);
    emit_by(p, PLAN_CLAMP, i, PLAN_K, m->n_kv_head * m->k_dim, m->qkv_clamp, 0);
    emit_by(p, PLAN_CLAMP, i, PLAN_V, m->n_kv_head * m->v_dim, m->qkv_clamp, 0);
    bool turned = m->arch->flags & MODEL_NORM_TURNED;
    if (turned)
        emit_turn(p, i);
    emit_head_norms(p, i);
    if (!turned)
        emit_turn(p, i);
}

/* Queries, keys and values, and the mix of values. */
static void emit_attention(struct plan *p, int i, enum plan_buf src)
{
    const struct model *m = p->model;
    const struct model_layer *l = &m->layers[i];
    if (m->kv_low)
        emit_latent(p, i, src);
    else
        emit_qkv(p, i, src);
    if (l->tempers)
        emit(p, PLAN_TEMPER, i, PLAN_Q, PLAN_Q)->n = m->n_head * m->k_dim;
    struct plan_op *op = emit(p, PLAN_STORE, i, PLAN_K, PLAN_K);
    op->src2 = m->kv_low ? PLAN_K : PLAN_V;
    op = emit(p, PLAN_ATTEND, i, PLAN_MIX, PLAN_Q);
    op->by = m->attn_scale;
    op->cap = m->attn_cap;
    op->window = l->window;
    op->sinks = l->sinks;
    if (l->q_gated) {
        op = emit(p, PLAN_MUL, i, PLAN_MIX, PLAN_Q_GATE);
        op->n = m->n_head * m->v_dim;
        op->sigmoid = true;
    }
}

/* ---- mixers ---- */

/* A place of n floats in a sequence's state. */
static void take_state(struct plan *p, struct plan_op *op, size_t n)
{
    op->state = p->state_floats;
    p->state_floats += num_align(n, 16);
}

static struct plan_op *emit_mixed(struct plan *p, int i, enum plan_kind kind, enum plan_buf dst,
                                  enum plan_buf src, size_t n_state)
{
    struct plan_op *op = emit(p, kind, i, dst, src);
    op->mixer = &p->model->layers[i].mixer;
    take_state(p, op, n_state);
    return op;
}

static void emit_conv(struct plan *p, int i)
{
    const struct model_mixer *x = &p->model->layers[i].mixer;
    emit_mixed(p, i, PLAN_CONV, PLAN_CONV_OUT, PLAN_CONV_IN,
               (p->model->mixer.taps - 1) * x->n_conv);
}

static void emit_mul(struct plan *p, int i, enum plan_buf dst, enum plan_buf src, size_t n)
{
    emit(p, PLAN_MUL, i, dst, src)->n = n;
}

static void add_in(struct plan_op *op, enum plan_buf buf, size_t at)
{
    CHECK(op->n_in < PLAN_IN_MAX);
    op->in[op->n_in++] = (struct plan_in){buf, at};
}

/* y *= silu(z) */
static void emit_gate(struct plan *p, int i)
{
    struct plan_op *op = emit(p, PLAN_GLU, i, PLAN_Y, PLAN_Z);
    op->src2 = PLAN_Y;
    op->act = MODEL_SILU;
    op->n = p->model->mixer.inner;
}

static void emit_y_norm(struct plan *p, int i, const struct model_norm *norm)
{
    if (emit_norm(p, i, PLAN_Y, PLAN_Y, norm) == PLAN_Y && norm->gain)
        p->ops[p->n_ops - 1].n_groups = p->model->mixer.inner / norm->n;
}

/* The norms of a scan's steps, b and c: those without gains are Falcon Mamba's, which has an
 * epsilon of its own (its config.json: mixer_rms_eps). */
static void emit_scan_norm(struct plan *p, int i, enum plan_buf buf, const struct model_norm *norm)
{
    emit_norm(p, i, buf, buf, norm);
    if (norm->gain && p->model->mixer.bare_norms)
        p->ops[p->n_ops - 1].by = 1e-6f;
}

static void emit_scan(struct plan *p, int i, enum plan_buf src)
{
    const struct model_mixer *x = &p->model->layers[i].mixer;
    const struct model_mixer_sizes *s = &p->model->mixer;
    struct plan_op *op = emit_matmul(p, i, PLAN_CONV_IN, src, &x->x, NULL);
    add_part(op, PLAN_Z, &x->z, NULL);
    emit_conv(p, i);
    op = emit_matmul(p, i, PLAN_STEPS_LOW, PLAN_CONV_OUT, &x->dt, NULL);
    add_part(op, PLAN_STATE_B, &x->b, NULL);
    add_part(op, PLAN_STATE_C, &x->c, NULL);
    emit_scan_norm(p, i, PLAN_STEPS_LOW, &x->dt_norm);
    emit_scan_norm(p, i, PLAN_STATE_B, &x->b_norm);
    emit_scan_norm(p, i, PLAN_STATE_C, &x->c_norm);
    emit_matmul(p, i, PLAN_STEPS, PLAN_STEPS_LOW, &x->dt_high, x->dt_bias);
    op = emit_mixed(p, i, PLAN_SCAN, PLAN_Y, PLAN_CONV_OUT, s->inner * s->state);
    add_in(op, PLAN_CONV_OUT, 0);
    add_in(op, PLAN_STEPS, 0);
    add_in(op, PLAN_STATE_B, 0);
    add_in(op, PLAN_STATE_C, 0);
    emit_gate(p, i);
}

static void emit_scan_heads(struct plan *p, int i, enum plan_buf src)
{
    const struct model_mixer *x = &p->model->layers[i].mixer;
    const struct model_mixer_sizes *s = &p->model->mixer;
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

/* Gives the buffer of what meets the mixer's last matrix. */
static enum plan_buf emit_mixer(struct plan *p, int i, enum plan_buf src)
{
    const struct model_mixer *x = &p->model->layers[i].mixer;
    struct plan_op *op;
    switch (x->kind) {
    case MODEL_NO_MIXER: CHECK(false); break;
    case MODEL_SCAN: emit_scan(p, i, src); break;
    case MODEL_SCAN_HEADS: emit_scan_heads(p, i, src); break;
    case MODEL_DELTA: emit_delta(p, i, src); break;
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

/* A block's gate and up, and their product, which is in `gate` afterwards, or in `up` where there
 * is no gate. */
static enum plan_buf emit_gated(struct plan *p, int i, enum plan_kind kind, enum plan_buf src,
                                const struct model_ffn *f, enum plan_buf gate, enum plan_buf up)
{
    bool gated = f->gate.rows > 0, spread = kind == PLAN_EXPERTS;
    enum plan_buf dst = gated ? gate : up;
    struct plan_op *op = emit(p, kind, i, dst, src);
    if (gated)
        add_part(op, gate, &f->gate, f->gate_bias);
    add_part(op, up, &f->up, f->up_bias);
    op->spread = spread;
    op->n_experts = p->model->n_expert;
    op = emit(p, PLAN_GLU, i, dst, dst);
    op->n_experts = p->model->n_expert;
    op->src2 = up;
    op->act = p->model->act;
    op->alone = !gated;
    op->numbers = p->model->layers[i].xielu;
    op->n = f->n;
    op->spread = spread;
    return dst;
}

/* A feed-forward block of all rows: dst = (or +=). */
static void emit_block(struct plan *p, int i, enum plan_buf dst, enum plan_buf src,
                       const struct model_ffn *f, bool add)
{
    enum plan_buf mid = emit_gated(p, i, PLAN_MATMUL, src, f, PLAN_GATE, PLAN_UP);
    emit_matmul(p, i, dst, mid, &f->down, f->down_bias)->add = add;
}

/* DELTA = what the experts make of src, the shared one's part included. */
static void emit_experts(struct plan *p, int i, enum plan_buf src)
{
    const struct model *m = p->model;
    const struct model_experts *x = &m->layers[i].experts;
    emit_matmul(p, i, PLAN_SCORES, src, &x->router, x->router_bias);
    struct plan_op *op = emit(p, PLAN_ROUTE, i, PLAN_SCORES, PLAN_SCORES);
    op->n = m->n_expert;
    op->bias = x->choice_bias;
    op = emit(p, PLAN_SPREAD, i, PLAN_SPREAD_IN, src);
    op->n = m->dim;
    op->spread = true;
    enum plan_buf mid = emit_gated(p, i, PLAN_EXPERTS, PLAN_SPREAD_IN, &x->each, PLAN_SPREAD_GATE,
                                   PLAN_SPREAD_UP);
    op = emit(p, PLAN_EXPERTS, i, PLAN_SPREAD_OUT, mid);
    add_part(op, PLAN_SPREAD_OUT, &x->each.down, x->each.down_bias);
    op->spread = true;
    op->n_experts = m->n_expert;
    op = emit(p, PLAN_COMBINE, i, PLAN_DELTA, PLAN_SPREAD_OUT);
    op->n = m->dim;
    op->spread = true;
    if (!x->shared.n)
        return;
    if (!x->shared_gate.rows) {
        emit_block(p, i, PLAN_DELTA, src, &x->shared, true);
        return;
    }
    emit_matmul(p, i, PLAN_SHARE, src, &x->shared_gate, NULL);
    emit_block(p, i, PLAN_SHARED, src, &x->shared, false);
    emit(p, PLAN_WEIGH, i, PLAN_SHARED, PLAN_SHARE)->n = m->dim;
    emit_add(p, i, PLAN_DELTA, PLAN_SHARED, 1);
}

static void emit_ffn(struct plan *p, int i, enum plan_buf x, enum plan_buf src)
{
    const struct model_layer *l = &p->model->layers[i];
    bool at_once = adds_at_once(p, &l->ffn_post_norm);
    if (l->experts.router.rows) {
        emit_experts(p, i, src);
        if (l->ffn.n) /* beside them: arctic's */
            emit_block(p, i, PLAN_DELTA, src, &l->ffn, true);
        emit_meet(p, i, x, &l->ffn_post_norm);
    } else {
        emit_block(p, i, at_once ? x : PLAN_DELTA, src, &l->ffn, at_once);
        if (!at_once)
            emit_meet(p, i, x, &l->ffn_post_norm);
    }
    emit_norm(p, i, x, x, &l->ffn_stream_norm);
}

/* x += what a matrix makes of a block's result. */
static void emit_out(struct plan *p, int i, enum plan_buf x, enum plan_buf from,
                     const struct model_matrix *w, const float *bias)
{
    const struct model_norm *post = &p->model->layers[i].attn_post_norm;
    bool at_once = adds_at_once(p, post);
    emit_matmul(p, i, at_once ? x : PLAN_DELTA, from, w, bias)->add = at_once;
    if (!at_once)
        emit_meet(p, i, x, post);
}

static void emit_output(struct plan *p, int i, enum plan_buf x, enum plan_buf mix)
{
    const struct model_layer *l = &p->model->layers[i];
    const struct model *m = p->model;
    if (m->kv_low) {
        emit_heads(p, i, PLAN_VALUES, m->value_dim, mix, m->v_dim, &l->latent.to_value);
        mix = PLAN_VALUES;
    }
    emit_out(p, i, x, mix, &l->o, l->o_bias);
    emit_norm(p, i, x, x, &l->attn_stream_norm);
}

/* What mixes positions, up to what its last matrix reads; gives the mixer's buffer. */
static enum plan_buf emit_mixing(struct plan *p, int i)
{
    const struct model_layer *l = &p->model->layers[i];
    bool mixes = l->mixer.kind != MODEL_NO_MIXER;
    enum plan_buf src = PLAN_X;
    if (l->attends || mixes)
        src = emit_norm(p, i, PLAN_NORMED, PLAN_X, &l->attn_norm);
    if (l->attends)
        emit_attention(p, i, src);
    return mixes ? emit_mixer(p, i, src) : PLAN_Y;
}

/* Once the last layer has stored its keys, values and state, only the rows count of which something
 * is wanted: the rest of it, most of its work, is for them alone.  Blocks in parallel: the norm of
 * the second is made before the first one's output meets the stream. */
static void emit_layer(struct plan *p, int i)
{
    const struct model_layer *l = &p->model->layers[i];
    bool last = (size_t)i + 1 == p->model->n_layer && !p->model->vision;
    bool parallel = p->model->parallel;
    bool mixes = l->mixer.kind != MODEL_NO_MIXER, feeds = l->ffn.n || l->experts.router.rows;
    enum plan_buf x = last ? PLAN_PICKED : PLAN_X, mix = PLAN_MIX, src = x;
    enum plan_buf y = emit_mixing(p, i);
    size_t from = p->n_ops;
    if (last) {
        emit(p, PLAN_PICK, i, x, PLAN_X);
        if (l->attends)
            emit(p, PLAN_PICK, i, mix = PLAN_PICKED_MIX, PLAN_MIX);
        if (mixes)
            emit(p, PLAN_PICK, i, PLAN_PICKED_Y, y);
        y = PLAN_PICKED_Y;
    }
    if (parallel)
        src = emit_norm(p, i, PLAN_NORMED, x, &l->ffn_norm);
    if (l->attends)
        emit_output(p, i, x, mix);
    if (mixes)
        emit_out(p, i, x, y, &l->mixer.out, NULL);
    if (!parallel && feeds)
        src = emit_norm(p, i, PLAN_NORMED, x, &l->ffn_norm);
    if (feeds)
        emit_ffn(p, i, x, src);
    for (; last && from < p->n_ops; from++)
        p->ops[from].rows = PLAN_ROWS_WANTED;
}

/* A picture's patches: a convolution whose steps are as wide as its kernel is a product. */
static void emit_patches(struct plan *p)
{
    const struct model_vision *v = p->model->vision;
    emit(p, PLAN_EMBED, -1, PLAN_PATCHES, PLAN_PATCHES)->n = v->patch.cols;
    emit_matmul(p, -1, PLAN_X, PLAN_PATCHES, &v->patch, v->patch_bias);
}

static void emit_tokens(struct plan *p)
{
    const struct model *m = p->model;
    struct plan_op *op = emit(p, PLAN_EMBED, -1, PLAN_X, PLAN_X);
    op->table = &m->embed;
    op->by = m->embed_scale;
    op->n = m->dim;
    if (m->type_embed) {
        op = emit(p, PLAN_TYPE, -1, PLAN_X, PLAN_X);
        op->numbers = m->type_embed;
        op->n = m->dim;
    }
}

static void emit_begin(struct plan *p)
{
    const struct model *m = p->model;
    if (m->vision)
        emit_patches(p);
    else
        emit_tokens(p);
    if (m->positions.rows)
        emit(p, PLAN_POSITION, -1, PLAN_X, PLAN_X)->table = &m->positions;
    emit_norm(p, -1, PLAN_X, PLAN_X, &m->embed_norm);
}

/* The wanted rows are the squares. */
static void emit_soft(struct plan *p)
{
    const struct model *m = p->model;
    const struct model_vision *v = m->vision;
    enum plan_buf src = emit_norm(p, -1, PLAN_NORMED, PLAN_X, &m->output_norm);
    size_t from = p->n_ops;
    struct plan_op *op = emit(p, PLAN_POOL, -1, PLAN_PICKED, src);
    op->n = m->dim;
    op->grid = v->grid;
    op->square = v->square;
    emit_norm(p, -1, PLAN_PICKED, PLAN_PICKED, &v->soft_norm);
    emit_matmul(p, -1, PLAN_SOFT, PLAN_PICKED, &v->project, NULL);
    for (; from < p->n_ops; from++)
        p->ops[from].rows = PLAN_ROWS_WANTED;
    p->hidden = PLAN_SOFT;
}

static void emit_head(struct plan *p)
{
    const struct model *m = p->model;
    emit_norm(p, -1, PLAN_PICKED, PLAN_PICKED, &m->output_norm);
    p->ops[p->n_ops - 1].rows = PLAN_ROWS_WANTED;
    size_t from = p->n_ops;
    if (!m->output.rows)
        return;
    emit_matmul(p, -1, PLAN_LOGITS, PLAN_PICKED, &m->output, m->output_bias);
    emit_by(p, PLAN_SCALE, -1, PLAN_LOGITS, m->n_vocab, m->logit_scale, 1);
    emit_by(p, PLAN_SOFTCAP, -1, PLAN_LOGITS, m->n_vocab, m->logit_cap, 0);
    for (; from < p->n_ops; from++)
        p->ops[from].rows = PLAN_ROWS_OUT;
}

/* ---- places ---- */

/* First and last operation of a layer that touches each buffer. */
struct life {
    size_t first, last;
    bool used;
};

/* Which buffers are used, and which are at the same time. */
struct meetings {
    bool used[PLAN_BUF_N], meet[PLAN_BUF_N][PLAN_BUF_N];
};

static void touch(struct life *life, size_t at)
{
    life->first = life->used ? life->first : at;
    life->last = at;
    life->used = true;
}

static void touch_all(struct life life[PLAN_BUF_N], const struct plan_op *op, size_t at)
{
    touch(&life[op->src], at);
    touch(&life[op->dst], at);
    if (op->kind == PLAN_STORE || (op->kind == PLAN_GLU && !op->alone))
        touch(&life[op->src2], at);
    for (int k = 0; k < op->n_parts; k++)
        touch(&life[op->part[k].dst], at);
    for (int k = 0; k < op->n_in; k++)
        touch(&life[op->in[k].buf], at);
}

/* Operations [from, to), over which a buffer that is written anew in each layer lives from its
 * first to its last use.  The residual stream lives throughout. */
static void find_meetings(const struct plan *p, size_t from, size_t to, struct meetings *out)
{
    struct life life[PLAN_BUF_N] = {0};
    for (size_t i = from; i < to; i++)
        touch_all(life, &p->ops[i], i);
    life[PLAN_X] = (struct life){from, to, true};
    for (int a = 0; a < PLAN_BUF_N; a++) {
        out->used[a] |= life[a].used;
        for (int b = 0; b < PLAN_BUF_N; b++)
            out->meet[a][b] |= life[a].used && life[b].used && life[a].first <= life[b].last &&
                               life[b].first <= life[a].last;
    }
}

/* Layer by layer; what is before the first belongs to it, and what is after the last to that. */
static void find_all_meetings(const struct plan *p, struct meetings *out)
{
    *out = (struct meetings){0};
    for (size_t from = 0, to = 0; from < p->n_ops; from = to) {
        int layer = MAX(p->ops[from].layer, 0);
        while (to < p->n_ops && (p->ops[to].layer == layer || p->ops[to].layer < 0))
            to++;
        find_meetings(p, from, to, out);
    }
}

/* First fit: the lowest place where no buffer lies that is used at the same time. */
static size_t find_place(const struct plan *p, const struct meetings *m, int b)
{
    size_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int o = 0; o < b; o++)
            if (o != PLAN_LOGITS && m->meet[o][b] && at < p->place[o] + p->width[o] &&
                p->place[o] < at + p->width[b]) {
                at = p->place[o] + p->width[o];
                moved = true;
            }
    }
    return at;
}

static size_t conv_width(const struct model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_layer; i++)
        n = MAX(n, m->layers[i].mixer.n_conv);
    return n;
}

/* Whole cache lines, so that threads do not share them; spread rows each. */
static size_t width_of(const struct plan *p, enum plan_buf b)
{
    const struct model *m = p->model;
    size_t n = 0, read = 0; /* read: by a matrix, of a share that makes a part of it */
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        for (int k = 0; k < op->n_parts; k++)
            if (op->part[k].dst == b)
                n = MAX(n, op->part[k].at + plan_part_rows(p, op, k));
        if (op->kind == PLAN_MATMUL &&
            (op->src == b || (op->src == PLAN_PICKED_MIX && b == PLAN_MIX)))
            read = MAX(read, op->part[0].weight->cols);
        if (op->kind == PLAN_GATHER && op->dst == b)
            n = MAX(n, op->n);
    }
    switch (b) {
    case PLAN_PATCHES: n = m->vision->patch.cols; break;
    case PLAN_Q: n = m->n_head * m->k_dim; break; /* HEADS and COPY fill it together */
    case PLAN_VALUES: n = m->n_head * m->value_dim; break;
    case PLAN_X:
    case PLAN_NORMED:
    case PLAN_DELTA:
    case PLAN_PICKED:
    case PLAN_SPREAD_IN: n = m->dim; break;
    case PLAN_CONV_OUT: n = conv_width(m); break;
    case PLAN_Y: n = m->mixer.inner; break;
    case PLAN_PICKED_Y: n = m->layers[m->n_layer - 1].mixer.out.cols; break;
    case PLAN_Q_GATE:
    case PLAN_MIX:
    case PLAN_PICKED_MIX: n = m->n_head * m->v_dim; break;
    default: break;
    }
    bool spread = b >= PLAN_SPREAD_IN && b <= PLAN_SPREAD_OUT;
    n = MAX(n, read);
    return num_align(n, 16) * (spread ? m->n_chosen : 1);
}

void plan_place(struct plan *p)
{
    struct meetings m;
    find_all_meetings(p, &m);
    for (int b = 0; b < PLAN_BUF_N; b++) {
        p->width[b] = m.used[b] ? width_of(p, (enum plan_buf)b) : 0;
        if (b == PLAN_LOGITS || !m.used[b])
            continue;
        p->place[b] = find_place(p, &m, b);
        p->row_floats = MAX(p->row_floats, p->place[b] + p->width[b]);
    }
}

struct plan *plan_of_layers(const struct model *m, size_t from, size_t to)
{
    struct plan *p = mem_alloc(sizeof *p);
    p->model = m;
    p->hidden = PLAN_PICKED;
    p->ops = mem_alloc((m->n_layer + 1) * PLAN_OPS_A_LAYER * sizeof *p->ops);
    if (from == 0)
        emit_begin(p);
    for (size_t i = from; i < to; i++)
        emit_layer(p, (int)i);
    if (to == m->n_layer && m->vision)
        emit_soft(p);
    else if (to == m->n_layer)
        emit_head(p);
    return p;
}

struct plan *plan_new(const struct model *m)
{
    struct plan *p = plan_of_layers(m, 0, m->n_layer);
    plan_place(p);
    return p;
}

void plan_free(struct plan *p)
{
    if (!p)
        return;
    mem_free(p->ops);
    arena_done(&p->own);
    mem_free(p);
}
