/* SPDX-License-Identifier: MIT
 * quant_file.h - a GGUF model with its matrices in another format.
 *
 * Does: decide for each tensor whether it is a matrix that products are taken with and which format
 *       it gets, quantise by all threads, and write the file as it goes: metadata kept,
 *       general.file_type set, a few MiB of rows in memory at a time.  The file appears whole or
 *       not at all.
 * Does not: quantise what is quantised already unless told to; change a tensor's shape or name.
 * Errors: USAGE (a name that is none), UNSUPPORTED (a tensor in a format that cannot be read, a
 *         source that is quantised, an importance matrix of another model), IO, CORRUPT. */
#ifndef QUANT_QUANT_FILE_H
#define QUANT_QUANT_FILE_H

#include "base/err.h"
#include "gguf/gguf.h"
#include "kern/format.h"

#include <stdbool.h>

/* "Q4_0, Q4_1, ..." */
const char *quant_names(void);
/* The format of a name, upper or lower case; -1 for none that can be made. */
int quant_named(const char *name);

struct quant_opts {
    enum format type;
    int output, embed; /* formats; -1: by the type's row */
    const char **keep; /* patterns of names (* and ?) of tensors that stay as they are */
    size_t n_keep;
    const char *imatrix; /* a file of damso imatrix or llama-imatrix, or NULL */
    bool allow_requantize;
    int n_threads;
    /* After each tensor; false stops with CANCELLED. */
    bool (*progress)(void *arg, const struct gguf_tensor *t, enum format from, enum format to,
                     size_t done, size_t n);
    void *arg;
};

struct quant_result {
    uint64_t bytes_in, bytes_out, matrix_elems, matrix_bytes;
    size_t n_made, n_kept, n_fallback, n_without_importance;
};

enum err quant_file(const char *in, const char *out, const struct quant_opts *o,
                    struct quant_result *result, struct errinfo *e);

#endif
