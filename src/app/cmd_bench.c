/* SPDX-License-Identifier: MIT
 * cmd_bench.c - damso bench: the speed of a model beside the limits of the machine. */
#include "app/app_model.h"
#include "app/cmd.h"
#include "app/cmd_bench.h"
#include "app/cmd_bench_serve.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEQS_MAX 1024
#define AT_MAX   (1 << 20)

enum err bench_list_read(struct bench_list *l, const char *option, const char *text, int64_t max,
                         struct errinfo *e)
{
    *l = (struct bench_list){0};
    for (const char *p = text;; p++) {
        char *end;
        errno = 0;
        long long v = strtoll(p, &end, 10);
        if (*p < '0' || *p > '9' || (*end && *end != ','))
            return err_set(e, ERR_USAGE, "%s: '%.64s' is no list of numbers such as 1,16", option,
                           text);
        if (errno || v < 1 || v > max)
            return err_set(e, ERR_USAGE, "%s: %.*s is outside 1 to %lld", option,
                           (int)MIN(end - p, 32), p, (long long)max);
        if (l->n == BENCH_LIST_MAX)
            return err_set(e, ERR_USAGE, "%s: more than %d numbers", option, BENCH_LIST_MAX);
        l->v[l->n++] = v;
        p = end;
        if (!*p)
            return ERR_OK;
    }
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static enum err read_lists(struct bench *b, const char *batch, const char *at, struct errinfo *e)
{
    if (batch)
        TRY(bench_list_read(&b->batch, "--batch", batch, SEQS_MAX, e));
    if (at)
        TRY(bench_list_read(&b->at, "--at", at, AT_MAX, e));
    qsort(b->at.v, b->at.n, sizeof *b->at.v, ascending);
    return ERR_OK;
}

/* Opens the model, with no more context than the rows need, runs all and closes it again, so that
 * the machine's limits are measured without it. */
static enum err run_model(struct bench *b, struct conf *c, struct errinfo *e)
{
    struct app_model m;
    size_t seqs = 1;
    for (size_t i = 0; i < b->batch.n; i++)
        seqs = MAX(seqs, (size_t)b->batch.v[i]);
    if (c->ctx == 0)
        c->ctx = (int64_t)bench_ctx(b);
    TRY(app_model_open_for(&m, c, seqs, seqs, bench_ctx_total(b, (size_t)c->ctx), e));
    cmd_catch_stop();
    app_model_settle(&m); /* writing would disturb */
    enum err r = bench_run(b, m.engine, app_level(c), e);
    app_model_close(&m);
    return r;
}

static enum err bench_model(struct bench *b, struct conf *c, bool json, const char *svg,
                            struct errinfo *e)
{
    b->model = c->model;
    TRY(run_model(b, c, e));
    if (b->device[0]) /* the limits of this machine are not the chip's */
        b->machine = (struct machine){
            .cpu = os_cpu_name(), .level = app_level(c), .threads = b->threads};
    else
        b->machine = machine_measure(app_level(c), b->threads);
    bench_rates(b);
    if (json)
        bench_print_json(b);
    else
        bench_print(b);
    return svg ? bench_draw(b, svg, e) : ERR_OK;
}

static void bench_machine(const struct conf *c, bool json)
{
    struct machine m = machine_measure(app_level(c), c->threads ? (int)c->threads : os_n_cpus());
    bench_print_machine(&m, json);
}

static const struct cmd parts[] = {
    {"serve", cmd_bench_serve, "URL [--clients N,...] [--rate Q,...] [--json] [--svg FILE]",
     "drive a server of OpenAI's API, damso's or another, and measure it"},
};

enum err cmd_bench(struct cmd_args *a, struct errinfo *e)
{
    if (a->argc > 0 && strcmp(a->argv[0], parts[0].name) == 0)
        return cmd_dispatch(parts, N_ELEMS(parts), a, e);
    struct bench b = {.prefill = 512, .decode = 64, .runs = 5};
    const char *batch = NULL, *at = NULL, *svg = NULL;
    bool json = false;
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
         .max = BENCH_RUNS_MAX},
        {.name = "batch",
         .arg = "N,...",
         .help = "also decode N sequences together, for each N",
         .text = &batch                  },
        {.name = "at",
         .arg = "N,...",
         .help = "also prefill and decode after a context of N tokens, for each N",
         .text = &at       },
        {.name = "json",
         .help = "print one JSON object with all rows and limits in place of the text",
         .flag = &json                                  },
        {.name = "svg",
         .arg = "FILE",
         .help = "also draw the rows beside the machine's limits",
         .text = &svg                     },
    };
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 1, e));
    if (a->done)
        return ERR_OK;
    if (a->n_left && strcmp(a->left[0], "machine") != 0)
        return err_set(e, ERR_USAGE, "bench: '%.64s' is neither an option nor 'machine'",
                       a->left[0]);
    TRY(read_lists(&b, batch, at, e));
    if (!a->n_left)
        return bench_model(&b, &a->conf, json, svg, e);
    if (batch || at || svg)
        return err_set(e, ERR_USAGE, "bench machine: --batch, --at and --svg need a model");
    bench_machine(&a->conf, json);
    return ERR_OK;
}
