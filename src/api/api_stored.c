/* SPDX-License-Identifier: MIT */
#include "api/api_stored.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT_MAX   100
#define PAIRS_MAX   16
#define KEY_CHARS   64
#define VALUE_CHARS 512

const char *api_stored_keep(struct api_stored *s, const char *text)
{
    return text ? arena_dup(&s->arena, text, strlen(text)) : NULL;
}

struct api_stored *api_stored_new(struct api_call *c, enum store_what what, enum store_kind kind,
                                  const char *id)
{
    if (!c->api->o.store) {
        api_refuse(&c->fault, 404, "not_found", "",
                   "this server runs without a store: no answers "
                   "are kept");
        return NULL;
    }
    struct api_stored *s = arena_alloc(c->req->arena, sizeof *s);
    http_hold(c->req);
    s->call = c;
    arena_init(&s->arena);
    str_init(&s->body, STORE_BODY_BYTES_MAX + 1); /* so that the store says what is too much */
    s->op.what = what;
    s->op.object = (struct store_object){.kind = kind,
                                         .id = api_stored_keep(s, id),
                                         .owner = api_stored_keep(s, c->owner),
                                         .model = ""};
    s->op.arena = &s->arena;
    atomic_init(&s->refs, 1);
    return s;
}

void api_stored_free(struct api_stored *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    struct http_req *req = s->call->req;
    arena_done(&s->arena);
    str_done(&s->body);
    http_release(req); /* s lies in its arena */
}

/* On the store's thread. */
static void answered(struct store_op *op, void *arg)
{
    struct api_stored *s = arg;
    (void)op;
    atomic_store(&s->over, true);
    http_wake(s->call->req);
    api_stored_free(s);
}

bool api_stored_send(struct api_stored *s, struct api_fault *f)
{
    struct errinfo e;
    if (s->body.full) { /* a part of it would be no JSON */
        err_note(&e, ERR_TOOBIG, "this has over %zu MiB, which is the most that is kept",
                 STORE_BODY_BYTES_MAX >> 20);
        return api_refuse_err(f, "", &e);
    }
    s->op.done = answered;
    s->op.arg = s;
    atomic_fetch_add(&s->refs, 1); /* the store's */
    if (store_send(s->call->api->o.store, &s->op, &e) == ERR_OK)
        return true;
    atomic_fetch_sub(&s->refs, 1);
    return api_refuse_store(f, &e);
}

bool api_stored_ok(const struct api_stored *s, struct api_fault *f)
{
    if (s->op.err == ERR_OK)
        return true;
    if (s->op.err == ERR_NOTFOUND && s->op.query.after)
        return api_refuse(f, 400, "invalid_value", "after", "after: there is no \"%.64s\" here",
                          s->op.query.after);
    if (s->op.err == ERR_NOTFOUND)
        return api_refuse(f, 404, "not_found", "", "there is no stored answer \"%.64s\"",
                          s->op.object.id);
    return api_refuse_store(f, &s->op.e);
}

/* ---- a request that waits ---- */

static void woken(void *state)
{
    struct api_stored *s = state;
    struct api_call *c = s->call;
    if (!atomic_load(&s->over))
        return;
    http_later(c->req, NULL, NULL); /* from here on the request is `then`'s */
    s->then(c, s);
    api_stored_free(s);
}

static void waiter_done(void *state)
{
    struct api_stored *s = state;
    api_call_drop(s->call);
    api_stored_free(s);
}

void api_stored_run(struct api_stored *s, api_stored_then *then)
{
    static const struct http_ops ops = {.woken = woken, .done = waiter_done};
    struct api_call *c = s->call;
    s->then = then;
    http_later(c->req, &ops, s);
    if (api_stored_send(s, &c->fault))
        return;
    http_later(c->req, NULL, NULL);
    api_call_fail(c);
    api_stored_free(s);
}

/* ---- lists ---- */

bool api_stored_query(struct api_stored *s, bool descending)
{
    struct api_fault *f = &s->call->fault;
    const char *limit = http_query(s->call->req, "limit");
    const char *order = http_query(s->call->req, "order");
    const char *after = http_query(s->call->req, "after");
    char *end = NULL;
    long n = limit ? strtol(limit, &end, 10) : 20;
    if (limit && (end == limit || *end || n < 1 || n > LIMIT_MAX))
        return api_refuse(f, 400, "invalid_value", "limit", "limit: 1 to %d is expected",
                          LIMIT_MAX);
    if (order && strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0)
        return api_refuse(f, 400, "invalid_value", "order", "order: asc or desc is expected");
    s->op.query.limit = (size_t)n;
    s->op.query.descending = order ? strcmp(order, "desc") == 0 : descending;
    s->op.query.after = after && *after ? after : NULL;
    return true;
}

json_t *api_stored_list(json_t *data, bool more)
{
    size_t n = json_array_size(data);
    json_t *first = json_object_get(json_array_get(data, 0), "id");
    json_t *last = json_object_get(json_array_get(data, n ? n - 1 : 0), "id");
    return api_pack("{sssOsOsOsb}", "object", "list", "data", data, "first_id",
                    first ? first : json_null(), "last_id", last ? last : json_null(), "has_more",
                    (int)more);
}

json_t *api_stored_json(struct span text)
{
    json_t *o = json_loadb(text.p, text.n, JSON_ALLOW_NUL, NULL);
    CHECK(o);
    return o;
}

json_t *api_stored_object(const struct store_object *o)
{
    json_t *body = api_stored_json(o->body);
    json_object_set_new(body, "metadata", api_stored_json(span_of(o->metadata)));
    return body;
}

void api_stored_give(struct api_call *c, struct api_stored *s)
{
    if (api_stored_ok(s, &c->fault))
        api_call_json(c, 200, api_stored_object(&s->op.objects[0]));
    else
        api_call_fail(c);
}

static void give_items(struct api_call *c, struct api_stored *s)
{
    if (!api_stored_ok(s, &c->fault)) {
        api_call_fail(c);
        return;
    }
    json_t *data = json_array();
    for (size_t i = 0; i < s->op.n; i++)
        json_array_append_new(data, api_stored_json(s->op.items[i].body));
    api_call_json(c, 200, api_stored_list(data, s->op.more));
    json_decref(data);
}

void api_stored_items(struct api_call *c, enum store_kind kind, bool descending)
{
    struct api_stored *s = api_stored_new(c, STORE_ITEMS, kind, http_param(c->req, "id"));
    if (s && api_stored_query(s, descending)) {
        api_stored_run(s, give_items);
    } else {
        api_call_fail(c);
        api_stored_free(s);
    }
}

/* ---- metadata ---- */

static size_t n_chars(const char *s, size_t n)
{
    size_t chars = 0;
    for (size_t i = 0; i < n; i++)
        chars += ((unsigned char)s[i] & 0xc0) != 0x80;
    return chars;
}

bool api_stored_metadata(const struct api_in *in, const char *name, json_t **out)
{
    const char *key;
    json_t *v;
    if (!api_get_object(in, name, out))
        return false;
    if (json_object_size(*out) > PAIRS_MAX)
        return api_get_refuse(in, name, "%zu pairs are more than %d", json_object_size(*out),
                              PAIRS_MAX);
    json_object_foreach(*out, key, v)
    {
        if (n_chars(key, strlen(key)) > KEY_CHARS)
            return api_get_refuse(in, name, "a key is longer than %d characters", KEY_CHARS);
        if (!json_is_string(v))
            return api_get_refuse(in, name, "the value of \"%.64s\" is no string", key);
        if (n_chars(json_string_value(v), json_string_length(v)) > VALUE_CHARS)
            return api_get_refuse(in, name, "the value of \"%.64s\" is longer than %d characters",
                                  key, VALUE_CHARS);
    }
    return true;
}

const char *api_stored_text(struct arena *a, const json_t *o)
{
    if (!o)
        return "{}";
    size_t n = json_dumpb(o, NULL, 0, JSON_COMPACT);
    char *text = arena_alloc(a, n + 1);
    CHECK(json_dumpb(o, text, n, JSON_COMPACT) == n);
    return text;
}
