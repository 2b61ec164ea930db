/* SPDX-License-Identifier: MIT
 * gram_gbnf.c - GBNF, the grammar notation of llama.cpp (grammars/README.md there).
 *
 * name ::= alternatives of sequences; "text", [class], . , (group), name; * + ? {n} {n,} {n,m};
 * # begins a comment.  A line's end ends a rule, but not inside parentheses, after | or before a
 * line that begins with |. */
#include "gram/gram_int.h"

#include <stdio.h>
#include <string.h>

struct gbnf {
    const char *p;
    size_t n, at;
    int depth;
    struct gram_build b;
    struct gram_nfa m;
    struct span *name; /* [n_rules] */
    size_t *used_at;   /* [n_rules] where the name first stood */
    uint32_t cap_name, cap_used;
    uint32_t *slot; /* name -> rule + 1 */
    uint32_t n_slots, n_named;
    const json_t *parts;
    struct errinfo *e;
};

static enum err fail(const struct gbnf *g, size_t at, enum err code, const char *what)
{
    size_t line = 1, begin = 0;
    for (size_t i = 0; i < at && i < g->n; i++)
        if (g->p[i] == '\n') {
            line++;
            begin = i + 1;
        }
    return err_set(g->e, code, "grammar, line %zu, column %zu: %.300s", line, at - begin + 1, what);
}

static int peek(const struct gbnf *g)
{
    return g->at < g->n ? (unsigned char)g->p[g->at] : -1;
}

static bool take(struct gbnf *g, char c)
{
    if (peek(g) != (unsigned char)c)
        return false;
    g->at++;
    return true;
}

static void skip_space(struct gbnf *g, bool lines)
{
    for (;; g->at++) {
        if (peek(g) == '#')
            while (g->at < g->n && peek(g) != '\n' && peek(g) != '\r')
                g->at++;
        int c = peek(g);
        if (c != ' ' && c != '\t' && !(lines && (c == '\n' || c == '\r')))
            return;
    }
}

static bool is_name(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static struct span take_name(struct gbnf *g)
{
    size_t from = g->at;
    while (is_name(peek(g)))
        g->at++;
    return (struct span){g->p + from, g->at - from};
}

static uint32_t *slot_of(struct gbnf *g, struct span name)
{
    uint64_t h = num_hash(name.p, name.n, 0);
    while (g->slot[h % g->n_slots] && !span_eq(g->name[g->slot[h % g->n_slots] - 1], name))
        h++;
    return &g->slot[h % g->n_slots];
}

static uint32_t rule_of(struct gbnf *g, struct span name)
{
    uint32_t *slot = slot_of(g, name);
    if (*slot)
        return *slot - 1;
    uint32_t r = gram_build_rule(&g->b);
    if (g->b.full)
        return 0;
    uint32_t n = r;
    GRAM_GROW(g->name, n, g->cap_name);
    GRAM_GROW(g->used_at, n, g->cap_used);
    g->name[r] = name;
    g->used_at[r] = (size_t)(name.p - g->p);
    *slot = r + 1;
    return r;
}

static enum err take_char(struct gbnf *g, uint32_t *cp)
{
    static const char from[] = "nrt\\\"[]-^", to[] = "\n\r\t\\\"[]-^";
    size_t len, at = g->at;
    if (!take(g, '\\')) {
        int32_t c = g->at < g->n ? utf8_get(g->p + g->at, g->n - g->at, &len) : -1;
        if (c < 0)
            return fail(g, at, ERR_CORRUPT, "it ends too early or is not UTF-8");
        g->at += len;
        *cp = (uint32_t)c;
        return ERR_OK;
    }
    int c = peek(g);
    const char *found = c > 0 ? strchr(from, c) : NULL;
    int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (found) {
        *cp = (uint32_t)(unsigned char)to[found - from];
        g->at++;
        return ERR_OK;
    }
    if (!digits)
        return fail(g, at, ERR_CORRUPT, "an unknown escape");
    g->at++;
    *cp = 0;
    for (; digits > 0; digits--) {
        static const char hex[] = "0123456789abcdef";
        int x = peek(g);
        const char *d = x > 0 ? strchr(hex, x >= 'A' && x <= 'F' ? x | 0x20 : x) : NULL;
        if (!d || *cp > 0xfffffff)
            return fail(g, at, ERR_CORRUPT, "an escape without its digits");
        *cp = *cp * 16 + (uint32_t)(d - hex);
        g->at++;
    }
    if (*cp > 0x10ffff || (*cp >= 0xd800 && *cp <= 0xdfff))
        return fail(g, at, ERR_CORRUPT, "an escape of no code point");
    return ERR_OK;
}

static enum err parse_text(struct gbnf *g, struct gram_frag *out)
{
    struct str text;
    size_t at = g->at;
    enum err rc = ERR_OK;
    str_init(&text, GRAM_TEXT_BYTES_MAX);
    while (rc == ERR_OK && !take(g, '"')) {
        uint32_t cp;
        char utf8[4];
        if (peek(g) < 0 || peek(g) == '\n')
            rc = fail(g, at, ERR_CORRUPT, "a text that does not end");
        else if ((rc = take_char(g, &cp)) == ERR_OK)
            str_add(&text, utf8, utf8_put(utf8, cp));
    }
    if (rc == ERR_OK)
        *out = gram_frag_bytes(&g->m, str_span(&text));
    str_done(&text);
    return rc;
}

static enum err parse_class(struct gbnf *g, struct gram_class *c)
{
    bool inverted = take(g, '^');
    while (!take(g, ']')) {
        uint32_t lo, hi;
        TRY(take_char(g, &lo));
        hi = lo;
        if (peek(g) == '-' && g->at + 1 < g->n && g->p[g->at + 1] != ']') {
            g->at++;
            TRY(take_char(g, &hi));
        }
        if (hi < lo)
            return fail(g, g->at, ERR_CORRUPT, "a range that ends before it begins");
        gram_class_add(c, lo, hi);
    }
    if (inverted)
        gram_class_invert(c);
    return ERR_OK;
}

static enum err parse_alternatives(struct gbnf *g, bool nested, struct gram_frag *out);

static enum err parse_group(struct gbnf *g, struct gram_frag *out)
{
    size_t at = g->at;
    if (++g->depth > GRAM_NEST_MAX)
        return fail(g, at, ERR_UNSUPPORTED, "too many groups in groups");
    skip_space(g, true);
    TRY(parse_alternatives(g, true, out));
    g->depth--;
    if (!take(g, ')'))
        return fail(g, at, ERR_CORRUPT, "a group that does not end");
    return ERR_OK;
}

static enum err parse_one(struct gbnf *g, struct gram_frag *out)
{
    struct gram_class c = {0};
    size_t at = g->at;
    enum err rc = ERR_OK;
    if (take(g, '"'))
        return parse_text(g, out);
    if (take(g, '('))
        return parse_group(g, out);
    if (is_name(peek(g))) {
        uint32_t r = rule_of(g, take_name(g));
        *out = gram_frag_kind(&g->m, GRAM_NFA_CALL, r);
        return ERR_OK;
    }
    if (take(g, '['))
        rc = parse_class(g, &c);
    else if (take(g, '.'))
        gram_class_add(&c, 0, 0x10ffff);
    else
        rc = fail(g, at, ERR_CORRUPT, "this begins no text, class, group or name");
    if (rc == ERR_OK)
        *out = gram_frag_class(&g->m, &c);
    gram_class_done(&c);
    return rc;
}

static bool take_number(struct gbnf *g, uint32_t *v)
{
    size_t from = g->at;
    for (*v = 0; peek(g) >= '0' && peek(g) <= '9'; g->at++)
        *v = MIN(*v * 10 + (uint32_t)(g->p[g->at] - '0'), 100000000u);
    return g->at > from;
}

static enum err parse_counts(struct gbnf *g, uint32_t *min, uint32_t *max)
{
    size_t at = g->at;
    skip_space(g, true);
    bool ok = take_number(g, min);
    *max = *min;
    skip_space(g, true);
    if (ok && take(g, ',')) {
        skip_space(g, true);
        if (!take_number(g, max))
            *max = GRAM_NONE;
        skip_space(g, true);
    }
    if (!ok || !take(g, '}') || *max < *min)
        return fail(g, at, ERR_CORRUPT, "counts that are not {n}, {n,} or {n,m}");
    return ERR_OK;
}

static enum err parse_sequence(struct gbnf *g, bool nested, struct gram_frag *out)
{
    struct gram_frag x = gram_frag_empty(&g->m);
    skip_space(g, nested);
    while (g->at < g->n && !strchr("|)\r\n", peek(g))) {
        struct gram_frag y;
        uint32_t min = 0, max = GRAM_NONE;
        size_t at = g->at;
        TRY(parse_one(g, &y));
        skip_space(g, nested);
        for (bool more = true; more; skip_space(g, nested)) {
            min = take(g, '+') ? 1 : 0;
            max = GRAM_NONE;
            if (min == 0 && take(g, '?'))
                max = 1;
            else if (min == 0 && take(g, '{'))
                TRY(parse_counts(g, &min, &max));
            else if (min == 0 && !take(g, '*'))
                more = false;
            if (more)
                y = gram_frag_repeat(&g->m, y, min, max);
        }
        x = gram_frag_cat(&g->m, x, y);
        if (g->m.full || g->b.full)
            return fail(g, at, ERR_UNSUPPORTED, "the grammar is too large");
    }
    *out = x;
    return ERR_OK;
}

static enum err parse_alternatives(struct gbnf *g, bool nested, struct gram_frag *out)
{
    struct gram_frag x;
    TRY(parse_sequence(g, nested, out));
    for (;;) {
        size_t at = g->at;
        skip_space(g, true);
        if (!take(g, '|')) {
            g->at = nested ? g->at : at;
            return ERR_OK;
        }
        skip_space(g, true);
        TRY(parse_sequence(g, nested, &x));
        *out = gram_frag_alt(&g->m, *out, x);
    }
}

static enum err parse_rule(struct gbnf *g)
{
    struct gram_frag f;
    struct gram_dfa d;
    size_t at = g->at;
    struct span name = take_name(g);
    if (!name.n)
        return fail(g, at, ERR_CORRUPT, "a rule begins with its name");
    uint32_t r = rule_of(g, name);
    skip_space(g, false);
    if (!(take(g, ':') && take(g, ':') && take(g, '=')))
        return fail(g, g->at, ERR_CORRUPT, "'::=' follows a rule's name");
    if (g->b.full)
        return fail(g, at, ERR_UNSUPPORTED, "the grammar is too large");
    if (g->b.rule[r] != GRAM_NONE)
        return fail(g, at, ERR_CORRUPT, "this rule is there twice");
    skip_space(g, true);
    g->m.n = 0;
    TRY(parse_alternatives(g, false, &f));
    skip_space(g, false);
    if (g->at < g->n && peek(g) != '\n' && peek(g) != '\r')
        return fail(g, g->at, ERR_CORRUPT, "a rule ends with its line");
    if (!gram_dfa_from_nfa(&d, &g->m, f))
        return fail(g, at, ERR_UNSUPPORTED, "this rule needs too large an automaton");
    g->b.rule[r] = gram_build_dfa(&g->b, &d);
    gram_dfa_done(&d);
    skip_space(g, true);
    return ERR_OK;
}

#define INLINE_MAX 32

/* Free text may end anywhere: as a rule of its own, every place in a token would be one where its
 * caller goes on.  So it is put in the place of the calls. */
static enum err inline_part(struct gbnf *g, uint32_t r, const char *name, const json_t *part)
{
    uint32_t n = g->b.n_e, start;
    for (uint32_t k = 0; k < n; k++) {
        if (g->b.e[k].kind != GRAM_EDGE_CALL || g->b.e[k].rule != r)
            continue;
        uint32_t first = g->b.n, to = g->b.e[k].to;
        TRY(gram_part_into(&g->b, name, part, &start, g->e));
        if (g->b.full)
            return ERR_OK; /* refused when it is finished */
        for (uint32_t i = first; i < g->b.n; i++)
            if (g->b.s[i].accept) {
                g->b.s[i].accept = false;
                gram_build_eps(&g->b, i, to);
            }
        g->b.e[k].kind = GRAM_EDGE_EPS;
        g->b.e[k].to = start;
    }
    return ERR_OK;
}

static size_t count_calls(const struct gram_build *b, uint32_t r)
{
    size_t n = 0;
    for (uint32_t k = 0; k < b->n_e; k++)
        n += b->e[k].kind == GRAM_EDGE_CALL && b->e[k].rule == r;
    return n;
}

/* Names without a rule: parts. */
static enum err add_parts(struct gbnf *g)
{
    g->n_named = g->b.n_rules;
    for (uint32_t r = 0; r < g->n_named; r++) {
        char name[128];
        uint32_t start = GRAM_NONE;
        if (g->b.rule[r] != GRAM_NONE)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)MIN(g->name[r].n, sizeof name), g->name[r].p);
        const json_t *part = json_object_get(g->parts, name);
        if (!part)
            return fail(g, g->used_at[r], ERR_CORRUPT, "a name without a rule");
        if (json_object_get(part, "without") && count_calls(&g->b, r) <= INLINE_MAX) {
            TRY(inline_part(g, r, name, part));
            continue;
        }
        TRY(gram_part_into(&g->b, name, part, &start, g->e));
        g->b.rule[r] = start;
    }
    return ERR_OK;
}

static enum err parse(struct gbnf *g, uint32_t *root)
{
    skip_space(g, true);
    while (g->at < g->n)
        TRY(parse_rule(g));
    TRY(add_parts(g));
    uint32_t slot = *slot_of(g, SPAN("root"));
    if (!slot)
        return err_set(g->e, ERR_CORRUPT, "grammar: there is no rule 'root'");
    *root = slot - 1;
    return ERR_OK;
}

static const char *name_of(void *ctx, uint32_t rule)
{
    static _Thread_local char text[128];
    struct gbnf *g = ctx;
    if (rule >= g->n_named)
        return "a part";
    snprintf(text, sizeof text, "%.*s", (int)MIN(g->name[rule].n, 100), g->name[rule].p);
    return text;
}

enum err gram_from_gbnf(struct gram **out, struct span text, struct errinfo *e)
{
    return gram_from_parts(out, text, NULL, e);
}

enum err gram_from_parts(struct gram **out, struct span text, const json_t *parts,
                         struct errinfo *e)
{
    uint32_t root = 0;
    struct gbnf g = {
        .p = text.p, .n = text.n, .n_slots = 4 * GRAM_RULES_MAX, .parts = parts, .e = e};
    *out = NULL;
    if (text.n > GRAM_TEXT_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "a grammar of more than %zu bytes", GRAM_TEXT_BYTES_MAX);
    g.slot = mem_alloc(g.n_slots * sizeof *g.slot);
    gram_nfa_init(&g.m, GRAM_UTF8);
    enum err rc = parse(&g, &root);
    if (rc == ERR_OK)
        rc = gram_build_finish(out, &g.b, root, name_of, &g, e);
    gram_build_done(&g.b);
    gram_nfa_done(&g.m);
    mem_free(g.name);
    mem_free(g.used_at);
    mem_free(g.slot);
    return rc;
}

enum err gram_from_regex(struct gram **out, struct span pattern, struct errinfo *e)
{
    struct gram_build b = {0};
    struct gram_dfa d;
    *out = NULL;
    TRY(gram_regex_dfa(&d, GRAM_UTF8, pattern, false, e));
    uint32_t root = gram_build_rule(&b);
    b.rule[root] = gram_build_dfa(&b, &d);
    gram_dfa_done(&d);
    return gram_build_finish(out, &b, root, NULL, NULL, e);
}
