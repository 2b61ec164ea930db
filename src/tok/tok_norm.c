/* SPDX-License-Identifier: MIT
 * tok_norm.c - SentencePiece's normalizer: the charsmap of the file, if it has one, then spaces.
 * Follows sentencepiece's normalizer (github.com/google/sentencepiece); the double array is that
 * of darts-clone (github.com/s-yata/darts-clone). */
#include "tok/tok_int.h"

#include "base/num.h"

/* Of the charsmap: published ones have some 40 bytes of each; bounds hostile cycles and texts. */
#define KEY_BYTES_MAX  256
#define TEXT_BYTES_MAX 1024

/* Text may be cut before U+2581 where no token has a U+2581 after that byte: nothing can merge
 * across.  In most vocabularies that leaves words, which merge much faster than whole texts. */
static void index_cuts(struct tok *t)
{
    for (int32_t id = 0; id < t->n; id++) {
        struct span s = t->piece[id];
        bool joins = TOK_TYPE(t, id) == TOK_NORMAL || TOK_TYPE(t, id) == TOK_UNUSED ||
                     (t->kind == TOK_UGM && TOK_TYPE(t, id) == TOK_USER);
        if (!joins)
            continue;
        for (size_t i = 1; i + TOK_SPACE_LEN <= s.n; i++)
            if (s.p[i] == TOK_SPACE[0] && memcmp(s.p + i, TOK_SPACE, TOK_SPACE_LEN) == 0)
                t->no_cut[(unsigned char)s.p[i - 1]] = true;
    }
}

bool tok_cuts_at(const struct tok *t, struct span s, size_t i)
{
    return !t->no_cut[(unsigned char)s.p[i - 1]] && s.p[i] == TOK_SPACE[0] &&
           span_starts((struct span){s.p + i, s.n - i}, SPAN(TOK_SPACE));
}

/* Bytes: the size of the double array (u32), the array, the texts. */
static enum err read_charsmap(struct tok *t, struct errinfo *e)
{
    const char *key = "tokenizer.ggml.precompiled_charsmap";
    const struct gguf_key *k = gguf_key(t->g, key);
    uint32_t size = 0;
    if (!k)
        return ERR_OK;
    bool bytes = k->kind == GGUF_ARRAY && (k->a.kind == GGUF_U8 || k->a.kind == GGUF_I8);
    if (!bytes)
        return err_set(e, ERR_CORRUPT, "%s: %s is no array of bytes", gguf_path(t->g), key);
    if (k->a.n == 0)
        return ERR_OK;
    if (k->a.n > sizeof size)
        memcpy(&size, k->a.data, sizeof size);
    if (size == 0 || size % 4 != 0 || size > k->a.n - sizeof size)
        return err_set(e, ERR_CORRUPT, "%s: %s: the array's size is %u of %zu bytes",
                       gguf_path(t->g), key, size, k->a.n);
    size_t n_to = k->a.n - sizeof size - size;
    uint32_t *unit = arena_array(&t->arena, size / 4, sizeof *unit);
    char *to = arena_alloc(&t->arena, n_to + 1);
    memcpy(unit, k->a.data + sizeof size, size);
    memcpy(to, k->a.data + sizeof size + size, n_to);
    to[n_to] = 0;
    for (size_t i = 0, n; i < n_to; i += n + 1)
        if ((n = strlen(to + i)) > TEXT_BYTES_MAX)
            return err_set(e, ERR_CORRUPT, "%s: %s has a text of %zu bytes; at most %d can be read",
                           gguf_path(t->g), key, n, TEXT_BYTES_MAX);
    t->charsmap = (struct tok_charsmap){
        unit, size / 4, {to, n_to}
    };
    return ERR_OK;
}

enum err tok_open_norm(struct tok *t, bool add_space, bool trim_spaces, struct errinfo *e)
{
    TRY(gguf_get_bool(t->g, "tokenizer.ggml.add_space_prefix", add_space, &t->add_space, e));
    TRY(gguf_get_bool(t->g, "tokenizer.ggml.remove_extra_whitespaces", trim_spaces, &t->trim_spaces,
                      e));
    TRY(gguf_get_bool(t->g, TOK_KEY_SPACE_ONCE, false, &t->space_once, e));
    TRY(gguf_get_bool(t->g, TOK_KEY_SPACE_MISSING, false, &t->space_missing, e));
    index_cuts(t);
    return read_charsmap(t, e);
}

enum err tok_read_scores(struct tok *t, const struct gguf_array **out, struct errinfo *e)
{
    TRY(gguf_get_array(t->g, "tokenizer.ggml.scores", GGUF_F32, out, e));
    if (!*out || (*out)->n != (size_t)t->n)
        return err_set(e, ERR_CORRUPT, "%s: tokenizer.ggml.scores has %zu elements for %d tokens",
                       gguf_path(t->g), *out ? (*out)->n : 0, t->n);
    return ERR_OK;
}

/* A unit's fields: bit 8 says that the node has a value (in the unit at its offset), bits 0 to 7
 * and 31 are its label, 10 to 30 the offset, which bit 9 shifts by 8. */
static uint32_t unit_offset(uint32_t u)
{
    return u >> 10 << ((u & 1u << 9) >> 6);
}

/* What the longest text that s begins with and that the map has becomes; its bytes in *len. */
static bool map_text(const struct tok_charsmap *m, struct span s, size_t *len, struct span *to)
{
    uint32_t pos = unit_offset(m->unit[0]), value = TOK_NONE;
    for (size_t i = 0; i < s.n && i < KEY_BYTES_MAX; i++) {
        unsigned char c = (unsigned char)s.p[i];
        pos ^= c;
        if (c == 0 || pos >= m->n || (m->unit[pos] & (1u << 31 | 0xff)) != c)
            break;
        uint32_t u = m->unit[pos];
        pos ^= unit_offset(u);
        if (pos >= m->n)
            break;
        if (u & 1u << 8) {
            value = m->unit[pos] & 0x7fffffff;
            *len = i + 1;
        }
    }
    if (value >= m->to.n)
        return false;
    *to = span_of(m->to.p + value);
    return true;
}

/* What the beginning of s becomes, before spaces are rewritten; its bytes in *used. */
static struct span next_text(const struct tok *t, struct span s, size_t *used)
{
    struct span to;
    *used = 1;
    if (t->charsmap.unit) {
        if (tok_match_fixed(t, s, 1u << TOK_USER, used) >= 0)
            return (struct span){s.p, *used};
        *used = 1;
        if (map_text(&t->charsmap, s, used, &to))
            return to;
    }
    if ((unsigned char)s.p[0] < 0x80 || utf8_get(s.p, s.n, used) >= 0)
        return (struct span){s.p, *used};
    *used = 1; /* one for each byte, not for each maximal subpart */
    return SPAN("\xef\xbf\xbd");
}

static struct span skip(struct span s, size_t n)
{
    return (struct span){s.p + n, s.n - n};
}

static bool gets_space(const struct tok_work *w, struct span s)
{
    const struct tok *t = w->t;
    if (!t->add_space || s.n == 0 || (t->space_once && w->out->n > w->n_before))
        return false;
    return !t->space_missing || (s.p[0] != ' ' && !span_starts(s, SPAN(TOK_SPACE)));
}

enum err tok_escape(struct tok_work *w, struct span s)
{
    const struct tok *t = w->t;
    struct str *out = &w->buf;
    bool after_space = t->trim_spaces;
    size_t used;
    str_clear(out);
    while (t->trim_spaces && s.n && span_eq(next_text(t, s, &used), SPAN(" ")))
        s = skip(s, used);
    if (gets_space(w, s))
        str_add(out, TOK_SPACE, TOK_SPACE_LEN);
    for (; s.n && !out->full; s = skip(s, used)) {
        struct span p = next_text(t, s, &used);
        while (after_space && p.n && p.p[0] == ' ')
            p = skip(p, 1);
        for (size_t i = 0; i < p.n; i++) {
            if (p.p[i] == ' ')
                str_add(out, TOK_SPACE, TOK_SPACE_LEN);
            else
                str_add_char(out, p.p[i]);
        }
        if (p.n)
            after_space = t->trim_spaces && p.p[p.n - 1] == ' ';
    }
    while (t->trim_spaces && span_ends(str_span(out), SPAN(TOK_SPACE)))
        out->n -= TOK_SPACE_LEN;
    if (out->full)
        return err_set(w->e, ERR_TOOBIG, "the normalised text exceeds %zu bytes", out->max);
    return ERR_OK;
}

void tok_put_id(struct tok_work *w, int32_t id)
{
    w->was_unk = false;
    tok_ids_add(w->out, id);
}

void tok_put_unknown(struct tok_work *w, struct span s)
{
    const struct tok *t = w->t;
    for (size_t i = 0; i < s.n; i++) {
        int32_t id = t->byte_id[(unsigned char)s.p[i]];
        if (id >= 0) {
            tok_put_id(w, id);
        } else if (t->unk >= 0 && !w->was_unk) {
            tok_put_id(w, t->unk);
            w->was_unk = true;
        }
    }
}
