/* SPDX-License-Identifier: MIT
 * dry.h - an engine whose device computes nothing and has a clock of its own: a simulated chip's,
 * or that of a machine's measured speeds.  For load_run (load.h).
 *
 * Does: open chip, model and engine from their names, with the settings --parallel, --batch, --ctx,
 *       --numerics; shapes suffice, so that the model may be a config.json.
 * Owner: the caller; dry_close ends all of it, also where dry_open failed. */
#ifndef APP_DRY_H
#define APP_DRY_H

#include "app/conf.h"
#include "engine/load.h"

struct npu_chip;

struct dry {
    struct npu_chip *chip; /* NULL: measured speeds */
    struct gguf *gguf;     /* NULL: a config.json */
    struct engine *en;
};

/* ctx: of a sequence, where the settings do not say; never more than the model's.  There is room
 * for twice --parallel of them, or as many as the chip's memory holds. Errors: those of
 * device_open, gguf_open, engine_open. */
enum err dry_open(struct dry *x, const struct conf *c, const char *chip, const char *workload,
                  size_t ctx, struct errinfo *e);
/* The same for a machine; speeds outlives x. */
enum err dry_open_measured(struct dry *x, const struct conf *c, const struct dev_speeds *speeds,
                           const char *workload, size_t ctx, struct errinfo *e);
void dry_close(struct dry *x);

/* The longest that is drawn: of a lognormal, eight medians. */
size_t dry_longest(const struct load_length *l);

#endif
