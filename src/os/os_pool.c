/* SPDX-License-Identifier: MIT */
#include "os/os_pool.h"

#include "base/arena.h"
#include "base/err.h"
#include "os/os_sys.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A phase of a matrix product lasts 5 to 500 us: spinning for about 50 us catches most waits, and
 * a preempted partner costs no more than that before we sleep. */
#define OS_SPINS 2000

/* On a line of its own each, so that waiting does not disturb working. */
struct os_line {
    _Alignas(64) atomic_uint v;
};

struct os_pool {
    struct os_line generation; /* of the barrier */
    struct os_line arrived;
    struct os_line sleepers;
    _Alignas(64) atomic_size_t next; /* the work counter */
    struct os_line job;              /* number of the function that runs */
    os_pool_fn *fn;
    void *arg;
    int n_threads;
    bool pinned; /* while they work, where there is a processor for each */
    atomic_bool stop;
    pthread_t *threads;
};

struct os_member {
    struct os_pool *pool;
    int thread;
};

static void os_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Waits until *word is no longer `seen`. */
static void os_wait_change(struct os_pool *p, atomic_uint *word, unsigned seen)
{
    for (int i = 0; i < OS_SPINS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != seen)
            return;
        os_relax();
    }
    atomic_fetch_add(&p->sleepers.v, 1);
    while (atomic_load(word) == seen)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&p->sleepers.v, 1);
}

static void os_change(struct os_pool *p, atomic_uint *word)
{
    atomic_fetch_add(word, 1);
    if (atomic_load(&p->sleepers.v))
        syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

void os_pool_barrier(struct os_pool *p)
{
    unsigned seen = atomic_load(&p->generation.v);
    if (atomic_fetch_add(&p->arrived.v, 1) + 1 == (unsigned)p->n_threads) {
        atomic_store(&p->arrived.v, 0);
        atomic_store(&p->next, 0);
        os_change(p, &p->generation.v);
    } else {
        os_wait_change(p, &p->generation.v, seen);
    }
}

size_t os_pool_take(struct os_pool *p, size_t n)
{
    return atomic_fetch_add_explicit(&p->next, n, memory_order_relaxed);
}

static void *os_pool_main(void *arg)
{
    struct os_member me = *(struct os_member *)arg;
    mem_free(arg);
    if (me.pool->pinned)
        os_pin(me.thread);
    for (unsigned job = 0;; job++) {
        os_wait_change(me.pool, &me.pool->job.v, job);
        if (atomic_load(&me.pool->stop))
            return NULL;
        me.pool->fn(me.pool->arg, me.thread, me.pool->n_threads);
        os_pool_barrier(me.pool);
    }
}

struct os_pool *os_pool_new(int n_threads)
{
    CHECK(n_threads >= 1);
    struct os_pool *p = aligned_alloc(64, sizeof *p);
    CHECK(p != NULL);
    *p = (struct os_pool){.n_threads = 1, .pinned = n_threads > 1 && n_threads == os_n_cpus()};
    p->threads = mem_alloc((size_t)n_threads * sizeof *p->threads);
    /* n_threads is read by members only inside a job, after this loop has ended. */
    for (int i = 1; i < n_threads; i++) {
        struct os_member *m = mem_alloc(sizeof *m);
        *m = (struct os_member){p, i};
        if (pthread_create(&p->threads[i], NULL, os_pool_main, m) != 0) {
            mem_free(m);
            break;
        }
        p->n_threads++;
    }
    return p;
}

int os_pool_threads(const struct os_pool *p)
{
    return p->n_threads;
}

void os_pool_run(struct os_pool *p, os_pool_fn *fn, void *arg)
{
    p->fn = fn;
    p->arg = arg;
    atomic_store(&p->next, 0);
    if (p->n_threads > 1)
        os_change(p, &p->job.v);
    if (p->pinned)
        os_pin(0);
    fn(arg, 0, p->n_threads);
    os_pool_barrier(p);
    if (p->pinned) /* threads that the caller starts must not inherit it */
        os_unpin();
}

void os_pool_free(struct os_pool *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, true);
    os_change(p, &p->job.v);
    for (int i = 1; i < p->n_threads; i++)
        pthread_join(p->threads[i], NULL);
    mem_free(p->threads);
    mem_free(p);
}
