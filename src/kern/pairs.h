/* SPDX-License-Identifier: MIT
 * pairs.h - attention and matrix products in bfloat16, for processors that multiply pairs of them
 * (AVX512_BF16: twice as many multiply-adds as of floats).
 *
 * Does: take the place of a level's put_k, put_v and attend, and multiply by matrices; what is
 *       multiplied is rounded to 8 bits of mantissa, sums are floats.  For what is read once, as
 *       pictures are: a page's layout is another one, which nothing else reads.
 * Does not: attend_parts, attend_join, caps, sinks or slopes of scores; keys of an odd size.
 * Promise: as kern.h has it: a query's result depends on itself and its range alone, to the bit.
 *
 * A page of a head's keys: [k_dim / 2][KERN_PAGE] pairs of dimensions; of its values:
 * [KERN_PAGE / 2][kern_v_row] pairs of positions: as many bytes as binary16.  A matrix: panels of
 * PAIRS_ROWS rows, [k / 2][PAIRS_ROWS] pairs of columns; rows behind the last are 0. */
#ifndef KERN_PAIRS_H
#define KERN_PAIRS_H

#include "kern/kern.h"
#include "kern/mm.h"

#include <stdbool.h>

/* Whether the level's processor can, for keys of k_dim. */
bool pairs_can(enum cpu_level level, size_t k_dim);
void pairs_use(struct kern *k); /* where it can */
/* Floats of `scratch`; n_q: of the largest call. */
size_t pairs_scratch(size_t n_q, size_t k_dim, size_t v_dim);

#define PAIRS_ROWS 64

/* Bytes of a packed matrix; SIZE_MAX: too large.  k is even. */
size_t pairs_mm_bytes(size_t k, size_t n_rows);
/* Rows [from, to) of src, the file's of a format of floats, into dst; both whole matrices; `from`
 * is a multiple of PAIRS_ROWS, and so is `to` unless it is n_rows.  row: [k], scratch. */
void pairs_mm_pack(enum format f, size_t k, const void *src, void *dst, size_t from, size_t to,
                   float *row);
/* n numbers, an even number of them, as pairs. */
void pairs_row(uint32_t *to, const float *x, size_t n);
/* As mm_kernel.run does, of tokens that are pairs: x[n_tokens][k / 2], not job->x; ranges as above.
 */
void pairs_mm(const struct mm_job *job, const uint32_t *x, size_t from, size_t to);

/* The level's own part, called by the above only. */
void pairs_use_avx512bf16(struct kern *k);
void pairs_row_avx512bf16(uint32_t *to, const float *x, size_t n);
void pairs_mm_avx512bf16(const struct mm_job *job, const uint32_t *x, size_t from, size_t to);

#endif
