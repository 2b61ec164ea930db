/* SPDX-License-Identifier: MIT
 * os_pool.h - a fixed team of threads that run one function together.
 *
 * Does: start n - 1 threads (the caller is thread 0), run a function on all, and give them a
 *       barrier and a shared counter to divide work with.  Waiting threads spin for a moment and
 *       then sleep, so that an idle or overloaded machine is not kept busy.  A team as large as the
 *       processors that the process may use has one of them each: a loaded machine otherwise
 *       leaves two of them on one for long.
 * Does not: queue work, nest, or allocate after os_pool_new.
 * Owner: one thread calls os_pool_run; the function may call the other two. */
#ifndef OS_POOL_H
#define OS_POOL_H

#include <stddef.h>

struct os_pool;

typedef void os_pool_fn(void *arg, int thread, int n_threads);

/* n_threads >= 1; fewer are started when the system refuses (see os_pool_threads). */
struct os_pool *os_pool_new(int n_threads);
void os_pool_free(struct os_pool *p);
int os_pool_threads(const struct os_pool *p);

/* Runs fn(arg, thread, n) on every thread; returns when all have returned. */
void os_pool_run(struct os_pool *p, os_pool_fn *fn, void *arg);

/* Every thread of the running function waits here for all; resets the counter to 0. */
void os_pool_barrier(struct os_pool *p);

/* Takes the next `n` items of the work that follows a barrier: returns the first index. */
size_t os_pool_take(struct os_pool *p, size_t n);

#endif
