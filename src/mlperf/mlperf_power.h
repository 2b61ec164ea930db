/* SPDX-License-Identifier: MIT
 * mlperf_power.h - energy, where this machine tells: RAPL through powercap, else a battery that
 * discharges, else nothing.
 *
 * Does: joules between two readings, and the name of what was read.
 * Does not: guess.  What cannot be read is "not measured".
 * Source: kernel.org, Documentation/power/powercap and ABI/testing/sysfs-class-power.
 * A counter of RAPL wraps at max_energy_range_uj, within minutes: mlperf_power_sample at least each
 * ten seconds. */
#ifndef MLPERF_MLPERF_POWER_H
#define MLPERF_MLPERF_POWER_H

#include <stdbool.h>
#include <stdint.h>

#define MLPERF_ZONES_MAX 16

struct mlperf_power {
    const char *source; /* "RAPL packages", "battery"; NULL: not measured */
    int n_zones;
    struct {
        char file[96];
        uint64_t last, range; /* microjoules */
    } zone[MLPERF_ZONES_MAX];
    double joules;
};

/* root: "/sys", or a folder of the same shape in tests. */
void mlperf_power_begin(struct mlperf_power *p, const char *root);
/* Adds what was used since the last call. */
void mlperf_power_sample(struct mlperf_power *p);

#endif
