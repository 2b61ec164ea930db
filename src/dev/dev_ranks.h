/* SPDX-License-Identifier: MIT
 * dev_ranks.h - one model on several processes (ranks.h): a device that has others beside it.
 *
 * Does: in the first process be a device, which tells each step to the others and computes its own
 *       share of the plan (plan_share.h) on the CPU or on a simulated chip; in the others compute
 *       theirs until the first one says that it is over.
 * Does not: start processes, read files, or go on once one of them is gone: then every step fails
 *       (dev.h: check).
 * Limits: one model at a time.  Pages are not kept on disk, since no process has whole ones.
 * Owner: as dev.h. */
#ifndef DEV_DEV_RANKS_H
#define DEV_DEV_RANKS_H

#include "dev/dev.h"

/* In the first process, with ranks_open.  Errors: those of plan_share_new and of the device here;
 * what another process says of its share; NETWORK: one is gone; UNSUPPORTED: a second model. */
enum err dev_ranks_need(const struct plan *p, const struct dev_opts *o, struct dev_need *need,
                        struct errinfo *e);
enum err dev_ranks_open(struct dev **out, const struct plan *p, const struct dev_opts *o,
                        struct errinfo *e);

/* In the other processes: serves until the first one ends.  m is the same model; n_threads of this
 * process.  Errors: NETWORK: the others are gone. */
enum err dev_ranks_serve(struct model *m, int n_threads, struct errinfo *e);
/* In the first one, when no device is left: the others end. */
void dev_ranks_end(void);

#endif
