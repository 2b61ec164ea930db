/* SPDX-License-Identifier: MIT
 * logits_test.c - against the C library's functions in binary64, for every length of the last
 * block and whatever a model may give. */
#include "engine/logits.h"

#include "base/num.h"
#include "base/test.h"

#include <math.h>

#define N_MAX 300

static uint64_t rng;

static void fill(float *x, size_t n)
{
    double spread = pow(10, num_rand_unit(&rng) * 4 - 2);
    for (size_t i = 0; i < n; i++) {
        uint64_t kind = num_rand(&rng) % 40;
        x[i] = kind == 0   ? NAN
               : kind == 1 ? -INFINITY
                           : (float)((num_rand_unit(&rng) - 0.5) * spread);
    }
    x[num_rand(&rng) % n] = (float)spread;
}

static void exponentials_are_near(void **state)
{
    (void)state;
    for (size_t n = 1; n <= N_MAX; n++) {
        float x[N_MAX], y[N_MAX], most[N_MAX], by = n % 3 ? 1 : 0.37f;
        double sum[N_MAX], all = 0, plain = 0, blocks = 0;
        fill(x, n);
        float best = logits_max(x, n, most);
        double got = logits_exp(y, x, n, best, by, sum);
        for (size_t i = 0; i < n; i++) {
            double power = (double)((x[i] - best) * by), want = power > -80 ? exp(power) : 0;
            assert_true(fabs((double)y[i] - want) <= 3e-7 * want);
            assert_true(!(x[i] > best) && !(x[i] > most[i / LOGITS_BLOCK]));
            all += want;
            plain += isnan(x[i]) ? 0 : exp((double)x[i] - (double)best);
        }
        for (size_t b = 0; b < logits_n_blocks(n); b++)
            blocks += sum[b];
        assert_true(fabs(got - all) <= 1e-6 * all && fabs(blocks - all) <= 1e-6 * all);
        assert_true(fabs((double)logits_log_sum(x, n) - (double)best - log(plain)) <
                    1e-6 * (1 + fabs((double)best)));
    }
}

static void nothing_is_likely(void **state)
{
    (void)state;
    float x[70];
    for (size_t i = 0; i < N_ELEMS(x); i++)
        x[i] = i % 2 ? NAN : -INFINITY;
    assert_true(logits_max(x, N_ELEMS(x), NULL) == -INFINITY);
    assert_true(logits_log_sum(x, N_ELEMS(x)) == -INFINITY);
}

int main(void)
{
    rng = test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponentials_are_near),
        cmocka_unit_test(nothing_is_likely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
