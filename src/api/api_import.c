/* SPDX-License-Identifier: MIT
 * api_import.c - POST /api/v1/import: a chat from elsewhere, with its tree and its times.
 *
 * One chat a request: a large archive is read by the client and sent piece by piece, and what was
 * sent before is known again by its source. */
#include "api/api_chats.h"

#include "os/os_sys.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define TIME_MAX 253402300799.0 /* the end of the year 9999 */

static bool read_line(struct api_stored *s, const struct api_in *in, const char *name,
                      const char **out)
{
    const char *text = NULL;
    if (!api_get_text(in, name, &text))
        return false;
    if (text && (strlen(text) > STORE_TEXT_BYTES_MAX || !utf8_printable(span_of(text))))
        return api_get_refuse(in, name, "one line of at most %zu bytes is expected",
                              STORE_TEXT_BYTES_MAX);
    *out = api_stored_keep(s, text);
    return true;
}

/* A text that may have U+0000, as a span. */
static bool read_text(struct api_stored *s, const struct api_in *in, const char *name,
                      struct span *out)
{
    const json_t *v = api_get_any(in, name);
    *out = SPAN("");
    if (!v)
        return true;
    if (!json_is_string(v))
        return api_get_refuse(in, name, "a string is expected");
    size_t n = json_string_length(v);
    *out = (struct span){arena_dup(&s->arena, json_string_value(v), n), n};
    return true;
}

static bool read_time(const struct api_in *in, const char *name, double *out)
{
    return api_get_real(in, name, 0, TIME_MAX, out);
}

/* The id of its own that a message was given here; NULL: none was read. */
static const char *new_id(struct api_stored *s, const json_t *ids, const char *id)
{
    return id ? api_stored_keep(s, json_string_value(json_object_get(ids, id))) : NULL;
}

static bool read_role(const struct api_in *in, enum store_role *out)
{
    static const char *const roles[STORE_N_ROLES] = {"user", "assistant", "system"};
    const char *role = NULL;
    if (!api_get_text(in, "role", &role))
        return false;
    for (int i = 0; role && i < STORE_N_ROLES; i++) {
        if (strcmp(role, roles[i]) == 0) {
            *out = (enum store_role)i;
            return true;
        }
    }
    return api_get_refuse(in, "role", "user, assistant or system is expected");
}

static bool read_files(struct api_stored *s, const struct api_in *in, struct store_message *m)
{
    json_t *list = NULL, *v;
    size_t i;
    if (!api_get_array(in, "files", &list))
        return false;
    size_t n = json_array_size(list);
    if (n > STORE_MESSAGE_FILES_MAX)
        return api_get_refuse(in, "files", "%zu files are more than %zu", n,
                              STORE_MESSAGE_FILES_MAX);
    const char **ids = arena_array(&s->arena, n, sizeof *ids);
    json_array_foreach(list, i, v)
    {
        if (!json_is_string(v))
            return api_get_refuse(in, "files", "[%zu] is no id of a file", i);
        ids[i] = api_stored_keep(s, json_string_value(v));
    }
    m->file_ids = ids;
    m->n_files = n;
    return true;
}

static bool read_message(struct api_stored *s, const struct api_in *in, json_t *ids,
                         struct store_message *m)
{
    const char *id = NULL, *parent = NULL;
    double created = 0;
    *m = (struct store_message){.status = STORE_FINISHED};
    if (!api_get_text(in, "id", &id) || !api_get_text(in, "parent", &parent) ||
        !read_role(in, &m->role) || !read_text(s, in, "content", &m->content) ||
        !read_text(s, in, "reasoning", &m->reasoning) || !read_line(s, in, "model", &m->model) ||
        !read_time(in, "created", &created) || !read_files(s, in, m))
        return false;
    if (!id || !*id || json_object_get(ids, id))
        return api_get_refuse(in, "id", "is missing, or another message has it");
    m->parent = new_id(s, ids, parent);
    if (parent && !m->parent)
        return api_get_refuse(in, "parent", "\"%.64s\" does not stand before it", parent);
    m->id = api_new_id(&s->arena, "msg-");
    m->created = (int64_t)created;
    json_object_set_new(ids, id, json_string(m->id));
    return true;
}

static bool read_messages(struct api_stored *s, struct store_chats *x, const struct api_in *in)
{
    json_t *list = NULL, *ids, *v;
    const char *head = NULL;
    size_t i;
    if (!api_get_array(in, "messages", &list) || !api_get_text(in, "head", &head))
        return false;
    size_t n = json_array_size(list);
    if (n == 0 || n > STORE_CHAT_MESSAGES_MAX)
        return api_get_refuse(in, "messages", "1 to %zu are expected", STORE_CHAT_MESSAGES_MAX);
    struct store_message *add = arena_array(&s->arena, n, sizeof *add);
    bool ok = true;
    ids = json_object();
    json_array_foreach(list, i, v)
    {
        char at[48];
        snprintf(at, sizeof at, "messages[%zu].", i);
        const struct api_in one = {v, arena_dup(&s->arena, at, strlen(at)), in->fault};
        ok = ok && (json_is_object(v) || api_get_refuse(in, "messages", "[%zu] is no object", i)) &&
             read_message(s, &one, ids, &add[i]);
    }
    x->chat.head = new_id(s, ids, head);
    json_decref(ids);
    x->add = add;
    x->n_add = n;
    if (ok && head && !x->chat.head)
        return api_get_refuse(in, "head", "\"%.64s\" is none of the messages", head);
    return ok;
}

static bool read_chat(struct api_stored *s, struct store_chats *x, const struct api_in *in)
{
    double now = (double)os_unix_time(), created = now, updated = now;
    struct store_chat *chat = &x->chat;
    if (!read_line(s, in, "source", &x->source) || !read_line(s, in, "title", &chat->title) ||
        !read_line(s, in, "folder", &chat->folder) || !read_line(s, in, "model", &chat->model) ||
        !read_time(in, "created", &created) || !read_time(in, "updated", &updated) ||
        !api_get_bool(in, "pinned", &chat->pinned) ||
        !api_get_bool(in, "archived", &chat->archived))
        return false;
    if (!x->source || !*x->source)
        return api_get_refuse(in, "source", "is missing: what it is known again by");
    chat->titled = chat->title && *chat->title;
    chat->created = (int64_t)created;
    chat->updated_us = llround(fmin(updated, now) * 1e6); /* nothing is newer than now */
    /* A model that is not here is not asked; the messages say which it was. */
    if (chat->model && !api_models_find(s->call->api->models, chat->model))
        chat->model = NULL;
    return read_messages(s, x, in);
}

static void give_chat(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return;
    const struct store_chats *x = s->op.chats;
    if (!x->known)
        api_chats_tell(c, &x->chats[0]);
    api_call_json(
        c, 200, api_pack("{sb so}", "known", (int)x->known, "chat", api_chats_chat(&x->chats[0])));
}

void api_do_import(struct api_call *c)
{
    struct store_chats *x;
    if (!api_chats_write(c, false))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    struct api_stored *s = api_chats_new(c, STORE_CHAT_IMPORT, &x);
    if (!s)
        return;
    x->id = NULL;
    x->chat.id = api_new_id(&s->arena, "chat-");
    if (read_chat(s, x, &in)) {
        api_stored_run(s, give_chat);
        return;
    }
    api_call_fail(c);
    api_stored_free(s);
}
