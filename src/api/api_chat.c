/* SPDX-License-Identifier: MIT
 * api_chat.c - POST /v1/chat/completions. */
#include "api/api_gen.h"

#include "api/api_openai.h"

#include <string.h>

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
};

/* ---- the request ---- */

static void answer(struct api_call *c, struct api_model *m)
{
    struct api_gen *g = api_gen_new(c, m, "chatcmpl-", &chat_ops);
    if (api_gen_chat(g))
        api_gen_guide(g);
    api_gen_start(g);
}

void api_do_chat(struct api_call *c)
{
    struct api_ask *ask = api_call_ask(c);
    if (!ask)
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (api_ask_chat(ask, &in, c->req->arena))
        api_model_want(c, ask->model, answer);
    else
        api_call_fail(c);
}
