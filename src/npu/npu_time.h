/* SPDX-License-Identifier: MIT
 * npu_time.h - when a program's commands happen.
 *
 * Does: run the queues of all cores of all instances, command by command, against what they share:
 *       semaphores, links, the network, channels and banks of memory.  Whole picoseconds, and the
 *       same result each time: commands that could go at once go in order of their queue's number.
 * Does not: compute, or know what a benchmark is.
 * Of each core's time, every picosecond has one cause: what its matrix unit did or waited for. */
#ifndef NPU_NPU_TIME_H
#define NPU_NPU_TIME_H

#include "npu/npu_prog.h"

/* CAUSE(name, key, text) */
#define NPU_CAUSES(CAUSE)                                                                          \
    CAUSE(USEFUL, "useful", "products at the unit's peak")                                         \
    CAUSE(EDGES, "edges", "parts of the array that had nothing to do, loads and drains of it")     \
    CAUSE(SUSTAINED, "sustained", "the unit's rate below its peak (clock.sustained)")              \
    CAUSE(DRAM, "dram", "waiting for memory")                                                      \
    CAUSE(NETWORK, "network", "waiting for shared memory, other cores or the link")                \
    CAUSE(VECTOR_UNIT, "vector", "waiting for the vector unit")                                    \
    CAUSE(ORDER, "order", "waiting for other cores to be through with the operation before")       \
    CAUSE(LINKS, "links", "exchanges with the other chips of the model")                           \
    CAUSE(STAGES, "stages", "waiting for the stages of other chips")                               \
    CAUSE(LAUNCH, "launch", "between operations, which are launched one by one")                   \
    CAUSE(IDLE, "idle", "nothing to do: too few tiles, or the end")

enum npu_cause {
#define CAUSE(name, key, text) NPU_BY_##name,
    NPU_CAUSES(CAUSE)
#undef CAUSE
        NPU_N_CAUSES
};

struct npu_counts { /* of all instances and rounds */
    double macs, vector_passes, shared_bytes, here_bytes, dram_bytes, activations, link_bytes;
    uint64_t commands;
};

struct npu_timing_of {          /* of a run */
    uint64_t ps;                /* from the start to the end of all */
    uint64_t round_ps;          /* a round's, once the rounds follow each other */
    double share[NPU_N_CAUSES]; /* of the time of all cores used: adds up to 1 */
    uint64_t *op_ps; /* [work's n_ops]: what each adds, of the last round of instance 0 */
    struct npu_counts counts;
};

/* What a matrix unit waits for until an operation is through: that of the vector unit, or the order
 * of operations. */
static inline enum npu_cause npu_op_waits(const struct npu_op *op)
{
    bool vector = op && op->kind != NPU_MATMUL && op->kind != NPU_ATTEND &&
                  op->kind != NPU_EXCHANGE;
    return vector ? NPU_BY_VECTOR_UNIT : NPU_BY_ORDER;
}

/* Called for each command; from and to in ps. */
typedef void npu_watch(void *arg, unsigned core, enum npu_queue queue, const struct npu_cmd *c,
                       uint32_t op, uint64_t from, uint64_t to);

/* Runs the program on `instances` sets of cores at once, `rounds` times without a pause; the last
 * of them is what round_ps is of.  t->op_ps: the caller's, with room for all operations, or NULL.
 */
void npu_time(struct npu_timing_of *t, const struct npu_prog *p, unsigned instances,
              unsigned rounds, npu_watch *watch, void *arg);

const char *npu_cause_key(enum npu_cause c);
const char *npu_cause_text(enum npu_cause c);

#endif
