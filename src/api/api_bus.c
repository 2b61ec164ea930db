/* SPDX-License-Identifier: MIT */
#include "api/api_bus.h"

#include "api/api_auth.h"
#include "api/api_chats_int.h"
#include "base/log.h"

#include <string.h>
#include <time.h>

/* What is told to servers, not to listeners, has no owner and is of this "chat". */
#define TO_SERVERS "servers"

#define LEFT_AT_ONCE 16

struct left_one {
    struct api_bus_left *all;
    struct store_op op;
    struct store_chats x;
    struct arena arena;
};

/* Looks for answers whose server is gone: for one, and once there was one, for many together, which
 * the store keeps with one wait for the disk. */
struct api_bus_left {
    struct api *api;
    struct left_one one[LEFT_AT_ONCE];
    atomic_size_t under_way;
    atomic_bool busy, stop, found; /* found: one of those under way was left */
};

/* ---- a request that waits ---- */

struct api_asked *api_asked_new(struct api_call *c, enum store_bus_what what)
{
    struct api_asked *x = arena_alloc(c->req->arena, sizeof *x);
    http_hold(c->req);
    x->call = c;
    arena_init(&x->arena);
    x->ask.what = what;
    x->ask.arena = &x->arena;
    atomic_init(&x->refs, 2);
    return x;
}

void api_asked_text(struct api_asked *x, int at, const char *text)
{
    x->ask.args[at] = arena_dup(&x->arena, text, strlen(text));
}

void api_asked_number(struct api_asked *x, int at, int64_t n)
{
    x->ask.args[at] = arena_printf(&x->arena, "%lld", (long long)n);
}

static void asked_unref(struct api_asked *x)
{
    if (atomic_fetch_sub(&x->refs, 1) != 1)
        return;
    struct http_req *req = x->call->req;
    arena_done(&x->arena);
    http_release(req); /* x lies in its arena */
}

/* On the bus's thread. */
static void asked_came(struct store_bus_call *ask, void *arg)
{
    struct api_asked *x = arg;
    (void)ask;
    atomic_store(&x->over, true);
    http_wake(x->call->req);
    asked_unref(x);
}

static void asked_woken(void *state)
{
    struct api_asked *x = state;
    if (!atomic_load(&x->over))
        return;
    http_later(x->call->req, NULL, NULL); /* from here on the request is `then`'s */
    x->then(x->call, x);
    asked_unref(x);
}

static void asked_gone(void *state)
{
    struct api_asked *x = state;
    if (x->gone)
        x->gone(x);
    api_call_drop(x->call);
    asked_unref(x);
}

void api_asked_run(struct api_asked *x, api_asked_then *then)
{
    static const struct http_ops ops = {.woken = asked_woken, .done = asked_gone};
    x->then = then;
    x->ask.done = asked_came;
    x->ask.arg = x;
    http_later(x->call->req, &ops, x);
    store_bus_send(x->call->api->bus, &x->ask);
}

/* ---- notes ---- */

struct noted {
    struct store_bus_call call;
    char id[64], number[24];
};

static void note_came(struct store_bus_call *c, void *arg)
{
    (void)c;
    mem_free(arg);
}

void api_bus_note(struct store_bus *b, enum store_bus_what what, const char *id, int64_t n)
{
    struct noted *x = mem_alloc(sizeof *x);
    CHECK(strlen(id) < sizeof x->id);
    memcpy(x->id, id, strlen(id) + 1);
    snprintf(x->number, sizeof x->number, "%lld", (long long)n);
    x->call = (struct store_bus_call){
        .what = what, .args = {x->id, x->number},
             .done = note_came, .arg = x
    };
    store_bus_send(b, &x->call);
}

/* ---- from server to server ---- */

static void to_servers(struct api *a, json_t *o)
{
    struct str text;
    str_init(&text, 65536);
    api_json_add_exact(&text, o);
    if (!text.full)
        store_bus_tell(a->bus, "", TO_SERVERS, str_span(&text));
    str_done(&text);
}

void api_bus_stop(struct api *a, const char *owner, const char *chat, const char *message)
{
    if (a->bus)
        to_servers(a, api_pack("{ss ss ss ss}", "do", "stop", "owner", owner, "chat", chat,
                               "message", message));
}

void api_bus_drop(struct api *a, const char *owner)
{
    api_events_drop(a->chats, owner);
    if (a->bus)
        to_servers(a, api_pack("{ss ss}", "do", "drop", "owner", owner));
}

static const char *member(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));
    return text ? text : "";
}

static void heard(struct api *a, struct span text)
{
    json_t *o = json_loadb(text.p, text.n, 0, NULL);
    const char *what = member(o, "do"), *owner = member(o, "owner"), *m = member(o, "message");
    if (strcmp(what, "stop") == 0)
        api_run_stop(a->chats, owner, member(o, "chat"), *m ? m : NULL);
    else if (strcmp(what, "drop") == 0) /* another version's words are left alone */
        api_events_drop(a->chats, owner);
    json_decref(o);
}

static uint64_t want(void *arg, struct str *owners)
{
    struct api *a = arg;
    return api_events_want(a->chats->events, owners);
}

static void came(void *arg, const struct store_news *news)
{
    struct api *a = arg;
    uint64_t behind = api_events_came(a->chats->events, news);
    for (size_t i = 0; i < news->n; i++) {
        const struct store_event *x = &news->events[i];
        if (!*x->owner && x->n > behind && strcmp(x->chat, TO_SERVERS) == 0)
            heard(a, x->text);
    }
}

/* ---- answers whose server is gone ---- */

static void left_came(struct store_op *op, void *arg);

static void left_look(struct api_bus_left *l, size_t n);

/* The last of those that were sent together decides whether there are more. */
static void left_over(struct left_one *o)
{
    struct api_bus_left *l = o->all;
    arena_done(&o->arena);
    if (atomic_fetch_sub(&l->under_way, 1) != 1)
        return;
    if (atomic_load(&l->found) && !atomic_load(&l->stop))
        left_look(l, LEFT_AT_ONCE);
    else
        atomic_store(&l->busy, false);
}

static void left_look(struct api_bus_left *l, size_t n)
{
    atomic_store(&l->found, false);
    atomic_store(&l->under_way, n);
    for (size_t i = 0; i < n; i++) {
        struct left_one *o = &l->one[i];
        arena_init(&o->arena);
        o->all = l;
        o->x = (struct store_chats){0};
        o->op = (struct store_op){.what = STORE_RUNNING_LEFT,
                                  .chats = &o->x,
                                  .arena = &o->arena,
                                  .done = left_came,
                                  .arg = o};
        if (store_send(l->api->o.store, &o->op, NULL) != ERR_OK)
            left_over(o);
    }
}

static void left_came(struct store_op *op, void *arg)
{
    struct left_one *o = arg;
    const struct store_chats *x = &o->x;
    struct api_chats *chats = o->all->api->chats;
    if (op->err == ERR_OK && x->n_messages && x->n_chats) {
        atomic_store(&o->all->found, true);
        log_at(LOG_WARN, "chats", "stopped=1 why=\"its server is gone\"");
        api_events_tell(
            chats, x->owner, x->id, "message",
            api_pack("{ss so}", "chat", x->id, "message", api_chats_message(&x->messages[0])));
        if (!x->chats[0].deleted)
            api_events_tell(chats, x->owner, x->id, "chat",
                            api_pack("{so}", "chat", api_chats_chat(&x->chats[0])));
    }
    left_over(o);
}

static void beat(void *arg)
{
    struct api *a = arg;
    if (!atomic_exchange(&a->left->busy, true))
        left_look(a->left, 1);
}

/* ---- life ---- */

enum err api_bus_open(struct api *a, struct errinfo *e)
{
    static const struct store_bus_ops ops = {.want = want, .came = came, .beat = beat};
    a->left = mem_alloc(sizeof *a->left);
    a->left->api = a;
    TRY(store_bus_open(&a->bus, a->o.store, &ops, a, e));
    if (a->bus) {
        api_events_share(a->chats->events);
        api_auth_share(a->auth, a->bus);
    }
    return ERR_OK;
}

void api_bus_close(struct api *a)
{
    if (a->bus) {
        api_auth_share(a->auth, NULL);
        atomic_store(&a->left->stop, true);
        while (atomic_load(&a->left->busy)) /* the store answers soon */
            nanosleep(&(struct timespec){0, 1000000}, NULL);
        store_bus_close(a->bus);
        while (atomic_load(&a->left->busy))
            nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    a->bus = NULL;
    mem_free(a->left);
    a->left = NULL;
}
