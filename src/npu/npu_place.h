/* SPDX-License-Identifier: MIT
 * npu_place.h - what stays on the chip.  Within this module.
 *
 * Weights stay as far as they fit beside what activations need at their peak, in the order of their
 * use.  An activation stays from its maker to its last reader if there is room all that time.  A
 * chip whose cores keep data spreads over them, each core with the part that it made; else what
 * stays lies in shared memory. */
#ifndef NPU_NPU_PLACE_H
#define NPU_NPU_PLACE_H

#include "npu/npu_work.h"

struct npu_places {             /* in the arena that npu_place was given */
    bool *on_chip;              /* [n_tensors] */
    bool *pinned;               /* [n_ops]: the operation's weights */
    double peak, weights, kept; /* bytes: activations alive at once; all weights; those that stay */
    double traffic;             /* bytes between chip and memory, each thing once */
};

void npu_place(struct npu_places *p, const struct npu_work *w, const struct npu_chip *c,
               unsigned cores, unsigned instances, struct arena *a);
double npu_op_weights(const struct npu_work *w, const struct npu_op *op); /* bytes */
double npu_tensor_bytes(const struct npu_work *w, int t);

/* The work in the slices that spare the chip most waiting for memory; w itself, where none do, or a
 * new work, which takes w's place and frees it. */
struct npu_work *npu_place_sliced(struct npu_work *w, const struct npu_chip *c, unsigned cores,
                                  unsigned instances);

#endif
