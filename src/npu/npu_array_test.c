/* SPDX-License-Identifier: MIT
 * The closed forms against arrays made of registers: every processing element in every cycle. */
#include "base/num.h"
#include "base/test.h"
#include "npu/npu_array.h"

#include <string.h>

#define SIDE_MAX 8
#define DIM_MAX  40

static int32_t a[DIM_MAX][DIM_MAX], w[DIM_MAX][DIM_MAX], got[DIM_MAX][DIM_MAX];

static void make_operands(uint64_t m, uint64_t k, uint64_t n, uint64_t *seed)
{
    for (uint64_t i = 0; i < m; i++)
        for (uint64_t j = 0; j < k; j++)
            a[i][j] = (int32_t)(num_rand(seed) % 255) - 127;
    for (uint64_t i = 0; i < k; i++)
        for (uint64_t j = 0; j < n; j++)
            w[i][j] = (int32_t)(num_rand(seed) % 255) - 127;
    memset(got, 0, sizeof got);
}

static void assert_product(uint64_t m, uint64_t k, uint64_t n)
{
    for (uint64_t i = 0; i < m; i++)
        for (uint64_t j = 0; j < n; j++) {
            int32_t sum = 0;
            for (uint64_t l = 0; l < k; l++)
                sum += a[i][l] * w[l][j];
            assert_int_equal(got[i][j], sum);
        }
}

/* A fold of a weight-stationary array: weights shift down into place, a row of them a cycle; then
 * element (r, c) passes a to the right and adds to the sum that comes from above.  Gives the
 * cycles. */
static uint64_t fold_ws(uint64_t side, uint64_t m, uint64_t k0, uint64_t k, uint64_t n0, uint64_t n)
{
    int32_t held[SIDE_MAX][SIDE_MAX] = {{0}}, right[SIDE_MAX][SIDE_MAX] = {{0}};
    int32_t down[SIDE_MAX][SIDE_MAX] = {{0}};
    uint64_t cycles = 0, done = 0;
    for (uint64_t i = 0; i < side; i++, cycles++) { /* the last row goes in first */
        uint64_t from = side - 1 - i;
        for (uint64_t r = side - 1; r > 0; r--)
            memcpy(held[r], held[r - 1], sizeof held[r]);
        for (uint64_t c = 0; c < side; c++)
            held[0][c] = k0 + from < k && n0 + c < n ? w[k0 + from][n0 + c] : 0;
    }
    for (uint64_t t = 0; done < m * side; t++, cycles++) {
        int32_t next_right[SIDE_MAX][SIDE_MAX], next_down[SIDE_MAX][SIDE_MAX];
        for (uint64_t r = 0; r < side; r++)
            for (uint64_t c = 0; c < side; c++) {
                /* row r's inputs enter r cycles late */
                int32_t in = c                                   ? right[r][c - 1]
                             : t >= r && t - r < m && k0 + r < k ? a[t - r][k0 + r]
                                                                 : 0;
                next_right[r][c] = in;
                next_down[r][c] = (r ? down[r - 1][c] : 0) + in * held[r][c];
            }
        memcpy(right, next_right, sizeof right);
        memcpy(down, next_down, sizeof down);
        for (uint64_t c = 0; c < side; c++)
            if (t >= side - 1 + c && t - (side - 1) - c < m) {
                if (n0 + c < n)
                    got[t - (side - 1) - c][n0 + c] += down[side - 1][c];
                done++;
            }
    }
    return cycles;
}

/* A fold of an output-stationary array: a from the left, w from above, both skewed, sums stay; then
 * they shift down and out, a row a cycle. */
static uint64_t fold_os(uint64_t side, uint64_t m0, uint64_t m, uint64_t k, uint64_t n0, uint64_t n)
{
    int32_t sum[SIDE_MAX][SIDE_MAX] = {{0}}, right[SIDE_MAX][SIDE_MAX] = {{0}};
    int32_t down[SIDE_MAX][SIDE_MAX] = {{0}};
    uint64_t cycles = 0;
    for (uint64_t t = 0; t < k + 2 * (side - 1); t++, cycles++) {
        int32_t next_right[SIDE_MAX][SIDE_MAX], next_down[SIDE_MAX][SIDE_MAX];
        for (uint64_t r = 0; r < side; r++)
            for (uint64_t c = 0; c < side; c++) {
                bool in_a = t >= r && t - r < k && m0 + r < m,
                     in_w = t >= c && t - c < k && n0 + c < n;
                int32_t left = c ? right[r][c - 1] : in_a ? a[m0 + r][t - r] : 0;
                int32_t above = r ? down[r - 1][c] : in_w ? w[t - c][n0 + c] : 0;
                next_right[r][c] = left;
                next_down[r][c] = above;
                sum[r][c] += left * above;
            }
        memcpy(right, next_right, sizeof right);
        memcpy(down, next_down, sizeof down);
    }
    for (uint64_t i = 0; i < side; i++, cycles++) { /* the bottom row leaves */
        uint64_t r = m0 + side - 1 - i;
        for (uint64_t c = 0; c < side; c++)
            if (r < m && n0 + c < n)
                got[r][n0 + c] = sum[side - 1][c];
        for (uint64_t up = side - 1; up > 0; up--)
            memcpy(sum[up], sum[up - 1], sizeof sum[up]);
    }
    return cycles;
}

static void test_every_shape_to_the_cycle(void **state)
{
    uint64_t seed = test_seed(), shapes = 0;
    (void)state;
    for (uint64_t side = 2; side <= 8; side *= 2)
        for (uint64_t m = 1; m <= DIM_MAX; m++)
            for (uint64_t k = 1; k <= DIM_MAX; k++)
                for (uint64_t n = 1; n <= DIM_MAX; n++, shapes++) {
                    struct npu_unit u = {NPU_SYSTOLIC_WS, false, side, side, 1, 1};
                    uint64_t cycles = 0;
                    bool look = shapes % 37 == 0; /* the results too */
                    if (look)
                        make_operands(m, k, n, &seed);
                    for (uint64_t k0 = 0; k0 < k; k0 += side)
                        for (uint64_t n0 = 0; n0 < n; n0 += side)
                            cycles += fold_ws(side, m, k0, k, n0, n);
                    assert_int_equal(cycles, npu_unit_cycles(&u, m, k, n).busy);
                    if (look)
                        assert_product(m, k, n);
                    u.kind = NPU_SYSTOLIC_OS;
                    if (look)
                        memset(got, 0, sizeof got);
                    cycles = 0;
                    for (uint64_t m0 = 0; m0 < m; m0 += side)
                        for (uint64_t n0 = 0; n0 < n; n0 += side)
                            cycles += fold_os(side, m0, m, k, n0, n);
                    assert_int_equal(cycles, npu_unit_cycles(&u, m, k, n).busy);
                    if (look)
                        assert_product(m, k, n);
                }
    printf("%llu shapes\n", (unsigned long long)shapes);
}

/* What SCALE-Sim 3.0.0 (PyPI scalesim with numpy 1.26.4) says of layers of its ResNet-50 on a 128 x
 * 128 weight-stationary array: M, N, K and the cycles it prints, which number the last one. */
static void test_scale_sim(void **state)
{
    static const uint64_t layers[][4] = {
#include "npu/npu_scalesim.def"
    };
    struct npu_unit u = {NPU_SYSTOLIC_WS, false, 128, 128, 1, 1};
    (void)state;
    for (size_t i = 0; i < N_ELEMS(layers); i++)
        assert_int_equal(npu_unit_cycles(&u, layers[i][0], layers[i][2], layers[i][1]).busy - 1,
                         layers[i][3]);
    printf("%zu layers\n", N_ELEMS(layers));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_shape_to_the_cycle),
        cmocka_unit_test(test_scale_sim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
