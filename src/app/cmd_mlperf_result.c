/* SPDX-License-Identifier: MIT
 * cmd_mlperf_result.c - run.json: LoadGen's figures, our own percentiles beside them, the energy,
 * the machine and the build. */
#include "app/cmd_mlperf.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <stdlib.h>
#include <string.h>

#define BARS 40 /* of the histogram */

struct times {
    double *latency, *ttft, *tpot; /* [n] seconds */
    size_t n;
    uint64_t tokens;
    double from, to; /* the first query asked, the last answered: seconds of os_now_ns */
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct times times_of(struct mlperf_book *b)
{
    struct times t = {0};
    pthread_mutex_lock(&b->lock);
    t.latency = mem_alloc((b->n + 1) * sizeof(double));
    t.ttft = mem_alloc((b->n + 1) * sizeof(double));
    t.tpot = mem_alloc((b->n + 1) * sizeof(double));
    for (size_t i = 0; i < b->n; i++) {
        const struct mlperf_entry *en = &b->entry[i];
        double asked = (double)en->asked_ns * 1e-9, done = (double)en->done_ns * 1e-9;
        t.from = i ? MIN(t.from, asked) : asked;
        if (!en->done_ns)
            continue;
        t.to = MAX(t.to, done);
        t.latency[t.n] = done - asked;
        t.ttft[t.n] = (double)(en->first_ns - en->asked_ns) * 1e-9;
        t.tpot[t.n] = (double)(en->done_ns - en->first_ns) * 1e-9 / (en->n_tokens - 1);
        t.tokens += en->n_tokens;
        t.n++;
    }
    pthread_mutex_unlock(&b->lock);
    qsort(t.latency, t.n, sizeof(double), by_value);
    qsort(t.ttft, t.n, sizeof(double), by_value);
    qsort(t.tpot, t.n, sizeof(double), by_value);
    return t;
}

/* As LoadGen has it (results.cc): the element at n * p, counted from 0. */
static double rank(const double *v, size_t n, double p)
{
    size_t i = (size_t)((double)n * p);
    return v[MIN(i, n - 1)];
}

static json_t *percentiles(const double *v, size_t n)
{
    if (!n)
        return json_null();
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "mean", 1000 * sum / (double)n, "p50",
                     1000 * rank(v, n, 0.5), "p90", 1000 * rank(v, n, 0.9), "p95",
                     1000 * rank(v, n, 0.95), "p99", 1000 * rank(v, n, 0.99), "min", 1000 * v[0],
                     "max", 1000 * v[n - 1]);
}

static json_t *histogram(const struct times *t)
{
    size_t bar[BARS] = {0};
    if (!t->n)
        return json_null();
    double low = t->latency[0], high = t->latency[t->n - 1];
    double width = high > low ? (high - low) / BARS : 1e-3;
    for (size_t i = 0; i < t->n; i++) {
        size_t at = (size_t)((t->latency[i] - low) / width);
        at = MIN(at, (size_t)BARS - 1);
        bar[at]++;
    }
    json_t *counts = json_array();
    for (size_t i = 0; i < BARS; i++)
        json_array_append_new(counts, json_integer((json_int_t)bar[i]));
    return json_pack("{s:f, s:f, s:o}", "from_ms", 1000 * low, "bar_ms", 1000 * width, "counts",
                     counts);
}

/* The whole run's, with its warm-up: what there is of a chip that is simulated. */
static json_t *sim_energy(const struct dev_sim *sim)
{
    return json_pack("{s:n, s:s, s:f, s:f}", "source", "note", "not measured: simulated",
                     "simulated_joules", sim->joules, "simulated_busy_s", (double)sim->ns * 1e-9);
}

static json_t *energy(const struct mlperf_power *p, uint64_t tokens)
{
    if (!p->source || p->joules <= 0)
        return json_pack("{s:n, s:s}", "source", "note", "not measured");
    return json_pack("{s:s, s:f, s:f, s:f}", "source", p->source, "joules", p->joules,
                     "joules_per_token", tokens ? p->joules / (double)tokens : 0,
                     "tokens_per_joule", (double)tokens / p->joules);
}

static json_t *machine(const struct mlperf_work *w)
{
    const struct dev_sim *sim = engine_sim(w->model.engine);
    json_t *o = json_pack("{s:s, s:s, s:i, s:s, s:f}", "name", w->system, "cpu", os_cpu_name(),
                          "threads", engine_threads(w->model.engine), "level",
                          cpu_level_name(app_level(w->conf)), "memory_gib",
                          (double)os_mem_total() / 0x1p30);
    if (sim)
        json_object_set_new(o, "device",
                            json_pack("{s:s, s:s, s:b, s:s, s:s, s:f, s:s, s:I, s:I}", "name",
                                      sim->name, "title", sim->title, "simulated", 1, "computes",
                                      sim->computes, "clock", w->conf->clock, "watts", sim->tdp_w,
                                      "assumed", sim->assumed, "steps", (json_int_t)sim->n_steps,
                                      "late_steps", (json_int_t)sim->n_late));
    return o;
}

static json_t *build(void)
{
    return json_pack("{s:s, s:s, s:s}", "damso", DAMSO_VERSION, "loadgen", mlperf_shim_version(),
                     "compiler", __VERSION__);
}

static const char *verdict_of(const struct mlperf_work *w, const struct mlperf_log *log,
                              const char *why)
{
    if (w->run.stuck)
        return "STOPPED";
    if (w->test) /* TEST07 is scored by a script */
        return why ? "FAIL" : w->test->checks & MLPERF_SCORED ? "COMPLETE" : "PASS";
    if (!w->accuracy)
        return why || !mlperf_log_valid(log) ? "INVALID" : "VALID";
    return why ? "FAILED" : "COMPLETE";
}

static json_t *limits(const struct mlperf_work *w)
{
    const struct mlperf_limits *l = &w->run.limits;
    return json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:b}", "min_duration_ms",
                     (json_int_t)l->min_duration_ms, "min_queries", (json_int_t)l->min_queries,
                     "target_qps", l->target_qps, "ttft_ms", (double)l->ttft_ns * 1e-6, "tpot_ms",
                     (double)l->tpot_ns * 1e-6, "percentile", l->percentile, "shortened",
                     w->bench->official && l->min_duration_ms < 600000);
}

json_t *mlperf_result(struct mlperf_work *w, const struct mlperf_log *log, const char *why)
{
    struct times t = times_of(&w->book);
    struct mlperf_count c = mlperf_book_count(&w->book);
    double seconds = t.n ? t.to - t.from : 0;
    json_t *o = json_pack(
        "{s:s, s:b, s:s, s:s, s:s, s:s?, s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "benchmark",
        w->bench->name, "official_benchmark", w->bench->official, "scenario", w->scenario, "mode",
        w->accuracy ? "accuracy" : "performance", "verdict", verdict_of(w, log, why), "why", why,
        "model", w->conf->model, "set_sha256", w->set.sha256, "queries", (json_int_t)c.asked,
        "answered", (json_int_t)c.done, "tokens", (json_int_t)t.tokens, "seconds", seconds,
        "samples_per_s", seconds > 0 ? (double)t.n / seconds : 0, "tokens_per_s",
        seconds > 0 ? (double)t.tokens / seconds : 0, "share", w->share);
    CHECK(o);
    json_object_set_new(o, "at_once", json_integer((json_int_t)w->at_once));
    json_object_set_new(o, "tokens_at_most", json_integer(w->conf->n));
    json_object_set_new(o, "compliance", w->test ? json_string(w->test->name) : json_null());
    json_object_set_new(o, "judged", json_string(w->bench->judged));
    json_object_set_new(o, "latency_ms", percentiles(t.latency, t.n));
    json_object_set_new(o, "ttft_ms", percentiles(t.ttft, t.n));
    json_object_set_new(o, "tpot_ms", percentiles(t.tpot, t.n));
    json_object_set_new(o, "histogram", histogram(&t));
    json_object_set_new(o, "limits", limits(w));
    const struct dev_sim *sim = engine_sim(w->model.engine);
    json_object_set_new(o, "energy", sim ? sim_energy(sim) : energy(&w->power, t.tokens));
    json_object_set_new(o, "machine", machine(w));
    json_object_set_new(o, "build", build());
    json_object_set_new(o, "logs", json_string(w->logs));
    json_object_set_new(o, "unix_time", json_integer(os_unix_time()));
    json_object_set_new(o, "loadgen", json_incref(log->values));
    json_object_set_new(o, "errors", json_incref(log->errors));
    json_object_set_new(o, "disclaimer", json_string(MLPERF_DISCLAIMER));
    mem_free(t.latency);
    mem_free(t.ttft);
    mem_free(t.tpot);
    return o;
}
