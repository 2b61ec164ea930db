/* SPDX-License-Identifier: MIT
 * cmd_bench_serve.c - damso bench serve URL: any server of OpenAI's API under load, at numbers of
 * clients or at rates of arrival. */
#include "app/cmd_bench_serve.h"

#include "app/cmd_bench.h"
#include "base/arena.h"
#include "base/num.h"

#include <curl/curl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS  "1,2,4,8,16,32,64"
#define PER_USER 4 /* requests of a client at a level */
#define AT_LEAST 8
#define AT_RATE  64

/* ---- figures ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double rank(const double *v, size_t n, double p)
{
    size_t i = (size_t)ceil(p * (double)n);
    return n ? v[MIN(MAX(i, (size_t)1), n) - 1] : 0;
}

static struct serve_range range_of(double *v, size_t n)
{
    qsort(v, n, sizeof *v, by_value);
    return (struct serve_range){rank(v, n, 0.5), rank(v, n, 0.9), rank(v, n, 0.99)};
}

void serve_figures(struct serve_level *l)
{
    double *ttft = mem_alloc((l->n + 1) * sizeof *ttft),
           *tpot = mem_alloc((l->n + 1) * sizeof *tpot),
           *whole = mem_alloc((l->n + 1) * sizeof *whole),
           *late = mem_alloc((l->n + 1) * sizeof *late);
    size_t n = 0, n_tpot = 0;
    uint64_t from = UINT64_MAX, to = 0;
    l->n_bad = 0;
    l->n_tokens = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct serve_request *r = &l->request[i];
        l->n_bad += !r->ok;
        if (!r->ok)
            continue;
        from = MIN(from, r->due_ns);
        to = MAX(to, r->done_ns);
        l->n_tokens += r->n_tokens;
        late[n] = (double)(r->began_ns - r->due_ns) * 1e-6;
        ttft[n] = (double)(r->first_ns - r->due_ns) * 1e-6;
        whole[n++] = (double)(r->done_ns - r->due_ns) * 1e-6;
        if (r->n_tokens > 1)
            tpot[n_tpot++] = (double)(r->last_ns - r->first_ns) * 1e-6 / (double)(r->n_tokens - 1);
    }
    l->seconds = n ? (double)(to - from) * 1e-9 : 0;
    l->system_tps = l->seconds > 0 ? (double)l->n_tokens / l->seconds : 0;
    l->ttft = range_of(ttft, n);
    l->tpot = range_of(tpot, n_tpot);
    l->whole = range_of(whole, n);
    l->late = range_of(late, n);
    l->user_tps = l->tpot.p90 > 0 ? 1000 / l->tpot.p90 : 0;
    mem_free(ttft);
    mem_free(tpot);
    mem_free(whole);
    mem_free(late);
}

void serve_pareto(struct serve_level *l, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        l[i].pareto = true;
        for (size_t k = 0; k < n; k++)
            if (k != i && l[k].user_tps >= l[i].user_tps && l[k].system_tps >= l[i].system_tps &&
                (l[k].user_tps > l[i].user_tps || l[k].system_tps > l[i].system_tps))
                l[i].pareto = false;
    }
}

/* ---- words ---- */

static void print_level(const struct serve_level *l)
{
    char load[32];
    if (l->clients)
        snprintf(load, sizeof load, "%lld", (long long)l->clients);
    else
        snprintf(load, sizeof load, "%.4g/s", l->rate);
    printf("%-8s %8zu %6zu %12.1f %12.1f %10.1f %10.1f %10.2f %10.2f  %s\n", load, l->n, l->n_bad,
           l->system_tps, l->user_tps, l->ttft.p50, l->ttft.p90, l->tpot.p50, l->tpot.p90,
           l->pareto ? "on the curve" : "");
    if (l->late.p90 >= 1)
        printf("         sent late by %.1f ms at p90, which counts: times are from when due\n",
               l->late.p90);
    if (l->error[0])
        printf("         first error: %s\n", l->error);
}

static void print_text(const struct serve_load *load, const struct serve_level *l, size_t n)
{
    printf("%s, prompts of about %lld words, answers of %lld tokens\n", load->url,
           (long long)load->words, (long long)load->answer);
    printf("%-8s %8s %6s %12s %12s %10s %10s %10s %10s\n", "load", "requests", "errors", "tokens/s",
           "a user", "TTFT p50", "TTFT p90", "TPOT p50", "TPOT p90");
    for (size_t i = 0; i < n; i++)
        print_level(&l[i]);
    printf("tokens/s: of all answers; a user: 1000 / TPOT p90; times in milliseconds\n");
}

static json_t *range_json(const struct serve_range *r)
{
    return json_pack("{s:f, s:f, s:f}", "p50", r->p50, "p90", r->p90, "p99", r->p99);
}

static void print_json(const struct serve_load *load, const struct serve_level *l, size_t n)
{
    json_t *levels = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *o = json_pack(
            "{s:I, s:f, s:I, s:I, s:I, s:f, s:f, s:f, s:o, s:o, s:o, s:o, s:b, s:s}", "clients",
            (json_int_t)l[i].clients, "rate", l[i].rate, "requests", (json_int_t)l[i].n, "errors",
            (json_int_t)l[i].n_bad, "tokens", (json_int_t)l[i].n_tokens, "seconds", l[i].seconds,
            "system_tps", l[i].system_tps, "user_tps", l[i].user_tps, "ttft_ms",
            range_json(&l[i].ttft), "tpot_ms", range_json(&l[i].tpot), "latency_ms",
            range_json(&l[i].whole), "late_ms", range_json(&l[i].late), "pareto", l[i].pareto,
            "error", l[i].error);
        CHECK(o);
        json_array_append_new(levels, o);
    }
    json_t *all = json_pack("{s:s, s:s, s:I, s:I, s:o}", "url", load->url, "model", load->model,
                            "words", (json_int_t)load->words, "answer", (json_int_t)load->answer,
                            "levels", levels);
    CHECK(all);
    json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(all);
}

/* ---- the command ---- */

static enum err read_rates(struct serve_level *l, size_t *n, const char *text, struct errinfo *e)
{
    for (const char *p = text;; p++) {
        char *end;
        double v = strtod(p, &end);
        if (end == p || (*end && *end != ',') || !(v > 0 && v <= 1e5))
            return err_set(e, ERR_USAGE, "--rate: '%.64s' is no list of numbers over 0, to 100000",
                           text);
        if (*n == SERVE_LEVELS_MAX)
            return err_set(e, ERR_USAGE, "--rate: more than %d numbers", SERVE_LEVELS_MAX);
        l[(*n)++].rate = v;
        p = end;
        if (!*p)
            return ERR_OK;
    }
}

static enum err read_levels(struct serve_level *l, size_t *n, const char *clients,
                            const char *rates, int64_t requests, struct errinfo *e)
{
    struct bench_list list;
    if (rates)
        TRY(read_rates(l, n, rates, e));
    if (clients || !rates) {
        TRY(bench_list_read(&list, "--clients", clients ? clients : CLIENTS, SERVE_CLIENTS_MAX, e));
        if (*n + list.n > SERVE_LEVELS_MAX)
            return err_set(e, ERR_USAGE, "--clients: more than %d levels", SERVE_LEVELS_MAX);
        for (size_t i = 0; i < list.n; i++)
            l[(*n)++].clients = list.v[i];
    }
    for (size_t i = 0; i < *n; i++) {
        size_t own = l[i].clients ? MAX(PER_USER * (size_t)l[i].clients, (size_t)AT_LEAST)
                                  : AT_RATE;
        l[i].n = requests ? MAX((size_t)requests, (size_t)l[i].clients) : own;
        l[i].request = mem_alloc(l[i].n * sizeof *l[i].request);
    }
    return ERR_OK;
}

static enum err run_levels(const struct serve_load *load, struct serve_level *l, size_t n,
                           struct errinfo *e)
{
    struct serve_request warm_request[2];
    struct serve_level warm = {.clients = 1, .n = 2, .request = warm_request};
    TRY(serve_run(load, &warm, e)); /* the model is loaded, connections are known to work */
    for (size_t i = 0; i < n; i++) {
        fprintf(stderr, "level %zu of %zu: %zu requests\n", i + 1, n, l[i].n);
        TRY(serve_run(load, &l[i], e));
        serve_figures(&l[i]);
    }
    serve_pareto(l, n);
    return ERR_OK;
}

static enum err check_url(const char *url, struct errinfo *e)
{
    bool http = strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0;
    if (!utf8_valid(span_of(url)))
        return err_set(e, ERR_USAGE, "bench serve: the address is not UTF-8");
    if (!http || strlen(url) > 1024 || url[strlen(url) - 1] == '/')
        return err_set(e, ERR_USAGE,
                       "bench serve: '%.64s' is no address such as http://127.0.0.1:8080, without "
                       "/v1 and without a / at its end",
                       url);
    return ERR_OK;
}

struct options {
    struct serve_load load;
    const char *clients, *rates, *svg, *html;
    int64_t requests;
    bool json;
};

static enum err parse(struct options *o, struct cmd_args *a, struct errinfo *e)
{
    const struct conf_opt opts[] = {
        {.name = "clients",
         .arg = "N,...",
         .help = "clients that ask at the same time, for each N [" CLIENTS "]",
         .text = &o->clients                                             },
        {.name = "rate",
         .arg = "Q,...",
         .help = "requests that come at random times, Q a second on the mean, for each Q",
         .text = &o->rates                                               },
        {.name = "requests",
         .arg = "N",
         .help = "requests of a level [4 a client; 64 at a rate]",
         .number = &o->requests,
         .min = 1,
         .max = SERVE_REQUESTS_MAX},
        {.name = "words",
         .arg = "N",
         .help = "words of a prompt, others each time [128]",
         .number = &o->load.words,
         .max = 100000},
        {.name = "answer",
         .arg = "N",
         .help = "tokens of an answer [64]",
         .number = &o->load.answer,
         .min = 2,
         .max = 1 << 20},
        {.name = "connections",
         .arg = "N",
         .help = "of --rate: requests over it wait, which counts [1024]",
         .number = &o->load.connections,
         .min = 1,
         .max = SERVE_CLIENTS_MAX},
        {.name = "plain",
         .help = "only fields of OpenAI's own API: answers may end early",
         .flag = &o->load.plain                                        },
        {.name = "html",
         .arg = "FILE",
         .help = "also a page with figures, curve and histograms",
         .text = &o->html                                  },
        {.name = "json",                                  .help = "print one JSON object in place of the text",            .flag = &o->json                                                                                          },
        {.name = "svg",                                  .arg = "FILE",            .help = "also draw the curve", .text = &o->svg},
    };
    return cmd_parse(a, opts, N_ELEMS(opts), 1, 1, e);
}

enum err cmd_bench_serve(struct cmd_args *a, struct errinfo *e)
{
    struct options o = {
        .load = {.words = 128,
                 .answer = 64,
                 .connections = SERVE_CLIENTS_MAX,
                 .key = getenv("DAMSO_BENCH_KEY")}
    };
    struct serve_level level[SERVE_LEVELS_MAX] = {0};
    size_t n = 0;
    TRY(parse(&o, a, e));
    if (a->done)
        return ERR_OK;
    o.load.url = a->left[0];
    o.load.model = a->conf.model;
    if (!utf8_valid(span_of(o.load.model)))
        return err_set(e, ERR_USAGE, "--model: it is not UTF-8, which JSON has");
    o.load.seed = a->conf.seed >= 0 ? (uint64_t)a->conf.seed : 1;
    TRY(check_url(o.load.url, e));
    curl_global_init(CURL_GLOBAL_DEFAULT);
    cmd_catch_stop();
    enum err r = read_levels(level, &n, o.clients, o.rates, o.requests, e);
    if (r == ERR_OK)
        r = run_levels(&o.load, level, n, e);
    if (r == ERR_OK && o.json)
        print_json(&o.load, level, n);
    else if (r == ERR_OK)
        print_text(&o.load, level, n);
    if (r == ERR_OK && o.svg)
        r = serve_draw(o.svg, o.load.url, level, n, e);
    if (r == ERR_OK && o.html)
        r = serve_html(o.html, &o.load, level, n, e);
    for (size_t i = 0; i < n; i++)
        mem_free(level[i].request);
    return r;
}
