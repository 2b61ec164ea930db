/* SPDX-License-Identifier: MIT
 * gram_parts.c - parts of a grammar that GBNF has no words for: values of a schema, control tokens,
 * free text. */
#include "gram/gram_int.h"

#include <string.h>

#define LITERALS_MAX      64
#define LITERAL_BYTES_MAX 1024

static struct span string_of(const json_t *j)
{
    return (struct span){json_string_value(j), json_string_length(j)};
}

static struct gram_frag byte_range(struct gram_nfa *m, uint8_t lo, uint8_t hi)
{
    uint32_t end = gram_nfa_add(
        m, (struct gram_nfa_state){GRAM_NONE, GRAM_NONE, GRAM_NFA_SPLIT, 0, 0});
    uint32_t at = gram_nfa_add(m, (struct gram_nfa_state){end, GRAM_NONE, GRAM_NFA_BYTE, lo, hi});
    return (struct gram_frag){end, m->n, at, end};
}

/* A control token between its bytes 0xFF: of this name, or of any. */
static struct gram_frag control(struct gram_nfa *m, const struct span *name)
{
    struct gram_class any = {0};
    struct gram_frag x = byte_range(m, 0xff, 0xff), y;
    if (name) {
        y = gram_frag_bytes(m, *name);
    } else {
        gram_class_add(&any, 0, 0x10ffff);
        y = gram_frag_repeat(m, gram_frag_class(m, &any), 1, GRAM_NONE);
        gram_class_done(&any);
    }
    x = gram_frag_cat(m, x, y);
    return gram_frag_cat(m, x, byte_range(m, 0xff, 0xff));
}

static enum err bad(const char *name, const char *what, struct errinfo *e)
{
    return err_set(e, ERR_CORRUPT, "grammar, part '%.60s': %s", name, what);
}

/* A text, or {"control": text}. */
static enum err literal(struct gram_nfa *m, const char *name, const json_t *j,
                        struct gram_frag *out, struct errinfo *e)
{
    const json_t *c = json_object_get(j, "control");
    struct span s = string_of(c ? c : j);
    if (!s.p || !s.n || s.n > LITERAL_BYTES_MAX)
        return bad(name, "a literal is a text of 1 to 1024 bytes, or {\"control\": text}", e);
    *out = c ? control(m, &s) : gram_frag_bytes(m, s);
    return ERR_OK;
}

/* (any byte)*, unless x is a literal of the beginning, then x, then (any byte)*. */
static enum err found_text(struct gram_nfa *m, const char *name, const json_t *j,
                           struct gram_frag *out, struct errinfo *e)
{
    struct gram_frag before, x;
    const json_t *first = json_object_get(j, "first");
    before = first ? gram_frag_empty(m) : gram_frag_repeat(m, byte_range(m, 0, 255), 0, GRAM_NONE);
    TRY(literal(m, name, first ? first : j, &x, e));
    x = gram_frag_cat(m, before, x);
    *out = gram_frag_cat(m, x, gram_frag_repeat(m, byte_range(m, 0, 255), 0, GRAM_NONE));
    return ERR_OK;
}

/* The texts in which one of the list is found. */
static enum err containing(struct gram_nfa *m, const char *name, const json_t *list,
                           struct gram_frag *out, struct errinfo *e)
{
    const json_t *j;
    struct gram_frag x;
    size_t i;
    if (!json_is_array(list) || !json_array_size(list) || json_array_size(list) > LITERALS_MAX)
        return bad(name, "\"without\" is a list of 1 to 64 literals", e);
    json_array_foreach(list, i, j)
    {
        TRY(found_text(m, name, j, i ? &x : out, e));
        if (i)
            *out = gram_frag_alt(m, *out, x);
    }
    return ERR_OK;
}

/* All texts of characters and control tokens. */
static bool all_texts(struct gram_dfa *d)
{
    struct gram_nfa m;
    struct gram_class any = {0};
    gram_nfa_init(&m, GRAM_UTF8);
    gram_class_add(&any, 0, 0x10ffff);
    struct gram_frag x = gram_frag_class(&m, &any);
    x = gram_frag_alt(&m, x, control(&m, NULL));
    x = gram_frag_repeat(&m, x, 0, GRAM_NONE);
    bool ok = gram_dfa_from_nfa(d, &m, x);
    gram_class_done(&any);
    gram_nfa_done(&m);
    return ok;
}

static enum err without(struct gram_build *b, const char *name, const json_t *list, uint32_t *start,
                        struct errinfo *e)
{
    struct gram_nfa m;
    struct gram_frag x;
    struct gram_dfa all, no, free_text;
    gram_nfa_init(&m, GRAM_UTF8);
    enum err rc = containing(&m, name, list, &x, e);
    bool ok = rc == ERR_OK && gram_dfa_from_nfa(&no, &m, x);
    gram_nfa_done(&m);
    if (rc == ERR_OK && !ok)
        rc = err_set(e, ERR_UNSUPPORTED, "grammar, part '%.60s': the list is too large", name);
    if (rc != ERR_OK)
        return rc;
    CHECK(all_texts(&all));
    const struct gram_dfa *yes_list[] = {&all}, *no_list[] = {&no};
    ok = gram_dfa_product(&free_text, yes_list, 1, no_list, 1);
    if (ok) {
        *start = gram_build_dfa(b, &free_text);
        gram_dfa_done(&free_text);
    }
    gram_dfa_done(&all);
    gram_dfa_done(&no);
    return ok ? ERR_OK
              : err_set(e, ERR_UNSUPPORTED, "grammar, part '%.60s': the list is too large", name);
}

static enum err one_token(struct gram_build *b, const char *name, const json_t *text,
                          uint32_t *start, struct errinfo *e)
{
    struct span s = string_of(text);
    if (!s.p || !s.n || s.n > LITERAL_BYTES_MAX)
        return bad(name, "\"control\" is the text of a control token", e);
    char mark = GRAM_CONTROL;
    *start = gram_build_state(b, false);
    uint32_t at = gram_build_bytes(b, *start, (struct span){&mark, 1});
    at = gram_build_bytes(b, gram_build_bytes(b, at, s), (struct span){&mark, 1});
    uint32_t end = gram_build_state(b, true);
    if (!b->full)
        gram_build_eps(b, at, end);
    return ERR_OK;
}

static enum err regex(struct gram_build *b, const json_t *pattern, uint32_t *start,
                      struct errinfo *e)
{
    struct gram_dfa d;
    if (!json_is_string(pattern))
        return err_set(e, ERR_CORRUPT, "\"regex\" is a text");
    TRY(gram_regex_dfa(&d, GRAM_UTF8, string_of(pattern), false, e));
    *start = gram_build_dfa(b, &d);
    gram_dfa_done(&d);
    return ERR_OK;
}

enum err gram_part_into(struct gram_build *b, const char *name, const json_t *part, uint32_t *start,
                        struct errinfo *e)
{
    const json_t *schema = json_object_get(part, "schema"), *r = json_object_get(part, "regex");
    const json_t *c = json_object_get(part, "control"), *list = json_object_get(part, "without");
    struct gram_opts opts = {.strict = json_is_true(json_object_get(part, "strict"))};
    struct errinfo inner = {0};
    enum err rc;
    if (c)
        return one_token(b, name, c, start, e);
    if (list)
        return without(b, name, list, start, e);
    if (schema)
        rc = gram_schema_into(b, schema, &opts, start, &inner);
    else if (r)
        rc = regex(b, r, start, &inner);
    else
        return bad(name, "none of schema, regex, control, without", e);
    return rc == ERR_OK ? rc : err_set(e, rc, "part '%.60s': %.400s", name, inner.text);
}
