/* SPDX-License-Identifier: MIT
 * api_ask_chat.c - conversations and tools: what OpenAI's clients send, as templates expect it. */
#include "api/api_ask.h"

#include "base/num.h"

#include <stdio.h>
#include <string.h>

#define MESSAGES_MAX        16384
#define TOOLS_MAX           256
#define NAME_BYTES_MAX      64 /* of a function, as OpenAI has it */
#define TEXT_BYTES_MAX      ((size_t)32 << 20)
#define ARGUMENTS_BYTES_MAX ((size_t)8 << 20) /* api_json_bytes of all calls of a request */

/* ---- contents ---- */

bool api_ask_part(const json_t *part, const char *at, size_t i, struct str *out,
                  struct api_fault *f)
{
    const json_t *type = json_object_get(part, "type"), *text = json_object_get(part, "text");
    const char *kind = json_is_string(type) ? json_string_value(type) : "";
    bool refusal = strcmp(kind, "refusal") == 0;
    char param[96];
    snprintf(param, sizeof param, "%.70s[%zu]", at, i);
    if (refusal)
        text = json_object_get(part, "refusal");
    if (!refusal && strcmp(kind, "text") != 0 && strcmp(kind, "input_text") != 0 &&
        strcmp(kind, "output_text") != 0)
        return api_refuse(f, 400, "unsupported_content", param,
                          "%s: this model takes text; parts of type \"%.32s\" are not supported",
                          param, kind);
    if (!json_is_string(text))
        return api_refuse(f, 400, "invalid_value", param, "%s: the part has no text", param);
    if (out->n)
        str_add_char(out, '\n');
    str_add(out, json_string_value(text), json_string_length(text));
    return true;
}

bool api_ask_content(const json_t *content, const char *at, struct str *out, struct api_fault *f)
{
    size_t i;
    json_t *part;
    if (!content || json_is_null(content))
        return true;
    if (json_is_string(content)) {
        str_add(out, json_string_value(content), json_string_length(content));
        return true;
    }
    if (!json_is_array(content))
        return api_refuse(f, 400, "invalid_value", at,
                          "%s: a string or an array of content parts is expected", at);
    json_array_foreach(content, i, part)
    {
        if (!api_ask_part(part, at, i, out, f))
            return false;
    }
    return true;
}

static json_t *text_content(const json_t *content, const char *at, struct api_fault *f)
{
    struct str text;
    json_t *out = NULL;
    str_init(&text, TEXT_BYTES_MAX);
    if (api_ask_content(content, at, &text, f))
        out = api_json_text(str_span(&text));
    str_done(&text);
    return out;
}

json_t *api_ask_user_content(struct api_ask *ask, const json_t *content, const char *at,
                             struct api_fault *f)
{
    json_t *part;
    size_t i;
    json_array_foreach(content, i, part)
    {
        if (api_picture_is(part))
            return api_picture_content(ask, content, at, f);
    }
    return text_content(content, at, f);
}

/* ---- messages ---- */

/* The template's role of a role; NULL for none that is known. */
static const char *role_of(const char *role)
{
    static const char *const roles[][2] = {
        {"system",    "system"   },
        {"developer", "system"   },
        {"user",      "user"     },
        {"assistant", "assistant"},
        {"tool",      "tool"     },
        {"function",  "tool"     },
    };
    for (size_t i = 0; role && i < N_ELEMS(roles); i++)
        if (strcmp(role, roles[i][0]) == 0)
            return roles[i][1];
    return NULL;
}

/* Templates print arguments with `tojson`, so the JSON text that the API has becomes a value where
 * it is an object; anything else stays the text it is. */
json_t *api_ask_arguments(struct api_ask *ask, const json_t *v, const char *param,
                          struct api_fault *f)
{
    if (!v)
        return json_object();
    if (!json_is_string(v))
        return json_deep_copy(v);
    struct span text = {json_string_value(v), json_string_length(v)};
    ask->arguments_bytes += api_json_bytes(text);
    if (ask->arguments_bytes > ARGUMENTS_BYTES_MAX) {
        api_refuse(f, 413, "", param,
                   "%s: the arguments of all calls would take more than %zu MiB as values", param,
                   ARGUMENTS_BYTES_MAX >> 20);
        return NULL;
    }
    json_t *o = json_loadb(text.p, text.n, JSON_ALLOW_NUL, NULL);
    if (json_is_object(o))
        return o;
    json_decref(o);
    return json_deep_copy(v);
}

static bool add_calls(struct api_ask *ask, const json_t *calls, const char *at, json_t *m,
                      struct api_fault *f)
{
    json_t *out = json_array(), *call;
    size_t i;
    json_object_set_new(m, "tool_calls", out);
    json_array_foreach(calls, i, call)
    {
        const json_t *fn = json_object_get(call, "function");
        const char *name = json_string_value(json_object_get(fn, "name"));
        const char *id = json_string_value(json_object_get(call, "id"));
        if (!name)
            return api_refuse(f, 400, "invalid_value", at,
                              "%stool_calls[%zu].function.name is missing", at, i);
        json_t *arguments = api_ask_arguments(ask, json_object_get(fn, "arguments"), at, f);
        if (!arguments)
            return false;
        json_array_append_new(out, api_pack("{sssss{ssso}}", "id", id ? id : "", "type", "function",
                                            "function", "name", name, "arguments", arguments));
    }
    return true;
}

static bool add_rest(struct api_ask *ask, const struct api_in *in, json_t *m)
{
    static const char *const texts[] = {"name", "tool_call_id", "reasoning_content"};
    json_t *calls = NULL;
    for (size_t i = 0; i < N_ELEMS(texts); i++) {
        const char *text = NULL;
        if (!api_get_text(in, texts[i], &text))
            return false;
        if (text)
            json_object_set_new(m, texts[i], json_string(text));
    }
    if (!api_get_array(in, "tool_calls", &calls))
        return false;
    return !calls || json_array_size(calls) == 0 || add_calls(ask, calls, in->at, m, in->fault);
}

static bool add_message(struct api_ask *ask, const json_t *message, size_t i, struct api_fault *f)
{
    char at[32], param[64];
    const char *role = NULL;
    snprintf(at, sizeof at, "messages[%zu].", i);
    snprintf(param, sizeof param, "%scontent", at);
    if (!json_is_object(message))
        return api_refuse(f, 400, "invalid_value", "messages", "messages[%zu] is not an object", i);
    const struct api_in in = {message, at, f};
    if (!api_get_text(&in, "role", &role))
        return false;
    if (!role_of(role))
        return api_get_refuse(&in, "role",
                              "\"%.32s\" is none of system, developer, user, assistant, tool",
                              role ? role : "");
    const json_t *content = api_get_any(&in, "content");
    if (!content && strcmp(role, "assistant") != 0)
        return api_get_refuse(&in, "content", "is missing");
    json_t *m = json_object();
    json_array_append_new(ask->messages, m);
    json_object_set_new(m, "role", json_string(role_of(role)));
    json_t *said = strcmp(role, "user") == 0 ? api_ask_user_content(ask, content, param, f)
                                             : text_content(content, param, f);
    if (said)
        json_object_set_new(m, "content", said);
    return said && add_rest(ask, &in, m);
}

bool api_ask_messages(struct api_ask *ask, const json_t *messages, struct api_fault *f)
{
    size_t i;
    json_t *m;
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return api_refuse(f, 400, "invalid_value", "messages",
                          "messages: an array with at least one message is expected");
    if (json_array_size(messages) > MESSAGES_MAX)
        return api_refuse(f, 400, "invalid_value", "messages",
                          "messages: %zu messages are more than %d", json_array_size(messages),
                          MESSAGES_MAX);
    if (!ask->messages)
        ask->messages = json_array();
    json_array_foreach(messages, i, m)
    {
        if (!add_message(ask, m, i, f))
            return false;
    }
    return true;
}

/* ---- tools ---- */

static bool good_name(const char *name)
{
    size_t n = strlen(name);
    return n >= 1 && n <= NAME_BYTES_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == n;
}

static bool add_tool(struct api_ask *ask, const json_t *fn, const char *at, struct api_fault *f)
{
    const struct api_in in = {fn, at, f};
    const char *name = NULL, *description = NULL;
    json_t *parameters = NULL;
    bool strict = false;
    if (!json_is_object(fn))
        return api_refuse(f, 400, "invalid_value", at, "%s: an object is expected", at);
    if (!api_get_text(&in, "name", &name) || !api_get_text(&in, "description", &description) ||
        !api_get_object(&in, "parameters", &parameters) || !api_get_bool(&in, "strict", &strict))
        return false;
    if (!name || !good_name(name))
        return api_get_refuse(&in, "name", "1 to %d of a-z, A-Z, 0-9, _ and - are expected",
                              NAME_BYTES_MAX);
    json_t *out = api_pack("{ss}", "name", name);
    if (description)
        json_object_set_new(out, "description", json_string(description));
    json_object_set_new(out, "parameters",
                        parameters ? json_deep_copy(parameters)
                                   : api_pack("{sss{}}", "type", "object", "properties"));
    if (strict)
        json_object_set_new(out, "strict", json_true());
    json_array_append_new(ask->tools, api_pack("{ssso}", "type", "function", "function", out));
    return true;
}

static bool get_tools(struct api_ask *ask, const struct api_in *in, const char *list)
{
    json_t *tools = NULL, *t;
    size_t i;
    char at[64];
    bool typed = strcmp(list, "tools") == 0;
    if (!api_get_array(in, list, &tools))
        return false;
    if (json_array_size(tools) > TOOLS_MAX)
        return api_get_refuse(in, list, "more than %d", TOOLS_MAX);
    if (json_array_size(tools) && !ask->tools)
        ask->tools = json_array();
    json_array_foreach(tools, i, t)
    {
        const char *type = json_string_value(json_object_get(t, "type"));
        const json_t *fn = json_object_get(t, "function"); /* the Responses API has no such layer */
        snprintf(at, sizeof at, fn ? "%s[%zu].function." : "%s[%zu].", list, i);
        if (typed && (!type || strcmp(type, "function") != 0))
            return api_get_refuse(in, list,
                                  "[%zu]: only tools of type \"function\" are called here, none of "
                                  "type \"%.32s\"",
                                  i, type ? type : "");
        if (!add_tool(ask, fn ? fn : t, at, in->fault))
            return false;
    }
    return true;
}

static bool has_tool(const struct api_ask *ask, const char *name)
{
    size_t i;
    json_t *t;
    json_array_foreach(ask->tools, i, t)
    {
        const json_t *fn = json_object_get(t, "function");
        if (strcmp(json_string_value(json_object_get(fn, "name")), name) == 0)
            return true;
    }
    return false;
}

static bool allow_tool(struct api_ask *ask, const struct api_in *in, const char *param,
                       const json_t *holder)
{
    const json_t *fn = json_object_get(holder, "function");
    const char *name = json_string_value(json_object_get(fn ? fn : holder, "name"));
    if (!name || !has_tool(ask, name))
        return api_get_refuse(in, param, "\"%.64s\" is not among the tools", name ? name : "");
    if (!ask->tool_names)
        ask->tool_names = json_array();
    json_array_append_new(ask->tool_names, json_string(name));
    return true;
}

static bool choose_word(struct api_ask *ask, const struct api_in *in, const char *param,
                        const char *word)
{
    if (strcmp(word, "auto") == 0)
        ask->tool_choice = API_TOOL_AUTO;
    else if (strcmp(word, "none") == 0)
        ask->tool_choice = API_TOOL_NONE;
    else if (strcmp(word, "required") == 0)
        ask->tool_choice = API_TOOL_REQUIRED;
    else
        return api_get_refuse(in, param, "\"%.32s\" is none of auto, none, required", word);
    return true;
}

/* {"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[...]}}, and the Responses API's
 * flat form of it. */
static bool choose_allowed(struct api_ask *ask, const struct api_in *in, const char *param,
                           const json_t *choice)
{
    const json_t *o = json_object_get(choice, "allowed_tools"), *tools, *t;
    size_t i;
    o = o ? o : choice;
    const char *mode = json_string_value(json_object_get(o, "mode"));
    tools = json_object_get(o, "tools");
    if (!choose_word(ask, in, param, mode ? mode : ""))
        return false;
    if (json_array_size(tools) == 0)
        return api_get_refuse(in, param, "allowed_tools names no tools");
    if (json_array_size(tools) > TOOLS_MAX) /* each is looked for among all */
        return api_get_refuse(in, param, "allowed_tools names more than %d tools", TOOLS_MAX);
    json_array_foreach(tools, i, t)
    {
        if (!allow_tool(ask, in, param, t))
            return false;
    }
    return true;
}

static bool get_choice(struct api_ask *ask, const struct api_in *in, const char *param)
{
    const json_t *v = api_get_any(in, param);
    if (!v)
        return true;
    if (json_is_string(v)) {
        if (!choose_word(ask, in, param, json_string_value(v)))
            return false;
    } else if (!json_is_object(v)) {
        return api_get_refuse(in, param, "a string or an object is expected");
    } else {
        const char *type = json_string_value(json_object_get(v, "type"));
        if (type && strcmp(type, "allowed_tools") == 0)
            return choose_allowed(ask, in, param, v);
        if (type && strcmp(type, "function") != 0)
            return api_get_refuse(in, param, "\"%.32s\" is none of function, allowed_tools", type);
        ask->tool_choice = API_TOOL_NAMED;
        if (!allow_tool(ask, in, param, v))
            return false;
    }
    if (ask->tool_choice == API_TOOL_REQUIRED && !ask->tools)
        return api_get_refuse(in, param, "required, but there are no tools");
    return true;
}

bool api_ask_tools(struct api_ask *ask, const struct api_in *in)
{
    return get_tools(ask, in, "tools") && get_tools(ask, in, "functions") &&
           get_choice(ask, in, "tool_choice") && get_choice(ask, in, "function_call") &&
           api_get_bool(in, "parallel_tool_calls", &ask->parallel_calls);
}

/* ---- the template's variables ---- */

bool api_ask_effort(struct api_ask *ask, const struct api_in *in, const char *name)
{
    static const char *const words[] = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};
    const char *effort = NULL;
    if (!ask->kwargs)
        ask->kwargs = json_object();
    if (!api_get_text(in, name, &effort))
        return false;
    if (!effort)
        return true;
    size_t i = 0;
    while (i < N_ELEMS(words) && strcmp(effort, words[i]) != 0)
        i++;
    if (i == N_ELEMS(words))
        return api_get_refuse(
            in, name, "\"%.32s\" is none of none, minimal, low, medium, high, xhigh, max", effort);
    ask->reasoning_effort = effort;
    json_object_set_new(ask->kwargs, "enable_thinking", json_boolean(i > 0));
    if (i > 0)
        json_object_set_new(ask->kwargs, "reasoning_effort", json_string(effort));
    return true;
}

static bool get_kwargs(struct api_ask *ask, const struct api_in *in)
{
    json_t *kwargs = NULL;
    if (!api_ask_effort(ask, in, "reasoning_effort") ||
        !api_get_object(in, "chat_template_kwargs", &kwargs))
        return false;
    if (kwargs)
        json_object_update(ask->kwargs, kwargs);
    return true;
}

/* Fields that ask for what is not here, each with what would be meant by leaving it out. */
static bool refuse_foreign(const struct api_in *in)
{
    size_t i;
    json_t *m, *modalities = NULL;
    if (!api_get_array(in, "modalities", &modalities))
        return false;
    json_array_foreach(modalities, i, m)
    {
        if (!json_is_string(m) || strcmp(json_string_value(m), "text") != 0)
            return api_get_refuse(in, "modalities", "only \"text\" is answered here");
    }
    if (api_get_any(in, "audio"))
        return api_get_refuse(in, "audio", "only text is answered here");
    if (api_get_any(in, "web_search_options"))
        return api_get_refuse(in, "web_search_options", "this server searches no web");
    return true;
}

static bool get_logprobs(struct api_ask *ask, const struct api_in *in)
{
    if (!api_get_bool(in, "logprobs", &ask->logprobs) ||
        !api_get_int(in, "top_logprobs", 0, 20, &ask->n_top))
        return false;
    if (ask->n_top && !ask->logprobs)
        return api_get_refuse(in, "top_logprobs", "allowed only with \"logprobs\": true");
    return true;
}

/* {"type": "content", "content": a text or text parts} */
static bool get_prediction(struct api_ask *ask, const struct api_in *in)
{
    json_t *o = NULL;
    const char *type = NULL;
    if (!api_get_object(in, "prediction", &o))
        return false;
    if (!o)
        return true;
    const struct api_in sub = {o, "prediction.", in->fault};
    if (!api_get_text(&sub, "type", &type))
        return false;
    if (!type || strcmp(type, "content") != 0)
        return api_get_refuse(&sub, "type", "is \"content\"");
    ask->has_prediction = true;
    return api_ask_content(api_get_any(&sub, "content"), "prediction.content", &ask->predicted,
                           in->fault);
}

bool api_ask_chat(struct api_ask *ask, const struct api_in *in, struct arena *a)
{
    if (!api_ask_common(ask, in, a) || !refuse_foreign(in) || !get_logprobs(ask, in) ||
        !api_ask_messages(ask, api_get_any(in, "messages"), in->fault) || !api_ask_tools(ask, in) ||
        !get_kwargs(ask, in) || !get_prediction(ask, in) ||
        !api_get_text(in, "chat_template", &ask->chat_template))
        return false;
    if (ask->n_max == 0)
        return api_get_refuse(in, "max_completion_tokens", "is at least 1");
    return true;
}
