/* SPDX-License-Identifier: MIT */
#include "api/api_messages.h"

#include "base/num.h"

#include <stdio.h>
#include <string.h>

#define MESSAGES_MAX   16384
#define TOOLS_MAX      256
#define NAME_BYTES_MAX 128 /* of a tool, as Anthropic has it */
#define TEXT_BYTES_MAX ((size_t)32 << 20)

/* The conversation as it is read.  Messages of one role that follow each other are one turn, as
 * Anthropic reads them; many templates know no others. */
struct reader {
    struct api_ask *ask;
    struct api_fault *f;
    json_t *names; /* {id of a call: name of its tool} */

    /* the turn that is open: */
    const char *role; /* NULL: none yet */
    bool told;        /* some of it is a message already */
    struct str text, reasoning;
    json_t *calls; /* array */
    json_t *parts; /* of text and pictures before `text`; an empty array: there is no picture */
};

/* ---- turns ---- */

static void join(struct str *out, struct span text)
{
    if (out->n)
        str_add_char(out, '\n');
    str_add_span(out, text);
}

static void end_text(struct reader *r)
{
    if (r->text.n)
        json_array_append_new(r->parts, api_pack("{ssso}", "type", "text", "text",
                                                 api_json_text(str_span(&r->text))));
    str_clear(&r->text);
}

/* The turn's text, or its parts where there are pictures. */
static json_t *take_content(struct reader *r)
{
    if (!json_array_size(r->parts))
        return api_json_text(str_span(&r->text));
    end_text(r);
    json_t *parts = r->parts;
    r->parts = json_array();
    return parts;
}

/* What there is of the turn as a message. */
static void tell(struct reader *r)
{
    json_t *m = api_pack("{ssso}", "role", r->role, "content", take_content(r));
    if (r->reasoning.n)
        json_object_set_new(m, "reasoning_content", api_json_text(str_span(&r->reasoning)));
    if (json_array_size(r->calls)) {
        json_object_set_new(m, "tool_calls", r->calls);
        r->calls = json_array();
    }
    json_array_append_new(r->ask->messages, m);
    str_clear(&r->text);
    str_clear(&r->reasoning);
    r->told = true;
}

static void end_turn(struct reader *r)
{
    bool more = r->text.n || r->reasoning.n || json_array_size(r->calls) ||
                json_array_size(r->parts);
    if (r->role && (more || !r->told))
        tell(r);
    r->told = false;
}

/* ---- blocks ---- */

static bool text_block(struct reader *r, const struct api_in *in)
{
    const char *text = NULL;
    if (!api_get_text(in, "text", &text))
        return false;
    if (!text)
        return api_get_refuse(in, "text", "is missing");
    join(&r->text, span_of(text));
    return true;
}

static bool image_block(struct reader *r, const struct api_in *in)
{
    char param[64];
    snprintf(param, sizeof param, "%.*s", (int)MIN(strlen(in->at) - 1, sizeof param - 1), in->at);
    json_t *part = api_picture_part(r->ask, in->o, param, in->fault);
    if (!part)
        return false;
    end_text(r);
    json_array_append_new(r->parts, part);
    return true;
}

static bool thinking_block(struct reader *r, const struct api_in *in)
{
    const char *text = NULL;
    if (!api_get_text(in, "thinking", &text))
        return false;
    if (text)
        join(&r->reasoning, span_of(text));
    return true;
}

/* Nobody here can read it. */
static bool redacted_block(struct reader *r, const struct api_in *in)
{
    (void)r, (void)in;
    return true;
}

static bool call_block(struct reader *r, const struct api_in *in)
{
    const char *id = NULL, *name = NULL;
    json_t *input = NULL;
    if (!api_get_text(in, "id", &id) || !api_get_text(in, "name", &name) ||
        !api_get_object(in, "input", &input))
        return false;
    if (!id || !name)
        return api_get_refuse(in, id ? "name" : "id", "is missing");
    json_object_set_new(r->names, id, json_string(name));
    json_array_append_new(r->calls, api_pack("{sssss{ssso}}", "id", id, "type", "function",
                                             "function", "name", name, "arguments",
                                             input ? json_deep_copy(input) : json_object()));
    return true;
}

/* A result is a message of its own, as templates have it.  They know no failed ones: a word before
 * the text tells the model. */
static bool result_block(struct reader *r, const struct api_in *in)
{
    const char *id = NULL;
    bool failed = false;
    struct str text;
    char at[96];
    if (!api_get_text(in, "tool_use_id", &id) || !api_get_bool(in, "is_error", &failed))
        return false;
    const char *name = id ? json_string_value(json_object_get(r->names, id)) : NULL;
    if (!name)
        return api_get_refuse(in, "tool_use_id", "no tool_use block before it has the id \"%.64s\"",
                              id ? id : "");
    snprintf(at, sizeof at, "%scontent", in->at);
    str_init(&text, TEXT_BYTES_MAX);
    if (failed)
        str_add_cstr(&text, "Error: ");
    struct str content;
    str_init(&content, TEXT_BYTES_MAX);
    bool ok = api_ask_content(api_get_any(in, "content"), at, &content, in->fault);
    str_add_span(&text, str_span(&content));
    str_done(&content);
    if (ok && (r->text.n || json_array_size(r->parts)))
        tell(r);
    r->told = true;
    if (ok)
        json_array_append_new(r->ask->messages,
                              api_pack("{ssssssso}", "role", "tool", "name", name, "tool_call_id",
                                       id, "content", api_json_text(str_span(&text))));
    str_done(&text);
    return ok;
}

static bool add_block(struct reader *r, const json_t *block, const char *at)
{
    static const struct {
        const char *type, *role; /* NULL: both */
        bool (*add)(struct reader *r, const struct api_in *in);
    } kinds[] = {
        {"text",              NULL,        text_block    },
        {"image",             "user",      image_block   },
        {"tool_result",       "user",      result_block  },
        {"tool_use",          "assistant", call_block    },
        {"thinking",          "assistant", thinking_block},
        {"redacted_thinking", "assistant", redacted_block},
    };
    const struct api_in in = {block, at, r->f};
    const char *type = "";
    if (!json_is_object(block))
        return api_refuse(in.fault, 400, "invalid_value", at, "%s: an object is expected", at);
    if (!api_get_text(&in, "type", &type))
        return false;
    for (size_t i = 0; i < N_ELEMS(kinds); i++) {
        if (strcmp(type, kinds[i].type) != 0)
            continue;
        if (kinds[i].role && strcmp(kinds[i].role, r->role) != 0)
            return api_get_refuse(&in, "type", "\"%s\" is no block of the role %s", type, r->role);
        return kinds[i].add(r, &in);
    }
    return api_get_refuse(&in, "type", "blocks of type \"%.48s\" are not supported", type);
}

/* ---- messages ---- */

static bool add_content(struct reader *r, const json_t *content, const char *at)
{
    char block_at[64];
    json_t *block;
    size_t i;
    if (json_is_string(content)) {
        join(&r->text, (struct span){json_string_value(content), json_string_length(content)});
        return true;
    }
    if (!json_is_array(content))
        return api_refuse(r->f, 400, "invalid_value", at,
                          "%scontent: a string or an array of blocks is expected", at);
    json_array_foreach(content, i, block)
    {
        snprintf(block_at, sizeof block_at, "%scontent[%zu].", at, i);
        if (!add_block(r, block, block_at))
            return false;
    }
    return true;
}

static bool add_message(struct reader *r, const json_t *message, size_t i)
{
    char at[32];
    const char *role = NULL;
    snprintf(at, sizeof at, "messages[%zu].", i);
    const struct api_in in = {message, at, r->f};
    if (!json_is_object(message))
        return api_refuse(r->f, 400, "invalid_value", "messages", "messages[%zu] is not an object",
                          i);
    if (!api_get_text(&in, "role", &role))
        return false;
    if (!role || (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0))
        return api_get_refuse(&in, "role", "\"%.32s\" is none of user, assistant",
                              role ? role : "");
    if (!r->role || strcmp(r->role, role) != 0)
        end_turn(r);
    r->role = role;
    return add_content(r, json_object_get(message, "content"), at);
}

static bool get_system(struct api_ask *ask, const struct api_in *in)
{
    struct str text;
    str_init(&text, TEXT_BYTES_MAX);
    bool ok = api_ask_content(api_get_any(in, "system"), "system", &text, in->fault);
    if (ok && text.n)
        json_array_append_new(ask->messages, api_pack("{ssso}", "role", "system", "content",
                                                      api_json_text(str_span(&text))));
    str_done(&text);
    return ok;
}

/* An answer that is begun already: what follows its text is asked for. */
static bool take_prefill(struct api_ask *ask, const struct api_in *in, struct arena *a)
{
    size_t n = json_array_size(ask->messages);
    const json_t *last = json_array_get(ask->messages, n - 1);
    const json_t *text = json_object_get(last, "content");
    if (strcmp(json_string_value(json_object_get(last, "role")), "assistant") != 0)
        return true;
    if (json_object_get(last, "tool_calls"))
        return api_get_refuse(in, "messages", "the last one has tool_use blocks without results");
    ask->prefill.n = json_string_length(text);
    ask->prefill.p = arena_dup(a, json_string_value(text), ask->prefill.n);
    json_array_remove(ask->messages, n - 1);
    return true;
}

static bool get_messages(struct api_ask *ask, const struct api_in *in, struct arena *a)
{
    json_t *list = NULL, *m;
    size_t i;
    if (!api_get_array(in, "messages", &list))
        return false;
    if (json_array_size(list) == 0 || json_array_size(list) > MESSAGES_MAX)
        return api_get_refuse(in, "messages", "1 to %d messages are expected", MESSAGES_MAX);
    ask->messages = json_array();
    struct reader r = {.ask = ask,
                       .f = in->fault,
                       .names = json_object(),
                       .calls = json_array(),
                       .parts = json_array()};
    str_init(&r.text, TEXT_BYTES_MAX);
    str_init(&r.reasoning, TEXT_BYTES_MAX);
    bool ok = get_system(ask, in);
    json_array_foreach(list, i, m)
    {
        ok = ok && add_message(&r, m, i);
    }
    if (ok)
        end_turn(&r);
    str_done(&r.text);
    str_done(&r.reasoning);
    json_decref(r.names);
    json_decref(r.calls);
    json_decref(r.parts);
    return ok && take_prefill(ask, in, a);
}

/* ---- tools ---- */

static bool add_tool(struct api_ask *ask, const json_t *tool, const char *at, struct api_fault *f)
{
    const struct api_in in = {tool, at, f};
    const char *type = "custom", *name = NULL, *description = NULL;
    json_t *schema = NULL;
    if (!json_is_object(tool))
        return api_refuse(f, 400, "invalid_value", at, "%s: an object is expected", at);
    if (!api_get_text(&in, "type", &type) || !api_get_text(&in, "name", &name) ||
        !api_get_text(&in, "description", &description) ||
        !api_get_object(&in, "input_schema", &schema))
        return false;
    if (strcmp(type, "custom") != 0)
        return api_get_refuse(&in, "type", "tools of type \"%.48s\" are not here, only custom ones",
                              type);
    size_t n = name ? strlen(name) : 0;
    if (n < 1 || n > NAME_BYTES_MAX ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != n)
        return api_get_refuse(&in, "name", "1 to %d of a-z, A-Z, 0-9, _ and - are expected",
                              NAME_BYTES_MAX);
    if (!schema)
        return api_get_refuse(&in, "input_schema", "is missing");
    json_t *fn = api_pack("{ssss*sO}", "name", name, "description", description, "parameters",
                          schema);
    json_array_append_new(ask->tools, api_pack("{ssso}", "type", "function", "function", fn));
    return true;
}

static bool get_tools(struct api_ask *ask, const struct api_in *in)
{
    json_t *tools = NULL, *t;
    char at[32];
    size_t i;
    if (!api_get_array(in, "tools", &tools))
        return false;
    if (json_array_size(tools) > TOOLS_MAX)
        return api_get_refuse(in, "tools", "more than %d", TOOLS_MAX);
    if (json_array_size(tools))
        ask->tools = json_array();
    json_array_foreach(tools, i, t)
    {
        snprintf(at, sizeof at, "tools[%zu].", i);
        if (!add_tool(ask, t, at, in->fault))
            return false;
    }
    return true;
}

static bool choose_tool(struct api_ask *ask, const struct api_in *in, const char *name)
{
    size_t i;
    json_t *t;
    json_array_foreach(ask->tools, i, t)
    {
        const json_t *one = json_object_get(json_object_get(t, "function"), "name");
        if (!name || strcmp(json_string_value(one), name) != 0)
            continue;
        ask->tool_choice = API_TOOL_NAMED;
        ask->tool_names = api_pack("[s]", name);
        return true;
    }
    return api_get_refuse(in, "name", "\"%.64s\" is not among the tools", name ? name : "");
}

static bool get_choice(struct api_ask *ask, const struct api_in *in)
{
    json_t *o = NULL;
    const char *type = "", *name = NULL;
    bool single = false;
    if (!api_get_object(in, "tool_choice", &o))
        return false;
    if (!o)
        return true;
    const struct api_in sub = {o, "tool_choice.", in->fault};
    if (!api_get_text(&sub, "type", &type) || !api_get_text(&sub, "name", &name) ||
        !api_get_bool(&sub, "disable_parallel_tool_use", &single))
        return false;
    ask->parallel_calls = !single;
    if (strcmp(type, "tool") == 0)
        return choose_tool(ask, &sub, name);
    if (strcmp(type, "none") == 0)
        ask->tool_choice = API_TOOL_NONE;
    else if (strcmp(type, "any") == 0)
        ask->tool_choice = API_TOOL_REQUIRED;
    else if (strcmp(type, "auto") != 0)
        return api_get_refuse(&sub, "type", "\"%.32s\" is none of auto, any, tool, none", type);
    if (ask->tool_choice == API_TOOL_REQUIRED && !ask->tools)
        return api_get_refuse(&sub, "type", "\"any\", but there are no tools");
    return true;
}

/* ---- the rest ---- */

/* Without a word about it there is none, as in Anthropic's API. */
static bool get_thinking(struct api_ask *ask, const struct api_in *in)
{
    json_t *o = NULL;
    const char *type = "disabled";
    int64_t budget = 1;
    if (!api_get_object(in, "thinking", &o))
        return false;
    const struct api_in sub = {o, "thinking.", in->fault};
    if (o && (!api_get_text(&sub, "type", &type) ||
              !api_get_int(&sub, "budget_tokens", 1, INT32_MAX, &budget)))
        return false;
    bool on = strcmp(type, "enabled") == 0 || strcmp(type, "adaptive") == 0;
    if (!on && strcmp(type, "disabled") != 0)
        return api_get_refuse(&sub, "type", "\"%.32s\" is none of enabled, disabled, adaptive",
                              type);
    json_object_set_new(ask->kwargs, "enable_thinking", json_boolean(on));
    json_object_set_new(ask->kwargs, "thinking", json_boolean(on));
    return true;
}

/* {"type":"json_schema","schema":{...}} */
static bool get_format(struct api_ask *ask, const struct api_in *in, const char *name)
{
    json_t *o = NULL, *schema = NULL;
    const char *type = "";
    char at[64];
    if (!api_get_object(in, name, &o))
        return false;
    if (!o)
        return true;
    snprintf(at, sizeof at, "%s%s.", in->at, name);
    const struct api_in sub = {o, at, in->fault};
    if (!api_get_text(&sub, "type", &type) || !api_get_object(&sub, "schema", &schema))
        return false;
    if (strcmp(type, "json_schema") != 0)
        return api_get_refuse(&sub, "type", "\"%.32s\" is not json_schema", type);
    if (!schema)
        return api_get_refuse(&sub, "schema", "is missing");
    if (ask->guide != API_FREE)
        return api_get_refuse(in, name, "only one form of structured output at a time");
    ask->guide = API_SCHEMA;
    ask->schema = schema;
    return true;
}

static bool get_output(struct api_ask *ask, const struct api_in *in)
{
    json_t *o = NULL;
    const char *effort = NULL;
    if (!get_format(ask, in, "output_format") || !api_get_object(in, "output_config", &o))
        return false;
    if (!o)
        return true;
    const struct api_in sub = {o, "output_config.", in->fault};
    if (!get_format(ask, &sub, "format") || !api_get_text(&sub, "effort", &effort))
        return false;
    if (effort)
        json_object_set_new(ask->kwargs, "reasoning_effort", json_string(effort));
    return true;
}

static bool refuse_foreign(const struct api_in *in)
{
    static const char *const names[] = {"mcp_servers", "container"};
    json_t *metadata = NULL;
    const char *tier = NULL;
    for (size_t i = 0; i < N_ELEMS(names); i++) {
        const json_t *v = api_get_any(in, names[i]);
        if (v && !(json_is_array(v) && json_array_size(v) == 0))
            return api_get_refuse(in, names[i], "is not supported here");
    }
    return api_get_object(in, "metadata", &metadata) && api_get_text(in, "service_tier", &tier);
}

bool api_messages_ask(struct api_ask *ask, const struct api_in *in, struct arena *a, bool counts)
{
    double temperature = 0;
    ask->kwargs = json_object();
    if (!counts && !api_get_any(in, "max_tokens"))
        return api_get_refuse(in, "max_tokens", "is missing");
    if (!api_get_real(in, "temperature", 0, 1, &temperature) || !api_ask_common(ask, in, a) ||
        !api_ask_stop(ask, in, "stop_sequences") || !refuse_foreign(in) ||
        !get_messages(ask, in, a) || !get_tools(ask, in) || !get_choice(ask, in) ||
        !get_thinking(ask, in) || !get_output(ask, in))
        return false;
    if (ask->n != 1)
        return api_get_refuse(in, "n", "there is one answer");
    if (ask->n_max == 0)
        return api_get_refuse(in, "max_tokens", "is at least 1");
    return true;
}
