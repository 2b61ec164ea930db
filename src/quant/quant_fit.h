/* SPDX-License-Identifier: MIT
 * quant_fit.h - the searches for scales of up to 32 numbers; all errors are weighted. */
#ifndef QUANT_QUANT_FIT_H
#define QUANT_QUANT_FIT_H

#include <stdint.h>

/* What a code can stand for: all whole numbers from lo to hi, or of these the nearest that near
 * has (of -128 .. 127, from 0 on). */
struct quant_grid {
    int lo, hi;
    const int8_t *near;
};

/* The value, as a whole number, that x / d is nearest to. */
int quant_value(const struct quant_grid *g, float x, float by);

/* x ~ d v with values v of the grid: gives d. */
float quant_fit_scale(const struct quant_grid *g, const float *x, const float *w, int n);
/* x ~ d q + m with q from 0 to hi; m at most 0 where it has to be. */
void quant_fit_range(const float *x, const float *w, int n, int hi, int negative, float *d,
                     float *m);
/* The weighted square error of x ~ d v + m with the best v. */
float quant_error(const struct quant_grid *g, const float *x, const float *w, int n, float d,
                  float m);

#endif
