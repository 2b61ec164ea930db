/* SPDX-License-Identifier: MIT
 * gram_dfa.c - automata without choices: the subset construction, and products of them.
 *
 * Both intern vectors of numbers (sets of nfa states; one state of each factor) and walk the list
 * of those found, so that nothing recurses and every vector is looked at once. */
#include "gram/gram_int.h"

#include <stdlib.h>
#include <string.h>

#define VECTOR_WORDS_MAX ((size_t)6 << 20) /* of all vectors together */
#define DFA_STATES_MAX   60000u

void gram_dfa_done(struct gram_dfa *d)
{
    mem_free(d->s);
    mem_free(d->e);
    *d = (struct gram_dfa){0};
}

/* Vectors of uint32_t, known by their number. */
struct vectors {
    uint32_t *word;
    size_t n_word, cap_word;
    struct {
        size_t first;
        uint32_t n;
    } * v;
    uint32_t n, cap;
    uint32_t *slot; /* number + 1 */
    uint32_t size;
};

static void vectors_done(struct vectors *x)
{
    mem_free(x->word);
    mem_free(x->v);
    mem_free(x->slot);
}

static void vectors_rehash(struct vectors *x)
{
    x->size = x->size ? 2 * x->size : 256;
    mem_free(x->slot);
    x->slot = mem_alloc(x->size * sizeof *x->slot);
    for (uint32_t i = 0; i < x->n; i++) {
        uint64_t h = num_hash(x->word + x->v[i].first, x->v[i].n * sizeof *x->word, 0);
        while (x->slot[h & (x->size - 1)])
            h++;
        x->slot[h & (x->size - 1)] = i + 1;
    }
}

/* The number of w[0..n); GRAM_NONE when there would be too much. */
static uint32_t vectors_find(struct vectors *x, const uint32_t *w, uint32_t n)
{
    if (2 * (x->n + 1) > x->size)
        vectors_rehash(x);
    uint64_t h = num_hash(w, n * sizeof *w, 0);
    for (; x->slot[h & (x->size - 1)]; h++) {
        uint32_t i = x->slot[h & (x->size - 1)] - 1;
        if (x->v[i].n == n && memcmp(x->word + x->v[i].first, w, n * sizeof *w) == 0)
            return i;
    }
    if (x->n >= DFA_STATES_MAX || x->n_word + n > VECTOR_WORDS_MAX)
        return GRAM_NONE;
    while (x->n_word + n >= x->cap_word) {
        x->cap_word = x->cap_word ? 2 * x->cap_word : 1024;
        x->word = mem_grow(x->word, x->cap_word * sizeof *x->word);
    }
    memcpy(x->word + x->n_word, w, n * sizeof *w);
    GRAM_GROW(x->v, x->n, x->cap);
    x->v[x->n].first = x->n_word;
    x->v[x->n].n = n;
    x->n_word += n;
    x->slot[h & (x->size - 1)] = x->n + 1;
    return x->n++;
}

static void add_edge(struct gram_dfa *d, struct gram_dfa_edge e)
{
    struct gram_dfa_state *s = &d->s[d->n - 1];
    struct gram_dfa_edge *last = s->n ? &d->e[d->n_e - 1] : NULL;
    if (last && e.rule == GRAM_NONE && last->rule == GRAM_NONE && last->to == e.to &&
        last->hi + 1 == e.lo) {
        last->hi = e.hi;
        return;
    }
    GRAM_GROW(d->e, d->n_e, d->cap_e);
    d->e[d->n_e++] = e;
    s->n++;
}

static void add_state(struct gram_dfa *d, bool accept)
{
    GRAM_GROW(d->s, d->n, d->cap);
    d->s[d->n++] = (struct gram_dfa_state){d->n_e, 0, accept};
}

/* ---- subsets ---- */

struct subset {
    const struct gram_nfa *m;
    struct vectors sets;
    uint32_t *mark, now; /* mark[state] == now: in the set */
    uint32_t *set, n;
    uint32_t *todo;
};

static int by_number(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return (a > b) - (a < b);
}

static void subset_begin(struct subset *u)
{
    u->now++;
    u->n = 0;
}

/* Adds what is reached from `from` without a byte; only states that matter stay in the set: those
 * that read, the end, and assertions of the end. */
static void subset_add(struct subset *u, uint32_t from, uint32_t end, bool at_begin)
{
    uint32_t n = 0;
    if (from != GRAM_NONE && u->mark[from] != u->now) {
        u->mark[from] = u->now;
        u->todo[n++] = from;
    }
    while (n) {
        uint32_t at = u->todo[--n];
        const struct gram_nfa_state *s = &u->m->s[at];
        uint32_t to[2] = {GRAM_NONE, GRAM_NONE};
        if (s->kind == GRAM_NFA_SPLIT) {
            to[0] = s->a;
            to[1] = s->b;
        } else if (s->kind == GRAM_NFA_BEGIN && at_begin) {
            to[0] = s->a;
        }
        if (at == end || (s->kind != GRAM_NFA_SPLIT && s->kind != GRAM_NFA_BEGIN))
            u->set[u->n++] = at;
        for (int i = 0; i < 2; i++)
            if (to[i] != GRAM_NONE && u->mark[to[i]] != u->now) {
                u->mark[to[i]] = u->now;
                u->todo[n++] = to[i];
            }
    }
}

static uint32_t subset_find(struct subset *u)
{
    qsort(u->set, u->n, sizeof *u->set, by_number);
    return vectors_find(&u->sets, u->set, u->n);
}

/* Whether the set holds the end, or reaches it where the text ends. */
static bool subset_accepts(struct subset *u, const uint32_t *set, uint32_t n, uint32_t end,
                           bool at_begin)
{
    uint32_t n_todo = 0;
    u->now++;
    for (uint32_t i = 0; i < n; i++) {
        u->mark[set[i]] = u->now;
        u->todo[n_todo++] = set[i];
    }
    while (n_todo) {
        uint32_t at = u->todo[--n_todo];
        const struct gram_nfa_state *s = &u->m->s[at];
        if (at == end)
            return true;
        if (s->kind == GRAM_NFA_BYTE || s->kind == GRAM_NFA_CALL ||
            (s->kind == GRAM_NFA_BEGIN && !at_begin))
            continue;
        for (int i = 0; i < 2; i++) {
            uint32_t to = i == 0 ? s->a : s->kind == GRAM_NFA_SPLIT ? s->b : GRAM_NONE;
            if (to != GRAM_NONE && u->mark[to] != u->now) {
                u->mark[to] = u->now;
                u->todo[n_todo++] = to;
            }
        }
    }
    return false;
}

/* The edges of one set on bytes: between the bounds of its ranges all bytes behave the same. */
static bool subset_bytes(struct subset *u, struct gram_dfa *d, const uint32_t *set, uint32_t n,
                         uint32_t end)
{
    bool cut[257] = {0};
    for (uint32_t i = 0; i < n; i++) {
        const struct gram_nfa_state *s = &u->m->s[set[i]];
        if (s->kind == GRAM_NFA_BYTE)
            cut[s->lo] = cut[s->hi + 1] = true;
    }
    for (int lo = 0; lo < 256;) {
        int hi = lo;
        while (hi < 255 && !cut[hi + 1])
            hi++;
        subset_begin(u);
        for (uint32_t i = 0; i < n; i++) {
            const struct gram_nfa_state *s = &u->m->s[set[i]];
            if (s->kind == GRAM_NFA_BYTE && s->lo <= lo && lo <= s->hi)
                subset_add(u, s->a, end, false);
        }
        if (u->n) {
            uint32_t to = subset_find(u);
            if (to == GRAM_NONE)
                return false;
            add_edge(d, (struct gram_dfa_edge){to, GRAM_NONE, (uint8_t)lo, (uint8_t)hi});
        }
        lo = hi + 1;
    }
    return true;
}

static bool subset_calls(struct subset *u, struct gram_dfa *d, const uint32_t *set, uint32_t n,
                         uint32_t end)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct gram_nfa_state *s = &u->m->s[set[i]];
        bool first = s->kind == GRAM_NFA_CALL;
        for (uint32_t k = 0; k < i && first; k++)
            first = u->m->s[set[k]].kind != GRAM_NFA_CALL || u->m->s[set[k]].b != s->b;
        if (!first)
            continue;
        subset_begin(u);
        for (uint32_t k = i; k < n; k++)
            if (u->m->s[set[k]].kind == GRAM_NFA_CALL && u->m->s[set[k]].b == s->b)
                subset_add(u, u->m->s[set[k]].a, end, false);
        uint32_t to = u->n ? subset_find(u) : 0;
        if (to == GRAM_NONE)
            return false;
        if (u->n)
            add_edge(d, (struct gram_dfa_edge){to, s->b, 0, 0});
    }
    return true;
}

bool gram_dfa_from_nfa(struct gram_dfa *d, const struct gram_nfa *m, struct gram_frag f)
{
    struct subset u = {.m = m};
    uint32_t *copy = NULL;
    size_t cap = 0, edges = 0;
    bool ok = !m->full;
    *d = (struct gram_dfa){0};
    if (!ok)
        return false;
    u.mark = mem_alloc(m->n * sizeof *u.mark);
    u.set = mem_alloc(m->n * sizeof *u.set);
    u.todo = mem_alloc(m->n * sizeof *u.todo);
    subset_begin(&u);
    subset_add(&u, f.start, f.end, true);
    subset_find(&u);
    for (uint32_t i = 0; ok && i < u.sets.n; i++) {
        uint32_t n = u.sets.v[i].n;
        if (n > cap) {
            cap = 2 * (size_t)n;
            copy = mem_grow(copy, cap * sizeof *copy);
        }
        if (n) /* a copy, for u.sets.word moves */
            memcpy(copy, u.sets.word + u.sets.v[i].first, n * sizeof *copy);
        add_state(d, subset_accepts(&u, copy, n, f.end, i == 0));
        ok = subset_bytes(&u, d, copy, n, f.end) && subset_calls(&u, d, copy, n, f.end);
        edges += n;
        ok = ok && edges < VECTOR_WORDS_MAX;
    }
    vectors_done(&u.sets);
    mem_free(u.mark);
    mem_free(u.set);
    mem_free(u.todo);
    mem_free(copy);
    if (!ok)
        gram_dfa_done(d);
    return ok;
}

/* ---- products ---- */

uint32_t gram_dfa_step(const struct gram_dfa *d, uint32_t state, unsigned char byte)
{
    if (state == GRAM_NONE)
        return GRAM_NONE;
    for (uint32_t i = 0; i < d->s[state].n; i++) {
        const struct gram_dfa_edge *e = &d->e[d->s[state].first + i];
        if (e->rule == GRAM_NONE && e->lo <= byte && byte <= e->hi)
            return e->to;
    }
    return GRAM_NONE;
}

bool gram_dfa_accepts(const struct gram_dfa *d, struct span text)
{
    uint32_t at = d->n ? 0 : GRAM_NONE;
    for (size_t i = 0; i < text.n && at != GRAM_NONE; i++)
        at = gram_dfa_step(d, at, (unsigned char)text.p[i]);
    return at != GRAM_NONE && d->s[at].accept;
}

#define FACTORS_MAX 64

static void cut_at_edges(const struct gram_dfa *d, uint32_t state, bool *cut)
{
    if (state == GRAM_NONE)
        return;
    for (uint32_t i = 0; i < d->s[state].n; i++) {
        const struct gram_dfa_edge *e = &d->e[d->s[state].first + i];
        cut[e->lo] = cut[e->hi + 1] = true;
    }
}

static bool product_state(struct gram_dfa *d, struct vectors *tuples, const uint32_t *at,
                          const struct gram_dfa *const *f, size_t n_yes, size_t n)
{
    bool cut[257] = {0}, accept = true;
    uint32_t to[FACTORS_MAX];
    for (size_t i = 0; i < n; i++) {
        accept = accept && (at[i] != GRAM_NONE && f[i]->s[at[i]].accept) == (i < n_yes);
        cut_at_edges(f[i], at[i], cut);
    }
    add_state(d, accept);
    for (int lo = 0; lo < 256;) {
        int hi = lo;
        bool alive = true;
        while (hi < 255 && !cut[hi + 1])
            hi++;
        for (size_t i = 0; i < n; i++) {
            to[i] = gram_dfa_step(f[i], at[i], (unsigned char)lo);
            alive = alive && (i >= n_yes || to[i] != GRAM_NONE);
        }
        if (alive) {
            uint32_t found = vectors_find(tuples, to, (uint32_t)n);
            if (found == GRAM_NONE)
                return false;
            add_edge(d, (struct gram_dfa_edge){found, GRAM_NONE, (uint8_t)lo, (uint8_t)hi});
        }
        lo = hi + 1;
    }
    return true;
}

bool gram_dfa_product(struct gram_dfa *d, const struct gram_dfa *const *yes, size_t n_yes,
                      const struct gram_dfa *const *no, size_t n_no)
{
    const struct gram_dfa *f[FACTORS_MAX];
    uint32_t at[FACTORS_MAX];
    struct vectors tuples = {0};
    bool ok = true;
    size_t n = n_yes + n_no;
    *d = (struct gram_dfa){0};
    if (n_yes > FACTORS_MAX || n > FACTORS_MAX || n_yes == 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        f[i] = i < n_yes ? yes[i] : no[i - n_yes];
        at[i] = f[i]->n ? 0 : GRAM_NONE;
        if (i < n_yes && !f[i]->n)
            return true;
    }
    vectors_find(&tuples, at, (uint32_t)n);
    for (uint32_t i = 0; ok && i < tuples.n; i++) {
        memcpy(at, tuples.word + tuples.v[i].first, n * sizeof *at);
        ok = product_state(d, &tuples, at, f, n_yes, n);
    }
    vectors_done(&tuples);
    if (!ok)
        gram_dfa_done(d);
    return ok;
}
