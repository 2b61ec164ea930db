/* SPDX-License-Identifier: MIT
 * tok_wpm.c - WordPiece with BERT's basic tokenizer, as Hugging Face's BertNormalizer,
 * BertPreTokenizer and WordPiece do it: words and single marks of punctuation, without control
 * characters and, as the file asks, case and accents; of each the longest token that it begins
 * with, and so on.  GGUF writes a token that begins a word with U+2581 before it, and one that
 * goes on ("##") bare. */
#include "tok/tok_int.h"

#include "base/num.h"

#include <utf8proc.h>

#define WORD_CHARS_MAX 100 /* a longer word is unknown */

enum err tok_open_wpm(struct tok *t, struct errinfo *e)
{
    if (t->bos < 0)
        t->bos = tok_find(t, SPAN("[CLS]"));
    if (t->sep < 0)
        t->sep = tok_find(t, SPAN("[SEP]"));
    if (t->unk < 0)
        t->unk = tok_find(t, SPAN("[UNK]"));
    TRY(gguf_get_bool(t->g, "tokenizer.ggml.normalizer.lowercase", true, &t->lower, e));
    TRY(gguf_get_bool(t->g, "tokenizer.ggml.normalizer.strip_accents", t->lower, &t->strip_accents,
                      e));
    tok_index_fixed(t);
    tok_list_init(t, &t->words, 1u << TOK_NORMAL | 1u << TOK_USER | 1u << TOK_UNUSED);
    return ERR_OK;
}

static bool is_white(int32_t cp)
{
    utf8proc_category_t c = utf8proc_category(cp);
    return (cp >= '\t' && cp <= '\r') || cp == 0x85 || c == UTF8PROC_CATEGORY_ZS ||
           c == UTF8PROC_CATEGORY_ZL || c == UTF8PROC_CATEGORY_ZP;
}

static bool is_dropped(int32_t cp)
{
    utf8proc_category_t c = utf8proc_category(cp);
    return cp == 0xfffd || c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CF ||
           c == UTF8PROC_CATEGORY_CO;
}

/* CJK ideographs are words; the ranges are the reference's, U+2B920 included. */
static bool is_cjk(int32_t cp)
{
    static const int32_t ranges[][2] = {
        {0x4e00,  0x9fff },
        {0x3400,  0x4dbf },
        {0x20000, 0x2a6df},
        {0x2a700, 0x2b73f},
        {0x2b740, 0x2b81f},
        {0x2b920, 0x2ceaf},
        {0xf900,  0xfaff },
        {0x2f800, 0x2fa1f},
    };
    for (size_t i = 0; i < N_ELEMS(ranges); i++)
        if (cp >= ranges[i][0] && cp <= ranges[i][1])
            return true;
    return false;
}

static bool is_punct(int32_t cp)
{
    utf8proc_category_t c = utf8proc_category(cp);
    if (cp < 0x80)
        return cp > ' ' && cp < 0x7f && c != UTF8PROC_CATEGORY_LU && c != UTF8PROC_CATEGORY_LL &&
               c != UTF8PROC_CATEGORY_ND;
    return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

/* w->buf: U+2581 and the word.  Its tokens, or the unknown token. */
static void put_word(struct tok_work *w, size_t n_chars)
{
    const struct tok *t = w->t;
    struct span rest = str_span(&w->buf);
    size_t n_before = w->out->n;
    bool whole = n_chars <= WORD_CHARS_MAX, first = true;
    while (whole && (first || rest.n)) {
        size_t len = 0;
        /* what goes on with U+2581 looks like a word in the file: only the bare one is none */
        bool other = !first && span_starts(rest, SPAN(TOK_SPACE));
        struct span s = other ? SPAN(TOK_SPACE) : rest;
        int32_t id = tok_list_longest(&t->words, s, &len);
        whole = id >= 0 && len > (first ? TOK_SPACE_LEN : 0);
        if (whole)
            tok_ids_add(w->out, id);
        rest = (struct span){rest.p + len, rest.n - len};
        first = false;
    }
    if (whole)
        return;
    w->out->n = n_before;
    if (t->unk >= 0)
        tok_ids_add(w->out, t->unk);
}

static void put_cps(struct tok_work *w, const int32_t *p, size_t n)
{
    char form[4];
    if (n == 0)
        return;
    str_clear(&w->buf);
    str_add_cstr(&w->buf, TOK_SPACE);
    for (size_t i = 0; i < n && i <= WORD_CHARS_MAX; i++)
        str_add(&w->buf, form, utf8_put(form, (uint32_t)p[i]));
    put_word(w, n);
}

/* Full lower case without context: one character has two. */
static void add_lower(struct tok_cps *c, int32_t cp)
{
    if (cp == 0x130) {
        tok_cps_add(c, 'i');
        tok_cps_add(c, 0x307);
    } else {
        tok_cps_add(c, utf8proc_tolower(cp));
    }
}

/* w->cps: characters between spaces.  Normalises them and puts their words. */
static void put_run(struct tok_work *w)
{
    const struct tok *t = w->t;
    struct tok_cps done = {0};
    size_t from = 0;
    if (w->cps.n == 0)
        return;
    if (t->strip_accents)
        tok_order_marks(&w->cps);
    for (size_t i = 0; i < w->cps.n; i++) {
        int32_t cp = w->cps.p[i];
        if (t->strip_accents && utf8proc_category(cp) == UTF8PROC_CATEGORY_MN)
            continue;
        if (t->lower)
            add_lower(&done, cp);
        else
            tok_cps_add(&done, cp);
    }
    for (size_t i = 0; i < done.n; i++) {
        bool white = is_white(done.p[i]);
        if (!white && !is_punct(done.p[i]))
            continue;
        put_cps(w, done.p + from, i - from);
        if (!white)
            put_cps(w, done.p + i, 1);
        from = i + 1;
    }
    if (from < done.n)
        put_cps(w, done.p + from, done.n - from);
    mem_free(done.p);
    w->cps.n = 0;
}

static void add_cp(struct tok_work *w, int32_t cp)
{
    if (w->t->strip_accents)
        tok_decompose(&w->cps, cp);
    else
        tok_cps_add(&w->cps, cp);
}

enum err tok_encode_wpm(struct tok_work *w, struct span s)
{
    for (size_t i = 0, len; i < s.n; i += len) {
        len = 1;
        int32_t cp = utf8_get(s.p + i, s.n - i, &len);
        if (cp < 0) {
            len = 1; /* reads as U+FFFD */
            continue;
        }
        bool dropped = is_dropped(cp) && cp != '\t' && cp != '\n' && cp != '\r';
        if (dropped)
            continue;
        if (is_white(cp)) {
            put_run(w);
        } else if (is_cjk(cp)) {
            put_run(w);
            add_cp(w, cp);
            put_run(w);
        } else {
            add_cp(w, cp);
        }
    }
    put_run(w);
    return ERR_OK;
}
