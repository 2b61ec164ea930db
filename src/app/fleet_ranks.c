/* SPDX-License-Identifier: MIT
 * fleet_ranks.c - a model dealt out to processes on several machines: what that adds to the steps
 * of one machine, by the exchanges of the plan that they compute (plan_share.h). */
#include "app/fleet.h"

#include "base/num.h"
#include "plan/plan_share.h"

#define MEMORY_S 0.3e-6 /* an exchange of processes of one machine (docs/SCALE.md) */
#define NUMBER   4.0    /* bytes */

/* Where processes are: mpirun fills one machine after the other. */
struct place {
    struct plan_ranks of;
    size_t a_machine; /* processes of a machine */
    size_t here;      /* of those of a stage on one machine */
    double us_s, byte_s;
};

static double weights_of(const struct plan *p)
{
    double n = 0;
    for (size_t i = 0; i < p->n_ops; i++)
        for (int k = 0; k < p->ops[i].n_parts; k++)
            n += (double)p->ops[i].part[k].weight->rows * (double)p->ops[i].part[k].weight->cols;
    return n;
}

/* Numbers of a row that leave a machine in an exchange, or come to the first one's. */
static double numbers_of(const struct place *x, const struct plan *p, const struct plan_op *op)
{
    double t = (double)x->of.tensor, here = (double)x->here;
    double n = (double)op->n * (op->spread ? (double)p->model->n_chosen : 1);
    if (op->kind == PLAN_RECEIVE)
        return n * here;
    return n * (t - here) / t * (op->to_first ? 1 : here);
}

static bool leaves(const struct place *x, const struct plan_op *op, size_t stage)
{
    size_t first = (x->of.pipeline - 1 - stage) * x->of.tensor;
    if (op->kind == PLAN_GATHER)
        return x->here < x->of.tensor;
    return first / x->a_machine != (first + x->of.tensor) / x->a_machine;
}

static void add_stage(struct dev_speeds *s, const struct place *x, const struct plan *p,
                      size_t stage)
{
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        if (op->kind != PLAN_GATHER && op->kind != PLAN_RECEIVE)
            continue;
        bool out = leaves(x, op, stage);
        double bytes = out ? numbers_of(x, p, op) * NUMBER : 0;
        s->s_step += out ? x->us_s : MEMORY_S;
        *(op->rows == PLAN_ROWS_ALL ? &s->s_row : &s->s_wanted) += bytes * x->byte_s;
    }
}

enum err fleet_ranks(struct dev_speeds *s, const struct fleet_kind *k, const struct model *m,
                     struct errinfo *e)
{
    size_t n = k->tensor * k->pipeline, machines = k->machines;
    struct plan *whole = plan_new(m);
    double all = weights_of(whole), share = 0;
    plan_free(whole);
    if (machines > n || n % machines != 0 ||
        (k->tensor % (n / machines) != 0 && (n / machines) % k->tensor != 0))
        return err_set(e, ERR_USAGE,
                       "%.60s: %zu stages of %zu processes cannot be dealt out evenly to %zu "
                       "machines",
                       k->name, k->pipeline, k->tensor, machines);
    if (machines > 1 && !(k->gbit > 0))
        return err_set(e, ERR_USAGE, "%.60s: gbit= of the network between %zu machines is missing",
                       k->name, machines);
    struct place x = {
        .of = {k->tensor, k->pipeline},
        .a_machine = n / machines,
        .here = MIN(k->tensor, n / machines),
        .us_s = k->us * 1e-6,
        .byte_s = machines > 1 ? 8e-9 / k->gbit : 0
    };
    s->s_step = machines > 1 ? x.us_s : MEMORY_S; /* the first tells the others what to do */
    for (size_t i = 0; i < k->pipeline; i++) {
        struct plan *p; /* the largest share of the stage */
        TRY(plan_share_new(&p, m, &x.of, plan_largest_rank(&x.of, i), e));
        share += weights_of(p) / all * (double)x.here;
        add_stage(s, &x, p, i);
        plan_free(p);
    }
    s->share = share;
    return ERR_OK;
}
