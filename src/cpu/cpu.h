/* SPDX-License-Identifier: MIT
 * cpu.h - which instruction-set level this processor and its operating system offer.
 *
 * Does: asks CPUID and the operating system (XCR0) once; the setting `cpu` (DAMSO_CPU) caps it.
 * Does not: choose kernels (kern_init does).
 * Any thread may call. */
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include <stdbool.h>

enum cpu_level {
#define LEVEL(name, text) CPU_##name,
#include "cpu/cpu_level.def"
#undef LEVEL
    CPU_LEVEL_N
};

/* The highest level of this machine. */
enum cpu_level cpu_best(void);
/* True when kernels of `level` run here. */
bool cpu_has(enum cpu_level level);
/* The best level not above `cap`; a cap that is foreign to this machine family gives CPU_c. */
enum cpu_level cpu_capped(enum cpu_level cap);

const char *cpu_level_name(enum cpu_level level);
const char *cpu_level_text(enum cpu_level level);
/* -1 for an unknown name. */
int cpu_level_named(const char *name);

#endif
