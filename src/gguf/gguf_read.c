/* SPDX-License-Identifier: MIT
 * gguf_read.c - from bytes to keys and tensor descriptions.  Every number of the file is checked
 * against the bytes that remain before it is used.  Layout: "GGUF", u32 version, u64 tensors,
 * u64 keys, the keys, the tensor descriptions, padding, the data (ggml's docs/gguf.md). */
#include "gguf/gguf_int.h"

#include "base/num.h"
#include "gguf/gguf_type.h"

#include <string.h>

#define GGUF_HEADER_BYTES     24
#define GGUF_KEY_BYTES_MIN    13 /* name length, kind and a one-byte value */
#define GGUF_TENSOR_BYTES_MIN 32 /* name length, dimensions, one dim, type, offset */

static const unsigned char gguf_kind_bytes[GGUF_KIND_N] = {
    [GGUF_U8] = 1,  [GGUF_I8] = 1,   [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
    [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
};

struct cursor {
    const unsigned char *data;
    size_t at;
    size_t n;
    const char *what; /* the file, for errors */
    size_t n_strings; /* of all arrays so far */
    struct arena *arena;
    struct errinfo *e;
};

static enum err cursor_short(const struct cursor *c, const char *thing)
{
    return err_set(c->e, ERR_CORRUPT, "%s: the file ends at byte %zu inside %s", c->what, c->n,
                   thing);
}

static enum err cursor_uint(struct cursor *c, size_t bytes, uint64_t *out, const char *thing)
{
    if (c->n - c->at < bytes)
        return cursor_short(c, thing);
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v |= (uint64_t)c->data[c->at + i] << (8 * i);
    c->at += bytes;
    *out = v;
    return ERR_OK;
}

static enum err cursor_string(struct cursor *c, struct span *out, const char *thing)
{
    uint64_t n;
    TRY(cursor_uint(c, 8, &n, thing));
    if (n > c->n - c->at)
        return err_set(c->e, ERR_CORRUPT,
                       "%s: %s at byte %zu claims %llu bytes, but only %zu are left", c->what,
                       thing, c->at - 8, (unsigned long long)n, c->n - c->at);
    *out = (struct span){(const char *)c->data + c->at, (size_t)n};
    c->at += (size_t)n;
    return ERR_OK;
}

static enum err cursor_name(struct cursor *c, struct span *out, const char *thing)
{
    size_t at = c->at;
    TRY(cursor_string(c, out, thing));
    if (out->n == 0 || out->n > GGUF_NAME_MAX || !utf8_printable(*out))
        return err_set(c->e, ERR_CORRUPT,
                       "%s: %s at byte %zu is not a name (%zu bytes; 1 to %d of printable UTF-8)",
                       c->what, thing, at, out->n, GGUF_NAME_MAX);
    return ERR_OK;
}

/* The bits of a number of `kind` into the key's union. */
static void key_set_number(struct gguf_key *k, uint64_t bits)
{
    float f;
    switch (k->kind) {
    case GGUF_I8: k->i = (int8_t)bits; break;
    case GGUF_I16: k->i = (int16_t)bits; break;
    case GGUF_I32: k->i = (int32_t)bits; break;
    case GGUF_I64: k->i = (int64_t)bits; break;
    case GGUF_F32:
        memcpy(&f, &(uint32_t){(uint32_t)bits}, sizeof f);
        k->f = (double)f;
        break;
    case GGUF_F64: memcpy(&k->f, &bits, sizeof k->f); break;
    default: k->u = bits; break;
    }
}

static enum err cursor_strings(struct cursor *c, struct gguf_array *a, const char *thing)
{
    if (a->n > (c->n - c->at) / 8)
        return err_set(c->e, ERR_CORRUPT, "%s: %s claims %zu strings in %zu bytes", c->what, thing,
                       a->n, c->n - c->at);
    c->n_strings += a->n;
    if (c->n_strings > GGUF_STRINGS_MAX)
        return err_set(c->e, ERR_CORRUPT, "%s: more than %d strings in arrays", c->what,
                       GGUF_STRINGS_MAX);
    struct span *s = arena_array(c->arena, a->n, sizeof *s);
    for (size_t i = 0; i < a->n; i++)
        TRY(cursor_string(c, &s[i], thing));
    a->strings = s;
    return ERR_OK;
}

static enum err cursor_array(struct cursor *c, struct gguf_array *a, const char *thing)
{
    uint64_t kind, n;
    TRY(cursor_uint(c, 4, &kind, thing));
    TRY(cursor_uint(c, 8, &n, thing));
    if (kind >= GGUF_KIND_N || kind == GGUF_ARRAY)
        return err_set(c->e, ERR_CORRUPT, "%s: %s is an array of kind %llu, which cannot be read",
                       c->what, thing, (unsigned long long)kind);
    *a = (struct gguf_array){.kind = (enum gguf_kind)kind, .n = (size_t)n};
    if (kind == GGUF_STRING)
        return cursor_strings(c, a, thing);
    if (n > (c->n - c->at) / gguf_kind_bytes[kind])
        return err_set(c->e, ERR_CORRUPT, "%s: %s claims %llu elements in %zu bytes", c->what,
                       thing, (unsigned long long)n, c->n - c->at);
    a->data = c->data + c->at;
    c->at += (size_t)n * gguf_kind_bytes[kind];
    return ERR_OK;
}

static enum err cursor_key(struct cursor *c, struct gguf_key *k)
{
    uint64_t kind, bits;
    TRY(cursor_name(c, &k->name, "a key's name"));
    const char *thing = arena_printf(c->arena, "key %.*s", (int)k->name.n, k->name.p);
    TRY(cursor_uint(c, 4, &kind, thing));
    if (kind >= GGUF_KIND_N)
        return err_set(c->e, ERR_CORRUPT, "%s: %s has the unknown kind %llu", c->what, thing,
                       (unsigned long long)kind);
    k->kind = (enum gguf_kind)kind;
    if (k->kind == GGUF_STRING)
        return cursor_string(c, &k->s, thing);
    if (k->kind == GGUF_ARRAY)
        return cursor_array(c, &k->a, thing);
    TRY(cursor_uint(c, gguf_kind_bytes[kind], &bits, thing));
    if (k->kind == GGUF_BOOL && bits > 1)
        return err_set(c->e, ERR_CORRUPT, "%s: %s is a bool of value %llu", c->what, thing,
                       (unsigned long long)bits);
    key_set_number(k, bits);
    return ERR_OK;
}

/* Dimensions and type of a tensor -> its size in bytes; `offset` still relative to the data. */
static enum err tensor_size(struct cursor *c, struct gguf_tensor *t)
{
    const struct gguf_type_info *type = gguf_type_info(t->type);
    size_t n = 1;
    if (!type)
        return err_set(c->e, ERR_UNSUPPORTED, "%s: tensor %.*s has the unknown type %u", c->what,
                       (int)t->name.n, t->name.p, t->type);
    for (int i = 0; i < t->n_dims; i++)
        if (t->dims[i] == 0 || !num_mul(n, (size_t)t->dims[i], &n))
            return err_set(c->e, ERR_CORRUPT, "%s: tensor %.*s has an impossible dimension %llu",
                           c->what, (int)t->name.n, t->name.p, (unsigned long long)t->dims[i]);
    if (t->dims[0] % type->block_elems != 0)
        return err_set(c->e, ERR_CORRUPT,
                       "%s: tensor %.*s: rows of %llu are no multiple of %s's block of %u", c->what,
                       (int)t->name.n, t->name.p, (unsigned long long)t->dims[0], type->name,
                       type->block_elems);
    if (!num_mul(n / type->block_elems, type->block_bytes, &t->bytes))
        return err_set(c->e, ERR_CORRUPT, "%s: tensor %.*s is impossibly large", c->what,
                       (int)t->name.n, t->name.p);
    return ERR_OK;
}

static enum err cursor_tensor(struct cursor *c, struct gguf_tensor *t, uint64_t *offset)
{
    uint64_t n_dims, type;
    TRY(cursor_name(c, &t->name, "a tensor's name"));
    const char *thing = arena_printf(c->arena, "tensor %.*s", (int)t->name.n, t->name.p);
    TRY(cursor_uint(c, 4, &n_dims, thing));
    if (n_dims < 1 || n_dims > GGUF_DIMS_MAX)
        return err_set(c->e, ERR_CORRUPT, "%s: %s has %llu dimensions (1 to %d)", c->what, thing,
                       (unsigned long long)n_dims, GGUF_DIMS_MAX);
    t->n_dims = (int)n_dims;
    for (int i = 0; i < GGUF_DIMS_MAX; i++)
        t->dims[i] = 1;
    for (int i = 0; i < t->n_dims; i++)
        TRY(cursor_uint(c, 8, &t->dims[i], thing));
    TRY(cursor_uint(c, 4, &type, thing));
    t->type = (uint32_t)type;
    TRY(cursor_uint(c, 8, offset, thing));
    return tensor_size(c, t);
}

static enum err read_header(struct cursor *c, struct gguf_part *p)
{
    uint64_t version, n_tensors, n_keys;
    if (c->n < GGUF_HEADER_BYTES)
        return err_set(c->e, ERR_CORRUPT, "%s: %zu bytes are too short for a GGUF file", c->what,
                       c->n);
    if (memcmp(c->data, "GGUF", 4) != 0)
        return err_set(c->e, ERR_CORRUPT, "%s: not a GGUF file (it does not begin with \"GGUF\")",
                       c->what);
    c->at = 4;
    TRY(cursor_uint(c, 4, &version, "the version"));
    if (version >= 0x10000 && (version & 0xffff) == 0)
        return err_set(c->e, ERR_UNSUPPORTED,
                       "%s: a big-endian GGUF file; only little-endian ones are supported",
                       c->what);
    if (version != 2 && version != 3)
        return err_set(c->e, ERR_UNSUPPORTED,
                       "%s: GGUF version %llu is not supported (2 and 3 in little-endian are)",
                       c->what, (unsigned long long)version);
    p->version = (uint32_t)version;
    TRY(cursor_uint(c, 8, &n_tensors, "the tensor count"));
    TRY(cursor_uint(c, 8, &n_keys, "the key count"));
    size_t left = c->n - c->at;
    if (n_keys > GGUF_KEYS_MAX || n_keys > left / GGUF_KEY_BYTES_MIN)
        return err_set(c->e, ERR_CORRUPT, "%s: %llu keys in %zu bytes (at most %d)", c->what,
                       (unsigned long long)n_keys, left, GGUF_KEYS_MAX);
    if (n_tensors > GGUF_TENSORS_MAX || n_tensors > left / GGUF_TENSOR_BYTES_MIN)
        return err_set(c->e, ERR_CORRUPT, "%s: %llu tensors in %zu bytes (at most %d)", c->what,
                       (unsigned long long)n_tensors, left, GGUF_TENSORS_MAX);
    p->n_keys = (size_t)n_keys;
    p->n_tensors = (size_t)n_tensors;
    return ERR_OK;
}

static enum err read_alignment(const struct cursor *c, const struct gguf_part *p, size_t *out)
{
    *out = 32;
    for (size_t i = 0; i < p->n_keys; i++) {
        const struct gguf_key *k = &p->keys[i];
        if (!span_eq_cstr(k->name, "general.alignment"))
            continue;
        if (k->kind != GGUF_U32 || k->u < GGUF_ALIGNMENT_MIN || k->u > GGUF_ALIGNMENT_MAX ||
            (k->u & (k->u - 1)))
            return err_set(c->e, ERR_CORRUPT,
                           "%s: general.alignment is no power of two from %d to %d", c->what,
                           GGUF_ALIGNMENT_MIN, GGUF_ALIGNMENT_MAX);
        *out = (size_t)k->u;
    }
    return ERR_OK;
}

/* Turns offsets into pointers once the place of the data is known. */
static enum err place_tensors(struct cursor *c, struct gguf_part *p, const uint64_t *offset)
{
    size_t align;
    TRY(read_alignment(c, p, &align));
    size_t base = num_align(c->at, align);
    if (p->n_tensors && base > c->n)
        return cursor_short(c, "the padding before the tensor data");
    for (size_t i = 0; i < p->n_tensors; i++) {
        struct gguf_tensor *t = &p->tensors[i];
        size_t left = c->n - base;
        if (offset[i] % align != 0)
            return err_set(c->e, ERR_CORRUPT, "%s: tensor %.*s: offset %llu is not aligned to %zu",
                           c->what, (int)t->name.n, t->name.p, (unsigned long long)offset[i],
                           align);
        if (offset[i] > left || t->bytes > left - offset[i])
            return err_set(c->e, ERR_CORRUPT,
                           "%s: tensor %.*s needs %zu bytes at offset %llu, but the file has %zu "
                           "bytes of data: it is cut short or damaged",
                           c->what, (int)t->name.n, t->name.p, t->bytes,
                           (unsigned long long)offset[i], left);
        t->data = c->data + base + (size_t)offset[i];
    }
    return ERR_OK;
}

enum err gguf_read_part(struct gguf *g, const unsigned char *data, size_t n, const char *what,
                        int part, struct gguf_part *out, struct errinfo *e)
{
    struct cursor c = {.data = data, .n = n, .what = what, .arena = &g->arena, .e = e};
    TRY(read_header(&c, out));
    out->keys = arena_array(&g->arena, out->n_keys, sizeof *out->keys);
    for (size_t i = 0; i < out->n_keys; i++)
        TRY(cursor_key(&c, &out->keys[i]));
    out->tensors = arena_array(&g->arena, out->n_tensors, sizeof *out->tensors);
    uint64_t *offset = arena_array(&g->arena, out->n_tensors, sizeof *offset);
    for (size_t i = 0; i < out->n_tensors; i++) {
        TRY(cursor_tensor(&c, &out->tensors[i], &offset[i]));
        out->tensors[i].part = part;
    }
    return place_tensors(&c, out, offset);
}
