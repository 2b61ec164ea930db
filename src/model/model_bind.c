/* SPDX-License-Identifier: MIT
 * model_bind.c - every tensor of the file to its place, by name, shape and type. */
#include "model/model_int.h"

#include "base/num.h"
#include "gguf/gguf_type.h"

#include <stdio.h>

struct binder {
    struct model *m;
    bool *used; /* [n_tensors] of the file */
    struct errinfo *e;
};

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

/* A matrix [rows][cols]; rows == 0 takes what the file has. */
static enum err matrix(struct binder *b, const char *name, size_t rows, size_t cols,
                       struct model_matrix *out)
{
    const struct gguf_tensor *t;
    TRY(need(b, name, &t));
    rows = rows ? rows : (size_t)t->dims[1];
    if (t->n_dims > 2 || t->dims[0] != cols || t->dims[1] != rows || rows > INT32_MAX)
        return err_set(b->e, ERR_CORRUPT,
                       "%s: tensor %s is %llu x %llu x %llu, where %zu x %zu is needed",
                       gguf_path(b->m->gguf), name, (unsigned long long)t->dims[0],
                       (unsigned long long)t->dims[1], (unsigned long long)t->dims[2], cols, rows);
    *out = (struct model_matrix){.name = t->name, .rows = rows, .cols = cols, .tensor = t};
    return tensor_format(b, t, &out->format);
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
    if (t->n_dims != 1 || t->dims[0] != n)
        return err_set(b->e, ERR_CORRUPT, "%s: tensor %s has %llu elements, where %zu are needed",
                       gguf_path(b->m->gguf), name, (unsigned long long)(t->dims[0] * t->dims[1]),
                       n);
    TRY(tensor_format(b, t, &f));
    float *v = arena_array(&b->m->arena, n, sizeof *v);
    format_dequant(f, v, t->data, n);
    *out = v;
    return ERR_OK;
}

static const char *layer_name(struct binder *b, size_t i, const char *name)
{
    return arena_printf(&b->m->arena, "blk.%zu.%s", i, name);
}

static enum err bind_attention(struct binder *b, size_t i, struct model_layer *l)
{
    const struct model *m = b->m;
    size_t q = m->n_head * m->k_dim, k = m->n_kv_head * m->k_dim, v = m->n_kv_head * m->v_dim;
    bool qk = m->arch->flags & MODEL_QK_NORM, post = m->arch->flags & MODEL_POST_NORM;
    TRY(vector(b, layer_name(b, i, "attn_norm.weight"), m->dim, false, &l->attn_norm));
    TRY(matrix(b, layer_name(b, i, "attn_q.weight"), q, m->dim, &l->q));
    TRY(matrix(b, layer_name(b, i, "attn_k.weight"), k, m->dim, &l->k));
    TRY(matrix(b, layer_name(b, i, "attn_v.weight"), v, m->dim, &l->v));
    TRY(matrix(b, layer_name(b, i, "attn_output.weight"), m->dim, m->n_head * m->v_dim, &l->o));
    TRY(vector(b, layer_name(b, i, "attn_q.bias"), q, true, &l->q_bias));
    TRY(vector(b, layer_name(b, i, "attn_k.bias"), k, true, &l->k_bias));
    TRY(vector(b, layer_name(b, i, "attn_v.bias"), v, true, &l->v_bias));
    TRY(vector(b, layer_name(b, i, "attn_output.bias"), m->dim, true, &l->o_bias));
    if (qk) {
        TRY(vector(b, layer_name(b, i, "attn_q_norm.weight"), m->k_dim, false, &l->q_norm));
        TRY(vector(b, layer_name(b, i, "attn_k_norm.weight"), m->k_dim, false, &l->k_norm));
    }
    if (post)
        TRY(vector(b, layer_name(b, i, "post_attention_norm.weight"), m->dim, false,
                   &l->attn_post_norm));
    return ERR_OK;
}

static enum err bind_ffn(struct binder *b, size_t i, struct model_layer *l)
{
    const struct model *m = b->m;
    TRY(vector(b, layer_name(b, i, "ffn_norm.weight"), m->dim, false, &l->ffn_norm));
    TRY(matrix(b, layer_name(b, i, "ffn_gate.weight"), m->ff, m->dim, &l->gate));
    TRY(matrix(b, layer_name(b, i, "ffn_up.weight"), m->ff, m->dim, &l->up));
    TRY(matrix(b, layer_name(b, i, "ffn_down.weight"), m->dim, m->ff, &l->down));
    if (m->arch->flags & MODEL_POST_NORM)
        TRY(vector(b, layer_name(b, i, "post_ffw_norm.weight"), m->dim, false, &l->ffn_post_norm));
    return ERR_OK;
}

/* A tensor that nothing uses would be a part of the model left out. */
static enum err all_used(struct binder *b)
{
    const struct gguf *g = b->m->gguf;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if (!b->used[i])
            return err_set(b->e, ERR_UNSUPPORTED,
                           "%s: the tensor %.*s has no place in the architecture %s as it is "
                           "supported here",
                           gguf_path(g), (int)t->name.n, t->name.p, b->m->arch->name);
        b->m->n_weights += (size_t)(t->dims[0] * t->dims[1]);
    }
    return ERR_OK;
}

enum err model_bind(struct model *m, const float **rope_factors, struct errinfo *e)
{
    struct binder b = {.m = m, .e = e};
    b.used = arena_array(&m->arena, gguf_n_tensors(m->gguf), sizeof *b.used);
    m->layers = arena_array(&m->arena, m->n_layer, sizeof *m->layers);
    TRY(matrix(&b, "token_embd.weight", 0, m->dim, &m->embed));
    m->n_vocab = m->embed.rows;
    TRY(vector(&b, "output_norm.weight", m->dim, false, &m->output_norm));
    if (gguf_tensor(m->gguf, "output.weight"))
        TRY(matrix(&b, "output.weight", m->n_vocab, m->dim, &m->output));
    else
        m->output = m->embed;
    TRY(vector(&b, "rope_freqs.weight", m->n_rot / 2, true, rope_factors));
    for (size_t i = 0; i < m->n_layer; i++) {
        TRY(bind_attention(&b, i, &m->layers[i]));
        TRY(bind_ffn(&b, i, &m->layers[i]));
    }
    return all_used(&b);
}
