/* SPDX-License-Identifier: MIT */
#include "api/api_compare.h"

#include "api/api_chats.h"
#include "api/api_model.h"
#include "base/num.h"
#include "engine/quote.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#define TOKENS_MAX 1048576

struct api_compares {
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t work;
    struct compare *head, **tail;
    size_t n_waiting;
    bool stop;
};

/* A request, in its arena. */
struct compare {
    struct compare *next;
    struct api_call *call;
    struct api_model *model; /* a use of it */
    struct quote_run run;
    const struct api_chip *chip[API_COMPARE_CHIPS_MAX];
    struct quote quote[API_COMPARE_CHIPS_MAX];
    struct errinfo e[API_COMPARE_CHIPS_MAX]; /* of those that cannot */
    bool good[API_COMPARE_CHIPS_MAX];
    size_t n;
    atomic_bool over, gone; /* gone: nobody reads it */
};

/* ---- the thread ---- */

static void work_on(struct compare *x)
{
    for (size_t i = 0; i < x->n && !atomic_load(&x->gone); i++)
        x->good[i] = quote_run(&x->quote[i], x->model->engine, x->chip[i]->chip, &x->run,
                               &x->e[i]) == ERR_OK;
    struct http_req *req = x->call->req;
    api_model_release(x->model);
    atomic_store(&x->over, true);
    http_wake(req);
    http_release(req); /* x lies in its arena */
}

static void *compares_main(void *arg)
{
    struct api_compares *s = arg;
    pthread_mutex_lock(&s->mu);
    for (;;) {
        while (!s->head && !s->stop)
            pthread_cond_wait(&s->work, &s->mu);
        struct compare *x = s->head;
        if (!x)
            break;
        s->head = x->next;
        if (!s->head)
            s->tail = &s->head;
        pthread_mutex_unlock(&s->mu);
        work_on(x);
        pthread_mutex_lock(&s->mu);
        s->n_waiting--; /* the one at work counts */
    }
    pthread_mutex_unlock(&s->mu);
    return NULL;
}

enum err api_compares_open(struct api_compares **out, struct errinfo *e)
{
    sigset_t all, old;
    struct api_compares *s = mem_alloc(sizeof *s);
    s->tail = &s->head;
    pthread_mutex_init(&s->mu, NULL);
    pthread_cond_init(&s->work, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool running = pthread_create(&s->thread, NULL, compares_main, s) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    *out = running ? s : NULL;
    if (running)
        return ERR_OK;
    mem_free(s);
    return err_set(e, ERR_MEMORY, "cannot start the thread that compares chips");
}

void api_compares_close(struct api_compares *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->mu);
    s->stop = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->mu);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->mu);
    mem_free(s);
}

/* ---- the answer ---- */

static json_t *chip_of(const struct api_chip *c)
{
    return api_pack("{ss ss ss sf sf sI}", "name", c->name, "title", c->title, "computes",
                    c->computes, "watts", c->watts, "memory_gb", c->memory_gb, "assumed",
                    (json_int_t)c->n_assumed);
}

static json_t *row_of(const struct compare *x, size_t i)
{
    const struct quote *q = &x->quote[i];
    json_t *o = chip_of(x->chip[i]);
    if (!x->good[i]) {
        json_object_set_new(o, "error", json_string(x->e[i].text));
        return o;
    }
    json_object_set_new(o, "ttft_ms", json_real(q->ttft_ms));
    json_object_set_new(o, "tpot_ms", x->run.n_answer > 1 ? json_real(q->tpot_ms) : json_null());
    json_object_set_new(o, "joules", json_real(q->joules));
    json_object_set_new(o, "tokens_per_joule",
                        q->joules > 0 ? json_real((double)x->run.n_answer / q->joules)
                                      : json_null());
    return o;
}

static void woken(void *state)
{
    struct compare *x = state;
    if (!atomic_load(&x->over))
        return;
    struct api_call *c = x->call;
    http_later(c->req, NULL, NULL); /* from here on the request is ours no more */
    json_t *rows = json_array();
    for (size_t i = 0; i < x->n; i++)
        json_array_append_new(rows, row_of(x, i));
    api_call_json(c, 200,
                  api_pack("{ss sb so}", "model", x->model->name, "simulated", 1, "chips", rows));
}

/* A client that left, and the server's end, do not wait for all chips. */
static void waiter_gone(void *state)
{
    atomic_store(&((struct compare *)state)->gone, true);
}

static void waiter_done(void *state)
{
    api_call_drop(((struct compare *)state)->call);
}

/* ---- the request ---- */

static void start(struct api_call *c, struct api_model *m)
{
    static const struct http_ops ops = {.woken = woken, .gone = waiter_gone, .done = waiter_done};
    struct api_compares *s = c->api->compares;
    struct compare *x = c->own;
    x->model = m;
    http_later(c->req, &ops, x);
    http_hold(c->req);
    pthread_mutex_lock(&s->mu);
    bool full = s->n_waiting >= API_COMPARE_QUEUE_MAX;
    if (!full) {
        *s->tail = x;
        s->tail = &x->next;
        s->n_waiting++;
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->mu);
    if (!full)
        return;
    http_later(c->req, NULL, NULL);
    api_model_release(m);
    api_refuse(&c->fault, 503, "busy", "", "too many comparisons at once: %d wait",
               API_COMPARE_QUEUE_MAX);
    c->fault.retry_s = 1;
    api_call_fail(c);
    http_release(c->req);
}

static const struct api_chip *find(const struct api_opts *o, const char *name)
{
    for (size_t i = 0; i < o->n_chips; i++)
        if (strcmp(o->chips[i].name, name) == 0)
            return &o->chips[i];
    return NULL;
}

static bool read_chips(struct api_call *c, const struct api_in *in, struct compare *x)
{
    json_t *list = NULL;
    size_t i;
    json_t *v;
    if (!api_get_array(in, "chips", &list))
        return false;
    if (json_array_size(list) < 1 || json_array_size(list) > API_COMPARE_CHIPS_MAX)
        return api_get_refuse(in, "chips", "1 to %d names of chips are expected",
                              API_COMPARE_CHIPS_MAX);
    json_array_foreach(list, i, v)
    {
        const struct api_chip *chip = json_is_string(v) ? find(&c->api->o, json_string_value(v))
                                                        : NULL;
        if (!chip)
            return api_get_refuse(in, "chips", "names of GET /api/v1/chips are expected");
        x->chip[x->n++] = chip;
    }
    return true;
}

static bool read_run(const struct api_in *in, struct compare *x)
{
    int64_t prompt = 0, cached = 0, answer = 0;
    if (!api_get_int(in, "prompt_tokens", 1, TOKENS_MAX, &prompt) ||
        !api_get_int(in, "cached_tokens", 0, TOKENS_MAX, &cached) ||
        !api_get_int(in, "completion_tokens", 1, TOKENS_MAX, &answer))
        return false;
    if (!prompt || !answer)
        return api_get_refuse(in, prompt ? "completion_tokens" : "prompt_tokens", "is missing");
    if (cached >= prompt)
        return api_get_refuse(in, "cached_tokens", "is less than prompt_tokens");
    x->run = (struct quote_run){(size_t)prompt, (size_t)cached, (size_t)answer};
    return true;
}

static void check_context(struct api_call *c, struct api_model *m)
{
    const struct compare *x = c->own;
    size_t ctx = engine_ctx(m->engine), n = x->run.n_prompt + x->run.n_answer;
    if (n - 1 <= ctx) {
        start(c, m);
        return;
    }
    api_model_release(m);
    api_refuse(&c->fault, 400, "context_length_exceeded", "prompt_tokens",
               "%zu tokens are over the model's context of %zu", n, ctx);
    api_call_fail(c);
}

void api_do_compare(struct api_call *c)
{
    const char *model = NULL;
    if (!api_call_body(c))
        return;
    struct compare *x = arena_alloc(c->req->arena, sizeof *x);
    const struct api_in in = {c->body, "", &c->fault};
    x->call = c;
    if (!read_chips(c, &in, x) || !read_run(&in, x) || !api_get_text(&in, "model", &model)) {
        api_call_fail(c);
        return;
    }
    c->own = x;
    api_model_want(c, model, check_context);
}

void api_do_chips(struct api_call *c)
{
    const struct api_opts *o = &c->api->o;
    json_t *rows = json_array();
    for (size_t i = 0; i < o->n_chips; i++)
        json_array_append_new(rows, chip_of(&o->chips[i]));
    api_call_json(
        c, 200,
        api_pack("{so ss}", "chips", rows, "numerics", kern_numerics_name(o->model.numerics)));
}
