/* SPDX-License-Identifier: MIT */
#include "app/talk.h"

#include "api/api.h"
#include "app/talk_see.h"
#include "base/arena.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <string.h>
#include <sys/random.h>

#define TALK_SEED_MAX (((uint64_t)1 << 53) - 1)
#define TALK_TEXT_MAX ((size_t)64 << 20)

/* A model without a template reads a transcript (chat.h); its next line would be the user's. */
#define TALK_NEXT_LINE "\nUser:"

/* How often `stop` is asked while no token comes. */
#define TALK_WAIT_NS 20000000

/* ---- opening ---- */

static void set_sampling(struct talk *t, const struct conf *c)
{
    if (c->seed >= 0)
        t->seed = (uint64_t)c->seed;
    else if (getrandom(&t->seed, sizeof t->seed, 0) != sizeof t->seed)
        t->seed = os_now_ns();
    t->seed &= TALK_SEED_MAX; /* a number that --seed takes */
    t->sampling = app_sampling(c);
    t->sampling.dry_breakers = t->breakers;
    t->sampling.n_dry_breakers = api_dry_breakers(t->tok, t->breakers);
}

static void open_sched(struct talk *t, const struct conf *c)
{
    size_t n_vocab = engine_model(t->model.engine)->n_vocab;
    const struct sched_opts o = {.queue_max = 1,
                                 .running_max = 1,
                                 .speculate = app_speculate(c),
                                 .draft = t->model.draft.engine};
    t->ends = mem_alloc(n_vocab * sizeof *t->ends);
    for (size_t i = 0; i < n_vocab; i++)
        t->ends[i] = tok_is_end(t->tok, (int32_t)i);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->come, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&t->lock, NULL);
    t->sched = sched_new(t->model.engine, &o);
}

enum err talk_open(struct talk *t, const struct conf *c, enum app_sight sight, struct errinfo *e)
{
    *t = (struct talk){.n_max = c->n};
    TRY(app_model_open_talk(&t->model, c, sight, e));
    enum err r = api_open_text(t->model.gguf, engine_model(t->model.engine)->n_vocab, &t->tok,
                               &t->chat, e);
    if (r == ERR_OK)
        r = app_model_talk(&t->model, t->tok, t->chat, e);
    if (r != ERR_OK) {
        talk_close(t);
        return r;
    }
    set_sampling(t, c);
    open_sched(t, c);
    return ERR_OK;
}

void talk_close(struct talk *t)
{
    if (t->sched) {
        sched_free(t->sched);
        pthread_cond_destroy(&t->come);
        pthread_mutex_destroy(&t->lock);
    }
    talk_forget(t);
    mem_free(t->ends);
    chat_close(t->chat);
    tok_close(t->tok);
    app_model_close(&t->model);
    *t = (struct talk){0};
}

void talk_vary(struct talk *t)
{
    t->seed = (t->seed + 1) & TALK_SEED_MAX;
}

json_t *talk_message(const char *role, const char *content, size_t n)
{
    json_t *m = json_object();
    json_object_set_new(m, "role", json_string(role));
    json_object_set_new(m, "content", json_stringn(content, n));
    return m;
}

/* ---- an answer ---- */

struct answer {
    struct talk *t;
    const struct talk_sink *sink;
    struct talk_stats *stats;
    struct tok_stream stream;
    struct str text;  /* decoded and not handed out yet */
    struct span stop; /* text that ends the answer; empty: none */
    bool stopped;
};

/* Bytes at the end of the text that may be the beginning of the stop text. */
static size_t held_back(const struct answer *a)
{
    struct span text = str_span(&a->text);
    for (size_t n = MIN(a->stop.n, text.n); n > 0; n--)
        if (span_starts(a->stop, (struct span){text.p + text.n - n, n}))
            return n;
    return 0;
}

static void hand_out(struct answer *a, bool all)
{
    struct span text = str_span(&a->text);
    size_t at = a->stop.n ? span_find(text, a->stop, 0) : SIZE_MAX;
    a->stopped = at != SIZE_MAX;
    size_t n = a->stopped ? at : all ? text.n : text.n - held_back(a);
    if (n)
        a->sink->text(a->sink->arg, (struct span){text.p, n});
    memmove(a->text.p, a->text.p + n, text.n - n);
    a->text.n -= n;
}

/* On the engine thread. */
static void wake(void *arg)
{
    struct talk *t = arg;
    pthread_mutex_lock(&t->lock);
    t->news = true;
    pthread_cond_signal(&t->come);
    pthread_mutex_unlock(&t->lock);
}

static void wait_for_news(struct talk *t)
{
    uint64_t until = os_now_ns() + TALK_WAIT_NS;
    struct timespec at = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
    pthread_mutex_lock(&t->lock);
    for (int r = 0; !t->news && r == 0;)
        r = pthread_cond_timedwait(&t->come, &t->lock, &at);
    t->news = false;
    pthread_mutex_unlock(&t->lock);
}

/* Hands out what comes of a job until it is done; what comes after a stop is not read. */
static enum err follow(struct answer *a, struct job *j, struct errinfo *e)
{
    bool over = false, stop = false;
    enum err r = ERR_OK;
    while (!over) {
        over = job_state(j) == JOB_DONE; /* before: so that n is the last word */
        for (size_t n = job_n_out(j); a->stats->n_answer < n && !stop && r == ERR_OK;) {
            r = tok_stream_add(&a->stream, j->out[a->stats->n_answer++].token, &a->text, e);
            if (r == ERR_OK)
                hand_out(a, false);
            stop = a->stopped || a->sink->stop(a->sink->arg);
        }
        stop = stop || r != ERR_OK || a->sink->stop(a->sink->arg);
        if (stop)
            job_cancel(j);
        if (!over)
            wait_for_news(a->t);
    }
    return r;
}

static void note_device(struct talk_stats *s, const struct job *j, const struct dev_sim *sim)
{
    size_t n = job_n_out(j);
    if (!sim || n == 0)
        return;
    s->device = (struct device_run){.sim = sim,
                                    .ttft_ms = (double)(j->sim.first_ns - j->sim.pushed_ns) * 1e-6,
                                    .joules = atomic_load(&j->sim.joules),
                                    .n_tokens = n};
    if (n > 1)
        s->device.tpot_ms = (double)(atomic_load(&j->sim.last_ns) - j->sim.first_ns) * 1e-6 /
                            (double)(n - 1);
}

/* Why the job ended, and how long it took.  It may have one token more than the context, which is
 * not read any more. */
static enum err end_job(struct answer *a, const struct job *j, struct errinfo *e)
{
    struct talk_stats *s = a->stats;
    size_t ctx = engine_ctx(a->t->model.engine), n = j->n_prompt + s->n_answer;
    s->n_prompt = j->n_prompt;
    s->n_cached = j->n_cached;
    s->n_drafted = j->n_drafted;
    s->n_accepted = j->n_accepted;
    s->prompt_ns = j->first_ns - j->started_ns;
    s->answer_ns = j->done_ns - j->first_ns;
    note_device(s, j, engine_sim(a->t->model.engine));
    s->end = TALK_END_STOPPED;
    if (a->stopped || j->end == JOB_END_STOP)
        s->end = TALK_END_MODEL;
    else if (j->end == JOB_END_LENGTH)
        s->end = TALK_END_LENGTH;
    if (j->end == JOB_END_FAILED) {
        *e = j->error;
        return e->code;
    }
    bool cut = s->end == TALK_END_LENGTH && n > ctx && s->n_answer != (size_t)a->t->n_max;
    return cut ? err_set(e, ERR_CONTEXT,
                         "the context is full: %zu tokens and 1 more are over the limit of %zu",
                         ctx, ctx)
               : ERR_OK;
}

static enum err write_answer(struct answer *a, const struct tok_ids *ids,
                             const struct talk_look *look, struct errinfo *e)
{
    struct talk *t = a->t;
    struct job job;
    size_t ctx = engine_ctx(t->model.engine);
    if (ids->n == 0)
        return err_set(e, ERR_USAGE, "the prompt is empty: there is nothing to answer");
    if (ids->n >= ctx)
        return err_set(e, ERR_CONTEXT,
                       "the prompt has %zu tokens, the context holds %zu with the answer", ids->n,
                       ctx);
    size_t room = ctx - ids->n + 1;
    job_init(&job, t->n_max ? MIN((size_t)t->n_max, room) : room, 0);
    job.prompt = ids->id;
    job.n_prompt = ids->n;
    job.spans = look->spans;
    job.n_spans = look->n;
    job.sampling = t->sampling;
    job.sampling.seed = t->seed;
    job.ends = t->ends;
    job.lora = t->model.lora;
    job.wake = wake;
    job.wake_arg = t;
    enum err r = sched_push(t->sched, &job, e);
    if (r == ERR_OK)
        r = follow(a, &job, e);
    if (r == ERR_OK)
        r = end_job(a, &job, e);
    job_done(&job);
    return r;
}

static enum err run_ids(struct talk *t, const struct tok_ids *ids, const struct talk_look *look,
                        struct span stop, const struct talk_sink *sink, struct talk_stats *stats,
                        struct errinfo *e)
{
    struct answer a = {.t = t, .sink = sink, .stats = stats, .stop = stop};
    *stats = (struct talk_stats){0};
    tok_stream_init(&a.stream, t->tok, 0);
    str_init(&a.text, TALK_TEXT_MAX);
    enum err r = write_answer(&a, ids, look, e);
    if (stats->n_answer && !a.stopped) {
        tok_stream_end(&a.stream, &a.text);
        hand_out(&a, true);
    }
    str_done(&a.text);
    tok_stream_done(&a.stream);
    return r;
}

/* Encodes a prompt.  A template that writes the BOS token itself must not get a second one. */
static enum err encode_prompt(const struct talk *t, struct span text, unsigned flags,
                              struct talk_look *look, struct tok_ids *ids, struct errinfo *e)
{
    int32_t bos = tok_bos(t->tok);
    bool has_bos = bos >= 0 && span_starts(text, tok_piece(t->tok, bos));
    flags |= has_bos ? 0 : TOK_BOS;
    return look->n ? talk_look_encode(t, look, text, flags, ids, e)
                   : tok_encode(t->tok, text, flags, ids, e);
}

enum err talk_answer(struct talk *t, const json_t *messages, const struct talk_sink *sink,
                     struct talk_stats *stats, struct errinfo *e)
{
    struct str prompt;
    struct tok_ids ids = {0};
    struct talk_look look;
    struct span stop = chat_has_template(t->chat) ? SPAN("") : SPAN(TALK_NEXT_LINE);
    TRY(talk_look_messages(t, messages, &look, e));
    str_init(&prompt, TALK_TEXT_MAX);
    enum err r = chat_render(t->chat, messages, NULL, NULL, true, os_unix_time(), &prompt, e);
    if (r == ERR_OK)
        r = encode_prompt(t, str_span(&prompt), TOK_SPECIAL | TOK_MARKED, &look, &ids, e);
    str_done(&prompt);
    if (r == ERR_OK)
        r = run_ids(t, &ids, &look, stop, sink, stats, e);
    tok_ids_done(&ids);
    return r;
}

enum err talk_continue(struct talk *t, struct span text, const char *const *paths, size_t n,
                       const struct talk_sink *sink, struct talk_stats *stats, struct errinfo *e)
{
    struct tok_ids ids = {0};
    struct talk_look look;
    TRY(talk_look_paths(t, paths, n, &look, e));
    enum err r = encode_prompt(t, text, TOK_SPECIAL, &look, &ids, e);
    if (r == ERR_OK)
        r = run_ids(t, &ids, &look, SPAN(""), sink, stats, e);
    tok_ids_done(&ids);
    return r;
}

static double per_second(size_t n, uint64_t ns)
{
    return ns ? (double)n * 1e9 / (double)ns : 0;
}

void talk_print_stats(const struct talk_stats *s, struct str *out)
{
    size_t read = s->n_prompt - s->n_cached;
    str_addf(out, "%zu tokens read at %.0f/s", read, per_second(read, s->prompt_ns));
    if (s->n_cached)
        str_addf(out, " (%zu known before)", s->n_cached);
    str_addf(out, ", %zu written", s->n_answer);
    if (s->n_answer > 1)
        str_addf(out, " at %.1f/s", per_second(s->n_answer - 1, s->answer_ns));
    if (s->n_drafted)
        str_addf(out, " (%zu of %zu guesses came true)", s->n_accepted, s->n_drafted);
    if (s->end == TALK_END_LENGTH)
        str_add_cstr(out, ", cut at the limit of -n");
}
