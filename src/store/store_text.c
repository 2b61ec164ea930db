/* SPDX-License-Identifier: MIT */
#include "store/store_text.h"

#include <utf8proc.h>

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
