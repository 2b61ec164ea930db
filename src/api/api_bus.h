/* SPDX-License-Identifier: MIT
 * api_bus.h - what the servers of one PostgreSQL do together: store_bus.h as requests and chats use
 * it.
 *
 * Does: have a request wait for an answer of the bus; tell all servers to stop an answer or to end
 *       an owner's streams; find answers whose server is gone, and tell of them.
 * Does not: anything where the store has one server: then api->bus is NULL.
 * Threads: any, but for what says otherwise. */
#ifndef API_API_BUS_H
#define API_API_BUS_H

#include "api/api_call.h"
#include "store/store_bus.h"

#include <stdatomic.h>

/* After chats and keys are there.  Errors: those of store_bus_open. */
enum err api_bus_open(struct api *a, struct errinfo *e);
/* When no request and no answer is under way. */
void api_bus_close(struct api *a);

struct api_asked;
typedef void api_asked_then(struct api_call *c, struct api_asked *x);

/* A call of the bus that a request waits for. */
struct api_asked {
    struct api_call *call;
    struct store_bus_call ask;
    struct arena arena;                /* of its texts */
    void *own;                         /* the caller's */
    void (*gone)(struct api_asked *x); /* the client left, and `then` is not called; may be NULL */
    api_asked_then *then;
    atomic_bool over;
    atomic_int refs;
};

struct api_asked *api_asked_new(struct api_call *c, enum store_bus_what what);
void api_asked_text(struct api_asked *x, int at, const char *text);
void api_asked_number(struct api_asked *x, int at, int64_t n);
/* `then` looks at ask.err and at what came, and goes on with the request.  Takes x over. */
void api_asked_run(struct api_asked *x, api_asked_then *then);

/* Of which nobody waits for an answer. */
void api_bus_note(struct store_bus *b, enum store_bus_what what, const char *id, int64_t n);

/* On all servers: an answer, or all of a chat (message ""); all streams of an owner. */
void api_bus_stop(struct api *a, const char *owner, const char *chat, const char *message);
void api_bus_drop(struct api *a, const char *owner);

#endif
