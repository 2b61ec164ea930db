/* SPDX-License-Identifier: MIT
 * api_chat.c - POST /v1/chat/completions. */
#include "api/api_gen.h"

#include "api/api_openai.h"
#include "api/api_stored.h"

#include <string.h>

/* A chat that asks to be stored. */
struct chat_store {
    const char *metadata; /* of the request's arena */
    struct api_stored *put;
};

static json_t *head(const struct api_gen *g, const char *object)
{
    return api_pack("{sssssIssss}", "id", g->id, "object", object, "created",
                    (json_int_t)g->created, "model", api_openai_model(g), "system_fingerprint",
                    api_openai_fingerprint());
}

/* ---- streams ---- */

static void add_chunk(struct api_gen *g, json_t *choices, struct str *out)
{
    json_t *o = head(g, "chat.completion.chunk");
    json_object_set_new(o, "choices", choices);
    if (g->ask.include_usage)
        json_object_set_new(o, "usage", json_null());
    api_json_event(out, NULL, o);
}

static void add_delta(struct api_choice *c, json_t *delta, json_t *logprobs, const char *finish,
                      struct str *out)
{
    json_t *choice = api_pack("{sIso}", "index", (json_int_t)c->index, "delta", delta);
    json_object_set_new(choice, "logprobs", logprobs ? logprobs : json_null());
    json_object_set_new(choice, "finish_reason", finish ? json_string(finish) : json_null());
    add_chunk(c->gen, api_pack("[o]", choice), out);
}

static void begin(struct api_gen *g, struct str *out)
{
    for (size_t i = 0; i < g->n_choices; i++)
        add_delta(&g->choices[i],
                  api_pack("{ssssso}", "role", "assistant", "content", "", "refusal", json_null()),
                  NULL, NULL, out);
}

static void content(struct api_choice *c, struct span piece, struct str *out)
{
    add_delta(c, api_pack("{so}", "content", api_json_text(piece)), api_openai_logprobs_new(c),
              NULL, out);
}

static void reasoning(struct api_choice *c, struct span piece, struct str *out)
{
    api_openai_logprobs_skip(c);
    add_delta(c, api_pack("{so}", "reasoning_content", api_json_text(piece)), NULL, NULL, out);
}

static void add_call(struct api_choice *c, const struct api_tool_call *t, json_t *call,
                     struct str *out)
{
    api_openai_logprobs_skip(c);
    json_object_set_new(call, "index", json_integer((json_int_t)(t - c->calls)));
    add_delta(c, api_pack("{s[o]}", "tool_calls", call), NULL, NULL, out);
}

static void call_begin(struct api_choice *c, struct api_tool_call *t, struct str *out)
{
    add_call(c, t,
             api_pack("{sssss{soss}}", "id", t->id, "type", "function", "function", "name",
                      api_json_text(str_span(&t->name)), "arguments", ""),
             out);
}

static void call_arguments(struct api_choice *c, struct api_tool_call *t, struct span piece,
                           struct str *out)
{
    add_call(c, t, api_pack("{s{so}}", "function", "arguments", api_json_text(piece)), out);
}

static void choice_end(struct api_choice *c, struct str *out)
{
    add_delta(c, json_object(), NULL, api_finish_name(c->finish), out);
}

static void end(struct api_gen *g, struct str *out)
{
    if (g->ask.include_usage) {
        json_t *o = head(g, "chat.completion.chunk");
        json_object_set_new(o, "choices", json_array());
        json_object_set_new(o, "usage", api_openai_usage(g));
        api_json_event(out, NULL, o);
    }
    str_add_cstr(out, "data: [DONE]\n\n");
}

/* ---- whole ---- */

static json_t *calls_of(const struct api_choice *c)
{
    json_t *calls = json_array();
    for (size_t i = 0; i < c->n_calls; i++) {
        const struct api_tool_call *t = &c->calls[i];
        json_array_append_new(calls, api_pack("{sssss{soso}}", "id", t->id, "type", "function",
                                              "function", "name", api_json_text(str_span(&t->name)),
                                              "arguments", api_json_text(str_span(&t->arguments))));
    }
    return calls;
}

static json_t *message_of(const struct api_choice *c)
{
    json_t *m = api_pack("{ssso}", "role", "assistant", "refusal", json_null());
    bool empty = c->content.n == 0 && c->n_calls;
    json_object_set_new(m, "content", empty ? json_null() : api_json_text(str_span(&c->content)));
    if (c->reasoning.n)
        json_object_set_new(m, "reasoning_content", api_json_text(str_span(&c->reasoning)));
    if (c->n_calls)
        json_object_set_new(m, "tool_calls", calls_of(c));
    return m;
}

static json_t *whole(struct api_gen *g)
{
    json_t *o = head(g, "chat.completion"), *choices = json_array();
    for (size_t i = 0; i < g->n_choices; i++) {
        struct api_choice *c = &g->choices[i];
        json_t *logprobs = api_openai_logprobs_new(c);
        json_array_append_new(choices,
                              api_pack("{sIsososs}", "index", (json_int_t)i, "message",
                                       message_of(c), "logprobs", logprobs ? logprobs : json_null(),
                                       "finish_reason", api_finish_name(c->finish)));
    }
    json_object_set_new(o, "choices", choices);
    json_object_set_new(o, "usage", api_openai_usage(g));
    return o;
}

/* ---- stored ---- */

/* A message as it came, with an id; parts of a content are a member of their own. */
static void set_messages(struct api_gen *g, struct api_stored *s)
{
    const json_t *messages = json_object_get(g->body, "messages");
    size_t n = json_array_size(messages);
    struct store_item *items = arena_array(&s->arena, n, sizeof *items);
    for (size_t i = 0; i < n; i++) {
        json_t *m = json_copy(json_array_get(messages, i));
        const json_t *content = json_object_get(m, "content");
        bool parts = json_is_array(content);
        items[i].id = arena_printf(&s->arena, "%s-%zu", g->id, i);
        json_object_set_new(m, "id", json_string(items[i].id));
        json_object_set_new(m, "content_parts", parts ? json_deep_copy(content) : json_null());
        if (parts)
            json_object_set(m, "content",
                            json_object_get(json_array_get(g->ask.messages, i), "content"));
        items[i].body = span_of(api_stored_text(&s->arena, m));
        json_decref(m);
    }
    s->op.object.items = items;
    s->op.object.n_items = n;
}

static bool store_it(struct api_gen *g, struct api_fault *f)
{
    struct chat_store *st = g->own;
    struct api_stored *s = api_stored_new(g->call, STORE_PUT, STORE_CHAT_COMPLETION, g->id);
    CHECK(s); /* there is a chat_store with a store only */
    st->put = s;
    s->op.object.model = api_stored_keep(s, api_openai_model(g));
    s->op.object.metadata = st->metadata;
    s->op.object.created = g->created;
    for (size_t i = 0; i < g->n_choices; i++)
        g->choices[i].n_told = 0; /* logprobs that a stream has sent belong to the whole, too */
    api_json_add(&s->body, whole(g));
    for (size_t i = 0; i < g->n_choices; i++)
        g->choices[i].n_told = 0;
    s->op.object.body = str_span(&s->body);
    set_messages(g, s);
    return api_stored_send(s, f);
}

static bool settle(struct api_gen *g, struct api_fault *f)
{
    struct chat_store *st = g->own;
    if (!st)
        return true;
    if (!st->put && !store_it(g, f))
        return false;
    return atomic_load(&st->put->over) && api_stored_ok(st->put, f);
}

static void drop(struct api_gen *g)
{
    struct chat_store *st = g->own;
    if (st)
        api_stored_free(st->put);
}

static const struct api_gen_ops chat_ops = {
    .begin = begin,
    .content = content,
    .reasoning = reasoning,
    .call_begin = call_begin,
    .call_arguments = call_arguments,
    .choice_end = choice_end,
    .end = end,
    .fail = api_openai_stream_fail,
    .whole = whole,
    .settle = settle,
    .drop = drop,
};

/* ---- the request ---- */

static void answer(struct api_call *c, struct api_model *m)
{
    struct api_gen *g = api_gen_new(c, m, "chatcmpl-", &chat_ops);
    g->own = c->own;
    if (api_gen_chat(g))
        api_gen_guide(g);
    api_gen_start(g);
}

/* Without a store nothing is kept, whatever was asked. */
static bool get_store(struct api_call *c, const struct api_in *in)
{
    bool store = false;
    json_t *metadata = NULL;
    if (!api_get_bool(in, "store", &store) || !api_stored_metadata(in, "metadata", &metadata))
        return false;
    if (store && c->api->o.store) {
        struct chat_store *st = arena_alloc(c->req->arena, sizeof *st);
        st->metadata = api_stored_text(c->req->arena, metadata);
        c->own = st;
    }
    return true;
}

void api_do_chat(struct api_call *c)
{
    struct api_ask *ask = api_call_ask(c);
    if (!ask)
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (api_ask_chat(ask, &in, c->req->arena) && get_store(c, &in))
        api_model_want(c, ask->model, answer);
    else
        api_call_fail(c);
}
