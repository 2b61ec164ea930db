/* SPDX-License-Identifier: MIT
 * engine_state.c - sequences' states, of models that have them, and marks: what a state was where a
 * text is likely to be taken up again.
 *
 * Pages say what a text was at each of its positions; a state is what it is after the last alone.
 * So such a sequence begins with known pages only as far as there is a mark on their way in the
 * tree.  A mark is of a place in a text: the node of its last full page, and the tokens behind it.
 * Its slot counts as free: the mark that served longest ago goes when a sequence needs one. */
#include "engine/engine_int.h"

#include "base/arena.h"
#include "base/num.h"

#include <string.h>

#define SEQS 4 /* that run together, where nobody says */

static bool has_states(const struct engine *en)
{
    return en->model->has_state;
}

size_t state_slots(const struct engine_opts *o)
{
    size_t seqs = o->seqs ? o->seqs : SEQS;
    return 2 * MIN(seqs, (size_t)1 << 20) + 2; /* the beginning and the end of a turn of each */
}

void state_init(struct engine *en)
{
    if (!has_states(en))
        return;
    en->marks = mem_alloc(en->n_states * sizeof *en->marks);
    en->free_states = mem_alloc(en->n_states * sizeof *en->free_states);
    for (size_t i = 0; i < en->n_states; i++)
        en->free_states[en->n_free_states++] = (uint32_t)(en->n_states - 1 - i);
}

void state_done(struct engine *en)
{
    mem_free(en->marks);
    mem_free(en->free_states);
}

size_t engine_seqs_max(const struct engine *en)
{
    return has_states(en) ? en->n_states - en->n_states / 2 : SIZE_MAX;
}

size_t state_free(const struct engine *en)
{
    return has_states(en) ? en->n_free_states + en->n_marks : SIZE_MAX;
}

/* ---- marks ---- */

static void drop_mark(struct engine *en, uint32_t slot)
{
    CHECK(en->marks[slot].node != PREFIX_NONE && en->marks[slot].there);
    en->marks[slot].there = false;
    en->n_marks--;
    en->free_states[en->n_free_states++] = slot;
}

void state_forget_node(struct engine *en, uint32_t node)
{
    for (size_t i = 0; en->n_marks && i < en->n_states; i++)
        if (en->marks[i].there && en->marks[i].node == node)
            drop_mark(en, (uint32_t)i);
}

/* A slot for whoever asks: a free one, or that of the mark that served longest ago but `kept`;
 * DEV_NONE: there is none. */
static uint32_t take_slot(struct engine *en, uint32_t kept)
{
    uint32_t oldest = DEV_NONE;
    for (uint32_t i = 0; en->n_free_states == 0 && i < en->n_states; i++)
        if (en->marks[i].there && i != kept &&
            (oldest == DEV_NONE || en->marks[i].used < en->marks[oldest].used))
            oldest = i;
    if (oldest != DEV_NONE)
        drop_mark(en, oldest);
    return en->n_free_states ? en->free_states[--en->n_free_states] : DEV_NONE;
}

/* The mark at exactly `n` tokens of the text whose node of n / ENGINE_PAGE pages is `node`. */
static uint32_t find_mark(const struct engine_seq *s, uint32_t node, size_t n)
{
    const struct engine *en = s->en;
    size_t n_rest = n % ENGINE_PAGE;
    const int32_t *rest = s->tokens + (n - n_rest);
    for (uint32_t i = 0; i < en->n_states; i++) {
        const struct state_mark *k = &en->marks[i];
        if (k->there && k->lora == s->lora_key && k->node == node && k->n_rest == n_rest &&
            memcmp(k->rest, rest, n_rest * sizeof *rest) == 0)
            return i;
    }
    return DEV_NONE;
}

/* The node of the first n / ENGINE_PAGE pages, which the tree knows all. */
static uint32_t node_at(const struct engine_seq *s, size_t n)
{
    uint32_t node = s->node;
    for (size_t i = s->n_learnt; i > n / ENGINE_PAGE; i--)
        node = s->en->prefix.node[node].parent;
    return node;
}

/* Slot holds what the state was after the first n tokens; it is given back where that is known. */
static void add_mark(struct engine_seq *s, uint32_t slot, size_t n)
{
    struct engine *en = s->en;
    bool known = n > 0 && s->n_learnt >= n / ENGINE_PAGE;
    uint32_t node = known ? node_at(s, n) : PREFIX_NONE;
    uint32_t old = known ? find_mark(s, node, n) : DEV_NONE;
    if (old != DEV_NONE)
        en->marks[old].used = ++en->prefix.clock;
    if (!known || old != DEV_NONE) {
        en->free_states[en->n_free_states++] = slot;
        return;
    }
    struct state_mark *k = &en->marks[slot];
    *k = (struct state_mark){.there = true,
                             .node = node,
                             .n_rest = n % ENGINE_PAGE,
                             .lora = s->lora_key,
                             .used = ++en->prefix.clock};
    memcpy(k->rest, s->tokens + (n - k->n_rest), k->n_rest * sizeof *k->rest);
    en->n_marks++;
}

/* The longest beginning of tokens[n], up to a mark, whose pages the tree has; 0: none.  *all is how
 * many tokens it has pages of. */
static size_t longest(const struct engine *en, uint64_t lora, const int32_t *tokens, size_t n,
                      uint32_t *mark, size_t *all)
{
    size_t best = 0, shared = ENGINE_PAGE;
    uint32_t at = PREFIX_ROOT;
    *mark = DEV_NONE;
    *all = 0;
    for (size_t from = 0; shared == ENGINE_PAGE; from += ENGINE_PAGE) {
        uint32_t next = prefix_child(en, lora, at, tokens + from,
                                     MIN(n - from, (size_t)ENGINE_PAGE), &shared);
        for (uint32_t i = 0; i < en->n_states; i++) {
            const struct state_mark *k = &en->marks[i];
            if (k->there && k->lora == lora && k->node == at && k->n_rest <= shared &&
                from + k->n_rest > best &&
                memcmp(k->rest, tokens + from, k->n_rest * sizeof *tokens) == 0) {
                best = from + k->n_rest;
                *mark = i;
            }
        }
        *all = from + shared;
        at = next;
    }
    return best;
}

/* ---- sequences ---- */

bool state_begin(struct engine_seq *s)
{
    struct engine *en = s->en;
    if (!has_states(en) || s->state != DEV_NONE)
        return true;
    s->state = take_slot(en, DEV_NONE);
    if (s->state == DEV_NONE)
        return false;
    en->dev->clear_state(en->dev, s->state);
    return true;
}

void state_give_back(struct engine_seq *s)
{
    if (s->state != DEV_NONE)
        s->en->free_states[s->en->n_free_states++] = s->state;
    s->state = DEV_NONE;
}

void state_leave(struct engine_seq *s)
{
    if (s->state != DEV_NONE)
        add_mark(s, s->state, s->n);
    s->state = DEV_NONE;
}

/* The state becomes that of a mark; where no other slot is left, the mark's own. */
static void restore(struct engine_seq *s, uint32_t mark)
{
    struct engine *en = s->en;
    en->marks[mark].used = ++en->prefix.clock;
    if (s->state == DEV_NONE)
        s->state = take_slot(en, mark);
    if (s->state == DEV_NONE) {
        drop_mark(en, mark);
        s->state = take_slot(en, DEV_NONE);
        CHECK(s->state == mark);
        return;
    }
    en->dev->copy_state(en->dev, s->state, mark);
}

size_t state_reusable(struct engine_seq *s, const int32_t *tokens, size_t n)
{
    uint32_t mark;
    size_t all, best;
    if (!has_states(s->en))
        return n;
    best = longest(s->en, s->lora_key, tokens, n, &mark, &all);
    s->branch = all > best ? all : 0;
    return best;
}

bool state_reuse(struct engine_seq *s)
{
    if (!has_states(s->en) || s->n == 0)
        return true;
    uint32_t mark = find_mark(s, node_at(s, s->n), s->n);
    if (mark == DEV_NONE)
        return false;
    restore(s, mark);
    return true;
}

size_t state_cut(struct engine_seq *s, size_t n)
{
    uint32_t mark;
    size_t all;
    if (!has_states(s->en) || n == s->n)
        return n;
    n = n ? longest(s->en, s->lora_key, s->tokens, n, &mark, &all) : 0;
    if (n == 0)
        state_give_back(s);
    else
        restore(s, mark);
    return n;
}

/* ---- steps ---- */

void engine_seq_mark(struct engine_seq *s, size_t n)
{
    s->mark = n;
}

uint32_t state_keep(struct engine_seq *s)
{
    if (!has_states(s->en) || (s->n != s->mark && s->n != s->branch))
        return DEV_NONE;
    return take_slot(s->en, DEV_NONE);
}

void state_kept(struct engine_seq *s, uint32_t slot, size_t n)
{
    if (slot != DEV_NONE)
        add_mark(s, slot, n);
}
