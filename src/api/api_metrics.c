/* SPDX-License-Identifier: MIT
 * api_metrics.c - counters and histograms, and GET /metrics, which prints them in Prometheus' text
 * format (version 0.0.4). */
#include "api/api_metrics.h"

#include "api/api_call.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <stdatomic.h>
#include <string.h>

#define API_BUCKETS    16
#define STATUS_BUCKETS 600

struct histogram {
    atomic_uint_least64_t count[API_BUCKETS + 1]; /* the last: above all */
    _Atomic double sum;
};

enum metric_histogram {
#define HISTOGRAM(name, unit, first, factor, help) H_##name,
#define COUNTER(name, help)
#define LOAD(name, kind, value, help)
#include "api/api_metric.def"
#undef HISTOGRAM
#undef COUNTER
    H_N
};

enum metric_counter {
#define HISTOGRAM(name, unit, first, factor, help)
#define COUNTER(name, help) C_##name,
#include "api/api_metric.def"
#undef HISTOGRAM
#undef COUNTER
#undef LOAD
    C_N
};

struct api_metrics {
    struct histogram h[H_N];
    atomic_uint_least64_t c[C_N];
    atomic_uint_least64_t fault[STATUS_BUCKETS];
};

static const struct {
    const char *name, *help;
    double first, factor;
} histograms[] = {
#define HISTOGRAM(name, unit, first, factor, help) {"damso_" #name, help, first, factor},
#define COUNTER(name, help)
#define LOAD(name, kind, value, help)
#include "api/api_metric.def"
#undef HISTOGRAM
#undef COUNTER
};

static const struct {
    const char *name, *help;
} counters[] = {
#define HISTOGRAM(name, unit, first, factor, help)
#define COUNTER(name, help) {"damso_" #name, help},
#include "api/api_metric.def"
#undef HISTOGRAM
#undef COUNTER
#undef LOAD
};

/* ---- counting ---- */

struct api_metrics *api_metrics_new(void)
{
    return mem_alloc(sizeof(struct api_metrics));
}

void api_metrics_free(struct api_metrics *m)
{
    mem_free(m);
}

static void observe(struct api_metrics *m, enum metric_histogram h, double x, uint64_t times)
{
    double limit = histograms[h].first;
    size_t i = 0;
    for (; i < API_BUCKETS && x > limit; i++)
        limit *= histograms[h].factor;
    atomic_fetch_add(&m->h[h].count[i], times);
    double sum = atomic_load(&m->h[h].sum);
    while (!atomic_compare_exchange_weak(&m->h[h].sum, &sum, sum + x * (double)times))
        ;
}

static double seconds(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (double)(to_ns - from_ns) * 1e-9 : 0;
}

void api_metrics_answer(struct api_metrics *m, const struct job *j, uint64_t arrived_ns,
                        uint64_t now)
{
    size_t n = job_n_out(j);
    /* One that a stop text ended still runs: what the engine writes at its end is not read. */
    bool done = job_state(j) == JOB_DONE;
    bool cut = done && (j->end == JOB_END_CANCELLED || j->end == JOB_END_DEADLINE);
    if (n > 0 || done)
        observe(m, H_request_queue_seconds, seconds(j->pushed_ns, j->started_ns), 1);
    if (n > 0)
        observe(m, H_time_to_first_token_seconds, seconds(arrived_ns, j->first_ns), 1);
    if (n > 1)
        observe(m, H_time_per_output_token_seconds, seconds(j->first_ns, now) / (double)(n - 1),
                n - 1);
    observe(m, H_request_seconds, seconds(arrived_ns, now), 1);
    observe(m, H_request_prompt_tokens, (double)j->n_prompt, 1);
    observe(m, H_request_answer_tokens, (double)n, 1);
    atomic_fetch_add(&m->c[C_prompt_tokens_total], j->n_prompt);
    atomic_fetch_add(&m->c[C_prompt_tokens_cached_total], j->n_cached);
    atomic_fetch_add(&m->c[C_answer_tokens_total], n);
    atomic_fetch_add(&m->c[C_answers_total], 1);
    atomic_fetch_add(&m->c[C_answers_cancelled_total], cut);
}

void api_metrics_fault(struct api_metrics *m, int status)
{
    if (status >= 0 && status < STATUS_BUCKETS)
        atomic_fetch_add(&m->fault[status], 1);
}

/* ---- printing ---- */

static void print_head(struct str *out, const char *name, const char *kind, const char *help)
{
    str_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static void print_histogram(struct str *out, struct api_metrics *m, size_t i)
{
    const char *name = histograms[i].name;
    double limit = histograms[i].first;
    uint64_t sum = 0;
    print_head(out, name, "histogram", histograms[i].help);
    for (size_t b = 0; b < API_BUCKETS; b++, limit *= histograms[i].factor) {
        sum += atomic_load(&m->h[i].count[b]);
        str_addf(out, "%s_bucket{le=\"%.6g\"} %llu\n", name, limit, (unsigned long long)sum);
    }
    sum += atomic_load(&m->h[i].count[API_BUCKETS]);
    str_addf(out, "%s_bucket{le=\"+Inf\"} %llu\n", name, (unsigned long long)sum);
    str_addf(out, "%s_sum %.9g\n", name, atomic_load(&m->h[i].sum));
    str_addf(out, "%s_count %llu\n", name, (unsigned long long)sum);
}

/* A label's value: quotes, backslashes and line feeds escaped. */
static void print_label(struct str *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '\\' || *s == '"')
            str_add_char(out, '\\');
        if (*s == '\n')
            str_add_cstr(out, "\\n");
        else
            str_add_char(out, *s);
    }
}

static void print_sample(struct str *out, const char *name, const char *model, double value)
{
    str_addf(out, "%s{model_name=\"", name);
    print_label(out, model);
    str_addf(out, "\"} %.9g\n", value);
}

/* The samples of a metric stand together, so models go in the inner loop. */
static void print_loads(struct str *out, struct api_models *set)
{
    size_t n = api_models_n(set);
    struct sched_load *loads = mem_alloc(n * sizeof *loads);
    bool *open = mem_alloc(n * sizeof *open);
    for (size_t i = 0; i < n; i++) {
        struct api_model *m = api_models_at(set, i);
        open[i] = api_model_hold(m);
        if (!open[i])
            continue;
        loads[i] = sched_load(m->sched);
        api_model_release(m);
    }
#define LOAD(metric, kind, value, help)                                                            \
    print_head(out, metric, kind, help);                                                           \
    for (size_t i = 0; i < n; i++) {                                                               \
        struct sched_load l = loads[i];                                                            \
        if (open[i])                                                                               \
            print_sample(out, metric, api_models_at(set, i)->name, value);                         \
    }
#define HISTOGRAM(name, unit, first, factor, help)
#define COUNTER(name, help)
#include "api/api_metric.def"
#undef HISTOGRAM
#undef COUNTER
#undef LOAD
    mem_free(loads);
    mem_free(open);
}

static void print_http(struct str *out, const struct http_stats *s)
{
    print_head(out, "damso_http_responses_total", "counter", "Answers begun, by class of status");
    for (size_t i = 1; i < N_ELEMS(s->n_requests); i++)
        str_addf(out, "damso_http_responses_total{class=\"%zuxx\"} %llu\n", i,
                 (unsigned long long)s->n_requests[i]);
    print_head(out, "damso_http_connections", "gauge", "Open connections");
    str_addf(out, "damso_http_connections %llu\n", (unsigned long long)s->n_open);
    print_head(out, "damso_http_streams", "gauge", "Streams under way");
    str_addf(out, "damso_http_streams %llu\n", (unsigned long long)s->n_streams);
    print_head(out, "damso_http_gone_total", "counter", "Clients that left before the end");
    str_addf(out, "damso_http_gone_total %llu\n", (unsigned long long)s->n_gone);
}

void api_do_metrics(struct api_call *c)
{
    struct str out;
    struct api_metrics *m = c->api->metrics;
    struct http_stats http = http_stats(c->api->http);
    str_init(&out, (size_t)1 << 20);
    for (size_t i = 0; i < H_N; i++)
        print_histogram(&out, m, i);
    for (size_t i = 0; i < C_N; i++) {
        print_head(&out, counters[i].name, "counter", counters[i].help);
        str_addf(&out, "%s %llu\n", counters[i].name, (unsigned long long)atomic_load(&m->c[i]));
    }
    print_head(&out, "damso_errors_total", "counter", "Requests refused or failed, by status");
    for (int i = 0; i < STATUS_BUCKETS; i++)
        if (atomic_load(&m->fault[i]))
            str_addf(&out, "damso_errors_total{status=\"%d\"} %llu\n", i,
                     (unsigned long long)atomic_load(&m->fault[i]));
    print_loads(&out, c->api->models);
    print_http(&out, &http);
    print_head(&out, "process_resident_memory_bytes", "gauge", "Memory of this process");
    str_addf(&out, "process_resident_memory_bytes %zu\n", os_mem_resident());
    http_reply(c->req, 200, "text/plain; version=0.0.4; charset=utf-8", str_span(&out));
    str_done(&out);
}
