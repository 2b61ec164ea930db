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
    if (w->t->kind == TOK_BPE)
        return tok_encode_bpe(w, s);
    tok_encode_spm(w, s);
    return ERR_OK;
}

/* Text without control tokens.  Literal user-defined tokens are cut out. */
static enum err encode_plain(struct tok_work *w, struct span s)
{
    const struct tok *t = w->t;
    unsigned types = t->kind == TOK_BPE ? 1u << TOK_USER : 0; /* spm finds them in escaped text */
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
    if (types && t->kind == TOK_BPE)
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

enum err tok_encode(const struct tok *t, struct span text, unsigned flags, struct tok_ids *out,
                    struct errinfo *e)
{
    if (text.n > TOK_TEXT_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "the text has %zu bytes; at most %zu can be made tokens",
                       text.n, TOK_TEXT_BYTES_MAX);
    struct tok_work w = {.t = t, .out = out, .e = e};
    str_init(&w.buf, 4 * TOK_TEXT_BYTES_MAX); /* NFC and U+2581 for spaces: at most three times */
    if ((flags & TOK_BOS) && t->add_bos && t->bos >= 0)
        tok_ids_add(out, t->bos);
    enum err err = encode_text(&w, text, flags);
    if (err == ERR_OK && (flags & TOK_BOS) && t->add_eos && t->eos >= 0)
        tok_ids_add(out, t->eos);
    mem_free(w.sym);
    mem_free(w.heap);
    mem_free(w.unused_left);
    tok_free_match(&w);
    str_done(&w.buf);
    return err;
}
