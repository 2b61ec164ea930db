/* SPDX-License-Identifier: MIT
 * mm_neon.c - matrix products for the base of AArch64, without its dot product extension.
 *
 * Weights of up to 6 bits are signed bytes that are not negative, those of 8 bits are signed, so
 * smlal and smlal2 add byte products to 16-bit sums: eight of 5 bits (8 * 31 * 127 = 31496), four
 * of 6 bits, two of 8 bits fit before sadalp must widen them. */
#include "kern/lanes_neon.inc"

#include <stdbool.h>

#define MM_LEVEL       neon
#define MM_P           2
#define MM_T           4
#define MM_FT          6
#define MM_FEW         3
#define MM_EXPAND_FROM 4
#define MM_BIASED8     false
#define DOT_RUN(bits)  ((bits) <= 5 ? 8 : (bits) == 6 ? 4 : 2)

/* Products of the bytes of lanes 0 and 1, and of 2 and 3. */
typedef struct {
    int16x8_t lo, hi;
} vn;

ALWAYS vn dot_start(vi wide)
{
    (void)wide;
    return (vn){vdupq_n_s16(0), vdupq_n_s16(0)};
}

ALWAYS vn dot_add(vn narrow, vi w, vi a, int bits)
{
    int8x16_t wb = vreinterpretq_s8_s32(w), ab = vreinterpretq_s8_s32(a);
    (void)bits;
    narrow.lo = vmlal_s8(narrow.lo, vget_low_s8(wb), vget_low_s8(ab));
    narrow.hi = vmlal_high_s8(narrow.hi, wb, ab);
    return narrow;
}

ALWAYS vi dot_end(vi wide, vn narrow)
{
    return vaddq_s32(wide, vpaddq_s32(vpaddlq_s16(narrow.lo), vpaddlq_s16(narrow.hi)));
}

#include "kern/mm.inc"

const struct mm_kernel mm_kernel_neon = {
    .level = CPU_neon,
    .panel_rows = V_LEN,
    .biased8 = MM_BIASED8,
    .act_int = MM_ACT_Q8,
    .run = mm_run_neon,
};
