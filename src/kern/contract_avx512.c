/* SPDX-License-Identifier: MIT
 * contract_avx512.c - the numeric contracts with AVX-512 F and BW. */
#include <immintrin.h>
#include <stdint.h>

#define ISA      avx512
#define DOT_STEP 32

typedef __m512i dot_t;

static inline dot_t dot_zero(void)
{
    return _mm512_setzero_si512();
}

static inline dot_t dot_add(dot_t sum, const int8_t *w, const int16_t *x)
{
    __m512i a = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)w));
    __m512i b = _mm512_loadu_si512(x);
    return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
}

static inline int32_t dot_sum(dot_t sum)
{
    return _mm512_reduce_add_epi32(sum);
}

#include "kern/contract.inc"
