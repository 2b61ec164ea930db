/* SPDX-License-Identifier: MIT */
#include "mlperf/mlperf_jobs.h"

#include "base/arena.h"
#include "base/num.h"

#include <string.h>

struct slot {
    struct mlperf_jobs *x;
    struct job job;
    size_t query, question;
    bool busy, told_first;
    bool news; /* under the lock: the engine thread has called */
};

struct ask {
    size_t query, question;
};

struct mlperf_jobs {
    struct mlperf_jobs_opts o;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t come;
    bool any_news, quit;
    struct ask *queue; /* [n_queue], from `head` */
    size_t head, n_queue, cap;
    /* the thread's own: */
    struct slot *slot; /* [at_once] */
    int32_t *token;    /* room for an answer */
    size_t n_token;
};

/* On the engine thread; also a moment after the job was seen to be done, so it only says: look. */
static void wake(void *arg)
{
    struct slot *s = arg;
    pthread_mutex_lock(&s->x->lock);
    s->news = true;
    s->x->any_news = true;
    pthread_cond_signal(&s->x->come);
    pthread_mutex_unlock(&s->x->lock);
}

static void start(struct mlperf_jobs *x, struct slot *s, struct ask a)
{
    const struct mlperf_question *q = &x->o.question[a.question];
    struct errinfo e;
    job_init(&s->job, q->n_max, 0);
    s->job.prompt = q->prompt;
    s->job.n_prompt = q->n_prompt;
    s->job.n_min = 2; /* LoadGen's times a token take two */
    s->job.no_reuse = true;
    s->job.ends = x->o.ends;
    s->job.sampling = x->o.sampling;
    s->job.wake = wake;
    s->job.wake_arg = s;
    s->query = a.query;
    s->question = a.question;
    s->told_first = false;
    s->busy = true;
    if (sched_push(x->o.sched, &s->job, &e) != ERR_OK) {
        mlperf_book_fail(x->o.book, &e);
        job_done(&s->job);
        s->busy = false;
    }
}

/* The end token itself is no part of an answer where the job stopped by it. */
static void tell_end(struct mlperf_jobs *x, struct slot *s, size_t n)
{
    if (n > x->n_token) {
        x->n_token = n;
        x->token = mem_grow(x->token, n * sizeof *x->token);
    }
    for (size_t i = 0; i < n; i++)
        x->token[i] = s->job.out[i].token;
    mlperf_book_complete(x->o.book, s->query, s->question, x->token, n);
}

static void look(struct mlperf_jobs *x, struct slot *s)
{
    enum job_state state = job_state(&s->job);
    size_t n = job_n_out(&s->job);
    if (n && !s->told_first) {
        s->told_first = true;
        mlperf_book_first(x->o.book, s->query, s->question, s->job.out[0].token);
    }
    if (state != JOB_DONE)
        return;
    if (s->job.end == JOB_END_FAILED)
        mlperf_book_fail(x->o.book, &s->job.error);
    else if (s->job.end != JOB_END_CANCELLED)
        tell_end(x, s, n);
    job_done(&s->job);
    s->busy = false;
}

/* Takes the oldest that was asked; false when nothing waits. */
static bool take(struct mlperf_jobs *x, struct ask *a)
{
    pthread_mutex_lock(&x->lock);
    bool any = x->n_queue > 0;
    if (any) {
        *a = x->queue[x->head++];
        x->n_queue--;
    }
    pthread_mutex_unlock(&x->lock);
    return any;
}

static bool take_news(struct slot *s)
{
    pthread_mutex_lock(&s->x->lock);
    bool news = s->news;
    s->news = false;
    pthread_mutex_unlock(&s->x->lock);
    return news;
}

static void *run(void *arg)
{
    struct mlperf_jobs *x = arg;
    for (bool quit = false; !quit;) {
        pthread_mutex_lock(&x->lock);
        while (!x->any_news && !x->quit)
            pthread_cond_wait(&x->come, &x->lock);
        x->any_news = false;
        quit = x->quit;
        pthread_mutex_unlock(&x->lock);
        for (size_t i = 0; i < x->o.at_once; i++) {
            struct slot *s = &x->slot[i];
            struct ask a;
            if (s->busy && take_news(s))
                look(x, s);
            if (!s->busy && !quit && mlperf_book_right(x->o.book, NULL) && take(x, &a))
                start(x, s, a);
        }
    }
    return NULL;
}

struct mlperf_jobs *mlperf_jobs_new(const struct mlperf_jobs_opts *o)
{
    struct mlperf_jobs *x = mem_alloc(sizeof *x);
    x->o = *o;
    x->slot = mem_alloc(o->at_once * sizeof *x->slot);
    for (size_t i = 0; i < o->at_once; i++)
        x->slot[i].x = x;
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->come, NULL);
    CHECK(pthread_create(&x->thread, NULL, run, x) == 0);
    return x;
}

static void let_go(struct slot *s)
{
    if (!s->busy)
        return;
    job_cancel(&s->job);
    pthread_mutex_lock(&s->x->lock);
    while (job_state(&s->job) != JOB_DONE)
        pthread_cond_wait(&s->x->come, &s->x->lock);
    pthread_mutex_unlock(&s->x->lock);
    job_done(&s->job);
}

void mlperf_jobs_free(struct mlperf_jobs *x)
{
    if (!x)
        return;
    pthread_mutex_lock(&x->lock);
    x->quit = true;
    pthread_cond_signal(&x->come);
    pthread_mutex_unlock(&x->lock);
    pthread_join(x->thread, NULL);
    for (size_t i = 0; i < x->o.at_once; i++)
        let_go(&x->slot[i]);
    /* The scheduler may still be on its way out of the last wake: its next drain waits for that. */
    sched_drain(x->o.sched, UINT64_MAX / 4);
    pthread_cond_destroy(&x->come);
    pthread_mutex_destroy(&x->lock);
    mem_free(x->queue);
    mem_free(x->token);
    mem_free(x->slot);
    mem_free(x);
}

void mlperf_jobs_ask(void *arg, size_t first, const struct mlperf_sample *s, size_t n)
{
    struct mlperf_jobs *x = arg;
    pthread_mutex_lock(&x->lock);
    if (x->cap - (x->head + x->n_queue) < n) {
        if (x->n_queue)
            memmove(x->queue, x->queue + x->head, x->n_queue * sizeof *x->queue);
        x->head = 0;
        if (x->cap - x->n_queue < n) {
            x->cap = MAX(2 * x->cap, x->n_queue + n + 1024);
            x->queue = mem_grow(x->queue, x->cap * sizeof *x->queue);
        }
    }
    struct ask *to = x->queue + x->head + x->n_queue;
    for (size_t i = 0; i < n; i++)
        to[i] = (struct ask){first + i, s[i].index};
    x->n_queue += n;
    x->any_news = true;
    pthread_cond_signal(&x->come);
    pthread_mutex_unlock(&x->lock);
}
