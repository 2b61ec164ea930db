/* SPDX-License-Identifier: MIT
 * api_auth.h - who asks, whether they may, and how much of it.
 *
 * Does: find the key in Authorization: Bearer, x-api-key or api-key, or with accounts the user by
 *       a cookie (api_people.h); refuse 401 where one is needed and none good is given, 403 what
 *       scopes or role do not open, 429 what limits do not leave; count requests, tokens and
 *       answers under way of each key and each user.
 * Does not: need a key on the machine itself, unless told so: then a text that is no key is let
 *       pass, since SDKs always send one.
 * Threads: any. */
#ifndef API_API_AUTH_H
#define API_API_AUTH_H

#include "api/api_call.h"

struct api_auth;
struct api_limit; /* a key's counters, or a user's */

/* needed: no request without a good key; accounts: or without a user who is logged in.  store may
 * be NULL when neither is; people goes with it.
 * Errors: USAGE when keys are needed and there is none, with what to do. */
enum err api_auth_open(struct api_auth **out, struct store *store, struct api_people *people,
                       bool needed, bool accounts, struct errinfo *e);
void api_auth_close(struct api_auth *a); /* NULL is fine */

/* Sets who, owner, client and limit of the call, not yet taking from its limits; false with its
 * fault. */
bool api_auth_check(struct api_auth *a, struct api_call *c);
/* Runs the call's route once its limits leave it: at once, or where servers share a store when all
 * of them were asked; while the database is away this server holds them alone. */
void api_auth_admit(struct api_call *c);
/* Takes it from this server's own limits; false with the fault. */
bool api_auth_take(struct api_call *c);
/* Limits hold over all servers of the bus; NULL ends that. */
void api_auth_share(struct api_auth *a, struct store_bus *bus);
/* Whether it is from a user who is logged in; false with its fault. */
bool api_auth_user_may(struct api_call *c);

/* Makes a key: name, scopes, expires, limits are taken from *key; text is the only copy. */
void api_auth_key_new(struct api_auth *a, struct store_key *key, char text[STORE_KEY_CHARS + 1],
                      struct arena *arena);

/* An answer begins and ends; begin gives false with the fault when too many are under way.  l may
 * be NULL: no limits. */
bool api_limit_begin(struct api_limit *l, struct api_fault *f);
void api_limit_end(struct api_limit *l, size_t n_tokens);

#endif
