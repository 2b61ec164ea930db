/* SPDX-License-Identifier: MIT
 * mlperf_nvml.h - energy of NVIDIA cards by their driver's library, loaded when asked for.
 *
 * Does: millijoules that all cards have taken since the driver was loaded.
 * Does not: need the library to build or to run; tell the processor's share.
 * Source: NVIDIA's NVML API reference, nvmlDeviceGetTotalEnergyConsumption (Volta and later).
 * Tested with a library of our own (tests/nvml_fake.c): no card was at hand. */
#ifndef MLPERF_MLPERF_NVML_H
#define MLPERF_MLPERF_NVML_H

#include <stdbool.h>
#include <stdint.h>

struct mlperf_nvml;

/* file: "libnvidia-ml.so.1", or another path in tests.  NULL: it is not there, or no card tells. */
struct mlperf_nvml *mlperf_nvml_open(const char *file);
/* The sum over the cards; false where one does not tell any more. */
bool mlperf_nvml_energy(struct mlperf_nvml *x, uint64_t *millijoules);
void mlperf_nvml_close(struct mlperf_nvml *x);

#endif
