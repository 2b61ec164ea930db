/* SPDX-License-Identifier: MIT
 * model_mixer.c - blocks with a state of their own beside attention or in its place: convolutions,
 * state spaces, linear attention.  Which a layer has is found by its tensors. */
#include "model/model_int.h"

#include "base/num.h"

#define TAPS_MAX 64

/* A number of the file's, or 0. */
static enum err size_of(struct model *m, const char *name, size_t hi, size_t *out,
                        struct errinfo *e)
{
    uint32_t v;
    TRY(gguf_get_u32(m->gguf, model_key(m, name), 0, &v, e));
    *out = v;
    if (v > hi)
        return err_set(e, ERR_CORRUPT, "%s: %s is %u, more than %zu", gguf_path(m->gguf),
                       model_key(m, name), v, hi);
    return ERR_OK;
}

/* RWKV's heads are parts of the width; fewer may have keys and values of their own. */
static enum err read_wkv(struct model *m, struct errinfo *e)
{
    struct model_mixer_sizes *x = &m->mixer;
    size_t head;
    TRY(size_of(m, "wkv.head_size", 65536, &head, e));
    if (!head)
        return ERR_OK;
    x->state = head;
    x->inner = m->dim;
    x->heads = m->dim / head;
    TRY(size_of(m, "attention.head_count_kv", 65536, &x->groups, e));
    x->groups = x->groups ? x->groups : x->heads;
    return ERR_OK;
}

enum err model_read_mixer(struct model *m, struct errinfo *e)
{
    struct model_mixer_sizes *x = &m->mixer;
    size_t short_taps;
    TRY(size_of(m, "shortconv.l_cache", TAPS_MAX, &short_taps, e));
    TRY(size_of(m, "ssm.conv_kernel", TAPS_MAX, &x->taps, e));
    TRY(size_of(m, "ssm.inner_size", MODEL_DIM_MAX, &x->inner, e));
    TRY(size_of(m, "ssm.state_size", 65536, &x->state, e));
    TRY(size_of(m, "ssm.time_step_rank", 65536, &x->rank, e));
    TRY(size_of(m, "ssm.group_count", 65536, &x->groups, e));
    TRY(gguf_get_bool(m->gguf, model_key(m, "ssm.dt_b_c_rms"), false, &x->bare_norms, e));
    size_t each;
    TRY(size_of(m, "kda.head_dim", 65536, &each, e));
    x->state = each ? each : x->state;
    x->taps = short_taps ? short_taps : x->taps;
    x->groups = MAX(x->groups, (size_t)1);
    x->heads = x->rank;
    return read_wkv(m, e);
}

/* The sizes that heads need; the product of the widest row is checked against the tensors. */
static enum err check_heads(struct binder *b, int layer)
{
    const struct model_mixer_sizes *x = &b->m->mixer;
    if (x->taps < 2 || !x->inner || !x->state || !x->heads || x->inner % x->heads ||
        x->heads % x->groups || x->inner + 2 * x->groups * x->state > INT32_MAX / 4)
        return err_set(b->e, ERR_CORRUPT,
                       "%s: the state of layer %d, %zu channels of %zu in %zu heads and %zu groups "
                       "with %zu taps, makes no sense",
                       gguf_path(b->m->gguf), layer, x->inner, x->state, x->heads, x->groups,
                       x->taps);
    return ERR_OK;
}

/* Files have the taps of a channel together, the device those of a position: n channels of `all`,
 * from `at` on. */
static enum err put_taps(struct binder *b, int layer, const char *name, size_t n, size_t at,
                         size_t all, float *out)
{
    const float *by_channel;
    size_t taps = b->m->mixer.taps;
    TRY(model_bind_vector(b, model_bind_name(b, layer, name, "weight"), n * taps, false,
                          &by_channel));
    for (size_t c = 0; c < n; c++)
        for (size_t k = 0; k < taps; k++)
            out[k * all + at + c] = by_channel[c * taps + k];
    return ERR_OK;
}

static enum err bind_taps(struct binder *b, int layer, const char *name, size_t n,
                          struct model_mixer *x)
{
    float *out = arena_array(&b->m->arena, n * b->m->mixer.taps, sizeof *out);
    TRY(put_taps(b, layer, name, n, 0, n, out));
    x->taps = out;
    x->n_conv = n;
    return model_bind_vector(b, model_bind_name(b, layer, name, "bias"), n, true, &x->conv_bias);
}

static enum err bind_conv(struct binder *b, int i, struct model_mixer *x)
{
    size_t dim = b->m->dim;
    x->kind = MODEL_CONV;
    if (b->m->mixer.taps < 2)
        return err_set(b->e, ERR_CORRUPT, "%s: a convolution of %zu taps", gguf_path(b->m->gguf),
                       b->m->mixer.taps);
    TRY(model_bind_rows(b, i, "shortconv.in_proj", 0, dim, 3 * dim, dim, &x->b));
    TRY(model_bind_rows(b, i, "shortconv.in_proj", dim, dim, 3 * dim, dim, &x->c));
    TRY(model_bind_rows(b, i, "shortconv.in_proj", 2 * dim, dim, 3 * dim, dim, &x->x));
    TRY(bind_taps(b, i, "shortconv.conv", dim, x));
    return model_bind_rows(b, i, "shortconv.out_proj", 0, dim, dim, dim, &x->out);
}

/* Norms of steps, b and c: those of the file, or without gains, which are Falcon Mamba's with an
 * epsilon of their own (its config.json: mixer_rms_eps). */
static enum err bind_scan_norms(struct binder *b, int i, struct model_mixer *x)
{
    struct model *m = b->m;
    size_t rank = m->mixer.rank, state = m->mixer.state;
    if (m->mixer.bare_norms) {
        x->dt_norm = (struct model_norm){.gain = model_ones(m, rank), .n = rank, .n_gains = 1};
        x->b_norm = (struct model_norm){.gain = model_ones(m, state), .n = state, .n_gains = 1};
        x->c_norm = x->b_norm;
    }
    if (model_bind_there(b, i, "ssm_dt_norm")) {
        TRY(model_bind_norm(b, i, "ssm_dt_norm", rank, 1, &x->dt_norm));
        TRY(model_bind_norm(b, i, "ssm_b_norm", state, 1, &x->b_norm));
        TRY(model_bind_norm(b, i, "ssm_c_norm", state, 1, &x->c_norm));
    }
    x->dt_norm.eps = x->b_norm.eps = x->c_norm.eps = m->mixer.bare_norms ? MODEL_OWN_EPS : 0;
    return ERR_OK;
}

/* Of channels: the file's a is [inner][state], and the device's lanes are channels. */
static enum err bind_scan(struct binder *b, int i, struct model_mixer *x)
{
    struct model *m = b->m;
    size_t inner = m->mixer.inner, state = m->mixer.state, rank = m->mixer.rank;
    const float *a;
    x->kind = MODEL_SCAN;
    TRY(model_bind_rows(b, i, "ssm_in", 0, inner, 2 * inner, m->dim, &x->x));
    TRY(model_bind_rows(b, i, "ssm_in", inner, inner, 2 * inner, m->dim, &x->z));
    TRY(bind_taps(b, i, "ssm_conv1d", inner, x));
    size_t all = rank + 2 * state;
    TRY(model_bind_rows(b, i, "ssm_x", 0, rank, all, inner, &x->dt));
    TRY(model_bind_rows(b, i, "ssm_x", rank, state, all, inner, &x->b));
    TRY(model_bind_rows(b, i, "ssm_x", rank + state, state, all, inner, &x->c));
    TRY(bind_scan_norms(b, i, x));
    TRY(model_bind_rows(b, i, "ssm_dt", 0, inner, inner, rank, &x->dt_high));
    TRY(model_bind_vector(b, model_bind_name(b, i, "ssm_dt", "bias"), inner, false, &x->dt_bias));
    x->dt_bias = model_bind_unscaled(b, &x->dt_high, x->dt_bias, inner);
    TRY(model_bind_vector(b, model_bind_name(b, i, "ssm_a", NULL), inner * state, false, &a));
    TRY(model_bind_vector(b, model_bind_name(b, i, "ssm_d", NULL), inner, false, &x->d));
    float *turned = arena_array(&m->arena, inner * state, sizeof *turned);
    for (size_t c = 0; c < inner; c++)
        for (size_t n = 0; n < state; n++)
            turned[n * inner + c] = a[c * state + n];
    x->a = turned;
    return model_bind_rows(b, i, "ssm_out", 0, m->dim, m->dim, inner, &x->out);
}

static enum err bind_scan_heads(struct binder *b, int i, struct model_mixer *x)
{
    struct model *m = b->m;
    const struct model_mixer_sizes *s = &m->mixer;
    size_t conv = s->inner + 2 * s->groups * s->state, all = s->inner + conv + s->heads;
    x->kind = MODEL_SCAN_HEADS;
    TRY(model_bind_rows(b, i, "ssm_in", 0, s->inner, all, m->dim, &x->z));
    TRY(model_bind_rows(b, i, "ssm_in", s->inner, conv, all, m->dim, &x->x));
    TRY(model_bind_rows(b, i, "ssm_in", s->inner + conv, s->heads, all, m->dim, &x->dt));
    TRY(bind_taps(b, i, "ssm_conv1d", conv, x));
    TRY(model_bind_vector(b, model_bind_name(b, i, "ssm_dt", "bias"), s->heads, false,
                          &x->dt_bias));
    TRY(model_bind_vector(b, model_bind_name(b, i, "ssm_a", NULL), s->heads, false, &x->a));
    TRY(model_bind_vector(b, model_bind_name(b, i, "ssm_d", NULL), s->heads, false, &x->d));
    if (model_bind_there(b, i, "ssm_norm"))
        TRY(model_bind_norm(b, i, "ssm_norm", s->inner / s->groups, s->groups, &x->norm));
    return model_bind_rows(b, i, "ssm_out", 0, m->dim, m->dim, s->inner, &x->out);
}

/* PLaMo 2's: as bind_scan reads what a state is written with, and as heads scan. */
static enum err bind_scan_by_head(struct binder *b, int i, struct model_mixer *x)
{
    struct model *m = b->m;
    const struct model_mixer_sizes *s = &m->mixer;
    const struct gguf_tensor *t = gguf_tensor(m->gguf, model_bind_name(b, i, "ssm_x", "weight"));
    size_t all = (size_t)t->dims[1], state = s->state, low = all - 2 * state;
    if (s->groups != 1)
        return err_set(b->e, ERR_CORRUPT,
                       "%s: layer %d has one b and one c for %zu groups of heads",
                       gguf_path(m->gguf), i, s->groups);
    if (all <= 2 * state || all > MODEL_DIM_MAX)
        return err_set(b->e, ERR_CORRUPT,
                       "%s: ssm_x of layer %d has %zu rows, of which %zu are the state's",
                       gguf_path(m->gguf), i, all, 2 * state);
    x->kind = MODEL_SCAN_HEADS;
    x->by_head = true;
    TRY(model_bind_rows(b, i, "ssm_in", 0, 2 * s->inner, 2 * s->inner, m->dim, &x->x));
    TRY(bind_taps(b, i, "ssm_conv1d", s->inner, x));
    TRY(model_bind_rows(b, i, "ssm_x", 0, state, all, s->inner, &x->b));
    TRY(model_bind_rows(b, i, "ssm_x", state, state, all, s->inner, &x->c));
    TRY(model_bind_rows(b, i, "ssm_x", 2 * state, low, all, s->inner, &x->dt));
    TRY(model_bind_norm(b, i, "ssm_dt_norm", low, 1, &x->dt_norm));
    TRY(model_bind_norm(b, i, "ssm_b_norm", state, 1, &x->b_norm));
    TRY(model_bind_norm(b, i, "ssm_c_norm", state, 1, &x->c_norm));
    TRY(model_bind_rows(b, i, "ssm_dt", 0, s->heads, s->heads, low, &x->dt_high));
    TRY(model_bind_vector(b, model_bind_name(b, i, "ssm_dt", "bias"), s->heads, false,
                          &x->dt_bias));
    TRY(model_bind_vector(b, model_bind_name(b, i, "ssm_a", NULL), s->heads, false, &x->a));
    TRY(model_bind_vector(b, model_bind_name(b, i, "ssm_d", NULL), s->heads, false, &x->d));
    return model_bind_rows(b, i, "ssm_out", 0, m->dim, m->dim, s->inner, &x->out);
}

/* Does each head of a layer fade as a whole? */
static bool fades_by_head(struct binder *b, int i)
{
    const struct gguf_tensor *a = gguf_tensor(b->m->gguf, model_bind_name(b, i, "ssm_a", NULL));
    return a && a->dims[0] * a->dims[1] * a->dims[2] * a->dims[3] == b->m->mixer.heads;
}

static enum err bind_delta(struct binder *b, int i, struct model_mixer *x)
{
    struct model *m = b->m;
    const struct model_mixer_sizes *s = &m->mixer;
    size_t conv = s->inner + 2 * s->groups * s->state;
    x->kind = MODEL_DELTA;
    TRY(model_bind_rows(b, i, "attn_qkv", 0, conv, conv, m->dim, &x->x));
    TRY(model_bind_rows(b, i, "attn_gate", 0, s->inner, s->inner, m->dim, &x->z));
    if (model_bind_there(b, i, "ssm_ba")) {
        TRY(model_bind_rows(b, i, "ssm_ba", 0, 2 * s->heads, 2 * s->heads, m->dim, &x->dt));
    } else {
        TRY(model_bind_rows(b, i, "ssm_alpha", 0, s->heads, s->heads, m->dim, &x->dt));
        TRY(model_bind_rows(b, i, "ssm_beta", 0, s->heads, s->heads, m->dim, &x->beta));
    }
    TRY(bind_taps(b, i, "ssm_conv1d", conv, x));
    TRY(model_bind_vector(b, model_bind_name(b, i, "ssm_dt", "bias"), s->heads, false,
                          &x->dt_bias));
    TRY(model_bind_vector(b, model_bind_name(b, i, "ssm_a", NULL), s->heads, false, &x->a));
    TRY(model_bind_norm(b, i, "ssm_norm", s->inner / s->heads, 1, &x->norm));
    return model_bind_rows(b, i, "ssm_out", 0, m->dim, m->dim, s->inner, &x->out);
}

/* Of as many heads as attention has. */
static enum err bind_delta_each(struct binder *b, int i, struct model_mixer *x)
{
    struct model *m = b->m;
    struct model_mixer_sizes *s = &m->mixer;
    for (int k = 0; k < i; k++) /* sizes are the model's, and those are bound by others */
        if (m->layers[k].mixer.kind && m->layers[k].mixer.kind != MODEL_DELTA_EACH)
            return err_set(b->e, ERR_CORRUPT, "%s: the states of layers %d and %d are of two kinds",
                           gguf_path(m->gguf), k, i);
    s->heads = s->groups = m->n_head;
    s->inner = m->n_head * s->state;
    x->kind = MODEL_DELTA_EACH;
    TRY(check_heads(b, i));
    size_t n = s->inner, low = s->state, dim = m->dim;
    float *taps = arena_array(&m->arena, 3 * n * s->taps, sizeof *taps);
    TRY(model_bind_rows(b, i, "attn_q", 0, n, n, dim, &x->x));
    TRY(model_bind_rows(b, i, "attn_k", 0, n, n, dim, &x->k));
    TRY(model_bind_rows(b, i, "attn_v", 0, n, n, dim, &x->v));
    TRY(put_taps(b, i, "ssm_conv1d_q", n, 0, 3 * n, taps));
    TRY(put_taps(b, i, "ssm_conv1d_k", n, n, 3 * n, taps));
    TRY(put_taps(b, i, "ssm_conv1d_v", n, 2 * n, 3 * n, taps));
    x->taps = taps;
    x->n_conv = 3 * n;
    TRY(model_bind_rows(b, i, "ssm_f_a", 0, low, low, dim, &x->dt));
    TRY(model_bind_rows(b, i, "ssm_f_b", 0, n, n, low, &x->dt_high));
    TRY(model_bind_vector(b, model_bind_name(b, i, "ssm_dt", "bias"), n, false, &x->dt_bias));
    x->dt_bias = model_bind_unscaled(b, &x->dt_high, x->dt_bias, n);
    TRY(model_bind_vector(b, model_bind_name(b, i, "ssm_a", NULL), s->heads, false, &x->a));
    TRY(model_bind_rows(b, i, "ssm_beta", 0, s->heads, s->heads, dim, &x->beta));
    TRY(model_bind_rows(b, i, "ssm_g_a", 0, low, low, dim, &x->z_low));
    TRY(model_bind_rows(b, i, "ssm_g_b", 0, n, n, low, &x->z));
    TRY(model_bind_norm(b, i, "ssm_norm", s->state, 1, &x->norm));
    return model_bind_rows(b, i, "attn_output", 0, dim, dim, n, &x->out);
}

enum err model_bind_mixer(struct binder *b, int i, struct model_mixer *x)
{
    if (model_bind_there(b, i, "ssm_f_a"))
        return bind_delta_each(b, i, x);
    if (model_bind_there(b, i, "shortconv.in_proj"))
        return bind_conv(b, i, x);
    if (model_has_wkv(b, i))
        return model_bind_wkv(b, i, x);
    if (!model_bind_there(b, i, "ssm_out"))
        return ERR_OK;
    if (model_bind_there(b, i, "ssm_x") && fades_by_head(b, i)) {
        TRY(check_heads(b, i));
        return bind_scan_by_head(b, i, x);
    }
    if (model_bind_there(b, i, "ssm_x")) {
        const struct model_mixer_sizes *s = &b->m->mixer;
        if (s->taps < 2 || !s->inner || !s->state || !s->rank ||
            s->inner > (size_t)INT32_MAX / 4 / s->state)
            return err_set(b->e, ERR_CORRUPT,
                           "%s: the state of layer %d, %zu channels of %zu with %zu taps, makes "
                           "no sense",
                           gguf_path(b->m->gguf), i, s->inner, s->state, s->taps);
        return bind_scan(b, i, x);
    }
    TRY(check_heads(b, i));
    return model_bind_there(b, i, "ssm_in") ? bind_scan_heads(b, i, x) : bind_delta(b, i, x);
}
