/* SPDX-License-Identifier: MIT
 * api_responses_ask.c - the fields of a request for a response. */
#include "api/api_responses.h"

#include "base/num.h"

#include <string.h>

enum use { READ, ECHO, IGNORE, REFUSE, OWN };

static const struct field {
    const char *name;
    enum use use;
    const char *why;
} fields[] = {
#define FIELD(name, use, why) {#name, use, why},
#include "api/api_responses_field.def"
#undef FIELD
#define PARAM_REAL(name, field, min, max) {#name, OWN, ""},
#define PARAM_INT(name, field, min, max)  {#name, OWN, ""},
#include "api/api_param.def"
#undef PARAM_REAL
#undef PARAM_INT
};

static bool check_fields(const struct api_in *in)
{
    const char *name, *text;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)in->o, name, v)
    {
        const struct field *f = fields, *end = fields + N_ELEMS(fields);
        while (f < end && strcmp(f->name, name) != 0)
            f++;
        if (f == end)
            return api_refuse(in->fault, 400, "unknown_parameter", name,
                              "Unknown parameter: '%.64s'.", name);
        if (f->use == REFUSE && !json_is_null(v))
            return api_refuse(in->fault, 400, "unsupported_parameter", name, "%s: %s", name,
                              f->why);
        if (f->use == ECHO && !api_get_text(in, name, &text))
            return false;
    }
    return true;
}

/* One of some words, or nothing. */
static bool get_word(const struct api_in *in, const char *name, const char *const *words,
                     const char **out)
{
    const char *word = NULL;
    if (!api_get_text(in, name, &word))
        return false;
    if (!word)
        return true;
    for (; *words; words++)
        if (strcmp(word, *words) == 0)
            break;
    if (!*words)
        return api_get_refuse(in, name, "\"%.32s\" is not known", word);
    *out = word;
    return true;
}

/* ---- text and reasoning ---- */

static bool get_format(struct api_ask *ask, const struct api_in *in)
{
    static const char *const types[] = {"text", "json_object", "json_schema", NULL};
    const char *type = "", *name = NULL;
    json_t *schema = NULL;
    if (!get_word(in, "type", types, &type) || !api_get_text(in, "name", &name) ||
        !api_get_object(in, "schema", &schema) || !api_get_bool(in, "strict", &ask->strict))
        return false;
    if (!*type)
        return api_get_refuse(in, "type", "is missing");
    if (strcmp(type, "text") == 0)
        return true;
    if (ask->guide != API_FREE)
        return api_get_refuse(in, "type", "only one form of structured output at a time");
    ask->guide = API_JSON;
    if (strcmp(type, "json_object") == 0)
        return true;
    if (!name)
        return api_get_refuse(in, "name", "is missing");
    if (!schema)
        return api_get_refuse(in, "schema", "is missing");
    ask->guide = API_SCHEMA;
    ask->schema = schema;
    return true;
}

static bool get_text(struct api_ask *ask, const struct api_in *in)
{
    static const char *const verbosities[] = {"low", "medium", "high", NULL};
    json_t *o = NULL, *format = NULL;
    const char *verbosity = NULL; /* no model here knows of it: it is repeated */
    if (!api_get_object(in, "text", &o))
        return false;
    if (!o)
        return true;
    const struct api_in sub = {o, "text.", in->fault};
    if (!get_word(&sub, "verbosity", verbosities, &verbosity) ||
        !api_get_object(&sub, "format", &format))
        return false;
    const struct api_in sub2 = {format, "text.format.", in->fault};
    return !format || get_format(ask, &sub2);
}

/* A summary is what OpenAI gives in place of the reasoning, which is here in full. */
static bool get_reasoning(struct api_ask *ask, const struct api_in *in)
{
    static const char *const summaries[] = {"auto", "concise", "detailed", NULL};
    json_t *o = NULL;
    const char *summary = NULL;
    if (!api_get_object(in, "reasoning", &o))
        return false;
    if (!o)
        return true;
    const struct api_in sub = {o, "reasoning.", in->fault};
    return api_ask_effort(ask, &sub, "effort") && get_word(&sub, "summary", summaries, &summary) &&
           get_word(&sub, "generate_summary", summaries, &summary);
}

/* Of what may be included all but the first belongs to items that never come from here. */
static bool get_include(struct api_ask *ask, const struct api_in *in)
{
    static const char *const known[] = {
        "message.output_text.logprobs",   "reasoning.encrypted_content",
        "file_search_call.results",       "web_search_call.results",
        "web_search_call.action.sources", "message.input_image.image_url",
        "code_interpreter_call.outputs",  "computer_call_output.output.image_url",
    };
    json_t *list = NULL, *v;
    size_t i;
    int64_t n_top = 0;
    if (!api_get_array(in, "include", &list) || !api_get_int(in, "top_logprobs", 0, 20, &n_top))
        return false;
    json_array_foreach(list, i, v)
    {
        const char *what = json_string_value(v);
        size_t k = 0;
        while (what && k < N_ELEMS(known) && strcmp(what, known[k]) != 0)
            k++;
        if (!what || k == N_ELEMS(known))
            return api_get_refuse(in, "include", "\"%.64s\" is not known", what ? what : "");
        ask->logprobs |= k == 0;
    }
    ask->n_top = ask->logprobs ? n_top : 0;
    return true;
}

/* ---- tools ---- */

/* As the answer repeats them: with every member that a function has. */
static void complete_tools(json_t *tools)
{
    size_t i;
    json_t *t;
    json_array_foreach(tools, i, t)
    {
        static const char *const members[] = {"description", "parameters", "strict"};
        for (size_t k = 0; k < N_ELEMS(members); k++)
            if (!json_object_get(t, members[k]))
                json_object_set_new(t, members[k], json_null());
    }
}

/* ---- all ---- */

static bool get_limits(struct api_responses *r, struct api_ask *ask, const struct api_in *in)
{
    static const char *const truncations[] = {"disabled", "auto", NULL};
    const char *truncation = "disabled";
    bool background = false;
    int64_t n_calls = 0; /* of hosted tools: there are none */
    if (!api_get_int(in, "max_output_tokens", 1, INT32_MAX, &ask->n_max) ||
        !api_get_int(in, "max_tool_calls", 1, INT32_MAX, &n_calls) ||
        !get_word(in, "truncation", truncations, &truncation) ||
        !api_get_bool(in, "background", &background) || !api_get_bool(in, "store", &r->store))
        return false;
    if (background)
        return api_refuse(in->fault, 400, "unsupported_parameter", "background",
                          "background: an answer goes on here only while its client waits");
    r->truncate = strcmp(truncation, "auto") == 0;
    return true;
}

bool api_responses_read(struct api_responses *r, struct api_call *c)
{
    const struct api_in in = {c->body, "", &c->fault};
    struct api_ask *ask = c->ask;
    json_t *metadata = NULL;
    r->store = true;
    ask->messages_name = "input";
    ask->format_name = "text.format";
    if (!check_fields(&in) || !api_ask_common(ask, &in, c->req->arena) ||
        !get_limits(r, ask, &in) || !get_text(ask, &in) || !get_reasoning(ask, &in) ||
        !get_include(ask, &in) || !api_ask_tools(ask, &in) ||
        !api_stored_metadata(&in, "metadata", &metadata) ||
        !api_get_text(&in, "instructions", &r->instructions) ||
        !api_get_text(&in, "previous_response_id", &r->previous) || !api_responses_input(c))
        return false;
    complete_tools(api_get_any(&in, "tools"));
    r->store = r->store && c->api->o.store;
    return true;
}

void api_responses_done(struct api_responses *r)
{
    for (size_t i = 0; i < r->n_items; i++) {
        str_done(&r->items[i].name);
        str_done(&r->items[i].text);
        json_decref(r->items[i].logprobs);
    }
    mem_free(r->items);
    json_decref(r->final);
    str_done(&r->sink);
    api_stored_free(r->put);
}
