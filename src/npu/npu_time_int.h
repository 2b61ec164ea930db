/* SPDX-License-Identifier: MIT
 * npu_time_int.h - the state of a run, which npu_time.c moves on, and which npu_repeat.c and
 * npu_known.c move over what they have seen before. */
#ifndef NPU_NPU_TIME_INT_H
#define NPU_NPU_TIME_INT_H

#include "base/num.h"
#include "npu/npu_array.h"
#include "npu/npu_dram.h"
#include "npu/npu_time.h"

#define NPU_NOBODY UINT32_MAX

/* What a token of the matrix unit stands for. */
struct npu_behind {
    uint64_t end;  /* LOAD: when the last piece is there; the token is given with the first */
    uint64_t work; /* when the work behind it began, and which enum npu_cause it is: 60 + 4 bits */
};

#define NPU_CAUSE_SHIFT 60
#define NPU_FROM_MAX    (((uint64_t)1 << NPU_CAUSE_SHIFT) - 1)
_Static_assert(NPU_N_CAUSES <= 16, "a cause has 4 bits of a token's word");
#define NPU_MATRIX_SEMS 5 /* that the matrix unit takes */

/* Later than NPU_FROM_MAX, 13 days, is then: a time never becomes another cause. */
static inline uint64_t npu_token_work(uint64_t from, enum npu_cause cause)
{
    return MIN(from, NPU_FROM_MAX) | (uint64_t)cause << NPU_CAUSE_SHIFT;
}

static inline uint64_t npu_token_from(const struct npu_behind *t)
{
    return t->work & NPU_FROM_MAX;
}

static inline enum npu_cause npu_token_cause(const struct npu_behind *t)
{
    return (enum npu_cause)(t->work >> NPU_CAUSE_SHIFT);
}

/* A core's semaphores of one half, each a bit. */
struct npu_tokens {
    uint16_t has, two;                                     /* one token or more; two */
    uint16_t head;                                         /* the slot of the first */
    uint16_t wanted;                                       /* its queue sleeps until one comes */
    uint64_t at[NPU_N_SEMS][NPU_TOKENS];                   /* when it was given */
    struct npu_behind behind[NPU_MATRIX_SEMS][NPU_TOKENS]; /* [npu_matrix_sem] */
};
_Static_assert(NPU_N_SEMS <= 16 && NPU_TOKENS == 2, "a semaphore is a bit, a slot is 0 or 1");

struct npu_queue_state {
    const struct npu_cmd *cmd, *behind; /* the next, NULL: none; where the step's end */
    const struct npu_step *in;          /* the step */
    struct npu_tokens *tokens;          /* of its half */
    uint64_t ready;
    uint32_t step;          /* of all rounds' */
    uint32_t sleeps_behind; /* the next in the same list */
};

struct npu_core {
    _Alignas(64) struct npu_queue_state queue[NPU_N_QUEUES];
    struct npu_tokens half[2];
    uint64_t in_free, out_free; /* the link, both ways */
    uint64_t worked_until;      /* the matrix unit */
    uint64_t stored_until;      /* the last store */
    struct npu_gate *gates;     /* [steps of all rounds], its instance's */
    struct npu_gate *keys;      /* [2][n_keys], its instance's */
    uint32_t number;            /* of all instances' */
    uint32_t first_queue;       /* of all of its instance's */
};

struct npu_gate { /* a step's end, or a shared tile's arrival */
    uint64_t at;
    uint32_t through; /* cores, of a step */
    uint32_t stamp, sleepers;
    bool open;
};

struct npu_wait { /* of a queue whose next command uses what all share */
    uint64_t q, at;
};

/* What a tile of some size takes; ps and numbers of events. */
struct npu_tile_time {
    uint32_t m, k, n;
    uint16_t full_m, full_n;
    unsigned beside;
    uint64_t busy, tail;
    double useful, slower, macs, here_bytes;
};

#define NPU_TILE_TIMES 16

/* What has been counted up to some time. */
struct npu_sums {
    uint64_t at;
    double cause[NPU_N_CAUSES];
    struct npu_counts counts;
    uint64_t n_act;
};

struct npu_seen { /* the state at the end of a step */
    uint64_t hash;
    uint32_t step; /* + 1; 0: none */
    struct npu_sums sums;
    uint64_t n_act; /* in the period before it */
    bool again;     /* it was as a period before it */
};

/* Steps that come again and again, alike: [from, from + period * times). */
struct npu_repeat {
    uint32_t from, period, times;
    uint32_t stride;       /* each so many steps the state is looked at */
    struct npu_seen *seen; /* [period / stride + 1]: a period ago */
};

struct npu_known_step; /* npu_known.c */

struct npu_known {
    bool use;   /* operations are launched one by one */
    bool clean; /* the last step's end left nothing to come */
    struct npu_sums sums;
    struct npu_known_step *steps;
    size_t n, cap;
};

struct npu_sim {
    struct arena arena; /* of all lists but what is known and seen */
    const struct npu_prog *p;
    const struct npu_chip *chip;
    struct npu_timing_of *out;
    struct npu_core *cores;
    struct npu_gate *gates; /* [instances][steps of all rounds] */
    struct npu_gate *keys;  /* [instances][2][n_keys] */
    size_t n_keys, n_steps;
    struct npu_wait *wait; /* sorted, [wait_from, wait_to) */
    size_t wait_from, wait_to, wait_cap;
    uint32_t *todo; /* queues that may go on by themselves */
    size_t n_todo;
    unsigned n_cores; /* of all instances */
    struct npu_mem *mem;
    uint64_t net_free;
    double cycle, link, net;   /* ps a cycle, ps a byte */
    double launch;             /* ps */
    double peak;               /* multiply-adds a cycle of a core's matrix units */
    double lanes;              /* of a core's vector unit */
    uint8_t taker[NPU_N_SEMS]; /* npu_taker_of */
    bool multicast;
    uint64_t latency, issue;
    uint64_t link_from; /* when the last exchange began */
    double cause[NPU_N_CAUSES];
    struct npu_repeat repeat;
    struct npu_known known;
    uint32_t through; /* + 1: the step of instance 0 that has just ended */
    struct npu_tile_time tile[NPU_TILE_TIMES];
    npu_watch *watch;
    void *arg;
};

/* A token of the semaphore's, the first or the one behind it. */
static inline unsigned npu_slot(const struct npu_tokens *t, unsigned sem, unsigned i)
{
    return (t->head >> sem & 1u) ^ i;
}

/* Of those that the matrix unit takes; else NPU_MATRIX_SEMS. */
static inline unsigned npu_matrix_sem(unsigned sem)
{
    enum { NONE = NPU_MATRIX_SEMS };
    static const uint8_t index[NPU_N_SEMS] = {
        [NPU_NO_SEM] = NONE, [NPU_W_FREE] = NONE, [NPU_A_FREE] = NONE, [NPU_R_FREE] = NONE,
        [NPU_PLACE] = NONE,  [NPU_W_FULL] = 0,    [NPU_A_FULL] = 1,    [NPU_R_FULL] = NONE,
        [NPU_O_FREE] = 2,    [NPU_T_FREE] = 3,    [NPU_O_FULL] = NONE, [NPU_P_FULL] = 4,
        [NPU_V_FREE] = NONE, [NPU_S_FULL] = NONE, [NPU_HALF] = NONE};
    return index[sem];
}

/* Queue q of all cores', of which each has NPU_N_QUEUES. */
static inline struct npu_queue_state *npu_queue(const struct npu_sim *s, uint32_t q)
{
    return &s->cores[q / NPU_N_QUEUES].queue[q % NPU_N_QUEUES];
}

/* Whether any queue waits for what all share; the first of them has the earliest time. */
static inline bool npu_any_waits(const struct npu_sim *s)
{
    return s->wait_from < s->wait_to;
}

/* A step of all rounds'. */
static inline const struct npu_step *npu_step_at(const struct npu_prog *p, size_t step)
{
    return &p->steps[step % p->n_steps];
}

/* Lets all queues begin step `step` at `at`, with nothing left of what was before. */
void npu_time_begin(struct npu_sim *s, uint32_t step, uint64_t at);
void npu_time_open(struct npu_sim *s, struct npu_gate *g);

/* An exchange with other chips that may start at `start`: its end (npu_link.c). */
uint64_t npu_link_move(struct npu_sim *s, const struct npu_cmd *c, uint64_t start);
/* Called when an exchange, step `step`, is through: what matrix units waited for it is its. */
void npu_link_through(struct npu_sim *s, uint32_t step, uint64_t at);

/* What a matrix unit waits for before a step: the operation before it. */
static inline enum npu_cause npu_step_waits(const struct npu_prog *p, uint32_t step)
{
    uint32_t i = step % (uint32_t)p->n_steps;
    return npu_op_waits(i ? &p->work->ops[p->steps[i - 1].op] : NULL);
}

struct npu_sums npu_sums_now(const struct npu_sim *s, uint64_t at);
/* Adds `times` times what came between two sums. */
void npu_sums_add(struct npu_sim *s, const struct npu_sums *from, const struct npu_sums *to,
                  double times);

/* Finds what repeats in the program's steps of all rounds; npu_repeat_done frees. */
struct npu_repeat npu_repeat_find(const struct npu_prog *p, size_t n_steps);
void npu_repeat_done(struct npu_repeat *r);
/* Called when step `step` of instance 0 is through at `at`, and nothing is left that could go on
 * without the time going on.  Where the state is that of a period ago but for the time, moves the
 * run on over all whole periods that are left. */
void npu_repeat_look(struct npu_sim *s, uint32_t step, uint64_t at);

/* Called when step `step` is through at `at`, before anyone goes on because of it.  Where steps
 * behind it are known, moves the run on over them.  False: it has not. */
bool npu_known_look(struct npu_sim *s, uint32_t step, uint64_t at);
void npu_known_done(struct npu_known *k);

#endif
