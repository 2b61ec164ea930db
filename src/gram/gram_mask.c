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
    uint32_t token; /* in ids: the first one here or below */
    uint16_t depth; /* 0: the root */
    uint8_t byte;
    uint8_t kinds; /* of the bytes below: bits by byte_kind; HAS_TOKEN: one ends here */
};
#define HAS_TOKEN 0x80u

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
    uint32_t *bits[2];      /* [words] tokens that stay inside: the short ones; all */
    uint32_t *leaf[2];      /* nodes just behind the end of the rule, sorted by their byte: */
    uint32_t first[2][257]; /* [byte] in leaf */
    uint32_t n[2], cap[2];
};

struct gram_masks {
    struct gram_masks *next;
    uint64_t serial;
    _Atomic size_t bytes;
    _Atomic(struct lesson *) *lesson; /* [g->n] */
    uint32_t n;
};
#define LESSON_BYTES_MAX ((size_t)64 << 20) /* of one grammar; further lessons are not kept */

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

/* Bytes that grammars tend to treat alike: a subtree of kinds that all lead a configuration back to
 * itself is allowed as a whole. */
#define KIND_HIGH 8u  /* 0x80 and above: whole characters are meant */
#define KIND_ILL  16u /* what is below is no UTF-8: nothing is said about it */
static unsigned byte_kind(uint8_t c)
{
    uint8_t low = c | 0x20;
    if (low >= 'a' && low <= 'z')
        return 1;
    if (c == '"' || c == '\\' || c == '<' || c == '[')
        return 2;
    if (c < 0x20)
        return 4;
    if (c >= 0x80)
        return KIND_HIGH;
    return c >= '0' && c <= '9' ? 32 : 64;
}

/* Well-formed characters of more than one byte (Unicode 15, table 3-7). */
static const struct {
    uint8_t n, lo[4], hi[4];
} chars[] = {
    {2, {0xc2, 0x80},             {0xdf, 0xbf}            },
    {3, {0xe0, 0xa0, 0x80},       {0xe0, 0xbf, 0xbf}      },
    {3, {0xe1, 0x80, 0x80},       {0xec, 0xbf, 0xbf}      },
    {3, {0xed, 0x80, 0x80},       {0xed, 0x9f, 0xbf}      },
    {3, {0xee, 0x80, 0x80},       {0xef, 0xbf, 0xbf}      },
    {4, {0xf0, 0x90, 0x80, 0x80}, {0xf0, 0xbf, 0xbf, 0xbf}},
    {4, {0xf1, 0x80, 0x80, 0x80}, {0xf3, 0xbf, 0xbf, 0xbf}},
    {4, {0xf4, 0x80, 0x80, 0x80}, {0xf4, 0x8f, 0xbf, 0xbf}},
};

/* Places inside a character: 0: between two; else 1 + the row of chars * 3 + the byte that comes
 * next, less one.  -1: ill-formed. */
#define PLACES (1 + 3 * (int)N_ELEMS(chars))
static int place_after(int place, uint8_t byte)
{
    if (place) {
        int row = (place - 1) / 3, at = (place - 1) % 3 + 1;
        if (byte < chars[row].lo[at] || byte > chars[row].hi[at])
            return -1;
        return at + 1 == chars[row].n ? 0 : place + 1;
    }
    if (byte < 0x80)
        return 0;
    for (int row = 0; row < (int)N_ELEMS(chars); row++)
        if (chars[row].lo[0] <= byte && byte <= chars[row].hi[0])
            return 1 + row * 3;
    return -1;
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
            t->node[t->n++] = (struct trie_node){0, t->n_ids, (uint16_t)d, (uint8_t)x->p[d - 1], 0};
        }
        t->node[t->n - 1].kinds = HAS_TOKEN;
    }
    GRAM_GROW(t->ids, t->n_ids, t->cap_ids);
    t->ids[t->n_ids++] = x->id | LAST_ID;
}

/* What is below each node.  well: a bit for each place, where the node ends there and no byte below
 * is ill-formed. */
static void trie_kinds(struct trie *t)
{
    uint32_t *well = mem_alloc((size_t)t->n * sizeof *well + 1);
    int8_t after[PLACES][256];
    for (int place = 0; place < PLACES; place++)
        for (int c = 0; c < 256; c++)
            after[place][c] = (int8_t)place_after(place, (uint8_t)c);
    for (uint32_t i = t->n; i-- > 0;) { /* from the last: what is below is known */
        unsigned kinds = t->node[i].kinds & HAS_TOKEN;
        well[i] = (1u << PLACES) - 1;
        for (uint32_t k = i + 1; k < t->node[i].skip; k = t->node[k].skip) {
            uint8_t byte = t->node[k].byte;
            kinds |= (t->node[k].kinds & ~(HAS_TOKEN | KIND_ILL)) | byte_kind(byte);
            for (int place = 0; place < PLACES; place++)
                if (after[place][byte] < 0 || !(well[k] >> after[place][byte] & 1))
                    well[i] &= ~(1u << place);
        }
        t->node[i].kinds = (uint8_t)(kinds | (well[i] & 1 ? 0 : KIND_ILL));
    }
    mem_free(well);
}

static void trie_make(struct trie *t, const struct piece *piece, size_t n, bool longer)
{
    uint32_t *path = mem_alloc((UINT16_MAX + 1) * sizeof *path);
    const struct piece *before = NULL;
    GRAM_GROW(t->node, t->n, t->cap);
    t->node[t->n++] = (struct trie_node){1, 0, 0, 0, 0};
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
    trie_kinds(t);
}

/* What a token adds; nothing for one that no text has. */
static void put_bytes(const struct tok *t, int32_t id, struct str *out)
{
    if (tok_is_control(t, id)) {
        str_add_char(out, GRAM_CONTROL);
        str_add_span(out, tok_piece(t, id));
        str_add_char(out, GRAM_CONTROL);
    } else if (tok_decode(t, &id, 1, 0, out, NULL) != ERR_OK ||
               (out->n && memchr(out->p, GRAM_CONTROL, out->n))) {
        str_clear(out);
    }
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
        if (v->is_end[i])
            continue;
        put_bytes(t, id, &one);
        if (!one.n || one.n > UINT16_MAX)
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

/* The nodes below `node`, where the rule is complete, are read by what the stack returns to. */
static void add_leaves(struct lesson *l, const struct trie *t, int which, uint32_t node)
{
    for (uint32_t k = node + 1; k < t->node[node].skip; k = t->node[k].skip) {
        GRAM_GROW(l->leaf[which], l->n[which], l->cap[which]);
        l->leaf[which][l->n[which]++] = k;
    }
}

#define WAYS_MAX 8

/* Every character of more than one byte leads a configuration to itself. */
static bool chars_return(struct gram_state *s, uint32_t config)
{
    for (size_t row = 0; row < N_ELEMS(chars); row++) {
        uint32_t from[WAYS_MAX] = {config}, n_from = 1, to[WAYS_MAX], n_to = 0;
        for (int at = 0; at < chars[row].n; at++, n_to = 0) {
            for (uint32_t i = 0; i < n_from; i++)
                for (int c = chars[row].lo[at]; c <= chars[row].hi[at]; c++) {
                    uint32_t k = 0, next = gram_step(s, from[i], s->g->class_of[c]);
                    while (k < n_to && to[k] != next)
                        k++;
                    if (next == GRAM_DEAD || k == WAYS_MAX)
                        return false;
                    to[k] = next;
                    n_to = MAX(n_to, k + 1);
                }
            memcpy(from, to, sizeof from);
            n_from = n_to;
        }
        if (n_from != 1 || from[0] != config)
            return false;
    }
    return true;
}

/* The kinds of bytes that lead a configuration to itself. */
static unsigned own_kinds(struct gram_state *s, uint32_t config)
{
    unsigned kinds = 0x7fu & ~(KIND_HIGH | KIND_ILL);
    for (int c = 0; c < 0x80; c++)
        if ((kinds & byte_kind((uint8_t)c)) && gram_step(s, config, s->g->class_of[c]) != config)
            kinds &= ~byte_kind((uint8_t)c);
    return kinds | (chars_return(s, config) ? KIND_HIGH : 0);
}

/* Sets the tokens below `root` that `config`, reached at it, can read.  With a lesson, notes where
 * the outermost rule is complete. */
static void walk(struct gram_state *s, const struct gram_vocab *v, int which, uint32_t root,
                 uint32_t config, uint32_t *bits, struct lesson *l)
{
    const struct trie *t = &v->trie[which];
    const uint8_t *class_of = s->g->class_of;
    uint32_t end = t->node[root].skip, base = t->node[root].depth;
    uint32_t *path = s->path, known = s->n_config; /* path[depth - base] */
    uint32_t own = GRAM_DEAD, calm = 0;            /* a configuration, and its own kinds */
    path[0] = config;
    if (l && s->config[config].finished)
        add_leaves(l, t, which, root);
    for (uint32_t i = root + 1; i < end;) {
        const struct trie_node *x = &t->node[i];
        uint32_t from = path[x->depth - base - 1], to = gram_step(s, from, class_of[x->byte]);
        if (to == GRAM_DEAD) {
            i = x->skip;
            continue;
        }
        bool note = l && s->config[to].finished;
        if (to == from && to != own) {
            own = to;
            calm = own_kinds(s, to);
        }
        if (to == own && !note && !(x->kinds & ~(calm | HAS_TOKEN))) {
            uint32_t past = x->skip < t->n ? t->node[x->skip].token : t->n_ids;
            for (uint32_t k = x->token; k < past; k++)
                bits[(t->ids[k] & ~LAST_ID) / 32] |= 1u << (t->ids[k] & 31);
            i = x->skip;
            continue;
        }
        path[x->depth - base] = to;
        if (x->kinds & HAS_TOKEN)
            set_tokens(t, x->token, bits);
        if (note)
            add_leaves(l, t, which, i);
        i++;
        if (s->n_config != known) {
            if (gram_state_bytes(s) > GRAM_STATE_BYTES_MAX) {
                gram_state_compact(s, path, x->depth - base + 1u);
                own = GRAM_DEAD;
            }
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

static void sort_leaves(struct lesson *l, const struct trie *t, int which)
{
    uint32_t n = l->n[which], *first = l->first[which], at[256];
    uint32_t *sorted = mem_alloc(n * sizeof *sorted + 1);
    for (uint32_t i = 0; i < n; i++)
        first[t->node[l->leaf[which][i]].byte + 1]++;
    for (int c = 0; c < 256; c++) {
        at[c] = first[c];
        first[c + 1] += first[c];
    }
    for (uint32_t i = 0; i < n; i++)
        sorted[at[t->node[l->leaf[which][i]].byte]++] = l->leaf[which][i];
    mem_free(l->leaf[which]);
    l->leaf[which] = sorted;
    l->cap[which] = n;
}

static void or_bits(uint32_t *to, const uint32_t *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        to[i] |= from[i];
}

static struct lesson *learn(struct gram_state *s, const struct gram_vocab *v, uint32_t state)
{
    struct lesson *l = mem_alloc(sizeof *l);
    for (int i = 0; i < 2; i++) {
        l->bits[i] = mem_alloc(v->words * sizeof(uint32_t));
        uint32_t config = gram_config_of(s, state, GRAM_SET_ROOT);
        if (config != GRAM_DEAD)
            walk(s, v, i, 0, config, l->bits[i], s->g->s[state].inner ? l : NULL);
        sort_leaves(l, &v->trie[i], i);
    }
    or_bits(l->bits[1], l->bits[0], v->words);
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
                   (l->cap[0] + l->cap[1]) * sizeof(uint32_t);
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

/* Goes on behind the end of the rule, with what the stack returns to. */
static void walk_leaves(struct gram_state *s, const struct gram_vocab *v, const struct lesson *l,
                        int which, uint32_t *bits)
{
    const struct trie *t = &v->trie[which];
    for (int c = 0; c < 256; c++) {
        uint64_t made = s->n_compacted - 1;
        uint32_t to = GRAM_DEAD;
        for (uint32_t i = l->first[which][c]; i < l->first[which][c + 1]; i++) {
            if (made != s->n_compacted) { /* numbers changed, or the first time */
                uint32_t set = s->item[s->config[s->now].item].set;
                uint32_t back = gram_config_return(s, set);
                made = s->n_compacted;
                to = back == GRAM_DEAD ? back : gram_step(s, back, s->g->class_of[c]);
            }
            if (to == GRAM_DEAD)
                break;
            const struct trie_node *x = &t->node[l->leaf[which][i]];
            if (x->kinds & HAS_TOKEN)
                set_tokens(t, x->token, bits);
            if (x->skip > l->leaf[which][i] + 1)
                walk(s, v, which, l->leaf[which][i], to, bits, NULL);
        }
    }
}

/* By a lesson, where s->now is one state over a stack.  False: walk instead. */
static bool mask_by_lesson(struct gram_state *s, const struct gram_vocab *v, uint32_t *bits)
{
    const struct gram_config *c = &s->config[s->now];
    if (c->n_items != 1 || c->ended)
        return false;
    struct gram_item at = s->item[c->item];
    if (s->set[at.set].depth > GRAM_DEPTH_MAX / 2)
        return false; /* a token could meet the limit */
    uint32_t like = s->g->s[at.state].like;
    bool own;
    const struct lesson *l = lesson_of(s, v, like, &own);
    bool exact = like == at.state;
    memcpy(bits, l->bits[exact], v->words * sizeof *bits);
    walk_leaves(s, v, l, 0, bits);
    if (exact)
        walk_leaves(s, v, l, 1, bits);
    else
        walk(s, v, 1, 0, s->now, bits, NULL);
    if (own)
        lesson_free((struct lesson *)l);
    return true;
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
    if (!mask_by_lesson(s, v, bits)) {
        memset(bits, 0, v->words * sizeof *bits);
        for (int i = 0; i < 2; i++)
            walk(s, v, i, 0, s->now, bits, NULL);
    }
    for (uint32_t i = 0; gram_finished(s) && i < v->n_vocab; i++)
        if (v->is_end[i])
            bits[i / 32] |= 1u << (i % 32);
    /* found again, for what was learnt on the way may have changed the numbers */
    memcpy(memo_find(s, v, &found), bits, v->words * sizeof *bits);
}
