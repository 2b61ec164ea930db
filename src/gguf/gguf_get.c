/* SPDX-License-Identifier: MIT
 * gguf_get.c - typed reads of keys. */
#include "gguf/gguf.h"

#include <string.h>

static const char *const gguf_kind_names[GGUF_KIND_N] = {
    [GGUF_U8] = "u8",         [GGUF_I8] = "i8",       [GGUF_U16] = "u16", [GGUF_I16] = "i16",
    [GGUF_U32] = "u32",       [GGUF_I32] = "i32",     [GGUF_F32] = "f32", [GGUF_BOOL] = "bool",
    [GGUF_STRING] = "string", [GGUF_ARRAY] = "array", [GGUF_U64] = "u64", [GGUF_I64] = "i64",
    [GGUF_F64] = "f64",
};

const char *gguf_kind_name(enum gguf_kind kind)
{
    CHECK((unsigned)kind < GGUF_KIND_N);
    return gguf_kind_names[kind];
}

static bool kind_is_signed(enum gguf_kind k)
{
    return k == GGUF_I8 || k == GGUF_I16 || k == GGUF_I32 || k == GGUF_I64;
}

static bool kind_is_float(enum gguf_kind k)
{
    return k == GGUF_F32 || k == GGUF_F64;
}

static bool kind_is_number(enum gguf_kind k)
{
    return k != GGUF_STRING && k != GGUF_ARRAY && k != GGUF_BOOL;
}

static enum err wrong_kind(const struct gguf *g, const struct gguf_key *k, const char *want,
                           struct errinfo *e)
{
    return err_set(e, ERR_CORRUPT, "%s: key %.*s is of kind %s, not %s", gguf_path(g),
                   (int)k->name.n, k->name.p, gguf_kind_name(k->kind), want);
}

static enum err missing(const struct gguf *g, const char *name, struct errinfo *e)
{
    return err_set(e, ERR_CORRUPT, "%s: the key %s is missing", gguf_path(g), name);
}

enum err gguf_get_u32(const struct gguf *g, const char *name, uint32_t otherwise, uint32_t *out,
                      struct errinfo *e)
{
    const struct gguf_key *k = gguf_key(g, name);
    *out = otherwise;
    if (!k)
        return ERR_OK;
    if (!kind_is_number(k->kind) || kind_is_float(k->kind))
        return wrong_kind(g, k, "an integer", e);
    if (kind_is_signed(k->kind) ? k->i < 0 || k->i > UINT32_MAX : k->u > UINT32_MAX)
        return err_set(e, ERR_CORRUPT, "%s: key %s does not fit 32 bits", gguf_path(g), name);
    *out = (uint32_t)k->u;
    return ERR_OK;
}

enum err gguf_get_f32(const struct gguf *g, const char *name, float otherwise, float *out,
                      struct errinfo *e)
{
    const struct gguf_key *k = gguf_key(g, name);
    *out = otherwise;
    if (!k)
        return ERR_OK;
    if (!kind_is_number(k->kind))
        return wrong_kind(g, k, "a number", e);
    *out = kind_is_float(k->kind)    ? (float)k->f
           : kind_is_signed(k->kind) ? (float)k->i
                                     : (float)k->u;
    return ERR_OK;
}

enum err gguf_get_bool(const struct gguf *g, const char *name, bool otherwise, bool *out,
                       struct errinfo *e)
{
    const struct gguf_key *k = gguf_key(g, name);
    *out = otherwise;
    if (!k)
        return ERR_OK;
    if (k->kind != GGUF_BOOL)
        return wrong_kind(g, k, "bool", e);
    *out = k->u != 0;
    return ERR_OK;
}

enum err gguf_get_str(const struct gguf *g, const char *name, struct span otherwise,
                      struct span *out, struct errinfo *e)
{
    const struct gguf_key *k = gguf_key(g, name);
    *out = otherwise;
    if (!k)
        return ERR_OK;
    if (k->kind != GGUF_STRING)
        return wrong_kind(g, k, "string", e);
    *out = k->s;
    return ERR_OK;
}

enum err gguf_need_u32(const struct gguf *g, const char *name, uint32_t *out, struct errinfo *e)
{
    return gguf_key(g, name) ? gguf_get_u32(g, name, 0, out, e) : missing(g, name, e);
}

enum err gguf_need_str(const struct gguf *g, const char *name, struct span *out, struct errinfo *e)
{
    return gguf_key(g, name) ? gguf_get_str(g, name, SPAN(""), out, e) : missing(g, name, e);
}

enum err gguf_get_array(const struct gguf *g, const char *name, enum gguf_kind kind,
                        const struct gguf_array **out, struct errinfo *e)
{
    const struct gguf_key *k = gguf_key(g, name);
    *out = NULL;
    if (!k)
        return ERR_OK;
    if (k->kind != GGUF_ARRAY)
        return wrong_kind(g, k, "array", e);
    if (k->a.kind != kind)
        return err_set(e, ERR_CORRUPT, "%s: key %s is an array of %s, not of %s", gguf_path(g),
                       name, gguf_kind_name(k->a.kind), gguf_kind_name(kind));
    *out = &k->a;
    return ERR_OK;
}

int64_t gguf_array_i64(const struct gguf_array *a, size_t i)
{
    int8_t v8;
    int16_t v16;
    int32_t v32;
    int64_t v64;
    CHECK(i < a->n && a->data);
    switch (a->kind) {
    case GGUF_U8: return a->data[i];
    case GGUF_BOOL: return a->data[i] != 0;
    case GGUF_I8: memcpy(&v8, a->data + i, 1); return v8;
    case GGUF_U16: memcpy(&v16, a->data + 2 * i, 2); return (uint16_t)v16;
    case GGUF_I16: memcpy(&v16, a->data + 2 * i, 2); return v16;
    case GGUF_U32: memcpy(&v32, a->data + 4 * i, 4); return (uint32_t)v32;
    case GGUF_I32: memcpy(&v32, a->data + 4 * i, 4); return v32;
    case GGUF_U64:
    case GGUF_I64: memcpy(&v64, a->data + 8 * i, 8); return v64;
    default: {
        double f = gguf_array_f64(a, i);
        return f >= -0x1p63 && f < 0x1p63 ? (int64_t)f : 0;
    }
    }
}

double gguf_array_f64(const struct gguf_array *a, size_t i)
{
    float f;
    double d;
    CHECK(i < a->n && a->data);
    switch (a->kind) {
    case GGUF_F32: memcpy(&f, a->data + 4 * i, 4); return (double)f;
    case GGUF_F64: memcpy(&d, a->data + 8 * i, 8); return d;
    default: return (double)gguf_array_i64(a, i);
    }
}
