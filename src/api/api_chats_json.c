/* SPDX-License-Identifier: MIT
 * api_chats_json.c - chats and messages as JSON, and what the endpoints of the web app have in
 * common. */
#include "api/api_chats.h"

#include <string.h>
#include <strings.h>

static json_t *text_or_null(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

json_t *api_chats_chat(const struct store_chat *c)
{
    json_t *o = api_pack("{ss ss sI sf sb sb so ss sb sb}", "id", c->id, "title", c->title,
                         "created", (json_int_t)c->created, "updated", (double)c->updated_us / 1e6,
                         "pinned", (int)c->pinned, "archived", (int)c->archived, "folder",
                         text_or_null(c->folder), "model", c->model, "temporary", (int)c->temporary,
                         "running", (int)c->running);
    json_object_set_new(o, "tools", api_chats_tools(c, "on"));
    json_object_set_new(o, "tools_always", api_chats_tools(c, "always"));
    if (c->snippet)
        json_object_set_new(o, "snippet", api_json_text(span_of(c->snippet)));
    return o;
}

json_t *api_chats_message(const struct store_message *m)
{
    static const char *const roles[STORE_N_ROLES] = {"user", "assistant", "system"};
    static const char *const statuses[STORE_N_STATUSES] = {"running", "done", "stopped", "error"};
    json_t *o = api_pack("{ss so ss ss ss so so sI ss}", "id", m->id, "parent",
                         text_or_null(m->parent), "role", roles[m->role], "status",
                         statuses[m->status], "model", m->model ? m->model : "", "content",
                         api_json_text(m->content), "reasoning", api_json_text(m->reasoning),
                         "created", (json_int_t)m->created, "error", m->error ? m->error : "");
    if (!m->error || !*m->error)
        json_object_del(o, "error");
    json_object_set_new(o, "usage", m->usage ? api_stored_json(span_of(m->usage)) : json_null());
    json_object_set_new(o, "files", m->files ? api_stored_json(span_of(m->files)) : json_array());
    json_object_set_new(o, "calls", m->calls ? api_stored_json(span_of(m->calls)) : json_array());
    return o;
}

json_t *api_chats_messages(const struct store_message *m, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, api_chats_message(&m[i]));
    return list;
}

/* ---- operations ---- */

const char *api_chats_owner(const struct api_call *c)
{
    return *c->owner ? c->owner : API_LOCAL;
}

struct api_stored *api_chats_new(struct api_call *c, enum store_what what, struct store_chats **x)
{
    struct api_stored *s = api_stored_new(c, what, STORE_RESPONSE, NULL);
    if (!s) {
        api_call_fail(c);
        return NULL;
    }
    *x = arena_alloc(&s->arena, sizeof **x);
    (*x)->owner = api_stored_keep(s, api_chats_owner(c));
    (*x)->id = api_stored_keep(s, http_param(c->req, "id"));
    s->op.chats = *x;
    c->exact = true; /* times with microseconds */
    return s;
}

bool api_chats_ok(struct api_call *c, const struct api_stored *s)
{
    if (s->op.err == ERR_OK)
        return true;
    if (s->op.err == ERR_NOTFOUND)
        api_refuse(&c->fault, 404, "not_found", "", "%s", s->op.e.text);
    else
        api_refuse_store(&c->fault, &s->op.e);
    api_call_fail(c);
    return false;
}

const struct store_message *api_chats_named(struct api_call *c, const struct store_chats *x)
{
    const char *id = http_param(c->req, "mid");
    for (size_t i = 0; i < x->n_messages; i++)
        if (strcmp(x->messages[i].id, id) == 0)
            return &x->messages[i];
    api_refuse(&c->fault, 404, "not_found", "", "there is no message \"%.64s\" in this chat", id);
    api_call_fail(c);
    return NULL;
}

/* A form or a link on another site can send every type but this one without asking first. */
static bool is_json(const struct http_req *r)
{
    const char *type = http_req_header(r, "content-type");
    size_t n = strlen("application/json");
    return type && strncasecmp(type, "application/json", n) == 0 && strchr("; \t", type[n]);
}

json_t *api_chats_write(struct api_call *c, bool may_miss)
{
    if (!is_json(c->req)) {
        api_refuse(&c->fault, 415, "", "", "the header Content-Type: application/json is expected");
        api_call_fail(c);
        return NULL;
    }
    if (may_miss && c->req->body.n == 0)
        return c->body = json_object();
    return api_call_body(c);
}

bool api_chats_model(struct api_call *c, const struct api_in *in, const char **out)
{
    const char *name = NULL;
    if (!api_get_text(in, "model", &name))
        return false;
    struct api_model *m = name ? api_models_need(c->api->models, name, in->fault) : NULL;
    if (name && !m)
        return false;
    *out = m ? m->name : "";
    return true;
}

void api_chats_tell(struct api_call *c, const struct store_chat *chat)
{
    api_events_tell(c->api->chats, api_chats_owner(c), chat->id, "chat",
                    api_pack("{so}", "chat", api_chats_chat(chat)));
}

void api_chats_tell_message(struct api_call *c, const char *chat, const struct store_message *m)
{
    api_events_tell(c->api->chats, api_chats_owner(c), chat, "message",
                    api_pack("{ssso}", "chat", chat, "message", api_chats_message(m)));
}
