/* SPDX-License-Identifier: MIT
 * mm_layout.h - how a panel lies in memory; shared by the packer and the kernels.
 *
 * A panel holds R rows side by side: R is the number of 32-bit lanes of the level's vectors, and
 * lane r belongs to row r all the way from the load to the store.  Along k the panel is a
 * sequence of units, one block of the format each (32 or 256 elements):
 *
 *   unit = scales, then for every 32 elements the planes of the quantised values
 *   scales  D    d f16[R]
 *           DM   d f16[R], m f16[R]
 *           KD   d f16[R], scale i8[subs][R]
 *           KDM  d f16[R], dmin f16[R], scale u8[subs][R], min u8[subs][R]
 *           KN   d f16[R], dmin f16[R], (scale | min << 4) u8[subs][R]
 *           B    d bf16[R]
 *           E    scale u8[subs][R], floats of 5 and 3 bits (format_e5m3)
 *   planes  a vector is R times 4 bytes.  Group g (0..7) is elements 4g .. 4g+3, byte i of lane r
 *           being element 4g+i of row r: what a 4-byte dot product of lane r reads.
 *           8 bits  8 vectors: group g
 *           4 bits  4 vectors: vector j has group j in the low and group j + 4 in the high nibbles
 *           2 bits  2 vectors: vector j has groups 4j .. 4j+3 in bits 0, 2, 4, 6 of each byte
 *           1 bit   1 vector: group g in bit g of each byte
 *           The codes of format_codes.def lie in planes like numbers, and become their values (plus
 * a zero) by a look-up of 16 entries where they are used. A 5-bit weight is a 4-bit plane and a
 * 1-bit plane, 6 = 4 + 2, 3 = 2 + 1. floats  F32, F16, BF16: element k of the R rows side by side,
 * in the file's own type. */
#ifndef KERN_MM_LAYOUT_H
#define KERN_MM_LAYOUT_H

#include "kern/format.h"

#include <stdbool.h>
#include <stddef.h>

/* What the kernels keep in their scratch: two expanded panels of a chunk of k, and the sums of some
 * rows for all tokens (mm.inc). */
#define MM_TILE_BYTES  ((size_t)128 * 1024)
#define MM_RANGE_ROWS  128
#define MM_FLOAT_BYTES ((size_t)192 * 1024) /* the same for floats: activations and sums */

/* Whether there is a second f16 a row; whether there is a byte a sub-block. */
static inline bool mm_scales_two(enum format_scales scales)
{
    return scales == FORMAT_SCALES_DM || scales == FORMAT_SCALES_KDM || scales == FORMAT_SCALES_KN;
}

static inline bool mm_scales_subs(enum format_scales scales)
{
    return scales == FORMAT_SCALES_KD || scales == FORMAT_SCALES_KDM ||
           scales == FORMAT_SCALES_KN || scales == FORMAT_SCALES_E;
}

static inline size_t mm_scales_bytes(enum format_scales scales, size_t subs, size_t rows)
{
    switch (scales) {
    case FORMAT_SCALES_D:
    case FORMAT_SCALES_B: return 2 * rows;
    case FORMAT_SCALES_E: return subs * rows;
    case FORMAT_SCALES_DM: return 4 * rows;
    case FORMAT_SCALES_KD: return (2 + subs) * rows;
    case FORMAT_SCALES_KDM: return (4 + 2 * subs) * rows;
    case FORMAT_SCALES_KN: return (4 + subs) * rows;
    default: return 0;
    }
}

/* Bytes of one unit of a panel of `rows` rows. */
static inline size_t mm_unit_bytes(const struct format_info *f, size_t rows)
{
    if (f->scales == FORMAT_SCALES_F)
        return f->block_bytes * rows;
    return mm_scales_bytes(f->scales, f->block_elems / f->sub_elems, rows) +
           f->block_elems * f->bits / 8 * rows;
}

static inline size_t mm_panel_bytes(const struct format_info *f, size_t k, size_t rows)
{
    return k / f->block_elems * mm_unit_bytes(f, rows);
}

#endif
