/* SPDX-License-Identifier: MIT
 * quant_test.c - rows through every format: how near they come, what they keep exactly, and that
 * importance is heeded. */
#include "base/test.h"

#include "base/num.h"
#include "quant/quant.h"

#include <math.h>
#include <string.h>

#define N 4096

static uint64_t rng = 20261127;

/* A bell of sorts: the sum of four. */
static float bell(void)
{
    double sum = 0;
    for (int i = 0; i < 4; i++)
        sum += num_rand_unit(&rng) * 2 - 1;
    return (float)(sum * 0.866);
}

/* The square error of a round trip, as a share of the numbers' squares. */
static double miss(enum format f, const float *x, const float *importance, const float *count)
{
    static uint8_t bytes[N * 4];
    static float back[N];
    double err = 0, all = 0;
    quant_row(f, x, importance, N, bytes);
    format_dequant(f, back, bytes, N);
    for (int i = 0; i < N; i++) {
        double w = count ? (double)count[i] : 1;
        err += w * ((double)back[i] - (double)x[i]) * ((double)back[i] - (double)x[i]);
        all += w * (double)x[i] * (double)x[i];
    }
    return err / all;
}

/* Near to what formats of so many levels can do at best for a bell of numbers. */
static const struct {
    enum format f;
    double most;
} limits[] = {
    {FORMAT_F32,    0     },
    {FORMAT_F16,    1e-7  },
    {FORMAT_BF16,   5e-6  },
    {FORMAT_Q8_0,   2.8e-5},
    {FORMAT_Q6_K,   2.8e-4},
    {FORMAT_Q5_K,   1.2e-3},
    {FORMAT_Q5_1,   1.2e-3},
    {FORMAT_Q5_0,   1.5e-3},
    {FORMAT_Q4_K,   4.9e-3},
    {FORMAT_Q4_1,   5.0e-3},
    {FORMAT_IQ4_NL, 5.5e-3},
    {FORMAT_IQ4_XS, 5.6e-3},
    {FORMAT_Q4_0,   6.3e-3},
    {FORMAT_MXFP4,  1.3e-2},
    {FORMAT_Q3_K,   2.1e-2},
    {FORMAT_Q2_K,   7.1e-2},
};

static void comes_near(void **state)
{
    static float x[N];
    (void)state;
    for (int i = 0; i < N; i++)
        x[i] = bell() * 0.02f;
    for (size_t i = 0; i < N_ELEMS(limits); i++) {
        double got = miss(limits[i].f, x, NULL, NULL);
        print_message("%-7s %.3g\n", format_info(limits[i].f)->name, got);
        if (got > limits[i].most)
            fail_msg("%s misses %g, more than %g", format_info(limits[i].f)->name, got,
                     limits[i].most);
    }
}

static void heeds_importance(void **state)
{
    static float x[N], importance[N];
    (void)state;
    for (int i = 0; i < N; i++) {
        x[i] = bell();
        importance[i] = expf(3 * bell());
    }
    for (size_t i = 0; i < N_ELEMS(limits); i++) {
        if (format_info(limits[i].f)->bits == 0 || limits[i].f == FORMAT_Q8_0)
            continue;
        double without = miss(limits[i].f, x, NULL, importance);
        double with = miss(limits[i].f, x, importance, importance);
        if (!(with < without))
            fail_msg("%s: importance made %g of %g", format_info(limits[i].f)->name, with, without);
    }
}

static void keeps_zeros_and_odd_numbers(void **state)
{
    static float x[N], back[N];
    static uint8_t bytes[N * 4];
    (void)state;
    for (size_t i = 0; i < N_ELEMS(limits); i++) {
        memset(x, 0, sizeof x);
        assert_true(quant_can(limits[i].f));
        quant_row(limits[i].f, x, NULL, N, bytes);
        format_dequant(limits[i].f, back, bytes, N);
        for (int k = 0; k < N; k++)
            assert_true(back[k] == 0);
        if (format_info(limits[i].f)->bits == 0)
            continue;
        x[7] = NAN, x[8] = INFINITY, x[9] = 1, x[300] = 1e-38f, x[700] = 1e-6f, x[1000] = 900;
        quant_row(limits[i].f, x, NULL, N, bytes);
        format_dequant(limits[i].f, back, bytes, N);
        for (int k = 0; k < N; k++)
            assert_true(isfinite(back[k]));
        assert_true(fabsf(back[9] - 1) < 0.2f && fabsf(back[1000] - 900) < 150);
    }
    assert_false(quant_can(FORMAT_IQ2_XXS));
}

/* Numbers beyond what scales can hold: the result is poor, but nothing is read out of place. */
static void survives_huge_numbers(void **state)
{
    static float x[N];
    static uint8_t bytes[N * 4];
    static const float sizes[] = {1e6f, 1e10f, 1e20f, 3e38f};
    (void)state;
    for (size_t i = 0; i < N_ELEMS(limits); i++)
        for (size_t s = 0; s < N_ELEMS(sizes); s++) {
            for (int k = 0; k < N; k++)
                x[k] = k % 3 ? bell() * sizes[s] / 8 : 0;
            quant_row(limits[i].f, x, NULL, N, bytes);
        }
}

/* What is on a format's grid already comes back as it is. */
static void keeps_what_fits(void **state)
{
    static const enum format fs[] = {FORMAT_Q4_0, FORMAT_Q5_0,  FORMAT_Q4_1,
                                     FORMAT_Q5_1, FORMAT_MXFP4, FORMAT_IQ4_NL};
    static float x[N], back[N];
    static uint8_t bytes[N * 4], again[N * 4];
    (void)state;
    for (int i = 0; i < N; i++)
        x[i] = bell();
    for (size_t i = 0; i < N_ELEMS(fs); i++) {
        quant_row(fs[i], x, NULL, N, bytes);
        format_dequant(fs[i], back, bytes, N);
        quant_row(fs[i], back, NULL, N, again);
        format_dequant(fs[i], back, bytes, N);
        double err = 0, all = 0;
        static float twice[N];
        format_dequant(fs[i], twice, again, N);
        for (int k = 0; k < N; k++) {
            err += (double)(twice[k] - back[k]) * (double)(twice[k] - back[k]);
            all += (double)back[k] * (double)back[k];
        }
        if (err / all > 1e-6)
            fail_msg("%s: again misses %g", format_info(fs[i])->name, err / all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_near),
        cmocka_unit_test(heeds_importance),
        cmocka_unit_test(keeps_zeros_and_odd_numbers),
        cmocka_unit_test(survives_huge_numbers),
        cmocka_unit_test(keeps_what_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
