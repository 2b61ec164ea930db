/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include "base/err.h"
#include "base/num.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK_BYTES ((size_t)64 << 10)

struct arena_block {
    struct arena_block *below;
    size_t used;
    size_t size;
    _Alignas(64) unsigned char data[];
};

void *mem_alloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    if (!p) {
        fprintf(stderr, "damso: the system has no memory left for %zu bytes\n", n);
        abort();
    }
    return p;
}

void *mem_grow(void *p, size_t n)
{
    void *q = realloc(p, n ? n : 1);
    if (!q) {
        fprintf(stderr, "damso: the system has no memory left for %zu bytes\n", n);
        abort();
    }
    return q;
}

void mem_free(void *p)
{
    free(p);
}

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

void arena_done(struct arena *a)
{
    arena_reset(a, (struct arena_mark){0});
}

static struct arena_block *arena_block_new(size_t size)
{
    size_t bytes;
    CHECK(num_add(size, sizeof(struct arena_block), &bytes) && bytes <= SIZE_MAX - 64);
    struct arena_block *b = aligned_alloc(64, num_align(bytes, 64));
    if (!b) {
        fprintf(stderr, "damso: the system has no memory left for %zu bytes\n", bytes);
        abort();
    }
    b->used = 0;
    b->size = size;
    return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t align = n >= 64 ? 64 : 16;
    struct arena_block *b = a->top;
    if (!b || b->size < num_align(b->used, align) || b->size - num_align(b->used, align) < n) {
        size_t size = MAX(n, ARENA_BLOCK_BYTES);
        b = arena_block_new(size);
        b->below = a->top;
        a->top = b;
    }
    b->used = num_align(b->used, align);
    void *p = b->data + b->used;
    b->used += n;
    a->total_bytes += n;
    memset(p, 0, n);
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    size_t n;
    CHECK(num_mul(count, size, &n));
    return arena_alloc(a, n);
}

char *arena_dup(struct arena *a, const void *p, size_t n)
{
    char *q = arena_alloc(a, n + 1);
    if (n)
        memcpy(q, p, n);
    return q;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    CHECK(n >= 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return p;
}

struct arena_mark arena_mark(const struct arena *a)
{
    return (struct arena_mark){a->top, a->top ? a->top->used : 0, a->total_bytes};
}

void arena_reset(struct arena *a, struct arena_mark m)
{
    while (a->top != m.block) {
        struct arena_block *b = a->top;
        CHECK(b != NULL);
        a->top = b->below;
        free(b);
    }
    if (a->top)
        a->top->used = m.used;
    a->total_bytes = m.total_bytes;
}
