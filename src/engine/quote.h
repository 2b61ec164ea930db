/* SPDX-License-Identifier: MIT
 * quote.h - what one answer would take on a chip, without computing it.
 *
 * Does: price the steps that a scheduler would make of one answer alone (dev_price.h): the prompt
 * in steps of the batch, then token by token. Does not: guess tokens ahead, or know what others
 * would do meanwhile. Threads: any; the engine's model is only read. */
#ifndef ENGINE_QUOTE_H
#define ENGINE_QUOTE_H

#include "engine/engine.h"

struct quote_run {
    size_t n_prompt, n_cached, n_answer; /* tokens; n_cached: of the prompt that are known */
};

struct quote {
    enum kern_numerics numerics; /* the chip's contract */
    double ttft_ms, tpot_ms;     /* tpot_ms: 0 where the answer has less than two tokens */
    double joules;
};

/* Errors: TOOBIG, UNSUPPORTED: the model does not fit into the chip's memory, or cannot be computed
 * there. */
enum err quote_run(struct quote *out, const struct engine *en, const struct npu_chip *chip,
                   const struct quote_run *run, struct errinfo *e);

#endif
