/* SPDX-License-Identifier: MIT
 * api_tries.h - how often one may try to log in: a wait that grows with what failed.
 *
 * Does: count tries of an address and of a name; after some that are free each costs a wait twice
 *       as long as the one before; forget what was quiet for an hour.  A fixed table: who fills it
 *       makes it forget others' tries, by a keyed hash never chosen ones.
 * Does not: lock a name for long, which would be a way to shut its owner out.
 * Threads: any. */
#ifndef API_API_TRIES_H
#define API_API_TRIES_H

#include "api/api_fault.h"

#include <stddef.h>

struct api_call;
struct api_tries;

struct api_tries_kind {
    const char *name;  /* part of what is counted: "address" */
    unsigned n_free;   /* tries that cost nothing */
    unsigned wait_max; /* seconds */
};
extern const struct api_tries_kind api_tries_address, api_tries_name, api_tries_join;

struct api_tries *api_tries_new(void);
void api_tries_free(struct api_tries *t); /* NULL is fine */

/* Counts a try before it is made.  False with the fault (429, Retry-After) while one has to wait;
 * then it is not counted. */
bool api_tries_take(struct api_tries *t, const struct api_tries_kind *kind, const char *what,
                    struct api_fault *f);
/* The same of several, all of which must leave it, and then goes on with the call by `then`, or
 * answers it with the fault.  Where servers share a store the tries of all count. */
struct api_try {
    const struct api_tries_kind *kind;
    const char *what;
};
void api_tries_ask(struct api_call *c, const struct api_try *tries, size_t n,
                   void (*then)(struct api_call *c));

/* The try was good: it counts no more; all: nor do those before it. */
void api_tries_good(struct api_tries *t, const struct api_tries_kind *kind, const char *what,
                    bool all);
/* The same, also where servers share a store. */
void api_tries_good_all(struct api_call *c, const struct api_tries_kind *kind, const char *what,
                        bool all);

#endif
