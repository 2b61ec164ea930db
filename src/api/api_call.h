/* SPDX-License-Identifier: MIT
 * api_call.h - a request on its way: what every endpoint gets, and how it answers.
 *
 * An endpoint is a function api_do_<name>(struct api_call *) in a file of its own and a row of
 * api_route.def.  It answers once: api_call_json, api_call_fail, a stream, or later. */
#ifndef API_API_CALL_H
#define API_API_CALL_H

#include "api/api.h"
#include "api/api_fault.h"
#include "api/api_json.h"
#include "api/api_model.h"
#include "store/store_key.h"

#include <stdatomic.h>

struct api_ask;
struct api_bus_left;
struct api_auth;
struct api_chats;
struct api_limit;
struct api_metrics;
struct api_compares;
struct api_passwords;
struct api_people;
struct api_pulls;
struct api_readers;
struct api_tries;
struct api_who;
struct store_bus;

#define API_LOCAL "local" /* who owns the chats where nobody logs in */

/* What a key must have for an endpoint; OPEN asks for none. */
enum api_scope {
    API_OPEN = 0,
    API_CHAT = STORE_SCOPE_CHAT,
    API_MODELS = STORE_SCOPE_MODELS,
    API_METRICS = STORE_SCOPE_METRICS,
    API_ADMIN = STORE_SCOPE_ADMIN
};

struct api_route {
    const char *method, *path;
    void (*run)(struct api_call *c);
    enum api_dialect dialect;
    enum api_scope scope;
    const char *summary;
};

struct api {
    struct api_opts o;
    struct http_server *http;
    struct api_models *models;
    struct api_auth *auth;
    struct api_metrics *metrics;
    struct api_pulls *pulls;
    struct api_compares *compares;
    struct api_chats *chats;         /* NULL without a store */
    struct api_people *people;       /* the same */
    struct api_passwords *passwords; /* NULL without accounts */
    struct api_tries *tries;
    struct api_readers *readers;
    struct api_seer *seer; /* of pictures */
    struct store_bus *bus; /* NULL: the store has one server */
    struct api_bus_left *left;
    int64_t started_unix;
    atomic_bool leaving; /* not ready any more */
};

/* What stands in for a request where an answer belongs to the server: api_chats_run.c. */
struct api_self {
    struct arena *arena;
    uint64_t arrived_ns;
    void (*wake)(void *arg);    /* something may be done; any thread, must not block */
    void (*release)(void *arg); /* nothing uses the arena any more; any thread */
    void *arg;
};

struct api_call {
    struct api *api;
    struct http_req *req;  /* NULL where there is a self */
    struct api_self *self; /* NULL: it answers a request */
    const struct api_route *route;
    enum api_dialect dialect; /* the route's, or Anthropic's for its clients at shared paths */
    struct api_fault fault;
    bool exact;        /* the answer has numbers that a model wrote: every digit counts */
    const char *owner; /* the id of its user or key, "" without: whose stored answers it sees */
    const struct api_who *who; /* its user; NULL: none */
    uint64_t client;           /* whose turn it is in queues: the user, the key, or the address */
    struct api_limit *limit;   /* of its key or user; NULL: none */
    json_t *body;              /* api_call_body */
    struct api_ask *ask;       /* api_call_ask */
    void *own;                 /* the endpoint's */

    /* api_model_want's */
    struct api_model *model;
    api_model_then *then;
    struct api_call *next_waiting;
    bool waits;
};

/* The rows of api_route.def. */
const struct api_route *api_routes(size_t *n);

/* The request's JSON object; NULL: it was answered with the fault.  The call's, as its ask, until
 * it is answered by one of these or a generation takes them over. */
json_t *api_call_body(struct api_call *c);
/* The same, and c->ask with the server's defaults in it. */
struct api_ask *api_call_ask(struct api_call *c);
/* Answers with o and lets go of it. */
void api_call_json(struct api_call *c, int status, json_t *o);
/* Answers with c->fault. */
void api_call_fail(struct api_call *c);

/* Ends body and ask. */
void api_call_drop(struct api_call *c);

/* Of the request, or of what stands in for it. */
void api_call_hold(struct api_call *c);
void api_call_release(struct api_call *c);
void api_call_wake(struct api_call *c);
struct arena *api_call_arena(const struct api_call *c);
uint64_t api_call_arrived_ns(const struct api_call *c);

/* The address of the client: the proxy's word for it where there is one. */
const char *api_call_address(const struct api_call *c);

/* "PREFIX" and 24 random letters and digits, of the arena. */
const char *api_new_id(struct arena *a, const char *prefix);

#define ROUTE(method, path, name, dialect, scope, summary) void api_do_##name(struct api_call *c);
#include "api/api_route.def"
#undef ROUTE

#endif
