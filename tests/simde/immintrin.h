/* SPDX-License-Identifier: MIT
 * immintrin.h - stands before the compiler's own and gives the AVX-512 kernels SIMDe's portable
 * functions for the instructions, so that their code is checked on machines without AVX-512
 * (kern.kern_check_emulated).  What SIMDe 0.7.4 lacks is below, by its meaning. */
#ifndef SIMDE_IMMINTRIN_H
#define SIMDE_IMMINTRIN_H

#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#define EMULATED static inline __attribute__((always_inline))

/* Each 512-bit conversion is two 256-bit ones. */
EMULATED __m512 emulated_join_ps(__m256 lo, __m256 hi)
{
    simde__m512_private r;
    r.m256[0] = lo, r.m256[1] = hi;
    return simde__m512_from_private(r);
}
EMULATED __m512i emulated_join_si(__m256i lo, __m256i hi)
{
    simde__m512i_private r;
    r.m256i[0] = lo, r.m256i[1] = hi;
    return simde__m512i_from_private(r);
}
EMULATED __m256 emulated_half_ps(__m512 a, int i)
{
    return simde__m512_to_private(a).m256[i];
}
EMULATED __m256i emulated_half_si(__m512i a, int i)
{
    return simde__m512i_to_private(a).m256i[i];
}
EMULATED __m512 emulated_cvtepi32_ps(__m512i a)
{
    return emulated_join_ps(_mm256_cvtepi32_ps(emulated_half_si(a, 0)),
                            _mm256_cvtepi32_ps(emulated_half_si(a, 1)));
}
EMULATED __m512i emulated_cvtps_epi32(__m512 a)
{
    return emulated_join_si(_mm256_cvtps_epi32(emulated_half_ps(a, 0)),
                            _mm256_cvtps_epi32(emulated_half_ps(a, 1)));
}
EMULATED __m512 emulated_cvtph_ps(__m256i a)
{
    return emulated_join_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(a)),
                            _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1)));
}
EMULATED __m512i emulated_cvtepu16_epi32(__m256i a)
{
    return emulated_join_si(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(a)),
                            _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1)));
}
/* SIMDe's alias has four arguments. */
EMULATED __m512i emulated_madd_epi16(__m512i a, __m512i b)
{
    return emulated_join_si(_mm256_madd_epi16(emulated_half_si(a, 0), emulated_half_si(b, 0)),
                            _mm256_madd_epi16(emulated_half_si(a, 1), emulated_half_si(b, 1)));
}
EMULATED __m512i emulated_cvtepi8_epi32(__m128i a)
{
    return emulated_join_si(_mm256_cvtepi8_epi32(a), _mm256_cvtepi8_epi32(_mm_srli_si128(a, 8)));
}
EMULATED __m512i emulated_cvtepu8_epi32(__m128i a)
{
    return emulated_join_si(_mm256_cvtepu8_epi32(a), _mm256_cvtepu8_epi32(_mm_srli_si128(a, 8)));
}

/* Out of line: it is large, and mm.inc unrolls its loops around it many times. */
static __attribute__((noinline, unused)) __m512i emulated_dpbusd(__m512i sum, __m512i a, __m512i b)
{
    return simde_mm512_dpbusd_epi32(sum, a, b);
}

#undef _mm512_dpbusd_epi32
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtps_epi32
#undef _mm512_cvtph_ps
#undef _mm512_cvtps_ph
#undef _mm512_cvtepu16_epi32
#undef _mm512_cvtepi8_epi32
#undef _mm512_cvtepu8_epi32
#undef _mm512_extractf32x8_ps
#undef _mm512_madd_epi16
#define _mm512_dpbusd_epi32(s, a, b) emulated_dpbusd(s, a, b)
#define _mm512_cvtepi32_ps(a)        emulated_cvtepi32_ps(a)
#define _mm512_cvtps_epi32(a)        emulated_cvtps_epi32(a)
#define _mm512_cvtph_ps(a)           emulated_cvtph_ps(a)
#define _mm512_cvtepu16_epi32(a)     emulated_cvtepu16_epi32(a)
#define _mm512_cvtepi8_epi32(a)      emulated_cvtepi8_epi32(a)
#define _mm512_cvtepu8_epi32(a)      emulated_cvtepu8_epi32(a)
#define _mm512_extractf32x8_ps(a, i) emulated_half_ps(a, i)
#define _mm512_madd_epi16(a, b)      emulated_madd_epi16(a, b)
/* The rounding must be a constant where it is used. */
#define _mm512_cvtps_ph(a, rounding)                                                               \
    _mm256_set_m128i(_mm256_cvtps_ph(emulated_half_ps(a, 1), rounding),                            \
                     _mm256_cvtps_ph(emulated_half_ps(a, 0), rounding))

#endif
