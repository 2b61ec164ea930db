/* SPDX-License-Identifier: MIT */
#include "app/machine.h"

#include "base/num.h"
#include "kern/peak.h"
#include "os/os_map.h"
#include "os/os_pool.h"
#include "os/os_sys.h"

#include <string.h>

#define MACHINE_BYTES  ((size_t)256 << 20) /* more than any cache holds */
#define MACHINE_LOOPS  ((size_t)400000)
#define MACHINE_ROUNDS 7

enum what { WHAT_INT8, WHAT_F32, WHAT_READ };

struct job {
    const struct peak *peak;
    enum what what;
    size_t loops;
    const float *bytes;
    volatile float sink[1024]; /* a place a thread, so that sums are not left out */
};

static void run_share(void *arg, int thread, int n_threads)
{
    struct job *j = arg;
    size_t share = MACHINE_BYTES / (size_t)n_threads / 4096 * 4096;
    switch (j->what) {
    case WHAT_INT8: j->peak->int8(j->loops); break;
    case WHAT_F32: j->peak->f32(j->loops); break;
    case WHAT_READ:
        j->sink[thread % 1024] = j->peak->read(j->bytes + share / sizeof(float) * (size_t)thread,
                                               share);
        break;
    }
}

/* 10^9 multiply-adds or bytes a second. */
static double best_rate(struct os_pool *pool, struct job *j, double amount)
{
    double best = 0;
    for (int i = 0; i < MACHINE_ROUNDS; i++) {
        uint64_t began = os_now_ns();
        os_pool_run(pool, run_share, j);
        best = MAX(best, amount / (double)(os_now_ns() - began));
    }
    return best;
}

static void measure(struct machine *m, struct job *j, int threads, bool one)
{
    struct os_pool *pool = os_pool_new(threads);
    double n = os_pool_threads(pool), rate[3];
    j->what = WHAT_INT8;
    rate[0] = best_rate(pool, j, n * (double)j->peak->int8(j->loops));
    j->what = WHAT_F32;
    rate[1] = best_rate(pool, j, n * (double)j->peak->f32(j->loops));
    j->what = WHAT_READ;
    rate[2] = j->bytes ? best_rate(pool, j, (double)MACHINE_BYTES) : 0;
    *(one ? &m->int8_gmacs_1 : &m->int8_gmacs) = rate[0];
    *(one ? &m->f32_gmacs_1 : &m->f32_gmacs) = rate[1];
    *(one ? &m->read_gbs_1 : &m->read_gbs) = rate[2];
    os_pool_free(pool);
}

struct machine machine_measure(enum cpu_level level, int threads)
{
    struct machine m = {.cpu = os_cpu_name(), .level = level, .threads = threads};
    float *bytes = os_pages_alloc(MACHINE_BYTES);
    struct job j = {.peak = peak_of(level), .loops = MACHINE_LOOPS, .bytes = bytes};
    if (bytes)
        memset(bytes, 1, MACHINE_BYTES); /* so that every page is a real one */
    measure(&m, &j, 1, true);
    measure(&m, &j, threads, false);
    os_pages_free(bytes, MACHINE_BYTES);
    return m;
}
