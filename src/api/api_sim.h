/* SPDX-License-Identifier: MIT
 * api_sim.h - what answers and /api/v1 tell of a simulated chip, and the times of answers by the
 * clock of their scheduler, which may be the chip's.
 *
 * A simulated figure is never called a result of the chip: `sim` stands beside the usage, names the
 * device and lists what is assumed of it. */
#ifndef API_API_SIM_H
#define API_API_SIM_H

#include "api/api_gen.h"

/* o.sim = {device, ttft_ms, tpot_ms, joules, tokens_per_joule, assumed}, where a chip is simulated.
 * tpot_ms is null for answers of less than two tokens.  Of several answers: the mean of their
 * times, the sum of their joules. */
void api_sim_add(json_t *o, const struct api_gen *g);
/* {name, title, simulated, computes, clock, watts, memory_bytes, weight_bytes, assumed}; null: no
 * chip is simulated. */
json_t *api_sim_device(const struct engine *en);

uint64_t api_sim_now(const struct api_gen *g);
/* When the request came, by that clock. */
uint64_t api_sim_arrived_ns(const struct api_choice *c);

#endif
