/* SPDX-License-Identifier: MIT
 * model.c - the architecture's row and the file's keys. */
#include "model/model.h"

#include "base/num.h"
#include "model/model_int.h"

#include <math.h>
#include <stdio.h>

static const struct model_arch archs[] = {
#define ARCH(name, rope, act, flags, pattern, local, window, attn_cap, logit_cap)                  \
    {#name, MODEL_ROPE_##rope, MODEL_ACT_##act, flags, pattern, local, window, attn_cap, logit_cap},
#include "model/arch.def"
#undef ARCH
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
    return err_set(e, ERR_UNSUPPORTED,
                   "%s: the architecture '%.*s' is not supported (supported: %s)",
                   gguf_path(m->gguf), (int)MIN(name.n, 64), name.p, model_arch_list());
}

/* The architecture's key, "llama.block_count".  Lives in the model's arena. */
const char *model_key(struct model *m, const char *name)
{
    return arena_printf(&m->arena, "%s.%s", m->arch->name, name);
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

static enum err read_float(struct model *m, const char *name, float otherwise, float *out,
                           struct errinfo *e)
{
    const char *key = model_key(m, name);
    TRY(gguf_get_f32(m->gguf, key, otherwise, out, e));
    if (!isfinite(*out))
        return err_set(e, ERR_CORRUPT, "%s: %s is not a finite number", gguf_path(m->gguf), key);
    return ERR_OK;
}

static enum err read_sizes(struct model *m, struct errinfo *e)
{
    const size_t dim_max = MODEL_DIM_MAX;
    size_t experts;
    TRY(read_size(m, "block_count", 0, 1, MODEL_LAYERS_MAX, &m->n_layer, e));
    TRY(read_size(m, "embedding_length", 0, 1, dim_max, &m->dim, e));
    TRY(read_size(m, "feed_forward_length", 0, 1, dim_max, &m->ff, e));
    TRY(read_size(m, "attention.head_count", 0, 1, 65536, &m->n_head, e));
    TRY(read_size(m, "attention.head_count_kv", m->n_head, 1, m->n_head, &m->n_kv_head, e));
    TRY(read_size(m, "context_length", 0, 1, INT32_MAX, &m->ctx_trained, e));
    TRY(read_size(m, "attention.key_length", MAX(m->dim / m->n_head, 1), 1, 65536, &m->k_dim, e));
    TRY(read_size(m, "attention.value_length", m->k_dim, 1, 65536, &m->v_dim, e));
    TRY(read_size(m, "rope.dimension_count", m->k_dim, 2, m->k_dim, &m->n_rot, e));
    TRY(read_size(m, "expert_count", UINT32_MAX, 0, UINT32_MAX, &experts, e));
    if (experts != 0 && experts != UINT32_MAX)
        return err_set(e, ERR_UNSUPPORTED, "%s: a mixture of %zu experts is not supported yet",
                       gguf_path(m->gguf), experts);
    if (m->n_head % m->n_kv_head != 0 || m->n_rot % 2 != 0 || m->n_head * m->k_dim > dim_max ||
        m->n_head * m->v_dim > dim_max)
        return err_set(e, ERR_CORRUPT,
                       "%s: %zu heads of %zu and %zu with %zu key-value heads and %zu rotated "
                       "dimensions make no sense",
                       gguf_path(m->gguf), m->n_head, m->k_dim, m->v_dim, m->n_kv_head, m->n_rot);
    return ERR_OK;
}

/* Gemma's largest models scale queries by the width a head, not by the head's size (the models'
 * config.json: query_pre_attn_scalar; 27B of both generations). */
static float attention_scale(const struct model *m)
{
    bool gemma = m->arch->act == MODEL_ACT_GELU;
    size_t largest = m->arch->flags & MODEL_QK_NORM ? 62 : 46; /* layers of the 27B models */
    size_t by = gemma && m->n_layer == largest ? m->dim / m->n_head : m->k_dim;
    return 1 / sqrtf((float)by);
}

static enum err read_numbers(struct model *m, struct errinfo *e)
{
    float scale;
    TRY(read_float(m, "attention.layer_norm_rms_epsilon", 1e-5f, &m->norm_eps, e));
    TRY(read_float(m, "attn_logit_softcapping", m->arch->attn_cap, &m->attn_cap, e));
    TRY(read_float(m, "final_logit_softcapping", m->arch->logit_cap, &m->logit_cap, e));
    TRY(read_float(m, "attention.scale", 0, &scale, e));
    m->attn_scale = scale > 0 ? scale : attention_scale(m);
    m->embed_scale = m->arch->flags & MODEL_EMBED_SCALE ? sqrtf((float)m->dim) : 1;
    if (m->norm_eps < 0 || m->attn_cap < 0 || m->logit_cap < 0)
        return err_set(e, ERR_CORRUPT, "%s: a negative epsilon or cap", gguf_path(m->gguf));
    return ERR_OK;
}

static enum err read_windows(struct model *m, struct errinfo *e)
{
    uint32_t window, pattern = m->arch->window_pattern;
    TRY(gguf_get_u32(m->gguf, model_key(m, "attention.sliding_window"), m->arch->window, &window,
                     e));
    if (pattern)
        TRY(gguf_get_u32(m->gguf, model_key(m, "attention.sliding_window_pattern"), pattern,
                         &pattern, e));
    window = MIN(window, INT32_MAX); /* positions are 32-bit */
    for (size_t i = 0; i < m->n_layer; i++) {
        bool local = pattern && window && (i + 1) % pattern != 0;
        m->layers[i].window = local ? window : 0;
        m->layers[i].angles = local && m->angles_local.inverse ? &m->angles_local : &m->angles;
    }
    return ERR_OK;
}

static enum err open_all(struct model *m, struct errinfo *e)
{
    const float *rope_factors;
    TRY(find_arch(m, e));
    TRY(read_sizes(m, e));
    TRY(read_numbers(m, e));
    TRY(model_bind(m, &rope_factors, e));
    TRY(model_read_angles(m, rope_factors, e));
    return read_windows(m, e);
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
