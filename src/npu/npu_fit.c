/* SPDX-License-Identifier: MIT
 * npu_fit.c - the two numbers of a chip that no document gives, by bisection. */
#include "npu/npu_run.h"

#include <math.h>

#define STEPS  16
#define ROUNDS 3 /* the two act on each other a little */

static const struct npu_result *fitted(const struct npu_chip *c, enum npu_scenario s)
{
    for (size_t i = 0; i < c->n_results; i++)
        if (c->results[i].fitted && c->results[i].scenario == s)
            return &c->results[i];
    return NULL;
}

/* By what share the chip is too slow for a result; below 0: too fast. */
static enum err slowness(struct npu_chip *c, const struct npu_result *r, double *slow,
                         struct errinfo *e)
{
    struct npu_answer a;
    struct npu_work *w;
    TRY(npu_run_bench(&a, &w, r->workload, c, r->scenario, NULL, e));
    *slow = r->per_s > 0 ? r->per_s / a.per_s - 1 : a.latency_s * 1e6 / r->latency_us - 1;
    npu_answer_done(&a);
    npu_work_free(w);
    return ERR_OK;
}

/* The number that comes nearest to the result.  The compiler may choose another cut from one number
 * to the next, so that what was seen counts, not where the halves close in. */
static enum err bisect(struct npu_chip *c, enum npu_field f, double fast, double slow,
                       const struct npu_result *r, struct errinfo *e)
{
    double best = fast, least = INFINITY;
    for (int i = 0; i < STEPS; i++) {
        double off;
        c->v[f] = i ? (fast + slow) / 2 : fast;
        TRY(slowness(c, r, &off, e));
        if (fabs(off) < least) {
            least = fabs(off);
            best = c->v[f];
        }
        if (i && off > 0)
            slow = c->v[f];
        else if (i)
            fast = c->v[f];
        if (i == 0 && off >= 0) /* not even at the border */
            break;
    }
    c->v[f] = best;
    return ERR_OK;
}

enum err npu_fit(struct npu_chip *c, struct errinfo *e)
{
    const struct npu_result *rate = fitted(c, NPU_OFFLINE);
    const struct npu_result *latency = fitted(c, NPU_SINGLE_STREAM);
    enum npu_field time = c->v[NPU_OP_US] > 0 ? NPU_OP_US : NPU_HOST_US;
    if (!rate && !latency)
        return err_set(e, ERR_USAGE, "%s has no result that is marked as fitted", c->name);
    for (int i = 0; i < (rate && latency ? ROUNDS : 1); i++) {
        if (rate)
            TRY(bisect(c, NPU_SUSTAINED, 1, 0.02, rate, e));
        if (latency)
            TRY(bisect(c, time, time == NPU_OP_US ? 0.05 : 0, time == NPU_OP_US ? 50 : 2000,
                       latency, e));
    }
    return ERR_OK;
}
