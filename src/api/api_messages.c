/* SPDX-License-Identifier: MIT
 * api_messages.c - POST /v1/messages and /v1/messages/count_tokens.
 *
 * A call's input is an object in this API: where a model wrote none, or the answer's end cut it
 * off, the input is {} (in a stream: what had come by then, as Anthropic does), and stop_reason
 * tells why. */
#include "api/api_messages.h"

#include "api/api_gen.h"
#include "api/api_openai.h"
#include "api/api_prompt.h"

#include <string.h>

#define TEXT_BYTES_MAX ((size_t)64 << 20)

enum block { BLOCK_NONE, BLOCK_TEXT, BLOCK_THINKING, BLOCK_CALL };

/* Of a stream. */
struct blocks {
    size_t n; /* ended */
    enum block open;
    bool input_begun, input_good; /* of a call: its first character came, and was a brace */
};

/* ---- what both forms share ---- */

/* cached: whether the job has said how much of the prompt was known. */
static json_t *usage_of(const struct api_gen *g, bool cached)
{
    struct api_usage u = api_gen_usage(g);
    size_t known = cached ? u.n_cached : 0;
    return api_pack("{sIsIsIsI}", "input_tokens", (json_int_t)(u.n_prompt - known),
                    "cache_creation_input_tokens", (json_int_t)0, "cache_read_input_tokens",
                    (json_int_t)known, "output_tokens", (json_int_t)u.n_answer);
}

/* The stop text where the request named it: others are ours. */
static const char *stop_sequence(const struct api_choice *c)
{
    const json_t *list = json_object_get(c->gen->body, "stop_sequences"), *v;
    size_t i;
    json_array_foreach(list, i, v)
    {
        if (c->stop_text && strcmp(json_string_value(v), c->stop_text) == 0)
            return c->stop_text;
    }
    return NULL;
}

static json_t *reason_of(const struct api_choice *c)
{
    const char *sequence = c->finish == API_STOPPED ? stop_sequence(c) : NULL;
    const char *reason = c->finish == API_CALLS    ? "tool_use"
                         : c->finish == API_LENGTH ? "max_tokens"
                         : sequence                ? "stop_sequence"
                                                   : "end_turn";
    return api_pack("{ssso}", "stop_reason", reason, "stop_sequence",
                    sequence ? json_string(sequence) : json_null());
}

static json_t *message_of(const struct api_gen *g, json_t *content, bool cached)
{
    return api_pack("{sssssssssoso}", "id", g->id, "type", "message", "role", "assistant", "model",
                    api_openai_model(g), "content", content, "usage", usage_of(g, cached));
}

/* ---- streams ---- */

static void begin(struct api_gen *g, struct str *out)
{
    json_t *m = message_of(g, json_array(), false);
    g->own = arena_alloc(g->arena, sizeof(struct blocks));
    json_object_set_new(m, "stop_reason", json_null());
    json_object_set_new(m, "stop_sequence", json_null());
    api_json_event(out, "message_start", api_pack("{ssso}", "type", "message_start", "message", m));
    api_json_event(out, "ping", api_pack("{ss}", "type", "ping"));
}

static void add_delta(struct api_gen *g, const char *type, const char *member, struct span piece,
                      struct str *out)
{
    const struct blocks *b = g->own;
    api_json_event(out, "content_block_delta",
                   api_pack("{sssIs{ssso}}", "type", "content_block_delta", "index",
                            (json_int_t)b->n, "delta", "type", type, member, api_json_text(piece)));
}

static void close_block(struct api_gen *g, struct str *out)
{
    struct blocks *b = g->own;
    if (b->open == BLOCK_NONE)
        return;
    /* Clients give it back with the block.  It says whose it is, and nothing is made of it. */
    if (b->open == BLOCK_THINKING)
        add_delta(g, "signature_delta", "signature", span_of(g->id), out);
    api_json_event(out, "content_block_stop",
                   api_pack("{sssI}", "type", "content_block_stop", "index", (json_int_t)b->n));
    b->n++;
    b->open = BLOCK_NONE;
}

/* Opens a block, unless it is a text or reasoning that goes on. */
static void open_block(struct api_gen *g, enum block kind, json_t *start, struct str *out)
{
    struct blocks *b = g->own;
    if (b->open == kind && kind != BLOCK_CALL) {
        json_decref(start);
        return;
    }
    close_block(g, out);
    api_json_event(out, "content_block_start",
                   api_pack("{sssIso}", "type", "content_block_start", "index", (json_int_t)b->n,
                            "content_block", start));
    b->open = kind;
    b->input_begun = b->input_good = false;
}

static void content(struct api_choice *c, struct span piece, struct str *out)
{
    open_block(c->gen, BLOCK_TEXT, api_pack("{ssss}", "type", "text", "text", ""), out);
    add_delta(c->gen, "text_delta", "text", piece, out);
}

static void reasoning(struct api_choice *c, struct span piece, struct str *out)
{
    open_block(c->gen, BLOCK_THINKING,
               api_pack("{ssssss}", "type", "thinking", "thinking", "", "signature", ""), out);
    add_delta(c->gen, "thinking_delta", "thinking", piece, out);
}

static void call_begin(struct api_choice *c, struct api_tool_call *t, struct str *out)
{
    open_block(c->gen, BLOCK_CALL,
               api_pack("{sssssos{}}", "type", "tool_use", "id", t->id, "name",
                        api_json_text(str_span(&t->name)), "input"),
               out);
}

/* Only what begins as an object is sent. */
static void call_arguments(struct api_choice *c, struct api_tool_call *t, struct span piece,
                           struct str *out)
{
    struct blocks *b = c->gen->own;
    size_t i = 0;
    (void)t;
    while (!b->input_begun && i < piece.n && strchr(" \t\r\n", piece.p[i]))
        i++;
    if (!b->input_begun && i < piece.n) {
        b->input_begun = true;
        b->input_good = piece.p[i] == '{';
    }
    if (b->input_good)
        add_delta(c->gen, "input_json_delta", "partial_json", piece, out);
}

static void choice_end(struct api_choice *c, struct str *out)
{
    close_block(c->gen, out);
    api_json_event(out, "message_delta",
                   api_pack("{sssoso}", "type", "message_delta", "delta", reason_of(c), "usage",
                            usage_of(c->gen, true)));
}

static void end(struct api_gen *g, struct str *out)
{
    (void)g;
    api_json_event(out, "message_stop", api_pack("{ss}", "type", "message_stop"));
}

static void fail(struct api_gen *g, const struct api_fault *f, struct str *out)
{
    struct api_fault named = *f;
    named.request_id = g->call->req->id;
    str_add_cstr(out, "event: error\ndata: ");
    api_fault_body(&named, API_ANTHROPIC, out);
    str_add_cstr(out, "\n\n");
}

/* ---- whole ---- */

static json_t *whole(struct api_gen *g)
{
    const struct api_choice *c = &g->choices[0];
    json_t *blocks = json_array();
    if (c->reasoning.n)
        json_array_append_new(blocks,
                              api_pack("{sssoss}", "type", "thinking", "thinking",
                                       api_json_text(str_span(&c->reasoning)), "signature", g->id));
    if (c->content.n)
        json_array_append_new(blocks, api_pack("{ssso}", "type", "text", "text",
                                               api_json_text(str_span(&c->content))));
    for (size_t i = 0; i < c->n_calls; i++) {
        const struct api_tool_call *t = &c->calls[i];
        json_array_append_new(blocks, api_pack("{sssssoso}", "type", "tool_use", "id", t->id,
                                               "name", api_json_text(str_span(&t->name)), "input",
                                               api_json_arguments(str_span(&t->arguments))));
    }
    json_t *m = message_of(g, blocks, true), *reason = reason_of(c);
    json_object_update(m, reason);
    json_decref(reason);
    return m;
}

static const struct api_gen_ops messages_ops = {
    .begin = begin,
    .content = content,
    .reasoning = reasoning,
    .call_begin = call_begin,
    .call_arguments = call_arguments,
    .choice_end = choice_end,
    .end = end,
    .fail = fail,
    .whole = whole,
    .call_kind = "toolu_",
};

/* ---- the requests ---- */

static void answer(struct api_call *c, struct api_model *m)
{
    struct api_gen *g = api_gen_new(c, m, "msg_", &messages_ops);
    if (api_gen_chat(g))
        api_gen_guide(g);
    api_gen_start(g);
}

static void count(struct api_call *c, struct api_model *m)
{
    struct str text;
    struct tok_ids ids = {0};
    str_init(&text, TEXT_BYTES_MAX);
    if (api_prompt_chat(m, c->ask, &text, &ids, &c->fault))
        api_call_json(c, 200, api_pack("{sI}", "input_tokens", (json_int_t)ids.n));
    else
        api_call_fail(c);
    str_done(&text);
    tok_ids_done(&ids);
    api_model_release(m);
}

static void begin_call(struct api_call *c, bool counts, api_model_then *then)
{
    struct api_ask *ask = api_call_ask(c);
    if (!ask)
        return;
    const struct api_in in = {c->body, "", &c->fault};
    c->exact = true;
    if (api_messages_ask(ask, &in, c->req->arena, counts))
        api_model_want(c, ask->model, then);
    else
        api_call_fail(c);
}

void api_do_messages(struct api_call *c)
{
    begin_call(c, false, answer);
}

void api_do_count_tokens(struct api_call *c)
{
    begin_call(c, true, count);
}
