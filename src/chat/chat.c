/* SPDX-License-Identifier: MIT */
#include "chat/chat.h"

#include "base/arena.h"
#include "chat/chat_int.h"

#include <string.h>

#define PROBE_OUTPUT_BYTES ((size_t)1 << 20)
#define PROBE_STEPS        200000

static const struct jinja_limits full_limits = {JINJA_OUTPUT_BYTES_MAX, JINJA_MEMORY_MAX,
                                                JINJA_STEPS_MAX};
static const struct jinja_limits probe_limits = {PROBE_OUTPUT_BYTES, JINJA_MEMORY_MAX / 16,
                                                 PROBE_STEPS};

static const char *text_of(const json_t *message, const char *key)
{
    const char *s = json_string_value(json_object_get(message, key));
    return s ? s : "";
}

static bool has_role(const json_t *message, const char *role)
{
    return strcmp(text_of(message, "role"), role) == 0;
}

/* The text of a content that is a string or a list of parts. */
static void put_content(struct str *out, const json_t *content)
{
    const json_t *part;
    size_t i;
    bool first = true;
    if (json_is_string(content))
        str_add(out, json_string_value(content), json_string_length(content));
    json_array_foreach(content, i, part)
    {
        const json_t *text = json_is_string(part) ? part : json_object_get(part, "text");
        if (!json_is_string(text))
            continue;
        if (!first)
            str_add_char(out, '\n');
        str_add(out, json_string_value(text), json_string_length(text));
        first = false;
    }
}

static json_t *content_string(const json_t *content)
{
    struct str s;
    str_init(&s, JINJA_OUTPUT_BYTES_MAX);
    put_content(&s, content);
    json_t *out = json_stringn(s.p ? s.p : "", s.n);
    str_done(&s);
    return out ? out : json_string("");
}

static bool only_text(const json_t *content)
{
    const json_t *part;
    size_t i;
    json_array_foreach(content, i,
                       part) if (!json_is_string(part) &&
                                 !json_is_string(json_object_get(part, "text"))) return false;
    return true;
}

static json_t *content_for(const struct chat *c, const json_t *content)
{
    if (c->wants_parts && json_is_string(content))
        return json_pack("[{s:s, s:O}]", "type", "text", "text", content);
    if (!c->wants_parts && json_is_array(content) && only_text(content))
        return content_string(content);
    if (!content || json_is_null(content))
        return c->wants_parts ? json_array() : json_string("");
    return json_incref((json_t *)(uintptr_t)content);
}

/* A message as the template takes it. */
static json_t *message_for(const struct chat *c, const json_t *message)
{
    json_t *out = json_object();
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)message, key, v) if (!json_is_null(v))
        json_object_set(out, key, v);
    json_object_set_new(out, "content", content_for(c, json_object_get(message, "content")));
    chat_adapt_calls(c, out);
    return out;
}

/* Puts the system text in front of the first user message, or makes one of it. */
static void fold_system(const struct chat *c, json_t *messages)
{
    struct str system;
    json_t *m;
    size_t i;
    str_init(&system, JINJA_OUTPUT_BYTES_MAX);
    for (i = 0; i < json_array_size(messages);) {
        m = json_array_get(messages, i);
        if (!has_role(m, "system")) {
            i++;
            continue;
        }
        if (system.n)
            str_add_cstr(&system, "\n\n");
        put_content(&system, json_object_get(m, "content"));
        json_array_remove(messages, i);
    }
    json_t *user = NULL;
    json_array_foreach(messages, i, m) if (!user && has_role(m, "user")) user = m;
    if (system.n && !user) {
        user = json_pack("{s:s, s:s}", "role", "user", "content", "");
        json_array_insert_new(messages, 0, user);
    } else if (system.n && json_object_get(user, "content")) {
        str_add_cstr(&system, "\n\n");
    }
    if (system.n) {
        const json_t *content = json_object_get(user, "content");
        bool parts = json_is_array(content) && !only_text(content);
        if (!parts)
            put_content(&system, content);
        json_t *text = json_stringn(system.p, system.n);
        if (parts)
            json_array_insert_new(json_object_get(user, "content"), 0,
                                  json_pack("{s:s, s:o}", "type", "text", "text", text));
        else if (c->wants_parts)
            json_object_set_new(user, "content",
                                json_pack("[{s:s, s:o}]", "type", "text", "text", text));
        else
            json_object_set_new(user, "content", text);
    }
    str_done(&system);
}

static enum err run_template(const struct chat *c, json_t *messages, json_t *tools,
                             const json_t *kwargs, bool prompt, int64_t now,
                             const struct jinja_limits *limits, struct str *out, struct errinfo *e)
{
    json_t *vars = json_object(), *list = json_array();
    const json_t *m;
    const char *key;
    json_t *v;
    size_t i;
    json_array_foreach(messages, i, m) json_array_append_new(list, message_for(c, m));
    if (!c->takes_system)
        fold_system(c, list);
    json_object_set_new(vars, "messages", list);
    json_object_set_new(vars, "tools", tools ? json_incref(tools) : json_null());
    json_object_set_new(vars, "documents", json_null());
    json_object_set_new(vars, "bos_token", json_stringn(c->bos, c->n_bos));
    json_object_set_new(vars, "eos_token", json_stringn(c->eos, c->n_eos));
    json_object_set_new(vars, "add_generation_prompt", json_boolean(prompt));
    json_object_foreach((json_t *)(uintptr_t)kwargs, key, v) json_object_set(vars, key, v);
    enum err rc = jinja_render_limited(c->template, vars, now, *limits, out, e);
    json_decref(vars);
    return rc;
}

static void render_plain(const json_t *messages, bool prompt, struct str *out);

/* `tell`: the system text tells of the tools. */
static enum err run(const struct chat *c, const json_t *messages, const json_t *tools,
                    const json_t *kwargs, bool prompt, bool tell, int64_t now,
                    const struct jinja_limits *limits, struct str *out, struct errinfo *e)
{
    enum err rc = ERR_OK;
    json_t *said = chat_guard(c, messages), *shown = chat_guard(c, tools);
    json_t *more = chat_guard(c, kwargs);
    if (tell)
        chat_tell_tools(c, said, shown);
    if (c->template)
        rc = run_template(c, said, tell ? NULL : shown, more, prompt, now, limits, out, e);
    else
        render_plain(said, prompt, out);
    json_decref(said);
    json_decref(shown);
    json_decref(more);
    return rc;
}

enum err chat_probe(const struct chat *c, const json_t *messages, const json_t *tools, bool prompt,
                    struct str *out)
{
    return run(c, messages, tools, NULL, prompt, false, 0, &probe_limits, out, NULL);
}

/* ---- probes: short conversations, whose result tells what the template does ---- */

static bool probe(const struct chat *c, const char *messages, const char *tools, const char *want)
{
    json_t *m = json_loads(messages, 0, NULL), *t = tools ? json_loads(tools, 0, NULL) : NULL;
    struct str out;
    str_init(&out, PROBE_OUTPUT_BYTES);
    enum err rc = chat_probe(c, m, t, true, &out);
    bool found = rc == ERR_OK && out.n && span_find(str_span(&out), span_of(want), 0) != SIZE_MAX;
    str_done(&out);
    json_decref(m);
    json_decref(t);
    return found;
}

#define USER "{\"role\": \"user\", \"content\": \"qzUserzq\"}"

static void find_abilities(struct chat *c)
{
    static const char user[] = "[" USER "]";
    static const char system[] = "[{\"role\": \"system\", \"content\": \"qzSystemzq\"}, " USER "]";
    static const char tools[] =
        "[{\"type\": \"function\", \"function\": {\"name\": \"qzToolzq\", \"description\": \"d\","
        " \"parameters\": {\"type\": \"object\", \"properties\": {}, \"required\": []}}}]";
    c->takes_system = true;
    if (!probe(c, user, NULL, "qzUserzq")) {
        /* strings do not come through; parts perhaps do */
        c->wants_parts = true;
        c->wants_parts = probe(c, user, NULL, "qzUserzq");
    }
    c->takes_system = probe(c, system, NULL, "qzSystemzq");
    if (!c->takes_system) /* folding must really help, else the template's own error is better */
        c->takes_system = !probe(c, system, NULL, "qzSystemzq");
    c->takes_tools = probe(c, user, tools, "qzToolzq");
}

enum err chat_open(struct chat **out, struct span template_source, struct span bos, struct span eos,
                   const struct tok *tok, struct errinfo *e)
{
    struct jinja *j = NULL;
    *out = NULL;
    if (template_source.n)
        TRY(jinja_parse(&j, template_source, e));
    if (!utf8_valid(bos) || !utf8_valid(eos)) {
        jinja_free(j);
        return err_set(e, ERR_CORRUPT, "the text of the first or the last token is not UTF-8");
    }
    struct chat *c = mem_alloc(sizeof(*c));
    c->template = j;
    c->n_bos = bos.n;
    c->n_eos = eos.n;
    c->bos = mem_alloc(bos.n + 1);
    c->eos = mem_alloc(eos.n + 1);
    if (bos.n)
        memcpy(c->bos, bos.p, bos.n);
    if (eos.n)
        memcpy(c->eos, eos.p, eos.n);
    c->takes_system = true;
    if (j)
        find_abilities(c);
    c->tok = tok;
    chat_find_syntax(c, template_source);
    *out = c;
    return ERR_OK;
}

void chat_close(struct chat *c)
{
    if (!c)
        return;
    jinja_free(c->template);
    chat_marks_done(c);
    mem_free(c->bos);
    mem_free(c->eos);
    mem_free(c);
}

static void render_plain(const json_t *messages, bool prompt, struct str *out)
{
    const json_t *m;
    size_t i;
    json_array_foreach(messages, i, m)
    {
        if (has_role(m, "user"))
            str_add_cstr(out, "User: ");
        else if (has_role(m, "assistant"))
            str_add_cstr(out, "Assistant: ");
        else if (has_role(m, "tool"))
            str_add_cstr(out, "Tool: ");
        put_content(out, json_object_get(m, "content"));
        str_add_cstr(out, "\n\n");
    }
    if (prompt)
        str_add_cstr(out, "Assistant:");
}

enum err chat_render(const struct chat *c, const json_t *messages, const json_t *tools,
                     const json_t *kwargs, bool add_generation_prompt, int64_t now, struct str *out,
                     struct errinfo *e)
{
    const json_t *m;
    size_t i;
    if (!json_is_array(messages))
        return err_set(e, ERR_TEMPLATE, "messages must be a list");
    json_array_foreach(messages, i, m) if (!json_is_object(m)) return err_set(
        e, ERR_TEMPLATE, "message %zu is not an object", i);
    bool tell = !c->takes_tools || (c->syntax->flags & CHAT_OURS);
    TRY(run(c, messages, tools, kwargs, add_generation_prompt, tell, now, &full_limits, out, e));
    if (out->full)
        return err_set(e, ERR_TEMPLATE, "a prompt of more than %zu bytes", out->max);
    return ERR_OK;
}

void chat_guard_also(struct chat *c, struct span text)
{
    c->guarded = text;
}

bool chat_has_template(const struct chat *c)
{
    return c->template;
}

bool chat_takes_system(const struct chat *c)
{
    return c->takes_system;
}

bool chat_takes_tools(const struct chat *c)
{
    return c->takes_tools;
}

bool chat_wants_parts(const struct chat *c)
{
    return c->wants_parts;
}
