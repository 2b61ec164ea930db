/* SPDX-License-Identifier: MIT
 * dev_cpu_state.c - blocks whose state is of one size: convolutions, state spaces, the delta rule.
 *
 * A unit of work is some channels, or a head, of one sequence: it walks the sequence's rows in
 * their order, so that a row's bits do not depend on how many came together.  A row may ask that
 * the state after it is kept in another slot, too. */
#include "dev/dev_cpu_int.h"

#include "base/num.h"

#include <math.h>
#include <string.h>

#define CHANNELS 256 /* of a unit of a convolution */
#define LANES    64  /* of a unit of a scan by channels */

/* ln(1 + e^x) */
static float softplus(float x)
{
    return x > 20 ? x : log1pf(expf(x));
}

/* ---- convolutions ---- */

/* Row `at` of a run counted from its first, whose tail is what came before it. */
static const float *conv_row(const struct dev_cpu *d, const struct plan_op *op,
                             const struct cpu_tile *run, const float *tail, ptrdiff_t at)
{
    ptrdiff_t kept = (ptrdiff_t)d->plan->model->mixer.taps - 1;
    return at < 0 ? tail + (size_t)(kept + at) * op->mixer->n_conv
                  : buf_row(d, op->src, run->row + (size_t)at);
}

/* The tail after `n` rows of the run, into `to`, which may be the tail itself. */
static void keep_tail(const struct dev_cpu *d, const struct plan_op *op, const struct cpu_tile *run,
                      const float *tail, size_t n, float *to, size_t from, size_t len)
{
    size_t kept = d->plan->model->mixer.taps - 1;
    for (size_t k = 0; k < kept; k++) {
        const float *x = conv_row(d, op, run, tail, (ptrdiff_t)(n + k) - (ptrdiff_t)kept);
        memmove(to + k * op->mixer->n_conv + from, x + from, len * sizeof *to);
    }
}

static void conv_unit(const struct walker *w, const struct plan_op *op, const struct cpu_tile *run,
                      size_t from, size_t len)
{
    const struct dev_cpu *d = w->d;
    const struct model_mixer *x = op->mixer;
    size_t taps = d->plan->model->mixer.taps;
    float *tail = cpu_state_at(d, d->step_rows[run->row].state, op);
    const float **rows = d->scratch[w->thread].taps;
    for (size_t i = 0; i < run->n_rows; i++) {
        float *dst = buf_row(d, op->dst, run->row + i) + from;
        for (size_t k = 0; k < taps; k++)
            rows[k] = conv_row(d, op, run, tail, (ptrdiff_t)(i + k + 1) - (ptrdiff_t)taps) + from;
        d->kern.conv(dst, rows, x->taps + from, x->n_conv, taps, len);
        if (x->conv_bias)
            d->kern.add(dst, x->conv_bias + from, 1, len);
        if (x->kind != MODEL_CONV)
            d->kern.silu_mul(dst, dst, d->ones, len);
        uint32_t keep = d->step_rows[run->row + i].keep;
        if (keep != DEV_NONE)
            keep_tail(d, op, run, tail, i + 1, cpu_state_at(d, keep, op), from, len);
    }
    keep_tail(d, op, run, tail, run->n_rows, tail, from, len);
}

void cpu_run_conv(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    size_t n = op->mixer->n_conv, pieces = num_div_up(n, CHANNELS);
    for (size_t i; (i = os_pool_take(d->pool, 1)) < d->n_runs * pieces;) {
        size_t from = i % pieces * CHANNELS;
        conv_unit(w, op, &d->runs[i / pieces], from, MIN(n - from, (size_t)CHANNELS));
    }
}

/* ---- state spaces ---- */

void cpu_keep_state(const struct dev_cpu *d, const struct plan_op *op, size_t row,
                    const float *state, size_t at, size_t stride, size_t n, size_t len)
{
    uint32_t keep = d->step_rows[row].keep;
    if (keep == DEV_NONE)
        return;
    float *to = cpu_state_at(d, keep, op) + at;
    for (size_t j = 0; j < n; j++)
        memcpy(to + j * stride, state + at + j * stride, len * sizeof *to);
}

/* Channels [from, from + len). */
static void scan_unit(const struct walker *w, const struct plan_op *op, const struct cpu_tile *run,
                      size_t from, size_t len)
{
    const struct dev_cpu *d = w->d;
    const struct model_mixer *m = op->mixer;
    const struct model_mixer_sizes *s = &d->plan->model->mixer;
    float *state = cpu_state_at(d, d->step_rows[run->row].state, op), dt[LANES], x[LANES];
    for (size_t r = run->row; r < run->row + run->n_rows; r++) {
        const float *in = cpu_in_row(d, op, 0, r) + from, *steps = cpu_in_row(d, op, 1, r) + from;
        float *y = buf_row(d, op->dst, r) + from;
        for (size_t i = 0; i < len; i++) {
            dt[i] = softplus(steps[i]);
            x[i] = dt[i] * in[i];
        }
        struct kern_scan scan = {.n_state = s->state,
                                 .n = len,
                                 .stride = s->inner,
                                 .x = x,
                                 .b = cpu_in_row(d, op, 2, r),
                                 .c = cpu_in_row(d, op, 3, r),
                                 .dt = dt,
                                 .a = m->a + from};
        d->kern.scan_each(y, state + from, &scan);
        for (size_t i = 0; i < len; i++)
            y[i] += m->d[from + i] * in[i];
        cpu_keep_state(d, op, r, state, from, s->inner, s->state, len);
    }
}

static void scan_head(const struct walker *w, const struct plan_op *op, const struct cpu_tile *run,
                      size_t head)
{
    const struct dev_cpu *d = w->d;
    const struct model_mixer *m = op->mixer;
    const struct model_mixer_sizes *s = &d->plan->model->mixer;
    size_t dim = s->inner / s->heads, group = head / (s->heads / s->groups), at = head * dim;
    float *state = cpu_state_at(d, d->step_rows[run->row].state, op);
    float *x = d->scratch[w->thread].state;
    for (size_t r = run->row; r < run->row + run->n_rows; r++) {
        const float *in = cpu_in_row(d, op, 0, r) + at;
        float *y = buf_row(d, op->dst, r) + at;
        float dt = softplus(cpu_in_row(d, op, 1, r)[head] + m->dt_bias[head]);
        for (size_t i = 0; i < dim; i++)
            x[i] = dt * in[i];
        struct kern_scan scan = {.n_state = s->state,
                                 .n = dim,
                                 .stride = dim,
                                 .x = x,
                                 .b = cpu_in_row(d, op, 2, r) + group * s->state,
                                 .c = cpu_in_row(d, op, 3, r) + group * s->state,
                                 .fade = expf(dt * m->a[head])};
        d->kern.scan(y, state + at * s->state, &scan);
        d->kern.add(y, in, m->d[head], dim);
        cpu_keep_state(d, op, r, state, at * s->state, dim, s->state, dim);
    }
}

void cpu_run_scan(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    const struct model_mixer_sizes *s = &d->plan->model->mixer;
    bool heads = op->mixer->kind == MODEL_SCAN_HEADS;
    size_t units = heads ? s->heads : num_div_up(s->inner, LANES);
    for (size_t i; (i = os_pool_take(d->pool, 1)) < d->n_runs * units;) {
        const struct cpu_tile *run = &d->runs[i / units];
        size_t at = i % units, from = at * LANES;
        if (heads)
            scan_head(w, op, run, at);
        else
            scan_unit(w, op, run, from, MIN(s->inner - from, (size_t)LANES));
    }
}

/* ---- the gated delta rule ---- */

/* x / |x| * by; the epsilon is that of the models' code. */
static void unit_length(float *dst, const float *x, float by, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    float scale = (float)((double)by / sqrt(sum + 1e-6));
    for (size_t i = 0; i < n; i++)
        dst[i] = x[i] * scale;
}

/* DELTA_EACH: a fade for each of a key's numbers; the steps have their bias. */
static void delta_fades(const struct dev_cpu *d, const struct plan_op *op, size_t head, size_t row,
                        float *fades, float *beta)
{
    size_t n = d->plan->model->mixer.state;
    const float *steps = cpu_in_row(d, op, 3, row) + head * n;
    *beta = 1 / (1 + expf(-cpu_in_row(d, op, 4, row)[head]));
    for (size_t i = 0; i < n; i++)
        fades[i] = expf(op->mixer->a[head] * softplus(steps[i]));
}

/* Where a head's step and beta are: of a group beta comes before the steps where both lie in one
 * matrix (Qwen3-Next). */
static void delta_gates(const struct dev_cpu *d, const struct plan_op *op, size_t head, size_t row,
                        float *fades, float *beta)
{
    const struct model_mixer_sizes *s = &d->plan->model->mixer;
    size_t per = s->heads / s->groups, step = head, b = head;
    if (!op->mixer->beta.rows) {
        b = head / per * 2 * per + head % per;
        step = b + per;
    }
    *beta = 1 / (1 + expf(-cpu_in_row(d, op, 4, row)[b]));
    float dt = softplus(cpu_in_row(d, op, 3, row)[step] + op->mixer->dt_bias[head]);
    fades[0] = expf(op->mixer->a[head] * dt);
    for (size_t i = 1; i < s->state; i++)
        fades[i] = fades[0];
}

static void delta_head(const struct walker *w, const struct plan_op *op, const struct cpu_tile *run,
                       size_t head)
{
    const struct dev_cpu *d = w->d;
    const struct model_mixer_sizes *s = &d->plan->model->mixer;
    bool tiled = d->plan->model->arch->flags & MODEL_HEADS_TILED;
    size_t n = s->state, dim = s->inner / s->heads;
    size_t of = tiled ? head % s->groups : head / (s->heads / s->groups);
    float *state = cpu_state_at(d, d->step_rows[run->row].state, op) + head * n * dim;
    float *q = d->scratch[w->thread].state, *k = q + n, *fades = k + n;
    for (size_t r = run->row; r < run->row + run->n_rows; r++) {
        struct kern_delta step = {
            .n_k = n, .n_v = dim, .q = q, .k = k, .v = cpu_in_row(d, op, 2, r) + head * dim};
        unit_length(q, cpu_in_row(d, op, 0, r) + of * n, 1 / sqrtf((float)n), n);
        unit_length(k, cpu_in_row(d, op, 1, r) + of * n, 1, n);
        if (op->mixer->kind == MODEL_DELTA_EACH)
            delta_fades(d, op, head, r, fades, &step.beta);
        else
            delta_gates(d, op, head, r, fades, &step.beta);
        step.fade = fades;
        d->kern.delta(buf_row(d, op->dst, r) + head * dim, state, &step);
        cpu_keep_state(d, op, r, state - head * n * dim, head * n * dim, dim, n, dim);
    }
}

void cpu_run_deltarule(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    size_t heads = d->plan->model->mixer.heads;
    for (size_t i; (i = os_pool_take(d->pool, 1)) < d->n_runs * heads;)
        delta_head(w, co->op, &d->runs[i / heads], i % heads);
}

/* ---- whole states ---- */

void cpu_clear_state(struct dev *dev, uint32_t slot)
{
    struct dev_cpu *d = dev_cpu_of(dev);
    CHECK(slot < d->opts.n_states);
    memset(d->states + slot * d->plan->state_floats, 0, dev->state_bytes);
}

void cpu_copy_state(struct dev *dev, uint32_t to, uint32_t from)
{
    struct dev_cpu *d = dev_cpu_of(dev);
    CHECK(to < d->opts.n_states && from < d->opts.n_states && to != from);
    memcpy(d->states + to * d->plan->state_floats, d->states + from * d->plan->state_floats,
           dev->state_bytes);
}
