/* SPDX-License-Identifier: MIT
 * mlperf_power.h - energy, where this machine tells: RAPL through powercap, else a battery that
 * discharges, else nothing; NVIDIA's cards where they are asked for.
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
#define MLPERF_NVML      "libnvidia-ml.so.1"

struct mlperf_nvml;

enum mlperf_meter {
    MLPERF_METER_AUTO, /* RAPL, or a battery */
    MLPERF_METER_NVML, /* cards alone: damso computes on none yet, so nobody's work may be in it */
    MLPERF_METER_OFF
};

struct mlperf_power {
    const char *source; /* "RAPL packages", "battery"; NULL: not measured */
    int n_zones;
    struct {
        char file[96];
        uint64_t last, range; /* microjoules */
    } zone[MLPERF_ZONES_MAX];
    struct mlperf_nvml *nvml;
    uint64_t nvml_last; /* millijoules */
    double joules;
};

/* root: "/sys", or a folder of the same shape in tests; nvml: MLPERF_NVML, or a file in tests. */
void mlperf_power_begin(struct mlperf_power *p, enum mlperf_meter meter, const char *root,
                        const char *nvml);
void mlperf_power_end(struct mlperf_power *p);
/* Adds what was used since the last call. */
void mlperf_power_sample(struct mlperf_power *p);

#endif
