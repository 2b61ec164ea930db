/* SPDX-License-Identifier: MIT
 * api_gen.c - a request's answers: their beginning, life and end. */
#include "api/api_gen.h"
#include "api/api_sim.h"

#include "api/api_auth.h"
#include "api/api_metrics.h"
#include "api/api_people.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <string.h>

#define TEXT_BYTES_MAX ((size_t)64 << 20)
#define JOBS_BYTES_MAX ((size_t)256 << 20) /* of all answers of a request, in tokens and tops */
#define FILL_BYTES     ((size_t)1 << 20)   /* after which a stream is sent before more is made */

/* ---- beginning ---- */

struct api_gen *api_gen_new(struct api_call *c, struct api_model *m, const char *kind,
                            const struct api_gen_ops *ops)
{
    struct api_gen *g = arena_alloc(api_call_arena(c), sizeof *g);
    api_call_hold(c);
    g->call = c;
    g->arena = api_call_arena(c);
    g->model = m;
    g->ask = *c->ask;
    g->body = c->body;
    c->ask = NULL;
    c->body = NULL;
    g->ops = ops;
    g->id = api_new_id(g->arena, kind);
    g->created = os_unix_time();
    str_init(&g->rendered, TEXT_BYTES_MAX);
    atomic_init(&g->refs, 1);
    return g;
}

static void choice_done(struct api_choice *c)
{
    chat_parse_free(c->parse);
    tok_stream_done(&c->plain);
    api_stop_done(&c->stop);
    str_done(&c->content);
    str_done(&c->reasoning);
    for (size_t i = 0; i < c->n_calls; i++) {
        str_done(&c->calls[i].name);
        str_done(&c->calls[i].arguments);
    }
    mem_free(c->calls);
    gram_done(c->job.gram);
    job_done(&c->job);
}

/* May run on the engine thread, when the request ended before its jobs. */
static void unref(struct api_gen *g)
{
    if (atomic_fetch_sub(&g->refs, 1) != 1)
        return;
    struct api_usage usage = api_gen_usage(g);
    if (g->counted)
        api_limit_end(g->call->limit, usage.n_prompt + usage.n_answer);
    if (g->counted)
        api_people_used(g->call->api->people, g->call->owner, g->model->name, usage.n_prompt,
                        usage.n_answer);
    if (g->ops->drop)
        g->ops->drop(g);
    for (size_t i = 0; i < g->n_choices; i++)
        choice_done(&g->choices[i]);
    for (size_t i = 0; i < g->n_prompts; i++)
        tok_ids_done(&g->prompts[i]);
    tok_ids_done(&g->predicted);
    api_sight_free(g->sight);
    api_gram_drop(g->model, g->gram);
    json_decref(g->callable);
    str_done(&g->rendered);
    api_ask_done(&g->ask);
    json_decref(g->body);
    api_model_release(g->model);
    api_call_release(g->call);
}

/* On the engine thread.  Its last call for a job comes when the job is done. */
static void choice_wake(void *arg)
{
    struct api_choice *c = arg;
    struct api_gen *g = c->gen;
    bool last = job_state(&c->job) == JOB_DONE;
    api_call_wake(g->call);
    if (last)
        unref(g);
}

/* ---- events ---- */

static void say_content(struct api_choice *c, struct span piece)
{
    const struct api_gen_ops *ops = c->gen->ops;
    if (piece.n == 0)
        return;
    str_add_span(&c->content, piece);
    if (c->out && ops->content)
        ops->content(c, piece, c->out);
}

/* The answer ends here, whatever the job still writes. */
static void stop_here(struct api_choice *c, const char *text)
{
    c->finish = API_STOPPED;
    c->stop_text = text;
    job_cancel(&c->job);
}

static void on_content(void *arg, struct span piece)
{
    struct api_choice *c = arg;
    struct str free_text;
    c->in_reasoning = false;
    if (c->finish) /* what a parser still held when a stop text was found */
        return;
    str_init(&free_text, TEXT_BYTES_MAX);
    size_t hit = api_stop_add(&c->stop, piece, &free_text);
    say_content(c, str_span(&free_text));
    str_done(&free_text);
    if (hit != SIZE_MAX)
        stop_here(c, arena_dup(c->gen->arena, c->stop.texts[hit].p, c->stop.texts[hit].n));
}

/* What was held back comes before what is no content: no stop text goes over that. */
static void say_held(struct api_choice *c)
{
    struct str rest;
    str_init(&rest, TEXT_BYTES_MAX);
    api_stop_end(&c->stop, &rest);
    say_content(c, str_span(&rest));
    str_done(&rest);
}

static void on_reasoning(void *arg, struct span piece)
{
    struct api_choice *c = arg;
    const struct api_gen_ops *ops = c->gen->ops;
    if (c->finish)
        return;
    say_held(c);
    c->in_reasoning = true;
    str_add_span(&c->reasoning, piece);
    if (c->out && ops->reasoning)
        ops->reasoning(c, piece, c->out);
}

static void on_call_begin(void *arg, size_t index, struct span name)
{
    struct api_choice *c = arg;
    const struct api_gen_ops *ops = c->gen->ops;
    if (c->finish)
        return;
    CHECK(index == c->n_calls);
    say_held(c);
    c->calls = mem_grow(c->calls, (c->n_calls + 1) * sizeof *c->calls);
    struct api_tool_call *t = &c->calls[c->n_calls++];
    *t = (struct api_tool_call){
        .id = api_new_id(c->gen->arena, ops->call_kind ? ops->call_kind : "call_")};
    str_init(&t->name, TEXT_BYTES_MAX);
    str_init(&t->arguments, TEXT_BYTES_MAX);
    str_add_span(&t->name, name);
    c->in_reasoning = false;
    if (c->out && ops->call_begin)
        ops->call_begin(c, t, c->out);
}

static void on_call_arguments(void *arg, size_t index, struct span piece)
{
    struct api_choice *c = arg;
    const struct api_gen_ops *ops = c->gen->ops;
    if (c->finish)
        return;
    struct api_tool_call *t = &c->calls[index];
    str_add_span(&t->arguments, piece);
    if (c->out && ops->call_arguments)
        ops->call_arguments(c, t, piece, c->out);
}

static void on_call_end(void *arg, size_t index)
{
    struct api_choice *c = arg;
    const struct api_gen_ops *ops = c->gen->ops;
    if (!c->finish && c->out && ops->call_end)
        ops->call_end(c, &c->calls[index], c->out);
}

/* ---- tokens ---- */

static void take_token(struct api_choice *c, int32_t id)
{
    const struct tok *tok = c->gen->model->tok;
    struct str text;
    str_init(&text, TEXT_BYTES_MAX);
    c->n_read++;
    if (c->parse) {
        tok_decode(tok, &id, 1, TOK_SPECIAL, &text, NULL);
        chat_parse_add(c->parse, str_span(&text), tok_is_control(tok, id));
        c->n_reasoning += c->in_reasoning;
    } else {
        tok_stream_add(&c->plain, id, &text, NULL);
        on_content(c, str_span(&text));
    }
    str_done(&text);
}

/* The job is done and all of it was read. */
static void end_text(struct api_choice *c)
{
    bool cut = c->job.end != JOB_END_STOP; /* perhaps within a character */
    if (c->parse) {
        chat_parse_end(c->parse, cut);
    } else if (!cut) {
        struct str rest;
        str_init(&rest, TEXT_BYTES_MAX);
        tok_stream_end(&c->plain, &rest);
        on_content(c, str_span(&rest));
        str_done(&rest);
    }
    if (!c->finish) { /* the very end was no stop text */
        say_held(c);
        c->finish = cut ? API_LENGTH : API_STOPPED;
    }
}

static void finish(struct api_choice *c)
{
    struct api_gen *g = c->gen;
    if (c->finish == API_STOPPED && c->n_calls)
        c->finish = API_CALLS;
    g->n_finished++;
    api_metrics_answer(g->call->api->metrics, &c->job, api_sim_arrived_ns(c), api_sim_now(g));
    if (c->out && g->ops->choice_end)
        g->ops->choice_end(c, c->out);
}

/* A client that reads slowly may have many tokens to come, each with the logprobs of others. */
static bool is_much(const struct str *out)
{
    return out && out->n >= FILL_BYTES;
}

/* Takes what there is of a choice; false and the fault when its job failed. */
static bool pump(struct api_choice *c, struct str *out, struct api_fault *f)
{
    enum job_state state = job_state(&c->job); /* before: so that n is the last word */
    size_t n = job_n_out(&c->job);
    if (c->finish)
        return true;
    c->out = out ? out : c->gen->sink;
    while (c->n_read < n && !c->finish && !is_much(out))
        take_token(c, c->job.out[c->n_read].token);
    if (!c->finish && state == JOB_DONE && c->n_read == n) {
        if (c->job.end == JOB_END_FAILED)
            return api_refuse_err(f, "", &c->job.error);
        if (c->job.end == JOB_END_CANCELLED)
            return api_refuse(f, 503, "shutting_down", "", "the server is going down");
        if (c->job.end == JOB_END_DEADLINE && c->n_read == 0)
            return api_refuse(f, 503, "timeout", "",
                              "no answer within the %u s that a request may take",
                              c->gen->call->api->o.timeout_s);
        end_text(c);
    }
    if (c->finish)
        finish(c);
    return true;
}

static bool pump_all(struct api_gen *g, struct str *out, struct api_fault *f)
{
    for (size_t i = 0; i < g->n_choices; i++) {
        if (!pump(&g->choices[i], out, f))
            return false;
    }
    return true;
}

static void cancel_all(struct api_gen *g)
{
    for (size_t i = 0; i < g->n_choices; i++)
        job_cancel(&g->choices[i].job);
}

/* ---- the request's side ---- */

/* Whether the end may be told; false also with a fault. */
static bool over(struct api_gen *g, struct str *out, struct api_fault *f)
{
    if (!pump_all(g, out, f)) {
        cancel_all(g);
        return false;
    }
    return g->n_finished == g->n_choices && (!g->ops->settle || g->ops->settle(g, f));
}

static enum http_fill fill(void *state, struct str *out)
{
    struct api_gen *g = state;
    struct api_fault f = {0};
    size_t before = out->n;
    if (!g->begun && g->ops->begin)
        g->ops->begin(g, out);
    g->begun = true;
    if (over(g, out, &f)) {
        g->ops->end(g, out);
        return HTTP_END;
    }
    if (f.status) {
        api_metrics_fault(g->call->api->metrics, f.status);
        g->ops->fail(g, &f, out);
        return HTTP_END;
    }
    return out->n > before ? HTTP_MORE : HTTP_WAIT;
}

static void woken(void *state)
{
    struct api_gen *g = state;
    struct api_fault f = {0};
    if (over(g, NULL, &f)) {
        api_call_json(g->call, 200, g->ops->whole(g));
    } else if (f.status) {
        g->call->fault = f;
        api_call_fail(g->call);
    }
}

static void gone(void *state)
{
    cancel_all(state);
}

/* What may be many values is freed here: the last to let go may be the engine thread. */
static void request_done(void *state)
{
    struct api_gen *g = state;
    json_decref(g->body);
    g->body = NULL;
    api_ask_done(&g->ask);
    unref(g);
}

/* ---- starting ---- */

static size_t answer_max(const struct api_gen *g, const struct tok_ids *prompt)
{
    size_t ctx = engine_ctx(g->model->engine), set = g->model->row->n_max;
    size_t most = prompt->n < ctx ? ctx - prompt->n : 1; /* sched_push says what is too long */
    if (g->ask.n_max >= 0)
        return MIN((size_t)g->ask.n_max, most);
    return set ? MIN(set, most) : most;
}

static bool check_size(struct api_gen *g)
{
    size_t bytes = 0;
    size_t each = sizeof(struct job_out) + (size_t)g->ask.n_top * sizeof(struct job_top);
    bool of_prompt = g->ask.echo && g->ask.logprobs;
    for (size_t i = 0; i < g->n_prompts; i++) {
        size_t n = answer_max(g, &g->prompts[i]) + (of_prompt ? g->prompts[i].n : 0);
        bytes += n * each * g->ask.n;
    }
    if (bytes <= JOBS_BYTES_MAX)
        return true;
    return api_refuse(&g->call->fault, 400, "invalid_value", "n",
                      "%zu answers of so many tokens are more than the %zu MiB that a request may "
                      "take; set max_tokens",
                      g->n_prompts * g->ask.n, JOBS_BYTES_MAX >> 20);
}

static void set_job(struct api_choice *c)
{
    struct api_gen *g = c->gen;
    const struct api_ask *ask = &g->ask;
    unsigned timeout_s = g->call->api->o.timeout_s;
    job_init(&c->job, answer_max(g, c->prompt), (int)ask->n_top);
    c->job.prompt = c->prompt->id;
    c->job.n_prompt = c->prompt->n;
    if (g->sight)
        c->job.spans = api_sight_spans(g->sight, &c->job.n_spans);
    c->job.predicted = g->predicted.id;
    c->job.n_predicted = g->predicted.n;
    c->job.n_min = (size_t)ask->n_min;
    c->job.ignore_end = ask->ignore_end;
    c->job.logprobs = ask->logprobs;
    if (ask->echo && ask->logprobs)
        job_want_prompt(&c->job);
    c->job.sampling = ask->sampling;
    c->job.sampling.seed += c->index; /* answers of one request must differ */
    c->job.sampling.dry_breakers = g->model->breakers;
    c->job.sampling.n_dry_breakers = g->model->n_breakers;
    c->job.ends = g->model->ends;
    c->job.lora = ask->lora;
    c->job.client = g->call->client;
    c->job.deadline_ns = timeout_s ? api_call_arrived_ns(g->call) + timeout_s * 1000000000ull : 0;
    c->job.wake = choice_wake;
    c->job.wake_arg = c;
    if (g->gram) {
        c->job.gram = gram_start(g->gram->gram);
        c->job.vocab = api_model_vocab(g->model);
    }
}

static void set_choice(struct api_gen *g, size_t i)
{
    struct api_choice *c = &g->choices[i];
    const struct chat_parse_sink sink = {
        c, on_content, on_reasoning, on_call_begin, on_call_arguments, on_call_end};
    c->gen = g;
    c->index = i;
    c->prompt = &g->prompts[i / g->ask.n];
    str_init(&c->content, TEXT_BYTES_MAX);
    str_init(&c->reasoning, TEXT_BYTES_MAX);
    api_stop_init(&c->stop, g->ask.stop, g->ask.n_stop);
    tok_stream_init(&c->plain, g->model->tok, 0);
    if (g->chat)
        c->parse = chat_parse_new(g->model->chat, g->callable, str_span(&g->rendered), &sink);
    set_job(c);
}

/* All jobs or none. */
static bool push_all(struct api_gen *g)
{
    struct errinfo e;
    for (size_t i = 0; i < g->n_choices; i++) {
        atomic_fetch_add(&g->refs, 1); /* the job's, until its last wake */
        if (sched_push(g->model->sched, &g->choices[i].job, &e) == ERR_OK)
            continue;
        atomic_fetch_sub(&g->refs, 1);
        cancel_all(g);
        return api_refuse_err(&g->call->fault, e.code == ERR_CONTEXT ? g->ask.messages_name : "",
                              &e);
    }
    return true;
}

/* Adapters by their numbers, or the one that the request's model is named after. */
static bool find_lora(struct api_gen *g)
{
    struct api_ask *ask = &g->ask;
    const struct api_model_row *row = g->model->row;
    for (uint32_t i = 0; i < ask->lora.n; i++)
        if (ask->lora.one[i].adapter >= row->n_loras)
            return api_refuse(&g->call->fault, 400, "invalid_value", "lora",
                              "there is no adapter %u; the model has %zu", ask->lora.one[i].adapter,
                              row->n_loras);
    for (size_t i = 0; !ask->has_lora && ask->model && i < row->n_loras; i++)
        if (strcmp(row->loras[i].name, ask->model) == 0) {
            ask->lora.n = 1;
            ask->lora.one[0].adapter = (uint32_t)i;
            ask->lora.one[0].scale = row->loras[i].scale;
        }
    return true;
}

static bool start(struct api_gen *g)
{
    if (g->call->fault.status || !check_size(g) || !find_lora(g))
        return false;
    size_t n = g->n_prompts * g->ask.n;
    g->choices = arena_array(g->arena, n, sizeof *g->choices);
    for (; g->n_choices < n; g->n_choices++)
        set_choice(g, g->n_choices);
    g->counted = api_limit_begin(g->call->limit, &g->call->fault);
    if (!g->counted || push_all(g))
        return g->counted;
    g->counted = false; /* a refused request costs its key no tokens */
    api_limit_end(g->call->limit, 0);
    return false;
}

static void start_answer(struct api_gen *g)
{
    static const struct http_ops stream = {.fill = fill, .gone = gone, .done = request_done};
    static const struct http_ops whole = {.woken = woken, .gone = gone, .done = request_done};
    const char *type = g->ops->stream_type ? g->ops->stream_type
                                           : "text/event-stream; charset=utf-8";
    if (!start(g)) {
        api_call_fail(g->call);
        unref(g);
    } else if (g->ask.stream) {
        if (!http_stream_begin(g->call->req, 200, type, &stream, g)) { /* gone while it waited */
            cancel_all(g);
            unref(g);
        }
    } else {
        http_later(g->call->req, &whole, g);
        http_wake(g->call->req); /* jobs may have ended before */
    }
}

/* ---- pictures ---- */

/* On the thread that sees. */
static void seen(void *arg)
{
    struct api_gen *g = arg;
    api_call_wake(g->call);
    unref(g);
}

bool api_gen_seen(struct api_gen *g)
{
    if (!g->sight)
        return true;
    if (!api_sight_over(g->sight))
        return false;
    if (api_sight_fault(g->sight))
        g->call->fault = *api_sight_fault(g->sight);
    return true;
}

static void woken_seen(void *state)
{
    struct api_gen *g = state;
    if (!api_gen_seen(g))
        return;
    http_later(g->call->req, NULL, NULL); /* from here on the answer's */
    start_answer(g);
}

static void gone_unseen(void *state)
{
    api_sight_leave(((struct api_gen *)state)->sight);
}

bool api_gen_look(struct api_gen *g)
{
    if (!g->sight)
        return true;
    atomic_fetch_add(&g->refs, 1);
    if (api_sight_ask(g->sight, seen, g, &g->call->fault))
        return true;
    atomic_fetch_sub(&g->refs, 1);
    return false;
}

void api_gen_start(struct api_gen *g)
{
    static const struct http_ops ops = {
        .woken = woken_seen, .gone = gone_unseen, .done = request_done};
    bool looks = g->sight && !g->call->fault.status;
    if (looks)
        http_later(g->call->req, &ops, g);
    if (looks && api_gen_look(g))
        return;
    if (looks)
        http_later(g->call->req, NULL, NULL);
    start_answer(g);
}

/* ---- without a request ---- */

bool api_gen_begin(struct api_gen *g)
{
    return start(g);
}

bool api_gen_take(struct api_gen *g, struct str *out, struct api_fault *f)
{
    return over(g, out, f);
}

void api_gen_cancel(struct api_gen *g)
{
    if (g->sight)
        api_sight_leave(g->sight);
    cancel_all(g);
}

void api_gen_end(struct api_gen *g)
{
    request_done(g);
}

void api_gen_drop(struct api_gen *g)
{
    unref(g);
}

/* ---- what endpoints ask ---- */

struct api_usage api_gen_usage(const struct api_gen *g)
{
    struct api_usage u = {0};
    for (size_t i = 0; i < g->n_prompts; i++)
        u.n_prompt += g->prompts[i].n;
    for (size_t i = 0; i < g->n_choices; i++) {
        const struct api_choice *c = &g->choices[i];
        if (i % g->ask.n == 0)
            u.n_cached += c->job.n_cached;
        u.n_answer += c->n_read;
        u.n_reasoning += c->n_reasoning;
        if (g->ask.has_prediction && job_state(&c->job) == JOB_DONE) {
            u.n_accepted += c->job.n_accepted;
            u.n_rejected += c->job.n_drafted - c->job.n_accepted;
        }
    }
    return u;
}

const char *api_finish_name(enum api_finish finish)
{
    static const char *const names[] = {NULL, "stop", "length", "tool_calls"};
    return names[finish];
}
