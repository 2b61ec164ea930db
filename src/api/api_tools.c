/* SPDX-License-Identifier: MIT
 * api_tools.c - GET /api/v1/tools, and the names that tools have here. */
#include "api/api_tools.h"

#include "tool/tool.h"

#include <stdio.h>
#include <string.h>

/* ---- ids ---- */

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

static bool is_taken(const json_t *ids, const char *id)
{
    return json_object_get(ids, id) != NULL;
}

/* "server__tool", with what no model may write as _, shortened, and numbered where it is taken. */
static json_t *new_id(json_t *ids, const char *server, const char *tool)
{
    char id[API_TOOL_ID_MAX + 1], base[API_TOOL_ID_MAX + 1];
    snprintf(base, sizeof base, "%.28s__%.34s", server, tool);
    for (char *p = base; *p; p++)
        *p = is_plain(*p) ? *p : '_';
    snprintf(id, sizeof id, "%s", base);
    for (int n = 2; is_taken(ids, id); n++)
        snprintf(id, sizeof id, "%.58s_%d", base, n % 10000);
    json_object_set_new(ids, id, json_true());
    return json_string(id);
}

/* ---- lists ---- */

/* Tools of all servers get their ids in one order, so that a server that fails takes none of
 * another's. */
static void add_ids(json_t *servers)
{
    json_t *ids = json_object(), *s, *t;
    size_t i, k;
    json_array_foreach(servers, i, s)
    {
        const char *server = json_string_value(json_object_get(s, "name"));
        json_array_foreach(json_object_get(s, "tools"), k, t)
        {
            const char *name = json_string_value(json_object_get(t, "name"));
            json_object_set_new(t, "id", new_id(ids, server, name));
        }
    }
    json_decref(ids);
}

static json_t *servers_now(struct api *a)
{
    json_t *servers = tool_servers(a->o.tool);
    add_ids(servers);
    return servers;
}

json_t *api_tools_list(struct api *a)
{
    json_t *servers = servers_now(a), *list = json_array(), *s, *t;
    size_t i, k;
    json_array_foreach(servers, i, s)
    {
        const char *state = json_string_value(json_object_get(s, "state"));
        if (strcmp(state, "ready") != 0)
            continue;
        json_array_foreach(json_object_get(s, "tools"), k, t)
        {
            json_array_append_new(
                list, api_pack("{sO sO sO sO sO sO}", "id", json_object_get(t, "id"), "server",
                               json_object_get(s, "name"), "tool", json_object_get(t, "name"),
                               "title", json_object_get(t, "title"), "description",
                               json_object_get(t, "description"), "input_schema",
                               json_object_get(t, "input_schema")));
        }
    }
    json_decref(servers);
    return list;
}

const json_t *api_tools_find(const json_t *list, const char *id)
{
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        if (strcmp(json_string_value(json_object_get(v, "id")), id) == 0)
            return v;
    }
    return NULL;
}

json_t *api_tools_request(const json_t *list, const json_t *on)
{
    json_t *out = NULL, *v;
    size_t i;
    json_array_foreach(on, i, v)
    {
        const json_t *t = json_is_string(v) ? api_tools_find(list, json_string_value(v)) : NULL;
        if (!t)
            continue;
        out = out ? out : json_array();
        json_array_append_new(out, api_pack("{ss s{sO sO sO}}", "type", "function", "function",
                                            "name", json_object_get(t, "id"), "description",
                                            json_object_get(t, "description"), "parameters",
                                            json_object_get(t, "input_schema")));
    }
    return out;
}

void api_do_tools(struct api_call *c)
{
    api_call_json(c, 200,
                  api_pack("{sb so}", "pages", (int)tool_has_pages(c->api->o.tool), "servers",
                           servers_now(c->api)));
}
