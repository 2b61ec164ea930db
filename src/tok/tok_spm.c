/* SPDX-License-Identifier: MIT
 * tok_spm.c - SentencePiece BPE: whole text is merged by the scores of the pieces that pairs of
 * symbols spell; what stays unknown is written as bytes.  Follows sentencepiece (github.com/google/
 * sentencepiece) with the normalizer "identity", which the models that GGUF calls "llama" have. */
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
    TRY(gguf_get_array(t->g, "tokenizer.ggml.scores", GGUF_F32, &a, e));
    if (!a || a->n != (size_t)t->n)
        return err_set(e, ERR_CORRUPT, "%s: tokenizer.ggml.scores has %zu elements for %d tokens",
                       gguf_path(t->g), a ? a->n : 0, t->n);
    t->prio = arena_array(&t->arena, a->n, sizeof *t->prio);
    for (size_t i = 0; i < a->n; i++) {
        float f;
        memcpy(&f, a->data + 4 * i, sizeof f);
        t->prio[i] = score_prio(f);
    }
    return ERR_OK;
}

/* Text may be cut before U+2581 where no token has a U+2581 after that byte: nothing can merge
 * across.  In most vocabularies that leaves words, which merge much faster than whole texts. */
static void index_cuts(struct tok *t)
{
    for (int32_t id = 0; id < t->n; id++) {
        struct span s = t->piece[id];
        if (TOK_TYPE(t, id) != TOK_NORMAL && TOK_TYPE(t, id) != TOK_UNUSED)
            continue;
        for (size_t i = 1; i + TOK_SPACE_LEN <= s.n; i++)
            if (s.p[i] == TOK_SPACE[0] && memcmp(s.p + i, TOK_SPACE, TOK_SPACE_LEN) == 0)
                t->no_cut[(unsigned char)s.p[i - 1]] = true;
    }
}

enum err tok_open_spm(struct tok *t, struct errinfo *e)
{
    TRY(read_scores(t, e));
    TRY(gguf_get_bool(t->g, "tokenizer.ggml.add_space_prefix", true, &t->add_space, e));
    TRY(gguf_get_bool(t->g, "tokenizer.ggml.remove_extra_whitespaces", false, &t->trim_spaces, e));
    tok_index_fixed(t, true);
    index_cuts(t);
    for (int c = 0; c < 128; c++)
        t->ascii_id[c] = find_mergeable(t, (struct span){&(char){(char)c}, 1});
    memset(t->byte_id, 0xff, sizeof t->byte_id);
    for (int32_t id = t->n; id-- > 0;)
        if (TOK_TYPE(t, id) == TOK_BYTE && tok_byte_written(t->piece[id]) >= 0)
            t->byte_id[tok_byte_written(t->piece[id])] = id;
    return ERR_OK;
}

/* The normalizer: spaces become U+2581, one more before the text, ill-formed bytes U+FFFD. */
static void escape_text(struct tok_work *w, struct span s)
{
    const struct tok *t = w->t;
    struct str *out = &w->buf;
    size_t len;
    bool after_space = false;
    str_clear(out);
    for (; t->trim_spaces && s.n && s.p[0] == ' '; s.n--)
        s.p++;
    if (s.n && t->add_space)
        str_add(out, TOK_SPACE, TOK_SPACE_LEN);
    for (size_t i = 0; i < s.n; i += len) {
        bool space = s.p[i] == ' ';
        len = 1;
        if (space) {
            if (!after_space)
                str_add(out, TOK_SPACE, TOK_SPACE_LEN);
        } else if ((unsigned char)s.p[i] < 0x80) {
            str_add_char(out, s.p[i]);
        } else if (utf8_get(s.p + i, s.n - i, &len) >= 0) {
            str_add(out, s.p + i, len);
        } else {
            str_add_cstr(out, "\xef\xbf\xbd");
            len = 1; /* one for each byte, not for each maximal subpart */
        }
        after_space = space && t->trim_spaces;
    }
    while (t->trim_spaces && span_ends(str_span(out), SPAN(TOK_SPACE)))
        out->n -= TOK_SPACE_LEN;
    CHECK(!out->full);
}

static void put_id(struct tok_work *w, int32_t id)
{
    w->was_unk = false;
    tok_ids_add(w->out, id);
}

/* A text that is no token: its bytes, or one unknown token for all unknown text in a row. */
static void put_unknown(struct tok_work *w, struct span s)
{
    const struct tok *t = w->t;
    for (size_t i = 0; i < s.n; i++) {
        int32_t id = t->byte_id[(unsigned char)s.p[i]];
        if (id >= 0) {
            put_id(w, id);
        } else if (t->unk >= 0 && !w->was_unk) {
            put_id(w, t->unk);
            w->was_unk = true;
        }
    }
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
            put_id(w, id);
        } else {
            put_unknown(w, s);
        }
    }
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
        tok_add_sym(w, i, len,
                    c < 0x80 ? t->ascii_id[c] : find_mergeable(t, (struct span){s.p + i, len}));
    }
    if (w->n_sym == 0)
        return;
    tok_merge_syms(w);
    for (uint32_t i = 0; i != TOK_NONE; i = w->sym[i].next) {
        const struct tok_sym *y = &w->sym[i];
        struct span text = {s.p + y->at, y->n};
        if (y->id < 0)
            put_unknown(w, text);
        else if (TOK_TYPE(t, y->id) == TOK_UNUSED)
            put_unused(w, text);
        else
            put_id(w, y->id);
    }
}

void tok_encode_spm(struct tok_work *w, struct span s)
{
    const struct tok *t = w->t;
    escape_text(w, s);
    s = str_span(&w->buf);
    w->was_unk = false;
    size_t from = 0, i = 0, len = 0;
    while (i < s.n) {
        struct span rest = {s.p + i, s.n - i};
        int32_t id = tok_match_fixed(t, rest, 1u << TOK_USER, &len);
        bool cut = i > from && !t->no_cut[(unsigned char)s.p[i - 1]] && s.p[i] == TOK_SPACE[0] &&
                   span_starts(rest, SPAN(TOK_SPACE));
        if (id >= 0 || cut) {
            merge_segment(w, (struct span){s.p + from, i - from});
            from = i;
        }
        if (id >= 0) {
            put_id(w, id);
            from = i = i + len;
            continue;
        }
        len = 1;
        if ((unsigned char)s.p[i] >= 0x80)
            utf8_get(s.p + i, s.n - i, &len);
        i += len;
    }
    merge_segment(w, (struct span){s.p + from, s.n - from});
}
