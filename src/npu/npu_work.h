/* SPDX-License-Identifier: MIT
 * npu_work.h - what a chip has to do: operations with shapes, without weights.
 *
 * Does: make the operations of the benchmarks' networks, and those of a language model's plan for
 *       so many sequences and positions.
 * Does not: know chips.  Shapes are all: no weight is needed.
 * Owner: the caller, by npu_work_free.  Read-only once made. */
#ifndef NPU_NPU_WORK_H
#define NPU_NPU_WORK_H

#include "base/arena.h"
#include "base/err.h"
#include "npu/npu_chip.h"
#include "plan/plan.h"

enum npu_op_kind {
    NPU_MATMUL,    /* dst [m][n] = in [m][k] x weights [k][n]; a convolution's m are its pixels */
    NPU_DEPTHWISE, /* m pixels of n channels, k taps */
    NPU_ATTEND,    /* softmax(q x keys) x values */
    NPU_VECTOR,    /* `passes` over m x n results, each of `reads` values */
    NPU_GATHER,    /* m rows of n values out of memory: an embedding */
    NPU_STORE,     /* m rows of n values to memory: keys and values */
    NPU_EXCHANGE,  /* m rows of n values with the other chips of the model, k in all */
    NPU_N_OP_KINDS
};

/* What an exchange does with the parts that its chips have. */
enum npu_exchange {
    NPU_ALL_GATHER, /* each gets all of them side by side */
    NPU_ALL_REDUCE, /* each gets their sum */
    NPU_SEND        /* from a chip of the stage before to this one */
};

struct npu_op {
    enum npu_op_kind kind;
    const char *name; /* of the layer or the operation; not unique */
    int layer;        /* -1: none */
    uint64_t m, k, n;
    double unique;    /* MATMUL: different input values, as a share of m * k */
    double passes;    /* of the vector unit over the results, also behind a product */
    double reads;     /* VECTOR: values read for each result */
    int in, in2, out; /* tensors; -1: none.  in2: a residual that is added */
    int weights_of;   /* the operation whose weights these are, which came before; -1: its own */
    /* ATTEND: sequences, rows (queries) of each, positions seen by the last row, heads */
    uint64_t n_seq, rows, context, heads, kv_heads, dim;
    enum npu_exchange how; /* EXCHANGE */
};

struct npu_tensor {
    uint64_t values;
    int last; /* the last operation that reads it */
};

struct npu_work {
    struct arena arena;
    const char *name;
    enum npu_type type; /* of the products */
    double weight_bits; /* with scales */
    unsigned act_bytes, kv_bytes;
    uint64_t batch;             /* inputs, or sequences */
    uint64_t tokens;            /* that a run gives: sequences of a language model; 0: none */
    uint64_t host_in, host_out; /* bytes between host and chip */
    bool streamed;              /* nothing of it is on the chip before, or stays there */
    struct npu_op *ops;
    size_t n_ops, cap_ops;
    struct npu_tensor *tensors;
    size_t n_tensors, cap_tensors;
    double macs;          /* of products */
    double weight_values; /* of all operations */
    double table_values;  /* of embeddings, which lie in memory beside them */
    double kv_values;     /* of all sequences: what must lie in memory */
};

/* "resnet50", "mobilenet", "ssd-mobilenet", "ssd-resnet34", "bert-large-384", or NULL behind them.
 */
const char *npu_work_name(size_t i);
bool npu_work_known(const char *name);
/* One of those for `batch` inputs in `type`. */
struct npu_work *npu_work_bench(const char *name, uint64_t batch, enum npu_type type);
/* A language model: `batch` sequences, each with `rows` new positions behind `past` old ones.
 * format: of the weights; what products are made in then depends on the chip (npu_work_types). */
struct npu_work *npu_work_plan(const struct plan *p, uint64_t batch, uint64_t rows, uint64_t past,
                               enum npu_type format, enum npu_type type);

#define NPU_GROUPS 2

/* What a step of a server does at once: sequences alike in new positions and old ones. */
struct npu_mix {
    struct npu_group {
        uint64_t n_seq, rows, past; /* 0 sequences: there is no such group */
    } group[NPU_GROUPS];
    uint64_t wanted, out; /* rows whose hidden states, and of those whose logits, are wanted */
    /* Of a share of a plan: two gathers around a product become a product with a part of each row
     * of the weights, and the sum of the parts.  Faster, and not the bits of one chip. */
    bool reduce;
};

/* The same for such a step: products are of all rows together, attention is group by group. */
struct npu_work *npu_work_mix(const struct plan *p, const struct npu_mix *mix, enum npu_type format,
                              enum npu_type type);
/* The same work, its first `n` operations done in `slices` parts of the batch, one after the other:
 * what they hand on is then small enough to stay on a chip.  Behind them one tensor alone may be
 * read. */
struct npu_work *npu_work_slice(const struct npu_work *w, size_t n, unsigned slices);
bool npu_work_cuts(const struct npu_work *w, size_t n);
void npu_work_free(struct npu_work *w);

/* What a chip computes a model of this weight format in: the format itself; int4 weights in 16-bit
 * floats, or in int8 where there are none.  UNSUPPORTED names what the chip can. */
enum err npu_work_type(const struct npu_chip *c, enum npu_type format, enum npu_type *out,
                       struct errinfo *e);

/* Operations of one shape, which a chip does alike wherever their data is. */
bool npu_op_alike(const struct npu_op *a, const struct npu_op *b);
/* One product of m x k with k x n numbers. */
struct npu_work *npu_work_product(enum npu_type type, uint64_t m, uint64_t k, uint64_t n);
/* Works that take a chip the same time: all operations alike, and joined alike. */
bool npu_work_alike(const struct npu_work *a, const struct npu_work *b);

/* Used by the makers. */
struct npu_work *npu_work_new(const char *name, uint64_t batch, enum npu_type type);
int npu_work_tensor(struct npu_work *w, uint64_t values);
struct npu_op *npu_work_op(struct npu_work *w, enum npu_op_kind kind, const char *name, int layer,
                           int in, int out);
void npu_work_done(struct npu_work *w);

#endif
