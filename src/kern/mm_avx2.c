/* SPDX-License-Identifier: MIT
 * mm_avx2.c - matrix products for AVX2.
 *
 * The 4-byte dot product is made of vpmaddubsw, which gives 16-bit sums of two products.  With
 * 4-bit weights eight of them can be added before they overflow (8 * 2 * 15 * 127 = 30480), with
 * 5 bits four, with 6 bits two: only then vpmaddwd widens to 32 bits.  8-bit weights are signed;
 * vpsignb moves their sign to the activation. */
#include "kern/lanes_avx2.inc"

#include <stdbool.h>

#define MM_LEVEL       avx2
#define MM_P           2
#define MM_T           2
#define MM_FT          6
#define MM_FEW         3
#define MM_EXPAND_FROM 4
#define MM_BIASED8     false
#define DOT_RUN(bits)  ((bits) <= 4 ? 8 : (bits) == 5 ? 4 : (bits) == 6 ? 2 : 1)

typedef vi vn;

ALWAYS vn dot_start(vi wide)
{
    (void)wide;
    return vi_zero();
}

/* The compiler may not see the sums: it would balance their trees and spill all products. */
ALWAYS vi in_order(vi x)
{
    __asm__("" : "+x"(x));
    return x;
}

ALWAYS vn dot_add(vn narrow, vi w, vi a, int bits)
{
    if (bits == 8)
        return _mm256_add_epi16(narrow,
                                _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w)));
    return in_order(_mm256_add_epi16(narrow, _mm256_maddubs_epi16(w, a)));
}

ALWAYS vi dot_end(vi wide, vn narrow)
{
    return in_order(_mm256_add_epi32(wide, _mm256_madd_epi16(narrow, _mm256_set1_epi16(1))));
}

#include "kern/mm.inc"

const struct mm_kernel mm_kernel_avx2 = {
    .level = CPU_avx2,
    .panel_rows = V_LEN,
    .biased8 = MM_BIASED8,
    .act_int = MM_ACT_Q8,
    .run = mm_run_avx2,
};
