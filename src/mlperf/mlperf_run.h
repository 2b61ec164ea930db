/* SPDX-License-Identifier: MIT
 * mlperf_run.h - one run: LoadGen on a thread of its own between a book and an engine.
 *
 * Does: begin LoadGen, say how far it is while it runs, end when LoadGen ends, when the book finds
 *       a fault, when the engine says nothing for too long, or when asked to.
 * Does not: open models, or write anything beside LoadGen's own logs.
 * LoadGen waits for every answer for ever and cannot be told to give up: a run that ended otherwise
 * is `stuck`, and the process must end by _exit once its report is written.
 * Owner: the caller; one run a process. */
#ifndef MLPERF_MLPERF_RUN_H
#define MLPERF_MLPERF_RUN_H

#include "mlperf/mlperf_book.h"

struct mlperf_progress {
    struct mlperf_count count;
    struct mlperf_limits limits;
    double seconds; /* since the first query */
    double share;   /* of the run, as far as is known: 0 to 1 */
    double left;    /* seconds, about; < 0: not known */
};

struct mlperf_run {
    /* set by the caller: */
    struct mlperf_shim shim; /* all but issue and arg */
    struct mlperf_book *book;
    void (*ask)(void *arg, size_t first, const struct mlperf_sample *s, size_t n);
    void *ask_arg;
    uint64_t stall_ns;
    bool (*tick)(void *arg, const struct mlperf_progress *p); /* false ends the run; may be NULL */
    void *tick_arg;
    /* set by mlperf_run_go: */
    struct mlperf_limits limits;
    uint64_t began_ns, ended_ns;
    bool stuck;
    /* inside: */
    pthread_mutex_t lock;
    pthread_cond_t over_come;
    bool over, conf_bad;
};

/* Errors: CANCELLED (tick), FAILED (a fault of the engine, named), CORRUPT (the user.conf). */
enum err mlperf_run_go(struct mlperf_run *r, struct errinfo *e);
/* Of a run that is stuck: has LoadGen write what its logs hold so far; takes 3 s at most. */
void mlperf_run_abort(struct mlperf_run *r);

#endif
