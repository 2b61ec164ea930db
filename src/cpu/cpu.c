/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"

#include "base/err.h"

#include <string.h>

static const struct {
    const char *name;
    const char *text;
} cpu_levels[CPU_LEVEL_N] = {
#define LEVEL(name, text) {#name, text},
#include "cpu/cpu_level.def"
#undef LEVEL
};

#if defined(__x86_64__)
#include <cpuid.h>

#define CPU_BIT(reg, bit) ((reg) >> (bit)&1u)

/* XCR0: bits 1 and 2 are XMM and YMM state, 5 to 7 the AVX-512 state (Intel SDM vol. 1, 13.3). */
static unsigned cpu_xcr0(void)
{
    unsigned lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return lo;
}

enum cpu_level cpu_best(void)
{
    unsigned a, b, c, d, c1;
    if (!__get_cpuid(1, &a, &b, &c1, &d) || !CPU_BIT(c1, 27)) /* OSXSAVE */
        return CPU_c;
    unsigned xcr0 = cpu_xcr0();
    bool fma = CPU_BIT(c1, 12), f16c = CPU_BIT(c1, 29), avx = CPU_BIT(c1, 28);
    if ((xcr0 & 0x6) != 0x6 || !fma || !f16c || !avx)
        return CPU_c;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !CPU_BIT(b, 5) || !CPU_BIT(b, 8))
        return CPU_c; /* AVX2, BMI2 */
    bool f = CPU_BIT(b, 16), dq = CPU_BIT(b, 17), bw = CPU_BIT(b, 30), vl = CPU_BIT(b, 31);
    if ((xcr0 & 0xe0) != 0xe0 || !f || !dq || !bw || !vl)
        return CPU_avx2;
    return CPU_BIT(c, 11) ? CPU_avx512vnni : CPU_avx512;
}
#elif defined(__aarch64__)
enum cpu_level cpu_best(void)
{
    return CPU_neon; /* Advanced SIMD belongs to the base of AArch64 */
}
#else
enum cpu_level cpu_best(void)
{
    return CPU_c;
}
#endif

bool cpu_has(enum cpu_level level)
{
    return level == CPU_c || cpu_capped(level) == level;
}

enum cpu_level cpu_capped(enum cpu_level cap)
{
    enum cpu_level best = cpu_best();
    CHECK((unsigned)cap < CPU_LEVEL_N);
    if ((cap == CPU_neon) != (best == CPU_neon))
        return CPU_c;
    return cap < best ? cap : best;
}

const char *cpu_level_name(enum cpu_level level)
{
    CHECK((unsigned)level < CPU_LEVEL_N);
    return cpu_levels[level].name;
}

const char *cpu_level_text(enum cpu_level level)
{
    CHECK((unsigned)level < CPU_LEVEL_N);
    return cpu_levels[level].text;
}

int cpu_level_named(const char *name)
{
    for (int i = 0; i < CPU_LEVEL_N; i++)
        if (strcmp(cpu_levels[i].name, name) == 0)
            return i;
    return -1;
}
