/* SPDX-License-Identifier: MIT
 * api_chats_run.c - answers that belong to the server: one thread turns what the scheduler writes
 * into events and stored text.
 *
 * A run: reads its chat, waits for its model, writes, stores the end, perhaps finds a title.  What
 * it writes may end with calls of tools: the user is asked, which ends it until they have answered,
 * or the calls are made and it writes on.  It does one step each time it is woken: by the store,
 * the loader, the scheduler, a tool, a stop, the clock.
 */
#include "api/api_chats_int.h"
#include "api/api_sim.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS      1000000000u
#define TEXT_BYTES_MAX STORE_BODY_BYTES_MAX

/* ---- waking ---- */

void run_wake_locked(struct run *r)
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

bool run_stopped(struct run *r)
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
bool run_op_send(struct run *r, enum store_what what)
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

void run_op_begin(struct run *r)
{
    CHECK(!r->op_sent);
    arena_done(&r->op_arena);
    arena_init(&r->op_arena);
    r->x = (struct store_chats){.owner = r->owner, .id = r->chat};
}

bool run_op_came(struct run *r)
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

bool run_store(struct run *r, bool last)
{
    run_op_begin(r);
    r->x.at = r->message.id;
    r->x.deleted_too = true;
    r->x.mine = true; /* unless this server was taken for gone meanwhile */
    r->x.message.turn = r->message.turn;
    r->x.set = STORE_SET_CONTENT | STORE_SET_REASONING | STORE_SET_STATUS;
    r->x.message.content = op_copy(r, &r->content);
    r->x.message.reasoning = op_copy(r, &r->reasoning);
    r->x.message.status = last ? r->status : STORE_RUNNING;
    if (r->calls_text) {
        r->x.set |= STORE_SET_CALLS;
        r->x.message.calls = r->calls_text;
    }
    if (last) {
        r->x.set |= STORE_SET_USAGE;
        r->x.message.error = r->error;
        r->x.message.usage = r->usage;
    }
    r->op_last = last;
    r->kept_ns = os_now_ns();
    r->n_kept = r->content.n + r->reasoning.n;
    return run_op_send(r, STORE_MESSAGE_SET);
}

/* ---- what is told ---- */

static void tell_chat(struct run *r)
{
    if (r->x.n_chats)
        api_events_tell(r->set, r->owner, r->chat, "chat",
                        api_pack("{so}", "chat", api_chats_chat(&r->x.chats[0])));
}

void run_tell_message(struct run *r)
{
    if (!r->x.chats[0].deleted)
        api_events_tell(
            r->set, r->owner, r->chat, "message",
            api_pack("{ss so}", "chat", r->chat, "message", api_chats_message(&r->x.messages[0])));
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

/* Begins to write or, with pictures, has them looked at first; the part has a body and a use of the
 * model.  False with its fault. */
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
    ok = ok && api_gen_chat(p->gen) && api_gen_guide(p->gen);
    ok = ok && (p->gen->sight ? api_gen_look(p->gen) : api_gen_begin(p->gen));
    CHECK(ok || c->fault.status);
    return ok;
}

static void part_end(struct run_part *p)
{
    if (p && p->gen)
        api_gen_end(p->gen);
    if (p)
        p->gen = NULL;
}

static struct run_part *part_new(struct run *r)
{
    struct run_part *p = arena_alloc(&r->arena, sizeof *p);
    p->run = r;
    p->self = (struct api_self){
        .arena = &r->arena, .wake = part_wake, .release = part_release, .arg = p};
    p->call.api = r->set->api;
    p->call.self = &p->self;
    p->call.owner = r->owner;
    p->call.client = r->opts.client;
    p->call.limit = r->opts.limit;
    return p;
}

static void set_usage(struct run *r)
{
    const struct api_gen *g = r->answer->gen;
    if (!g || !g->n_choices)
        return;
    const struct job *j = &g->choices[0].job;
    struct api_usage u = api_gen_usage(g);
    uint64_t now = api_sim_now(g);
    double s = u.n_answer > 1 && now > j->first_ns ? (double)(now - j->first_ns) / 1e9 : 0;
    struct str text;
    str_init(&text, STORE_TEXT_BYTES_MAX);
    json_t *o = api_pack("{sI sI sI sf sI}", "prompt_tokens", (json_int_t)u.n_prompt,
                         "completion_tokens", (json_int_t)(r->n_tokens + u.n_answer),
                         "cached_tokens", (json_int_t)u.n_cached, "tokens_per_second",
                         s > 0 ? (double)(u.n_answer - 1) / s : 0.0, "context",
                         (json_int_t)engine_ctx(g->model->engine));
    api_sim_add(o, g);
    api_json_add(&text, o);
    r->usage = arena_dup(&r->arena, text.p, text.n);
    str_done(&text);
}

/* The answer ends like this, and is stored as soon as the store is free. */
void run_end(struct run *r, enum store_status status, const char *error)
{
    snprintf(r->error, sizeof r->error, "%s", error);
    pthread_mutex_lock(&r->set->mu);
    r->status = status;
    pthread_mutex_unlock(&r->set->mu);
    r->state = RUN_KEEP;
}

/* ---- the steps; each is true when another may follow at once ---- */

/* A round of the answer begins. */
static void ask_model(struct run *r)
{
    const struct store_chats *x = &r->read;
    const char *model = x->n_messages ? x->messages[x->n_messages - 1].model : "";
    r->answer = part_new(r);
    r->state = RUN_MODEL;
    if (!api_model_ask(&r->answer->call, *model ? model : NULL))
        run_end(r, STORE_ERROR, r->answer->call.fault.text);
}

/* What may be called is, and who looks sees it. */
static void begin_calls(struct run *r)
{
    part_end(r->answer);
    run_calls_send(r);
    r->state = RUN_CALL;
}

static bool step_read(struct run *r)
{
    if (!run_op_came(r))
        return false;
    if (r->op.err == ERR_NOTFOUND) { /* deleted meanwhile */
        r->state = RUN_OVER;
        return true;
    }
    if (r->op.err != ERR_OK || run_stopped(r)) {
        run_end(r, r->op.err == ERR_OK ? STORE_STOPPED : STORE_ERROR,
                r->op.err == ERR_OK ? "" : api_fault_store_text(&r->op.e));
        return true;
    }
    r->read = r->x; /* and its memory, until the run is over */
    r->read_arena = r->op_arena;
    arena_init(&r->op_arena);
    const struct store_chats *x = &r->read;
    for (size_t i = 0; i < x->n_messages && !r->first; i++) {
        const struct store_message *m = &x->messages[i];
        if (m->role == STORE_USER)
            r->first = arena_dup(&r->arena, m->content.p, MIN(m->content.n, 200));
    }
    r->kept = arena_array(&r->arena, x->n_files + 1, sizeof *r->kept);
    for (size_t i = 0; i < x->n_files; i++)
        r->kept[i] = x->files[i].kept;
    run_calls_read(r);
    if (run_calls_ready(r))
        begin_calls(r);
    else
        ask_model(r);
    return true;
}

/* The next message whose files are now read to another length than was stored; false: none. */
static bool store_kept(struct run *r)
{
    const struct store_chats *x = &r->read;
    for (; r->fit_next < x->n_messages; r->fit_next++) {
        size_t *kept, n = 0;
        bool changed = false;
        run_op_begin(r);
        kept = arena_array(&r->op_arena, STORE_MESSAGE_FILES_MAX, sizeof *kept);
        for (size_t i = 0; i < x->n_files && n < STORE_MESSAGE_FILES_MAX; i++) {
            if (x->files[i].message != r->fit_next)
                continue;
            changed |= r->kept[i] != x->files[i].kept;
            x->files[i].kept = kept[n++] = r->kept[i];
        }
        if (!changed)
            continue;
        const char *id = x->messages[r->fit_next].id;
        r->x.at = arena_dup(&r->op_arena, id, strlen(id));
        r->x.deleted_too = true;
        r->x.set = STORE_SET_KEPT;
        r->x.message.kept = kept;
        r->x.message.n_kept = n;
        r->fit_next++;
        return run_op_send(r, STORE_MESSAGE_SET);
    }
    return false;
}

static void begin_part(struct run *r)
{
    struct span tail = api_calls_tail(r->calls, str_span(&r->content)), prefill = {NULL, 0};
    if (r->go_on) /* what it said after its last calls */
        prefill = (struct span){arena_dup(&r->arena, tail.p, tail.n), tail.n};
    r->kept_ns = os_now_ns();
    if (part_begin(r, r->answer, prefill, &answer_ops))
        r->state = r->answer->gen->sight ? RUN_SEE : RUN_WRITE;
    else
        run_end(r, STORE_ERROR, r->answer->call.fault.text);
}

static bool step_model(struct run *r)
{
    struct api_call *c = &r->answer->call;
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
    c->body = run_fit(r, c->model);
    json_decref(r->messages);
    r->messages = json_incref(json_object_get(c->body, "messages"));
    r->fit_next = 0;
    r->state = RUN_FIT;
    if (!store_kept(r))
        begin_part(r);
    return true;
}

/* What is cut is shown before the answer begins. */
static bool step_fit(struct run *r)
{
    if (!run_op_came(r))
        return false;
    if (r->op.err == ERR_OK)
        run_tell_message(r);
    if (!store_kept(r))
        begin_part(r);
    return true;
}

/* After a round that ended with calls; false: the user decides, which ends this run, or there are
 * too many. */
static bool go_on_calling(struct run *r)
{
    if (run_calls_wait(r) || run_calls_round(r) > RUN_ROUNDS_MAX)
        return false;
    r->n_tokens += api_gen_usage(r->answer->gen).n_answer;
    r->go_on = false;
    begin_calls(r);
    return true;
}

/* The message went, or another server took it over: nothing of it is this one's any more. */
static bool lost(struct run *r)
{
    if (!run_op_came(r) || r->op.err != ERR_NOTFOUND) /* one that failed is followed by another */
        return false;
    log_at(LOG_WARN, "chats", "answer=given_up why=\"%s\"", r->op.e.text);
    api_gen_cancel(r->answer->gen);
    part_end(r->answer);
    pthread_mutex_lock(&r->set->mu);
    r->status = STORE_STOPPED;
    r->gone = true;
    pthread_mutex_unlock(&r->set->mu);
    r->state = RUN_OVER;
    return true;
}

/* Pictures are looked at; then the answer begins. */
static bool step_see(struct run *r)
{
    struct api_gen *g = r->answer->gen;
    struct api_fault *f = &r->answer->call.fault;
    if (lost(r))
        return true;
    if (run_stopped(r)) {
        api_gen_cancel(g);
        run_end(r, STORE_STOPPED, "");
        return true;
    }
    if (!api_gen_seen(g))
        return false;
    if (f->status || !api_gen_begin(g))
        run_end(r, STORE_ERROR, f->text);
    else
        r->state = RUN_WRITE;
    return true;
}

static bool step_write(struct run *r)
{
    struct api_fault f = {0};
    if (lost(r))
        return true;
    bool stop = run_stopped(r);
    if (stop)
        api_gen_cancel(r->answer->gen);
    bool over = api_gen_take(r->answer->gen, &r->scratch, &f);
    tell_delta(r, "reasoning", &r->reasoning, &r->fresh_reasoning);
    tell_delta(r, "content", &r->content, &r->fresh);
    if (over || f.status) {
        set_usage(r);
        if (over && !stop && run_calls_take(r) && go_on_calling(r))
            return true;
        if (stop && f.status)
            run_end(r, STORE_STOPPED, "");
        else
            run_end(r, over ? STORE_FINISHED : STORE_ERROR, f.text);
        return true;
    }
    if (!r->op_sent && os_now_ns() - r->kept_ns >= SECOND_NS &&
        r->content.n + r->reasoning.n > r->n_kept)
        run_store(r, false);
    return false;
}

/* Tells once that calls are made, then waits for all of them. */
static bool step_call(struct run *r)
{
    if (run_op_came(r) && r->op.err == ERR_OK)
        run_tell_message(r);
    if (r->op_sent)
        return false;
    if (run_calls_came(r)) {
        r->state = RUN_TOLD;
        run_store(r, false);
        return true;
    }
    if (r->n_kept != SIZE_MAX) {
        run_store(r, false);
        r->n_kept = SIZE_MAX; /* this was told */
    }
    return false;
}

static bool step_told(struct run *r)
{
    if (run_op_came(r) && r->op.err == ERR_OK)
        run_tell_message(r);
    if (r->op_sent)
        return false;
    if (run_stopped(r))
        run_end(r, STORE_STOPPED, "");
    else
        ask_model(r);
    return true;
}

/* A use of the model for the title, while the answer still has its own. */
static void want_title(struct run *r)
{
    struct api_call *c = &r->answer->call, *named = &r->namer->call;
    if (r->status != STORE_FINISHED || run_stopped(r) || !r->answer->gen ||
        !api_model_hold(c->model))
        return;
    named->model = c->model;
    named->body = api_chats_title_body(r->messages,
                                       api_calls_tail(r->calls, str_span(&r->content)));
}

static void store_title(struct run *r, struct span text)
{
    struct str title;
    str_init(&title, STORE_TEXT_BYTES_MAX);
    api_chats_title(text, &title);
    if (!title.n)
        api_chats_title(span_of(r->first ? r->first : ""), &title);
    run_op_begin(r);
    r->x.set = STORE_SET_UNTITLED;
    r->x.chat.title = arena_dup(&r->op_arena, title.n ? title.p : "", title.n);
    str_done(&title);
    r->state = run_op_send(r, STORE_CHAT_SET) ? RUN_NAMED : RUN_OVER;
}

/* The end is stored: all may know. */
static void kept(struct run *r)
{
    pthread_mutex_lock(&r->set->mu);
    r->kept_end = true;
    pthread_mutex_unlock(&r->set->mu);
    const struct store_chat *chat = &r->x.chats[0];
    run_tell_message(r);
    if (!chat->deleted)
        tell_chat(r);
    if (!r->title || chat->titled || chat->deleted || run_calls_wait(r)) {
        part_end(r->answer);
        r->state = RUN_OVER;
        return;
    }
    r->namer = part_new(r);
    want_title(r); /* not of one that was stopped: then the user's words must do */
    part_end(r->answer);
    bool begun = r->namer->call.body && part_begin(r, r->namer, (struct span){NULL, 0}, &title_ops);
    if (begun) {
        r->state = RUN_TITLE;
    } else {
        part_end(r->namer);
        store_title(r, (struct span){NULL, 0});
    }
}

static bool step_keep(struct run *r)
{
    if (run_op_came(r) && r->op_last) {
        r->op_last = false;
        if (r->op.err == ERR_OK) {
            kept(r);
            return true;
        }
        pthread_mutex_lock(&r->set->mu);
        bool give_up = r->op.err == ERR_NOTFOUND || r->set->stop;
        r->gone = r->op.err == ERR_NOTFOUND;
        pthread_mutex_unlock(&r->set->mu);
        if (give_up) {
            part_end(r->answer);
            r->state = RUN_OVER;
            return true;
        }
        log_at(LOG_ERROR, "chats", "answer=not_stored why=\"%s\"", r->op.e.text);
        r->retry_ns = os_now_ns() + SECOND_NS;
    }
    if (!r->op_sent && os_now_ns() >= r->retry_ns)
        run_store(r, true);
    return false;
}

static bool step_title(struct run *r)
{
    struct api_fault f = {0};
    struct api_gen *g = r->namer->gen;
    pthread_mutex_lock(&r->set->mu);
    bool stop = r->set->stop;
    pthread_mutex_unlock(&r->set->mu);
    if (stop)
        api_gen_cancel(g);
    if (!api_gen_take(g, &r->scratch, &f) && !f.status)
        return false;
    store_title(r, f.status ? (struct span){NULL, 0} : str_span(&g->choices[0].content));
    part_end(r->namer);
    return true;
}

static bool step_named(struct run *r)
{
    if (!run_op_came(r))
        return false;
    if (r->op.err == ERR_OK)
        tell_chat(r);
    r->state = RUN_OVER;
    return true;
}

void run_step(struct run *r)
{
    static bool (*const steps[])(struct run *) = {
        [RUN_READ] = step_read,  [RUN_MODEL] = step_model, [RUN_FIT] = step_fit,
        [RUN_SEE] = step_see,    [RUN_WRITE] = step_write, [RUN_CALL] = step_call,
        [RUN_TOLD] = step_told,  [RUN_KEEP] = step_keep,   [RUN_TITLE] = step_title,
        [RUN_NAMED] = step_named};
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
    r->message.turn = m->turn;
    r->options = o->options;
    r->opts = *o;
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
    r->calls_text = m->calls && strcmp(m->calls, "[]") != 0
                        ? arena_dup(&r->arena, m->calls, strlen(m->calls))
                        : NULL;
    arena_init(&r->read_arena);
    run_op_begin(r);
    r->x.at = r->message.id;
    bool sent = run_op_send(r, STORE_CHAT_PATH);
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

/* With mu held: it writes this message, in the turn that the store has. */
static bool is_of(const struct run *r, const struct store_message *m)
{
    return !r->gone && r->message.turn == m->turn && strcmp(r->message.id, m->id) == 0;
}

bool api_run_here(struct api_chats *k, const struct store_message *m)
{
    bool here = false;
    pthread_mutex_lock(&k->mu);
    for (const struct run *r = k->all; r; r = r->next)
        here |= is_of(r, m);
    pthread_mutex_unlock(&k->mu);
    return here;
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
            if (!is_of(r, m))
                continue;
            m->content = text_copy(a, &r->content);
            m->reasoning = text_copy(a, &r->reasoning);
            if (r->calls_text)
                m->calls = arena_dup(a, r->calls_text, strlen(r->calls_text));
            if (r->kept_end) {
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

void run_free(struct run *r)
{
    arena_done(&r->op_arena);
    json_decref(r->options);
    json_decref(r->messages);
    if (r->answer) /* where no generation took it over */
        json_decref(r->answer->call.body);
    if (r->namer)
        json_decref(r->namer->call.body);
    run_calls_free(r);
    arena_done(&r->read_arena);
    str_done(&r->content);
    str_done(&r->reasoning);
    str_done(&r->fresh);
    str_done(&r->fresh_reasoning);
    str_done(&r->scratch);
    arena_done(&r->arena);
    mem_free(r);
}
