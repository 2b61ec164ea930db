/* SPDX-License-Identifier: MIT
 * sched.c - the queue and the engine thread. */
#include "engine/sched.h"

#include "base/arena.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#define SCHED_STEP_NS ((uint64_t)100000000)
#define SCHED_CHUNK   16 /* rows of a prompt in a step, at least */
#define SCHED_FIRST   64 /* rows of prompts in the first step, before a step's time is known */

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
    struct job **wants;      /* [batch]: the job of each row of logits */
    const float **logits;    /* [batch] */
    uint32_t *mask;          /* [n_mask] words: tokens that may come */
    size_t n_mask;
    double ns_a_row; /* of a step, smoothed */
    uint64_t order;
};

/* ---- jobs ---- */

void job_init(struct job *j, size_t n_max, int n_top)
{
    *j = (struct job){.n_max = n_max, .n_top = n_top};
    CHECK(n_max >= 1 && n_top >= 0 && n_top <= JOB_TOP_MAX);
    j->out = mem_alloc(n_max * sizeof *j->out);
    j->top = n_top ? mem_alloc(n_max * (size_t)n_top * sizeof *j->top) : NULL;
    j->sampling = sampler_neutral();
}

void job_done(struct job *j)
{
    int state = atomic_load(&j->state);
    CHECK(state == JOB_NEW || state == JOB_DONE);
    mem_free(j->out);
    mem_free(j->top);
    j->out = NULL;
    j->top = NULL;
}

void job_cancel(struct job *j)
{
    atomic_store(&j->cancelled, true);
}

enum job_state job_state(const struct job *j)
{
    return (enum job_state)atomic_load_explicit(&j->state, memory_order_acquire);
}

size_t job_n_out(const struct job *j)
{
    return atomic_load_explicit(&j->n_out, memory_order_acquire);
}

/* ---- ending ---- */

/* Wakes the maker, whose job it is from here on. */
static void finish(struct sched *s, struct job *j, enum job_end end)
{
    void (*wake)(void *) = j->wake;
    void *arg = j->wake_arg;
    engine_seq_free(j->seq);
    sampler_free(j->sampler);
    j->seq = NULL;
    j->sampler = NULL;
    j->end = end;
    j->done_ns = os_now_ns();
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

/* ---- starting ---- */

static size_t n_known(const struct job *j)
{
    return j->n_prompt + atomic_load(&j->n_out);
}

static int32_t known(const struct job *j, size_t i)
{
    return i < j->n_prompt ? j->prompt[i] : j->out[i - j->n_prompt].token;
}

/* Takes over what is known of the beginning.  An answer that was put back begins with what it had
 * written. */
static void reuse(struct sched *s, struct job *j)
{
    size_t n = n_known(j);
    int32_t *ids = mem_alloc(n * sizeof *ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = known(j, i);
    j->seq = engine_seq_new(s->en);
    j->n_read = engine_seq_reuse(j->seq, ids, n);
    if (n == j->n_prompt)
        j->n_cached = j->n_read;
    mem_free(ids);
}

static void fit_mask(struct sched *s, const struct job *j)
{
    size_t n = gram_vocab_words(j->vocab);
    if (n <= s->n_mask)
        return;
    s->mask = mem_grow(s->mask, n * sizeof *s->mask);
    s->n_mask = n;
}

static void start(struct sched *s, struct job *j)
{
    if (!j->sampler) {
        if (j->gram)
            fit_mask(s, j);
        j->sampler = sampler_new(&j->sampling, engine_model(s->en)->n_vocab, engine_ctx(s->en));
        for (size_t i = 0; i < j->n_prompt; i++)
            sampler_accept(j->sampler, j->prompt[i]);
        j->started_ns = os_now_ns();
        j->order = s->order++;
    }
    reuse(s, j);
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

/* Of the waiting jobs the first of the client that has least running; removed from the queue. */
static struct job *take_queued(struct sched *s)
{
    struct job **best = NULL;
    size_t least = SIZE_MAX;
    for (struct job **at = &s->queue; *at; at = &(*at)->next) {
        size_t n = running_of(s, (*at)->client);
        if (n < least) {
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
static size_t pages_wanted(const struct job *j)
{
    size_t held = j->seq ? engine_seq_len(j->seq) / ENGINE_PAGE : 0;
    return n_known(j) / ENGINE_PAGE + 2 - held;
}

/* Of those that run: a newcomer that took them would only be put back again.  Pages that several
 * share count for each, which errs on the careful side. */
static size_t pages_promised(const struct sched *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_running; i++)
        n += pages_wanted(s->running[i]);
    return n;
}

static void admit(struct sched *s)
{
    while (s->n_running < s->opts.running_max) {
        pthread_mutex_lock(&s->lock);
        struct job *j = take_queued(s);
        pthread_mutex_unlock(&s->lock);
        enum job_end end;
        if (!j)
            return;
        if (is_over(j, &end)) {
            finish(s, j, end);
            continue;
        }
        if (s->n_running && pages_wanted(j) + pages_promised(s) > engine_pages_free(s->en)) {
            put_back(s, j);
            return;
        }
        start(s, j);
    }
}

/* The youngest answer gives its pages back and waits. */
static void preempt(struct sched *s)
{
    struct job *j = s->running[--s->n_running];
    engine_seq_free(j->seq);
    j->seq = NULL;
    put_back(s, j);
    pthread_mutex_lock(&s->lock);
    s->load.n_preempted++;
    pthread_mutex_unlock(&s->lock);
}

/* ---- a step ---- */

static size_t left_to_read(const struct job *j)
{
    return n_known(j) - j->n_read;
}

static size_t add_rows(struct sched *s, struct job *j, size_t at, size_t n, size_t *n_out)
{
    size_t all = n_known(j);
    for (size_t i = 0; i < n; i++) {
        bool last = j->n_read + i + 1 == all;
        s->rows[at++] = (struct engine_row){j->seq, known(j, j->n_read + i), last};
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
        if (left_to_read(s->running[i]) == 1)
            n = add_rows(s, s->running[i], n, 1, n_out);
        else
            n_reading++;
    size_t left = n_reading ? prompt_rows(s, n) : 0;
    for (size_t i = 0; i < s->n_running && left > 0; i++) {
        struct job *j = s->running[i];
        if (left_to_read(j) <= 1)
            continue;
        size_t share = MAX(left / n_reading, (size_t)SCHED_CHUNK);
        share = MIN(MIN(share, left), left_to_read(j));
        n_reading--;
        n = add_rows(s, j, n, share, n_out);
        left -= share;
    }
    return n;
}

static void note_top(struct job *j, const float *logits, size_t n_vocab, size_t at, float log_sum)
{
    struct job_top *top = j->top + at * (size_t)j->n_top;
    int n = 0;
    for (size_t v = 0; v < n_vocab; v++) {
        if (n == j->n_top && logits[v] - log_sum <= top[n - 1].logprob)
            continue;
        int k = n < j->n_top ? n++ : n - 1;
        for (; k > 0 && top[k - 1].logprob < logits[v] - log_sum; k--)
            top[k] = top[k - 1];
        top[k] = (struct job_top){(int32_t)v, logits[v] - log_sum};
    }
}

static float log_sum_exp(const float *x, size_t n)
{
    float most = -INFINITY;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        most = MAX(most, x[i]);
    for (size_t i = 0; i < n; i++)
        sum += (double)expf(x[i] - most);
    return most + (float)log(sum);
}

/* ---- choosing ---- */

static bool any_left(const struct sched *s)
{
    for (size_t i = 0; i < s->n_mask; i++)
        if (s->mask[i])
            return true;
    return false;
}

/* The next token at or after t that ends an answer; n_vocab: none. */
static size_t next_end(const bool *ends, size_t t, size_t n_vocab)
{
    const void *at = ends && t < n_vocab ? memchr(ends + t, true, n_vocab - t) : NULL;
    return at ? (size_t)((const bool *)at - ends) : n_vocab;
}

static void set_ends(struct sched *s, const struct job *j, bool on)
{
    size_t n = engine_model(s->en)->n_vocab;
    for (size_t t = next_end(j->ends, 0, n); t < n; t = next_end(j->ends, t + 1, n)) {
        uint32_t bit = 1u << (t % 32);
        s->mask[t / 32] = on ? s->mask[t / 32] | bit : s->mask[t / 32] & ~bit;
    }
}

/* What may come next: NULL when all may.  A grammar's own end tokens have no bytes. */
static const uint32_t *mask_of(struct sched *s, struct job *j, size_t n_out)
{
    bool no_end = j->ignore_end || n_out < j->n_min;
    if (j->gram) {
        bool complete = gram_finished(j->gram);
        memset(s->mask, 0, s->n_mask * sizeof *s->mask); /* its vocabulary may be shorter */
        gram_mask(j->gram, j->vocab, s->mask);
        if (no_end || !complete)
            set_ends(s, j, false);
        if (!any_left(s) && complete)
            set_ends(s, j, true);
        return s->mask;
    }
    if (!no_end || !j->ends)
        return NULL;
    memset(s->mask, 0xff, s->n_mask * sizeof *s->mask);
    set_ends(s, j, false);
    return s->mask;
}

static bool ends_answer(const struct job *j, int32_t token)
{
    if (token < 0 || (j->ends && j->ends[token]))
        return true;
    return j->gram && gram_vocab_bytes(j->vocab, token).n == 0;
}

/* Chooses the next token of a job; true when the answer ends with or before it. */
static bool answer_one(struct sched *s, struct job *j, const float *logits, enum job_end *end)
{
    size_t n_vocab = engine_model(s->en)->n_vocab, n = atomic_load(&j->n_out);
    int32_t token = sampler_pick(j->sampler, logits, mask_of(s, j, n));
    if (n == 0)
        j->first_ns = os_now_ns();
    *end = JOB_END_STOP;
    if (ends_answer(j, token))
        return true;
    if (j->gram)
        CHECK(gram_accept_token(j->gram, j->vocab, token));
    j->out[n].token = token;
    if (j->logprobs || j->n_top) {
        float log_sum = log_sum_exp(logits, n_vocab);
        j->out[n].logprob = logits[token] - log_sum;
        if (j->n_top)
            note_top(j, logits, n_vocab, n, log_sum);
    }
    sampler_accept(j->sampler, token);
    atomic_store_explicit(&j->n_out, n + 1, memory_order_release);
    *end = JOB_END_LENGTH;
    if (n + 1 == j->n_max || n_known(j) > engine_ctx(s->en))
        return true;
    if (j->wake)
        j->wake(j->wake_arg);
    return false;
}

static size_t index_of(const struct sched *s, const struct job *j)
{
    size_t i = 0;
    while (s->running[i] != j)
        i++;
    return i;
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

static void step(struct sched *s)
{
    struct errinfo e;
    size_t n_out, n = fill_step(s, &n_out);
    uint64_t began = os_now_ns();
    enum err r = engine_step(s->en, s->rows, n, s->logits, &e);
    if (r != ERR_OK) {
        take_back(s, n);
        if (r == ERR_BUSY && s->n_running > 1) {
            preempt(s);
            return;
        }
        s->running[0]->error = e;
        struct job *j = s->running[0];
        remove_running(s, 0);
        finish(s, j, JOB_END_FAILED);
        return;
    }
    for (size_t i = 0; i < n_out; i++) {
        enum job_end end;
        struct job *j = s->wants[i];
        if (!answer_one(s, j, s->logits[i], &end))
            continue;
        remove_running(s, index_of(s, j));
        finish(s, j, end);
    }
    note_load(s, n, n_out, os_now_ns() - began);
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
        remove_running(s, i);
        finish(s, j, end);
    }
}

/* Jobs that are cancelled while they wait end at once, not when their turn comes. */
static void drop_queued(struct sched *s)
{
    struct job *over = NULL;
    pthread_mutex_lock(&s->lock);
    for (struct job **at = &s->queue; *at;) {
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
    s->queue_end = &s->queue;
    while (*s->queue_end)
        s->queue_end = &(*s->queue_end)->next;
    pthread_mutex_unlock(&s->lock);
    while (over) {
        struct job *j = over;
        enum job_end end = JOB_END_CANCELLED;
        over = j->next;
        is_over(j, &end);
        finish(s, j, end);
    }
}

static void *sched_main(void *arg)
{
    struct sched *s = arg;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        s->load.running = s->n_running;
        if (s->n_running == 0 && !s->queue)
            pthread_cond_broadcast(&s->less);
        while (!s->stop && s->n_running == 0 && !s->queue)
            pthread_cond_wait(&s->more, &s->lock);
        bool stop = s->stop;
        pthread_mutex_unlock(&s->lock);
        if (stop)
            return NULL;
        drop_queued(s);
        drop_over(s);
        admit(s);
        if (s->n_running)
            step(s);
    }
}

/* ---- from outside ---- */

struct sched *sched_new(struct engine *en, const struct sched_opts *o)
{
    struct sched *s = mem_alloc(sizeof *s);
    size_t batch = engine_batch(en);
    s->en = en;
    s->opts = *o;
    s->opts.running_max = MIN(MAX(o->running_max, (size_t)1), batch);
    s->opts.step_ns = o->step_ns ? o->step_ns : SCHED_STEP_NS;
    s->queue_end = &s->queue;
    s->running = mem_alloc(s->opts.running_max * sizeof *s->running);
    s->rows = mem_alloc(batch * sizeof *s->rows);
    s->wants = mem_alloc(batch * sizeof *s->wants);
    s->logits = mem_alloc(batch * sizeof *s->logits);
    s->n_mask = engine_model(en)->n_vocab / 32 + 1;
    s->mask = mem_alloc(s->n_mask * sizeof *s->mask);
    s->load.pages = s->load.pages_free = engine_pages_free(en);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->more, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->less, &monotonic);
    pthread_condattr_destroy(&monotonic);
    CHECK(pthread_create(&s->thread, NULL, sched_main, s) == 0);
    return s;
}

static void cancel_all(struct sched *s)
{
    for (struct job *j = s->queue, *next; j; j = next) {
        next = j->next;
        finish(s, j, JOB_END_CANCELLED);
    }
    while (s->n_running)
        finish(s, s->running[--s->n_running], JOB_END_CANCELLED);
}

void sched_free(struct sched *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->closed = s->stop = true;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    cancel_all(s);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->more);
    pthread_cond_destroy(&s->less);
    mem_free(s->running);
    mem_free(s->rows);
    mem_free(s->wants);
    mem_free(s->logits);
    mem_free(s->mask);
    mem_free(s);
}

enum err sched_push(struct sched *s, struct job *j, struct errinfo *e)
{
    size_t ctx = engine_ctx(s->en);
    CHECK(j->n_prompt >= 1 && atomic_load(&j->state) == JOB_NEW);
    CHECK(!j->gram || (j->vocab && j->ends));
    if (j->n_prompt >= ctx)
        return err_set(e, ERR_CONTEXT,
                       "the prompt has %zu tokens, the context holds %zu with the answer",
                       j->n_prompt, ctx);
    pthread_mutex_lock(&s->lock);
    bool closed = s->closed, full = s->load.queued >= s->opts.queue_max;
    s->load.n_refused += full;
    if (!closed && !full) {
        j->pushed_ns = os_now_ns();
        j->next = NULL;
        atomic_store(&j->state, JOB_QUEUED);
        *s->queue_end = j;
        s->queue_end = &j->next;
        s->load.queued++;
        pthread_cond_signal(&s->more);
    }
    pthread_mutex_unlock(&s->lock);
    if (closed)
        return err_set(e, ERR_CANCELLED, "the server is ending");
    if (full)
        return err_set(e, ERR_BUSY, "%zu requests wait already", s->opts.queue_max);
    return ERR_OK;
}

bool sched_drain(struct sched *s, uint64_t wait_ns)
{
    uint64_t until = os_now_ns() + wait_ns;
    struct timespec t = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
    int r = 0;
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    while (r == 0 && (s->queue || s->load.running))
        r = pthread_cond_timedwait(&s->less, &s->lock, &t);
    bool empty = !s->queue && !s->load.running;
    pthread_mutex_unlock(&s->lock);
    return empty;
}

struct sched_load sched_load(struct sched *s)
{
    pthread_mutex_lock(&s->lock);
    struct sched_load l = s->load;
    pthread_mutex_unlock(&s->lock);
    return l;
}
