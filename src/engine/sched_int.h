/* SPDX-License-Identifier: MIT
 * sched_int.h - what the files of the scheduler share; nobody else includes it.
 *
 * sched.c: the queue from outside and the thread.  sched_admit.c: who runs.  sched_step.c: what a
 * step reads.  sched_pick.c: tokens from logits.  sched_spec.c: tokens that are guessed ahead. */
#ifndef ENGINE_SCHED_INT_H
#define ENGINE_SCHED_INT_H

#include "base/arena.h"
#include "base/num.h"
#include "engine/ngram.h"
#include "engine/sched.h"
#include "engine/spec.h"
#include "os/os_sys.h"

#include <pthread.h>

#define SCHED_STEP_NS       ((uint64_t)50000000) /* a client that leaves is noticed between steps */
#define SCHED_CACHE_IDLE_NS ((uint64_t)3000000000)
#define SCHED_FETCH_NS      ((uint64_t)20000000) /* that a step may wait for the cache's file */

/* Where guesses come from. */
enum sched_source {
    SCHED_FROM_TEXT,  /* the job's own, by ngram.h */
    SCHED_FROM_MODEL, /* a draft model */
    SCHED_SOURCES
};

/* What is guessed of a job's next tokens. */
struct job_spec {
    struct ngram *text; /* prompt and answer */
    struct spec_rate rate[SCHED_SOURCES];
    enum sched_source source; /* of the guesses for the step that is made */
    int32_t draft[SCHED_DRAFT_MAX];
    uint8_t class[SCHED_DRAFT_MAX]; /* spec.h */
    size_t n_draft, n_max;          /* guesses; what the answer has room for */
    size_t n_taken;                 /* those that are rows of the step */
    float chance;                   /* that the first n_taken and the next one come true */

    /* of the draft model: */
    struct engine_seq *seq; /* NULL: it has read nothing */
    size_t n_sure;          /* tokens of seq that were known when it was last looked at */
    bool no_room;           /* for this job, in its context or pages */
    struct spec_rate depth; /* how guesses come true by their place, not by how good they look */
};

/* The draft model, and what it costs. */
struct sched_draft {
    struct engine *en; /* NULL: there is none */
    struct engine_row *rows;
    const float **got;
    struct job **jobs; /* [running_max]: for which it guesses now */
    size_t n_jobs;
    struct spec_cost cost; /* of its steps */
    struct spec_rate depth;
    double ns_a_row; /* when it reads */
    double saved_ns; /* that it may be tried for where it loses */
};

struct sched {
    struct engine *en;
    struct sched_opts opts;
    pthread_t thread;
    pthread_mutex_t lock; /* the queue, `closed`, `load` */
    pthread_cond_t more, less;
    struct job *queue, **queue_end;
    bool closed, stop;
    struct sched_load load;
    bool is_virtual;         /* times are the simulated chip's */
    _Atomic uint64_t sim_ns; /* the chip's clock, from 1 on; 0: there is none */

    /* the engine thread's own: */
    struct job **running; /* [running_max], oldest first */
    size_t n_running;
    struct engine_row *rows; /* [batch] */
    size_t n_rows;
    struct sched_want {
        struct job *job;
        size_t at;     /* which of its tokens */
        bool draft;    /* one that was guessed: follows its job's next token */
    } * wants;         /* [batch]: whose each row of `got` is */
    const float **got; /* [batch]: logits or hidden states */
    size_t n_wants, n_logits;
    struct sampler_work *work;
    uint32_t *mask; /* [n_mask] words: tokens that may come */
    size_t n_mask;
    double ns_a_row;                      /* of a step, smoothed */
    bool reads;                           /* prompts, in the step that is made */
    struct spec_rate rate[SCHED_SOURCES]; /* of all jobs */
    struct spec_cost cost;
    struct sched_draft draft;
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
/* What a step gave of a job's next token, and of those guessed after it; wants[at] is the first.
 * Gives how many of wants it was; the job may be over. */
size_t sched_pick_all(struct sched *s, size_t at);
void sched_pick_fit(struct sched *s, const struct job *j); /* makes room for its grammar's masks */

/* ---- sched_spec.c ---- */

void sched_spec_start(struct sched *s, struct job *j); /* when it first runs */
void sched_spec_done(struct job *j);
void sched_spec_open(struct sched *s);
void sched_spec_close(struct sched *s);
/* The answer has one more token. */
void sched_spec_add(struct job *j, int32_t token);
/* Guesses for a step of next tokens alone, and takes those that pay: n_taken of each job. */
void sched_spec_plan(struct sched *s);
/* Nothing is guessed in this step. */
void sched_spec_skip(struct sched *s);
/* The step chose `token` where guess `at` stood, -1: an end.  True: it is the guess. */
bool sched_spec_note(struct sched *s, struct job *j, size_t at, int32_t token);
/* The chance of guess `at` when those before it come true. */
float sched_spec_chance(const struct job_spec *p, size_t at);
/* Rows that a step may have with guesses. */
size_t sched_spec_rows(const struct sched *s);

/* A step of either model on a simulated chip: its clock goes on. */
void sched_note_sim(struct sched *s, const struct dev_sim *sim);
void sched_note_joules(struct job *j, double joules);

/* ---- sched_draft.c ---- */

/* The draft model guesses for jobs whose own text says less, where it pays. */
void sched_draft_guess(struct sched *s);

#endif
