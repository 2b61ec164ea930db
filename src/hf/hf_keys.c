/* SPDX-License-Identifier: MIT
 * hf_keys.c - config.json -> keys. */
#include "hf/hf_int.h"

#include "base/num.h"
#include "gguf/gguf_type.h"

#include <math.h>
#include <string.h>

const char *hf_key(struct hf *h, const char *name)
{
    return arena_printf(&h->tmp, "%s.%s", h->family->arch, name);
}

json_t *hf_conf(const struct hf *h, const char *name)
{
    json_t *v = *name ? json_object_get(h->config, name) : NULL;
    return json_is_null(v) ? NULL : v;
}

enum err hf_number(const struct hf *h, const char *name, json_t *v, double lo, double hi,
                   double *out, struct errinfo *e)
{
    if (!json_is_number(v))
        return err_set(e, ERR_CORRUPT, "%s/config.json: %s is no number", h->dir, name);
    *out = json_number_value(v);
    if (!(*out >= lo && *out <= hi))
        return err_set(e, ERR_CORRUPT, "%s/config.json: %s is %g (%g to %g)", h->dir, name, *out,
                       lo, hi);
    return ERR_OK;
}

enum kind { NEED, U32, F32, BOOL };

static const struct row {
    enum kind kind;
    const char *key, *name, *other;
} rows[] = {
#define KEY_NEED(key, name, other) {NEED, key, name, other},
#define KEY_U32(key, name, other)  {U32, key, name, other},
#define KEY_F32(key, name, other)  {F32, key, name, other},
#define KEY_BOOL(key, name, other) {BOOL, key, name, other},
#include "hf/hf_key.def"
#undef KEY_BOOL
#undef KEY_F32
#undef KEY_U32
#undef KEY_NEED
};

static enum err put_row(struct hf *h, const struct row *r, struct errinfo *e)
{
    const char *name = hf_conf(h, r->name) ? r->name : r->other;
    json_t *v = hf_conf(h, name);
    double x;
    if (!v && r->kind == NEED)
        return err_set(e, ERR_CORRUPT, "%s/config.json: %s is missing", h->dir, r->name);
    if (!v)
        return ERR_OK;
    if (r->kind == BOOL) {
        if (!json_is_boolean(v))
            return err_set(e, ERR_CORRUPT, "%s/config.json: %s is neither true nor false", h->dir,
                           name);
        gguf_build_bool(h->g, hf_key(h, r->key), json_is_true(v));
        return ERR_OK;
    }
    bool whole = r->kind != F32;
    TRY(hf_number(h, name, v, whole ? 0 : -1e30, whole ? UINT32_MAX : 1e30, &x, e));
    if (whole && x != floor(x))
        return err_set(e, ERR_CORRUPT, "%s/config.json: %s is %g, no whole number", h->dir, name,
                       x);
    if (whole)
        gguf_build_u32(h->g, hf_key(h, r->key), (uint32_t)x);
    else
        gguf_build_f32(h->g, hf_key(h, r->key), (float)x);
    return ERR_OK;
}

/* What would be computed otherwise than the class does. */
static enum err check_act(struct hf *h, struct errinfo *e)
{
    json_t *v = hf_conf(h, "hidden_activation") ? hf_conf(h, "hidden_activation")
                                                : hf_conf(h, "hidden_act");
    const char *act = json_string_value(v), *want = h->family->act;
    if (!act)
        return ERR_OK; /* the class's own */
    /* Gemma's first files say "gelu" and mean its tanh form, as the class does */
    bool same = strcmp(act, want) == 0 ||
                (strcmp(want, "gelu") == 0 && strcmp(act, "gelu_pytorch_tanh") == 0);
    if (same)
        return ERR_OK;
    return err_set(e, ERR_UNSUPPORTED,
                   "%s/config.json: the activation %.32s is not that of %s as it is supported here "
                   "(%s)",
                   h->dir, act, h->family->name, want);
}

/* GGUF's families know most patterns; what differs is written out, a truth a layer. */
static enum err put_layer_windows(struct hf *h, size_t n_layer, struct errinfo *e)
{
    json_t *types = hf_conf(h, "layer_types");
    bool local[HF_LAYERS_MAX];
    if (!types)
        return ERR_OK;
    if (!json_is_array(types) || json_array_size(types) < n_layer)
        return err_set(e, ERR_CORRUPT, "%s/config.json: layer_types does not name %zu layers",
                       h->dir, n_layer);
    for (size_t i = 0; i < n_layer; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        local[i] = type && strcmp(type, "sliding_attention") == 0;
        if (!local[i] && (!type || strcmp(type, "full_attention") != 0))
            return err_set(e, ERR_UNSUPPORTED,
                           "%s/config.json: layer %zu is of the type %.32s, which is not supported "
                           "in folders",
                           h->dir, i, type ? type : "(none)");
    }
    gguf_build_numbers(h->g, hf_key(h, "attention.sliding_window_pattern"), GGUF_BOOL, local,
                       n_layer);
    return ERR_OK;
}

static enum err put_windows(struct hf *h, struct errinfo *e)
{
    json_t *v = hf_conf(h, "sliding_window");
    double window, n_layer;
    bool all = h->family->flags & HF_WINDOW_ALL, some = h->family->flags & HF_WINDOW_LAYERS;
    TRY(hf_number(h, "num_hidden_layers", hf_conf(h, "num_hidden_layers"), 1, HF_LAYERS_MAX,
                  &n_layer, e));
    if (!all && !some && v && json_is_true(hf_conf(h, "use_sliding_window")))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s/config.json: use_sliding_window is not supported for %s", h->dir,
                       h->family->name);
    if (!v && strcmp(h->family->arch, "phi3") == 0) /* llama.cpp tells Phi-4 by it */
        gguf_build_u32(h->g, hf_key(h, "attention.sliding_window"), 0);
    if (!v || (!all && !some))
        return ERR_OK;
    TRY(hf_number(h, "sliding_window", v, 0, INT32_MAX, &window, e));
    gguf_build_u32(h->g, hf_key(h, "attention.sliding_window"), (uint32_t)window);
    if (some)
        return put_layer_windows(h, (size_t)n_layer, e);
    gguf_build_u32(h->g, hf_key(h, "attention.sliding_window_pattern"), 1);
    return ERR_OK;
}

/* Gemma scales queries by a number of its own; where that is the head's size, as in most, the
 * reader of the keys does it already. */
static enum err put_query_scale(struct hf *h, struct errinfo *e)
{
    json_t *v = hf_conf(h, "query_pre_attn_scalar"), *head = hf_conf(h, "head_dim");
    double by, size = 0;
    if (!v)
        return ERR_OK;
    TRY(hf_number(h, "query_pre_attn_scalar", v, 1e-3, 1e9, &by, e));
    if (head)
        TRY(hf_number(h, "head_dim", head, 1, 1e9, &size, e));
    if (by != size)
        gguf_build_f32(h->g, hf_key(h, "attention.scale"), (float)(1 / sqrt(by)));
    return ERR_OK;
}

/* llama.cpp's number of a file of mostly that type. */
static uint32_t file_type(const struct hf *h)
{
    size_t bytes[3] = {0};
    for (size_t i = 0; i < h->tensors.n; i++) {
        const struct hf_tensor *t = &h->tensors.t[i];
        if (t->n_dims >= 2 && t->number >= 0)
            bytes[t->number == GGUF_TYPE_F32 ? 0 : t->number == GGUF_TYPE_F16 ? 1 : 2] += t->bytes;
    }
    if (bytes[2] >= bytes[1] && bytes[2] >= bytes[0])
        return 32;
    return bytes[1] >= bytes[0] ? 1 : 0;
}

enum err hf_put_keys(struct hf *h, struct errinfo *e)
{
    const char *slash = strrchr(h->dir, '/');
    gguf_build_str(h->g, "general.architecture", span_of(h->family->arch));
    gguf_build_str(h->g, "general.type", SPAN("model"));
    gguf_build_str(h->g, "general.name", span_of(slash && slash[1] ? slash + 1 : h->dir));
    gguf_build_u32(h->g, "general.file_type", file_type(h));
    TRY(check_act(h, e));
    for (size_t i = 0; i < N_ELEMS(rows); i++)
        TRY(put_row(h, &rows[i], e));
    TRY(put_windows(h, e));
    return put_query_scale(h, e);
}
