/* SPDX-License-Identifier: MIT */
#include "npu/npu_team.h"

#include "base/num.h"

#include <math.h>
#include <string.h>

/* ---- shares ---- */

/* The work of chip t of a stage. */
static enum err work_of(struct npu_work **out, const struct model *m,
                        const struct npu_team_ask *ask, size_t stage, size_t t, bool *whole,
                        struct errinfo *e)
{
    struct plan *p;
    size_t rank = (ask->ranks.pipeline - 1 - stage) * ask->ranks.tensor + t;
    TRY(plan_share_new(&p, m, &ask->ranks, rank, e));
    *whole = ask->ranks.tensor > 1 && p->model->n_head == m->n_head;
    *out = npu_work_mix(p, &ask->mix, ask->format, ask->type);
    (*out)->kv_values *= ask->groups; /* those of all groups stay, whichever is worked on */
    plan_free(p);
    if (ask->ranks.tensor * ask->ranks.pipeline > 1)
        (*out)->name = "a chip's share";
    return ERR_OK;
}

/* The member that does this work, which is a new one where no other does; takes the work. */
static enum err member_of(struct npu_team *t, struct npu_work *w, const struct npu_chip *c,
                          const struct npu_team_ask *ask, size_t *out, struct errinfo *e)
{
    struct npu_ask a = npu_ask_once(c, ask->now);
    for (size_t i = 0; i < t->n_members; i++)
        if (npu_work_alike(t->member[i].work, w)) {
            npu_work_free(w);
            *out = i;
            return ERR_OK;
        }
    struct npu_member *x = &t->member[t->n_members];
    enum err r = npu_run(&x->answer, w, c, &a, e);
    if (r != ERR_OK) {
        npu_answer_done(&x->answer);
        npu_work_free(w);
        return r;
    }
    x->work = w;
    *out = t->n_members++;
    return ERR_OK;
}

static double seconds_of(const struct npu_answer *a)
{
    return npu_answer_s(a, (double)a->timing.ps);
}

static enum err run_stage(struct npu_team *t, size_t stage, const struct model *m,
                          const struct npu_chip *c, const struct npu_team_ask *ask,
                          struct errinfo *e)
{
    size_t n = ask->ranks.tensor, *of = t->of + stage * n;
    struct npu_team_stage *s = &t->stage[stage];
    s->from = m->n_layer * stage / ask->ranks.pipeline;
    s->to = m->n_layer * (stage + 1) / ask->ranks.pipeline;
    for (size_t i = 0; i < n; i++) {
        struct npu_work *w;
        TRY(work_of(&w, m, ask, stage, i, &t->whole_attention, e));
        TRY(member_of(t, w, c, ask, &of[i], e));
        const struct npu_answer *a = &t->member[of[i]].answer;
        if (i > 0 && seconds_of(a) <= s->once_s)
            continue;
        s->slowest = of[i];
        s->once_s = seconds_of(a);
        s->latency_s = a->latency_s;
    }
    return ERR_OK;
}

/* ---- all together ---- */

/* What the stages' times come to, of which one is the slowest. */
static double together(const struct npu_team_ask *ask, double sum, double slowest)
{
    double more = (ask->groups - 1) * slowest;
    return ask->again ? MAX(sum, ask->groups * slowest) : sum + more;
}

/* Each matrix unit's time has one cause: its own program's, the exchanges in which it waits for a
 * slower chip of its stage, or the stages that work without it. */
static void sum_causes(struct npu_team *t, const struct npu_team_ask *ask, double seconds)
{
    struct npu_answer *all = &t->answer;
    for (size_t i = 0; i < t->n_chips; i++) {
        const struct npu_answer *a = &t->member[t->of[i]].answer;
        double mine = seconds_of(a) * ask->groups / seconds / (double)t->n_chips;
        double stage = t->stage[i / ask->ranks.tensor].once_s * ask->groups / seconds /
                       (double)t->n_chips;
        for (int k = 0; k < NPU_N_CAUSES; k++)
            all->timing.share[k] += a->timing.share[k] * mine;
        all->timing.share[NPU_BY_LINKS] += stage - mine;
        all->timing.share[NPU_BY_STAGES] += MAX(1 / (double)t->n_chips - stage, 0);
    }
}

static void sum_chips(struct npu_team *t, const struct npu_chip *c, const struct npu_team_ask *ask)
{
    struct npu_answer *all = &t->answer;
    double macs = 0;
    all->clock = 1;
    for (size_t i = 0; i < t->n_chips; i++) {
        const struct npu_member *x = &t->member[t->of[i]];
        for (int k = 0; k < NPU_E_STATIC; k++)
            all->energy[k] += x->answer.energy[k] * ask->groups;
        macs += x->work->macs * ask->groups;
        all->clock = MIN(all->clock, x->answer.clock);
        t->weights += x->answer.prog->weight_bytes + x->answer.prog->table_bytes;
        t->memory = MAX(t->memory, (double)x->answer.prog->memory);
    }
    for (size_t i = 0; i < t->n_members; i++) {
        all->compile_s += t->member[i].answer.compile_s;
        all->time_s += t->member[i].answer.time_s;
        all->timing.counts.commands += t->member[i].answer.timing.counts.commands;
    }
    all->energy[NPU_E_STATIC] = c->v[NPU_STATIC] * (double)t->n_chips * all->latency_s;
    all->utilisation = macs / (all->latency_s * npu_chip_macs(c, ask->type) * (double)t->n_chips);
}

static void answer(struct npu_team *t, const struct npu_chip *c, const struct npu_team_ask *ask)
{
    struct npu_answer *all = &t->answer;
    double host = c->v[NPU_HOST_US] * 1e-6, sum = 0, most = 0, once = 0, once_most = 0;
    for (size_t i = 0; i < ask->ranks.pipeline; i++) {
        const struct npu_team_stage *s = &t->stage[i];
        sum += s->latency_s - (i ? host : 0);
        once += s->once_s;
        most = MAX(most, s->latency_s - host);
        t->slowest = s->once_s > once_most ? i : t->slowest;
        once_most = MAX(once_most, s->once_s);
    }
    const struct npu_member *slow = &t->member[t->stage[t->slowest].slowest];
    double samples = (double)slow->work->tokens * ask->groups;
    once = together(ask, once, once_most);
    all->latency_s = together(ask, sum, most);
    all->per_s = samples / all->latency_s;
    all->prog = slow->answer.prog;
    all->timing.op_ps = slow->answer.timing.op_ps;
    all->timing.ps = all->timing.round_ps = (uint64_t)(once * 1e12 + 0.5);
    sum_causes(t, ask, once);
    sum_chips(t, c, ask);
    npu_answer_energy(all, samples, all->latency_s);
}

enum err npu_team_run(struct npu_team **out, const struct model *m, const struct npu_chip *c,
                      const struct npu_team_ask *ask, struct errinfo *e)
{
    struct npu_team *t = mem_alloc(sizeof *t);
    enum err r = ERR_OK;
    *out = NULL;
    CHECK(ask->groups >= 1 && ask->ranks.tensor >= 1 && ask->ranks.pipeline >= 1);
    t->ranks = ask->ranks;
    t->groups = ask->groups;
    t->n_chips = ask->ranks.tensor * ask->ranks.pipeline;
    t->of = mem_alloc(t->n_chips * sizeof *t->of);
    t->member = mem_alloc(t->n_chips * sizeof *t->member);
    t->stage = mem_alloc(ask->ranks.pipeline * sizeof *t->stage);
    for (size_t i = 0; i < ask->ranks.pipeline && r == ERR_OK; i++)
        r = run_stage(t, i, m, c, ask, e);
    if (r != ERR_OK) {
        npu_team_free(t);
        return r;
    }
    answer(t, c, ask);
    *out = t;
    return ERR_OK;
}

void npu_team_free(struct npu_team *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_members; i++) {
        npu_answer_done(&t->member[i].answer);
        npu_work_free(t->member[i].work);
    }
    mem_free(t->member);
    mem_free(t->stage);
    mem_free(t->of);
    mem_free(t);
}

enum err npu_team_fits(const struct model *m, const struct npu_chip *c,
                       const struct npu_team_ask *ask, struct errinfo *e)
{
    for (size_t i = 0; i < ask->ranks.pipeline; i++) {
        struct npu_work *w;
        struct npu_prog *p;
        bool whole;
        TRY(work_of(&w, m, ask, i, ask->ranks.tensor - 1, &whole, e));
        enum err r = npu_compile(&p, w, c, (unsigned)c->v[NPU_CORES], 1, e);
        if (r == ERR_OK)
            npu_prog_free(p);
        npu_work_free(w);
        if (r != ERR_OK)
            return r;
    }
    return ERR_OK;
}
