/* SPDX-License-Identifier: MIT
 * api_chats_thread.c - the thread that runs answers, from its beginning to its end. */
#include "api/api_bus.h"
#include "api/api_chats_int.h"

#include "base/log.h"
#include "os/os_sys.h"

#include <signal.h>
#include <time.h>

#define SECOND_NS 1000000000u
#define TICK_NS   (SECOND_NS / 4)
#define LINGER_NS (10 * (uint64_t)SECOND_NS) /* longer than a read of the chat may wait */

/* Those that may go. */
static void sweep(struct api_chats *k, uint64_t now)
{
    struct run *gone = NULL;
    pthread_mutex_lock(&k->mu);
    for (struct run **at = &k->all; *at;) {
        struct run *r = *at;
        bool old = r->over_ns && (k->stop || now - r->over_ns >= LINGER_NS);
        if (!old || r->woken || atomic_load(&r->n_gens)) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        r->next = gone;
        gone = r;
    }
    pthread_mutex_unlock(&k->mu);
    while (gone) {
        struct run *r = gone;
        gone = r->next;
        run_free(r);
    }
}

static void tick(struct api_chats *k)
{
    pthread_mutex_lock(&k->mu);
    struct run *r = k->all; /* new ones come before it, and only this thread removes */
    pthread_mutex_unlock(&k->mu);
    for (; r; r = r->next)
        run_step(r);
    sweep(k, os_now_ns());
}

/* With mu held: sleeps until a run is woken, or it is time to look at all. */
static void wait_for_work(struct api_chats *k, uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / SECOND_NS),
                             .tv_nsec = (long)(until_ns % SECOND_NS)};
    while (!k->woken && !k->stop) {
        if (!k->all)
            pthread_cond_wait(&k->work, &k->mu);
        else if (pthread_cond_timedwait(&k->work, &k->mu, &until) != 0)
            return;
    }
    if (k->stop && !k->woken && k->all) {
        uint64_t soon_ns = os_now_ns() + TICK_NS / 16;
        until = (struct timespec){.tv_sec = (time_t)(soon_ns / SECOND_NS),
                                  .tv_nsec = (long)(soon_ns % SECOND_NS)};
        pthread_cond_timedwait(&k->work, &k->mu, &until);
    }
}

static void *chats_main(void *arg)
{
    struct api_chats *k = arg;
    uint64_t next_ns = os_now_ns() + TICK_NS;
    pthread_mutex_lock(&k->mu);
    while (!k->stop || k->all) {
        wait_for_work(k, next_ns);
        struct run *woken = k->woken;
        bool stop = k->stop;
        k->woken = NULL;
        for (struct run *r = woken, *next; r; r = next) {
            next = r->next_woken;
            r->woken = false; /* from here on it may be in the other list */
            pthread_mutex_unlock(&k->mu);
            run_step(r);
            pthread_mutex_lock(&k->mu);
        }
        pthread_mutex_unlock(&k->mu);
        if (stop || os_now_ns() >= next_ns) {
            tick(k);
            next_ns = os_now_ns() + TICK_NS;
        }
        pthread_mutex_lock(&k->mu);
    }
    pthread_mutex_unlock(&k->mu);
    return NULL;
}

static enum err chats_start(struct api_chats *k, struct errinfo *e)
{
    sigset_t all, old; /* signals are for the program's own threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    k->running = pthread_create(&k->thread, NULL, chats_main, k) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return k->running ? ERR_OK : err_set(e, ERR_MEMORY, "cannot start the thread of chats");
}

enum err api_chats_open(struct api_chats **out, struct api *api, struct errinfo *e)
{
    struct api_chats *k = mem_alloc(sizeof *k);
    struct store_chats x = {0};
    struct store_op op = {.what = STORE_RUNNING_END, .chats = &x};
    k->api = api;
    k->events = api_events_new();
    pthread_mutex_init(&k->mu, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&k->work, &clock);
    pthread_condattr_destroy(&clock);
    *out = k;
    TRY(store_run(api->o.store, &op, e));
    if (op.n)
        log_at(LOG_WARN, "chats", "stopped=%zu why=\"the server that wrote them ended\"", op.n);
    return chats_start(k, e);
}

void api_chats_drain(struct api_chats *k)
{
    if (k)
        api_events_end(k->events);
}

bool api_chats_idle(struct api_chats *k)
{
    bool idle = true;
    if (!k)
        return true;
    pthread_mutex_lock(&k->mu);
    for (struct run *r = k->all; r; r = r->next)
        idle &= r->status != STORE_RUNNING;
    pthread_mutex_unlock(&k->mu);
    return idle;
}

void api_chats_close(struct api_chats *k)
{
    if (!k)
        return;
    if (k->running) {
        pthread_mutex_lock(&k->mu);
        k->stop = true;
        for (struct run *r = k->all; r; r = r->next)
            r->stop = true;
        pthread_cond_signal(&k->work);
        pthread_mutex_unlock(&k->mu);
        pthread_join(k->thread, NULL);
    }
    api_bus_close(k->api); /* its events are told */
    api_events_free(k->events);
    pthread_cond_destroy(&k->work);
    pthread_mutex_destroy(&k->mu);
    mem_free(k);
}
