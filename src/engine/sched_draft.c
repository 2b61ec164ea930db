/* SPDX-License-Identifier: MIT
 * sched_draft.c - guesses by a draft model: its sequence follows a job's text and runs ahead of it.
 *
 * Its steps cost time before anything is known of what they guess, so whether it is asked follows
 * from how guesses came true by their place; while it is asked, how sure it is of a token says
 * whether to go on.  Where it loses it is tried again for a small share of the time. */
#include "engine/logits.h"
#include "engine/sched_int.h"

#include <math.h>

#define DRAFT_READ  64   /* tokens of a job that it reads in a step */
#define DRAFT_TRY   2    /* guesses of a trial */
#define DRAFT_SHARE 0.01 /* of the time that trials may take, */
#define DRAFT_SAVED 1e8  /* and ns of it that may be saved up */
#define DRAFT_AHEAD 256  /* tokens that an answer is thought to go on for */

/* ---- its sequence ---- */

/* What it holds of the job's text; what it guessed and did not come is cut off.  The last known
 * token is read in any case. */
static void follow(struct sched *s, struct job *j)
{
    struct job_spec *p = j->spec;
    size_t known = sched_n_known(j), n = p->n_sure;
    if (!p->seq) {
        int32_t *ids = mem_alloc(known * sizeof *ids);
        for (size_t i = 0; i < known; i++)
            ids[i] = sched_known(j, i);
        p->seq = engine_seq_new(s->draft.en);
        p->n_sure = engine_seq_reuse(p->seq, ids, known);
        mem_free(ids);
        return;
    }
    const int32_t *have = engine_seq_tokens(p->seq);
    size_t most = MIN(engine_seq_len(p->seq), known - 1);
    while (n < most && have[n] == sched_known(j, n))
        n++;
    engine_seq_cut(p->seq, MIN(n, most));
    p->n_sure = engine_seq_len(p->seq);
}

static size_t behind(const struct job *j)
{
    return sched_n_known(j) - (j->spec->seq ? j->spec->n_sure : 0);
}

static void forsake(struct job *j)
{
    engine_seq_cut(j->spec->seq, MIN(engine_seq_len(j->spec->seq), j->spec->n_sure));
    engine_seq_free(j->spec->seq);
    j->spec->seq = NULL;
    j->spec->n_sure = 0;
    j->spec->no_room = true;
}

/* ---- whether to ask it ---- */

/* Jobs of which it may know more than their own text. */
static void choose_jobs(struct sched *s)
{
    struct sched_draft *d = &s->draft;
    d->n_jobs = 0;
    for (size_t i = 0; i < s->n_running; i++) {
        struct job *j = s->running[i];
        struct job_spec *p = j->spec;
        if (!p || p->no_room || p->n_max == 0)
            continue;
        p->no_room = sched_n_known(j) + SCHED_DRAFT_MAX > engine_ctx(d->en);
        if (p->no_room || (p->n_draft && sched_spec_chance(p, 0) >= p->depth.share[0]))
            continue;
        d->jobs[d->n_jobs++] = j;
    }
}

/* The chance that a job's first guesses up to number `depth` come true. */
static double chance_of(const struct job *j, size_t depth)
{
    double p = 1;
    for (size_t i = 0; i < depth; i++)
        p *= (double)j->spec->depth.share[MIN(i, (size_t)SPEC_CLASSES - 1)];
    return p;
}

/* The most tokens for the time that guesses of one depth promise, in tokens a ns; 0: they lose. */
static double promise(const struct sched *s)
{
    const struct sched_draft *d = &s->draft;
    size_t rows = s->n_running, n = d->n_jobs;
    size_t most = MIN(sched_spec_rows(s), rows + spec_cost_reach(&s->cost, rows));
    double plain_ns = spec_cost_of(&s->cost, rows), draft_ns = spec_cost_of(&d->cost, n);
    double tokens = (double)rows, best = 0;
    for (size_t depth = 1; depth <= SCHED_DRAFT_MAX && rows + n * depth <= most; depth++) {
        for (size_t i = 0; i < n; i++)
            tokens += chance_of(d->jobs[i], depth);
        double ns = spec_cost_of(&s->cost, rows + n * depth) + (double)depth * draft_ns;
        best = MAX(best, tokens / ns);
    }
    return plain_ns > 0 && best > SPEC_WIN * (double)rows / plain_ns ? best : 0;
}

/* Leaves out jobs whose text takes longer to read than its guesses may win. */
static void leave_long(struct sched *s, double rate)
{
    struct sched_draft *d = &s->draft;
    double plain_ns = spec_cost_of(&s->cost, s->n_running);
    double won = plain_ns - (double)s->n_running / rate; /* for each token of each answer */
    size_t n = 0;
    for (size_t i = 0; i < d->n_jobs; i++) {
        struct job *j = d->jobs[i];
        size_t left = MIN(j->n_max - atomic_load(&j->n_out), (size_t)DRAFT_AHEAD);
        bool pays = (double)behind(j) * d->ns_a_row <= won * (double)left; /* or not known yet */
        if (behind(j) <= SCHED_DRAFT_MAX || pays)
            d->jobs[n++] = j;
    }
    d->n_jobs = n;
}

static double read_ns(const struct sched_draft *d, const struct job *j)
{
    double a_row = d->ns_a_row > 0 ? d->ns_a_row : spec_cost_of(&d->cost, 1);
    return (double)behind(j) * a_row;
}

/* A trial: the job that it can follow at the least cost; none where that is more than trials may
 * take by now. */
static void leave_one(struct sched *s)
{
    struct sched_draft *d = &s->draft;
    struct job *best = d->jobs[0];
    d->saved_ns += DRAFT_SHARE * spec_cost_of(&s->cost, s->n_running);
    d->saved_ns = MIN(d->saved_ns, DRAFT_SAVED);
    for (size_t i = 1; i < d->n_jobs; i++)
        if (behind(d->jobs[i]) < behind(best))
            best = d->jobs[i];
    d->jobs[0] = best;
    d->n_jobs = read_ns(d, best) + DRAFT_TRY * spec_cost_of(&d->cost, 1) <= d->saved_ns;
}

/* ---- asking ---- */

/* On a simulated chip: rows are in the order of jobs, whose shares of the joules are theirs. */
static void note_sim(struct sched *s, size_t n_rows)
{
    const struct sched_draft *d = &s->draft;
    const struct dev_sim *sim = engine_sim(d->en);
    if (!sim)
        return;
    sched_note_sim(s, sim);
    for (size_t i = 0, k = 0; i < n_rows; i++) {
        while (d->jobs[k]->spec->seq != d->rows[i].seq)
            k++;
        sched_note_joules(d->jobs[k], sim->step_joules / (double)n_rows);
    }
}

/* The cost of a guess is that of few rows: what is read of a long text says nothing of it. */
static bool run(struct sched *s, size_t n_rows)
{
    struct sched_draft *d = &s->draft;
    struct errinfo e;
    uint64_t began = sched_now(s);
    if (engine_step(d->en, d->rows, n_rows, d->got, &e) != ERR_OK) {
        forsake(d->jobs[--d->n_jobs]); /* no page is free: for the youngest there is no room */
        return false;
    }
    note_sim(s, n_rows);
    double ns = (double)(sched_now(s) - began);
    if (n_rows >= 16)
        d->ns_a_row = d->ns_a_row > 0 ? 0.8 * d->ns_a_row + 0.2 * ns / (double)n_rows
                                      : ns / (double)n_rows;
    if (n_rows <= 2 * s->n_running)
        spec_cost_note(&d->cost, n_rows, ns);
    return true;
}

/* Brings it to the end of the jobs' texts; those that it can guess for now stay in jobs. */
static bool read_texts(struct sched *s)
{
    struct sched_draft *d = &s->draft;
    size_t n_rows = 0, n = 0, batch = engine_batch(d->en), n_all = d->n_jobs;
    struct job **jobs = d->jobs;
    for (size_t i = 0; i < n_all; i++) {
        struct job *j = jobs[i];
        follow(s, j);
        size_t at = j->spec->n_sure, left = behind(j);
        size_t now = MIN(MIN(left, (size_t)DRAFT_READ), batch - n_rows - (n_all - 1 - i));
        for (size_t k = 0; k < now; k++)
            d->rows[n_rows++] = (struct engine_row){j->spec->seq, sched_known(j, at + k),
                                                    k + 1 == left ? ENGINE_LOGITS : ENGINE_NOTHING};
    }
    if (!run(s, n_rows))
        return false;
    for (size_t i = 0; i < n_all; i++) {
        struct job *j = jobs[i];
        j->spec->n_sure = engine_seq_len(j->spec->seq);
        if (behind(j) == 0)
            jobs[n++] = j;
    }
    d->n_jobs = n;
    return true;
}

/* Its likeliest token, if it ends no answer; false where guessing ends. */
static bool take_guess(struct job *j, const float *logits, size_t n_vocab)
{
    struct job_spec *p = j->spec;
    size_t best = 0;
    for (size_t t = 1; t < n_vocab; t++)
        best = logits[t] > logits[best] ? t : best;
    if (j->ends && j->ends[best])
        return false;
    float share = expf(logits[best] - logits_log_sum(logits, n_vocab));
    p->class[p->n_draft] = (uint8_t)spec_class_of_p(share);
    p->draft[p->n_draft] = (int32_t)best;
    p->chance = (p->n_draft ? p->chance : 1) * sched_spec_chance(p, p->n_draft);
    p->n_draft++;
    return true;
}

/* Whether one more guess may be worth its own step and its row; rate: tokens a ns that are to be
 * had, 0: whatever it costs. */
static bool goes_on(const struct sched *s, const struct job *j, double rate, size_t most)
{
    const struct job_spec *p = j->spec;
    size_t rows = s->n_running, n = MAX(s->draft.n_jobs, (size_t)1), deep = p->n_draft;
    if (deep >= MIN(most, p->n_max))
        return false;
    double row_ns = (spec_cost_of(&s->cost, rows + n * deep) - spec_cost_of(&s->cost, rows)) /
                    (double)(n * deep);
    double ns = row_ns + spec_cost_of(&s->draft.cost, n) / (double)n;
    float next = p->depth.share[MIN(deep, (size_t)SPEC_CLASSES - 1)];
    return (double)(p->chance * next) >= rate * ns;
}

static void guess_all(struct sched *s, double rate, size_t most)
{
    struct sched_draft *d = &s->draft;
    size_t n_vocab = MIN(engine_model(d->en)->n_vocab, engine_model(s->en)->n_vocab);
    for (size_t i = 0; i < d->n_jobs; i++) {
        d->jobs[i]->spec->source = SCHED_FROM_MODEL;
        d->jobs[i]->spec->n_draft = 0;
    }
    while (d->n_jobs) {
        size_t n = 0;
        for (size_t i = 0; i < d->n_jobs; i++) {
            struct job *j = d->jobs[i];
            if (!take_guess(j, d->got[i], n_vocab) || !goes_on(s, j, rate, most))
                continue;
            d->jobs[n] = j;
            d->rows[n++] = (struct engine_row){j->spec->seq, j->spec->draft[j->spec->n_draft - 1],
                                               ENGINE_DRAFT};
        }
        d->n_jobs = n;
        if (n == 0 || !run(s, n))
            return;
    }
}

void sched_draft_guess(struct sched *s)
{
    struct sched_draft *d = &s->draft;
    bool always = s->opts.speculate == SCHED_SPEC_ALWAYS;
    uint64_t began = sched_now(s);
    choose_jobs(s);
    if (d->n_jobs == 0)
        return;
    double rate = promise(s);
    bool tries = !always && rate == 0;
    if (always)
        rate = 0;
    else if (tries)
        leave_one(s);
    else
        leave_long(s, rate);
    if (d->n_jobs && read_texts(s))
        guess_all(s, rate, tries ? DRAFT_TRY : SCHED_DRAFT_MAX);
    if (tries)
        d->saved_ns -= (double)(sched_now(s) - began);
}
