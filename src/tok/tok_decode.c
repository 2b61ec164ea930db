/* SPDX-License-Identifier: MIT
 * tok_decode.c - ids to bytes, all at once or one after the other. */
#include "tok/tok_int.h"

int tok_byte_written(struct span piece)
{
    int v = 0;
    if (piece.n != 6 || memcmp(piece.p, "<0x", 3) != 0 || piece.p[5] != '>')
        return -1;
    for (int i = 3; i < 5; i++) {
        char c = piece.p[i];
        if (c >= '0' && c <= '9')
            v = v * 16 + (c - '0');
        else if (c >= 'A' && c <= 'F')
            v = v * 16 + (c - 'A' + 10);
        else
            return -1;
    }
    return v;
}

/* Characters that are not of the byte-level alphabet stand for themselves. */
static void put_byte_level(const struct tok *t, struct span s, struct str *out)
{
    for (size_t i = 0, len; i < s.n; i += len) {
        int32_t cp = utf8_get(s.p + i, s.n - i, &len);
        if (cp >= 0 && cp < TOK_BYTE_CPS && t->byte_of[cp] >= 0)
            str_add_char(out, (char)t->byte_of[cp]);
        else
            str_add(out, s.p + i, len);
    }
}

static void put_spaces(struct span s, struct str *out)
{
    for (size_t from = 0, at; from < s.n; from = at + TOK_SPACE_LEN) {
        at = span_find(s, SPAN(TOK_SPACE), from);
        if (at == SIZE_MAX) {
            str_add(out, s.p + from, s.n - from);
            return;
        }
        str_add(out, s.p + from, at - from);
        str_add_char(out, ' ');
    }
}

/* BERT's: a word begins with a space, but not before these marks. */
static void put_piece_wpm(const struct tok *t, int32_t id, bool first, struct str *out)
{
    struct span s = t->piece[id];
    if (!span_starts(s, SPAN(TOK_SPACE))) {
        str_add_span(out, s);
        return;
    }
    s = (struct span){s.p + TOK_SPACE_LEN, s.n - TOK_SPACE_LEN};
    if (!first && !(s.n == 1 && memchr(".?!,", s.p[0], 4)))
        str_add_char(out, ' ');
    str_add_span(out, s);
}

static void put_piece_spm(const struct tok *t, int32_t id, bool first, struct str *out)
{
    struct span s = t->piece[id];
    int type = TOK_TYPE(t, id);
    int byte = type == TOK_BYTE ? tok_byte_written(s) : -1;
    if (byte >= 0) {
        str_add_char(out, (char)byte);
    } else if (type == TOK_UNKNOWN) {
        str_add_cstr(out, " \xe2\x81\x87 ");
    } else {
        if (first && (t->add_space || t->trim_spaces) && span_starts(s, SPAN(TOK_SPACE)))
            s = (struct span){s.p + TOK_SPACE_LEN, s.n - TOK_SPACE_LEN};
        put_spaces(s, out);
    }
}

static void put_piece(const struct tok *t, int32_t id, bool first, struct str *out)
{
    int type = TOK_TYPE(t, id);
    if (t->kind == TOK_WPM)
        put_piece_wpm(t, id, first, out);
    else if (t->kind == TOK_SPM || t->kind == TOK_UGM || (t->kind == TOK_CHARS && type != TOK_USER))
        put_piece_spm(t, id, first, out);
    else if (type == TOK_USER || t->kind != TOK_BPE)
        str_add_span(out, t->piece[id]);
    else
        put_byte_level(t, t->piece[id], out);
}

enum err tok_decode(const struct tok *t, const int32_t *id, size_t n, unsigned flags,
                    struct str *out, struct errinfo *e)
{
    bool first = flags & TOK_START;
    for (size_t i = 0; i < n; i++) {
        if (id[i] < 0 || id[i] >= t->n)
            return err_set(e, ERR_USAGE, "there is no token %d: the vocabulary has %d", id[i],
                           t->n);
        int type = TOK_TYPE(t, id[i]);
        if (type == TOK_CONTROL || (type == TOK_UNKNOWN && (flags & TOK_SPECIAL))) {
            if (flags & TOK_SPECIAL)
                str_add_span(out, t->piece[id[i]]);
            continue;
        }
        put_piece(t, id[i], first, out);
        first = first && t->piece[id[i]].n == 0;
    }
    if (out->full)
        return err_set(e, ERR_TOOBIG, "the decoded text exceeds %zu bytes", out->max);
    return ERR_OK;
}

void tok_stream_init(struct tok_stream *s, const struct tok *t, unsigned flags)
{
    *s = (struct tok_stream){.tok = t, .flags = flags};
    str_init(&s->wait, 2 * TOK_PIECE_BYTES_MAX);
}

enum err tok_stream_add(struct tok_stream *s, int32_t id, struct str *out, struct errinfo *e)
{
    TRY(tok_decode(s->tok, &id, 1, s->flags, &s->wait, e));
    if (!tok_is_control(s->tok, id))
        s->flags &= ~(unsigned)TOK_START;
    size_t n = utf8_complete(str_span(&s->wait)), left = s->wait.n - n;
    utf8_repair(out, (struct span){str_span(&s->wait).p, n});
    if (left)
        memmove(s->wait.p, s->wait.p + n, left);
    s->wait.n = left;
    if (out->full)
        return err_set(e, ERR_TOOBIG, "the decoded text exceeds %zu bytes", out->max);
    return ERR_OK;
}

void tok_stream_end(struct tok_stream *s, struct str *out)
{
    utf8_repair(out, str_span(&s->wait));
    str_clear(&s->wait);
}

void tok_stream_done(struct tok_stream *s)
{
    str_done(&s->wait);
}
