/* SPDX-License-Identifier: MIT
 * mlperf_shim_off.c - mlperf_shim.h of a build without LoadGen. */
#include "mlperf/mlperf_shim.h"

#include "base/err.h"

bool mlperf_shim_built(void)
{
    return false;
}

const char *mlperf_shim_version(void)
{
    return "";
}

/* Nobody comes here without having asked mlperf_shim_built. */
bool mlperf_shim_run(const struct mlperf_shim *s,
                     void (*ready)(void *, const struct mlperf_limits *), void *ready_arg)
{
    (void)s, (void)ready, (void)ready_arg;
    CHECK(!"LoadGen was built");
}

void mlperf_shim_first(uintptr_t id, const void *data, size_t bytes)
{
    (void)id, (void)data, (void)bytes;
    CHECK(!"LoadGen was built");
}

void mlperf_shim_complete(uintptr_t id, const void *data, size_t bytes, int64_t n_tokens)
{
    (void)id, (void)data, (void)bytes, (void)n_tokens;
    CHECK(!"LoadGen was built");
}

void mlperf_shim_abort(void)
{
}
