/* SPDX-License-Identifier: MIT
 * nvml_fake.c - what mlperf_nvml.c calls of NVIDIA's library, for its test: three cards, of which
 * the second is too old to count; each reading of the first is 1,500 mJ further, of the third 500.
 */
#include <stddef.h>

#define NOT_SUPPORTED 3

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetCount_v2(unsigned *n);
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **card);
int nvmlDeviceGetTotalEnergyConsumption(void *card, unsigned long long *millijoules);

static unsigned long long taken[3];
static int open;

int nvmlInit_v2(void)
{
    open++;
    return 0;
}

int nvmlShutdown(void)
{
    open--;
    return 0;
}

int nvmlDeviceGetCount_v2(unsigned *n)
{
    *n = 3;
    return open ? 0 : 1;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **card)
{
    *card = &taken[i];
    return 0;
}

int nvmlDeviceGetTotalEnergyConsumption(void *card, unsigned long long *millijoules)
{
    ptrdiff_t i = (unsigned long long *)card - taken;
    if (i == 1)
        return NOT_SUPPORTED;
    *millijoules = taken[i] += i ? 500 : 1500;
    return 0;
}
