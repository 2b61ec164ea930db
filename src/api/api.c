/* SPDX-License-Identifier: MIT
 * api.c - opening and closing the server, and what happens before and after an endpoint. */
#include "api/api_compare.h"
#include "api/api_call.h"

#include "api/api_ask.h"
#include "api/api_auth.h"
#include "api/api_bus.h"
#include "api/api_chats.h"
#include "api/api_metrics.h"
#include "api/api_ollama.h"
#include "api/api_password.h"
#include "api/api_people.h"
#include "api/api_readers.h"
#include "api/api_sight.h"
#include "api/api_tries.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define ANSWER_BYTES_MAX ((size_t)512 << 20)

static const struct api_route routes[] = {
#define ROUTE(method, path, name, dialect, scope, summary)                                         \
    {method, path, api_do_##name, API_##dialect, API_##scope, summary},
#include "api/api_route.def"
#undef ROUTE
};

static void dispatch(struct http_req *r, void *arg);

static const struct http_route http_routes[] = {
#define ROUTE(method, path, name, dialect, scope, summary) {method, path, dispatch},
#include "api/api_route.def"
#undef ROUTE
};

const struct api_route *api_routes(size_t *n)
{
    *n = N_ELEMS(routes);
    return routes;
}

/* With the newest sessions. */
static void dispatch_again(struct api_call *c, struct api_stored *s)
{
    (void)s;
    c->fault = (struct api_fault){0};
    if (api_auth_check(c->api->auth, c))
        api_auth_admit(c);
    else
        api_call_fail(c);
}

static void dispatch(struct http_req *r, void *arg)
{
    struct api_call *c = arena_alloc(r->arena, sizeof *c);
    c->api = arg;
    c->req = r;
    c->owner = "";
    c->route = &routes[r->route - http_routes];
    c->dialect = http_req_header(r, "anthropic-version") ? API_ANTHROPIC : c->route->dialect;
    if (c->dialect == API_ANTHROPIC)
        http_header(r, "request-id", r->id);
    const char *address = api_call_address(c);
    c->client = num_hash(address, strlen(address), 0);
    if (api_auth_check(c->api->auth, c))
        api_auth_admit(c);
    else if (c->api->o.accounts && c->fault.status == 401 && api_people_unknown(c->api->people, r))
        api_people_look(c, dispatch_again);
    else
        api_call_fail(c);
}

/* ---- answers ---- */

json_t *api_call_body(struct api_call *c)
{
    struct span body = c->req->body;
    size_t bytes = api_json_bytes(body);
    if (bytes > API_JSON_BYTES_MAX || http_charge(c->req, body.n + bytes))
        c->body = api_json_parse(body, &c->fault);
    else
        api_refuse(&c->fault, 503, "", "", "too many large requests at once");
    if (!c->body)
        api_call_fail(c);
    return c->body;
}

struct api_ask *api_call_ask(struct api_call *c)
{
    if (!api_call_body(c))
        return NULL;
    c->ask = arena_alloc(c->req->arena, sizeof *c->ask);
    /* A name that no model has is refused later, as the endpoint does. */
    struct api_model *m = api_models_find(c->api->models,
                                          json_string_value(json_object_get(c->body, "model")));
    m = m ? m : api_models_at(c->api->models, 0);
    api_ask_init(c->ask, &m->row->sampling);
    return c->ask;
}

void api_call_drop(struct api_call *c)
{
    if (c->ask)
        api_ask_done(c->ask);
    json_decref(c->body);
    c->ask = NULL;
    c->body = NULL;
}

void api_call_json(struct api_call *c, int status, json_t *o)
{
    struct str body;
    str_init(&body, ANSWER_BYTES_MAX);
    if (c->exact)
        api_json_add_exact(&body, o);
    else
        api_json_add(&body, o);
    if (body.full) {
        api_refuse(&c->fault, 500, "", "", "the answer has more than %zu MiB",
                   ANSWER_BYTES_MAX >> 20);
        api_call_fail(c);
    } else {
        http_reply(c->req, status, "application/json", str_span(&body));
        api_call_drop(c);
    }
    str_done(&body);
}

void api_call_fail(struct api_call *c)
{
    char seconds[16];
    struct str body;
    CHECK(c->fault.status);
    str_init(&body, 65536);
    c->fault.request_id = c->req->id;
    api_fault_body(&c->fault, c->dialect, &body);
    if (c->fault.retry_s) {
        snprintf(seconds, sizeof seconds, "%u", c->fault.retry_s);
        http_header(c->req, "Retry-After", seconds);
    }
    api_metrics_fault(c->api->metrics, c->fault.status);
    http_reply(c->req, c->fault.status, "application/json", str_span(&body));
    str_done(&body);
    api_call_drop(c);
}

void api_call_hold(struct api_call *c)
{
    if (!c->self)
        http_hold(c->req);
}

void api_call_release(struct api_call *c)
{
    if (c->self)
        c->self->release(c->self->arg);
    else
        http_release(c->req);
}

void api_call_wake(struct api_call *c)
{
    if (c->self)
        c->self->wake(c->self->arg);
    else
        http_wake(c->req);
}

struct arena *api_call_arena(const struct api_call *c)
{
    return c->self ? c->self->arena : c->req->arena;
}

uint64_t api_call_arrived_ns(const struct api_call *c)
{
    return c->self ? c->self->arrived_ns : c->req->arrived_ns;
}

/* The last of the list is what the proxy itself saw; those before it anybody may have written. */
const char *api_call_address(const struct api_call *c)
{
    const char *list = c->api->o.proxy ? http_req_header(c->req, "x-forwarded-for") : NULL;
    if (!list)
        return c->req->client;
    const char *last = strrchr(list, ',');
    last = last ? last + 1 : list;
    last += strspn(last, " ");
    size_t n = strcspn(last, " ");
    return n && n < 64 ? arena_dup(c->req->arena, last, n) : c->req->client;
}

const char *api_new_id(struct arena *a, const char *prefix)
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    unsigned char b[24];
    size_t n = strlen(prefix);
    char *id = arena_alloc(a, n + sizeof b + 1);
    CHECK(getrandom(b, sizeof b, 0) == sizeof b);
    memcpy(id, prefix, n);
    for (size_t i = 0; i < sizeof b; i++) /* 256 is no multiple of 62: slightly uneven, fine */
        id[n + i] = digits[b[i] % 62];
    return id;
}

/* An error that the HTTP layer found: before any route, so in OpenAI's form. */
static void http_error_body(void *arg, int status, const char *text, struct str *out)
{
    (void)arg;
    struct api_fault f = {0};
    api_refuse(&f, status, status == 404 ? "not_found" : "", "", "%s", text);
    api_fault_body(&f, API_OPENAI, out);
}

/* ---- opening and closing ---- */

enum err api_open(struct api **out, const struct api_opts *o, struct errinfo *e)
{
    struct api *a = mem_alloc(sizeof *a);
    a->o = *o;
    a->o.http.error_body = http_error_body;
    a->metrics = api_metrics_new();
    a->pulls = api_pulls_new(a);
    a->readers = api_readers_new();
    a->started_unix = os_unix_time();
    a->tries = api_tries_new();
    enum err r = api_seer_open(&a->seer, o->pictures, e);
    if (r == ERR_OK && o->store)
        r = api_people_open(&a->people, o->store, o->proxy || o->http.tls_cert_file, e);
    if (r == ERR_OK && o->accounts)
        r = api_passwords_open(&a->passwords, e);
    if (r == ERR_OK)
        r = api_auth_open(&a->auth, o->store, a->people, o->keys_needed, o->accounts, e);
    if (r == ERR_OK)
        r = api_models_open(&a->models, &a->o, e);
    if (r == ERR_OK)
        r = api_compares_open(&a->compares, e);
    if (r == ERR_OK && o->store)
        r = api_chats_open(&a->chats, a, e);
    if (r == ERR_OK && o->store)
        r = api_bus_open(a, e);
    if (r == ERR_OK)
        r = http_open(&a->http, &a->o.http, http_routes, N_ELEMS(http_routes), a, e);
    if (r != ERR_OK) {
        api_close(a);
        a = NULL;
    }
    *out = a;
    return r;
}

uint16_t api_port(const struct api *a)
{
    return http_port(a->http);
}

void api_leave(struct api *a)
{
    atomic_store(&a->leaving, true);
}

bool api_drain(struct api *a, uint64_t wait_ns)
{
    api_chats_drain(a->chats);
    return http_drain(a->http, wait_ns) && api_chats_idle(a->chats);
}

void api_close(struct api *a)
{
    if (!a)
        return;
    http_close(a->http);
    api_chats_close(a->chats);
    api_pulls_free(a->pulls);
    api_readers_free(a->readers);
    api_compares_close(a->compares);
    api_seer_close(a->seer); /* a sight uses its model */
    api_models_close(a->models);
    api_auth_close(a->auth);
    api_passwords_close(a->passwords);
    api_people_close(a->people);
    api_tries_free(a->tries);
    api_metrics_free(a->metrics);
    mem_free(a);
}
