/* SPDX-License-Identifier: MIT
 * gguf_made.h - for tests: writes small GGUF files with tensors in memory.
 *
 *     struct gguf_made f;
 *     gguf_made_begin(&f);
 *     gguf_made_str(&f, "general.architecture", "llama");
 *     gguf_made_tensor(&f, "output_norm.weight", GGUF_TYPE_F32, 8, 0, data);
 *     gguf_open_bytes(&g, gguf_made_end(&f), f.all.n, &e);   gguf_made_done(&f) after gguf_close */
#ifndef GGUF_GGUF_MADE_H
#define GGUF_GGUF_MADE_H

#include "base/num.h"
#include "base/str.h"
#include "gguf/gguf.h"
#include "gguf/gguf_type.h"

#include <string.h>

#define GGUF_MADE_ALIGN 32

struct gguf_made {
    struct str keys, infos, data, all;
    uint64_t n_keys, n_tensors;
};

static inline void gguf_made_begin(struct gguf_made *f)
{
    *f = (struct gguf_made){0};
    str_init(&f->keys, (size_t)1 << 28);
    str_init(&f->infos, (size_t)1 << 28);
    str_init(&f->data, (size_t)1 << 28);
    str_init(&f->all, (size_t)1 << 28);
}

static inline void gguf_made_done(struct gguf_made *f)
{
    str_done(&f->keys);
    str_done(&f->infos);
    str_done(&f->data);
    str_done(&f->all);
}

static inline void gguf_made_text(struct str *s, const char *text)
{
    uint64_t n = strlen(text);
    str_add(s, &n, 8); /* little-endian machines only, as GGUF is */
    str_add_cstr(s, text);
}

static inline void gguf_made_key(struct gguf_made *f, const char *name, enum gguf_kind kind,
                                 const void *value, size_t bytes)
{
    uint32_t k = (uint32_t)kind;
    gguf_made_text(&f->keys, name);
    str_add(&f->keys, &k, 4);
    str_add(&f->keys, value, bytes);
    f->n_keys++;
}

static inline void gguf_made_u32(struct gguf_made *f, const char *name, uint32_t v)
{
    gguf_made_key(f, name, GGUF_U32, &v, 4);
}

static inline void gguf_made_f32(struct gguf_made *f, const char *name, float v)
{
    gguf_made_key(f, name, GGUF_F32, &v, 4);
}

static inline void gguf_made_str(struct gguf_made *f, const char *name, const char *v)
{
    gguf_made_key(f, name, GGUF_STRING, NULL, 0);
    gguf_made_text(&f->keys, v);
}

static inline void gguf_made_u32s(struct gguf_made *f, const char *name, const uint32_t *v,
                                  uint64_t n)
{
    uint32_t kind = GGUF_U32;
    gguf_made_key(f, name, GGUF_ARRAY, &kind, 4);
    str_add(&f->keys, &n, 8);
    str_add(&f->keys, v, (size_t)n * 4);
}

/* A tensor of d2 matrices of d1 rows (0: a vector) of d0 elements; data NULL gives zeros. */
static inline void gguf_made_stack(struct gguf_made *f, const char *name, uint32_t type,
                                   uint64_t d0, uint64_t d1, uint64_t d2, const void *data)
{
    uint64_t dims[3] = {d0, d1, d2}, at = f->data.n;
    uint32_t n_dims = d2 > 1 ? 3 : d1 ? 2 : 1;
    size_t bytes = gguf_type_bytes(type, (size_t)(d0 * MAX(d1, 1) * MAX(d2, 1)));
    gguf_made_text(&f->infos, name);
    str_add(&f->infos, &n_dims, 4);
    str_add(&f->infos, dims, n_dims * sizeof *dims);
    str_add(&f->infos, &type, 4);
    str_add(&f->infos, &at, 8);
    for (size_t i = 0; !data && i < bytes; i++)
        str_add_char(&f->data, 0);
    if (data)
        str_add(&f->data, data, bytes);
    while (f->data.n % GGUF_MADE_ALIGN)
        str_add_char(&f->data, 0);
    f->n_tensors++;
}

static inline void gguf_made_tensor(struct gguf_made *f, const char *name, uint32_t type,
                                    uint64_t d0, uint64_t d1, const void *data)
{
    gguf_made_stack(f, name, type, d0, d1, 1, data);
}

/* The whole file; its size is f->all.n. */
static inline const void *gguf_made_end(struct gguf_made *f)
{
    uint32_t version = 3;
    str_clear(&f->all);
    str_add_cstr(&f->all, "GGUF");
    str_add(&f->all, &version, 4);
    str_add(&f->all, &f->n_tensors, 8);
    str_add(&f->all, &f->n_keys, 8);
    str_add_span(&f->all, str_span(&f->keys));
    str_add_span(&f->all, str_span(&f->infos));
    while (f->all.n % GGUF_MADE_ALIGN)
        str_add_char(&f->all, 0);
    str_add_span(&f->all, str_span(&f->data));
    return f->all.p;
}

#endif
