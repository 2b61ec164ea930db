/* SPDX-License-Identifier: MIT
 * jinja_scan.c - one walk over the finished tree for what jinja2's compiler does before it runs
 * anything: it refuses filters and tests that do not exist, unless a condition may keep them from
 * being reached; it refuses break and continue outside of loops; it finds out which bodies use
 * loop, caller, kwargs and varargs. */
#include "chat/jinja_int.h"

enum use { USE_LOOP = 1, USE_CALLER = 2, USE_KWARGS = 4, USE_VARARGS = 8 };

struct scan {
    struct jinja *j;
    struct errinfo *e;
    unsigned want; /* names still looked for */
    unsigned found;
};

static unsigned use_of(const struct jinja *j, const struct jinja_str *name)
{
    return name == j->s_loop      ? USE_LOOP
           : name == j->s_caller  ? USE_CALLER
           : name == j->s_kwargs  ? USE_KWARGS
           : name == j->s_varargs ? USE_VARARGS
                                  : 0;
}

static void find_body(struct scan *s, struct jinja_body b);

static void find_use(struct scan *s, const struct jinja_node *n, bool store)
{
    if (!n || !s->want)
        return;
    if (n->op == J_N_NAME) {
        unsigned u = use_of(s->j, n->name) & s->want;
        if (!store)
            s->found |= u;
        s->want &= ~u;
        return;
    }
    bool stores = n->op == J_N_FOR || n->op == J_N_SET || n->op == J_N_SET_BLOCK;
    find_use(s, n->a, stores || (store && n->op == J_N_TUPLE));
    find_use(s, n->b, false);
    for (size_t i = 0; i < n->n_params; i++)
        s->want &= ~use_of(s->j, n->params[i]);
    for (size_t i = 0; i < n->n_kids; i++)
        find_use(s, n->kids[i], (store && n->op == J_N_TUPLE) || (n->op == J_N_WITH && i % 2 == 0));
    for (size_t i = 0; i < n->n_defaults; i++)
        find_use(s, n->defaults[i], false);
    if (n->args) {
        for (size_t i = 0; i < n->args->n_pos; i++)
            find_use(s, n->args->pos[i], false);
        for (size_t i = 0; i < n->args->n_kw; i++)
            find_use(s, n->args->kw[i], false);
        find_use(s, n->args->dyn_pos, false);
        find_use(s, n->args->dyn_kw, false);
    }
    for (size_t i = 0; i < n->n_bodies; i++)
        find_body(s, n->bodies[i]);
    find_use(s, n->c, false);
}

static void find_body(struct scan *s, struct jinja_body b)
{
    for (size_t i = 0; i < b.n; i++)
        find_use(s, b.p[i], false);
}

static unsigned uses(struct jinja *j, struct jinja_body b, unsigned want)
{
    struct scan s = {.j = j, .want = want};
    find_body(&s, b);
    return s.found;
}

/* What encloses a node. */
struct place {
    bool soft;    /* directly in a condition: unknown filters are refused when they run */
    bool in_loop; /* break and continue have a loop */
    bool in_for;  /* somewhere: nothing may assign to loop */
};

static enum err check_body(struct scan *s, struct jinja_body b, struct place at);

static bool names_loop(const struct scan *s, const struct jinja_node *target)
{
    bool is = target->op == J_N_NAME && target->name == s->j->s_loop;
    for (size_t i = 0; target->op == J_N_TUPLE && i < target->n_kids; i++)
        is |= names_loop(s, target->kids[i]);
    return is;
}

static enum err check(struct scan *s, struct jinja_node *n, struct place at)
{
    if (!n)
        return ERR_OK;
    bool in_for = at.in_for || n->op == J_N_FOR;
    struct place soft = {true, at.in_loop, in_for}, inner = {false, at.in_loop, in_for};
    struct place body = inner;
    struct place here = n->op == J_N_COND ? soft : at;
    if ((n->op == J_N_FILTER || n->op == J_N_TEST) && !n->fn && !at.soft)
        return jinja_fail_at(s->e, n->line, "no %s named '%.*s'",
                             n->op == J_N_FILTER ? "filter" : "test", (int)MIN(n->name->n, 60),
                             n->name->p);
    if ((n->op == J_N_BREAK || n->op == J_N_CONTINUE) && !at.in_loop)
        return jinja_fail_at(s->e, n->line, "loop control outside of a loop");
    bool assigns = n->op == J_N_FOR || n->op == J_N_SET || n->op == J_N_SET_BLOCK;
    if (in_for && assigns && names_loop(s, n->a))
        return jinja_fail_at(s->e, n->line, "cannot assign to the special variable loop");
    if (n->op == J_N_IF)
        body = here = soft;
    if (n->op == J_N_FOR) {
        n->uses_loop = uses(s->j, n->bodies[0], USE_LOOP);
        body.in_loop = true;
    }
    if (n->op == J_N_MACRO || n->op == J_N_CALL_BLOCK) {
        unsigned u = uses(s->j, n->bodies[0], USE_CALLER | USE_KWARGS | USE_VARARGS);
        n->uses_caller = u & USE_CALLER;
        n->uses_kwargs = u & USE_KWARGS;
        n->uses_varargs = u & USE_VARARGS;
        body.in_loop = false;
    }
    if (n->op == J_N_GENERATION || n->op == J_N_SCOPE)
        body.in_loop = false;
    TRY(check(s, n->a, here));
    TRY(check(s, n->b, n->op == J_N_FILTER_BLOCK || n->op == J_N_SET_BLOCK ? inner : here));
    TRY(check(s, n->c, n->op == J_N_FOR ? inner : here));
    for (size_t i = 0; i < n->n_kids; i++)
        TRY(check(s, n->kids[i], here));
    for (size_t i = 0; i < n->n_defaults; i++)
        TRY(check(s, n->defaults[i], inner));
    for (size_t i = 0; n->args && i < n->args->n_pos; i++)
        TRY(check(s, n->args->pos[i], here));
    for (size_t i = 0; n->args && i < n->args->n_kw; i++)
        TRY(check(s, n->args->kw[i], here));
    if (n->args) {
        TRY(check(s, n->args->dyn_pos, here));
        TRY(check(s, n->args->dyn_kw, here));
    }
    for (size_t i = 0; i < n->n_bodies; i++) {
        if (n->op == J_N_FOR && i == 1)
            body.in_loop = at.in_loop;
        TRY(check_body(s, n->bodies[i], body));
    }
    return ERR_OK;
}

static enum err check_body(struct scan *s, struct jinja_body b, struct place at)
{
    for (size_t i = 0; i < b.n; i++)
        TRY(check(s, b.p[i], at));
    return ERR_OK;
}

enum err jinja_scan_body(struct jinja *j, struct jinja_body b, struct errinfo *e)
{
    struct scan s = {.j = j, .e = e};
    return check_body(&s, b, (struct place){false, false, false});
}
