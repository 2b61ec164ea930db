/* SPDX-License-Identifier: MIT
 * api_responses_events.c - an answer as items, and the events that tell of them.
 *
 * Items come one after the other: what comes next ends the one before.  Both a stream and a whole
 * answer are made here, so that they have the same items; a whole one writes no events. */
#include "api/api_responses.h"

#include "api/api_openai.h"

#include <string.h>

#define TEXT_BYTES_MAX ((size_t)64 << 20)

static void event(struct api_gen *g, const char *type, json_t *o, struct str *out)
{
    struct api_responses *r = g->own;
    if (!g->ask.stream) {
        json_decref(o);
        return;
    }
    json_t *e = api_pack("{sssI}", "type", type, "sequence_number", r->n_events++);
    json_object_update(e, o);
    json_decref(o);
    api_json_event(out, type, e);
}

static struct api_item *last(const struct api_responses *r)
{
    return &r->items[r->n_items - 1];
}

/* Of the last item. */
static json_t *about(const struct api_responses *r, bool in_part)
{
    json_t *o = api_pack("{sssI}", "item_id", last(r)->id, "output_index",
                         (json_int_t)r->n_items - 1);
    if (in_part)
        json_object_set_new(o, "content_index", json_integer(0));
    return o;
}

static json_t *with(json_t *o, const char *name, json_t *v)
{
    json_object_set_new(o, name, v);
    return o;
}

static json_t *item_event(const struct api_responses *r, bool with_content)
{
    return api_pack("{sIso}", "output_index", (json_int_t)r->n_items - 1, "item",
                    api_responses_item(last(r), with_content));
}

static json_t *last_text(const struct api_responses *r)
{
    return api_json_text(str_span(&last(r)->text));
}

/* ---- items ---- */

static void close_part(struct api_gen *g, struct str *out)
{
    struct api_responses *r = g->own;
    if (last(r)->kind == API_ITEM_MESSAGE)
        event(g, "response.output_text.done",
              with(with(about(r, true), "text", last_text(r)), "logprobs",
                   json_incref(last(r)->logprobs)),
              out);
    else
        event(g, "response.reasoning_text.done", with(about(r, true), "text", last_text(r)), out);
    event(g, "response.content_part.done",
          with(about(r, true), "part", api_responses_part(last(r))), out);
}

static void close_item(struct api_gen *g, const char *status, struct str *out)
{
    struct api_responses *r = g->own;
    if (!r->open)
        return;
    r->open = false;
    last(r)->status = status;
    if (last(r)->kind == API_ITEM_CALL)
        event(g, "response.function_call_arguments.done",
              with(with(about(r, false), "arguments", last_text(r)), "name",
                   api_json_text(str_span(&last(r)->name))),
              out);
    else
        close_part(g, out);
    event(g, "response.output_item.done", item_event(r, true), out);
}

/* An item's id tells its response (api_responses_maker). */
static const char *item_id(const struct api_gen *g, enum api_item_kind kind, size_t i)
{
    static const char *const prefixes[] = {"rs", "msg", "fc"};
    return arena_printf(g->arena, "%s%s_%zu", prefixes[kind], strchr(g->id, '_'), i);
}

static void open_item(struct api_gen *g, enum api_item_kind kind, const struct api_tool_call *t,
                      struct str *out)
{
    struct api_responses *r = g->own;
    close_item(g, "completed", out);
    r->items = mem_grow(r->items, (r->n_items + 1) * sizeof *r->items);
    struct api_item *item = &r->items[r->n_items++];
    *item = (struct api_item){.kind = kind, .status = "in_progress", .logprobs = json_array()};
    item->id = item_id(g, kind, r->n_items - 1);
    str_init(&item->name, TEXT_BYTES_MAX);
    str_init(&item->text, TEXT_BYTES_MAX);
    if (t) {
        item->call_id = t->id;
        str_add_span(&item->name, str_span(&t->name));
    }
    r->open = true;
    event(g, "response.output_item.added", item_event(r, false), out);
    if (!t)
        event(g, "response.content_part.added",
              with(about(r, true), "part", api_responses_part(item)), out);
}

static void want_item(struct api_gen *g, enum api_item_kind kind, struct str *out)
{
    const struct api_responses *r = g->own;
    if (!r->open || last(r)->kind != kind)
        open_item(g, kind, NULL, out);
}

/* ---- the generation's ---- */

static void begin(struct api_gen *g, struct str *out)
{
    json_t *o = api_responses_object(g, "in_progress");
    event(g, "response.created", api_pack("{sO}", "response", o), out);
    event(g, "response.in_progress", api_pack("{so}", "response", o), out);
}

static void content(struct api_choice *c, struct span piece, struct str *out)
{
    struct api_gen *g = c->gen;
    struct api_responses *r = g->own;
    want_item(g, API_ITEM_MESSAGE, out);
    json_t *all = api_openai_logprobs_new(c), *logprobs = json_array();
    json_array_extend(logprobs, json_object_get(all, "content"));
    json_array_extend(last(r)->logprobs, logprobs);
    json_decref(all);
    str_add_span(&last(r)->text, piece);
    event(g, "response.output_text.delta",
          with(with(about(r, true), "delta", api_json_text(piece)), "logprobs", logprobs), out);
}

static void reasoning(struct api_choice *c, struct span piece, struct str *out)
{
    struct api_responses *r = c->gen->own;
    want_item(c->gen, API_ITEM_REASONING, out);
    api_openai_logprobs_skip(c);
    str_add_span(&last(r)->text, piece);
    event(c->gen, "response.reasoning_text.delta",
          with(about(r, true), "delta", api_json_text(piece)), out);
}

static void call_begin(struct api_choice *c, struct api_tool_call *t, struct str *out)
{
    api_openai_logprobs_skip(c);
    open_item(c->gen, API_ITEM_CALL, t, out);
}

static void call_arguments(struct api_choice *c, struct api_tool_call *t, struct span piece,
                           struct str *out)
{
    struct api_responses *r = c->gen->own;
    (void)t;
    api_openai_logprobs_skip(c);
    str_add_span(&last(r)->text, piece);
    event(c->gen, "response.function_call_arguments.delta",
          with(about(r, false), "delta", api_json_text(piece)), out);
}

/* A call whose arguments are no JSON was cut off. */
static void call_end(struct api_choice *c, struct api_tool_call *t, struct str *out)
{
    json_t *o = json_loadb(t->arguments.p ? t->arguments.p : "", t->arguments.n, JSON_ALLOW_NUL,
                           NULL);
    api_openai_logprobs_skip(c);
    close_item(c->gen, o ? "completed" : "incomplete", out);
    json_decref(o);
}

static void choice_end(struct api_choice *c, struct str *out)
{
    const struct api_responses *r = c->gen->own;
    if (r->n_items == 0) /* an answer without a word is a message without text */
        open_item(c->gen, API_ITEM_MESSAGE, NULL, out);
    close_item(c->gen, c->finish == API_LENGTH ? "incomplete" : "completed", out);
}

static void end(struct api_gen *g, struct str *out)
{
    const struct api_responses *r = g->own;
    bool cut = g->choices[0].finish == API_LENGTH;
    event(g, cut ? "response.incomplete" : "response.completed",
          api_pack("{sO}", "response", r->final), out);
}

/* `error` says what happened in this API's words, `response.failed` what became of the answer. */
static void fail(struct api_gen *g, const struct api_fault *f, struct str *out)
{
    const char *code = f->status == 429  ? "rate_limit_exceeded"
                       : f->status < 500 ? "invalid_prompt"
                                         : "server_error";
    struct api_responses *r = g->own;
    if (r->open)
        last(r)->status = "incomplete";
    json_t *o = api_responses_object(g, "failed");
    json_object_set_new(o, "store", json_false());
    json_object_set_new(o, "error", api_pack("{ssss}", "code", code, "message", f->text));
    event(g, "error",
          api_pack("{sssssn}", "code", *f->code ? f->code : code, "message", f->text, "param"),
          out);
    event(g, "response.failed", api_pack("{so}", "response", o), out);
}

static json_t *whole(struct api_gen *g)
{
    return json_incref(((struct api_responses *)g->own)->final);
}

static void drop(struct api_gen *g)
{
    api_responses_done(g->own);
}

const struct api_gen_ops api_responses_ops = {
    .begin = begin,
    .content = content,
    .reasoning = reasoning,
    .call_begin = call_begin,
    .call_arguments = call_arguments,
    .call_end = call_end,
    .choice_end = choice_end,
    .end = end,
    .fail = fail,
    .whole = whole,
    .settle = api_responses_settle,
    .drop = drop,
};
