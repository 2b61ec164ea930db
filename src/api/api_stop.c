/* SPDX-License-Identifier: MIT */
#include "api/api_stop.h"

#include "base/num.h"

#include <string.h>

#define HELD_MAX ((size_t)32 << 20)

void api_stop_init(struct api_stop *s, const struct span *texts, size_t n)
{
    s->texts = texts;
    s->n = n;
    str_init(&s->held, HELD_MAX);
}

void api_stop_done(struct api_stop *s)
{
    str_done(&s->held);
}

/* Bytes at the end that may be the beginning of a stop text. */
static size_t held_back(const struct api_stop *s)
{
    struct span text = str_span(&s->held);
    size_t most = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t n = s->texts[i].n ? s->texts[i].n - 1 : 0;
        for (n = MIN(n, text.n); n > most; n--)
            if (memcmp(text.p + text.n - n, s->texts[i].p, n) == 0)
                break;
        most = MAX(most, n);
    }
    return most;
}

size_t api_stop_add(struct api_stop *s, struct span piece, struct str *out)
{
    size_t first = 0, end = SIZE_MAX, which = SIZE_MAX;
    if (piece.n == 0)
        return SIZE_MAX;
    str_add_span(&s->held, piece);
    struct span text = str_span(&s->held);
    for (size_t i = 0; i < s->n; i++) {
        size_t at = span_find(text, s->texts[i], 0), n = s->texts[i].n;
        if (at == SIZE_MAX || at + n > end || (at + n == end && at >= first))
            continue;
        first = at;
        end = at + n;
        which = i;
    }
    size_t n = which != SIZE_MAX ? first : text.n - held_back(s);
    str_add(out, text.p, n);
    memmove(s->held.p, s->held.p + n, text.n - n);
    s->held.n -= n;
    s->held.p[s->held.n] = '\0';
    return which;
}

void api_stop_end(struct api_stop *s, struct str *out)
{
    str_add_span(out, str_span(&s->held));
    str_clear(&s->held);
}
