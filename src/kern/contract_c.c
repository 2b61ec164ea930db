/* SPDX-License-Identifier: MIT
 * contract_c.c - the numeric contracts in portable C. */
#include <stdint.h>

#define ISA      c
#define DOT_STEP 16

typedef int32_t dot_t;

static inline dot_t dot_zero(void)
{
    return 0;
}

static inline dot_t dot_add(dot_t sum, const int8_t *w, const int16_t *x)
{
    for (int i = 0; i < DOT_STEP; i++)
        sum += (int32_t)w[i] * x[i];
    return sum;
}

static inline int32_t dot_sum(dot_t sum)
{
    return sum;
}

#include "kern/contract.inc"
