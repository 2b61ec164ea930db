/* SPDX-License-Identifier: MIT
 * kv_q4.h - 4-bit keys and values: how a page holds them, for every level's kernels.
 *
 * Few of a key's dimensions are far larger than the others, and a step of theirs would be more than
 * the others are. So blocks of 32 are turned before they are coded, by the Hadamard matrix of that
 * size over its root (Ashkboos et al. 2024, QuaRot), which spreads them: its own inverse, and
 * products stay as they are when queries are turned as well. What is mixed of values is turned back
 * in the end. A last block of fewer numbers stays unturned.
 *
 * A block is 32 numbers of a position: a scale d in binary16, the number of the largest size over
 * -8, and codes from 0 to 15; a number is (code - 8) * d, rounded to binary16, which it is kept as
 * where it is used (attend.inc).  The scales of 8-bit keys divide a range in 254 steps, these
 * in 15. keys    [k_dim / 2, rounded up][KERN_PAGE] bytes: dimensions 2i (the low half) and 2i + 1
 * of a position, so that no two positions, which threads may write at once, share a byte;
 *           [blocks][KERN_PAGE] scales
 *   values  [KERN_PAGE][blocks][16] bytes: dimensions i (the low half) and i + 16 of a block;
 *           [KERN_PAGE][blocks] scales
 * Threads: any; no state. */
#ifndef KERN_KV_Q4_H
#define KERN_KV_Q4_H

#include "kern/format.h"
#include "kern/kern.h"

#include <math.h>
#include <string.h>

#define KV_Q4_BLOCK 32

static inline size_t kv_q4_blocks(size_t dim)
{
    return (dim + KV_Q4_BLOCK - 1) / KV_Q4_BLOCK;
}

static inline const uint16_t *kv_q4_key_scales(const void *page, size_t dim)
{
    return (const uint16_t *)((const char *)page + (dim + 1) / 2 * KERN_PAGE);
}

static inline const uint16_t *kv_q4_value_scales(const void *page, size_t dim)
{
    return (const uint16_t *)((const char *)page + kv_q4_blocks(dim) * 16 * KERN_PAGE);
}

static inline float kv_q4_number(int code, uint16_t scale)
{
    return half_to_float(half_from_float((float)(code - 8) * half_to_float(scale)));
}

/* Dimension i of position t. */
static inline float kv_q4_key(const void *page, size_t dim, size_t t, size_t i)
{
    int both = ((const uint8_t *)page)[i / 2 * KERN_PAGE + t];
    return kv_q4_number(both >> 4 * (i % 2) & 15,
                        kv_q4_key_scales(page, dim)[i / KV_Q4_BLOCK * KERN_PAGE + t]);
}

static inline float kv_q4_value(const void *page, size_t dim, size_t t, size_t i)
{
    size_t blocks = kv_q4_blocks(dim), block = i / KV_Q4_BLOCK, at = i % KV_Q4_BLOCK;
    int both = ((const uint8_t *)page)[(t * blocks + block) * 16 + at % 16];
    return kv_q4_number(both >> 4 * (at / 16) & 15,
                        kv_q4_value_scales(page, dim)[t * blocks + block]);
}

/* Turns whole blocks of n numbers, or turns them back. */
static inline void kv_q4_turn(float *x, size_t n)
{
    for (; n >= KV_Q4_BLOCK; n -= KV_Q4_BLOCK, x += KV_Q4_BLOCK) {
        for (size_t half = 1; half < KV_Q4_BLOCK; half *= 2)
            for (size_t i = 0; i < KV_Q4_BLOCK; i += 2 * half)
                for (size_t k = i; k < i + half; k++) {
                    float a = x[k], b = x[k + half];
                    x[k] = a + b;
                    x[k + half] = a - b;
                }
        for (size_t i = 0; i < KV_Q4_BLOCK; i++)
            x[i] *= 0.17677669529663687f; /* 1 / sqrt(32) */
    }
}

/* A copy of n numbers, turned. */
static inline const float *kv_q4_turned(float *to, const float *x, size_t n)
{
    memcpy(to, x, n * sizeof *to);
    kv_q4_turn(to, n);
    return to;
}

/* Codes of n numbers, at most a block; those beside them are of zeros. */
static inline uint16_t kv_q4_codes(const float *from, size_t n, uint8_t code[KV_Q4_BLOCK])
{
    float most = 0, x[KV_Q4_BLOCK] = {0};
    kv_q4_turned(x, from, n);
    for (size_t i = 0; i < n; i++)
        most = fabsf(x[i]) > fabsf(most) ? x[i] : most;
    most = most > 65504 ? 65504 : most < -65504 ? -65504 : most;
    uint16_t scale = half_from_float(most / -8);
    float d = half_to_float(scale), by = d != 0 ? 1 / d : 0;
    for (size_t i = 0; i < KV_Q4_BLOCK; i++) {
        float y = i < n ? rintf(x[i] * by) + 8 : 8;
        code[i] = (uint8_t)(y > 0 ? (y < 15 ? y : 15) : 0);
    }
    return scale;
}

/* put_k and put_v of this format. */
static inline void kv_q4_put_k(const struct kern_put *p)
{
    uint16_t *scale = (uint16_t *)((char *)p->page + (p->dim + 1) / 2 * KERN_PAGE);
    uint8_t code[KV_Q4_BLOCK], *to = p->page;
    for (size_t s = 0; s < p->n; s++)
        for (size_t d = 0; d < p->dim; d += KV_Q4_BLOCK) {
            size_t n = p->dim - d < KV_Q4_BLOCK ? p->dim - d : KV_Q4_BLOCK, t = p->slot + s;
            scale[d / KV_Q4_BLOCK * KERN_PAGE + t] = kv_q4_codes(p->x + s * p->stride + d, n, code);
            for (size_t i = 0; i < n; i += 2)
                to[(d + i) / 2 * KERN_PAGE + t] = (uint8_t)(code[i] | code[i + 1] << 4);
        }
}

static inline void kv_q4_put_v(const struct kern_put *p)
{
    size_t blocks = kv_q4_blocks(p->dim);
    uint16_t *scale = (uint16_t *)((char *)p->page + blocks * 16 * KERN_PAGE);
    uint8_t code[KV_Q4_BLOCK], *to = p->page;
    for (size_t s = 0; s < p->n; s++)
        for (size_t b = 0; b < blocks; b++) {
            size_t d = b * KV_Q4_BLOCK, at = (p->slot + s) * blocks + b;
            size_t n = p->dim - d < KV_Q4_BLOCK ? p->dim - d : KV_Q4_BLOCK;
            scale[at] = kv_q4_codes(p->x + s * p->stride + d, n, code);
            for (size_t i = 0; i < 16; i++)
                to[at * 16 + i] = (uint8_t)(code[i] | code[i + 16] << 4);
        }
}

#endif
