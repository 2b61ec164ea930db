/* SPDX-License-Identifier: MIT
 * npu_link.h - exchanges between the chips that compute one model.
 *
 * Does: price an exchange by the chip file's link (peer.*), and make its commands.
 * How: a step of an exchange takes peer.us until its first byte is there, and its bytes at
 *       peer.gb_s: what a chip sends to all others together, and receives at the same time.
 *       Of N chips, with a result of B bytes:
 *       ring: gather N - 1 steps of B/N; reduce 2 (N - 1) of them.
 *       full (a link to each other one, or a switch): gather 1 step of (N - 1)/N B; reduce 2 of
 *       them, or 1 of (N - 1) B where that is less, each chip adding up all parts.
 *       host (no link, or more chips than it joins): up to the host's memory and down again, two
 *       steps at host.gb_s: gather B/N up, (N - 1)/N B down; reduce (N - 1)/N B up and down, then
 *       a gather.
 *       A send is 1 step of B; by the host, 2.  What goes to one chip alone is a gather.
 * Units: bytes, picoseconds. */
#ifndef NPU_NPU_LINK_H
#define NPU_NPU_LINK_H

#include "npu/npu_work.h"

#define NPU_LINK_NUMBER 2 /* bytes of a number that crosses */

struct npu_way {
    bool host, ring;
    double gb_s;
};

/* How `cards` chips reach each other. */
struct npu_way npu_way_of(const struct npu_chip *c, uint64_t cards);

struct npu_crossing {
    uint64_t ps;    /* NPU_ADDR_MAX at most */
    uint64_t bytes; /* that each chip sends or, by the host, sends and receives; NPU_BYTES_MAX */
};

/* cards: that take part, of a send those of the whole model, 2 or more; bytes: of the result. */
struct npu_crossing npu_cross(const struct npu_chip *c, enum npu_exchange how, uint64_t cards,
                              double bytes);

#endif
