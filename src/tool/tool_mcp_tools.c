/* SPDX-License-Identifier: MIT
 * tool_mcp_tools.c - what servers say of their tools, and results: checked, and cut to size. */
#include "tool/tool_mcp_int.h"

#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "tool/tool_wire.h"

#include <stdlib.h>
#include <string.h>

#define TOOL_NAME_MAX     ((size_t)128)
#define DESCRIPTION_BYTES ((size_t)4096)
#define SCHEMA_BYTES      ((size_t)64 << 10)
/* Of a server's tools: those of all servers are told in one answer. */
#define TOOLS_BYTES ((TOOL_ANSWER_BYTES_MAX - ((size_t)1 << 20)) / TOOL_MCP_SERVERS_MAX)
#define IMAGES_MAX  4
#define IMAGE_BYTES ((size_t)1 << 20) /* as base64 */

bool mcp_nesting_ok(struct span text)
{
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (quoted) {
            quoted = c != '"';
            i += c == '\\';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            if (++depth > MCP_NESTING_MAX)
                return false;
        } else if ((c == ']' || c == '}') && depth) {
            depth--;
        }
    }
    return true;
}

/* ---- tools ---- */

/* Without control characters but breaks, and not longer than it may be. */
static json_t *clean_text(const json_t *v, size_t max)
{
    struct str out;
    struct span s = {json_string_value(v), json_string_length(v)};
    str_init(&out, max);
    for (size_t i = 0, len; i < s.n && !out.full; i += len) {
        int32_t cp = utf8_get(s.p + i, s.n - i, &len);
        if (cp >= 0x20 ? cp != 0x7f : cp == '\n' || cp == '\t')
            str_add(&out, s.p + i, len);
    }
    out.n = utf8_complete(str_span(&out));
    json_t *text = json_stringn(out.n ? out.p : "", out.n);
    str_done(&out);
    return text;
}

static bool schema_ok(const json_t *schema)
{
    char *text = json_is_object(schema) ? json_dumps(schema, JSON_COMPACT) : NULL;
    bool ok = text && strlen(text) <= SCHEMA_BYTES;
    free(text);
    return ok;
}

static json_t *tool_of(const json_t *v)
{
    const json_t *name = json_object_get(v, "name"), *title = json_object_get(v, "title");
    const json_t *notes = json_object_get(v, "annotations");
    json_t *schema = json_object_get(v, "inputSchema");
    struct span text = {json_string_value(name), json_string_length(name)};
    if (!json_is_string(name) || !text.n || text.n > TOOL_NAME_MAX || !utf8_printable(text) ||
        !schema_ok(schema))
        return NULL;
    if (!json_is_string(title))
        title = json_object_get(notes, "title");
    return json_pack("{sO so so sO}", "name", name, "title", clean_text(title, 200), "description",
                     clean_text(json_object_get(v, "description"), DESCRIPTION_BYTES),
                     "input_schema", schema);
}

static bool has_name(const json_t *list, const json_t *name)
{
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        if (json_equal(json_object_get(v, "name"), name))
            return true;
    }
    return false;
}

bool mcp_add_tools(const char *server, const json_t *list, json_t *to)
{
    size_t i, bytes = json_dumpb(to, NULL, 0, JSON_COMPACT);
    json_t *v;
    json_array_foreach(list, i, v)
    {
        json_t *tool = tool_of(v);
        bytes += tool ? json_dumpb(tool, NULL, 0, JSON_COMPACT) + 1 : 0;
        if (json_array_size(to) >= TOOL_MCP_TOOLS_MAX || bytes > TOOLS_BYTES) {
            json_decref(tool);
            log_at(LOG_WARN, "mcp",
                   "server=%s tools=\"over %zu, or over %zu KiB: the rest is left out\"", server,
                   TOOL_MCP_TOOLS_MAX, TOOLS_BYTES >> 10);
            return false;
        }
        if (tool && !has_name(to, json_object_get(tool, "name"))) {
            json_array_append_new(to, tool);
            continue;
        }
        json_decref(tool);
        log_at(LOG_WARN, "mcp",
               "server=%s left_out=%zu why=\"a tool without a good name and schema, or twice\"",
               server, i);
    }
    return true;
}

/* ---- results ---- */

/* Kinds of pictures that a browser shows and that hold no program. */
static bool is_picture(const char *type)
{
    static const char *const types[] = {"image/png", "image/jpeg", "image/gif", "image/webp"};
    for (size_t i = 0; type && i < N_ELEMS(types); i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

static bool is_base64(struct span s)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    for (size_t i = 0; i < s.n; i++)
        if (!s.p[i] || !strchr(digits, s.p[i]))
            return false;
    return s.n > 0;
}

/* All of it is counted; what has room is kept. */
struct text {
    struct str kept;
    size_t bytes;
};

static void add(struct text *t, struct span s)
{
    t->bytes += s.n;
    str_add(&t->kept, s.p, MIN(s.n, t->kept.max - t->kept.n));
}

static void add_part(struct text *t, const json_t *v)
{
    if (t->bytes)
        add(t, SPAN("\n"));
    add(t, (struct span){json_string_value(v), json_string_length(v)});
}

static void add_image(struct text *t, json_t *images, const json_t *part)
{
    const json_t *data = json_object_get(part, "data");
    const char *type = json_string_value(json_object_get(part, "mimeType"));
    struct span s = {json_string_value(data), json_string_length(data)};
    char note[160];
    snprintf(note, sizeof note, "[an image, %.60s]",
             type ? type : "of a type that it does not say");
    if (t->bytes)
        add(t, SPAN("\n"));
    add(t, span_of(note));
    if (is_picture(type) && is_base64(s) && s.n <= IMAGE_BYTES &&
        json_array_size(images) < IMAGES_MAX)
        json_array_append_new(images, json_pack("{ss sO}", "type", type, "data", data));
}

static void add_content(struct text *t, json_t *images, const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    const json_t *inside = json_object_get(part, "resource");
    char note[400];
    if (type && strcmp(type, "text") == 0) {
        add_part(t, json_object_get(part, "text"));
    } else if (type && strcmp(type, "image") == 0) {
        add_image(t, images, part);
    } else if (type && strcmp(type, "resource") == 0 && json_object_get(inside, "text")) {
        add_part(t, json_object_get(inside, "text"));
    } else {
        const char *uri = json_string_value(json_object_get(inside ? inside : part, "uri"));
        snprintf(note, sizeof note, "%s[%.40s%s%.300s]", t->bytes ? "\n" : "",
                 type ? type : "something", uri ? ": " : "", uri ? uri : "");
        add(t, span_of(note));
    }
}

json_t *mcp_result(const json_t *result)
{
    const json_t *content = json_object_get(result, "content"), *part;
    json_t *value = json_object_get(result, "structuredContent");
    struct text t = {.bytes = 0};
    size_t i;
    if (!json_is_object(result) || (!json_is_array(content) && !value))
        return NULL;
    json_t *images = json_array();
    str_init(&t.kept, TOOL_MCP_RESULT_MAX);
    json_array_foreach(content, i, part)
    {
        add_content(&t, images, part);
    }
    if (!t.bytes && value) { /* servers of 2025-06-18 say it as text as well */
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        add(&t, span_of(text ? text : ""));
        free(text);
    }
    t.kept.n = utf8_complete(str_span(&t.kept));
    json_t *o = json_pack("{so sI sb so}", "text", json_stringn(t.kept.n ? t.kept.p : "", t.kept.n),
                          "bytes", (json_int_t)t.bytes, "failed",
                          (int)json_is_true(json_object_get(result, "isError")), "images", images);
    str_done(&t.kept);
    return o;
}
