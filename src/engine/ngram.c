/* SPDX-License-Identifier: MIT */
#include "engine/ngram.h"

#include "base/arena.h"
#include "base/num.h"

#define NGRAM_TRIES 48 /* places of a chain that are looked at */
#define NGRAM_NONE  UINT32_MAX

/* Long keys first: a frequent pair has more places than are looked at. */
static const size_t key_tokens[] = {5, NGRAM_MIN};
#define N_CHAINS N_ELEMS(key_tokens)

/* Places whose last key_tokens have the same hash, latest first. */
struct chain {
    uint32_t *head; /* [1 << bits] */
    uint32_t *prev; /* [n_max]: the place before this one */
};

struct ngram {
    int32_t *text; /* [n_max] */
    size_t n, n_max;
    unsigned bits;
    struct chain chain[N_CHAINS];
    size_t at; /* what follows the place that matched last; the text went on as it did */
};

struct ngram *ngram_new(size_t n_max)
{
    struct ngram *g = mem_alloc(sizeof *g);
    g->n_max = MIN(n_max, (size_t)NGRAM_NONE - 1);
    g->text = mem_alloc(g->n_max * sizeof *g->text);
    for (g->bits = 4; g->bits < 31 && (size_t)1 << g->bits < g->n_max; g->bits++)
        ;
    for (size_t c = 0; c < N_CHAINS; c++) {
        g->chain[c].head = mem_alloc(sizeof(uint32_t) << g->bits);
        g->chain[c].prev = mem_alloc(g->n_max * sizeof(uint32_t));
        for (size_t i = 0; i < (size_t)1 << g->bits; i++)
            g->chain[c].head[i] = NGRAM_NONE;
    }
    return g;
}

void ngram_free(struct ngram *g)
{
    if (!g)
        return;
    for (size_t c = 0; c < N_CHAINS; c++) {
        mem_free(g->chain[c].head);
        mem_free(g->chain[c].prev);
    }
    mem_free(g->text);
    mem_free(g);
}

/* The chain of the last tokens before `end`. */
static uint32_t *head_of(struct ngram *g, size_t c, size_t end)
{
    uint64_t h = 0;
    for (size_t i = end - key_tokens[c]; i < end; i++)
        h = (h ^ (uint32_t)g->text[i]) * 0x9e3779b97f4a7c15u;
    return &g->chain[c].head[h >> (64 - g->bits)];
}

void ngram_add(struct ngram *g, int32_t token)
{
    if (g->n == g->n_max)
        return;
    /* The end so far becomes a place now that something follows it. */
    for (size_t c = 0; c < N_CHAINS; c++) {
        if (g->n < key_tokens[c])
            continue;
        uint32_t *head = head_of(g, c, g->n);
        g->chain[c].prev[g->n] = *head;
        *head = (uint32_t)g->n;
    }
    g->at = g->at && g->text[g->at] == token ? g->at + 1 : 0;
    g->text[g->n++] = token;
}

/* Tokens before `place` that are those before the end. */
static size_t match_of(const struct ngram *g, size_t place)
{
    size_t n = 0, most = MIN(place, (size_t)NGRAM_MAX);
    while (n < most && g->text[place - 1 - n] == g->text[g->n - 1 - n])
        n++;
    return n;
}

/* The place whose match is the longest. */
static size_t find(struct ngram *g, size_t *match)
{
    size_t best = g->at;
    *match = best ? match_of(g, best) : 0;
    for (size_t c = 0; c < N_CHAINS && *match < key_tokens[c]; c++) {
        if (g->n < key_tokens[c])
            continue;
        uint32_t place = *head_of(g, c, g->n);
        for (int i = 0; i < NGRAM_TRIES && place != NGRAM_NONE && *match < NGRAM_MAX; i++) {
            size_t n = match_of(g, place);
            if (n > *match) {
                *match = n;
                best = place;
            }
            place = g->chain[c].prev[place];
        }
    }
    return best;
}

size_t ngram_propose(struct ngram *g, int32_t *out, size_t n, size_t *match)
{
    size_t place = find(g, match);
    g->at = *match >= NGRAM_MIN ? place : 0;
    if (!g->at)
        return 0;
    /* Where it reaches the end, the text repeats itself: so may what follows. */
    for (size_t i = 0; i < n; i++)
        out[i] = place + i < g->n ? g->text[place + i] : out[place + i - g->n];
    return n;
}
