/* SPDX-License-Identifier: MIT
 * dev_cpu_lora.c - what adapters add to a matrix's results: of each row by itself, so that rows
 * with and without adapters, and with different ones, share a step and its bits do not depend on
 * which. */
#include "dev/dev_cpu_int.h"

#include "base/num.h"

#include <string.h>

#define LANES 16

/* Sums of 16 lanes, and those one after the other: an order of its own, whatever the level. */
static float dot(const float *a, const float *x, size_t n)
{
    float lane[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] += a[i + k] * x[i + k];
    for (size_t k = 0; i < n; i++, k++)
        lane[k] += a[i] * x[i];
    for (size_t k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}

/* The step's row that row r of an operation is. */
static const struct dev_row *row_of(const struct dev_cpu *d, const struct plan_op *op, size_t r)
{
    return &d->step_rows[op->rows == PLAN_ROWS_ALL ? r : d->picked[r]];
}

static void adapt(const struct dev_cpu *d, const struct plan_op *op, const struct plan_part *part,
                  size_t r, const struct dev_lora *lora)
{
    const float *x = buf_row(d, op->src, r);
    float *dst = buf_row(d, part->dst, r);
    for (size_t i = 0; i < lora->n; i++) {
        size_t row;
        const struct model_lora_pair *p = model_lora_of(lora->one[i].adapter, part->weight, &row);
        for (size_t k = 0; p && lora->one[i].scale != 0 && k < p->rank; k++) {
            float t = dot(p->a + k * p->cols, x, p->cols);
            d->kern.add(dst, p->b + k * p->rows + row, t * p->by * lora->one[i].scale,
                        part->weight->rows);
        }
    }
}

void cpu_run_lora(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    size_t parts = (size_t)op->n_parts;
    os_pool_barrier(d->pool);
    for (size_t i; (i = os_pool_take(d->pool, 1)) < op_rows(d, op) * parts;) {
        const struct dev_row *row = row_of(d, op, i / parts);
        if (row->lora)
            adapt(d, op, &op->part[i % parts], i / parts, row->lora);
    }
}
