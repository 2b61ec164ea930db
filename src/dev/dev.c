/* SPDX-License-Identifier: MIT
 * dev.c - which device computes: what the options ask for. */
#include "dev/dev.h"

#include "dev/dev_ranks.h"

enum err dev_need_here(const struct plan *p, const struct dev_opts *o, struct dev_need *need,
                       struct errinfo *e)
{
    return dev_sim_wanted(&o->sim) ? dev_chip_need(p, o, need, e) : dev_cpu_need(p, o, need, e);
}

enum err dev_open_here(struct dev **out, const struct plan *p, const struct dev_opts *o,
                       struct errinfo *e)
{
    return dev_sim_wanted(&o->sim) ? dev_chip_open(out, p, o, e) : dev_cpu_open(out, p, o, e);
}

enum err dev_need(const struct plan *p, const struct dev_opts *o, struct dev_need *need,
                  struct errinfo *e)
{
    return o->ranks.tensor ? dev_ranks_need(p, o, need, e) : dev_need_here(p, o, need, e);
}

enum err dev_open(struct dev **out, const struct plan *p, const struct dev_opts *o,
                  struct errinfo *e)
{
    return o->ranks.tensor ? dev_ranks_open(out, p, o, e) : dev_open_here(out, p, o, e);
}
