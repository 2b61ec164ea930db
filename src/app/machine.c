/* SPDX-License-Identifier: MIT */
#include "app/machine.h"

#include "base/num.h"
#include "kern/peak.h"
#include "os/os_map.h"
#include "os/os_pool.h"
#include "os/os_sys.h"

#include <string.h>

#define MACHINE_BYTES  ((size_t)512 << 20)
#define MACHINE_CHUNK  ((size_t)2 << 20) /* what a thread reads at a time: one large page */
#define MACHINE_LOOPS  ((size_t)400000)  /* less than a millisecond */
#define MACHINE_ROUNDS 7                 /* at least, and for at least this long: */
#define MACHINE_NS     ((uint64_t)250000000)
#define MACHINE_TRIES  3 /* rounds of a way to read, before the best way has its own */

struct job {
    const struct peak *peak;
    struct os_pool *pool;
    uint64_t (*loop)(size_t loops);
    const float *bytes;
    size_t n_bytes, streams, ahead;
    volatile float sink[1024]; /* a place a thread, so that sums are not left out */
};

static const struct {
    size_t streams, ahead;
} reads[] = {
    {1, 0   },
    {1, 1024},
    {1, 4096},
    {2, 0   },
    {2, 2048},
    {4, 0   },
    {4, 1024},
    {4, 4096},
};

static void run_loop(void *arg, int thread, int n_threads)
{
    struct job *j = arg;
    (void)thread;
    (void)n_threads;
    j->loop(MACHINE_LOOPS);
}

/* Chunks are taken as they come: a thread that was held up takes fewer. */
static void run_read(void *arg, int thread, int n_threads)
{
    struct job *j = arg;
    float sum = 0;
    (void)n_threads;
    for (size_t at; (at = os_pool_take(j->pool, 1) * MACHINE_CHUNK) < j->n_bytes;)
        sum += j->peak->read(j->bytes + at / sizeof(float), MACHINE_CHUNK, j->streams, j->ahead);
    j->sink[thread % 1024] = sum;
}

/* 10^9 multiply-adds or bytes a second. */
static double best_rate(struct job *j, os_pool_fn *fn, double amount, int rounds, uint64_t for_ns)
{
    double best = 0;
    uint64_t began = os_now_ns(), now = began;
    for (int i = 0; i < rounds || now - began < for_ns; i++) {
        uint64_t from = os_now_ns();
        os_pool_run(j->pool, fn, j);
        now = os_now_ns();
        best = MAX(best, amount / (double)(now - from));
    }
    return best;
}

static double best_loop(struct job *j, uint64_t (*loop)(size_t loops))
{
    if (!loop)
        return 0;
    j->loop = loop;
    double n = os_pool_threads(j->pool) * (double)loop(MACHINE_LOOPS);
    return best_rate(j, run_loop, n, MACHINE_ROUNDS, MACHINE_NS);
}

static double best_read(struct job *j)
{
    double best = 0;
    size_t best_at = 0;
    for (size_t i = 0; i < N_ELEMS(reads) && j->bytes; i++) {
        j->streams = reads[i].streams;
        j->ahead = reads[i].ahead;
        double rate = best_rate(j, run_read, (double)j->n_bytes, MACHINE_TRIES, 0);
        best_at = rate > best ? i : best_at;
        best = MAX(best, rate);
    }
    if (!j->bytes)
        return 0;
    j->streams = reads[best_at].streams;
    j->ahead = reads[best_at].ahead;
    return MAX(best, best_rate(j, run_read, (double)j->n_bytes, MACHINE_ROUNDS, MACHINE_NS));
}

static void measure(struct machine *m, struct job *j, int threads)
{
    j->pool = os_pool_new(threads);
    double rate[MACHINE_LIMIT_N] = {
        [MACHINE_int8] = best_loop(j, j->peak->int8),
        [MACHINE_bf16] = best_loop(j, peak_bf16(m->level)),
        [MACHINE_f32] = best_loop(j, j->peak->f32),
        [MACHINE_read] = best_read(j),
    };
    for (int i = 0; i < MACHINE_LIMIT_N; i++)
        *(threads == 1 ? &m->rate[i].one : &m->rate[i].all) = rate[i];
    os_pool_free(j->pool);
}

/* Far more than the last cache holds, or the cache would be measured. */
static size_t read_bytes(void)
{
    size_t n = MAX(MACHINE_BYTES, 4 * os_cache_bytes());
    return MIN(n, os_mem_available() / 2) / MACHINE_CHUNK * MACHINE_CHUNK;
}

struct machine machine_measure(enum cpu_level level, int threads)
{
    struct machine m = {.cpu = os_cpu_name(), .level = level, .threads = threads};
    struct job j = {.peak = peak_of(level), .n_bytes = read_bytes()};
    float *bytes = j.n_bytes ? os_pages_alloc(j.n_bytes) : NULL;
    if (bytes) {
        memset(bytes, 1, j.n_bytes); /* so that every page is a real one */
        m.read_bytes = j.n_bytes;
    }
    j.bytes = bytes;
    measure(&m, &j, 1);
    for (int i = 0; i < MACHINE_LIMIT_N && threads == 1; i++)
        m.rate[i].all = m.rate[i].one;
    if (threads > 1)
        measure(&m, &j, threads);
    os_pages_free(bytes, j.n_bytes);
    return m;
}

const struct machine_limit_info *machine_limit_info(enum machine_limit l)
{
    static const struct machine_limit_info info[MACHINE_LIMIT_N] = {
#define LIMIT(name, key, text, unit) {key, text, unit},
#include "app/machine.def"
#undef LIMIT
    };
    return &info[l];
}
