/* SPDX-License-Identifier: MIT */
#include "kern/contract.h"

const char *kern_numerics_name(enum kern_numerics n)
{
    static const char *const names[KERN_NUMERICS_N] = {"native", "int8", "bf16"};
    return names[n];
}
