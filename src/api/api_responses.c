/* SPDX-License-Identifier: MIT
 * api_responses.c - POST /v1/responses and /v1/responses/input_tokens: from the request to its
 * generation, over the store where it goes on from something. */
#include "api/api_responses.h"

#include <stdio.h>
#include <string.h>

#define LOOKUPS_MAX 64 /* of answers whose items an input refers to */

/* ---- a context that is too small ---- */

/* `truncation: auto`: the oldest turns are left out, none of the system message and never the
 * last turn, until what remains leaves room for the answer, or for a quarter of the context where
 * the request names no limit. */

static bool is_user(const json_t *m)
{
    return strcmp(json_string_value(json_object_get(m, "role")), "user") == 0;
}

/* Messages without the first n turns. */
static json_t *without_turns(const json_t *messages, size_t n)
{
    json_t *out = json_array(), *m;
    size_t i, turn = 0;
    json_array_foreach(messages, i, m)
    {
        bool head = i == 0 && !is_user(m);
        turn += is_user(m);
        if (head || turn > n)
            json_array_append(out, m);
    }
    return out;
}

static size_t n_turns(const json_t *messages)
{
    size_t i, n = 0;
    json_t *m;
    json_array_foreach(messages, i, m)
    {
        n += is_user(m);
    }
    return n;
}

/* Renders without the first n turns; whether it fits. */
static bool try_turns(struct api_gen *g, json_t *all, size_t n, bool *fits)
{
    size_t ctx = engine_ctx(g->model->engine);
    size_t room = g->ask.n_max >= 0 ? (size_t)g->ask.n_max : ctx / 4;
    json_decref(g->ask.messages);
    g->ask.messages = without_turns(all, n);
    str_clear(&g->rendered);
    if (g->n_prompts)
        tok_ids_done(&g->prompts[0]);
    g->n_prompts = 0;
    json_decref(g->callable);
    g->callable = NULL;
    if (!api_gen_chat(g))
        return false;
    *fits = room < ctx && g->prompts[0].n <= ctx - room;
    return true;
}

static bool truncate_input(struct api_gen *g)
{
    json_t *all = json_incref(g->ask.messages);
    size_t low = 0, high = n_turns(all); /* the least number that fits, or the most there is */
    bool fits = false, ok = try_turns(g, all, 0, &fits);
    high = fits || high == 0 ? 0 : high - 1;
    while (ok && low < high) {
        size_t mid = low + (high - low) / 2;
        ok = try_turns(g, all, mid, &fits);
        if (fits)
            high = mid;
        else
            low = mid + 1;
    }
    if (ok && low)
        ok = try_turns(g, all, low, &fits);
    json_decref(all);
    return ok;
}

/* ---- the answer ---- */

static void answer(struct api_call *c, struct api_model *m)
{
    struct api_responses *r = c->own;
    struct api_gen *g = api_gen_new(c, m, "resp_", &api_responses_ops);
    str_init(&r->sink, 0);
    g->own = r;
    g->sink = &r->sink;
    bool ok = r->truncate ? truncate_input(g) : api_gen_chat(g);
    if (ok && r->count) {
        api_call_json(c, 200,
                      api_pack("{sssI}", "object", "response.input_tokens", "input_tokens",
                               (json_int_t)g->prompts[0].n));
        api_gen_drop(g);
        return;
    }
    if (ok)
        api_gen_guide(g);
    api_gen_start(g);
}

static bool add_input(struct api_call *c)
{
    char at[32];
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(c->body, "input"), i, item)
    {
        snprintf(at, sizeof at, "input[%zu].", i);
        if (!api_responses_add(c->ask, item, at, &c->fault))
            return false;
    }
    api_responses_join(c->ask);
    if (json_array_size(c->ask->messages) == 0)
        return api_refuse(&c->fault, 400, "missing_required_parameter", "input",
                          "input: a string or an array of items is expected");
    return true;
}

/* ---- what it goes on from ---- */

static void go_on(struct api_call *c);

static void chained(struct api_call *c, struct api_stored *s)
{
    struct api_responses *r = c->own;
    bool ok = true;
    r->chained = true;
    if (s->op.err == ERR_NOTFOUND)
        ok = api_refuse(&c->fault, 400, "previous_response_not_found", "previous_response_id",
                        "Previous response with id '%.64s' not found.", r->previous);
    else if (!api_stored_ok(s, &c->fault))
        ok = false;
    for (size_t i = 0; ok && i < s->op.n; i++)
        ok = api_responses_add_stored(c->ask, &s->op.objects[i], &c->fault);
    if (ok)
        go_on(c);
    else
        api_call_fail(c);
}

/* Puts the items of a stored response in place of the references to them. */
static void resolve(struct api_call *c, const struct store_object *o)
{
    size_t i, k;
    json_t *input = json_object_get(c->body, "input"), *ref, *item;
    json_t *body = api_stored_json(o->body);
    json_array_foreach(json_object_get(body, "output"), k, item)
    {
        json_array_foreach(input, i, ref)
        {
            const char *type = json_string_value(json_object_get(ref, "type"));
            if (strcmp(type, "item_reference") == 0 &&
                json_equal(json_object_get(ref, "id"), json_object_get(item, "id")))
                json_array_set(input, i, item);
        }
    }
    json_decref(body);
}

static void looked_up(struct api_call *c, struct api_stored *s)
{
    if (api_stored_ok(s, &c->fault)) {
        resolve(c, &s->op.objects[0]);
        go_on(c);
    } else {
        api_call_fail(c);
    }
}

/* The first item that is a reference; its response's id in *maker.  False with the fault when it
 * cannot be one's. */
static bool find_reference(struct api_call *c, const char **maker)
{
    size_t i;
    json_t *item;
    struct api_responses *r = c->own;
    json_array_foreach(json_object_get(c->body, "input"), i, item)
    {
        if (strcmp(json_string_value(json_object_get(item, "type")), "item_reference") != 0)
            continue;
        const char *id = json_string_value(json_object_get(item, "id"));
        const char *found = api_responses_maker(c->req->arena, id);
        if (!found || (r->last_maker && strcmp(found, r->last_maker) == 0))
            return api_refuse(&c->fault, 404, "not_found", "input",
                              "Item with id '%.64s' not found.", id);
        if (r->n_lookups++ == LOOKUPS_MAX)
            return api_refuse(&c->fault, 400, "invalid_value", "input",
                              "input: items of more than %d answers are referred to", LOOKUPS_MAX);
        r->last_maker = *maker = found;
        break;
    }
    return true;
}

static void ask_store(struct api_call *c, enum store_what what, const char *id,
                      api_stored_then *then)
{
    struct api_stored *s = api_stored_new(c, what, STORE_RESPONSE, id);
    if (s)
        api_stored_run(s, then);
    else
        api_call_fail(c);
}

/* The next thing that the store must say, or the model's turn. */
static void go_on(struct api_call *c)
{
    struct api_responses *r = c->own;
    const char *maker = NULL;
    if (r->previous && !r->chained)
        ask_store(c, STORE_CHAIN, r->previous, chained);
    else if (!find_reference(c, &maker))
        api_call_fail(c);
    else if (maker)
        ask_store(c, STORE_GET, maker, looked_up);
    else if (!add_input(c))
        api_call_fail(c);
    else
        api_model_want(c, c->ask->model, answer);
}

static void take(struct api_call *c, bool count)
{
    if (!api_call_ask(c))
        return;
    struct api_responses *r = arena_alloc(c->req->arena, sizeof *r);
    c->own = r;
    r->count = count;
    if (!api_responses_read(r, c)) {
        api_call_fail(c);
        return;
    }
    c->ask->messages = json_array();
    if (r->instructions)
        api_responses_add_system(c->ask, span_of(r->instructions));
    go_on(c);
}

void api_do_responses(struct api_call *c)
{
    take(c, false);
}

void api_do_responses_count(struct api_call *c)
{
    take(c, true);
}

void api_do_responses_compact(struct api_call *c)
{
    api_refuse(&c->fault, 501, "unsupported", "",
               "this server compacts no conversations; see truncation of /v1/responses");
    api_call_fail(c);
}
