/* SPDX-License-Identifier: MIT
 * npu_repeat.c - what happens again is not simulated again.
 *
 * A model's layers are the same commands at other addresses.  When a layer ends, the whole state of
 * the run (where each queue is, tokens, what links, units, channels and banks are bound to) is
 * compared with that of a layer ago, all times counted from now and all steps from here.  If they
 * are equal, then, since nothing depends on the time itself, every further layer goes as the last
 * one did: the run moves on over all of them at once.  Open rows alone are left out of the
 * comparison: weights lie at new rows in each layer.  So the result is what a full run gives, and
 * npu_time_test.c holds it to that. */
#include "npu/npu_time_int.h"

#include "base/num.h"

#include <string.h>

#define PERIOD_MAX 4096
#define WORTH      3 /* periods: fewer are simulated */

static const struct npu_segment *segment_at(const struct npu_prog *p, size_t step)
{
    return p->steps[step % p->n_steps].segment;
}

/* How many steps from `from` on are equal to those `period` before them. */
static size_t run_length(const struct npu_prog *p, size_t n_steps, size_t from, size_t period)
{
    size_t i = from + period;
    while (i < n_steps && segment_at(p, i) == segment_at(p, i - period))
        i++;
    return i - from;
}

struct npu_repeat npu_repeat_find(const struct npu_prog *p, size_t n_steps)
{
    struct npu_repeat best = {0};
    size_t covered = 0;
    for (size_t from = 0; from + WORTH < n_steps && from < p->n_steps; from++)
        for (size_t period = 1; period <= MIN(PERIOD_MAX, (n_steps - from) / WORTH); period++) {
            if (segment_at(p, from) != segment_at(p, from + period))
                continue;
            size_t n = run_length(p, n_steps, from, period) / period * period;
            if (n >= WORTH * period && n > covered) {
                covered = n;
                best = (struct npu_repeat){.from = (uint32_t)from,
                                           .period = (uint32_t)period,
                                           .times = (uint32_t)(n / period)};
            }
        }
    return best;
}

/* ---- the state, counted from a time and a step ---- */

struct digest {
    uint64_t hash;
    uint32_t step;
};

static void add(struct digest *d, uint64_t v)
{
    d->hash = (d->hash ^ v) * 0x9e3779b97f4a7c15u;
    d->hash ^= d->hash >> 29;
}

/* Times that lie far behind make no difference any more; near ones may. */
static void add_time(struct digest *d, uint64_t t, uint64_t oldest)
{
    add(d, t <= oldest ? 0 : t - oldest + 1);
}

static void add_core(struct digest *d, const struct npu_core *c, uint64_t oldest)
{
    for (unsigned set = 0; set < 2; set++) /* that of this step's half first */
        for (int i = 0; i < NPU_N_SEMS; i++) {
            const struct npu_semaphore *s = &c->sem[(d->step + set) % 2][i];
            add(d, s->n + ((uint64_t)s->sleeper << 8));
            for (uint32_t k = 0; k < s->n; k++)
                add_time(d, s->token[(s->head + k) % NPU_TOKENS].at, oldest);
        }
    add_time(d, c->in_free, oldest);
    add_time(d, c->out_free, oldest);
    add_time(d, c->worked_until, oldest);
    add_time(d, c->stored_until, oldest);
}

static void add_memory(struct digest *d, const struct npu_mem *m, uint64_t oldest)
{
    for (unsigned i = 0; i < m->n_channels; i++) {
        const struct npu_channel *c = &m->channel[i];
        add_time(d, c->bus_free, oldest);
        add_time(d, c->act_free, oldest);
        add_time(d, c->seen, oldest);
        add(d, c->writing);
        for (unsigned k = 0; k < m->time.sets; k++)
            add_time(d, c->ready[k], oldest);
    }
}

static uint64_t state_hash(const struct npu_sim *s, uint32_t step, uint64_t at)
{
    struct digest d = {.step = step};
    uint64_t oldest = at;
    for (uint32_t q = 0; q < s->n_cores * NPU_N_QUEUES; q++)
        oldest = MIN(oldest, s->queues[q].ready);
    add(&d, at - oldest);
    for (uint32_t q = 0; q < s->n_cores * NPU_N_QUEUES; q++) {
        const struct npu_queue_state *x = &s->queues[q];
        add(&d, x->step - step);
        add(&d, x->next);
        add_time(&d, x->ready, oldest);
    }
    for (unsigned i = 0; i < s->n_cores; i++)
        add_core(&d, &s->cores[i], oldest);
    add_memory(&d, &s->mem, oldest);
    add_time(&d, s->net_free, oldest);
    return d.hash;
}

/* ---- moving on ---- */

static void shift_core(struct npu_core *c, uint64_t by)
{
    for (int set = 0; set < 2; set++)
        for (int i = 0; i < NPU_N_SEMS; i++)
            for (int k = 0; k < NPU_TOKENS; k++) {
                struct npu_token *t = &c->sem[set][i].token[k];
                t->at += by;
                t->from += by;
                t->end += t->end ? by : 0;
            }
    c->in_free += by;
    c->out_free += by;
    c->worked_until += by;
    c->stored_until += by;
}

/* After an odd number of steps each half of the memory has the other's turn. */
static void swap_halves(struct npu_sim *s)
{
    for (unsigned i = 0; i < s->n_cores; i++) {
        struct npu_semaphore(*sem)[NPU_N_SEMS] = s->cores[i].sem, kept[NPU_N_SEMS];
        memcpy(kept, sem[0], sizeof kept);
        memcpy(sem[0], sem[1], sizeof kept);
        memcpy(sem[1], kept, sizeof kept);
    }
    for (size_t i = 0; i < s->n_cores / s->p->cores; i++)
        for (size_t k = 0; k < s->n_keys; k++) {
            struct npu_gate *one = &s->keys[2 * i * s->n_keys + k], *other = one + s->n_keys;
            struct npu_gate kept = *one;
            *one = *other;
            *other = kept;
        }
}

static void shift_memory(struct npu_mem *m, uint64_t by)
{
    for (unsigned i = 0; i < m->n_channels; i++) {
        struct npu_channel *c = &m->channel[i];
        c->bus_free += by;
        c->act_free += by;
        c->seen += by;
        for (int k = 0; k < NPU_BANKS_MAX; k++)
            c->ready[k] += by;
        for (int k = 0; k < NPU_LOOK_AHEAD; k++)
            c->run_time[k] += by;
    }
}

/* Gates of the steps that are skipped, and those that the queues will look at. */
static void shift_gates(struct npu_sim *s, uint32_t step, uint32_t steps, uint64_t period_ps)
{
    uint32_t period = s->repeat.period;
    for (unsigned i = 0; i < s->n_cores / s->p->cores; i++) {
        struct npu_gate *g = &s->gates[i * s->n_steps];
        for (uint32_t k = (uint32_t)s->n_steps; k-- > step + 1;) /* what had begun goes along */
            if (k >= step + 1 + steps) {
                g[k] = g[k - steps];
                g[k].at += g[k].count ? period_ps * (steps / period) : 0;
            }
        for (uint32_t k = step + 1; k <= step + steps; k++) {
            g[k] = g[k - period];
            g[k].at += period_ps;
        }
    }
    for (size_t i = 0; i < s->n_cores / s->p->cores * 2 * s->n_keys; i++)
        if (s->keys[i].stamp > step) {
            s->keys[i].stamp += steps;
            s->keys[i].at += period_ps * (steps / period);
        }
}

static void skip(struct npu_sim *s, uint32_t step, uint32_t periods, uint64_t period_ps)
{
    struct npu_repeat *r = &s->repeat;
    uint64_t by = period_ps * periods;
    shift_gates(s, step, periods * r->period, period_ps);
    for (uint32_t q = 0; q < s->n_cores * NPU_N_QUEUES; q++) {
        s->queues[q].step += periods * r->period;
        s->queues[q].ready += by;
    }
    for (unsigned i = 0; i < s->n_cores; i++)
        shift_core(&s->cores[i], by);
    if (periods * r->period % 2)
        swap_halves(s);
    shift_memory(&s->mem, by);
    s->net_free += by;
    for (int i = 0; i < NPU_N_CAUSES; i++)
        s->cause[i] += (s->cause[i] - r->cause[i]) * periods;
    struct npu_counts *c = &s->out->counts;
    c->macs += (c->macs - r->counts.macs) * periods;
    c->vector_passes += (c->vector_passes - r->counts.vector_passes) * periods;
    c->shared_bytes += (c->shared_bytes - r->counts.shared_bytes) * periods;
    c->here_bytes += (c->here_bytes - r->counts.here_bytes) * periods;
    c->dram_bytes += (c->dram_bytes - r->counts.dram_bytes) * periods;
    c->commands += (c->commands - r->counts.commands) * periods;
    uint64_t acts = 0;
    for (unsigned i = 0; i < s->mem.n_channels; i++)
        acts += s->mem.channel[i].n_act;
    s->mem.channel[0].n_act += (acts - r->n_act) * periods;
}

void npu_repeat_look(struct npu_sim *s, uint32_t step, uint64_t at)
{
    struct npu_repeat *r = &s->repeat;
    if (!r->period || step < r->from || (step + 1 - r->from) % r->period || s->watch)
        return;
    uint32_t end = r->from + r->period * r->times, ahead = step;
    for (uint32_t q = 0; q < s->n_cores * NPU_N_QUEUES; q++)
        ahead = MAX(ahead, s->queues[q].step);
    uint64_t hash = state_hash(s, step, at);
    /* the last period is left to be simulated: what is ahead then looks behind the end */
    if (r->seen && hash == r->hash && ahead + 2 * r->period < end) {
        uint32_t periods = (end - ahead) / r->period - 1;
        skip(s, step, periods, at - r->at);
        r->period = 0;
        return;
    }
    r->seen++;
    r->hash = hash;
    r->at = at;
    memcpy(r->cause, s->cause, sizeof r->cause);
    r->counts = s->out->counts;
    r->n_act = 0;
    for (unsigned i = 0; i < s->mem.n_channels; i++)
        r->n_act += s->mem.channel[i].n_act;
}
