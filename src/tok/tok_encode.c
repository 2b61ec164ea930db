/* SPDX-License-Identifier: MIT
 * tok_encode.c - text to ids: literal tokens are cut out, the text between goes to the model. */
#include "tok/tok_int.h"

#include "base/num.h"

void tok_ids_add(struct tok_ids *ids, int32_t id)
{
    if (ids->n == ids->cap) {
        ids->cap = MAX(2 * ids->cap, 64);
        ids->id = mem_grow(ids->id, ids->cap * sizeof *ids->id);
    }
    ids->id[ids->n++] = id;
}

void tok_ids_done(struct tok_ids *ids)
{
    mem_free(ids->id);
    *ids = (struct tok_ids){0};
}

static enum err encode_between(struct tok_work *w, struct span s)
{
    if (s.n == 0)
        return ERR_OK;
    switch (w->t->kind) {
    case TOK_BPE: return tok_encode_bpe(w, s);
    case TOK_SPM:
    case TOK_CHARS: return tok_encode_spm(w, s);
    case TOK_UGM: return tok_encode_ugm(w, s);
    case TOK_WPM: return tok_encode_wpm(w, s);
    case TOK_RWKV: tok_encode_rwkv(w, s);
    }
    return ERR_OK;
}

/* User-defined tokens are found in the text as it is written; SentencePiece finds them in escaped
 * text, and WordPiece vocabularies have them written otherwise than the text. */
static bool user_cuts(const struct tok *t)
{
    return t->kind == TOK_BPE || t->kind == TOK_CHARS || t->kind == TOK_RWKV;
}

/* Text without control tokens.  Literal user-defined tokens are cut out. */
static enum err encode_plain(struct tok_work *w, struct span s)
{
    const struct tok *t = w->t;
    unsigned types = user_cuts(t) ? 1u << TOK_USER : 0;
    size_t from = 0, len = 0;
    for (size_t i = 0; types && i < s.n;) {
        int32_t id = tok_match_fixed(t, (struct span){s.p + i, s.n - i}, types, &len);
        if (id < 0) {
            i++;
            continue;
        }
        TRY(encode_between(w, (struct span){s.p + from, i - from}));
        tok_ids_add(w->out, id);
        from = i = i + len;
    }
    return encode_between(w, (struct span){s.p + from, s.n - from});
}

static enum err encode_marked(struct tok_work *w, struct span s, unsigned flags)
{
    struct str plain;
    size_t at = 0, mark;
    if (!(flags & TOK_MARKED) || span_find(s, SPAN(TOK_MARK), 0) == SIZE_MAX)
        return encode_plain(w, s);
    str_init(&plain, TOK_TEXT_BYTES_MAX);
    while ((mark = span_find(s, SPAN(TOK_MARK), at)) != SIZE_MAX) {
        str_add(&plain, s.p + at, mark - at);
        at = mark + strlen(TOK_MARK);
    }
    str_add(&plain, s.p + at, s.n - at);
    enum err err = encode_plain(w, str_span(&plain));
    str_done(&plain);
    return err;
}

/* Cuts control tokens out; user-defined ones compete with them for the text, and are found again
 * in what lies between. */
static enum err encode_text(struct tok_work *w, struct span s, unsigned flags)
{
    const struct tok *t = w->t;
    unsigned types = flags & TOK_SPECIAL ? 1u << TOK_CONTROL : 0;
    size_t from = 0, len = 0;
    if (types && user_cuts(t))
        types |= 1u << TOK_USER;
    for (size_t i = 0; types && i < s.n;) {
        int32_t id = tok_match_fixed(t, (struct span){s.p + i, s.n - i}, types, &len);
        if (id < 0) {
            i++;
            continue;
        }
        if (TOK_TYPE(t, id) == TOK_CONTROL) {
            TRY(encode_marked(w, (struct span){s.p + from, i - from}, flags));
            tok_ids_add(w->out, id);
            from = i + len;
        }
        i += len;
    }
    return encode_marked(w, (struct span){s.p + from, s.n - from}, flags);
}

/* What ends a text. */
static int32_t end_of(const struct tok *t)
{
    return t->kind == TOK_WPM && t->sep >= 0 ? t->sep : t->eos;
}

enum err tok_encode(const struct tok *t, struct span text, unsigned flags, struct tok_ids *out,
                    struct errinfo *e)
{
    if (text.n > TOK_TEXT_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "the text has %zu bytes; at most %zu can be made tokens",
                       text.n, TOK_TEXT_BYTES_MAX);
    struct tok_work w = {.t = t, .out = out, .e = e};
    str_init(&w.buf, 4 * TOK_TEXT_BYTES_MAX); /* NFC and U+2581 for spaces: at most three times;
                                                  a charsmap can need more, and fails then */
    if ((flags & TOK_BOS) && t->add_bos && t->bos >= 0)
        tok_ids_add(out, t->bos);
    w.n_before = out->n;
    enum err err = encode_text(&w, text, flags);
    if (err == ERR_OK && (flags & TOK_BOS) && t->add_eos && end_of(t) >= 0)
        tok_ids_add(out, end_of(t));
    mem_free(w.sym);
    mem_free(w.heap);
    mem_free(w.unused_left);
    mem_free(w.node);
    mem_free(w.cps.p);
    tok_free_match(&w);
    str_done(&w.buf);
    return err;
}

enum err tok_encode_pair(const struct tok *t, struct span a, struct span b, size_t most,
                         struct tok_ids *out, size_t *second, struct errinfo *e)
{
    int32_t end = end_of(t);
    size_t before = out->n, n_ends = t->add_eos && end >= 0 ? 1 : 0;
    if (t->add_bos && t->bos >= 0)
        tok_ids_add(out, t->bos);
    TRY(tok_encode(t, a, 0, out, e));
    /* A pair is divided whether or not a text alone would be ended. */
    int32_t between = end >= 0 ? end : t->sep;
    for (int i = 0; between >= 0 && i < 1 + t->add_sep; i++)
        tok_ids_add(out, between);
    size_t n = out->n - before;
    *second = t->kind == TOK_WPM ? out->n : 0;
    if (n + n_ends >= most)
        return err_set(e, ERR_CONTEXT,
                       "the first text has %zu tokens, and only %zu are left for both", n, most);
    TRY(tok_encode(t, b, 0, out, e));
    if (out->n - before > most - n_ends)
        out->n = before + most - n_ends;
    if (n_ends)
        tok_ids_add(out, end);
    return ERR_OK;
}
