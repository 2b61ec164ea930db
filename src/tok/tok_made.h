/* SPDX-License-Identifier: MIT
 * tok_made.h - for the tests and the fuzzer: writes vocabulary-only GGUF files in memory.
 *
 *     struct made m;
 *     made_begin(&m);
 *     made_str(&m, "tokenizer.ggml.model", SPAN("gpt2"));
 *     ...
 *     gguf_open_bytes(&g, made_end(&m), m.s.n, &e);   made_done(&m) after gguf_close */
#ifndef TOK_TOK_MADE_H
#define TOK_TOK_MADE_H

#include "base/str.h"
#include "gguf/gguf.h"

#include <string.h>

#define MADE_COUNT_AT 16 /* of the keys, in the header */

struct made {
    struct str s;
    uint64_t n_keys;
};

static inline void made_u32(struct made *m, uint32_t v)
{
    str_add(&m->s, &v, 4); /* little-endian machines only, as GGUF is */
}

static inline void made_u64(struct made *m, uint64_t v)
{
    str_add(&m->s, &v, 8);
}

static inline void made_text(struct made *m, struct span x)
{
    made_u64(m, x.n);
    str_add_span(&m->s, x);
}

static inline void made_begin(struct made *m)
{
    *m = (struct made){0};
    str_init(&m->s, (size_t)1 << 28);
    str_add_cstr(&m->s, "GGUF");
    made_u32(m, 3);
    made_u64(m, 0);
    made_u64(m, 0);
}

static inline void made_key(struct made *m, const char *name, enum gguf_kind kind)
{
    made_text(m, span_of(name));
    made_u32(m, (uint32_t)kind);
    m->n_keys++;
}

static inline void made_str(struct made *m, const char *name, struct span value)
{
    made_key(m, name, GGUF_STRING);
    made_text(m, value);
}

static inline void made_id(struct made *m, const char *name, uint32_t value)
{
    made_key(m, name, GGUF_U32);
    made_u32(m, value);
}

static inline void made_bool(struct made *m, const char *name, bool value)
{
    made_key(m, name, GGUF_BOOL);
    str_add_char(&m->s, value);
}

static inline void made_strings(struct made *m, const char *name, const struct span *x, size_t n)
{
    made_key(m, name, GGUF_ARRAY);
    made_u32(m, GGUF_STRING);
    made_u64(m, n);
    for (size_t i = 0; i < n; i++)
        made_text(m, x[i]);
}

/* Elements of four bytes: GGUF_I32 or GGUF_F32. */
static inline void made_numbers(struct made *m, const char *name, enum gguf_kind kind,
                                const void *x, size_t n)
{
    made_key(m, name, GGUF_ARRAY);
    made_u32(m, (uint32_t)kind);
    made_u64(m, n);
    str_add(&m->s, x, 4 * n);
}

static inline const char *made_end(struct made *m)
{
    memcpy(m->s.p + MADE_COUNT_AT, &m->n_keys, sizeof m->n_keys);
    return m->s.p;
}

static inline void made_done(struct made *m)
{
    str_done(&m->s);
}

#endif
