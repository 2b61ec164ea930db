/* SPDX-License-Identifier: MIT
 * contract_avx2.c - the numeric contracts with AVX2. */
#include <immintrin.h>
#include <stdint.h>

#define ISA      avx2
#define DOT_STEP 16

typedef __m256i dot_t;

static inline dot_t dot_zero(void)
{
    return _mm256_setzero_si256();
}

static inline dot_t dot_add(dot_t sum, const int8_t *w, const int16_t *x)
{
    __m256i a = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)w));
    __m256i b = _mm256_loadu_si256((const __m256i *)x);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

static inline int32_t dot_sum(dot_t sum)
{
    __m128i x = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1));
    return _mm_cvtsi128_si32(x);
}

#include "kern/contract.inc"
