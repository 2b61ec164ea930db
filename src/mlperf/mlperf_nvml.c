/* SPDX-License-Identifier: MIT */
#include "mlperf/mlperf_nvml.h"

#include "base/arena.h"

#include <dlfcn.h>
#include <string.h>

#define CARDS_MAX 64

struct mlperf_nvml {
    void *lib;
    int (*energy)(void *card, unsigned long long *millijoules);
    int (*end)(void);
    void *card[CARDS_MAX];
    unsigned n;
};

/* A function by name: dlsym gives an object's address, which POSIX has fit a function's. */
static bool find(void *lib, const char *name, void *fn)
{
    void *at = dlsym(lib, name);
    memcpy(fn, &at, sizeof at);
    return at != NULL;
}

/* Keeps the cards that tell; the older ones have no counter. */
static bool begin(struct mlperf_nvml *x)
{
    int (*init)(void), (*count)(unsigned *), (*card)(unsigned, void **);
    unsigned n = 0;
    unsigned long long mj;
    if (!find(x->lib, "nvmlInit_v2", &init) || !find(x->lib, "nvmlShutdown", &x->end) ||
        !find(x->lib, "nvmlDeviceGetCount_v2", &count) ||
        !find(x->lib, "nvmlDeviceGetHandleByIndex_v2", &card) ||
        !find(x->lib, "nvmlDeviceGetTotalEnergyConsumption", &x->energy) || init() != 0)
        return false;
    if (count(&n) != 0)
        n = 0;
    for (unsigned i = 0; i < n && x->n < CARDS_MAX; i++)
        if (card(i, &x->card[x->n]) == 0 && x->energy(x->card[x->n], &mj) == 0)
            x->n++;
    if (x->n == 0)
        x->end();
    return x->n > 0;
}

struct mlperf_nvml *mlperf_nvml_open(const char *file)
{
    void *lib = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return NULL;
    struct mlperf_nvml *x = mem_alloc(sizeof *x);
    x->lib = lib;
    if (begin(x))
        return x;
    dlclose(lib);
    mem_free(x);
    return NULL;
}

bool mlperf_nvml_energy(struct mlperf_nvml *x, uint64_t *millijoules)
{
    *millijoules = 0;
    for (unsigned i = 0; i < x->n; i++) {
        unsigned long long mj;
        if (x->energy(x->card[i], &mj) != 0)
            return false;
        *millijoules += mj;
    }
    return true;
}

void mlperf_nvml_close(struct mlperf_nvml *x)
{
    if (!x)
        return;
    x->end();
    dlclose(x->lib);
    mem_free(x);
}
