/* SPDX-License-Identifier: MIT
 * quant.h - from floats to blocks of a tensor format.
 *
 * Does: choose scales, minima and codes that keep the weighted square of the error small.
 *         x ~ d q or d q + m:  sum over i of weight[i] (x[i] - value[i])^2
 *       Candidates for a scale are tried, each with the least-squares solution for its codes; the
 *       formats with a super-block also search the whole numbers that their scales are kept as, and
 *       solve for the super-block's scales again.
 * Does not: know models or files (quant_file.h).
 * Threads: any; no state.
 * Layouts are those of kern/format.def. */
#ifndef QUANT_QUANT_H
#define QUANT_QUANT_H

#include "kern/format.h"

#include <stdbool.h>
#include <stddef.h>

/* Whether quant_row can write the format: F32, F16, BF16 and those of quant_type.def. */
bool quant_can(enum format f);

/* dst: format_bytes(f, n); n a multiple of the format's block.  importance[n]: of the columns (mean
 * squares of what they are multiplied by), or NULL.  NaN and infinity count as 0. */
void quant_row(enum format f, const float *x, const float *importance, size_t n, void *dst);

#endif
