/* SPDX-License-Identifier: MIT
 * sched_spec.c - tokens that are guessed ahead become rows of the same step.  What is chosen at
 * each place is what would be chosen without them (sched_pick.c), so a wrong guess costs time
 * alone; and spec.h says whether a guess is worth it.
 *
 * What is guessed and not taken is compared all the same with what comes: rates are learnt for
 * nothing, also where guesses do not pay yet. */
#include "engine/sched_int.h"

#define SPEC_CHANCE_MIN 0.03f /* a row for less is not weighed */

void sched_spec_open(struct sched *s)
{
    struct sched_draft *d = &s->draft;
    s->rate[SCHED_FROM_TEXT] = spec_rate_new(0.2f, 0.8f);
    s->rate[SCHED_FROM_MODEL] = spec_rate_new(0.3f, 0.95f);
    d->en = s->opts.speculate == SCHED_SPEC_OFF ? NULL : s->opts.draft;
    if (d->en && (engine_model(s->en)->has_state || engine_model(d->en)->has_state))
        d->en = NULL;
    if (!d->en)
        return;
    CHECK(MIN(engine_out_max(d->en), engine_batch(d->en)) >= s->opts.running_max);
    d->depth = spec_rate_new(0.6f, 0.6f);
    d->rows = mem_alloc(engine_batch(d->en) * sizeof *d->rows);
    d->got = mem_alloc(engine_batch(d->en) * sizeof *d->got);
    d->jobs = mem_alloc(s->opts.running_max * sizeof *d->jobs);
}

void sched_spec_close(struct sched *s)
{
    mem_free(s->draft.rows);
    mem_free(s->draft.got);
    mem_free(s->draft.jobs);
}

void sched_spec_start(struct sched *s, struct job *j)
{
    /* A state cannot be cut back to before a wrong guess; what is in pictures is no text. */
    if (s->opts.speculate == SCHED_SPEC_OFF || j->n_max < 2 || engine_model(s->en)->has_state ||
        j->n_spans)
        return;
    size_t ctx = engine_ctx(s->en), rest = ctx - MIN(ctx, j->n_prompt);
    j->spec = mem_alloc(sizeof *j->spec);
    size_t n_predicted = MIN(j->n_predicted, ctx); /* more of it could not come */
    j->spec->text = ngram_new(n_predicted + j->n_prompt + MIN(j->n_max, rest + 1));
    for (int i = 0; i < SCHED_SOURCES; i++)
        j->spec->rate[i] = spec_rate_from(&s->rate[i]);
    j->spec->depth = spec_rate_from(&s->draft.depth);
    for (size_t i = 0; i < n_predicted; i++)
        ngram_add(j->spec->text, j->predicted[i]);
    for (size_t i = 0; i < j->n_prompt; i++)
        ngram_add(j->spec->text, j->prompt[i]);
}

void sched_spec_done(struct job *j)
{
    if (!j->spec)
        return;
    if (j->spec->seq) /* what it guessed is not to be known as a text */
        engine_seq_cut(j->spec->seq, MIN(engine_seq_len(j->spec->seq), j->spec->n_sure));
    engine_seq_free(j->spec->seq);
    ngram_free(j->spec->text);
    mem_free(j->spec);
    j->spec = NULL;
}

void sched_spec_add(struct job *j, int32_t token)
{
    if (j->spec)
        ngram_add(j->spec->text, token);
}

void sched_spec_skip(struct sched *s)
{
    for (size_t i = 0; i < s->n_running; i++)
        if (s->running[i]->spec)
            s->running[i]->spec->n_draft = s->running[i]->spec->n_taken = 0;
}

float sched_spec_chance(const struct job_spec *p, size_t at)
{
    return p->rate[p->source].share[p->class[at]];
}

size_t sched_spec_rows(const struct sched *s)
{
    return MIN(MIN(engine_batch(s->en), engine_out_max(s->en)), (size_t)SPEC_ROWS);
}

/* By its own text; no more than the answer and the context leave room for. */
static void guess(const struct sched *s, struct job *j)
{
    struct job_spec *p = j->spec;
    size_t left = j->n_max - atomic_load(&j->n_out) - 1, match;
    p->n_max = MIN(MIN(left, engine_ctx(s->en) - sched_n_known(j)), (size_t)SCHED_DRAFT_MAX);
    p->source = SCHED_FROM_TEXT;
    p->n_taken = 0;
    p->n_draft = ngram_propose(p->text, p->draft, p->n_max, &match);
    for (size_t i = 0; i < p->n_draft; i++) {
        p->class[i] = (uint8_t)spec_class_of_match(match + i);
        if (j->ends && j->ends[p->draft[i]])
            p->n_draft = i;
    }
}

/* Pages that guesses may take: what is left when every job's next token has its own. */
static size_t pages_left(const struct sched *s)
{
    size_t n = engine_pages_free(s->en), needed = 0;
    for (size_t i = 0; i < s->n_running; i++)
        needed += s->running[i]->n_read % ENGINE_PAGE == 0;
    return n - MIN(n, needed);
}

static bool begins_page(const struct job *j)
{
    return (sched_n_known(j) + j->spec->n_taken) % ENGINE_PAGE == 0;
}

/* The job whose next guess has the best chance; NULL: none is worth a thought. */
static struct job *best_job(const struct sched *s, size_t n_pages)
{
    struct job *best = NULL;
    float most = SPEC_CHANCE_MIN;
    for (size_t i = 0; i < s->n_running; i++) {
        struct job *j = s->running[i];
        struct job_spec *p = j->spec;
        if (!p || p->n_taken == p->n_draft || p->chance <= most || (begins_page(j) && !n_pages))
            continue;
        most = p->chance;
        best = j;
    }
    return best;
}

void sched_spec_plan(struct sched *s)
{
    float gain[SPEC_ROWS];
    struct job *whose[SPEC_ROWS];
    size_t n = 0, rows = s->n_running, n_pages = pages_left(s);
    size_t most = sched_spec_rows(s);
    for (size_t i = 0; i < s->n_running; i++)
        if (s->running[i]->spec)
            guess(s, s->running[i]);
    if (s->draft.en)
        sched_draft_guess(s);
    for (size_t i = 0; i < s->n_running; i++)
        if (s->running[i]->spec && s->running[i]->spec->n_draft)
            s->running[i]->spec->chance = sched_spec_chance(s->running[i]->spec, 0);
    for (struct job *j; rows + n < most && (j = best_job(s, n_pages)); n++) {
        n_pages -= begins_page(j);
        gain[n] = j->spec->chance;
        whose[n] = j;
        if (++j->spec->n_taken < j->spec->n_draft)
            j->spec->chance *= sched_spec_chance(j->spec, j->spec->n_taken);
    }
    size_t n_chosen = s->opts.speculate == SCHED_SPEC_ALWAYS ? n
                                                             : spec_choose(&s->cost, rows, gain, n);
    while (n > n_chosen)
        whose[--n]->spec->n_taken--;
}

bool sched_spec_note(struct sched *s, struct job *j, size_t at, int32_t token)
{
    struct job_spec *p = j->spec;
    if (!p || at >= p->n_draft)
        return false;
    bool came_true = token == p->draft[at];
    spec_rate_note(&p->rate[p->source], p->class[at], came_true);
    spec_rate_note(&s->rate[p->source], p->class[at], came_true);
    if (p->source == SCHED_FROM_MODEL) {
        size_t depth = MIN(at, (size_t)SPEC_CLASSES - 1);
        spec_rate_note(&p->depth, depth, came_true);
        spec_rate_note(&s->draft.depth, depth, came_true);
    }
    if (at < p->n_taken) {
        j->n_accepted += came_true;
        pthread_mutex_lock(&s->lock);
        s->load.n_drafted += at == 0 ? p->n_taken : 0;
        s->load.n_accepted += came_true;
        pthread_mutex_unlock(&s->lock);
    }
    j->n_drafted += at == 0 ? p->n_taken : 0;
    return came_true;
}
