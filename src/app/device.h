/* SPDX-License-Identifier: MIT
 * device.h - the simulated chip of the settings: --device, --clock, --numerics. */
#ifndef APP_DEVICE_H
#define APP_DEVICE_H

#include "app/conf.h"
#include "engine/engine.h"

struct npu_chip;

/* Sets o->sim and o->numerics.  *chip: the caller's, as long as the engine lives; NULL: none is
 * simulated.  Errors: those of chip_open; USAGE: what does not go together; UNSUPPORTED: the chip
 * does not compute in what --numerics says. */
enum err device_open(struct npu_chip **chip, const struct conf *c, struct engine_opts *o,
                     struct errinfo *e);

/* "wall", "paced", "virtual" */
enum dev_clock device_clock(const struct conf *c);
const char *device_clock_name(enum dev_clock clock);

/* What an answer took on it, by the chip's clock. */
struct device_run {
    const struct dev_sim *sim; /* NULL: no chip is simulated */
    double ttft_ms, tpot_ms;   /* tpot_ms: 0 for an answer of one token */
    double joules;
    size_t n_tokens;
};
/* One line for people: "atom, simulated: first token after 1.2 ms, then 345 tokens/s; ..." */
void device_print(const struct device_run *r, struct str *out);

#endif
