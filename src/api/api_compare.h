/* SPDX-License-Identifier: MIT
 * api_compare.h - GET /api/v1/chips and POST /api/v1/compare: what an answer would take on chips.
 *
 * Does: price runs (quote.h) on a thread of its own, one at a time out of a short queue.
 * Threads: the endpoints on io threads.  Owner: the server. */
#ifndef API_API_COMPARE_H
#define API_API_COMPARE_H

#include "api/api_call.h"

#define API_COMPARE_CHIPS_MAX 8
#define API_COMPARE_QUEUE_MAX 16

struct api_compares;

enum err api_compares_open(struct api_compares **out, struct errinfo *e);
void api_compares_close(struct api_compares *s); /* no request runs any more; NULL is fine */

#endif
