/* SPDX-License-Identifier: MIT
 * api_chats_events.c - GET /api/v1/events: what changes, told to all listeners of an owner.
 *
 * Who reads too slowly is sent home.  Who connects again says what it had last (Last-Event-ID): the
 * newest events are kept and told again; when that one is too old or of another run of the server,
 * the event `reset` says to read anew what there is. */
#include "api/api_chats_int.h"

#include "base/num.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BACKLOG_BYTES_MAX ((size_t)4 << 20)
#define KEPT_MAX          8192 /* events of all owners */
#define KEPT_BYTES_MAX    ((size_t)8 << 20)
#define SHARED_BYTES_MAX  ((size_t)1 << 20) /* an event that the database passes on */

/* Where several servers share a store, events come from its bus (store_bus.h): told to it, they are
 * read again in the order that holds for all, and ids are the same on every server.  A listener
 * follows from a number of an epoch on. */
struct listener {
    struct listener *next;
    uint64_t epoch, from; /* shared: what is not above it was given */
    bool wanted;          /* shared: its owner is in the question under way */
    struct api_events *set;
    struct http_req *req;
    const char *owner, *chat; /* chat NULL: all */
    struct str out;           /* not yet taken */
    bool over;
};

/* An event that was told: owner, chat and text, each with a NUL behind it. */
struct kept {
    char *owner;
    const char *chat;
    struct span text;
    size_t bytes;
};

struct api_events {
    pthread_mutex_t mu;
    struct listener *all;
    bool shared;     /* events come from the bus */
    uint64_t heard;  /* shared: all up to it came */
    uint64_t run;    /* of the server, or the epoch (0: not known yet): part of every id */
    uint64_t n_told; /* the number of the last event; that of number n is kept[n % KEPT_MAX] */
    uint64_t n_gone; /* of the last that is not kept any more */
    size_t kept_bytes;
    struct kept kept[KEPT_MAX];
    bool over;
};

struct api_events *api_events_new(void)
{
    struct api_events *k = mem_alloc(sizeof *k);
    CHECK(getrandom(&k->run, sizeof k->run, 0) == sizeof k->run);
    pthread_mutex_init(&k->mu, NULL);
    return k;
}

static void forget_oldest(struct api_events *k)
{
    struct kept *e = &k->kept[++k->n_gone % KEPT_MAX];
    k->kept_bytes -= e->bytes;
    mem_free(e->owner);
    *e = (struct kept){0};
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
    while (k->n_gone < k->n_told)
        forget_oldest(k);
    pthread_mutex_destroy(&k->mu);
    mem_free(k);
}

/* Keeps the event as number n_told. */
static void keep(struct api_events *k, const char *owner, const char *chat, struct span text)
{
    size_t n_owner = strlen(owner) + 1, n_chat = strlen(chat) + 1;
    size_t bytes = n_owner + n_chat + text.n;
    while (k->n_gone + 1 < k->n_told &&
           (k->n_told - k->n_gone > KEPT_MAX || k->kept_bytes + bytes > KEPT_BYTES_MAX))
        forget_oldest(k);
    char *p = mem_alloc(bytes);
    memcpy(p, owner, n_owner);
    memcpy(p + n_owner, chat, n_chat);
    memcpy(p + n_owner + n_chat, text.p, text.n);
    k->kept[k->n_told % KEPT_MAX] = (struct kept){
        p, p + n_owner, {p + n_owner + n_chat, text.n},
            bytes
    };
    k->kept_bytes += bytes;
}

static void give_event(struct listener *l, const struct kept *e)
{
    if (strcmp(l->owner, e->owner) == 0 && (!l->chat || strcmp(l->chat, e->chat) == 0))
        str_add_span(&l->out, e->text);
}

/* To all servers, but what is large: who listens reads it anew.  o goes. */
static void tell_shared(struct store_bus *bus, const char *owner, const char *chat,
                        const char *name, json_t *o)
{
    struct str data, text;
    str_init(&data, SHARED_BYTES_MAX);
    str_init(&text, SHARED_BYTES_MAX);
    api_json_add_exact(&data, o);
    http_sse(&text, span_of(name), str_span(&data));
    store_bus_tell(bus, owner, chat,
                   data.full || text.full ? SPAN("event: reset\ndata: {}\n\n") : str_span(&text));
    str_done(&data);
    str_done(&text);
}

void api_events_tell(struct api_chats *chats, const char *owner, const char *chat, const char *name,
                     json_t *o)
{
    struct api_events *k = chats->events;
    struct str data, text;
    if (chats->api->bus) {
        tell_shared(chats->api->bus, owner, chat, name, o);
        return;
    }
    str_init(&data, 2 * STORE_BODY_BYTES_MAX);
    str_init(&text, 2 * STORE_BODY_BYTES_MAX);
    api_json_add_exact(&data, o);
    pthread_mutex_lock(&k->mu);
    k->n_told++;
    str_addf(&text, "id: %016llx-%llu\n", (unsigned long long)k->run,
             (unsigned long long)k->n_told);
    http_sse(&text, span_of(name), str_span(&data));
    bool cut = data.full || text.full;
    keep(k, owner, chat, cut ? SPAN("event: reset\ndata: {}\n\n") : str_span(&text));
    for (struct listener *l = k->all; l; l = l->next) {
        size_t before = l->out.n;
        if (l->over)
            continue;
        give_event(l, &k->kept[k->n_told % KEPT_MAX]);
        l->over = l->out.full;
        if (l->out.n > before || l->over)
            http_wake(l->req);
    }
    pthread_mutex_unlock(&k->mu);
    str_done(&data);
    str_done(&text);
}

/* Tells what came after the event of the id, or `reset`.  With the lock held. */
static void resume(struct api_events *k, struct listener *l, const char *id)
{
    char *end = NULL;
    unsigned long long run = strtoull(id, &end, 16), n = 0;
    bool known = *end == '-' && run == k->run;
    if (known) {
        n = strtoull(end + 1, &end, 10);
        known = !*end && n >= k->n_gone && n <= k->n_told;
    }
    for (uint64_t i = n + 1; known && i <= k->n_told; i++) {
        give_event(l, &k->kept[i % KEPT_MAX]);
        known = l->out.n < BACKLOG_BYTES_MAX / 2;
    }
    if (!known) {
        str_clear(&l->out);
        str_add_cstr(&l->out, "event: reset\ndata: {}\n\n");
    }
}

/* ---- shared ---- */

void api_events_share(struct api_events *k)
{
    pthread_mutex_lock(&k->mu);
    if (!k->shared) /* nothing came yet */
        k->run = 0;
    k->shared = true;
    pthread_mutex_unlock(&k->mu);
}

static void add_id(struct str *out, uint64_t epoch, uint64_t n)
{
    str_addf(out, "id: %016llx-%llu\n", (unsigned long long)epoch, (unsigned long long)n);
}

uint64_t api_events_want(struct api_events *k, struct str *owners)
{
    const char *last = "";
    pthread_mutex_lock(&k->mu);
    uint64_t from = k->shared && k->run ? k->heard : INT64_MAX;
    for (struct listener *l = k->all; l; l = l->next) {
        l->wanted = true;
        if (l->epoch == k->run && k->run)
            from = MIN(from, l->from);
        if (strcmp(last, l->owner) != 0)
            store_bus_owner(owners, l->owner);
        last = l->owner;
    }
    pthread_mutex_unlock(&k->mu);
    return from;
}

/* With the lock held. */
static void give_news(struct listener *l, const struct store_news *news)
{
    size_t before = l->out.n;
    /* The question was asked after the listener came: no id that was ever given is beyond it. */
    bool known = l->epoch == news->epoch && l->from >= news->gone && l->from <= news->last;
    for (size_t i = 0; known && i < news->n; i++) {
        const struct store_event *x = &news->events[i];
        if (x->n <= l->from || strcmp(l->owner, x->owner) != 0 ||
            (l->chat && strcmp(l->chat, x->chat) != 0))
            continue;
        add_id(&l->out, news->epoch, x->n);
        str_add_span(&l->out, x->text);
    }
    if (!known) {
        str_clear(&l->out);
        add_id(&l->out, news->epoch, news->upto);
        str_add_cstr(&l->out, "event: reset\ndata: {}\n\n");
    }
    l->from = known ? MAX(l->from, news->upto) : news->upto;
    l->epoch = news->epoch;
    l->over = l->out.full;
    if (l->out.n > before || l->over)
        http_wake(l->req);
}

uint64_t api_events_came(struct api_events *k, const struct store_news *news)
{
    pthread_mutex_lock(&k->mu);
    uint64_t behind = k->shared && k->run == news->epoch ? k->heard : news->upto;
    k->shared = true;
    for (struct listener *l = k->all; l; l = l->next)
        if (l->wanted && !l->over)
            give_news(l, news);
    k->run = news->epoch;
    k->heard = MAX(behind, news->upto);
    pthread_mutex_unlock(&k->mu);
    return behind;
}

/* From the id on, or from now: what comes after what this server has heard. */
static void follow(const struct api_events *k, struct listener *l, const char *id)
{
    char *end = NULL;
    l->epoch = k->run;
    l->from = k->heard;
    if (id && *id) {
        l->epoch = strtoull(id, &end, 16);
        l->from = *end == '-' ? strtoull(end + 1, &end, 10) : 0;
        if (*end)
            l->epoch = 0;
    }
    str_add_cstr(&l->out, ": keep-alive\n");
    if (l->epoch && !(id && *id))
        add_id(&l->out, l->epoch, l->from);
    str_add_cstr(&l->out, "\n");
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
    const char *last = http_req_header(c->req, "last-event-id");
    last = last ? last : http_query(c->req, "last");
    static const struct http_ops ops = {.fill = fill, .done = done};
    struct listener *l = arena_alloc(c->req->arena, sizeof *l);
    l->set = k;
    l->req = c->req;
    l->owner = owner;
    l->chat = chat;
    str_init(&l->out, BACKLOG_BYTES_MAX);
    pthread_mutex_lock(&k->mu);
    if (!k->shared && last && *last)
        resume(k, l, last);
    /* An id without an event: where to go on from, and the client knows at once that it listens. */
    if (k->shared)
        follow(k, l, last);
    else
        str_addf(&l->out, ": keep-alive\nid: %016llx-%llu\n\n", (unsigned long long)k->run,
                 (unsigned long long)k->n_told);
    l->over = k->over;
    l->next = k->all;
    k->all = l;
    pthread_mutex_unlock(&k->mu);
    if (c->api->bus)
        store_bus_look(c->api->bus);
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
