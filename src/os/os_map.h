/* SPDX-License-Identifier: MIT
 * os_map.h - files mapped into memory, and memory in large pages.
 *
 * Owner: the caller.  A mapping is read-only and may be read by any thread. */
#ifndef OS_MAP_H
#define OS_MAP_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct os_map {
    const unsigned char *data; /* NULL for an empty file */
    size_t bytes;
    uint64_t change; /* of the inode, the length and the times of the file's last change */
};

/* Maps a regular file.  Errors: NOTFOUND, IO (a folder, a device, no permission), each naming it.
 */
enum err os_map_open(struct os_map *m, const char *path, struct errinfo *e);
/* The same of an open file; path is for errors.  The mapping outlives the descriptor. */
enum err os_map_fd(struct os_map *m, int fd, const char *path, struct errinfo *e);
void os_map_close(struct os_map *m);
/* All of it will be read: in large pages, where the file system has them. */
void os_map_large(const struct os_map *m);
/* Touches some places all over it, and gives the share of them that came in large pages; 0 where
 * the system does not tell. */
double os_map_large_share(const struct os_map *m);

/* The pages that lie wholly within [p, p + n) may leave memory; reading brings them back. */
void os_map_forget(const void *p, size_t n);

/* n bytes of zeroed memory, aligned to 2 MiB where large pages help; NULL when refused. */
void *os_pages_alloc(size_t n);
void os_pages_free(void *p, size_t n);

#endif
