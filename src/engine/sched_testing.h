/* SPDX-License-Identifier: MIT
 * sched_testing.h - what the scheduler's tests share: a server of a tiny model and jobs for it. */
#ifndef ENGINE_SCHED_TESTING_H
#define ENGINE_SCHED_TESTING_H

#include "base/arena.h"
#include "base/num.h"
#include "base/test.h"
#include "engine/sched.h"
#include "os/os_sys.h"

#include <string.h>
#include <time.h>

#define CTX 200

static uint64_t rng; /* of the file that includes this: set by its main */

struct server {
    struct gguf *g;
    struct engine *en;
    struct sched *s;
};

static inline void open_engine(struct server *v, size_t ctx_total)
{
    struct errinfo e;
    struct engine_opts opts = {.ctx = CTX,
                               .ctx_total = ctx_total,
                               .batch = 64,
                               .out_max = 20,
                               .n_threads = 2,
                               .level = cpu_best()};
    if (gguf_open(&v->g, "tests/data/arch/llama.gguf", &e) != ERR_OK ||
        engine_open(&v->en, v->g, &opts, &e) != ERR_OK)
        fail_msg("%s", e.text);
}

static inline void open_server(struct server *v, size_t ctx_total, size_t queue_max,
                               size_t running_max)
{
    struct sched_opts o = {.queue_max = queue_max, .running_max = running_max};
    open_engine(v, ctx_total);
    v->s = sched_new(v->en, &o);
}

static inline void close_server(struct server *v)
{
    sched_free(v->s);
    engine_close(v->en);
    gguf_close(v->g);
}

static inline void wait_done(const struct job *j)
{
    uint64_t until = os_now_ns() + 60000000000u;
    while (job_state(j) != JOB_DONE) {
        if (os_now_ns() > until)
            fail_msg("a job did not end within a minute");
        nanosleep(&(struct timespec){0, 200000}, NULL);
    }
}

struct ask {
    struct job job;
    int32_t prompt[CTX];
    size_t n_want;
    int32_t want[CTX];
};

static inline void make_ask(struct ask *a, size_t n_prompt, size_t n_max)
{
    size_t stem = (size_t)(num_rand(&rng) % 3);
    for (size_t i = 0; i < n_prompt; i++)
        a->prompt[i] = (int32_t)(i < n_prompt * 3 / 4 ? (i * (stem + 2)) % 90
                                                      : num_rand(&rng) % 90);
    job_init(&a->job, n_max, 0);
    a->job.prompt = a->prompt;
    a->job.n_prompt = n_prompt;
    a->job.sampling.temp = num_rand(&rng) % 2 ? 0 : 1;
    a->job.sampling.top_k = 5;
    a->job.sampling.seed = num_rand(&rng);
    a->job.client = num_rand(&rng) % 3;
}

static inline void wait_running(const struct job *j)
{
    while (job_state(j) == JOB_QUEUED)
        nanosleep(&(struct timespec){0, 10000}, NULL);
}

#endif
