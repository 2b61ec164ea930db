/* SPDX-License-Identifier: MIT
 * gguf_int.h - what gguf.c (queries), gguf_read.c (the reader) and gguf_build.c share; nobody else
 * includes it. */
#ifndef GGUF_GGUF_INT_H
#define GGUF_GGUF_INT_H

#include "base/arena.h"
#include "gguf/gguf.h"
#include "os/os_map.h"
#include "os/os_sys.h"

/* The seed of a table of names: another one each time, so that no file can hold names made to
 * collide. */
static inline uint64_t gguf_seed(const void *table)
{
    return os_now_ns() ^ (uint64_t)(uintptr_t)table;
}

/* A name table: open addressing over indices + 1, a power of two of slots, at most half full. */
struct gguf_index {
    uint32_t *slot;
    size_t mask;
    uint64_t seed;
};

struct gguf {
    struct arena arena; /* the model's lifetime: everything below */
    char *path;
    struct os_map *map; /* [n_parts] */
    int n_parts;
    uint32_t version;
    uint64_t file_bytes;
    struct gguf_key *keys;
    size_t n_keys;
    struct gguf_index key_index;
    struct gguf_tensor *tensors;
    size_t n_tensors;
    struct gguf_index tensor_index;
    size_t cap_keys, cap_tensors; /* of gguf_build.c */
};

struct gguf *gguf_new(const char *path);
/* Both name tables, of all keys and tensors. */
enum err gguf_index_all(struct gguf *g, struct errinfo *e);

/* What the reader finds in one file, before the parts are put together. */
struct gguf_part {
    struct gguf_key *keys;
    size_t n_keys;
    struct gguf_tensor *tensors;
    size_t n_tensors;
    uint32_t version;
};

/* Reads one file's bytes; `what` names it in errors. */
enum err gguf_read_part(struct gguf *g, const unsigned char *data, size_t n, const char *what,
                        int part, struct gguf_part *out, struct errinfo *e);

/* Builds a name table over names at `stride` bytes apart; CORRUPT where two names are equal. */
enum err gguf_index_build(struct gguf_index *ix, struct arena *a, const void *first, size_t n,
                          size_t stride, const char *what, struct errinfo *e);

#endif
