/* SPDX-License-Identifier: MIT
 * hf_rope.c - how positions turn queries and keys: rope_parameters of config.json, or the names
 * before it (rope_theta, rope_scaling), as keys and as the tensors that hold factors.
 * The formulas of llama3's factors and of longrope's magnitude are those of transformers
 * (modeling_rope_utils.py, _compute_llama3_parameters and _compute_longrope_parameters). */
#include "hf/hf_int.h"

#include "base/num.h"
#include "gguf/gguf_type.h"

#include <math.h>
#include <string.h>

#define PAIRS_MAX 65536

struct rope {
    struct hf *h;
    json_t *o;    /* the parameters of layers that see all, or NULL */
    json_t *near; /* those of layers with a window, or NULL */
    double base, head_dim, ctx, ctx_original;
    struct errinfo *e;
};

static json_t *member(json_t *o, const char *name)
{
    json_t *v = json_object_get(o, name);
    return json_is_null(v) ? NULL : v;
}

/* A number of the parameters; where they do not say, of config.json itself; else what is given. */
static enum err number(struct rope *r, const char *name, double otherwise, double lo, double hi,
                       double *out)
{
    json_t *v = member(r->o, name) ? member(r->o, name) : hf_conf(r->h, name);
    *out = otherwise;
    return v ? hf_number(r->h, name, v, lo, hi, out, r->e) : ERR_OK;
}

static enum err put_f32(struct rope *r, const char *name, const char *key)
{
    double v;
    if (!member(r->o, name))
        return ERR_OK;
    TRY(number(r, name, 0, -1e30, 1e30, &v));
    gguf_build_f32(r->h->g, hf_key(r->h, key), (float)v);
    return ERR_OK;
}

static enum err put_vector(struct rope *r, const char *name, const float *v, size_t n)
{
    void *data;
    TRY(gguf_build_memory(r->h->g, n * sizeof *v, name, &data, r->e));
    memcpy(data, v, n * sizeof *v);
    gguf_build_tensor(r->h->g, &(struct gguf_tensor){
                                   .name = span_of(name),
                                   .type = GGUF_TYPE_F32,
                                   .n_dims = 1,
                                   .dims = {n, 1, 1, 1},
                                   .data = data,
                                   .bytes = n * sizeof *v,
                                   .part = GGUF_PART_MEMORY
    });
    return ERR_OK;
}

static enum err put_llama3(struct rope *r)
{
    double factor, low, high, ctx, turned;
    TRY(number(r, "factor", 8, 1e-6, 1e6, &factor));
    TRY(number(r, "low_freq_factor", 1, 1e-6, 1e6, &low));
    TRY(number(r, "high_freq_factor", 4, 1e-6, 1e6, &high));
    TRY(number(r, "original_max_position_embeddings", 8192, 1, INT32_MAX, &ctx));
    TRY(number(r, "partial_rotary_factor", 1, 0, 1, &turned));
    size_t dim = (size_t)(r->head_dim * turned), n = dim / 2;
    if (n == 0 || n > PAIRS_MAX || high == low)
        return err_set(r->e, ERR_CORRUPT, "%s/config.json: rope_parameters make no sense",
                       r->h->dir);
    float *f = arena_array(&r->h->tmp, n, sizeof *f);
    for (size_t i = 0; i < n; i++) {
        float freq = 1.0f / powf((float)r->base, (float)(2 * i) / (float)dim);
        float wave = (float)(2 * M_PI) / freq;
        float smooth = ((float)ctx / wave - (float)low) / (float)(high - low);
        f[i] = wave < (float)(ctx / high)  ? 1
               : wave > (float)(ctx / low) ? (float)factor
                                           : 1 / ((1 - smooth) / (float)factor + smooth);
    }
    return put_vector(r, "rope_freqs.weight", f, n);
}

static enum err put_yarn(struct rope *r)
{
    double factor, ctx;
    TRY(number(r, "factor", 1, 1e-6, 1e6, &factor));
    TRY(number(r, "original_max_position_embeddings", r->ctx, 1, INT32_MAX, &ctx));
    gguf_build_str(r->h->g, hf_key(r->h, "rope.scaling.type"), SPAN("yarn"));
    gguf_build_f32(r->h->g, hf_key(r->h, "rope.scaling.factor"), (float)factor);
    gguf_build_u32(r->h->g, hf_key(r->h, "rope.scaling.original_context_length"), (uint32_t)ctx);
    TRY(put_f32(r, "attention_factor", "rope.scaling.yarn_attn_factor"));
    TRY(put_f32(r, "beta_fast", "rope.scaling.yarn_beta_fast"));
    return put_f32(r, "beta_slow", "rope.scaling.yarn_beta_slow");
}

static enum err put_factors(struct rope *r, const char *name, const char *tensor, size_t n)
{
    json_t *list = member(r->o, name);
    double v;
    if (!json_is_array(list) || json_array_size(list) != n)
        return err_set(r->e, ERR_CORRUPT,
                       "%s/config.json: %s has %zu numbers, where %zu are needed", r->h->dir, name,
                       json_array_size(list), n);
    float *f = arena_array(&r->h->tmp, n, sizeof *f);
    for (size_t i = 0; i < n; i++) {
        TRY(hf_number(r->h, name, json_array_get(list, i), 1e-6, 1e6, &v, r->e));
        f[i] = (float)v;
    }
    return put_vector(r, tensor, f, n);
}

static enum err put_longrope(struct rope *r)
{
    double turned;
    TRY(number(r, "partial_rotary_factor", 1, 0, 1, &turned));
    size_t n = (size_t)(r->head_dim * turned) / 2;
    double by = r->ctx / r->ctx_original;
    double size = by > 1 ? sqrt(1 + log(by) / log(r->ctx_original)) : 1;
    if (n == 0 || n > PAIRS_MAX || !isfinite(size))
        return err_set(r->e, ERR_CORRUPT, "%s/config.json: rope_parameters make no sense",
                       r->h->dir);
    gguf_build_str(r->h->g, hf_key(r->h, "rope.scaling.type"), SPAN("longrope"));
    gguf_build_f32(r->h->g, hf_key(r->h, "rope.scaling.attn_factor"), (float)size);
    TRY(put_factors(r, "long_factor", "rope_factors_long.weight", n));
    return put_factors(r, "short_factor", "rope_factors_short.weight", n);
}

static enum err put_scaling(struct rope *r)
{
    json_t *name = member(r->o, "rope_type") ? member(r->o, "rope_type") : member(r->o, "type");
    const char *type = json_string_value(name);
    double factor;
    if (!type || strcmp(type, "default") == 0)
        return ERR_OK;
    if (strcmp(type, "llama3") == 0)
        return put_llama3(r);
    if (strcmp(type, "yarn") == 0)
        return put_yarn(r);
    if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0)
        return put_longrope(r);
    if (strcmp(type, "linear") != 0)
        return err_set(r->e, ERR_UNSUPPORTED,
                       "%s/config.json: rope scaling %.32s is not supported (default, linear, "
                       "llama3, yarn and longrope are)",
                       r->h->dir, type);
    TRY(number(r, "factor", 1, 1e-6, 1e6, &factor));
    gguf_build_str(r->h->g, hf_key(r->h, "rope.scaling.type"), SPAN("linear"));
    gguf_build_f32(r->h->g, hf_key(r->h, "rope.scaling.factor"), (float)factor);
    return ERR_OK;
}

/* The size of what turns, where that is not the whole head. */
static enum err put_sizes(struct rope *r)
{
    double heads, width, turned;
    struct hf *h = r->h;
    TRY(hf_number(h, "num_attention_heads", hf_conf(h, "num_attention_heads"), 1, 1e6, &heads,
                  r->e));
    TRY(hf_number(h, "hidden_size", hf_conf(h, "hidden_size"), 1, 1e9, &width, r->e));
    r->head_dim = floor(width / heads);
    if (hf_conf(h, "head_dim"))
        TRY(hf_number(h, "head_dim", hf_conf(h, "head_dim"), 1, 1e6, &r->head_dim, r->e));
    TRY(number(r, "partial_rotary_factor", 1, 0, 1, &turned));
    gguf_build_u32(h->g, hf_key(h, "rope.dimension_count"), (uint32_t)(r->head_dim * turned));
    return ERR_OK;
}

enum err hf_put_rope(struct hf *h, struct errinfo *e)
{
    json_t *all = hf_conf(h, "rope_parameters") ? hf_conf(h, "rope_parameters")
                                                : hf_conf(h, "rope_scaling");
    bool apart = member(all, "full_attention") || member(all, "sliding_attention");
    struct rope r = {.h = h,
                     .o = apart ? member(all, "full_attention") : all,
                     .near = apart ? member(all, "sliding_attention") : NULL,
                     .e = e};
    double local = 0;
    TRY(hf_number(h, "max_position_embeddings", hf_conf(h, "max_position_embeddings"), 1, INT32_MAX,
                  &r.ctx, e));
    TRY(number(&r, "rope_theta", 10000, 1e-3, 1e15, &r.base));
    TRY(number(&r, "original_max_position_embeddings", r.ctx, 1, INT32_MAX, &r.ctx_original));
    gguf_build_f32(h->g, hf_key(h, "rope.freq_base"), (float)r.base);
    json_t *v = member(r.near, "rope_theta") ? member(r.near, "rope_theta")
                                             : hf_conf(h, "rope_local_base_freq");
    if (v && h->family->flags & HF_WINDOW_LAYERS) {
        TRY(hf_number(h, "rope_local_base_freq", v, 1e-3, 1e15, &local, e));
        gguf_build_f32(h->g, hf_key(h, "rope.freq_base_swa"), (float)local);
    }
    if (strcmp(h->family->arch, "phi3") == 0) /* decides between near and far */
        gguf_build_u32(h->g, hf_key(h, "rope.scaling.original_context_length"),
                       (uint32_t)r.ctx_original);
    TRY(put_sizes(&r));
    return put_scaling(&r);
}
