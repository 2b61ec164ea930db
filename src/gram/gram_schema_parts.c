/* SPDX-License-Identifier: MIT
 * gram_schema_parts.c - JSON Schema: arrays and objects. */
#include "gram/gram_schema_int.h"

#include <string.h>

static uint32_t after_space(struct schema *c, uint32_t from)
{
    uint32_t to = gram_build_state(&c->b, false);
    gram_build_call(&c->b, from, schema_space(c), to);
    return to;
}

static uint32_t after_byte(struct schema *c, uint32_t from, char byte)
{
    return gram_build_bytes(&c->b, from, (struct span){&byte, 1});
}

/* ---- arrays ---- */

static enum err check_arrays(struct schema *c, const struct schema_set *s, uint32_t max,
                             uint32_t *n_prefix)
{
    const struct schema_node *n;
    *n_prefix = 0;
    for (uint32_t i = 0; (n = schema_member(c, s, i)); i++) {
        const json_t *prefix = json_object_get(n->j, "prefixItems");
        const json_t *unique = json_object_get(n->j, "uniqueItems");
        if (prefix && (!json_is_array(prefix) || !json_array_size(prefix)))
            return schema_bad(c, n, "prefixItems", ERR_CORRUPT, "not a list of schemas");
        if (prefix && json_array_size(prefix) > GRAM_RULES_MAX)
            return schema_bad(c, n, "prefixItems", ERR_UNSUPPORTED, "more than %d items",
                              GRAM_RULES_MAX);
        if (unique && !json_is_boolean(unique))
            return schema_bad(c, n, "uniqueItems", ERR_CORRUPT, "neither true nor false");
        if (json_is_true(unique) && max > 1)
            return schema_bad(c, n, "uniqueItems", ERR_UNSUPPORTED, "not supported");
        *n_prefix = MAX(*n_prefix, (uint32_t)json_array_size(prefix));
    }
    return ERR_OK;
}

static enum err item_rule(struct schema *c, const struct schema_set *s, uint32_t at, uint32_t *rule)
{
    struct schema_list l = {0};
    const struct schema_node *n;
    for (uint32_t i = 0; (n = schema_member(c, s, i)); i++) {
        const json_t *prefix = json_object_get(n->j, "prefixItems");
        const json_t *items = json_object_get(n->j, "items");
        if (at < json_array_size(prefix))
            TRY(schema_list_add(c, &l, json_array_get(prefix, at), n, "prefixItems", NULL,
                                (long)at));
        else if (items)
            TRY(schema_list_add(c, &l, items, n, "items", NULL, -1));
    }
    return schema_rule_of(c, &l, rule);
}

enum err schema_array(struct schema *c, const struct schema_set *s, uint32_t *rule)
{
    struct gram_build *b = &c->b;
    uint32_t min, max, n_prefix, item = GRAM_NONE;
    *rule = GRAM_NONE;
    TRY(schema_count(c, s, "minItems", true, 0, &min));
    TRY(schema_count(c, s, "maxItems", false, GRAM_NONE, &max));
    TRY(check_arrays(c, s, max, &n_prefix));
    uint32_t chain = max == GRAM_NONE ? MAX(MAX(min, n_prefix), 1) : max;
    if (min > max)
        return ERR_OK;
    if (chain > GRAM_STATES_MAX / 8)
        return schema_bad(c, schema_member(c, s, 0), max == GRAM_NONE ? "minItems" : "maxItems",
                          ERR_UNSUPPORTED, "more than %d", GRAM_STATES_MAX / 8);
    *rule = gram_build_rule(b);
    uint32_t start = gram_build_state(b, false), end = gram_build_state(b, true);
    uint32_t at = after_space(c, after_byte(c, start, '['));
    for (uint32_t i = 0;; i++) {
        if (i >= min)
            gram_build_byte(b, at, ']', ']', end);
        if (i == chain && max != GRAM_NONE)
            break;
        if (i <= n_prefix)
            TRY(item_rule(c, s, i, &item));
        if (item == GRAM_NONE || b->full)
            break;
        uint32_t before = i ? after_space(c, after_byte(c, at, ',')) : at;
        uint32_t done = gram_build_state(b, false);
        gram_build_call(b, before, item, done);
        /* of the last place without a maximum: what follows its space may come again */
        at = after_space(c, done);
        if (i + 1 == chain && max == GRAM_NONE) {
            if (i + 1 >= min)
                gram_build_byte(b, at, ']', ']', end);
            if (i + 1 <= n_prefix)
                TRY(item_rule(c, s, i + 1, &item));
            if (item != GRAM_NONE)
                gram_build_call(b, after_space(c, after_byte(c, at, ',')), item, done);
            break;
        }
    }
    if (!b->full)
        b->rule[*rule] = start;
    return ERR_OK;
}

/* ---- objects ---- */

struct object {
    const struct schema_set *s;
    struct span *name; /* [n] declared, then required only */
    bool *required;
    uint32_t *rule; /* [n] "name": value */
    uint32_t n, cap, cap_required;
    struct span pattern[SCHEMA_PATTERNS_MAX]; /* different ones of all members */
    struct gram_dfa dfa[SCHEMA_PATTERNS_MAX];
    uint32_t n_pattern;
    uint32_t others[1 << SCHEMA_PATTERNS_MAX], n_others; /* rules of undeclared members */
};

static enum err find_name(struct schema *c, struct object *o, const struct schema_node *n,
                          struct span name, uint32_t *at)
{
    for (*at = 0; *at < o->n; ++*at)
        if (span_eq(o->name[*at], name))
            return ERR_OK;
    c->n_work += o->n;
    if (o->n >= SCHEMA_PROPERTIES_MAX)
        return schema_bad(c, n, "properties", ERR_UNSUPPORTED, "more than %u names",
                          SCHEMA_PROPERTIES_MAX);
    GRAM_GROW(o->name, o->n, o->cap);
    GRAM_GROW(o->required, o->n, o->cap_required);
    o->required[o->n] = false;
    o->name[o->n++] = name;
    return ERR_OK;
}

static enum err collect_names(struct schema *c, struct object *o)
{
    const struct schema_node *n;
    const char *key;
    json_t *v;
    uint32_t at;
    size_t k;
    for (uint32_t i = 0; (n = schema_member(c, o->s, i)); i++) {
        json_t *p = json_object_get(n->j, "properties");
        if (p && !json_is_object(p))
            return schema_bad(c, n, "properties", ERR_CORRUPT, "not an object");
        json_object_foreach(p, key, v) TRY(find_name(c, o, n, span_of(key), &at));
    }
    for (uint32_t i = 0; (n = schema_member(c, o->s, i)); i++) {
        const json_t *r = json_object_get(n->j, "required");
        if (r && !json_is_array(r))
            return schema_bad(c, n, "required", ERR_CORRUPT, "not a list of names");
        json_array_foreach(r, k, v)
        {
            if (!json_is_string(v))
                return schema_bad(c, n, "required", ERR_CORRUPT, "not a list of names");
            TRY(find_name(c, o, n, (struct span){json_string_value(v), json_string_length(v)},
                          &at));
            o->required[at] = true;
        }
    }
    return ERR_OK;
}

static enum err collect_patterns(struct schema *c, struct object *o)
{
    const struct schema_node *n;
    const char *key;
    json_t *v;
    for (uint32_t i = 0; (n = schema_member(c, o->s, i)); i++) {
        json_t *p = json_object_get(n->j, "patternProperties");
        if (p && !json_is_object(p))
            return schema_bad(c, n, "patternProperties", ERR_CORRUPT, "not an object");
        json_object_foreach(p, key, v)
        {
            uint32_t k = 0;
            while (k < o->n_pattern && !span_eq_cstr(o->pattern[k], key))
                k++;
            if (k < o->n_pattern)
                continue;
            if (k == SCHEMA_PATTERNS_MAX)
                return schema_bad(c, n, "patternProperties", ERR_UNSUPPORTED,
                                  "more than %d patterns", SCHEMA_PATTERNS_MAX);
            TRY(schema_pattern_dfa(c, n, "patternProperties", span_of(key), true, &o->dfa[k]));
            o->pattern[o->n_pattern++] = span_of(key);
        }
    }
    return ERR_OK;
}

/* The conjunction for the value of a name that matches the patterns of `mask`; name is NULL for
 * names that no `properties` declares. */
static enum err value_rule(struct schema *c, const struct object *o, const struct span *name,
                           uint32_t mask, uint32_t *rule)
{
    struct schema_list l = {0};
    const struct schema_node *n;
    for (uint32_t i = 0; (n = schema_member(c, o->s, i)); i++) {
        const json_t *p = json_object_get(n->j, "properties");
        const json_t *pp = json_object_get(n->j, "patternProperties");
        const json_t *rest = json_object_get(n->j, "additionalProperties");
        const json_t *own = name ? json_object_getn(p, name->p, name->n) : NULL;
        bool matched = own != NULL;
        if (own)
            TRY(schema_list_add(c, &l, own, n, "properties", name->p, -1));
        for (uint32_t k = 0; k < o->n_pattern; k++) {
            own = mask >> k & 1 ? json_object_getn(pp, o->pattern[k].p, o->pattern[k].n) : NULL;
            matched = matched || own;
            if (own)
                TRY(schema_list_add(c, &l, own, n, "patternProperties", o->pattern[k].p, -1));
        }
        if (!matched && rest)
            TRY(schema_list_add(c, &l, rest, n, "additionalProperties", NULL, -1));
        c->n_work++;
    }
    return schema_rule_of(c, &l, rule);
}

static void member_rule(struct schema *c, uint32_t from, uint32_t value)
{
    uint32_t end = gram_build_state(&c->b, true);
    uint32_t at = after_space(c, after_byte(c, after_space(c, from), ':'));
    gram_build_call(&c->b, at, value, end);
}

static enum err declared_rules(struct schema *c, struct object *o, bool *possible)
{
    struct str text;
    *possible = true;
    o->rule = arena_array(&c->a, o->n + 1, sizeof *o->rule);
    for (uint32_t i = 0; i < o->n; i++) {
        uint32_t mask = 0, value;
        str_init(&text, GRAM_TEXT_BYTES_MAX);
        schema_json_text(&text, o->name[i]);
        struct span content = {text.p + 1, text.n - 2};
        for (uint32_t k = 0; k < o->n_pattern; k++)
            mask |= (uint32_t)gram_dfa_accepts(&o->dfa[k], content) << k;
        enum err rc = value_rule(c, o, &o->name[i], mask, &value);
        o->rule[i] = GRAM_NONE;
        if (rc == ERR_OK && value != GRAM_NONE) {
            uint32_t start = gram_build_state(&c->b, false);
            o->rule[i] = gram_build_rule(&c->b);
            member_rule(c, gram_build_bytes(&c->b, start, str_span(&text)), value);
            if (!c->b.full)
                c->b.rule[o->rule[i]] = start;
        }
        str_done(&text);
        TRY(rc);
        if (o->required[i] && value == GRAM_NONE)
            *possible = false;
    }
    return ERR_OK;
}

/* The names of other members that match just the patterns of `mask`. */
static enum err other_names(struct schema *c, const struct object *o, uint32_t mask, uint32_t *rule)
{
    struct gram_dfa any, names = {0}, all = {0};
    const struct gram_dfa *yes[SCHEMA_PATTERNS_MAX + 1], *no[SCHEMA_PATTERNS_MAX + 1];
    struct schema_set everything = {0};
    size_t n_yes = 0, n_no = 0;
    if (!o->n && !o->n_pattern)
        return schema_string(c, &everything, rule);
    TRY(gram_regex_dfa(&any, GRAM_JSON, SPAN("[^]*"), false, c->e));
    enum err rc = schema_names_dfa(c, o->name, o->n, &names);
    yes[n_yes++] = &any;
    no[n_no++] = &names;
    for (uint32_t k = 0; k < o->n_pattern; k++) {
        if (mask >> k & 1)
            yes[n_yes++] = &o->dfa[k];
        else
            no[n_no++] = &o->dfa[k];
    }
    if (rc == ERR_OK && !gram_dfa_product(&all, yes, n_yes, no, n_no))
        rc = schema_bad(c, schema_member(c, o->s, 0), "patternProperties", ERR_UNSUPPORTED,
                        "the names need too large an automaton");
    if (rc == ERR_OK)
        rc = schema_name_rule(c, &all, rule);
    gram_dfa_done(&any);
    gram_dfa_done(&names);
    gram_dfa_done(&all);
    return rc;
}

static enum err other_rules(struct schema *c, struct object *o)
{
    for (uint32_t mask = 0; mask < 1u << o->n_pattern; mask++) {
        uint32_t value, name;
        TRY(value_rule(c, o, NULL, mask, &value));
        if (value == GRAM_NONE)
            continue;
        TRY(other_names(c, o, mask, &name));
        uint32_t start = gram_build_state(&c->b, false), at = gram_build_state(&c->b, false);
        uint32_t rule = gram_build_rule(&c->b);
        gram_build_call(&c->b, start, name, at);
        member_rule(c, at, value);
        if (!c->b.full)
            c->b.rule[rule] = start;
        o->others[o->n_others++] = rule;
    }
    return ERR_OK;
}

/* at[count]: so many members stand before, no more than `top` are told apart. */
struct grid {
    uint32_t *here, *next;
    uint32_t top, max, end;
};

/* Calls a member's rule from each count of `here` to the count after it in `to`. */
static void add_member(struct schema *c, const struct grid *g, const uint32_t *to, uint32_t rule)
{
    for (uint32_t k = 0; k <= g->top; k++) {
        if (g->max != GRAM_NONE && k >= g->max)
            continue;
        uint32_t from = k ? after_space(c, after_byte(c, g->here[k], ',')) : g->here[k];
        uint32_t done = gram_build_state(&c->b, false);
        gram_build_call(&c->b, from, rule, done);
        gram_build_call(&c->b, done, schema_space(c), to[MIN(k + 1, g->top)]);
    }
}

static void fill_grid(struct schema *c, const struct object *o, struct grid *g, uint32_t start,
                      uint32_t min)
{
    struct gram_build *b = &c->b;
    for (uint32_t k = 0; k <= g->top; k++)
        g->here[k] = gram_build_state(b, false);
    gram_build_eps(b, start, g->here[0]);
    for (uint32_t i = 0; i < o->n && !b->full; i++) {
        for (uint32_t k = 0; k <= g->top; k++) {
            g->next[k] = gram_build_state(b, false);
            if (!o->required[i])
                gram_build_eps(b, g->here[k], g->next[k]);
        }
        if (o->rule[i] != GRAM_NONE)
            add_member(c, g, g->next, o->rule[i]);
        uint32_t *t = g->here;
        g->here = g->next;
        g->next = t;
    }
    for (uint32_t i = 0; i < o->n_others; i++)
        add_member(c, g, g->here, o->others[i]);
    for (uint32_t k = min; k <= g->top; k++)
        gram_build_byte(b, g->here[k], '}', '}', g->end);
}

static enum err check_counts(struct schema *c, const struct object *o, uint32_t min, uint32_t top)
{
    uint32_t n_required = 0;
    for (uint32_t i = 0; i < o->n; i++)
        n_required += o->required[i];
    if (min > n_required + 1 && o->n_others)
        return schema_bad(c, schema_member(c, o->s, 0), "minProperties", ERR_UNSUPPORTED,
                          "beside names that nothing declares (they could be there twice)");
    if ((uint64_t)(top + 1) * (o->n + 1) > GRAM_STATES_MAX / 8)
        return schema_bad(c, schema_member(c, o->s, 0), min > 1 ? "minProperties" : "maxProperties",
                          ERR_UNSUPPORTED, "too large");
    return ERR_OK;
}

static enum err make_object(struct schema *c, struct object *o, uint32_t min, uint32_t max,
                            uint32_t *rule)
{
    struct gram_build *b = &c->b;
    bool possible;
    TRY(collect_names(c, o));
    TRY(collect_patterns(c, o));
    TRY(declared_rules(c, o, &possible));
    if (!possible || min > max)
        return ERR_OK;
    TRY(other_rules(c, o));
    if (max != GRAM_NONE && !o->n_others)
        max = MIN(max, o->n);
    if (max != GRAM_NONE && min > max)
        return ERR_OK;
    uint32_t top = MAX(MAX(min, 1), max == GRAM_NONE ? 1 : max);
    TRY(check_counts(c, o, min, top));
    struct grid g = {arena_array(&c->a, top + 1, sizeof(uint32_t)),
                     arena_array(&c->a, top + 1, sizeof(uint32_t)), top, max, 0};
    *rule = gram_build_rule(b);
    uint32_t start = gram_build_state(b, false);
    g.end = gram_build_state(b, true);
    fill_grid(c, o, &g, after_space(c, after_byte(c, start, '{')), min);
    if (!b->full)
        b->rule[*rule] = start;
    return ERR_OK;
}

enum err schema_object(struct schema *c, const struct schema_set *s, uint32_t *rule)
{
    struct object o = {.s = s};
    uint32_t min, max;
    *rule = GRAM_NONE;
    TRY(schema_count(c, s, "minProperties", true, 0, &min));
    TRY(schema_count(c, s, "maxProperties", false, GRAM_NONE, &max));
    enum err rc = make_object(c, &o, min, max, rule);
    for (uint32_t k = 0; k < SCHEMA_PATTERNS_MAX; k++)
        gram_dfa_done(&o.dfa[k]);
    mem_free(o.name);
    mem_free(o.required);
    return rc;
}
