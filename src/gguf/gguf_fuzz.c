/* SPDX-License-Identifier: MIT
 * gguf_fuzz.c - any bytes as a GGUF file; what opens is read to its last byte. */
#include "gguf/gguf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile unsigned keep; /* so that the reads stay */

static unsigned read_span(struct span s)
{
    unsigned sum = 0;
    for (size_t i = 0; i < s.n; i++)
        sum += (unsigned char)s.p[i];
    return sum;
}

static unsigned read_key(const struct gguf_key *k)
{
    unsigned sum = read_span(k->name);
    if (k->kind == GGUF_STRING)
        return sum + read_span(k->s);
    if (k->kind != GGUF_ARRAY)
        return sum;
    for (size_t i = 0; i < k->a.n; i++)
        if (k->a.strings)
            sum += read_span(k->a.strings[i]);
        else
            sum += gguf_array_f64(&k->a, i) > 0 && gguf_array_i64(&k->a, i) > 0;
    return sum;
}

/* The typed reads, over a name that is there: most of them must refuse politely. */
static void read_typed(const struct gguf *g, const char *name)
{
    struct errinfo e;
    uint32_t u;
    float f;
    bool b;
    struct span s;
    const struct gguf_array *a;
    gguf_get_u32(g, name, 0, &u, &e);
    gguf_get_f32(g, name, 0, &f, &e);
    gguf_get_bool(g, name, false, &b, &e);
    gguf_get_str(g, name, SPAN(""), &s, &e);
    gguf_get_array(g, name, GGUF_U32, &a, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct gguf *g;
    struct errinfo e = {0};
    unsigned sum = 0;
    char name[GGUF_NAME_MAX + 1];
    if (gguf_open_bytes(&g, data, n, &e) != ERR_OK) {
        if (!e.text[0] || g)
            abort(); /* an error explains itself */
        return 0;
    }
    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        const struct gguf_key *k = gguf_key_at(g, i);
        sum += read_key(k);
        memcpy(name, k->name.p, k->name.n);
        name[k->name.n] = '\0';
        if (gguf_key(g, name) != k)
            abort(); /* the name table finds what is there */
        read_typed(g, name);
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        sum += read_span((struct span){(const char *)t->data, t->bytes});
    }
    gguf_close(g);
    keep = sum;
    return 0;
}
