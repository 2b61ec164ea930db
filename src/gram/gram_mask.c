/* SPDX-License-Identifier: MIT
 * gram_mask.c - the tokens of a vocabulary that keep a text possible.
 *
 * The vocabulary is a trie in depth-first order, each node with the place behind its subtree, so
 * that refusing a prefix is one jump.  Walking all of it costs a millisecond or two; so what does
 * not depend on the stack is learnt once a state of the grammar, for all threads: the tokens that
 * stay inside the state's rule, and the places (`leaves`) where the rule ends inside a token.  A
 * mask is then a copy, and a walk below the leaves with what the stack returns to.
 *
 * Tokens of more than GRAM_LIKE_BYTES bytes stand in a trie of their own: states that are alike for
 * so many bytes (inside a string with a long maxLength) share what was learnt of the short ones. */
#include "gram/gram_int.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct trie_node {
    uint32_t skip;  /* the node behind this subtree */
    uint32_t token; /* in ids, or GRAM_NONE */
    uint16_t depth; /* 0: the root */
    uint8_t byte;
};

#define LAST_ID 0x80000000u /* in ids: no more tokens of the same bytes */

struct trie {
    struct trie_node *node;
    uint32_t n, cap;
    uint32_t *ids;
    uint32_t n_ids, cap_ids;
};

struct gram_vocab {
    uint64_t serial;
    uint32_t n_vocab, words, depth; /* depth: bytes of the longest token */
    struct trie trie[2];            /* up to GRAM_LIKE_BYTES bytes; longer */
    char *text;
    size_t *first; /* [n_vocab + 1] in text */
    bool *is_end;
};

/* What was learnt of a state. */
struct lesson {
    bool of_no_use;    /* too many leaves: walk everything each time */
    uint32_t *bits[2]; /* [words] */
    uint32_t *leaf[2], n_leaf[2], cap_leaf[2];
};

struct gram_masks {
    struct gram_masks *next;
    uint64_t serial;
    _Atomic size_t bytes;
    _Atomic(struct lesson *) *lesson; /* [g->n] */
    uint32_t n;
};
#define LESSON_BYTES_MAX ((size_t)256 << 20) /* of one grammar; further lessons are not kept */

#define MEMO_N 32
struct gram_memo {
    uint64_t serial;
    uint32_t words, clock;
    uint32_t config[MEMO_N], used[MEMO_N];
    uint32_t *bits; /* [MEMO_N][words] */
};

/* ---- the vocabulary ---- */

struct piece {
    const char *p;
    size_t n;
    uint32_t id;
};

static int by_bytes(const void *x, const void *y)
{
    const struct piece *a = x, *b = y;
    int d = memcmp(a->p, b->p, MIN(a->n, b->n));
    if (d)
        return d;
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

static void trie_add(struct trie *t, uint32_t *path, const struct piece *before,
                     const struct piece *x)
{
    size_t same = 0;
    while (before && same < before->n && same < x->n && before->p[same] == x->p[same])
        same++;
    if (before && same == x->n && before->n == x->n) {
        t->ids[t->n_ids - 1] &= ~LAST_ID;
    } else {
        for (size_t d = same + 1; d <= x->n; d++) {
            GRAM_GROW(t->node, t->n, t->cap);
            path[d] = t->n;
            t->node[t->n++] = (struct trie_node){0, GRAM_NONE, (uint16_t)d, (uint8_t)x->p[d - 1]};
        }
        t->node[t->n - 1].token = t->n_ids;
    }
    GRAM_GROW(t->ids, t->n_ids, t->cap_ids);
    t->ids[t->n_ids++] = x->id | LAST_ID;
}

static void trie_make(struct trie *t, const struct piece *piece, size_t n, bool longer)
{
    uint32_t *path = mem_alloc((UINT16_MAX + 1) * sizeof *path);
    const struct piece *before = NULL;
    GRAM_GROW(t->node, t->n, t->cap);
    t->node[t->n++] = (struct trie_node){.skip = 1, .token = GRAM_NONE};
    for (size_t i = 0; i < n; i++) {
        if ((piece[i].n > GRAM_LIKE_BYTES) != longer)
            continue;
        trie_add(t, path, before, &piece[i]);
        before = &piece[i];
    }
    uint32_t depth = 0; /* path: the nodes that are still open */
    path[0] = 0;
    for (uint32_t i = 1; i <= t->n; i++) {
        uint32_t d = i < t->n ? t->node[i].depth : 0;
        for (; depth >= d && (depth || d == 0); depth--) {
            t->node[path[depth]].skip = i;
            if (depth == 0)
                break;
        }
        depth = d;
        path[d] = i;
    }
    mem_free(path);
}

struct gram_vocab *gram_vocab_new(const struct tok *t)
{
    static _Atomic uint64_t serials;
    struct gram_vocab *v = mem_alloc(sizeof *v);
    struct str text, one;
    size_t n = 0;
    v->serial = atomic_fetch_add(&serials, 1) + 1;
    v->n_vocab = (uint32_t)tok_n_vocab(t);
    v->words = v->n_vocab / 32 + 1;
    v->first = mem_alloc(((size_t)v->n_vocab + 1) * sizeof *v->first);
    v->is_end = mem_alloc((size_t)v->n_vocab + 1);
    str_init(&text, (size_t)1 << 31);
    str_init(&one, 4 * TOK_PIECE_BYTES_MAX);
    for (uint32_t i = 0; i < v->n_vocab; i++) {
        int32_t id = (int32_t)i;
        str_clear(&one);
        v->first[i] = text.n;
        v->is_end[i] = tok_is_end(t, id);
        if (v->is_end[i] || tok_is_control(t, id) ||
            tok_decode(t, &id, 1, 0, &one, NULL) != ERR_OK || one.n > UINT16_MAX)
            continue;
        str_add(&text, one.p, one.n);
        v->depth = MAX(v->depth, (uint32_t)one.n);
        n += one.n > 0;
    }
    v->first[v->n_vocab] = text.n;
    CHECK(!text.full);
    v->text = text.p;
    struct piece *piece = mem_alloc(n * sizeof *piece + 1);
    n = 0;
    for (uint32_t i = 0; i < v->n_vocab; i++)
        if (v->first[i + 1] > v->first[i])
            piece[n++] = (struct piece){v->text + v->first[i], v->first[i + 1] - v->first[i], i};
    qsort(piece, n, sizeof *piece, by_bytes);
    trie_make(&v->trie[0], piece, n, false);
    trie_make(&v->trie[1], piece, n, true);
    mem_free(piece);
    str_done(&one);
    return v;
}

void gram_vocab_free(struct gram_vocab *v)
{
    if (!v)
        return;
    for (int i = 0; i < 2; i++) {
        mem_free(v->trie[i].node);
        mem_free(v->trie[i].ids);
    }
    mem_free(v->text);
    mem_free(v->first);
    mem_free(v->is_end);
    mem_free(v);
}

size_t gram_vocab_words(const struct gram_vocab *v)
{
    return v->words;
}

struct span gram_vocab_bytes(const struct gram_vocab *v, int32_t id)
{
    CHECK(id >= 0 && (uint32_t)id < v->n_vocab);
    return (struct span){v->text + v->first[id], v->first[id + 1] - v->first[id]};
}

bool gram_accept_token(struct gram_state *s, const struct gram_vocab *v, int32_t id)
{
    struct span bytes = gram_vocab_bytes(v, id);
    if (v->is_end[id])
        return gram_finished(s);
    return bytes.n && gram_accept(s, bytes.p, bytes.n);
}

/* ---- walking ---- */

static void set_tokens(const struct trie *t, uint32_t at, uint32_t *bits)
{
    uint32_t id;
    do {
        id = t->ids[at++];
        bits[(id & ~LAST_ID) / 32] |= 1u << (id & 31);
    } while (!(id & LAST_ID));
}

static void add_leaf(struct lesson *l, int which, uint32_t node)
{
    GRAM_GROW(l->leaf[which], l->n_leaf[which], l->cap_leaf[which]);
    l->leaf[which][l->n_leaf[which]++] = node;
}

/* Sets the tokens below `root` that `config`, reached at it, can read.  With a lesson, notes the
 * nodes where the outermost rule is complete and something follows in the trie. */
static void walk(struct gram_state *s, const struct gram_vocab *v, int which, uint32_t root,
                 uint32_t config, uint32_t *bits, struct lesson *l)
{
    const struct trie *t = &v->trie[which];
    const uint8_t *class_of = s->g->class_of;
    uint32_t end = t->node[root].skip, base = t->node[root].depth;
    uint32_t *path = s->path, known = s->n_config; /* path[depth - base] */
    path[0] = config;
    if (l && s->config[config].finished && end > root + 1)
        add_leaf(l, which, root);
    for (uint32_t i = root + 1; i < end;) {
        const struct trie_node *x = &t->node[i];
        uint32_t to = gram_step(s, path[x->depth - base - 1], class_of[x->byte]);
        if (to == GRAM_DEAD) {
            i = x->skip;
            continue;
        }
        path[x->depth - base] = to;
        if (x->token != GRAM_NONE)
            set_tokens(t, x->token, bits);
        if (l && s->config[to].finished && x->skip > i + 1)
            add_leaf(l, which, i);
        i++;
        if (s->n_config != known) {
            if (gram_state_bytes(s) > GRAM_STATE_BYTES_MAX)
                gram_state_compact(s, path, x->depth - base + 1u);
            known = s->n_config;
        }
    }
}

/* ---- lessons ---- */

static void lesson_free(struct lesson *l)
{
    for (int i = 0; l && i < 2; i++) {
        mem_free(l->bits[i]);
        mem_free(l->leaf[i]);
    }
    mem_free(l);
}

void gram_masks_free(struct gram_masks *m)
{
    while (m) {
        struct gram_masks *next = m->next;
        for (uint32_t i = 0; i < m->n; i++)
            lesson_free(m->lesson[i]);
        mem_free(m->lesson);
        mem_free(m);
        m = next;
    }
}

/* The list of one vocabulary; threads that meet here keep what the first of them made. */
static struct gram_masks *masks_of(const struct gram *g, const struct gram_vocab *v)
{
    _Atomic(struct gram_masks *) *head = (_Atomic(struct gram_masks *) *)&g->masks;
    struct gram_masks *first = atomic_load(head), *made = NULL;
    for (;;) {
        for (struct gram_masks *m = first; m; m = m->next)
            if (m->serial == v->serial) {
                if (made)
                    made->next = NULL;
                gram_masks_free(made);
                return m;
            }
        if (!made) {
            made = mem_alloc(sizeof *made);
            made->serial = v->serial;
            made->n = g->n;
            made->lesson = mem_alloc(g->n * sizeof *made->lesson);
        }
        made->next = first;
        if (atomic_compare_exchange_strong(head, &first, made))
            return made;
    }
}

static struct lesson *learn(struct gram_state *s, const struct gram_vocab *v, uint32_t state)
{
    struct lesson *l = mem_alloc(sizeof *l);
    size_t n = 0;
    for (int i = 0; i < 2; i++) {
        l->bits[i] = mem_alloc(v->words * sizeof(uint32_t));
        uint32_t config = gram_config_of(s, state, GRAM_SET_ROOT);
        if (config != GRAM_DEAD)
            walk(s, v, i, 0, config, l->bits[i], l);
        n += l->n_leaf[i];
    }
    l->of_no_use = n > 1000 + v->trie[0].n / 24;
    return l;
}

/* The lesson of a state, learnt now if need be; *own: it could not be kept, free it. */
static const struct lesson *lesson_of(struct gram_state *s, const struct gram_vocab *v,
                                      uint32_t state, bool *own)
{
    struct gram_masks *m = masks_of(s->g, v);
    struct lesson *l = atomic_load(&m->lesson[state]), *none = NULL;
    *own = false;
    if (l)
        return l;
    l = learn(s, v, state);
    size_t bytes = sizeof *l + 2 * v->words * sizeof(uint32_t) +
                   (l->cap_leaf[0] + l->cap_leaf[1]) * sizeof(uint32_t);
    if (atomic_fetch_add(&m->bytes, bytes) > LESSON_BYTES_MAX) {
        *own = true;
        return l;
    }
    if (atomic_compare_exchange_strong(&m->lesson[state], &none, l))
        return l;
    lesson_free(l);
    return none;
}

/* ---- masks ---- */

void gram_memo_free(struct gram_memo *m)
{
    if (m)
        mem_free(m->bits);
    mem_free(m);
}

static void or_bits(uint32_t *to, const uint32_t *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        to[i] |= from[i];
}

/* By lessons: s->now is one state over a stack.  False: walk instead. */
static bool mask_by_lesson(struct gram_state *s, const struct gram_vocab *v, uint32_t *bits)
{
    const struct gram_config *c = &s->config[s->now];
    if (c->n_items != 1)
        return false;
    struct gram_item at = s->item[c->item];
    if (s->set[at.set].depth > GRAM_DEPTH_MAX / 2)
        return false; /* a token could meet the limit */
    uint32_t like = s->g->s[at.state].like;
    bool own;
    const struct lesson *l = lesson_of(s, v, like, &own);
    bool good = !l->of_no_use;
    for (int which = 0; good && which < 2; which++) {
        if (which == 1 && like != at.state) {
            walk(s, v, 1, 0, s->now, bits, NULL);
            continue;
        }
        or_bits(bits, l->bits[which], v->words);
        uint64_t made = s->n_compacted - 1;
        uint32_t back = GRAM_DEAD;
        for (uint32_t i = 0; i < l->n_leaf[which]; i++) {
            if (made != s->n_compacted) { /* numbers changed, or the first time */
                made = s->n_compacted;
                back = gram_config_return(s, s->item[s->config[s->now].item].set);
            }
            if (back != GRAM_DEAD)
                walk(s, v, which, l->leaf[which][i], back, bits, NULL);
        }
    }
    if (own)
        lesson_free((struct lesson *)l);
    return good;
}

static uint32_t *memo_find(struct gram_state *s, const struct gram_vocab *v, bool *found)
{
    struct gram_memo *m = s->memo;
    uint32_t oldest = 0;
    if (!m || m->serial != v->serial) {
        gram_memo_free(m);
        m = s->memo = mem_alloc(sizeof *m);
        m->serial = v->serial;
        m->words = v->words;
        m->bits = mem_alloc((size_t)MEMO_N * v->words * sizeof *m->bits);
    }
    m->clock++;
    *found = false;
    for (uint32_t i = 0; i < MEMO_N; i++) {
        if (m->config[i] == s->now) {
            oldest = i;
            *found = true;
            break;
        }
        if (m->used[i] < m->used[oldest])
            oldest = i;
    }
    m->config[oldest] = s->now;
    m->used[oldest] = m->clock;
    return m->bits + (size_t)oldest * v->words;
}

void gram_mask(struct gram_state *s, const struct gram_vocab *v, uint32_t *bits)
{
    bool found;
    if (!s->path)
        s->path = mem_alloc((UINT16_MAX + 2) * sizeof *s->path);
    if (gram_state_bytes(s) > GRAM_STATE_BYTES_MAX / 2)
        gram_state_compact(s, NULL, 0);
    const uint32_t *known = memo_find(s, v, &found);
    if (found) {
        memcpy(bits, known, v->words * sizeof *bits);
        return;
    }
    memset(bits, 0, v->words * sizeof *bits);
    if (!mask_by_lesson(s, v, bits))
        for (int i = 0; i < 2; i++)
            walk(s, v, i, 0, s->now, bits, NULL);
    for (uint32_t i = 0; gram_finished(s) && i < v->n_vocab; i++)
        if (v->is_end[i])
            bits[i / 32] |= 1u << (i % 32);
    /* found again, for what was learnt on the way may have changed the numbers */
    memcpy(memo_find(s, v, &found), bits, v->words * sizeof *bits);
}
