/* SPDX-License-Identifier: MIT
 * npu_dram.h - when memory has served a transfer.
 *
 * Does: keep, for each channel, what its data bus and its banks are bound to, and serve transfers
 *       row by row: activations hidden behind the data of others or not, the window of four
 *       activations, turns between reading and writing, refresh.  While one waits for its bank,
 *       others that the controller sees go before it.  Long runs cost no more than short ones, and
 *       as long as all channels do the same, one of them is simulated.
 * Does not: hold data, or know of transfers to come: each is served when it is asked for, as a
 *       whole, as of a DMA engine.
 * Units: picoseconds, bytes. */
#ifndef NPU_DRAM_H
#define NPU_DRAM_H

#include "npu/npu_chip.h"

#define NPU_BANKS_MAX    32
#define NPU_STRIPE       32  /* bursts of a channel before the next channel has its turn */
#define NPU_WRITE_BATCH  32  /* bursts that it gathers before it turns the bus */
#define NPU_LOOK_AHEAD   64  /* bursts that a controller sees before their turn */
#define NPU_CHANNELS_MAX 16  /* simulated; more serve in step, see npu_mem_init */
#define NPU_IDLE_NS      200 /* without a transfer: then a controller closes all rows */

struct npu_dram_type {
    const char *name;
    unsigned banks, groups; /* banks of all groups */
    unsigned row, burst;
    double rcd, rp, ras, rrd, faw, ccd_l, wtr, rtw, wr, refi, rfc;
    double pj_bit, pj_activate;
};

const struct npu_dram_type *npu_dram_find(const char *name); /* NULL: none */
const char *npu_dram_list(void);                             /* "ddr3, ddr4, ..." */

/* A channel.  Bursts that follow each other lie in different groups of banks, so that the bus never
 * waits for a group: `groups` banks are open together as one set. */
struct npu_channel {
    uint64_t bus_free; /* when the data bus is */
    uint64_t act_free; /* when the budget of activations allows the next */
    uint64_t opened;   /* the last activation */
    uint64_t n_act, n_bursts, seen;
    uint64_t head, tail;  /* of `runs`, which is a ring */
    uint64_t gap, gap_to; /* so long the bus waits for banks, up to then */
    uint64_t gap_seen;    /* bursts before this one are seen meanwhile, and may have it */
    bool writing;
    struct npu_set {
        uint64_t ready; /* when it may be activated again */
        int64_t row;    /* the open one; -1: none */
    } set[NPU_BANKS_MAX];
    struct npu_past_run {
        uint64_t end, time; /* bursts up to its end; when they were through */
    } runs[NPU_LOOK_AHEAD];
};

/* A divisor that is a power of two more often than not. */
struct npu_divisor {
    uint64_t by;
    unsigned shift; /* 64: by is no power of two */
};

struct npu_timing { /* of a channel; ps */
    uint64_t burst, rcd, rp, ras, act_gap, wtr, rtw, wr;
    uint64_t burst_bytes, set_bytes; /* of all channels in step */
    uint64_t set_bursts, set_data;   /* bursts of a set of rows; how long they take */
    uint64_t idle;
    struct npu_divisor by_set, by_sets; /* set_bursts, sets */
    unsigned sets, groups;
    bool hides; /* the data of a set of rows hides the activation of the next */
};

struct npu_mem {
    struct npu_timing time;
    unsigned n_channels;
    bool alike;     /* all channels are as the first one, and the others are not kept */
    uint64_t busy;  /* until when any data bus is */
    uint64_t n_act; /* activations that are no channel's */
    struct npu_divisor by_channels; /* n_channels */
    uint64_t stripe;                /* bytes that go to one channel before the next one's turn */
    uint64_t latency;               /* of the way to memory and back */
    double pj_bit, pj_activate;
    unsigned in_step; /* real channels behind one that is simulated */
    struct npu_channel channel[NPU_CHANNELS_MAX];
};

/* Channels beyond NPU_CHANNELS_MAX serve together in groups: transfers of an accelerator are long
 * against `stripe` times the channels. */
void npu_mem_init(struct npu_mem *m, const struct npu_chip *c);
/* Addresses that differ by a multiple of it lie in the same channel and the same set of banks. */
uint64_t npu_mem_grain(const struct npu_chip *c);
/* When the last byte has come, of a transfer that may start at t, which is not before the t of an
 * earlier one.  The state moves on. */
uint64_t npu_mem_move(struct npu_mem *m, uint64_t addr, uint64_t bytes, bool write, uint64_t t);
/* Activations of all channels that are simulated. */
uint64_t npu_mem_activations(const struct npu_mem *m);

/* Channels whose state is kept, from the first on. */
static inline unsigned npu_mem_kept(const struct npu_mem *m)
{
    return m->alike ? 1 : m->n_channels;
}

/* One channel: the same; addr counts in the channel's own bytes. */
void npu_timing_init(struct npu_timing *t, const struct npu_dram_type *type, double bits,
                     double mtps, unsigned in_step);
void npu_channel_init(struct npu_channel *c);
uint64_t npu_channel_move(struct npu_channel *c, const struct npu_timing *t, uint64_t addr,
                          uint64_t bytes, bool write, uint64_t at);

#endif
