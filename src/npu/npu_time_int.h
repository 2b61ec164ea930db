/* SPDX-License-Identifier: MIT
 * npu_time_int.h - the state of a run, which npu_time.c moves on and npu_repeat.c compares with
 * itself. */
#ifndef NPU_NPU_TIME_INT_H
#define NPU_NPU_TIME_INT_H

#include "npu/npu_array.h"
#include "npu/npu_dram.h"
#include "npu/npu_time.h"

#define NPU_NOBODY UINT32_MAX

struct npu_token {
    uint64_t at, from; /* when it was given; when the work behind it began */
    uint64_t end;      /* LOAD: when the last piece is there; at is that of the first */
    enum npu_cause cause;
};

struct npu_semaphore {
    struct npu_token token[NPU_TOKENS];
    uint32_t head, n;
    uint32_t sleeper; /* a queue, or NPU_NOBODY */
};

struct npu_queue_state {
    uint32_t step, next; /* the command: of all rounds' steps, in the segment */
    uint64_t ready;
    uint32_t sleeps_behind; /* the next in the same list */
};

struct npu_core {
    struct npu_semaphore sem[2][NPU_N_SEMS];
    uint64_t in_free, out_free; /* the link, both ways */
    uint64_t worked_until;      /* the matrix unit */
    uint64_t stored_until;      /* the last store */
};

struct npu_gate { /* a step's end, or a shared tile's arrival */
    uint64_t at;
    uint32_t count, stamp, sleepers;
};

struct npu_last_tile { /* most tiles are like the last one */
    uint32_t m, k, n;
    unsigned beside;
    struct npu_cycles cycles;
};

/* Steps that come again and again, alike: [from, from + period * times). */
struct npu_repeat {
    uint32_t from, period, times;
    uint32_t seen;     /* periods compared up to now */
    uint64_t hash, at; /* of the state at the end of the last period, and when that was */
    double cause[NPU_N_CAUSES];
    struct npu_counts counts;
    uint64_t n_act;
};

struct npu_sim {
    const struct npu_prog *p;
    const struct npu_chip *chip;
    struct npu_timing_of *out;
    struct npu_core *cores;
    struct npu_queue_state *queues;
    struct npu_gate *gates; /* [instances][steps of all rounds] */
    struct npu_gate *keys;  /* [instances][2][n_keys] */
    size_t n_keys, n_steps;
    uint32_t *heap;
    size_t n_heap;
    unsigned n_cores; /* of all instances */
    struct npu_mem mem;
    uint64_t net_free;
    double cycle, link, net; /* ps a cycle, ps a byte */
    uint64_t latency, issue;
    double cause[NPU_N_CAUSES];
    struct npu_repeat repeat;
    struct npu_last_tile tile;
    npu_watch *watch;
    void *arg;
};

/* Finds what repeats in the program's steps of all rounds. */
struct npu_repeat npu_repeat_find(const struct npu_prog *p, size_t n_steps);
/* Called when step `step` of instance 0 is through at `at`.  Where the state is that of a period
 * ago but for the time, moves the run on over all whole periods that are left. */
void npu_repeat_look(struct npu_sim *s, uint32_t step, uint64_t at);

#endif
