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

const float *model_ones(struct model *m, size_t n);

/* Binds all tensors (model_bind.c). */
enum err model_bind(struct model *m, struct model_factors *factors, struct errinfo *e);

/* The rotation's angles with the file's scaling (model_rope.c). */
enum err model_read_angles(struct model *m, const struct model_factors *factors, struct errinfo *e);

#endif
