/* SPDX-License-Identifier: MIT
 * dev_cpu_index.c - attention to chosen positions: index keys into pages, scores of all positions
 * of a row, the choice, and the chosen keys and values beside each other, which attention then
 * reads as if they were all there is.
 *
 * A position's score is a matter of its page and the row alone, the choice one of the scores, and
 * what is chosen is attended to in the order of the positions: so a row's bits do not depend on who
 * else is in the step. */
#include "dev/dev_cpu_int.h"

#include "base/num.h"

#define SPAN_PAGES 8 /* of a unit of scores: they stay in the second cache while its rows pass */
#define SPAN_ROWS  8

static char *index_page(const struct dev_cpu *d, const struct dev_row *row, size_t page, int layer)
{
    return d->pages + row->pages[page] * d->page_bytes + d->kv[layer].index_at;
}

void cpu_run_store_index(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    struct share s = share_of(w, d->n_rows);
    for (size_t r = s.from; r < s.to; r++) {
        const struct dev_row *row = &d->step_rows[r];
        size_t pos = (size_t)row->pos;
        struct kern_put p = {.kv = KERN_KV_f16,
                             .page = index_page(d, row, pos / DEV_PAGE, op->layer),
                             .slot = pos % DEV_PAGE,
                             .n = 1,
                             .dim = d->plan->model->index_dim,
                             .x = buf_row(d, op->src, r),
                             .stride = d->plan->width[op->src]};
        d->kern.put_k(&p);
    }
}

static float *scores_of(const struct dev_cpu *d, size_t row)
{
    return d->index_scores + row % d->index_rows * num_align(d->opts.ctx_max, DEV_PAGE);
}

/* Rows [from, to) with some pages: those of a sequence's rows are the same. */
static void score(const struct dev_cpu *d, const struct plan_op *op, size_t from, size_t to,
                  size_t first_page)
{
    const struct model *m = d->plan->model;
    for (size_t page = first_page; page < first_page + SPAN_PAGES; page++)
        for (size_t r = from; r < to; r++) {
            const struct dev_row *row = &d->step_rows[r];
            if (!cpu_chooses(d, row) || page * DEV_PAGE >= (size_t)cpu_after(row))
                continue;
            struct kern_index x = {.n_heads = m->index_heads,
                                   .dim = m->index_dim,
                                   .q = buf_row(d, op->src, r),
                                   .weight = buf_row(d, op->src2, r),
                                   .k = index_page(d, row, page, op->layer)};
            d->kern.index(scores_of(d, r) + page * DEV_PAGE, &x);
        }
}

void cpu_run_index(const struct walker *w, const struct cpu_op *co)
{
    const struct dev_cpu *d = w->d;
    const struct plan_op *op = co->op;
    size_t longest = 0;
    for (size_t r = 0; r < d->n_rows; r++)
        longest = MAX(longest, (size_t)cpu_after(&d->step_rows[r]));
    size_t spans = longest > op->n ? num_div_up(longest, SPAN_PAGES * DEV_PAGE) : 0;
    for (size_t from = 0, to; spans && from < d->n_rows; from = to) {
        to = MIN(from + d->index_rows, d->n_rows);
        size_t groups = num_div_up(to - from, SPAN_ROWS);
        for (size_t i; (i = os_pool_take(d->pool, 1)) < groups * spans;) {
            size_t at = from + i / spans * SPAN_ROWS;
            score(d, op, at, MIN(at + SPAN_ROWS, to), i % spans * SPAN_PAGES);
        }
        os_pool_barrier(d->pool);
        for (size_t r; (r = from + os_pool_take(d->pool, 1)) < to;)
            if (cpu_chooses(d, &d->step_rows[r]))
                kern_choose(scores_of(d, r), (size_t)cpu_after(&d->step_rows[r]), op->n,
                            d->chosen + r * op->n);
        if (to < d->n_rows)
            os_pool_barrier(d->pool);
    }
}

void cpu_take_chosen(const struct walker *w, const struct plan_op *op, const struct cpu_tile *tile,
                     size_t head, size_t from, size_t to)
{
    const struct dev_cpu *d = w->d;
    const struct model_layer *l = &d->plan->model->layers[op->layer];
    const struct dev_row *row = &d->step_rows[tile->row];
    const int32_t *chosen = d->chosen + tile->row * op->n;
    size_t k_bytes = d->kv[op->layer].k_bytes;
    uint8_t at[DEV_PAGE];
    for (size_t i = from, n; i < to; i += n) {
        int32_t page = chosen[i] / DEV_PAGE;
        size_t most = MIN(to - i, DEV_PAGE - i % DEV_PAGE);
        for (n = 0; n < most && chosen[i + n] / DEV_PAGE == page; n++)
            at[n] = (uint8_t)(chosen[i + n] % DEV_PAGE);
        struct kern_take t = {.kv = d->opts.kv,
                              .dim = l->k_dim,
                              .to = cpu_taken(d, &d->scratch[w->thread], op->layer, i / DEV_PAGE),
                              .from = cpu_page(d, row->pages[page], op->layer, head),
                              .slot = i % DEV_PAGE,
                              .n = n,
                              .at = at};
        kern_take_k(&t);
        t.dim = l->v_dim;
        t.to = (char *)t.to + k_bytes;
        t.from = (const char *)t.from + k_bytes;
        kern_take_v(&t);
    }
}
