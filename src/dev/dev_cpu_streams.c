/* SPDX-License-Identifier: MIT
 * dev_cpu_streams.c - several residual streams in a row (plan_streams.c), and gates that count
 * where they stand out.  Sums are binary64, in order. */
#include "dev/dev_cpu_int.h"

#include "base/num.h"

#include <math.h>

static double mean_square(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum / (double)n;
}

void cpu_run_size(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    struct share s = share_of(w, op_rows(d, op));
    for (size_t r = s.from; r < s.to; r++) {
        float *x = buf_row(d, op->dst, r);
        double want = mean_square(buf_row(d, op->src, r), op->n);
        double own = MAX(mean_square(x, op->n), (double)op->by);
        d->kern.scale(x, (float)sqrt(want / own), op->n);
    }
}

/* Column by column: each stream's new number needs all old ones. */
void cpu_run_predict(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    size_t n = d->plan->model->n_streams;
    float old[MODEL_STREAMS_MAX];
    struct share s = share_of(w, op_rows(d, op));
    for (size_t r = s.from; r < s.to; r++) {
        float *x = buf_row(d, op->dst, r);
        const float *by = buf_row(d, op->src, r);
        for (size_t c = 0; c < op->n; c++) {
            for (size_t k = 0; k < n; k++)
                old[k] = x[k * op->n + c];
            for (size_t k = 0; k < n; k++)
                for (size_t j = 0; j < n; j++)
                    x[k * op->n + c] += by[k * n + j] * old[j];
        }
    }
}

/* Afterwards src2 is the first stream, times its scale. */
void cpu_run_correct(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    struct share s = share_of(w, op_rows(d, op));
    for (size_t r = s.from; r < s.to; r++) {
        float *x = buf_row(d, op->dst, r), *made = buf_row(d, op->src2, r);
        const float *by = buf_row(d, op->src, r);
        d->kern.add(made, x, -1, op->n);
        for (size_t k = 0; k < d->plan->model->n_streams; k++)
            d->kern.add(x + k * op->n, made, 1 + by[k], op->n);
        for (size_t i = 0; i < op->n; i++)
            made[i] = x[i] * (op->numbers ? op->numbers[i] : 1);
    }
}

void cpu_run_sparse(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    struct share s = share_of(w, op_rows(d, op));
    for (size_t r = s.from; r < s.to; r++) {
        float *x = buf_row(d, op->dst, r);
        double sum = 0, squares = 0;
        for (size_t i = 0; i < op->n; i++)
            sum += (double)x[i];
        double mean = sum / (double)op->n;
        for (size_t i = 0; i < op->n; i++)
            squares += ((double)x[i] - mean) * ((double)x[i] - mean);
        float cut = (float)(mean + sqrt(squares / (double)op->n) * (double)op->by);
        for (size_t i = 0; i < op->n; i++)
            x[i] = MAX(x[i] - cut, 0.0f);
    }
}
