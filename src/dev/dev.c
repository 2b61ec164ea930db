/* SPDX-License-Identifier: MIT
 * dev.c - which device computes: what the options ask for; and the shares beside one. */
#include "dev/dev.h"

#include "base/arena.h"
#include "dev/dev_ranks.h"

enum err dev_peers_open(struct dev_peers *p, const struct model *m, const struct plan_ranks *of,
                        struct errinfo *e)
{
    *p = (struct dev_peers){.share = mem_alloc(of->pipeline * sizeof *p->share),
                            .a_stage = of->tensor};
    for (; p->n < of->pipeline; p->n++)
        TRY(plan_share_new(&p->share[p->n], m, of, plan_largest_rank(of, p->n), e));
    return ERR_OK;
}

void dev_peers_close(struct dev_peers *p)
{
    for (size_t i = 0; i < p->n; i++)
        plan_free(p->share[i]);
    mem_free(p->share);
}

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
