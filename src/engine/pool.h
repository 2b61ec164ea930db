/* SPDX-License-Identifier: MIT
 * pool.h - what a model's file has behind the pooled state of a text.
 *
 * Does: the layers of floats that turn a state into the vector (EmbeddingGemma), and the head that
 *       turns one into a score (rerankers).
 * Does not: pool, normalise, or know tokens. */
#ifndef ENGINE_POOL_H
#define ENGINE_POOL_H

#include "model/model.h"

/* v[dim] through m's own layers, in place; as it is where there are none. */
void pool_dense(const struct model *m, float *v);

/* What m's head, which is there, makes of x[dim]: its one number or, of yes and no, the natural
 * logarithm of yes's odds; 1 / (1 + e^-x) is a score within 0 and 1 in both cases. */
float pool_score(const struct model *m, const float *x);

#endif
