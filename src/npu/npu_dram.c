/* SPDX-License-Identifier: MIT
 * npu_dram.c - channels served a row at a time.
 *
 * What bounds a run of bursts in one set of rows: the data bus; the activation, which needs its
 * banks precharged, the gap to the last activation and the window of four; and the column delay
 * after it.  The controller knows the whole transfer, so that a set's activation runs while the
 * set before it still gives data.  Where that hides every activation, the rows in the middle of a
 * long run take the time of their data and nothing else, and are summed instead of walked.
 *
 * A run that waits for its bank leaves the bus a gap, and runs that the controller sees behind it
 * fill that gap; so an activation that waits takes nothing from those of other banks but its share
 * of the budget. */
#include "npu/npu_dram.h"

#include "base/num.h"
#include "npu/npu_int.h"

#include <stddef.h>
#include <string.h>

static const struct npu_dram_type types[] = {
#define DRAM(name, ...) {#name, __VA_ARGS__},
#include "npu/npu_dram.def"
#undef DRAM
};

const struct npu_dram_type *npu_dram_find(const char *name)
{
    for (size_t i = 0; i < N_ELEMS(types); i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

const char *npu_dram_list(void)
{
    static const char list[] =
#define DRAM(name, ...) ", " #name
#include "npu/npu_dram.def"
#undef DRAM
        ;
    return list + 2;
}

static uint64_t ps(double ns)
{
    return (uint64_t)(ns * 1000 + 0.5);
}

static struct npu_divisor divisor(uint64_t by)
{
    struct npu_divisor d = {.by = by, .shift = 64};
    if ((by & (by - 1)) == 0)
        for (d.shift = 0; (uint64_t)1 << d.shift < by; d.shift++)
            ;
    return d;
}

static uint64_t part(uint64_t x, const struct npu_divisor *d)
{
    return d->shift < 64 ? x >> d->shift : x / d->by;
}

void npu_timing_init(struct npu_timing *t, const struct npu_dram_type *type, double bits,
                     double mtps, unsigned in_step)
{
    /* Every tREFI all banks rest for tRFC, and their rows are opened anew.  All times are longer by
     * that share: so a transfer takes the same whenever it comes, and equal layers equal times. */
    double slow = type->refi / (type->refi - type->rfc - type->rp - type->rcd);
    *t = (struct npu_timing){.burst = ps(type->burst / mtps * 1000 * slow),
                             .rcd = ps(type->rcd * slow),
                             .rp = ps(type->rp * slow),
                             .ras = ps(type->ras * slow),
                             .act_gap = ps(MAX(type->rrd, type->faw / 4) * slow),
                             .wtr = ps(type->wtr * slow),
                             .rtw = ps(type->rtw * slow),
                             .wr = ps(type->wr * slow),
                             .burst_bytes = (uint64_t)(bits * type->burst / 8) * in_step,
                             .set_bytes = (uint64_t)type->row * type->groups * in_step,
                             .idle = ps(NPU_IDLE_NS),
                             .sets = type->banks / type->groups,
                             .groups = type->groups};
    CHECK(t->sets >= 1 && t->sets <= NPU_BANKS_MAX && t->burst_bytes > 0);
    t->set_bursts = t->set_bytes / t->burst_bytes;
    t->set_data = t->set_bursts * t->burst;
    t->by_set = divisor(t->set_bursts);
    t->by_sets = divisor(t->sets);
    /* a memory that has rested has closed its rows, and nothing else is left of what it did */
    CHECK(t->idle >= MAX(t->wtr, t->rtw));
    t->hides = t->set_data >= t->groups * t->act_gap &&
               t->set_data * t->sets >= t->ras + t->rp + t->wr + t->rcd;
}

void npu_channel_init(struct npu_channel *c)
{
    memset(c, 0, offsetof(struct npu_channel, set)); /* no run is kept from before */
    for (int i = 0; i < NPU_BANKS_MAX; i++)
        c->set[i] = (struct npu_set){.row = -1};
}

/* When a controller that sees NPU_LOOK_AHEAD bursts ahead of the bus sees the one that comes next,
 * which was asked for at `at`. */
static uint64_t seen_at(struct npu_channel *c, uint64_t at)
{
    uint64_t first = c->n_bursts > NPU_LOOK_AHEAD ? c->n_bursts - NPU_LOOK_AHEAD : 0;
    while (c->tail != c->head && c->runs[c->tail % NPU_LOOK_AHEAD].end <= first)
        c->seen = c->runs[c->tail++ % NPU_LOOK_AHEAD].time;
    return MAX(at, c->seen);
}

/* Bursts up to now, and when they were through. */
static void note_run(struct npu_channel *c, uint64_t bursts, uint64_t end)
{
    c->n_bursts += bursts;
    if (c->head - c->tail == NPU_LOOK_AHEAD)
        c->seen = c->runs[c->tail++ % NPU_LOOK_AHEAD].time;
    c->runs[c->head++ % NPU_LOOK_AHEAD] = (struct npu_past_run){c->n_bursts, end};
}

/* Opens a set: one activation a group, not before the controller sees the transfer.  When its first
 * burst may go.  An activation that waits for its own bank does not hold up those of other banks,
 * so what is kept is how far the budget of activations is spent, not when the last one was. */
static uint64_t activate(struct npu_channel *c, const struct npu_timing *t, uint64_t ready,
                         uint64_t at)
{
    uint64_t seen = seen_at(c, at), budget = MAX(c->act_free, seen), last = budget;
    c->n_act += t->groups;
    c->act_free = budget + t->groups * t->act_gap;
    c->opened = MAX(budget, ready); /* each of the others is as much later in its next turn */
    if (t->act_gap > t->burst)      /* the last group is later than its burst, which goes later */
        last += (t->groups - 1) * (t->act_gap - t->burst);
    return MAX(c->opened, last) + t->rcd;
}

/* How many of the bursts that may go from `early` on go while the bus waits for another's bank, and
 * when they are through. */
static uint64_t fill_gap(struct npu_channel *c, const struct npu_timing *t, uint64_t bursts,
                         uint64_t early, uint64_t *end)
{
    uint64_t from = MAX(early, c->gap_to - c->gap);
    if (c->n_bursts + bursts > c->gap_seen || from >= c->gap_to)
        return 0;
    uint64_t n = MIN(bursts, (c->gap_to - from) / t->burst);
    c->gap -= n * t->burst;
    *end = from + n * t->burst;
    return n;
}

/* The bus rests from `from` to `to`, besides what is left of the gap before. */
static void note_gap(struct npu_channel *c, uint64_t from, uint64_t to)
{
    if (c->n_bursts >= c->gap_seen)
        c->gap = 0;
    c->gap += to - from;
    c->gap_to = to;
    c->gap_seen = c->n_bursts + NPU_LOOK_AHEAD;
}

/* The bursts of a transfer within one set of rows. */
static uint64_t run(struct npu_channel *c, const struct npu_timing *t, uint64_t set_row,
                    uint64_t bursts, bool write, uint64_t at)
{
    int64_t row = (int64_t)part(set_row, &t->by_sets);
    struct npu_set *set = &c->set[set_row - (uint64_t)row * t->sets];
    /* a controller gathers writes until they are worth a turn: short ones share it */
    uint64_t bus = c->bus_free, turn = c->writing && !write ? t->wtr : t->rtw, opened = 0;
    bool turns = c->writing != write && bus;
    if (turns)
        bus += turn * MIN(bursts, NPU_WRITE_BATCH) / NPU_WRITE_BATCH;
    c->writing = write;
    if (set->row != row) {
        uint64_t data = activate(c, t, set->ready, at);
        at = MAX(at, data);
        opened = c->opened;
        set->row = row;
    }
    uint64_t end = 0, filled = turns ? 0 : fill_gap(c, t, bursts, at, &end);
    if (filled < bursts) {
        if (at > bus)
            note_gap(c, bus, at);
        end = MAX(at, bus) + (bursts - filled) * t->burst;
        c->bus_free = end;
    }
    note_run(c, bursts, end);
    set->ready = MAX(opened + t->ras, end + (write ? t->wr : 0)) + t->rp;
    return end;
}

/* `sets` whole sets of rows, all their activations hidden. */
static uint64_t run_sets(struct npu_channel *c, const struct npu_timing *t, uint64_t set_row,
                         uint64_t sets, bool write)
{
    uint64_t data = t->set_data, end = c->bus_free + sets * data;
    c->n_act += sets * t->groups;
    c->act_free = MAX(c->act_free, end - data);
    uint64_t last = set_row + sets - 1;
    for (uint64_t i = 0; i < MIN(t->sets, sets); i++) {
        uint64_t row = part(last - i, &t->by_sets);
        c->set[last - i - row * t->sets] = (struct npu_set){
            .row = (int64_t)row, .ready = end - i * data + (write ? t->wr : 0) + t->rp};
    }
    c->bus_free = end;
    note_run(c, sets * t->set_bursts, end);
    return end;
}

/* `left` bursts from the channel's burst `first` on. */
static uint64_t serve(struct npu_channel *c, const struct npu_timing *t, uint64_t first,
                      uint64_t left, bool write, uint64_t at)
{
    uint64_t set_row = part(first, &t->by_set), end = at;
    uint64_t n = MIN(left, (set_row + 1) * t->set_bursts - first);
    if (at > c->bus_free + t->idle)
        for (unsigned i = 0; i < t->sets; i++)
            c->set[i].row = -1;
    while (left) {
        end = run(c, t, set_row++, n, write, at);
        left -= n;
        if (t->hides && left > 2 * t->set_bursts) {
            uint64_t sets = part(left, &t->by_set) - 1;
            end = run_sets(c, t, set_row, sets, write);
            set_row += sets;
            left -= sets * t->set_bursts;
        }
        n = MIN(left, t->set_bursts);
    }
    return end;
}

uint64_t npu_channel_move(struct npu_channel *c, const struct npu_timing *t, uint64_t addr,
                          uint64_t bytes, bool write, uint64_t at)
{
    uint64_t first = addr / t->burst_bytes;
    uint64_t behind = (addr + bytes + t->burst_bytes - 1) / t->burst_bytes;
    return serve(c, t, first, behind - first, write, at);
}

void npu_mem_init(struct npu_mem *m, const struct npu_chip *c)
{
    const struct npu_dram_type *type = npu_dram_find(c->dram_type);
    unsigned all = (unsigned)c->v[NPU_DRAM_CHANNELS], in_step = 1;
    CHECK(type);
    while (all % in_step || all / in_step > NPU_CHANNELS_MAX)
        in_step++;
    m->n_channels = all / in_step;
    m->by_channels = divisor(m->n_channels);
    m->in_step = in_step;
    m->alike = true;
    m->busy = m->n_act = 0;
    npu_timing_init(&m->time, type, c->v[NPU_DRAM_BITS],
                    c->v[NPU_DRAM_RATE] * c->v[NPU_DRAM_EFFICIENCY], in_step);
    m->stripe = m->time.burst_bytes * NPU_STRIPE;
    m->latency = ps(c->v[NPU_DRAM_LATENCY]);
    m->pj_bit = type->pj_bit;
    m->pj_activate = type->pj_activate;
    npu_channel_init(&m->channel[0]);
}

uint64_t npu_mem_grain(const struct npu_chip *c)
{
    struct npu_mem m;
    npu_mem_init(&m, c);
    /* stripes and sets of rows are both whole numbers of bursts */
    return m.stripe * m.n_channels * m.time.set_bursts * m.time.sets;
}

uint64_t npu_mem_activations(const struct npu_mem *m)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < npu_mem_kept(m); i++)
        n += m->channel[i].n_act;
    return m->n_act + n * (m->alike ? m->n_channels : 1);
}

/* Where the memory has rested so long that all rows are closed, and all that bound its banks is
 * over, whatever comes from now on is served as by new channels. */
static void rest(struct npu_mem *m, uint64_t t)
{
    for (unsigned i = 0; i < m->n_channels; i++) {
        if (m->channel[i].act_free > t)
            return;
        for (unsigned k = 0; k < m->time.sets; k++)
            if (m->channel[i].set[k].ready > t)
                return;
    }
    m->n_act = npu_mem_activations(m);
    npu_channel_init(&m->channel[0]);
    m->alike = true;
}

/* Each channel goes its own way from now on. */
static void spread(struct npu_mem *m)
{
    const struct npu_channel *from = &m->channel[0];
    for (unsigned i = 1; i < m->n_channels; i++) {
        struct npu_channel *to = &m->channel[i];
        memcpy(to, from, offsetof(struct npu_channel, set) + m->time.sets * sizeof *to->set);
        for (uint64_t k = from->tail; k != from->head; k++)
            to->runs[k % NPU_LOOK_AHEAD] = from->runs[k % NPU_LOOK_AHEAD];
    }
    m->alike = false;
}

/* Stripes go round the channels; what a channel has of a transfer lies together in it. */
uint64_t npu_mem_move(struct npu_mem *m, uint64_t addr, uint64_t bytes, bool write, uint64_t t)
{
    if (!bytes)
        return t;
    if (!m->alike && t > m->busy + m->time.idle)
        rest(m, t);
    uint64_t first = addr / m->time.burst_bytes, last = (addr + bytes - 1) / m->time.burst_bytes;
    uint64_t stripe = first / NPU_STRIPE, n = last / NPU_STRIPE - stripe + 1, end = t;
    uint64_t round = part(stripe, &m->by_channels), each = part(n, &m->by_channels);
    uint64_t more = n - each * m->n_channels;
    unsigned channel = (unsigned)(stripe - round * m->n_channels);
    unsigned last_in = (unsigned)(more ? more - 1 : m->n_channels - 1);
    if (m->alike && !channel && !more && first % NPU_STRIPE == 0 && (last + 1) % NPU_STRIPE == 0) {
        end = serve(&m->channel[0], &m->time, round * NPU_STRIPE, each * NPU_STRIPE, write, t);
        m->busy = MAX(m->busy, end);
        return end + m->latency;
    }
    if (m->alike)
        spread(m);
    for (unsigned i = 0; i < MIN(n, m->n_channels); i++) {
        uint64_t from = round * NPU_STRIPE, bursts = (each + (i < more)) * NPU_STRIPE;
        if (i == 0) {
            from += first % NPU_STRIPE;
            bursts -= first % NPU_STRIPE;
        }
        if (i == last_in)
            bursts -= NPU_STRIPE - 1 - last % NPU_STRIPE;
        uint64_t done = serve(&m->channel[channel], &m->time, from, bursts, write, t);
        end = MAX(end, done);
        if (++channel == m->n_channels) {
            channel = 0;
            round++;
        }
    }
    m->busy = MAX(m->busy, end);
    return end + m->latency;
}
