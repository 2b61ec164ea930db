/* SPDX-License-Identifier: MIT
 * gram_build.c - the grammar while it is made, and its last form.
 *
 * The last form keeps only states from which a complete text can follow: so a state that was
 * reached is never a dead end.  It is laid out in arrays, bytes are sorted into classes. */
#include "gram/gram_int.h"

#include <string.h>

void gram_build_done(struct gram_build *b)
{
    mem_free(b->s);
    mem_free(b->e);
    mem_free(b->rule);
    *b = (struct gram_build){0};
}

uint32_t gram_build_state(struct gram_build *b, bool accept)
{
    if (b->n >= GRAM_STATES_MAX) {
        b->full = true;
        return b->n - 1;
    }
    GRAM_GROW(b->s, b->n, b->cap);
    b->s[b->n] = (struct gram_build_state){GRAM_NONE, GRAM_NONE, accept};
    return b->n++;
}

static void add_edge(struct gram_build *b, uint32_t from, struct gram_build_edge e)
{
    if (b->n_e >= 8 * GRAM_STATES_MAX) {
        b->full = true;
        return;
    }
    GRAM_GROW(b->e, b->n_e, b->cap_e);
    e.next = b->s[from].edge;
    b->s[from].edge = b->n_e;
    b->e[b->n_e++] = e;
}

void gram_build_byte(struct gram_build *b, uint32_t from, uint8_t lo, uint8_t hi, uint32_t to)
{
    add_edge(b, from, (struct gram_build_edge){0, to, GRAM_NONE, GRAM_EDGE_BYTE, lo, hi});
}

void gram_build_call(struct gram_build *b, uint32_t from, uint32_t rule, uint32_t to)
{
    add_edge(b, from, (struct gram_build_edge){0, to, rule, GRAM_EDGE_CALL, 0, 0});
}

void gram_build_eps(struct gram_build *b, uint32_t from, uint32_t to)
{
    add_edge(b, from, (struct gram_build_edge){0, to, GRAM_NONE, GRAM_EDGE_EPS, 0, 0});
}

uint32_t gram_build_bytes(struct gram_build *b, uint32_t from, struct span bytes)
{
    for (size_t i = 0; i < bytes.n && !b->full; i++) {
        uint32_t to = gram_build_state(b, false);
        gram_build_byte(b, from, (uint8_t)bytes.p[i], (uint8_t)bytes.p[i], to);
        from = to;
    }
    return from;
}

uint32_t gram_build_rule(struct gram_build *b)
{
    if (b->n_rules >= GRAM_RULES_MAX) {
        b->full = true;
        return 0;
    }
    GRAM_GROW(b->rule, b->n_rules, b->cap_rules);
    b->rule[b->n_rules] = GRAM_NONE;
    return b->n_rules++;
}

uint32_t gram_build_dfa(struct gram_build *b, const struct gram_dfa *d)
{
    if (d->n > GRAM_STATES_MAX - b->n)
        b->full = true;
    if (d->n == 0 || b->full)
        return gram_build_state(b, false);
    uint32_t base = b->n;
    for (uint32_t i = 0; i < d->n; i++)
        gram_build_state(b, d->s[i].accept);
    for (uint32_t i = 0; i < d->n; i++)
        for (uint32_t k = d->s[i].n; k-- > 0;) {
            const struct gram_dfa_edge *e = &d->e[d->s[i].first + k];
            if (e->rule != GRAM_NONE)
                gram_build_call(b, base + i, e->rule, base + e->to);
            else
                gram_build_byte(b, base + i, e->lo, e->hi, base + e->to);
        }
    return base;
}

/* ---- analysis ---- */

struct finish {
    struct gram_build *b;
    uint32_t *from;                 /* [edge] its state */
    uint32_t *in_first, *in_next;   /* [state], [edge]: edges that lead to it */
    uint32_t *use_first, *use_next; /* [rule], [edge]: edges that call it */
    uint32_t *rule_of_start;        /* [state] the rules that start here form a list: */
    uint32_t *rule_next;            /* [rule] */
    uint32_t *todo;
};

static uint32_t *filled(size_t n)
{
    uint32_t *p = mem_alloc(n * sizeof *p + 4);
    memset(p, 0xff, n * sizeof *p);
    return p;
}

static void finish_init(struct finish *f, struct gram_build *b)
{
    *f = (struct finish){b,
                         filled(b->n_e),
                         filled(b->n),
                         filled(b->n_e),
                         filled(b->n_rules),
                         filled(b->n_e),
                         filled(b->n),
                         filled(b->n_rules),
                         filled(b->n)};
    for (uint32_t i = 0; i < b->n; i++)
        for (uint32_t k = b->s[i].edge; k != GRAM_NONE; k = b->e[k].next) {
            const struct gram_build_edge *e = &b->e[k];
            f->from[k] = i;
            f->in_next[k] = f->in_first[e->to];
            f->in_first[e->to] = k;
            if (e->kind == GRAM_EDGE_CALL) {
                f->use_next[k] = f->use_first[e->rule];
                f->use_first[e->rule] = k;
            }
        }
    for (uint32_t r = 0; r < b->n_rules; r++)
        if (b->rule[r] != GRAM_NONE) {
            f->rule_next[r] = f->rule_of_start[b->rule[r]];
            f->rule_of_start[b->rule[r]] = r;
        }
}

static void finish_done(struct finish *f)
{
    mem_free(f->from);
    mem_free(f->in_first);
    mem_free(f->in_next);
    mem_free(f->use_first);
    mem_free(f->use_next);
    mem_free(f->rule_of_start);
    mem_free(f->rule_next);
    mem_free(f->todo);
}

/* Marks the states from which the end of their rule can be reached: with bytes (then the others
 * are of no use) or without (then a rule that starts there may be empty). */
static bool *mark_ends(struct finish *f, bool with_bytes)
{
    struct gram_build *b = f->b;
    bool *good = mem_alloc(b->n + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++)
        if (b->s[i].accept) {
            good[i] = true;
            f->todo[n++] = i;
        }
    while (n) {
        uint32_t at = f->todo[--n];
        /* edges to `at`, then calls of rules that start at `at`: they may now pass */
        for (uint32_t k = f->in_first[at]; k != GRAM_NONE; k = f->in_next[k]) {
            const struct gram_build_edge *e = &b->e[k];
            bool pass = e->kind == GRAM_EDGE_EPS || (e->kind == GRAM_EDGE_BYTE && with_bytes) ||
                        (e->kind == GRAM_EDGE_CALL && b->rule[e->rule] != GRAM_NONE &&
                         good[b->rule[e->rule]]);
            if (pass && !good[f->from[k]]) {
                good[f->from[k]] = true;
                f->todo[n++] = f->from[k];
            }
        }
        for (uint32_t r = f->rule_of_start[at]; r != GRAM_NONE; r = f->rule_next[r])
            for (uint32_t k = f->use_first[r]; k != GRAM_NONE; k = f->use_next[k])
                if (good[b->e[k].to] && !good[f->from[k]]) {
                    good[f->from[k]] = true;
                    f->todo[n++] = f->from[k];
                }
    }
    return good;
}

static bool edge_kept(const struct gram_build *b, const bool *good, const struct gram_build_edge *e)
{
    return good[e->to] &&
           (e->kind != GRAM_EDGE_CALL || (b->rule[e->rule] != GRAM_NONE && good[b->rule[e->rule]]));
}

/* Numbers the states that are reached from the root over useful edges; GRAM_NONE for others. */
static uint32_t *number_states(struct finish *f, uint32_t root, const bool *good, uint32_t *n_out)
{
    struct gram_build *b = f->b;
    uint32_t *number = filled(b->n), n = 0, n_todo = 0;
    number[b->rule[root]] = n++;
    f->todo[n_todo++] = b->rule[root];
    while (n_todo) {
        uint32_t at = f->todo[--n_todo];
        for (uint32_t k = b->s[at].edge; k != GRAM_NONE; k = b->e[k].next) {
            const struct gram_build_edge *e = &b->e[k];
            uint32_t to[2] = {e->to, e->kind == GRAM_EDGE_CALL ? b->rule[e->rule] : e->to};
            for (int i = 0; i < 2 && edge_kept(b, good, e); i++)
                if (number[to[i]] == GRAM_NONE) {
                    number[to[i]] = n++;
                    f->todo[n_todo++] = to[i];
                }
        }
    }
    *n_out = n;
    return number;
}

/* ---- layout ---- */

static void lay_out(struct gram *g, const struct gram_build *b, const bool *good,
                    const uint32_t *number, uint32_t root)
{
    uint32_t n[3] = {0};
    for (uint32_t i = 0; i < b->n; i++)
        for (uint32_t k = b->s[i].edge; number[i] != GRAM_NONE && k != GRAM_NONE; k = b->e[k].next)
            n[b->e[k].kind]++;
    g->s = mem_alloc(g->n * sizeof *g->s);
    g->edge = mem_alloc((n[0] + 1) * sizeof *g->edge);
    g->call = mem_alloc((n[1] + 1) * sizeof *g->call);
    g->eps = mem_alloc((n[2] + 1) * sizeof *g->eps);
    g->root = number[b->rule[root]];
    for (uint32_t i = 0; i < b->n; i++) {
        if (number[i] == GRAM_NONE)
            continue;
        struct gram_node *s = &g->s[number[i]];
        uint32_t like = b->s[i].like;
        *s = (struct gram_node){
            .edge = g->n_edges,
            .call = g->n_calls,
            .eps = g->n_eps,
            .like = like != GRAM_NONE && number[like] != GRAM_NONE ? number[like] : number[i],
            .accept = b->s[i].accept};
        for (uint32_t k = b->s[i].edge; k != GRAM_NONE; k = b->e[k].next) {
            const struct gram_build_edge *e = &b->e[k];
            if (!edge_kept(b, good, e))
                continue;
            if (e->kind == GRAM_EDGE_BYTE)
                g->edge[g->n_edges++] = (struct gram_edge){number[e->to], e->lo, e->hi};
            else if (e->kind == GRAM_EDGE_CALL)
                g->call[g->n_calls++] = (struct gram_call){number[b->rule[e->rule]], number[e->to],
                                                           false};
            else
                g->eps[g->n_eps++] = number[e->to];
        }
        s->n_edges = g->n_edges - s->edge;
        s->n_calls = g->n_calls - s->call;
        s->n_eps = g->n_eps - s->eps;
        s->final = s->accept && !s->n_edges && !s->n_calls && !s->n_eps;
    }
}

static void sort_bytes(struct gram *g)
{
    bool cut[257] = {0};
    for (uint32_t i = 0; i < g->n_edges; i++)
        cut[g->edge[i].lo] = cut[g->edge[i].hi + 1] = true;
    for (int c = 0; c < 256; c++) {
        if (c == 0 || cut[c])
            g->byte_of[g->n_class++] = (uint8_t)c;
        g->class_of[c] = (uint8_t)(g->n_class - 1);
    }
}

static void mark_inner(struct gram *g)
{
    uint32_t *todo = mem_alloc((g->n + 1) * sizeof *todo), n = 0;
    for (uint32_t i = 0; i < g->n_calls; i++)
        if (!g->s[g->call[i].start].inner) {
            g->s[g->call[i].start].inner = true;
            todo[n++] = g->call[i].start;
        }
    while (n) {
        const struct gram_node *s = &g->s[todo[--n]];
        for (uint32_t i = 0; i < s->n_edges + s->n_calls + s->n_eps; i++) {
            uint32_t to = i < s->n_edges ? g->edge[s->edge + i].to
                          : i < s->n_edges + s->n_calls
                              ? g->call[s->call + i - s->n_edges].to
                              : g->eps[s->eps + i - s->n_edges - s->n_calls];
            if (!g->s[to].inner) {
                g->s[to].inner = true;
                todo[n++] = to;
            }
        }
    }
    mem_free(todo);
}

/* Where a way leads from state `at`: its i-th one, GRAM_NONE for a way that is closed; false after
 * the last.  With `empty`, ways without a byte only; without it all. */
static bool way_of(const struct gram *g, const bool *empty, uint32_t at, uint32_t i, uint32_t *to)
{
    const struct gram_node *s = &g->s[at];
    if (i < s->n_eps) {
        *to = g->eps[s->eps + i];
        return true;
    }
    i -= s->n_eps;
    if (i < 2 * s->n_calls) {
        const struct gram_call *c = &g->call[s->call + i / 2];
        *to = i % 2 == 0 ? c->start : !empty || empty[c->start] ? c->to : GRAM_NONE;
        return true;
    }
    i -= 2 * s->n_calls;
    if (empty || i >= s->n_edges)
        return false;
    *to = g->edge[s->edge + i].to;
    return true;
}

/* Strongly connected components by those ways (Tarjan, with a stack of its own): the caller frees
 * the number of each state's component. */
static uint32_t *components(const struct gram *g, const bool *empty)
{
    uint32_t *work = mem_alloc((4 * (size_t)g->n + 1) * sizeof *work);
    uint32_t *low = work, *path = low + g->n, *way = path + g->n, *open = way + g->n;
    uint32_t n_open = 0, time = 0;
    uint32_t *index = filled(g->n), *component = filled(g->n);
    for (uint32_t from = 0; from < g->n; from++) {
        uint32_t n = 0;
        if (index[from] == GRAM_NONE)
            path[n++] = open[n_open++] = from;
        while (n) {
            uint32_t at = path[n - 1], to;
            if (index[at] == GRAM_NONE)
                index[at] = low[at] = time++;
            if (way_of(g, empty, at, way[at]++, &to)) {
                if (to == GRAM_NONE)
                    continue;
                if (index[to] == GRAM_NONE)
                    path[n++] = open[n_open++] = to;
                else if (component[to] == GRAM_NONE)
                    low[at] = MIN(low[at], index[to]);
                continue;
            }
            n--;
            if (n)
                low[path[n - 1]] = MIN(low[path[n - 1]], low[at]);
            for (bool more = low[at] == index[at]; more;) {
                more = open[--n_open] != at;
                component[open[n_open]] = at;
            }
        }
    }
    mem_free(work);
    mem_free(index);
    return component;
}

/* A call inside a component calls itself before it reads anything; gives its start. */
static uint32_t find_left_recursion(const struct gram *g, const bool *empty)
{
    uint32_t *component = components(g, empty), found = GRAM_NONE;
    for (uint32_t i = 0; i < g->n && found == GRAM_NONE; i++)
        for (uint32_t k = 0; k < g->s[i].n_calls; k++)
            if (component[g->call[g->s[i].call + k].start] == component[i])
                found = g->call[g->s[i].call + k].start;
    mem_free(component);
    return found;
}

/* Only calls that may come again below themselves count for GRAM_DEPTH_MAX: the others are needed
 * to close what is open. */
static void mark_recursion(struct gram *g)
{
    uint32_t *component = components(g, NULL);
    for (uint32_t i = 0; i < g->n; i++)
        for (uint32_t k = 0; k < g->s[i].n_calls; k++) {
            struct gram_call *c = &g->call[g->s[i].call + k];
            c->recursive = component[c->start] == component[i];
        }
    mem_free(component);
}

static enum err refuse_left_recursion(const struct gram *g, const struct gram_build *b,
                                      const bool *empty_old, const uint32_t *number,
                                      const char *(*name_of)(void *ctx, uint32_t rule), void *ctx,
                                      struct errinfo *e)
{
    bool *empty = mem_alloc(g->n + 1);
    for (uint32_t i = 0; i < b->n; i++)
        if (number[i] != GRAM_NONE)
            empty[number[i]] = empty_old[i];
    uint32_t at = find_left_recursion(g, empty);
    mem_free(empty);
    if (at == GRAM_NONE)
        return ERR_OK;
    const char *name = NULL;
    for (uint32_t r = 0; r < b->n_rules && name_of && !name; r++)
        if (b->rule[r] != GRAM_NONE && number[b->rule[r]] == at)
            name = name_of(ctx, r);
    return err_set(e, ERR_UNSUPPORTED, "left recursion: %.200s begins with itself",
                   name ? name : "a rule");
}

enum err gram_build_finish(struct gram **out, struct gram_build *b, uint32_t root,
                           const char *(*name_of)(void *ctx, uint32_t rule), void *ctx,
                           struct errinfo *e)
{
    struct finish f;
    enum err rc = ERR_OK;
    *out = NULL;
    if (b->full) {
        gram_build_done(b);
        return err_set(e, ERR_UNSUPPORTED, "a grammar of more than %d states or %d rules",
                       GRAM_STATES_MAX, GRAM_RULES_MAX);
    }
    finish_init(&f, b);
    bool *good = mark_ends(&f, true), *empty = mark_ends(&f, false);
    if (b->rule[root] == GRAM_NONE || !good[b->rule[root]]) {
        rc = err_set(e, ERR_UNSUPPORTED, "nothing satisfies this grammar");
    } else {
        struct gram *g = mem_alloc(sizeof *g);
        uint32_t *number = number_states(&f, root, good, &g->n);
        lay_out(g, b, good, number, root);
        sort_bytes(g);
        mark_inner(g);
        mark_recursion(g);
        rc = refuse_left_recursion(g, b, empty, number, name_of, ctx, e);
        mem_free(number);
        if (rc == ERR_OK)
            *out = g;
        else
            gram_free(g);
    }
    mem_free(good);
    mem_free(empty);
    finish_done(&f);
    gram_build_done(b);
    return rc;
}

void gram_free(struct gram *g)
{
    if (!g)
        return;
    gram_masks_free(g->masks);
    mem_free(g->s);
    mem_free(g->edge);
    mem_free(g->call);
    mem_free(g->eps);
    mem_free(g);
}

uint32_t gram_n_states(const struct gram *g)
{
    return g->n;
}
