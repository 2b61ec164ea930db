/* SPDX-License-Identifier: MIT
 * api_stored.h - an operation of the store that a request waits for, and what all endpoints of
 * stored answers share.
 *
 * Does: keep the operation and its memory alive until both the store and the request are done with
 *       it; wake the request when it is answered.
 * Does not: block an io thread, or know what is stored.
 * Threads: the request's io thread, but for what the store calls.
 * Owner: the request's side, until api_stored_free. */
#ifndef API_API_STORED_H
#define API_API_STORED_H

#include "api/api_call.h"

#include <stdatomic.h>

struct api_stored;
typedef void api_stored_then(struct api_call *c, struct api_stored *s);

struct api_stored {
    struct api_call *call;
    struct store_op op; /* may be completed before it is sent */
    struct arena arena; /* for op's texts and its answer */
    struct str body;    /* for op.object.body */
    api_stored_then *then;
    atomic_bool over;
    atomic_int refs;
};

/* NULL and the fault where the server keeps nothing.  id may be NULL for a list. */
struct api_stored *api_stored_new(struct api_call *c, enum store_what what, enum store_kind kind,
                                  const char *id);
/* A copy that lives as long as the operation: the request's body may end before.  NULL stays. */
const char *api_stored_keep(struct api_stored *s, const char *text);
/* Answers the request in its time: by `then`, which looks at the error and at what came, both of
 * which end when it returns, or with the fault.  Takes s over. */
void api_stored_run(struct api_stored *s, api_stored_then *then);

/* For who waits by other means: sends it; the request is woken when s->over is true.  False with
 * the fault. */
bool api_stored_send(struct api_stored *s, struct api_fault *f);
/* The fault of an operation that is over and went wrong. */
bool api_stored_ok(const struct api_stored *s, struct api_fault *f);
/* NULL is fine; at any time. */
void api_stored_free(struct api_stored *s);

/* `after`, `limit` of 1 to 100 and `order` of the request's address into op.query. */
bool api_stored_query(struct api_stored *s, bool descending);
/* {object:"list", data, first_id, last_id, has_more}. */
json_t *api_stored_list(json_t *data, bool more);
/* What this server wrote itself; never NULL. */
json_t *api_stored_json(struct span text);
/* What was stored, with its metadata as they are now; never NULL. */
json_t *api_stored_object(const struct store_object *o);
/* Answers with the object that came. */
api_stored_then api_stored_give;
/* Answers with a list of the items of the one that the request's address names. */
void api_stored_items(struct api_call *c, enum store_kind kind, bool descending);
/* The member as OpenAI limits it: 16 pairs of texts, keys of 64 and values of 512 characters. */
bool api_stored_metadata(const struct api_in *in, const char *name, json_t **out);
/* o as compact text of the arena; "{}" for NULL. */
const char *api_stored_text(struct arena *a, const json_t *o);

#endif
