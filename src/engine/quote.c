/* SPDX-License-Identifier: MIT */
#include "engine/quote.h"

#include "base/num.h"
#include "dev/dev_price.h"
#include "engine/engine_int.h"

/* The numbers of a step of one sequence, as a device would be asked. */
static enum err step(struct dev_price *p, size_t rows, size_t past, bool wanted,
                     struct dev_cost *sum, struct errinfo *e)
{
    struct dev_cost cost;
    TRY(dev_price_alone(p, rows, past, wanted, &cost, e));
    sum->ps += cost.ps;
    sum->joules += cost.joules;
    return ERR_OK;
}

static enum err price(struct quote *out, struct dev_price *p, size_t batch,
                      const struct quote_run *run, struct errinfo *e)
{
    struct dev_cost sum = {0};
    for (size_t at = run->n_cached, n; at < run->n_prompt; at += n) {
        n = MIN(run->n_prompt - at, batch);
        TRY(step(p, n, at, at + n == run->n_prompt, &sum, e));
    }
    out->ttft_ms = (double)sum.ps * 1e-9;
    uint64_t first = sum.ps;
    for (size_t i = 1; i < run->n_answer; i++)
        TRY(step(p, 1, run->n_prompt + i - 1, true, &sum, e));
    if (run->n_answer > 1)
        out->tpot_ms = (double)(sum.ps - first) * 1e-9 / (double)(run->n_answer - 1);
    out->joules = sum.joules;
    return ERR_OK;
}

enum err quote_run(struct quote *out, const struct engine *en, const struct npu_chip *chip,
                   const struct quote_run *run, struct errinfo *e)
{
    struct dev_room room;
    size_t batch = engine_batch(en), ctx = engine_ctx(en);
    CHECK(run->n_prompt >= 1 && run->n_cached < run->n_prompt);
    *out = (struct quote){0};
    TRY(dev_chip_numerics(chip, &out->numerics, e));
    struct dev_price *p = dev_price_by(en->plan, chip, out->numerics, batch, ctx);
    enum err r = dev_price_room(p, &room, e);
    if (r == ERR_OK)
        r = price(out, p, batch, run, e);
    dev_price_free(p);
    return r;
}
