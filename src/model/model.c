/* SPDX-License-Identifier: MIT
 * model.c - the architecture's row and the file's keys. */
#include "model/model.h"

#include "base/num.h"
#include "model/model_int.h"

#include <math.h>
#include <stdio.h>

static const struct model_arch archs[] = {
#define ARCH(id, ...) {.name = #id, __VA_ARGS__},
#include "model/arch.def"
#undef ARCH
};

/* Known ones that are not supported. */
static const struct {
    const char *name, *why;
} not_archs[] = {
#define NOT_ARCH(id, why) {#id, why},
#include "model/arch_not.def"
#undef NOT_ARCH
};

const char *model_arch_list(void)
{
    static const char list[] =
#define ARCH(name, ...) ", " #name
#include "model/arch.def"
#undef ARCH
        ;
    return list + 2;
}

const struct model_arch *model_arch_find(struct span name)
{
    for (size_t i = 0; i < N_ELEMS(archs); i++)
        if (span_eq_cstr(name, archs[i].name))
            return &archs[i];
    return NULL;
}

static enum err find_arch(struct model *m, struct errinfo *e)
{
    struct span name;
    TRY(gguf_need_str(m->gguf, "general.architecture", &name, e));
    m->arch = model_arch_find(name);
    if (m->arch)
        return ERR_OK;
    for (size_t i = 0; i < N_ELEMS(not_archs); i++)
        if (span_eq_cstr(name, not_archs[i].name))
            return err_set(e, ERR_UNSUPPORTED, "%s: the architecture '%s' is not supported: %s",
                           gguf_path(m->gguf), not_archs[i].name, not_archs[i].why);
    return err_set(
        e, ERR_UNSUPPORTED,
        "%s: the architecture '%.*s' is not supported (docs/MODELS.md lists the %zu that "
        "are)",
        gguf_path(m->gguf), (int)MIN(name.n, 64), name.p, N_ELEMS(archs));
}

/* The architecture's key, "llama.block_count".  Lives in the model's arena. */
const char *model_key(struct model *m, const char *name)
{
    return arena_printf(&m->arena, "%s.%s", m->arch->name, name);
}

enum err model_need_size(struct model *m, const char *key, uint32_t hi, size_t *out,
                         struct errinfo *e)
{
    uint32_t v;
    TRY(gguf_need_u32(m->gguf, key, &v, e));
    if (v < 1 || v > hi)
        return err_set(e, ERR_CORRUPT, "%s: %s is %u, which is outside 1 to %u", gguf_path(m->gguf),
                       key, v, hi);
    *out = v;
    return ERR_OK;
}

static enum err read_size(struct model *m, const char *name, size_t otherwise, size_t lo, size_t hi,
                          size_t *out, struct errinfo *e)
{
    const char *key = model_key(m, name);
    const struct gguf_key *k = gguf_key(m->gguf, key);
    uint32_t v;
    /* Some files give one number a layer; equal ones are one number. */
    if (k && k->kind == GGUF_ARRAY && k->a.data && k->a.n) {
        int64_t first = gguf_array_i64(&k->a, 0);
        for (size_t i = 1; i < k->a.n; i++)
            if (gguf_array_i64(&k->a, i) != first)
                return err_set(e, ERR_UNSUPPORTED, "%s: %s differs from layer to layer",
                               gguf_path(m->gguf), key);
        *out = first < 0 ? 0 : (size_t)first;
    } else {
        if (!k && otherwise == 0)
            return gguf_need_u32(m->gguf, key, &v, e);
        TRY(gguf_get_u32(m->gguf, key, (uint32_t)otherwise, &v, e));
        *out = v;
    }
    if (*out < lo || *out > hi)
        return err_set(e, ERR_CORRUPT, "%s: %s is %zu, which is outside %zu to %zu",
                       gguf_path(m->gguf), key, *out, lo, hi);
    return ERR_OK;
}

/* The same, where layers may differ: the most that one has.  A model of layers with states may have
 * none at all. */
static enum err read_some(struct model *m, const char *name, size_t otherwise, size_t hi,
                          size_t *out, struct errinfo *e)
{
    const char *key = model_key(m, name);
    const struct gguf_key *k = gguf_key(m->gguf, key);
    if (!k || k->kind != GGUF_ARRAY || !k->a.data || !k->a.n)
        return read_size(m, name, otherwise, m->mixer.taps || m->mixer.state ? 0 : 1, hi, out, e);
    *out = 0;
    for (size_t i = 0; i < k->a.n; i++) {
        int64_t v = gguf_array_i64(&k->a, i);
        if (v < 0 || (uint64_t)v > hi)
            return err_set(e, ERR_CORRUPT, "%s: %s has %lld, which is outside 0 to %zu",
                           gguf_path(m->gguf), key, (long long)v, hi);
        *out = MAX(*out, (size_t)v);
    }
    return ERR_OK;
}

size_t model_layer_size(struct model *m, const char *name, size_t layer, size_t otherwise)
{
    const struct gguf_key *k = gguf_key(m->gguf, model_key(m, name));
    if (!k || k->kind != GGUF_ARRAY || !k->a.data || layer >= k->a.n)
        return otherwise;
    return (size_t)MAX(gguf_array_i64(&k->a, layer), 0);
}

static enum err read_float(struct model *m, const char *name, float otherwise, float *out,
                           struct errinfo *e)
{
    const char *key = model_key(m, name);
    TRY(gguf_get_f32(m->gguf, key, otherwise, out, e));
    if (!isfinite(*out))
        return err_set(e, ERR_CORRUPT, "%s: %s is not a finite number", gguf_path(m->gguf), key);
    return ERR_OK;
}

/* A size that a file may leave out: 0 where it does. */
static enum err maybe_size(struct model *m, const char *name, size_t hi, size_t *out,
                           struct errinfo *e)
{
    TRY(read_size(m, name, UINT32_MAX, 0, UINT32_MAX, out, e));
    if (*out == UINT32_MAX)
        *out = 0;
    if (*out > hi)
        return err_set(e, ERR_CORRUPT, "%s: %s is %zu, more than %zu", gguf_path(m->gguf),
                       model_key(m, name), *out, hi);
    return ERR_OK;
}

/* Files whose matrix of keys and values is not taken apart: their value's size is what its rows
 * leave. */
static enum err read_latent_whole(struct model *m, const struct gguf_tensor *t, struct errinfo *e)
{
    uint64_t plain = m->k_dim - m->n_rot, rows = t->dims[1], each = rows / m->n_head;
    if (m->n_kv_head != m->n_head || rows % m->n_head != 0 || m->k_dim <= m->n_rot ||
        each <= plain || each - plain > 65536)
        return err_set(e, ERR_CORRUPT,
                       "%s: attn_kv_b makes %llu numbers, which is not keys of %zu and values for "
                       "each of %zu heads, with %zu of keys",
                       gguf_path(m->gguf), (unsigned long long)rows, (size_t)plain, m->n_head,
                       m->n_kv_head);
    m->v_dim = (size_t)(each - plain);
    m->kv_from = m->kv_low;
    m->kv_low = 0;
    return ERR_OK;
}

/* Sizes of latent keys and values: what one head of all keeps is the small space, and behind it
 * the part that is turned. */
static enum err read_latent(struct model *m, struct errinfo *e)
{
    TRY(maybe_size(m, "attention.kv_lora_rank", 65536, &m->kv_low, e));
    TRY(maybe_size(m, "attention.q_lora_rank", 65536, &m->q_low, e));
    if (m->kv_low == 0)
        return ERR_OK;
    const struct gguf_tensor *whole = gguf_tensor(m->gguf, "blk.0.attn_kv_b.weight");
    if (whole && !gguf_tensor(m->gguf, "blk.0.attn_k_b.weight"))
        return read_latent_whole(m, whole, e);
    TRY(read_size(m, "attention.key_length_mla", m->k_dim, 1, 65536, &m->head_dim, e));
    TRY(read_size(m, "attention.value_length_mla", m->v_dim, 1, 65536, &m->value_dim, e));
    if (m->n_kv_head != 1 || m->k_dim != m->kv_low + m->n_rot || m->head_dim <= m->n_rot)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: latent keys of %zu and values of %zu with %zu heads in a space of %zu "
                       "and %zu turned are not supported: older files have to be converted again",
                       gguf_path(m->gguf), m->k_dim, m->v_dim, m->n_kv_head, m->kv_low, m->n_rot);
    m->v_dim = m->kv_low; /* kimi-linear's files say something else */
    return ERR_OK;
}

static enum err read_heads(struct model *m, struct errinfo *e)
{
    const size_t dim_max = MODEL_DIM_MAX;
    TRY(read_some(m, "attention.head_count", 0, 65536, &m->n_head, e));
    size_t heads = MAX(m->n_head, (size_t)1), most = m->n_head ? m->n_head : 65536;
    TRY(read_some(m, "attention.head_count_kv", heads, most, &m->n_kv_head, e));
    if (m->n_head == 0 || m->n_kv_head == 0) { /* no layer attends: the least that has a shape */
        m->n_head = m->n_kv_head = 1;
        m->k_dim = m->v_dim = m->n_rot = 2;
        m->no_heads = true;
        return ERR_OK;
    }
    TRY(read_size(m, "attention.key_length", MAX(m->dim / m->n_head, 1), 1, 65536, &m->k_dim, e));
    TRY(read_size(m, "attention.value_length", m->k_dim, 1, 65536, &m->v_dim, e));
    TRY(read_size(m, "rope.dimension_count", m->k_dim, 2, m->k_dim, &m->n_rot, e));
    TRY(read_latent(m, e));
    if (m->n_head % m->n_kv_head != 0 || m->n_rot % 2 != 0 || m->n_head * m->k_dim > dim_max ||
        m->n_head * m->v_dim > dim_max)
        return err_set(e, ERR_CORRUPT,
                       "%s: %zu heads of %zu and %zu with %zu key-value heads and %zu rotated "
                       "dimensions make no sense",
                       gguf_path(m->gguf), m->n_head, m->k_dim, m->v_dim, m->n_kv_head, m->n_rot);
    return ERR_OK;
}

static enum err read_gating(struct model *m, struct errinfo *e)
{
    uint32_t gating; /* of the file: 0 none, then in the order of the enumeration */
    TRY(gguf_get_u32(m->gguf, model_key(m, "expert_gating_func"), 0, &gating, e));
    if (gating > MODEL_SOFTMAX_CHOSEN + 1)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: %s is %u, and 1 (softmax), 2 (sigmoid) and 3 (softmax of those chosen) "
                       "are supported",
                       gguf_path(m->gguf), model_key(m, "expert_gating_func"), gating);
    m->gating = gating ? (enum model_gating)(gating - 1) : m->arch->gating;
    TRY(gguf_get_bool(m->gguf, model_key(m, "expert_weights_norm"),
                      m->arch->flags & MODEL_EXPERTS_NORM, &m->experts_norm, e));
    TRY(read_float(m, "expert_weights_scale", 0, &m->experts_scale, e));
    m->experts_scale = m->experts_scale == 0 ? 1 : m->experts_scale;
    return ERR_OK;
}

static enum err read_experts(struct model *m, struct errinfo *e)
{
    TRY(maybe_size(m, "expert_count", MODEL_EXPERTS_MAX, &m->n_expert, e));
    if (m->n_expert == 0)
        return ERR_OK;
    TRY(read_size(m, "expert_used_count", 0, 1, MIN(m->n_expert, MODEL_CHOSEN_MAX), &m->n_chosen,
                  e));
    TRY(read_size(m, "expert_feed_forward_length", MAX(m->ff, (size_t)1), 1, MODEL_DIM_MAX,
                  &m->ff_expert, e));
    TRY(read_size(m, "expert_group_count", 1, 1, m->n_expert, &m->n_group, e));
    TRY(read_size(m, "expert_group_used_count", m->n_group, 1, m->n_group, &m->n_group_chosen, e));
    if (m->n_expert % m->n_group != 0 || m->n_chosen > m->n_expert / m->n_group * m->n_group_chosen)
        return err_set(e, ERR_CORRUPT, "%s: %zu experts out of %zu of %zu groups of %zu",
                       gguf_path(m->gguf), m->n_chosen, m->n_group_chosen, m->n_group,
                       m->n_expert / m->n_group);
    if (m->ff_expert * m->n_expert > INT32_MAX || m->dim * m->n_expert > INT32_MAX)
        return err_set(e, ERR_CORRUPT, "%s: %zu experts of %zu are too many", gguf_path(m->gguf),
                       m->n_expert, m->ff_expert);
    return read_gating(m, e);
}

static enum err read_sizes(struct model *m, struct errinfo *e)
{
    const size_t dim_max = MODEL_DIM_MAX;
    TRY(read_size(m, "block_count", 0, 1, MODEL_LAYERS_MAX, &m->n_layer, e));
    TRY(maybe_size(m, "nextn_predict_layers", m->n_layer - 1, &m->n_layer_ahead, e));
    m->n_layer -= m->n_layer_ahead;
    TRY(read_size(m, "embedding_length", 0, 1, dim_max, &m->dim, e));
    TRY(model_read_mixer(m, e));
    /* A model of experts alone may name their width alone. */
    TRY(maybe_size(m, "expert_feed_forward_length", dim_max, &m->ff, e));
    TRY(read_some(m, "feed_forward_length", m->ff, dim_max, &m->ff, e));
    TRY(read_size(m, "context_length", 0, 1, INT32_MAX, &m->ctx_trained, e));
    TRY(read_heads(m, e));
    TRY(maybe_size(m, "rescale_every_n_layers", INT32_MAX, &m->halve_every, e));
    TRY(maybe_size(m, "attention.shared_kv_layers", m->n_layer, &m->n_shared_kv, e));
    TRY(maybe_size(m, "embedding_length_per_layer_input", dim_max / m->n_layer, &m->n_input, e));
    m->layers = arena_array(&m->arena, m->n_layer, sizeof *m->layers);
    TRY(model_read_streams(m, e));
    return read_experts(m, e);
}

/* Gemma's largest models scale queries by the width a head, not by the head's size (the models'
 * config.json: query_pre_attn_scalar; 27B of both generations). */
static float attention_scale(const struct model *m)
{
    bool gemma = m->arch->flags & MODEL_EMBED_SCALE;
    size_t largest = m->arch->flags & MODEL_QK_NORM ? 62 : 46; /* layers of the 27B models */
    if (m->kv_low)
        return 1 / sqrtf((float)m->head_dim);
    size_t by = gemma && m->n_layer == largest ? m->dim / m->n_head : m->k_dim;
    return m->arch->flags & MODEL_SCORES_BY_SIZE ? 1 / (float)by : 1 / sqrtf((float)by);
}

static enum err read_scales(struct model *m, struct errinfo *e)
{
    const struct model_arch *row = m->arch;
    float scale, usual = row->attn_scale > 0 ? row->attn_scale : attention_scale(m);
    TRY(read_float(m, "attention.output_scale", usual, &usual, e)); /* grok's name */
    TRY(read_float(m, "attention.scale", 0, &scale, e));
    m->attn_scale = scale > 0 ? scale : usual;
    float embed = row->flags & MODEL_EMBED_SCALE ? sqrtf((float)m->dim)
                  : row->embed_scale > 0         ? row->embed_scale
                                                 : 1;
    TRY(read_float(m, "embedding_scale", embed, &m->embed_scale, e));
    float depth = row->depth_scale > 0 ? row->depth_scale / sqrtf((float)m->n_layer) : 1;
    TRY(read_float(m, "residual_scale", depth, &m->residual_scale, e));
    float logit = row->base_width        ? (float)row->base_width / (float)m->dim
                  : row->logit_scale > 0 ? row->logit_scale
                                         : 1;
    TRY(read_float(m, "logit_scale", logit, &m->logit_scale, e));
    TRY(read_float(m, "attention.value_scale", 1, &m->value_scale, e));
    if (m->logit_scale == 0 || m->residual_scale == 0)
        return err_set(e, ERR_CORRUPT, "%s: a scale of zero", gguf_path(m->gguf));
    if (m->arch->flags & MODEL_LOGITS_DIVIDED)
        m->logit_scale = 1 / m->logit_scale;
    return ERR_OK;
}

/* What latent attention keeps of keys and values is what both are made of: neither is there to be
 * scaled or clamped. */
static enum err check_latent_numbers(struct model *m, struct errinfo *e)
{
    bool scaled = m->value_scale != 1, clamped = m->qkv_clamp > 0;
    if (!model_is_latent(m) || (!scaled && !clamped))
        return ERR_OK;
    return err_set(e, ERR_UNSUPPORTED, "%s: %s is not supported with latent keys and values",
                   gguf_path(m->gguf),
                   model_key(m, scaled ? "attention.value_scale" : "attention.clamp_kqv"));
}

static enum err read_numbers(struct model *m, struct errinfo *e)
{
    /* nemotron_h's and phimoe's files have that of the other kind */
    bool rms = m->arch->norm == MODEL_RMS;
    const char *own = "attention.layer_norm_epsilon", *other = "attention.layer_norm_rms_epsilon";
    TRY(read_float(m, rms ? own : other, 1e-5f, &m->norm_eps, e));
    TRY(read_float(m, rms ? other : own, m->norm_eps, &m->norm_eps, e));
    TRY(read_float(m, "attn_logit_softcapping", m->arch->attn_cap, &m->attn_cap, e));
    TRY(read_float(m, "final_logit_softcapping", m->arch->logit_cap, &m->logit_cap, e));
    TRY(read_float(m, "router_logit_softcapping", 0, &m->router_cap, e));
    TRY(read_float(m, "attention.clamp_kqv", 0, &m->qkv_clamp, e));
    TRY(read_float(m, "attention.max_alibi_bias", m->arch->alibi, &m->alibi, e));
    if (m->norm_eps < 0 || m->attn_cap < 0 || m->logit_cap < 0 || m->router_cap < 0 ||
        m->qkv_clamp < 0 || m->alibi < 0)
        return err_set(e, ERR_CORRUPT, "%s: a negative epsilon, cap or slope", gguf_path(m->gguf));
    m->temper_ahead = m->arch->temper_length > 0;
    TRY(read_float(m, "attention.temperature_scale", m->arch->temper, &m->temper, e));
    size_t length = m->arch->temper_length;
    if (!length)
        TRY(read_size(m, "rope.scaling.original_context_length", m->ctx_trained, 1, INT32_MAX,
                      &length, e));
    TRY(read_size(m, "attention.temperature_length", length, 1, INT32_MAX, &m->temper_length, e));
    bool grows = m->arch->flags & MODEL_SCORES_GROW;
    if (grows && gguf_key(m->gguf, model_key(m, "attention.temperature_length")))
        TRY(read_size(m, "attention.temperature_length", 0, 2, INT32_MAX, &m->grow_from, e));
    bool parallel = m->arch->flags & MODEL_PARALLEL;
    TRY(gguf_get_bool(m->gguf, model_key(m, "use_parallel_residual"), parallel, &m->parallel, e));
    m->parallel = m->parallel && parallel;
    TRY(model_read_encoder(m, e));
    TRY(read_scales(m, e));
    return check_latent_numbers(m, e);
}

/* Which layers have a window: the file's pattern, a number or a truth a layer, or the row's. */
static enum err read_pattern(struct model *m, uint32_t *every, const struct gguf_array **each,
                             struct errinfo *e)
{
    const char *key = model_key(m, "attention.sliding_window_pattern");
    const struct gguf_key *k = gguf_key(m->gguf, key);
    *every = m->arch->window_pattern;
    *each = NULL;
    if (!k)
        return ERR_OK;
    if (k->kind != GGUF_ARRAY)
        return gguf_get_u32(m->gguf, key, *every, every, e);
    if (!k->a.data || k->a.n < m->n_layer)
        return err_set(e, ERR_CORRUPT, "%s: %s has %zu numbers for %zu layers", gguf_path(m->gguf),
                       key, k->a.data ? k->a.n : 0, m->n_layer);
    *each = &k->a;
    return ERR_OK;
}

/* The llama4 of 128 experts does not norm its queries and keys, and files do not say so. */
#define MAVERICK_EXPERTS 128

const float *model_ones(struct model *m, size_t n)
{
    float *x = arena_array(&m->arena, n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = 1;
    return x;
}

/* Four numbers a layer; the keys have no family's name before them. */
static enum err read_xielu(struct model *m, struct errinfo *e)
{
    static const char *const names[] = {"xielu.alpha_p", "xielu.alpha_n", "xielu.beta",
                                        "xielu.eps"};
    for (size_t k = 0; k < N_ELEMS(names); k++) {
        const struct gguf_key *key = gguf_key(m->gguf, names[k]);
        if (!key || key->kind != GGUF_ARRAY || !key->a.data || key->a.n < m->n_layer)
            return err_set(e, ERR_CORRUPT, "%s: %s has to be %zu numbers", gguf_path(m->gguf),
                           names[k], m->n_layer);
        for (size_t i = 0; i < m->n_layer; i++)
            m->layers[i].xielu[k] = (float)gguf_array_f64(&key->a, i);
    }
    for (size_t i = 0; i < m->n_layer; i++) { /* the file has what a softplus keeps positive */
        float *x = m->layers[i].xielu;
        x[0] = log1pf(expf(x[0]));
        x[1] = x[2] + log1pf(expf(x[1]));
    }
    return ERR_OK;
}

static enum err read_windows(struct model *m, struct errinfo *e)
{
    const struct gguf_array *each;
    uint32_t window, every;
    TRY(gguf_get_u32(m->gguf, model_key(m, "attention.sliding_window"), m->arch->window, &window,
                     e));
    TRY(read_pattern(m, &every, &each, e));
    window = every || each ? MIN(window, INT32_MAX) : 0; /* positions are 32-bit */
    for (size_t i = 0; i < m->n_layer; i++) {
        struct model_layer *l = &m->layers[i];
        size_t at = m->arch->flags & MODEL_GLOBAL_FIRST ? i : i + 1;
        bool local = each ? gguf_array_i64(each, i) != 0 : every == 1 || (every && at % every);
        l->window = local ? window : 0;
        l->local = l->window != 0;
    }
    return ERR_OK;
}

/* Sizes of each layer's heads: those with a window may have others. */
static enum err read_layer_heads(struct model *m, struct errinfo *e)
{
    size_t k, v, k_all = m->k_dim, v_all = m->v_dim;
    TRY(read_size(m, "attention.key_length_swa", m->k_dim, 1, 65536, &k, e));
    TRY(read_size(m, "attention.value_length_swa", m->v_dim, 1, 65536, &v, e));
    TRY(read_size(m, "rope.dimension_count_swa", MIN(m->n_rot, k), 2, k, &m->n_rot_local, e));
    bool latent = model_is_latent(m); /* the turned part has its place in a head */
    if (latent && (k != k_all || v != v_all || m->n_rot_local != m->n_rot))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: latent keys of %zu, %zu of them turned, and values of %zu with a "
                       "window, and of %zu, %zu and %zu without",
                       gguf_path(m->gguf), k, m->n_rot_local, v, k_all, m->n_rot, v_all);
    m->k_dim = MAX(k, k_all);
    m->v_dim = MAX(v, v_all);
    for (size_t i = 0; i < m->n_layer; i++) {
        struct model_layer *l = &m->layers[i];
        l->k_dim = l->local ? k : k_all;
        l->v_dim = l->local ? v : v_all;
        l->n_kv_head = model_layer_size(m, "attention.head_count_kv", i, m->n_kv_head);
        size_t heads = model_layer_size(m, "attention.head_count", i, m->n_head);
        l->n_head = heads ? heads : m->n_head; /* 0: of a layer that does not attend */
        bool fits = !l->n_kv_head ||
                    (m->kv_from ? l->n_kv_head == l->n_head : l->n_head % l->n_kv_head == 0);
        if (!fits)
            return err_set(e, ERR_CORRUPT, "%s: layer %zu has %zu heads with %zu of keys",
                           gguf_path(m->gguf), i, l->n_head, l->n_kv_head);
        if (l->n_head != m->n_head && (latent || m->alibi > 0))
            return err_set(e, ERR_UNSUPPORTED,
                           "%s: layers with %zu and %zu heads of latent keys, or whose scores fall "
                           "with the distance",
                           gguf_path(m->gguf), l->n_head, m->n_head);
    }
    if (m->n_rot_local % 2 != 0 || m->n_head * m->k_dim > MODEL_DIM_MAX ||
        m->n_head * m->v_dim > MODEL_DIM_MAX)
        return err_set(e, ERR_CORRUPT, "%s: %zu heads of %zu and %zu with a window make no sense",
                       gguf_path(m->gguf), m->n_head, k, v);
    return ERR_OK;
}

/* Which layers turn queries and keys, and what is normed without gains. */
static enum err read_turns(struct model *m, struct errinfo *e)
{
    const struct model_arch *row = m->arch;
    uint32_t unturned = row->unturned_pattern;
    bool turns = true, windows = false;
    if (row->flags & MODEL_TURN_TUNED)
        TRY(gguf_get_bool(m->gguf, model_key(m, "rope.scaling.finetuned"), true, &turns, e));
    const float *ones = model_ones(m, MAX(m->k_dim, m->v_dim));
    for (size_t i = 0; i < m->n_layer; i++)
        windows |= m->layers[i].local;
    for (size_t i = 0; i < m->n_layer; i++) {
        struct model_layer *l = &m->layers[i];
        l->angles = l->local && m->angles_local.inverse ? &m->angles_local : &m->angles;
        bool here = model_layer_size(m, "attention.rope_pattern", i, 1); /* granite_swa's */
        if (row->rope == MODEL_UNTURNED || !turns || !here ||
            (unturned && (i + 1) % unturned == 0) ||
            (row->flags & MODEL_WINDOW_TURNS && windows && !l->local))
            l->angles = NULL;
        l->tempers = m->temper != 0 && (!unturned || !l->angles);
        if (l->angles && row->flags & MODEL_QK_BARE && m->n_expert != MAVERICK_EXPERTS)
            l->q_norm = l->k_norm = (struct model_norm){.n = l->k_dim, .n_gains = 1, .gain = ones};
        if (row->flags & MODEL_V_BARE)
            l->v_norm = (struct model_norm){.n = l->v_dim, .n_gains = 1, .gain = ones};
    }
    return ERR_OK;
}

static enum err open_all(struct model *m, struct errinfo *e)
{
    struct model_factors factors;
    TRY(find_arch(m, e));
    TRY(read_sizes(m, e));
    TRY(read_numbers(m, e));
    TRY(read_windows(m, e));
    TRY(read_layer_heads(m, e));
    TRY(model_read_indexer(m, e));
    TRY(model_bind(m, &factors, e));
    TRY(model_read_angles(m, &factors, e));
    if (m->arch->act == MODEL_XIELU)
        TRY(read_xielu(m, e));
    return read_turns(m, e);
}

enum err model_open(struct model **out, const struct gguf *g, struct errinfo *e)
{
    struct model *m = mem_alloc(sizeof *m);
    arena_init(&m->arena);
    m->gguf = g;
    enum err r = open_all(m, e);
    if (r != ERR_OK) {
        model_close(m);
        m = NULL;
    }
    *out = m;
    return r;
}

void model_close(struct model *m)
{
    if (!m)
        return;
    arena_done(&m->arena);
    mem_free(m);
}
