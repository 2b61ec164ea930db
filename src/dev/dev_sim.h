/* SPDX-License-Identifier: MIT
 * dev_sim.h - a simulated chip instead of the machine at hand: what is asked of it, what it tells.
 *
 * Does: name the clocks, the way of computing, and the sums of time and energy that a simulated
 *       device keeps.
 * Does not: simulate (npu), price (dev_price.h) or compute (dev_cpu). */
#ifndef DEV_DEV_SIM_H
#define DEV_DEV_SIM_H

#include "kern/contract.h"
#include "plan/plan_share.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct npu_chip;

#define DEV_SPEEDS_MAX 32

/* Instead of a chip: a machine's steps as they were measured.  A step of r rows takes what lies
 * between its neighbours in `step`, beyond the last in proportion to it, and in addition
 * s_row_past for every row and every position before it. */
struct dev_speeds {
    const char *name, *title;
    size_t n; /* 1 or more */
    struct {
        double rows, s; /* ascending in rows; seconds, with nothing before the rows */
    } step[DEV_SPEEDS_MAX];
    double s_row_past;
    /* Of processes that compute it together (fleet_ranks.c): what of all that one of them has to
     * do, 0: it is alone; and what their exchanges add to a step, for each row, and for each of
     * which something is wanted. */
    double share, s_step, s_row, s_wanted;
    double busy_w, idle_w; /* of the machine; 0: not known */
    uint64_t pages;        /* of context that it holds */
};

enum dev_clock {
    DEV_CLOCK_WALL,   /* the machine's: steps end when they are computed */
    DEV_CLOCK_PACED,  /* the machine's, and no step ends before it would on the chip */
    DEV_CLOCK_VIRTUAL /* the chip's: it goes on by its steps' times, and rests between them */
};

/* What is asked. */
struct dev_sim_opts {
    const struct npu_chip *chip; /* outlives the device; NULL: nothing is simulated */
    const char *name;            /* the chip's, for messages */
    /* Chips that compute the model together; tensor 0: one.  Tokens are those of one. */
    struct plan_ranks ranks;
    enum dev_clock clock;
    bool dry; /* computes nothing: logits are 0, and no memory or weights are taken */
    /* Instead of chip, and dry then; outlives the device, too. */
    const struct dev_speeds *speeds;
};

static inline bool dev_sim_wanted(const struct dev_sim_opts *o)
{
    return o->chip || o->speeds;
}

/* What it tells; the numbers of steps grow. */
struct dev_sim {
    const struct npu_chip *chip; /* NULL: measured speeds */
    const char *name, *title;    /* the chip's */
    const char *computes;        /* what it would compute in: "int8", "bf16" */
    enum dev_clock clock;
    size_t n_chips;
    double tdp_w, static_w;              /* of all chips, as what follows */
    uint64_t memory_bytes, weight_bytes; /* the chip's; the model's in it */
    const char *assumed;                 /* names of assumed parameters, ", " between; "": none */
    uint64_t step_ns;                    /* of the last step */
    double step_joules;
    uint64_t ns; /* of all steps */
    double joules;
    uint64_t n_steps, n_prices; /* steps; buckets that were compiled for them */
    uint64_t n_late, late_ns;   /* PACED: steps that the machine needed longer for, by how much */
};

#endif
