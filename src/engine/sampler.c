/* SPDX-License-Identifier: MIT
 * sampler.c - the order is sampler.h's.  A vocabulary has 260,000 tokens and a draw looks at forty:
 * what can be refused by blocks is, the exponentials of all are taken only where all count, and
 * nothing is sorted to be drawn from. */
#include "engine/sampler.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/num.h"
#include "engine/logits.h"

#include <math.h>
#include <string.h>

struct sampler_work {
    size_t n_vocab;
    float *score;                  /* [n_vocab]: logits after mask, bias and penalties */
    float *most;                   /* [blocks]: the largest of them */
    float *weight;                 /* [n_vocab]: e to the score; the likeliest has 1 */
    double *sum;                   /* [blocks] of weights */
    struct sampler_choice *choice; /* [n_vocab]; p is a weight until the end */
    float *key;                    /* [n_vocab] of choices: larger comes first */
    uint32_t *count;               /* [n_vocab]: times in a window; all 0 between uses */
};

struct sampler {
    struct sampler_params p;
    size_t n_vocab;
    uint64_t rng;
    struct sampler_work *work;
    bool owns_work;
    size_t n;         /* choices left */
    double total;     /* weight of what the next step looks at */
    int32_t *history; /* [history_max], oldest first */
    size_t n_history, history_max;
    int32_t *z;    /* [history_max]: scratch of DRY; NULL without */
    bool *breaker; /* [n_vocab], or NULL */
};

struct sampler_work *sampler_work_new(size_t n_vocab)
{
    struct sampler_work *w = mem_alloc(sizeof *w);
    size_t n_blocks = logits_n_blocks(n_vocab);
    w->n_vocab = n_vocab;
    w->score = mem_alloc(n_vocab * sizeof *w->score);
    w->most = mem_alloc(n_blocks * sizeof *w->most);
    w->weight = mem_alloc(n_vocab * sizeof *w->weight);
    w->sum = mem_alloc(n_blocks * sizeof *w->sum);
    w->choice = mem_alloc(n_vocab * sizeof *w->choice);
    w->key = mem_alloc(n_vocab * sizeof *w->key);
    w->count = mem_alloc(n_vocab * sizeof *w->count);
    return w;
}

void sampler_work_free(struct sampler_work *w)
{
    if (!w)
        return;
    mem_free(w->score);
    mem_free(w->most);
    mem_free(w->weight);
    mem_free(w->sum);
    mem_free(w->choice);
    mem_free(w->key);
    mem_free(w->count);
    mem_free(w);
}

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

struct sampler *sampler_new(const struct sampler_params *p, size_t n_vocab, size_t history_max,
                            struct sampler_work *work)
{
    struct sampler *s = mem_alloc(sizeof *s);
    CHECK(n_vocab > 0 && history_max > 0 && (!work || work->n_vocab == n_vocab));
    s->p = *p;
    s->n_vocab = n_vocab;
    s->rng = p->seed;
    s->work = work ? work : sampler_work_new(n_vocab);
    s->owns_work = !work;
    s->history = mem_alloc(history_max * sizeof *s->history);
    if (p->dry_multiplier > 0)
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
    if (s->owns_work)
        sampler_work_free(s->work);
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
            s->work->score[s->p.bias[i].token] += s->p.bias[i].add;
}

static void penalise(struct sampler *s)
{
    const struct sampler_params *p = &s->p;
    size_t n = window_of(s, p->repeat_last_n);
    const int32_t *last = s->history + s->n_history - n;
    if (p->repeat_penalty == 1 && p->presence_penalty == 0 && p->frequency_penalty == 0)
        return;
    for (size_t i = 0; i < n; i++)
        s->work->count[last[i]]++;
    for (size_t i = 0; i < n; i++) {
        float *score = &s->work->score[last[i]], times = (float)s->work->count[last[i]];
        if (times == 0)
            continue; /* done at its first place */
        *score = *score > 0 ? *score / p->repeat_penalty : *score * p->repeat_penalty;
        *score -= p->presence_penalty + p->frequency_penalty * times;
        s->work->count[last[i]] = 0;
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
        s->work->count[next] = MAX(s->work->count[next], len);
    }
    for (size_t i = 1; i < n; i++) {
        int32_t next = last[n - i];
        int64_t over = (int64_t)s->work->count[next] - p->dry_allowed_length;
        if (s->work->count[next] && over >= 0 && !(s->breaker && s->breaker[next]))
            s->work->score[next] -= p->dry_multiplier * powf(p->dry_base, (float)MIN(over, 500));
        s->work->count[next] = 0;
    }
}

/* ---- order ---- */

/* Larger keys first; of equal ones the lower token, so that nothing depends on places.
 * `turned`: the other way round. */
static bool before(const struct sampler_work *w, size_t a, size_t b, bool turned)
{
    bool yes = w->key[a] > w->key[b] ||
               (w->key[a] == w->key[b] && w->choice[a].token < w->choice[b].token);
    return yes != turned;
}

static void swap(struct sampler_work *w, size_t a, size_t b)
{
    struct sampler_choice c = w->choice[a];
    float k = w->key[a];
    w->choice[a] = w->choice[b];
    w->key[a] = w->key[b];
    w->choice[b] = c;
    w->key[b] = k;
}

/* A heap lies in [0, n) with its root at 0. */
static void sift(struct sampler_work *w, size_t at, size_t n, bool turned)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n)
            return;
        if (child + 1 < n && before(w, child + 1, child, turned))
            child++;
        if (!before(w, child, at, turned))
            return;
        swap(w, child, at);
        at = child;
    }
}

static void heap_make(struct sampler_work *w, size_t n, bool turned)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(w, i, n, turned);
}

static void sort(struct sampler *s)
{
    heap_make(s->work, s->n, true);
    for (size_t left = s->n; left-- > 1;) {
        swap(s->work, 0, left);
        sift(s->work, 0, left, true);
    }
}

/* Moves what comes before the pivot to the front of [lo, hi), the pivot behind it; gives the
 * pivot's place.  It is the middle one of three. */
static size_t divide(struct sampler_work *w, size_t lo, size_t hi)
{
    size_t mid = lo + (hi - lo) / 2, end = hi - 1, to = lo;
    if (before(w, mid, lo, false))
        swap(w, mid, lo);
    if (before(w, end, lo, false))
        swap(w, end, lo);
    if (before(w, mid, end, false))
        swap(w, mid, end);
    for (size_t i = lo; i < end; i++)
        if (before(w, i, end, false))
            swap(w, i, to++);
    swap(w, to, end);
    return to;
}

static double weight_of(const struct sampler_work *w, size_t from, size_t to)
{
    double sum = 0;
    for (size_t i = from; i < to; i++)
        sum += (double)w->choice[i].p;
    return sum;
}

/* Keeps the first by key that have `share` of the total together, at least one; in no order.  What
 * is surely kept is in [0, lo), what surely goes from hi on. */
static void keep_share(struct sampler *s, float share)
{
    struct sampler_work *w = s->work;
    double left = (double)share * s->total;
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        size_t pivot = divide(w, lo, hi);
        double first = weight_of(w, lo, pivot), with = first + (double)w->choice[pivot].p;
        if (pivot > lo && first >= left) {
            hi = pivot;
        } else if (with >= left) {
            lo = pivot + 1;
            break;
        } else {
            left -= with;
            lo = pivot + 1;
        }
    }
    s->n = MAX(lo, (size_t)1);
}

/* ---- from logits to choices ---- */

static bool changes_scores(const struct sampler_params *p)
{
    return p->n_bias || p->repeat_penalty != 1 || p->presence_penalty != 0 ||
           p->frequency_penalty != 0 || p->dry_multiplier > 0;
}

static void ban_outside(float *score, size_t n, const uint32_t *mask)
{
    for (size_t at = 0; at < n; at += 32) {
        uint32_t out = ~mask[at / 32];
        for (size_t i = at; out && i < MIN(n, at + 32); i++)
            score[i] = out >> (i - at) & 1 ? -INFINITY : score[i];
    }
}

/* Scores by token: the logits themselves where nothing changes them. */
static const float *scores_of(struct sampler *s, const float *logits, const uint32_t *mask)
{
    float *score = s->work->score;
    if (!mask && !changes_scores(&s->p))
        return logits;
    memcpy(score, logits, s->n_vocab * sizeof *score);
    add_bias(s);
    penalise(s);
    penalise_dry(s);
    if (mask)
        ban_outside(score, s->n_vocab, mask);
    return score;
}

/* The lowest of the likeliest. */
static size_t token_of(const struct sampler *s, const float *score, float best)
{
    size_t i = 0;
    while (s->work->most[i / LOGITS_BLOCK] != best)
        i += LOGITS_BLOCK;
    while (score[i] != best)
        i++;
    return i;
}

static void set_choice(struct sampler *s, size_t at, size_t token, float score)
{
    s->work->choice[at] = (struct sampler_choice){.token = (int32_t)token, .score = score};
    s->work->key[at] = score;
}

/* The choices that a loader left with their scores get temperature and weight. */
static void weigh_choices(struct sampler *s, float best)
{
    struct sampler_work *w = s->work;
    for (size_t i = 0; i < s->n; i++) {
        w->choice[i].score = w->key[i] / s->p.temp;
        w->choice[i].p = expf((w->key[i] - best) / s->p.temp);
    }
    s->total = weight_of(w, 0, s->n);
}

/* The k best lie in a heap whose root is the worst of them: most blocks are refused by one
 * comparison with it.  They come by rising token, so that of equals the lower ones stay. */
static void load_best(struct sampler *s, const float *score, size_t k)
{
    struct sampler_work *w = s->work;
    float least = -INFINITY; /* of a full heap */
    s->n = 0;
    for (size_t i = 0; i < s->n_vocab; i++) {
        if (i % LOGITS_BLOCK == 0 && !(w->most[i / LOGITS_BLOCK] > least)) {
            i += LOGITS_BLOCK - 1;
            continue;
        }
        if (!(score[i] > least))
            continue;
        if (s->n < k) {
            set_choice(s, s->n++, i, score[i]);
            if (s->n < k)
                continue;
            heap_make(w, k, true);
        } else {
            set_choice(s, 0, i, score[i]);
            sift(w, 0, k, true);
        }
        least = w->key[0];
    }
}

/* Those of a score of at least `least`. */
static void load_from(struct sampler *s, const float *score, float least)
{
    const float *most = s->work->most;
    s->n = 0;
    for (size_t i = 0; i < s->n_vocab; i++) {
        if (i % LOGITS_BLOCK == 0 && !(most[i / LOGITS_BLOCK] >= least)) {
            i += LOGITS_BLOCK - 1;
            continue;
        }
        if (score[i] >= least && score[i] > -INFINITY)
            set_choice(s, s->n++, i, score[i]);
    }
}

/* As many of the best as surely have `share` of all: what is a few nats below the likeliest is
 * looked at first, and more only where a vocabulary is that undecided. */
static void load_share(struct sampler *s, const float *score, float best, float share)
{
    struct sampler_work *w = s->work;
    double all = logits_exp(w->weight, score, s->n_vocab, best, 1 / s->p.temp, w->sum), sum = 0;
    for (float depth = 4; sum < (double)share * all * (1 + 1e-6) && depth < 100; depth *= 2) {
        load_from(s, score, best - depth * s->p.temp);
        sum = 0;
        for (size_t i = 0; i < s->n; i++) {
            w->choice[i].score /= s->p.temp;
            sum += (double)(w->choice[i].p = w->weight[w->choice[i].token]);
        }
    }
    s->total = all;
}

/* ---- the steps ---- */

static void keep_typical(struct sampler *s, float share)
{
    struct sampler_work *w = s->work;
    double entropy = 0;
    for (size_t i = 0; i < s->n; i++) {
        double p = (double)w->choice[i].p / s->total;
        entropy -= p > 0 ? p * log(p) : 0;
    }
    for (size_t i = 0; i < s->n; i++) {
        double p = (double)w->choice[i].p / s->total;
        w->key[i] = p > 0 ? -(float)fabs(-log(p) - entropy) : -INFINITY;
    }
    keep_share(s, share);
    for (size_t i = 0; i < s->n; i++)
        w->key[i] = w->choice[i].score;
    s->total = weight_of(w, 0, s->n);
}

static void keep_min_p(struct sampler *s, float share)
{
    struct sampler_work *w = s->work;
    float most = 0;
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        most = MAX(most, w->choice[i].p);
    for (size_t i = 0; i < s->n; i++)
        if (w->choice[i].p >= share * most) {
            w->choice[n] = w->choice[i];
            w->key[n++] = w->key[i];
        }
    s->n = n;
}

/* Choices by the steps, in no order, with their weights. */
static void narrow(struct sampler *s, const float *score, float best)
{
    const struct sampler_params *p = &s->p;
    bool by_k = p->top_k > 0 && (size_t)p->top_k < s->n_vocab;
    if (!by_k && !(p->typical_p < 1) && p->top_p < 1) {
        load_share(s, score, best, p->top_p);
    } else {
        if (by_k)
            load_best(s, score, (size_t)p->top_k);
        else if (p->typical_p < 1 || !(p->min_p > 0))
            load_from(s, score, -INFINITY);
        else /* a little more than it keeps */
            load_from(s, score, best + (logf(p->min_p) - 0.01f) * p->temp);
        weigh_choices(s, best);
        if (p->typical_p < 1)
            keep_typical(s, p->typical_p);
    }
    if (p->top_p < 1)
        keep_share(s, p->top_p);
    if (p->min_p > 0)
        keep_min_p(s, p->min_p);
}

static void only(struct sampler *s, size_t token, float score)
{
    s->work->choice[0] = (struct sampler_choice){(int32_t)token, score, 1};
    s->n = 1;
}

enum kind {
    WHOLE, /* weights of the whole vocabulary are in work->weight: nothing is left out */
    CHOSEN /* choices are in work->choice */
};

static enum kind prepare(struct sampler *s, const float *logits, const uint32_t *mask,
                         const float **score, float *best)
{
    const struct sampler_params *p = &s->p;
    struct sampler_work *w = s->work;
    *score = scores_of(s, logits, mask);
    *best = logits_max(*score, s->n_vocab, w->most);
    if (*best == -INFINITY) {
        only(s, 0, *best);
        s->n = !mask; /* without a mask there is always a token */
    } else if (!(p->temp > 0) || isinf(*best) || isinf(1 / p->temp)) {
        only(s, token_of(s, *score, *best), *best);
    } else if (!(p->top_k > 0 && (size_t)p->top_k < s->n_vocab) && !(p->typical_p < 1) &&
               !(p->top_p < 1) && !(p->min_p > 0)) {
        s->total = logits_exp(w->weight, *score, s->n_vocab, *best, 1 / p->temp, w->sum);
        return WHOLE;
    } else {
        narrow(s, *score, *best);
    }
    return CHOSEN;
}

size_t sampler_weigh(struct sampler *s, const float *logits, const uint32_t *mask,
                     const struct sampler_choice **out)
{
    struct sampler_work *w = s->work;
    const float *score;
    float best;
    *out = w->choice;
    if (prepare(s, logits, mask, &score, &best) == WHOLE) {
        s->n = 0;
        for (size_t i = 0; i < s->n_vocab; i++)
            if (!mask || mask[i / 32] >> (i % 32) & 1) {
                float x = isnan(score[i]) ? -INFINITY : score[i];
                w->choice[s->n++] = (struct sampler_choice){(int32_t)i, x / s->p.temp,
                                                            w->weight[i]};
            }
    } else {
        for (size_t i = 0; i < s->n; i++)
            w->key[i] = w->choice[i].score;
        sort(s);
    }
    double sum = weight_of(w, 0, s->n);
    for (size_t i = 0; i < s->n; i++)
        w->choice[i].p = (float)((double)w->choice[i].p / sum);
    return s->n;
}

/* The draws walk up to where the weights reach `at`.  Rounding may leave a little of it after all:
 * the last that has a chance gets it. */
static int32_t draw_choice(const struct sampler *s, double at)
{
    const struct sampler_choice *c = s->work->choice;
    size_t last = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (!(c[i].p > 0))
            continue;
        last = i;
        if (at < (double)c[i].p)
            break;
        at -= (double)c[i].p;
    }
    return c[last].token;
}

static int32_t draw_whole(const struct sampler *s, double at)
{
    const struct sampler_work *w = s->work;
    size_t n_blocks = logits_n_blocks(s->n_vocab), block = 0, last = 0;
    for (size_t b = 0; b < n_blocks; b++) {
        if (!(w->sum[b] > 0))
            continue;
        block = b;
        if (at < w->sum[b])
            break;
        at -= w->sum[b];
    }
    for (size_t i = block * LOGITS_BLOCK; i < MIN(s->n_vocab, (block + 1) * LOGITS_BLOCK); i++) {
        if (!(w->weight[i] > 0))
            continue;
        last = i;
        if (at < (double)w->weight[i])
            break;
        at -= (double)w->weight[i];
    }
    return (int32_t)last;
}

int32_t sampler_pick(struct sampler *s, const float *logits, const uint32_t *mask)
{
    const float *score;
    float best;
    bool whole = prepare(s, logits, mask, &score, &best) == WHOLE;
    if (!whole && s->n <= 1)
        return s->n ? s->work->choice[0].token : -1;
    double at = num_rand_unit(&s->rng);
    return whole ? draw_whole(s, at * s->total) : draw_choice(s, at * weight_of(s->work, 0, s->n));
}
