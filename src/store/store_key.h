/* SPDX-License-Identifier: MIT
 * store_key.h - API keys: how they look, what is kept of them, who may do what.
 *
 * A key is "damso-", 8 characters that name it and 43 that are secret, all of 0-9A-Za-z by
 * libsodium's random bytes: 256 bits.  Kept is a keyed BLAKE2b of the whole text, under a secret of
 * the database.  A slow hash (argon2) would defend a secret that can be guessed; nobody guesses
 * 2^256, and a server that spends 50 ms a request on it can be kept busy by wrong keys.
 * Does: make and check keys; hold a table of them in memory that follows the database within about
 *       a second, also when another process changes it.
 * Does not: count requests or tokens (it hands out the limits), keep or log a key's text.
 * Threads: store_keys_check from any, without waiting; the others where the store allows waiting.
 * Owner: a store_keys lives shorter than its store. */
#ifndef STORE_STORE_KEY_H
#define STORE_STORE_KEY_H

#include "store/store.h"

#define STORE_KEY_PREFIX "damso-"
#define STORE_KEY_ID     8
#define STORE_KEY_SECRET 43
#define STORE_KEY_CHARS  (sizeof(STORE_KEY_PREFIX) - 1 + STORE_KEY_ID + STORE_KEY_SECRET)

enum {
#define SCOPE(upper, name, help) STORE_SCOPE_AT_##upper,
#include "store/store_scope.def"
#undef SCOPE
    STORE_N_SCOPES
};

enum store_scope {
#define SCOPE(upper, name, help) STORE_SCOPE_##upper = 1 << STORE_SCOPE_AT_##upper,
#include "store/store_scope.def"
#undef SCOPE
};

/* Names with commas or spaces between, as a set of enum store_scope.  Error: USAGE for a name that
 * is none, listing all, and for no name. */
enum err store_scopes_read(const char *text, unsigned *scopes, struct errinfo *e);
/* The reverse, with spaces. */
void store_scopes_text(unsigned scopes, struct str *out);

/* Makes a key and keeps it: name, scopes (text, as store_scopes_text writes it), expires and limits
 * are taken from *key; the rest is set, id from `a`.  text is the only copy of the secret. */
enum err store_key_make(struct store *s, struct store_key *key, char text[STORE_KEY_CHARS + 1],
                        struct arena *a, struct errinfo *e);

/* The same without keeping it: for who sends STORE_KEY_ADD or STORE_KEY_USER_ADD itself and may not
 * wait.  Any thread. */
struct store_keys;
void store_keys_make(struct store_keys *k, struct store_key *key, char text[STORE_KEY_CHARS + 1],
                     struct arena *a);

enum store_verdict {
    STORE_KEY_GOOD,
    STORE_KEY_UNKNOWN, /* no such key, or no key at all */
    STORE_KEY_EXPIRED,
    STORE_KEY_REVOKED
};

/* What a good key allows. */
struct store_grant {
    char id[STORE_KEY_ID + 1];                            /* the owner of what it stores */
    unsigned scopes;                                      /* admin has all bits set */
    int64_t requests_minute, tokens_minute, n_concurrent; /* 0: no limit */
};

/* Reads the keys and begins to watch them (the store's only watcher). */
enum err store_keys_open(struct store_keys **out, struct store *s, struct errinfo *e);
void store_keys_close(struct store_keys *k); /* NULL is fine */
/* Whether text is a key.  Compares in constant time; notes a use about each minute. */
enum store_verdict store_keys_check(struct store_keys *k, struct span text,
                                    struct store_grant *out);
/* Keys that are good now. */
size_t store_keys_count(struct store_keys *k);

#endif
