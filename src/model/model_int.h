/* SPDX-License-Identifier: MIT
 * model_int.h - what the files of this module share; nobody else includes it. */
#ifndef MODEL_MODEL_INT_H
#define MODEL_MODEL_INT_H

#include "model/model.h"

const char *model_key(struct model *m, const char *name);

/* NULL: no row of arch.def has the name. */
const struct model_arch *model_arch_find(struct span name);

/* Binds all tensors (model_bind.c).  *rope_factors: [n_rot / 2] or NULL. */
enum err model_bind(struct model *m, const float **rope_factors, struct errinfo *e);

#endif
