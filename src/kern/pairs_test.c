/* SPDX-License-Identifier: MIT
 * pairs_test.c - attention and products in bfloat16 against the reference's, where the processor
 * has them: near it, and the same bits in any company. */
#include "kern/pairs.h"

#include "base/arena.h"
#include "base/num.h"
#include "base/test.h"

#include <math.h>
#include <string.h>

#define LEVEL CPU_avx512vnni
#define NEAR  5e-5 /* sum (a - b)^2 / sum b^2: each number is rounded to 8 bits of mantissa */

static uint64_t rng = 1;
static struct arena arena;
static struct kern ref, ours;

static float *floats(size_t n)
{
    float *x = arena_array(&arena, n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(num_rand_unit(&rng) * 2 - 1);
    return x;
}

static size_t below(size_t n)
{
    return (size_t)(num_rand(&rng) % n);
}

/* ---- attention ---- */

struct shape {
    size_t k_dim, v_dim, n, n_q; /* n: positions */
};

/* Pages of a kernel with n positions, written in two pieces; what is behind them is no number. */
static void fill(const struct kern *k, struct kern_attend *a, const struct shape *s,
                 const float *keys, const float *values)
{
    size_t k_bytes = kern_k_bytes(KERN_KV_f16, s->k_dim), cut = below(KERN_PAGE) + 1;
    size_t v_bytes = kern_v_bytes(KERN_KV_f16, s->v_dim);
    const void **ks = arena_array(&arena, a->n_pages, sizeof *ks);
    const void **vs = arena_array(&arena, a->n_pages, sizeof *vs);
    for (size_t p = 0; p < a->n_pages; p++) {
        size_t n = MIN(s->n - p * KERN_PAGE, (size_t)KERN_PAGE);
        ks[p] = memset(arena_alloc(&arena, k_bytes + 64), 0xff, k_bytes);
        vs[p] = memset(arena_alloc(&arena, v_bytes + 64), 0xff, v_bytes);
        for (size_t at = 0, len; at < n; at += len) {
            len = MIN(n - at, cut);
            struct kern_put put = {KERN_KV_f16, (void *)(uintptr_t)ks[p],
                                   at,          len,
                                   s->k_dim,    keys + (p * KERN_PAGE + at) * s->k_dim,
                                   s->k_dim};
            k->put_k(&put);
            put.page = (void *)(uintptr_t)vs[p];
            put.x = values + (p * KERN_PAGE + at) * s->v_dim;
            put.dim = put.stride = s->v_dim;
            k->put_v(&put);
        }
    }
    a->k = ks, a->v = vs;
}

static float *attend(const struct kern *k, struct kern_attend a, const struct shape *s)
{
    size_t n = MAX(pairs_scratch(a.n_q, s->k_dim, s->v_dim),
                   kern_attend_scratch(KERN_KV_f16, a.n_q, s->k_dim, s->v_dim));
    float *out = floats(a.n_q * s->v_dim + 1), end = out[a.n_q * s->v_dim];
    float **rows = arena_array(&arena, a.n_q, sizeof *rows);
    for (size_t i = 0; i < a.n_q; i++)
        rows[i] = out + i * s->v_dim;
    a.out = rows;
    a.scratch = floats(n + 1);
    float behind = a.scratch[n];
    k->attend(&a);
    assert_true(out[a.n_q * s->v_dim] == end && a.scratch[n] == behind);
    return out;
}

static void check_attend(const struct shape *s)
{
    struct kern_attend a = {.kv = KERN_KV_f16, .n_q = s->n_q, .k_dim = s->k_dim, .v_dim = s->v_dim};
    const float **q = arena_array(&arena, s->n_q, sizeof *q);
    int32_t *from = arena_array(&arena, s->n_q, sizeof *from);
    int32_t *to = arena_array(&arena, s->n_q, sizeof *to);
    float *keys = floats(s->n * s->k_dim), *values = floats(s->n * s->v_dim);
    for (size_t i = 0; i < s->n_q; i++) {
        q[i] = floats(s->k_dim);
        from[i] = i % 3 ? (int32_t)below(s->n) : 0;
        to[i] = i % 2 ? from[i] + 1 + (int32_t)below(s->n - (size_t)from[i]) : (int32_t)s->n;
    }
    a.q = q, a.from = from, a.to = to;
    a.n_pages = num_div_up(s->n, KERN_PAGE);
    a.scale = 3 / sqrtf((float)s->k_dim);
    fill(&ref, &a, s, keys, values);
    float *want = attend(&ref, a, s);
    fill(&ours, &a, s, keys, values);
    float *got = attend(&ours, a, s);
    double d = test_nmse(got, want, s->n_q * s->v_dim);
    if (!(d < NEAR))
        fail_msg("%zu queries, %zu positions of %zu and %zu: %.1e", s->n_q, s->n, s->k_dim,
                 s->v_dim, d);
    for (size_t i = 0; i < s->n_q; i++) {
        struct kern_attend one = a;
        one.n_q = 1, one.q = q + i, one.from = from + i, one.to = to + i;
        assert_memory_equal(attend(&ours, one, s), got + i * s->v_dim, s->v_dim * sizeof *got);
    }
}

static void test_attend(void **state)
{
    static const size_t dims[][2] = {
        {72,  72 },
        {64,  64 },
        {2,   1  },
        {80,  80 },
        {128, 128},
        {36,  100}
    };
    (void)state;
    for (size_t i = 0; i < 4 * N_ELEMS(dims); i++) {
        const size_t *d = dims[i % N_ELEMS(dims)];
        check_attend(&(struct shape){d[0], d[1], i % 4 ? 1 + below(700) : 512, 1 + below(60)});
        arena_done(&arena);
        arena_init(&arena);
    }
}

/* ---- products ---- */

static void check_mm(enum format f, size_t k, size_t rows, size_t tokens, bool add, bool bias)
{
    size_t bytes = pairs_mm_bytes(k, rows), row_bytes = format_bytes(f, k);
    uint16_t *file = arena_array(&arena, rows * k, sizeof *file);
    for (size_t i = 0; i < rows * k; i++) {
        float x = (float)(num_rand_unit(&rng) * 2 - 1);
        file[i] = f == FORMAT_F16 ? half_from_float(x)
                                  : (uint16_t)(num_rand(&rng) & 0x80ff) | 0x3e00;
    }
    void *packed = memset(arena_alloc(&arena, bytes + 64), 0, bytes + 64);
    float *row = floats(k), *x = floats(tokens * k), *b = floats(rows);
    size_t cut = MIN((size_t)PAIRS_ROWS, rows);
    pairs_mm_pack(f, k, file, packed, 0, cut, row);
    pairs_mm_pack(f, k, file, packed, cut, rows, row);
    uint32_t *pair = arena_array(&arena, tokens * k / 2 + 1, sizeof *pair);
    for (size_t t = 0; t < tokens; t++)
        pairs_row(pair + t * (k / 2), x + t * k, k);
    size_t stride = rows + 3;
    float *dst = floats(tokens * stride),
          *want = arena_array(&arena, tokens * stride, sizeof *want);
    memcpy(want, dst, tokens * stride * sizeof *want);
    float *one = arena_array(&arena, stride, sizeof *one);
    memcpy(one, dst, stride * sizeof *one);
    for (size_t r = 0; r < rows; r++) {
        format_dequant(f, row, (char *)file + r * row_bytes, k);
        for (size_t t = 0; t < tokens; t++) {
            double sum = bias ? (double)b[r] : 0;
            for (size_t i = 0; i < k; i++)
                sum += (double)row[i] * (double)x[t * k + i];
            want[t * stride + r] = (float)sum + (add ? want[t * stride + r] : 0);
        }
    }
    struct mm_job job = {.weights = packed, .format = f, .k = k, .n_rows = rows};
    job.n_tokens = tokens, job.dst = dst, job.dst_stride = stride;
    job.add = add, job.bias = bias ? b : NULL;
    pairs_mm(&job, pair, 0, cut);
    pairs_mm(&job, pair, cut, rows);
    double d = test_nmse(dst, want, tokens * stride);
    if (!(d < NEAR))
        fail_msg("%zu x %zu, %zu tokens: %.1e", rows, k, tokens, d);
    job.n_tokens = 1, job.dst = one;
    pairs_mm(&job, pair, 0, rows);
    assert_memory_equal(one, dst, stride * sizeof *one); /* alone, and in one piece */
}

static void test_mm(void **state)
{
    (void)state;
    for (size_t i = 0; i < 24; i++) {
        check_mm(i % 2 ? FORMAT_F16 : FORMAT_BF16, 2 + 2 * below(400), 1 + below(200),
                 1 + below(20), i & 2, i & 4);
        arena_done(&arena);
        arena_init(&arena);
    }
}

static void test_sizes(void **state)
{
    (void)state;
    assert_int_equal(pairs_mm_bytes(72, 65), 2 * PAIRS_ROWS * 72 * 2);
    assert_true(pairs_mm_bytes(2, SIZE_MAX - 3) == SIZE_MAX);
    assert_true(pairs_mm_bytes(SIZE_MAX / 2 - 1, 2) == SIZE_MAX);
    assert_false(pairs_can(LEVEL, 71));
    assert_false(pairs_can(CPU_c, 72));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_attend),
                                       cmocka_unit_test(test_mm)};
    if (cpu_capped(LEVEL) != LEVEL || !pairs_can(LEVEL, 72)) {
        printf("this processor has no AVX-512 BF16: only sizes are checked\n");
        const struct CMUnitTest few[] = {cmocka_unit_test(test_sizes)};
        return cmocka_run_group_tests(few, NULL, NULL);
    }
    arena_init(&arena);
    kern_init(&ref, CPU_c);
    kern_init(&ours, LEVEL);
    pairs_use(&ours);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_done(&arena);
    return failed;
}
