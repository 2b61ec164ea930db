/* SPDX-License-Identifier: MIT */
#include "app/machine.h"

#include "base/arena.h"
#include "base/num.h"
#include "kern/peak.h"
#include "os/os_map.h"
#include "os/os_pool.h"
#include "os/os_sys.h"

#include <string.h>

#define MACHINE_BYTES ((size_t)512 << 20)
#define MACHINE_CHUNK ((size_t)2 << 20) /* what a thread reads at a time: one large page */
#define MACHINE_LOOPS ((size_t)20000)   /* some 30 us */
#define MACHINE_NS    ((uint64_t)1000000)
/* Slices of a measurement: products' of 1 ms, reads' of 5 ms, of which each way to read has some
 * before the best has its own. */
#define MACHINE_SLICES      250
#define MACHINE_READ_SLICES 50
#define MACHINE_TRY_SLICES  10
#define MACHINE_NOW_SLICES  3

/* Threads work without waiting for one another, so that a machine that others load does not look
 * slow because of barriers; each notes how much it did in which slice of time.  The limit is the
 * slice in which all together did most. */
struct job {
    const struct peak *peak;
    struct os_pool *pool;
    uint64_t (*loop)(size_t loops); /* NULL: reads */
    float *bytes;
    size_t n_bytes, streams, ahead;
    uint64_t began, slice_ns;
    size_t n_slices;
    double *amount;            /* [threads][n_slices] */
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

/* Some work: multiply-adds or bytes. */
static double work(struct job *j, int thread)
{
    if (j->loop)
        return (double)j->loop(MACHINE_LOOPS);
    size_t at = os_pool_take(j->pool, 1) % (j->n_bytes / MACHINE_CHUNK) * MACHINE_CHUNK;
    j->sink[thread % 1024] = j->peak->read(j->bytes + at / sizeof(float), MACHINE_CHUNK, j->streams,
                                           j->ahead);
    return (double)MACHINE_CHUNK;
}

/* What was done from one moment to another, in the slices that they lie in. */
static void note(const struct job *j, double *amount, uint64_t from, uint64_t to, double done)
{
    double per_ns = done / (double)MAX(to - from, 1);
    for (uint64_t i = from / j->slice_ns; i <= to / j->slice_ns && i < j->n_slices; i++) {
        uint64_t a = MAX(from, i * j->slice_ns), b = MIN(to, (i + 1) * j->slice_ns);
        amount[i] += per_ns * (double)(b - a);
    }
}

static void run_slices(void *arg, int thread, int n_threads)
{
    struct job *j = arg;
    double *amount = j->amount + (size_t)thread * j->n_slices;
    uint64_t from = os_now_ns() - j->began, to;
    (void)n_threads;
    for (; from < j->n_slices * j->slice_ns; from = to) {
        double done = work(j, thread);
        to = os_now_ns() - j->began;
        note(j, amount, from, to, done);
    }
}

/* 10^9 multiply-adds or bytes a second. */
static double best_rate(struct job *j, uint64_t slice_ns, size_t n_slices)
{
    size_t n = (size_t)os_pool_threads(j->pool);
    double best = 0;
    j->slice_ns = slice_ns;
    j->n_slices = n_slices;
    j->amount = mem_alloc(n * n_slices * sizeof *j->amount);
    j->began = os_now_ns();
    os_pool_run(j->pool, run_slices, j);
    for (size_t i = 0; i < n_slices; i++) {
        double sum = 0;
        for (size_t t = 0; t < n; t++)
            sum += j->amount[t * n_slices + i];
        best = MAX(best, sum / (double)slice_ns);
    }
    mem_free(j->amount);
    return best;
}

static double best_loop(struct job *j, uint64_t (*loop)(size_t loops))
{
    j->loop = loop;
    return loop ? best_rate(j, MACHINE_NS, MACHINE_SLICES) : 0;
}

/* Leaves the loop that was the fastest in the job. */
static double try_reads(struct job *j)
{
    double best = 0;
    size_t best_at = 0;
    j->loop = NULL;
    for (size_t i = 0; i < N_ELEMS(reads); i++) {
        j->streams = reads[i].streams;
        j->ahead = reads[i].ahead;
        double rate = best_rate(j, 5 * MACHINE_NS, MACHINE_TRY_SLICES);
        best_at = rate > best ? i : best_at;
        best = MAX(best, rate);
    }
    j->streams = reads[best_at].streams;
    j->ahead = reads[best_at].ahead;
    return best;
}

static double best_read(struct job *j)
{
    if (!j->bytes)
        return 0;
    double best = try_reads(j);
    return MAX(best, best_rate(j, 5 * MACHINE_NS, MACHINE_READ_SLICES));
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

static float *bytes_alloc(size_t n)
{
    float *bytes = n ? os_pages_alloc(n) : NULL;
    if (bytes)
        memset(bytes, 1, n); /* so that every page is a real one */
    return bytes;
}

struct machine machine_measure(enum cpu_level level, int threads)
{
    struct machine m = {.cpu = os_cpu_name(), .level = level, .threads = threads};
    struct job j = {.peak = peak_of(level), .n_bytes = read_bytes()};
    j.bytes = bytes_alloc(j.n_bytes);
    m.read_bytes = j.bytes ? j.n_bytes : 0;
    measure(&m, &j, 1);
    for (int i = 0; i < MACHINE_LIMIT_N && threads == 1; i++)
        m.rate[i].all = m.rate[i].one;
    if (threads > 1)
        measure(&m, &j, threads);
    os_pages_free(j.bytes, j.n_bytes);
    return m;
}

struct machine_reads {
    struct job job;
};

struct machine_reads *machine_reads_open(enum cpu_level level, int threads)
{
    const size_t n = read_bytes();
    float *bytes = bytes_alloc(n);
    if (!bytes)
        return NULL;
    struct machine_reads *r = mem_alloc(sizeof *r);
    r->job = (struct job){
        .peak = peak_of(level), .pool = os_pool_new(threads), .bytes = bytes, .n_bytes = n};
    try_reads(&r->job);
    return r;
}

size_t machine_reads_bytes(const struct machine_reads *r)
{
    return r ? r->job.n_bytes : 0;
}

double machine_reads_now(struct machine_reads *r)
{
    return r ? best_rate(&r->job, 5 * MACHINE_NS, MACHINE_NOW_SLICES) : 0;
}

void machine_reads_close(struct machine_reads *r)
{
    if (!r)
        return;
    os_pool_free(r->job.pool);
    os_pages_free(r->job.bytes, r->job.n_bytes);
    mem_free(r);
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
