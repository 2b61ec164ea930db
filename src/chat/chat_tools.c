/* SPDX-License-Identifier: MIT
 * chat_tools.c - calls in messages as the template wants them, and tools for models whose template
 * knows none. */
#include "chat/chat_int.h"

#include <stdlib.h>
#include <string.h>

void chat_adapt_calls(const struct chat *c, json_t *message)
{
    json_t *calls = json_object_get(message, "tool_calls"), *call;
    size_t i;
    if (!json_is_array(calls))
        return;
    calls = json_deep_copy(calls); /* the message shares it with the caller's */
    json_object_set_new(message, "tool_calls", calls);
    json_array_foreach(calls, i, call)
    {
        json_t *f = json_object_get(call, "function");
        json_t *args = json_object_get(f, "arguments"), *other = NULL;
        if (c->args_as_text && json_is_object(args)) {
            char *text = json_dumps(args, 0);
            other = text ? json_string(text) : NULL;
            free(text);
        } else if (!c->args_as_text && json_is_string(args)) {
            size_t n = json_string_length(args);
            other = n ? json_loadb(json_string_value(args), n, 0, NULL) : json_object();
        }
        if (other)
            json_object_set_new(f, "arguments", other);
    }
}

static const char intro[] =
    "You can call these functions, each given as JSON with its name, what it does and the schema "
    "of its arguments:\n";
static const char usage[] = "\nTo call one, write exactly this, and nothing after it:\n";
static const char usage_end[] =
    "\nFor several calls write this several times. When no function is needed, answer as usual.";

static void put_json(struct str *out, const json_t *j)
{
    char *text = json_dumps(j, JSON_ENCODE_ANY);
    str_add_cstr(out, text ? text : "null");
    free(text);
}

/* The text of a content that is a string or a list of parts. */
static void put_text(struct str *out, const json_t *content)
{
    const json_t *part;
    size_t i;
    if (json_is_string(content))
        str_add(out, json_string_value(content), json_string_length(content));
    json_array_foreach(content, i, part)
    {
        const json_t *text = json_is_string(part) ? part : json_object_get(part, "text");
        if (i)
            str_add_char(out, '\n');
        str_add(out, json_string_value(text), json_string_length(text));
    }
}

/* A call in the chat's syntax, as text; arguments NULL: a pattern for any. */
static void put_call(const struct chat *c, const char *name, struct span arguments, struct str *out)
{
    const struct chat_syntax *s = c->syntax;
    const char *const *m = s->mark;
    bool json = s->kind == CHAT_JSON || s->kind == CHAT_LIST, list = s->kind == CHAT_LIST;
    str_add_cstr(out, s->kind == CHAT_HARMONY ? "" : m[MARK_OUTER]);
    str_add_cstr(out, m[MARK_OPEN]);
    if (json) {
        str_add_cstr(out, list ? "[" : m[MARK_CLOSE][0] ? "\n" : "");
        str_addf(out, "{\"name\": \"%s\", \"%s\": ", name, s->args);
        str_add_span(out, arguments);
        str_add_cstr(out, list ? "}]" : m[MARK_CLOSE][0] ? "}\n" : "}");
    } else {
        str_add_cstr(out, s->kind == CHAT_XML       ? "\n"
                          : s->kind == CHAT_HARMONY ? "commentary to="
                                                    : "");
        str_addf(out, "%s%s%s%s", m[MARK_BEFORE], name, m[MARK_SKIP][0] == ':' ? ":0" : "",
                 m[MARK_NAME_END]);
        if (s->kind == CHAT_XML)
            str_add_cstr(out, "\n<parameter=NAME>\nVALUE\n</parameter>\n");
        else
            str_add_span(out, arguments);
        str_addf(out, "%s%s", s->kind == CHAT_HARMONY ? "" : m[MARK_FENCE],
                 s->kind == CHAT_XML ? "\n" : "");
    }
    str_addf(out, "%s%s", m[MARK_CLOSE], s->kind == CHAT_HARMONY ? "" : m[MARK_OUTER_END]);
}

static void set_content(json_t *message, struct str *s)
{
    json_object_set_new(message, "content", json_stringn(s->p ? s->p : "", s->n));
    str_done(s);
}

static bool has_role(const json_t *message, const char *role)
{
    const char *r = json_string_value(json_object_get(message, "role"));
    return r && strcmp(r, role) == 0;
}

static void tell(const struct chat *c, json_t *messages, const json_t *tools)
{
    struct str s;
    const json_t *tool;
    json_t *first = json_array_get(messages, 0);
    size_t i;
    str_init(&s, JINJA_OUTPUT_BYTES_MAX);
    if (!has_role(first, "system") && !has_role(first, "developer")) {
        first = json_pack("{s:s}", "role", "system");
        json_array_insert_new(messages, 0, first);
    }
    put_text(&s, json_object_get(first, "content"));
    str_add_cstr(&s, s.n ? "\n\n" : "");
    str_add_cstr(&s, intro);
    json_array_foreach(tools, i, tool)
    {
        put_json(&s, chat_tool_function(tool));
        str_add_char(&s, '\n');
    }
    str_add_cstr(&s, usage);
    put_call(c, "NAME", SPAN("{...}"), &s);
    str_add_cstr(&s, usage_end);
    set_content(first, &s);
}

static void show_calls(const struct chat *c, json_t *message)
{
    struct str s;
    json_t *calls = json_object_get(message, "tool_calls"), *call;
    size_t i;
    str_init(&s, JINJA_OUTPUT_BYTES_MAX);
    put_text(&s, json_object_get(message, "content"));
    json_array_foreach(calls, i, call)
    {
        struct str arguments;
        const json_t *f = chat_tool_function(call), *args = json_object_get(f, "arguments");
        const char *name = chat_tool_name(call);
        str_init(&arguments, JINJA_OUTPUT_BYTES_MAX);
        if (json_is_string(args))
            put_text(&arguments, args);
        else
            put_json(&arguments, args);
        str_add_cstr(&s, s.n ? "\n" : "");
        put_call(c, name ? name : "", str_span(&arguments), &s);
        str_done(&arguments);
    }
    json_object_del(message, "tool_calls");
    set_content(message, &s);
}

/* Results that follow each other become one message, for templates that want turns. */
static void show_result(json_t *messages, size_t *i, bool joins)
{
    struct str s;
    json_t *m = json_array_get(messages, *i), *last = *i ? json_array_get(messages, *i - 1) : NULL;
    str_init(&s, JINJA_OUTPUT_BYTES_MAX);
    if (joins) {
        put_text(&s, json_object_get(last, "content"));
        str_add_char(&s, '\n');
    }
    str_add_cstr(&s, "<tool_response>\n");
    put_text(&s, json_object_get(m, "content"));
    str_add_cstr(&s, "\n</tool_response>");
    if (joins) {
        json_array_remove(messages, (*i)--);
        m = last;
    } else {
        json_object_clear(m);
        json_object_set_new(m, "role", json_string("user"));
    }
    set_content(m, &s);
}

void chat_tell_tools(const struct chat *c, json_t *messages, const json_t *tools)
{
    bool was_result = false, ours = c->syntax->flags & CHAT_OURS;
    for (size_t i = 0; ours && i < json_array_size(messages); i++) {
        json_t *m = json_array_get(messages, i);
        bool is_result = c->template && has_role(m, "tool");
        if (is_result)
            show_result(messages, &i, was_result);
        else if (json_is_array(json_object_get(m, "tool_calls")))
            show_calls(c, m);
        was_result = is_result;
    }
    if (json_array_size(tools))
        tell(c, messages, tools);
}
