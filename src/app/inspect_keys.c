/* SPDX-License-Identifier: MIT
 * inspect_keys.c - damso inspect keys: what a GGUF file says of itself. */
#include "app/cmd.h"

#include "base/num.h"
#include "hf/hf.h"

#include <stdio.h>

#define SHOWN_BYTES 200
#define SHOWN_ELEMS 6

static void print_text(struct span s)
{
    size_t n = utf8_complete((struct span){s.p, MIN(s.n, SHOWN_BYTES)});
    putchar('"');
    for (size_t i = 0, len; i < n; i += len) {
        utf8_get(s.p + i, n - i, &len);
        if (utf8_printable((struct span){s.p + i, len}))
            fwrite(s.p + i, 1, len, stdout);
        else if (s.p[i] == '\n')
            fputs("\\n", stdout);
        else
            for (size_t k = 0; k < len; k++)
                printf("\\x%02x", (unsigned char)s.p[i + k]);
    }
    printf(n < s.n ? "\"... (%zu bytes)" : "\"", s.n);
}

static void print_array(const struct gguf_array *a)
{
    printf("[");
    for (size_t i = 0; i < MIN(a->n, SHOWN_ELEMS); i++) {
        printf(i ? ", " : "");
        if (a->strings)
            print_text(a->strings[i]);
        else
            printf("%.9g", gguf_array_f64(a, i));
    }
    printf(a->n > SHOWN_ELEMS ? ", ...] (%zu)" : "] (%zu)", a->n);
}

static void print_key(const struct gguf_key *k)
{
    printf("%-44.*s %-6s ", (int)k->name.n, k->name.p, gguf_kind_name(k->kind));
    switch (k->kind) {
    case GGUF_STRING: print_text(k->s); break;
    case GGUF_ARRAY: print_array(&k->a); break;
    case GGUF_F32:
    case GGUF_F64: printf("%.9g", k->f); break;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64: printf("%lld", (long long)k->i); break;
    default: printf("%llu", (unsigned long long)k->u); break;
    }
    putchar('\n');
}

enum err inspect_keys(struct cmd_args *a, struct errinfo *e)
{
    TRY(cmd_parse(a, NULL, 0, 1, 1, e));
    if (a->done)
        return ERR_OK;
    struct gguf *g;
    TRY(hf_open(&g, a->left[0], e));
    for (size_t i = 0; i < gguf_n_keys(g); i++)
        print_key(gguf_key_at(g, i));
    gguf_close(g);
    return ERR_OK;
}
