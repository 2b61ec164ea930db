/* SPDX-License-Identifier: MIT
 * plan_share.h - a model's plan for one of several processes that compute it together.
 *
 * Does: deal the layers out to `pipeline` stages, and each matrix of a stage to `tensor` ranks, and
 *       put GATHER, SEND and RECEIVE where a rank needs what others made.
 * Does not: talk to other processes (ranks), or know devices.
 * How: every matrix is dealt out by whole rows, attention by whole heads.  So each number of each
 *       buffer is computed by one rank, as one process alone would compute it, and what is gathered
 *       are results, never parts of sums: the bits are those of one process.  Experts are whole
 *       ones.  (Were every second matrix dealt out by columns, as is usual, ranks would have to add
 *       up sums, an all-reduce, and the bits would depend on how many they are.)
 * Ranks: those of a stage stand together, and the last stage comes first, so that rank 0, which has
 *       the sequences and reads the tokens, has the logits, too.
 * Owner: the caller of plan_share_new, of plan_free; the model must outlive the plan. */
#ifndef PLAN_PLAN_SHARE_H
#define PLAN_PLAN_SHARE_H

#include "base/err.h"
#include "plan/plan.h"

#define PLAN_RANKS_MAX 256

struct plan_ranks {
    size_t tensor;   /* ranks of a stage; 0: the model is not dealt out at all */
    size_t pipeline; /* stages */
};

static inline size_t plan_stage(const struct plan_ranks *of, size_t rank)
{
    return of->pipeline - 1 - rank / of->tensor;
}

/* The last of a stage's, whose share is the largest. */
static inline size_t plan_largest_rank(const struct plan_ranks *of, size_t stage)
{
    return (of->pipeline - stage) * of->tensor - 1;
}

/* What `rank` does; the model is to have its angles (model_use_context).  Errors: UNSUPPORTED: the
 * family, by its name, cannot be dealt out so; USAGE: more stages than layers. */
enum err plan_share_new(struct plan **out, const struct model *m, const struct plan_ranks *of,
                        size_t rank, struct errinfo *e);

#endif
