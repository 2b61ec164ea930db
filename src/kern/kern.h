/* SPDX-License-Identifier: MIT
 * kern.h - the vector kernels: a table of functions for one instruction-set level.
 *
 * Does: numbers in, numbers out.  Does not: allocate, keep state, start threads.
 * kern.def lists them; the arguments mean:
 *   rmsnorm    dst[n] = src[n] / sqrt(mean(src^2) + eps) * gain[n]; dst may be src
 *   add        dst[n] += src[n]
 *   scale      dst[n] *= by
 *   silu_mul   dst[n] = gate / (1 + exp(-gate)) * up; dst may be gate or up
 *   gelu_mul   dst[n] = gelu(gate) * up, the tanh form (Hendrycks and Gimpel 2016, eq. 2)
 *   softcap    x[n] = cap * tanh(x / cap)
 *   rope_half  turns the pairs (x[i], x[i + n/2]) by the angles whose cosines are cos_sin[i] and
 *              sines cos_sin[n/2 + i], i < n/2 (the NeoX order)
 *   rope_pair  the same for the pairs (x[2i], x[2i + 1])
 *   quantize   x[n] as 8-bit integers with a scale for each 32, see struct mm_act; n % 32 == 0
 *   to_half    dst[n] = src[n] as binary16
 *   attend     softmax(q K^T) V over pages, see struct kern_attend */
#ifndef KERN_KERN_H
#define KERN_KERN_H

#include "cpu/cpu.h"

#include <stddef.h>
#include <stdint.h>

#define KERN_PAGE 64 /* positions of a page of keys and values */

/* Some queries that look at the same keys and values: heads of a group, tokens of a sequence.
 * Each query's result depends on itself and its range alone, to the bit. */
struct kern_attend {
    size_t n_q;
    size_t k_dim, v_dim;
    const float *const *q;    /* [n_q] -> [k_dim] */
    float *const *out;        /* [n_q] -> [v_dim] */
    const int32_t *from, *to; /* [n_q]: the visible positions are from <= p < to */
    size_t n_pages;
    const uint16_t *const *k; /* [n_pages] -> binary16 [k_dim][KERN_PAGE]; NULL: not looked at */
    const uint16_t *const *v; /* [n_pages] -> binary16 [KERN_PAGE][v_dim] */
    float scale;              /* of q.k */
    float softcap;            /* cap of the scaled scores; 0: none */
    float *scratch;           /* kern_attend_scratch floats */
};

static inline size_t kern_attend_scratch(size_t n_q, size_t k_dim, size_t v_dim)
{
    return (k_dim + v_dim) * KERN_PAGE + 2 * KERN_PAGE + 2 * n_q;
}

struct kern {
    enum cpu_level level;
#define KERN(name, args) void(*name) args;
#include "kern/kern.def"
#undef KERN
};

/* Fills the table for a level that this machine has (cpu_capped). */
void kern_init(struct kern *k, enum cpu_level level);

/* Each level's own part, called by kern_init only. */
void kern_init_c(struct kern *k);
void kern_init_avx2(struct kern *k);
void kern_init_avx512(struct kern *k);
void kern_init_neon(struct kern *k);

#endif
