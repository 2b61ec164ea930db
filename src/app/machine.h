/* SPDX-License-Identifier: MIT
 * machine.h - the limits of this machine, measured: what every speed is set beside. */
#ifndef APP_MACHINE_H
#define APP_MACHINE_H

#include "cpu/cpu.h"

#include <stddef.h>

enum machine_limit {
#define LIMIT(name, key, text, unit) MACHINE_##name,
#include "app/machine.def"
#undef LIMIT
    MACHINE_LIMIT_N
};

struct machine_rate {
    double one, all; /* 10^9 multiply-adds or bytes a second; 0: there is none */
};

struct machine {
    const char *cpu; /* its name */
    enum cpu_level level;
    int threads;
    struct machine_rate rate[MACHINE_LIMIT_N];
    size_t read_bytes; /* what the reads went over; 0: no memory for it */
};

/* Takes about three seconds and 512 MiB, or four times the last cache where that is more, and never
 * more than half of what is free.  The best of many moments (1 ms of products, 5 ms of reads): the
 * limit, not the mean.  Reads: the best of several loops over pages of 2 MiB, where the system
 * gives them. */
struct machine machine_measure(enum cpu_level level, int threads);

/* The read limit again and again, beside what else is measured: on a shared host it changes within
 * seconds.  Owner of as much memory as above and of threads that sleep in between.  NULL: there is
 * no memory for it; all take that, and give 0. */
struct machine_reads *machine_reads_open(enum cpu_level level, int threads);
size_t machine_reads_bytes(const struct machine_reads *r); /* that it takes */
/* 10^9 bytes a second that all threads read in these 15 ms. */
double machine_reads_now(struct machine_reads *r);
void machine_reads_close(struct machine_reads *r);

struct machine_limit_info {
    const char *key, *text, *unit;
};
const struct machine_limit_info *machine_limit_info(enum machine_limit l);

#endif
