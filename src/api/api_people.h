/* SPDX-License-Identifier: MIT
 * api_people.h - the users of a server and their sessions, as the io threads see them: a table in
 * memory that follows the store within about a second, also when another process changes it.
 *
 * A session is 256 random bits in a cookie; the store and the table have its BLAKE2b-256.  It ends
 * after STORE_SESSION_IDLE_S without use, after API_SESSION_S in any case, by logging out, and when
 * the password changes or the user is disabled.  What uses up an invitation works the same way.
 * Cross-site requests: the cookie is SameSite=Strict, and with it a request that may change
 * something must come from a page of this very origin, or from no browser.
 * Does: find users by name, by session, by API key; write cookies; note when a session is used;
 *       count what is used, and give it to the store.
 * Does not: hash passwords (api_password.h), or wait: what changes goes to the store by who asks.
 * Threads: any. */
#ifndef API_API_PEOPLE_H
#define API_API_PEOPLE_H

#include "api/api_stored.h"
#include "store/store_users.h"

#define API_SESSION_S   ((int64_t)90 * 86400)
#define API_TOKEN_CHARS 43 /* base64url of 32 bytes */
#define API_USER_ID_MAX 63

struct api_people;

/* A user, copied out of the table. */
struct api_who {
    char id[API_USER_ID_MAX + 1];
    char name[STORE_USER_NAME_MAX + 1];
    char session[API_USER_ID_MAX + 1]; /* its id; "": came by a key, or only named */
    char password[STORE_PASSWORD_HASH_MAX + 1];
    bool admin, disabled;
    int64_t created, seen;
    int64_t requests_minute, tokens_minute, n_concurrent;
};

/* secure: cookies for https alone. */
enum err api_people_open(struct api_people **out, struct store *store, bool secure,
                         struct errinfo *e);
void api_people_close(struct api_people *p); /* gives the store what is left; NULL is fine */

size_t api_people_count(struct api_people *p); /* users */
/* False: there is none. */
bool api_people_named(struct api_people *p, const char *folded, struct api_who *out);
bool api_people_id(struct api_people *p, const char *id, struct api_who *out);
/* By the cookie; false without a good session.  Notes the use. */
bool api_people_session(struct api_people *p, const struct http_req *r, struct api_who *out);
/* There is a cookie, and the table knows no such session: another server may have begun it within
 * this second.  p may be NULL. */
bool api_people_unknown(struct api_people *p, const struct http_req *r);
/* Reads the table anew, then calls `then` with NULL. */
void api_people_look(struct api_call *c, api_stored_then *then);
/* Whose key it is; false: no user's. */
bool api_people_key(struct api_people *p, const char *key, struct api_who *out);
/* The sessions of a user, newest first, with memory of `a`. */
size_t api_people_sessions(struct api_people *p, const char *user, struct arena *a,
                           struct store_session **out);

/* False and the fault: a request that may change something and came with a cookie from elsewhere.
 */
bool api_people_same_origin(const struct http_req *r, struct api_fault *f);

/* A new secret and its hash. */
void api_token_new(char text[API_TOKEN_CHARS + 1], unsigned char hash[STORE_TOKEN_HASH_BYTES]);
/* False where text cannot be one. */
bool api_token_hash(const char *text, unsigned char hash[STORE_TOKEN_HASH_BYTES]);
/* Headers of the answer. */
void api_people_give_cookie(struct api_people *p, struct http_req *r, const char *token);
void api_people_take_cookie(struct api_people *p, struct http_req *r);

/* A name as it is shown (out) and as it is compared (folded): NFC, and NFKC without case.  False
 * with the fault where it is none. */
bool api_name_read(const char *text, struct arena *a, const char **out, const char **folded,
                   struct api_fault *f);

/* An operation of store_users.h; NULL: the call was answered. */
struct api_stored *api_people_new(struct api_call *c, enum store_what what,
                                  struct store_people **x);
/* Runs it; when it went well the table has what it changed before `then` is called. */
void api_people_run(struct api_stored *s, api_stored_then *then);
/* False, and the call was answered: the operation failed. */
bool api_people_ok(struct api_call *c, const struct api_stored *s);

/* Counts a request that was answered, of "" where nobody is named. */
void api_people_used(struct api_people *p, const char *owner, const char *model, size_t n_prompt,
                     size_t n_answer);
/* What is not in the store yet. */
void api_people_flush(struct api_people *p);

/* Who a call is from, for the log: a user's id, a key's, or "-". */
const char *api_people_log_name(const struct api_call *c);

#endif
