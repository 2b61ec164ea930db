/* SPDX-License-Identifier: MIT
 * cmd_bench_run.c - runs the rows of bench.
 *
 * One sequence serves all rows but `batch`: it is run up to the context of a row, and what the row
 * adds is cut off again before the next run.  So each context is computed once, the longer ones
 * from the shorter ones.  Tokens are random ones from a fixed seed. */
#include "app/cmd.h"
#include "app/cmd_bench.h"

#include "base/num.h"
#include "os/os_sys.h"
#include "plan/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
    struct bench *b;
    struct engine *en;
    struct engine_seq *seq; /* of all but BATCH */
    int32_t *ids;           /* [n_ids] */
    size_t n_ids;
    struct machine_reads *reads; /* NULL beside a simulated chip */
};

size_t bench_ctx(const struct bench *b)
{
    size_t most = (size_t)MAX(b->prefill, b->decode);
    size_t at = b->at.n ? (size_t)b->at.v[b->at.n - 1] : 0;
    return MAX(at + most, ENGINE_PAGE);
}

size_t bench_ctx_total(const struct bench *b, size_t ctx)
{
    size_t seqs = 0;
    for (size_t i = 0; i < b->batch.n; i++)
        seqs = MAX(seqs, (size_t)b->batch.v[i]);
    return MAX(num_align(ctx, ENGINE_PAGE), seqs * num_align((size_t)b->decode, ENGINE_PAGE));
}

static bool stops(void *arg)
{
    (void)arg;
    return cmd_stopped();
}

static uint64_t hash_of(const struct run *x, const float *logits, uint64_t seed)
{
    return num_hash(logits, engine_model(x->en)->n_vocab * sizeof *logits, seed);
}

static enum err run_prefill(struct run *x, struct bench_row *r, struct errinfo *e)
{
    const float *logits;
    TRY(engine_prefill(x->en, x->seq, x->ids + r->at, r->tokens, NULL, NULL, &logits, e));
    r->hash = hash_of(x, logits, 0);
    return ERR_OK;
}

static enum err run_decode(struct run *x, struct bench_row *r, struct errinfo *e)
{
    const float *logits = NULL;
    for (size_t i = 0; i < r->tokens; i++) {
        struct engine_row row = {x->seq, x->ids[r->at + i], ENGINE_LOGITS};
        TRY(engine_step(x->en, &row, 1, &logits, e));
    }
    r->hash = hash_of(x, logits, 0);
    return ERR_OK;
}

static enum err run_batch(struct run *x, struct bench_row *r, struct errinfo *e)
{
    size_t n = r->seqs;
    const float **logits = mem_alloc(n * sizeof *logits);
    struct engine_row *rows = mem_alloc(n * sizeof *rows);
    enum err code = ERR_OK;
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct engine_row){engine_seq_new(x->en), 0, ENGINE_LOGITS};
    for (size_t k = 0; k < r->tokens && code == ERR_OK; k++) {
        for (size_t i = 0; i < n; i++)
            rows[i].token = x->ids[(k + i) % x->n_ids];
        code = engine_step(x->en, rows, n, logits, e);
    }
    r->hash = 0;
    for (size_t i = 0; i < n && code == ERR_OK; i++)
        r->hash = hash_of(x, logits[i], r->hash);
    for (size_t i = 0; i < n; i++)
        engine_seq_free(rows[i].seq);
    mem_free(rows);
    mem_free(logits);
    return code;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(double *v, size_t n)
{
    qsort(v, n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void summarise(struct bench_row *r, double *v, double *room, size_t n)
{
    r->median = median_of(v, n);
    r->min = v[0];
    r->max = v[n - 1];
    r->room = median_of(room, n);
}

static double reads_now(struct run *x, struct bench_row *r)
{
    double gbs = machine_reads_now(x->reads);
    r->reads_min = r->reads_min > 0 ? MIN(r->reads_min, gbs) : gbs;
    r->reads_max = MAX(r->reads_max, gbs);
    return gbs;
}

/* The sequence up to the row's context. */
static enum err reach(struct run *x, size_t at, struct errinfo *e)
{
    const float *logits;
    if (engine_seq_len(x->seq) > at)
        engine_seq_cut(x->seq, at);
    size_t n = engine_seq_len(x->seq);
    if (n == at)
        return ERR_OK;
    engine_seq_mark(x->seq, at); /* a model with states comes back to it */
    return engine_prefill(x->en, x->seq, x->ids + n, at - n, stops, NULL, &logits, e);
}

/* Of this machine, or of the simulated chip. */
static uint64_t now(const struct run *x)
{
    const struct dev_sim *sim = engine_sim(x->en);
    return sim ? sim->ns : os_now_ns();
}

static double joules(const struct run *x)
{
    const struct dev_sim *sim = engine_sim(x->en);
    return sim ? sim->joules : 0;
}

/* One run that is not counted, then the counted ones. */
static enum err repeat(struct run *x, struct bench_row *r, struct errinfo *e)
{
    static enum err (*const fn[])(struct run *, struct bench_row *,
                                  struct errinfo *) = {run_prefill, run_decode, run_batch};
    double v[BENCH_RUNS_MAX], room[BENCH_RUNS_MAX];
    const double tokens = (double)(r->tokens * MAX(r->seqs, 1));
    double gbs = 0; /* before a run: what was read after the one before */
    for (int64_t i = -1; i < x->b->runs; i++) {
        TRY(reach(x, r->at, e));
        double joules_before = joules(x), gbs_before = gbs;
        uint64_t began = now(x);
        TRY(fn[r->kind](x, r, e));
        const double ns = (double)(now(x) - began);
        r->joules = (joules(x) - joules_before) / tokens;
        gbs = reads_now(x, r);
        if (i >= 0) {
            v[i] = tokens * 1e9 / ns;
            room[i] = ns * (gbs_before + gbs) / 2;
        }
        if (cmd_stopped())
            return err_set(e, ERR_CANCELLED, "stopped");
    }
    summarise(r, v, room, (size_t)x->b->runs);
    return reach(x, r->at, e);
}

static void add_row(struct bench *b, enum bench_kind kind, int64_t tokens, int64_t seqs, int64_t at)
{
    CHECK(b->n_rows < BENCH_ROWS_MAX);
    if (tokens)
        b->rows[b->n_rows++] = (struct bench_row){
            .kind = kind, .tokens = (size_t)tokens, .seqs = (size_t)seqs, .at = (size_t)at};
}

static void list_rows(struct bench *b)
{
    b->n_rows = 0;
    add_row(b, BENCH_PREFILL, b->prefill, 1, 0);
    add_row(b, BENCH_DECODE, b->decode, 1, 0);
    for (size_t i = 0; i < b->batch.n; i++)
        add_row(b, BENCH_BATCH, b->decode, b->batch.v[i], 0);
    for (size_t i = 0; i < b->at.n; i++) {
        add_row(b, BENCH_PREFILL, b->prefill, 1, b->at.v[i]);
        add_row(b, BENCH_DECODE, b->decode, 1, b->at.v[i]);
    }
}

enum err bench_run(struct bench *b, struct engine *en, enum cpu_level level, struct errinfo *e)
{
    struct run x = {.b = b, .en = en, .n_ids = engine_ctx(en)};
    uint64_t rng = 1;
    enum err code = ERR_OK;
    if (bench_ctx(b) > MAX(x.n_ids, ENGINE_PAGE))
        return err_set(e, ERR_CONTEXT, "bench: the rows need a context of %zu tokens; it has %zu",
                       bench_ctx(b), x.n_ids);
    b->memory = engine_memory(en);
    b->threads = engine_threads(en);
    const struct dev_sim *sim = engine_sim(en);
    if (sim) {
        snprintf(b->device, sizeof b->device, "%s", sim->name);
        snprintf(b->computes, sizeof b->computes, "%s", sim->computes);
    }
    const struct model *m = engine_model(en);
    if (m->embed.tensor != m->output.tensor)
        b->embeddings = format_bytes(m->embed.format, m->embed.rows * m->embed.cols);
    struct bench_how how = {level, engine_batch(en),
                            (double)b->memory.context /
                                (double)(engine_pages_free(en) * ENGINE_PAGE)};
    x.ids = mem_alloc(x.n_ids * sizeof *x.ids);
    for (size_t i = 0; i < x.n_ids; i++)
        x.ids[i] = (int32_t)(num_rand(&rng) % engine_model(en)->n_vocab);
    x.seq = engine_seq_new(en);
    struct plan *plan = plan_new(m);
    list_rows(b);
    b->resident = os_mem_resident_peak();
    if (!sim)
        x.reads = machine_reads_open(level, b->threads);
    for (size_t i = 0; i < b->n_rows && code == ERR_OK; i++) {
        if (b->rows[i].kind == BENCH_BATCH) /* every page is theirs */
            engine_seq_cut(x.seq, 0);
        b->rows[i].work = bench_work(plan, &b->rows[i], &how);
        code = repeat(&x, &b->rows[i], e);
    }
    size_t peak = os_mem_resident_peak(); /* what is swapped out was never in it */
    b->resident = MAX(b->resident, peak - MIN(peak, machine_reads_bytes(x.reads)));
    machine_reads_close(x.reads);
    plan_free(plan);
    engine_seq_free(x.seq);
    mem_free(x.ids);
    return code;
}
