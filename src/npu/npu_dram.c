/* SPDX-License-Identifier: MIT
 * npu_dram.c - channels served a row at a time.
 *
 * What bounds a run of bursts in one set of rows: the data bus; the activation, which needs its
 * banks precharged, the gap to the last activation and the window of four; and the column delay
 * after it.  The controller knows the whole transfer, so that a set's activation runs while the
 * set before it still gives data.  Where that hides every activation, the rows in the middle of a
 * long run take the time of their data and nothing else, and are summed instead of walked. */
#include "npu/npu_dram.h"

#include "base/num.h"
#include "npu/npu_int.h"

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
                             .sets = type->banks / type->groups,
                             .groups = type->groups};
    CHECK(t->sets >= 1 && t->sets <= NPU_BANKS_MAX && t->burst_bytes > 0);
}

void npu_channel_init(struct npu_channel *c)
{
    *c = (struct npu_channel){0};
    for (int i = 0; i < NPU_BANKS_MAX; i++)
        c->row[i] = -1;
}

/* When a controller that sees NPU_LOOK_AHEAD bursts ahead of the bus sees the one that comes next,
 * which was asked for at `at`. */
static uint64_t seen_at(struct npu_channel *c, uint64_t at)
{
    uint64_t first = c->n_bursts > NPU_LOOK_AHEAD ? c->n_bursts - NPU_LOOK_AHEAD : 0;
    while (c->tail < c->head && c->run_end[c->tail % NPU_LOOK_AHEAD] <= first)
        c->seen = c->run_time[c->tail++ % NPU_LOOK_AHEAD];
    return MAX(at, c->seen);
}

/* Bursts up to now, and when they were through. */
static void note_run(struct npu_channel *c, uint64_t bursts, uint64_t end)
{
    c->n_bursts += bursts;
    if (c->head - c->tail == NPU_LOOK_AHEAD)
        c->seen = c->run_time[c->tail++ % NPU_LOOK_AHEAD];
    c->run_end[c->head % NPU_LOOK_AHEAD] = c->n_bursts;
    c->run_time[c->head++ % NPU_LOOK_AHEAD] = end;
}

/* Opens a set: one activation a group, not before the controller sees the transfer.  When its first
 * burst may go.  An activation that waits for its own bank does not hold up those of other banks,
 * so what is kept is how far the budget of activations is spent, not when the last one was. */
static uint64_t activate(struct npu_channel *c, const struct npu_timing *t, unsigned set,
                         uint64_t at)
{
    uint64_t first = 0, seen = seen_at(c, at);
    c->act_free = MAX(c->act_free, seen);
    for (unsigned g = 0; g < t->groups; g++) {
        uint64_t when = MAX(c->act_free, c->ready[set]), data = when + t->rcd;
        /* an activation that is late leaves those before it a window of four at most */
        uint64_t window = 4 * t->act_gap;
        c->act_free = MAX(c->act_free, when > window ? when - window : 0) + t->act_gap;
        if (g == 0) /* each of the others is as much later in its next turn */
            c->opened = when;
        first = MAX(first,
                    data > g * t->burst ? data - g * t->burst : 0); /* its burst goes later */
    }
    c->n_act += t->groups;
    return first;
}

/* The bursts of a transfer within one set of rows. */
static uint64_t run(struct npu_channel *c, const struct npu_timing *t, uint64_t set_row,
                    uint64_t bursts, bool write, uint64_t at)
{
    unsigned set = (unsigned)(set_row % t->sets);
    int64_t row = (int64_t)(set_row / t->sets);
    /* a controller gathers writes until they are worth a turn: short ones share it */
    uint64_t bus = c->bus_free, turn = c->writing && !write ? t->wtr : t->rtw;
    if (c->writing != write && bus)
        bus += turn * MIN(bursts, NPU_WRITE_BATCH) / NPU_WRITE_BATCH;
    c->writing = write;
    uint64_t start = MAX(at, bus), opened = 0;
    if (c->row[set] != row) {
        uint64_t data = activate(c, t, set, at);
        start = MAX(start, data);
        opened = c->opened;
        c->row[set] = row;
    }
    uint64_t end = start + bursts * t->burst;
    c->bus_free = end;
    note_run(c, bursts, end);
    c->ready[set] = MAX(opened + t->ras, end + (write ? t->wr : 0)) + t->rp;
    return end;
}

/* Whether the data of a set of rows hides the activation of the next. */
static bool hides_all(const struct npu_timing *t)
{
    uint64_t data = t->set_bytes / t->burst_bytes * t->burst;
    return data >= t->groups * t->act_gap && data * t->sets >= t->ras + t->rp + t->wr + t->rcd;
}

/* `sets` whole sets of rows, all their activations hidden. */
static uint64_t run_sets(struct npu_channel *c, const struct npu_timing *t, uint64_t set_row,
                         uint64_t sets, bool write)
{
    uint64_t data = t->set_bytes / t->burst_bytes * t->burst, end = c->bus_free + sets * data;
    c->n_act += sets * t->groups;
    c->act_free = MAX(c->act_free, end - data);
    uint64_t last = set_row + sets - 1;
    for (uint64_t i = 0; i < MIN(t->sets, sets); i++) {
        unsigned set = (unsigned)((last - i) % t->sets);
        c->row[set] = (int64_t)((last - i) / t->sets);
        c->ready[set] = end - i * data + (write ? t->wr : 0) + t->rp;
    }
    c->bus_free = end;
    note_run(c, sets * (t->set_bytes / t->burst_bytes), end);
    return end;
}

uint64_t npu_channel_move(struct npu_channel *c, const struct npu_timing *t, uint64_t addr,
                          uint64_t bytes, bool write, uint64_t at)
{
    uint64_t first = addr / t->burst_bytes;
    uint64_t left = (addr + bytes + t->burst_bytes - 1) / t->burst_bytes - first;
    uint64_t a_set = t->set_bytes / t->burst_bytes, end = at;
    bool hides = hides_all(t);
    while (left) {
        uint64_t set_row = first / a_set, n = MIN(left, a_set - first % a_set);
        end = run(c, t, set_row, n, write, at);
        first += n;
        left -= n;
        if (hides && left > 2 * a_set) {
            uint64_t sets = left / a_set - 1;
            end = run_sets(c, t, first / a_set, sets, write);
            first += sets * a_set;
            left -= sets * a_set;
        }
    }
    return end;
}

void npu_mem_init(struct npu_mem *m, const struct npu_chip *c)
{
    const struct npu_dram_type *type = npu_dram_find(c->dram_type);
    unsigned all = (unsigned)c->v[NPU_DRAM_CHANNELS], in_step = 1;
    CHECK(type);
    while (all % in_step || all / in_step > NPU_CHANNELS_MAX)
        in_step++;
    unsigned channels = all / in_step;
    *m = (struct npu_mem){.n_channels = channels, .in_step = in_step};
    npu_timing_init(&m->time, type, c->v[NPU_DRAM_BITS], c->v[NPU_DRAM_RATE], in_step);
    m->stripe = m->time.burst_bytes * NPU_STRIPE;
    m->latency = ps(c->v[NPU_DRAM_LATENCY]);
    m->pj_bit = type->pj_bit;
    m->pj_activate = type->pj_activate;
    for (unsigned i = 0; i < channels; i++)
        npu_channel_init(&m->channel[i]);
}

uint64_t npu_mem_grain(const struct npu_chip *c)
{
    struct npu_mem m;
    npu_mem_init(&m, c);
    /* stripes and sets of rows are both whole numbers of bursts */
    return m.stripe * m.n_channels * (m.time.set_bytes / m.time.burst_bytes) * m.time.sets;
}

/* Stripes go round the channels; what a channel has of a transfer lies together in it. */
uint64_t npu_mem_move(struct npu_mem *m, uint64_t addr, uint64_t bytes, bool write, uint64_t t)
{
    uint64_t first = addr / m->stripe, last = (addr + bytes - 1) / m->stripe, end = t;
    uint64_t n = last - first + 1;
    if (!bytes)
        return t;
    for (uint64_t i = 0; i < MIN(n, m->n_channels); i++) {
        struct npu_channel *c = &m->channel[(first + i) % m->n_channels];
        uint64_t stripes = (n - i + m->n_channels - 1) / m->n_channels;
        uint64_t from = (first + i) / m->n_channels * m->stripe, size = stripes * m->stripe;
        if (n == 1) {
            from += addr % m->stripe;
            size = bytes;
        } else if (i == 0) {
            from += addr % m->stripe;
            size -= addr % m->stripe;
        }
        if (n > 1 && (first + i + (stripes - 1) * m->n_channels) == last)
            size -= m->stripe - 1 - (addr + bytes - 1) % m->stripe;
        uint64_t done = npu_channel_move(c, &m->time, from, size, write, t);
        end = MAX(end, done);
    }
    return end + m->latency;
}
