/* SPDX-License-Identifier: MIT
 * sampler_test.c - each step against a plain computation of its definition over all tokens. */
#include "base/arena.h"
#include "base/num.h"
#include "base/test.h"
#include "engine/sampler.h"

#include <math.h>
#include <string.h>

#define N 500

static uint64_t rng;

static void random_logits(float *x, double spread)
{
    for (int i = 0; i < N; i++)
        x[i] = (float)((num_rand_unit(&rng) + num_rand_unit(&rng) - 1) * spread);
}

/* Tokens by falling key, equal keys by rising token. */
static void order_by(const double *key, int *order)
{
    for (int i = 0; i < N; i++) {
        int at = i;
        for (; at > 0 && key[order[at - 1]] < key[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

static void plain_softmax(const double *score, double *p)
{
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < N; i++)
        most = fmax(most, score[i]);
    for (int i = 0; i < N; i++)
        sum += p[i] = exp(score[i] - most);
    for (int i = 0; i < N; i++)
        p[i] /= sum;
}

static void plain_keep_share(double *score, const double *p, const double *key, double share)
{
    int order[N];
    double sum = 0;
    order_by(key, order);
    for (int i = 0; i < N; i++) {
        if (i > 0 && sum >= share)
            score[order[i]] = -INFINITY;
        sum += p[order[i]];
    }
}

/* The definition of sampler.h, without penalties. */
static void plain(const struct sampler_params *q, const float *logits, double *p)
{
    double score[N], key[N], most = 0, entropy = 0;
    int order[N];
    for (int i = 0; i < N; i++)
        score[i] = (double)logits[i] / (double)q->temp;
    order_by(score, order);
    for (int i = q->top_k; q->top_k > 0 && i < N; i++)
        score[order[i]] = -INFINITY;
    if (q->typical_p < 1) {
        plain_softmax(score, p);
        for (int i = 0; i < N; i++)
            entropy -= p[i] > 0 ? p[i] * log(p[i]) : 0;
        for (int i = 0; i < N; i++)
            key[i] = p[i] > 0 ? -fabs(-log(p[i]) - entropy) : -INFINITY;
        plain_keep_share(score, p, key, (double)q->typical_p);
    }
    plain_softmax(score, p);
    if (q->top_p < 1)
        plain_keep_share(score, p, p, (double)q->top_p);
    plain_softmax(score, p);
    for (int i = 0; i < N; i++)
        most = fmax(most, p[i]);
    for (int i = 0; i < N; i++)
        if (p[i] < (double)q->min_p * most)
            score[i] = -INFINITY;
    plain_softmax(score, p);
}

static void steps_follow_their_definitions(void **state)
{
    (void)state;
    float logits[N];
    double want[N];
    for (int round = 0; round < 300; round++) {
        struct sampler_params q = sampler_neutral();
        const struct sampler_choice *c;
        double got[N] = {0}, total = 0;
        q.temp = (float)(0.2 + num_rand_unit(&rng) * 2);
        q.top_k = num_rand(&rng) % 2 ? (int32_t)(num_rand(&rng) % (N + 50)) : 0;
        q.top_p = num_rand(&rng) % 2 ? (float)num_rand_unit(&rng) : 1;
        q.typical_p = num_rand(&rng) % 3 ? 1 : (float)num_rand_unit(&rng);
        q.min_p = num_rand(&rng) % 2 ? (float)(num_rand_unit(&rng) * 0.3) : 0;
        random_logits(logits, 8);
        struct sampler *s = sampler_new(&q, N, 16, NULL);
        size_t n = sampler_weigh(s, logits, NULL, &c);
        plain(&q, logits, want);
        for (size_t i = 0; i < n; i++) {
            got[c[i].token] = (double)c[i].p;
            total += (double)c[i].p;
            assert_true(n == N || i == 0 || c[i].score <= c[i - 1].score);
        }
        assert_true(fabs(total - 1) < 1e-4);
        for (int i = 0; i < N; i++)
            if (fabs(got[i] - want[i]) > 1e-4)
                fail_msg("round %d, token %d has %g, not %g", round, i, got[i], want[i]);
        sampler_free(s);
    }
}

static void penalties_follow_their_definitions(void **state)
{
    (void)state;
    const struct sampler_bias bias[] = {
        {7,  5        },
        {8,  -INFINITY},
        {-3, 1        },
        {N,  1        }
    };
    struct sampler_params q = sampler_neutral();
    const struct sampler_choice *c;
    float logits[N], score[N];
    random_logits(logits, 8);
    q.bias = bias, q.n_bias = N_ELEMS(bias);
    q.repeat_penalty = 1.5f, q.presence_penalty = 0.25f, q.frequency_penalty = 0.5f;
    q.repeat_last_n = 3;
    struct sampler *s = sampler_new(&q, N, 5, NULL);
    const int32_t history[] = {1, 2, 2, 3, 3, 4, 3}; /* the last three: 3 4 3 */
    for (size_t i = 0; i < N_ELEMS(history); i++)
        sampler_accept(s, history[i]);
    assert_int_equal(sampler_weigh(s, logits, NULL, &c), N);
    for (int i = 0; i < N; i++)
        score[c[i].token] = c[i].score;
    for (int i = 0; i < N; i++) {
        int times = i == 3 ? 2 : i == 4;
        float want = logits[i] + (i == 7 ? 5 : 0);
        if (times)
            want = (want > 0 ? want / 1.5f : want * 1.5f) - 0.25f - 0.5f * (float)times;
        if (i == 8)
            assert_true(isinf(score[i]) && score[i] < 0);
        else
            assert_true(fabsf(score[i] - want) < 1e-5f);
    }
    sampler_free(s);
}

/* The longest repetition that token t would prolong, by trying all. */
static int longest(const int32_t *h, int n, int32_t t, const int32_t breaker)
{
    int most = 0;
    for (int at = 0; at < n; at++) {
        int len = 0;
        if (h[at] != t)
            continue;
        while (len < at && h[at - 1 - len] == h[n - 1 - len] && h[n - 1 - len] != breaker)
            len++;
        most = MAX(most, len);
    }
    return most;
}

static void dry_follows_its_definition(void **state)
{
    (void)state;
    const int32_t breaker = 5;
    float logits[N];
    const struct sampler_choice *c;
    memset(logits, 0, sizeof logits);
    for (int round = 0; round < 200; round++) {
        struct sampler_params q = sampler_neutral();
        int32_t h[64];
        int n = 2 + (int)(num_rand(&rng) % 60);
        q.dry_multiplier = 0.8f, q.dry_base = 1.5f, q.dry_allowed_length = 2;
        q.dry_breakers = &breaker, q.n_dry_breakers = 1;
        struct sampler *s = sampler_new(&q, N, 64, NULL);
        for (int i = 0; i < n; i++)
            sampler_accept(s, h[i] = (int32_t)(num_rand(&rng) % (round % 2 ? 3 : 7)));
        assert_int_equal(sampler_weigh(s, logits, NULL, &c), N);
        for (int i = 0; i < N; i++) {
            int len = longest(h, n, c[i].token, breaker);
            float want = len >= 2 && c[i].token != breaker ? -0.8f * powf(1.5f, (float)(len - 2))
                                                           : 0;
            if (fabsf(c[i].score - want) > 1e-3f * (1 + fabsf(want)))
                fail_msg("round %d token %d: %g, not %g", round, c[i].token, (double)c[i].score,
                         (double)want);
        }
        sampler_free(s);
    }
}

/* A seed gives a sequence; the draws follow the probabilities (chi-square, 9 classes). */
static void draws_follow_probabilities(void **state)
{
    (void)state;
    struct sampler_params q = sampler_neutral();
    const struct sampler_choice *c;
    float logits[N];
    double p[10], chi = 0;
    int seen[10] = {0}, first[20], n_draws = 20000;
    random_logits(logits, 3);
    q.top_k = 10, q.seed = 42;
    struct sampler *s = sampler_new(&q, N, 4, NULL);
    int32_t token[10];
    assert_int_equal(sampler_weigh(s, logits, NULL, &c), 10);
    for (int i = 0; i < 10; i++)
        p[i] = (double)c[i].p, token[i] = c[i].token;
    for (int d = 0; d < n_draws; d++) {
        int32_t t = sampler_pick(s, logits, NULL);
        if (d < 20)
            first[d] = t;
        for (int i = 0; i < 10; i++)
            seen[i] += token[i] == t;
    }
    for (int i = 0; i < 10; i++)
        chi += pow(seen[i] - n_draws * p[i], 2) / (n_draws * p[i]);
    assert_true(chi < 33.7); /* 9 degrees of freedom, one in ten thousand */
    sampler_reset(s, q.seed);
    for (int d = 0; d < 20; d++)
        assert_int_equal(sampler_pick(s, logits, NULL), first[d]);
    sampler_free(s);
}

static void odd_logits_give_a_token(void **state)
{
    (void)state;
    struct sampler_params q = sampler_neutral();
    float logits[N];
    for (int kind = 0; kind < 4; kind++) {
        for (int i = 0; i < N; i++)
            logits[i] = kind == 0 ? NAN : kind == 1 ? -INFINITY : kind == 2 ? INFINITY : 0;
        if (kind == 0)
            logits[17] = 1;
        q.temp = (float)(kind % 2), q.top_k = 40, q.top_p = 0.9f, q.typical_p = 0.9f;
        struct sampler *s = sampler_new(&q, N, 4, NULL);
        int32_t t = sampler_pick(s, logits, NULL);
        assert_true(t >= 0 && t < N && (kind != 0 || t == 17));
        sampler_free(s);
    }
}

/* A mask gives what the other tokens at -infinity give; nothing outside it ever comes. */
static void masks_leave_no_chance(void **state)
{
    (void)state;
    float logits[N], banned[N];
    uint32_t mask[N / 32 + 1];
    for (int round = 0; round < 400; round++) {
        struct sampler_params q = sampler_neutral();
        struct sampler_bias bias = {(int32_t)(num_rand(&rng) % N), 4};
        uint64_t often = 1 + num_rand(&rng) % 60;
        size_t n_in = 0;
        q.temp = (float)(num_rand(&rng) % 3);
        q.top_k = num_rand(&rng) % 2 ? (int32_t)(num_rand(&rng) % 40) : 0;
        q.top_p = num_rand(&rng) % 2 ? 0.8f : 1;
        q.min_p = num_rand(&rng) % 2 ? 0.05f : 0;
        q.seed = num_rand(&rng);
        q.bias = &bias, q.n_bias = num_rand(&rng) % 2;
        random_logits(logits, 8);
        memset(mask, 0, sizeof mask);
        for (int i = 0; i < N; i++) {
            bool in = num_rand(&rng) % often == 0;
            mask[i / 32] |= (uint32_t)in << (i % 32);
            banned[i] = in ? logits[i] : -INFINITY;
            n_in += in;
        }
        struct sampler *a = sampler_new(&q, N, 4, NULL), *b = sampler_new(&q, N, 4, NULL);
        float p[N] = {0};
        const struct sampler_choice *c;
        size_t n = sampler_weigh(b, banned, NULL, &c);
        for (size_t i = 0; i < n; i++)
            p[c[i].token] = c[i].p;
        n = sampler_weigh(a, logits, mask, &c);
        assert_true(n <= n_in && (n > 0) == (n_in > 0));
        for (size_t i = 0; i < n; i++)
            assert_true(fabsf(c[i].p - p[c[i].token]) < 1e-6f);
        for (int d = 0; d < 20; d++) {
            int32_t t = sampler_pick(a, logits, mask);
            assert_true(n_in ? mask[t / 32] >> (t % 32) & 1 : t == -1);
        }
        sampler_free(a);
        sampler_free(b);
    }
}

int main(void)
{
    rng = test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_follow_their_definitions),
        cmocka_unit_test(penalties_follow_their_definitions),
        cmocka_unit_test(dry_follows_its_definition),
        cmocka_unit_test(draws_follow_probabilities),
        cmocka_unit_test(odd_logits_give_a_token),
        cmocka_unit_test(masks_leave_no_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
