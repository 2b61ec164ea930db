/* SPDX-License-Identifier: MIT
 * mlperf_jobs.h - the engine as LoadGen's system under test: queries become jobs of the scheduler.
 *
 * Does: queue what is asked; keep as many jobs with the scheduler as it runs at once, so that it
 *       batches them; tell the book of first tokens and answers as they come.
 * Does not: reuse what one question computed for another (the rules forbid it), guess tokens, or
 *       see text.
 * Threads: mlperf_jobs_ask from any thread, at once; one thread of its own does the rest.
 * Owner: the caller of mlperf_jobs_new; scheduler, questions and book outlive it. */
#ifndef MLPERF_MLPERF_JOBS_H
#define MLPERF_MLPERF_JOBS_H

#include "engine/sched.h"
#include "mlperf/mlperf_book.h"

struct mlperf_question {
    int32_t *prompt; /* [n_prompt] */
    size_t n_prompt;
    size_t n_max; /* tokens of the answer, at least 2 */
};

struct mlperf_jobs;

struct mlperf_jobs_opts {
    struct sched *sched;
    struct mlperf_book *book;
    const struct mlperf_question *question;
    size_t at_once; /* jobs that the scheduler has at the same time */
    const bool *ends;
    struct sampler_params sampling;
};

struct mlperf_jobs *mlperf_jobs_new(const struct mlperf_jobs_opts *o);
/* Cancels what runs, and returns when the scheduler has let go of all. */
void mlperf_jobs_free(struct mlperf_jobs *x);
/* Queries `first` to `first + n - 1` of the book ask these questions.  x: a struct mlperf_jobs. */
void mlperf_jobs_ask(void *x, size_t first, const struct mlperf_sample *s, size_t n);

#endif
