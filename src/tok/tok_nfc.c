/* SPDX-License-Identifier: MIT
 * tok_nfc.c - Unicode normalisation form C.  Runs of characters that could change, with the one
 * before them, are decomposed, ordered and composed with utf8proc's tables; the order is found
 * by a stable merge sort, since utf8proc's own is quadratic in the number of marks on a letter. */
#include "tok/tok_int.h"

#include "base/num.h"

#include <utf8proc.h>

/* True for characters that NFC leaves alone and that compose with nothing before them.  A large
 * and cheap part of those, not all: below the combining marks, CJK ideographs, Hangul syllables. */
static bool is_inert(int32_t cp)
{
    return cp < 0x300 || (cp >= 0x3400 && cp <= 0x9fff) || (cp >= 0xac00 && cp <= 0xd7a3);
}

static void cps_room(struct tok_cps *c, size_t n)
{
    if (c->cap - c->n >= n)
        return;
    c->cap = MAX(2 * c->cap, c->n + n);
    c->p = mem_grow(c->p, c->cap * sizeof *c->p);
}

void tok_cps_add(struct tok_cps *c, int32_t cp)
{
    cps_room(c, 1);
    c->p[c->n++] = cp;
}

static int ccc(int32_t cp)
{
    return utf8proc_get_property(cp)->combining_class;
}

void tok_decompose(struct tok_cps *c, int32_t cp)
{
    int boundary = 0;
    cps_room(c, 32);
    utf8proc_ssize_t n = utf8proc_decompose_char(cp, c->p + c->n, 32, UTF8PROC_DECOMPOSE,
                                                 &boundary);
    CHECK(n > 0 && n <= 32);
    c->n += (size_t)n;
}

/* Sorts p[0..n) by combining class, stable, bottom-up; tmp has room for n. */
static void sort_marks(int32_t *p, size_t n, int32_t *tmp)
{
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo + width < n; lo += 2 * width) {
            size_t mid = lo + width, hi = MIN(mid + width, n), i = lo, j = mid, to = lo;
            while (i < mid && j < hi)
                tmp[to++] = ccc(p[j]) < ccc(p[i]) ? p[j++] : p[i++];
            memcpy(tmp + to, p + i, (mid - i) * sizeof *p);
            to += mid - i;
            memcpy(p + lo, tmp + lo, (to - lo) * sizeof *p);
        }
    }
}

void tok_order_marks(struct tok_cps *c)
{
    cps_room(c, c->n);
    for (size_t i = 0; i < c->n;) {
        size_t end = i;
        while (end < c->n && ccc(c->p[end]) != 0)
            end++;
        if (end - i > 1)
            sort_marks(c->p + i, end - i, c->p + c->n);
        i = end + (end == i);
    }
}

static void compose(struct tok_cps *c, struct str *out)
{
    tok_order_marks(c);
    utf8proc_ssize_t n = utf8proc_normalize_utf32(c->p, (utf8proc_ssize_t)c->n,
                                                  UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    CHECK(n >= 0);
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        char form[4];
        str_add(out, form, utf8_put(form, (uint32_t)c->p[i]));
    }
}

struct span tok_normalize(struct tok_work *w, struct span s)
{
    struct tok_cps c = {0};
    size_t done = 0, before = 0, len; /* `before`: the last inert character */
    str_clear(&w->buf);
    for (size_t i = 0; i < s.n; i += len) {
        len = 1;
        int32_t cp = (unsigned char)s.p[i] < 0x80 ? s.p[i] : utf8_get(s.p + i, s.n - i, &len);
        if (is_inert(cp)) {
            before = i;
            continue;
        }
        str_add(&w->buf, s.p + done, before - done);
        c.n = 0;
        size_t end = before;
        do {
            tok_decompose(&c, utf8_get(s.p + end, s.n - end, &len));
            end += len;
        } while (end <= i || (end < s.n && !is_inert(utf8_get(s.p + end, s.n - end, &len))));
        compose(&c, &w->buf);
        done = before = i = end;
        len = 0;
    }
    mem_free(c.p);
    if (done == 0)
        return s;
    str_add(&w->buf, s.p + done, s.n - done);
    CHECK(!w->buf.full);
    return str_span(&w->buf);
}
