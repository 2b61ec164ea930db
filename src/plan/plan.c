/* SPDX-License-Identifier: MIT
 * plan.c - from a model's row of choices to operations, and from their order to places. */
#include "plan/plan_int.h"

#include <math.h>

/* Of heads that are `all` numbers together: of each, or of all in one. */
static void emit_head_norm(struct plan *p, int layer, enum plan_buf buf, size_t all,
                           const struct model_norm *norm)
{
    if (emit_norm(p, layer, buf, buf, norm) == buf && norm->gain)
        p->ops[p->n_ops - 1].n_groups = all / norm->n;
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

/* Turns the heads of q and k, which are n_q and n_k. */
static struct plan_op *emit_rope(struct plan *p, int i, enum plan_buf q, size_t n_q,
                                 enum plan_buf k, size_t n_k)
{
    struct plan_op *op = emit(p, PLAN_ROPE, i, q, k);
    op->angles = p->model->layers[i].angles;
    op->turn = p->model->arch->rope;
    op->n_groups = n_q;
    op->n = n_k;
    return op;
}

static void emit_turn(struct plan *p, int i)
{
    const struct model_layer *l = &p->model->layers[i];
    if (!l->angles)
        return;
    struct plan_op *op = emit_rope(p, i, PLAN_Q, l->n_head, PLAN_K, l->n_kv_head);
    op->to.stride = op->from.stride = l->k_dim;
    op->alone = l->reuses_kv;
    if (op->alone)
        op->src = PLAN_Q;
}

static void emit_head_norms(struct plan *p, int i)
{
    const struct model_layer *l = &p->model->layers[i];
    emit_head_norm(p, i, PLAN_Q, l->n_head * l->k_dim, &l->q_norm);
    if (l->reuses_kv)
        return;
    emit_head_norm(p, i, PLAN_K, l->n_kv_head * l->k_dim, &l->k_norm);
    emit_head_norm(p, i, PLAN_V, l->n_kv_head * l->v_dim, &l->v_norm);
}

static struct plan_op *emit_heads(struct plan *p, int i, enum plan_buf dst, size_t dst_stride,
                                  enum plan_buf src, size_t src_stride,
                                  const struct model_matrix *w)
{
    struct plan_op *op = emit(p, PLAN_HEADS, i, dst, src);
    add_part(op, dst, w, NULL);
    op->to.stride = dst_stride;
    op->from.stride = src_stride;
    op->n_groups = p->model->n_head;
    return op;
}

/* n numbers of each head in Q_HEADS to place `at` of its k_dim in dst. */
static void emit_copy(struct plan *p, int i, enum plan_buf dst, size_t at, struct plan_groups from,
                      size_t n)
{
    const struct model_layer *l = &p->model->layers[i];
    struct plan_groups to = {at, l->k_dim};
    emit_groups(p, i, dst, to, PLAN_Q_HEADS, from, n, l->n_head);
}

static void emit_index_turn(struct plan *p, int i)
{
    const struct model *m = p->model;
    struct plan_op *op = emit_rope(p, i, PLAN_INDEX_Q, m->index_heads, PLAN_INDEX_K, 1);
    op->turn = m->arch->index_rope;
    op->to.stride = op->from.stride = m->index_dim;
}

static void emit_index(struct plan *p, int i)
{
    if (!p->model->layers[i].indexer.q.rows)
        return;
    emit(p, PLAN_STORE_INDEX, i, PLAN_INDEX_K, PLAN_INDEX_K);
    struct plan_op *op = emit(p, PLAN_INDEX, i, PLAN_INDEX_Q, PLAN_INDEX_Q);
    op->src2 = PLAN_INDEX_WEIGHTS;
    op->n = p->model->index_top_k;
}

/* Queries in the small space and the turned part behind them, as keys are; values are the keys'
 * first part. */
static void emit_latent(struct plan *p, int i, enum plan_buf src)
{
    const struct model *m = p->model;
    const struct model_latent *x = &m->layers[i].latent;
    const struct model_indexer *index = &m->layers[i].indexer;
    size_t plain = m->head_dim - m->n_rot;
    enum plan_buf low = src;
    struct plan_op *op = emit_matmul(p, i, PLAN_K, src, &x->kv_low, NULL);
    if (m->q_low) {
        add_part(op, PLAN_Q_LOW, &x->q_low, NULL);
        if (index->q.rows) {
            add_part(op, PLAN_INDEX_K, &index->k, NULL);
            add_part(op, PLAN_INDEX_WEIGHTS, &index->weights, NULL);
        }
        low = emit_norm(p, i, PLAN_Q_LOW, PLAN_Q_LOW, &x->q_norm);
    }
    emit_norm(p, i, PLAN_K, PLAN_K, &x->kv_norm);
    emit_norm(p, i, PLAN_INDEX_K, PLAN_INDEX_K, &index->k_norm);
    op = emit_matmul(p, i, PLAN_Q_HEADS, low, &x->q_high, NULL);
    if (index->q.rows)
        add_part(op, PLAN_INDEX_Q, &index->q, NULL);
    if (m->layers[i].angles) {
        if (index->q.rows)
            emit_index_turn(p, i);
        op = emit_rope(p, i, PLAN_Q_HEADS, m->n_head, PLAN_K, 1);
        op->to = (struct plan_groups){plain, m->head_dim};
        op->from = (struct plan_groups){m->kv_low, m->k_dim};
    }
    emit_heads(p, i, PLAN_Q, m->k_dim, PLAN_Q_HEADS, m->head_dim, &x->to_low);
    emit_copy(p, i, PLAN_Q, m->kv_low, (struct plan_groups){plain, m->head_dim}, m->n_rot);
}

/* Heads are kept whole: each has its own part of a key and the turned part, which is the same. */
static void emit_latent_whole(struct plan *p, int i, enum plan_buf src)
{
    const struct model *m = p->model;
    const struct model_latent *x = &m->layers[i].latent;
    size_t n = m->n_head, k = m->k_dim, v = m->v_dim, plain = k - m->n_rot;
    enum plan_buf low = src;
    struct plan_op *op = emit_matmul(p, i, PLAN_KV_LOW, src, &x->kv_low, NULL);
    if (m->q_low) {
        add_part(op, PLAN_Q_LOW, &x->q_low, NULL);
        low = emit_norm(p, i, PLAN_Q_LOW, PLAN_Q_LOW, &x->q_norm);
    }
    emit_norm(p, i, PLAN_KV_LOW, PLAN_KV_LOW, &x->kv_norm);
    emit_matmul(p, i, PLAN_Q, low, &x->q_high, NULL);
    emit_matmul(p, i, PLAN_KV_HEADS, PLAN_KV_LOW, &x->kv_high, NULL);
    const struct plan_groups keys = {0, plain + v}, values = {plain, plain + v};
    const struct plan_groups turned = {plain, k}, same = {m->kv_from, 0};
    emit_groups(p, i, PLAN_K, (struct plan_groups){0, k}, PLAN_KV_HEADS, keys, plain, n);
    emit_groups(p, i, PLAN_K, turned, PLAN_KV_LOW, same, m->n_rot, n);
    emit_groups(p, i, PLAN_V, (struct plan_groups){0, v}, PLAN_KV_HEADS, values, v, n);
    if (!m->layers[i].angles)
        return;
    op = emit_rope(p, i, PLAN_Q, n, PLAN_K, n);
    op->to = op->from = turned;
}

/* The queries, keys and values of a layer. */
static void emit_qkv(struct plan *p, int i, enum plan_buf src)
{
    const struct model *m = p->model;
    const struct model_layer *l = &m->layers[i];
    enum plan_buf q = l->q_gated ? PLAN_Q_HEADS : PLAN_Q;
    struct plan_op *op = emit_matmul(p, i, q, src, &l->q, l->q_bias);
    if (l->gate.rows)
        add_part(op, PLAN_Q_GATE, &l->gate, NULL);
    if (!l->reuses_kv)
        add_part(op, PLAN_K, &l->k, l->k_bias);
    if (l->v.rows)
        add_part(op, PLAN_V, &l->v, l->v_bias);
    else if (!l->reuses_kv)
        emit_take(p, i, PLAN_V, PLAN_K, 0, l->k.rows);
    if (l->q_gated) {
        emit_copy(p, i, PLAN_Q, 0, (struct plan_groups){0, 2 * l->k_dim}, l->k_dim);
        emit_copy(p, i, PLAN_Q_GATE, 0, (struct plan_groups){l->k_dim, 2 * l->k_dim}, l->k_dim);
    }
    emit_by(p, PLAN_CLAMP, i, PLAN_Q, l->n_head * l->k_dim, m->qkv_clamp, 0);
    if (!l->reuses_kv) {
        emit_by(p, PLAN_SCALE, i, PLAN_V, l->n_kv_head * l->v_dim, m->value_scale, 1);
        emit_by(p, PLAN_CLAMP, i, PLAN_K, l->k.rows, m->qkv_clamp, 0);
        emit_by(p, PLAN_CLAMP, i, PLAN_V, l->n_kv_head * l->v_dim, m->qkv_clamp, 0);
    }
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
    else if (m->kv_from)
        emit_latent_whole(p, i, src);
    else
        emit_qkv(p, i, src);
    if (l->tempers)
        emit(p, PLAN_TEMPER, i, PLAN_Q, PLAN_Q)->n = l->n_head * l->k_dim;
    if (!l->reuses_kv)
        emit(p, PLAN_STORE, i, PLAN_K, PLAN_K)->src2 = m->kv_low ? PLAN_K : PLAN_V;
    emit_index(p, i);
    struct plan_op *op = emit(p, PLAN_ATTEND, i, PLAN_MIX, PLAN_Q);
    op->n = m->index_top_k;
    op->by = m->attn_scale;
    op->cap = m->attn_cap;
    op->grow_from = m->grow_from;
    op->window = l->window;
    op->sinks = l->sinks;
    if (l->q_gated || l->gate.rows)
        emit_mul(p, i, PLAN_MIX, PLAN_Q_GATE, l->n_head * l->v_dim)->sigmoid = true;
}

/* A block's gate and up, and their product, which is in `gate` afterwards, or in `up` where there
 * is no gate. */
static enum plan_buf emit_gated(struct plan *p, int i, enum plan_kind kind, enum plan_buf src,
                                const struct model_ffn *f, enum plan_buf gate, enum plan_buf up)
{
    bool gated = f->gate.rows > 0 || f->fused, spread = kind == PLAN_EXPERTS;
    enum plan_buf dst = gated ? gate : up;
    struct plan_op *op = emit(p, kind, i, dst, src);
    if (f->gate.rows)
        add_part(op, gate, &f->gate, f->gate_bias);
    up = f->fused ? gate : up;
    add_part(op, up, &f->up, f->up_bias);
    op->spread = spread;
    op->n_experts = p->model->n_expert;
    if (!spread && p->model->layers[i].sparse) {
        op = emit(p, PLAN_SPARSE, i, dst, dst);
        op->n = f->n;
        op->by = p->model->layers[i].sparsity;
    }
    op = emit(p, PLAN_GLU, i, dst, dst);
    op->n_experts = p->model->n_expert;
    op->src2 = up;
    op->src2_at = f->fused ? f->n : 0;
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

static void emit_route(struct plan *p, int i, enum plan_buf src)
{
    const struct model_experts *x = &p->model->layers[i].experts;
    emit_matmul(p, i, PLAN_SCORES, src, &x->router, x->router_bias);
    emit_by(p, PLAN_SOFTCAP, i, PLAN_SCORES, p->model->n_expert, p->model->router_cap, 0);
    struct plan_op *op = emit(p, PLAN_ROUTE, i, PLAN_SCORES, PLAN_SCORES);
    op->n = p->model->n_expert;
    op->bias = x->choice_bias;
}

/* dst = what the experts of the route make of src. */
static void emit_chosen(struct plan *p, int i, enum plan_buf dst, enum plan_buf src)
{
    const struct model *m = p->model;
    const struct model_experts *x = &m->layers[i].experts;
    struct plan_op *op = emit(p, PLAN_SPREAD, i, PLAN_SPREAD_IN, src);
    op->n = m->dim;
    op->spread = true;
    enum plan_buf mid = emit_gated(p, i, PLAN_EXPERTS, PLAN_SPREAD_IN, &x->each, PLAN_SPREAD_GATE,
                                   PLAN_SPREAD_UP);
    op = emit(p, PLAN_EXPERTS, i, PLAN_SPREAD_OUT, mid);
    add_part(op, PLAN_SPREAD_OUT, &x->each.down, x->each.down_bias);
    op->spread = true;
    op->n_experts = m->n_expert;
    op = emit(p, PLAN_COMBINE, i, dst, PLAN_SPREAD_OUT);
    op->n = m->dim;
    op->spread = true;
}

/* DELTA = what the experts make of src, the shared one's part included. */
static void emit_experts(struct plan *p, int i, enum plan_buf src)
{
    const struct model *m = p->model;
    const struct model_experts *x = &m->layers[i].experts;
    emit_route(p, i, src);
    emit_chosen(p, i, PLAN_DELTA, src);
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

/* DELTA = the block of src and the experts beside it, each with norms of its own, which read the
 * stream x (Gemma 4). */
static void emit_beside(struct plan *p, int i, enum plan_buf x, enum plan_buf src)
{
    const struct model_layer *l = &p->model->layers[i];
    const struct model_experts *e = &l->experts;
    emit_block(p, i, PLAN_DELTA, src, &l->ffn, false);
    emit_norm(p, i, PLAN_DELTA, PLAN_DELTA, &e->block_post_norm);
    emit_route(p, i, emit_norm(p, i, PLAN_NORMED, x, &e->router_norm));
    emit_chosen(p, i, PLAN_SHARED, emit_norm(p, i, PLAN_NORMED, x, &e->norm));
    emit_norm(p, i, PLAN_SHARED, PLAN_SHARED, &e->post_norm);
    emit_add(p, i, PLAN_DELTA, PLAN_SHARED, 1);
    emit_meet(p, i, x, &l->ffn_post_norm);
}

/* A block that reads the row before, too, and may have a gate of the whole (RWKV). */
static void emit_channels(struct plan *p, int i, enum plan_buf x, enum plan_buf src)
{
    const struct model_layer *l = &p->model->layers[i];
    plan_shift(p, i, src);
    emit_block(p, i, PLAN_DELTA, plan_lerp(p, i, src, l->channels.lerp_k), &l->ffn, false);
    if (l->channels.r.rows) {
        enum plan_buf from = plan_lerp(p, i, src, l->channels.lerp_r);
        emit_matmul(p, i, PLAN_Z, from, &l->channels.r, NULL);
        emit_mul(p, i, PLAN_DELTA, PLAN_Z, p->model->dim)->sigmoid = true;
    }
    emit_meet(p, i, x, &l->ffn_post_norm);
}

static void emit_ffn(struct plan *p, int i, enum plan_buf x, enum plan_buf src)
{
    const struct model_layer *l = &p->model->layers[i];
    bool at_once = adds_at_once(p, &l->ffn_post_norm);
    if (l->channels.lerp_k) {
        emit_channels(p, i, x, src);
    } else if (l->experts.router_norm.gain) {
        emit_beside(p, i, x, src);
    } else if (l->experts.router.rows) {
        emit_experts(p, i, l->experts.input_norm.gain ? PLAN_EXPERTS_IN : src);
        if (l->ffn.n) /* beside them: arctic's and grok's */
            emit_block(p, i, PLAN_DELTA, src, &l->ffn, true);
        if (l->ffn.n && p->model->arch->flags & MODEL_BESIDE_ROOT)
            emit_by(p, PLAN_SCALE, i, PLAN_DELTA, p->model->dim, sqrtf(0.5f), 1);
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
        emit_heads(p, i, PLAN_VALUES, m->value_dim, mix, l->v_dim, &l->latent.to_value);
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
    if (p->model->n_streams)
        plan_predict_streams(p, i);
    if (l->attends || mixes)
        src = emit_norm(p, i, PLAN_NORMED, PLAN_X, &l->attn_norm);
    if (l->attends)
        emit_attention(p, i, src);
    return mixes ? plan_mix(p, i, src) : PLAN_Y;
}

/* x += what the stream's gate lets in of the token's embedding for the layer; then its scale. */
static void emit_end(struct plan *p, int i, enum plan_buf x, enum plan_buf input)
{
    const struct model *m = p->model;
    const struct model_layer *l = &m->layers[i];
    if (m->n_streams)
        plan_correct_streams(p, i);
    if (m->n_input) {
        emit_matmul(p, i, PLAN_GATE, x, &l->input.gate, NULL);
        struct plan_op *op = emit(p, PLAN_GLU, i, PLAN_GATE, PLAN_GATE);
        op->src2 = input;
        op->act = m->act;
        op->n = m->n_input;
        emit_matmul(p, i, PLAN_DELTA, PLAN_GATE, &l->input.out, NULL);
        if (m->n_streams)
            plan_add_to_streams(p, i, emit_norm(p, i, PLAN_DELTA, PLAN_DELTA, &l->input.norm));
        else
            emit_meet(p, i, x, &l->input.norm);
    }
    emit_by(p, PLAN_SCALE, i, x, m->dim, l->out_scale, 1);
}

/* Do all rows go on to the end?  Those of several streams do, and those whose last block reads the
 * row before it. */
static bool picks_late(const struct model *m)
{
    return m->n_streams || m->layers[m->n_layer - 1].channels.lerp_k;
}

/* Once the last layer has stored its keys, values and state, only the rows count of which something
 * is wanted: the rest of it, most of its work, is for them alone.  Blocks in parallel: the norm of
 * the second is made before the first one's output meets the stream. */
static void emit_layer(struct plan *p, int i)
{
    const struct model_layer *l = &p->model->layers[i];
    size_t n_streams = p->model->n_streams;
    bool last = (size_t)i + 1 == p->model->n_layer && !picks_late(p->model) && !p->model->vision;
    bool parallel = p->model->parallel;
    bool mixes = l->mixer.kind != MODEL_NO_MIXER, feeds = l->ffn.n || l->experts.router.rows;
    enum plan_buf x = last ? PLAN_PICKED : PLAN_X, mix = PLAN_MIX, src = x, input = PLAN_INPUT;
    enum plan_buf y = emit_mixing(p, i);
    if (p->model->n_input)
        emit_take(p, i, PLAN_INPUT, PLAN_INPUTS, (size_t)i * p->model->n_input, p->model->n_input);
    size_t from = p->n_ops;
    if (last) {
        emit(p, PLAN_PICK, i, x, PLAN_X);
        if (l->attends)
            emit(p, PLAN_PICK, i, mix = PLAN_PICKED_MIX, PLAN_MIX);
        if (mixes)
            emit(p, PLAN_PICK, i, PLAN_PICKED_Y, y);
        y = PLAN_PICKED_Y;
        if (p->model->n_input)
            emit(p, PLAN_PICK, i, input = PLAN_PICKED_INPUT, PLAN_INPUT);
    }
    if (parallel)
        src = emit_norm(p, i, PLAN_NORMED, x, &l->ffn_norm);
    if (l->experts.input_norm.gain)
        emit_norm(p, i, PLAN_EXPERTS_IN, x, &l->experts.input_norm);
    if (l->attends)
        emit_output(p, i, x, mix);
    if (n_streams)
        plan_join_laurel(p, i, PLAN_NORMED);
    if (mixes)
        emit_out(p, i, x, y, &l->mixer.out, NULL);
    if (l->linear)
        emit_out(p, i, x, emit_norm(p, i, PLAN_NORMED, x, &l->attn_norm), &l->o, l->o_bias);
    if (!parallel && feeds)
        src = emit_norm(p, i, PLAN_NORMED, x, &l->ffn_norm);
    if (feeds)
        emit_ffn(p, i, x, src);
    emit_end(p, i, x, input);
    for (; last && from < p->n_ops; from++)
        p->ops[from].rows = PLAN_ROWS_WANTED;
}

/* A token's embeddings for all layers, joined with what the stream's beginning says of them: each
 * is of size 1 (Gemma 3n). */
static void emit_inputs(struct plan *p)
{
    const struct model *m = p->model;
    size_t all = m->n_layer * m->n_input;
    struct plan_op *op = emit(p, PLAN_EMBED, -1, PLAN_INPUTS_EMBED, PLAN_INPUTS_EMBED);
    op->table = &m->input_embed;
    op->by = sqrtf((float)m->n_input);
    op->n = 0; /* a picture's rows have those of the padding, token 0 (the models' code) */
    emit_matmul(p, -1, PLAN_INPUTS, PLAN_X, &m->input_proj, NULL);
    emit_by(p, PLAN_SCALE, -1, PLAN_INPUTS, all, 1 / sqrtf((float)m->dim), 1);
    emit_head_norm(p, -1, PLAN_INPUTS, all, &m->input_norm);
    emit(p, PLAN_ADD, -1, PLAN_INPUTS, PLAN_INPUTS_EMBED)->n = all;
    emit_by(p, PLAN_SCALE, -1, PLAN_INPUTS, all, sqrtf(0.5f), 1);
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
    if (m->n_input)
        emit_inputs(p);
    if (m->n_streams)
        plan_begin_streams(p);
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
    if (m->n_streams)
        plan_end_streams(p);
    if (picks_late(m)) {
        emit(p, PLAN_PICK, -1, PLAN_PICKED, PLAN_X);
        p->ops[p->n_ops - 1].rows = PLAN_ROWS_WANTED;
    }
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
    plan_scale_results(p);
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
