/* SPDX-License-Identifier: MIT
 * api_chats_calls.c - calls of tools in an answer: written by the model, allowed by the user, run
 * beside the server.
 *
 * A message's calls are a list in the order in which they were written:
 *   {id, tool, server, name, title, arguments, at, round, state, result, bytes, kept, images}
 * tool: its id (api_tools.h); arguments: the text that the model wrote; at: bytes of the message's
 * content before it; round: calls of one round were written together.
 * state: asked (the user decides), allowed, running, done, failed (the tool says so, or could not
 * be called), refused (by the user), stopped.  result: text, the first part of `bytes`; kept: bytes
 * of it that the model reads, where that is not all. */
#include "api/api_chats_int.h"
#include "api/api_tools.h"

#include "base/num.h"
#include "tool/tool.h"

#include <string.h>

#define IMAGES_BYTES_MAX ((size_t)2 << 20) /* of a message, as base64 */

static const char *text_at(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));
    return text ? text : "";
}

static bool is_state(const json_t *call, const char *state)
{
    return strcmp(text_at(call, "state"), state) == 0;
}

static void set_state(json_t *call, const char *state)
{
    json_object_set_new(call, "state", json_string(state));
}

static void set_result(json_t *call, const char *state, const char *text)
{
    set_state(call, state);
    json_object_set_new(call, "result", api_json_text(span_of(text)));
    json_object_set_new(call, "bytes", json_integer((json_int_t)strlen(text)));
}

/* ---- a chat's tools ---- */

json_t *api_chats_tools(const struct store_chat *c, const char *which)
{
    json_t *o = api_stored_json(span_of(c->tools ? c->tools : "{}"));
    json_t *list = json_incref(json_object_get(o, which));
    json_decref(o);
    return list ? list : json_array();
}

static bool has_text(const json_t *list, const char *text)
{
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        if (strcmp(json_string_value(v), text) == 0)
            return true;
    }
    return false;
}

/* ---- deciding ---- */

bool api_calls_decide(json_t *calls, const char *id, enum api_allow allow, bool *waits,
                      struct api_fault *f)
{
    json_t *found = NULL, *v;
    size_t i;
    *waits = false;
    json_array_foreach(calls, i, v)
    {
        if (strcmp(text_at(v, "id"), id) == 0)
            found = v;
        else
            *waits |= is_state(v, "asked");
    }
    if (!found)
        return api_refuse(f, 404, "not_found", "", "there is no call \"%.64s\" in this message",
                          id);
    if (!is_state(found, "asked"))
        return api_refuse(f, 409, "decided", "", "the call was decided already: it is %s",
                          text_at(found, "state"));
    if (allow == API_ALLOW_NO)
        set_state(found, "refused");
    else
        set_state(found, "allowed");
    if (allow != API_ALLOW_ALWAYS)
        return true;
    const char *tool = text_at(found, "tool");
    json_array_foreach(calls, i, v)
    {
        if (is_state(v, "asked") && strcmp(text_at(v, "tool"), tool) == 0)
            set_state(v, "allowed");
    }
    *waits = false;
    json_array_foreach(calls, i, v)
    {
        *waits |= is_state(v, "asked");
    }
    return true;
}

/* ---- what the model is told ---- */

void api_calls_told(const json_t *call, struct str *out)
{
    const json_t *result = json_object_get(call, "result");
    const json_t *kept = json_object_get(call, "kept");
    struct span text = {json_string_value(result), json_string_length(result)};
    size_t all = (size_t)json_integer_value(json_object_get(call, "bytes"));
    if (is_state(call, "refused"))
        str_add_cstr(out, "The user refused this call. Do not make it again; go on without it.");
    else if (is_state(call, "asked") || is_state(call, "allowed"))
        str_add_cstr(out, "The user did not allow this call.");
    else if (is_state(call, "stopped") || is_state(call, "running"))
        str_add_cstr(out, "This call was stopped.");
    else if (is_state(call, "failed"))
        str_add_cstr(out, "Error: ");
    if (!result)
        return;
    text.n = kept ? MIN(text.n, (size_t)json_integer_value(kept)) : text.n;
    str_add_span(out, text);
    if (text.n < all)
        str_addf(out, "\n[The result is cut here: these are the first %zu of %zu bytes.]", text.n,
                 all);
}

/* A block of text as it is. */
static void add_quoted(struct str *out, struct span text)
{
    api_chats_fence(out, text);
    str_add_char(out, '\n');
    str_add_span(out, text);
    str_add_char(out, '\n');
    api_chats_fence(out, text);
    str_add_char(out, '\n');
}

void api_calls_markdown(const struct store_message *m, struct str *out)
{
    json_t *calls = api_stored_json(span_of(m->calls ? m->calls : "[]")), *v;
    size_t said = 0, i;
    json_array_foreach(calls, i, v)
    {
        struct str told;
        size_t at = api_calls_at(v, m->content);
        at = MAX(at, said);
        str_add(out, m->content.p + said, at - said);
        said = at;
        str_init(&told, STORE_CALLS_BYTES_MAX);
        api_calls_told(v, &told);
        str_addf(out, "\n\n**%s: %s** (%s)\n\n", text_at(v, "server"), text_at(v, "name"),
                 text_at(v, "state"));
        add_quoted(out, span_of(text_at(v, "arguments")));
        add_quoted(out, told.n ? str_span(&told) : SPAN(""));
        str_add_char(out, '\n');
        str_done(&told);
    }
    if (m->content.n > said)
        str_add(out, m->content.p + said, m->content.n - said);
    json_decref(calls);
}

/* ---- a run's ---- */

/* What is too much to be kept goes from all calls, pictures first. */
static void drop_from_calls(json_t *calls, const char *member)
{
    size_t i;
    json_t *v;
    json_array_foreach(calls, i, v)
    {
        json_object_del(v, member);
    }
}

void run_calls_text(struct run *r)
{
    static const char *const heavy[] = {"images", "result", "arguments"};
    struct str text;
    str_init(&text, STORE_CALLS_BYTES_MAX);
    api_json_add_exact(&text, json_incref(r->calls));
    for (size_t i = 0; text.full && i < N_ELEMS(heavy); i++) {
        drop_from_calls(r->calls, heavy[i]);
        str_clear(&text);
        api_json_add_exact(&text, json_incref(r->calls));
    }
    CHECK(!text.full);
    const char *copy = arena_dup(&r->arena, text.n ? text.p : "[]", text.n ? text.n : 2);
    str_done(&text);
    pthread_mutex_lock(&r->set->mu);
    r->calls_text = copy;
    pthread_mutex_unlock(&r->set->mu);
}

void run_calls_read(struct run *r)
{
    const struct store_chats *x = &r->read;
    const char *calls = x->n_messages ? x->messages[x->n_messages - 1].calls : NULL;
    r->calls = calls ? api_stored_json(span_of(calls)) : json_array();
    r->on = api_chats_tools(&x->chats[0], "on");
    r->always = api_chats_tools(&x->chats[0], "always");
    r->tools = api_tools_list(r->set->api);
    const char *named = text_at(r->options, "tool_choice");
    if (*named && api_tools_find(r->tools, named) && !has_text(r->on, named))
        json_array_append_new(r->on, json_string(named));
}

void run_calls_free(struct run *r)
{
    json_decref(r->calls);
    json_decref(r->on);
    json_decref(r->always);
    json_decref(r->tools);
}

static bool any_is(const struct run *r, const char *state)
{
    size_t i;
    json_t *v;
    json_array_foreach(r->calls, i, v)
    {
        if (is_state(v, state))
            return true;
    }
    return false;
}

bool run_calls_wait(const struct run *r)
{
    return any_is(r, "asked");
}

bool run_calls_ready(const struct run *r)
{
    return any_is(r, "allowed");
}

size_t run_calls_round(const struct run *r)
{
    const json_t *last = json_array_get(r->calls, json_array_size(r->calls) - 1);
    return (size_t)json_integer_value(json_object_get(last, "round"));
}

static bool is_object(const struct api_tool_call *t)
{
    json_t *o = t->arguments.n ? json_loadb(t->arguments.p, t->arguments.n, 0, NULL)
                               : json_object();
    bool yes = json_is_object(o);
    json_decref(o);
    return yes;
}

/* The user is asked, unless this tool may be called in this chat without. */
static json_t *call_of(struct run *r, const struct api_tool_call *t, size_t round)
{
    const char *id = t->name.p;
    const json_t *tool = api_tools_find(r->tools, id);
    json_t *o = api_pack("{ss ss ss ss ss so sI sI}", "id", api_new_id(&r->arena, "call-"), "tool",
                         id, "server", text_at(tool, "server"), "name", text_at(tool, "tool"),
                         "title", text_at(tool, "title"), "arguments",
                         api_json_text(t->arguments.n ? str_span(&t->arguments) : SPAN("{}")), "at",
                         (json_int_t)r->content.n, "round", (json_int_t)round);
    if (!is_object(t))
        set_result(o, "failed", "the call is not whole: its arguments are no JSON object");
    else if (!tool)
        set_result(o, "failed", "there is no such tool now");
    else if (round > RUN_ROUNDS_MAX)
        set_result(o, "failed", "one answer makes no more calls than this");
    else
        set_state(o, has_text(r->always, id) ? "allowed" : "asked");
    return o;
}

bool run_calls_take(struct run *r)
{
    const struct api_choice *c = &r->answer->gen->choices[0];
    size_t round = run_calls_round(r) + 1, room = RUN_CALLS_MAX - json_array_size(r->calls);
    for (size_t i = 0; i < MIN(c->n_calls, room); i++)
        json_array_append_new(r->calls, call_of(r, &c->calls[i], round));
    if (c->n_calls)
        run_calls_text(r);
    return c->n_calls > 0 && c->finish == API_CALLS; /* a limit may have ended it within one */
}

/* ---- calling ---- */

/* On the tools' thread. */
static void answered(void *arg, const json_t *answer, const struct errinfo *e)
{
    struct run_call *c = arg;
    struct run *r = c->run;
    struct api_chats *k = r->set;
    pthread_mutex_lock(&k->mu); /* the run is freed with mu held, and not before this is over */
    c->answer = answer ? json_deep_copy(answer) : NULL;
    if (e)
        c->e = *e;
    c->over = true;
    atomic_fetch_sub(&r->n_gens, 1);
    run_wake_locked(r);
    pthread_mutex_unlock(&k->mu);
}

static void send_one(struct run *r, struct run_call *c, json_t *call)
{
    json_t *arguments = json_loads(text_at(call, "arguments"), 0, NULL);
    struct errinfo e = {.text = "its arguments are no JSON object"};
    uint64_t number = 0;
    if (json_is_object(arguments)) {
        atomic_fetch_add(&r->n_gens, 1);
        number = tool_call(r->set->api->o.tool, text_at(call, "server"), text_at(call, "name"),
                           arguments, answered, c, &e);
        if (!number)
            atomic_fetch_sub(&r->n_gens, 1);
    }
    json_decref(arguments);
    c->number = number;
    if (!number) {
        c->e = e;
        c->over = true;
    }
}

void run_calls_send(struct run *r)
{
    size_t i, n = 0;
    json_t *v;
    r->under_way = arena_array(&r->arena, json_array_size(r->calls), sizeof *r->under_way);
    json_array_foreach(r->calls, i, v)
    {
        if (!is_state(v, "allowed"))
            continue;
        r->under_way[n++] = (struct run_call){.run = r, .index = i};
        set_state(v, "running");
    }
    r->n_under_way = n;
    run_calls_text(r);
    for (i = 0; i < n; i++)
        send_one(r, &r->under_way[i], json_array_get(r->calls, r->under_way[i].index));
}

/* Bytes of the pictures of a list. */
static size_t images_bytes(const json_t *images)
{
    size_t n = 0, i;
    const json_t *v;
    json_array_foreach(images, i, v)
    {
        n += json_string_length(json_object_get(v, "data"));
    }
    return n;
}

/* Pictures stay while a message has room for them, which is sent whole whenever it changes; the
 * result's text names those that do not. */
static void take_images(const struct run *r, json_t *call, json_t *images)
{
    size_t n = images_bytes(images), i;
    const json_t *v;
    json_array_foreach(r->calls, i, v)
    {
        n += images_bytes(json_object_get(v, "images"));
    }
    if (json_array_size(images) && n <= IMAGES_BYTES_MAX)
        json_object_set(call, "images", images);
}

static void take_answer(struct run *r, struct run_call *c, bool stop)
{
    json_t *call = json_array_get(r->calls, c->index);
    if (!c->answer) {
        set_result(call, stop ? "stopped" : "failed", c->e.text);
        return;
    }
    set_state(call, json_is_true(json_object_get(c->answer, "failed")) ? "failed" : "done");
    json_object_set(call, "result", json_object_get(c->answer, "text"));
    json_object_set(call, "bytes", json_object_get(c->answer, "bytes"));
    take_images(r, call, json_object_get(c->answer, "images"));
    json_decref(c->answer);
    c->answer = NULL;
}

bool run_calls_came(struct run *r)
{
    bool all = true, stop = run_stopped(r);
    for (size_t i = 0; i < r->n_under_way; i++) {
        struct run_call *c = &r->under_way[i];
        pthread_mutex_lock(&r->set->mu);
        bool over = c->over;
        pthread_mutex_unlock(&r->set->mu);
        all &= over;
        if (!over && stop)
            tool_cancel(r->set->api->o.tool, c->number);
    }
    if (!all)
        return false;
    for (size_t i = 0; i < r->n_under_way; i++)
        take_answer(r, &r->under_way[i], stop);
    r->n_under_way = 0;
    run_calls_text(r);
    return true;
}

/* ---- what the model reads of results ---- */

void run_calls_fit(struct run *r, const struct api_model *m)
{
    size_t most = engine_ctx(m->engine) / 4, i;
    bool changed = false;
    json_t *v;
    json_array_foreach(r->calls, i, v)
    {
        const json_t *result = json_object_get(v, "result");
        struct span text = {json_string_value(result), json_string_length(result)};
        if (!result || json_object_get(v, "kept"))
            continue;
        size_t kept = api_fit_cut(m, text, most);
        if (kept == text.n)
            continue;
        json_object_set_new(v, "kept", json_integer((json_int_t)kept));
        changed = true;
    }
    if (changed)
        run_calls_text(r);
}
