/* SPDX-License-Identifier: MIT
 * tool_mcp_conf.c - the operator's file of MCP servers. */
#include "tool/tool_mcp.h"

#include "base/log.h"
#include "base/num.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define FILE_BYTES_MAX  ((off_t)1 << 20)
#define VALUE_BYTES_MAX ((size_t)64 << 10)
#define LIST_MAX        ((size_t)256)

struct reader {
    struct arena *arena;
    const char *name; /* of the entry */
    struct errinfo *e;
};

static enum err refuse(const struct reader *r, const char *member, const char *why)
{
    return err_set(r->e, ERR_USAGE, "mcp: the entry \"%s\": %s %s", r->name, member, why);
}

/* ---- values ---- */

static enum err add_file(const struct reader *r, const char *path, struct str *out)
{
    char line[8192] = "";
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set(r->e, ERR_NOTFOUND, "mcp: the entry \"%s\": %s: %s", r->name, path,
                       strerror(errno));
    bool any = fgets(line, sizeof line, f) != NULL;
    fclose(f);
    line[strcspn(line, "\r\n")] = '\0';
    if (!any || !*line)
        return err_set(r->e, ERR_USAGE, "mcp: the entry \"%s\": %s is empty", r->name, path);
    str_add_cstr(out, line);
    return ERR_OK;
}

/* What stands between ${ and }. */
static enum err add_named(const struct reader *r, struct span name, struct str *out)
{
    char text[4096];
    if (!name.n || name.n >= sizeof text)
        return refuse(r, "${...}", "has no name, or too long a one");
    snprintf(text, sizeof text, "%.*s", (int)name.n, name.p);
    if (strncmp(text, "file:", 5) == 0)
        return add_file(r, text + 5, out);
    const char *variable = strncmp(text, "env:", 4) == 0 ? text + 4 : text;
    const char *value = getenv(variable);
    if (!value)
        return err_set(r->e, ERR_USAGE,
                       "mcp: the entry \"%s\": the environment has no variable %.80s", r->name,
                       variable);
    str_add_cstr(out, value);
    return ERR_OK;
}

static enum err expand(const struct reader *r, const char *text, const char **out)
{
    struct str s;
    struct span all = span_of(text);
    enum err err = ERR_OK;
    str_init(&s, VALUE_BYTES_MAX);
    for (size_t at = 0; at < all.n && err == ERR_OK;) {
        size_t from = span_find(all, SPAN("${"), at);
        size_t to = from == SIZE_MAX ? SIZE_MAX : span_find(all, SPAN("}"), from);
        if (to == SIZE_MAX) {
            str_add(&s, all.p + at, all.n - at);
            break;
        }
        str_add(&s, all.p + at, from - at);
        err = add_named(r, (struct span){all.p + from + 2, to - from - 2}, &s);
        at = to + 1;
    }
    if (err == ERR_OK && s.full)
        err = refuse(r, "a value", "is too long");
    *out = arena_dup(r->arena, s.n ? s.p : "", s.n);
    str_done(&s);
    return err;
}

static enum err text_member(const struct reader *r, const json_t *o, const char *name,
                            const char **out)
{
    const json_t *v = json_object_get(o, name);
    *out = NULL;
    if (!v)
        return ERR_OK;
    if (!json_is_string(v) || !json_string_length(v))
        return refuse(r, name, "must be a text that is not empty");
    return expand(r, json_string_value(v), out);
}

/* {"NAME": "value"} as "NAME<between>value". */
static enum err pairs_member(const struct reader *r, const json_t *o, const char *name,
                             const char *between, const char ***out)
{
    json_t *pairs = json_object_get(o, name), *v;
    const char *key, *value;
    size_t n = 0;
    if (pairs && !json_is_object(pairs))
        return refuse(r, name, "must be an object of texts");
    if (json_object_size(pairs) > LIST_MAX)
        return refuse(r, name, "has too many members");
    *out = arena_array(r->arena, json_object_size(pairs) + 1, sizeof **out);
    json_object_foreach(pairs, key, v)
    {
        if (!json_is_string(v) || !*key || strpbrk(key, "=: \r\n"))
            return refuse(r, name, "must be an object of texts with plain names");
        TRY(expand(r, json_string_value(v), &value));
        if (strpbrk(value, "\r\n") && *between == ':')
            return refuse(r, name, "has a line break in a value");
        (*out)[n++] = arena_printf(r->arena, "%s%s%s", key, between, value);
    }
    return ERR_OK;
}

static enum err texts_member(const struct reader *r, const json_t *o, const char *name,
                             const char ***out)
{
    const json_t *list = json_object_get(o, name), *v;
    size_t i;
    if (list && !json_is_array(list))
        return refuse(r, name, "must be a list of texts");
    if (json_array_size(list) > LIST_MAX)
        return refuse(r, name, "has too many texts");
    *out = arena_array(r->arena, json_array_size(list) + 1, sizeof **out);
    json_array_foreach(list, i, v)
    {
        if (!json_is_string(v))
            return refuse(r, name, "must be a list of texts");
        TRY(expand(r, json_string_value(v), &(*out)[i]));
    }
    return ERR_OK;
}

static enum err read_sandbox(const struct reader *r, const json_t *o, struct tool_mcp_entry *out)
{
    const json_t *box = json_object_get(o, "sandbox");
    if (!box)
        return ERR_OK;
    if (!json_is_object(box) || out->url)
        return refuse(r, "sandbox", "must be an object, and is for programs");
    out->confined = true;
    TRY(texts_member(r, box, "read", &out->read));
    return texts_member(r, box, "write", &out->write);
}

static enum err read_args(const struct reader *r, const json_t *o, const char *command,
                          struct tool_mcp_entry *out)
{
    const char **args;
    size_t n = 0;
    TRY(texts_member(r, o, "args", &args));
    while (args[n])
        n++;
    out->argv = arena_array(r->arena, n + 2, sizeof *out->argv);
    out->argv[0] = command;
    memcpy(out->argv + 1, args, n * sizeof *args);
    return ERR_OK;
}

/* ---- entries ---- */

static void warn_unknown(const struct reader *r, const json_t *o)
{
    static const char *const known[] = {"sandbox", "command", "args", "env",     "cwd",
                                        "url",     "headers", "type", "timeout", "disabled"};
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        size_t i = 0;
        while (i < N_ELEMS(known) && strcmp(key, known[i]) != 0)
            i++;
        if (i == N_ELEMS(known))
            log_at(LOG_WARN, "mcp", "server=%s passed_over=%.40s", r->name, key);
    }
}

static enum err check_type(const struct reader *r, const json_t *o, bool http)
{
    const char *type = json_string_value(json_object_get(o, "type"));
    if (!json_object_get(o, "type"))
        return ERR_OK;
    if (type && strcmp(type, "sse") == 0)
        return refuse(r, "type",
                      "\"sse\" is a transport of old that is not spoken; the server's "
                      "address for Streamable HTTP is needed");
    bool fits = type && (http ? strcmp(type, "http") == 0 || strcmp(type, "streamable-http") == 0 ||
                                    strcmp(type, "streamableHttp") == 0
                              : strcmp(type, "stdio") == 0);
    return fits ? ERR_OK : refuse(r, "type", http ? "must be \"http\"" : "must be \"stdio\"");
}

static enum err read_entry(const struct reader *r, const json_t *o, struct tool_mcp_entry *out)
{
    const char *command;
    const json_t *timeout = json_object_get(o, "timeout");
    json_int_t seconds = timeout ? json_integer_value(timeout) : TOOL_MCP_CALL_S;
    *out = (struct tool_mcp_entry){.name = r->name};
    if (seconds < 1 || seconds > TOOL_MCP_CALL_MAX_S)
        return refuse(r, "timeout", "must be 1 to 600 seconds");
    out->timeout_s = (unsigned)seconds;
    TRY(text_member(r, o, "command", &command));
    TRY(text_member(r, o, "url", &out->url));
    TRY(text_member(r, o, "cwd", &out->cwd));
    if (!command == !out->url)
        return refuse(r, "one of command and url", "is needed, and only one");
    TRY(check_type(r, o, out->url != NULL));
    TRY(pairs_member(r, o, "env", "=", &out->env));
    TRY(pairs_member(r, o, "headers", ": ", &out->headers));
    if (out->url && strncasecmp(out->url, "http://", 7) != 0 &&
        strncasecmp(out->url, "https://", 8) != 0)
        return refuse(r, "url", "must begin with http:// or https://");
    TRY(read_sandbox(r, o, out));
    warn_unknown(r, o);
    return command ? read_args(r, o, command, out) : ERR_OK;
}

static bool is_name(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= TOOL_MCP_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == n;
}

static enum err read_all(struct tool_mcp_conf *c, const json_t *root, const char *path,
                         struct errinfo *e)
{
    json_t *list = json_object_get(root, "mcpServers"), *v;
    const char *name;
    if (!json_is_object(list))
        return err_set(e, ERR_USAGE, "%s: an object with \"mcpServers\", an object, is expected",
                       path);
    json_object_foreach(list, name, v)
    {
        struct reader r = {.arena = &c->arena, .e = e};
        if (!is_name(name))
            return err_set(e, ERR_USAGE,
                           "mcp: the entry \"%.80s\": its name must be 1 to %zu letters, digits or "
                           "_ . -",
                           name, TOOL_MCP_NAME_MAX);
        r.name = arena_dup(&c->arena, name, strlen(name));
        if (!json_is_object(v))
            return refuse(&r, "it", "must be an object");
        if (json_is_true(json_object_get(v, "disabled")))
            continue;
        if (c->n == TOOL_MCP_SERVERS_MAX)
            return err_set(e, ERR_USAGE, "%s: over %d servers", path, TOOL_MCP_SERVERS_MAX);
        TRY(read_entry(&r, v, &c->entries[c->n]));
        c->n++;
    }
    return ERR_OK;
}

enum err tool_mcp_read(struct tool_mcp_conf *out, const char *path, struct errinfo *e)
{
    struct stat st;
    json_error_t why;
    *out = (struct tool_mcp_conf){.n = 0};
    arena_init(&out->arena);
    if (stat(path, &st) != 0)
        return err_set(e, ERR_NOTFOUND, "mcp: %s: %s", path, strerror(errno));
    if (st.st_size > FILE_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "mcp: %s has over 1 MiB", path);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return err_set(e, ERR_CORRUPT, "mcp: %s:%d:%d: %s", path, why.line, why.column, why.text);
    enum err r = read_all(out, root, path, e);
    json_decref(root);
    return r;
}

void tool_mcp_conf_done(struct tool_mcp_conf *c)
{
    arena_done(&c->arena);
    c->n = 0;
}

json_t *tool_mcp_starting(const struct tool_mcp_conf *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->n; i++)
        json_array_append_new(list, json_pack("{ss ss s[]}", "name", c->entries[i].name, "state",
                                              "starting", "tools"));
    return list;
}
