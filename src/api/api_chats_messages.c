/* SPDX-License-Identifier: MIT
 * api_chats_messages.c - /api/v1/chats/{id}/messages: ask, regenerate, continue, stop, edit,
 * delete.
 *
 * A question is stored before its request is answered; its answer then begins, whether or not
 * anyone listens. */
#include "api/api_ask.h"
#include "api/api_bus.h"
#include "api/api_chats.h"

#include "os/os_sys.h"

#include <string.h>

/* What an endpoint keeps until its message is stored. */
struct turn {
    json_t *options; /* borrowed from the body, until the run has it */
    bool whole;      /* the answer has both messages */
    bool go_on;
};

static bool keep_files(struct api_stored *s, const struct api_in *in, struct store_message *m)
{
    json_t *list = NULL, *v;
    size_t i;
    if (!api_get_array(in, "files", &list))
        return false;
    if (json_array_size(list) > STORE_MESSAGE_FILES_MAX)
        return api_get_refuse(in, "files", "%zu files are more than %zu", json_array_size(list),
                              STORE_MESSAGE_FILES_MAX);
    const char **ids = arena_array(&s->arena, json_array_size(list), sizeof *ids);
    json_array_foreach(list, i, v)
    {
        if (!json_is_string(v))
            return api_get_refuse(in, "files", "[%zu] is no id of a file", i);
        ids[i] = api_stored_keep(s, json_string_value(v));
    }
    m->file_ids = ids;
    m->n_files = json_array_size(list);
    return true;
}

/* Now: what is wrong with them is said to who sent them. */
bool api_chats_read_options(struct api_call *c, const struct api_in *in, json_t **options)
{
    struct api_ask ask;
    if (!api_get_object(in, "options", options))
        return false;
    json_t *body = json_object();
    const struct api_in of = {body, "options.", &c->fault};
    api_ask_init(&ask, &api_models_at(c->api->models, 0)->row->sampling);
    bool ok = api_chats_options(*options, body, &c->fault) &&
              api_ask_common(&ask, &of, c->req->arena) &&
              api_ask_effort(&ask, &of, "reasoning_effort");
    api_ask_done(&ask);
    json_decref(body);
    return ok;
}

/* ---- an answer begins ---- */

static void give_turn(struct api_call *c, struct api_stored *s)
{
    struct turn *t = c->own;
    if (!api_chats_ok(c, s))
        return;
    const struct store_chats *x = s->op.chats;
    const struct store_message *answer = &x->messages[x->n_messages - 1];
    const struct store_chat *chat = &x->chats[0];
    for (size_t i = 0; i < x->n_messages; i++)
        api_chats_tell_message(c, chat->id, &x->messages[i]);
    api_chats_tell(c, chat);
    api_run_start(c->api->chats, &(struct api_run_opts){.owner = api_chats_owner(c),
                                                        .chat = chat->id,
                                                        .message = answer,
                                                        .options = json_deep_copy(t->options),
                                                        .go_on = t->go_on,
                                                        .title = !*chat->title,
                                                        .client = c->client,
                                                        .limit = c->limit});
    json_t *o = api_chats_message(answer);
    if (t->whole)
        o = api_pack("{so so}", "user", api_chats_message(&x->messages[0]), "answer", o);
    api_call_json(c, 200, o);
}

static struct turn *new_turn(struct api_call *c)
{
    struct turn *t = arena_alloc(c->req->arena, sizeof *t);
    c->own = t;
    return t;
}

/* The operation that adds n messages, the last of them an answer that runs. */
static struct api_stored *new_add(struct api_call *c, struct store_message **add, size_t n)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_MESSAGES_ADD, &x);
    if (!s)
        return NULL;
    *add = arena_array(&s->arena, n, sizeof **add);
    for (size_t i = 0; i < n; i++)
        (*add)[i] = (struct store_message){
            .id = api_new_id(&s->arena, "msg-"), .role = STORE_USER, .status = STORE_FINISHED};
    (*add)[n - 1].role = STORE_ASSISTANT;
    (*add)[n - 1].status = STORE_RUNNING;
    x->add = *add;
    x->n_add = n;
    x->default_model = api_models_at(c->api->models, 0)->name;
    return s;
}

static bool read_ask(struct api_call *c, struct api_stored *s, struct store_message *add,
                     struct turn *t)
{
    const struct api_in in = {c->body, "", &c->fault};
    const char *content = NULL, *parent = NULL;
    if (!api_get_text(&in, "content", &content) || !api_get_text(&in, "parent", &parent) ||
        !keep_files(s, &in, &add[0]) || !api_chats_model(c, &in, &add[1].model) ||
        !api_chats_read_options(c, &in, &t->options))
        return false;
    if ((!content || !*content) && !add[0].n_files)
        return api_get_refuse(&in, "content", "is missing");
    content = api_stored_keep(s, content ? content : "");
    add[0].content = span_of(content);
    add[0].parent = api_stored_keep(s, parent);
    add[1].parent = add[0].id;
    return true;
}

void api_do_message_new(struct api_call *c)
{
    struct store_message *add;
    if (!api_chats_write(c, false))
        return;
    struct turn *t = new_turn(c);
    struct api_stored *s = new_add(c, &add, 2);
    t->whole = true;
    if (s && read_ask(c, s, add, t)) {
        api_stored_run(s, give_turn);
    } else if (s) {
        api_call_fail(c);
        api_stored_free(s);
    }
}

/* ---- another answer beside one ---- */

static const struct store_message *named_answer(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return NULL;
    const struct store_message *m = api_chats_named(c, s->op.chats);
    if (!m || m->role == STORE_ASSISTANT)
        return m;
    api_refuse(&c->fault, 400, "invalid_value", "", "the message is no answer of a model");
    api_call_fail(c);
    return NULL;
}

/* Reads the chat first, to look at the message. */
static void with_chat(struct api_call *c, api_stored_then *then)
{
    struct store_chats *x;
    struct turn *t = new_turn(c);
    if (!api_chats_write(c, true))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    const char *model;
    if (!api_chats_read_options(c, &in, &t->options) || !api_chats_model(c, &in, &model)) {
        api_call_fail(c);
        return;
    }
    struct api_stored *s = api_chats_new(c, STORE_CHAT_GET, &x);
    if (s)
        api_stored_run(s, then);
}

static void regenerate(struct api_call *c, struct api_stored *read)
{
    const struct api_in in = {c->body, "", &c->fault};
    struct store_message *add;
    const struct store_message *m = named_answer(c, read);
    struct api_stored *s = m ? new_add(c, &add, 1) : NULL;
    if (!s)
        return;
    add[0].sibling = api_stored_keep(s, m->id);
    CHECK(api_chats_model(c, &in, &add[0].model)); /* it was looked at before */
    api_stored_run(s, give_turn);
}

void api_do_message_again(struct api_call *c)
{
    with_chat(c, regenerate);
}

/* ---- going on ---- */

static void go_on(struct api_call *c, struct api_stored *read)
{
    struct store_chats *x;
    const struct store_message *m = named_answer(c, read);
    struct api_stored *s = m ? api_chats_new(c, STORE_MESSAGE_SET, &x) : NULL;
    struct turn *t = c->own;
    if (!s)
        return;
    x->at = api_stored_keep(s, m->id);
    x->set = STORE_SET_STATUS;
    x->message.status = STORE_RUNNING;
    x->idle = true;
    t->go_on = true;
    api_stored_run(s, give_turn);
}

void api_do_message_continue(struct api_call *c)
{
    with_chat(c, go_on);
}

/* ---- stopping ---- */

/* On another server: it will be. */
static void stop_there(struct api_call *c, struct store_chats *x)
{
    const char *id = http_param(c->req, "mid");
    for (size_t i = 0; c->api->bus && i < x->n_messages; i++) {
        struct store_message *m = &x->messages[i];
        if (strcmp(m->id, id) != 0 || m->status != STORE_RUNNING)
            continue;
        api_bus_stop(c->api, x->owner, x->id, id);
        m->status = STORE_STOPPED;
    }
}

static void stop(struct api_call *c, struct api_stored *s)
{
    struct store_chats *x = s->op.chats;
    if (!api_chats_ok(c, s))
        return;
    if (!api_run_stop(c->api->chats, x->owner, x->id, http_param(c->req, "mid")))
        stop_there(c, x);
    api_run_overlay(c->api->chats, x->messages, x->n_messages, &s->arena);
    const struct store_message *m = api_chats_named(c, x);
    if (m)
        api_call_json(c, 200, api_chats_message(m));
}

void api_do_message_stop(struct api_call *c)
{
    with_chat(c, stop);
}

/* ---- editing, deleting ---- */

static void give_edited(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return;
    const struct store_chats *x = s->op.chats;
    api_chats_tell_message(c, x->chats[0].id, &x->messages[0]);
    api_chats_tell(c, &x->chats[0]);
    api_call_json(c, 200, api_chats_message(&x->messages[0]));
}

void api_do_message_edit(struct api_call *c)
{
    struct store_chats *x;
    const char *content = NULL;
    if (!api_chats_write(c, false))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (!api_get_text(&in, "content", &content) ||
        (!content && !api_get_refuse(&in, "content", "is missing"))) {
        api_call_fail(c);
        return;
    }
    struct api_stored *s = api_chats_new(c, STORE_MESSAGE_SET, &x);
    if (!s)
        return;
    x->at = api_stored_keep(s, http_param(c->req, "mid"));
    x->set = STORE_SET_CONTENT;
    x->idle = true;
    x->message.content = span_of(api_stored_keep(s, content));
    api_stored_run(s, give_edited);
}

static void give_removed(struct api_call *c, struct api_stored *s)
{
    if (!api_chats_ok(c, s))
        return;
    const struct store_chats *x = s->op.chats;
    const struct store_chat *chat = &x->chats[0];
    json_t *ids = json_array();
    for (size_t i = 0; i < x->n_messages; i++)
        json_array_append_new(ids, json_string(x->messages[i].id));
    json_t *head = chat->head ? json_string(chat->head) : json_null();
    api_events_tell(c->api->chats, api_chats_owner(c), chat->id, "removed",
                    api_pack("{ss sO sO}", "chat", chat->id, "messages", ids, "head", head));
    api_chats_tell(c, chat);
    api_call_json(c, 200, api_pack("{sb so so}", "deleted", 1, "removed", ids, "head", head));
}

void api_do_message_delete(struct api_call *c)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_MESSAGE_DELETE, &x);
    if (!s)
        return;
    x->at = api_stored_keep(s, http_param(c->req, "mid"));
    x->idle = true;
    api_stored_run(s, give_removed);
}
