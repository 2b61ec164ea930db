/* SPDX-License-Identifier: MIT
 * contract_int.h - what the levels of the contracts and mm_pack.c share.
 *
 * A packed matrix is panels of CONTRACT_ROWS rows, [contract_width(k)] int8_t or bfloat16 each,
 * zeros behind k; INT8: each panel's scales behind its rows, one float a row and zeros up to 64
 * bytes. */
#ifndef KERN_CONTRACT_INT_H
#define KERN_CONTRACT_INT_H

#include "kern/contract.h"
#include "kern/mm.h"

#define CONTRACT_SCALES_BYTES 64

static inline size_t contract_panel_bytes(enum kern_numerics n, size_t k)
{
    size_t rows = CONTRACT_ROWS * contract_width(k);
    return n == KERN_INT8 ? rows + CONTRACT_SCALES_BYTES : 2 * rows;
}

/* The parts of mm.h for kernels of a contract. */
size_t contract_packed_bytes(enum kern_numerics n, size_t k, size_t n_rows);
size_t contract_scratch_bytes(size_t k);
void contract_pack(enum kern_numerics n, enum format f, size_t k, size_t n_rows, const void *src,
                   void *dst, size_t from, size_t to);

/* round(x * by), half to even, for |x * by| <= 127; what is no number becomes 0. */
static inline int8_t contract_round(float x, float by)
{
    float r = x * by + 12582912.0f; /* 1.5 * 2^23: its last place is 1 */
    r -= 12582912.0f;
    return (int8_t)(r >= -127 && r <= 127 ? r : 0);
}

static inline uint16_t contract_bf16(float x)
{
    union {
        float f;
        uint32_t u;
    } v = {x};
    if ((v.u & 0x7fffffff) > 0x7f800000) /* no number: keeps being none */
        return (uint16_t)(v.u >> 16 | 64);
    return (uint16_t)((v.u + 0x7fff + (v.u >> 16 & 1)) >> 16);
}

#define CONTRACT_LEVEL(level)                                                                      \
    extern const struct mm_kernel contract_int8_##level, contract_bf16_##level;                    \
    void contract_init_##level(struct kern *k);
CONTRACT_LEVEL(c)
CONTRACT_LEVEL(avx2)
CONTRACT_LEVEL(avx512)
#undef CONTRACT_LEVEL

#endif
