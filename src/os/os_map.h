/* SPDX-License-Identifier: MIT
 * os_map.h - files mapped into memory, and memory in large pages.
 *
 * Owner: the caller.  A mapping is read-only and may be read by any thread. */
#ifndef OS_MAP_H
#define OS_MAP_H

#include "base/err.h"

#include <stddef.h>

struct os_map {
    const unsigned char *data; /* NULL for an empty file */
    size_t bytes;
};

/* Maps a regular file.  Errors: NOTFOUND, IO (a folder, a device, no permission), each naming it.
 */
enum err os_map_open(struct os_map *m, const char *path, struct errinfo *e);
void os_map_close(struct os_map *m);

/* The pages that lie wholly within [p, p + n) may leave memory; reading brings them back. */
void os_map_forget(const void *p, size_t n);

/* n bytes of zeroed memory, aligned to 2 MiB where large pages help; NULL when refused. */
void *os_pages_alloc(size_t n);
void os_pages_free(void *p, size_t n);

#endif
