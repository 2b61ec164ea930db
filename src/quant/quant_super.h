/* SPDX-License-Identifier: MIT
 * quant_super.h - super-blocks of 256: scales of sub-blocks as small whole numbers. */
#ifndef QUANT_QUANT_SUPER_H
#define QUANT_QUANT_SUPER_H

#include "quant/quant_fit.h"

#define QUANT_SUPER 256

struct quant_super {
    struct quant_grid grid;    /* of a code */
    int sub;                   /* elements a sub-block: 16 or 32 */
    int scale_lo, scale_hi;    /* of a sub-block's scale; its minimum's from 0 to scale_hi */
    int has_min;               /* x ~ d scale v - dmin min */
    uint16_t d, dmin;          /* found: f16 bits */
    int scale[16], min[16];    /* found */
    int8_t value[QUANT_SUPER]; /* found */
};

void quant_super_fit(struct quant_super *s, const float *x, const float *w);

#endif
