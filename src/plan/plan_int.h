/* SPDX-License-Identifier: MIT
 * plan_int.h - what the files of this module share; nobody else includes it. */
#ifndef PLAN_PLAN_INT_H
#define PLAN_PLAN_INT_H

#include "plan/plan.h"

/* The operations of layers [from, to), with what is before the first layer and behind the last one
 * where they are among them; buffers have no places yet. */
struct plan *plan_of_layers(const struct model *m, size_t from, size_t to);
void plan_place(struct plan *p);

#endif
