/* SPDX-License-Identifier: MIT
 * api_chats_run.c - answers that belong to the server: one thread turns what the scheduler writes
 * into events and stored text.
 *
 * A run: reads its chat, waits for its model, writes, stores the end, perhaps finds a title.  It
 * does one step each time it is woken: by the store, the loader, the scheduler, a stop, the clock.
 */
#include "api/api_chats_int.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND_NS      1000000000u
#define TICK_NS        (SECOND_NS / 4)
#define LINGER_NS      (10 * (uint64_t)SECOND_NS) /* longer than a read of the chat may wait */
#define TEXT_BYTES_MAX STORE_BODY_BYTES_MAX

/* ---- waking ---- */

/* With mu held. */
static void run_wake_locked(struct run *r)
{
    struct api_chats *k = r->set;
    if (r->woken)
        return;
    r->woken = true;
    r->next_woken = k->woken;
    k->woken = r;
    pthread_cond_signal(&k->work);
}

static void run_wake(struct run *r)
{
    struct api_chats *k = r->set;
    pthread_mutex_lock(&k->mu);
    run_wake_locked(r);
    pthread_mutex_unlock(&k->mu);
}

static void part_wake(void *arg)
{
    run_wake(((struct run_part *)arg)->run);
}

/* The last who used the arena may be the engine's thread. */
static void part_release(void *arg)
{
    struct run *r = ((struct run_part *)arg)->run;
    struct api_chats *k = r->set;
    pthread_mutex_lock(&k->mu); /* the run is freed with mu held, and not before this is over */
    atomic_fetch_sub(&r->n_gens, 1);
    pthread_cond_signal(&k->work);
    pthread_mutex_unlock(&k->mu);
}

static bool run_stopped(struct run *r)
{
    pthread_mutex_lock(&r->set->mu);
    bool stop = r->stop;
    pthread_mutex_unlock(&r->set->mu);
    return stop;
}

/* ---- the store ---- */

static void op_answered(struct store_op *op, void *arg)
{
    struct run *r = arg;
    struct api_chats *k = r->set;
    (void)op;
    pthread_mutex_lock(&k->mu); /* who sees the first must not free the run before the second */
    atomic_store(&r->op_over, true);
    run_wake_locked(r);
    pthread_mutex_unlock(&k->mu);
}

/* False where the store does not take it now. */
static bool op_send(struct run *r, enum store_what what)
{
    struct errinfo e;
    r->op = (struct store_op){
        .what = what, .chats = &r->x, .arena = &r->op_arena, .done = op_answered, .arg = r};
    atomic_store(&r->op_over, false);
    r->op_sent = true;
    if (store_send(r->set->api->o.store, &r->op, &e) != ERR_OK) {
        r->op_sent = false;
        log_at(LOG_WARN, "chats", "store=\"%s\"", e.text);
        r->retry_ns = os_now_ns() + SECOND_NS;
        return false;
    }
    return true; /* and the run may be in other hands */
}

static void op_begin(struct run *r)
{
    CHECK(!r->op_sent);
    arena_done(&r->op_arena);
    arena_init(&r->op_arena);
    r->x = (struct store_chats){.owner = r->owner, .id = r->chat};
}

/* True once for each operation that is over. */
static bool op_came(struct run *r)
{
    if (!r->op_sent || !atomic_load(&r->op_over))
        return false;
    r->op_sent = false;
    return true;
}

static struct span op_copy(struct run *r, const struct str *s)
{
    return (struct span){arena_dup(&r->op_arena, s->n ? s->p : "", s->n), s->n};
}

/* Stores what there is; at the end with how it ended. */
static bool store_text(struct run *r, bool last)
{
    op_begin(r);
    r->x.at = r->message.id;
    r->x.deleted_too = true;
    r->x.set = STORE_SET_CONTENT | STORE_SET_REASONING | STORE_SET_STATUS;
    r->x.message.content = op_copy(r, &r->content);
    r->x.message.reasoning = op_copy(r, &r->reasoning);
    r->x.message.status = last ? r->status : STORE_RUNNING;
    if (last) {
        r->x.set |= STORE_SET_USAGE;
        r->x.message.error = r->error;
        r->x.message.usage = r->usage;
    }
    r->op_last = last;
    r->kept_ns = os_now_ns();
    r->n_kept = r->content.n + r->reasoning.n;
    return op_send(r, STORE_MESSAGE_SET);
}

/* ---- what is told ---- */

static void tell_chat(struct run *r)
{
    if (r->x.n_chats)
        api_events_tell(r->set, r->owner, r->chat, "chat",
                        api_pack("{so}", "chat", api_chats_chat(&r->x.chats[0])));
}

/* Both lengths, so that who listens knows what it has missed. */
static void tell_delta(struct run *r, const char *name, struct str *all, struct str *fresh)
{
    if (!fresh->n)
        return;
    json_t *o = api_pack("{ss ss so sI sI}", "chat", r->chat, "message", r->message.id, name,
                         api_json_text(str_span(fresh)), "at", (json_int_t)r->content.n,
                         "reasoning_at", (json_int_t)r->reasoning.n);
    pthread_mutex_lock(&r->set->mu);
    str_add_span(all, str_span(fresh));
    pthread_mutex_unlock(&r->set->mu);
    str_clear(fresh);
    api_events_tell(r->set, r->owner, r->chat, "delta", o);
}

/* ---- writing ---- */

static void on_content(struct api_choice *c, struct span piece, struct str *out)
{
    struct run *r = c->gen->own;
    (void)out;
    str_add_span(&r->fresh, piece);
}

static void on_reasoning(struct api_choice *c, struct span piece, struct str *out)
{
    struct run *r = c->gen->own;
    (void)out;
    str_add_span(&r->fresh_reasoning, piece);
}

static const struct api_gen_ops answer_ops = {.content = on_content, .reasoning = on_reasoning};
static const struct api_gen_ops title_ops = {0};

/* Begins to write; the part has a body and a use of the model.  False with its fault. */
static bool part_begin(struct run *r, struct run_part *p, struct span prefill,
                       const struct api_gen_ops *ops)
{
    struct api_call *c = &p->call;
    const struct api_in in = {c->body, "", &c->fault};
    c->ask = arena_alloc(&r->arena, sizeof *c->ask);
    api_ask_init(c->ask, &c->model->row->sampling);
    bool ok = api_ask_chat(c->ask, &in, &r->arena);
    c->ask->prefill = prefill;
    p->self.arrived_ns = os_now_ns();
    atomic_fetch_add(&r->n_gens, 1);
    p->gen = api_gen_new(c, c->model, "answer-", ops);
    p->gen->own = r;
    ok = ok && api_gen_chat(p->gen) && api_gen_guide(p->gen) && api_gen_begin(p->gen);
    CHECK(ok || c->fault.status);
    return ok;
}

static void part_end(struct run_part *p)
{
    if (p->gen)
        api_gen_end(p->gen);
    p->gen = NULL;
}

static void part_init(struct run *r, struct run_part *p, const struct api_run_opts *o)
{
    p->run = r;
    p->self = (struct api_self){
        .arena = &r->arena, .wake = part_wake, .release = part_release, .arg = p};
    p->call.api = r->set->api;
    p->call.self = &p->self;
    p->call.owner = r->owner;
    p->call.client = o->client;
    p->call.limit = o->limit;
}

static void set_usage(struct run *r)
{
    const struct api_gen *g = r->answer.gen;
    if (!g || !g->n_choices)
        return;
    const struct job *j = &g->choices[0].job;
    struct api_usage u = api_gen_usage(g);
    uint64_t now = os_now_ns();
    double s = u.n_answer > 1 && now > j->first_ns ? (double)(now - j->first_ns) / 1e9 : 0;
    struct str text;
    str_init(&text, STORE_TEXT_BYTES_MAX);
    api_json_add(&text, api_pack("{sI sI sI sf sI}", "prompt_tokens", (json_int_t)u.n_prompt,
                                 "completion_tokens", (json_int_t)u.n_answer, "cached_tokens",
                                 (json_int_t)u.n_cached, "tokens_per_second",
                                 s > 0 ? (double)(u.n_answer - 1) / s : 0.0, "context",
                                 (json_int_t)engine_ctx(g->model->engine)));
    r->usage = arena_dup(&r->arena, text.p, text.n);
    str_done(&text);
}

/* The answer ends like this, and is stored as soon as the store is free. */
static void run_end(struct run *r, enum store_status status, const char *error)
{
    snprintf(r->error, sizeof r->error, "%s", error);
    pthread_mutex_lock(&r->set->mu);
    r->status = status;
    pthread_mutex_unlock(&r->set->mu);
    r->state = RUN_KEEP;
}

/* ---- the steps; each is true when another may follow at once ---- */

static bool step_read(struct run *r)
{
    if (!op_came(r))
        return false;
    if (r->op.err == ERR_NOTFOUND) { /* deleted meanwhile */
        r->state = RUN_OVER;
        return true;
    }
    if (r->op.err != ERR_OK || run_stopped(r)) {
        run_end(r, r->op.err == ERR_OK ? STORE_STOPPED : STORE_ERROR,
                r->op.err == ERR_OK ? "" : r->op.e.text);
        return true;
    }
    const struct store_chats *x = &r->x;
    for (size_t i = 0; i < x->n_messages && !r->first; i++) {
        const struct store_message *m = &x->messages[i];
        if (m->role == STORE_USER)
            r->first = arena_dup(&r->arena, m->content.p, MIN(m->content.n, 200));
    }
    struct api_call *c = &r->answer.call;
    const char *model = x->n_messages ? x->messages[x->n_messages - 1].model : "";
    c->body = api_chats_body(x, r->options);
    r->messages = json_incref(json_object_get(c->body, "messages"));
    r->state = RUN_MODEL;
    if (!api_model_ask(c, *model ? arena_dup(&r->arena, model, strlen(model)) : NULL))
        run_end(r, STORE_ERROR, c->fault.text);
    return true;
}

static bool step_model(struct run *r)
{
    struct api_call *c = &r->answer.call;
    struct span prefill = {NULL, 0};
    if (run_stopped(r)) {
        api_model_leave(c);
        run_end(r, STORE_STOPPED, "");
        return true;
    }
    if (!api_model_came(c)) {
        if (c->fault.status)
            run_end(r, STORE_ERROR, c->fault.text);
        return c->fault.status != 0;
    }
    if (r->go_on)
        prefill = (struct span){arena_dup(&r->arena, r->content.p, r->content.n), r->content.n};
    r->kept_ns = os_now_ns();
    if (part_begin(r, &r->answer, prefill, &answer_ops))
        r->state = RUN_WRITE;
    else
        run_end(r, STORE_ERROR, c->fault.text);
    return true;
}

static bool step_write(struct run *r)
{
    struct api_fault f = {0};
    bool stop = run_stopped(r);
    if (stop)
        api_gen_cancel(r->answer.gen);
    bool over = api_gen_take(r->answer.gen, &r->scratch, &f);
    tell_delta(r, "reasoning", &r->reasoning, &r->fresh_reasoning);
    tell_delta(r, "content", &r->content, &r->fresh);
    if (over || f.status) {
        set_usage(r);
        if (stop && f.status)
            run_end(r, STORE_STOPPED, "");
        else
            run_end(r, over ? STORE_FINISHED : STORE_ERROR, f.text);
        return true;
    }
    op_came(r); /* one that failed is followed by another */
    if (!r->op_sent && os_now_ns() - r->kept_ns >= SECOND_NS &&
        r->content.n + r->reasoning.n > r->n_kept)
        store_text(r, false);
    return false;
}

/* A use of the model for the title, while the answer still has its own. */
static void want_title(struct run *r)
{
    struct api_call *c = &r->answer.call, *named = &r->namer.call;
    if (r->status != STORE_FINISHED || run_stopped(r) || !r->answer.gen ||
        !api_model_hold(c->model))
        return;
    named->model = c->model;
    named->body = api_chats_title_body(r->messages, str_span(&r->content));
}

static void store_title(struct run *r, struct span text)
{
    struct str title;
    str_init(&title, STORE_TEXT_BYTES_MAX);
    api_chats_title(text, &title);
    if (!title.n)
        api_chats_title(span_of(r->first ? r->first : ""), &title);
    op_begin(r);
    r->x.set = STORE_SET_UNTITLED;
    r->x.chat.title = arena_dup(&r->op_arena, title.n ? title.p : "", title.n);
    str_done(&title);
    r->state = op_send(r, STORE_CHAT_SET) ? RUN_NAMED : RUN_OVER;
}

/* The end is stored: all may know. */
static void kept(struct run *r)
{
    pthread_mutex_lock(&r->set->mu);
    r->kept = true;
    pthread_mutex_unlock(&r->set->mu);
    const struct store_chat *chat = &r->x.chats[0];
    if (!chat->deleted) {
        api_events_tell(
            r->set, r->owner, r->chat, "message",
            api_pack("{ss so}", "chat", r->chat, "message", api_chats_message(&r->x.messages[0])));
        tell_chat(r);
    }
    if (!r->title || chat->titled || chat->deleted) {
        part_end(&r->answer);
        r->state = RUN_OVER;
        return;
    }
    want_title(r); /* not of one that was stopped: then the user's words must do */
    part_end(&r->answer);
    bool begun = r->namer.call.body && part_begin(r, &r->namer, (struct span){NULL, 0}, &title_ops);
    if (begun) {
        r->state = RUN_TITLE;
    } else {
        part_end(&r->namer);
        store_title(r, (struct span){NULL, 0});
    }
}

static bool step_keep(struct run *r)
{
    if (op_came(r) && r->op_last) {
        r->op_last = false;
        if (r->op.err == ERR_OK) {
            kept(r);
            return true;
        }
        pthread_mutex_lock(&r->set->mu);
        bool give_up = r->op.err == ERR_NOTFOUND || r->set->stop;
        pthread_mutex_unlock(&r->set->mu);
        if (give_up) {
            part_end(&r->answer);
            r->state = RUN_OVER;
            return true;
        }
        log_at(LOG_ERROR, "chats", "answer=not_stored why=\"%s\"", r->op.e.text);
        r->retry_ns = os_now_ns() + SECOND_NS;
    }
    if (!r->op_sent && os_now_ns() >= r->retry_ns)
        store_text(r, true);
    return false;
}

static bool step_title(struct run *r)
{
    struct api_fault f = {0};
    struct api_gen *g = r->namer.gen;
    pthread_mutex_lock(&r->set->mu);
    bool stop = r->set->stop;
    pthread_mutex_unlock(&r->set->mu);
    if (stop)
        api_gen_cancel(g);
    if (!api_gen_take(g, &r->scratch, &f) && !f.status)
        return false;
    store_title(r, f.status ? (struct span){NULL, 0} : str_span(&g->choices[0].content));
    part_end(&r->namer);
    return true;
}

static bool step_named(struct run *r)
{
    if (!op_came(r))
        return false;
    if (r->op.err == ERR_OK)
        tell_chat(r);
    r->state = RUN_OVER;
    return true;
}

static void run_step(struct run *r)
{
    static bool (*const steps[])(struct run *) = {
        [RUN_READ] = step_read, [RUN_MODEL] = step_model, [RUN_WRITE] = step_write,
        [RUN_KEEP] = step_keep, [RUN_TITLE] = step_title, [RUN_NAMED] = step_named};
    while (r->state != RUN_OVER && steps[r->state](r)) {
    }
    if (r->state == RUN_OVER && !r->over_ns)
        r->over_ns = os_now_ns();
}

/* ---- beginning and end ---- */

void api_run_start(struct api_chats *k, const struct api_run_opts *o)
{
    struct run *r = mem_alloc(sizeof *r);
    const struct store_message *m = o->message;
    r->set = k;
    arena_init(&r->arena);
    arena_init(&r->op_arena);
    r->owner = arena_dup(&r->arena, o->owner, strlen(o->owner));
    r->chat = arena_dup(&r->arena, o->chat, strlen(o->chat));
    r->message.id = arena_dup(&r->arena, m->id, strlen(m->id));
    r->options = o->options;
    r->go_on = o->go_on;
    r->title = o->title;
    str_init(&r->content, TEXT_BYTES_MAX);
    str_init(&r->reasoning, TEXT_BYTES_MAX);
    str_init(&r->fresh, TEXT_BYTES_MAX);
    str_init(&r->fresh_reasoning, TEXT_BYTES_MAX);
    str_init(&r->scratch, 1);
    str_add_span(&r->content, m->content);
    str_add_span(&r->reasoning, m->reasoning);
    r->n_kept = r->content.n + r->reasoning.n;
    part_init(r, &r->answer, o);
    part_init(r, &r->namer, o);
    op_begin(r);
    r->x.at = r->message.id;
    bool sent = op_send(r, STORE_CHAT_PATH);
    if (!sent)
        run_end(r, STORE_ERROR, "the store has too much to do; try again");
    pthread_mutex_lock(&k->mu);
    r->next = k->all;
    k->all = r;
    if (!sent)
        run_wake_locked(r);
    pthread_cond_signal(&k->work); /* from here on the clock counts */
    pthread_mutex_unlock(&k->mu);
}

size_t api_run_stop(struct api_chats *k, const char *owner, const char *chat, const char *message)
{
    size_t n = 0;
    pthread_mutex_lock(&k->mu);
    for (struct run *r = k->all; r; r = r->next) {
        if (strcmp(r->owner, owner) != 0 || strcmp(r->chat, chat) != 0 ||
            (message && strcmp(r->message.id, message) != 0) || r->status != STORE_RUNNING)
            continue;
        r->stop = true;
        n++;
        run_wake_locked(r);
    }
    pthread_mutex_unlock(&k->mu);
    return n;
}

static struct span text_copy(struct arena *a, const struct str *s)
{
    return (struct span){arena_dup(a, s->n ? s->p : "", s->n), s->n};
}

void api_run_overlay(struct api_chats *k, struct store_message *messages, size_t n, struct arena *a)
{
    pthread_mutex_lock(&k->mu);
    for (size_t i = 0; i < n; i++) {
        struct store_message *m = &messages[i];
        for (struct run *r = m->status == STORE_RUNNING ? k->all : NULL; r; r = r->next) {
            if (strcmp(r->message.id, m->id) != 0)
                continue;
            m->content = text_copy(a, &r->content);
            m->reasoning = text_copy(a, &r->reasoning);
            if (r->kept) {
                m->status = r->status;
                m->error = arena_dup(a, r->error, strlen(r->error));
                m->usage = r->usage ? arena_dup(a, r->usage, strlen(r->usage)) : NULL;
            } else if (r->stop) { /* will be */
                m->status = STORE_STOPPED;
            }
            break; /* the newest */
        }
    }
    pthread_mutex_unlock(&k->mu);
}

static void run_free(struct run *r)
{
    arena_done(&r->op_arena);
    json_decref(r->options);
    json_decref(r->messages);
    json_decref(r->answer.call.body); /* where no generation took it over */
    json_decref(r->namer.call.body);
    str_done(&r->content);
    str_done(&r->reasoning);
    str_done(&r->fresh);
    str_done(&r->fresh_reasoning);
    str_done(&r->scratch);
    arena_done(&r->arena);
    mem_free(r);
}

/* ---- the thread ---- */

/* Those that may go. */
static void sweep(struct api_chats *k, uint64_t now)
{
    struct run *gone = NULL;
    pthread_mutex_lock(&k->mu);
    for (struct run **at = &k->all; *at;) {
        struct run *r = *at;
        bool old = r->over_ns && (k->stop || now - r->over_ns >= LINGER_NS);
        if (!old || r->woken || atomic_load(&r->n_gens)) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        r->next = gone;
        gone = r;
    }
    pthread_mutex_unlock(&k->mu);
    while (gone) {
        struct run *r = gone;
        gone = r->next;
        run_free(r);
    }
}

static void tick(struct api_chats *k)
{
    pthread_mutex_lock(&k->mu);
    struct run *r = k->all; /* new ones come before it, and only this thread removes */
    pthread_mutex_unlock(&k->mu);
    for (; r; r = r->next)
        run_step(r);
    sweep(k, os_now_ns());
}

/* With mu held: sleeps until a run is woken, or it is time to look at all. */
static void wait_for_work(struct api_chats *k, uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / SECOND_NS),
                             .tv_nsec = (long)(until_ns % SECOND_NS)};
    while (!k->woken && !k->stop) {
        if (!k->all)
            pthread_cond_wait(&k->work, &k->mu);
        else if (pthread_cond_timedwait(&k->work, &k->mu, &until) != 0)
            return;
    }
    if (k->stop && !k->woken && k->all) {
        uint64_t soon_ns = os_now_ns() + TICK_NS / 16;
        until = (struct timespec){.tv_sec = (time_t)(soon_ns / SECOND_NS),
                                  .tv_nsec = (long)(soon_ns % SECOND_NS)};
        pthread_cond_timedwait(&k->work, &k->mu, &until);
    }
}

static void *chats_main(void *arg)
{
    struct api_chats *k = arg;
    uint64_t next_ns = os_now_ns() + TICK_NS;
    pthread_mutex_lock(&k->mu);
    while (!k->stop || k->all) {
        wait_for_work(k, next_ns);
        struct run *woken = k->woken;
        bool stop = k->stop;
        k->woken = NULL;
        for (struct run *r = woken, *next; r; r = next) {
            next = r->next_woken;
            r->woken = false; /* from here on it may be in the other list */
            pthread_mutex_unlock(&k->mu);
            run_step(r);
            pthread_mutex_lock(&k->mu);
        }
        pthread_mutex_unlock(&k->mu);
        if (stop || os_now_ns() >= next_ns) {
            tick(k);
            next_ns = os_now_ns() + TICK_NS;
        }
        pthread_mutex_lock(&k->mu);
    }
    pthread_mutex_unlock(&k->mu);
    return NULL;
}

static enum err chats_start(struct api_chats *k, struct errinfo *e)
{
    sigset_t all, old; /* signals are for the program's own threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    k->running = pthread_create(&k->thread, NULL, chats_main, k) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return k->running ? ERR_OK : err_set(e, ERR_MEMORY, "cannot start the thread of chats");
}

enum err api_chats_open(struct api_chats **out, struct api *api, struct errinfo *e)
{
    struct api_chats *k = mem_alloc(sizeof *k);
    struct store_chats x = {0};
    struct store_op op = {.what = STORE_RUNNING_END, .chats = &x};
    k->api = api;
    k->events = api_events_new();
    pthread_mutex_init(&k->mu, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&k->work, &clock);
    pthread_condattr_destroy(&clock);
    *out = k;
    TRY(store_run(api->o.store, &op, e));
    if (op.n)
        log_at(LOG_WARN, "chats", "stopped=%zu why=\"the server that wrote them ended\"", op.n);
    return chats_start(k, e);
}

void api_chats_drain(struct api_chats *k)
{
    if (k)
        api_events_end(k->events);
}

bool api_chats_idle(struct api_chats *k)
{
    bool idle = true;
    if (!k)
        return true;
    pthread_mutex_lock(&k->mu);
    for (struct run *r = k->all; r; r = r->next)
        idle &= r->status != STORE_RUNNING;
    pthread_mutex_unlock(&k->mu);
    return idle;
}

void api_chats_close(struct api_chats *k)
{
    if (!k)
        return;
    if (k->running) {
        pthread_mutex_lock(&k->mu);
        k->stop = true;
        for (struct run *r = k->all; r; r = r->next)
            r->stop = true;
        pthread_cond_signal(&k->work);
        pthread_mutex_unlock(&k->mu);
        pthread_join(k->thread, NULL);
    }
    api_events_free(k->events);
    pthread_cond_destroy(&k->work);
    pthread_mutex_destroy(&k->mu);
    mem_free(k);
}
