/* SPDX-License-Identifier: MIT
 * api_keys.h - API keys over the API: between a user's own and an admin's endpoints. */
#ifndef API_API_KEYS_H
#define API_API_KEYS_H

#include "api/api_people.h"

/* A key for people to see: nothing of its secret. */
json_t *api_keys_json(struct api_call *c, const struct store_key *k);
/* Answers with a new key as the body wants it; scopes_most: what it may open (enum store_scope).
 * user: whose it is; NULL: nobody's. */
void api_keys_new(struct api_call *c, unsigned scopes_most, const char *user);
/* Revokes the key of the address's {id}. */
void api_keys_end(struct api_call *c);

#endif
