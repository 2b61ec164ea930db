/* SPDX-License-Identifier: MIT
 * sampler.c - the order is sampler.h's.  Choices lie in a heap, so that only as many are sorted as
 * a step keeps: a vocabulary has 260,000 tokens, a draw looks at forty. */
#include "engine/sampler.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/num.h"

#include <math.h>
#include <string.h>

struct sampler {
    struct sampler_params p;
    size_t n_vocab;
    uint64_t rng;
    float *score;                  /* [n_vocab]: logits after bias and penalties */
    struct sampler_choice *choice; /* [n_vocab] */
    size_t n;                      /* of them, still to choose from */
    float *key;                    /* [n_vocab] of the heap: larger comes first */
    int32_t *history;              /* [history_max], oldest first */
    size_t n_history, history_max;
    uint32_t *count; /* [n_vocab]: times in the window that is looked at */
    int32_t *z;      /* [history_max]: scratch of DRY */
    bool *breaker;   /* [n_vocab], or NULL */
};

struct sampler_params sampler_neutral(void)
{
    return (struct sampler_params){.temp = 1,
                                   .top_p = 1,
                                   .typical_p = 1,
                                   .repeat_penalty = 1,
                                   .repeat_last_n = -1,
                                   .dry_base = 1.75f,
                                   .dry_allowed_length = 2,
                                   .dry_last_n = -1};
}

struct sampler *sampler_new(const struct sampler_params *p, size_t n_vocab, size_t history_max)
{
    struct sampler *s = mem_alloc(sizeof *s);
    CHECK(n_vocab > 0 && history_max > 0);
    s->p = *p;
    s->n_vocab = n_vocab;
    s->rng = p->seed;
    s->score = mem_alloc(n_vocab * sizeof *s->score);
    s->choice = mem_alloc(n_vocab * sizeof *s->choice);
    s->key = mem_alloc(n_vocab * sizeof *s->key);
    s->count = mem_alloc(n_vocab * sizeof *s->count);
    s->history = mem_alloc(history_max * sizeof *s->history);
    s->z = mem_alloc(history_max * sizeof *s->z);
    s->history_max = history_max;
    if (p->n_dry_breakers)
        s->breaker = mem_alloc(n_vocab * sizeof *s->breaker);
    for (size_t i = 0; i < p->n_dry_breakers; i++)
        if (p->dry_breakers[i] >= 0 && (size_t)p->dry_breakers[i] < n_vocab)
            s->breaker[p->dry_breakers[i]] = true;
    return s;
}

void sampler_free(struct sampler *s)
{
    if (!s)
        return;
    mem_free(s->score);
    mem_free(s->choice);
    mem_free(s->key);
    mem_free(s->count);
    mem_free(s->history);
    mem_free(s->z);
    mem_free(s->breaker);
    mem_free(s);
}

void sampler_accept(struct sampler *s, int32_t token)
{
    CHECK(token >= 0 && (size_t)token < s->n_vocab);
    if (s->n_history == s->history_max) {
        /* Drop a quarter at once, so that a long answer does not move memory at each token. */
        size_t drop = MAX(s->history_max / 4, (size_t)1);
        s->n_history -= drop;
        memmove(s->history, s->history + drop, s->n_history * sizeof *s->history);
    }
    s->history[s->n_history++] = token;
}

void sampler_reset(struct sampler *s, uint64_t seed)
{
    s->n_history = 0;
    s->rng = seed;
}

/* ---- penalties ---- */

static size_t window_of(const struct sampler *s, int64_t last_n)
{
    return last_n < 0 ? s->n_history : MIN((size_t)last_n, s->n_history);
}

static void add_bias(struct sampler *s)
{
    for (size_t i = 0; i < s->p.n_bias; i++)
        if (s->p.bias[i].token >= 0 && (size_t)s->p.bias[i].token < s->n_vocab)
            s->score[s->p.bias[i].token] += s->p.bias[i].add;
}

static void penalise(struct sampler *s)
{
    const struct sampler_params *p = &s->p;
    size_t n = window_of(s, p->repeat_last_n);
    const int32_t *last = s->history + s->n_history - n;
    if (p->repeat_penalty == 1 && p->presence_penalty == 0 && p->frequency_penalty == 0)
        return;
    for (size_t i = 0; i < n; i++)
        s->count[last[i]]++;
    for (size_t i = 0; i < n; i++) {
        float *score = &s->score[last[i]], times = (float)s->count[last[i]];
        if (times == 0)
            continue; /* done at its first place */
        *score = *score > 0 ? *score / p->repeat_penalty : *score * p->repeat_penalty;
        *score -= p->presence_penalty + p->frequency_penalty * times;
        s->count[last[i]] = 0;
    }
}

/* z[i]: how many tokens before position n - i equal those before the end, by the Z algorithm
 * (Gusfield 1997) over the reversed history: linear, whatever repeats. */
static void match_lengths(const int32_t *last, size_t n, int32_t *z)
{
    size_t lo = 0, hi = 0; /* the match that reaches furthest: [lo, hi) */
    for (size_t i = 1; i < n; i++) {
        size_t k = i < hi ? MIN(hi - i, (size_t)z[i - lo]) : 0;
        while (i + k < n && last[n - 1 - k] == last[n - 1 - i - k])
            k++;
        z[i] = (int32_t)k;
        if (i + k > hi) {
            lo = i;
            hi = i + k;
        }
    }
}

static void penalise_dry(struct sampler *s)
{
    const struct sampler_params *p = &s->p;
    size_t n = window_of(s, p->dry_last_n), reach = 0;
    const int32_t *last = s->history + s->n_history - n;
    if (p->dry_multiplier <= 0 || n < 2)
        return;
    while (reach < n && !(s->breaker && s->breaker[last[n - 1 - reach]]))
        reach++;
    match_lengths(last, n, s->z);
    /* The longest repetition that each token would prolong; count serves as the table. */
    for (size_t i = 1; i < n; i++) {
        uint32_t len = (uint32_t)MIN((size_t)s->z[i], reach);
        int32_t next = last[n - i];
        s->count[next] = MAX(s->count[next], len);
    }
    for (size_t i = 1; i < n; i++) {
        int32_t next = last[n - i];
        int64_t over = (int64_t)s->count[next] - p->dry_allowed_length;
        if (s->count[next] && over >= 0 && !(s->breaker && s->breaker[next]))
            s->score[next] -= p->dry_multiplier * powf(p->dry_base, (float)MIN(over, 500));
        s->count[next] = 0;
    }
}

/* ---- the heap ---- */

/* Larger keys first; of equal ones the lower token, so that a draw does not depend on order.
 * `turned`: the other way round. */
static bool before(const struct sampler *s, size_t a, size_t b, bool turned)
{
    bool yes = s->key[a] > s->key[b] ||
               (s->key[a] == s->key[b] && s->choice[a].token < s->choice[b].token);
    return yes != turned;
}

static void swap(struct sampler *s, size_t a, size_t b)
{
    struct sampler_choice c = s->choice[a];
    float k = s->key[a];
    s->choice[a] = s->choice[b];
    s->key[a] = s->key[b];
    s->choice[b] = c;
    s->key[b] = k;
}

/* The heap lies in [0, n) with its root at 0. */
static void sift(struct sampler *s, size_t at, size_t n, bool turned)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n)
            return;
        if (child + 1 < n && before(s, child + 1, child, turned))
            child++;
        if (!before(s, child, at, turned))
            return;
        swap(s, child, at);
        at = child;
    }
}

static void heap_make(struct sampler *s, size_t n, bool turned)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(s, i, n, turned);
}

/* Pops the first of the heap [0, *left) to its end, at [*left - 1]. */
static const struct sampler_choice *heap_pop(struct sampler *s, size_t *left)
{
    swap(s, 0, --*left);
    sift(s, 0, *left, false);
    return &s->choice[*left];
}

/* Keeps what was popped, [left, n), first popped first. */
static void heap_keep(struct sampler *s, size_t left)
{
    size_t n = s->n - left;
    memmove(s->choice, s->choice + left, n * sizeof *s->choice);
    memmove(s->key, s->key + left, n * sizeof *s->key);
    s->n = n;
    for (size_t i = 0; i < n / 2; i++)
        swap(s, i, n - 1 - i);
}

/* ---- the steps ---- */

/* Probabilities of what is left. */
static void normalise(struct sampler *s)
{
    float most = -INFINITY;
    double sum = 0;
    for (size_t i = 0; i < s->n; i++)
        most = MAX(most, s->choice[i].score);
    for (size_t i = 0; i < s->n; i++)
        sum += (double)(s->choice[i].p = expf(s->choice[i].score - most));
    for (size_t i = 0; i < s->n; i++)
        s->choice[i].p = (float)((double)s->choice[i].p / sum);
}

static void key_by_score(struct sampler *s)
{
    for (size_t i = 0; i < s->n; i++)
        s->key[i] = s->choice[i].score;
}

static void sort(struct sampler *s)
{
    size_t left = s->n;
    key_by_score(s);
    heap_make(s, left, false);
    while (left > 0)
        heap_pop(s, &left);
    heap_keep(s, left);
}

/* Pops in the heap's order until the probabilities reach `share`; at least one stays. */
static void keep_share(struct sampler *s, float share)
{
    size_t left = s->n;
    double sum = 0;
    heap_make(s, s->n, false);
    while (left > 0 && (sum < (double)share || left == s->n))
        sum += (double)heap_pop(s, &left)->p;
    heap_keep(s, left);
}

static void keep_typical(struct sampler *s, float share)
{
    double entropy = 0;
    normalise(s);
    for (size_t i = 0; i < s->n; i++)
        if (s->choice[i].p > 0)
            entropy -= (double)s->choice[i].p * log((double)s->choice[i].p);
    for (size_t i = 0; i < s->n; i++)
        s->key[i] = s->choice[i].p > 0 ? -(float)fabs(-log((double)s->choice[i].p) - entropy)
                                       : -INFINITY;
    keep_share(s, share);
}

static void keep_top_p(struct sampler *s, float share)
{
    normalise(s);
    key_by_score(s);
    keep_share(s, share);
}

static void keep_min_p(struct sampler *s, float share)
{
    float most = -INFINITY, least;
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        most = MAX(most, s->choice[i].score);
    least = most + logf(share); /* p >= share * the largest */
    for (size_t i = 0; i < s->n; i++)
        if (s->choice[i].score >= least)
            s->choice[n++] = s->choice[i];
    s->n = n;
}

/* ---- from logits to choices ---- */

static bool changes_scores(const struct sampler_params *p)
{
    return p->n_bias || p->repeat_penalty != 1 || p->presence_penalty != 0 ||
           p->frequency_penalty != 0 || p->dry_multiplier > 0;
}

/* Scores by token: the logits themselves where nothing changes them. */
static const float *scores_of(struct sampler *s, const float *logits)
{
    if (!changes_scores(&s->p))
        return logits;
    memcpy(s->score, logits, s->n_vocab * sizeof *s->score);
    add_bias(s);
    penalise(s);
    penalise_dry(s);
    return s->score;
}

/* The first token at or after i that may come; n when there is none. */
static inline size_t next_in(const uint32_t *mask, size_t i, size_t n)
{
    if (!mask || i >= n)
        return i;
    uint32_t word = mask[i / 32] >> (i % 32);
    if (word)
        return MIN(i + (size_t)__builtin_ctz(word), n);
    for (i = (i / 32 + 1) * 32; i < n; i += 32)
        if (mask[i / 32])
            return MIN(i + (size_t)__builtin_ctz(mask[i / 32]), n);
    return n;
}

/* n_vocab when nothing has a score above -infinity. */
static size_t likeliest(const struct sampler *s, const float *score, const uint32_t *mask)
{
    size_t n = s->n_vocab, best = n;
    float most = -INFINITY;
    for (size_t i = next_in(mask, 0, n); i < n; i = next_in(mask, i + 1, n))
        if (score[i] > most) {
            most = score[i];
            best = i;
        }
    return best;
}

static void set_choice(struct sampler *s, size_t at, size_t token, float score)
{
    score = isnan(score) ? -INFINITY : score;
    s->choice[at] = (struct sampler_choice){.token = (int32_t)token, .score = score};
    s->key[at] = score;
}

/* The k best lie in a heap whose root is the worst of them: most of the others are refused by one
 * comparison with it.  They come by rising token, so that of equals the lower ones stay. */
static void load_best(struct sampler *s, const float *score, const uint32_t *mask, size_t k)
{
    size_t n = s->n_vocab, i = next_in(mask, 0, n);
    for (s->n = 0; i < n && s->n < k; i = next_in(mask, i + 1, n))
        set_choice(s, s->n++, i, score[i]);
    if (s->n < k)
        return;
    heap_make(s, k, true);
    for (; i < n; i = next_in(mask, i + 1, n))
        if (score[i] > s->key[0]) {
            set_choice(s, 0, i, score[i]);
            sift(s, 0, k, true);
        }
}

size_t sampler_weigh(struct sampler *s, const float *logits, const uint32_t *mask,
                     const struct sampler_choice **out)
{
    const struct sampler_params *p = &s->p;
    const float *score = scores_of(s, logits);
    size_t best = likeliest(s, score, mask);
    *out = s->choice;
    if (best == s->n_vocab) {
        s->choice[0] = (struct sampler_choice){.token = 0, .score = -INFINITY, .p = 1};
        return s->n = !mask; /* without a mask there is always a token */
    }
    if (!(p->temp > 0) || isinf(score[best])) {
        s->choice[0] = (struct sampler_choice){(int32_t)best, score[best], 1};
        return s->n = 1;
    }
    load_best(s, score, mask, p->top_k > 0 ? (size_t)p->top_k : s->n_vocab + 1);
    bool cut = p->top_k > 0 && (size_t)p->top_k == s->n;
    for (size_t i = 0; i < s->n; i++)
        s->choice[i].score /= p->temp;
    size_t n = s->n;
    if (p->typical_p < 1)
        keep_typical(s, p->typical_p);
    if (p->top_p < 1)
        keep_top_p(s, p->top_p);
    if (p->min_p > 0)
        keep_min_p(s, p->min_p);
    if (cut || s->n < n)
        sort(s);
    normalise(s);
    return s->n;
}

int32_t sampler_pick(struct sampler *s, const float *logits, const uint32_t *mask)
{
    const struct sampler_choice *c;
    size_t n = sampler_weigh(s, logits, mask, &c), last = 0;
    if (n <= 1)
        return n ? c[0].token : -1;
    double at = num_rand_unit(&s->rng);
    /* Rounding may leave a little of the draw after all: the last that has a chance gets it. */
    for (size_t i = 0; i < n; i++) {
        if (c[i].p > 0)
            last = i;
        if (at < (double)c[i].p)
            break;
        at -= (double)c[i].p;
    }
    return c[last].token;
}
