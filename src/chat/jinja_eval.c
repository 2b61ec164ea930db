/* SPDX-License-Identifier: MIT
 * jinja_eval.c - expressions. */
#include "chat/jinja_int.h"

#include <string.h>

static enum err eval_kids(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                          struct jinja_val *out)
{
    struct jinja_list *l = jinja_list_new(r, n->n_kids);
    for (size_t i = 0; i < n->n_kids; i++) {
        struct jinja_val v;
        TRY(jinja_eval(r, n->kids[i], s, &v));
        TRY(jinja_list_push(r, l, v));
    }
    *out = n->op == J_N_TUPLE ? jinja_of_tuple(l) : jinja_of_list(l);
    return ERR_OK;
}

static enum err eval_dict(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                          struct jinja_val *out)
{
    struct jinja_dict *d = jinja_dict_new(r);
    for (size_t i = 0; i + 1 < n->n_kids; i += 2) {
        struct jinja_val key, v;
        TRY(jinja_eval(r, n->kids[i], s, &key));
        TRY(jinja_eval(r, n->kids[i + 1], s, &v));
        TRY(jinja_dict_set(r, d, key, v));
    }
    *out = (struct jinja_val){.k = J_DICT, .d = d};
    return ERR_OK;
}

static enum err eval_item(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                          struct jinja_val *out)
{
    struct jinja_val x, key, lim[3];
    TRY(jinja_eval(r, n->a, s, &x));
    if (n->b->op != J_N_SLICE) {
        TRY(jinja_eval(r, n->b, s, &key));
        return jinja_get_item(r, x, key, out);
    }
    for (int i = 0; i < 3; i++) {
        lim[i] = J_NONE_VAL;
        if (n->b->kids[i])
            TRY(jinja_eval(r, n->b->kids[i], s, &lim[i]));
    }
    return jinja_slice(r, x, lim, out);
}

/* **x of a call: the entries of a dict whose keys are strings */
static enum err spread_kw(struct jinja_run *r, struct jinja_val v, const struct jinja_str **names,
                          struct jinja_val *kw, size_t *n)
{
    if (v.k != J_DICT)
        return jinja_fail(r, "argument after ** must be a mapping, not %s", jinja_type(v));
    for (size_t i = 0; i < v.d->n; i++) {
        if (v.d->e[i].key.k != J_STR)
            return jinja_fail(r, "keywords must be strings");
        for (size_t k = 0; k < *n; k++)
            if (span_eq(jinja_span(names[k]), jinja_span(v.d->e[i].key.s)))
                return jinja_fail(r, "multiple values for a keyword argument");
        names[*n] = v.d->e[i].key.s;
        kw[(*n)++] = v.d->e[i].v;
    }
    return jinja_step(r, v.d->n);
}

enum err jinja_eval_args(struct jinja_run *r, const struct jinja_args *args, struct jinja_scope *s,
                         struct jinja_call *c)
{
    struct jinja_val v;
    if (!args)
        return ERR_OK;
    struct jinja_list *pos = jinja_list_new(r, args->n_pos);
    for (size_t i = 0; i < args->n_pos; i++) {
        TRY(jinja_eval(r, args->pos[i], s, &v));
        TRY(jinja_list_push(r, pos, v));
    }
    struct jinja_val *kw = arena_array(&r->arena, args->n_kw + 1, sizeof(*kw));
    const struct jinja_str **names = args->names;
    size_t n_kw = args->n_kw;
    for (size_t i = 0; i < args->n_kw; i++)
        TRY(jinja_eval(r, args->kw[i], s, &kw[i]));
    if (args->dyn_pos) {
        struct jinja_list *more;
        TRY(jinja_eval(r, args->dyn_pos, s, &v));
        TRY(jinja_to_list(r, v, &more));
        for (size_t i = 0; i < more->n; i++)
            TRY(jinja_list_push(r, pos, more->v[i]));
    }
    if (args->dyn_kw) {
        TRY(jinja_eval(r, args->dyn_kw, s, &v));
        size_t room = n_kw + (v.k == J_DICT ? v.d->n : 0) + 1;
        struct jinja_val *all = arena_array(&r->arena, room, sizeof(*all));
        const struct jinja_str **all_names = arena_array(&r->arena, room, sizeof(*all_names));
        memcpy(all, kw, n_kw * sizeof(*kw));
        if (n_kw)
            memcpy(all_names, names, n_kw * sizeof(*names));
        TRY(spread_kw(r, v, all_names, all, &n_kw));
        kw = all;
        names = all_names;
    }
    c->pos = pos->v;
    c->n_pos = pos->n;
    c->kw = kw;
    c->names = names;
    c->n_kw = n_kw;
    return ERR_OK;
}

static enum err eval_call(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                          struct jinja_val *out)
{
    struct jinja_val f;
    struct jinja_call c = {0};
    TRY(jinja_eval(r, n->a, s, &f));
    TRY(jinja_eval_args(r, n->args, s, &c));
    r->line = n->line;
    return jinja_call_val(r, f, &c, out);
}

static enum err eval_filter(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                            struct jinja_val *out)
{
    struct jinja_call c = {0};
    if (n->a)
        TRY(jinja_eval(r, n->a, s, &c.self));
    else
        c.self = r->block_text;
    TRY(jinja_eval_args(r, n->args, s, &c));
    r->line = n->line;
    if (!n->fn)
        return jinja_fail(r, "no %s named '%.*s'", n->op == J_N_FILTER ? "filter" : "test",
                          (int)MIN(n->name->n, 60), n->name->p);
    return jinja_call_fn(r, n->fn, &c, out);
}

static enum err eval_logic(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                           struct jinja_val *out)
{
    for (size_t i = 0; i < n->n_kids; i++) {
        TRY(jinja_eval(r, n->kids[i], s, out));
        if (jinja_truth(*out) == (n->op == J_N_OR))
            break;
    }
    return ERR_OK;
}

static enum err eval_chain(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                           struct jinja_val *out)
{
    struct jinja_val right;
    TRY(jinja_eval(r, n->kids[0], s, out));
    for (size_t i = 1; i < n->n_kids; i++) {
        TRY(jinja_eval(r, n->kids[i], s, &right));
        r->line = n->line;
        TRY(jinja_binary(r, n->ops[i - 1], *out, right, out));
    }
    return ERR_OK;
}

static enum err eval_concat(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                            struct jinja_val *out)
{
    struct jinja_list *l;
    struct jinja_val all, sum;
    TRY(eval_kids(r, n, s, &all));
    l = all.l;
    for (size_t i = 0; i < l->n; i++) {
        const struct jinja_str *t;
        TRY(jinja_str_of(r, l->v[i], &t));
        if (i)
            TRY(jinja_binary(r, J_T_ADD, sum, jinja_of_str(t), &sum));
        else
            sum = jinja_of_str(t);
    }
    *out = sum;
    return ERR_OK;
}

static enum err eval_compare(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                             struct jinja_val *out)
{
    struct jinja_val left, right;
    bool is = true;
    TRY(jinja_eval(r, n->kids[0], s, &left));
    for (size_t i = 1; is && i < n->n_kids; i++) {
        TRY(jinja_eval(r, n->kids[i], s, &right));
        r->line = n->line;
        TRY(jinja_compare(r, n->ops[i - 1], left, right, &is));
        left = right;
    }
    *out = jinja_bool(is);
    return ERR_OK;
}

static enum err eval_sign(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                          struct jinja_val *out)
{
    struct jinja_val v;
    TRY(jinja_eval(r, n->a, s, &v));
    r->line = n->line;
    if (v.k == J_UNDEF)
        return jinja_undef_fail(r, v);
    if (!jinja_is_number(v))
        return jinja_fail(r, "bad operand type for a sign: '%s'", jinja_type(v));
    if (v.k == J_FLOAT) {
        *out = jinja_float(n->op == J_N_NEG ? -v.f : v.f);
        return ERR_OK;
    }
    return jinja_binary(r, n->op == J_N_NEG ? J_T_SUB : J_T_ADD, jinja_int(0), v, out);
}

static enum err eval_cond(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                          struct jinja_val *out)
{
    struct jinja_val test;
    TRY(jinja_eval(r, n->a, s, &test));
    if (jinja_truth(test))
        return jinja_eval(r, n->b, s, out);
    if (n->c)
        return jinja_eval(r, n->c, s, out);
    *out = jinja_undef_hint(r, "the inline if-expression evaluated to false and no else section "
                               "was defined");
    return ERR_OK;
}

static enum err eval(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                     struct jinja_val *out)
{
    struct jinja_val v;
    switch (n->op) {
    case J_N_CONST: *out = n->val; return ERR_OK;
    case J_N_NAME: *out = jinja_lookup(r, s, n->name); return ERR_OK;
    case J_N_TUPLE:
    case J_N_LIST: return eval_kids(r, n, s, out);
    case J_N_DICT: return eval_dict(r, n, s, out);
    case J_N_ATTR:
        TRY(jinja_eval(r, n->a, s, &v));
        r->line = n->line;
        return jinja_get_attr(r, v, n->name, out);
    case J_N_ITEM: return eval_item(r, n, s, out);
    case J_N_CALL: return eval_call(r, n, s, out);
    case J_N_FILTER:
    case J_N_TEST: return eval_filter(r, n, s, out);
    case J_N_COND: return eval_cond(r, n, s, out);
    case J_N_AND:
    case J_N_OR: return eval_logic(r, n, s, out);
    case J_N_NOT:
        TRY(jinja_eval(r, n->a, s, &v));
        *out = jinja_bool(!jinja_truth(v));
        return ERR_OK;
    case J_N_NEG:
    case J_N_POS: return eval_sign(r, n, s, out);
    case J_N_CHAIN: return eval_chain(r, n, s, out);
    case J_N_CONCAT: return eval_concat(r, n, s, out);
    case J_N_COMPARE: return eval_compare(r, n, s, out);
    default: return jinja_fail(r, "this cannot stand where a value should be");
    }
}

enum err jinja_eval(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                    struct jinja_val *out)
{
    TRY(jinja_step(r, 1));
    TRY(jinja_enter(r));
    TRY(eval(r, n, s, out));
    r->depth--;
    return ERR_OK;
}
