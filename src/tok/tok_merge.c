/* SPDX-License-Identifier: MIT
 * tok_merge.c - byte pair merging: of all neighbours that can merge, always the pair of highest
 * priority, the leftmost among equals.  Symbols are a linked list, candidates a binary heap; a
 * candidate whose symbols have changed since is dropped when it comes up. */
#include "tok/tok_int.h"

#include "base/num.h"

void tok_add_sym(struct tok_work *w, size_t at, size_t n, int32_t id)
{
    if (w->n_sym == w->cap_sym) {
        w->cap_sym = MAX(2 * w->cap_sym, 256);
        w->sym = mem_grow(w->sym, w->cap_sym * sizeof *w->sym);
    }
    uint32_t i = (uint32_t)w->n_sym++;
    w->sym[i] = (struct tok_sym){(uint32_t)at, (uint32_t)n, i - 1, TOK_NONE, id};
    if (i > 0)
        w->sym[i - 1].next = i;
}

static void sift_down(struct tok_cand *h, size_t n, size_t i)
{
    struct tok_cand c = h[i];
    for (size_t kid; (kid = 2 * i + 1) < n; i = kid) {
        if (kid + 1 < n && h[kid + 1].key < h[kid].key)
            kid++;
        if (c.key <= h[kid].key)
            break;
        h[i] = h[kid];
    }
    h[i] = c;
}

static void sift_up(struct tok_cand *h, size_t i)
{
    struct tok_cand c = h[i];
    for (size_t up; i > 0; i = up) {
        up = (i - 1) / 2;
        if (h[up].key <= c.key)
            break;
        h[i] = h[up];
    }
    h[i] = c;
}

/* The pair of symbol `left` and the next one as a candidate at the heap's end, if it can merge. */
static bool add_cand(struct tok_work *w, uint32_t left)
{
    const struct tok_sym *l = &w->sym[left], *r = &w->sym[l->next];
    uint32_t prio;
    int32_t id = w->t->kind == TOK_SPM ? tok_pair_spm(w, l, r, &prio)
                                       : tok_pair_bpe(w->t, l, r, &prio);
    if (id < 0)
        return false;
    if (TOK_TYPE(w->t, id) == TOK_UNUSED && w->t->kind == TOK_SPM) {
        if (!w->unused_left)
            w->unused_left = mem_alloc((size_t)w->t->n * sizeof *w->unused_left);
        w->unused_left[id] = (uint16_t)l->n;
    }
    if (w->n_heap == w->cap_heap) {
        w->cap_heap = MAX(2 * w->cap_heap, 256);
        w->heap = mem_grow(w->heap, w->cap_heap * sizeof *w->heap);
    }
    w->heap[w->n_heap++] = (struct tok_cand){(uint64_t)prio << 32 | left, id, l->n + r->n};
    return true;
}

static void push_cand(struct tok_work *w, uint32_t left)
{
    if (add_cand(w, left))
        sift_up(w->heap, w->n_heap - 1);
}

void tok_merge_syms(struct tok_work *w)
{
    w->n_heap = 0;
    for (size_t i = 0; i + 1 < w->n_sym; i++)
        add_cand(w, (uint32_t)i);
    for (size_t i = w->n_heap / 2; i-- > 0;)
        sift_down(w->heap, w->n_heap, i);
    while (w->n_heap) {
        struct tok_cand c = w->heap[0];
        w->heap[0] = w->heap[--w->n_heap];
        if (w->n_heap)
            sift_down(w->heap, w->n_heap, 0);
        uint32_t left = (uint32_t)c.key;
        struct tok_sym *l = &w->sym[left];
        /* Symbols only grow, so a pair of the candidate's length is the candidate's pair. */
        if (l->n == 0 || l->next == TOK_NONE || l->n + w->sym[l->next].n != c.n)
            continue;
        struct tok_sym *r = &w->sym[l->next];
        l->n = c.n;
        l->id = c.id;
        l->next = r->next;
        r->n = 0;
        if (l->next != TOK_NONE) {
            w->sym[l->next].prev = left;
            push_cand(w, left);
        }
        if (l->prev != TOK_NONE)
            push_cand(w, l->prev);
    }
}
