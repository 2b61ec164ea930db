/* SPDX-License-Identifier: MIT
 * sched_step.c - what a step reads: every answer's next token, and some of the prompts. */
#include "engine/pool.h"
#include "engine/sched_int.h"

#define SCHED_CHUNK 16 /* rows of a prompt in a step, at least */
#define SCHED_FIRST 64 /* rows of prompts in the first step, before a step's time is known */

/* What is wanted of token `at` of a job. */
static enum engine_want want_of(const struct job *j, size_t at)
{
    bool last = at + 1 == sched_n_known(j), in_prompt = at < j->n_prompt && at >= j->n_used;
    switch (j->pool) {
    case JOB_POOL_NONE: break;
    case JOB_POOL_MEAN: return in_prompt ? ENGINE_HIDDEN : ENGINE_NOTHING;
    case JOB_POOL_CLS: return in_prompt && at == 0 ? ENGINE_HIDDEN : ENGINE_NOTHING;
    case JOB_POOL_LAST: return last ? ENGINE_HIDDEN : ENGINE_NOTHING;
    }
    if (last)
        return j->n_max > 0 ? ENGINE_LOGITS : ENGINE_NOTHING;
    return j->prompt_out && in_prompt && at + 1 < j->n_prompt ? ENGINE_LOGITS : ENGINE_NOTHING;
}

static void add_rows(struct sched *s, struct job *j, size_t n)
{
    j->n_rows += n;
    for (size_t i = 0; i < n; i++, j->n_read++) {
        enum engine_want want = want_of(j, j->n_read);
        s->rows[s->n_rows++] = (struct engine_row){j->seq, sched_known(j, j->n_read), want};
        if (want != ENGINE_NOTHING)
            s->wants[s->n_wants++] = (struct sched_want){j, j->n_read, false};
        s->n_logits += want == ENGINE_LOGITS;
    }
}

/* Guessed tokens stand behind their job's next one; it has not read them before they come true. */
static void add_drafts(struct sched *s, struct job *j)
{
    for (size_t i = 0; j->spec && i < j->spec->n_taken; i++) {
        s->rows[s->n_rows++] = (struct engine_row){j->seq, j->spec->draft[i], ENGINE_DRAFT};
        s->wants[s->n_wants++] = (struct sched_want){j, j->n_read + i, true};
        j->n_rows++;
        s->n_logits++;
    }
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

/* Rows that it may have for the logits that are left when each of n others has its one. */
static size_t logits_rows(const struct sched *s, const struct job *j, size_t n_others)
{
    if (!j->prompt_out)
        return SIZE_MAX;
    size_t left = engine_out_max(s->en) - s->n_logits - n_others;
    return left + (j->n_used > j->n_read ? j->n_used - j->n_read : 0);
}

/* So many rows of a job, or as many more as a picture that they end in has; where that is more than
 * `room`, those before it. */
static size_t whole_spans(const struct job *j, size_t n, size_t room)
{
    for (size_t i = 0; i < j->n_spans; i++) {
        const struct engine_span *x = &j->spans[i];
        size_t end = j->n_read + n, last = x->at + x->n;
        if (x->at < end && end < last)
            n = last - j->n_read <= room ? last - j->n_read : x->at - j->n_read;
    }
    return MIN(n, room);
}

/* The prompt with least left that could have more of the step's rows; NULL: none. */
static struct job *shortest(const struct sched *s)
{
    struct job *best = NULL;
    for (size_t i = 0; i < s->n_running; i++) {
        struct job *j = s->running[i];
        size_t n = sched_left_to_read(j);
        if (n > 1 && j->share < n && (!best || n < sched_left_to_read(best)))
            best = j;
    }
    return best;
}

/* Prompts are read one after the other, the one with least left first, so that most answers begin
 * soon; in equal shares all of them would begin late.  A quarter of the rows is for the oldest,
 * which the short ones must not pass by for ever.  A picture is read whole, however short the step
 * should be: `room` is what there is at most, and sched_push saw that it is enough for one. */
static void share_rows(struct sched *s, size_t left, size_t room)
{
    struct job *j = NULL;
    for (size_t i = s->n_running; i-- > 0;) {
        s->running[i]->share = 0;
        if (sched_left_to_read(s->running[i]) > 1)
            j = s->running[i];
    }
    for (size_t n = left / 4; j && left > 0; j = shortest(s), n = left) {
        n = MIN(MAX(n, (size_t)1), sched_left_to_read(j) - j->share);
        n = whole_spans(j, j->share + n, j->share + room) - j->share;
        if (n == 0)
            break;
        j->share += n;
        left -= MIN(n, left);
        room -= n;
    }
}

/* Texts of a model that sees them both ways, each as a whole, the oldest first; of several as many
 * as keep the step short. */
static void fill_whole(struct sched *s)
{
    size_t most = prompt_rows(s, 0);
    for (size_t i = 0; i < s->n_running; i++) {
        size_t n = sched_left_to_read(s->running[i]);
        if (s->n_rows == 0 || s->n_rows + n <= most)
            add_rows(s, s->running[i], n);
    }
}

/* Every answer's next token, then rows of prompts. */
static void fill_step(struct sched *s)
{
    size_t n_reading = 0;
    s->n_rows = s->n_wants = s->n_logits = 0;
    for (size_t i = 0; i < s->n_running; i++) {
        s->running[i]->n_rows = 0;
        n_reading += sched_left_to_read(s->running[i]) > 1;
    }
    bool whole = engine_model(s->en)->bidirectional;
    s->reads = n_reading > 0 || whole;
    if (s->reads) /* the step is as long as it may be without guesses */
        sched_spec_skip(s);
    else
        sched_spec_plan(s);
    if (whole) {
        fill_whole(s);
        return;
    }
    for (size_t i = 0; i < s->n_running; i++)
        if (sched_left_to_read(s->running[i]) == 1) {
            add_rows(s, s->running[i], 1);
            add_drafts(s, s->running[i]);
        }
    if (!s->reads)
        return;
    share_rows(s, prompt_rows(s, s->n_rows), engine_batch(s->en) - s->n_rows);
    for (size_t i = 0; i < s->n_running && n_reading > 0; i++) {
        struct job *j = s->running[i];
        if (sched_left_to_read(j) <= 1) /* added above */
            continue;
        size_t most = logits_rows(s, j, --n_reading);
        add_rows(s, j, MIN(j->share, most));
    }
}

/* engine_ns of ns were for the rows. */
static void note_load(struct sched *s, uint64_t ns, uint64_t engine_ns)
{
    double a_row = (double)ns / (double)s->n_rows;
    if (s->n_rows >= SCHED_CHUNK) /* few rows say little of many */
        s->ns_a_row = s->ns_a_row > 0 ? 0.8 * s->ns_a_row + 0.2 * a_row : a_row;
    if (!s->reads)
        spec_cost_note(&s->cost, s->n_rows, (double)engine_ns);
    pthread_mutex_lock(&s->lock);
    s->load.n_steps++;
    s->load.n_rows += s->n_rows;
    s->load.n_answer = s->n_answer;
    s->load.running = s->n_running;
    s->load.pages_free = engine_pages_free(s->en);
    s->load.busy_ns += ns;
    s->load.step_ns = ns;
    s->load.step_rows = s->n_rows;
    s->load.cache = engine_cache_stat(s->en);
    pthread_mutex_unlock(&s->lock);
}

void sched_note_joules(struct job *j, double joules)
{
    atomic_store(&j->sim.joules, atomic_load(&j->sim.joules) + joules);
}

void sched_note_sim(struct sched *s, const struct dev_sim *sim)
{
    const struct dev_sim *other = s->draft.en ? engine_sim(s->draft.en) : NULL;
    atomic_fetch_add(&s->sim_ns, sim->step_ns);
    pthread_mutex_lock(&s->lock);
    s->load.sim_s += (double)sim->step_ns * 1e-9;
    s->load.sim_joules += sim->step_joules;
    s->load.sim_late = engine_sim(s->en)->n_late + (other ? other->n_late : 0);
    pthread_mutex_unlock(&s->lock);
}

/* Each job has its rows' share of the joules. */
static void note_sim(struct sched *s)
{
    const struct dev_sim *sim = engine_sim(s->en);
    if (!sim)
        return;
    sched_note_sim(s, sim);
    for (size_t i = 0; i < s->n_running; i++) {
        struct job *j = s->running[i];
        sched_note_joules(j, sim->step_joules * (double)j->n_rows / (double)s->n_rows);
    }
}

/* What a step took from the jobs when it could not run. */
static void take_back(struct sched *s)
{
    for (size_t i = 0; i < s->n_rows; i++)
        for (size_t k = 0; k < s->n_running; k++)
            if (s->running[k]->seq == s->rows[i].seq && s->rows[i].want != ENGINE_DRAFT)
                s->running[k]->n_read--;
}

/* A state more of an embedding.  They come in the order of the text, one by one into binary64, so
 * that the sum does not depend on the steps. */
static void add_hidden(struct job *j, const float *hidden)
{
    for (size_t i = 0; i < j->dim; i++)
        j->sum[i] += (double)hidden[i];
    j->n_used++;
}

static void end_embedding(const struct model *m, struct job *j)
{
    for (size_t i = 0; i < j->dim; i++)
        j->embedding[i] = (float)(j->sum[i] / (double)j->n_used);
    if (j->ranks)
        j->score = pool_score(m, j->embedding);
    else
        pool_dense(m, j->embedding);
}

/* What the step gave, to whom it belongs. */
static void deal_out(struct sched *s)
{
    for (size_t i = 0, n; i < s->n_wants; i += n) {
        struct job *j = s->wants[i].job;
        n = 1;
        if (j->pool)
            add_hidden(j, s->got[i]);
        else if (s->wants[i].at + 1 < j->n_prompt)
            sched_note_prompt(s, j, s->wants[i].at, s->got[i]);
        else
            n = sched_pick_all(s, i);
    }
    for (size_t i = 0; i < s->n_running;) {
        struct job *j = s->running[i];
        if (j->n_max > 0 || sched_left_to_read(j) > 0) {
            i++;
            continue;
        }
        if (j->pool)
            end_embedding(engine_model(s->en), j);
        sched_finish_running(s, j, JOB_END_LENGTH);
    }
}

void sched_step(struct sched *s)
{
    struct errinfo e;
    uint64_t began = sched_now(s);
    fill_step(s);
    uint64_t filled = sched_now(s);
    enum err r = engine_step(s->en, s->rows, s->n_rows, s->got, &e);
    if (r == ERR_OK) {
        note_sim(s);
        uint64_t computed = sched_now(s);
        deal_out(s);
        note_load(s, sched_now(s) - began, computed - filled);
        return;
    }
    take_back(s);
    if (r == ERR_BUSY && s->n_running > 1) {
        sched_preempt(s);
        return;
    }
    s->running[0]->error = e;
    sched_finish_running(s, s->running[0], JOB_END_FAILED);
}
