/* SPDX-License-Identifier: MIT
 * gguf_build.h - a description like that of a GGUF file, put together from other files.
 *
 * Does: collect keys and tensors, map the files that they lie in, hold what was made of them in
 *       memory; the end gives a struct gguf that nobody can tell from one that was read.
 * Does not: know which files, or what keys mean.
 * Owner: the caller of gguf_build_new; gguf_close frees it, ended or not.  One thread until the
 * end. Errors: those of os_map_open; CORRUPT where two keys or tensors have one name.
 *
 *     struct gguf *g = gguf_build_new(path);
 *     gguf_build_map(g, file, &bytes, &part, e)    gguf_build_str(g, "general.architecture", ...)
 *     gguf_build_tensor(g, &tensor)                gguf_build_end(g, e) */
#ifndef GGUF_GGUF_BUILD_H
#define GGUF_GGUF_BUILD_H

#include "gguf/gguf.h"

/* path: what gguf_path says. */
struct gguf *gguf_build_new(const char *path);

/* Maps a file until gguf_close.  *part: for the tensors that lie in it.
 * Errors: TOOBIG (more than GGUF_PARTS_MAX files). */
enum err gguf_build_map(struct gguf *g, const char *path, struct span *bytes, int *part,
                        struct errinfo *e);
/* Zeroed memory until gguf_close, for tensors of the part GGUF_PART_MEMORY.  ERR_MEMORY where the
 * machine does not have as much left. */
enum err gguf_build_memory(struct gguf *g, size_t n, const char *for_what, void **out,
                           struct errinfo *e);

/* Names and values are copied.  format: of the name, as printf has it. */
void gguf_build_u32(struct gguf *g, const char *name, uint32_t v);
void gguf_build_f32(struct gguf *g, const char *name, float v);
void gguf_build_bool(struct gguf *g, const char *name, bool v);
void gguf_build_str(struct gguf *g, const char *name, struct span v);
void gguf_build_strs(struct gguf *g, const char *name, const struct span *v, size_t n);
/* Elements of 4 bytes (I32, U32, F32) or 1 (BOOL, U8). */
void gguf_build_numbers(struct gguf *g, const char *name, enum gguf_kind kind, const void *v,
                        size_t n);
/* The name is copied, the data is not. */
void gguf_build_tensor(struct gguf *g, const struct gguf_tensor *t);

enum err gguf_build_end(struct gguf *g, struct errinfo *e);

#endif
