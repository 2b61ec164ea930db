/* SPDX-License-Identifier: MIT
 * api_responses_object.c - a response as one object, and its end: stored, then told. */
#include "api/api_responses.h"
#include "api/api_sim.h"

#include "api/api_openai.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <math.h>
#include <string.h>

json_t *api_responses_part(const struct api_item *item)
{
    json_t *text = api_json_text(str_span(&item->text));
    if (item->kind == API_ITEM_REASONING)
        return api_pack("{ssso}", "type", "reasoning_text", "text", text);
    return api_pack("{sssos[]sO}", "type", "output_text", "text", text, "annotations", "logprobs",
                    item->logprobs);
}

json_t *api_responses_item(const struct api_item *item, bool with_content)
{
    static const char *const types[] = {"reasoning", "message", "function_call"};
    json_t *o = api_pack("{ssssss}", "id", item->id, "type", types[item->kind], "status",
                         item->status);
    if (item->kind == API_ITEM_CALL) {
        json_object_set_new(o, "call_id", json_string(item->call_id));
        json_object_set_new(o, "name", api_json_text(str_span(&item->name)));
        json_object_set_new(o, "arguments", api_json_text(str_span(&item->text)));
        return o;
    }
    if (item->kind == API_ITEM_MESSAGE)
        json_object_set_new(o, "role", json_string("assistant"));
    else
        json_object_set_new(o, "summary", json_array());
    json_object_set_new(o, "content",
                        with_content ? api_pack("[o]", api_responses_part(item)) : json_array());
    return o;
}

/* ---- the object ---- */

/* What the request said; nothing for null. */
static json_t *said(const struct api_gen *g, const char *name)
{
    json_t *v = json_object_get(g->body, name);
    return json_is_null(v) ? NULL : v;
}

/* The request's members that the answer repeats, with what holds where it is silent. */
static void add_echo(const struct api_gen *g, json_t *o)
{
    static const char *const same[] = {
        "instructions",     "max_output_tokens",      "max_tool_calls",    "previous_response_id",
        "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "user",
    };
    static const struct {
        const char *name, *text;
    } words[] = {
        {"tool_choice",  "auto"    },
        {"truncation",   "disabled"},
        {"service_tier", "default" },
    };
    for (size_t i = 0; i < N_ELEMS(same); i++) {
        json_t *v = said(g, same[i]);
        json_object_set(o, same[i], v ? v : json_null());
    }
    for (size_t i = 0; i < N_ELEMS(words); i++) {
        json_t *v = said(g, words[i].name);
        json_object_set_new(o, words[i].name, v ? json_incref(v) : json_string(words[i].text));
    }
    json_t *tools = said(g, "tools"), *metadata = said(g, "metadata");
    json_object_set_new(o, "tools", tools ? json_incref(tools) : json_array());
    json_object_set_new(o, "metadata", metadata ? json_incref(metadata) : json_object());
}

/* Without the noise of a float's digits: 0.7 is 0.7. */
static json_t *real_of(float x)
{
    return json_real(round((double)x * 1e6) / 1e6);
}

static void add_settings(const struct api_gen *g, json_t *o)
{
    const struct api_responses *r = g->own;
    json_t *text = json_object(), *reasoning = json_object();
    json_t *said_text = said(g, "text"), *said_reasoning = said(g, "reasoning");
    json_t *format = json_object_get(said_text, "format");
    json_t *verbosity = json_object_get(said_text, "verbosity");
    json_t *top = said(g, "top_logprobs");
    json_object_set_new(text, "format",
                        json_is_object(format) ? json_incref(format)
                                               : api_pack("{ss}", "type", "text"));
    json_object_set_new(text, "verbosity",
                        json_is_string(verbosity) ? json_incref(verbosity) : json_string("medium"));
    json_object_set_new(reasoning, "effort", json_null());
    json_object_set_new(reasoning, "summary", json_null());
    if (said_reasoning)
        json_object_update(reasoning, said_reasoning);
    json_object_set_new(o, "text", text);
    json_object_set_new(o, "reasoning", reasoning);
    json_object_set_new(o, "temperature", real_of(g->ask.sampling.temp));
    json_object_set_new(o, "top_p", real_of(g->ask.sampling.top_p));
    json_object_set_new(o, "top_logprobs", top ? json_incref(top) : json_integer(0));
    json_object_set_new(o, "parallel_tool_calls", json_boolean(g->ask.parallel_calls));
    json_object_set_new(o, "store", json_boolean(r->store));
    json_object_set_new(o, "background", json_false());
}

static json_t *usage_of(const struct api_gen *g)
{
    struct api_usage u = api_gen_usage(g);
    json_t *o = api_pack("{sIs{sI}sIs{sI}sI}", "input_tokens", (json_int_t)u.n_prompt,
                         "input_tokens_details", "cached_tokens", (json_int_t)u.n_cached,
                         "output_tokens", (json_int_t)u.n_answer, "output_tokens_details",
                         "reasoning_tokens", (json_int_t)u.n_reasoning, "total_tokens",
                         (json_int_t)(u.n_prompt + u.n_answer));
    api_sim_add(o, g);
    return o;
}

json_t *api_responses_object(const struct api_gen *g, const char *status)
{
    const struct api_responses *r = g->own;
    bool going = strcmp(status, "in_progress") == 0;
    json_t *output = json_array();
    for (size_t i = 0; i < r->n_items; i++)
        json_array_append_new(output, api_responses_item(&r->items[i], true));
    json_t *o = api_pack("{sssssIsssssososo}", "id", g->id, "object", "response", "created_at",
                         (json_int_t)g->created, "status", status, "model", api_openai_model(g),
                         "output", output, "error", json_null(), "usage",
                         going ? json_null() : usage_of(g));
    json_object_set_new(o, "completed_at",
                        strcmp(status, "completed") == 0 ? json_integer(os_unix_time())
                                                         : json_null());
    json_object_set_new(o, "incomplete_details",
                        strcmp(status, "incomplete") == 0
                            ? api_pack("{ss}", "reason", "max_output_tokens")
                            : json_null());
    add_echo(g, o);
    add_settings(g, o);
    return o;
}

/* ---- its end ---- */

static void set_items(struct api_gen *g, struct api_stored *s)
{
    const json_t *input = json_object_get(g->body, "input");
    size_t n = json_array_size(input);
    struct store_item *items = arena_array(&s->arena, n, sizeof *items);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(input, i);
        items[i].id = api_stored_keep(s, json_string_value(json_object_get(item, "id")));
        items[i].body = span_of(api_stored_text(&s->arena, item));
    }
    s->op.object.items = items;
    s->op.object.n_items = n;
}

static bool store_it(struct api_gen *g, struct api_fault *f)
{
    struct api_responses *r = g->own;
    struct api_stored *s = api_stored_new(g->call, STORE_PUT, STORE_RESPONSE, g->id);
    CHECK(s); /* r->store is set with a store only */
    r->put = s;
    s->op.object.model = api_stored_keep(s, api_openai_model(g));
    s->op.object.metadata = api_stored_text(&s->arena, json_object_get(r->final, "metadata"));
    s->op.object.previous = api_stored_keep(s, r->previous);
    s->op.object.created = g->created;
    api_json_add(&s->body, json_incref(r->final));
    s->op.object.body = str_span(&s->body);
    set_items(g, s);
    return api_stored_send(s, f);
}

bool api_responses_settle(struct api_gen *g, struct api_fault *f)
{
    struct api_responses *r = g->own;
    if (!r->final) {
        bool cut = g->choices[0].finish == API_LENGTH;
        r->final = api_responses_object(g, cut ? "incomplete" : "completed");
        if (r->store && !store_it(g, f))
            return false;
    }
    if (!r->put)
        return true;
    return atomic_load(&r->put->over) && api_stored_ok(r->put, f);
}
