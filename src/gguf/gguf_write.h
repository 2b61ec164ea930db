/* SPDX-License-Identifier: MIT
 * gguf_write.h - writes a GGUF file (version 3, little-endian).
 *
 * Does: keys, tensor descriptions with their offsets, then the tensors' bytes one after the other
 *       as they come; under a temporary name beside the file, which takes its name when all is
 *       written and on the disk.
 * Does not: hold tensors in memory, write splits.
 * Owner: the caller of gguf_write_new; gguf_write_free drops what was not ended.  One thread.
 * Errors: IO, naming the file; TOOBIG where the file would pass a limit of gguf.h.  A call in the
 *         wrong order is a bug.
 *
 *     gguf_write_new(&w, path, e)
 *     gguf_write_key(w, key), gguf_write_u32(w, ...)       keys: a later one of a name replaces
 *     gguf_write_tensor(w, name, type, n_dims, dims)       in the order of the data
 *     gguf_write_head(w, e)
 *     gguf_write_data(w, p, n, e)                          all bytes of all tensors, in order
 *     gguf_write_end(w, e)                                 the file is there */
#ifndef GGUF_GGUF_WRITE_H
#define GGUF_GGUF_WRITE_H

#include "gguf/gguf.h"

struct gguf_write;

enum err gguf_write_new(struct gguf_write **out, const char *path, struct errinfo *e);
void gguf_write_free(struct gguf_write *w);

/* A copy of a key, value and all. */
void gguf_write_key(struct gguf_write *w, const struct gguf_key *key);
void gguf_write_u32(struct gguf_write *w, const char *name, uint32_t v);
void gguf_write_str(struct gguf_write *w, const char *name, struct span v);
void gguf_write_strs(struct gguf_write *w, const char *name, const struct span *v, size_t n);

/* dims: innermost first.  What is behind the last tensor's end is padded, too. */
void gguf_write_tensor(struct gguf_write *w, struct span name, uint32_t type, int n_dims,
                       const uint64_t *dims);

enum err gguf_write_head(struct gguf_write *w, struct errinfo *e);
enum err gguf_write_data(struct gguf_write *w, const void *p, size_t n, struct errinfo *e);
enum err gguf_write_end(struct gguf_write *w, struct errinfo *e);
/* Of the file so far. */
uint64_t gguf_write_bytes(const struct gguf_write *w);

#endif
