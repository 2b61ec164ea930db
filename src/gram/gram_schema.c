/* SPDX-License-Identifier: MIT
 * gram_schema.c - JSON Schema: conjunctions, references, choices, and the list of rules. */
#include "gram/gram_schema_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BRANCHES_MAX 4096

void schema_note(struct schema *c, const struct schema_node *n, const char *keyword, enum err code,
                 const char *fmt, ...)
{
    char why[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    err_note(c->e, code, "schema, keyword '%.60s' at '#%.120s': %s", keyword, n ? n->pointer : "",
             why);
}

/* ---- nodes ---- */

static const char *child_pointer(struct schema *c, const struct schema_node *parent,
                                 const char *token, const char *sub, long index)
{
    char tail[32] = "";
    if (index >= 0)
        snprintf(tail, sizeof tail, "/%ld", index);
    return arena_printf(&c->a, "%.200s%s%.60s%s%.60s%s", parent ? parent->pointer : "",
                        token ? "/" : "", token ? token : "", sub ? "/" : "", sub ? sub : "", tail);
}

enum err schema_node_of(struct schema *c, const json_t *j, const struct schema_node *parent,
                        const char *token, const char *sub, long index, uint32_t *out)
{
    uint64_t h = num_hash(&j, sizeof j, 0);
    for (; c->node_slot[h % SCHEMA_SLOTS]; h++) {
        *out = c->node_slot[h % SCHEMA_SLOTS] - 1;
        if (c->node[*out].j == j)
            return ERR_OK;
    }
    struct schema_node n = {j, child_pointer(c, parent, token, sub, index)};
    if (!json_is_object(j) && !json_is_boolean(j))
        return schema_bad(c, &n, token ? token : "schema", ERR_CORRUPT,
                          "a schema is an object, true or false");
    if (c->n_node >= SCHEMA_SLOTS / 2)
        return schema_bad(c, &n, token ? token : "schema", ERR_UNSUPPORTED, "more than %u schemas",
                          SCHEMA_SLOTS / 2);
    c->node[c->n_node] = n;
    c->node_slot[h % SCHEMA_SLOTS] = c->n_node + 1;
    *out = c->n_node++;
    return ERR_OK;
}

static void list_push(struct schema *c, struct schema_list *l, uint32_t m)
{
    if (l->n == l->cap) {
        uint32_t *old = l->m;
        l->cap = l->cap ? 2 * l->cap : 8;
        l->m = arena_array(&c->a, l->cap, sizeof *l->m);
        if (l->n)
            memcpy(l->m, old, l->n * sizeof *l->m);
    }
    l->m[l->n++] = m;
}

enum err schema_list_add(struct schema *c, struct schema_list *l, const json_t *j,
                         const struct schema_node *parent, const char *token, const char *sub,
                         long index)
{
    uint32_t node;
    if (json_is_true(j))
        return ERR_OK;
    if (json_is_false(j)) {
        l->never = true;
        return ERR_OK;
    }
    struct schema_node p = parent ? *parent : (struct schema_node){NULL, ""};
    TRY(schema_node_of(c, j, &p, token, sub, index, &node));
    list_push(c, l, node << 2);
    return ERR_OK;
}

/* ---- keywords ---- */

enum kind { KIND_NOTE, KIND_ROOT, KIND_ANY, KIND_NUM, KIND_STR, KIND_ARR, KIND_OBJ };

static const struct {
    const char *name;
    enum kind kind;
} keywords[] = {
#define KEYWORD(name, kind) {#name, KIND_##kind},
#include "gram/gram_keyword.def"
#undef KEYWORD
};

static enum err check_keywords(struct schema *c, const struct schema_node *n)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)n->j, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < N_ELEMS(keywords); i++)
            known = known || (strcmp(key, keywords[i].name) == 0 &&
                              (keywords[i].kind != KIND_ROOT || n->j == c->root));
        if (!known)
            return schema_bad(c, n, key, ERR_UNSUPPORTED, "not supported");
    }
    return ERR_OK;
}

/* '#', '#/a/b': the JSON pointer's target below the root. */
static enum err resolve(struct schema *c, const struct schema_node *n, const json_t **out)
{
    const json_t *ref = json_object_get(n->j, "$ref"), *at = c->root;
    struct str part;
    if (!json_is_string(ref))
        return schema_bad(c, n, "$ref", ERR_CORRUPT, "not a string");
    const char *p = json_string_value(ref);
    if (p[0] != '#' || (p[1] && p[1] != '/'))
        return schema_bad(c, n, "$ref", ERR_UNSUPPORTED, "'%.80s' is no '#/...' reference", p);
    str_init(&part, 4096);
    for (p++; *p == '/' && at;) {
        str_clear(&part);
        for (p++; *p && *p != '/'; p++) {
            unsigned byte;
            if (p[0] == '~' && (p[1] == '0' || p[1] == '1'))
                str_add_char(&part, *++p == '0' ? '~' : '/');
            else if (p[0] == '%' && sscanf(p + 1, "%2x", &byte) == 1 && p[1] && p[2])
                str_add_char(&part, (char)byte), p += 2;
            else
                str_add_char(&part, *p);
        }
        if (json_is_array(at))
            at = json_array_get(at, strtoul(part.n ? part.p : "x", NULL, 10));
        else
            at = json_object_getn(at, part.n ? part.p : "", part.n);
    }
    str_done(&part);
    if (!at || *p)
        return schema_bad(c, n, "$ref", ERR_CORRUPT, "'%.80s' leads nowhere",
                          json_string_value(ref));
    *out = at;
    return ERR_OK;
}

/* ---- conjunctions ---- */

struct closing {
    struct schema_list l, from, to; /* members; edges from -> to between places in l */
};

static enum err close_add(struct schema *c, struct closing *x, uint32_t from, const json_t *j,
                          const char *token, long index)
{
    struct schema_node at = c->node[x->l.m[from] >> 2];
    uint32_t node, i;
    bool is_ref = strcmp(token, "$ref") == 0;
    if (json_is_boolean(j)) {
        x->l.never = x->l.never || json_is_false(j);
        return ERR_OK;
    }
    if (is_ref) {
        const char *target = json_string_value(json_object_get(at.j, "$ref"));
        TRY(schema_node_of(c, j, NULL, NULL, NULL, -1, &node));
        if (!c->node[node].pointer[0] && j != c->root)
            c->node[node].pointer = arena_printf(&c->a, "%.300s", target + 1);
    } else {
        TRY(schema_node_of(c, j, &at, token, NULL, index, &node));
    }
    for (i = 0; i < x->l.n && x->l.m[i] >> 2 != node; i++)
        c->n_work++;
    if (c->n_work > SCHEMA_WORK_MAX)
        return schema_bad(c, &at, token, ERR_UNSUPPORTED, "the schema needs too much work");
    if (i == x->l.n)
        list_push(c, &x->l, node << 2);
    list_push(c, &x->from, from);
    list_push(c, &x->to, i);
    return ERR_OK;
}

/* A schema that leads back to itself without a step into a value says nothing and never ends. */
static enum err refuse_cycle(struct schema *c, const struct closing *x)
{
    uint32_t n = x->l.n, left = n, *in = arena_array(&c->a, n + 1, sizeof *in);
    bool *gone = arena_alloc(&c->a, n + 1);
    for (uint32_t i = 0; i < x->to.n; i++)
        in[x->to.m[i]]++;
    for (bool more = true; more && left;) {
        more = false;
        for (uint32_t i = 0; i < n; i++) {
            if (gone[i] || in[i])
                continue;
            gone[i] = more = true;
            left--;
            for (uint32_t k = 0; k < x->from.n; k++)
                if (x->from.m[k] == i)
                    in[x->to.m[k]]--;
            c->n_work += x->from.n;
        }
    }
    for (uint32_t i = 0; i < n && left; i++)
        if (!gone[i])
            return schema_bad(c, &c->node[x->l.m[i] >> 2], "$ref", ERR_UNSUPPORTED,
                              "it leads back to itself");
    return ERR_OK;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static enum err add_chosen(struct schema *c, struct closing *x, uint32_t i)
{
    /* a chosen branch stands in the list too; the edge to it shows cycles through branches */
    static const char *const word[] = {"anyOf", "oneOf"};
    const json_t *j = c->node[x->l.m[i] >> 2].j, *branch;
    size_t k;
    for (uint32_t w = 0; w < 2; w++)
        if (x->l.m[i] & (w ? CHOSE_ONE : CHOSE_ANY))
            json_array_foreach(json_object_get(j, word[w]), k,
                               branch) for (uint32_t o = 0; o < x->l.n;
                                            o++) if (c->node[x->l.m[o] >> 2].j == branch)
            {
                list_push(c, &x->from, i);
                list_push(c, &x->to, o);
            }
    return ERR_OK;
}

enum err schema_close(struct schema *c, const struct schema_list *l, struct schema_set *out)
{
    struct closing x = {.l.never = l->never};
    for (uint32_t i = 0; i < l->n; i++) {
        uint32_t k = 0;
        while (k < x.l.n && x.l.m[k] >> 2 != l->m[i] >> 2)
            k++;
        if (k == x.l.n)
            list_push(c, &x.l, l->m[i]);
        else
            x.l.m[k] |= l->m[i] & 3;
    }
    for (uint32_t i = 0; i < x.l.n; i++) {
        struct schema_node n = c->node[x.l.m[i] >> 2];
        const json_t *all = json_object_get(n.j, "allOf"), *j;
        size_t k;
        TRY(check_keywords(c, &n));
        if (json_object_get(n.j, "$ref")) {
            TRY(resolve(c, &n, &j));
            TRY(close_add(c, &x, i, j, "$ref", -1));
        }
        if (all && (!json_is_array(all) || !json_array_size(all)))
            return schema_bad(c, &n, "allOf", ERR_CORRUPT, "not a list of schemas");
        json_array_foreach(all, k, j) TRY(close_add(c, &x, i, j, "allOf", (long)k));
    }
    for (uint32_t i = 0; i < x.l.n; i++)
        TRY(add_chosen(c, &x, i));
    TRY(refuse_cycle(c, &x));
    if (x.l.n > 1)
        qsort(x.l.m, x.l.n, sizeof *x.l.m, by_number);
    *out = (struct schema_set){x.l.m, x.l.n, x.l.never};
    return ERR_OK;
}

const struct schema_node *schema_member(const struct schema *c, const struct schema_set *s,
                                        uint32_t i)
{
    return i < s->n ? &c->node[s->m[i] >> 2] : NULL;
}

enum err schema_rule_of(struct schema *c, const struct schema_list *l, uint32_t *rule)
{
    struct schema_set s;
    TRY(schema_close(c, l, &s));
    *rule = GRAM_NONE;
    if (s.never)
        return ERR_OK;
    uint64_t h = num_hash(s.m, s.n * sizeof *s.m, 0);
    for (; c->rule_slot[h % SCHEMA_SLOTS]; h++) {
        const struct schema_rule *r = &c->rule[c->rule_slot[h % SCHEMA_SLOTS] - 1];
        if (r->set.n == s.n && (s.n == 0 || memcmp(r->set.m, s.m, s.n * sizeof *s.m) == 0)) {
            *rule = r->rule;
            return ERR_OK;
        }
    }
    if (c->b.full || c->n_rule >= GRAM_RULES_MAX)
        return schema_bad(c, schema_member(c, &s, 0), "$ref", ERR_UNSUPPORTED,
                          "the schema needs more than %d rules", GRAM_RULES_MAX);
    GRAM_GROW(c->rule, c->n_rule, c->cap_rule);
    c->rule[c->n_rule] = (struct schema_rule){s, gram_build_rule(&c->b)};
    *rule = c->rule[c->n_rule].rule;
    c->rule_slot[h % SCHEMA_SLOTS] = ++c->n_rule;
    return ERR_OK;
}

uint32_t schema_space(struct schema *c)
{
    struct gram_build *b = &c->b;
    if (c->space != GRAM_NONE)
        return c->space;
    c->space = gram_build_rule(b);
    uint32_t start = gram_build_state(b, true), end = gram_build_state(b, true);
    gram_build_byte(b, start, ' ', ' ', end);
    uint32_t line = gram_build_state(b, true);
    gram_build_byte(b, start, '\n', '\n', line);
    for (int kind = 0; kind < 2; kind++) {
        uint8_t byte = kind ? '\t' : ' ';
        uint32_t at = line;
        for (int i = 0; i < (kind ? 16 : 64); i++) {
            uint32_t to = gram_build_state(b, true);
            gram_build_byte(b, at, byte, byte, to);
            at = to;
        }
    }
    if (!b->full)
        b->rule[c->space] = start;
    return c->space;
}

/* ---- types ---- */

static enum err type_bits(struct schema *c, const struct schema_node *n, uint32_t *out)
{
    static const struct {
        const char *name;
        uint32_t bits;
    } types[] = {
        {"null",    TYPE_NULL           },
        {"boolean", TYPE_BOOL           },
        {"integer", TYPE_INT            },
        {"number",  TYPE_INT | TYPE_REAL},
        {"string",  TYPE_STR            },
        {"array",   TYPE_ARR            },
        {"object",  TYPE_OBJ            },
    };
    const json_t *t = json_object_get(n->j, "type");
    size_t n_names = json_is_array(t) ? json_array_size(t) : 1;
    *out = TYPE_ALL;
    if (!t)
        return ERR_OK;
    *out = 0;
    for (size_t i = 0; i < n_names; i++) {
        const char *name = json_string_value(json_is_array(t) ? json_array_get(t, i) : t);
        uint32_t bits = 0;
        for (size_t k = 0; name && k < N_ELEMS(types); k++)
            if (strcmp(name, types[k].name) == 0)
                bits = types[k].bits;
        if (!bits)
            return schema_bad(c, n, "type", ERR_CORRUPT, "not a name of a type or a list of them");
        *out |= bits;
    }
    return n_names ? ERR_OK : schema_bad(c, n, "type", ERR_CORRUPT, "an empty list");
}

uint32_t schema_types(const struct schema *c, const struct schema_set *s)
{
    uint32_t all = TYPE_ALL, bits;
    const struct schema_node *n;
    struct schema quiet = {.e = NULL};
    for (uint32_t i = 0; (n = schema_member(c, s, i)); i++)
        if (type_bits(&quiet, n, &bits) == ERR_OK)
            all &= bits;
    return all;
}

enum err schema_count(struct schema *c, const struct schema_set *s, const char *keyword,
                      bool want_max, uint32_t none, uint32_t *out)
{
    const struct schema_node *n;
    *out = none;
    for (uint32_t i = 0; (n = schema_member(c, s, i)); i++) {
        const json_t *j = json_object_get(n->j, keyword);
        double v = json_number_value(j);
        if (!j)
            continue;
        if (!json_is_number(j) || v < 0 || v > 4e9 || v != (double)(uint32_t)v)
            return schema_bad(c, n, keyword,
                              json_is_number(j) && v > 4e9 ? ERR_UNSUPPORTED : ERR_CORRUPT,
                              "not a whole number in its range");
        uint32_t u = (uint32_t)v;
        *out = want_max ? MAX(*out, u) : MIN(*out, u);
    }
    return ERR_OK;
}

/* ---- rules ---- */

/* The first member with a choice that is still open. */
static const char *open_choice(struct schema *c, const struct schema_set *s, uint32_t *at)
{
    for (*at = 0; *at < s->n; ++*at) {
        const json_t *j = c->node[s->m[*at] >> 2].j;
        if (json_object_get(j, "anyOf") && !(s->m[*at] & CHOSE_ANY))
            return "anyOf";
        if (json_object_get(j, "oneOf") && !(s->m[*at] & CHOSE_ONE))
            return "oneOf";
    }
    return NULL;
}

static enum err check_disjoint(struct schema *c, const struct schema_node *n,
                               const struct schema_set *branch, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++) {
            bool yes;
            if (branch[i].never || branch[k].never)
                continue;
            TRY(schema_disjoint(c, &branch[i], &branch[k], &yes));
            if (!yes)
                return schema_bad(c, n, "oneOf", ERR_UNSUPPORTED,
                                  "branches %zu and %zu may both hold (anyOf allows that)", k, i);
            if ((c->n_work += 16) > SCHEMA_WORK_MAX)
                return schema_bad(c, n, "oneOf", ERR_UNSUPPORTED, "too many branches");
        }
    return ERR_OK;
}

static enum err make_choice(struct schema *c, const struct schema_set *s, uint32_t at,
                            const char *word, uint32_t from, uint32_t to)
{
    struct schema_node n = c->node[s->m[at] >> 2];
    const json_t *list = json_object_get(n.j, word), *j;
    bool one = word[0] == 'o';
    size_t i, count = json_array_size(list);
    if (!json_is_array(list) || !count)
        return schema_bad(c, &n, word, ERR_CORRUPT, "not a list of schemas");
    if (count > BRANCHES_MAX)
        return schema_bad(c, &n, word, ERR_UNSUPPORTED, "more than %d branches", BRANCHES_MAX);
    struct schema_set *branch = arena_array(&c->a, count, sizeof *branch);
    json_array_foreach(list, i, j)
    {
        struct schema_list l = {.never = s->never};
        uint32_t rule;
        for (uint32_t k = 0; k < s->n; k++)
            list_push(c, &l, k == at ? s->m[k] | (one ? CHOSE_ONE : CHOSE_ANY) : s->m[k]);
        TRY(schema_list_add(c, &l, j, &n, word, NULL, (long)i));
        c->n_work += l.n;
        TRY(schema_close(c, &l, &branch[i]));
        TRY(schema_rule_of(c, &l, &rule));
        if (rule != GRAM_NONE)
            gram_build_call(&c->b, from, rule, to);
    }
    return one ? check_disjoint(c, &n, branch, count) : ERR_OK;
}

static enum err make_rule(struct schema *c, const struct schema_set *s, uint32_t from, uint32_t to)
{
    const struct schema_node *n;
    uint32_t types = TYPE_ALL, bits, at;
    const char *word = open_choice(c, s, &at);
    if (word)
        return make_choice(c, s, at, word, from, to);
    for (uint32_t i = 0; (n = schema_member(c, s, i)); i++) {
        TRY(type_bits(c, n, &bits));
        types &= bits;
    }
    bool has_values;
    TRY(schema_values(c, s, from, to, &has_values));
    if (has_values)
        return ERR_OK;
    if (types & TYPE_NULL)
        gram_build_eps(&c->b, gram_build_bytes(&c->b, from, SPAN("null")), to);
    if (types & TYPE_BOOL) {
        gram_build_eps(&c->b, gram_build_bytes(&c->b, from, SPAN("true")), to);
        gram_build_eps(&c->b, gram_build_bytes(&c->b, from, SPAN("false")), to);
    }
    uint32_t rule[4] = {GRAM_NONE, GRAM_NONE, GRAM_NONE, GRAM_NONE};
    if (types & (TYPE_INT | TYPE_REAL))
        TRY(schema_number(c, s, !(types & TYPE_REAL), &rule[0]));
    if (types & TYPE_STR)
        TRY(schema_string(c, s, &rule[1]));
    if (types & TYPE_ARR)
        TRY(schema_array(c, s, &rule[2]));
    if (types & TYPE_OBJ)
        TRY(schema_object(c, s, &rule[3]));
    for (int i = 0; i < 4; i++)
        if (rule[i] != GRAM_NONE)
            gram_build_call(&c->b, from, rule[i], to);
    return ERR_OK;
}

static enum err make_all(struct schema *c, uint32_t *root)
{
    struct schema_list l = {0};
    TRY(schema_list_add(c, &l, c->root, NULL, NULL, NULL, -1));
    TRY(schema_rule_of(c, &l, root));
    for (uint32_t i = 0; i < c->n_rule; i++) {
        struct schema_rule r = c->rule[i];
        uint32_t from = gram_build_state(&c->b, false), to = gram_build_state(&c->b, true);
        c->b.rule[r.rule] = from;
        TRY(make_rule(c, &r.set, from, to));
        c->n_work += 8;
        if (c->b.full || c->n_work > SCHEMA_WORK_MAX)
            return err_set(c->e, ERR_UNSUPPORTED,
                           "schema: more than %d states or %d rules, or too much work",
                           GRAM_STATES_MAX, GRAM_RULES_MAX);
    }
    return ERR_OK;
}

enum err gram_schema_into(struct gram_build *b, const json_t *schema, const struct gram_opts *opts,
                          uint32_t *start, struct errinfo *e)
{
    struct schema c = {.root = schema, .space = GRAM_NONE, .e = e, .b = *b};
    uint32_t root = GRAM_NONE;
    arena_init(&c.a);
    c.node = mem_alloc(SCHEMA_SLOTS / 2 * sizeof *c.node); /* never moves */
    c.node_slot = mem_alloc(SCHEMA_SLOTS * sizeof *c.node_slot);
    c.rule_slot = mem_alloc(SCHEMA_SLOTS * sizeof *c.rule_slot);
    enum err rc = ERR_OK;
    if (opts && opts->strict)
        rc = schema_check_strict(&c, schema);
    if (rc == ERR_OK)
        rc = make_all(&c, &root);
    if (rc == ERR_OK && root == GRAM_NONE)
        rc = err_set(e, ERR_UNSUPPORTED, "schema: nothing satisfies it");
    *b = c.b;
    if (rc == ERR_OK)
        *start = b->rule[root];
    mem_free(c.node);
    mem_free(c.node_slot);
    mem_free(c.rule);
    mem_free(c.rule_slot);
    mem_free(c.text);
    arena_done(&c.a);
    return rc;
}

enum err gram_from_schema(struct gram **out, const json_t *schema, const struct gram_opts *opts,
                          struct errinfo *e)
{
    struct gram_build b = {0};
    uint32_t start;
    *out = NULL;
    enum err rc = gram_schema_into(&b, schema, opts, &start, e);
    if (rc == ERR_OK) {
        uint32_t root = gram_build_rule(&b);
        if (!b.full)
            b.rule[root] = start;
        rc = gram_build_finish(out, &b, root, NULL, NULL, e);
    }
    gram_build_done(&b);
    return rc;
}
