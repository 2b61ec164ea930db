/* SPDX-License-Identifier: MIT
 * engine_span.c - positions of a text whose rows are no tokens. */
#include "engine/engine_int.h"

void engine_seq_spans(struct engine_seq *s, const struct engine_span *spans, size_t n)
{
    s->spans = spans;
    s->n_spans = n;
}

const struct engine_span *span_at(const struct engine_seq *s, size_t pos)
{
    for (size_t i = 0; i < s->n_spans; i++)
        if (pos >= s->spans[i].at && pos - s->spans[i].at < s->spans[i].n)
            return &s->spans[i];
    return NULL;
}

enum err span_check(const struct engine_seq *s, const struct engine_row *rows, size_t n,
                    struct errinfo *e)
{
    for (size_t i = 0; i < n; i++) {
        size_t pos = s->n + i;
        const struct engine_span *x = span_at(s, pos);
        if (!x && engine_in_span(rows[i].token))
            return err_set(e, ERR_USAGE,
                           "token %d is outside the vocabulary of %zu, and no picture is at %zu",
                           rows[i].token, s->en->model->n_vocab, pos);
        if (x && !engine_in_span(rows[i].token))
            return err_set(e, ERR_USAGE, "token %d is at position %zu, where a picture is",
                           rows[i].token, pos);
        if (x && (pos - x->at > i || x->at + x->n - pos > n - i))
            return err_set(e, ERR_USAGE, "the picture at position %zu is not in one step", x->at);
    }
    return ERR_OK;
}

void span_set(const struct engine_seq *s, size_t pos, struct dev_row *row)
{
    const struct engine_span *x = engine_in_span(row->token) ? span_at(s, pos) : NULL;
    if (!x)
        return;
    row->x = x->x + (pos - x->at) * s->en->model->dim;
    row->see_to = (int32_t)(x->at + x->n);
}

void span_whole(struct engine_seq *s, int32_t next)
{
    size_t n = s->n;
    if (n == 0 || !engine_in_span(next) || engine_begins_span(next))
        return;
    while (n > 0 && engine_in_span(s->tokens[n - 1]) && !engine_begins_span(s->tokens[n - 1]))
        n--;
    engine_seq_cut(s, n > 0 && engine_begins_span(s->tokens[n - 1]) ? n - 1 : n);
}
