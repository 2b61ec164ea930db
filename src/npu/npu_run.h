/* SPDX-License-Identifier: MIT
 * npu_run.h - answers: how fast a chip does a workload, for how many joules, and what bounds it.
 *
 * Does: compile, time, and count energy, for a benchmark's scenario or for a step of a language
 *       model; lower the clock where the card would draw more than it may.
 * Units: seconds, joules, watts. */
#ifndef NPU_NPU_RUN_H
#define NPU_NPU_RUN_H

#include "npu/npu_time.h"

/* ENERGY(name, key) */
#define NPU_ENERGIES(ENERGY)                                                                       \
    ENERGY(MATRIX, "matrix")                                                                       \
    ENERGY(VECTOR, "vector")                                                                       \
    ENERGY(CORE_MEMORY, "core_memory")                                                             \
    ENERGY(NETWORK, "network")                                                                     \
    ENERGY(DRAM, "dram")                                                                           \
    ENERGY(HOST, "host")                                                                           \
    ENERGY(LINKS, "links")                                                                         \
    ENERGY(STATIC, "static")

enum npu_energy {
#define ENERGY(name, key) NPU_E_##name,
    NPU_ENERGIES(ENERGY)
#undef ENERGY
        NPU_N_ENERGIES
};

/* How often each chip's parts work at once, and with what. */
struct npu_ask {
    enum npu_scenario scenario;
    unsigned instances, cores, rounds; /* rounds: 1 for a latency, 2 to see a steady state */
    double (*now)(void); /* seconds of this machine, to time compiling and simulating; or NULL */
};

struct npu_answer {
    double latency_s;              /* of one run with its way from and to the host */
    double per_s;                  /* inputs (tokens of a language model) a second, steady */
    double watts, joules;          /* joules of one input or token */
    double energy[NPU_N_ENERGIES]; /* of a round, joules, nominal */
    double low, high;              /* joules of one input, the tables' band */
    double utilisation;            /* of the matrix units' peak, whole chip */
    double clock;                  /* share of the nominal clock that the power allows */
    double burst, burst_s;         /* the same after a rest, and for how long; no team has them */
    struct npu_timing_of timing;
    double compile_s; /* of this machine: compiling, timing */
    double time_s;
    struct npu_prog *prog;
};

/* Answers in *a, whose memory npu_answer_done frees.  op_ps lies in the program's arena. */
enum err npu_run(struct npu_answer *a, const struct npu_work *w, const struct npu_chip *c,
                 const struct npu_ask *ask, struct errinfo *e);
void npu_answer_done(struct npu_answer *a);
enum npu_type npu_bench_type(const struct npu_chip *c); /* int8, or bf16 where it has none */
/* One run on all cores, for a latency; now: as in npu_ask. */
struct npu_ask npu_ask_once(const struct npu_chip *c, double (*now)(void));
/* How the chip's maker ran the workload in the scenario; else all cores, and batch 1 or a full
 * chip. */
struct npu_ask npu_ask_of(const struct npu_chip *c, const char *workload, enum npu_scenario s,
                          unsigned *batch);
/* The same with a benchmark's name, by its setup. */
enum err npu_run_bench(struct npu_answer *a, struct npu_work **w, const char *workload,
                       const struct npu_chip *c, enum npu_scenario s, double (*now)(void),
                       struct errinfo *e);

/* Finds the chip's two free numbers by its results that are marked as fitted: clock.sustained by
 * ResNet-50 Offline; by SingleStream host.us, or host.op_us where operations are launched one by
 * one.  USAGE: no such result.  The numbers are in the chip then. */
enum err npu_fit(struct npu_chip *c, struct errinfo *e);

const char *npu_energy_key(enum npu_energy x);

/* Seconds of picoseconds of its timing, which are those at the full clock. */
static inline double npu_answer_s(const struct npu_answer *a, double ps)
{
    return ps * 1e-12 / a->clock;
}

/* The same from a rest on: the card's limiter does not act at once. */
static inline double npu_answer_rested_s(const struct npu_answer *a, double ps)
{
    double s = ps * 1e-12 / a->burst;
    return s <= a->burst_s ? s : a->burst_s + (s - a->burst_s) * a->burst / a->clock;
}

/* The sums of a->energy, of a round of so many inputs or tokens in so many seconds. */
void npu_answer_energy(struct npu_answer *a, double samples, double seconds);

#endif
