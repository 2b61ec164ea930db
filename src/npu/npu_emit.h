/* SPDX-License-Identifier: MIT
 * npu_emit.h - from a cut operation to commands.  Within this module. */
#ifndef NPU_NPU_EMIT_H
#define NPU_NPU_EMIT_H

#include "npu/npu_tile.h"

/* Lists that grow, one a core and queue; freed by npu_emit_done. */
struct npu_stream {
    struct npu_cmd *cmds;
    uint32_t n, cap;
};

struct npu_emit {
    const struct npu_chip *chip;
    const struct npu_work *work;
    const struct npu_op *op;
    struct npu_where at;
    unsigned cores, instances;
    struct npu_stream *streams; /* [cores * NPU_N_QUEUES] */
    uint32_t n_keys, working;
    uint64_t half; /* bytes that the buffers use */
    unsigned beside;
    bool launched; /* operations are launched one by one */
};

void npu_emit_init(struct npu_emit *e, const struct npu_chip *c, const struct npu_work *w,
                   unsigned cores, unsigned instances);
void npu_emit_done(struct npu_emit *e);

/* Each makes the commands of one operation.  t is the cut of a product.  Where they give true,
 * parts of the results are still to be added: by npu_emit_sum, as a step of its own. */
bool npu_emit_matmul(struct npu_emit *e, const struct npu_op *op, const struct npu_where *at,
                     const struct npu_tiling *t);
bool npu_emit_attend(struct npu_emit *e, const struct npu_op *op, const struct npu_where *at,
                     uint64_t *parts);
void npu_emit_vector(struct npu_emit *e, const struct npu_op *op, const struct npu_where *at);
void npu_emit_exchange(struct npu_emit *e, const struct npu_op *op, const struct npu_where *at);
void npu_emit_sum(struct npu_emit *e, const struct npu_op *op, const struct npu_where *at,
                  uint64_t parts);
/* What was made, in the arena, and the lists are empty again. */
struct npu_segment *npu_emit_take(struct npu_emit *e, struct arena *a);

/* Used by the makers. */
struct npu_cmd *npu_emit_cmd(struct npu_emit *e, unsigned core, enum npu_cmd_kind kind);
void npu_emit_begin(struct npu_emit *e, const struct npu_op *op, const struct npu_where *at);
/* Makes the core's load queue await the step before, if it does not yet; the command. */
struct npu_cmd *npu_emit_await(struct npu_emit *e, unsigned core);
void npu_emit_end(struct npu_emit *e);

#endif
