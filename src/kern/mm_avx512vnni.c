/* SPDX-License-Identifier: MIT
 * mm_avx512vnni.c - matrix products for AVX-512 VNNI: vpdpbusd is the 4-byte dot product of
 * unsigned weights and signed activations, added to 32-bit lanes.  8-bit weights are stored plus
 * 128 to be unsigned; the zero point meets the activations' sum. */
#include "kern/lanes_avx512.inc"

#include <stdbool.h>

#define MM_LEVEL avx512vnni
#define MM_P     2
#ifndef MM_T /* the emulated check has smaller tiles: its compiler would take minutes */
#define MM_T   5
#define MM_FEW 8
#endif
#define MM_FT          8
#define MM_EXPAND_FROM 41
#define MM_BIASED8     true
#define DOT_RUN(bits)  8

typedef vi vn;

ALWAYS vn dot_start(vi wide)
{
    return wide;
}

ALWAYS vn dot_add(vn narrow, vi w, vi a, int bits)
{
    (void)bits;
    return _mm512_dpbusd_epi32(narrow, w, a);
}

ALWAYS vi dot_end(vi wide, vn narrow)
{
    (void)wide;
    return narrow;
}

#include "kern/mm.inc"

const struct mm_kernel mm_kernel_avx512vnni = {
    .level = CPU_avx512vnni,
    .panel_rows = V_LEN,
    .biased8 = MM_BIASED8,
    .act_int = MM_ACT_Q8,
    .run = mm_run_avx512vnni,
};
