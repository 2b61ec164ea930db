/* SPDX-License-Identifier: MIT */
#include "npu/npu_array.h"

#include "base/num.h"

#include <math.h>

static uint64_t parts(uint64_t n, uint64_t of)
{
    return n / of + (n % of != 0);
}

struct npu_unit npu_unit_of(const struct npu_chip *c)
{
    return (struct npu_unit){.kind = c->array,
                             .overlapped = c->overlapped,
                             .rows = (uint64_t)c->v[NPU_MX_ROWS],
                             .cols = (uint64_t)c->v[NPU_MX_COLS],
                             .depth = (uint64_t)c->v[NPU_MX_DEPTH],
                             .min_rows = (uint64_t)c->v[NPU_MX_MIN_ROWS]};
}

struct npu_cycles npu_unit_cycles(const struct npu_unit *u, uint64_t m, uint64_t k, uint64_t n)
{
    uint64_t rows = u->rows, cols = u->cols, stream = MAX(m, u->min_rows);
    if (u->kind == NPU_SYSTOLIC_WS && !u->overlapped)
        return (struct npu_cycles){.busy = parts(k, rows) * parts(n, cols) *
                                           (stream + 2 * rows + cols - 2)};
    if (u->kind == NPU_SYSTOLIC_WS) /* the first part's load shows, and the last one's way out */
        return (struct npu_cycles){.busy = parts(k, rows) * parts(n, cols) * MAX(stream, rows),
                                   .tail = 2 * rows + cols - 2};
    if (u->kind == NPU_SYSTOLIC_OS && !u->overlapped)
        return (struct npu_cycles){.busy = parts(stream, rows) * parts(n, cols) *
                                           (k + 2 * rows + cols - 2)};
    if (u->kind == NPU_SYSTOLIC_OS)
        return (struct npu_cycles){.busy = parts(stream, rows) * parts(n, cols) * MAX(k, rows),
                                   .tail = 2 * rows + cols - 2};
    return (struct npu_cycles){.busy = parts(stream, rows) * parts(n, cols) * parts(k, u->depth)};
}

/* Units beside each other share a tile's columns or, where it has few, its rows. */
static struct npu_cycles core_cycles(const struct npu_unit *u, uint64_t count, uint64_t m,
                                     uint64_t k, uint64_t n)
{
    struct npu_cycles columns = npu_unit_cycles(u, m, k, parts(n, count));
    if (count == 1)
        return columns;
    struct npu_cycles rows = npu_unit_cycles(u, parts(m, count), k, n);
    return rows.busy < columns.busy ? rows : columns;
}

struct npu_cycles npu_tile_cycles(const struct npu_chip *c, enum npu_type type, uint64_t m,
                                  uint64_t k, uint64_t n, unsigned beside)
{
    const struct npu_unit u = npu_unit_of(c);
    double rate = npu_chip_rate(c, type) * c->v[NPU_SUSTAINED];
    struct npu_cycles x = core_cycles(&u, (uint64_t)c->v[NPU_MX_COUNT], m, k, n);
    double bytes = type == NPU_BF16 ? 2 : type == NPU_INT4 ? 0.5 : 1;
    double steps = ceil((double)k * bytes / c->v[NPU_MX_STEP_DEPTH]);
    double work = (double)x.busy / rate, lost = steps * c->v[NPU_MX_STEP];
    double alone = (work + lost) / beside;
    x.busy = (uint64_t)(MAX(work, alone) + 0.5);
    x.tail += (uint64_t)c->v[NPU_MX_FILL];
    return x;
}
