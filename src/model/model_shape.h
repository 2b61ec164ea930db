/* SPDX-License-Identifier: MIT
 * model_shape.h - a model of which only the sizes are known: for plans that nobody computes. */
#ifndef MODEL_MODEL_SHAPE_H
#define MODEL_MODEL_SHAPE_H

#include "model/model.h"

struct model_shape {
    const char *arch; /* of arch.def */
    size_t dim, ff, n_layer, n_head, n_kv_head, head_dim, n_vocab, ctx_trained;
    size_t n_expert, n_chosen, ff_expert, ff_shared; /* 0: there are none */
    size_t n_dense;                                  /* first layers without experts */
    uint32_t window;                                 /* 0: the family's */
    bool tied, qk_norm; /* the output is the embedding; beside what the family says */
};

/* Every matrix has rows, columns and no tensor; every vector is zero.  Freed by model_close.
 * Errors: UNSUPPORTED (the family, with the list), CORRUPT (a size out of range, named). */
enum err model_from_shape(struct model **out, const struct model_shape *s, const char *what,
                          struct errinfo *e);

#endif
