/* SPDX-License-Identifier: MIT
 * test.h - what every *_test.c includes: cmocka with the headers it needs, and a seed that is
 * printed and can be given by DAMSO_SEED. */
#ifndef BASE_TEST_H
#define BASE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static inline uint64_t test_seed(void)
{
    const char *given = getenv("DAMSO_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 20261124;
    printf("seed %llu (set DAMSO_SEED to change it)\n", (unsigned long long)seed);
    return seed;
}

#endif
