/* SPDX-License-Identifier: MIT
 * cmd_bench_work.c - what a row of bench has to do at the least, and its share of the limits. */
#include "app/cmd_bench.h"

#include "base/num.h"
#include "kern/mm.h"
#include "model/model.h"

#include <math.h>
#include <stdio.h>

struct counts {
    double int8_macs, float_macs, file_bytes, packed_bytes;
};

/* A matrix of which a token meets a share, and a step reads one. */
static void count_part(struct counts *c, const struct model_matrix *w, const struct mm_kernel *kn,
                       double met, double read)
{
    double macs = (double)w->rows * (double)w->cols * met;
    size_t file = format_bytes(w->format, w->rows * w->cols);
    size_t packed = mm_packed_bytes(kn, w->format, w->cols, w->rows);
    *(mm_act_kind(kn, w->format) == MM_ACT_Q8 ? &c->int8_macs : &c->float_macs) += macs;
    c->file_bytes += (double)file * read;
    c->packed_bytes += (double)(packed ? packed : file) * read;
}

static void count(struct counts *c, const struct model_matrix *w, const struct mm_kernel *kn)
{
    count_part(c, w, kn, 1, 1);
}

static void count_block(struct counts *c, const struct model_ffn *f, const struct mm_kernel *kn,
                        double met, double read)
{
    count_part(c, &f->gate, kn, met, read);
    count_part(c, &f->up, kn, met, read);
    count_part(c, &f->down, kn, met, read);
}

/* Experts in steps of some rows, which choose as if by chance. */
static void count_experts(struct counts *c, const struct model *m, const struct model_experts *x,
                          const struct mm_kernel *kn, size_t rows)
{
    double met = (double)m->n_chosen / (double)m->n_expert;
    count(c, &x->router, kn);
    count_block(c, &x->each, kn, met, 1 - pow(1 - met, (double)rows));
    count_block(c, &x->shared, kn, 1, 1);
}

static struct counts count_layers(const struct model *m, const struct mm_kernel *kn, size_t rows)
{
    struct counts c = {0};
    for (size_t i = 0; i < m->n_layer; i++) {
        const struct model_layer *l = &m->layers[i];
        const struct model_matrix *all[] = {&l->q, &l->k, &l->v, &l->o};
        for (size_t k = 0; k < N_ELEMS(all); k++)
            count(&c, all[k], kn);
        count_block(&c, &l->ffn, kn, 1, 1);
        if (l->experts.router.rows)
            count_experts(&c, m, &l->experts, kn, rows);
    }
    return c;
}

/* A step of n rows of a sequence whose first is at position p, in one layer: positions that its
 * queries look at, each counted on its own, and those that any of them looks at. */
static void see(size_t p, size_t n, size_t window, double *each, double *any)
{
    *any += (double)(window ? MIN(p + n, window + n - 1) : p + n);
    for (size_t i = p; i < p + n; i++)
        *each += (double)(window ? MIN(i + 1, window) : i + 1);
}

struct bench_work bench_work(const struct model *m, const struct bench_row *r,
                             const struct bench_how *how)
{
    const struct mm_kernel *kn = mm_kernel(how->level);
    size_t step = r->kind == BENCH_PREFILL ? how->batch : 1, seqs = MAX(r->seqs, 1);
    struct counts layers = count_layers(m, kn, step * seqs), head = {0};
    double n_steps = (double)num_div_up(r->tokens, step), each = 0, any = 0;
    double tokens = (double)(r->tokens * seqs);
    /* Logits of every token of a decode, of the last one of a prefill. */
    double heads = r->kind == BENCH_PREFILL ? 1 : tokens;
    double head_steps = r->kind == BENCH_PREFILL ? 1 : n_steps;
    count(&head, &m->output, kn);
    for (size_t i = 0; i < m->n_layer; i++)
        for (size_t at = 0; at < r->tokens; at += step)
            see(r->at + at, MIN(step, r->tokens - at), m->layers[i].window, &each, &any);
    return (struct bench_work){
        .int8_macs = tokens * layers.int8_macs + heads * head.int8_macs,
        .float_macs = tokens * layers.float_macs + heads * head.float_macs,
        .attend_macs = each * (double)seqs * (double)m->n_head * (double)(m->k_dim + m->v_dim),
        .weight_bytes = n_steps * layers.packed_bytes + head_steps * head.packed_bytes,
        .file_bytes = n_steps * layers.file_bytes + head_steps * head.file_bytes,
        .kv_bytes = any * (double)seqs * how->kv_position / (double)m->n_layer,
    };
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

static void rate(struct bench_row *r, const struct machine *m)
{
    const struct bench_work *w = &r->work;
    double ns = time_of(r), f32 = m->rate[MACHINE_f32].all, read = m->rate[MACHINE_read].all;
    double matrices = ratio(w->int8_macs, m->rate[MACHINE_int8].all) + ratio(w->float_macs, f32);
    r->gmacs = macs_of(w) / ns;
    r->gbs = (w->weight_bytes + w->kv_bytes) / ns;
    r->file_gbs = (w->file_bytes + w->kv_bytes) / ns;
    r->matrix_share = matrices / ns;
    r->product_share = (matrices + ratio(w->attend_macs, f32)) / ns;
    r->read_share = ratio(r->gbs, read);
    r->file_share = ratio(r->file_gbs, read);
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
    r->kv_gbs = (r->work.kv_bytes - empty->work.kv_bytes) / ns;
    r->kv_share = ratio(r->kv_gbs, m->rate[MACHINE_read].all);
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
