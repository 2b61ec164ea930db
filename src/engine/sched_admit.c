/* SPDX-License-Identifier: MIT
 * sched_admit.c - who runs: starting, ending and putting back. */
#include "engine/sched_int.h"

#include <string.h>

/* ---- ending ---- */

/* Wakes the maker, whose job it is from here on. */
void sched_finish(struct sched *s, struct job *j, enum job_end end)
{
    void (*wake)(void *) = j->wake;
    void *arg = j->wake_arg;
    engine_seq_free(j->seq);
    sampler_free(j->sampler);
    sched_spec_done(j);
    j->seq = NULL;
    j->sampler = NULL;
    j->end = end;
    j->done_ns = sched_now(s);
    if (!j->started_ns) /* else they are read meanwhile, and not written again */
        j->started_ns = j->done_ns;
    if (!j->first_ns)
        j->first_ns = j->done_ns;
    pthread_mutex_lock(&s->lock);
    s->load.n_done++;
    pthread_mutex_unlock(&s->lock);
    atomic_store_explicit(&j->state, JOB_DONE, memory_order_release);
    if (wake)
        wake(arg);
}

static bool is_over(const struct job *j, enum job_end *end)
{
    if (atomic_load(&j->cancelled))
        *end = JOB_END_CANCELLED;
    else if (j->deadline_ns && os_now_ns() > j->deadline_ns)
        *end = JOB_END_DEADLINE;
    else
        return false;
    return true;
}

static void remove_running(struct sched *s, size_t i)
{
    memmove(&s->running[i], &s->running[i + 1], (--s->n_running - i) * sizeof *s->running);
}

static size_t index_of(const struct sched *s, const struct job *j)
{
    size_t i = 0;
    while (s->running[i] != j)
        i++;
    return i;
}

void sched_finish_running(struct sched *s, struct job *j, enum job_end end)
{
    remove_running(s, index_of(s, j));
    sched_finish(s, j, end);
}

static void drop_over(struct sched *s)
{
    for (size_t i = 0; i < s->n_running;) {
        enum job_end end;
        struct job *j = s->running[i];
        if (!is_over(j, &end)) {
            i++;
            continue;
        }
        sched_finish_running(s, j, end);
    }
}

/* Jobs that are cancelled while they wait end at once, not when their turn comes. */
static void drop_queued(struct sched *s)
{
    struct job *over = NULL;
    pthread_mutex_lock(&s->lock);
    struct job **at = &s->queue;
    while (*at) {
        struct job *j = *at;
        enum job_end end;
        if (!is_over(j, &end)) {
            at = &j->next;
            continue;
        }
        *at = j->next;
        s->load.queued--;
        j->next = over;
        over = j;
    }
    s->queue_end = at;
    pthread_mutex_unlock(&s->lock);
    while (over) {
        struct job *j = over;
        enum job_end end = JOB_END_CANCELLED;
        over = j->next;
        is_over(j, &end);
        sched_finish(s, j, end);
    }
}

void sched_drop(struct sched *s)
{
    drop_queued(s);
    drop_over(s);
}

/* ---- starting ---- */

/* Tokens that need not be read when the tree knows them: not those of which something is wanted. */
static size_t may_reuse(const struct job *j)
{
    bool every = j->no_reuse || j->pool == JOB_POOL_MEAN ||
                 (j->pool == JOB_POOL_CLS && j->n_used == 0) ||
                 (j->prompt_out && j->n_used + 1 < j->n_prompt);
    return every ? j->n_used : sched_n_known(j) - 1;
}

/* Takes over what is known of the beginning.  An answer that was put back begins with what it had
 * written. */
static void reuse(struct sched *s, struct job *j)
{
    size_t n = may_reuse(j) + 1; /* the last is read in any case */
    int32_t *ids = mem_alloc(n * sizeof *ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = sched_known(j, i);
    j->seq = engine_seq_new(s->en);
    engine_seq_spans(j->seq, j->spans, j->n_spans);
    engine_seq_lora(j->seq, &j->lora);
    if (j->second)
        engine_seq_types(j->seq, j->second);
    j->n_read = engine_seq_reuse(j->seq, ids, n);
    engine_seq_mark(j->seq, j->n_prompt - 1); /* the last token is always read anew */
    mem_free(ids);
}

static void start_first(struct sched *s, struct job *j)
{
    if (j->gram)
        sched_pick_fit(s, j);
    if (j->n_max > 0 && !j->given) {
        j->sampler = sampler_new(&j->sampling, engine_model(s->en)->n_vocab, engine_ctx(s->en),
                                 s->work);
        for (size_t i = 0; i < j->n_prompt; i++)
            if (!engine_in_span(j->prompt[i]))
                sampler_accept(j->sampler, j->prompt[i]);
        sched_spec_start(s, j);
    }
    j->started_ns = sched_now(s);
    j->order = s->order++;
    reuse(s, j);
    j->n_cached = j->n_read;
    pthread_mutex_lock(&s->lock);
    s->load.n_prompt += j->n_prompt;
    s->load.n_cached += j->n_cached;
    pthread_mutex_unlock(&s->lock);
}

static void start(struct sched *s, struct job *j)
{
    if (j->started_ns)
        reuse(s, j);
    else
        start_first(s, j);
    atomic_store(&j->state, JOB_RUNNING);
    /* Oldest first, also for those that come back. */
    size_t at = s->n_running++;
    for (; at > 0 && s->running[at - 1]->order > j->order; at--)
        s->running[at] = s->running[at - 1];
    s->running[at] = j;
}

static size_t running_of(const struct sched *s, uint64_t client)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_running; i++)
        n += s->running[i]->client == client;
    return n;
}

/* Tokens that two prompts begin with, in whole pages. */
static size_t common_start(const struct job *a, const struct job *b)
{
    size_t n = 0, most = MIN(a->n_prompt, b->n_prompt);
    while (n + ENGINE_PAGE <= most &&
           memcmp(a->prompt + n, b->prompt + n, ENGINE_PAGE * sizeof *a->prompt) == 0)
        n += ENGINE_PAGE;
    return n;
}

/* The same prompt, whose state is known when all but its last token are read. */
static bool same_prompt(const struct job *a, const struct job *b)
{
    return a->n_prompt == b->n_prompt &&
           memcmp(a->prompt, b->prompt, a->n_prompt * sizeof *a->prompt) == 0;
}

/* Pages that it begins with are being read for another: it takes them over when they are known.
 * What is read goes on with every step, so the wait ends. */
static bool waits_for_pages(const struct sched *s, const struct job *j)
{
    bool state = engine_model(s->en)->has_state;
    if (may_reuse(j) < ENGINE_PAGE)
        return false;
    for (size_t i = 0; i < s->n_running; i++) {
        const struct job *k = s->running[i];
        if (sched_left_to_read(k) > 1 && common_start(j, k) > k->n_read &&
            memcmp(&j->lora, &k->lora, sizeof j->lora) == 0 && (!state || same_prompt(j, k)))
            return true;
    }
    return false;
}

/* Of the waiting jobs that can start the first of the client that has least running; removed from
 * the queue. */
static struct job *take_queued(struct sched *s)
{
    struct job **best = NULL;
    size_t least = SIZE_MAX;
    for (struct job **at = &s->queue; *at; at = &(*at)->next) {
        size_t n = running_of(s, (*at)->client);
        if (n < least && !waits_for_pages(s, *at)) {
            least = n;
            best = at;
        }
    }
    if (!best)
        return NULL;
    struct job *j = *best;
    *best = j->next;
    if (!j->next)
        s->queue_end = best;
    s->load.queued--;
    s->load.running++; /* sched_drain must not miss it on its way */
    return j;
}

static void put_back(struct sched *s, struct job *j)
{
    pthread_mutex_lock(&s->lock);
    j->next = s->queue; /* to the front: it has waited before */
    s->queue = j;
    if (!j->next)
        s->queue_end = &j->next;
    s->load.queued++;
    s->load.running--;
    pthread_mutex_unlock(&s->lock);
    atomic_store(&j->state, JOB_QUEUED);
}

/* Pages that a job still takes to hold what is known of it, and one to write on. */
static size_t pages_wanted(const struct sched *s, const struct job *j)
{
    size_t held = j->seq ? engine_seq_len(j->seq) / ENGINE_PAGE
                         : engine_pages_shared(s->en, &j->lora, j->prompt,
                                               MIN(j->n_prompt, may_reuse(j) + 1));
    return sched_n_known(j) / ENGINE_PAGE + 2 - held;
}

/* Of those that run: a newcomer that took them would only be put back again. */
static size_t pages_promised(const struct sched *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_running; i++)
        n += pages_wanted(s, s->running[i]);
    return n;
}

/* Brings what it begins with from the cache's file; true when there is more of it, which waits for
 * the next step of the others. */
static bool fetch_more(struct sched *s, const struct job *j)
{
    size_t n = MIN(may_reuse(j) + 1, j->n_prompt);
    if (j->lora.n) /* the file holds texts that were read without adapters */
        return false;
    return engine_cache_fetch(s->en, j->prompt, n, os_now_ns() + SCHED_FETCH_NS);
}

void sched_admit(struct sched *s)
{
    while (s->n_running < MIN(s->opts.running_max, engine_seqs_max(s->en))) {
        pthread_mutex_lock(&s->lock);
        struct job *j = take_queued(s);
        pthread_mutex_unlock(&s->lock);
        enum job_end end;
        if (!j)
            return;
        if (is_over(j, &end)) {
            sched_finish(s, j, end);
            continue;
        }
        if (s->n_running && pages_wanted(s, j) + pages_promised(s) > engine_pages_free(s->en)) {
            put_back(s, j);
            return;
        }
        if (fetch_more(s, j)) {
            put_back(s, j);
            return;
        }
        start(s, j);
    }
}

/* The youngest answer gives its pages back and waits. */
void sched_preempt(struct sched *s)
{
    struct job *j = s->running[--s->n_running];
    engine_seq_free(j->seq);
    j->seq = NULL;
    put_back(s, j);
    pthread_mutex_lock(&s->lock);
    s->load.n_preempted++;
    pthread_mutex_unlock(&s->lock);
}
