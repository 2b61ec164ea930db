/* SPDX-License-Identifier: MIT
 * model_int.h - what the files of this module share; nobody else includes it. */
#ifndef MODEL_MODEL_INT_H
#define MODEL_MODEL_INT_H

#include "model/model.h"

const char *model_key(struct model *m, const char *name);

/* NULL: no row of arch.def has the name. */
const struct model_arch *model_arch_find(struct span name);

/* By what each pair's frequency is divided: [n_rot / 2] or NULL.  near and far are longrope's, for
 * contexts within what the model was first trained for and beyond. */
struct model_factors {
    const float *all, *near, *far;
};

/* The epsilon of norms for which the models' code has a number of its own, and files no key. */
#define MODEL_OWN_EPS 1e-6f

const float *model_ones(struct model *m, size_t n);

/* A whole number from 1 to hi, which the file has to have. */
enum err model_need_size(struct model *m, const char *key, uint32_t hi, size_t *out,
                         struct errinfo *e);

/* A number that a key gives for all layers or each; `otherwise` where there is none. */
size_t model_layer_size(struct model *m, const char *name, size_t layer, size_t otherwise);

/* ---- binding tensors (model_bind.c); layer -1: none ---- */

struct binder {
    struct model *m;
    bool *used; /* [n_tensors] of the file */
    struct errinfo *e;
};

/* "blk.3.NAME.weight"; end NULL: "blk.3.NAME". */
const char *model_bind_name(struct binder *b, int layer, const char *name, const char *end);
bool model_bind_there(struct binder *b, int layer, const char *name);
/* Marks a tensor as used; NULL where the file has none of that name. */
const struct gguf_tensor *model_bind_take(struct binder *b, const char *full);
/* Refuses a file with a tensor that was not used. */
enum err model_bind_all_used(struct binder *b);
/* Rows [from, from + rows) of a matrix of `all`. */
enum err model_bind_rows(struct binder *b, int layer, const char *name, size_t from, size_t rows,
                         size_t all, size_t cols, struct model_matrix *out);
/* A matrix whose rows are looked up. */
enum err model_bind_table(struct binder *b, const char *name, size_t rows, size_t cols,
                          struct model_matrix *out);
/* A matrix and the bias that may go with it. */
enum err model_bind_linear(struct binder *b, int layer, const char *name, size_t rows, size_t cols,
                           struct model_matrix *out, const float **bias);
enum err model_bind_vector(struct binder *b, const char *full, size_t n, bool optional,
                           const float **out);
/* The bias of n rows of a matrix, whose results are scaled with it. */
const float *model_bind_unscaled(struct binder *b, const struct model_matrix *w, const float *bias,
                                 size_t n);
enum err model_bind_norm(struct binder *b, int layer, const char *name, size_t n, size_t groups,
                         struct model_norm *out);

/* The layer's mixer, if it has one (model_mixer.c). */
enum err model_read_mixer(struct model *m, struct errinfo *e);
enum err model_bind_mixer(struct binder *b, int layer, struct model_mixer *out);
/* RWKV's mixer, and its feed-forward block with the norm before it (model_wkv.c). */
bool model_has_wkv(struct binder *b, int layer);
enum err model_bind_wkv(struct binder *b, int layer, struct model_mixer *out);
enum err model_bind_channels(struct binder *b, int layer, struct model_layer *out);

/* What chooses the positions that a layer sees (model_indexer.c): keys, then a layer's tensors. */
enum err model_read_indexer(struct model *m, struct errinfo *e);
enum err model_bind_indexer(struct binder *b, int layer, struct model_indexer *out);

/* What encoders have beside their layers (model_encoder.c): keys, then tensors. */
enum err model_read_encoder(struct model *m, struct errinfo *e);
enum err model_bind_encoder(struct binder *b);
/* Several residual streams, if the model has them (model_streams.c). */
enum err model_read_streams(struct model *m, struct errinfo *e);
enum err model_bind_streams(struct binder *b, int layer, struct model_streams *out);
enum err model_bind_stream_ends(struct binder *b);

/* Binds all tensors (model_bind.c). */
enum err model_bind(struct model *m, struct model_factors *factors, struct errinfo *e);

/* The rotation's angles with the file's scaling (model_rope.c). */
enum err model_read_angles(struct model *m, const struct model_factors *factors, struct errinfo *e);

#endif
