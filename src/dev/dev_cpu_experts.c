/* SPDX-License-Identifier: MIT
 * dev_cpu_experts.c - mixtures of experts: which rows meet which matrices.
 *
 * Rows are copied to slots ordered by expert, so that an expert's matrix meets all its rows in one
 * product; the results are added up by row in the order of the choice, so that a row's result does
 * not depend on who else is in the step. */
#include "dev/dev_cpu_int.h"

#include "base/num.h"

#include <math.h>
#include <string.h>

/* ---- choosing ---- */

/* What the experts' weights are made of, out of a row's scores. */
static void gate_scores(const struct model *m, const float *score, float *out)
{
    float most = -INFINITY, sum = 0;
    for (size_t i = 0; i < m->n_expert; i++)
        most = MAX(most, score[i]);
    for (size_t i = 0; i < m->n_expert; i++) {
        switch (m->gating) {
        case MODEL_SOFTMAX: out[i] = expf(score[i] - most); break;
        case MODEL_SIGMOID: out[i] = 1 / (1 + expf(-score[i])); break;
        case MODEL_SPARSEMIXER:
        case MODEL_SOFTMAX_CHOSEN: out[i] = score[i]; break;
        }
        sum += out[i];
    }
    for (size_t i = 0; m->gating == MODEL_SOFTMAX && i < m->n_expert; i++)
        out[i] /= sum;
}

/* The places of the k largest of n numbers that are not gone, in that order, the first of equals
 * first; they are gone then. */
static void take_largest(const float *x, bool *gone, size_t n, int32_t *at, size_t k)
{
    for (size_t c = 0; c < k; c++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++)
            if (!gone[i] && (best == n || x[i] > x[best]))
                best = i;
        CHECK(best < n);
        gone[best] = true;
        at[c] = (int32_t)best;
    }
}

/* Leaves the experts of the best groups.  A group is as good as its two best experts together
 * where the choice has a bias of its own, as its best where it has none (DeepSeek-AI 2024, V3 and
 * V2). */
static void drop_groups(const struct model *m, const float *choice, bool two, bool *gone)
{
    size_t size = m->n_expert / m->n_group;
    float score[MODEL_EXPERTS_MAX];
    bool taken[MODEL_EXPERTS_MAX] = {0};
    int32_t kept[MODEL_EXPERTS_MAX];
    for (size_t g = 0; g < m->n_group; g++) {
        float best = -INFINITY, next = -INFINITY;
        for (size_t i = g * size; i < (g + 1) * size; i++) {
            float x = choice[i];
            next = x > best ? best : MAX(next, x);
            best = MAX(best, x);
        }
        score[g] = two && size > 1 ? best + next : best;
    }
    take_largest(score, taken, m->n_group, kept, m->n_group_chosen);
    for (size_t i = 0; i < m->n_expert; i++)
        gone[i] = !taken[i / size];
}

static void weigh(const struct model *m, const float *share, const int32_t *chosen, float *weight)
{
    float sum = 0;
    for (size_t i = 0; i < m->n_chosen; i++) {
        weight[i] = share[chosen[i]];
        if (m->gating == MODEL_SOFTMAX_CHOSEN)
            weight[i] = expf(weight[i] - share[chosen[0]]);
        sum += weight[i];
    }
    bool norm = m->experts_norm || m->gating == MODEL_SOFTMAX_CHOSEN;
    for (size_t i = 0; i < m->n_chosen; i++)
        weight[i] = (norm && sum > 0 ? weight[i] / sum : weight[i]) * m->experts_scale;
}

/* Each of the chosen by itself: its share among those that are left and as good as it within some
 * hundredths of the larger of its score and theirs (Liu et al. 2024; the models' config.json:
 * router_jitter_noise). */
static void weigh_sparse(const struct model *m, const float *score, const int32_t *chosen,
                         float *weight)
{
    bool gone[MODEL_EXPERTS_MAX] = {0};
    for (size_t c = 0; c < m->n_chosen; c++) {
        float best = score[chosen[c]], sum = 0;
        for (size_t i = 0; i < m->n_expert; i++)
            if (!gone[i] && (best - score[i]) / MAX(fabsf(score[i]), best) <= 2 * 0.01f)
                sum += expf(score[i] - best);
        weight[c] = sum > 0 ? 1 / sum : 1;
        gone[chosen[c]] = true;
    }
}

static void choose(const struct dev_cpu *d, const struct plan_op *op, size_t row)
{
    const struct model *m = d->plan->model;
    float share[MODEL_EXPERTS_MAX], choice[MODEL_EXPERTS_MAX];
    bool gone[MODEL_EXPERTS_MAX] = {0};
    int32_t *chosen = d->routes.chosen + row * m->n_chosen;
    gate_scores(m, buf_row(d, op->src, row), share);
    for (size_t i = 0; i < m->n_expert; i++)
        choice[i] = share[i] + (op->bias ? op->bias[i] : 0);
    if (m->n_group > m->n_group_chosen)
        drop_groups(m, choice, op->bias != NULL, gone);
    take_largest(choice, gone, m->n_expert, chosen, m->n_chosen);
    float *weight = d->routes.weight + row * m->n_chosen;
    if (m->gating == MODEL_SPARSEMIXER)
        weigh_sparse(m, share, chosen, weight);
    else
        weigh(m, share, chosen, weight);
}

/* Slots by expert, and of an expert by row. */
static void deal_slots(struct dev_cpu *d, size_t n_rows)
{
    const struct model *m = d->plan->model;
    struct cpu_routes *s = &d->routes;
    size_t n = n_rows * m->n_chosen;
    memset(s->begin, 0, (m->n_expert + 1) * sizeof *s->begin);
    for (size_t i = 0; i < n; i++)
        s->begin[s->chosen[i] + 1]++;
    s->n_active = 0;
    for (size_t e = 0; e < m->n_expert; e++) {
        if (s->begin[e + 1])
            s->active[s->n_active++] = (uint32_t)e;
        s->begin[e + 1] += s->begin[e];
    }
    for (size_t i = 0; i < n; i++) { /* each expert's begin moves to its end, which is the next's */
        uint32_t slot = s->begin[s->chosen[i]]++;
        s->slot[i] = slot;
        s->row[slot] = (uint32_t)(i / m->n_chosen);
    }
    memmove(s->begin + 1, s->begin, m->n_expert * sizeof *s->begin);
    s->begin[0] = 0;
}

void cpu_run_route(const struct walker *w, const struct cpu_op *co)
{
    struct dev_cpu *d = w->d;
    size_t n = op_rows(d, co->op);
    struct share s = share_of(w, n);
    for (size_t r = s.from; r < s.to; r++)
        choose(d, co->op, r);
    os_pool_barrier(d->pool);
    if (w->thread == 0)
        deal_slots(d, n);
}

/* ---- rows to slots, and back ---- */

/* For models whose experts read what is weighed: by row, as the weights are. */
static void spread_weighed(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    const size_t k = d->plan->model->n_chosen;
    struct share s = share_of(w, op_rows(d, op) * k);
    for (size_t i = s.from; i < s.to; i++) {
        float *dst = buf_slot(d, op->dst, d->routes.slot[i]);
        memcpy(dst, buf_row(d, op->src, i / k), op->n * sizeof *dst);
        d->kern.scale(dst, d->routes.weight[i], op->n);
        d->routes.weight[i] = 1;
    }
}

void cpu_run_spread(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    if (d->plan->model->arch->flags & MODEL_WEIGH_FIRST) {
        spread_weighed(w, co);
        return;
    }
    struct share s = share_of(w, op_rows(d, op) * d->plan->model->n_chosen);
    for (size_t i = s.from; i < s.to; i++)
        memcpy(buf_slot(d, op->dst, i), buf_row(d, op->src, d->routes.row[i]),
               op->n * sizeof(float));
}

void cpu_run_combine(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    const size_t k = d->plan->model->n_chosen;
    struct share s = share_of(w, op_rows(d, op));
    for (size_t r = s.from; r < s.to; r++) {
        float *dst = buf_row(d, op->dst, r);
        memset(dst, 0, op->n * sizeof *dst);
        for (size_t i = r * k; i < (r + 1) * k; i++)
            d->kern.add(dst, buf_slot(d, op->src, d->routes.slot[i]), d->routes.weight[i], op->n);
    }
}

/* Each slot by its expert's number. */
void cpu_run_scale_slots(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    struct share s = share_of(w, op_rows(d, op) * d->plan->model->n_chosen);
    size_t e = 0;
    for (size_t i = s.from; i < s.to; i++) {
        while (d->routes.begin[e + 1] <= i)
            e++;
        d->kern.scale(buf_slot(d, op->dst, i), op->numbers[e], op->n);
    }
}

/* ---- products ---- */

static struct mm_act acts_of_expert(const struct dev_cpu *d, size_t e, size_t k)
{
    const uint32_t *begin = d->routes.begin;
    return cpu_acts_part(d, begin[e], begin[e + 1] - begin[e], k);
}

static void quantize_slots(const struct walker *w, const struct plan_op *op, size_t k)
{
    const struct dev_cpu *d = w->d;
    const struct cpu_routes *routes = &d->routes;
    struct share here = slots_of(d, op), s = share_of(w, here.to - here.from);
    size_t e = 0;
    for (size_t i = here.from + s.from; i < here.from + s.to; i++) {
        while (routes->begin[e + 1] <= i)
            e++;
        struct mm_act a = acts_of_expert(d, e, k);
        mm_quantize(&d->kern, &a, i - routes->begin[e], 0, buf_slot(d, op->src, i), k);
    }
}

/* Rows [from, to) of expert e's matrix of part i with all its slots. */
static void multiply(const struct walker *w, const struct cpu_op *co, size_t e, int i, size_t from,
                     size_t to)
{
    struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    const struct plan_part *part = &op->part[i];
    size_t rows = plan_part_rows(op, i), k = part->weight->cols;
    size_t first = d->routes.begin[e];
    size_t own = (e - op->expert) * rows;
    struct mm_job job = {.weights = cpu_weights_from(d, co, i, own),
                         .format = part->weight->format,
                         .k = k,
                         .n_rows = rows,
                         .n_tokens = d->routes.begin[e + 1] - first,
                         .x = buf_slot(d, op->src, first),
                         .x_stride = slot_stride(d, op->src),
                         .act = acts_of_expert(d, e, k),
                         .n_terms = 1,
                         .dst = buf_slot(d, part->dst, first),
                         .dst_stride = slot_stride(d, part->dst),
                         .bias = part->bias ? part->bias + own : NULL};
    d->mm->run(&job, from, to, d->scratch[w->thread].mm);
}

/* Of the active experts, those whose matrices are here. */
static struct share active_of(const struct dev_cpu *d, const struct plan_op *op)
{
    const struct cpu_routes *r = &d->routes;
    struct share s = {0, r->n_active};
    while (s.from < s.to && r->active[s.from] < op->expert)
        s.from++;
    while (s.to > s.from && r->active[s.to - 1] >= op->expert + op->n_experts)
        s.to--;
    return s;
}

/* Units [at, at + len) of the work, which are those of the first active expert's parts, then of the
 * next one's. */
static void multiply_units(const struct walker *w, const struct cpu_op *co, size_t at, size_t len,
                           size_t unit)
{
    const struct dev_cpu *d = w->d;
    const struct share here = active_of(d, co->op);
    for (size_t a = here.from; a < here.to && len > 0; a++)
        for (int i = 0; i < co->op->n_parts && len > 0; i++) {
            size_t rows = plan_part_rows(co->op, i), units = num_div_up(rows, unit);
            size_t some = at < units ? MIN(len, units - at) : 0;
            if (some)
                multiply(w, co, d->routes.active[a], i, at * unit, MIN((at + some) * unit, rows));
            at = at > units ? at - units : 0;
            len -= some;
        }
}

static void show_watch(const struct dev_cpu *d, const struct plan_op *op)
{
    const struct dev_watch *watch = d->opts.watch;
    for (size_t a = 0; watch && a < d->routes.n_active; a++)
        for (int i = 0; i < op->n_parts; i++) {
            size_t e = d->routes.active[a], first = d->routes.begin[e];
            watch->fn(watch->arg, op->part[i].weight, e, buf_slot(d, op->src, first),
                      slot_stride(d, op->src), d->routes.begin[e + 1] - first);
        }
}

void cpu_run_experts(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    const size_t k = op->part[0].weight->cols, n = op_rows(d, op) * d->plan->model->n_chosen;
    const struct share here = active_of(d, op);
    if (co->quantizes_src) {
        quantize_slots(w, op, k);
        os_pool_barrier(d->pool);
    }
    if (w->thread == 0)
        show_watch(d, op);
    const size_t unit = 2 * (size_t)d->mm->panel_rows;
    struct pieces p = {.n_threads = (size_t)w->n_threads};
    size_t at, len, macs = 0;
    for (int i = 0; i < op->n_parts; i++) {
        size_t rows = plan_part_rows(op, i);
        p.units += num_div_up(rows, unit) * (here.to - here.from);
        macs += rows * k;
    }
    p.small = macs < CPU_SMALL_MACS / n;
    while ((len = cpu_piece_next(w, &p, &at)) > 0)
        multiply_units(w, co, at, len, unit);
    if (d->adapts)
        cpu_run_lora(w, co);
}
