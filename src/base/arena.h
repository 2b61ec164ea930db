/* SPDX-License-Identifier: MIT
 * arena.h - memory with a lifetime: allocate many times, free once.
 *
 * Does: hand out aligned memory from growing blocks; mark and reset for temporary use.
 * Does not: free single objects, return NULL (the process ends when the system has no memory:
 *           large amounts are refused before, by limits and budgets), or lock.
 * Owner: whoever called arena_init; name the variable after the lifetime (process, model,
 *        sequence, step, request, tmp).  One thread at a time. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *top;
    size_t total_bytes; /* handed out and not reset */
};

struct arena_mark {
    struct arena_block *block;
    size_t used;
    size_t total_bytes;
};

void arena_init(struct arena *a);
void arena_done(struct arena *a);

/* n bytes, zeroed, aligned to 64 when n >= 64 and to 16 otherwise; never NULL, also for n == 0. */
void *arena_alloc(struct arena *a, size_t n);
/* count * size with overflow checked by CHECK. */
void *arena_array(struct arena *a, size_t count, size_t size);
/* Copy of n bytes with a NUL after them. */
char *arena_dup(struct arena *a, const void *p, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct arena_mark arena_mark(const struct arena *a);
void arena_reset(struct arena *a, struct arena_mark m);

/* malloc and friends that end the process when the system has no memory. */
void *mem_alloc(size_t n); /* zeroed */
void *mem_grow(void *p, size_t n);
void mem_free(void *p);

#endif
