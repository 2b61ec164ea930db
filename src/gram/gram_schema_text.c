/* SPDX-License-Identifier: MIT
 * gram_schema_text.c - JSON Schema: strings, their patterns, formats and lengths. */
#include "gram/gram_schema_int.h"

#include <stdio.h>
#include <string.h>

uint32_t schema_text_rule(struct schema *c, const char *key)
{
    for (uint32_t i = 0; i < c->n_text; i++)
        if (strcmp(c->text[i].key, key) == 0)
            return c->text[i].rule;
    c->n_work += c->n_text / 16;
    return GRAM_NONE;
}

void schema_text_add(struct schema *c, const char *key, uint32_t rule)
{
    GRAM_GROW(c->text, c->n_text, c->cap_text);
    c->text[c->n_text++] = (struct schema_text){arena_printf(&c->a, "%s", key), rule};
}

static void escape_all(struct str *out, struct span text)
{
    size_t len;
    for (size_t i = 0; i < text.n; i += len) {
        int32_t cp = utf8_get(text.p + i, text.n - i, &len);
        gram_json_escape(out, cp < 0 ? 0xfffd : (uint32_t)cp);
    }
}

void schema_json_text(struct str *out, struct span text)
{
    str_add_char(out, '"');
    escape_all(out, text);
    str_add_char(out, '"');
}

enum err schema_names_dfa(struct schema *c, const struct span *name, size_t n, struct gram_dfa *out)
{
    struct gram_nfa m;
    struct str text;
    gram_nfa_init(&m, GRAM_JSON);
    struct gram_frag all = gram_frag_empty(&m); /* one end for all */
    all.start = GRAM_NONE;
    str_init(&text, GRAM_TEXT_BYTES_MAX);
    for (size_t i = 0; i < n; i++) {
        str_clear(&text);
        escape_all(&text, name[i]);
        struct gram_frag one = gram_frag_bytes(&m, str_span(&text));
        m.s[one.end].a = all.end;
        all.start = gram_nfa_add(
            &m, (struct gram_nfa_state){one.start, all.start, GRAM_NFA_SPLIT, 0, 0});
    }
    bool ok = n ? gram_dfa_from_nfa(out, &m, all) : true;
    if (!n)
        *out = (struct gram_dfa){0};
    str_done(&text);
    gram_nfa_done(&m);
    return ok ? ERR_OK
              : err_set(c->e, ERR_UNSUPPORTED,
                        "schema: names or strings of an enum are too "
                        "long together");
}

enum err schema_pattern_dfa(struct schema *c, const struct schema_node *n, const char *keyword,
                            struct span pattern, bool search, struct gram_dfa *out)
{
    struct errinfo why = {0};
    c->n_work += 1000;
    enum err rc = gram_regex_dfa(out, GRAM_JSON, pattern, search, &why);
    if (rc == ERR_OK)
        return ERR_OK;
    return schema_bad(c, n, keyword, rc == ERR_CORRUPT ? ERR_CORRUPT : ERR_UNSUPPORTED, "%.200s",
                      why.text);
}

enum err schema_name_rule(struct schema *c, const struct gram_dfa *content, uint32_t *rule)
{
    struct gram_build *b = &c->b;
    *rule = gram_build_rule(b);
    uint32_t start = gram_build_state(b, false), end = gram_build_state(b, true);
    uint32_t base = gram_build_dfa(b, content);
    if (b->full)
        return ERR_OK;
    gram_build_byte(b, start, '"', '"', base);
    for (uint32_t i = 0; i < content->n; i++)
        if (content->s[i].accept) {
            b->s[base + i].accept = false;
            gram_build_byte(b, base + i, '"', '"', end);
        }
    b->rule[*rule] = start;
    return ERR_OK;
}

/* ---- strings with a length only ---- */

/* What is not one plain byte of ASCII: longer UTF-8, and every escape. */
static const char wide[] = "[^\\x00-\\x7f]|\\\\([\"\\\\/bfnrt]|u([0-9a-ce-fA-CE-F][0-9a-fA-F]{3}|"
                           "[dD][0-7][0-9a-fA-F]{2}|[dD][89abAB][0-9a-fA-F]{2}\\\\u[dD][c-fC-F]"
                           "[0-9a-fA-F]{2}))";

static enum err wide_rule(struct schema *c, uint32_t *rule)
{
    struct gram_dfa d;
    *rule = schema_text_rule(c, "wide");
    if (*rule != GRAM_NONE)
        return ERR_OK;
    TRY(gram_regex_dfa(&d, GRAM_UTF8, span_of(wide), false, c->e));
    *rule = gram_build_rule(&c->b);
    uint32_t start = gram_build_dfa(&c->b, &d);
    if (!c->b.full)
        c->b.rule[*rule] = start;
    gram_dfa_done(&d);
    schema_text_add(c, "wide", *rule);
    return ERR_OK;
}

/* One state a character.  States whose distances to both bounds are the same up to
 * GRAM_LIKE_BYTES are alike. */
static enum err length_rule(struct schema *c, uint32_t min, uint32_t max, uint32_t *rule)
{
    struct gram_build *b = &c->b;
    uint32_t far = GRAM_LIKE_BYTES + 1, last = max == GRAM_NONE ? min : max, more;
    uint32_t before[2] = {0};
    TRY(wide_rule(c, &more));
    *rule = gram_build_rule(b);
    uint32_t start = gram_build_state(b, false), end = gram_build_state(b, true);
    uint32_t at = gram_build_state(b, false);
    gram_build_byte(b, start, '"', '"', at);
    for (uint32_t i = 0; i <= last && !b->full; i++) {
        uint32_t key[2] = {MIN(min > i ? min - i : 0, far),
                           max == GRAM_NONE ? far : MIN(max - i, far)};
        bool like = i && key[0] == before[0] && key[1] == before[1];
        b->s[at].like = like ? b->s[at - 1].like : at;
        before[0] = key[0];
        before[1] = key[1];
        if (i >= min)
            gram_build_byte(b, at, '"', '"', end);
        if (i == last && max != GRAM_NONE)
            break;
        uint32_t to = i == last ? at : gram_build_state(b, false);
        gram_build_byte(b, at, 0x5d, 0x7f, to);
        gram_build_byte(b, at, 0x23, 0x5b, to);
        gram_build_byte(b, at, 0x20, 0x21, to);
        gram_build_call(b, at, more, to);
        at = to;
    }
    if (!b->full)
        b->rule[*rule] = start;
    return ERR_OK;
}

/* ---- strings that patterns describe ---- */

static const struct {
    const char *name, *pattern;
} formats[] = {
#define FORMAT(name, pattern) {#name, pattern},
#include "gram/gram_format.def"
#undef FORMAT
};

#define FACTORS_MAX 16

struct factors {
    struct gram_dfa d[FACTORS_MAX];
    const struct gram_dfa *p[FACTORS_MAX];
    size_t n;
};

static void factors_done(struct factors *f)
{
    for (size_t i = 0; i < f->n; i++)
        gram_dfa_done(&f->d[i]);
}

static enum err add_factor(struct schema *c, struct factors *f, const struct schema_node *n,
                           const char *keyword, struct span pattern, bool search)
{
    if (f->n == FACTORS_MAX)
        return schema_bad(c, n, keyword, ERR_UNSUPPORTED, "more than %d patterns for one string",
                          FACTORS_MAX);
    TRY(schema_pattern_dfa(c, n, keyword, pattern, search, &f->d[f->n]));
    f->p[f->n] = &f->d[f->n];
    f->n++;
    return ERR_OK;
}

static enum err add_format(struct schema *c, struct factors *f, const struct schema_node *n,
                           const json_t *format)
{
    for (size_t i = 0; i < N_ELEMS(formats); i++)
        if (json_is_string(format) && strcmp(json_string_value(format), formats[i].name) == 0) {
            TRY(add_factor(c, f, n, "format", span_of(formats[i].pattern), false));
            if (strcmp(formats[i].name, "hostname") == 0)
                TRY(add_factor(c, f, n, "format", SPAN("[^]{1,253}"), false));
            return ERR_OK;
        }
    return schema_bad(c, n, "format", json_is_string(format) ? ERR_UNSUPPORTED : ERR_CORRUPT,
                      "'%.60s' is no known format",
                      json_is_string(format) ? json_string_value(format) : "");
}

/* The automata of all patterns and formats of the set, and a text that names them. */
static enum err collect(struct schema *c, const struct schema_set *s, struct factors *f)
{
    const struct schema_node *n;
    for (uint32_t i = 0; (n = schema_member(c, s, i)); i++) {
        const json_t *pattern = json_object_get(n->j, "pattern");
        const json_t *format = json_object_get(n->j, "format");
        struct span text = {json_string_value(pattern), json_string_length(pattern)};
        if (pattern && !json_is_string(pattern))
            return schema_bad(c, n, "pattern", ERR_CORRUPT, "not a string");
        if (pattern)
            TRY(add_factor(c, f, n, "pattern", text, true));
        if (format)
            TRY(add_format(c, f, n, format));
    }
    return ERR_OK;
}

static enum err described(struct schema *c, const struct schema_set *s, uint32_t min, uint32_t max,
                          struct factors *f, uint32_t *rule)
{
    char length[64];
    struct gram_dfa all;
    TRY(collect(c, s, f));
    snprintf(length, sizeof length, max == GRAM_NONE ? "[^]{%u,}" : "[^]{%u,%u}", min, max);
    if (min || max != GRAM_NONE)
        TRY(add_factor(c, f, schema_member(c, s, 0), min ? "minLength" : "maxLength",
                       span_of(length), false));
    if (f->n == 1)
        return schema_name_rule(c, f->p[0], rule);
    if (!gram_dfa_product(&all, f->p, f->n, NULL, 0))
        return schema_bad(c, schema_member(c, s, 0), "pattern", ERR_UNSUPPORTED,
                          "these patterns together need too large an automaton");
    enum err rc = schema_name_rule(c, &all, rule);
    gram_dfa_done(&all);
    return rc;
}

/* Describes the strings of the set, so that equal ones share a rule. */
static bool describe(struct schema *c, const struct schema_set *s, uint32_t min, uint32_t max,
                     struct str *key)
{
    static const char *const words[] = {"pattern", "format"};
    const struct schema_node *n;
    bool plain = true;
    str_addf(key, "%u %u", min, max);
    for (uint32_t i = 0; (n = schema_member(c, s, i)); i++)
        for (size_t w = 0; w < N_ELEMS(words); w++) {
            const json_t *j = json_object_get(n->j, words[w]);
            if (!j)
                continue;
            plain = false;
            str_addf(key, " %s %zu:%s", words[w], json_string_length(j),
                     json_is_string(j) ? json_string_value(j) : "");
        }
    return plain;
}

enum err schema_string(struct schema *c, const struct schema_set *s, uint32_t *rule)
{
    uint32_t min, max;
    struct str key;
    enum err rc = ERR_OK;
    *rule = GRAM_NONE;
    TRY(schema_count(c, s, "minLength", true, 0, &min));
    TRY(schema_count(c, s, "maxLength", false, GRAM_NONE, &max));
    if (min > max)
        return ERR_OK;
    if (MAX(min, max == GRAM_NONE ? 0 : max) > GRAM_STATES_MAX / 2)
        return schema_bad(c, schema_member(c, s, 0),
                          min > GRAM_STATES_MAX / 2 ? "minLength" : "maxLength", ERR_UNSUPPORTED,
                          "more than %d", GRAM_STATES_MAX / 2);
    str_init(&key, GRAM_TEXT_BYTES_MAX);
    bool plain = describe(c, s, min, max, &key);
    *rule = key.full ? GRAM_NONE : schema_text_rule(c, key.p);
    if (*rule == GRAM_NONE) {
        if (plain) {
            rc = length_rule(c, min, max, rule);
        } else {
            struct factors f = {.n = 0};
            rc = described(c, s, min, max, &f, rule);
            factors_done(&f);
        }
        if (rc == ERR_OK && !key.full)
            schema_text_add(c, key.p, *rule);
    }
    str_done(&key);
    return rc;
}

/* Whether a string satisfies patterns, formats and lengths of the set. */
static enum err string_fits(struct schema *c, const struct schema_set *s, struct span v, bool *fits)
{
    uint32_t min, max, n = 0;
    struct factors f = {.n = 0};
    struct str text;
    TRY(schema_count(c, s, "minLength", true, 0, &min));
    TRY(schema_count(c, s, "maxLength", false, GRAM_NONE, &max));
    for (size_t i = 0; i < v.n; i++)
        n += ((unsigned char)v.p[i] & 0xc0) != 0x80;
    *fits = n >= min && n <= max;
    enum err rc = collect(c, s, &f);
    str_init(&text, 8 * GRAM_TEXT_BYTES_MAX);
    escape_all(&text, v);
    for (size_t i = 0; rc == ERR_OK && i < f.n; i++)
        *fits = *fits && gram_dfa_accepts(f.p[i], str_span(&text));
    str_done(&text);
    factors_done(&f);
    return rc;
}

enum err schema_scalar_fits(struct schema *c, const struct schema_set *s, const json_t *v,
                            bool *fits)
{
    *fits = true;
    if (json_is_string(v))
        return string_fits(c, s, (struct span){json_string_value(v), json_string_length(v)}, fits);
    if (json_is_number(v))
        return schema_number_fits(c, s, v, fits);
    return ERR_OK;
}
