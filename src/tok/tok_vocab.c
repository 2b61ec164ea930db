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

void tok_index_fixed(struct tok *t, bool escape)
{
    size_t n = 0;
    for (int32_t id = 0; id < t->n; id++)
        n += TOK_TYPE(t, id) == TOK_CONTROL || TOK_TYPE(t, id) == TOK_USER;
    t->fix = arena_array(&t->arena, n, sizeof *t->fix);
    for (int32_t id = 0; id < t->n; id++) {
        int type = TOK_TYPE(t, id);
        struct span text = t->piece[id];
        if ((type != TOK_CONTROL && type != TOK_USER) || text.n == 0)
            continue;
        if (escape && type == TOK_USER)
            text = escape_spaces(t, text);
        t->fix[t->n_fix++] = (struct tok_fix){text, id};
    }
    qsort(t->fix, t->n_fix, sizeof *t->fix, fix_order);
    for (size_t i = 0; i < t->n_fix; i++)
        t->fix_first[(unsigned char)t->fix[i].text.p[0] + 1]++;
    for (int b = 0; b < 256; b++)
        t->fix_first[b + 1] += t->fix_first[b];
}

/* First of fix[lo..hi) whose byte `at` is >= c; all are longer than `at` and equal before it. */
static size_t fix_bound(const struct tok *t, size_t lo, size_t hi, size_t at, int c)
{
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if ((unsigned char)t->fix[mid].text.p[at] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int32_t tok_match_fixed(const struct tok *t, struct span s, unsigned types, size_t *len)
{
    int32_t best = -1;
    int c = (unsigned char)s.p[0];
    size_t lo = t->fix_first[c], hi = t->fix_first[c + 1];
    for (size_t at = 1; lo < hi; at++) {
        for (; lo < hi && t->fix[lo].text.n == at; lo++) {
            bool wanted = types >> TOK_TYPE(t, t->fix[lo].id) & 1;
            if (wanted && (best < 0 || *len < at)) {
                best = t->fix[lo].id;
                *len = at;
            }
        }
        if (at == s.n)
            break;
        c = (unsigned char)s.p[at];
        lo = fix_bound(t, lo, hi, at, c);
        hi = fix_bound(t, lo, hi, at, c + 1);
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
    int c = (unsigned char)s.p[0];
    size_t lo = t->fix_first[c], hi = t->fix_first[c + 1];
    for (size_t at = 1; lo < hi; at++) {
        while (lo < hi && t->fix[lo].text.n == at)
            lo++;
        if (at == s.n)
            break;
        c = (unsigned char)s.p[at];
        lo = fix_bound(t, lo, hi, at, c);
        hi = fix_bound(t, lo, hi, at, c + 1);
    }
    for (; lo < hi; lo++)
        if (TOK_TYPE(t, t->fix[lo].id) == TOK_CONTROL)
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
