/* SPDX-License-Identifier: MIT
 * format_code.h - blocks of the formats whose weights are codes of format_codes.def, or ternary.
 *
 * Does: take a block of the file apart into scales and one code a weight, for the dequantisers and
 *       the packing alike.
 * Does not: know panels. */
#ifndef KERN_FORMAT_CODE_H
#define KERN_FORMAT_CODE_H

#include "kern/format.h"

#include <stdbool.h>

struct format_block {
    uint16_t d;        /* as the scales' kind says: f16 or bf16 bits */
    uint8_t scale[16]; /* KD: signed; E: an e5m3 */
    uint8_t code[256];
};

/* Takes the block at p apart. */
void format_decode(enum format f, const uint8_t *p, struct format_block *b);

/* The 6-bit scales of IQ4_XS: 8, of which 32 is taken off, from the block. */
void format_iq4_scales(const uint8_t *p, uint8_t scale[8]);
/* bf16 bits of 2^(e - 128), the scale of MXFP4 (doubled values). */
uint16_t format_e8m0_bf16(uint8_t e);
/* Half of an unsigned float of 5 bits of exponent and 3 of mantissa, without subnormal values: the
 * scale of NVFP4, which the file has with 4 bits of exponent. */
float format_e5m3(uint8_t x);

/* format_dequant of these formats. */
void format_dequant_coded(enum format f, float *dst, const void *src, size_t n);

/* clang-format off */
#define FORMAT_CODED(X)                                                                            \
    X(IQ2_XXS) X(IQ2_XS) X(IQ2_S) X(IQ3_XXS) X(IQ3_S) X(IQ1_S) X(IQ1_M) X(IQ4_NL) X(IQ4_XS)        \
    X(TQ1_0) X(TQ2_0) X(MXFP4) X(NVFP4) X(Q1_0) X(Q2_0)
/* clang-format on */

#endif
