/* SPDX-License-Identifier: MIT
 * model_wkv.c - RWKV's blocks: 6 (Finch) and 7 (Goose), and those of both in other families. */
#include "model/model_int.h"

#include "base/num.h"

bool model_has_wkv(struct binder *b, int i)
{
    return model_bind_there(b, i, "time_mix_receptance");
}

static enum err vector(struct binder *b, int i, const char *name, size_t n, const float **out)
{
    return model_bind_vector(b, model_bind_name(b, i, name, "weight"), n, false, out);
}

static enum err matrix(struct binder *b, int i, const char *name, size_t rows, size_t cols,
                       struct model_matrix *out)
{
    return model_bind_rows(b, i, name, 0, rows, rows, cols, out);
}

/* How many rows a matrix of the file has, which no key of all files says; 1 where there is none,
 * which is then found missing. */
static enum err rows_of(struct binder *b, int i, const char *name, size_t *out)
{
    const char *full = model_bind_name(b, i, name, "weight");
    const struct gguf_tensor *t = gguf_tensor(b->m->gguf, full);
    *out = 1;
    if (!t)
        return ERR_OK;
    if (t->dims[1] < 1 || t->dims[1] > MODEL_DIM_MAX)
        return err_set(b->e, ERR_CORRUPT, "%s: tensor %s has %llu rows", gguf_path(b->m->gguf),
                       full, (unsigned long long)t->dims[1]);
    *out = (size_t)t->dims[1];
    return ERR_OK;
}

/* bias NULL: there is none. */
static enum err low_rank(struct binder *b, int i, const char *low, const char *high,
                         const char *bias, struct model_low_rank *out)
{
    size_t rank, n = b->m->mixer.inner;
    TRY(rows_of(b, i, low, &rank));
    TRY(matrix(b, i, low, rank, b->m->dim, &out->low));
    TRY(matrix(b, i, high, n, rank, &out->high));
    if (!bias)
        return ERR_OK;
    TRY(vector(b, i, bias, n, &out->bias));
    out->bias = model_bind_unscaled(b, &out->high, out->bias, n);
    return ERR_OK;
}

/* All in one tensor, in the given order. */
static enum err fused_lerps(struct binder *b, int i, const enum model_lerp *order, size_t n,
                            struct model_wkv *x)
{
    const float *all;
    TRY(vector(b, i, "time_mix_lerp_fused", n * b->m->dim, &all));
    for (size_t k = 0; k < n; k++)
        x->lerp[order[k]] = all + k * b->m->dim;
    return ERR_OK;
}

static const enum model_lerp order6[] = {MODEL_LERP_W, MODEL_LERP_K, MODEL_LERP_V, MODEL_LERP_R,
                                         MODEL_LERP_G};
static const enum model_lerp order7[] = {MODEL_LERP_R, MODEL_LERP_W, MODEL_LERP_K,
                                         MODEL_LERP_V, MODEL_LERP_A, MODEL_LERP_G};

/* Older files have a tensor each. */
static enum err lerps_of_6(struct binder *b, int i, struct model_wkv *x)
{
    static const char *const names[] = {"w", "k", "v", "r", "g"};
    size_t rank;
    if (model_bind_there(b, i, "time_mix_lerp_fused"))
        TRY(fused_lerps(b, i, order6, N_ELEMS(order6), x));
    for (size_t k = 0; !x->lerp[MODEL_LERP_G] && k < N_ELEMS(names); k++)
        TRY(vector(b, i, arena_printf(&b->m->arena, "time_mix_lerp_%s", names[k]), b->m->dim,
                   &x->lerp[order6[k]]));
    TRY(vector(b, i, "time_mix_lerp_x", b->m->dim, &x->lerp_x));
    TRY(rows_of(b, i, "time_mix_w1", &rank));
    if (rank % N_ELEMS(names) != 0)
        return err_set(b->e, ERR_CORRUPT, "%s: tensor %s has %zu rows, no multiple of 5",
                       gguf_path(b->m->gguf), model_bind_name(b, i, "time_mix_w1", "weight"), rank);
    TRY(matrix(b, i, "time_mix_w1", rank, b->m->dim, &x->lerp_low));
    return matrix(b, i, "time_mix_w2", N_ELEMS(names) * b->m->dim, rank / N_ELEMS(names),
                  &x->lerp_high);
}

static enum err bind_6(struct binder *b, int i, struct model_mixer *out)
{
    struct model_wkv *x = &out->wkv;
    out->kind = model_bind_there(b, i, "time_mix_first") ? MODEL_WKV6 : MODEL_GATED;
    TRY(lerps_of_6(b, i, x));
    if (out->kind == MODEL_WKV6)
        TRY(vector(b, i, "time_mix_first", b->m->mixer.inner, &x->first));
    TRY(matrix(b, i, "time_mix_gate", b->m->mixer.inner, b->m->dim, &x->gate));
    return low_rank(b, i, "time_mix_decay_w1", "time_mix_decay_w2", "time_mix_decay", &x->decay);
}

/* Values are mixed with the first layer's, whose file has the same tensors for nothing. */
static enum err share_of_7(struct binder *b, int i, struct model_wkv *x)
{
    static const char *const names[] = {"time_mix_v0", "time_mix_v1", "time_mix_v2"};
    for (size_t k = 0; i == 0 && k < N_ELEMS(names); k++)
        model_bind_take(b, model_bind_name(b, i, names[k], "weight"));
    if (i == 0)
        return ERR_OK;
    if (b->m->layers[0].mixer.kind != MODEL_WKV7)
        return err_set(b->e, ERR_CORRUPT, "%s: layer %d takes values of the first, which has none",
                       gguf_path(b->m->gguf), i);
    return low_rank(b, i, names[1], names[2], names[0], &x->share);
}

static enum err bind_7(struct binder *b, int i, struct model_mixer *out)
{
    struct model_wkv *x = &out->wkv;
    size_t n = b->m->mixer.inner;
    bool gated = model_bind_there(b, i, "time_mix_g1");
    out->kind = MODEL_WKV7;
    TRY(fused_lerps(b, i, order7, N_ELEMS(order7) - !gated, x));
    TRY(low_rank(b, i, "time_mix_w1", "time_mix_w2", "time_mix_w0", &x->decay));
    TRY(low_rank(b, i, "time_mix_a1", "time_mix_a2", "time_mix_a0", &x->rate));
    TRY(share_of_7(b, i, x));
    if (gated)
        TRY(low_rank(b, i, "time_mix_g1", "time_mix_g2", NULL, &x->gate_low));
    TRY(vector(b, i, "time_mix_k_k", n, &x->k_k));
    TRY(vector(b, i, "time_mix_k_a", n, &x->k_a));
    return vector(b, i, "time_mix_r_k", n, &x->r_k);
}

enum err model_bind_wkv(struct binder *b, int i, struct model_mixer *out)
{
    const struct model *m = b->m;
    const struct model_mixer_sizes *s = &m->mixer;
    struct model_wkv *x = &out->wkv;
    if (s->inner != m->dim || s->heads * s->state != s->inner || !s->groups || s->heads % s->groups)
        return err_set(b->e, ERR_CORRUPT,
                       "%s: layer %d has %zu heads of %zu with %zu of keys for a width of %zu",
                       gguf_path(m->gguf), i, s->heads, s->state, s->groups, m->dim);
    size_t keys = s->groups * s->state;
    TRY(model_bind_linear(b, i, "time_mix_receptance", s->inner, m->dim, &x->r, &x->r_bias));
    TRY(model_bind_linear(b, i, "time_mix_key", keys, m->dim, &x->k, &x->k_bias));
    TRY(model_bind_linear(b, i, "time_mix_value", keys, m->dim, &x->v, &x->v_bias));
    bool seven = model_bind_there(b, i, "time_mix_k_k");
    TRY(seven ? bind_7(b, i, out) : bind_6(b, i, out));
    if (seven && s->groups != s->heads)
        return err_set(b->e, ERR_UNSUPPORTED, "%s: %zu heads of RWKV 7 with %zu of keys",
                       gguf_path(m->gguf), s->heads, s->groups);
    if (model_bind_there(b, i, "time_mix_ln")) { /* of each head */
        out->norm = (struct model_norm){.n = s->state, .n_gains = s->heads};
        TRY(vector(b, i, "time_mix_ln", s->inner, &out->norm.gain));
        TRY(model_bind_vector(b, model_bind_name(b, i, "time_mix_ln", "bias"), s->inner, true,
                              &out->norm.bias));
    }
    return matrix(b, i, "time_mix_output", m->dim, s->inner, &out->out);
}

enum err model_bind_channels(struct binder *b, int i, struct model_layer *l)
{
    const struct model *m = b->m;
    struct model_channels *x = &l->channels;
    size_t n = model_layer_size(b->m, "feed_forward_length", (size_t)i, m->ff);
    TRY(model_bind_norm(b, i, "attn_norm_2", m->dim, 1, &l->ffn_norm));
    TRY(vector(b, i, "channel_mix_lerp_k", m->dim, &x->lerp_k));
    if (model_bind_there(b, i, "channel_mix_receptance")) {
        TRY(vector(b, i, "channel_mix_lerp_r", m->dim, &x->lerp_r));
        TRY(matrix(b, i, "channel_mix_receptance", m->dim, m->dim, &x->r));
    }
    l->ffn.n = n;
    TRY(matrix(b, i, "channel_mix_key", n, m->dim, &l->ffn.up));
    return matrix(b, i, "channel_mix_value", m->dim, n, &l->ffn.down);
}
