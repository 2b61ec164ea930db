/* SPDX-License-Identifier: MIT
 * tok_vocab.c - from written forms to ids: a hash table of all pieces, and the sorted list of the
 * tokens that are found literally in text. */
#include "tok/tok_int.h"

#include "base/num.h"

#include <stdlib.h>

static size_t slot_of(uint64_t hash, size_t mask)
{
    return (size_t)(hash >> 32) & mask;
}

int32_t tok_find(const struct tok *t, struct span piece)
{
    uint64_t h = tok_hash(piece.p, piece.n);
    for (size_t i = slot_of(h, t->slot_mask);; i = (i + 1) & t->slot_mask) {
        const struct tok_slot *s = &t->slot[i];
        if (s->id < 0)
            return -1;
        if (s->tag == (uint32_t)h && span_eq(t->piece[s->id], piece))
            return s->id;
    }
}

void tok_index_pieces(struct tok *t)
{
    size_t n_slots = 64;
    while (n_slots < (size_t)t->n * 3 / 2)
        n_slots *= 2;
    t->slot_mask = n_slots - 1;
    t->slot = arena_array(&t->arena, n_slots, sizeof *t->slot);
    memset(t->slot, 0xff, n_slots * sizeof *t->slot);
    for (int32_t id = 0; id < t->n; id++) {
        uint64_t h = tok_hash(t->piece[id].p, t->piece[id].n);
        size_t i = slot_of(h, t->slot_mask);
        for (; t->slot[i].id >= 0; i = (i + 1) & t->slot_mask)
            if (t->slot[i].tag == (uint32_t)h && span_eq(t->piece[t->slot[i].id], t->piece[id]))
                break;
        t->has_twins = t->has_twins || t->slot[i].id >= 0;
        if (t->slot[i].id < 0)
            t->slot[i] = (struct tok_slot){(uint32_t)h, id};
    }
}

static int fix_order(const void *a, const void *b)
{
    const struct tok_fix *x = a, *y = b;
    int c = memcmp(x->text.p, y->text.p, MIN(x->text.n, y->text.n));
    if (c != 0)
        return c;
    if (x->text.n != y->text.n)
        return x->text.n < y->text.n ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* GGUF writers put plain spaces where SentencePiece has U+2581 in user-defined tokens. */
static struct span escape_spaces(struct tok *t, struct span s)
{
    size_t n_spaces = 0, to = 0;
    for (size_t i = 0; i < s.n; i++)
        n_spaces += s.p[i] == ' ';
    if (n_spaces == 0)
        return s;
    char *p = arena_alloc(&t->arena, s.n + n_spaces * (TOK_SPACE_LEN - 1));
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != ' ') {
            p[to++] = s.p[i];
            continue;
        }
        memcpy(p + to, TOK_SPACE, TOK_SPACE_LEN);
        to += TOK_SPACE_LEN;
    }
    return (struct span){p, to};
}

/* Sorts the entries and finds where each first byte's begin. */
static void list_sort(struct tok_list *l)
{
    qsort(l->fix, l->n, sizeof *l->fix, fix_order);
    memset(l->first, 0, sizeof l->first);
    for (size_t i = 0; i < l->n; i++)
        l->first[(unsigned char)l->fix[i].text.p[0] + 1]++;
    for (int b = 0; b < 256; b++)
        l->first[b + 1] += l->first[b];
}

void tok_list_init(struct tok *t, struct tok_list *l, unsigned types)
{
    size_t n = 0;
    for (int32_t id = 0; id < t->n; id++)
        n += types >> TOK_TYPE(t, id) & 1 && t->piece[id].n > 0;
    l->fix = arena_array(&t->arena, n, sizeof *l->fix);
    l->n = 0;
    for (int32_t id = 0; id < t->n; id++) {
        int type = TOK_TYPE(t, id);
        struct span text = t->piece[id];
        if (!(types >> type & 1) || text.n == 0)
            continue;
        if (type == TOK_USER && (t->kind == TOK_SPM || t->kind == TOK_UGM))
            text = escape_spaces(t, text);
        l->fix[l->n++] = (struct tok_fix){text, id};
    }
    list_sort(l);
}

void tok_index_fixed(struct tok *t)
{
    tok_list_init(t, &t->fixed, 1u << TOK_CONTROL | 1u << TOK_USER);
}

/* First of fix[lo..hi) whose byte `at` is >= c; all are longer than `at` and equal before it. */
static size_t list_bound(const struct tok_list *l, size_t lo, size_t hi, size_t at, int c)
{
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if ((unsigned char)l->fix[mid].text.p[at] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void tok_walk_init(struct tok_walk *w, const struct tok_list *l)
{
    *w = (struct tok_walk){l, 0, l->n, 0};
}

bool tok_walk_step(struct tok_walk *w, unsigned char c)
{
    const struct tok_list *l = w->l;
    if (w->at == 0) {
        w->lo = l->first[c];
        w->hi = l->first[c + 1];
    } else {
        while (w->lo < w->hi && l->fix[w->lo].text.n == w->at)
            w->lo++;
        w->lo = list_bound(l, w->lo, w->hi, w->at, c);
        w->hi = list_bound(l, w->lo, w->hi, w->at, c + 1);
    }
    w->at++;
    return w->lo < w->hi;
}

int32_t tok_walk_id(const struct tok_walk *w)
{
    const struct tok_fix *f = &w->l->fix[w->lo];
    return w->at && w->lo < w->hi && f->text.n == w->at ? f->id : -1;
}

int32_t tok_list_longest(const struct tok_list *l, struct span s, size_t *len)
{
    struct tok_walk w;
    int32_t best = -1;
    tok_walk_init(&w, l);
    for (size_t i = 0; i < s.n && tok_walk_step(&w, (unsigned char)s.p[i]); i++) {
        int32_t id = tok_walk_id(&w);
        if (id < 0)
            continue;
        best = id;
        *len = i + 1;
    }
    return best;
}

int32_t tok_match_fixed(const struct tok *t, struct span s, unsigned types, size_t *len)
{
    struct tok_walk w;
    int32_t best = -1;
    tok_walk_init(&w, &t->fixed);
    for (size_t i = 0; i < s.n && tok_walk_step(&w, (unsigned char)s.p[i]); i++) {
        for (size_t k = w.lo; k < w.hi && w.l->fix[k].text.n == w.at; k++) {
            bool wanted = types >> TOK_TYPE(t, w.l->fix[k].id) & 1;
            if (wanted && (best < 0 || *len < w.at)) {
                best = w.l->fix[k].id;
                *len = w.at;
            }
        }
    }
    return best;
}

int32_t tok_control_at(const struct tok *t, struct span s, size_t *len)
{
    return s.n ? tok_match_fixed(t, s, 1u << TOK_CONTROL, len) : -1;
}

/* Some control token is longer than s and begins with it. */
static bool begins_control(const struct tok *t, struct span s)
{
    struct tok_walk w;
    tok_walk_init(&w, &t->fixed);
    for (size_t i = 0; i < s.n; i++)
        if (!tok_walk_step(&w, (unsigned char)s.p[i]))
            return false;
    for (size_t k = w.lo; k < w.hi; k++)
        if (w.l->fix[k].text.n > s.n && TOK_TYPE(t, w.l->fix[k].id) == TOK_CONTROL)
            return true;
    return false;
}

bool tok_control_begun(const struct tok *t, struct span s)
{
    size_t from = s.n > t->longest ? s.n - t->longest : 0;
    for (; from < s.n; from++)
        if (begins_control(t, (struct span){s.p + from, s.n - from}))
            return true;
    return false;
}
