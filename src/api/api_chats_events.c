/* SPDX-License-Identifier: MIT
 * api_chats_events.c - GET /api/v1/events: what changes, told to all listeners of an owner.
 *
 * Who reads too slowly is sent home: it connects again and reads what there is. */
#include "api/api_chats_int.h"

#include <string.h>

#define BACKLOG_BYTES_MAX ((size_t)4 << 20)

struct listener {
    struct listener *next;
    struct api_events *set;
    struct http_req *req;
    const char *owner, *chat; /* chat NULL: all */
    struct str out;           /* not yet taken */
    bool over;
};

struct api_events {
    pthread_mutex_t mu;
    struct listener *all;
    uint64_t n_told;
    bool over;
};

struct api_events *api_events_new(void)
{
    struct api_events *k = mem_alloc(sizeof *k);
    pthread_mutex_init(&k->mu, NULL);
    return k;
}

void api_events_end(struct api_events *k)
{
    pthread_mutex_lock(&k->mu);
    k->over = true;
    for (struct listener *l = k->all; l; l = l->next) {
        l->over = true;
        http_wake(l->req);
    }
    pthread_mutex_unlock(&k->mu);
}

void api_events_free(struct api_events *k)
{
    CHECK(!k->all);
    pthread_mutex_destroy(&k->mu);
    mem_free(k);
}

void api_events_tell(struct api_chats *chats, const char *owner, const char *chat, const char *name,
                     json_t *o)
{
    struct api_events *k = chats->events;
    struct str data;
    str_init(&data, 2 * STORE_BODY_BYTES_MAX);
    api_json_add_exact(&data, o);
    pthread_mutex_lock(&k->mu);
    k->n_told++;
    for (struct listener *l = k->all; l; l = l->next) {
        if (strcmp(l->owner, owner) != 0 || (l->chat && strcmp(l->chat, chat) != 0) || l->over)
            continue;
        str_addf(&l->out, "id: %llu\n", (unsigned long long)k->n_told);
        http_sse(&l->out, span_of(name), str_span(&data));
        l->over = l->out.full || data.full;
        http_wake(l->req);
    }
    pthread_mutex_unlock(&k->mu);
    str_done(&data);
}

void api_events_drop(struct api_chats *chats, const char *owner)
{
    struct api_events *k = chats->events;
    pthread_mutex_lock(&k->mu);
    for (struct listener *l = k->all; l; l = l->next) {
        if (strcmp(l->owner, owner) != 0)
            continue;
        l->over = true;
        http_wake(l->req);
    }
    pthread_mutex_unlock(&k->mu);
}

static enum http_fill fill(void *state, struct str *out)
{
    struct listener *l = state;
    size_t before = out->n;
    pthread_mutex_lock(&l->set->mu);
    bool over = l->over;
    if (!l->out.full) /* else its last event is cut */
        str_add_span(out, str_span(&l->out));
    str_clear(&l->out);
    pthread_mutex_unlock(&l->set->mu);
    if (over)
        return HTTP_END;
    return out->n > before ? HTTP_MORE : HTTP_WAIT;
}

static void done(void *state)
{
    struct listener *l = state;
    pthread_mutex_lock(&l->set->mu);
    struct listener **at = &l->set->all;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    pthread_mutex_unlock(&l->set->mu);
    str_done(&l->out);
}

void api_events_listen(struct api_events *k, struct api_call *c, const char *owner,
                       const char *chat)
{
    static const struct http_ops ops = {.fill = fill, .done = done};
    struct listener *l = arena_alloc(c->req->arena, sizeof *l);
    l->set = k;
    l->req = c->req;
    l->owner = owner;
    l->chat = chat;
    str_init(&l->out, BACKLOG_BYTES_MAX);
    str_add_cstr(&l->out, ": keep-alive\n\n"); /* so that the client knows at once */
    pthread_mutex_lock(&k->mu);
    l->over = k->over;
    l->next = k->all;
    k->all = l;
    pthread_mutex_unlock(&k->mu);
    if (!http_stream_begin(c->req, 200, "text/event-stream; charset=utf-8", &ops, l))
        done(l);
}

void api_do_events(struct api_call *c)
{
    const char *chat = http_query(c->req, "chat");
    if (!c->api->chats) {
        api_refuse(&c->fault, 404, "not_found", "", "this server runs without a store");
        api_call_fail(c);
        return;
    }
    api_events_listen(c->api->chats->events, c, api_chats_owner(c), chat && *chat ? chat : NULL);
}
