/* SPDX-License-Identifier: MIT */
#include "mlperf/mlperf_run.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <math.h>
#include <string.h>
#include <time.h>

#define TICK_NS     200000000u
#define NS_A_SECOND 1000000000u
#define ABORT_S     3

static void issue(void *arg, const struct mlperf_sample *s, size_t n)
{
    struct mlperf_run *r = arg;
    r->ask(r->ask_arg, mlperf_book_ask(r->book, s, n), s, n);
}

static void ready(void *arg, const struct mlperf_limits *l)
{
    struct mlperf_run *r = arg;
    pthread_mutex_lock(&r->lock);
    r->limits = *l;
    pthread_mutex_unlock(&r->lock);
}

static void *loadgen(void *arg)
{
    struct mlperf_run *r = arg;
    bool ok = mlperf_shim_run(&r->shim, ready, r);
    pthread_mutex_lock(&r->lock);
    r->over = true;
    r->conf_bad = !ok;
    pthread_cond_signal(&r->over_come);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* How much of the run is done.  Offline and accuracy runs ask everything at the beginning; the
 * others go on until both the time and the queries are reached. */
static double share_of(const struct mlperf_run *r, const struct mlperf_progress *p)
{
    double asked = p->count.asked ? (double)p->count.done / (double)p->count.asked : 0;
    if (r->shim.accuracy)
        return (double)p->count.done / (double)r->shim.n_total;
    if (strcmp(r->shim.scenario, "Offline") == 0)
        return asked;
    double time = p->limits.min_duration_ms ? p->seconds * 1000 / (double)p->limits.min_duration_ms
                                            : 1;
    double per = strcmp(r->shim.scenario, "MultiStream") == 0 ? 8 : 1;
    double want = (double)p->limits.min_queries;
    if (p->limits.whole) { /* Server: of the rate; LoadGen makes the last pass a whole one */
        double rate = strcmp(r->shim.scenario, "Server") == 0 ? p->limits.target_qps : 0;
        want = MAX(want, rate * (double)p->limits.min_duration_ms / 1000);
        want = ceil(want / (double)p->limits.whole) * (double)p->limits.whole;
    }
    double queries = want > 0 ? (double)p->count.done / per / want : 1;
    return MIN(MIN(time, queries), 1);
}

static bool tick(struct mlperf_run *r)
{
    struct mlperf_progress p = {.count = mlperf_book_count(r->book), .left = -1};
    pthread_mutex_lock(&r->lock);
    p.limits = r->limits;
    pthread_mutex_unlock(&r->lock);
    p.seconds = (double)(os_now_ns() - r->began_ns) * 1e-9;
    p.share = share_of(r, &p);
    if (p.share > 0)
        p.left = p.seconds * (1 - p.share) / p.share;
    return !r->tick || r->tick(r->tick_arg, &p);
}

static bool wait_for_end(struct mlperf_run *r)
{
    uint64_t until = os_now_ns() + TICK_NS;
    struct timespec at = {(time_t)(until / NS_A_SECOND), (long)(until % NS_A_SECOND)};
    pthread_mutex_lock(&r->lock);
    for (int w = 0; w == 0 && !r->over;)
        w = pthread_cond_timedwait(&r->over_come, &r->lock, &at);
    bool over = r->over;
    pthread_mutex_unlock(&r->lock);
    return over;
}

static void start(struct mlperf_run *r, pthread_t *thread)
{
    pthread_condattr_t monotonic;
    r->shim.issue = issue;
    r->shim.arg = r;
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r->over_come, &monotonic);
    pthread_condattr_destroy(&monotonic);
    r->began_ns = os_now_ns();
    CHECK(pthread_create(thread, NULL, loadgen, r) == 0);
}

enum err mlperf_run_go(struct mlperf_run *r, struct errinfo *e)
{
    pthread_t thread;
    enum err code = ERR_OK;
    CHECK(r->shim.n_total > 0 && r->shim.n_performance <= r->shim.n_total);
    start(r, &thread);
    while (code == ERR_OK && !wait_for_end(r)) {
        mlperf_book_watch(r->book, r->stall_ns);
        if (!mlperf_book_right(r->book, e))
            code = ERR_FAILED;
        else if (!tick(r))
            code = err_set(e, ERR_CANCELLED, "stopped");
    }
    r->ended_ns = os_now_ns();
    r->stuck = code != ERR_OK;
    if (r->stuck)
        return code; /* lock and thread stay LoadGen's */
    pthread_join(thread, NULL);
    pthread_cond_destroy(&r->over_come);
    pthread_mutex_destroy(&r->lock);
    if (r->conf_bad)
        return err_set(e, ERR_CORRUPT, "%.300s: LoadGen cannot read it: lines are 'name = number'",
                       r->shim.user_conf);
    return mlperf_book_right(r->book, e) ? ERR_OK : ERR_FAILED;
}

static void *end_logs(void *arg)
{
    (void)arg;
    mlperf_shim_abort();
    return NULL;
}

void mlperf_run_abort(struct mlperf_run *r)
{
    pthread_t thread;
    struct timespec at;
    CHECK(r->stuck);
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += ABORT_S;
    CHECK(pthread_create(&thread, NULL, end_logs, NULL) == 0);
    pthread_timedjoin_np(thread, NULL, &at);
}
