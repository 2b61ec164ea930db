/* SPDX-License-Identifier: MIT
 * api_chats_others.c - answers that other servers write, as this one shows them.
 *
 * The store has such a text as it was up to a second ago; what was told of it since is in the bus's
 * events, which are joined to it by the places that they name.  So who reads a chat here and then
 * follows its events misses nothing between. */
#include "api/api_bus.h"
#include "api/api_chats.h"

#include "base/num.h"

#include <string.h>

struct others {
    struct api_stored *stored;
    api_stored_then *then;
};

/* Appends what goes beyond what is there. */
static void join(struct span *text, const json_t *piece, json_int_t at, struct arena *a)
{
    size_t n = json_string_length(piece);
    if (at < 0 || (size_t)at > text->n || (size_t)at + n <= text->n)
        return;
    size_t total = (size_t)at + n;
    char *p = arena_alloc(a, total + 1);
    memcpy(p, text->p, (size_t)at);
    memcpy(p + at, json_string_value(piece), n);
    *text = (struct span){p, total};
}

static void apply(struct store_message *m, const json_t *o, struct arena *a)
{
    const json_t *content = json_object_get(o, "content");
    const json_t *reasoning = json_object_get(o, "reasoning");
    if (content)
        join(&m->content, content, json_integer_value(json_object_get(o, "at")), a);
    if (reasoning)
        join(&m->reasoning, reasoning, json_integer_value(json_object_get(o, "reasoning_at")), a);
}

static void apply_event(struct store_chats *x, struct span text, struct arena *a)
{
    static const char begin[] = "event: delta\ndata: ";
    if (!span_starts(text, span_of(begin)))
        return;
    struct span data = {text.p + strlen(begin), text.n - strlen(begin)};
    json_t *o = json_loadb(data.p, data.n, JSON_ALLOW_NUL, NULL);
    const char *id = json_string_value(json_object_get(o, "message"));
    for (size_t i = 0; id && i < x->n_messages; i++)
        if (x->messages[i].status == STORE_RUNNING && strcmp(x->messages[i].id, id) == 0)
            apply(&x->messages[i], o, a);
    json_decref(o);
}

static void came(struct api_call *c, struct api_asked *asked)
{
    struct others *o = asked->own;
    struct api_stored *s = o->stored;
    for (size_t i = 0; i < asked->ask.n_events; i++)
        apply_event(s->op.chats, asked->ask.events[i].text, &s->arena);
    o->then(c, s);
    api_stored_free(s);
}

static void others_gone(struct api_asked *asked)
{
    api_stored_free(((struct others *)asked->own)->stored);
}

void api_others_overlay(struct api_call *c, struct api_stored *s, api_stored_then *then)
{
    const struct store_chats *x = s->op.chats;
    bool others = false;
    for (size_t i = 0; c->api->bus && s->op.err == ERR_OK && i < x->n_messages; i++)
        others |= x->messages[i].status == STORE_RUNNING &&
                  !api_run_here(c->api->chats, &x->messages[i]);
    if (!others) {
        then(c, s);
        return;
    }
    struct others *o = arena_alloc(c->req->arena, sizeof *o);
    struct api_asked *asked = api_asked_new(c, STORE_BUS_RECENT);
    *o = (struct others){s, then};
    atomic_fetch_add(&s->refs, 1);
    api_asked_text(asked, 0, x->owner);
    api_asked_text(asked, 1, x->id);
    asked->own = o;
    asked->gone = others_gone;
    api_asked_run(asked, came);
}
