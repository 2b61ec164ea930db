/* SPDX-License-Identifier: MIT */
#include "store/store_text.h"

#include "base/arena.h"
#include "base/num.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define TEXT_BEFORE 12 /* characters of a snippet before what was found */
#define TEXT_SHOWN  50 /* all of it */

/* Of Unicode's chapter 3.12. */
#define L_BASE  0x1100
#define V_BASE  0x1161
#define T_BASE  0x11a7
#define S_BASE  0xac00
#define L_COUNT 19
#define V_COUNT 21
#define T_COUNT 28

static int32_t text_peek(struct span s, size_t at, size_t *len)
{
    *len = 0;
    return at < s.n ? utf8_get(s.p + at, s.n - at, len) : -1;
}

int32_t store_text_char(struct span s, size_t at, size_t *len)
{
    size_t more;
    int32_t cp = text_peek(s, at, len);
    if (cp < 0)
        return 0xfffd;
    if (cp >= L_BASE && cp < L_BASE + L_COUNT) {
        int32_t v = text_peek(s, at + *len, &more);
        if (v < V_BASE || v >= V_BASE + V_COUNT)
            return cp;
        *len += more;
        cp = S_BASE + ((cp - L_BASE) * V_COUNT + (v - V_BASE)) * T_COUNT;
        int32_t t = text_peek(s, at + *len, &more);
        if (t > T_BASE && t < T_BASE + T_COUNT) {
            *len += more;
            cp += t - T_BASE;
        }
        return cp;
    }
    return utf8proc_tolower(cp);
}

bool store_text_is_space(int32_t cp)
{
    utf8proc_category_t c = utf8proc_category(cp);
    return c == UTF8PROC_CATEGORY_ZS || c == UTF8PROC_CATEGORY_ZL || c == UTF8PROC_CATEGORY_ZP ||
           c == UTF8PROC_CATEGORY_CC;
}

bool store_text_words(struct span s, struct str *out)
{
    bool any = false, between = false;
    size_t len;
    for (size_t at = 0; at < s.n; at += len) {
        char bytes[4];
        int32_t cp = store_text_char(s, at, &len);
        if (store_text_is_space(cp)) {
            between = any;
            continue;
        }
        if (between)
            str_add_char(out, ' ');
        str_add(out, bytes, utf8_put(bytes, (uint32_t)cp));
        any = true;
        between = false;
    }
    return any;
}

/* Whether a word begins in s at `at`. */
static bool text_has(struct span s, size_t at, struct span word)
{
    size_t len, more;
    for (size_t i = 0; i < word.n; i += more, at += len) {
        if (at >= s.n || store_text_char(s, at, &len) != utf8_get(word.p + i, word.n - i, &more))
            return false;
    }
    return true;
}

size_t store_text_find(struct span s, struct span words)
{
    size_t len;
    for (size_t at = 0; at < s.n; at += len) {
        for (size_t i = 0; i < words.n; i++) {
            size_t end = span_find(words, SPAN(" "), i);
            end = MIN(end, words.n);
            if (text_has(s, at, (struct span){words.p + i, end - i}))
                return at;
            i = end;
        }
        store_text_char(s, at, &len);
    }
    return SIZE_MAX;
}

/* n characters before `at`, or the start. */
static size_t text_back(struct span s, size_t at, int n)
{
    while (at > 0 && n > 0) {
        at--;
        n -= (s.p[at] & 0xc0) != 0x80;
    }
    return at;
}

void store_text_snippet(struct span s, struct span words, struct str *out)
{
    size_t at = store_text_find(s, words), len;
    size_t from = text_back(s, at == SIZE_MAX ? 0 : at, TEXT_BEFORE), end = from;
    for (int n = 0; n < TEXT_SHOWN && end < s.n; n++, end += len)
        store_text_char(s, end, &len);
    if (from > 0)
        str_add_cstr(out, "\xe2\x80\xa6");
    str_add(out, s.p + from, end - from);
    if (end < s.n)
        str_add_cstr(out, "\xe2\x80\xa6");
}

static int text_by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

size_t store_text_grams(struct span words, bool parts, int64_t **out)
{
    size_t n = 0, len, n_kept = 0;
    int64_t *all = mem_alloc((2 * words.n + 2) * sizeof *all); /* and one of the caller's */
    int64_t before = 0; /* the character before in the same word */
    bool alone = true;  /* it is the word so far */
    for (size_t at = 0; at <= words.n; at += len) {
        len = 1;
        int64_t cp = at < words.n ? utf8_get(words.p + at, words.n - at, &len) : ' ';
        bool space = cp == ' ';
        if (before && (!parts || (space && alone)))
            all[n++] = before << 21;
        if (before && !space)
            all[n++] = before << 21 | cp;
        alone = !before;
        before = space ? 0 : cp;
    }
    qsort(all, n, sizeof *all, text_by_number);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || all[i] != all[i - 1])
            all[n_kept++] = all[i];
    }
    *out = all;
    return n_kept;
}

int64_t store_text_owner(struct span owner)
{
    unsigned char hash[crypto_generichash_BYTES_MIN]; /* BLAKE2b: what is stored depends on it */
    uint64_t v = 0;
    crypto_generichash(hash, sizeof hash, (const unsigned char *)owner.p, owner.n, NULL, 0);
    for (int i = 0; i < 8; i++)
        v = v << 8 | hash[i];
    return (int64_t)(v >> 2 | (uint64_t)1 << 62); /* above every pair */
}
