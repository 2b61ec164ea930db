/* SPDX-License-Identifier: MIT
 * dev_cpu_lora.c - what adapters add to embeddings and to matrices' results: of each row by itself,
 * so that rows with and without adapters, and with different ones, share a step and its bits do not
 * depend on which. */
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

/* dst[w's rows] += B A x, of one expert of an adapter's stack or of the one matrix there is. */
static void adapt(const struct dev_cpu *d, const struct model_matrix *w, size_t expert,
                  const float *x, float *dst, size_t rows, const struct dev_lora *lora)
{
    for (size_t i = 0; i < lora->n; i++) {
        size_t row;
        const struct model_lora_pair *p = model_lora_of(lora->one[i].adapter, w, &row);
        if (!p || p->embeds || lora->one[i].scale == 0)
            continue;
        const float *a = p->a + expert * p->rank * p->cols, *b = p->b + expert * p->rank * p->rows;
        for (size_t k = 0; k < p->rank; k++) {
            float t = dot(a + k * p->cols, x, p->cols);
            d->kern.add(dst, b + k * p->rows + row, t * p->by * lora->one[i].scale, rows);
        }
    }
}

void cpu_embed_lora(const struct dev_cpu *d, const struct model_matrix *table,
                    const struct dev_row *row, float *dst)
{
    for (size_t i = 0; row->lora && i < row->lora->n; i++) {
        size_t at;
        float scale = row->lora->one[i].scale;
        const struct model_lora_pair *p = model_lora_of(row->lora->one[i].adapter, table, &at);
        for (size_t k = 0; p && p->embeds && scale != 0 && k < p->rank; k++)
            d->kern.add(dst, p->b + k * p->cols,
                        p->a[(size_t)row->token * p->rank + k] * p->by * scale, p->cols);
    }
}

/* The expert of a slot: the last whose first slot is not behind it. */
static size_t expert_of(const struct dev_cpu *d, size_t slot)
{
    size_t lo = 0, hi = d->plan->model->n_expert;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (d->routes.begin[mid] <= slot)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

static void adapt_slot(const struct dev_cpu *d, const struct plan_op *op,
                       const struct plan_part *part, size_t slot)
{
    const struct dev_row *row = row_of(d, op, d->routes.row[slot]);
    if (row->lora)
        adapt(d, part->weight, expert_of(d, slot), buf_slot(d, op->src, slot),
              buf_slot(d, part->dst, slot) + part->at, part->weight->rows / op->n_experts,
              row->lora);
}

void cpu_run_lora(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    bool spread = op->kind == PLAN_EXPERTS;
    size_t parts = (size_t)op->n_parts;
    size_t n = op_rows(d, op) * (spread ? d->plan->model->n_chosen : 1);
    os_pool_barrier(d->pool);
    for (size_t i; (i = os_pool_take(d->pool, 1)) < n * parts;) {
        const struct plan_part *part = &op->part[i % parts];
        const struct dev_row *row = spread ? NULL : row_of(d, op, i / parts);
        if (spread)
            adapt_slot(d, op, part, i / parts);
        else if (row->lora)
            adapt(d, part->weight, 0, buf_row(d, op->src, i / parts),
                  buf_row(d, part->dst, i / parts) + part->at, part->weight->rows, row->lora);
    }
}
