/* SPDX-License-Identifier: MIT
 * model_bind.c - every tensor of the file to its place, by name, shape and type. */
#include "model/model_int.h"

#include "base/num.h"
#include "gguf/gguf_type.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Marks the tensor as used; NULL where the file has none of that name. */
static const struct gguf_tensor *take(struct binder *b, const char *name)
{
    const struct gguf_tensor *t = gguf_tensor(b->m->gguf, name);
    if (t)
        b->used[t - gguf_tensor_at(b->m->gguf, 0)] = true;
    return t;
}

static enum err need(struct binder *b, const char *name, const struct gguf_tensor **out)
{
    *out = take(b, name);
    if (!*out)
        return err_set(b->e, ERR_CORRUPT, "%s: the tensor %s is missing", gguf_path(b->m->gguf),
                       name);
    return ERR_OK;
}

static enum err tensor_format(struct binder *b, const struct gguf_tensor *t, enum format *out)
{
    int f = format_of(t->type);
    if (f < 0)
        return err_set(b->e, ERR_UNSUPPORTED,
                       "%s: tensor %.*s has the format %s, which is not supported (supported: %s)",
                       gguf_path(b->m->gguf), (int)t->name.n, t->name.p,
                       gguf_type_info(t->type)->name, format_list());
    *out = (enum format)f;
    return ERR_OK;
}

static enum err vector(struct binder *b, const char *name, size_t n, bool optional,
                       const float **out);

/* NVFP4's matrices have a scale beside those of their blocks, and one for activations that are made
 * 4-bit, which ours are not; gemma4's experts have scales whatever their format is.  A router's
 * `scale` is of something else. */
static enum err bind_scale(struct binder *b, const char *name, const struct gguf_tensor *t,
                           struct model_matrix *out)
{
    struct span stem = span_of(name);
    if (!span_ends(stem, SPAN(".weight")) || span_ends(stem, SPAN("ffn_gate_inp.weight")))
        return ERR_OK;
    stem.n -= strlen(".weight");
    if (t->dims[2] > 1 && !span_ends(stem, SPAN("_exps")))
        return ERR_OK; /* a head's each: such a scale is refused */
    take(b, arena_printf(&b->m->arena, "%.*s.input_scale", (int)stem.n, stem.p));
    const char *scale = arena_printf(&b->m->arena, "%.*s.scale", (int)stem.n, stem.p);
    TRY(vector(b, scale, (size_t)t->dims[2], true, &out->scale));
    for (size_t i = 0; out->scale && i < t->dims[2]; i++)
        if (!isfinite(out->scale[i]) || out->scale[i] == 0)
            return err_set(b->e, ERR_CORRUPT, "%s: tensor %s has %g", gguf_path(b->m->gguf), scale,
                           (double)out->scale[i]);
    return ERR_OK;
}

/* The bias of n rows that what w gives is scaled together with. */
static const float *unscaled(struct binder *b, const struct model_matrix *w, const float *bias,
                             size_t n)
{
    if (!bias || !w->scale)
        return bias;
    float *out = arena_array(&b->m->arena, n, sizeof *out);
    size_t each = n / (size_t)w->tensor->dims[2];
    for (size_t i = 0; i < n; i++)
        out[i] = bias[i] / w->scale[i / each];
    return out;
}

/* Rows [from, from + rows) of a matrix of `all` rows, which lie one behind the other whatever its
 * dimensions beyond the first are; without the scale that it may have. */
static enum err plain_rows(struct binder *b, const char *name, size_t from, size_t rows, size_t all,
                           size_t cols, struct model_matrix *out)
{
    const struct gguf_tensor *t;
    TRY(need(b, name, &t));
    /* The container has checked that the product of all is small enough. */
    uint64_t there = t->dims[1] * t->dims[2] * t->dims[3];
    if (t->dims[0] != cols || there != all || all > INT32_MAX)
        return err_set(b->e, ERR_CORRUPT,
                       "%s: tensor %s is %llu x %llu x %llu, where %zu x %zu is needed",
                       gguf_path(b->m->gguf), name, (unsigned long long)t->dims[0],
                       (unsigned long long)t->dims[1], (unsigned long long)t->dims[2], cols, all);
    *out = (struct model_matrix){.name = t->name, .rows = rows, .cols = cols, .tensor = t};
    TRY(tensor_format(b, t, &out->format));
    out->data = t->data ? t->data + from * format_bytes(out->format, cols) : NULL;
    return ERR_OK;
}

/* The same with its scale. */
static enum err rows_of(struct binder *b, const char *name, size_t from, size_t rows, size_t all,
                        size_t cols, struct model_matrix *out)
{
    TRY(plain_rows(b, name, from, rows, all, cols, out));
    return bind_scale(b, name, out->tensor, out);
}

/* A matrix whose rows are looked up, which nothing would scale: a file with a scale of it is
 * refused (all_used). */
static enum err table(struct binder *b, const char *name, size_t rows, size_t cols,
                      struct model_matrix *out)
{
    return plain_rows(b, name, 0, rows, rows, cols, out);
}

static enum err matrix(struct binder *b, const char *name, size_t rows, size_t cols,
                       struct model_matrix *out)
{
    return rows_of(b, name, 0, rows, rows, cols, out);
}

/* A vector [n] as floats in the model's arena; NULL where it is optional and not there. */
static enum err vector(struct binder *b, const char *name, size_t n, bool optional,
                       const float **out)
{
    const struct gguf_tensor *t = take(b, name);
    enum format f = FORMAT_F32;
    *out = NULL;
    if (!t && optional)
        return ERR_OK;
    TRY(need(b, name, &t));
    uint64_t there = t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
    if (there != n)
        return err_set(b->e, ERR_CORRUPT, "%s: tensor %s has %llu elements, where %zu are needed",
                       gguf_path(b->m->gguf), name, (unsigned long long)there, n);
    TRY(tensor_format(b, t, &f));
    float *v = arena_array(&b->m->arena, n, sizeof *v);
    format_dequant(f, v, t->data, n);
    *out = v;
    return ERR_OK;
}

/* "blk.3.NAME.weight"; without a layer "NAME.weight". */
static const char *full_name(struct binder *b, int layer, const char *name, const char *end)
{
    return layer < 0 ? arena_printf(&b->m->arena, "%s.%s", name, end)
                     : arena_printf(&b->m->arena, "blk.%d.%s.%s", layer, name, end);
}

static bool there(struct binder *b, int layer, const char *name)
{
    return gguf_tensor(b->m->gguf, full_name(b, layer, name, "weight")) != NULL;
}

/* A matrix whose bias nothing would add: a file with one is refused (all_used). */
static enum err weight(struct binder *b, int layer, const char *name, size_t rows, size_t cols,
                       struct model_matrix *out)
{
    return matrix(b, full_name(b, layer, name, "weight"), rows, cols, out);
}

/* A matrix and the bias that may go with it. */
static enum err linear(struct binder *b, int layer, const char *name, size_t rows, size_t cols,
                       struct model_matrix *out, const float **bias)
{
    TRY(matrix(b, full_name(b, layer, name, "weight"), rows, cols, out));
    TRY(vector(b, full_name(b, layer, name, "bias"), rows, true, bias));
    *bias = unscaled(b, out, *bias, rows);
    return ERR_OK;
}

/* A norm of n numbers, or of n for each of `groups`. */
static enum err norm(struct binder *b, int layer, const char *name, size_t n, size_t groups,
                     struct model_norm *out)
{
    const char *gain = full_name(b, layer, name, "weight");
    const struct gguf_tensor *t = gguf_tensor(b->m->gguf, gain);
    size_t all = n * groups;
    if (!t && layer >= 0) { /* falcon-h1's have no ending */
        const char *bare = arena_printf(&b->m->arena, "blk.%d.%s", layer, name);
        t = gguf_tensor(b->m->gguf, bare);
        gain = t ? bare : gain;
    }
    *out = (struct model_norm){.n = n, .n_gains = 1};
    if (b->m->arch->flags & MODEL_NORM_BARE) {
        out->gain = model_ones(b->m, n);
        return ERR_OK;
    }
    if (groups > 1 && t && t->n_dims == 1 && t->dims[0] == all) /* of all heads in one */
        out->n = n = all;
    if (t && t->n_dims == 2 && t->dims[0] == n && t->dims[1] == groups) {
        out->n_gains = groups;
        n = all;
    }
    TRY(vector(b, gain, n, false, &out->gain));
    return vector(b, full_name(b, layer, name, "bias"), n, true, &out->bias);
}

static enum err norm_if(struct binder *b, bool needed, int layer, const char *name, size_t n,
                        size_t groups, struct model_norm *out)
{
    return needed || there(b, layer, name) ? norm(b, layer, name, n, groups, out) : ERR_OK;
}

/* Queries, keys and values: three matrices, or one that holds their rows one behind the other. */
static enum err bind_qkv(struct binder *b, int i, struct model_layer *l)
{
    const struct model *m = b->m;
    size_t q = l->n_head * l->k_dim, k = l->n_kv_head * l->k_dim, v = l->n_kv_head * l->v_dim;
    if (!there(b, i, "attn_qkv")) {
        const struct gguf_tensor *t = gguf_tensor(m->gguf, full_name(b, i, "attn_q", "weight"));
        l->q_gated = t && t->dims[1] == 2 * q && l->k_dim == l->v_dim;
        TRY(linear(b, i, "attn_q", q * (l->q_gated ? 2 : 1), m->dim, &l->q, &l->q_bias));
        if (l->reuses_kv) { /* some files have the matrices that are not used */
            take(b, full_name(b, i, "attn_k", "weight"));
            take(b, full_name(b, i, "attn_v", "weight"));
            return ERR_OK;
        }
        TRY(linear(b, i, "attn_k", k, m->dim, &l->k, &l->k_bias));
        if (m->arch->flags & MODEL_V_BARE && l->k_dim == l->v_dim && !there(b, i, "attn_v"))
            return ERR_OK;
        return linear(b, i, "attn_v", v, m->dim, &l->v, &l->v_bias);
    }
    const char *name = full_name(b, i, "attn_qkv", "weight");
    TRY(rows_of(b, name, 0, q, q + k + v, m->dim, &l->q));
    TRY(rows_of(b, name, q, k, q + k + v, m->dim, &l->k));
    TRY(rows_of(b, name, q + k, v, q + k + v, m->dim, &l->v));
    const float *bias;
    TRY(vector(b, full_name(b, i, "attn_qkv", "bias"), q + k + v, true, &bias));
    bias = unscaled(b, &l->q, bias, q + k + v);
    l->q_bias = bias;
    l->k_bias = bias ? bias + q : NULL;
    l->v_bias = bias ? bias + q + k : NULL;
    return ERR_OK;
}

static enum err bind_latent(struct binder *b, int i, struct model_latent *x)
{
    const struct model *m = b->m;
    size_t kv = m->kv_low ? m->kv_low : m->kv_from, head = m->kv_low ? m->head_dim : m->k_dim;
    size_t plain = head - m->n_rot, from = m->q_low ? m->q_low : m->dim;
    if (m->q_low) {
        TRY(weight(b, i, "attn_q_a", m->q_low, m->dim, &x->q_low));
        TRY(norm(b, i, "attn_q_a_norm", m->q_low, 1, &x->q_norm));
    }
    TRY(weight(b, i, m->q_low ? "attn_q_b" : "attn_q", m->n_head * head, from, &x->q_high));
    TRY(weight(b, i, "attn_kv_a_mqa", kv + m->n_rot, m->dim, &x->kv_low));
    TRY(norm(b, i, "attn_kv_a_norm", kv, 1, &x->kv_norm));
    if (m->kv_from) { /* heads are kept whole: one matrix makes their keys and values */
        x->q_norm.eps = x->kv_norm.eps = MODEL_OWN_EPS;
        return weight(b, i, "attn_kv_b", m->n_head * (plain + m->v_dim), kv, &x->kv_high);
    }
    TRY(weight(b, i, "attn_k_b", m->n_head * kv, plain, &x->to_low));
    return weight(b, i, "attn_v_b", m->n_head * m->value_dim, kv, &x->to_value);
}

static enum err bind_attention(struct binder *b, int i, struct model_layer *l)
{
    const struct model *m = b->m;
    unsigned flags = m->arch->flags;
    bool latent = model_is_latent(m);
    if (latent)
        TRY(bind_latent(b, i, &l->latent));
    else
        TRY(bind_qkv(b, i, l));
    TRY(model_bind_indexer(b, i, &l->indexer));
    size_t mixed = l->n_head * (m->kv_low ? m->value_dim : l->v_dim);
    if (!latent && there(b, i, "attn_gate"))
        TRY(weight(b, i, "attn_gate", mixed, m->dim, &l->gate));
    TRY(linear(b, i, "attn_output", m->dim, mixed, &l->o, &l->o_bias));
    TRY(vector(b, full_name(b, i, "attn_sinks", "weight"), l->n_head, true, &l->sinks));
    if (latent) /* such heads have neither: a file with a gate or gains of norms is refused */
        return ERR_OK;
    bool qk = (flags & MODEL_QK_NORM) || there(b, i, "attn_q_norm") || there(b, i, "attn_k_norm");
    qk = qk && !(flags & MODEL_NORM_BARE);
    TRY(norm_if(b, qk, i, "attn_q_norm", l->k_dim, l->n_head, &l->q_norm));
    if (l->reuses_kv) {
        take(b, full_name(b, i, "attn_k_norm", "weight"));
        return ERR_OK;
    }
    return norm_if(b, qk, i, "attn_k_norm", l->k_dim, l->n_kv_head, &l->k_norm);
}

/* Where a layer's keys and values are: its own, or those of the last one that stores some and has a
 * window as it does. */
static enum err find_kv(struct binder *b, int i, struct model_layer *l)
{
    struct model *m = b->m;
    size_t own = m->n_layer - m->n_shared_kv;
    if ((size_t)i < own) {
        /* What an encoder's layers keep of a text is of no use after it: all take one place. */
        l->kv_index = m->bidirectional ? 0 : m->n_attend;
        m->n_attend = l->kv_index + 1;
        return ERR_OK;
    }
    for (size_t k = own; k-- > 0;) {
        const struct model_layer *from = &m->layers[k];
        if (!from->attends || from->local != l->local || from->n_kv_head != l->n_kv_head)
            continue;
        l->reuses_kv = true;
        l->kv_index = from->kv_index;
        return ERR_OK;
    }
    return err_set(b->e, ERR_CORRUPT, "%s: layer %d shares the keys of no layer before it",
                   gguf_path(m->gguf), i);
}

/* What mixes positions: attention, a block with a state of its own, both beside each other, or
 * neither.  A layer has attention where the file does not say that it has none. */
static enum err bind_mixing(struct binder *b, int i, struct model_layer *l)
{
    struct model *m = b->m;
    unsigned flags = m->arch->flags;
    bool after = flags & (MODEL_NORM_AFTER | MODEL_STREAM_NORM) ||
                 (flags & MODEL_FIRST_BARE && i == 0);
    TRY(model_bind_mixer(b, i, &l->mixer));
    l->linear = !l->n_kv_head && !l->mixer.kind && there(b, i, "attn_output") &&
                !there(b, i, "attn_q") && !there(b, i, "attn_qkv");
    bool needed = !after && (l->n_kv_head || l->mixer.kind || l->linear);
    TRY(norm_if(b, needed, i, "attn_norm", m->dim, 1, &l->attn_norm));
    if (l->linear)
        return linear(b, i, "attn_output", m->dim, m->dim, &l->o, &l->o_bias);
    l->attends = (there(b, i, "attn_output") && l->mixer.kind != MODEL_DELTA_EACH) ||
                 (!l->mixer.kind && l->n_kv_head && !m->no_heads);
    m->has_state |= l->mixer.kind != MODEL_NO_MIXER;
    if (!l->attends)
        return ERR_OK;
    if (!l->n_kv_head || m->no_heads)
        return err_set(b->e, ERR_CORRUPT, "%s: layer %d attends with no key-value heads",
                       gguf_path(m->gguf), i);
    TRY(find_kv(b, i, l));
    return bind_attention(b, i, l);
}

/* A feed-forward block of width n: gate and up are two matrices, or the halves of one, or there is
 * no gate.  `of` blocks lie one behind the other. */
static enum err bind_block(struct binder *b, int i, const char *end, size_t n, size_t of,
                           struct model_ffn *out)
{
    const struct model *m = b->m;
    const char *gate = arena_printf(&b->m->arena, "ffn_gate%s", end);
    const char *up = arena_printf(&b->m->arena, "ffn_up%s", end);
    const char *down = arena_printf(&b->m->arena, "ffn_down%s", end);
    const char *up_weight = full_name(b, i, up, "weight");
    const struct gguf_tensor *t = gguf_tensor(m->gguf, up_weight);
    out->n = n;
    if (of == 1 && !there(b, i, gate) && t && t->n_dims == 2 && t->dims[1] == 2 * n) {
        TRY(rows_of(b, up_weight, 0, n, 2 * n, m->dim, &out->gate));
        TRY(rows_of(b, up_weight, n, n, 2 * n, m->dim, &out->up));
        TRY(vector(b, full_name(b, i, up, "bias"), 2 * n, true, &out->gate_bias));
        out->gate_bias = unscaled(b, &out->up, out->gate_bias, 2 * n);
        out->up_bias = out->gate_bias ? out->gate_bias + n : NULL;
    } else if (of > 1 && there(b, i, "ffn_gate_up_exps")) {
        TRY(weight(b, i, "ffn_gate_up_exps", 2 * n * of, m->dim, &out->up));
        out->fused = true;
    } else {
        if (there(b, i, gate))
            TRY(linear(b, i, gate, n * of, m->dim, &out->gate, &out->gate_bias));
        TRY(linear(b, i, up, n * of, m->dim, &out->up, &out->up_bias));
    }
    return linear(b, i, down, m->dim * of, n, &out->down, &out->down_bias);
}

/* Experts' matrices are a stack of matrices in the file too: importances are counted by it. */
static enum err check_stack(struct binder *b, const struct model_matrix *w)
{
    if (w->rows == 0 || w->tensor->dims[2] == b->m->n_expert)
        return ERR_OK;
    return err_set(b->e, ERR_CORRUPT, "%s: tensor %.*s holds %llu matrices for %zu experts",
                   gguf_path(b->m->gguf), (int)w->name.n, w->name.p,
                   (unsigned long long)w->tensor->dims[2], b->m->n_expert);
}

/* Of experts beside the layer's block (Gemma 4).  The router reads what is normed without gains,
 * times numbers of its own, divided by the root of the width. */
static enum err bind_expert_norms(struct binder *b, int i, struct model_experts *x)
{
    const struct model *m = b->m;
    const float *gain;
    TRY(vector(b, full_name(b, i, "ffn_gate_inp", "scale"), m->dim, true, &gain));
    if (gain) {
        float *scaled = arena_array(&b->m->arena, m->dim, sizeof *scaled);
        for (size_t k = 0; k < m->dim; k++)
            scaled[k] = gain[k] / sqrtf((float)m->dim);
        x->router_norm = (struct model_norm){.gain = scaled, .n = m->dim, .n_gains = 1};
    }
    if (there(b, i, "ffn_norm_exps")) /* arctic: of the layer's input */
        return norm(b, i, "ffn_norm_exps", m->dim, 1, &x->input_norm);
    TRY(norm_if(b, gain != NULL, i, "pre_ffw_norm_2", m->dim, 1, &x->norm));
    TRY(norm_if(b, gain != NULL, i, "post_ffw_norm_1", m->dim, 1, &x->block_post_norm));
    TRY(norm_if(b, gain != NULL, i, "post_ffw_norm_2", m->dim, 1, &x->post_norm));
    return ERR_OK;
}

static enum err bind_experts(struct binder *b, int i, struct model_experts *x)
{
    const struct model *m = b->m;
    TRY(bind_expert_norms(b, i, x));
    TRY(linear(b, i, "ffn_gate_inp", m->n_expert, m->dim, &x->router, &x->router_bias));
    TRY(vector(b, full_name(b, i, "exp_probs_b", "bias"), m->n_expert, true, &x->choice_bias));
    if (!x->choice_bias) /* hy_v3's has no ending */
        TRY(vector(b, model_bind_name(b, i, "exp_probs_b", NULL), m->n_expert, true,
                   &x->choice_bias));
    TRY(bind_block(b, i, "_exps", m->ff_expert, m->n_expert, &x->each));
    TRY(check_stack(b, &x->each.gate));
    TRY(check_stack(b, &x->each.up));
    TRY(check_stack(b, &x->each.down));
    const struct gguf_tensor *up = gguf_tensor(m->gguf, full_name(b, i, "ffn_up_shexp", "weight"));
    if (!up)
        return ERR_OK;
    if (up->dims[1] < 1 || up->dims[1] > MODEL_DIM_MAX)
        return err_set(b->e, ERR_CORRUPT, "%s: the shared expert of layer %d is %llu wide",
                       gguf_path(m->gguf), i, (unsigned long long)up->dims[1]);
    TRY(bind_block(b, i, "_shexp", (size_t)up->dims[1], 1, &x->shared));
    if (there(b, i, "ffn_gate_inp_shexp"))
        TRY(matrix(b, full_name(b, i, "ffn_gate_inp_shexp", "weight"), 1, m->dim, &x->shared_gate));
    return ERR_OK;
}

static enum err bind_ffn(struct binder *b, int i, struct model_layer *l)
{
    const struct model *m = b->m;
    unsigned flags = m->arch->flags;
    bool experts = m->n_expert && there(b, i, "ffn_gate_inp"), alone = false;
    if (there(b, i, "channel_mix_key"))
        return model_bind_channels(b, i, l);
    if (!experts && !there(b, i, "ffn_up") &&
        model_layer_size(b->m, "feed_forward_length", (size_t)i, m->ff) == 0)
        return ERR_OK;
    bool stream = flags & MODEL_STREAM_NORM;
    bool post = flags & (MODEL_POST_NORM | MODEL_NORM_AFTER);
    const char *name = flags & MODEL_FFN_NORM_POST ? "post_attention_norm"
                       : !stream && !post && there(b, i, "attn_output_norm")
                           ? "attn_output_norm" /* dbrx */
                           : "ffn_norm";
    /* the layer has one norm */
    alone = !l->attends && !l->mixer.kind && !there(b, i, name) && l->attn_norm.gain;
    bool needed = !m->parallel && !alone && !(flags & MODEL_NORM_AFTER) && !stream;
    TRY(norm_if(b, needed, i, name, m->dim, 1, &l->ffn_norm));
    if (alone)
        l->ffn_norm = l->attn_norm;
    if (m->parallel && !l->ffn_norm.gain) {
        l->ffn_norm = l->attn_norm;
        if (there(b, i, "attn_norm_2")) /* that of the attention, beside the block's */
            TRY(norm(b, i, "attn_norm_2", m->dim, 1, &l->attn_norm));
    }
    if (experts)
        TRY(bind_experts(b, i, &l->experts));
    const struct gguf_tensor *up = gguf_tensor(m->gguf, full_name(b, i, "ffn_up", "weight"));
    size_t n = model_layer_size(b->m, "feed_forward_length", (size_t)i, m->ff);
    if (l->experts.input_norm.gain && up) /* arctic's file names the width of its experts alone */
        n = MIN((size_t)up->dims[1], (size_t)MODEL_DIM_MAX);
    if (!l->experts.router.rows || up)
        TRY(bind_block(b, i, "", n, 1, &l->ffn));
    if (stream) {
        TRY(norm(b, i, "attn_output_norm", m->dim, 1, &l->attn_stream_norm));
        return norm(b, i, "layer_output_norm", m->dim, 1, &l->ffn_stream_norm);
    }
    bool output = post && there(b, i, "attn_output_norm"); /* grok's names */
    bool last = post && there(b, i, "layer_output_norm");
    if (!(flags & MODEL_FFN_NORM_POST))
        TRY(norm_if(b, post, i, output ? "attn_output_norm" : "post_attention_norm", m->dim, 1,
                    &l->attn_post_norm));
    return norm_if(b, post, i, last ? "layer_output_norm" : "post_ffw_norm", m->dim, 1,
                   &l->ffn_post_norm);
}

/* The layer's part of the tokens' own embeddings, and what the stream is scaled by at its end. */
static enum err bind_input(struct binder *b, int i, struct model_layer *l)
{
    const struct model *m = b->m;
    const float *scale;
    TRY(vector(b, full_name(b, i, "layer_output_scale", "weight"), 1, true, &scale));
    l->out_scale = scale ? scale[0] : 1;
    if (m->halve_every && ((size_t)i + 1) % m->halve_every == 0)
        l->out_scale /= 2;
    TRY(model_bind_streams(b, i, &l->streams));
    if (!m->n_input)
        return ERR_OK;
    TRY(weight(b, i, "inp_gate", m->n_input, m->dim, &l->input.gate));
    TRY(weight(b, i, "proj", m->dim, m->n_input, &l->input.out));
    return norm(b, i, "post_norm", m->dim, 1, &l->input.norm);
}

/* Of a layer after the last: one that guesses further tokens, which nothing here asks for. */
static bool beyond(const struct binder *b, const struct gguf_tensor *t)
{
    struct span rest = t->name;
    unsigned long long layer = 0;
    if (!span_starts(rest, SPAN("blk.")))
        return false;
    for (rest.p += 4, rest.n -= 4; rest.n && *rest.p >= '0' && *rest.p <= '9' && layer < 1 << 20;
         rest.p++, rest.n--)
        layer = layer * 10 + (unsigned long long)(*rest.p - '0');
    return layer >= b->m->n_layer && layer < b->m->n_layer + b->m->n_layer_ahead;
}

/* A tensor that nothing uses would be a part of the model left out. */
static enum err all_used(struct binder *b)
{
    const struct gguf *g = b->m->gguf;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if (!b->used[i] && !beyond(b, t))
            return err_set(b->e, ERR_UNSUPPORTED,
                           "%s: the tensor %.*s has no place in the architecture %s as it is "
                           "supported here",
                           gguf_path(g), (int)t->name.n, t->name.p, b->m->arch->name);
        b->m->n_weights += (size_t)(t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3]);
    }
    return ERR_OK;
}

/* What a step begins and ends with. */
static enum err bind_ends(struct binder *b)
{
    struct model *m = b->m;
    const struct gguf_tensor *embed, *positions = gguf_tensor(m->gguf, "position_embd.weight");
    TRY(need(b, "token_embd.weight", &embed));
    m->n_vocab = (size_t)embed->dims[1];
    TRY(table(b, "token_embd.weight", m->n_vocab, m->dim, &m->embed));
    if (positions) {
        TRY(table(b, "position_embd.weight", (size_t)positions->dims[1], m->dim, &m->positions));
        m->ctx_trained = MIN(m->ctx_trained, m->positions.rows);
    }
    if (m->n_input) {
        size_t n = m->n_layer * m->n_input;
        TRY(table(b, "per_layer_token_embd.weight", m->n_vocab, n, &m->input_embed));
        TRY(matrix(b, "per_layer_model_proj.weight", n, m->dim, &m->input_proj));
        TRY(norm(b, -1, "per_layer_proj_norm", m->n_input, 1, &m->input_norm));
    }
    TRY(model_bind_stream_ends(b));
    bool last = m->arch->flags & MODEL_LAST_EMBED_NORM;
    if (!last)
        TRY(norm_if(b, false, -1, "token_embd_norm", m->dim, 1, &m->embed_norm));
    TRY(norm_if(b, !(m->arch->flags & MODEL_STREAM_NORM), -1,
                last ? "token_embd_norm" : "output_norm", m->dim, 1, &m->output_norm));
    m->output = m->embed;
    if (gguf_tensor(m->gguf, "output.weight"))
        TRY(matrix(b, "output.weight", m->n_vocab, m->dim, &m->output));
    TRY(vector(b, "output.bias", m->n_vocab, true, &m->output_bias));
    m->output_bias = unscaled(b, &m->output, m->output_bias, m->n_vocab);
    return model_bind_encoder(b);
}

/* ---- for the other files that bind ---- */

const char *model_bind_name(struct binder *b, int layer, const char *name, const char *end)
{
    return end ? full_name(b, layer, name, end)
               : arena_printf(&b->m->arena, "blk.%d.%s", layer, name);
}

const struct gguf_tensor *model_bind_take(struct binder *b, const char *full)
{
    return take(b, full);
}

enum err model_bind_all_used(struct binder *b)
{
    return all_used(b);
}

bool model_bind_there(struct binder *b, int layer, const char *name)
{
    return there(b, layer, name);
}

enum err model_bind_rows(struct binder *b, int layer, const char *name, size_t from, size_t rows,
                         size_t all, size_t cols, struct model_matrix *out)
{
    return rows_of(b, full_name(b, layer, name, "weight"), from, rows, all, cols, out);
}

enum err model_bind_table(struct binder *b, const char *name, size_t rows, size_t cols,
                          struct model_matrix *out)
{
    return table(b, full_name(b, -1, name, "weight"), rows, cols, out);
}

enum err model_bind_linear(struct binder *b, int layer, const char *name, size_t rows, size_t cols,
                           struct model_matrix *out, const float **bias)
{
    return linear(b, layer, name, rows, cols, out, bias);
}

enum err model_bind_vector(struct binder *b, const char *full, size_t n, bool optional,
                           const float **out)
{
    return vector(b, full, n, optional, out);
}

const float *model_bind_unscaled(struct binder *b, const struct model_matrix *w, const float *bias,
                                 size_t n)
{
    return unscaled(b, w, bias, n);
}

enum err model_bind_norm(struct binder *b, int layer, const char *name, size_t n, size_t groups,
                         struct model_norm *out)
{
    return norm(b, layer, name, n, groups, out);
}

enum err model_bind(struct model *m, struct model_factors *factors, struct errinfo *e)
{
    struct binder b = {.m = m, .e = e};
    size_t n = m->n_rot / 2;
    b.used = arena_array(&m->arena, gguf_n_tensors(m->gguf), sizeof *b.used);
    TRY(bind_ends(&b));
    TRY(vector(&b, "rope_freqs.weight", n, true, &factors->all));
    TRY(vector(&b, "rope_factors_long.weight", n, true, &factors->far));
    TRY(vector(&b, "rope_factors_short.weight", n, true, &factors->near));
    for (size_t i = 0; i < m->n_layer; i++) {
        TRY(bind_mixing(&b, (int)i, &m->layers[i]));
        TRY(bind_ffn(&b, (int)i, &m->layers[i]));
        TRY(bind_input(&b, (int)i, &m->layers[i]));
    }
    return all_used(&b);
}
