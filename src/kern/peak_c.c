/* SPDX-License-Identifier: MIT */
#include "kern/peak.h"

#define LANES 16

static uint64_t peak_int8_c(size_t loops)
{
    volatile int8_t w = 3, a = 5;
    int32_t sum[LANES] = {0};
    for (size_t n = 0; n < loops; n++)
        for (int i = 0; i < LANES; i++)
            sum[i] = (int32_t)((uint32_t)sum[i] + (uint32_t)(w * a));
    volatile int32_t sink = sum[0] ^ sum[LANES - 1];
    (void)sink;
    return (uint64_t)loops * LANES;
}

static uint64_t peak_f32_c(size_t loops)
{
    volatile float w = 0.5f, a = 0.25f;
    float sum[LANES] = {0};
    for (size_t n = 0; n < loops; n++)
        for (int i = 0; i < LANES; i++)
            sum[i] += w * a;
    volatile float sink = sum[0] + sum[LANES - 1];
    (void)sink;
    return (uint64_t)loops * LANES;
}

static float peak_read_c(const float *p, size_t n, size_t streams, size_t ahead)
{
    float sum[LANES] = {0}, all = 0;
    (void)streams; /* plain C is far below what memory gives */
    (void)ahead;
    for (size_t i = 0; i < n / sizeof *p; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            sum[k] += p[i + k];
    for (int k = 0; k < LANES; k++)
        all += sum[k];
    return all;
}

const struct peak peak_c = {peak_int8_c, peak_f32_c, peak_read_c};

const struct peak *peak_of(enum cpu_level level)
{
    switch (level) {
#if defined(__x86_64__)
    case CPU_avx512vnni: return &peak_avx512vnni;
    case CPU_avx512:
    case CPU_avx2: return &peak_avx2;
#endif
    default: return &peak_c;
    }
}

uint64_t (*peak_bf16(enum cpu_level level))(size_t loops)
{
#if defined(__x86_64__)
    if (level == CPU_avx512vnni && __builtin_cpu_supports("avx512bf16"))
        return peak_bf16_avx512;
#endif
    (void)level;
    return NULL;
}
