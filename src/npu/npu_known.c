/* SPDX-License-Identifier: MIT
 * npu_known.c - steps that are launched one by one are simulated once each.
 *
 * Where every operation waits for the launch after the one before, the end of a step leaves nothing
 * behind that the next could meet: all units, links and channels are free long before the launch is
 * over, and a memory at rest has closed its rows.  So a step takes the same time whenever it comes,
 * and what it took once is added instead of simulated again, as often as the same step follows.
 * Whether an end is as clean as that is looked up each time, not taken for granted. */
#include "npu/npu_time_int.h"

#include "base/num.h"

#include <string.h>

/* Steps of which all are equal take the same. */
struct kind {
    const struct npu_segment *segment;
    unsigned same;        /* which of its tensors are one */
    enum npu_cause waits; /* of matrix units before it */
};

struct npu_known_step {
    struct kind kind;
    struct npu_sums from, to;
};

/* Tensors that are one have open rows in common. */
static unsigned sameness(const struct npu_step *s)
{
    unsigned same = 0, bit = 1;
    for (int i = 0; i < NPU_N_BASES; i++)
        for (int k = 0; k < i; k++, bit *= 2)
            same |= s->base[i] == s->base[k] ? bit : 0;
    return same;
}

static struct kind kind_of(const struct npu_prog *p, uint32_t step)
{
    const struct npu_step *s = npu_step_at(p, step);
    return (struct kind){s->segment, sameness(s), npu_step_waits(p, step)};
}

static const struct npu_known_step *find(const struct npu_known *k, struct kind x)
{
    for (size_t i = 0; i < k->n; i++) {
        const struct kind *y = &k->steps[i].kind;
        if (y->segment == x.segment && y->same == x.same && y->waits == x.waits)
            return &k->steps[i];
    }
    return NULL;
}

static void learn(struct npu_known *k, struct kind x, const struct npu_sums *to)
{
    if (find(k, x))
        return;
    if (k->n == k->cap) {
        k->cap = k->cap ? 2 * k->cap : 32;
        k->steps = mem_grow(k->steps, k->cap * sizeof *k->steps);
    }
    k->steps[k->n++] = (struct npu_known_step){x, k->sums, *to};
}

/* Whether all that was done is over when the next step's first command may start. */
static bool is_clean(const struct npu_sim *s, uint64_t at)
{
    uint64_t over = at + (uint64_t)s->launch, most = 0;
    if (npu_any_waits(s) || s->net_free > over)
        return false;
    for (unsigned i = 0; i < s->n_cores; i++) {
        const struct npu_core *c = &s->cores[i];
        const struct npu_queue_state *q = c->queue;
        most = MAX(most, MAX(c->in_free, c->out_free));
        for (int k = NPU_Q_MATRIX; k < NPU_N_QUEUES; k++)
            most = MAX(most, q[k].ready);
        if (q[NPU_Q_LOAD].ready > at)
            return false;
    }
    for (unsigned i = 0; i < npu_mem_kept(s->mem); i++) {
        const struct npu_channel *c = &s->mem->channel[i];
        most = MAX(most, MAX(c->bus_free + s->mem->time.idle + 1, MAX(c->act_free, c->seen)));
        for (unsigned k = 0; k < s->mem->time.sets; k++)
            most = MAX(most, c->set[k].ready);
    }
    return most <= over;
}

/* What the matrix units waited for until the step's end; what comes then is the next one's. */
static void settle(struct npu_sim *s, uint32_t step, uint64_t at)
{
    const struct npu_prog *p = s->p;
    const struct npu_op *op = &p->work->ops[npu_step_at(p, step)->op];
    enum npu_cause by = op->kind == NPU_EXCHANGE ? NPU_BY_LINKS : npu_op_waits(op);
    for (unsigned i = 0; i < s->n_cores; i++) {
        uint64_t from = s->cores[i].worked_until;
        double waited = (double)(at - MIN(from, at));
        double launch = step && from == s->known.sums.at ? MIN(s->launch, waited) : 0;
        s->cause[NPU_BY_LAUNCH] += launch;
        s->cause[by] += waited - launch;
        s->cores[i].worked_until = MAX(from, at);
    }
}

bool npu_known_look(struct npu_sim *s, uint32_t step, uint64_t at)
{
    struct npu_known *k = &s->known;
    uint32_t next = step + 1;
    settle(s, step, at);
    struct npu_sums now = npu_sums_now(s, at);
    bool clean = is_clean(s, at);
    if (clean && k->clean)
        learn(k, kind_of(s->p, step), &now);
    for (; clean && !s->watch && next < s->n_steps; next++) {
        const struct npu_known_step *x = find(k, kind_of(s->p, next));
        if (!x)
            break;
        npu_sums_add(s, &x->from, &x->to, 1);
        at += x->to.at - x->from.at;
        s->gates[next].at = at;
        s->gates[next].open = true;
    }
    k->sums = npu_sums_now(s, at);
    k->clean = clean;
    if (next == step + 1)
        return false;
    for (unsigned i = 0; i < s->n_cores; i++)
        s->cores[i].worked_until = at;
    npu_time_begin(s, next, at);
    return true;
}

void npu_known_done(struct npu_known *k)
{
    mem_free(k->steps);
}
