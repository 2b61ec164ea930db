/* SPDX-License-Identifier: MIT
 * gram_regex.c - ECMA-262 patterns (with the u flag) as fragments of an automaton.
 *
 * A literal brace that begins no quantifier stands for itself, as in the older syntax.  What no
 * finite automaton without counting back can do (references) or what is not done (looking around,
 * word boundaries) is UNSUPPORTED. */
#include "gram/gram_int.h"

#include <string.h>

struct regex {
    struct gram_nfa *m;
    const char *p;
    size_t n, at;
    int depth;
    struct errinfo *e;
};

#define FAIL(r, code, ...) err_set((r)->e, code, "pattern, byte " __VA_ARGS__)

static int peek(const struct regex *r)
{
    return r->at < r->n ? (unsigned char)r->p[r->at] : -1;
}

static bool take(struct regex *r, char c)
{
    if (peek(r) != (unsigned char)c)
        return false;
    r->at++;
    return true;
}

static enum err take_cp(struct regex *r, uint32_t *cp)
{
    size_t len;
    int32_t got = r->at < r->n ? utf8_get(r->p + r->at, r->n - r->at, &len) : -1;
    if (got < 0)
        return FAIL(r, ERR_CORRUPT, "%zu: it ends too early or is not UTF-8", r->at);
    r->at += len;
    *cp = (uint32_t)got;
    return ERR_OK;
}

static bool take_hex(struct regex *r, int min, int max, uint32_t *out)
{
    int n = 0;
    for (*out = 0; n < max && r->at < r->n; n++, r->at++) {
        char c = r->p[r->at];
        if (c >= '0' && c <= '9')
            *out = *out * 16 + (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            *out = *out * 16 + (uint32_t)((c | 0x20) - 'a' + 10);
        else
            break;
    }
    return n >= min;
}

/* After "\u": XXXX, a pair of surrogates, or {X...}. */
static enum err take_unicode(struct regex *r, uint32_t *cp)
{
    uint32_t low;
    bool ok = take(r, '{') ? take_hex(r, 1, 6, cp) && take(r, '}') : take_hex(r, 4, 4, cp);
    if (ok && *cp >= 0xd800 && *cp <= 0xdbff) {
        ok = take(r, '\\') && take(r, 'u') && take_hex(r, 4, 4, &low) && low >= 0xdc00 &&
             low <= 0xdfff;
        if (ok)
            *cp = 0x10000 + ((*cp - 0xd800) << 10) + (low - 0xdc00);
    }
    if (!ok || *cp > 0x10ffff || (*cp >= 0xdc00 && *cp <= 0xdfff))
        return FAIL(r, ERR_CORRUPT, "%zu: \\u without its code point", r->at);
    return ERR_OK;
}

static enum err take_property(struct regex *r, bool inverted, struct gram_class *c)
{
    struct gram_class found = {0};
    size_t close = take(r, '{') ? span_find((struct span){r->p, r->n}, SPAN("}"), r->at) : SIZE_MAX;
    if (close == SIZE_MAX)
        return FAIL(r, ERR_CORRUPT, "%zu: \\p without {name}", r->at);
    struct span name = {r->p + r->at, close - r->at};
    if (!gram_class_property(&found, name)) {
        size_t at = r->at;
        return FAIL(r, ERR_UNSUPPORTED, "%zu: the property '%.*s'", at, (int)MIN(name.n, 40),
                    name.p);
    }
    if (inverted)
        gram_class_invert(&found);
    gram_class_add_all(c, &found);
    gram_class_done(&found);
    r->at = close + 1;
    return ERR_OK;
}

/* After a backslash: one code point in *cp, or a class added to c (then *cp is GRAM_NONE). */
static enum err take_escape(struct regex *r, struct gram_class *c, bool in_class, uint32_t *cp)
{
    static const char from[] = "nrtfv", to[] = "\n\r\t\f\v";
    int name = peek(r);
    const char *found = name > 0 ? strchr(from, name) : NULL;
    *cp = GRAM_NONE;
    if (name < 0)
        return FAIL(r, ERR_CORRUPT, "%zu: a backslash at the end", r->at);
    if (name > 0 && strchr("dDwWsS", name)) {
        gram_class_escape(c, (char)name);
        r->at++;
        return ERR_OK;
    }
    if (name == 'p' || name == 'P') {
        r->at++;
        return take_property(r, name == 'P', c);
    }
    if (found || name == '0' || (name == 'b' && in_class)) {
        r->at++;
        *cp = found ? (uint32_t)to[found - from] : name == 'b' ? 8 : 0;
        return ERR_OK;
    }
    if (name == 'x' || name == 'u') {
        r->at++;
        if (name == 'u')
            return take_unicode(r, cp);
        if (!take_hex(r, 2, 2, cp))
            return FAIL(r, ERR_CORRUPT, "%zu: \\x needs two digits", r->at);
        return ERR_OK;
    }
    if (name == 'c' && r->at + 1 < r->n && (r->p[r->at + 1] | 0x20) >= 'a' &&
        (r->p[r->at + 1] | 0x20) <= 'z') {
        *cp = (uint32_t)r->p[r->at + 1] & 31;
        r->at += 2;
        return ERR_OK;
    }
    if (name == 'b' || name == 'B' || name == 'k' || (name >= '1' && name <= '9'))
        return FAIL(r, ERR_UNSUPPORTED, "%zu: '\\%c' (a word boundary or a reference)", r->at,
                    name);
    if ((name | 0x20) >= 'a' && (name | 0x20) <= 'z')
        return FAIL(r, ERR_CORRUPT, "%zu: there is no escape '\\%c'", r->at, name);
    return take_cp(r, cp);
}

static enum err take_class_atom(struct regex *r, struct gram_class *c, uint32_t *cp)
{
    return take(r, '\\') ? take_escape(r, c, true, cp) : take_cp(r, cp);
}

static enum err take_class(struct regex *r, struct gram_class *c)
{
    bool inverted = take(r, '^');
    while (!take(r, ']')) {
        uint32_t lo, hi;
        TRY(take_class_atom(r, c, &lo));
        if (lo == GRAM_NONE)
            continue;
        hi = lo;
        if (peek(r) == '-' && r->at + 1 < r->n && r->p[r->at + 1] != ']') {
            r->at++;
            TRY(take_class_atom(r, c, &hi));
            if (hi == GRAM_NONE || hi < lo)
                return FAIL(r, ERR_CORRUPT, "%zu: a range that ends before it begins", r->at);
        }
        gram_class_add(c, lo, hi);
    }
    if (inverted)
        gram_class_invert(c);
    return ERR_OK;
}

static enum err parse_alternatives(struct regex *r, struct gram_frag *out);

static enum err parse_group(struct regex *r, struct gram_frag *out)
{
    if (take(r, '?') && !take(r, ':')) {
        bool named = peek(r) == '<' && r->at + 1 < r->n && r->p[r->at + 1] != '=' &&
                     r->p[r->at + 1] != '!';
        if (!named)
            return FAIL(r, ERR_UNSUPPORTED, "%zu: a group that looks around or sets flags", r->at);
        size_t close = span_find((struct span){r->p, r->n}, SPAN(">"), r->at);
        if (close == SIZE_MAX)
            return FAIL(r, ERR_CORRUPT, "%zu: a group's name does not end", r->at);
        r->at = close + 1;
    }
    if (++r->depth > GRAM_NEST_MAX)
        return FAIL(r, ERR_UNSUPPORTED, "%zu: more than %d groups in groups", r->at, GRAM_NEST_MAX);
    TRY(parse_alternatives(r, out));
    r->depth--;
    if (!take(r, ')'))
        return FAIL(r, ERR_CORRUPT, "%zu: a group does not end", r->at);
    return ERR_OK;
}

static enum err parse_one(struct regex *r, struct gram_class *c, struct gram_frag *out)
{
    uint32_t cp = GRAM_NONE;
    if (take(r, '('))
        return parse_group(r, out);
    if (take(r, '^')) {
        *out = gram_frag_kind(r->m, GRAM_NFA_BEGIN, GRAM_NONE);
        return ERR_OK;
    }
    if (take(r, '$')) {
        *out = gram_frag_kind(r->m, GRAM_NFA_END, GRAM_NONE);
        return ERR_OK;
    }
    if (take(r, '['))
        TRY(take_class(r, c));
    else if (take(r, '.'))
        gram_class_escape(c, '.');
    else if (take(r, '\\'))
        TRY(take_escape(r, c, false, &cp));
    else if (peek(r) == '*' || peek(r) == '+' || peek(r) == '?')
        return FAIL(r, ERR_CORRUPT, "%zu: nothing to repeat", r->at);
    else
        TRY(take_cp(r, &cp));
    if (cp != GRAM_NONE)
        gram_class_add(c, cp, cp);
    *out = gram_frag_class(r->m, c);
    return ERR_OK;
}

static uint32_t take_number(struct regex *r)
{
    uint32_t v = 0;
    for (; peek(r) >= '0' && peek(r) <= '9'; r->at++)
        v = MIN(v * 10 + (uint32_t)(r->p[r->at] - '0'), 100000000u);
    return v;
}

/* {n} {n,} {n,m}; false, and nothing taken, when it is none. */
static bool take_counts(struct regex *r, uint32_t *min, uint32_t *max)
{
    size_t from = r->at;
    if (take(r, '{') && peek(r) >= '0' && peek(r) <= '9') {
        *min = *max = take_number(r);
        if (take(r, ','))
            *max = peek(r) == '}' ? GRAM_NONE : take_number(r);
        if (take(r, '}'))
            return true;
    }
    r->at = from;
    return false;
}

static enum err parse_repeated(struct regex *r, struct gram_frag *out)
{
    struct gram_class c = {0};
    uint32_t min = 1, max = 1;
    enum err rc = parse_one(r, &c, out);
    gram_class_done(&c);
    TRY(rc);
    if (take(r, '*')) {
        min = 0;
        max = GRAM_NONE;
    } else if (take(r, '+')) {
        max = GRAM_NONE;
    } else if (take(r, '?')) {
        min = 0;
    } else if (!take_counts(r, &min, &max)) {
        return ERR_OK;
    }
    take(r, '?');
    if (peek(r) == '*' || peek(r) == '+' || peek(r) == '?')
        return FAIL(r, ERR_CORRUPT, "%zu: nothing to repeat", r->at);
    if (max < min)
        return FAIL(r, ERR_CORRUPT, "%zu: counts in the wrong order", r->at);
    *out = gram_frag_repeat(r->m, *out, min, max);
    return ERR_OK;
}

static enum err parse_alternatives(struct regex *r, struct gram_frag *out)
{
    struct gram_frag all = {0};
    bool first = true;
    do {
        struct gram_frag x = gram_frag_empty(r->m);
        while (r->at < r->n && peek(r) != '|' && peek(r) != ')') {
            struct gram_frag y;
            TRY(parse_repeated(r, &y));
            x = gram_frag_cat(r->m, x, y);
            if (r->m->full)
                return FAIL(r, ERR_UNSUPPORTED, "%zu: more than %u states", r->at, GRAM_NFA_MAX);
        }
        all = first ? x : gram_frag_alt(r->m, all, x);
        first = false;
    } while (take(r, '|'));
    *out = all;
    return ERR_OK;
}

static struct gram_frag any_text(struct gram_nfa *m)
{
    struct gram_class all = {0};
    gram_class_add(&all, 0, 0x10ffff);
    struct gram_frag x = gram_frag_repeat(m, gram_frag_class(m, &all), 0, GRAM_NONE);
    gram_class_done(&all);
    return x;
}

enum err gram_regex_frag(struct gram_nfa *m, struct span pattern, bool search,
                         struct gram_frag *out, struct errinfo *e)
{
    struct regex r = {m, pattern.p, pattern.n, 0, 0, e};
    struct gram_frag before = {0};
    if (pattern.n > GRAM_TEXT_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "a pattern of more than %zu bytes", GRAM_TEXT_BYTES_MAX);
    if (search)
        before = any_text(m);
    TRY(parse_alternatives(&r, out));
    if (r.at < r.n)
        return FAIL(&r, ERR_CORRUPT, "%zu: a ')' without its '('", r.at);
    if (search) {
        *out = gram_frag_cat(m, before, *out);
        *out = gram_frag_cat(m, *out, any_text(m));
    }
    if (m->full)
        return FAIL(&r, ERR_UNSUPPORTED, "%zu: more than %u states", r.at, GRAM_NFA_MAX);
    return ERR_OK;
}

enum err gram_regex_dfa(struct gram_dfa *d, enum gram_coding coding, struct span pattern,
                        bool search, struct errinfo *e)
{
    struct gram_nfa m;
    struct gram_frag f;
    *d = (struct gram_dfa){0};
    gram_nfa_init(&m, coding);
    enum err rc = gram_regex_frag(&m, pattern, search, &f, e);
    if (rc == ERR_OK && !gram_dfa_from_nfa(d, &m, f))
        rc = err_set(e, ERR_UNSUPPORTED, "this pattern needs too large an automaton");
    gram_nfa_done(&m);
    return rc;
}
