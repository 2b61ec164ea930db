/* SPDX-License-Identifier: MIT
 * mm.h - matrix products dst[token][row] = sum over k of weight[row][k] * x[token][k].
 *
 * Does: describe, for each instruction-set level and format, how weights lie in memory (a panel of
 *       rows, see mm_pack.c), which activations they meet, and the function that multiplies.
 *       A descriptor decides packing, activations and code together; the C one is the reference
 *       and reads rows as the file has them.
 * Does not: allocate, start threads or divide work: the caller gives ranges of rows.
 * Promise: a result's bits depend on the level, the format, the row and the token's activations
 *          alone, not on the other tokens, the range or the number of threads. */
#ifndef KERN_MM_H
#define KERN_MM_H

#include "base/num.h"
#include "cpu/cpu.h"
#include "kern/contract.h"
#include "kern/format.h"
#include "kern/kern.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MM_CHUNK 512 /* columns; a multiple of every format's block */

/* Activations as 8-bit integers: x[k] = d[k / 32] * q[k], |q| <= 127, and their sums, which meet
 * the formats' minima (as floats) and zero points (negative, as whole numbers).  A chunk of the
 * columns of all rows lies together, so that a pass over it stays in the caches: see mm_act_at. */
struct mm_act {
    int8_t *q;
    float *d;       /* of 32 columns */
    float *sum;     /* of 32 columns: d * sum of q */
    int32_t *neg32; /* of 32 columns: -sum of q */
    int32_t *neg16; /* of 16 columns */
    size_t rows;    /* of a chunk */
};

/* Where a row's column is in q; the others are at 1/32 and 1/16 of that. */
static inline size_t mm_act_at(const struct mm_act *a, size_t row, size_t col)
{
    return (col / MM_CHUNK * a->rows + row) * MM_CHUNK + col % MM_CHUNK;
}

/* Columns of q to allocate for k of them. */
static inline size_t mm_act_width(size_t k)
{
    return num_align(k, MM_CHUNK);
}

/* Columns [col, col + n) of a row; both whole blocks of 32. */
static inline void mm_quantize(const struct kern *kern, const struct mm_act *a, size_t row,
                               size_t col, const float *x, size_t n)
{
    for (size_t len; n > 0; col += len, x += len, n -= len) {
        size_t at = mm_act_at(a, row, col);
        len = MIN(MM_CHUNK - col % MM_CHUNK, n);
        kern->quantize(a->q + at, a->d + at / 32, a->sum + at / 32, a->neg32 + at / 32,
                       a->neg16 + at / 16, x, len);
    }
}

struct mm_job {
    const void *weights; /* packed by mm_pack, or the file's rows where the kernel does not pack */
    enum format format;
    size_t k;      /* columns of the weights; a multiple of the format's block */
    size_t n_rows; /* of the weights */
    size_t n_tokens;
    const float *x; /* [n_tokens][k], stride x_stride: for MM_ACT_F32 */
    size_t x_stride;
    struct mm_act act; /* for MM_ACT_Q8: n_tokens * n_terms rows */
    size_t n_terms;    /* 8-bit terms that make up a token's activations: their products are
                        * added.  A second one holds what the first one's rounding left. */
    float *dst;        /* [n_tokens][n_rows], stride dst_stride */
    size_t dst_stride;
    bool add;          /* dst += instead of dst = */
    const float *bias; /* [n_rows] or NULL */
};

enum mm_act_kind { MM_ACT_F32, MM_ACT_Q8 };

struct mm_kernel {
    enum cpu_level level;
    int panel_rows; /* rows of a panel; 1: rows as the file has them, nothing is packed */
    enum kern_numerics numerics; /* of a contract: packing is contract.c's */
    bool biased8;                /* packed 8-bit weights are stored plus 128 */
    enum mm_act_kind act_int; /* activations of integer formats; those of floats are MM_ACT_F32 */
    /* Rows [from, to) of every token; from is a multiple of panel_rows, and so is to unless it is
     * n_rows.  scratch: mm_scratch_bytes, aligned to 64, of the calling thread. */
    void (*run)(const struct mm_job *job, size_t from, size_t to, void *scratch);
};

/* The kernel of a level (CPU_c .. the capped level of the machine). */
const struct mm_kernel *mm_kernel(enum cpu_level level);

enum mm_act_kind mm_act_kind(const struct mm_kernel *kn, enum format f);
/* Bytes of the packed weights; 0 where they are read as the file has them.  SIZE_MAX: too large. */
size_t mm_packed_bytes(const struct mm_kernel *kn, enum format f, size_t k, size_t n_rows);
/* Packs rows [from, to) of src (the file's rows) into dst, both whole matrices; the range obeys
 * the rule of run. */
void mm_pack(const struct mm_kernel *kn, enum format f, size_t k, size_t n_rows, const void *src,
             void *dst, size_t from, size_t to);
/* A row of a packed matrix as floats, dst[k]: the bits that format_dequant gives. */
void mm_unpack_row(const struct mm_kernel *kn, enum format f, size_t k, const void *packed,
                   size_t row, float *dst);
/* Scratch of one thread for jobs of up to n_tokens (times terms) and k columns. */
size_t mm_scratch_bytes(const struct mm_kernel *kn, size_t k, size_t n_tokens);

extern const struct mm_kernel mm_kernel_c, mm_kernel_avx2, mm_kernel_avx512vnni, mm_kernel_neon;

#endif
