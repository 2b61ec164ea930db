/* SPDX-License-Identifier: MIT
 * sched.h - many answers at once: a queue of jobs and the thread that runs them together.
 *
 * Does: take jobs up to a limit; let each start when pages for its prompt are free; make steps of
 *       every running answer's next token and as much prompt as keeps a step short; choose tokens;
 *       guess tokens ahead where that pays, and choose as if they had not been guessed; share known
 *       beginnings, also with an answer whose prompt is still being read; when memory runs out, put
 *       back the answer that began last and go on with it later from what it had.
 * Does not: see text, JSON or connections.  A full queue is an answer (BUSY), never a wait.
 * Threads: sched_push, job_cancel and the job_ readers may be called from any thread; `wake` is
 *       called from the engine thread and must not block or call back into the scheduler.
 * Owner: a job belongs to its maker before sched_push and again once job_state says DONE. */
#ifndef ENGINE_SCHED_H
#define ENGINE_SCHED_H

#include "engine/engine.h"
#include "engine/engine_cache.h"
#include "engine/sampler.h"
#include "gram/gram.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum job_state { JOB_NEW, JOB_QUEUED, JOB_RUNNING, JOB_DONE };

enum job_end {
    JOB_END_NONE,
    JOB_END_STOP,      /* an end token, or the grammar lets nothing follow */
    JOB_END_LENGTH,    /* n_max (also when it is 0), or the context is full */
    JOB_END_CANCELLED, /* job_cancel */
    JOB_END_DEADLINE,
    JOB_END_FAILED /* `error` says why */
};

struct job_out {
    int32_t token;
    float logprob; /* of the token, before any change to the logits */
};

/* The likeliest tokens at one place, likeliest first, before any change to the logits. */
struct job_top {
    int32_t token;
    float logprob;
};

#define JOB_TOP_MAX 20

/* An embedding instead of an answer: which hidden states, after the model's last norm, make it.
 * What the model's file has behind that (pool.h) is applied. */
enum job_pool {
    JOB_POOL_NONE,
    JOB_POOL_MEAN, /* of all tokens */
    JOB_POOL_CLS,  /* the first token's */
    JOB_POOL_LAST
};

/* On a simulated chip: by its clock, whatever clock the scheduler goes by. */
struct job_sim {
    uint64_t pushed_ns, first_ns;
    _Atomic uint64_t last_ns; /* when the last token up to now came */
    _Atomic double joules;    /* its rows' share of what its steps took */
};

struct job {
    /* set by the maker: */
    const int32_t *prompt; /* [n_prompt], lives until the job is done */
    size_t n_prompt;
    /* Pictures in the prompt, [n_spans] in order, as long as the prompt lives.  Nothing is guessed
     * of the answer then, and job_want_prompt is not for such prompts. */
    const struct engine_span *spans;
    size_t n_spans;
    /* Where tokens of the second type begin (engine_seq_types); 0: nowhere. */
    size_t second;
    size_t n_max;            /* tokens of the answer; 0: the prompt is all */
    struct engine_lora lora; /* adapters of prompt and answer; of no use to guesses */
    /* What much of the answer may be, for guesses; [n_predicted], as long as the prompt lives. */
    const int32_t *predicted;
    size_t n_predicted;
    /* No end token has a chance before n_min tokens, or ever; but a complete text of a grammar that
     * nothing can follow ends the answer all the same. */
    size_t n_min;
    bool ignore_end;
    int n_top; /* likeliest tokens wanted at each place, at most JOB_TOP_MAX */
    bool logprobs;
    bool no_reuse; /* the whole prompt is read, whatever is known of it: for measurements */
    struct sampler_params sampling;
    const bool *ends; /* [n_vocab]: tokens that end an answer; may be NULL without a grammar */
    /* The answer follows this grammar; NULL: none.  End tokens come only where its text is
     * complete.  The maker's, but the engine thread's until the job is done. */
    struct gram_state *gram;
    const struct gram_vocab *vocab; /* with gram */
    /* The answer as it will be, [n_max]: nothing is chosen.  For load tests on a device that
     * computes nothing; NULL: tokens are chosen. */
    const int32_t *given;
    uint64_t client;         /* who asks: the queue is fair between clients */
    uint64_t deadline_ns;    /* os_now_ns; 0: none */
    void (*wake)(void *arg); /* there is something to read; may be NULL */
    void *wake_arg;

    /* written by the engine thread, read through the functions below: */
    _Atomic int state;
    atomic_bool cancelled;
    atomic_size_t n_out;
    struct job_out *out; /* [n_max] */
    struct job_top *top; /* [n_max][n_top] */
    /* job_want_prompt: of every token of the prompt but the first, which follows nothing; whole
     * once the first token is out or the job DONE. */
    struct job_out *prompt_out; /* [n_prompt] */
    struct job_top *prompt_top; /* [n_prompt][n_top] */
    /* job_want_embedding; whole once DONE with JOB_END_LENGTH; not normalised. */
    float *embedding; /* [dim] */
    float score;      /* job_want_score: pool.h has its meaning */
    enum job_end end; /* once DONE */
    struct errinfo error;
    size_t n_cached; /* tokens of the prompt that were known, once the first token is out */
    /* Tokens that were guessed ahead, and those of them that came; once DONE. */
    size_t n_drafted, n_accepted;
    struct job_sim sim; /* engine_sim: else 0 */
    /* sched_now, each not before the one before it; what never happened has done_ns. */
    uint64_t pushed_ns, started_ns, first_ns, done_ns;

    /* the engine thread's own: */
    struct job *next;
    struct engine_seq *seq;
    struct sampler *sampler;
    struct job_spec *spec; /* NULL: nothing is guessed */
    size_t n_rows;         /* of the step that runs */
    size_t share;          /* rows of the step that is being made */
    size_t n_read;         /* tokens of prompt and answer that the sequence holds */
    size_t n_used;         /* tokens of the prompt whose logits or hidden states were taken */
    enum job_pool pool;
    bool ranks;  /* a score is wanted */
    double *sum; /* [dim] of the hidden states taken */
    size_t dim;
    uint64_t order;
};

/* Takes what a job needs for its answers; frees it.  prompt stays the maker's. */
void job_init(struct job *j, size_t n_max, int n_top);
void job_done(struct job *j);
/* Before sched_push, with prompt and n_prompt set.  What is wanted of every token is not taken from
 * the tree of known beginnings: the prompt is read as a whole. */
void job_want_prompt(struct job *j);
void job_want_embedding(struct job *j, enum job_pool pool, size_t dim); /* n_max is 0 */
/* The same for the score of a model with a head. */
void job_want_score(struct job *j, const struct model *m);
void job_cancel(struct job *j);
enum job_state job_state(const struct job *j);
/* Answers that can be read: out[0 .. n).  Read the state before, to see the last ones. */
size_t job_n_out(const struct job *j);

struct sched;

#define SCHED_DRAFT_MAX 16 /* tokens of a job that are guessed in a step */

/* Tokens may be guessed ahead: answers are the same to the token.  The engine's out_max says how
 * many beside the answers' next ones. */
enum sched_speculate {
    SCHED_SPEC_OFF,
    SCHED_SPEC_AUTO,  /* where it is faster by what was measured */
    SCHED_SPEC_ALWAYS /* as many as can be: for tests */
};

struct sched_opts {
    size_t queue_max;   /* jobs that wait */
    size_t running_max; /* answers at once; no more than the engine's batch and out_max */
    uint64_t step_ns;   /* how long a step with prompts in it should take; 0: 50 ms */
    enum sched_speculate speculate;
    /* A smaller model of the same vocabulary that guesses, too; the scheduler's until sched_free.
     * Its batch and out_max are running_max at least.  NULL: none. */
    struct engine *draft;
    /* A file where known beginnings outlive the process (engine_cache.h), NULL: none.  What is new
     * is written when nothing was to do for cache_idle_ns (0: 3 s), and by sched_free.  A file that
     * cannot be used is a warning in the log. */
    const char *cache_path;
    uint64_t cache_bytes_max;
    uint64_t cache_idle_ns;
    bool driven; /* no thread: the caller drives it by sched_turn, and is the engine thread */
};

struct sched_load {
    size_t queued, running;
    size_t pages, pages_free; /* what is only remembered counts as free */
    /* since the beginning: */
    uint64_t n_steps, n_rows, n_answer, n_done, n_refused, n_preempted;
    uint64_t n_prompt, n_cached;    /* tokens of prompts that were started; that were known */
    uint64_t n_drafted, n_accepted; /* tokens guessed ahead; those that came */
    uint64_t busy_ns;               /* in steps */
    uint64_t step_ns, step_rows;    /* of the last step */
    /* On a simulated chip: time and joules of its steps, those that the machine was too slow for.
     */
    double sim_s, sim_joules;
    uint64_t sim_late;
    struct engine_cache_stat cache;
};

/* The engine is the scheduler's until sched_free, which cancels what runs. */
struct sched *sched_new(struct engine *en, const struct sched_opts *o);
void sched_free(struct sched *s);
/* Errors: BUSY (the queue is full), CONTEXT (the prompt does not fit), CANCELLED (draining),
 * UNSUPPORTED (the model writes no text, and text or logprobs are asked for), USAGE (a
 * picture has more rows than a step that has every answer's next token, too). */
enum err sched_push(struct sched *s, struct job *j, struct errinfo *e);
/* The clock of the scheduler's times: os_now_ns, or that of a simulated chip with a clock of its
 * own (DEV_CLOCK_VIRTUAL).  Deadlines are os_now_ns in any case. */
uint64_t sched_now(struct sched *s);
/* Of a driven one with such a clock: nothing is done until then.  to_ns may be past. */
void sched_rest(struct sched *s, uint64_t to_ns);
/* Drops, admits and makes a step; false: there is nothing to do. */
bool sched_turn(struct sched *s);
/* No new jobs; returns when the last one is done, or after the time: then false. */
bool sched_drain(struct sched *s, uint64_t wait_ns);
struct sched_load sched_load(struct sched *s);

#endif
