/* SPDX-License-Identifier: MIT
 * model_rope.c - the angles of rotary position embeddings (Su et al. 2021) with the scalings that
 * files name: linear (Chen et al. 2023), YaRN (Peng et al. 2023), and factors a frequency given
 * as tensors (Llama 3.1; LongRoPE, Ding et al. 2024: one set for contexts that the model was first
 * trained for, one for longer ones). */
#include "model/model_int.h"

#include "base/num.h"

#include <math.h>

struct scaling {
    bool yarn, longrope;
    float factor; /* context is stretched by this */
    float ctx_original, beta_fast, beta_slow;
    float attn_factor;      /* of YaRN's magnitude */
    float yarn_attn_factor; /* its magnitude itself; 0: by the paper's formula */
    float log_multiplier;   /* of scores instead, whose scale is as the magnitude's square; 0 */
};

static enum err read_scaling(struct model *m, struct scaling *s, struct errinfo *e)
{
    struct span type;
    uint32_t ctx;
    float older; /* rope.scale_linear: files before rope.scaling.* */
    const struct gguf *g = m->gguf;
    *s = (struct scaling){.factor = 1, .attn_factor = 1};
    TRY(gguf_get_str(g, model_key(m, "rope.scaling.type"), SPAN(""), &type, e));
    TRY(gguf_get_f32(g, model_key(m, "rope.scale_linear"), 1, &older, e));
    TRY(gguf_get_f32(g, model_key(m, "rope.scaling.factor"), older, &s->factor, e));
    TRY(gguf_get_f32(g, model_key(m, "rope.scaling.attn_factor"), 1, &s->attn_factor, e));
    TRY(gguf_get_f32(g, model_key(m, "rope.scaling.yarn_attn_factor"), 0, &s->yarn_attn_factor, e));
    TRY(gguf_get_f32(g, model_key(m, "rope.scaling.yarn_log_multiplier"), 0, &s->log_multiplier,
                     e));
    TRY(gguf_get_f32(g, model_key(m, "rope.scaling.yarn_beta_fast"), 32, &s->beta_fast, e));
    TRY(gguf_get_f32(g, model_key(m, "rope.scaling.yarn_beta_slow"), 1, &s->beta_slow, e));
    TRY(gguf_get_u32(g, model_key(m, "rope.scaling.original_context_length"),
                     (uint32_t)m->ctx_trained, &ctx, e));
    s->ctx_original = (float)ctx;
    s->yarn = span_eq_cstr(type, "yarn");
    s->longrope = span_eq_cstr(type, "longrope");
    if (type.n && !s->yarn && !s->longrope && !span_eq_cstr(type, "linear") &&
        !span_eq_cstr(type, "none"))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: rope scaling '%.*s' is not supported (none, linear, yarn and longrope "
                       "are)",
                       gguf_path(g), (int)MIN(type.n, 32), type.p);
    if (span_eq_cstr(type, "none") || s->longrope)
        s->factor = 1; /* longrope: the factors have it */
    if (!(s->factor > 0) || !isfinite(s->factor) || !(s->attn_factor > 0) || ctx == 0 ||
        !isfinite(s->log_multiplier) || !isfinite(s->attn_factor) ||
        !isfinite(s->yarn_attn_factor) || !(s->beta_fast > 0) || !(s->beta_slow > 0))
        return err_set(e, ERR_CORRUPT, "%s: rope scaling by %g over %u tokens makes no sense",
                       gguf_path(g), (double)s->factor, ctx);
    return ERR_OK;
}

/* The pair whose wave turns `beta` times over the original context. */
static float yarn_pair(const struct model *m, const struct scaling *s, float base, float beta)
{
    return (float)m->n_rot * logf(s->ctx_original / (beta * 2 * (float)M_PI)) / (2 * logf(base));
}

/* 1 where a pair keeps its frequency, 0 where it is stretched, a ramp between. */
static float yarn_keep(const struct model *m, const struct scaling *s, float base, size_t i)
{
    float last = (float)m->n_rot - 1;
    float from = yarn_pair(m, s, base, s->beta_fast), to = yarn_pair(m, s, base, s->beta_slow);
    bool smooth = m->arch->flags & MODEL_YARN_SMOOTH;
    float lo = MAX(0.0f, smooth ? from : floorf(from)), hi = MIN(last, smooth ? to : ceilf(to));
    float ramp = ((float)i - lo) / MAX(0.001f, hi - lo);
    return 1 - MIN(1.0f, MAX(0.0f, ramp));
}

static struct model_angles angles_of(struct model *m, size_t n_rot, float base,
                                     const struct scaling *s, const float *factors)
{
    float *inverse = arena_array(&m->arena, n_rot / 2, sizeof *inverse);
    struct model_angles out = {.inverse = inverse, .magnitude = 1, .n_rot = n_rot};
    for (size_t i = 0; i < n_rot / 2; i++) {
        double f = pow((double)base, -2.0 * (double)i / (double)n_rot);
        if (factors)
            f /= (double)factors[i];
        double keep = s->yarn ? (double)yarn_keep(m, s, base, i) : 0;
        inverse[i] = (float)(f * keep + f / (double)s->factor * (1 - keep));
    }
    float paper = s->factor > 1 ? 1 + 0.1f * logf(s->factor) : 1;
    if (s->log_multiplier != 0 && model_is_latent(m))
        return out;
    if (s->log_multiplier != 0) /* mistral3's: both of the paper's sides have a factor */
        paper /= s->factor > 1 ? 1 + 0.1f * s->log_multiplier * logf(s->factor) : 1;
    float magnitude = s->attn_factor * (s->yarn_attn_factor > 0 ? s->yarn_attn_factor : paper);
    out.magnitude = s->yarn ? magnitude : s->longrope ? s->attn_factor : 1;
    return out;
}

static bool base_ok(float base)
{
    return base > 1 && isfinite(base);
}

static enum err check_factors(const struct model *m, const char *name, const float *factors,
                              struct errinfo *e)
{
    for (size_t i = 0; factors && i < m->n_rot / 2; i++)
        if (!(factors[i] > 0))
            return err_set(e, ERR_CORRUPT, "%s: %s holds %g at %zu", gguf_path(m->gguf), name,
                           (double)factors[i], i);
    return ERR_OK;
}

static enum err check_angles(const struct model *m, const struct model_angles *a, struct errinfo *e)
{
    for (size_t i = 0; a->inverse && i < a->n_rot / 2; i++)
        if (!isfinite(a->inverse[i]))
            return err_set(e, ERR_CORRUPT, "%s: the rope scaling makes the frequency %zu infinite",
                           gguf_path(m->gguf), i);
    return ERR_OK;
}

enum err model_read_angles(struct model *m, const struct model_factors *factors, struct errinfo *e)
{
    const struct scaling none = {.factor = 1};
    struct scaling s;
    float local;
    TRY(gguf_get_f32(m->gguf, model_key(m, "rope.freq_base"), 10000, &m->rope_base, e));
    TRY(gguf_get_f32(m->gguf, model_key(m, "rope.freq_base_swa"), m->arch->local_rope_base, &local,
                     e));
    TRY(read_scaling(m, &s, e));
    if (!base_ok(m->rope_base) || (local != 0 && !base_ok(local)))
        return err_set(e, ERR_CORRUPT, "%s: a rope base of %g makes no sense", gguf_path(m->gguf),
                       (double)(base_ok(m->rope_base) ? local : m->rope_base));
    if (s.yarn && s.factor > 1 && s.log_multiplier != 0 && model_is_latent(m)) {
        float by = 1 + s.log_multiplier * logf(s.factor);
        m->attn_scale *= by * by;
    }
    TRY(check_factors(m, "rope_freqs.weight", factors->all, e));
    TRY(check_factors(m, "rope_factors_short.weight", factors->near, e));
    TRY(check_factors(m, "rope_factors_long.weight", factors->far, e));
    s.longrope = s.longrope || factors->far; /* files name no type where the factor is 1 */
    m->angles = angles_of(m, m->n_rot, m->rope_base, &s,
                          factors->near ? factors->near : factors->all);
    if (factors->far) {
        m->angles_far = angles_of(m, m->n_rot, m->rope_base, &s, factors->far);
        m->ctx_near = (size_t)s.ctx_original;
    }
    if (local == 0 && m->n_rot_local != m->n_rot)
        local = m->rope_base;
    if (local != 0)
        m->angles_local = angles_of(m, m->n_rot_local, local, &none, NULL);
    TRY(check_angles(m, &m->angles, e));
    TRY(check_angles(m, &m->angles_far, e));
    if (!isfinite(m->attn_scale) || !isfinite(m->angles.magnitude))
        return err_set(e, ERR_CORRUPT, "%s: the rope scaling makes scores infinite",
                       gguf_path(m->gguf));
    return ERR_OK;
}

void model_use_context(struct model *m, size_t ctx)
{
    if (m->angles_far.inverse && ctx > m->ctx_near)
        m->angles = m->angles_far;
}
