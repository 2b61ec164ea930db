/* SPDX-License-Identifier: MIT
 * The memory model against one that goes cycle by cycle through the standard's timing rules. */
#include "base/num.h"
#include "base/test.h"
#include "npu/npu_dram.h"

#include <string.h>
#include <time.h>

/* ---- the reference: every command in its cycle, every bank by itself ---- */

#define WINDOW NPU_LOOK_AHEAD

struct burst {
    uint32_t bank;
    int64_t row;
    bool write;
};

struct bank {
    int64_t row;
    uint64_t can_act, can_pre, can_use;
};

/* Of the standard, not stretched for refresh as the model's are; ps. */
struct rules {
    uint64_t burst, rcd, rp, ras, wtr, rtw, wr, refi, rfc, rrd, faw, ccd_l;
    unsigned groups;
};

struct wanted { /* in the window: the first row that a bank is needed with, and if others are */
    uint64_t look;
    int64_t row;
    bool rows;
};

struct cycles {
    const struct rules *t;
    struct wanted wanted[64];
    uint64_t looks;
    struct bank bank[64];
    uint64_t acts[4], n_act, last_act, bus_free, group_free[16], step;
    uint64_t next_refresh;
    bool writing, any;
};

static uint64_t max64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Whether the burst's data may go now. */
static bool is_ready(const struct cycles *c, const struct burst *b, uint64_t now)
{
    const struct bank *k = &c->bank[b->bank];
    return k->row == b->row && now >= k->can_use && now >= c->group_free[b->bank % c->t->groups];
}

static void give_data(struct cycles *c, const struct burst *b, uint64_t now)
{
    const struct rules *t = c->t;
    struct bank *k = &c->bank[b->bank];
    c->bus_free = now + t->burst;
    c->group_free[b->bank % t->groups] = now + t->ccd_l;
    c->writing = b->write;
    c->any = true;
    k->can_pre = max64(k->can_pre, now + t->burst + (b->write ? t->wr : 0));
}

/* Whether the bank got one of the two commands that lead to the burst's row. */
static bool open_row(struct cycles *c, const struct burst *b, uint64_t now)
{
    const struct rules *t = c->t;
    struct bank *o = &c->bank[b->bank];
    if (o->row >= 0) {
        if (now < o->can_pre)
            return false;
        o->row = -1;
        o->can_act = max64(o->can_act, now + t->rp);
        return true;
    }
    if (now < o->can_act || (c->n_act && now < c->last_act + t->rrd) ||
        (c->n_act >= 4 && now < c->acts[c->n_act % 4] + t->faw))
        return false;
    c->acts[c->n_act++ % 4] = c->last_act = now;
    o->row = b->row;
    o->can_use = now + t->rcd;
    o->can_pre = now + t->ras;
    return true;
}

/* One command at most for the bursts in the window, at time `now`: data of the first whose row is
 * open, if it needs no turn or nothing is before it, and none before it needs the bank with another
 * row; else an activation or a precharge for the first of its bank.  The index of the burst whose
 * data goes, or n. */
static size_t issue(struct cycles *c, const struct burst *b, size_t n, uint64_t now)
{
    const struct rules *t = c->t;
    size_t firsts[WINDOW], n_firsts = 0;
    c->looks++;
    for (size_t i = 0; i < n; i++) {
        struct wanted *w = &c->wanted[b[i].bank];
        if (w->look != c->looks) {
            *w = (struct wanted){c->looks, b[i].row, false};
            firsts[n_firsts++] = i;
        }
        w->rows |= w->row != b[i].row;
        bool turns = c->any && c->writing != b[i].write;
        uint64_t turn = !turns ? 0 : b[i].write ? t->rtw : t->wtr;
        if ((i && (turns || w->rows)) || now < c->bus_free + turn || !is_ready(c, &b[i], now))
            continue;
        give_data(c, &b[i], now);
        return i;
    }
    for (size_t i = 0; i < n_firsts; i++)
        if (c->bank[b[firsts[i]].bank].row != b[firsts[i]].row && open_row(c, &b[firsts[i]], now))
            break;
    return n;
}

static struct rules rules_of(const struct npu_dram_type *d, double mtps)
{
    struct rules r = {.burst = (uint64_t)(d->burst / mtps * 1e6 + 0.5), .groups = d->groups};
    const struct {
        uint64_t *to;
        double ns;
    } times[] = {
        {&r.rcd,   d->rcd  },
        {&r.rp,    d->rp   },
        {&r.ras,   d->ras  },
        {&r.wtr,   d->wtr  },
        {&r.rtw,   d->rtw  },
        {&r.wr,    d->wr   },
        {&r.refi,  d->refi },
        {&r.rfc,   d->rfc  },
        {&r.rrd,   d->rrd  },
        {&r.faw,   d->faw  },
        {&r.ccd_l, d->ccd_l}
    };
    for (size_t i = 0; i < N_ELEMS(times); i++)
        *times[i].to = (uint64_t)(times[i].ns * 1000 + 0.5);
    r.ccd_l = max64(r.ccd_l, r.burst);
    return r;
}

static uint64_t reference(const struct rules *t, struct burst *b, size_t n)
{
    static struct cycles c;
    uint64_t now = 0;
    memset(&c, 0, sizeof c);
    c.t = t;
    c.step = (t->burst + 15) / 16;
    c.next_refresh = t->refi;
    for (int i = 0; i < 64; i++)
        c.bank[i].row = -1;
    for (size_t i = 0; i < n; now += c.step) {
        if (now >= c.next_refresh && now >= c.bus_free) { /* all banks close, then none may open */
            for (int k = 0; k < 64; k++) {
                c.bank[k].row = -1;
                c.bank[k].can_act = c.next_refresh + t->rfc > now ? c.next_refresh + t->rfc : now;
            }
            c.next_refresh += t->refi;
        }
        size_t seen = n - i < WINDOW ? n - i : WINDOW, k = issue(&c, b + i, seen, now);
        if (k < seen) { /* those before it are still to come */
            memmove(b + i + 1, b + i, k * sizeof *b);
            i++;
        }
    }
    return c.bus_free;
}

/* ---- patterns ---- */

enum { MIXED = 7, PATTERNS };

struct access {
    uint64_t addr, bytes;
    bool write;
};

static size_t pattern(int which, const struct npu_timing *t, struct access *a, size_t most,
                      uint64_t *seed)
{
    uint64_t set = t->set_bytes;
    for (size_t i = 0; i < most; i++) {
        uint64_t far = num_rand(seed) % 4096;
        switch (which) {
        case 0: a[i] = (struct access){i * 65536, 65536, false}; break; /* one stream read */
        case 1: a[i] = (struct access){i * 65536, 65536, true}; break;  /* one stream written */
        case 2: /* two streams, one read and one written, in turns */
            a[i] = (struct access){(i / 2) * 16384 + (i % 2) * (set * t->sets * 1000 + set * 2),
                                   16384, i % 2};
            break;
        case 3:
            a[i] = (struct access){far * set, t->burst_bytes * 4, false};
            break;                                                    /* a little here and there */
        case 4: a[i] = (struct access){far * set, set, false}; break; /* rows in any order */
        case 5:
            a[i] = (struct access){i * set * t->sets, 2 * t->burst_bytes, false}; /* one bank */
            break;
        default: /* pieces of what many cores read, or read and write, each where it is */
            a[i] = (struct access){far * set, NPU_STRIPE * t->burst_bytes,
                                   which == MIXED && num_rand(seed) % 3 == 0};
        }
    }
    return most;
}

static size_t bursts_of(const struct npu_timing *t, const struct access *a, size_t n,
                        struct burst *out, size_t most)
{
    size_t k = 0;
    uint64_t a_set = t->set_bytes / t->burst_bytes;
    for (size_t i = 0; i < n; i++)
        for (uint64_t at = a[i].addr / t->burst_bytes;
             at < (a[i].addr + a[i].bytes) / t->burst_bytes && k < most; at++) {
            uint64_t set = at / a_set;
            out[k++] = (struct burst){(uint32_t)(set % t->sets * t->groups + at % t->groups),
                                      (int64_t)(set / t->sets), a[i].write};
        }
    return k;
}

static void test_within_three_percent(void **state)
{
    static const struct {
        const char *type;
        double bits, rate;
    } kinds[] = {
        {"ddr4",   64, 3200 },
        {"lpddr4", 16, 4266 },
        {"gddr6",  16, 14000},
        {"hbm2",   64, 2400 },
        {"ddr3",   64, 1333 },
        {"hbm3",   32, 5200 }
    };
    enum { MOST = 2000, BURSTS = 1 << 20 };
    static const size_t lengths[PATTERNS] = {20, 20, 100, 500, 100, 500, 500, MOST};
    struct access *a = malloc(MOST * sizeof *a);
    struct burst *b = malloc(BURSTS * sizeof *b);
    uint64_t seed = test_seed();
    double slow = 0, fast = 0;
    (void)state;
    for (size_t k = 0; k < N_ELEMS(kinds); k++)
        for (int which = 0; which < PATTERNS; which++) {
            const struct npu_dram_type *type = npu_dram_find(kinds[k].type);
            struct npu_timing t;
            struct npu_channel c;
            npu_timing_init(&t, type, kinds[k].bits, kinds[k].rate, 1);
            npu_channel_init(&c);
            size_t n = pattern(which, &t, a, lengths[which], &seed);
            size_t n_bursts = bursts_of(&t, a, n, b, BURSTS);
            assert_true(n_bursts < BURSTS);
            clock_t begin = clock();
            struct rules rules = rules_of(type, kinds[k].rate);
            uint64_t want = reference(&rules, b, n_bursts);
            slow += (double)(clock() - begin);
            uint64_t got = 0;
            begin = clock();
            for (size_t i = 0; i < n; i++)
                got = npu_channel_move(&c, &t, a[i].addr, a[i].bytes, a[i].write, 0);
            fast += (double)(clock() - begin);
            double gbs = (double)n_bursts * (double)t.burst_bytes / (double)got * 1000;
            printf("%-7s pattern %d: %8.3f us, reference %8.3f us (%+.2f %%), %.2f GB/s\n",
                   kinds[k].type, which, (double)got / 1e6, (double)want / 1e6,
                   100 * ((double)got / (double)want - 1), gbs);
            assert_true((double)got < 1.03 * (double)want && (double)got > 0.97 * (double)want);
        }
    assert_true(slow > 100 * fast); /* thousands of times */
    printf("reference %.0f ms, model %.3f ms: %.0f times faster\n", slow / 1e3, fast / 1e3,
           slow / (fast + 1));
    free(a);
    free(b);
}

/* Where each burst of a transfer goes, one by one; the channels' own model then says when. */
static uint64_t move_by_bursts(struct npu_mem *m, const struct access *a, uint64_t at)
{
    uint64_t burst = m->time.burst_bytes, end = at;
    uint64_t first[NPU_CHANNELS_MAX], n[NPU_CHANNELS_MAX] = {0};
    for (uint64_t b = a->addr / burst; b <= (a->addr + a->bytes - 1) / burst; b++) {
        uint64_t stripe = b / NPU_STRIPE;
        unsigned c = (unsigned)(stripe % m->n_channels);
        uint64_t there = stripe / m->n_channels * NPU_STRIPE + b % NPU_STRIPE;
        first[c] = n[c] ? first[c] : there;
        n[c]++;
    }
    for (unsigned c = 0; c < m->n_channels; c++)
        if (n[c])
            end = max64(end, npu_channel_move(&m->channel[c], &m->time, first[c] * burst,
                                              n[c] * burst, a->write, at));
    return end + m->latency;
}

static void test_stripes_go_round(void **state)
{
    static const char chip_text[] =
        "name: t\ntitle: t\nvendor: t\nchip: {node_nm: 7}\nclock: {mhz: 1000}\n"
        "core: {count: 2, sram_kib: 64, link_bytes: 64, acc_kib: 16}\n"
        "matrix: {kind: dot, rows: 8, cols: 8, depth: 8, rate: {int8: 1}}\n"
        "vector: {lanes: 32, macs: 32}\nnoc: {bytes: 128}\n"
        "dram: {type: hbm2, gb: 8, channels: 44, bits: 64, mtps: 2400}\nhost: {gb_s: 10}\n"
        "power: {tdp_w: 20, static_w: 2}\n";
    struct npu_chip *chip;
    struct npu_mem m, want;
    struct errinfo e;
    uint64_t seed = test_seed(), at = 0;
    (void)state;
    assert_int_equal(npu_chip_parse(&chip, chip_text, sizeof chip_text - 1, "test", &e), ERR_OK);
    npu_mem_init(&m, chip);
    npu_mem_init(&want, chip);
    assert_int_equal(m.n_channels, 11);
    for (unsigned c = 0; c < m.n_channels; c++)
        npu_channel_init(&want.channel[c]);
    want.alike = false;
    uint64_t round = m.stripe * m.n_channels; /* transfers of whole ones, and others */
    int alike = 0;
    for (int i = 0; i < 6000; i++) {
        uint64_t most = i % 3 ? 3000 : 2 << 20;
        struct access a = {num_rand(&seed) % (1 << 30), 1 + num_rand(&seed) % most,
                           num_rand(&seed) % 4 == 0};
        if (i % 40 < 25) {
            a.addr -= a.addr % round;
            a.bytes = round * (1 + a.bytes % 40);
        }
        uint64_t end = npu_mem_move(&m, a.addr, a.bytes, a.write, at);
        assert_int_equal(end, move_by_bursts(&want, &a, at));
        alike += m.alike;
        at += num_rand(&seed) % (i % 7 ? 1000 : 20000000); /* now and then it rests */
    }
    printf("channels alike in %d transfers of 6000\n", alike);
    assert_in_range(alike, 1000, 5000);
    assert_int_equal(npu_mem_activations(&m), npu_mem_activations(&want));
    npu_chip_free(chip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stripes_go_round),
        cmocka_unit_test(test_within_three_percent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
