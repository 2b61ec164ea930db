/* SPDX-License-Identifier: MIT
 * sched.c - the queue and the engine thread. */
#include "base/log.h"
#include "engine/sched_int.h"

/* ---- jobs ---- */

void job_init(struct job *j, size_t n_max, int n_top)
{
    *j = (struct job){.n_max = n_max, .n_top = n_top};
    CHECK(n_top >= 0 && n_top <= JOB_TOP_MAX);
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
    mem_free(j->prompt_out);
    mem_free(j->prompt_top);
    mem_free(j->embedding);
    mem_free(j->sum);
    j->out = j->prompt_out = NULL;
    j->top = j->prompt_top = NULL;
    j->embedding = NULL;
    j->sum = NULL;
}

void job_want_prompt(struct job *j)
{
    CHECK(j->n_prompt >= 1 && !j->prompt_out && !j->pool);
    j->prompt_out = mem_alloc(j->n_prompt * sizeof *j->prompt_out);
    if (j->n_top)
        j->prompt_top = mem_alloc(j->n_prompt * (size_t)j->n_top * sizeof *j->prompt_top);
}

void job_want_embedding(struct job *j, enum job_pool pool, size_t dim)
{
    CHECK(j->n_max == 0 && !j->prompt_out && !j->embedding && pool != JOB_POOL_NONE);
    j->pool = pool;
    j->dim = dim;
    j->embedding = mem_alloc(dim * sizeof *j->embedding);
    j->sum = mem_alloc(dim * sizeof *j->sum);
}

void job_want_score(struct job *j, const struct model *m)
{
    static const enum job_pool pools[] = {[MODEL_POOL_MEAN] = JOB_POOL_MEAN,
                                          [MODEL_POOL_CLS] = JOB_POOL_CLS,
                                          [MODEL_POOL_LAST] = JOB_POOL_LAST};
    CHECK(m->head.out.rows);
    job_want_embedding(j, pools[m->head.pooling], m->dim);
    j->ranks = true;
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

/* ---- the thread ---- */

static bool has_work(void *arg)
{
    struct sched *s = arg;
    pthread_mutex_lock(&s->lock);
    bool work = s->stop || s->queue;
    pthread_mutex_unlock(&s->lock);
    return work;
}

/* What the file does not have yet, until there is something better to do. */
static void save_cache(struct sched *s, bool (*stop)(void *arg))
{
    struct errinfo e;
    enum err r = engine_cache_save(s->en, stop, s, &e);
    if (r != ERR_OK && r != ERR_CANCELLED)
        log_at(LOG_WARN, "cache", "error=\"%s\"", e.text);
    pthread_mutex_lock(&s->lock);
    s->load.cache = engine_cache_stat(s->en);
    pthread_mutex_unlock(&s->lock);
}

/* Waits for work, with the lock held; true when the time has come to save. */
static bool wait_for_work(struct sched *s)
{
    uint64_t until = os_now_ns() + s->opts.cache_idle_ns;
    struct timespec t = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
    bool saves = engine_cache_is_behind(s->en);
    int r = 0;
    while (!s->stop && !s->queue && r == 0)
        r = saves ? pthread_cond_timedwait(&s->more, &s->lock, &t)
                  : pthread_cond_wait(&s->more, &s->lock);
    return !s->stop && !s->queue;
}

bool sched_turn(struct sched *s)
{
    sched_drop(s);
    sched_admit(s);
    if (s->n_running)
        sched_step(s);
    return s->n_running || has_work(s);
}

/* ---- time ---- */

uint64_t sched_now(struct sched *s)
{
    return s->is_virtual ? atomic_load(&s->sim_ns) : os_now_ns();
}

void sched_rest(struct sched *s, uint64_t to_ns)
{
    CHECK(s->opts.driven && s->is_virtual && !s->n_running);
    if (to_ns > atomic_load(&s->sim_ns))
        atomic_store(&s->sim_ns, to_ns);
}

static void *sched_main(void *arg)
{
    struct sched *s = arg;
    for (;;) {
        bool saves = false;
        pthread_mutex_lock(&s->lock);
        s->load.running = s->n_running;
        if (s->n_running == 0 && !s->queue)
            pthread_cond_broadcast(&s->less);
        if (s->n_running == 0)
            saves = wait_for_work(s);
        bool stop = s->stop;
        pthread_mutex_unlock(&s->lock);
        if (stop)
            return NULL;
        if (saves)
            save_cache(s, has_work);
        sched_turn(s);
    }
}

/* ---- from outside ---- */

static void open_cache(struct sched *s)
{
    struct errinfo e;
    if (!s->opts.cache_path)
        return;
    if (engine_cache_open(s->en, s->opts.cache_path, s->opts.cache_bytes_max, &e) != ERR_OK)
        log_at(LOG_WARN, "cache", "error=\"%s\"", e.text);
    s->load.cache = engine_cache_stat(s->en);
    s->opts.cache_path = NULL; /* the caller's */
}

struct sched *sched_new(struct engine *en, const struct sched_opts *o)
{
    struct sched *s = mem_alloc(sizeof *s);
    size_t batch = engine_batch(en);
    s->en = en;
    s->opts = *o;
    s->opts.running_max = MIN(MAX(o->running_max, (size_t)1), MIN(batch, engine_out_max(en)));
    s->opts.step_ns = o->step_ns ? o->step_ns : SCHED_STEP_NS;
    s->opts.cache_idle_ns = o->cache_idle_ns ? o->cache_idle_ns : SCHED_CACHE_IDLE_NS;
    const struct dev_sim *sim = engine_sim(en);
    s->is_virtual = sim && sim->clock == DEV_CLOCK_VIRTUAL;
    atomic_store(&s->sim_ns, sim != NULL);
    open_cache(s);
    s->queue_end = &s->queue;
    s->running = mem_alloc(s->opts.running_max * sizeof *s->running);
    s->rows = mem_alloc(batch * sizeof *s->rows);
    s->wants = mem_alloc(batch * sizeof *s->wants);
    s->got = mem_alloc(batch * sizeof *s->got);
    s->work = sampler_work_new(engine_model(en)->n_vocab);
    sched_spec_open(s);
    s->n_mask = engine_model(en)->n_vocab / 32 + 1;
    s->mask = mem_alloc(s->n_mask * sizeof *s->mask);
    s->load.pages = s->load.pages_free = engine_pages_free(en);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->more, &monotonic);
    pthread_cond_init(&s->less, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (!o->driven)
        CHECK(pthread_create(&s->thread, NULL, sched_main, s) == 0);
    return s;
}

static void cancel_all(struct sched *s)
{
    for (struct job *j = s->queue, *next; j; j = next) {
        next = j->next;
        sched_finish(s, j, JOB_END_CANCELLED);
    }
    while (s->n_running)
        sched_finish(s, s->running[--s->n_running], JOB_END_CANCELLED);
}

void sched_free(struct sched *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->closed = s->stop = true;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
    if (!s->opts.driven)
        pthread_join(s->thread, NULL);
    cancel_all(s);
    save_cache(s, NULL);
    engine_cache_close(s->en);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->more);
    pthread_cond_destroy(&s->less);
    mem_free(s->running);
    mem_free(s->rows);
    mem_free(s->wants);
    mem_free(s->got);
    mem_free(s->mask);
    sampler_work_free(s->work);
    sched_spec_close(s);
    mem_free(s);
}

/* A step with a picture has every other answer's next token, too. */
static enum err check_spans(const struct sched *s, const struct job *j, struct errinfo *e)
{
    size_t most = engine_batch(s->en) - MIN(engine_batch(s->en), s->opts.running_max - 1);
    CHECK(!j->n_spans || !j->prompt_out);
    for (size_t i = 0; i < j->n_spans; i++)
        if (j->spans[i].n > most)
            return err_set(e, ERR_USAGE,
                           "a picture of %zu rows does not go into a step of %zu (--batch) beside "
                           "%zu answers",
                           j->spans[i].n, engine_batch(s->en), s->opts.running_max - 1);
    return ERR_OK;
}

enum err sched_push(struct sched *s, struct job *j, struct errinfo *e)
{
    size_t ctx = engine_ctx(s->en);
    CHECK(j->n_prompt >= 1 && atomic_load(&j->state) == JOB_NEW);
    CHECK(!j->pool || j->dim == engine_model(s->en)->dim);
    CHECK(!j->gram || (j->vocab && j->ends));
    const struct model *m = engine_model(s->en);
    CHECK(!j->second || m->n_types > 1);
    if (!m->output.rows && (j->n_max > 0 || j->prompt_out))
        return err_set(e, ERR_UNSUPPORTED,
                       "a model of the family %s makes %s of texts and writes none", m->arch->name,
                       m->head.out.rows ? "scores" : "vectors");
    j->no_reuse |= m->bidirectional;
    if (j->n_prompt > ctx - (j->n_max > 0))
        return err_set(e, ERR_CONTEXT, "the prompt has %zu tokens, the context holds %zu%s",
                       j->n_prompt, ctx, j->n_max > 0 ? " with the answer" : "");
    TRY(check_spans(s, j, e));
    pthread_mutex_lock(&s->lock);
    bool closed = s->closed, full = s->load.queued >= s->opts.queue_max;
    s->load.n_refused += full;
    if (!closed && !full) {
        j->pushed_ns = sched_now(s);
        j->sim.pushed_ns = atomic_load(&s->sim_ns);
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
