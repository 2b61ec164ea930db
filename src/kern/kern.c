/* SPDX-License-Identifier: MIT */
#include "kern/kern.h"

void kern_init(struct kern *k, enum cpu_level level)
{
    kern_init_c(k);
    k->level = level;
#if defined(__x86_64__)
    if (level >= CPU_avx2 && level != CPU_neon)
        kern_init_avx2(k);
    if (level >= CPU_avx512 && level != CPU_neon)
        kern_init_avx512(k);
#elif defined(__aarch64__)
    if (level == CPU_neon)
        kern_init_neon(k);
#endif
}
