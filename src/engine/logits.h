/* SPDX-License-Identifier: MIT
 * logits.h - what is done to all of a vocabulary's logits at every token, many at a time.
 *
 * Does: the largest, by blocks, so that whole blocks can be skipped; exponentials and their sums.
 * Does not: depend on the instruction set: plain C in a form that compilers turn into vectors, so
 *           that the same logits give the same bits everywhere.  NaN counts as -infinity. */
#ifndef ENGINE_LOGITS_H
#define ENGINE_LOGITS_H

#include <stddef.h>

#define LOGITS_BLOCK 64

static inline size_t logits_n_blocks(size_t n)
{
    return n / LOGITS_BLOCK + (n % LOGITS_BLOCK != 0);
}

/* The largest of each block into most, [blocks], which may be NULL; gives the largest of all. */
float logits_max(const float *x, size_t n, float *most);
/* dst[i] = exp((x[i] - from) * by), no more than 1 when `from` is the largest and by > 0, and 0
 * below exp(-80); the sums of blocks into sum, [blocks]; gives the sum of all. */
double logits_exp(float *dst, const float *x, size_t n, float from, float by, double *sum);
/* log(sum(exp(x))). */
float logits_log_sum(const float *x, size_t n);

#endif
