/* SPDX-License-Identifier: MIT
 * tok_spm.c - SentencePiece BPE: whole text is merged by the scores of the pieces that pairs of
 * symbols spell; what stays unknown is written as bytes.  Follows sentencepiece (github.com/google/
 * sentencepiece).  TOK_CHARS is the same with a list of pairs for the scores, and merges bytes too,
 * as Hugging Face's BPE with byte_fallback. */
#include "tok/tok_int.h"

#include "base/num.h"

#define MERGEABLE (1u << TOK_NORMAL | 1u << TOK_USER | 1u << TOK_UNUSED)

/* The token of a text that merging may produce, or -1. */
static int32_t find_mergeable(const struct tok *t, struct span s)
{
    int32_t id = s.n <= t->longest ? tok_find(t, s) : -1;
    return id >= 0 && (MERGEABLE >> TOK_TYPE(t, id) & 1) ? id : -1;
}

int32_t tok_pair_spm(const struct tok_work *w, const struct tok_sym *l, const struct tok_sym *r,
                     uint32_t *prio)
{
    int32_t id = find_mergeable(w->t, (struct span){w->text + l->at, (size_t)l->n + r->n});
    if (id >= 0)
        *prio = w->t->prio[id];
    return id;
}

/* Floats as integers of the same order, turned round: the highest score is merged first.  NaN has
 * no order of its own and goes last. */
static uint32_t score_prio(float score)
{
    uint32_t bits;
    if (score != score)
        return UINT32_MAX;
    score += 0.0f; /* -0 equals 0 */
    memcpy(&bits, &score, sizeof bits);
    return ~(bits ^ (bits >> 31 ? UINT32_MAX : 0x80000000u));
}

static enum err read_scores(struct tok *t, struct errinfo *e)
{
    const struct gguf_array *a;
    TRY(tok_read_scores(t, &a, e));
    t->prio = arena_array(&t->arena, a->n, sizeof *t->prio);
    for (size_t i = 0; i < a->n; i++) {
        float f;
        memcpy(&f, a->data + 4 * i, sizeof f);
        t->prio[i] = score_prio(f);
    }
    return ERR_OK;
}

enum err tok_open_spm(struct tok *t, struct errinfo *e)
{
    bool chars = t->kind == TOK_CHARS;
    if (!chars) {
        TRY(read_scores(t, e));
        tok_index_fixed(t);
    }
    TRY(tok_open_norm(t, !chars, false, e));
    for (int c = 0; c < 128; c++)
        t->ascii_id[c] = find_mergeable(t, (struct span){&(char){(char)c}, 1});
    memset(t->byte_id, 0xff, sizeof t->byte_id);
    for (int32_t id = t->n; id-- > 0;)
        if (tok_byte_written(t->piece[id]) >= 0) {
            if (chars && TOK_TYPE(t, id) == TOK_NORMAL) /* the reference knows them by their form */
                t->attr[id] ^= TOK_NORMAL ^ TOK_BYTE;
            if (TOK_TYPE(t, id) == TOK_BYTE)
                t->byte_id[tok_byte_written(t->piece[id])] = id;
        }
    return ERR_OK;
}

/* Unused tokens take part in merges, but come apart again in the end as they were put together. */
static void put_unused(struct tok_work *w, struct span s)
{
    struct span todo[TOK_PIECE_BYTES_MAX]; /* each is shorter than the one before */
    size_t n = 0;
    todo[n++] = s;
    while (n) {
        s = todo[--n];
        int32_t id = find_mergeable(w->t, s);
        size_t left = id >= 0 && TOK_TYPE(w->t, id) == TOK_UNUSED && w->unused_left
                          ? w->unused_left[id]
                          : 0;
        if (left > 0 && left < s.n) {
            todo[n++] = (struct span){s.p + left, s.n - left};
            todo[n++] = (struct span){s.p, left};
        } else if (id >= 0) {
            tok_put_id(w, id);
        } else {
            tok_put_unknown(w, s);
        }
    }
}

/* A character that is no token is its bytes' tokens, which may merge, unless one of them lacks. */
static bool add_byte_syms(struct tok_work *w, struct span s, size_t at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (w->t->byte_id[(unsigned char)s.p[at + i]] < 0)
            return false;
    for (size_t i = 0; i < len; i++)
        tok_add_sym(w, at + i, 1, w->t->byte_id[(unsigned char)s.p[at + i]]);
    return true;
}

static void merge_segment(struct tok_work *w, struct span s)
{
    const struct tok *t = w->t;
    size_t len;
    w->n_sym = 0;
    w->text = s.p;
    for (size_t i = 0; i < s.n; i += len) {
        unsigned char c = (unsigned char)s.p[i];
        len = 1;
        if (c >= 0x80)
            utf8_get(s.p + i, s.n - i, &len);
        int32_t id = c < 0x80 ? t->ascii_id[c] : find_mergeable(t, (struct span){s.p + i, len});
        if (id >= 0 || t->kind != TOK_CHARS || !add_byte_syms(w, s, i, len))
            tok_add_sym(w, i, len, id);
    }
    if (w->n_sym == 0)
        return;
    tok_merge_syms(w);
    for (uint32_t i = 0; i != TOK_NONE; i = w->sym[i].next) {
        const struct tok_sym *y = &w->sym[i];
        struct span text = {s.p + y->at, y->n};
        if (y->id < 0)
            tok_put_unknown(w, text);
        else if (TOK_TYPE(t, y->id) == TOK_UNUSED && t->kind == TOK_SPM)
            put_unused(w, text);
        else
            tok_put_id(w, y->id);
    }
}

enum err tok_encode_spm(struct tok_work *w, struct span s)
{
    const struct tok *t = w->t;
    /* of TOK_CHARS they are found before spaces are rewritten */
    unsigned types = t->kind == TOK_SPM ? 1u << TOK_USER : 0;
    TRY(tok_escape(w, s));
    s = str_span(&w->buf);
    w->was_unk = false;
    size_t from = 0, i = 0, len = 0;
    while (i < s.n) {
        struct span rest = {s.p + i, s.n - i};
        int32_t id = types ? tok_match_fixed(t, rest, types, &len) : -1;
        if (id >= 0 || (i > from && tok_cuts_at(t, s, i))) {
            merge_segment(w, (struct span){s.p + from, i - from});
            from = i;
        }
        if (id >= 0) {
            tok_put_id(w, id);
            from = i = i + len;
            continue;
        }
        len = 1;
        if ((unsigned char)s.p[i] >= 0x80)
            utf8_get(s.p + i, s.n - i, &len);
        i += len;
    }
    merge_segment(w, (struct span){s.p + from, s.n - from});
    return ERR_OK;
}
