/* SPDX-License-Identifier: MIT
 * npu_team.h - one language model on several chips of a kind.
 *
 * Does: deal the model out (plan_share.h), compile and time each chip's share with its exchanges
 *       (npu_link.h), and answer for all of them together.  Chips whose shares are alike are
 *       simulated once.
 * How: chips of a stage go in step, exchange by exchange; where their shares differ, the slowest
 *       one's time is the stage's.  Stages go one after the other: each begins with receiving what
 *       the one before has made.  With g groups of sequences under way, a stage does one group
 *       while the next stage does another: reading takes the sum of all stages' times and g - 1
 *       times the slowest one's more; a round of writing, as each group goes round and round, the
 *       sum or g times the slowest one's, whichever is longer.
 *       The host launches all stages at once: its time counts once.
 * Limits: the clock that the power allows is each chip's own.
 * Owner: the caller, by npu_team_free; chip and model must outlive it. */
#ifndef NPU_NPU_TEAM_H
#define NPU_NPU_TEAM_H

#include "npu/npu_run.h"
#include "plan/plan_share.h"

struct npu_team_ask {
    struct plan_ranks ranks;
    struct npu_mix mix; /* of one group */
    unsigned groups;    /* under way at once, 1 or more */
    bool again;         /* each group goes round and round: writing */
    enum npu_type format, type;
    double (*now)(void); /* as in npu_ask */
};

struct npu_member { /* chips that do the same */
    struct npu_work *work;
    struct npu_answer answer;
};

struct npu_team_stage {
    size_t from, to;  /* layers */
    size_t slowest;   /* member */
    double latency_s; /* the slowest one's, with the host's time; */
    double once_s;    /* without it */
};

struct npu_team {
    struct plan_ranks ranks;
    unsigned groups;
    struct npu_member *member;
    size_t n_members, n_chips;
    size_t *of;                   /* [n_chips]: a chip's member, the first stage's chips first */
    struct npu_team_stage *stage; /* [ranks.pipeline] */
    size_t slowest;               /* stage */
    bool whole_attention;         /* tensor > 1, and each chip of a stage does all heads */
    double weights, memory;       /* bytes: of all chips; the most that one needs */
    /* Of all chips: prog and op_ps are those of the slowest stage. */
    struct npu_answer answer;
};

/* Errors: those of plan_share_new and of npu_compile. */
enum err npu_team_run(struct npu_team **out, const struct model *m, const struct npu_chip *c,
                      const struct npu_team_ask *ask, struct errinfo *e);
void npu_team_free(struct npu_team *t);

/* Whether each chip's memory holds its share: the largest of each stage is compiled. */
enum err npu_team_fits(const struct model *m, const struct npu_chip *c,
                       const struct npu_team_ask *ask, struct errinfo *e);

#endif
