/* SPDX-License-Identifier: MIT
 * peak.h - loops that do nothing but what the kernels' inner loops do: the machine's own limits.
 *
 * Each runs on the calling thread.  int8, f32 and bf16 return how many multiply-adds they did; the
 * 8-bit ones are the level's dot-product instruction with what it needs to add up (for AVX2
 * vpmaddubsw and a 16-bit addition, the cheapest that its products use). */
#ifndef KERN_PEAK_H
#define KERN_PEAK_H

#include "cpu/cpu.h"

#include <stddef.h>
#include <stdint.h>

struct peak {
    uint64_t (*int8)(size_t loops);
    uint64_t (*f32)(size_t loops);
    /* Reads n bytes, a multiple of PEAK_READ, and gives a sum of them that depends on all: in
     * `streams` equal parts side by side (1, 2 or 4), each asked for `ahead` bytes before it is
     * needed (0: left to the processor). */
    float (*read)(const float *p, size_t n, size_t streams, size_t ahead);
};

#define PEAK_READ ((size_t)4096)

/* The loops of the best level not above `level` that has some. */
const struct peak *peak_of(enum cpu_level level);
/* The loop of vdpbf16ps, the dot product of bfloat16 pairs; NULL where the level or the processor
 * has none. */
uint64_t (*peak_bf16(enum cpu_level level))(size_t loops);
/* Only where the processor has AVX-512 BF16. */
uint64_t peak_bf16_avx512(size_t loops);

extern const struct peak peak_c, peak_avx2, peak_avx512vnni;

#endif
