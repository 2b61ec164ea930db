/* SPDX-License-Identifier: MIT
 * api_guide.c - from what a request demands of its answers to the grammar that they follow. */
#include "api/api_gen.h"

#include "chat/chat_grammar.h"

#include <stdlib.h>
#include <string.h>

#define KEY_BYTES_MAX ((size_t)64 << 20)

/* How a grammar is made: of a text (which is its key), and of parts or a schema. */
struct recipe {
    enum { BY_SCHEMA, BY_REGEX, BY_GBNF, BY_PARTS } by;
    struct str text;
    json_t *json; /* the schema, or the parts; owned */
    bool strict;
};

/* One of some texts.  A schema would quote them, so a pattern. */
static void add_choice(struct str *re, const json_t *choice)
{
    size_t i;
    json_t *v;
    json_array_foreach(choice, i, v)
    {
        const char *s = json_string_value(v);
        if (i)
            str_add_char(re, '|');
        for (; *s; s++) {
            if (strchr("\\^$.|?*+()[]{}/-", *s))
                str_add_char(re, '\\');
            str_add_char(re, *s);
        }
    }
}

/* The parameters of a tool that a grammar cannot hold to its schema may be any object, unless the
 * tool is strict. */
static bool loosen(json_t *tool, struct errinfo *e)
{
    struct gram *g;
    json_t *fn = json_object_get(tool, "function");
    const json_t *schema = json_object_get(fn, "parameters");
    bool strict = json_is_true(json_object_get(fn, "strict"));
    const struct gram_opts opts = {.strict = strict};
    enum err r = gram_from_schema(&g, schema, &opts, e);
    gram_free(g);
    if (r != ERR_UNSUPPORTED || strict)
        return r == ERR_OK;
    json_object_set_new(fn, "parameters", api_pack("{ss}", "type", "object"));
    return true;
}

static json_t *tools_that_hold(const struct api_gen *g)
{
    struct errinfo e;
    const json_t *shown = g->ask.tool_choice == API_TOOL_NONE ? g->ask.tools : g->callable;
    json_t *tools = json_deep_copy(shown), *t;
    size_t i;
    json_array_foreach(tools, i, t)
    {
        if (loosen(t, &e))
            continue;
        char param[64];
        snprintf(param, sizeof param, "tools[%zu].function.parameters", i);
        api_refuse(&g->call->fault, 400, "invalid_function_parameters", param, "%s: %s", param,
                   e.text);
    }
    return tools;
}

/* The whole answer of a conversation: reasoning, calls, a value of a schema.  *needed: false where
 * anything goes. */
static bool cook_chat(struct api_gen *g, const json_t *schema, struct recipe *r, bool *needed)
{
    static const enum chat_choice choices[] = {[API_TOOL_AUTO] = CHAT_CALLS_AUTO,
                                               [API_TOOL_NONE] = CHAT_CALLS_NONE,
                                               [API_TOOL_REQUIRED] = CHAT_CALLS_REQUIRED,
                                               [API_TOOL_NAMED] = CHAT_CALLS_REQUIRED};
    struct errinfo e;
    json_t *tools = tools_that_hold(g);
    const struct chat_answer want = {
        .tools = tools,
        .choice = choices[g->ask.tool_choice],
        .parallel = g->ask.parallel_calls && g->ask.tool_choice != API_TOOL_NAMED,
        .schema = schema,
        .strict = g->ask.strict,
        .reasoning = chat_prompt_reasoning(g->model->chat, str_span(&g->rendered)),
    };
    r->by = BY_PARTS;
    r->json = json_object();
    bool ok = !g->call->fault.status;
    if (ok && chat_call_grammar(g->model->chat, &want, &r->text, r->json, needed, &e) != ERR_OK)
        ok = api_refuse_err(&g->call->fault, "tool_choice", &e);
    json_decref(tools);
    return ok;
}

static json_t *schema_of(const struct api_ask *ask)
{
    if (ask->guide == API_JSON)
        return api_pack("{ss}", "type", "object");
    return ask->guide == API_SCHEMA ? json_incref((json_t *)(uintptr_t)ask->schema) : NULL;
}

/* False with the call's fault. */
static bool cook(struct api_gen *g, struct recipe *r, bool *needed)
{
    const struct api_ask *ask = &g->ask;
    json_t *schema = schema_of(ask);
    bool by_text = ask->guide == API_REGEX || ask->guide == API_GBNF || ask->guide == API_CHOICE;
    *needed = true;
    if (by_text && json_array_size(g->callable) && ask->tool_choice != API_TOOL_NONE)
        return api_refuse(&g->call->fault, 400, "invalid_value", "tools",
                          "tools go with a JSON schema, not with a pattern, grammar or choice");
    if (g->chat && !by_text) {
        bool ok = cook_chat(g, schema, r, needed);
        json_decref(schema);
        return ok;
    }
    r->json = schema;
    r->strict = ask->strict;
    r->by = ask->guide == API_GBNF ? BY_GBNF : by_text ? BY_REGEX : BY_SCHEMA;
    if (ask->guide == API_CHOICE)
        add_choice(&r->text, ask->schema);
    else if (by_text)
        str_add_cstr(&r->text, ask->guide_text);
    *needed = ask->guide != API_FREE;
    return true;
}

static enum err make(struct gram **out, const struct recipe *r, struct errinfo *e)
{
    const struct gram_opts opts = {.strict = r->strict};
    if (r->text.full)
        return err_set(e, ERR_TOOBIG, "the grammar has more than %zu bytes", KEY_BYTES_MAX);
    switch (r->by) {
    case BY_SCHEMA: return gram_from_schema(out, r->json, &opts, e);
    case BY_REGEX: return gram_from_regex(out, str_span(&r->text), e);
    case BY_GBNF: return gram_from_gbnf(out, str_span(&r->text), e);
    case BY_PARTS: break;
    }
    return gram_from_parts(out, str_span(&r->text), r->json, e);
}

/* All digits of a number: schemas that differ in the last one are two. */
static void add_key(const struct recipe *r, struct str *key)
{
    str_addf(key, "%d%d", (int)r->by, (int)r->strict);
    str_add_span(key, str_span(&r->text));
    str_add_char(key, '\0');
    if (!r->json)
        return;
    char *text = json_dumps(r->json, JSON_COMPACT | JSON_ENCODE_ANY);
    CHECK(text);
    str_add_cstr(key, text);
    free(text);
}

static bool find_or_make(struct api_gen *g, const struct recipe *r)
{
    const char *format = g->ask.format_name;
    const char *params[] = {"tools", format, format, "guided_regex", "grammar", "guided_choice"};
    struct errinfo e;
    struct str key;
    struct gram *gram;
    bool ok = true;
    str_init(&key, KEY_BYTES_MAX);
    add_key(r, &key);
    g->gram = key.full ? NULL : api_gram_find(g->model, str_span(&key));
    if (g->gram)
        ;
    else if (make(&gram, r, &e) == ERR_OK)
        g->gram = api_gram_add(g->model, str_span(&key), gram);
    else
        ok = api_refuse(&g->call->fault, 400, "invalid_schema", params[g->ask.guide], "%s", e.text);
    str_done(&key);
    return ok;
}

bool api_gen_guide(struct api_gen *g)
{
    struct recipe r = {.json = NULL};
    bool needed;
    str_init(&r.text, KEY_BYTES_MAX);
    bool ok = cook(g, &r, &needed) && (!needed || find_or_make(g, &r));
    str_done(&r.text);
    json_decref(r.json);
    return ok;
}
