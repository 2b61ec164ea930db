/* SPDX-License-Identifier: MIT
 * gguf.h - the GGUF container (versions 2 and 3, little-endian), memory-mapped and checked.
 *
 * Does: map one file or all parts of a split model, read every key and tensor description, and
 *       check each count, length, offset and dimension against the bytes that are really there
 *       (ggml's docs/gguf.md is the format's definition).
 * Does not: interpret keys, convert tensors, or copy their data.
 * Owner: the caller of gguf_open; all pointers live until gguf_close.  Read-only afterwards, so
 *        any thread may read.
 * Limits: GGUF_* below; a file that passes one is refused with the name and the number. */
#ifndef GGUF_GGUF_H
#define GGUF_GGUF_H

#include "base/err.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

#define GGUF_KEYS_MAX      65536
#define GGUF_TENSORS_MAX   262144
#define GGUF_NAME_MAX      1024 /* bytes of a key or tensor name */
#define GGUF_DIMS_MAX      4
#define GGUF_ALIGNMENT_MIN 8
#define GGUF_ALIGNMENT_MAX 65536
#define GGUF_STRINGS_MAX   16777216 /* in all string arrays of a file together */
#define GGUF_PARTS_MAX     1024
#define GGUF_PART_MEMORY   (-1)

/* The types a key's value can have; the numbers are the file's. */
enum gguf_kind {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_KIND_N
};

/* An array value: n elements of one kind (never ARRAY: nested arrays are refused). */
struct gguf_array {
    enum gguf_kind kind;
    size_t n;
    const unsigned char *data;  /* n packed little-endian elements; NULL for strings */
    const struct span *strings; /* [n] for strings; NULL otherwise */
};

struct gguf_key {
    struct span name;
    enum gguf_kind kind;
    union {
        uint64_t u; /* unsigned kinds and bool (0 or 1) */
        int64_t i;
        double f;
        struct span s;
        struct gguf_array a;
    };
};

struct gguf_tensor {
    struct span name;
    uint32_t type; /* the file's number; see gguf_type.h for the table */
    int n_dims;
    uint64_t dims[GGUF_DIMS_MAX]; /* innermost first, at least 1; unused ones are 1 */
    const unsigned char *data;    /* aligned as the file says; `bytes` are really there */
    size_t bytes;
    int part; /* index of the file it lies in, or GGUF_PART_MEMORY */
};

struct gguf;

/* Opens a file; when it is a part of a split model (`split.count` > 1), all parts beside it,
 * named NAME-00001-of-00003.gguf.  *out is NULL after an error.
 * Errors: NOTFOUND, IO, CORRUPT (the message names the key, tensor or offset), UNSUPPORTED (a
 * version, byte order or tensor type that is not known, with what is). */
enum err gguf_open(struct gguf **out, const char *path, struct errinfo *e);
void gguf_close(struct gguf *g);

/* The same over bytes in memory that outlive it; no splits.  For tests and fuzzing. */
enum err gguf_open_bytes(struct gguf **out, const void *bytes, size_t n, struct errinfo *e);

const char *gguf_path(const struct gguf *g);
uint32_t gguf_version(const struct gguf *g);
uint64_t gguf_file_bytes(const struct gguf *g); /* of all parts */
/* Differs when a part was written to, replaced or moved since; 0 for bytes in memory. */
uint64_t gguf_change(const struct gguf *g);

size_t gguf_n_keys(const struct gguf *g);
const struct gguf_key *gguf_key_at(const struct gguf *g, size_t i);
/* NULL where there is no such key. */
const struct gguf_key *gguf_key(const struct gguf *g, const char *name);

size_t gguf_n_tensors(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i);
const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name);

/* Typed reads.  A key that is missing gives `otherwise` (or NOTFOUND for the _need forms); one of
 * another type gives CORRUPT with both types.  Integers of any width are accepted where they fit.
 */
enum err gguf_get_u32(const struct gguf *g, const char *name, uint32_t otherwise, uint32_t *out,
                      struct errinfo *e);
enum err gguf_get_f32(const struct gguf *g, const char *name, float otherwise, float *out,
                      struct errinfo *e);
enum err gguf_get_bool(const struct gguf *g, const char *name, bool otherwise, bool *out,
                       struct errinfo *e);
enum err gguf_get_str(const struct gguf *g, const char *name, struct span otherwise,
                      struct span *out, struct errinfo *e);
enum err gguf_need_u32(const struct gguf *g, const char *name, uint32_t *out, struct errinfo *e);
enum err gguf_need_str(const struct gguf *g, const char *name, struct span *out, struct errinfo *e);
/* An array of one kind; *out NULL where the key is missing. */
enum err gguf_get_array(const struct gguf *g, const char *name, enum gguf_kind kind,
                        const struct gguf_array **out, struct errinfo *e);

const char *gguf_kind_name(enum gguf_kind kind);
/* Element i of a numeric array, converted. */
double gguf_array_f64(const struct gguf_array *a, size_t i);
int64_t gguf_array_i64(const struct gguf_array *a, size_t i);

/* The system may drop the pages that lie wholly in [from, from + n) of a tensor's bytes: they were
 * copied elsewhere. */
void gguf_forget(const struct gguf *g, const struct gguf_tensor *t, size_t from, size_t n);

#endif
