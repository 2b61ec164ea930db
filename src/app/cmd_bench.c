/* SPDX-License-Identifier: MIT
 * cmd_bench.c - damso bench: the speed of a model beside the limits of the machine.
 *
 * prefill: P tokens in an empty context, in steps of the setting `batch`; logits after the last.
 * decode: D tokens one by one from an empty context.  batch: N sequences that decode together, D
 * steps.  A speed is the median of the runs; tokens are random ones from a fixed seed. */
#include "app/app_model.h"
#include "app/cmd.h"
#include "app/machine.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_MAX 1000

struct bench {
    int64_t prefill, decode, runs, batch;
    bool json;
    struct engine *en;
    int32_t *ids;  /* [most of prefill, decode, batch] */
    uint64_t hash; /* of the logits after the prefill */
};

struct speed {
    double median, min, max; /* tokens a second; 0: not run */
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct speed summary(double *v, size_t n)
{
    qsort(v, n, sizeof *v, by_value);
    double mid = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
    return (struct speed){mid, v[0], v[n - 1]};
}

typedef enum err bench_fn(struct bench *b, struct errinfo *e);

static enum err run_prefill(struct bench *b, struct errinfo *e)
{
    const float *logits;
    struct engine_seq *s = engine_seq_new(b->en);
    enum err r = engine_prefill(b->en, s, b->ids, (size_t)b->prefill, NULL, NULL, &logits, e);
    if (r == ERR_OK)
        b->hash = num_hash(logits, engine_model(b->en)->n_vocab * sizeof *logits, 0);
    engine_seq_free(s);
    return r;
}

static enum err run_decode(struct bench *b, struct errinfo *e)
{
    const float *logits;
    struct engine_seq *s = engine_seq_new(b->en);
    enum err r = ERR_OK;
    for (int64_t i = 0; i < b->decode && r == ERR_OK; i++) {
        struct engine_row row = {s, b->ids[i], true};
        r = engine_step(b->en, &row, 1, &logits, e);
    }
    engine_seq_free(s);
    return r;
}

static enum err run_batch(struct bench *b, struct errinfo *e)
{
    size_t n = (size_t)b->batch;
    const float **logits = mem_alloc(n * sizeof *logits);
    struct engine_row *rows = mem_alloc(n * sizeof *rows);
    enum err r = ERR_OK;
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct engine_row){engine_seq_new(b->en), 0, true};
    for (int64_t k = 0; k < b->decode && r == ERR_OK; k++) {
        for (size_t i = 0; i < n; i++)
            rows[i].token = b->ids[((size_t)k + i) % (size_t)MAX(b->decode, b->batch)];
        r = engine_step(b->en, rows, n, logits, e);
    }
    for (size_t i = 0; i < n; i++)
        engine_seq_free(rows[i].seq);
    mem_free(rows);
    mem_free(logits);
    return r;
}

/* One run that is not counted, then the counted ones. */
static enum err repeat(struct bench *b, bench_fn *fn, int64_t tokens, struct speed *out,
                       struct errinfo *e)
{
    double v[RUNS_MAX];
    *out = (struct speed){0};
    if (tokens == 0)
        return ERR_OK;
    for (int64_t i = -1; i < b->runs; i++) {
        uint64_t began = os_now_ns();
        TRY(fn(b, e));
        if (cmd_stopped())
            return err_set(e, ERR_CANCELLED, "stopped");
        if (i >= 0)
            v[i] = (double)tokens * 1e9 / (double)(os_now_ns() - began);
    }
    *out = summary(v, (size_t)b->runs);
    return ERR_OK;
}

/* Multiply-adds of a token's matrices; those of the output matrix apart. */
static size_t macs_a_token(const struct model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_layer; i++) {
        const struct model_layer *l = &m->layers[i];
        const struct model_matrix *all[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
        for (size_t k = 0; k < N_ELEMS(all); k++)
            n += all[k]->rows * all[k]->cols;
    }
    return n;
}

struct result {
    struct speed prefill, decode, batch;
    struct machine machine;
    double prefill_gmacs, decode_gbs;
};

static void rates(const struct bench *b, struct result *r)
{
    const struct model *m = engine_model(b->en);
    struct engine_memory mem = engine_memory(b->en);
    double bytes = (double)(mem.weights ? mem.weights : mem.file);
    double head = (double)(m->output.rows * m->output.cols);
    if (b->prefill)
        r->prefill_gmacs = r->prefill.median *
                           ((double)macs_a_token(m) + head / (double)b->prefill) / 1e9;
    r->decode_gbs = r->decode.median * bytes / 1e9;
}

static json_t *json_speed(const struct speed *s, int64_t tokens)
{
    return json_pack("{s:I, s:f, s:f, s:f}", "tokens", (json_int_t)tokens, "median", s->median,
                     "min", s->min, "max", s->max);
}

static json_t *json_machine(const struct machine *m)
{
    return json_pack("{s:s, s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:f}", "cpu", m->cpu, "level",
                     cpu_level_name(m->level), "threads", m->threads, "int8_gmacs_1",
                     m->int8_gmacs_1, "int8_gmacs", m->int8_gmacs, "f32_gmacs_1", m->f32_gmacs_1,
                     "f32_gmacs", m->f32_gmacs, "read_gbs_1", m->read_gbs_1, "read_gbs",
                     m->read_gbs);
}

static void print_json(const struct bench *b, const struct result *r, const char *model)
{
    char hash[17];
    struct engine_memory mem = engine_memory(b->en);
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)b->hash);
    json_t *o = json_pack("{s:s, s:i, s:f, s:f, s:s}", "model", model, "threads",
                          engine_threads(b->en), "prefill_tps", r->prefill.median, "decode_tps",
                          r->decode.median, "logits_hash", hash);
    json_object_set_new(o, "runs", json_integer(b->runs));
    json_object_set_new(o, "prefill", json_speed(&r->prefill, b->prefill));
    json_object_set_new(o, "decode", json_speed(&r->decode, b->decode));
    if (b->batch) {
        json_object_set_new(o, "batch_tps", json_real(r->batch.median));
        json_object_set_new(o, "batch", json_speed(&r->batch, b->batch * b->decode));
    }
    json_object_set_new(o, "prefill_gmacs", json_real(r->prefill_gmacs));
    json_object_set_new(o, "decode_gbs", json_real(r->decode_gbs));
    json_object_set_new(o, "memory",
                        json_pack("{s:I, s:I, s:I, s:I}", "file", (json_int_t)mem.file, "weights",
                                  (json_int_t)mem.weights, "context", (json_int_t)mem.context,
                                  "work", (json_int_t)mem.work));
    json_object_set_new(o, "machine", json_machine(&r->machine));
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(o);
}

static void print_speed(const char *name, int64_t tokens, const struct speed *s, const char *rate)
{
    if (s->median > 0)
        printf("%-8s %6lld tokens  %9.1f tokens/s  (%.1f to %.1f)  %s\n", name, (long long)tokens,
               s->median, s->min, s->max, rate);
}

static void print_machine(const struct machine *m)
{
    printf("machine  %s, %s, %d threads\n", m->cpu, cpu_level_name(m->level), m->threads);
    printf("         8-bit products %.1f GMAC/s (one thread %.1f), 32-bit float %.1f (%.1f), reads "
           "%.1f GB/s (%.1f)\n",
           m->int8_gmacs, m->int8_gmacs_1, m->f32_gmacs, m->f32_gmacs_1, m->read_gbs,
           m->read_gbs_1);
}

static void print_text(const struct bench *b, const struct result *r)
{
    char rate[128];
    const struct machine *m = &r->machine;
    print_machine(m);
    snprintf(rate, sizeof rate, "%.1f GMAC/s, %.0f %% of the 8-bit limit", r->prefill_gmacs,
             100 * r->prefill_gmacs / m->int8_gmacs);
    print_speed("prefill", b->prefill, &r->prefill, rate);
    snprintf(rate, sizeof rate, "%.1f GB/s, %.0f %% of the read limit", r->decode_gbs,
             100 * r->decode_gbs / m->read_gbs);
    print_speed("decode", b->decode, &r->decode, rate);
    snprintf(rate, sizeof rate, "%lld sequences together", (long long)b->batch);
    print_speed("batch", b->batch * b->decode, &r->batch, rate);
    if (b->prefill)
        printf("logits   %016llx\n", (unsigned long long)b->hash);
}

static enum err run_all(struct bench *b, const struct conf *c, struct errinfo *e)
{
    struct result r = {0};
    size_t n = (size_t)MAX(MAX(b->prefill, b->decode), MAX(b->batch, 1));
    uint64_t rng = 1;
    b->ids = mem_alloc(n * sizeof *b->ids);
    for (size_t i = 0; i < n; i++)
        b->ids[i] = (int32_t)(num_rand(&rng) % engine_model(b->en)->n_vocab);
    cmd_catch_stop();
    enum err code = repeat(b, run_prefill, b->prefill, &r.prefill, e);
    if (code == ERR_OK)
        code = repeat(b, run_decode, b->decode, &r.decode, e);
    if (code == ERR_OK && b->batch)
        code = repeat(b, run_batch, b->batch * b->decode, &r.batch, e);
    mem_free(b->ids);
    TRY(code);
    r.machine = machine_measure(app_level(c), engine_threads(b->en));
    rates(b, &r);
    if (b->json)
        print_json(b, &r, c->model);
    else
        print_text(b, &r);
    return ERR_OK;
}

/* damso bench machine: the limits alone. */
static void only_machine(const struct conf *c, bool json)
{
    int threads = c->threads ? (int)c->threads : os_n_cpus();
    struct machine m = machine_measure(app_level(c), threads);
    if (!json) {
        print_machine(&m);
        return;
    }
    json_t *o = json_machine(&m);
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(o);
}

enum err cmd_bench(struct cmd_args *a, struct errinfo *e)
{
    struct bench b = {.prefill = 512, .decode = 64, .runs = 5};
    const struct conf_opt opts[] = {
        {.name = "prefill",
         .arg = "N",
         .help = "tokens of the prompt [512]; 0: none",
         .number = &b.prefill,
         .max = 1 << 20},
        {.name = "decode",
         .arg = "N",
         .help = "tokens one by one [64]; 0: none",
         .number = &b.decode,
         .max = 1 << 20},
        {.name = "runs",
         .arg = "N",
         .help = "runs that are counted, after one that is not [5]",
         .number = &b.runs,
         .min = 1,
         .max = RUNS_MAX},
        {.name = "batch",
         .arg = "N",
         .help = "also decode N sequences together",
         .number = &b.batch,
         .max = 1024},
        {.name = "json",                                  .help = "one JSON object",     .flag = &b.json                                         },
    };
    struct app_model m;
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 1, e));
    if (a->done)
        return ERR_OK;
    if (a->n_left && strcmp(a->left[0], "machine") != 0)
        return err_set(e, ERR_USAGE, "bench: '%.64s' is neither an option nor 'machine'",
                       a->left[0]);
    if (a->n_left) {
        only_machine(&a->conf, b.json);
        return ERR_OK;
    }
    if (a->conf.ctx == 0) /* no more context than the runs need */
        a->conf.ctx = MAX(MAX(b.prefill, b.decode), 64);
    TRY(app_model_open_many(&m, &a->conf, (size_t)MAX(b.batch, 1), (size_t)MAX(b.batch, 1), e));
    b.en = m.engine;
    enum err r = run_all(&b, &a->conf, e);
    app_model_close(&m);
    return r;
}
