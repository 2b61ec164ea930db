/* SPDX-License-Identifier: MIT
 * dev_price.h - what a step costs on a simulated chip, in time and joules.
 *
 * Does: compile and time the step as `damso chip run` does (npu_run.h), once for each bucket, and
 *       keep that: the same bucket again costs a look into a table.
 * Does not: compute, wait, or know clocks.
 * Buckets, as the compiled graphs of real chips have: numbers go up to the next of 1, 2, 3, 4, 6,
 *       8, 12, ... (powers of two and one and a half of them).  A step is up to two groups of
 *       sequences: those with one new position each (answers that are being written), and those
 *       with more (prompts, and tokens guessed ahead).  A group counts with its sequences, the mean
 *       of their new and of their old positions, each rounded up; old positions in buckets from
 *       DEV_PRICE_PAST on, and in powers of two where both groups meet.  Products are of all rows
 * together; attention is group by group. Owner: one thread at a time; plan and chip must outlive
 * it. */
#ifndef DEV_DEV_PRICE_H
#define DEV_DEV_PRICE_H

#include "dev/dev.h"

#define DEV_PRICE_PAST 128

struct npu_chip;
struct npu_mix;
struct dev_price;

/* Of a share of the plan (plan_share.h): one chip's, with its exchanges with the others. */
struct dev_cost {
    uint64_t ps;
    double joules;
};

/* Adds the next stage's to a step's: a_stage chips work, and the others of all `stages` stages draw
 * what a chip at rest draws.  The host's time counts once.  first: nothing is in *sum yet. */
void dev_cost_add(struct dev_cost *sum, const struct dev_cost *stage, const struct npu_chip *c,
                  size_t a_stage, size_t stages, bool first);

/* type: an enum npu_type, what it computes in; products' weights are kept in it, too.
 * rows_max, ctx_max: of a step, of a sequence: no bucket is larger. */
struct dev_price *dev_price_new(const struct plan *p, const struct npu_chip *c, int type,
                                size_t rows_max, size_t ctx_max);
/* The same by the contract that it computes by. */
struct dev_price *dev_price_by(const struct plan *p, const struct npu_chip *c,
                               enum kern_numerics numerics, size_t rows_max, size_t ctx_max);
/* By what was measured, which must outlive it: no buckets, nothing is compiled. */
struct dev_price *dev_price_measured(const struct plan *p, const struct dev_speeds *s,
                                     size_t rows_max, size_t ctx_max);
void dev_price_free(struct dev_price *p);
/* Errors: those of npu_run, for a bucket that is new. */
enum err dev_price_step(struct dev_price *p, const struct dev_row *rows, size_t n,
                        struct dev_cost *out, struct errinfo *e);
/* The same for a step that is known by its groups, which are rounded up. */
enum err dev_price_mix(struct dev_price *p, const struct npu_mix *mix, struct dev_cost *out,
                       struct errinfo *e);
/* One sequence alone, with so many new positions behind old ones; wanted: the last one's logits. */
enum err dev_price_alone(struct dev_price *p, size_t rows, size_t past, bool wanted,
                         struct dev_cost *out, struct errinfo *e);
/* The mix of rows as they are, not rounded. */
struct npu_mix dev_price_mix_of(const struct dev_row *rows, size_t n);
uint64_t dev_price_bucket(uint64_t n);
size_t dev_price_n(const struct dev_price *p); /* buckets that were priced */

/* What the chip's memory holds of the model. */
struct dev_room {
    double weights, buffers, page; /* bytes: all weights, a step's most, a page of context */
    double all;                    /* of the chip */
};
/* Errors: TOOBIG, with what would help: weights and buffers leave no room for a page of context, or
 * no tile fits. */
enum err dev_price_room(struct dev_price *p, struct dev_room *out, struct errinfo *e);

#endif
