/* SPDX-License-Identifier: MIT */
#include "app/device.h"

#include "app/chip.h"
#include "base/num.h"
#include "dev/dev.h"
#include "ranks/ranks.h"

#include <string.h>

static const char *const clocks[] = {
    [DEV_CLOCK_WALL] = "wall", [DEV_CLOCK_PACED] = "paced", [DEV_CLOCK_VIRTUAL] = "virtual"};

enum dev_clock device_clock(const struct conf *c)
{
    for (size_t i = 0; i < N_ELEMS(clocks); i++)
        if (strcmp(c->clock, clocks[i]) == 0)
            return (enum dev_clock)i;
    return DEV_CLOCK_WALL;
}

const char *device_clock_name(enum dev_clock clock)
{
    return clocks[clock];
}

static int numerics_named(const char *name)
{
    for (int i = 0; i < KERN_NUMERICS_N; i++)
        if (strcmp(name, kern_numerics_name((enum kern_numerics)i)) == 0)
            return i;
    return -1; /* auto */
}

static enum err check(const struct npu_chip *c, enum kern_numerics n, struct errinfo *e)
{
    enum npu_type type;
    return n == KERN_NATIVE ? ERR_OK
                            : npu_work_type(c, n == KERN_BF16 ? NPU_BF16 : NPU_INT8, &type, e);
}

static enum err team(struct plan_ranks *out, const struct conf *c, struct errinfo *e)
{
    if (ranks_started() > 1)
        return err_set(e, ERR_USAGE,
                       "with mpirun each process is one chip of the %zu: leave out --chips",
                       ranks_started());
    TRY(chip_split_read(out, c->split, (size_t)c->chips, e));
    return out->tensor ? ERR_OK
                       : err_set(e, ERR_USAGE,
                                 "--split auto is of damso chip: a device takes tensor, pipeline, "
                                 "or as 4x2");
}

enum err device_open(struct npu_chip **chip, const struct conf *c, struct engine_opts *o,
                     struct errinfo *e)
{
    int n = numerics_named(c->numerics);
    enum dev_clock clock = device_clock(c);
    *chip = NULL;
    o->numerics = n < 0 ? KERN_NATIVE : (enum kern_numerics)n;
    o->sim = (struct dev_sim_opts){0};
    if (!c->device[0] && clock != DEV_CLOCK_WALL)
        return err_set(e, ERR_USAGE,
                       "--clock %s is the clock of a simulated chip, and there is no "
                       "--device",
                       c->clock);
    if (!c->device[0] && c->chips > 1)
        return err_set(e, ERR_USAGE,
                       "--chips %lld are of a simulated chip, and there is no --device",
                       (long long)c->chips);
    if (!c->device[0])
        return ERR_OK;
    struct plan_ranks ranks = {0};
    if (c->chips > 1)
        TRY(team(&ranks, c, e));
    TRY(chip_open(chip, c->device, e));
    enum err r = n < 0 ? dev_chip_numerics(*chip, &o->numerics, e) : check(*chip, o->numerics, e);
    if (r != ERR_OK) {
        npu_chip_free(*chip);
        *chip = NULL;
        return r;
    }
    o->sim = (struct dev_sim_opts){
        .chip = *chip, .name = (*chip)->name, .ranks = ranks, .clock = clock};
    return ERR_OK;
}

static size_t n_assumed(const struct dev_sim *sim)
{
    size_t n = *sim->assumed != 0;
    for (const char *at = sim->assumed; *at; at++)
        n += *at == ',';
    return n;
}

void device_print(const struct device_run *r, struct str *out)
{
    const struct dev_sim *sim = r->sim;
    if (sim->n_chips > 1)
        str_addf(out, "%zu x ", sim->n_chips);
    str_addf(out, "%s, simulated in %s: first token after %.3g ms", sim->name, sim->computes,
             r->ttft_ms);
    if (r->tpot_ms > 0)
        str_addf(out, ", then %.4g tokens/s", 1e3 / r->tpot_ms);
    str_addf(out, "; %.3g J", r->joules);
    if (r->joules > 0)
        str_addf(out, ", %.3g tokens/J", (double)r->n_tokens / r->joules);
    if (n_assumed(sim))
        str_addf(out, "; %zu numbers of the chip are assumed, see damso chip list", n_assumed(sim));
    if (sim->n_late)
        str_addf(out, "; this machine was too slow for %llu of %llu steps",
                 (unsigned long long)sim->n_late, (unsigned long long)sim->n_steps);
}
