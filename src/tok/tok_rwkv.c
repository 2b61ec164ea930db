/* SPDX-License-Identifier: MIT
 * tok_rwkv.c - RWKV's world vocabulary: tokens are bytes, and the longest that matches is taken.
 * Files have the tokens as Python writes bytes: \\n, \\r, \\t, \\\\, \\' and \\x41. */
#include "tok/tok_int.h"

#include "base/num.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* s without escapes, into out[s.n]; SIZE_MAX where it is not well-formed. */
static size_t unescape(struct span s, char *out)
{
    static const char from[] = "nrt\\'\"", to[] = "\n\r\t\\'\"";
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '\\') {
            out[n++] = s.p[i];
            continue;
        }
        if (++i == s.n)
            return SIZE_MAX;
        if (s.p[i] == 'x') {
            if (s.n - i < 3 || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
                return SIZE_MAX;
            out[n++] = (char)(hex(s.p[i + 1]) * 16 + hex(s.p[i + 2]));
            i += 2;
            continue;
        }
        const char *c = s.p[i] ? strchr(from, s.p[i]) : NULL;
        if (!c)
            return SIZE_MAX;
        out[n++] = to[c - from];
    }
    return n;
}

enum err tok_open_rwkv(struct tok *t, struct errinfo *e)
{
    struct span *piece = arena_array(&t->arena, (size_t)t->n, sizeof *piece);
    t->longest = 0;
    for (int32_t id = 0; id < t->n; id++) {
        struct span s = t->piece[id];
        piece[id] = s;
        if (TOK_TYPE(t, id) == TOK_NORMAL && s.n) {
            char *p = arena_alloc(&t->arena, s.n);
            size_t n = unescape(s, p);
            if (n == SIZE_MAX)
                return err_set(e, ERR_CORRUPT, "%s: token %d has an escape that is not known: %.*s",
                               gguf_path(t->g), id, (int)MIN(s.n, 64), s.p);
            piece[id] = (struct span){p, n};
        }
        t->longest = MAX(t->longest, piece[id].n);
    }
    t->piece = piece;
    return ERR_OK;
}

void tok_encode_rwkv(struct tok_work *w, struct span s)
{
    for (size_t i = 0, len; i < s.n; i += len) {
        len = 1;
        int32_t id = tok_list_longest(&w->t->words, (struct span){s.p + i, s.n - i}, &len);
        if (id >= 0) /* published vocabularies have every byte */
            tok_ids_add(w->out, id);
    }
}
