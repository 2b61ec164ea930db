/* SPDX-License-Identifier: MIT
 * sched_step.c - what a step reads: every answer's next token, and prompts in shares. */
#include "engine/sched_int.h"

#define SCHED_CHUNK 16 /* rows of a prompt in a step, at least */
#define SCHED_FIRST 64 /* rows of prompts in the first step, before a step's time is known */

static size_t add_rows(struct sched *s, struct job *j, size_t at, size_t n, size_t *n_out)
{
    size_t all = sched_n_known(j);
    for (size_t i = 0; i < n; i++) {
        bool last = j->n_read + i + 1 == all;
        s->rows[at++] = (struct engine_row){j->seq, sched_known(j, j->n_read + i),
                                            last ? ENGINE_LOGITS : ENGINE_NOTHING};
        if (last)
            s->wants[(*n_out)++] = j;
    }
    j->n_read += n;
    return at;
}

/* Rows of prompts that a step may have beside n_decode others, so that it stays short: for the
 * answers that wait for their next token, and for whoever cancels. */
static size_t prompt_rows(const struct sched *s, size_t n_decode)
{
    size_t rows = SCHED_FIRST;
    if (s->ns_a_row > 0)
        rows = (size_t)((double)s->opts.step_ns / s->ns_a_row);
    return MIN(MAX(rows, (size_t)SCHED_CHUNK), engine_batch(s->en) - n_decode);
}

/* Every answer's next token, then prompts in equal shares, the oldest first. */
static size_t fill_step(struct sched *s, size_t *n_out)
{
    size_t n = 0, n_reading = 0;
    *n_out = 0;
    for (size_t i = 0; i < s->n_running; i++)
        if (sched_left_to_read(s->running[i]) == 1)
            n = add_rows(s, s->running[i], n, 1, n_out);
        else
            n_reading++;
    size_t left = n_reading ? prompt_rows(s, n) : 0;
    for (size_t i = 0; i < s->n_running && left > 0; i++) {
        struct job *j = s->running[i];
        if (sched_left_to_read(j) <= 1)
            continue;
        size_t share = MAX(left / n_reading, (size_t)SCHED_CHUNK);
        share = MIN(MIN(share, left), sched_left_to_read(j));
        n_reading--;
        n = add_rows(s, j, n, share, n_out);
        left -= share;
    }
    return n;
}

static void note_load(struct sched *s, size_t n_rows, size_t n_out, uint64_t ns)
{
    double a_row = (double)ns / (double)n_rows;
    if (n_rows >= SCHED_CHUNK) /* few rows say little of many */
        s->ns_a_row = s->ns_a_row > 0 ? 0.8 * s->ns_a_row + 0.2 * a_row : a_row;
    pthread_mutex_lock(&s->lock);
    s->load.n_steps++;
    s->load.n_rows += n_rows;
    s->load.n_answer += n_out;
    s->load.running = s->n_running;
    s->load.pages_free = engine_pages_free(s->en);
    pthread_mutex_unlock(&s->lock);
}

/* What a step took from the jobs when it could not run. */
static void take_back(struct sched *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < s->n_running; k++)
            if (s->running[k]->seq == s->rows[i].seq)
                s->running[k]->n_read--;
}

void sched_step(struct sched *s)
{
    struct errinfo e;
    size_t n_out, n = fill_step(s, &n_out);
    uint64_t began = os_now_ns();
    enum err r = engine_step(s->en, s->rows, n, s->logits, &e);
    if (r != ERR_OK) {
        take_back(s, n);
        if (r == ERR_BUSY && s->n_running > 1) {
            sched_preempt(s);
            return;
        }
        s->running[0]->error = e;
        sched_finish_running(s, s->running[0], JOB_END_FAILED);
        return;
    }
    for (size_t i = 0; i < n_out; i++) {
        enum job_end end;
        struct job *j = s->wants[i];
        if (sched_pick(s, j, s->logits[i], &end))
            sched_finish_running(s, j, end);
    }
    note_load(s, n, n_out, os_now_ns() - began);
}
