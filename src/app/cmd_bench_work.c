/* SPDX-License-Identifier: MIT
 * cmd_bench_work.c - what a row of bench has to do at the least, and its share of the limits. */
#include "app/cmd_bench.h"

#include "base/num.h"
#include "kern/mm.h"
#include "plan/plan.h"

#include <math.h>
#include <stdio.h>

/* How often an operation's matrices are used in a run: tokens that meet each, steps that read it.
 */
struct uses {
    double tokens, steps;
};

static struct uses uses_of(const struct plan_op *op, const struct bench_row *r, double n_steps)
{
    if (op->rows != PLAN_ROWS_ALL && r->kind == BENCH_PREFILL)
        return (struct uses){1, 1}; /* the last token alone is wanted */
    return (struct uses){(double)(r->tokens * MAX(r->seqs, 1)), n_steps};
}

static void count(struct bench_work *w, const struct model_matrix *x, const struct mm_kernel *kn,
                  struct uses u)
{
    double macs = (double)x->rows * (double)x->cols * u.tokens;
    size_t file = format_bytes(x->format, x->rows * x->cols);
    size_t packed = mm_packed_bytes(kn, x->format, x->cols, x->rows);
    *(mm_act_kind(kn, x->format) == MM_ACT_Q8 ? &w->int8_macs : &w->float_macs) += macs;
    w->file_bytes += (double)file * u.steps;
    w->weight_bytes += (double)(packed ? packed : file) * u.steps;
}

/* Positions that the queries of a run look at in a layer that sees `most` of them, each counted on
 * its own, and those that any of a step looks at. */
static void see(const struct bench_row *r, size_t step, size_t most, double *each, double *any)
{
    for (size_t at = 0; at < r->tokens; at += step) {
        size_t p = r->at + at, n = MIN(step, r->tokens - at);
        *any += (double)MIN(p + n, most + n - 1);
        for (size_t i = p; i < p + n; i++)
            *each += (double)MIN(i + 1, most);
    }
}

struct bench_work bench_work(const struct plan *p, const struct bench_row *r,
                             const struct bench_how *how)
{
    const struct model *m = p->model;
    const struct mm_kernel *kn = mm_kernel(how->level);
    const size_t step = r->kind == BENCH_PREFILL ? how->batch : 1, seqs = MAX(r->seqs, 1);
    const double n_steps = (double)num_div_up(r->tokens, step), n_seqs = (double)seqs;
    struct bench_work w = {.state_bytes = 2 * n_steps * n_seqs * 4 * (double)p->state_floats};
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        struct uses u = uses_of(op, r, n_steps);
        if (op->kind == PLAN_EXPERTS) { /* chosen as if by chance */
            double met = (double)m->n_chosen / (double)m->n_expert;
            u.tokens *= met;
            u.steps *= 1 - pow(1 - met, (double)(step * seqs));
        }
        for (int part = 0; part < op->n_parts; part++)
            count(&w, op->part[part].weight, kn, u);
        if (op->kind != PLAN_ATTEND)
            continue;
        double each = 0, any = 0;
        see(r, step, MIN(op->window ? op->window : SIZE_MAX / 2, op->n ? op->n : SIZE_MAX / 2),
            &each, &any);
        const struct model_layer *l = &m->layers[op->layer];
        w.attend_macs += each * n_seqs * (double)l->n_head * (double)(l->k_dim + l->v_dim);
        w.kv_bytes += any * n_seqs * how->kv_position / (double)MAX(m->n_attend, 1);
    }
    return w;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

/* Nanoseconds of a run. */
static double time_of(const struct bench_row *r)
{
    return (double)(r->tokens * MAX(r->seqs, 1)) * 1e9 / r->median;
}

static double macs_of(const struct bench_work *w)
{
    return w->int8_macs + w->float_macs + w->attend_macs;
}

/* Bytes that could have been read in a run. */
static double room_of(const struct bench_row *r, const struct machine *m)
{
    return r->room > 0 ? r->room : time_of(r) * m->rate[MACHINE_read].all;
}

static void rate(struct bench_row *r, const struct machine *m)
{
    const struct bench_work *w = &r->work;
    double ns = time_of(r), f32 = m->rate[MACHINE_f32].all, room = room_of(r, m);
    double matrices = ratio(w->int8_macs, m->rate[MACHINE_int8].all) + ratio(w->float_macs, f32);
    r->gmacs = macs_of(w) / ns;
    r->gbs = (w->weight_bytes + w->kv_bytes + w->state_bytes) / ns;
    r->file_gbs = (w->file_bytes + w->kv_bytes + w->state_bytes) / ns;
    r->matrix_share = matrices / ns;
    r->product_share = (matrices + ratio(w->attend_macs, f32)) / ns;
    r->read_share = ratio(r->gbs * ns, room);
    r->file_share = ratio(r->file_gbs * ns, room);
}

/* What the context costs: the same row with one less the row without, so that of a prefill the
 * attention alone is left and of a decode the reading of keys and values. */
static void rate_context(struct bench_row *r, const struct bench_row *empty,
                         const struct machine *m)
{
    double ns = time_of(r) - time_of(empty);
    if (ns <= 0)
        return; /* lost in the noise */
    r->attend_gmacs = (r->work.attend_macs - empty->work.attend_macs) / ns;
    r->attend_share = ratio(r->attend_gmacs, m->rate[MACHINE_f32].all);
    const double bytes = r->work.kv_bytes - empty->work.kv_bytes;
    const double room = room_of(r, m) - room_of(empty, m);
    r->kv_share = room > 0 ? bytes / room : 0;
    r->kv_gbs = r->kv_share * room_of(r, m) / time_of(r); /* as memory was while r ran */
}

void bench_rates(struct bench *b)
{
    for (size_t i = 0; i < b->n_rows; i++)
        rate(&b->rows[i], &b->machine);
    for (size_t i = 0; i < b->n_rows; i++)
        for (size_t k = 0; k < b->n_rows && b->rows[i].at; k++)
            if (b->rows[k].kind == b->rows[i].kind && b->rows[k].at == 0)
                rate_context(&b->rows[i], &b->rows[k], &b->machine);
}

size_t bench_accounted(const struct bench *b)
{
    const struct engine_memory *m = &b->memory;
    return (m->weights ? m->weights + b->embeddings : m->file) + m->context + m->work;
}

void bench_row_name(const struct bench_row *r, char *out, size_t n)
{
    static const char *const names[] = {"prefill", "decode", "decode"};
    int len = snprintf(out, n, "%s %zu", names[r->kind], r->tokens);
    if (r->kind == BENCH_BATCH)
        snprintf(out + len, n - (size_t)len, " x %zu", r->seqs);
    else if (r->at)
        snprintf(out + len, n - (size_t)len, " @ %zu", r->at);
}
