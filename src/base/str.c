/* SPDX-License-Identifier: MIT */
#include "base/str.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/num.h"

#include <stdio.h>
#include <string.h>

struct span span_of(const char *cstr)
{
    return (struct span){cstr, strlen(cstr)};
}

bool span_eq(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool span_eq_cstr(struct span a, const char *b)
{
    return span_eq(a, span_of(b));
}

bool span_starts(struct span a, struct span head)
{
    return a.n >= head.n && span_eq((struct span){a.p, head.n}, head);
}

bool span_ends(struct span a, struct span tail)
{
    return a.n >= tail.n && span_eq((struct span){a.p + a.n - tail.n, tail.n}, tail);
}

size_t span_find(struct span a, struct span what, size_t from)
{
    if (from > a.n)
        return SIZE_MAX;
    if (what.n == 0)
        return from;
    const char *hit = memmem(a.p + from, a.n - from, what.p, what.n);
    return hit ? (size_t)(hit - a.p) : SIZE_MAX;
}

void str_init(struct str *s, size_t max_bytes)
{
    *s = (struct str){.max = max_bytes};
}

void str_done(struct str *s)
{
    mem_free(s->p);
    *s = (struct str){.max = s->max};
}

void str_clear(struct str *s)
{
    s->n = 0;
    s->full = false;
    if (s->p)
        s->p[0] = 0;
}

/* Makes room for n more bytes and the NUL; false (and full) when that passes max. */
static bool str_room(struct str *s, size_t n)
{
    if (s->full || n > s->max - s->n) {
        s->full = true;
        return false;
    }
    if (s->cap < s->n + n + 1) {
        size_t cap = MAX(s->n + n + 1, s->cap < SIZE_MAX / 2 ? 2 * s->cap : s->cap);
        s->cap = MAX(cap, 64);
        s->p = mem_grow(s->p, s->cap);
    }
    return true;
}

void str_add(struct str *s, const void *p, size_t n)
{
    if (!str_room(s, n))
        return;
    if (n)
        memcpy(s->p + s->n, p, n);
    s->n += n;
    s->p[s->n] = 0;
}

void str_add_cstr(struct str *s, const char *cstr)
{
    str_add(s, cstr, strlen(cstr));
}

void str_add_html(struct str *s, const char *text)
{
    for (const char *p = text; *p; p++)
        switch (*p) {
        case '&': str_add_cstr(s, "&amp;"); break;
        case '<': str_add_cstr(s, "&lt;"); break;
        case '>': str_add_cstr(s, "&gt;"); break;
        case '"': str_add_cstr(s, "&quot;"); break;
        default: str_add_char(s, *p);
        }
}

void str_add_span(struct str *s, struct span x)
{
    str_add(s, x.p, x.n);
}

void str_add_char(struct str *s, char c)
{
    str_add(s, &c, 1);
}

void str_addf(struct str *s, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    CHECK(n >= 0);
    if (str_room(s, (size_t)n)) {
        vsnprintf(s->p + s->n, (size_t)n + 1, fmt, again);
        s->n += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

struct span str_span(const struct str *s)
{
    return (struct span){s->p ? s->p : "", s->n};
}

/* How many bytes a sequence that starts with `lead` has, and the range of its second byte
 * (Unicode table 3-7); 0 where no sequence starts so. */
static int utf8_lead(unsigned char lead, unsigned char *lo, unsigned char *hi)
{
    *lo = 0x80;
    *hi = 0xbf;
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    if (lead < 0xe0)
        return 2;
    if (lead < 0xf0) {
        *lo = lead == 0xe0 ? 0xa0 : 0x80;
        *hi = lead == 0xed ? 0x9f : 0xbf;
        return 3;
    }
    *lo = lead == 0xf0 ? 0x90 : 0x80;
    *hi = lead == 0xf4 ? 0x8f : 0xbf;
    return 4;
}

int32_t utf8_get(const char *p, size_t n, size_t *len)
{
    static const unsigned char lead_bits[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const unsigned char *b = (const unsigned char *)p;
    unsigned char lo, hi;
    DCHECK(n > 0);
    int want = utf8_lead(b[0], &lo, &hi);
    *len = 1;
    if (want == 0)
        return -1;
    int32_t cp = b[0] & lead_bits[want];
    for (int i = 1; i < want; i++) {
        if ((size_t)i >= n || b[i] < lo || b[i] > hi)
            return -1;
        cp = cp << 6 | (b[i] & 0x3f);
        lo = 0x80;
        hi = 0xbf;
        *len = (size_t)i + 1;
    }
    return cp;
}

size_t utf8_put(char out[4], uint32_t cp)
{
    CHECK(cp <= 0x10ffff && (cp < 0xd800 || cp > 0xdfff));
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

bool utf8_valid(struct span s)
{
    for (size_t i = 0, len; i < s.n; i += len)
        if (utf8_get(s.p + i, s.n - i, &len) < 0)
            return false;
    return true;
}

bool utf8_printable(struct span s)
{
    for (size_t i = 0, len; i < s.n; i += len) {
        int32_t cp = utf8_get(s.p + i, s.n - i, &len);
        if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
            return false;
    }
    return true;
}

void utf8_repair(struct str *out, struct span s)
{
    size_t from = 0, i = 0, len;
    for (; i < s.n; i += len) {
        if (utf8_get(s.p + i, s.n - i, &len) >= 0)
            continue;
        str_add(out, s.p + from, i - from);
        str_add_cstr(out, "\xef\xbf\xbd");
        from = i + len;
    }
    str_add(out, s.p + from, s.n - from);
}

size_t utf8_complete(struct span s)
{
    for (size_t back = 1; back <= 3 && back <= s.n; back++) {
        unsigned char b = (unsigned char)s.p[s.n - back], lo, hi;
        if (b >= 0x80 && b <= 0xbf)
            continue; /* a trail byte: look further back for its lead */
        if ((size_t)utf8_lead(b, &lo, &hi) <= back)
            return s.n;
        size_t len;
        utf8_get(s.p + s.n - back, back, &len);
        return len == back ? s.n - back : s.n;
    }
    return s.n;
}
