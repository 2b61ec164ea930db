/* SPDX-License-Identifier: MIT
 * peak.h - loops that do nothing but what the kernels' inner loops do: the machine's own limits.
 *
 * Each runs on the calling thread.  int8 and f32 return how many multiply-adds they did; the 8-bit
 * ones are the level's dot-product instruction with what it needs to add up (for AVX2 vpmaddubsw
 * and a 16-bit addition, the cheapest that its products use). */
#ifndef KERN_PEAK_H
#define KERN_PEAK_H

#include "cpu/cpu.h"

#include <stddef.h>
#include <stdint.h>

struct peak {
    uint64_t (*int8)(size_t loops);
    uint64_t (*f32)(size_t loops);
    /* Reads n bytes (a multiple of 4096) and gives a sum of them that depends on all. */
    float (*read)(const float *p, size_t n);
};

/* The loops of the best level not above `level` that has some. */
const struct peak *peak_of(enum cpu_level level);

extern const struct peak peak_c, peak_avx2, peak_avx512vnni;

#endif
