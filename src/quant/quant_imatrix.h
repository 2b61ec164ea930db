/* SPDX-License-Identifier: MIT
 * quant_imatrix.h - importance matrices: for the columns of each matrix the mean square of what
 * they were multiplied by, in the GGUF layout of llama.cpp's imatrix program.
 *
 * Layout: key general.type "imatrix"; imatrix.datasets (texts), imatrix.chunk_count,
 * imatrix.chunk_size; for the matrix NAME the tensors NAME.in_sum2 f32 [columns, experts], sums of
 * squares, and NAME.counts f32 [1, experts], how many rows they are of. */
#ifndef QUANT_QUANT_IMATRIX_H
#define QUANT_QUANT_IMATRIX_H

#include "base/arena.h"
#include "gguf/gguf.h"

struct quant_imatrix {
    struct gguf *gguf;
    uint32_t n_chunks;
    struct span dataset; /* the first; empty where there is none */
};

/* Errors: those of gguf_open; UNSUPPORTED where the file is another kind of GGUF. */
enum err quant_imatrix_open(struct quant_imatrix *im, const char *path, struct errinfo *e);
void quant_imatrix_close(struct quant_imatrix *im);

/* How many matrices it has. */
size_t quant_imatrix_n(const struct quant_imatrix *im);
/* The means of a tensor's columns, [experts][columns] in the arena; NULL where it has none of the
 * tensor.  An expert that was never used counts all columns alike.
 * Errors: UNSUPPORTED where the sizes are not the tensor's. */
enum err quant_imatrix_of(const struct quant_imatrix *im, const struct gguf_tensor *t,
                          struct arena *a, const float **out, struct errinfo *e);

/* ---- making one ---- */

struct quant_collect;

struct quant_collect *quant_collect_new(void);
void quant_collect_free(struct quant_collect *c);
/* n_rows rows of what expert `expert` of n_experts of the matrix is multiplied by. */
void quant_collect_add(struct quant_collect *c, struct span matrix, size_t cols, size_t n_experts,
                       size_t expert, const float *x, size_t stride, size_t n_rows);
/* How many matrices there are so far. */
size_t quant_collect_n(const struct quant_collect *c);
/* Errors: those of gguf_write.h. */
enum err quant_collect_write(const struct quant_collect *c, const char *path, struct span dataset,
                             uint32_t n_chunks, uint32_t chunk_size, struct errinfo *e);

#endif
