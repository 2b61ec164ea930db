/* SPDX-License-Identifier: MIT
 * api_responses.h - one request of OpenAI's Responses API on its way.
 *
 * Does: read the request (api_responses_ask.c) and its items (api_responses_items.c), find what it
 *       goes on from (api_responses.c), write the answer as items and events
 *       (api_responses_events.c) and as an object (api_responses_object.c), store it before its
 *       end is told.
 * Does not: run tools, keep conversations, or go on without its client: `background` is refused,
 *       and an answer whose client leaves before its end is neither finished nor stored.
 * Owner: the request; what is not in its arena or its body ends by api_responses_done. */
#ifndef API_API_RESPONSES_H
#define API_API_RESPONSES_H

#include "api/api_gen.h"
#include "api/api_stored.h"

enum api_item_kind { API_ITEM_REASONING, API_ITEM_MESSAGE, API_ITEM_CALL };

/* An output item, as it comes. */
struct api_item {
    enum api_item_kind kind;
    const char *id, *call_id; /* of the request's arena */
    const char *status;
    struct str name, text; /* of a call: its arguments */
    json_t *logprobs;      /* an array */
};

struct api_responses {
    const char *instructions, *previous; /* NULL: none */
    bool store, truncate, count;         /* count: tokens of the input are asked for, no answer */
    bool chained;                        /* what `previous` names is in the ask's messages */
    size_t n_lookups;                    /* of answers that the input refers to */
    const char *last_maker;              /* the one that was looked up last */

    struct api_item *items;
    size_t n_items;
    bool open; /* the last item is */
    json_int_t n_events;
    struct str sink;
    json_t *final; /* the object that ends it */
    struct api_stored *put;
};

/* Fields of the request into c->ask and r; `input` and `tools` of c->body are whole afterwards:
 * items with ids, tools with every member. */
bool api_responses_read(struct api_responses *r, struct api_call *c);
void api_responses_done(struct api_responses *r);

/* The body's input as an array of items that all have ids, in place of what it has. */
bool api_responses_input(struct api_call *c);
/* An item as a message for the template, or as a part of the last one, appended to ask->messages,
 * an array; at: "input[2].". */
bool api_responses_add(struct api_ask *ask, const json_t *item, const char *at,
                       struct api_fault *f);
/* The input and output of a stored response. */
bool api_responses_add_stored(struct api_ask *ask, const struct store_object *o,
                              struct api_fault *f);
void api_responses_add_system(struct api_ask *ask, struct span text);
/* When all are added: makes the contents of system messages texts. */
void api_responses_join(struct api_ask *ask);
/* The id of the response that made an output item, of the arena; NULL when it is no such item's. */
const char *api_responses_maker(struct arena *a, const char *item_id);

extern const struct api_gen_ops api_responses_ops;
json_t *api_responses_part(const struct api_item *item);
/* with_content: else a message or reasoning as it begins, before its part. */
json_t *api_responses_item(const struct api_item *item, bool with_content);
/* The response as it is now. */
json_t *api_responses_object(const struct api_gen *g, const char *status);
/* Makes the object that ends it, and stores it (api_gen_ops.settle). */
bool api_responses_settle(struct api_gen *g, struct api_fault *f);

#endif
