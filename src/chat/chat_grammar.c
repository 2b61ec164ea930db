/* SPDX-License-Identifier: MIT */
#include "chat/chat_grammar.h"

#include "chat/chat_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct writer {
    const struct chat *c;
    const struct chat_answer *a;
    struct str *out;
    json_t *parts;
    size_t n_tokens;
};

/* ---- pieces of GBNF ---- */

static void put(struct writer *w, const char *text)
{
    str_add_cstr(w->out, text);
}

/* A text in quotes. */
static void put_text(struct writer *w, struct span s)
{
    str_add_char(w->out, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            str_addf(w->out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            str_addf(w->out, "\\x%02x", c);
        else
            str_add_char(w->out, (char)c);
    }
    put(w, "\" ");
}

/* A coded text: its control tokens become parts. */
static void put_coded(struct writer *w, struct span s)
{
    while (s.n) {
        const char *control = memchr(s.p, CHAT_CONTROL, s.n);
        size_t n = control ? (size_t)(control - s.p) : s.n;
        if (n)
            put_text(w, (struct span){s.p, n});
        s.p += n;
        s.n -= n;
        if (!s.n)
            return;
        const char *end = memchr(s.p + 1, CHAT_CONTROL, s.n - 1);
        char name[32];
        CHECK(end);
        snprintf(name, sizeof name, "token-%zu", w->n_tokens++);
        n = (size_t)(end - s.p) + 1;
        json_object_set_new(w->parts, name,
                            json_pack("{s:o}", "control", json_stringn(s.p + 1, n - 2)));
        str_addf(w->out, "%s ", name);
        s.p += n;
        s.n -= n;
    }
}

static void put_mark(struct writer *w, enum chat_mark m)
{
    put_coded(w, chat_mark(w->c, m));
}

/* A text that may hold control tokens of the vocabulary. */
static void put_tokens(struct writer *w, const char *text)
{
    struct str coded;
    str_init(&coded, 4096);
    chat_code(w->c, span_of(text), &coded);
    put_coded(w, str_span(&coded));
    str_done(&coded);
}

/* A mark as `without` takes it. */
static void avoid(json_t *list, struct span mark)
{
    if (!mark.n)
        return;
    if (mark.p[0] == CHAT_CONTROL)
        json_array_append_new(list,
                              json_pack("{s:o}", "control", json_stringn(mark.p + 1, mark.n - 2)));
    else
        json_array_append_new(list, json_stringn(mark.p, mark.n));
}

static void set_without(struct writer *w, const char *name, const enum chat_mark *marks, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        avoid(list, chat_mark(w->c, marks[i]));
    json_object_set_new(w->parts, name, json_pack("{s:o}", "without", list));
}

static void set_schema(struct writer *w, const char *name, const json_t *schema, bool strict)
{
    json_object_set_new(w->parts, name,
                        json_pack("{s:O, s:b}", "schema", schema, "strict", (int)strict));
}

/* ---- tools ---- */

static bool may_call(const struct chat_answer *a, const json_t *tool)
{
    const char *name = chat_tool_name(tool);
    const json_t *j;
    size_t i;
    if (!name || !name[0])
        return false;
    bool found = !a->only;
    json_array_foreach(a->only, i, j)
        found = found || (json_is_string(j) && !strcmp(json_string_value(j), name));
    return found;
}

static json_t *parameters_of(const json_t *tool)
{
    const json_t *p = json_object_get(chat_tool_function(tool), "parameters");
    if (!json_is_object(p))
        return json_pack("{s:s, s:{}, s:b}", "type", "object", "properties", "additionalProperties",
                         0);
    json_t *copy = json_copy((json_t *)(uintptr_t)p);
    if (!json_object_get(copy, "type"))
        json_object_set_new(copy, "type", json_string("object"));
    return copy;
}

static bool is_strict(const json_t *tool)
{
    return json_is_true(json_object_get(chat_tool_function(tool), "strict"));
}

/* The name as JSON has it, in GBNF's quotes. */
static void put_json_name(struct writer *w, const char *before, const char *name, const char *after)
{
    struct str s;
    json_t *j = json_string(name);
    char *text = json_dumps(j, JSON_ENCODE_ANY);
    str_init(&s, (size_t)1 << 20);
    str_addf(&s, "%s%s%s", before, text, after);
    put_text(w, str_span(&s));
    str_done(&s);
    free(text);
    json_decref(j);
}

/* One parameter of an XML call. */
static void put_parameter(struct writer *w, const char *key, const json_t *schema,
                          const json_t *whole, size_t i, size_t k)
{
    static const char *const shared[] = {"$defs", "definitions"};
    const json_t *type = json_object_get(schema, "type"), *values = json_object_get(schema, "enum");
    const json_t *v;
    size_t n;
    char name[48];
    bool text = json_is_string(type) && strcmp(json_string_value(type), "string") == 0;
    put(w, "\"<parameter=\" ");
    put_text(w, span_of(key));
    put(w, "\">\\n\" ");
    if (text && json_array_size(values)) {
        put(w, "( ");
        json_array_foreach(values, n, v)
        {
            put(w, n ? "| " : "");
            put_text(w, (struct span){json_string_value(v) ? json_string_value(v) : "",
                                      json_string_length(v)});
        }
        put(w, ") ");
    } else if (text) {
        put(w, "value ");
    } else {
        json_t *part = json_is_object(schema) ? json_copy((json_t *)(uintptr_t)schema)
                                              : json_object();
        for (n = 0; n < N_ELEMS(shared); n++)
            if (json_object_get(whole, shared[n]) && !json_object_get(part, shared[n]))
                json_object_set(part, shared[n], json_object_get(whole, shared[n]));
        snprintf(name, sizeof name, "tool-%zu-%zu", i, k);
        set_schema(w, name, part, false);
        json_decref(part);
        str_addf(w->out, "%s ", name);
    }
    put(w, "\"\\n</parameter>\\n\" ");
}

static bool is_required(const json_t *schema, const char *key)
{
    const json_t *j;
    size_t i;
    json_array_foreach(json_object_get(schema, "required"), i,
                       j) if (json_is_string(j) && !strcmp(json_string_value(j), key)) return true;
    return false;
}

static void put_parameters(struct writer *w, const json_t *tool, size_t i)
{
    json_t *schema = parameters_of(tool), *v;
    const char *key;
    size_t k = 0;
    json_object_foreach(json_object_get(schema, "properties"), key, v)
    {
        bool required = is_required(schema, key);
        put(w, required ? "" : "( ");
        put_parameter(w, key, v, schema, i, k++);
        put(w, required ? "" : ")? ");
    }
    json_decref(schema);
}

/* {"name": NAME, "arguments": ...} */
static void put_object(struct writer *w, const char *name, size_t i)
{
    put_json_name(w, "{\"name\": ", name, ", ");
    put_json_name(w, "", w->c->syntax->args, ": ");
    str_addf(w->out, "tool-%zu \"}\" ", i);
}

static void put_json_call(struct writer *w, const char *name, size_t i)
{
    const struct chat_syntax *s = w->c->syntax;
    bool in_lines = s->kind == CHAT_JSON && s->mark[MARK_CLOSE][0];
    if (s->kind == CHAT_JSON && !(s->flags & CHAT_BARE))
        put_mark(w, MARK_OPEN);
    put(w, in_lines ? "\"\\n\"? " : "");
    put_object(w, name, i);
    put(w, in_lines ? "\"\\n\"? " : "");
    if (s->kind == CHAT_JSON)
        put_mark(w, MARK_CLOSE);
}

static void put_named_call(struct writer *w, const char *name, size_t i)
{
    put_mark(w, MARK_OPEN);
    put_mark(w, MARK_BEFORE);
    put_text(w, span_of(name));
    put(w, w->c->syntax->mark[MARK_SKIP][0] == ':' ? "\":\" [0-9]+ " : "");
    put_mark(w, MARK_NAME_END);
    str_addf(w->out, "tool-%zu ", i);
    put_mark(w, MARK_FENCE);
    put_mark(w, MARK_CLOSE);
}

static void put_xml_call(struct writer *w, const json_t *tool, size_t i)
{
    put_mark(w, MARK_OPEN);
    put(w, "\"\\n\" ");
    put_mark(w, MARK_BEFORE);
    put_text(w, span_of(chat_tool_name(tool)));
    put_mark(w, MARK_NAME_END);
    put(w, "\"\\n\" ");
    put_parameters(w, tool, i);
    put_mark(w, MARK_FENCE);
    put(w, "\"\\n\" ");
    put_mark(w, MARK_CLOSE);
}

static void put_harmony_call(struct writer *w, const char *name, size_t i)
{
    put(w, "( \" to=functions.\" ");
    put_text(w, span_of(name));
    put_tokens(w, "<|channel|>commentary");
    put(w, "| ");
    put_tokens(w, "<|channel|>commentary to=functions.");
    put_text(w, span_of(name));
    put(w, ") ( \" \"? ");
    put_tokens(w, "<|constrain|>json");
    put(w, "| \" json\" )? ");
    put_mark(w, MARK_NAME_END);
    str_addf(w->out, "tool-%zu ", i);
}

static void put_call(struct writer *w, const json_t *tool, size_t i)
{
    const struct chat_syntax *s = w->c->syntax;
    const char *name = chat_tool_name(tool);
    str_addf(w->out, "call-%zu ::= ", i);
    if (s->kind == CHAT_NAMED)
        put_named_call(w, name, i);
    else if (s->kind == CHAT_XML)
        put_xml_call(w, tool, i);
    else if (s->kind == CHAT_HARMONY)
        put_harmony_call(w, name, i);
    else
        put_json_call(w, name, i);
    put(w, "\n");
    if (s->kind != CHAT_XML) {
        char part[32];
        json_t *schema = parameters_of(tool);
        snprintf(part, sizeof part, "tool-%zu", i);
        set_schema(w, part, schema, is_strict(tool));
        json_decref(schema);
    }
}

/* The rule `calls`: one call, or several where the request and the syntax allow it. */
static void put_calls(struct writer *w)
{
    const struct chat_syntax *s = w->c->syntax;
    const char *between = s->kind == CHAT_LIST    ? "\",\" \" \"? "
                          : s->flags & CHAT_BARE  ? "\"; \" "
                          : s->kind == CHAT_NAMED ? ""
                                                  : "\"\\n\"? ";
    bool many = w->a->parallel && s->kind != CHAT_HARMONY, first = true;
    const json_t *tool;
    size_t i;
    json_array_foreach(w->a->tools, i, tool) if (may_call(w->a, tool)) put_call(w, tool, i);
    put(w, "call ::= ");
    json_array_foreach(w->a->tools, i, tool)
    {
        if (!may_call(w->a, tool))
            continue;
        str_addf(w->out, first ? "call-%zu " : "| call-%zu ", i);
        first = false;
    }
    put(w, "\ncalls ::= ");
    if (s->kind == CHAT_NAMED)
        put_mark(w, MARK_OUTER);
    if (s->kind == CHAT_LIST) {
        put_mark(w, MARK_OPEN);
        put(w, "\" \"? \"[\" ");
    }
    if (s->flags & CHAT_BARE) {
        put(w, "( ");
        put_mark(w, MARK_OPEN);
        put(w, ")? ");
    }
    put(w, "call ");
    if (many)
        str_addf(w->out, "( %scall )* ", between);
    if (s->kind == CHAT_LIST) {
        put(w, "\"]\" ");
        put_mark(w, MARK_CLOSE);
    }
    if (s->kind == CHAT_NAMED)
        put_mark(w, MARK_OUTER_END);
    put(w, "\n");
    if (s->kind == CHAT_XML)
        json_object_set_new(w->parts, "value", json_pack("{s:[s]}", "without", "</parameter>"));
}

/* ---- answers ---- */

/* Text in which no call begins. */
static void set_text(struct writer *w)
{
    const struct chat_syntax *s = w->c->syntax;
    json_t *list = json_array();
    avoid(list, chat_mark(w->c, MARK_OUTER));
    avoid(list, chat_mark(w->c, MARK_OPEN));
    if (s->kind == CHAT_XML)
        avoid(list, chat_mark(w->c, MARK_BEFORE));
    if (s->flags & CHAT_BARE) { /* a call may stand without its mark */
        json_array_append_new(list, json_pack("{s:s}", "first", "{\"name\""));
        json_array_append_new(list, json_pack("{s:s}", "first", "{ \"name\""));
        json_array_append_new(list, json_pack("{s:s}", "first", "{\"type\": \"function\""));
    }
    json_object_set_new(w->parts, "text", json_pack("{s:o}", "without", list));
}

static void put_harmony(struct writer *w, bool calls, bool text)
{
    static const enum chat_mark marks[] = {MARK_OUTER, MARK_OPEN,  MARK_NAME_END,
                                           MARK_FENCE, MARK_CLOSE, MARK_OUTER_END};
    set_without(w, "text", marks, N_ELEMS(marks));
    put(w, "root ::= before* ( ");
    put(w, calls ? "calls " : "");
    put(w, calls && text ? "| " : "");
    if (text) {
        put_tokens(w, "<|channel|>final<|message|>");
        put(w, w->a->schema ? "content " : "text ");
    }
    put(w, ")\nbefore ::= ");
    put_mark(w, MARK_OPEN);
    put(w, text ? "( \"analysis\" | \"commentary\" ) " : "\"analysis\" ");
    put_mark(w, MARK_NAME_END);
    put(w, "text ");
    put_tokens(w, "<|end|><|start|>assistant");
    put(w, "\n");
}

static void put_root(struct writer *w, bool calls, bool text)
{
    static const enum chat_mark think_end = MARK_THINK_END;
    const struct chat_answer *a = w->a;
    bool open = a->reasoning == CHAT_REASONING_OPEN;
    bool thinks = open || (w->c->thinks && a->reasoning == CHAT_REASONING_NONE);
    set_text(w);
    put(w, "root ::= ");
    put(w, thinks ? open ? "think " : "( think )? " : "");
    if (!text)
        put(w, "gap calls ");
    else if (a->schema)
        put(w, calls ? "gap ( content | calls ) " : "gap content ");
    else
        put(w, calls ? "text ( calls )? " : "text ");
    put(w, "\ngap ::= [ \\n]{0,4}\n");
    if (!thinks)
        return;
    set_without(w, "thought", &think_end, 1);
    put(w, "think ::= ");
    if (!open)
        put_mark(w, MARK_THINK);
    put(w, "thought ");
    put_mark(w, MARK_THINK_END);
    put(w, "\n");
}

static enum err check_names(const struct chat_answer *a, size_t *n, struct errinfo *e)
{
    const json_t *tool, *name;
    size_t i, k;
    *n = 0;
    json_array_foreach(a->tools, i, tool) *n += may_call(a, tool);
    json_array_foreach(a->only, k, name)
    {
        bool found = false;
        json_array_foreach(a->tools, i, tool)
        {
            const char *known = chat_tool_name(tool);
            found = found ||
                    (known && json_is_string(name) && strcmp(known, json_string_value(name)) == 0);
        }
        if (!found)
            return err_set(e, ERR_USAGE, "there is no tool '%.100s'",
                           json_is_string(name) ? json_string_value(name) : "?");
    }
    if (!*n && a->choice == CHAT_CALLS_REQUIRED)
        return err_set(e, ERR_USAGE, "a call is required, but there is no tool to call");
    return ERR_OK;
}

enum err chat_call_grammar(const struct chat *c, const struct chat_answer *a, struct str *gbnf,
                           json_t *parts, bool *needed, struct errinfo *e)
{
    struct writer w = {c, a, gbnf, parts, 0};
    size_t n;
    TRY(check_names(a, &n, e));
    bool calls = n && a->choice != CHAT_CALLS_NONE, text = a->choice != CHAT_CALLS_REQUIRED;
    *needed = json_array_size(a->tools) || a->schema;
    if (!*needed)
        return ERR_OK;
    if (c->syntax->kind == CHAT_HARMONY)
        put_harmony(&w, calls, text);
    else
        put_root(&w, calls, text);
    if (calls)
        put_calls(&w);
    if (a->schema)
        set_schema(&w, "content", a->schema, a->strict);
    if (gbnf->full)
        return err_set(e, ERR_TOOBIG, "the tools need a grammar of more than %zu bytes", gbnf->max);
    return ERR_OK;
}
