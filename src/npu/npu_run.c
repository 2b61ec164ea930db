/* SPDX-License-Identifier: MIT
 * npu_run.c - a workload on a chip: times, energies, and the clock that the power allows.
 *
 * Energies: picojoules of an event at 7 nm, from TPUv4i's table (Jouppi et al., ISCA 2021, table 2:
 * int8 multiply and add 0.077, bf16 0.32, SRAM of 32 KB about 1 a byte, of 1 MB about 1.8 a byte)
 * and for memory from npu_dram.def; other nodes in proportion to their size, which is what the same
 * table gives from 45 to 7 nm within a third.  Clock trees, control and registers around the arrays
 * double what the arithmetic takes.  A chip file's power.energy_factor sets the whole to a measured
 * board. */
#include "npu/npu_run.h"

#include "base/num.h"
#include "npu/npu_int.h"
#include "npu/npu_place.h"

#include <math.h>
#include <string.h>

#define PJ_AROUND     2.0  /* times the arithmetic: clocks, control, registers */
#define PJ_SRAM       1.0  /* a byte of a core's memory */
#define PJ_NETWORK    3.0  /* a byte across the chip and out of a large memory */
#define PJ_VECTOR     0.8  /* an element's pass: registers and a 32-bit operation */
#define PJ_HOST       60.0 /* a byte over PCIe or to another chip, both ends */
#define REUSE         8.0  /* how often an array uses what it reads from a core's memory */
#define VOLTAGE_SHARE 0.6  /* of the voltage that falls with the clock */
#define CLOCK_LEAST   0.2
#define BOXES_BYTES   8192 /* of the boxes that are left of an image */
#define ENERGY_BAND   0.35 /* the tables', up and down */

const char *npu_energy_key(enum npu_energy x)
{
    static const char *const keys[] = {
#define ENERGY(name, key) key,
        NPU_ENERGIES(ENERGY)
#undef ENERGY
    };
    return keys[x];
}

/* Picojoules of a multiply-add at 7 nm. */
static double mac_pj(enum npu_type t)
{
    static const double pj[] = {
        [NPU_INT8] = 0.077, [NPU_BF16] = 0.32, [NPU_FP8] = 0.12, [NPU_INT4] = 0.03};
    return pj[t];
}

/* Between host and chip, of a run. */
static double host_bytes(const struct npu_work *w, const struct npu_chip *c)
{
    double sorted = (double)w->batch * BOXES_BYTES, out = (double)w->host_out;
    return (double)w->host_in + (c->v[NPU_SORTS] > 0 ? out : MIN(out, sorted));
}

/* Joules of a round but for what runs by time. */
static void count_energy(struct npu_answer *a, const struct npu_work *w, const struct npu_chip *c,
                         const struct npu_ask *ask)
{
    const struct npu_counts *n = &a->timing.counts;
    const struct npu_dram_type *dram = npu_dram_find(c->dram_type);
    double node = c->v[NPU_NODE] / 7 * c->v[NPU_ENERGY] * 1e-12 / ask->rounds;
    double memory = 1e-12 / ask->rounds;
    a->energy[NPU_E_MATRIX] = n->macs * mac_pj(w->type) * PJ_AROUND * node;
    a->energy[NPU_E_VECTOR] = n->vector_passes * PJ_VECTOR * node;
    a->energy[NPU_E_CORE_MEMORY] = (n->here_bytes / REUSE + n->shared_bytes) * PJ_SRAM * node;
    a->energy[NPU_E_NETWORK] = n->shared_bytes * PJ_NETWORK * node;
    a->energy[NPU_E_DRAM] = (n->dram_bytes * 8 * dram->pj_bit +
                             n->activations * dram->pj_activate) *
                            memory;
    a->energy[NPU_E_LINKS] = n->link_bytes * PJ_HOST * memory;
    a->energy[NPU_E_HOST] = host_bytes(w, c) * ask->instances * PJ_HOST * 1e-12;
}

/* Memory and links have voltages of their own. */
static bool has_own_voltage(int energy)
{
    return energy == NPU_E_DRAM || energy == NPU_E_HOST || energy == NPU_E_LINKS;
}

/* The share of the clock at which a round of `seconds` at full clock draws so many watts: energy
 * falls with the square of the voltage. */
static double allowed_clock(const struct npu_answer *a, const struct npu_chip *c, double seconds,
                            double watts_most)
{
    double low = CLOCK_LEAST, high = 1, dynamic = 0, fixed = 0,
           room = watts_most - c->v[NPU_STATIC];
    for (int i = 0; i < NPU_E_STATIC; i++) {
        dynamic += a->energy[i];
        fixed += has_own_voltage(i) ? a->energy[i] : 0;
    }
    for (int i = 0; i < 40; i++) {
        double f = (low + high) / 2, v = 1 - VOLTAGE_SHARE * (1 - f);
        double watts = ((dynamic - fixed) * v * v + fixed) / seconds * f;
        if (watts > room)
            high = f;
        else
            low = f;
    }
    return high >= 0.999 ? 1 : low;
}

static double inputs_of(const struct npu_work *w)
{
    return (double)(w->tokens ? w->tokens : w->batch);
}

void npu_answer_energy(struct npu_answer *a, double samples, double seconds)
{
    double all = 0, rest = a->energy[NPU_E_STATIC];
    for (int i = 0; i < NPU_N_ENERGIES; i++)
        all += a->energy[i];
    a->joules = all / samples;
    a->low = ((all - rest) * (1 - ENERGY_BAND) + rest) / samples;
    a->high = ((all - rest) * (1 + ENERGY_BAND) + rest) / samples;
    a->watts = all / seconds;
}

static void finish(struct npu_answer *a, const struct npu_work *w, const struct npu_chip *c,
                   const struct npu_ask *ask)
{
    double round = (double)a->timing.round_ps * 1e-12, once = (double)a->timing.ps * 1e-12;
    double host = host_bytes(w, c) / (c->v[NPU_HOST_GBS] * 1e9);
    bool single = ask->scenario != NPU_OFFLINE;
    double samples = inputs_of(w) * ask->instances;
    if (ask->rounds > 1)
        once = (double)(a->timing.ps - a->timing.round_ps) * 1e-12;
    count_energy(a, w, c, ask);
    double waits = single ? c->v[NPU_HOST_US] * 1e-6 + host : 0;
    a->clock = allowed_clock(a, c, round + waits, c->v[NPU_TDP]);
    a->burst = allowed_clock(a, c, round + waits, MAX(c->v[NPU_BURST], c->v[NPU_TDP]));
    a->burst_s = c->v[NPU_BURST_US] * 1e-6;
    double v = 1 - VOLTAGE_SHARE * (1 - a->clock);
    for (int i = 0; i < NPU_E_STATIC; i++)
        if (!has_own_voltage(i))
            a->energy[i] *= v * v;
    round = MAX(round / a->clock, host * ask->instances);
    a->latency_s = npu_answer_rested_s(a, once * 1e12) + host + c->v[NPU_HOST_US] * 1e-6;
    double period = single ? once / a->clock + waits : round; /* queries follow without a rest */
    a->per_s = samples / period;
    a->energy[NPU_E_STATIC] = c->v[NPU_STATIC] * period;
    npu_answer_energy(a, samples, period);
    a->utilisation = w->macs * ask->instances / (period * npu_chip_macs(c, w->type));
}

enum err npu_run(struct npu_answer *a, const struct npu_work *w, const struct npu_chip *c,
                 const struct npu_ask *ask, struct errinfo *e)
{
    *a = (struct npu_answer){0};
    double t0 = ask->now ? ask->now() : 0;
    TRY(npu_compile(&a->prog, w, c, ask->cores, ask->instances, e));
    double t1 = ask->now ? ask->now() : 0;
    a->timing.op_ps = arena_array(&a->prog->arena, w->n_ops, sizeof *a->timing.op_ps);
    npu_time(&a->timing, a->prog, ask->instances, ask->rounds, NULL, NULL);
    a->compile_s = t1 - t0;
    a->time_s = (ask->now ? ask->now() : 0) - t1;
    finish(a, w, c, ask);
    return ERR_OK;
}

void npu_answer_done(struct npu_answer *a)
{
    npu_prog_free(a->prog);
    a->prog = NULL;
}

enum npu_type npu_bench_type(const struct npu_chip *c)
{
    return npu_chip_rate(c, NPU_INT8) > 0 ? NPU_INT8 : NPU_BF16;
}

struct npu_ask npu_ask_once(const struct npu_chip *c, double (*now)(void))
{
    return (struct npu_ask){.scenario = NPU_SINGLE_STREAM,
                            .instances = 1,
                            .cores = (unsigned)c->v[NPU_CORES],
                            .rounds = 1,
                            .now = now};
}

struct npu_ask npu_ask_of(const struct npu_chip *c, const char *workload, enum npu_scenario s,
                          unsigned *batch)
{
    const struct npu_setup *x = npu_chip_setup(c, workload, s);
    struct npu_ask ask = {.scenario = s, .rounds = s == NPU_OFFLINE ? 2 : 1};
    ask.instances = x ? (unsigned)x->instances : 1;
    /* of a chip with more or fewer cores than its file says, in proportion */
    double cores = x ? x->cores * c->v[NPU_CORES] / c->cores_read : c->v[NPU_CORES];
    ask.cores = (unsigned)MAX(floor(cores + 1e-9), 1);
    ask.instances = MIN(ask.instances, (unsigned)c->v[NPU_CORES] / ask.cores);
    *batch = x ? (unsigned)x->batch : s == NPU_SINGLE_STREAM ? 1 : 8;
    return ask;
}

enum err npu_run_bench(struct npu_answer *a, struct npu_work **w, const char *workload,
                       const struct npu_chip *c, enum npu_scenario s, double (*now)(void),
                       struct errinfo *e)
{
    unsigned batch;
    struct npu_ask ask = npu_ask_of(c, workload, s, &batch);
    ask.now = now;
    *w = npu_place_sliced(npu_work_bench(workload, batch, npu_bench_type(c)), c, ask.cores,
                          ask.instances);
    enum err code = npu_run(a, *w, c, &ask, e);
    if (code == ERR_OK && s == NPU_MULTI_STREAM) { /* a query is of eight samples */
        double rounds = ceil(8.0 / (batch * (double)ask.instances));
        double host = c->v[NPU_HOST_US] * 1e-6;
        a->latency_s = host + (a->latency_s - host) * rounds;
        a->per_s = 8 / a->latency_s;
    }
    if (code != ERR_OK) {
        npu_work_free(*w);
        *w = NULL;
    }
    return code;
}
