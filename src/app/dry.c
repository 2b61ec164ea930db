/* SPDX-License-Identifier: MIT */
#include "app/dry.h"

#include "app/app_model.h"
#include "app/chip.h"
#include "app/device.h"
#include "base/num.h"
#include "hf/hf.h"

#define LONG_TAIL 8 /* times the median */

size_t dry_longest(const struct load_length *l)
{
    return (size_t)(l->kind == LOAD_FIXED     ? l->a
                    : l->kind == LOAD_UNIFORM ? l->b
                                              : LONG_TAIL * l->a);
}

void dry_close(struct dry *x)
{
    engine_close(x->en);
    gguf_close(x->gguf);
    npu_chip_free(x->chip);
}

static struct engine_opts opts_of(const struct conf *c)
{
    return (struct engine_opts){.batch = MAX((size_t)c->batch, (size_t)c->parallel),
                                .out_max = (size_t)c->parallel,
                                .ctx = (size_t)c->ctx,
                                .level = app_level(c)};
}

/* Of a config.json, the model is the engine's from engine_open_shape on. */
static enum err open_engine(struct dry *x, const char *workload, size_t ctx, struct engine_opts *o,
                            struct errinfo *e)
{
    struct model *m;
    o->sim.dry = true;
    if (span_ends(span_of(workload), SPAN(".json"))) {
        TRY(chip_model_config(&m, workload, e));
        o->ctx = o->ctx ? o->ctx : MIN(ctx, m->ctx_trained);
        o->ctx_total = 2 * o->ctx * o->out_max;
        return engine_open_shape(&x->en, m, o, e);
    }
    TRY(hf_open(&x->gguf, workload, e));
    if (!o->ctx) {
        TRY(model_open(&m, x->gguf, e));
        o->ctx = MIN(ctx, m->ctx_trained);
        model_close(m);
    }
    o->ctx_total = 2 * o->ctx * o->out_max;
    return engine_open(&x->en, x->gguf, o, e);
}

enum err dry_open(struct dry *x, const struct conf *c, const char *chip, const char *workload,
                  size_t ctx, struct errinfo *e)
{
    struct engine_opts o = opts_of(c);
    struct conf simulated = *c;
    *x = (struct dry){0};
    simulated.device = chip;
    simulated.clock = device_clock_name(DEV_CLOCK_VIRTUAL);
    TRY(device_open(&x->chip, &simulated, &o, e));
    return open_engine(x, workload, ctx, &o, e);
}

enum err dry_open_measured(struct dry *x, const struct conf *c, const struct dev_speeds *speeds,
                           const char *workload, size_t ctx, struct errinfo *e)
{
    struct engine_opts o = opts_of(c);
    *x = (struct dry){0};
    o.sim = (struct dev_sim_opts){
        .speeds = speeds, .name = speeds->name, .clock = DEV_CLOCK_VIRTUAL};
    return open_engine(x, workload, ctx, &o, e);
}
