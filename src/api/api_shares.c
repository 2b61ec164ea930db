/* SPDX-License-Identifier: MIT
 * api_shares.c - a chat for others: a link to what it is now, a copy of that, an export.
 *
 * A share holds the messages that were shown when it was made, so that what is written later stays
 * private; of files it has the names. */
#include "api/api_readers.h"
#include "api/api_shares.h"

#include "os/os_sys.h"

#include <string.h>

#define DAYS_MAX 365

/* ---- making and ending ---- */

static json_t *shown(const struct store_message *m)
{
    static const char *const roles[STORE_N_ROLES] = {"user", "assistant", "system"};
    json_t *o = api_pack("{ss ss so so ss sI}", "id", m->id, "role", roles[m->role], "content",
                         api_json_text(m->content), "reasoning", api_json_text(m->reasoning),
                         "model", m->model, "created", (json_int_t)m->created);
    json_t *files = api_stored_json(span_of(m->files)), *v;
    size_t i;
    json_array_foreach(files, i, v)
    {
        json_object_del(v, "id");
    }
    json_object_set_new(o, "files", files);
    json_object_set_new(o, "calls", api_stored_json(span_of(m->calls ? m->calls : "[]")));
    return o;
}

static void give_share(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return;
    const struct store_share *h = &s->op.chats->share;
    api_call_json(c, 200,
                  api_pack("{ss sI}", "token", h->token, "expires", (json_int_t)h->expires));
}

static void keep_share(struct api_call *c, struct api_stored *read)
{
    struct store_chats *x;
    if (!api_chats_ok(c, read))
        return;
    const struct store_chats *from = read->op.chats;
    struct api_stored *s = api_chats_new(c, STORE_SHARE_ADD, &x);
    if (!s)
        return;
    json_t *list = json_array();
    for (size_t i = 0; i < from->n_messages; i++)
        json_array_append_new(list, shown(&from->messages[i]));
    api_json_add(&s->body, list);
    x->share.token = api_new_id(&s->arena, "");
    x->share.title = api_stored_keep(s, from->chats[0].title);
    x->share.created = os_unix_time();
    x->share.expires = x->share.created + *(int64_t *)c->own * 86400;
    x->share.body = str_span(&s->body);
    api_stored_run(s, give_share);
}

void api_do_share_new(struct api_call *c)
{
    struct store_chats *x;
    int64_t *days = arena_alloc(c->req->arena, sizeof *days);
    *days = 30;
    c->own = days;
    if (!api_chats_write(c, true))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (!api_get_int(&in, "days", 1, DAYS_MAX, days)) {
        api_call_fail(c);
        return;
    }
    struct api_stored *s = api_chats_new(c, STORE_CHAT_PATH, &x);
    if (s)
        api_stored_run(s, keep_share);
}

static void give_deleted(struct api_call *c, struct api_stored *s)
{
    if (api_chats_ok(c, s))
        api_call_json(c, 200, api_pack("{sb}", "deleted", 1));
}

void api_do_share_delete(struct api_call *c)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_SHARE_DELETE, &x);
    if (s)
        api_stored_run(s, give_deleted);
}

/* ---- reading, copying ---- */

static struct api_stored *named_share(struct api_call *c)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_SHARE_GET, &x);
    if (s) {
        x->id = api_stored_keep(s, http_param(c->req, "token"));
        x->note.reader = api_stored_keep(s, api_reader(c));
    }
    return s;
}

json_t *api_shares_messages(const struct store_share *h)
{
    json_t *list = api_stored_json(h->body), *v;
    const char *parent = NULL;
    size_t i;
    json_array_foreach(list, i, v)
    {
        if (!json_object_get(v, "id")) /* shared before messages had one here */
            json_object_set_new(v, "id", json_sprintf("m%zu", i));
        json_object_set_new(v, "parent", parent ? json_string(parent) : json_null());
        parent = json_string_value(json_object_get(v, "id"));
    }
    return list;
}

static void give_shared(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return;
    const struct store_share *h = &s->op.chats->share;
    api_call_json(c, 200,
                  api_pack("{ss so sI sI sI sb sb so}", "title", h->title, "messages",
                           api_shares_messages(h), "created", (json_int_t)h->created, "expires",
                           (json_int_t)h->expires, "likes", (json_int_t)h->n_likes, "liked",
                           (int)h->liked, "comments", (int)h->comments, "notes",
                           api_shares_notes(s->op.chats)));
}

void api_do_shared_get(struct api_call *c)
{
    struct api_stored *s = named_share(c);
    if (s)
        api_stored_run(s, give_shared);
}

static void give_copy(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return;
    api_chats_tell(c, &s->op.chats->chats[0]);
    api_call_json(c, 200, api_chats_chat(&s->op.chats->chats[0]));
}

static struct span text_of(struct api_stored *s, const json_t *o, const char *name)
{
    const json_t *v = json_object_get(o, name);
    size_t n = json_string_length(v);
    return (struct span){arena_dup(&s->arena, n ? json_string_value(v) : "", n), n};
}

static void add_copies(struct api_stored *s, struct store_chats *x, const json_t *list)
{
    size_t n = json_array_size(list), i;
    struct store_message *add = arena_array(&s->arena, n, sizeof *add);
    const json_t *v;
    json_array_foreach(list, i, v)
    {
        const char *role = json_string_value(json_object_get(v, "role"));
        bool model = role && strcmp(role, "assistant") == 0;
        add[i] = (struct store_message){
            .id = api_new_id(&s->arena, "msg-"),
            .parent = i ? add[i - 1].id : NULL,
            .role = model ? STORE_ASSISTANT : STORE_USER,
            .status = STORE_FINISHED,
            .content = text_of(s, v, "content"),
            .reasoning = text_of(s, v, "reasoning"),
            .model = api_stored_keep(s, json_string_value(json_object_get(v, "model"))),
            .created = json_integer_value(json_object_get(v, "created")),
            .calls = json_object_get(v, "calls")
                         ? api_stored_text(&s->arena, json_object_get(v, "calls"))
                         : NULL};
    }
    x->add = add;
    x->n_add = n;
}

static void copy(struct api_call *c, struct api_stored *read)
{
    struct store_chats *x;
    if (!api_chats_ok(c, read))
        return;
    const struct store_share *h = &read->op.chats->share;
    struct api_stored *s = api_chats_new(c, STORE_CHAT_ADD, &x);
    if (!s)
        return;
    json_t *list = api_stored_json(h->body);
    x->id = NULL;
    x->chat.id = api_new_id(&s->arena, "chat-");
    x->chat.title = api_stored_keep(s, h->title);
    add_copies(s, x, list);
    json_decref(list);
    api_stored_run(s, give_copy);
}

void api_do_shared_copy(struct api_call *c)
{
    if (!api_chats_write(c, true))
        return;
    struct api_stored *s = named_share(c);
    if (s)
        api_stored_run(s, copy);
}

/* ---- export ---- */

static void give_json(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return;
    struct store_chats *x = s->op.chats;
    const char *head = x->chats[0].head;
    http_header(c->req, "Content-Disposition", "attachment; filename=\"chat.json\"");
    api_run_overlay(c->api->chats, x->messages, x->n_messages, &s->arena);
    api_call_json(c, 200,
                  api_pack("{so so so}", "chat", api_chats_chat(&x->chats[0]), "messages",
                           api_chats_messages(x->messages, x->n_messages), "head",
                           head ? json_string(head) : json_null()));
}

static void give_markdown(struct api_call *c, struct api_stored *s)
{
    struct str out;
    if (!api_chats_ok(c, s))
        return;
    const struct store_chats *x = s->op.chats;
    api_run_overlay(c->api->chats, x->messages, x->n_messages, &s->arena);
    str_init(&out, STORE_ANSWER_BYTES_MAX + STORE_BODY_BYTES_MAX);
    str_addf(&out, "# %s\n", *x->chats[0].title ? x->chats[0].title : x->chats[0].id);
    for (size_t i = 0; i < x->n_messages; i++) {
        const struct store_message *m = &x->messages[i];
        bool model = m->role == STORE_ASSISTANT;
        str_addf(&out, "\n## %s\n\n", model ? (*m->model ? m->model : "assistant") : "user");
        api_calls_markdown(m, &out);
        str_add_char(&out, '\n');
    }
    http_header(c->req, "Content-Disposition", "attachment; filename=\"chat.md\"");
    http_reply(c->req, 200, "text/markdown; charset=utf-8", str_span(&out));
    str_done(&out);
    api_call_drop(c);
}

void api_do_chats_export(struct api_call *c)
{
    const char *as = http_query(c->req, "as");
    bool json = as && strcmp(as, "json") == 0;
    struct store_chats *x;
    if (as && !json && strcmp(as, "markdown") != 0) {
        api_refuse(&c->fault, 400, "invalid_value", "as", "as: markdown or json is expected");
        api_call_fail(c);
        return;
    }
    struct api_stored *s = api_chats_new(c, json ? STORE_CHAT_GET : STORE_CHAT_PATH, &x);
    if (s)
        api_stored_run(s, json ? give_json : give_markdown);
}
