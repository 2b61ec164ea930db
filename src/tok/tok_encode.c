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

static enum err encode_text(struct tok_work *w, struct span s, unsigned flags)
{
    const struct tok *t = w->t;
    unsigned types = flags & TOK_SPECIAL ? 1u << TOK_CONTROL : 0;
    size_t from = 0, len = 0;
    if (t->kind == TOK_BPE)
        types |= 1u << TOK_USER; /* SentencePiece finds them in the escaped text */
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
