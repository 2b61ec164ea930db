/* SPDX-License-Identifier: MIT
 * gram_schema_values.c - JSON Schema: enum and const, what cannot hold together, strict mode. */
#include "gram/gram_schema_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_NEST_MAX 64

/* JSON Schema's equality of scalars: 1 and 1.0 are equal; deeper inside jansson's. */
static bool same_value(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b))
        return json_integer_value(a) == json_integer_value(b);
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

static uint32_t type_of(const json_t *v)
{
    double d = json_number_value(v);
    switch (json_typeof(v)) {
    case JSON_NULL: return TYPE_NULL;
    case JSON_TRUE:
    case JSON_FALSE: return TYPE_BOOL;
    case JSON_STRING: return TYPE_STR;
    case JSON_ARRAY: return TYPE_ARR;
    case JSON_OBJECT: return TYPE_OBJ;
    case JSON_INTEGER: return TYPE_INT;
    default: return d == floor(d) ? TYPE_INT : TYPE_REAL;
    }
}

/* ---- values as text ---- */

static uint32_t add_text(struct schema *c, uint32_t from, const char *text)
{
    return gram_build_bytes(&c->b, from, span_of(text));
}

/* A number in the forms that programs write: 30, 30.0, 3e+01. */
static uint32_t add_real(struct schema *c, uint32_t from, double v)
{
    char text[2][64];
    uint32_t end = gram_build_state(&c->b, false);
    bool whole = v == floor(v) && fabs(v) < 1e16;
    schema_real_text(text[0], v);
    if (whole)
        snprintf(text[1], sizeof text[1], "%.0f", v);
    else
        snprintf(text[1], sizeof text[1], "%.17g", v);
    gram_build_eps(&c->b, add_text(c, from, text[0]), end);
    if (strcmp(text[0], text[1]) != 0)
        gram_build_eps(&c->b, add_text(c, from, text[1]), end);
    if (whole) {
        snprintf(text[1], sizeof text[1], "%.1f", v);
        gram_build_eps(&c->b, add_text(c, from, text[1]), end);
    }
    return end;
}

static uint32_t add_string(struct schema *c, uint32_t from, struct span s)
{
    struct str text;
    str_init(&text, 8 * GRAM_TEXT_BYTES_MAX);
    schema_json_text(&text, s);
    from = gram_build_bytes(&c->b, from, str_span(&text));
    str_done(&text);
    return from;
}

static uint32_t add_space(struct schema *c, uint32_t from)
{
    uint32_t to = gram_build_state(&c->b, false);
    gram_build_call(&c->b, from, schema_space(c), to);
    return to;
}

static uint32_t add_value(struct schema *c, uint32_t from, const json_t *v, int nest);

static uint32_t add_parts(struct schema *c, uint32_t at, const json_t *v, int nest)
{
    const char *key;
    json_t *x;
    size_t i;
    bool first = true;
    if (json_is_array(v)) {
        at = add_space(c, add_text(c, at, "["));
        json_array_foreach(v, i, x)
        {
            at = i ? add_space(c, add_text(c, at, ",")) : at;
            at = add_space(c, add_value(c, at, x, nest));
        }
        return add_text(c, at, "]");
    }
    at = add_space(c, add_text(c, at, "{"));
    json_object_foreach((json_t *)v, key, x)
    {
        at = first ? at : add_space(c, add_text(c, at, ","));
        first = false;
        at = add_space(c, add_string(c, at, span_of(key)));
        at = add_space(c, add_text(c, at, ":"));
        at = add_space(c, add_value(c, at, x, nest));
    }
    return add_text(c, at, "}");
}

/* Recursion to VALUE_NEST_MAX. */
static uint32_t add_value(struct schema *c, uint32_t from, const json_t *v, int nest)
{
    char text[40];
    if (c->b.full || nest > VALUE_NEST_MAX) {
        c->b.full = true;
        return from;
    }
    switch (json_typeof(v)) {
    case JSON_STRING:
        return add_string(c, from, (struct span){json_string_value(v), json_string_length(v)});
    case JSON_INTEGER:
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
        return add_text(c, from, text);
    case JSON_REAL: return add_real(c, from, json_real_value(v));
    case JSON_TRUE: return add_text(c, from, "true");
    case JSON_FALSE: return add_text(c, from, "false");
    case JSON_NULL: return add_text(c, from, "null");
    default: return add_parts(c, from, v, nest + 1);
    }
}

/* ---- enum and const ---- */

/* The i-th value that a member lists; NULL after the last. */
static const json_t *listed(const struct schema_node *n, size_t i)
{
    const json_t *one = json_object_get(n->j, "const"), *list = json_object_get(n->j, "enum");
    return one ? (i == 0 ? one : NULL) : json_array_get(list, i);
}

static bool lists(const struct schema_node *n)
{
    return json_object_get(n->j, "const") || json_object_get(n->j, "enum");
}

/* Whether one list of the member (const, and enum where both are there) holds v. */
static bool lists_value(struct schema *c, const struct schema_node *n, const json_t *v)
{
    const json_t *one = json_object_get(n->j, "const"), *list = json_object_get(n->j, "enum"), *x;
    bool found = !list;
    size_t i;
    c->n_work += json_array_size(list);
    json_array_foreach(list, i, x) found = found || same_value(x, v);
    return found && (!one || same_value(one, v));
}

static const char *part_keyword(const struct schema_node *n, bool object)
{
    static const char *const words[2][8] = {
        {"items",              "prefixItems",          "minItems", "maxItems",      "uniqueItems"},
        { "properties", "patternProperties", "additionalProperties", "required", "minProperties",
         "maxProperties"},
    };
    for (int i = 0; i < 8 && words[object][i]; i++)
        if (json_object_get(n->j, words[object][i]))
            return words[object][i];
    return NULL;
}

static enum err value_fits(struct schema *c, const struct schema_set *s, const json_t *v,
                           const struct schema_node *own, uint32_t types, bool *fits)
{
    const struct schema_node *n;
    *fits = (types & type_of(v)) != 0;
    for (uint32_t i = 0; *fits && (n = schema_member(c, s, i)); i++) {
        const char *word = json_is_array(v) || json_is_object(v)
                               ? part_keyword(n, json_is_object(v))
                               : NULL;
        if (word)
            return schema_bad(c, n, word, ERR_UNSUPPORTED, "beside enum or const");
        bool both = json_object_get(n->j, "const") && json_object_get(n->j, "enum");
        *fits = (n == own && !both) || lists_value(c, n, v); /* v is out of own's list */
    }
    return *fits ? schema_scalar_fits(c, s, v, fits) : ERR_OK;
}

/* Strings together, as one automaton: they begin alike. */
static enum err add_strings(struct schema *c, const struct span *text, size_t n, uint32_t from,
                            uint32_t to)
{
    struct gram_dfa d;
    uint32_t rule;
    TRY(schema_names_dfa(c, text, n, &d));
    enum err rc = schema_name_rule(c, &d, &rule);
    gram_dfa_done(&d);
    gram_build_call(&c->b, from, rule, to);
    return rc;
}

enum err schema_values(struct schema *c, const struct schema_set *s, uint32_t from, uint32_t to,
                       bool *has)
{
    const struct schema_node *n, *first = NULL;
    const json_t *v;
    uint32_t types = schema_types(c, s);
    for (uint32_t i = 0; (n = schema_member(c, s, i)); i++) {
        const json_t *list = json_object_get(n->j, "enum");
        if (list && !json_is_array(list))
            return schema_bad(c, n, "enum", ERR_CORRUPT, "not a list");
        if (!first && lists(n))
            first = n;
    }
    *has = first != NULL;
    if (!first)
        return ERR_OK;
    size_t n_listed = json_object_get(first->j, "const")
                          ? 1
                          : json_array_size(json_object_get(first->j, "enum"));
    struct span *text = arena_array(&c->a, n_listed + 1, sizeof *text);
    size_t n_text = 0;
    for (size_t i = 0; (v = listed(first, i)); i++) {
        bool fits;
        TRY(value_fits(c, s, v, first, types, &fits));
        if (c->n_work > SCHEMA_WORK_MAX || c->b.full)
            return schema_bad(c, first, "enum", ERR_UNSUPPORTED, "too many values");
        if (fits && json_is_string(v))
            text[n_text++] = (struct span){json_string_value(v), json_string_length(v)};
        else if (fits)
            gram_build_eps(&c->b, add_value(c, from, v, 0), to);
    }
    return n_text ? add_strings(c, text, n_text, from, to) : ERR_OK;
}

/* ---- what cannot hold together ---- */

static const struct schema_node *first_list(const struct schema *c, const struct schema_set *s)
{
    const struct schema_node *n;
    for (uint32_t i = 0; (n = schema_member(c, s, i)); i++)
        if (lists(n))
            return n;
    return NULL;
}

static bool values_disjoint(struct schema *c, const struct schema_set *x,
                            const struct schema_set *y)
{
    const struct schema_node *nx = first_list(c, x), *ny = first_list(c, y);
    const json_t *v;
    if (!nx)
        return false;
    uint32_t types = schema_types(c, y);
    for (size_t i = 0; (v = listed(nx, i)); i++)
        if ((types & type_of(v)) && (!ny || lists_value(c, ny, v)))
            return false;
    return true;
}

static double edge(const struct schema *c, const struct schema_set *s, const char *word, double d)
{
    const struct schema_node *n;
    for (uint32_t i = 0; (n = schema_member(c, s, i)); i++) {
        const json_t *j = json_object_get(n->j, word);
        if (json_is_number(j))
            d = d < 0 ? fmax(d, json_number_value(j)) : fmin(d, json_number_value(j));
    }
    return d;
}

static bool numbers_apart(const struct schema *c, const struct schema_set *x,
                          const struct schema_set *y)
{
    double hi = edge(c, x, "maximum", HUGE_VAL), hi_open = edge(c, x, "exclusiveMaximum", HUGE_VAL);
    double lo = edge(c, y, "minimum", -HUGE_VAL);
    double lo_open = edge(c, y, "exclusiveMinimum", -HUGE_VAL);
    return hi < lo || hi_open <= lo || hi <= lo_open || hi_open <= lo_open;
}

static bool requires(const struct schema *c, const struct schema_set *s, const char *name)
{
    const struct schema_node *n;
    const json_t *v;
    size_t k;
    for (uint32_t i = 0; (n = schema_member(c, s, i)); i++)
        json_array_foreach(json_object_get(n->j, "required"), k,
                           v) if (json_is_string(v) &&
                                  strcmp(json_string_value(v), name) == 0) return true;
    return false;
}

/* A name that x requires and y does not allow. */
static bool forbids(const struct schema *c, const struct schema_set *x, const struct schema_set *y)
{
    const struct schema_node *n;
    const char *name;
    size_t k;
    const json_t *v;
    for (uint32_t i = 0; (n = schema_member(c, y, i)); i++) {
        if (!json_is_false(json_object_get(n->j, "additionalProperties")) ||
            json_object_get(n->j, "patternProperties"))
            continue;
        const struct schema_node *m;
        for (uint32_t o = 0; (m = schema_member(c, x, o)); o++)
            json_array_foreach(
                json_object_get(m->j, "required"), k,
                v) if ((name = json_string_value(v)) &&
                       !json_object_get(json_object_get(n->j, "properties"), name)) return true;
    }
    return false;
}

static enum err property_set(struct schema *c, const struct schema_set *s, const char *name,
                             struct schema_set *out)
{
    struct schema_list l = {0};
    const struct schema_node *n;
    for (uint32_t i = 0; (n = schema_member(c, s, i)); i++) {
        const json_t *j = json_object_get(json_object_get(n->j, "properties"), name);
        if (j)
            TRY(schema_list_add(c, &l, j, n, "properties", name, -1));
    }
    return schema_close(c, &l, out);
}

static bool evident(struct schema *c, const struct schema_set *x, const struct schema_set *y)
{
    uint32_t both = schema_types(c, x) & schema_types(c, y);
    return x->never || y->never || !both || values_disjoint(c, x, y) || values_disjoint(c, y, x) ||
           (!(both & ~(uint32_t)(TYPE_INT | TYPE_REAL)) &&
            (numbers_apart(c, x, y) || numbers_apart(c, y, x)));
}

enum err schema_disjoint(struct schema *c, const struct schema_set *x, const struct schema_set *y,
                         bool *out)
{
    const struct schema_node *n;
    const char *name;
    json_t *v;
    *out = evident(c, x, y);
    if (*out || (schema_types(c, x) & schema_types(c, y)) != TYPE_OBJ)
        return ERR_OK;
    *out = forbids(c, x, y) || forbids(c, y, x);
    for (uint32_t i = 0; !*out && (n = schema_member(c, x, i)); i++)
        json_object_foreach(json_object_get(n->j, "properties"), name, v)
        {
            struct schema_set px, py;
            if (*out || (!requires(c, x, name) && !requires(c, y, name)))
                continue;
            TRY(property_set(c, x, name, &px));
            TRY(property_set(c, y, name, &py));
            *out = evident(c, &px, &py);
            if ((c->n_work += 16) > SCHEMA_WORK_MAX)
                return schema_bad(c, n, "oneOf", ERR_UNSUPPORTED, "too many properties");
        }
    return ERR_OK;
}

/* ---- strict mode ---- */

/* OpenAI, "Structured Outputs: supported schemas": the root is an object and no anyOf; each object
 * says additionalProperties: false and requires all its properties; no allOf and oneOf. */
static enum err check_one(struct schema *c, const struct schema_node *n)
{
    const json_t *type = json_object_get(n->j, "type");
    const char *word = json_object_get(n->j, "allOf")               ? "allOf"
                       : json_object_get(n->j, "oneOf")             ? "oneOf"
                       : json_object_get(n->j, "patternProperties") ? "patternProperties"
                                                                    : NULL;
    bool object = json_object_get(n->j, "properties") != NULL;
    const char *name;
    json_t *v;
    size_t k;
    if (word)
        return schema_bad(c, n, word, ERR_USAGE, "not allowed in strict mode");
    if (json_is_string(type))
        object = object || strcmp(json_string_value(type), "object") == 0;
    json_array_foreach(type, k, v)
        object = object || (json_is_string(v) && strcmp(json_string_value(v), "object") == 0);
    if (n->j == c->root && (!object || json_object_get(n->j, "anyOf")))
        return schema_bad(c, n, "type", ERR_USAGE, "strict mode: the root is an object");
    if (!object)
        return ERR_OK;
    if (!json_is_false(json_object_get(n->j, "additionalProperties")))
        return schema_bad(c, n, "additionalProperties", ERR_USAGE, "strict mode: must be false");
    struct schema_set s = {arena_alloc(&c->a, sizeof(uint32_t)), 1, false};
    s.m[0] = (uint32_t)(n - c->node) << 2;
    json_object_foreach(
        json_object_get(n->j, "properties"), name,
        v) if (!requires(c, &s, name)) return schema_bad(c, n, "required", ERR_USAGE,
                                                         "strict mode: '%.60s' is missing", name);
    return ERR_OK;
}

enum err schema_check_strict(struct schema *c, const json_t *root)
{
    static const char *const maps[] = {"properties", "$defs", "definitions"};
    static const char *const words[] = {"anyOf", "prefixItems", "items"};
    uint32_t at;
    TRY(schema_node_of(c, root, NULL, NULL, NULL, -1, &at));
    for (uint32_t i = 0; i < c->n_node; i++) { /* the list grows while it is read */
        const struct schema_node *n = &c->node[i];
        const char *name;
        json_t *v;
        size_t k;
        if (!json_is_object(n->j))
            continue;
        TRY(check_one(c, n));
        for (size_t w = 0; w < N_ELEMS(maps); w++)
            json_object_foreach(json_object_get(n->j, maps[w]), name, v)
                TRY(schema_node_of(c, v, n, maps[w], name, -1, &at));
        for (size_t w = 0; w < N_ELEMS(words); w++) {
            v = json_object_get(n->j, words[w]);
            if (json_is_object(v) || json_is_boolean(v))
                TRY(schema_node_of(c, v, n, words[w], NULL, -1, &at));
            const json_t *list = v, *x;
            json_array_foreach(list, k, x)
                TRY(schema_node_of(c, x, n, words[w], NULL, (long)k, &at));
        }
    }
    return ERR_OK;
}
