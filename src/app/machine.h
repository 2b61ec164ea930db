/* SPDX-License-Identifier: MIT
 * machine.h - the limits of this machine, measured: what every speed is set beside. */
#ifndef APP_MACHINE_H
#define APP_MACHINE_H

#include "cpu/cpu.h"

struct machine {
    const char *cpu; /* its name */
    enum cpu_level level;
    int threads;
    double int8_gmacs_1, int8_gmacs; /* one thread, all threads */
    double f32_gmacs_1, f32_gmacs;
    double read_gbs_1, read_gbs; /* from memory, 10^9 bytes a second */
};

/* Takes about two seconds and 256 MiB.  The best of several short runs each: the limit, not the
 * mean. */
struct machine machine_measure(enum cpu_level level, int threads);

#endif
