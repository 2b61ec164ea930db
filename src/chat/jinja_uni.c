/* SPDX-License-Identifier: MIT
 * jinja_uni.c - characters as Python's str sees them: categories and simple mappings come from
 * utf8proc, the rest from jinja_uni.def. */
#include "chat/jinja_int.h"

#include <string.h>
#include <utf8proc.h>

struct range {
    int32_t lo, hi;
};

static const struct range digits[] = {
#define DIGIT(lo, hi) {lo, hi},
#define NUMERIC(lo, hi)
#define LOWER(lo, hi)
#define UPPER(lo, hi)
#define TO_UPPER(cp, a, b, c)
#define TO_LOWER(cp, a, b, c)
#define TO_TITLE(cp, a, b, c)
#define TO_FOLD(cp, a, b, c)
#include "chat/jinja_uni.def"
};
static const struct range numerics[] = {
#undef DIGIT
#undef NUMERIC
#define DIGIT(lo, hi)
#define NUMERIC(lo, hi) {lo, hi},
#include "chat/jinja_uni.def"
};
static const struct range lowers[] = {
#undef NUMERIC
#undef LOWER
#define NUMERIC(lo, hi)
#define LOWER(lo, hi) {lo, hi},
#include "chat/jinja_uni.def"
};
static const struct range uppers[] = {
#undef LOWER
#undef UPPER
#define LOWER(lo, hi)
#define UPPER(lo, hi) {lo, hi},
#include "chat/jinja_uni.def"
};

/* clang-format off */
static const struct mapping {
    enum jinja_case how;
    int32_t cp;
    uint32_t to[3];
} mappings[] = {
#undef UPPER
#undef TO_UPPER
#undef TO_LOWER
#undef TO_TITLE
#undef TO_FOLD
#define UPPER(lo, hi)
#define TO_UPPER(cp, a, b, c) {J_UPPER, cp, {a, b, c}},
#define TO_LOWER(cp, a, b, c) {J_LOWER, cp, {a, b, c}},
#define TO_TITLE(cp, a, b, c) {J_TITLE, cp, {a, b, c}},
#define TO_FOLD(cp, a, b, c)  {J_FOLD, cp, {a, b, c}},
#include "chat/jinja_uni.def"
};
/* clang-format on */

static bool within(const struct range *t, size_t n, int32_t cp)
{
    for (size_t i = 0; i < n && cp >= t[i].lo; i++)
        if (cp <= t[i].hi)
            return true;
    return false;
}

static utf8proc_category_t category(int32_t cp)
{
    return cp < 0 ? UTF8PROC_CATEGORY_CN : utf8proc_category(cp);
}

bool jinja_is_space(int32_t cp)
{
    if (cp < 128)
        return (cp >= 9 && cp <= 13) || (cp >= 28 && cp <= 32);
    return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

bool jinja_is_alpha(int32_t cp)
{
    if (cp < 128)
        return (cp | 32) >= 'a' && (cp | 32) <= 'z';
    utf8proc_category_t c = category(cp);
    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool jinja_is_decimal(int32_t cp)
{
    return cp < 128 ? cp >= '0' && cp <= '9' : category(cp) == UTF8PROC_CATEGORY_ND;
}

bool jinja_is_digit(int32_t cp)
{
    return jinja_is_decimal(cp) || within(digits, N_ELEMS(digits), cp);
}

bool jinja_is_numeric(int32_t cp)
{
    utf8proc_category_t c = category(cp);
    return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO ||
           within(numerics, N_ELEMS(numerics), cp);
}

bool jinja_is_upper(int32_t cp)
{
    if (cp < 128)
        return cp >= 'A' && cp <= 'Z';
    return category(cp) == UTF8PROC_CATEGORY_LU || within(uppers, N_ELEMS(uppers), cp);
}

bool jinja_is_lower(int32_t cp)
{
    if (cp < 128)
        return cp >= 'a' && cp <= 'z';
    return category(cp) == UTF8PROC_CATEGORY_LL || within(lowers, N_ELEMS(lowers), cp);
}

bool jinja_is_cased_title(int32_t cp)
{
    return category(cp) == UTF8PROC_CATEGORY_LT;
}

bool jinja_is_printable(int32_t cp)
{
    if (cp < 128)
        return cp >= 32 && cp < 127;
    switch (category(cp)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    default: return true;
    }
}

bool jinja_is_word(int32_t cp)
{
    if (cp < 128)
        return cp == '_' || jinja_is_alpha(cp) || jinja_is_decimal(cp);
    return jinja_is_alpha(cp) || jinja_is_numeric(cp);
}

bool jinja_is_identifier(struct span s)
{
    for (size_t i = 0, len; i < s.n; i += len) {
        int32_t cp = utf8_get(s.p + i, s.n - i, &len);
        utf8proc_category_t c = category(cp);
        bool start = cp == '_' || jinja_is_alpha(cp) || c == UTF8PROC_CATEGORY_NL;
        bool more = c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC ||
                    c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_PC;
        if (!start && (i == 0 || !more))
            return false;
    }
    return s.n != 0;
}

struct span jinja_strip(struct span s, bool left, bool right)
{
    size_t len;
    while (left && s.n && jinja_is_space(utf8_get(s.p, s.n, &len))) {
        s.p += len;
        s.n -= len;
    }
    while (right && s.n) {
        size_t at = s.n - 1;
        while (at && ((unsigned char)s.p[at] & 0xc0) == 0x80)
            at--;
        if (!jinja_is_space(utf8_get(s.p + at, s.n - at, &len)))
            break;
        s.n = at;
    }
    return s;
}

size_t jinja_line_end(struct span s, size_t from, size_t *next)
{
    for (size_t i = from, len; i < s.n; i += len) {
        int32_t c = utf8_get(s.p + i, s.n - i, &len);
        if ((c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 ||
            c == 0x2029) {
            *next = i + len + (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n');
            return i;
        }
    }
    *next = s.n;
    return s.n;
}

static void put_mapped(struct str *out, int32_t cp, enum jinja_case how)
{
    char b[4];
    for (size_t i = 0; cp >= 128 && i < N_ELEMS(mappings); i++) {
        const struct mapping *m = &mappings[i];
        if (m->how != how || m->cp != cp)
            continue;
        for (int k = 0; k < 3 && m->to[k]; k++)
            str_add(out, b, utf8_put(b, m->to[k]));
        return;
    }
    int32_t to = how == J_UPPER   ? utf8proc_toupper(cp)
                 : how == J_TITLE ? utf8proc_totitle(cp)
                                  : utf8proc_tolower(cp);
    if (how == J_FOLD) {
        utf8proc_int32_t folded[8];
        int boundary = 0;
        if (utf8proc_decompose_char(cp, folded, 8, UTF8PROC_CASEFOLD, &boundary) == 1)
            to = folded[0];
    }
    str_add(out, b, utf8_put(b, (uint32_t)to));
}

static bool is_ignorable(int32_t cp)
{
    utf8proc_category_t c = category(cp);
    return c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_ME || c == UTF8PROC_CATEGORY_CF ||
           c == UTF8PROC_CATEGORY_LM || c == UTF8PROC_CATEGORY_SK || cp == '\'' || cp == '.' ||
           cp == ':' || cp == 0xb7 || cp == 0x387 || cp == 0x2018 || cp == 0x2019 || cp == 0x2024 ||
           cp == 0x2027;
}

static bool is_cased(int32_t cp)
{
    return jinja_is_upper(cp) || jinja_is_lower(cp) || jinja_is_cased_title(cp);
}

/* A capital sigma at i becomes final when a cased letter stands before it and none after. */
static bool is_final_sigma(struct span s, size_t i)
{
    size_t at = i, len;
    bool before = false;
    while (at && !before) {
        do
            at--;
        while (at && ((unsigned char)s.p[at] & 0xc0) == 0x80);
        int32_t cp = utf8_get(s.p + at, s.n - at, &len);
        before = is_cased(cp) && !is_ignorable(cp);
        if (!before && !is_ignorable(cp))
            return false;
    }
    for (at = i + 2; before && at < s.n; at += len) {
        int32_t cp = utf8_get(s.p + at, s.n - at, &len);
        if (!is_ignorable(cp))
            return !is_cased(cp);
    }
    return before;
}

void jinja_put_case(struct str *out, struct span s, enum jinja_case how)
{
    bool previous_cased = false;
    for (size_t i = 0, len; i < s.n; i += len) {
        int32_t cp = utf8_get(s.p + i, s.n - i, &len);
        enum jinja_case to = how;
        if (how == J_CAPITAL)
            to = i ? J_LOWER : J_TITLE;
        else if (how == J_TITLE)
            to = previous_cased ? J_LOWER : J_TITLE;
        else if (how == J_SWAP)
            to = jinja_is_upper(cp) ? J_LOWER : jinja_is_lower(cp) ? J_UPPER : J_SWAP;
        previous_cased = is_cased(cp);
        if (cp < 128 && cp >= 0) {
            bool up = to == J_UPPER || to == J_TITLE, is_up = cp >= 'A' && cp <= 'Z';
            bool turn = to != J_SWAP && (up ? cp >= 'a' && cp <= 'z' : is_up);
            str_add_char(out, (char)(turn ? cp ^ 32 : cp));
        } else if (to == J_SWAP || category(cp) == UTF8PROC_CATEGORY_LO)
            str_add(out, s.p + i, len);
        else if (to == J_LOWER && cp == 0x3a3)
            str_add_cstr(out, is_final_sigma(s, i) ? "\xcf\x82" : "\xcf\x83");
        else
            put_mapped(out, cp, to);
    }
}
