/* SPDX-License-Identifier: MIT
 * npu_repeat.c - what happens again is not simulated again.
 *
 * A model's layers are the same commands at other addresses.  When a layer ends, the whole state of
 * the run (where each queue is, tokens, what links, units, channels and banks are bound to) is
 * compared with that of a layer ago, all times counted from now and all steps from here.  Times
 * that lie before anything that can still happen are all one.  If the states are equal, then, since
 * nothing depends on the time itself, every further layer goes as the last one did: the run moves
 * on over all of them at once.  Open rows alone are left out of the comparison, since weights lie
 * at new rows in each layer: where instances meet in them, they move on with the weights, and a
 * layer has to come as it was twice.  So the result is what a full run gives, and npu_prog_test.c
 * holds it to that. */
#include "npu/npu_time_int.h"

#include "base/num.h"

#include <string.h>

#define PERIOD_MAX 4096
#define WORTH      3 /* periods: fewer are simulated */
#define LOOKS      4 /* of a period: the state is compared so often */

/* How many steps from `from` on are equal to those `period` before them. */
static size_t run_length(const struct npu_segment *const *at, size_t n_steps, size_t from,
                         size_t period)
{
    size_t i = from + period;
    while (i < n_steps && at[i] == at[i - period])
        i++;
    return i - from;
}

struct npu_repeat npu_repeat_find(const struct npu_prog *p, size_t n_steps)
{
    struct npu_repeat best = {0};
    size_t covered = 0;
    const struct npu_segment **at = mem_alloc(n_steps * sizeof *at);
    for (size_t i = 0; i < n_steps; i++)
        at[i] = npu_step_at(p, i)->segment;
    for (size_t from = 0; from + WORTH < n_steps && from < p->n_steps && n_steps - from > covered;
         from++)
        for (size_t period = 1; period <= MIN(PERIOD_MAX, (n_steps - from) / WORTH); period++) {
            if (at[from] != at[from + period])
                continue;
            size_t n = run_length(at, n_steps, from, period) / period * period;
            if (n >= WORTH * period && n > covered) {
                covered = n;
                best = (struct npu_repeat){.from = (uint32_t)from,
                                           .period = (uint32_t)period,
                                           .times = (uint32_t)(n / period)};
            }
        }
    mem_free(at);
    if (!best.period)
        return best;
    best.stride = MAX(best.period / LOOKS, 1u);
    best.seen = mem_alloc((best.period / best.stride + 1) * sizeof *best.seen);
    return best;
}

void npu_repeat_done(struct npu_repeat *r)
{
    mem_free(r->seen);
}

/* ---- instances, which need not keep step ---- */

static unsigned instances(const struct npu_sim *s)
{
    return s->n_cores / s->p->cores;
}

/* The first step that an instance is not through with, when instance 0 is through with `step`. */
static uint32_t first_open(const struct npu_sim *s, unsigned instance, uint32_t step)
{
    const struct npu_gate *g = &s->gates[instance * s->n_steps];
    uint32_t k = step + 1;
    while (k > 0 && !g[k - 1].open)
        k--;
    while (k < s->n_steps && g[k].open)
        k++;
    return k;
}

/* When the core's instance was where it is now a period ago. */
static uint64_t a_period_ago(const struct npu_sim *s, uint32_t core, uint32_t step)
{
    unsigned instance = core / s->p->cores;
    uint32_t now = first_open(s, instance, step), period = s->repeat.period;
    return now > period ? s->gates[instance * s->n_steps + now - 1 - period].at : 0;
}

/* ---- the state, counted from a time and a step ---- */

struct digest {
    uint64_t hash;
    uint32_t step, end; /* of what repeats */
};

static void add(struct digest *d, uint64_t v)
{
    d->hash = (d->hash ^ v) * 0x9e3779b97f4a7c15u;
    d->hash ^= d->hash >> 29;
}

/* Times that lie behind all that is to come make no difference any more. */
static void add_time(struct digest *d, uint64_t t, uint64_t oldest)
{
    add(d, t <= oldest ? 0 : t - oldest + 1);
}

/* A queue without work in all that repeats waits for what comes behind it, wherever it is now. */
static bool is_beyond(const struct npu_sim *s, uint32_t q, uint32_t end)
{
    return q != NPU_NOBODY && npu_queue(s, q)->step >= end;
}

/* The semaphores of the core's queues that stay where they are, as bits. */
static unsigned sems_beyond(const struct npu_sim *s, uint32_t core, uint32_t end)
{
    unsigned sems = 0;
    for (unsigned i = 1; i < NPU_N_SEMS; i++)
        if (is_beyond(s, core * NPU_N_QUEUES + npu_taker_of((enum npu_sem)i), end))
            sems |= 1u << i;
    return sems;
}

static void add_core(struct digest *d, const struct npu_sim *s, uint32_t core, uint64_t oldest)
{
    const struct npu_core *c = &s->cores[core];
    unsigned beyond = sems_beyond(s, core, d->end);
    for (unsigned set = 0; set < 2; set++) { /* that of this step's half first */
        const struct npu_tokens *t = &c->half[(d->step + set) % 2];
        add(d, (uint64_t)t->has | (uint64_t)t->two << 16 | (uint64_t)(t->wanted & ~beyond) << 32);
        for (unsigned x = t->has; x; x &= x - 1) {
            unsigned i = (unsigned)__builtin_ctz(x);
            for (unsigned k = 0; k <= (t->two >> i & 1u); k++) {
                add_time(d, t->at[i][npu_slot(t, i, k)], oldest);
                if (npu_matrix_sem(i) < NPU_MATRIX_SEMS)
                    add_time(d, t->behind[npu_matrix_sem(i)][npu_slot(t, i, k)].end, oldest);
            }
        }
    }
    add_time(d, c->in_free, oldest);
    add_time(d, c->out_free, oldest);
    if (c->worked_until > a_period_ago(s, core, d->step)) /* the causes of waiting count from it */
        add(d, oldest - c->worked_until);
    add_time(d, c->stored_until, oldest);
}

/* What the bus still rests, and who may have it. */
static void add_gap(struct digest *d, const struct npu_channel *c, uint64_t oldest)
{
    uint64_t left = c->gap_to > oldest ? MIN(c->gap, c->gap_to - oldest) : 0;
    if (!left || c->n_bursts >= c->gap_seen)
        return;
    add(d, left);
    add(d, c->gap_to - oldest);
    add(d, c->gap_seen - c->n_bursts);
}

static void add_memory(struct digest *d, const struct npu_mem *m, uint64_t oldest)
{
    add(d, m->alike);
    for (unsigned i = 0; i < npu_mem_kept(m); i++) {
        const struct npu_channel *c = &m->channel[i];
        add_time(d, c->bus_free, oldest);
        add_time(d, c->act_free, oldest);
        add_time(d, c->seen, oldest);
        add(d, c->writing);
        add_gap(d, c, oldest);
        for (unsigned k = 0; k < m->time.sets; k++)
            add_time(d, c->set[k].ready, oldest);
    }
}

/* An instance's steps that are not over: what cores have done of them, and tiles that several
 * use. */
static void add_gates(struct digest *d, const struct npu_sim *s, unsigned instance, uint64_t oldest)
{
    uint32_t now = first_open(s, instance, d->step);
    const struct npu_gate *g = &s->gates[instance * s->n_steps];
    add(d, now - d->step);
    for (uint32_t k = MAX(now, 1u) - 1; k < MIN(now + 1, s->n_steps); k++) {
        add(d, g[k].through);
        add_time(d, g[k].at, oldest);
    }
    g = &s->keys[instance * 2 * s->n_keys];
    for (size_t i = 0; s->n_keys > 1 && i < 2 * s->n_keys; i++) {
        if (g[i].stamp <= now)
            continue;
        add(d, i % s->n_keys + ((uint64_t)(g[i].stamp - now) << 32));
        add(d, g[i].open);
        add_time(d, g[i].at, oldest);
    }
}

static uint64_t state_hash(const struct npu_sim *s, uint32_t step, uint32_t end, uint64_t at)
{
    struct digest d = {.step = step, .end = end};
    uint64_t oldest = UINT64_MAX; /* queues that sleep are woken by others, so later */
    if (npu_any_waits(s))
        oldest = s->wait[s->wait_from].at;
    add(&d, at - oldest);
    for (uint32_t q = 0; q < s->n_cores * NPU_N_QUEUES; q++) {
        const struct npu_queue_state *x = npu_queue(s, q);
        if (is_beyond(s, q, end))
            continue;
        add(&d, x->step - step);
        add(&d, (uint64_t)(x->behind - x->cmd));
        add_time(&d, x->ready, oldest);
    }
    for (unsigned i = 0; i < s->n_cores; i++)
        add_core(&d, s, i, oldest);
    for (unsigned i = 0; i < instances(s); i++)
        add_gates(&d, s, i, oldest);
    add_memory(&d, s->mem, oldest);
    add_time(&d, s->net_free, oldest);
    return d.hash;
}

/* ---- moving on ---- */

static void shift_core(struct npu_core *c, uint64_t by, uint64_t since)
{
    for (int set = 0; set < 2; set++)
        for (int k = 0; k < NPU_TOKENS; k++) {
            for (int i = NPU_NO_SEM + 1; i < NPU_N_SEMS; i++)
                c->half[set].at[i][k] += by;
            for (int i = 0; i < NPU_MATRIX_SEMS; i++) {
                struct npu_behind *t = &c->half[set].behind[i][k];
                t->work = npu_token_work(npu_token_from(t) + by, npu_token_cause(t));
                t->end += t->end ? by : 0;
            }
        }
    c->in_free += by;
    c->out_free += by;
    c->worked_until += c->worked_until > since ? by : 0;
    c->stored_until += by;
}

/* After an odd number of steps each half of the memory has the other's turn. */
static void swap_halves(struct npu_sim *s, uint32_t end)
{
    for (unsigned i = 0; i < s->n_cores; i++) {
        struct npu_tokens *half = s->cores[i].half, kept = half[0];
        half[0] = half[1];
        half[1] = kept;
        /* queues that stay where they are sleep in the half that they slept in */
        unsigned beyond = sems_beyond(s, i, end);
        unsigned moved = (half[0].wanted ^ half[1].wanted) & beyond;
        half[0].wanted ^= (uint16_t)moved;
        half[1].wanted ^= (uint16_t)moved;
    }
    for (size_t i = 0; i < instances(s); i++)
        for (size_t k = 0; k < s->n_keys; k++) {
            struct npu_gate *one = &s->keys[2 * i * s->n_keys + k], *other = one + s->n_keys;
            struct npu_gate kept = *one;
            *one = *other;
            *other = kept;
        }
}

static void shift_memory(struct npu_mem *m, uint64_t by)
{
    m->busy += by;
    for (unsigned i = 0; i < npu_mem_kept(m); i++) {
        struct npu_channel *c = &m->channel[i];
        c->bus_free += by;
        c->act_free += by;
        c->seen += by;
        c->gap_to += by;
        for (unsigned k = 0; k < m->time.sets; k++)
            c->set[k].ready += by;
        for (uint64_t k = c->tail; k != c->head; k++)
            c->runs[k % NPU_LOOK_AHEAD].time += by;
    }
}

/* Weights lie elsewhere in each period; what is open of them is open of the period that the run has
 * moved to, and an instance that is behind may still read it. */
static void shift_rows(struct npu_sim *s, uint32_t step, uint32_t steps)
{
    const struct npu_timing *t = &s->mem->time;
    uint64_t row_bytes = t->set_bursts * t->burst_bytes * t->sets * s->mem->n_channels;
    const struct npu_step *from = npu_step_at(s->p, step + 1),
                          *to = npu_step_at(s->p, step + 1 + steps);
    int64_t by = (int64_t)(to->base[NPU_BASE_WEIGHT] / row_bytes) -
                 (int64_t)(from->base[NPU_BASE_WEIGHT] / row_bytes);
    uint64_t end = UINT64_MAX; /* tensors lie behind all weights */
    for (size_t i = 0; i < s->p->n_steps; i++)
        end = MIN(end, s->p->steps[i].base[NPU_BASE_OUT]);
    for (unsigned i = 0; i < npu_mem_kept(s->mem); i++)
        for (unsigned k = 0; k < t->sets; k++) {
            struct npu_set *set = &s->mem->channel[i].set[k];
            if (set->row >= 0 && (uint64_t)set->row * row_bytes < end)
                set->row += by;
        }
}

/* Gates of the steps that are skipped, and those that the queues will look at. */
static void shift_gates(struct npu_sim *s, unsigned instance, uint32_t step, uint32_t steps,
                        uint64_t period_ps)
{
    uint32_t period = s->repeat.period, now = first_open(s, instance, step);
    struct npu_gate *g = &s->gates[instance * s->n_steps];
    for (uint32_t k = (uint32_t)s->n_steps; k-- > now + steps;) { /* what had begun goes along */
        g[k] = g[k - steps];
        g[k].at += g[k].through ? period_ps * (steps / period) : 0;
    }
    for (uint32_t k = now; k < now + steps; k++) {
        g[k] = g[k - period];
        g[k].at += period_ps;
    }
    g = &s->keys[instance * 2 * s->n_keys];
    for (size_t i = 0; i < 2 * s->n_keys; i++)
        if (g[i].stamp > now) {
            g[i].stamp += steps;
            g[i].at += period_ps * (steps / period);
        }
}

static void skip(struct npu_sim *s, uint32_t step, uint32_t periods, uint32_t end,
                 const struct npu_sums *from, const struct npu_sums *to)
{
    uint32_t steps = periods * s->repeat.period;
    uint64_t period_ps = to->at - from->at, by = period_ps * periods;
    for (unsigned i = 0; i < s->n_cores; i++)
        shift_core(&s->cores[i], by, a_period_ago(s, i, step));
    for (unsigned i = 0; i < instances(s); i++)
        shift_gates(s, i, step, steps, period_ps);
    if (steps % 2)
        swap_halves(s, end);
    for (uint32_t q = 0; q < s->n_cores * NPU_N_QUEUES; q++) {
        struct npu_queue_state *x = npu_queue(s, q);
        x->ready += by;
        if (is_beyond(s, q, end))
            continue;
        x->step += steps;
        x->in = npu_step_at(s->p, x->step);
        x->tokens = &s->cores[q / NPU_N_QUEUES].half[x->step % 2];
    }
    for (size_t i = s->wait_from; i < s->wait_to; i++)
        s->wait[i].at += by;
    shift_memory(s->mem, by);
    shift_rows(s, step, steps);
    s->net_free += by;
    npu_sums_add(s, from, to, periods);
}

void npu_repeat_look(struct npu_sim *s, uint32_t step, uint64_t at)
{
    struct npu_repeat *r = &s->repeat;
    if (!r->period || step + 1 < r->from || s->watch || !npu_any_waits(s))
        return;
    uint32_t residue = (step + 1 - r->from) % r->period;
    if (residue % r->stride)
        return;
    uint32_t end = r->from + r->period * r->times, ahead = step, behind = step + 1;
    for (uint32_t q = 0; q < s->n_cores * NPU_N_QUEUES; q++)
        if (!is_beyond(s, q, end))
            ahead = MAX(ahead, npu_queue(s, q)->step);
    for (unsigned i = 0; i < instances(s); i++) {
        uint32_t now = first_open(s, i, step);
        ahead = MAX(ahead, now);
        behind = MIN(behind, now);
    }
    struct npu_seen *last = &r->seen[residue / r->stride];
    bool second = last->step && last->step + r->period == step + 1;
    uint64_t hash = state_hash(s, step, end, at);
    struct npu_sums now = npu_sums_now(s, at);
    bool again = second && last->hash == hash;
    /* instances open rows for each other, which are no part of the state: as many once more say
     * that they have come to their order */
    uint64_t n_act = second ? now.n_act - last->sums.n_act : 0;
    bool sure = again && (instances(s) == 1 || (last->again && last->n_act == n_act));
    /* what is ahead must not look behind the end in a period that is skipped, and what is behind
     * must have been among what repeats a period ago */
    if (sure && behind >= r->from + r->period && ahead + r->period < end) {
        skip(s, step, (end - 1 - ahead) / r->period, end, &last->sums, &now);
        r->period = 0;
        return;
    }
    *last = (struct npu_seen){
        .hash = hash, .step = step + 1, .sums = now, .n_act = n_act, .again = again};
    if (step >= end)
        r->period = 0;
}
