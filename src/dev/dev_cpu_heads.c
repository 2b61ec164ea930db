/* SPDX-License-Identifier: MIT
 * dev_cpu_heads.c - what is done to each head by itself: products with its own matrix (latent
 * attention), copies between layouts, and the growth of queries with their position. */
#include "dev/dev_cpu_int.h"

#include "base/num.h"

#include <math.h>
#include <string.h>

static const float *from_row(const struct dev_cpu *d, const struct plan_op *op, size_t head,
                             size_t row)
{
    return buf_row(d, op->src, row) + op->from.at + head * op->from.stride;
}

/* The 8-bit activations of a head's rows lie together. */
static void quantize_heads(const struct walker *w, const struct plan_op *op, size_t n, size_t k)
{
    const struct dev_cpu *d = w->d;
    struct share s = share_of(w, n * op->n_groups);
    for (size_t i = s.from; i < s.to; i++) {
        size_t head = i / n, row = i % n;
        struct mm_act a = cpu_acts_part(d, head * n, n, k);
        mm_quantize(&d->kern, &a, row, 0, from_row(d, op, head, row), k);
    }
}

static void multiply_head(const struct walker *w, const struct cpu_op *co, size_t head, size_t from,
                          size_t to)
{
    struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    size_t rows = plan_part_rows(op, 0), n = op_rows(d, op);
    const struct model_matrix *weight = op->part[0].weight;
    struct mm_job job = {.weights = cpu_weights_from(d, co, 0, head * rows),
                         .format = weight->format,
                         .k = weight->cols,
                         .n_rows = rows,
                         .n_tokens = n,
                         .x = from_row(d, op, head, 0),
                         .x_stride = d->plan->width[op->src],
                         .act = cpu_acts_part(d, head * n, n, weight->cols),
                         .n_terms = 1,
                         .dst = cpu_buf(d, op->dst) + op->to.at + head * op->to.stride,
                         .dst_stride = d->plan->width[op->dst]};
    d->mm->run(&job, from, to, d->scratch[w->thread].mm);
}

void cpu_run_heads(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    const size_t rows = plan_part_rows(op, 0), unit = 2 * (size_t)d->mm->panel_rows;
    const size_t units = num_div_up(rows, unit), n_heads = op->n_groups;
    if (co->quantizes_src) {
        quantize_heads(w, op, op_rows(d, op), op->part[0].weight->cols);
        os_pool_barrier(d->pool);
    }
    struct pieces p = {.n_threads = (size_t)w->n_threads, .units = units * n_heads};
    p.small = p.units * unit * op->part[0].weight->cols < CPU_SMALL_MACS / op_rows(d, op);
    for (size_t at, len; (len = cpu_piece_next(w, &p, &at)) > 0;)
        for (size_t some; len > 0; at += some, len -= some) {
            size_t first = at % units;
            some = MIN(len, units - first);
            multiply_head(w, co, at / units, first * unit, MIN((first + some) * unit, rows));
        }
}

void cpu_run_copy(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    struct share s = share_of(w, op_rows(d, op));
    for (size_t r = s.from; r < s.to; r++)
        for (size_t g = 0; g < op->n_groups; g++)
            memcpy(buf_row(d, op->dst, r) + op->to.at + g * op->to.stride, from_row(d, op, g, r),
                   op->n * sizeof(float));
}

void cpu_run_temper(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct model *m = d->plan->model;
    struct share s = share_of(w, d->n_rows);
    for (size_t r = s.from; r < s.to; r++) {
        size_t times = ((size_t)d->step_rows[r].pos + m->temper_ahead) / m->temper_length;
        d->kern.scale(buf_row(d, co->op->dst, r), 1 + m->temper * logf(1 + (float)times),
                      co->op->n);
    }
}
