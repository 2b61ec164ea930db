/* SPDX-License-Identifier: MIT
 * sched_int.h - what the files of the scheduler share; nobody else includes it.
 *
 * sched.c: the queue from outside and the thread.  sched_admit.c: who runs.  sched_step.c: what a
 * step reads.  sched_pick.c: tokens from logits. */
#ifndef ENGINE_SCHED_INT_H
#define ENGINE_SCHED_INT_H

#include "base/arena.h"
#include "base/num.h"
#include "engine/sched.h"
#include "os/os_sys.h"

#include <pthread.h>

#define SCHED_STEP_NS       ((uint64_t)100000000)
#define SCHED_CACHE_IDLE_NS ((uint64_t)3000000000)
#define SCHED_FETCH_NS      ((uint64_t)20000000) /* that a step may wait for the cache's file */

struct sched {
    struct engine *en;
    struct sched_opts opts;
    pthread_t thread;
    pthread_mutex_t lock; /* the queue, `closed`, `load` */
    pthread_cond_t more, less;
    struct job *queue, **queue_end;
    bool closed, stop;
    struct sched_load load;

    /* the engine thread's own: */
    struct job **running; /* [running_max], oldest first */
    size_t n_running;
    struct engine_row *rows; /* [batch] */
    size_t n_rows;
    struct sched_want {
        struct job *job;
        size_t at;     /* which of its tokens */
    } * wants;         /* [batch]: whose each row of `got` is */
    const float **got; /* [batch]: logits or hidden states */
    size_t n_wants, n_logits;
    struct sampler_work *work;
    uint32_t *mask; /* [n_mask] words: tokens that may come */
    size_t n_mask;
    double ns_a_row; /* of a step, smoothed */
    uint64_t order, n_answer;
};

/* Tokens of prompt and answer. */
static inline size_t sched_n_known(const struct job *j)
{
    return j->n_prompt + atomic_load(&j->n_out);
}

static inline int32_t sched_known(const struct job *j, size_t i)
{
    return i < j->n_prompt ? j->prompt[i] : j->out[i - j->n_prompt].token;
}

static inline size_t sched_left_to_read(const struct job *j)
{
    return sched_n_known(j) - j->n_read;
}

/* ---- sched_admit.c ---- */

/* Ends a job and wakes its maker, whose it is from here on. */
void sched_finish(struct sched *s, struct job *j, enum job_end end);
/* The same for one that runs. */
void sched_finish_running(struct sched *s, struct job *j, enum job_end end);
/* Ends what is cancelled or late, waiting or running. */
void sched_drop(struct sched *s);
/* Starts waiting jobs while there is room. */
void sched_admit(struct sched *s);
/* The youngest answer gives its pages back and waits. */
void sched_preempt(struct sched *s);

/* ---- sched_step.c ---- */

void sched_step(struct sched *s);

/* ---- sched_pick.c ---- */

/* Logprobs of the token of the prompt that follows token `at`. */
void sched_note_prompt(struct sched *s, struct job *j, size_t at, const float *logits);
/* Chooses the next token of a job; true when the answer ends with or before it. */
bool sched_pick(struct sched *s, struct job *j, const float *logits, enum job_end *end);
void sched_pick_fit(struct sched *s, const struct job *j); /* makes room for its grammar's masks */

#endif
