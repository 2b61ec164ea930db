/* SPDX-License-Identifier: MIT
 * dev_cpu_wkv.c - RWKV: rows moved towards those before them, and the states of heads.
 *
 * As in dev_cpu_state.c a unit of work walks the rows of one sequence in their order. */
#include "dev/dev_cpu_int.h"

#include "base/num.h"

#include <math.h>
#include <string.h>

#define CHANNELS 256 /* of a unit of a shift */

/* ---- shifts ---- */

static void shift_unit(const struct dev_cpu *d, const struct plan_op *op,
                       const struct cpu_tile *run, size_t from, size_t len)
{
    float *state = cpu_state_at(d, d->step_rows[run->row].state, op);
    const float *before = state + from;
    for (size_t r = run->row; r < run->row + run->n_rows; r++) {
        const float *src = buf_row(d, op->src, r) + from;
        float *dst = buf_row(d, op->dst, r) + from;
        for (size_t i = 0; i < len; i++)
            dst[i] = before[i] - src[i];
        before = src;
        cpu_keep_state(d, op, r, src - from, from, 0, 1, len);
    }
    memcpy(state + from, before, len * sizeof *state);
}

void cpu_run_shift(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    size_t pieces = num_div_up(op->n, CHANNELS);
    for (size_t i; (i = os_pool_take(d->pool, 1)) < d->n_runs * pieces;) {
        size_t from = i % pieces * CHANNELS;
        shift_unit(d, op, &d->runs[i / pieces], from, MIN(op->n - from, (size_t)CHANNELS));
    }
}

/* ---- rows by themselves ---- */

static void lerp_row(const struct walker *w, const struct cpu_op *co, size_t r)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    float *dst = buf_row(d, op->dst, r);
    memcpy(dst, op->numbers, op->n * sizeof *dst);
    if (op->n_in)
        d->kern.add(dst, cpu_in_row(d, op, 0, r), 1, op->n);
    d->kern.mul(dst, buf_row(d, op->src2, r), op->n);
    d->kern.add(dst, buf_row(d, op->src, r), 1, op->n);
    cpu_quantize_dst(w, co, r);
}

static void blend_piece(const struct dev_cpu *d, const struct plan_op *op, size_t r, size_t at,
                        size_t len)
{
    float *dst = buf_row(d, op->dst, r) + at, part[CPU_PIECE];
    const float *src = buf_row(d, op->src, r) + at;
    for (size_t i = 0; i < len; i++)
        part[i] = src[i] - dst[i];
    d->kern.sigmoid_mul(part, buf_row(d, op->src2, r) + at, len);
    d->kern.add(dst, part, 1, len);
}

static void sigmoid(const struct dev_cpu *d, float *x, size_t n)
{
    float was[CPU_PIECE];
    CHECK(n <= CPU_PIECE);
    memcpy(was, x, n * sizeof *x);
    memcpy(x, d->ones, n * sizeof *x);
    d->kern.sigmoid_mul(x, was, n);
}

void cpu_run_lerp(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    struct share s = share_of(w, op_rows(d, op));
    for (size_t r = s.from; r < s.to; r++) {
        if (op->kind == PLAN_LERP)
            lerp_row(w, co, r);
        for (size_t at = 0; op->kind != PLAN_LERP && at < op->n; at += CPU_PIECE) {
            size_t len = MIN(op->n - at, (size_t)CPU_PIECE);
            if (op->kind == PLAN_BLEND)
                blend_piece(d, op, r, at, len);
            else
                sigmoid(d, buf_row(d, op->dst, r) + at, len);
        }
    }
}

/* ---- states of heads ---- */

/* Of sums that the makers' code takes an eighth of before it norms them with 1e-5. */
#define NORM_EPS 64e-5f

/* A number's least logarithm of its fade in QRWKV 6 (the makers' training code). */
#define GATED_LEAST (-5.0f)

/* What an input has for a head, of whose keys there may be fewer. */
static const float *of_head(const struct dev_cpu *d, const struct plan_op *op, int in, size_t head,
                            size_t r)
{
    const struct model_mixer_sizes *s = &d->plan->model->mixer;
    size_t at = in == 2 || in == 3 ? head / (s->heads / s->groups) : head;
    return cpu_in_row(d, op, in, r) + at * s->state;
}

/* Of RWKV 6: a number fades by e^-e^step.  GATED: what fades less takes in less. */
static void wkv6_step(const struct dev_cpu *d, const struct plan_op *op, size_t head, size_t r,
                      struct kern_wkv *x, float *scratch)
{
    size_t n = x->n_k;
    float *fade = scratch, *k = fade + n, *q = k + n, by = 1 / sqrtf((float)n);
    const float *step = of_head(d, op, 1, head, r);
    bool gated = op->mixer->kind == MODEL_GATED;
    x->fade = fade;
    memcpy(fade, step, n * sizeof *fade);
    d->kern.exp(fade, n);
    for (size_t j = 0; j < n; j++)
        fade[j] = gated ? MAX(-fade[j], GATED_LEAST) : -fade[j];
    d->kern.exp(fade, n);
    for (size_t j = 0; j < n; j++) {
        k[j] = gated ? x->k[j] * (1 - fade[j]) : x->k[j];
        q[j] = gated ? x->r[j] * by : x->r[j];
    }
    x->k = k;
    x->r = q;
    x->first = gated ? NULL : op->mixer->wkv.first + head * n;
}

/* Of RWKV 7: e^(-e^-0.5 sigmoid(step)); of what the state says of a key's direction, a part that
 * the rate gives is taken back. */
static void wkv7_step(const struct dev_cpu *d, const struct plan_op *op, size_t head, size_t r,
                      struct kern_wkv *x, float *scratch)
{
    const struct model_wkv *m = &op->mixer->wkv;
    size_t n = x->n_k, at = head * n;
    float *fade = scratch, *k = fade + n, *away = k + n, *back = away + n;
    double squares = 0;
    for (size_t j = 0; j < n; j++) {
        fade[j] = -0.60653066f; /* -e^-0.5 */
        back[j] = 1;
        away[j] = x->k[j] * m->k_k[at + j];
        squares += (double)away[j] * (double)away[j];
    }
    d->kern.sigmoid_mul(fade, of_head(d, op, 1, head, r), n);
    d->kern.exp(fade, n);
    d->kern.sigmoid_mul(back, of_head(d, op, 4, head, r), n); /* the rate */
    float scale = (float)(1 / fmax(sqrt(squares), 1e-12));
    for (size_t j = 0; j < n; j++) {
        k[j] = x->k[j] * (1 + (back[j] - 1) * m->k_a[at + j]);
        away[j] *= scale;
        back[j] *= away[j];
    }
    x->fade = fade;
    x->k = k;
    x->away = away;
    x->back = back;
}

/* A head's result: normed, where there is a norm, and of RWKV 7 with the token's own value. */
static void wkv_result(const struct dev_cpu *d, const struct plan_op *op, size_t head,
                       const struct kern_wkv *x, float *y)
{
    const struct model_norm *norm = &op->mixer->norm;
    const float *own = op->mixer->wkv.r_k;
    size_t at = head * x->n_v;
    double sum = 0;
    if (norm->gain)
        d->kern.meannorm(y, y, norm->gain + at, x->n_v, NORM_EPS);
    if (norm->gain && norm->bias)
        d->kern.add(y, norm->bias + at, 1, x->n_v);
    for (size_t j = 0; own && j < x->n_k; j++)
        sum += (double)(x->r[j] * x->k[j]) * (double)own[at + j];
    if (own)
        d->kern.add(y, x->v, (float)sum, x->n_v);
}

static void wkv_head(const struct walker *w, const struct plan_op *op, const struct cpu_tile *run,
                     size_t head)
{
    const struct dev_cpu *d = w->d;
    size_t n = d->plan->model->mixer.state, at = head * n * n;
    bool seven = op->mixer->kind == MODEL_WKV7;
    float *state = cpu_state_at(d, d->step_rows[run->row].state, op);
    float *scratch = d->scratch[w->thread].state;
    for (size_t r = run->row; r < run->row + run->n_rows; r++) {
        float *y = buf_row(d, op->dst, r) + head * n;
        struct kern_wkv x = {.n_k = n,
                             .n_v = n,
                             .r = of_head(d, op, 0, head, r),
                             .k = of_head(d, op, 2, head, r),
                             .v = of_head(d, op, 3, head, r)};
        (seven ? wkv7_step : wkv6_step)(d, op, head, r, &x, scratch);
        (seven ? d->kern.wkv7 : d->kern.wkv6)(y, state + at, &x);
        wkv_result(d, op, head, &x, y);
        cpu_keep_state(d, op, r, state, at, n, n, n);
    }
}

void cpu_run_wkv(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    size_t heads = d->plan->model->mixer.heads;
    for (size_t i; (i = os_pool_take(d->pool, 1)) < d->n_runs * heads;)
        wkv_head(w, co->op, &d->runs[i / heads], i % heads);
}
