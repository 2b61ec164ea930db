/* SPDX-License-Identifier: MIT
 * api_shares.h - between the files on shared chats.
 *
 * Does: read what the store holds of a share, for its endpoints and its page.
 * Threads: the request's.
 * Owner: what is returned is the caller's. */
#ifndef API_API_SHARES_H
#define API_API_SHARES_H

#include "api/api_chats.h"

/* The messages of a share that was read, each with an id and its parent's. */
json_t *api_shares_messages(const struct store_share *h);
/* The notes that were read. */
json_t *api_shares_notes(const struct store_chats *x);

#endif
