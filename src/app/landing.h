/* SPDX-License-Identifier: MIT
 * landing.h - a file that arrives in pieces and stands at its place only when it is whole.
 *
 * Does: collect bytes in PATH.part under a lock, hash them on the way, keep what arrived for a
 *       later run, and at the end check length and sha256, write everything through to the disk
 *       and rename.  A file at PATH is therefore a whole one, whenever the power goes.
 * Does not: know where the bytes come from (fetch.h, wheel.h).
 * Owner: the caller of landing_open; one thread.  Two processes: the second gets BUSY. */
#ifndef APP_LANDING_H
#define APP_LANDING_H

#include "base/err.h"

#include <sodium.h>
#include <stdint.h>

struct landing {
    char *path;
    char *part; /* path + ".part" */
    char *mark; /* path + ".part.from": whose bytes the part holds */
    int fd;
    uint64_t n_bytes; /* that the part holds */
    uint64_t bytes;   /* that it must have in the end; 0: not known */
    const char *sha256;
    crypto_hash_sha256_state hash; /* of the bytes in the part */
};

/* Checks a file before it gets its name, for what length and hash cannot say; NULL: no check. */
typedef enum err landing_check(const char *path, struct errinfo *e);

/* Makes the folder, opens and locks the part.  Before the first landing_write comes
 * landing_restart or landing_resume.
 * bytes 0 and sha256 NULL (64 hex digits, borrowed) where they are not known.
 * Errors: BUSY (another process loads this file), IO (also too little free space). */
enum err landing_open(struct landing *l, const char *path, uint64_t bytes, const char *sha256,
                      struct errinfo *e);
/* Goes on with the bytes that an earlier run left, if `from` (a line that names their source and
 * version) is what that run wrote by landing_mark.  Reads them once for the hash. */
enum err landing_resume(struct landing *l, const char *from, struct errinfo *e);
/* What landing_mark last kept, into buf; false where there is none. */
bool landing_marked(const struct landing *l, char *buf, size_t n);
/* Notes whose bytes the part holds; NULL forgets it, so that a later run starts anew. */
enum err landing_mark(struct landing *l, const char *from, struct errinfo *e);

enum err landing_write(struct landing *l, const void *p, size_t n, struct errinfo *e);
/* Forgets the bytes. */
enum err landing_restart(struct landing *l, struct errinfo *e);
/* IO where the disk has no room for `more` bytes and a reserve. */
enum err landing_room(const struct landing *l, uint64_t more, struct errinfo *e);
/* Checks and renames.  A file with a wrong length or hash is removed: CORRUPT. */
enum err landing_finish(struct landing *l, landing_check *check, struct errinfo *e);
/* Ends it; what is not finished stays as a part, an empty part goes. */
void landing_close(struct landing *l);

/* Hashes a whole file; `hex` has room for 65. */
enum err landing_hash_file(const char *path, char hex[65], struct errinfo *e);

#endif
