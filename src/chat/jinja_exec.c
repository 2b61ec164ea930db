/* SPDX-License-Identifier: MIT
 * jinja_exec.c - statements, scopes and macros.
 *
 * Scopes: the body of a for (each time anew), a macro, a call block, a filter or set block and a
 * with have one of their own; if has none.  A name is looked up from the inside out, then among
 * the variables of the render, then among the built-in functions. */
#include "chat/jinja_int.h"

#include <string.h>

struct jinja_scope *jinja_scope_new(struct jinja_run *r, struct jinja_scope *parent)
{
    struct jinja_scope *s = arena_alloc(&r->arena, sizeof(*s));
    s->parent = parent;
    return s;
}

void jinja_scope_set(struct jinja_run *r, struct jinja_scope *s, const struct jinja_str *name,
                     struct jinja_val v)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->vars[i].name == name) {
            s->vars[i].v = v;
            return;
        }
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 2;
        struct jinja_var *to = arena_array(&r->arena, cap, sizeof(*to));
        if (s->n)
            memcpy(to, s->vars, s->n * sizeof(*to));
        s->vars = to;
        s->cap = cap;
    }
    s->vars[s->n++] = (struct jinja_var){name, v};
}

struct jinja_val jinja_lookup(struct jinja_run *r, struct jinja_scope *s,
                              const struct jinja_str *name)
{
    for (; s; s = s->parent)
        for (size_t i = 0; i < s->n; i++)
            if (s->vars[i].name == name)
                return s->vars[i].v;
    const struct jinja_val *v = jinja_dict_find(r->vars, jinja_span(name));
    if (v)
        return *v;
    const struct jinja_fn *fn = jinja_find_global(jinja_span(name));
    if (fn)
        return (struct jinja_val){.k = J_FUNC, .fn = fn};
    return jinja_undef_name(r, name);
}

static enum err assign_ns(struct jinja_run *r, const struct jinja_node *target,
                          struct jinja_scope *s, struct jinja_val v)
{
    struct jinja_val ns = jinja_lookup(r, s, target->name);
    struct span attr = jinja_span(target->val.s);
    if (ns.k != J_NS)
        return jinja_fail(r, "cannot assign attribute on non-namespace object");
    if (attr.p[0] == '_')
        return jinja_fail(r, "a namespace cannot have attributes that begin with '_'");
    return jinja_dict_set(r, *ns.ns, target->val, v);
}

enum err jinja_assign(struct jinja_run *r, const struct jinja_node *target, struct jinja_scope *s,
                      struct jinja_scope *into, struct jinja_val v)
{
    if (target->op == J_N_NAME) {
        jinja_scope_set(r, into, target->name, v);
        return jinja_step(r, 1);
    }
    if (target->op == J_N_NSREF)
        return assign_ns(r, target, s, v);
    struct jinja_iter *it;
    struct jinja_val x;
    bool more;
    struct jinja_list *l = jinja_list_new(r, target->n_kids);
    if (v.k == J_UNDEF && target->n_kids)
        return jinja_fail(r, "not enough values to unpack (expected %zu, got 0)", target->n_kids);
    TRY(jinja_iterate(r, v, &it));
    for (;;) {
        TRY(jinja_next(r, it, &x, &more));
        if (!more)
            break;
        TRY(jinja_list_push(r, l, x));
        if (l->n > target->n_kids)
            return jinja_fail(r, "too many values to unpack (expected %zu)", target->n_kids);
    }
    if (l->n < target->n_kids)
        return jinja_fail(r, "not enough values to unpack (expected %zu, got %zu)", target->n_kids,
                          l->n);
    for (size_t i = 0; i < l->n; i++)
        TRY(jinja_assign(r, target->kids[i], s, into, l->v[i]));
    return ERR_OK;
}

/* Every attribute target must name a namespace before any value is evaluated. */
static enum err check_ns(struct jinja_run *r, const struct jinja_node *target,
                         struct jinja_scope *s)
{
    if (target->op == J_N_NSREF && jinja_lookup(r, s, target->name).k != J_NS)
        return jinja_fail(r, "cannot assign attribute on non-namespace object");
    for (size_t i = 0; target->op == J_N_TUPLE && i < target->n_kids; i++)
        TRY(check_ns(r, target->kids[i], s));
    return ERR_OK;
}

enum err jinja_exec_text(struct jinja_run *r, struct jinja_body b, struct jinja_scope *s,
                         struct jinja_val *out)
{
    struct str buf;
    jinja_buf(r, &buf);
    size_t before = r->buffered;
    enum err rc = jinja_exec(r, b, s, &buf);
    r->buffered = before;
    return jinja_take(r, rc, &buf, out);
}

static enum err emit(struct jinja_run *r, struct str *out, struct jinja_val v)
{
    size_t before = out->n;
    TRY(jinja_put_str(r, out, v));
    r->buffered += out->n - before;
    return jinja_step(r, 1);
}

/* jinja2 does not convert what filter and call blocks give. */
static enum err emit_text(struct jinja_run *r, struct str *out, struct jinja_val v)
{
    if (v.k != J_STR)
        return jinja_fail(r, "a block gave %s, not text", jinja_type(v));
    return emit(r, out, v);
}

static enum err exec_if(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                        struct str *out)
{
    struct jinja_val test;
    size_t i = 0;
    for (; i < n->n_kids; i++) {
        TRY(jinja_eval(r, n->kids[i], s, &test));
        if (jinja_truth(test))
            break;
    }
    return i < n->n_bodies ? jinja_exec(r, n->bodies[i], s, out) : ERR_OK;
}

enum err jinja_exec_for(struct jinja_run *r, const struct jinja_node *n, struct jinja_val iter,
                        int depth0, struct jinja_scope *s, struct str *out)
{
    struct jinja_loop *l = arena_alloc(&r->arena, sizeof(*l));
    struct jinja_val item;
    bool more, any = false;
    if (n->c) {
        struct jinja_iter *it = jinja_iter_new(r, J_IT_FILTERED, iter);
        it->node = n;
        it->scope = s;
        iter = (struct jinja_val){.k = J_ITER, .it = it};
    }
    l->iterable = iter;
    l->index0 = -1;
    l->depth0 = depth0;
    l->node = n->recursive ? n : NULL;
    l->scope = s;
    TRY(jinja_iterate(r, iter, &l->it));
    for (;;) {
        TRY(jinja_loop_next(r, l, &item, &more));
        if (!more)
            break;
        struct jinja_scope *body = jinja_scope_new(r, s);
        if (n->uses_loop || n->recursive)
            jinja_scope_set(r, body, r->j->s_loop, (struct jinja_val){.k = J_LOOP, .loop = l});
        TRY(jinja_assign(r, n->a, s, body, item));
        TRY(jinja_exec(r, n->bodies[0], body, out));
        enum jinja_flow flow = r->flow;
        r->flow = J_FLOW_NONE;
        any |= flow == J_FLOW_NONE; /* jinja2 runs else when no iteration came to its end */
        if (flow == J_FLOW_BREAK)
            break;
    }
    if (!any && n->n_bodies > 1)
        return jinja_exec(r, n->bodies[1], jinja_scope_new(r, s), out);
    return ERR_OK;
}

static enum err exec_for(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                         struct str *out)
{
    struct jinja_val iter, text;
    TRY(jinja_eval(r, n->b, s, &iter));
    r->line = n->line;
    if (!n->recursive)
        return jinja_exec_for(r, n, iter, 0, s, out);
    struct str buf;
    jinja_buf(r, &buf);
    TRY(jinja_take(r, jinja_exec_for(r, n, iter, 0, s, &buf), &buf, &text));
    return emit(r, out, text);
}

static enum err exec_set_block(struct jinja_run *r, const struct jinja_node *n,
                               struct jinja_scope *s)
{
    struct jinja_val v;
    struct jinja_scope *inner = jinja_scope_new(r, s);
    TRY(jinja_exec_text(r, n->bodies[0], inner, &v));
    if (r->flow)
        return ERR_OK;
    r->block_text = v;
    if (n->b)
        TRY(jinja_eval(r, n->b, inner, &v));
    return jinja_assign(r, n->a, s, s, v);
}

static enum err exec_filter_block(struct jinja_run *r, const struct jinja_node *n,
                                  struct jinja_scope *s, struct str *out)
{
    struct jinja_val v;
    struct jinja_scope *inner = jinja_scope_new(r, s);
    TRY(jinja_exec_text(r, n->bodies[0], inner, &v));
    if (r->flow)
        return ERR_OK;
    r->block_text = v;
    TRY(jinja_eval(r, n->b, inner, &v));
    return emit_text(r, out, v);
}

static struct jinja_val macro_of(struct jinja_run *r, const struct jinja_node *n,
                                 struct jinja_scope *s)
{
    struct jinja_macro *m = arena_alloc(&r->arena, sizeof(*m));
    m->node = n;
    m->scope = s;
    return (struct jinja_val){.k = J_MACRO, .macro = m};
}

static enum err exec_call_block(struct jinja_run *r, const struct jinja_node *n,
                                struct jinja_scope *s, struct str *out)
{
    struct jinja_val f, v;
    struct jinja_call c = {0};
    TRY(jinja_eval(r, n->a->a, s, &f));
    TRY(jinja_eval_args(r, n->a->args, s, &c));
    struct jinja_val *kw = arena_array(&r->arena, c.n_kw + 1, sizeof(*kw));
    const struct jinja_str **names = arena_array(&r->arena, c.n_kw + 1, sizeof(*names));
    if (c.n_kw) {
        memcpy(kw, c.kw, c.n_kw * sizeof(*kw));
        memcpy(names, c.names, c.n_kw * sizeof(*names));
    }
    kw[c.n_kw] = macro_of(r, n, s);
    names[c.n_kw] = r->j->s_caller;
    c.kw = kw;
    c.names = names;
    c.n_kw++;
    r->line = n->line;
    TRY(jinja_call_val(r, f, &c, &v));
    return emit_text(r, out, v);
}

static enum err exec_with(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                          struct str *out)
{
    struct jinja_scope *inner = jinja_scope_new(r, s);
    for (size_t i = 0; i + 1 < n->n_kids; i += 2) {
        struct jinja_val v;
        TRY(jinja_eval(r, n->kids[i + 1], s, &v));
        TRY(jinja_assign(r, n->kids[i], inner, inner, v));
    }
    return jinja_exec(r, n->bodies[0], inner, out);
}

static enum err exec_output(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                            struct str *out)
{
    for (size_t i = 0; i < n->n_kids; i++) {
        struct jinja_val v;
        TRY(jinja_eval(r, n->kids[i], s, &v));
        TRY(emit(r, out, v));
    }
    return ERR_OK;
}

static enum err exec_set(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s)
{
    struct jinja_val v;
    TRY(check_ns(r, n->a, s));
    TRY(jinja_eval(r, n->b, s, &v));
    r->line = n->line;
    return jinja_assign(r, n->a, s, s, v);
}

static enum err exec(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *s,
                     struct str *out)
{
    r->line = n->line;
    switch (n->op) {
    case J_N_DATA: return emit(r, out, n->val);
    case J_N_OUTPUT: return exec_output(r, n, s, out);
    case J_N_IF: return exec_if(r, n, s, out);
    case J_N_FOR: return exec_for(r, n, s, out);
    case J_N_SET: return exec_set(r, n, s);
    case J_N_SET_BLOCK: return exec_set_block(r, n, s);
    case J_N_MACRO: jinja_scope_set(r, s, n->name, macro_of(r, n, s)); return ERR_OK;
    case J_N_CALL_BLOCK: return exec_call_block(r, n, s, out);
    case J_N_FILTER_BLOCK: return exec_filter_block(r, n, s, out);
    case J_N_WITH: return exec_with(r, n, s, out);
    case J_N_BREAK: r->flow = J_FLOW_BREAK; return ERR_OK;
    case J_N_CONTINUE: r->flow = J_FLOW_CONTINUE; return ERR_OK;
    case J_N_GENERATION:
    case J_N_SCOPE: return jinja_exec(r, n->bodies[0], jinja_scope_new(r, s), out);
    default: return jinja_fail(r, "this is not a statement");
    }
}

enum err jinja_exec(struct jinja_run *r, struct jinja_body b, struct jinja_scope *s,
                    struct str *out)
{
    TRY(jinja_enter(r));
    for (size_t i = 0; i < b.n && !r->flow; i++) {
        TRY(jinja_step(r, 1));
        TRY(exec(r, b.p[i], s, out));
    }
    r->depth--;
    return ERR_OK;
}

/* ---- calling macros ---- */

struct macro_args {
    bool *taken; /* [call->n_kw] */
    size_t n_taken;
};

static const struct jinja_val *take_kw(const struct jinja_call *c, struct macro_args *m,
                                       struct span name)
{
    for (size_t i = 0; i < c->n_kw; i++)
        if (!m->taken[i] && span_eq(jinja_span(c->names[i]), name)) {
            m->taken[i] = true;
            m->n_taken++;
            return &c->kw[i];
        }
    return NULL;
}

/* What is left of the arguments goes to caller, kwargs and varargs, where the body uses them. */
static enum err bind_rest(struct jinja_run *r, const struct jinja_node *n,
                          const struct jinja_call *c, struct macro_args *m, bool has_caller,
                          struct jinja_scope *s)
{
    int n_name = n->name ? (int)MIN(n->name->n, 60) : 0;
    const char *name = n_name ? n->name->p : "";
    if (n->uses_caller && !has_caller) {
        const struct jinja_val *v = take_kw(c, m, SPAN("caller"));
        bool given = v && v->k != J_NONE;
        jinja_scope_set(r, s, r->j->s_caller,
                        given ? *v : jinja_undef_hint(r, "no caller defined"));
    }
    if (n->uses_kwargs) {
        struct jinja_dict *d = jinja_dict_new(r);
        for (size_t i = 0; i < c->n_kw; i++)
            if (!m->taken[i])
                TRY(jinja_dict_set(r, d, jinja_of_str(c->names[i]), c->kw[i]));
        jinja_scope_set(r, s, r->j->s_kwargs, (struct jinja_val){.k = J_DICT, .d = d});
    } else if (m->n_taken < c->n_kw) {
        return jinja_fail(r, "macro '%.*s' takes no such keyword argument", n_name, name);
    }
    if (n->uses_varargs) {
        struct jinja_list *l = jinja_list_new(r, 2);
        for (size_t i = n->n_params; i < c->n_pos; i++)
            TRY(jinja_list_push(r, l, c->pos[i]));
        jinja_scope_set(r, s, r->j->s_varargs, jinja_of_tuple(l));
    } else if (c->n_pos > n->n_params) {
        return jinja_fail(r, "macro '%.*s' takes not more than %zu arguments", n_name, name,
                          n->n_params);
    }
    return ERR_OK;
}

enum err jinja_call_macro(struct jinja_run *r, struct jinja_macro *m, const struct jinja_call *c,
                          struct jinja_val *out)
{
    const struct jinja_node *n = m->node;
    struct jinja_scope *s = jinja_scope_new(r, m->scope);
    struct macro_args args = {.taken = arena_array(&r->arena, c->n_kw + 1, sizeof(bool))};
    bool has_caller = false;
    for (size_t i = 0; i < n->n_params; i++) {
        struct jinja_val v = {.k = J_MISSING};
        if (i < c->n_pos) {
            v = c->pos[i];
        } else {
            const struct jinja_val *kw = take_kw(c, &args, jinja_span(n->params[i]));
            v = kw ? *kw : v;
        }
        has_caller |= n->params[i] == r->j->s_caller;
        jinja_scope_set(r, s, n->params[i], v);
    }
    size_t first_default = n->n_params - n->n_defaults;
    for (size_t i = 0; i < n->n_params; i++) /* read too early, a parameter is undefined */
        if (s->vars[i].v.k == J_MISSING)
            s->vars[i].v = jinja_undef_name(r, n->params[i]);
    TRY(bind_rest(r, n, c, &args, has_caller, s));
    for (size_t i = c->n_pos; i < n->n_params; i++) {
        bool given = false;
        for (size_t k = 0; k < c->n_kw; k++)
            given |= span_eq(jinja_span(c->names[k]), jinja_span(n->params[i]));
        if (given || i < first_default)
            continue;
        struct jinja_val v;
        TRY(jinja_eval(r, n->defaults[i - first_default], s, &v));
        jinja_scope_set(r, s, n->params[i], v);
    }
    enum jinja_flow flow = r->flow;
    r->flow = J_FLOW_NONE;
    TRY(jinja_exec_text(r, n->bodies[0], s, out));
    r->flow = flow;
    return ERR_OK;
}
