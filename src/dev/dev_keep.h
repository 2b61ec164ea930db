/* SPDX-License-Identifier: MIT
 * dev_keep.h - prepared weights in a file, so that the next start maps them instead of preparing.
 *
 * Does: map a file that was made for the same key, with every byte checked; write one beside the
 *       work of others, in a thread of its own, to a temporary name that becomes the file's when
 *       all of it is on disk; hold the folder's files of this kind within a limit, the one that
 *       served longest ago leaving first.
 * Does not: trust the file (length, key, checksums, owner), touch one that is in use (what it is
 *       mapped from stays until its last user ends), or fail what it is for: a caller without the
 *       file prepares the weights himself.
 * Owner: the caller.  Any number of processes may use a folder. */
#ifndef DEV_DEV_KEEP_H
#define DEV_DEV_KEEP_H

#include "base/err.h"
#include "os/os_map.h"
#include "os/os_pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEV_KEEP_NAME 128 /* bytes of a file's name without its end, with the NUL */

struct dev_keep {
    const char *dir;          /* outlives what is begun here */
    char name[DEV_KEEP_NAME]; /* the file is dir/name.packed */
    uint64_t key[2];          /* of all that the bytes depend on */
    size_t bytes;
    uint64_t bytes_max; /* of all such files in the folder */
};

/* What was kept: a mapping of the file, or a copy of it. */
struct dev_kept {
    const void *data; /* [k->bytes], aligned as large pages are */
    struct os_map map;
    void *copy;
    size_t bytes;
};

/* Maps the file, or copies it where it would be mapped in small pages, which makes decoding slower
 * by a tenth.  The pool's threads check every byte; progress, when not NULL, is told by the calling
 * one from 0 to 1.
 * Errors: NOTFOUND; UNSUPPORTED (of another key: stale); CORRUPT; IO; MEMORY (for the copy). */
enum err dev_keep_open(const struct dev_keep *k, struct dev_kept *d, struct os_pool *pool,
                       void (*progress)(void *arg, double share), void *arg, struct errinfo *e);
void dev_keep_close(struct dev_kept *d);

struct dev_keep_writer;

/* Begins to write data[k->bytes], which must stay as it is until dev_keep_end; NULL where no thread
 * can be had.  The writer rests as long as it works, so that others have the processor; what stands
 * in its way (no room, no folder) goes to the log. */
struct dev_keep_writer *dev_keep_write(const struct dev_keep *k, const void *data);
/* True when it is over, well or not; waits for that up to wait_ns, and lets it not rest. */
bool dev_keep_over(struct dev_keep_writer *w, uint64_t wait_ns);
/* Ends it; what was not complete is removed. */
void dev_keep_end(struct dev_keep_writer *w);

#endif
