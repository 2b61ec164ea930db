/* SPDX-License-Identifier: MIT
 * api_chats.c - /api/v1/chats: list, find, make, read, change, delete and undo. */
#include "api/api_bus.h"
#include "api/api_chats.h"
#include "api/api_tools.h"

#include "os/os_sys.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_MAX 200

/* ---- lists ---- */

static bool read_flag(struct api_call *c, const char *name, bool *out)
{
    const char *v = http_query(c->req, name);
    if (v && strcmp(v, "0") != 0 && strcmp(v, "1") != 0)
        return api_refuse(&c->fault, 400, "invalid_value", name, "%s: 0 or 1 is expected", name);
    *out = v && *v == '1';
    return true;
}

static bool read_query(struct api_call *c, struct api_stored *s, struct store_chat_query *q)
{
    const char *limit = http_query(c->req, "limit"), *before = http_query(c->req, "before");
    const char *text = http_query(c->req, "q");
    char *end = NULL;
    long n = limit ? strtol(limit, &end, 10) : 50;
    if (limit && (end == limit || *end || n < 1 || n > LIMIT_MAX))
        return api_refuse(&c->fault, 400, "invalid_value", "limit", "limit: 1 to %d is expected",
                          LIMIT_MAX);
    double time = before ? strtod(before, &end) : 0;
    if (before && (end == before || *end || !(time > 0 && time < 1e12)))
        return api_refuse(&c->fault, 400, "invalid_value", "before",
                          "before: the `updated` of a chat is expected");
    if (text && strlen(text) > STORE_SEARCH_BYTES_MAX)
        return api_refuse(&c->fault, 400, "invalid_value", "q", "q: at most %zu bytes",
                          STORE_SEARCH_BYTES_MAX);
    q->limit = (size_t)n;
    q->before_us = llround(time * 1e6);
    q->text = text && *text ? api_stored_keep(s, text) : NULL;
    q->folder = api_stored_keep(s, http_query(c->req, "folder"));
    return read_flag(c, "archived", &q->archived);
}

static void give_list(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return;
    const struct store_chats *x = s->op.chats;
    json_t *list = json_array();
    for (size_t i = 0; i < x->n_chats; i++)
        json_array_append_new(list, api_chats_chat(&x->chats[i]));
    api_call_json(c, 200, api_pack("{so sb}", "chats", list, "more", (int)x->more));
}

void api_do_chats_list(struct api_call *c)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_CHAT_LIST, &x);
    if (s && read_query(c, s, &x->query)) {
        api_stored_run(s, give_list);
    } else if (s) {
        api_call_fail(c);
        api_stored_free(s);
    }
}

/* ---- one ---- */

/* Answers with the chat, and tells it. */
static void give_chat(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return;
    const struct store_chat *chat = &s->op.chats->chats[0];
    api_chats_tell(c, chat);
    api_call_json(c, 200, api_chats_chat(chat));
}

/* The member as a text that the store may keep; NULL: absent or null. */
static bool keep_text(struct api_stored *s, const struct api_in *in, const char *name,
                      const char **out)
{
    const char *text = NULL;
    if (!api_get_text(in, name, &text))
        return false;
    *out = api_stored_keep(s, text);
    return true;
}

void api_do_chats_new(struct api_call *c)
{
    struct store_chats *x;
    if (!api_chats_write(c, true))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    struct api_stored *s = api_chats_new(c, STORE_CHAT_ADD, &x);
    if (!s)
        return;
    x->id = NULL;
    x->chat.id = api_new_id(&s->arena, "chat-");
    if (api_chats_model(c, &in, &x->chat.model) && keep_text(s, &in, "folder", &x->chat.folder) &&
        api_get_bool(&in, "temporary", &x->chat.temporary)) {
        api_stored_run(s, give_chat);
        return;
    }
    api_call_fail(c);
    api_stored_free(s);
}

static void give_whole(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return;
    struct store_chats *x = s->op.chats;
    const struct store_chat *chat = &x->chats[0];
    api_run_overlay(c->api->chats, x->messages, x->n_messages, &s->arena);
    api_call_json(c, 200,
                  api_pack("{so so so}", "chat", api_chats_chat(chat), "messages",
                           api_chats_messages(x->messages, x->n_messages), "head",
                           chat->head ? json_string(chat->head) : json_null()));
}

static void look_whole(struct api_call *c, struct api_stored *s)
{
    api_others_overlay(c, s, give_whole);
}

void api_do_chats_get(struct api_call *c)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_CHAT_GET, &x);
    if (s)
        api_stored_run(s, look_whole);
}

/* A title is one line. */
static bool keep_title(struct api_stored *s, const struct api_in *in, const char **out)
{
    const char *title = NULL;
    if (!api_get_text(in, "title", &title))
        return false;
    if (title && (strlen(title) > STORE_TEXT_BYTES_MAX || !utf8_printable(span_of(title))))
        return api_get_refuse(in, "title", "one line of at most %zu bytes is expected",
                              STORE_TEXT_BYTES_MAX);
    *out = api_stored_keep(s, title);
    return true;
}

#define TOOLS_MAX 200 /* of a chat */

/* A list of tools' ids that the change gives; *out stays where it gives none. */
static bool keep_ids(const struct api_in *in, const char *name, json_t **out)
{
    json_t *list = NULL, *v;
    size_t i;
    if (!api_get_array(in, name, &list))
        return false;
    if (json_array_size(list) > TOOLS_MAX)
        return api_get_refuse(in, name, "%zu tools are more than %d", json_array_size(list),
                              TOOLS_MAX);
    json_array_foreach(list, i, v)
    {
        if (!json_is_string(v) || json_string_length(v) > API_TOOL_ID_MAX)
            return api_get_refuse(in, name, "[%zu] is no id of a tool", i);
    }
    *out = list ? list : *out;
    return true;
}

/* Both lists are one text, so one comes with the other. */
static bool read_tools(struct api_stored *s, struct store_chats *x, const struct api_in *in)
{
    json_t *on = NULL, *always = NULL;
    if (!keep_ids(in, "tools", &on) || !keep_ids(in, "tools_always", &always))
        return false;
    if (!on && !always)
        return true;
    if (!on || !always)
        return api_get_refuse(in, on ? "tools_always" : "tools",
                              "is missing: tools and tools_always go together");
    json_t *o = api_pack("{sO sO}", "on", on, "always", always);
    x->chat.tools = api_stored_text(&s->arena, o);
    x->set |= STORE_SET_TOOLS;
    json_decref(o);
    return true;
}

static bool read_change(struct api_stored *s, struct store_chats *x, const struct api_in *in)
{
    if (!keep_title(s, in, &x->chat.title) || !api_get_bool(in, "pinned", &x->chat.pinned) ||
        !api_get_bool(in, "archived", &x->chat.archived) ||
        !keep_text(s, in, "folder", &x->chat.folder) ||
        !api_chats_model(s->call, in, &x->chat.model) || !keep_text(s, in, "head", &x->chat.head) ||
        !read_tools(s, x, in))
        return false;
    x->set |= x->chat.title ? STORE_SET_TITLE : 0;
    x->set |= api_get_any(in, "pinned") ? STORE_SET_PINNED : 0;
    x->set |= api_get_any(in, "archived") ? STORE_SET_ARCHIVED : 0;
    x->set |= json_object_get(in->o, "folder") ? STORE_SET_FOLDER : 0; /* null: in none */
    x->set |= json_object_get(in->o, "model") ? STORE_SET_MODEL : 0;
    x->set |= x->chat.head ? STORE_SET_HEAD : 0;
    return true;
}

void api_do_chats_set(struct api_call *c)
{
    struct store_chats *x;
    if (!api_chats_write(c, false))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    struct api_stored *s = api_chats_new(c, STORE_CHAT_SET, &x);
    if (s && read_change(s, x, &in)) {
        api_stored_run(s, give_chat);
    } else if (s) {
        api_call_fail(c);
        api_stored_free(s);
    }
}

static void give_deleted(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return;
    const char *id = s->op.chats->id, *owner = api_chats_owner(c);
    api_run_stop(c->api->chats, owner, id, NULL);
    api_bus_stop(c->api, owner, id, "");
    api_events_tell(c->api->chats, owner, id, "deleted", api_pack("{ss}", "chat", id));
    api_call_json(c, 200, api_pack("{sb}", "deleted", 1));
}

void api_do_chats_delete(struct api_call *c)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_CHAT_DELETE, &x);
    if (s)
        api_stored_run(s, give_deleted);
}

void api_do_chats_restore(struct api_call *c)
{
    struct store_chats *x;
    if (!api_chats_write(c, true))
        return;
    struct api_stored *s = api_chats_new(c, STORE_CHAT_RESTORE, &x);
    if (s)
        api_stored_run(s, give_chat);
}
