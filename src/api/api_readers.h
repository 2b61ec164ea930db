/* SPDX-License-Identifier: MIT
 * api_readers.h - who reads a shared chat: nobody we know, told from others by a random cookie.
 *
 * Does: give a browser its cookie when it first says something, never for reading; hold what comes
 *       from an address to a pace, one network of IPv6 (/64) counting as one.
 * Does not: know a reader again who deletes the cookie: then the pace is all there is.  Behind a
 *       proxy all readers have its address, and share the pace.
 * Threads: any. */
#ifndef API_API_READERS_H
#define API_API_READERS_H

#include "api/api_call.h"

#define API_READER_CHARS 24

struct api_readers;

enum api_reader_act {
    API_READER_LIKE, /* recommends, or takes that back */
    API_READER_NOTE, /* leaves a note */
    API_READER_N_ACTS
};

struct api_readers *api_readers_new(void);
void api_readers_free(struct api_readers *k); /* NULL is fine */

/* False with the fault (429, Retry-After): the call's address has done this too often. */
bool api_readers_take(struct api_readers *k, struct api_call *c, enum api_reader_act act);

/* The call's reader; NULL: it has no cookie.  Of the request's arena. */
const char *api_reader(const struct api_call *c);
/* The same; who has none is given one with the answer. */
const char *api_reader_make(struct api_call *c);

#endif
