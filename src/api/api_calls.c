/* SPDX-License-Identifier: MIT
 * api_calls.c - POST /api/v1/chats/{id}/messages/{mid}/calls/{cid}: the user decides about a call.
 *
 * The decision is stored while the calls are what they were when they were read: of two who decide
 * at once, one is told that it was decided.  When the last call is decided, the answer goes on. */
#include "api/api_ask.h"
#include "api/api_chats.h"

#include <string.h>

/* What is decided, from the chat's reading to the storing; of the request's arena. */
struct decision {
    enum api_allow allow;
    json_t *options; /* of the body */
    const char *message, *calls, *calls_were;
    bool waits; /* other calls are still to be decided */
};

static const char *keep(struct api_call *c, const char *text)
{
    return arena_dup(c->req->arena, text, strlen(text));
}

/* ---- the last step ---- */

static void give_decided(struct api_call *c, struct api_stored *s)
{
    const struct decision *d = c->own;
    if (s->op.err == ERR_BUSY) {
        api_refuse(&c->fault, 409, "decided", "", "the call was decided already");
        api_call_fail(c);
        return;
    }
    if (!api_chats_ok(c, s))
        return;
    const struct store_chats *x = s->op.chats;
    const struct store_chat *chat = &x->chats[0];
    api_chats_tell_message(c, chat->id, &x->messages[0]);
    api_chats_tell(c, chat);
    if (!d->waits)
        api_run_start(c->api->chats, &(struct api_run_opts){.owner = api_chats_owner(c),
                                                            .chat = chat->id,
                                                            .message = &x->messages[0],
                                                            .options = json_deep_copy(d->options),
                                                            .title = !*chat->title,
                                                            .client = c->client,
                                                            .limit = c->limit});
    api_call_json(c, 200, api_chats_message(&x->messages[0]));
}

/* The calls as they are now, and that the answer runs where nothing more is to be decided. */
static void store_calls(struct api_call *c)
{
    struct store_chats *x;
    const struct decision *d = c->own;
    struct api_stored *s = api_chats_new(c, STORE_MESSAGE_SET, &x);
    if (!s)
        return;
    x->at = d->message;
    x->idle = true;
    x->set = STORE_SET_CALLS | (d->waits ? 0 : STORE_SET_STATUS);
    x->message.status = STORE_RUNNING;
    x->message.calls = d->calls;
    x->message.calls_were = d->calls_were;
    api_stored_run(s, give_decided);
}

/* ---- "always" is kept with the chat before, so that it holds for what follows ---- */

static void stored_always(struct api_call *c, struct api_stored *s)
{
    if (api_chats_ok(c, s))
        store_calls(c);
}

static void store_always(struct api_call *c, const struct store_chat *chat, const char *tool)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_CHAT_SET, &x);
    if (!s)
        return;
    json_t *o = api_pack("{so so}", "on", api_chats_tools(chat, "on"), "always",
                         api_chats_tools(chat, "always"));
    json_array_append_new(json_object_get(o, "always"), json_string(tool));
    x->chat.tools = api_stored_text(&s->arena, o);
    x->set = STORE_SET_TOOLS;
    json_decref(o);
    api_stored_run(s, stored_always);
}

/* ---- the first step ---- */

/* The id of the tool that is called; NULL with the fault. */
static const char *decide(struct api_call *c, const struct store_message *m)
{
    struct decision *d = c->own;
    const char *id = http_param(c->req, "cid"), *tool = "";
    json_t *calls = api_stored_json(span_of(m->calls)), *v;
    size_t i;
    bool ok = api_calls_decide(calls, id, d->allow, &d->waits, &c->fault);
    json_array_foreach(calls, i, v)
    {
        if (ok && strcmp(json_string_value(json_object_get(v, "id")), id) == 0)
            tool = keep(c, json_string_value(json_object_get(v, "tool")));
    }
    d->message = keep(c, m->id);
    d->calls_were = keep(c, m->calls);
    d->calls = api_stored_text(c->req->arena, calls);
    json_decref(calls);
    return ok ? tool : NULL;
}

static void read_chat(struct api_call *c, struct api_stored *s)
{
    const struct decision *d = c->own;
    if (!api_chats_ok(c, s))
        return;
    const struct store_chats *x = s->op.chats;
    const struct store_message *m = api_chats_named(c, x);
    const char *tool = m ? decide(c, m) : NULL;
    if (!m)
        return;
    if (!tool)
        api_call_fail(c);
    else if (d->allow == API_ALLOW_ALWAYS)
        store_always(c, &x->chats[0], tool);
    else
        store_calls(c);
}

static bool read_allow(struct api_call *c, const struct api_in *in, enum api_allow *out)
{
    static const char *const words[] = {"no", "once", "always"};
    const char *text = NULL;
    if (!api_get_text(in, "allow", &text))
        return false;
    for (int i = 0; i <= API_ALLOW_ALWAYS; i++) {
        if (text && strcmp(words[i], text) == 0) {
            *out = (enum api_allow)i;
            return true;
        }
    }
    return api_refuse(&c->fault, 400, "invalid_value", "allow",
                      "allow: once, always or no is expected");
}

void api_do_call_decide(struct api_call *c)
{
    struct store_chats *x;
    struct decision *d = arena_alloc(c->req->arena, sizeof *d);
    c->own = d;
    if (!api_chats_write(c, false))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (!read_allow(c, &in, &d->allow) || !api_chats_read_options(c, &in, &d->options)) {
        api_call_fail(c);
        return;
    }
    struct api_stored *s = api_chats_new(c, STORE_CHAT_GET, &x);
    if (s)
        api_stored_run(s, read_chat);
}
