/* SPDX-License-Identifier: MIT
 * test.h - what every *_test.c includes: cmocka with the headers it needs, a seed that is
 * printed and can be given by DAMSO_SEED, files' bytes, and how far numbers are from a
 * reference. */
#ifndef BASE_TEST_H
#define BASE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"

static inline uint64_t test_seed(void)
{
    const char *given = getenv("DAMSO_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 20261124;
    printf("seed %llu (set DAMSO_SEED to change it)\n", (unsigned long long)seed);
    return seed;
}

/* A whole file of *n bytes, in the arena or, without one, for mem_free. */
static inline void *test_read_file(struct arena *a, const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s cannot be read", path);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *n = (size_t)ftell(f);
    rewind(f);
    void *out = a ? arena_alloc(a, *n) : mem_alloc(*n);
    assert_int_equal(fread(out, 1, *n, f), *n);
    fclose(f);
    return out;
}

/* The normalised mean square error of got[n] against want[n], which are not all 0. */
static inline double test_nmse(const float *got, const float *want, size_t n)
{
    double sum = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - (double)want[i];
        sum += d * d;
        all += (double)want[i] * (double)want[i];
    }
    return sum / all;
}

#endif
