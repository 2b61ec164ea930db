/* SPDX-License-Identifier: MIT
 * api_sight.h - what a model sees of a request's pictures: rows of numbers, made by one thread.
 *
 * Does: have the files read by a process beside the server (vision_child.h), have the model's
 *       projector compute, one picture at a time out of a short queue; keep what was made of
 *       pictures lately, since each turn of a conversation brings them again.
 * Does not: block an io thread.
 * Threads: any but for the thread's own.
 * Owner: a sight belongs to its generation, which lives until `done` has come. */
#ifndef API_API_SIGHT_H
#define API_API_SIGHT_H

#include "api/api_fault.h"
#include "engine/engine.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define API_SIGHTS_MAX      64                  /* requests that wait */
#define API_SIGHT_BYTES_MAX ((size_t)128 << 20) /* of what is kept */

struct api_ask;
struct api_seer;
struct api_sight;
struct vision;
struct vision_child;

/* child: NULL: no file is read, and every sight fails; the caller's.  Errors: MEMORY. */
enum err api_seer_open(struct api_seer **out, struct vision_child *child, struct errinfo *e);
void api_seer_close(struct api_seer *s); /* nothing is asked any more; NULL is fine */

/* Takes the pictures out of ask, which have their places; NULL where there are none. */
struct api_sight *api_sight_new(struct api_seer *s, struct vision *v, struct api_ask *ask);
void api_sight_free(struct api_sight *x);
/* `done` comes on the thread, once, also after api_sight_leave.  False with the fault where too
 * many wait; then it does not come. */
bool api_sight_ask(struct api_sight *x, void (*done)(void *arg), void *arg, struct api_fault *f);
void api_sight_leave(struct api_sight *x); /* nobody wants it any more */
/* Whether it is over: then either there is a fault, or the spans of the prompt. */
bool api_sight_over(const struct api_sight *x);
const struct api_fault *api_sight_fault(const struct api_sight *x);
const struct engine_span *api_sight_spans(const struct api_sight *x, size_t *n);

#endif
