/* SPDX-License-Identifier: MIT
 * plan.h - a model as a list of operations: the contract between models and devices.
 *
 * Does: turn the model's row of choices into operations over buffers, in order; give each buffer
 *       a place by its lifetime; print it all.  Shapes depend on a step only through its rows.
 * Does not: compute, pack, or know devices.
 * Owner: the caller; the model must outlive the plan.  Read-only: any thread may read. */
#ifndef PLAN_PLAN_H
#define PLAN_PLAN_H

#include "base/str.h"
#include "model/model.h"
#include "model/model_lora.h"

#define PLAN_PARTS_MAX 4
#define PLAN_IN_MAX    5

enum plan_kind {
#define OP(kind, name, text) PLAN_##kind,
#include "plan/plan_op.def"
#undef OP
    PLAN_KIND_N
};

/* The buffers of a plan: float [rows][width] each. */
enum plan_buf {
    PLAN_X,      /* the residual stream */
    PLAN_NORMED, /* what a block reads, and what it gives before a second norm */
    PLAN_Q,
    PLAN_K,
    PLAN_V,
    PLAN_MIX, /* attention's output */
    PLAN_GATE,
    PLAN_UP,
    PLAN_Q_LOW, /* of latent queries; the heads before they meet the small space */
    PLAN_Q_HEADS,
    PLAN_INDEX_Q, /* of what chooses positions */
    PLAN_INDEX_K,
    PLAN_INDEX_WEIGHTS,
    PLAN_KV_LOW, /* of latent keys and values that heads keep whole; what heads make of it */
    PLAN_KV_HEADS,
    PLAN_VALUES,       /* of latent values: of each head, out of what it mixed */
    PLAN_DELTA,        /* a block's output where it is not added at once */
    PLAN_SCORES,       /* of experts */
    PLAN_EXPERTS_IN,   /* what they read where it is not what the block reads */
    PLAN_SHARE,        /* one number: how much the shared expert counts */
    PLAN_SHARED,       /* the shared expert's output where it does not count whole */
    PLAN_Q_GATE,       /* of what each head mixes */
    PLAN_INPUTS,       /* a token's own embeddings for all layers: alive throughout */
    PLAN_INPUTS_EMBED, /* before they meet what the stream says of them */
    PLAN_INPUT,        /* those for one layer */
    PLAN_STREAMS,      /* all residual streams: alive throughout */
    PLAN_MODES,        /* what the streams' weights are made of, and these */
    PLAN_COEFS,
    PLAN_LAUREL,
    /* Of mixers (model.h): */
    PLAN_CONV_IN,
    PLAN_CONV_OUT,
    PLAN_Z, /* the gate of the result */
    PLAN_Z_LOW,
    PLAN_STATE_B, /* what a state is written with, and read with; or the gates of CONV */
    PLAN_STATE_C,
    PLAN_STEPS_LOW,
    PLAN_STEPS, /* sizes of steps, before they are made positive */
    PLAN_BETA,
    PLAN_Y,
    PLAN_SHIFTED, /* the row before, less the row */
    PLAN_LERPED,  /* the row on its way to that */
    PLAN_LERP_BY, /* what the numbers for it grow by, of all that read it */
    PLAN_LOW,     /* of low-rank products */
    PLAN_STATE_R,
    PLAN_STATE_K,
    PLAN_STATE_V,
    PLAN_V_SHARE,   /* how much of the first layer's values counts */
    PLAN_V_FIRST,   /* these: alive throughout */
    PLAN_SCALED,    /* of a matrix that has a scale, and whose result is added to something */
    PLAN_SPREAD_IN, /* spread, and so is what follows: */
    PLAN_SPREAD_GATE,
    PLAN_SPREAD_UP,
    PLAN_SPREAD_OUT,
    /* Of the rows that were picked in the last layer: */
    PLAN_PICKED,     /* the residual stream, in the end normed */
    PLAN_PICKED_MIX, /* attention's output */
    PLAN_PICKED_Y,   /* a mixer's */
    PLAN_PATCHES,    /* of a picture */
    PLAN_SOFT,       /* a picture's rows for the language model */
    PLAN_PICKED_INPUT,
    PLAN_LOGITS,
    PLAN_BUF_N
};

struct plan_part {
    const struct model_matrix *weight; /* EXPERTS: of all experts, one behind the other */
    const float *bias;                 /* [weight->rows] or NULL */
    enum plan_buf dst;
    size_t at; /* MATMUL: where the result begins in dst's row */
};

/* Which rows of a step an operation has to do with. */
enum plan_rows {
    PLAN_ROWS_ALL,
    PLAN_ROWS_WANTED, /* those that something is wanted of: first those whose logits are */
    PLAN_ROWS_OUT     /* those whose logits are wanted */
};

/* Numbers of a row beside those of src: those of a buffer from `at` on. */
struct plan_in {
    enum plan_buf buf;
    size_t at;
};

struct plan_op {
    enum plan_kind kind;
    enum plan_rows rows;
    int layer; /* -1: none */
    enum plan_buf dst, src, src2;
    bool spread; /* GLU: its rows are spread; SPREAD, EXPERTS and COMBINE always are */
    /* by kind: */
    struct plan_part part[PLAN_PARTS_MAX]; /* MATMUL, EXPERTS; they share src and its width */
    int n_parts;
    bool add;                         /* MATMUL: dst += */
    const struct model_matrix *table; /* EMBED: or NULL; POSITION */
    size_t grid, square;              /* POOL: rows are grid x grid */
    const struct model_norm *norm;    /* NORM */
    size_t n; /* NORM: a group's width; EMBED, POOL, GLU, MUL, ADD, TYPE, SCALE, CLAMP, WEIGH,
               * SPREAD, COMBINE, SHIFT, LERP, BLEND, SIGMOID: the row's; ROUTE: the experts; INDEX,
               * ATTEND: the most positions that are seen, 0: all; ROPE: heads of k */
    size_t n_groups; /* NORM, HEADS; GATHER: ranks; SEND, RECEIVE: those of all stages; ROPE: heads
                      * of q; ADD: parts of dst that src is added to; 0: the row */
    /* HEADS, COPY, ROPE: where a group begins in its row, and from one to the next. */
    struct plan_groups {
        size_t at, stride;
    } to, from; /* ROPE: of q, and of k */
    size_t at;  /* ATTEND: where the result begins in dst's row; GLU: its sources, too */
    /* GATHER: rank t of a stage has numbers [bounds[t], bounds[t + 1]) of a row; to the first rank
     * alone, or to all. */
    const size_t *bounds; /* spread: in experts, whose slots' rows are gathered whole */
    bool to_first;
    size_t expert,
        n_experts;      /* EXPERTS, and GLU of spread rows: the first that is here, how many */
    bool alone;         /* GLU, ROPE: there is no src2; no k */
    size_t src2_at;     /* GLU: where src2 begins in its row, beyond `at` */
    enum model_act act; /* GLU */
    bool sigmoid;       /* MUL: by the sigmoid of src */
    /* CONV, SCAN, DELTARULE, WKV: the block's numbers.  And of SHIFT: where the state begins in a
     * sequence's. */
    const struct model_mixer *mixer;
    size_t state;
    struct plan_in in[PLAN_IN_MAX]; /* SCAN: x, steps, b, c; DELTARULE: q, k, v, steps, beta;
                                     * WKV: r, steps, k, v, of RWKV 7 the rate; LERP */
    int n_in;
    /* GLU: the activation's own; CORRECT, LERP: [n]; TYPE: [the model's n_types][n]; SCALE, spread:
     * an expert's */
    const float *numbers;
    float by;  /* EMBED, ADD, SCALE: factor; NORM: epsilon; ATTEND: scale; CLAMP, SOFTCAP: cap */
    float cap; /* ATTEND: of the scores; 0: none */
    size_t grow_from;                  /* ATTEND: see struct model */
    uint32_t window;                   /* ATTEND: 0: none */
    const float *sinks;                /* ATTEND: [n_head] or NULL */
    const float *bias;                 /* ROUTE: [n] or NULL, for the choice alone */
    const struct model_angles *angles; /* ROPE */
    enum model_rope turn;              /* ROPE */
};

struct plan {
    const struct model *model;
    struct plan_op *ops;
    size_t n_ops;
    enum plan_buf hidden;     /* what is given where a hidden state is wanted */
    size_t width[PLAN_BUF_N]; /* floats a row; 0: not used */
    /* Place of each buffer in a row of the work area, in floats; buffers whose lives do not meet
     * share a place.  Row r of buffer b of a step of n rows begins at place[b] * n + width[b] * r;
     * spread row j of it at place[b] * n + width[b] / n_chosen * j. */
    size_t place[PLAN_BUF_N];
    size_t row_floats;   /* of the work area, without the logits, which are the device's result */
    size_t state_floats; /* of a sequence beside its pages; 0: the model has no such state */
    struct arena own;    /* of a share: its view of the model (plan_share.h) */
};

/* Builds the plan in the model's own lifetime: freed by plan_free. */
struct plan *plan_new(const struct model *m);
void plan_free(struct plan *p);

/* Does a row's result need the same row alone?  Devices may then go on to the next such operation
 * row by row, while others are behind: a buffer's place is not another's until all have gone on. */
bool plan_by_rows(const struct plan_op *op);

/* One line an operation. */
void plan_print(const struct plan *p, struct str *out);
const char *plan_kind_name(enum plan_kind k);
const char *plan_buf_name(enum plan_buf b);

/* The rows of a MATMUL's, EXPERTS' or HEADS' weight that one result has. */
static inline size_t plan_part_rows(const struct plan_op *op, int part)
{
    size_t rows = op->part[part].weight->rows;
    return op->kind == PLAN_EXPERTS ? rows / op->n_experts
           : op->kind == PLAN_HEADS ? rows / op->n_groups
                                    : rows;
}

#endif
