/* SPDX-License-Identifier: MIT */
#include "kern/lanes_avx512.inc"

#define PEAK_NAME           peak_avx512vnni
#define PEAK_DOT(acc, w, a) _mm512_dpbusd_epi32(acc, w, a)

#include "kern/peak.inc"

/* Of an extension that the level does not ask for: peak_bf16 looks for it first. */
__attribute__((target("avx512bf16"))) uint64_t peak_bf16_avx512(size_t loops)
{
    __m512 sum[PEAK_SUMS];
    __m512i w = _mm512_set1_epi16(0x3f00), a = _mm512_set1_epi16(0x3e80);
#pragma GCC unroll 16
    for (int i = 0; i < PEAK_SUMS; i++)
        sum[i] = _mm512_setzero_ps();
    for (size_t n = 0; n < loops; n++) {
#pragma GCC unroll 16
        for (int i = 0; i < PEAK_SUMS; i++) {
            PEAK_HIDE(w);
            sum[i] = _mm512_dpbf16_ps(sum[i], (__m512bh)w, (__m512bh)a);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < PEAK_SUMS; i++)
        PEAK_HIDE(sum[i]);
    return (uint64_t)loops * PEAK_SUMS * V_LEN * 2;
}
