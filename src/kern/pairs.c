/* SPDX-License-Identifier: MIT */
#include "kern/pairs.h"

#include "base/err.h"
#include "base/num.h"

#include <string.h>

bool pairs_can(enum cpu_level level, size_t k_dim)
{
#if defined(__x86_64__)
    return level == CPU_avx512vnni && k_dim % 2 == 0 && __builtin_cpu_supports("avx512bf16");
#else
    (void)level;
    (void)k_dim;
    return false;
#endif
}

size_t pairs_mm_bytes(size_t k, size_t n_rows)
{
    size_t rows, row, n;
    return num_add(n_rows, PAIRS_ROWS - 1, &rows) && num_mul(k, sizeof(uint16_t), &row) &&
                   num_mul(rows / PAIRS_ROWS * PAIRS_ROWS, row, &n)
               ? n
               : SIZE_MAX;
}

/* Half to even; what is no number stays none. */
static uint16_t bf16_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

void pairs_mm_pack(enum format f, size_t k, const void *src, void *dst, size_t from, size_t to,
                   float *row)
{
    const char *at = (const char *)src + from * format_bytes(f, k);
    for (size_t r = from; r < to; r++, at += format_bytes(f, k)) {
        uint32_t *p = (uint32_t *)dst + r / PAIRS_ROWS * PAIRS_ROWS * (k / 2) + r % PAIRS_ROWS;
        format_dequant(f, row, at, k);
        for (size_t i = 0; i < k / 2; i++)
            p[i * PAIRS_ROWS] = bf16_of(row[2 * i]) | (uint32_t)bf16_of(row[2 * i + 1]) << 16;
    }
}

#if defined(__x86_64__)
void pairs_use(struct kern *k)
{
    pairs_use_avx512bf16(k);
}

void pairs_row(uint32_t *to, const float *x, size_t n)
{
    pairs_row_avx512bf16(to, x, n);
}

void pairs_mm(const struct mm_job *job, const uint32_t *x, size_t from, size_t to)
{
    pairs_mm_avx512bf16(job, x, from, to);
}
#else /* pairs_can says so */
void pairs_use(struct kern *k)
{
    CHECK(!k);
}

void pairs_row(uint32_t *to, const float *x, size_t n)
{
    CHECK(!to && !x && !n);
}

void pairs_mm(const struct mm_job *job, const uint32_t *x, size_t from, size_t to)
{
    CHECK(!job && !x && !from && !to);
}
#endif

/* Queries as pairs; scores and weights of a part; results, maxima and sums so far. */
size_t pairs_scratch(size_t n_q, size_t k_dim, size_t v_dim)
{
    return n_q * (k_dim / 2) + KERN_BLOCK * (KERN_PART + KERN_PART / 2) +
           n_q * (kern_v_row(v_dim) + 2);
}
