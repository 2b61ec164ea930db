/* SPDX-License-Identifier: MIT
 * gram_schema_int.h - what the parts of the schema compiler share.
 *
 * A rule of the grammar stands for a conjunction: a set of schemas that a value must all satisfy,
 * closed under $ref and allOf, with a branch chosen for each anyOf and oneOf.  Equal conjunctions
 * are one rule, so recursion in the schema becomes recursion of rules, and rules wait in a list
 * until they are made: nothing here recurses.
 * Owner: gram_from_schema, for the time of one call. */
#ifndef GRAM_GRAM_SCHEMA_INT_H
#define GRAM_GRAM_SCHEMA_INT_H

#include "gram/gram_int.h"

/* A schema, with its place for messages. */
struct schema_node {
    const json_t *j;
    const char *pointer;
};

/* A member says whether its anyOf, its oneOf has been chosen from. */
#define CHOSE_ANY 1u
#define CHOSE_ONE 2u
struct schema_set {
    uint32_t *m; /* node << 2 | CHOSE_*; sorted */
    uint32_t n;
    bool never; /* holds a `false` */
};

enum schema_type {
    TYPE_NULL = 1,
    TYPE_BOOL = 2,
    TYPE_INT = 4,
    TYPE_REAL = 8, /* numbers that are no integers */
    TYPE_STR = 16,
    TYPE_ARR = 32,
    TYPE_OBJ = 64,
    TYPE_ALL = 127
};

struct schema {
    struct arena a;
    struct gram_build b;
    const json_t *root;
    struct schema_node *node;
    uint32_t n_node;
    uint32_t *node_slot, n_slots; /* by address */
    struct schema_rule {
        struct schema_set set;
        uint32_t rule;
    } * rule;
    uint32_t n_rule, cap_rule;
    uint32_t *rule_slot;
    struct schema_text { /* automata of strings and numbers, by a text that describes them */
        const char *key;
        uint32_t rule;
    } * text;
    uint32_t n_text, cap_text;
    uint32_t space; /* rule: white space between tokens; GRAM_NONE: not made yet */
    size_t n_work;  /* counts members looked at, for a limit */
    struct errinfo *e;
};
#define SCHEMA_SLOTS          65536u
#define SCHEMA_WORK_MAX       ((size_t)4 << 20)
#define SCHEMA_PROPERTIES_MAX 1000u
#define SCHEMA_PATTERNS_MAX   4

/* return schema_bad(c, node, "keyword", ERR_UNSUPPORTED, "why"); */
#define schema_bad(c, node_, keyword, code, ...)                                                   \
    (schema_note((c), (node_), (keyword), (code), __VA_ARGS__), (code))
void schema_note(struct schema *c, const struct schema_node *n, const char *keyword, enum err code,
                 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The node of the schema j, a member `token` (and `index`, when >= 0) of `parent`. */
enum err schema_node_of(struct schema *c, const json_t *j, const struct schema_node *parent,
                        const char *token, const char *sub, long index, uint32_t *out);
/* Sets that are being collected: schemas, in any order; `true` is left out. */
struct schema_list {
    uint32_t *m;
    uint32_t n, cap;
    bool never;
};
enum err schema_list_add(struct schema *c, struct schema_list *l, const json_t *j,
                         const struct schema_node *parent, const char *token, const char *sub,
                         long index);
/* The rule of the conjunction; *rule is GRAM_NONE when nothing satisfies it in an evident way. */
enum err schema_rule_of(struct schema *c, const struct schema_list *l, uint32_t *rule);
enum err schema_close(struct schema *c, const struct schema_list *l, struct schema_set *out);
/* Members of the set in turn: for (i = 0; (n = schema_member(c, set, i)); i++) */
const struct schema_node *schema_member(const struct schema *c, const struct schema_set *s,
                                        uint32_t i);
uint32_t schema_types(const struct schema *c, const struct schema_set *s); /* of `type` alone */
/* A whole number >= 0 at `keyword`, the largest (want_max) or smallest of the set. */
enum err schema_count(struct schema *c, const struct schema_set *s, const char *keyword,
                      bool want_max, uint32_t none, uint32_t *out);
uint32_t schema_space(struct schema *c);

/* Rules of the parts; *rule is GRAM_NONE when nothing satisfies it. */
enum err schema_string(struct schema *c, const struct schema_set *s, uint32_t *rule);
enum err schema_number(struct schema *c, const struct schema_set *s, bool integer, uint32_t *rule);
enum err schema_array(struct schema *c, const struct schema_set *s, uint32_t *rule);
enum err schema_object(struct schema *c, const struct schema_set *s, uint32_t *rule);
/* Adds the values of enum and const to the state `from`, each leading to `to`; *has: there are. */
enum err schema_values(struct schema *c, const struct schema_set *s, uint32_t from, uint32_t to,
                       bool *has);
/* Whether a string or number satisfies the set's own keywords. */
enum err schema_scalar_fits(struct schema *c, const struct schema_set *s, const json_t *v,
                            bool *fits);
enum err schema_number_fits(struct schema *c, const struct schema_set *s, const json_t *v,
                            bool *fits);
/* The shortest text that reads back as v. */
void schema_real_text(char out[40], double v);
/* No value satisfies both, shown by types, values, or a property; false: not shown. */
enum err schema_disjoint(struct schema *c, const struct schema_set *x, const struct schema_set *y,
                         bool *out);
enum err schema_check_strict(struct schema *c, const json_t *root);
/* Names and JSON text. */
void schema_json_text(struct str *out, struct span text); /* with its quotes */
enum err schema_names_dfa(struct schema *c, const struct span *name, size_t n,
                          struct gram_dfa *out);
enum err schema_pattern_dfa(struct schema *c, const struct schema_node *n, const char *keyword,
                            struct span pattern, bool search, struct gram_dfa *out);
enum err schema_name_rule(struct schema *c, const struct gram_dfa *content, uint32_t *rule);
uint32_t schema_text_rule(struct schema *c, const char *key); /* GRAM_NONE: not made yet */
void schema_text_add(struct schema *c, const char *key, uint32_t rule);

#endif
