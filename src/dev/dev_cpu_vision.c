/* SPDX-License-Identifier: MIT
 * dev_cpu_vision.c - what only pictures need. */
#include "dev/dev_cpu_int.h"

#include <string.h>

/* A square's rows are added up from its upper left, so that bits do not depend on threads. */
void cpu_run_pool(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    size_t squares = op->grid / op->square;
    struct share s = share_of(w, op_rows(d, op));
    CHECK(d->n_rows == op->grid * op->grid && op_rows(d, op) == squares * squares);
    for (size_t r = s.from; r < s.to; r++) {
        float *dst = buf_row(d, op->dst, r);
        size_t first = r / squares * op->square * op->grid + r % squares * op->square;
        memset(dst, 0, op->n * sizeof *dst);
        for (size_t y = 0; y < op->square; y++)
            for (size_t x = 0; x < op->square; x++)
                d->kern.add(dst, buf_row(d, op->src, first + y * op->grid + x), 1, op->n);
        d->kern.scale(dst, 1 / (float)(op->square * op->square), op->n);
    }
}
