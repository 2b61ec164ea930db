/* SPDX-License-Identifier: MIT
 * api_password.h - passwords: what is one, and their hashes by argon2id, on a thread of their own.
 *
 * Does: hash and check with libsodium's crypto_pwhash_str (argon2id, 64 MiB, two passes: about a
 *       tenth of a second), one at a time out of a short queue, so that a flood of logins takes
 *       one processor and 64 MiB and is answered with 503; wipe every text when it was used.
 * Does not: keep or log a password; block an io thread.
 * Threads: api_password_run on the request's io thread; the rest any.
 * Owner: struct api_password lies in the request's arena. */
#ifndef API_API_PASSWORD_H
#define API_API_PASSWORD_H

#include "api/api_call.h"

#include <stdatomic.h>

#define API_PASSWORD_CHARS_MIN 10
#define API_PASSWORD_BYTES_MAX 512
#define API_PASSWORD_HASH      128 /* crypto_pwhash_STRBYTES */
#define API_PASSWORD_QUEUE_MAX 32

struct api_passwords;
struct api_password;
typedef void api_password_then(struct api_call *c, struct api_password *p);

struct api_password {
    char text[API_PASSWORD_BYTES_MAX + 1];
    size_t n;
    char hash[API_PASSWORD_HASH]; /* to be checked; "": made of the text */
    bool good;                    /* what came: the text is the hash's; or a hash was made */
    void *arg;                    /* the caller's */

    /* its own */
    struct api_password *next;
    struct api_call *call;
    api_password_then *then;
    atomic_bool over;
};

/* Errors: FAILED, MEMORY. */
enum err api_passwords_open(struct api_passwords **out, struct errinfo *e);
void api_passwords_close(struct api_passwords *p); /* no request runs any more; NULL is fine */

/* Text as it is hashed: NFC, since Hangul is typed in two forms.  False with the fault, naming
 * `param`, where it is no password; `fresh`: one that is chosen now, which may not be short. */
bool api_password_read(struct api_password *p, const char *text, const char *param, bool fresh,
                       struct api_fault *f);
/* Calls `then` when it is done; with a fault the request is answered by it. */
void api_password_run(struct api_call *c, struct api_password *p, api_password_then *then);
/* A hash that no password has, for names that nobody has: refusing them takes as long. */
const char *api_password_nobody(const struct api_passwords *p);

/* For commands, which may wait.  Errors: MEMORY. */
enum err api_password_hash(const struct api_password *p, char out[API_PASSWORD_HASH],
                           struct errinfo *e);

#endif
