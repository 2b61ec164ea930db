/* SPDX-License-Identifier: MIT
 * gram_state.c - following text: configurations, found when they are first needed and kept.
 *
 * The idea is that of graph-structured stacks (Tomita 1985), kept as values: nothing changes once
 * made, so a state can be copied, and going back is taking an older number. */
#include "gram/gram_int.h"

#include <stdlib.h>
#include <string.h>

/* (state, stack) pairs that one step may go through; ways beyond them are not followed. */
#define WORK_MAX 262144u

/* ---- tables of what is kept once ---- */

static void table_put(struct gram_table *t, uint64_t h, uint32_t i)
{
    while (t->slot[h & (t->size - 1)])
        h++;
    t->slot[h & (t->size - 1)] = i + 1;
}

static uint64_t hash_frame(const struct gram_state *s, uint32_t i)
{
    return num_hash(&s->frame[i], sizeof s->frame[i], 1);
}

static uint64_t hash_set(const struct gram_state *s, uint32_t i)
{
    return num_hash(s->member + s->set[i].first, s->set[i].n * sizeof *s->member, 2);
}

static uint64_t hash_config(const struct gram_state *s, uint32_t i)
{
    const struct gram_config *c = &s->config[i];
    return num_hash(s->item + c->item, c->n_items * sizeof *s->item, 3 + c->ended);
}

/* Makes room for one more entry. */
static void table_room(struct gram_state *s, struct gram_table *t,
                       uint64_t (*hash)(const struct gram_state *s, uint32_t i))
{
    if (2 * (t->n + 1) <= t->size)
        return;
    t->size = t->size ? 2 * t->size : 64;
    mem_free(t->slot);
    t->slot = mem_alloc(t->size * sizeof *t->slot);
    for (uint32_t i = 0; i < t->n; i++)
        table_put(t, hash(s, i), i);
}

static uint32_t frame_of(struct gram_state *s, uint32_t state, uint32_t set)
{
    struct gram_item f = {state, set};
    table_room(s, &s->frames, hash_frame);
    uint64_t h = num_hash(&f, sizeof f, 1);
    for (uint64_t k = h; s->frames.slot[k & (s->frames.size - 1)]; k++) {
        uint32_t i = s->frames.slot[k & (s->frames.size - 1)] - 1;
        if (s->frame[i].state == state && s->frame[i].set == set)
            return i;
    }
    GRAM_GROW(s->frame, s->n_frame, s->cap_frame);
    s->frame[s->n_frame] = f;
    s->frames.n = s->n_frame + 1;
    table_put(&s->frames, h, s->n_frame);
    return s->n_frame++;
}

static int by_number(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return (a > b) - (a < b);
}

/* The set of the n members that were just put behind s->member[s->n_member]. */
static uint32_t set_of_new(struct gram_state *s, uint32_t n)
{
    uint32_t *m = s->member + s->n_member, n_kept = 0, depth = 0;
    if (n > 1)
        qsort(m, n, sizeof *m, by_number);
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || m[i] != m[n_kept - 1])
            m[n_kept++] = m[i];
    table_room(s, &s->sets, hash_set);
    uint64_t h = num_hash(m, n_kept * sizeof *m, 2);
    for (uint64_t k = h; s->sets.slot[k & (s->sets.size - 1)]; k++) {
        uint32_t i = s->sets.slot[k & (s->sets.size - 1)] - 1;
        if (s->set[i].n == n_kept &&
            memcmp(s->member + s->set[i].first, m, n_kept * sizeof *m) == 0)
            return i;
    }
    for (uint32_t i = 0; i < n_kept; i++)
        if (s->frame[m[i]].set != GRAM_NONE)
            depth = MAX(depth, s->set[s->frame[m[i]].set].depth + 1);
    GRAM_GROW(s->set, s->n_set, s->cap_set);
    s->set[s->n_set] = (struct gram_set){s->n_member, n_kept, depth};
    s->n_member += n_kept;
    s->sets.n = s->n_set + 1;
    table_put(&s->sets, h, s->n_set);
    return s->n_set++;
}

static void member_room(struct gram_state *s, uint32_t n)
{
    while (s->n_member + n > s->cap_member) {
        s->cap_member = s->cap_member ? 2 * s->cap_member : 256;
        s->member = mem_grow(s->member, s->cap_member * sizeof *s->member);
    }
}

static uint32_t set_of_frame(struct gram_state *s, uint32_t frame)
{
    member_room(s, 1);
    s->member[s->n_member] = frame;
    return set_of_new(s, 1);
}

static int by_item(const void *x, const void *y)
{
    const struct gram_item *a = x, *b = y;
    if (a->state != b->state)
        return a->state < b->state ? -1 : 1;
    return (a->set > b->set) - (a->set < b->set);
}

/* Sorts items; stacks of the same state become one. */
static uint32_t merge_items(struct gram_state *s, struct gram_item *item, uint32_t n)
{
    uint32_t out = 0;
    if (n > 1)
        qsort(item, n, sizeof *item, by_item);
    for (uint32_t i = 0, end; i < n; i = end) {
        uint32_t n_members = 0;
        bool same = true;
        for (end = i; end < n && item[end].state == item[i].state; end++)
            same = same && item[end].set == item[i].set;
        item[out] = item[i];
        if (!same) {
            for (uint32_t k = i; k < end; k++) {
                const struct gram_set *x = &s->set[item[k].set];
                uint32_t first = x->first, count = x->n;
                member_room(s, n_members + count);
                memcpy(s->member + s->n_member + n_members, s->member + first,
                       count * sizeof *s->member);
                n_members += count;
            }
            item[out].set = set_of_new(s, n_members);
        }
        out++;
    }
    return out;
}

/* ---- configurations ---- */

static void work_begin(struct gram_state *s)
{
    if (!s->work_slot) {
        s->n_work_slot = 256;
        s->work_slot = mem_alloc(s->n_work_slot * sizeof *s->work_slot);
    }
    if (++s->work_round == 0) {
        memset(s->work_slot, 0, s->n_work_slot * sizeof *s->work_slot);
        s->work_round = 1;
    }
    s->n_work = 0;
}

/* The slot of a pair: that of its index, or the free one where it belongs. */
static uint64_t *work_place(struct gram_state *s, uint32_t state, uint32_t set)
{
    uint64_t h = ((uint64_t)state * 0x9e3779b1u) ^ ((uint64_t)set * 0x85ebca77u);
    for (h ^= h >> 15;; h++) {
        uint64_t *x = &s->work_slot[h & (s->n_work_slot - 1)];
        const struct gram_item *w = &s->work[(uint32_t)*x];
        if (*x >> 32 != s->work_round || (w->state == state && w->set == set))
            return x;
    }
}

/* Adds a pair that was not there since work_begin. */
static void push_work(struct gram_state *s, uint32_t state, uint32_t set)
{
    GRAM_GROW(s->work, s->n_work, s->cap_work);
    uint64_t *place = work_place(s, state, set);
    if (*place >> 32 == s->work_round || s->n_work >= WORK_MAX)
        return;
    *place = (uint64_t)s->work_round << 32 | s->n_work;
    s->work[s->n_work++] = (struct gram_item){state, set};
    if (2 * s->n_work < s->n_work_slot)
        return;
    mem_free(s->work_slot);
    s->n_work_slot *= 2;
    s->work_slot = mem_alloc(s->n_work_slot * sizeof *s->work_slot);
    for (uint32_t i = 0; i < s->n_work; i++)
        *work_place(s, s->work[i].state, s->work[i].set) = (uint64_t)s->work_round << 32 | i;
}

/* Adds what follows where the rule on top of `set` is complete. */
static void push_returns(struct gram_state *s, uint32_t set, bool *finished)
{
    for (uint32_t i = 0; i < s->set[set].n; i++) {
        struct gram_item f = s->frame[s->member[s->set[set].first + i]];
        if (f.state == GRAM_NONE)
            *finished = true;
        else
            push_work(s, f.state, f.set);
    }
}

static void push_entered(struct gram_state *s, struct gram_item at)
{
    const struct gram_node *node = &s->g->s[at.state];
    for (uint32_t i = 0; i < node->n_eps; i++)
        push_work(s, s->g->eps[node->eps + i], at.set);
    for (uint32_t i = 0; i < node->n_calls; i++) {
        const struct gram_call *c = &s->g->call[node->call + i];
        if (s->g->s[c->to].final)
            push_work(s, c->start, at.set); /* nothing to come back for */
        else if (!c->recursive || s->set[at.set].depth < GRAM_DEPTH_MAX)
            push_work(s, c->start, set_of_frame(s, frame_of(s, c->to, at.set)));
    }
}

static uint32_t add_items(struct gram_state *s, const struct gram_item *item, uint32_t n)
{
    while (s->n_item + n >= s->cap_item) {
        s->cap_item = s->cap_item ? 2 * s->cap_item : 256;
        s->item = mem_grow(s->item, s->cap_item * sizeof *s->item);
    }
    if (n)
        memcpy(s->item + s->n_item, item, n * sizeof *item);
    s->n_item += n;
    return s->n_item - n;
}

/* Fills in what a configuration can read and whether it is complete. */
static void close_config(struct gram_state *s, struct gram_config *c)
{
    work_begin(s);
    c->finished = c->ended;
    for (uint32_t i = 0; i < c->n_items; i++)
        push_work(s, s->item[c->item + i].state, s->item[c->item + i].set);
    for (uint32_t i = 0; i < s->n_work; i++) {
        struct gram_item at = s->work[i];
        if (s->g->s[at.state].accept)
            push_returns(s, at.set, &c->finished);
        push_entered(s, at);
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_work; i++)
        if (s->g->s[s->work[i].state].n_edges)
            s->work[n++] = s->work[i];
    c->n_live = merge_items(s, s->work, n);
    c->live = add_items(s, s->work, c->n_live);
}

/* The configuration of s->raw[0..n_raw), which it sorts.  Items that can only return do so first,
 * so that what follows a value is the same whatever the value was. */
static uint32_t config_of_raw(struct gram_state *s, bool ended)
{
    work_begin(s);
    for (uint32_t i = 0; i < s->n_raw; i++)
        push_work(s, s->raw[i].state, s->raw[i].set);
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_work; i++) {
        struct gram_item at = s->work[i];
        if (s->g->s[at.state].final)
            push_returns(s, at.set, &ended);
    }
    for (uint32_t i = 0; i < s->n_work; i++)
        if (!s->g->s[s->work[i].state].final)
            s->work[n++] = s->work[i];
    n = merge_items(s, s->work, n);
    if (n == 0 && !ended)
        return GRAM_DEAD;
    table_room(s, &s->configs, hash_config);
    uint64_t h = num_hash(s->work, n * sizeof *s->work, 3 + ended);
    for (uint64_t k = h; s->configs.slot[k & (s->configs.size - 1)]; k++) {
        uint32_t i = s->configs.slot[k & (s->configs.size - 1)] - 1;
        const struct gram_config *c = &s->config[i];
        if (i > GRAM_DEAD && c->n_items == n && c->ended == ended &&
            (n == 0 || memcmp(s->item + c->item, s->work, n * sizeof *s->work) == 0))
            return i;
    }
    struct gram_config c = {.item = add_items(s, s->work, n), .n_items = n, .ended = ended};
    close_config(s, &c);
    GRAM_GROW(s->config, s->n_config, s->cap_config);
    uint32_t id = s->n_config++;
    s->config[id] = c;
    s->configs.n = s->n_config;
    table_put(&s->configs, h, id);
    if (s->n_config > s->cap_next) {
        s->cap_next = s->cap_next ? 2 * s->cap_next : 64;
        s->next = mem_grow(s->next, (size_t)s->cap_next * s->g->n_class * sizeof *s->next);
    }
    memset(s->next + (size_t)id * s->g->n_class, 0, s->g->n_class * sizeof *s->next);
    return id;
}

static void push_raw(struct gram_state *s, uint32_t state, uint32_t set)
{
    GRAM_GROW(s->raw, s->n_raw, s->cap_raw);
    s->raw[s->n_raw++] = (struct gram_item){state, set};
}

uint32_t gram_step_slow(struct gram_state *s, uint32_t config, uint32_t byte_class)
{
    const struct gram_config *c = &s->config[config];
    uint8_t byte = s->g->byte_of[byte_class];
    s->n_raw = 0;
    for (uint32_t i = 0; i < c->n_live; i++) {
        struct gram_item at = s->item[c->live + i];
        const struct gram_node *node = &s->g->s[at.state];
        for (uint32_t k = 0; k < node->n_edges; k++) {
            const struct gram_edge *e = &s->g->edge[node->edge + k];
            if (e->lo <= byte && byte <= e->hi)
                push_raw(s, e->to, at.set);
        }
    }
    uint32_t to = s->n_raw ? config_of_raw(s, false) : GRAM_DEAD;
    s->next[(size_t)config * s->g->n_class + byte_class] = to;
    return to;
}

uint32_t gram_config_of(struct gram_state *s, uint32_t state, uint32_t set)
{
    s->n_raw = 0;
    push_raw(s, state, set);
    return config_of_raw(s, false);
}

uint32_t gram_config_return(struct gram_state *s, uint32_t set)
{
    bool ended = false;
    s->n_raw = 0;
    for (uint32_t i = 0; i < s->set[set].n; i++) {
        struct gram_item f = s->frame[s->member[s->set[set].first + i]];
        if (f.state == GRAM_NONE)
            ended = true;
        else
            push_raw(s, f.state, f.set);
    }
    return config_of_raw(s, ended);
}

/* ---- states ---- */

static struct gram_state *new_state(const struct gram *g)
{
    struct gram_state *s = mem_alloc(sizeof *s);
    s->g = g;
    set_of_frame(s, frame_of(s, GRAM_NONE, GRAM_NONE)); /* GRAM_SET_ROOT */
    s->cap_config = s->cap_next = 64;
    s->config = mem_alloc(s->cap_config * sizeof *s->config);
    s->next = mem_alloc((size_t)s->cap_next * g->n_class * sizeof *s->next);
    s->n_config = 2; /* GRAM_UNKNOWN and GRAM_DEAD are no configurations */
    for (uint32_t c = 0; c < 2 * g->n_class; c++)
        s->next[c] = GRAM_DEAD;
    table_room(s, &s->configs, hash_config);
    s->configs.n = 2;
    return s;
}

struct gram_state *gram_start(const struct gram *g)
{
    struct gram_state *s = new_state(g);
    s->now = gram_config_of(s, g->root, GRAM_SET_ROOT);
    return s;
}

static void free_parts(struct gram_state *s)
{
    mem_free(s->frame);
    mem_free(s->item);
    mem_free(s->set);
    mem_free(s->member);
    mem_free(s->config);
    mem_free(s->next);
    mem_free(s->frames.slot);
    mem_free(s->sets.slot);
    mem_free(s->configs.slot);
    mem_free(s->work);
    mem_free(s->work_slot);
    mem_free(s->raw);
}

void gram_done(struct gram_state *s)
{
    if (!s)
        return;
    free_parts(s);
    gram_memo_free(s->memo);
    mem_free(s->path);
    mem_free(s);
}

size_t gram_state_bytes(const struct gram_state *s)
{
    return (size_t)s->cap_next * s->g->n_class * sizeof *s->next +
           s->cap_config * sizeof *s->config + s->cap_item * sizeof *s->item +
           s->cap_member * sizeof *s->member + s->cap_set * sizeof *s->set +
           s->cap_frame * sizeof *s->frame;
}

/* Copies the configurations roots[0..n) of `from`, and what they stand on, into the empty `to`.
 * A set's frames are older than the set and a frame's set is older than the frame: so marks spread
 * downwards and copies are made upwards, without recursion. */
static void carry_over(struct gram_state *to, const struct gram_state *from, uint32_t *roots,
                       size_t n)
{
    uint32_t *set = mem_alloc(from->n_set * sizeof *set + 4);
    uint32_t *frame = mem_alloc(from->n_frame * sizeof *frame + 4);
    for (size_t r = 0; r < n; r++)
        for (uint32_t i = 0; roots[r] > GRAM_DEAD && i < from->config[roots[r]].n_items; i++)
            set[from->item[from->config[roots[r]].item + i].set] = 1;
    for (uint32_t i = from->n_set; i-- > 0;)
        for (uint32_t k = 0; set[i] && k < from->set[i].n; k++) {
            uint32_t f = from->member[from->set[i].first + k];
            frame[f] = 1;
            if (from->frame[f].set != GRAM_NONE)
                set[from->frame[f].set] = 1;
        }
    for (uint32_t i = 0; i < from->n_set; i++) {
        if (!set[i])
            continue;
        member_room(to, from->set[i].n);
        for (uint32_t k = 0; k < from->set[i].n; k++) {
            struct gram_item f = from->frame[from->member[from->set[i].first + k]];
            uint32_t below = f.set == GRAM_NONE ? GRAM_NONE : set[f.set] - 1;
            to->member[to->n_member + k] = frame_of(to, f.state, below);
        }
        set[i] = set_of_new(to, from->set[i].n) + 1;
    }
    for (size_t r = 0; r < n; r++) {
        if (roots[r] <= GRAM_DEAD)
            continue;
        const struct gram_config *c = &from->config[roots[r]];
        to->n_raw = 0;
        for (uint32_t i = 0; i < c->n_items; i++)
            push_raw(to, from->item[c->item + i].state, set[from->item[c->item + i].set] - 1);
        roots[r] = config_of_raw(to, c->ended);
    }
    mem_free(set);
    mem_free(frame);
}

void gram_state_compact(struct gram_state *s, uint32_t *roots, size_t n)
{
    struct gram_state *fresh = new_state(s->g);
    carry_over(fresh, s, &s->now, 1);
    carry_over(fresh, s, roots, n);
    fresh->now = s->now;
    fresh->path = s->path;
    fresh->n_compacted = s->n_compacted + 1;
    free_parts(s);
    gram_memo_free(s->memo); /* it knows configurations by their old numbers */
    *s = *fresh;
    mem_free(fresh);
}

struct gram_state *gram_copy(const struct gram_state *s)
{
    struct gram_state *x = new_state(s->g);
    x->now = s->now;
    carry_over(x, s, &x->now, 1);
    return x;
}

bool gram_accept(struct gram_state *s, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint32_t keep[2] = {s->now, s->now}; /* before, and on the way */
    for (size_t i = 0; i < n && keep[1] != GRAM_DEAD; i++) {
        keep[1] = gram_step(s, keep[1], s->g->class_of[p[i]]);
        if (gram_state_bytes(s) > GRAM_STATE_BYTES_MAX)
            gram_state_compact(s, keep, 2);
    }
    if (keep[1] != GRAM_DEAD)
        s->now = keep[1];
    return keep[1] != GRAM_DEAD;
}

bool gram_accept_byte(struct gram_state *s, unsigned char byte)
{
    return gram_accept(s, &byte, 1);
}

bool gram_finished(const struct gram_state *s)
{
    return s->config[s->now].finished;
}
