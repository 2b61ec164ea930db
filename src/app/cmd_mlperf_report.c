/* SPDX-License-Identifier: MIT
 * cmd_mlperf_report.c - run.json as a page for people: one file, no scripts, nothing from outside.
 */
#include "app/cmd_mlperf.h"
#include "app/member.h"
#include "app/mlperf_published.h"

#include "base/num.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT_MAX ((size_t)4 << 20)
#define CHART_W  720
#define CHART_H  180

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<style>\n"
    ":root { color-scheme: light dark; --ink: #1f2328; --dim: #59636e; --line: #d1d9e0;"
    " --bar: #2f6fde; --good: #1a7f37; --bad: #cf222e; --back: #fff }\n"
    "@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --dim: #9198a1;"
    " --line: #3d444d; --bar: #6ea8ff; --good: #3fb950; --bad: #f85149; --back: #0d1117 } }\n"
    "body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back);"
    " max-width: 760px; margin: 32px auto; padding: 0 20px }\n"
    "h1 { font-size: 26px; margin: 0 } h2 { font-size: 18px; margin: 32px 0 8px }\n"
    "table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }\n"
    "td, th { text-align: right; padding: 4px 10px; border-bottom: 1px solid var(--line) }\n"
    "td:first-child, th:first-child { text-align: left }\n"
    "th { color: var(--dim); font-weight: 500 } p.dim, .dim { color: var(--dim) }\n"
    ".VALID, .COMPLETE, .PASS { color: var(--good) } .INVALID, .STOPPED, .FAILED, .FAIL { color: "
    "var(--bad) }\n"
    "svg.bars rect { fill: var(--bar) } svg.bars text { fill: var(--dim); font-size: 12px }\n"
    "pre { overflow: auto; border: 1px solid var(--line); padding: 10px; font-size: 13px }\n"
    "</style>\n";

static void row(struct str *s, const char *name, const char *value)
{
    str_addf(s, "<tr><td>%s</td><td>", name);
    str_add_html(s, value);
    str_add_cstr(s, "</td></tr>\n");
}

static void add_top(struct str *s, const json_t *r)
{
    char when[64];
    time_t at = (time_t)json_integer_value(json_object_get(r, "unix_time"));
    struct tm tm;
    gmtime_r(&at, &tm);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M UTC", &tm);
    bool official = json_is_true(json_object_get(r, "official_benchmark"));
    str_addf(s, "<title>%s %s</title></head><body>\n", member_text(r, "benchmark"),
             member_text(r, "scenario"));
    str_addf(s, "<h1>%s, %s%s: <span class=\"%s\">%s</span></h1>\n", member_text(r, "benchmark"),
             member_text(r, "scenario"),
             strcmp(member_text(r, "mode"), "accuracy") == 0 ? " (accuracy run)"
             : member_text(r, "compliance")[0]               ? " (compliance run)"
                                                             : "",
             member_text(r, "verdict"), member_text(r, "verdict"));
    str_addf(s, "<p class=\"dim\">%s</p>\n", when);
    const json_t *device = json_object_get(json_object_get(r, "machine"), "device");
    if (device) {
        str_add_cstr(s, "<p><b>Simulated: ");
        str_add_html(s, member_text(device, "title"));
        str_addf(s,
                 ".</b> The chip was simulated on this machine (clock: %s). These are no "
                 "figures of the chip, and this is not an MLPerf result.</p>\n",
                 member_text(device, "clock"));
        if (member_number(device, "late_steps") > 0)
            str_addf(s,
                     "<p>This machine was too slow for %.0f of %.0f steps: times are longer than "
                     "they would be on the chip.</p>\n",
                     member_number(device, "late_steps"), member_number(device, "steps"));
    }
    if (!official)
        str_add_cstr(s, "<p><b>This benchmark is damso's own and unofficial: it is not MLPerf.</b> "
                        "Only the load generator is MLCommons'.</p>\n");
    str_add_cstr(s, "<p>");
    str_add_html(s, MLPERF_DISCLAIMER);
    str_add_cstr(s, "</p>\n");
    if (member_text(r, "why")[0]) {
        str_add_cstr(s, "<p>How it ended: ");
        str_add_html(s, member_text(r, "why"));
        str_addf(s, ". %.0f %% of the run was done.</p>\n", 100 * member_number(r, "share"));
    }
    if (json_is_true(json_object_get(json_object_get(r, "limits"), "shortened")))
        str_add_cstr(s, "<p>The run was shortened: submissions last 600 seconds at least.</p>\n");
    if (json_integer_value(json_object_get(r, "tokens_at_most")))
        str_addf(s, "<p>Answers were cut at %lld tokens (-n).</p>\n",
                 (long long)json_integer_value(json_object_get(r, "tokens_at_most")));
}

static void add_summary(struct str *s, const json_t *r)
{
    const json_t *en = json_object_get(r, "energy");
    str_addf(s,
             "<h2>Summary</h2><table>\n"
             "<tr><td>queries answered</td><td>%.0f of %.0f</td></tr>\n"
             "<tr><td>duration</td><td>%.1f s</td></tr>\n"
             "<tr><td>samples a second</td><td>%.3f</td></tr>\n"
             "<tr><td>tokens a second</td><td>%.1f</td></tr>\n",
             member_number(r, "answered"), member_number(r, "queries"), member_number(r, "seconds"),
             member_number(r, "samples_per_s"), member_number(r, "tokens_per_s"));
    if (member_text(en, "source")[0])
        str_addf(s,
                 "<tr><td>energy (%s)</td><td>%.1f J: %.4f J a token, %.2f tokens a joule"
                 "</td></tr>\n",
                 member_text(en, "source"), member_number(en, "joules"),
                 member_number(en, "joules_per_token"), member_number(en, "tokens_per_joule"));
    else
        row(s, "energy", "not measured");
    str_add_cstr(s, "</table>\n");
}

static void add_times(struct str *s, const json_t *r)
{
    static const char *const kinds[][2] = {
        {"latency_ms", "whole answer"              },
        {"ttft_ms",    "first token (TTFT)"        },
        {"tpot_ms",    "each token after it (TPOT)"}
    };
    static const char *const cols[] = {"p50", "p90", "p95", "p99", "max"};
    str_add_cstr(s, "<h2>Times in milliseconds</h2><table>\n<tr><th></th>");
    for (size_t c = 0; c < N_ELEMS(cols); c++)
        str_addf(s, "<th>%s</th>", cols[c]);
    str_add_cstr(s, "</tr>\n");
    for (size_t k = 0; k < N_ELEMS(kinds); k++) {
        const json_t *o = json_object_get(r, kinds[k][0]);
        str_addf(s, "<tr><td>%s</td>", kinds[k][1]);
        for (size_t c = 0; c < N_ELEMS(cols); c++)
            str_addf(s, "<td>%.1f</td>", member_number(o, cols[c]));
        str_add_cstr(s, "</tr>\n");
    }
    str_add_cstr(s, "</table>\n");
}

static void add_histogram(struct str *s, const json_t *r)
{
    const json_t *h = json_object_get(r, "histogram"), *counts = json_object_get(h, "counts");
    size_t n = json_array_size(counts);
    double most = 1;
    if (!n)
        return;
    for (size_t i = 0; i < n; i++)
        most = MAX(most, json_number_value(json_array_get(counts, i)));
    double from = member_number(h, "from_ms"), bar = member_number(h, "bar_ms"),
           w = (double)CHART_W / (double)n;
    str_addf(s,
             "<h2>Latency of whole answers</h2>\n<svg class=\"bars\" viewBox=\"0 0 %d %d\" "
             "width=\"100%%\" "
             "role=\"img\" aria-label=\"Histogram of latencies\">\n",
             CHART_W, CHART_H + 24);
    for (size_t i = 0; i < n; i++) {
        double high = json_number_value(json_array_get(counts, i)) / most * (CHART_H - 16);
        str_addf(s, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", (double)i * w,
                 CHART_H - high, w - 2, high);
    }
    str_addf(s,
             "<text x=\"0\" y=\"%d\">%.1f ms</text><text x=\"%d\" y=\"%d\" "
             "text-anchor=\"end\">%.1f ms</text><text x=\"0\" y=\"12\">%.0f answers</text></svg>\n",
             CHART_H + 18, from, CHART_W, CHART_H + 18, from + bar * (double)n, most);
}

static void add_machine(struct str *s, const json_t *r)
{
    const json_t *m = json_object_get(r, "machine"), *b = json_object_get(r, "build");
    char line[256];
    str_add_cstr(s, "<h2>Machine and build</h2><table>\n");
    row(s, "processor", member_text(m, "cpu"));
    snprintf(line, sizeof line, "%.0f, %s", member_number(m, "threads"), member_text(m, "level"));
    row(s, "threads, instructions", line);
    snprintf(line, sizeof line, "%.1f GiB", member_number(m, "memory_gib"));
    row(s, "memory", line);
    row(s, "model", member_text(r, "model"));
    row(s, "sha256 of the questions", member_text(r, "set_sha256"));
    snprintf(line, sizeof line, "damso %.32s, LoadGen %.32s, %.100s", member_text(b, "damso"),
             member_text(b, "loadgen"), member_text(b, "compiler"));
    row(s, "build", line);
    row(s, "accuracy is judged by", member_text(r, "judged"));
    row(s, "LoadGen's logs", member_text(r, "logs"));
    str_add_cstr(s, "</table>\n");
}

static void add_loadgen(struct str *s, const json_t *r)
{
    const char *key;
    json_t *v;
    str_add_cstr(s, "<h2>What LoadGen says</h2><table>\n");
    json_object_foreach(json_object_get(r, "loadgen"), key, v)
    {
        if (strncmp(key, "result_", 7) != 0 && strncmp(key, "early_stopping", 14) != 0 &&
            strcmp(key, "num_errors") != 0)
            continue;
        if (strcmp(key, "result_token_throughput") == 0)
            continue; /* tokens a nanosecond, under a name that says a second */
        char *text = json_is_string(v) ? NULL
                                       : json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
        row(s, key, text ? text : json_string_value(v));
        free(text); /* jansson's */
    }
    str_add_cstr(s, "</table>\n");
}

/* What this run did, in the unit of a row. */
static double ours_in(const json_t *r, const struct mlperf_published *p)
{
    if (strcmp(p->unit, "ms") == 0)
        return member_number(json_object_get(r, "latency_ms"), "p90");
    return member_number(r, "tokens_per_s");
}

/* Why the figure of a run does not stand among those of others; "" when it may. */
static const char *no_peer(const json_t *r)
{
    if (strcmp(member_text(r, "verdict"), "VALID") != 0)
        return " It is not VALID, so its figure is not among them.";
    if (json_object_get(json_object_get(r, "machine"), "device"))
        return " Its chip was simulated, so its figure is not among them.";
    if (json_is_true(json_object_get(json_object_get(r, "limits"), "shortened")) ||
        json_integer_value(json_object_get(r, "tokens_at_most")))
        return " It was shortened, or its answers were cut, so its figure is not among them.";
    return "";
}

/* Of the same benchmark and scenario only; the small one is nobody else's. */
static void add_published(struct str *s, const json_t *r)
{
    const char *bench = member_text(r, "benchmark"), *scenario = member_text(r, "scenario");
    const struct mlperf_published *p = mlperf_published_next(NULL, bench, scenario);
    str_add_cstr(s, "<h2>Published results of others</h2>\n");
    if (!json_is_true(json_object_get(r, "official_benchmark"))) {
        str_add_cstr(s, "<p class=\"dim\">There are none: nobody else runs this benchmark, and no "
                        "figure of MLPerf can be put beside it.</p>\n");
        return;
    }
    if (!p || strcmp(member_text(r, "mode"), "performance") != 0) {
        str_add_cstr(s, "<p class=\"dim\">None is stored for this benchmark and scenario: "
                        "MLCommons' results pages have them.</p>\n");
        return;
    }
    str_addf(s,
             "<p class=\"dim\">Source: %s. This run is not one of them: it was not submitted.%s"
             "</p>\n<table>\n<tr><th>system</th><th>what computes</th><th>round, division</th>"
             "<th>%s</th></tr>\n",
             MLPERF_PUBLISHED_SOURCE, no_peer(r), p->unit);
    if (!no_peer(r)[0]) {
        str_add_cstr(s, "<tr><td><b>this run, unofficial</b></td><td>");
        str_add_html(s, member_text(json_object_get(r, "machine"), "cpu"));
        str_addf(s, "</td><td>none</td><td><b>%.1f</b></td></tr>\n", ours_in(r, p));
    }
    for (; p; p = mlperf_published_next(p, bench, scenario)) {
        str_add_cstr(s, "<tr><td>");
        str_add_html(s, p->submitter);
        str_add_cstr(s, ": ");
        str_add_html(s, p->system);
        str_add_cstr(s, "</td><td>");
        str_add_html(s, p->chip);
        str_addf(s, "</td><td>%s %s, %s (%s)</td><td>%.1f</td></tr>\n", p->round, p->division,
                 p->availability, p->id, p->figure);
    }
    str_add_cstr(s, "</table>\n");
}

/* A run of LoadGen is one point; the curve is of a server at several levels. */
static void add_curve(struct str *s, const struct mlperf_work *w)
{
    str_add_cstr(s, "<h2>Pareto curve</h2>\n<p class=\"dim\">");
    if (w->n_levels == 0) {
        str_add_cstr(s, "None was given: `damso bench serve URL --json` measures one, and --curve "
                        "FILE puts it here.</p>\n");
        return;
    }
    str_add_cstr(s, "Of `damso bench serve`, measured apart from this run: ");
    str_add_html(s, w->curve);
    str_add_cstr(s, "</p>\n");
    serve_svg(s, "", w->level, w->n_levels);
}

static enum err write_page(const struct mlperf_work *w, const json_t *r, struct errinfo *e)
{
    struct str s;
    struct arena tmp;
    str_init(&s, TEXT_MAX);
    arena_init(&tmp);
    str_add_cstr(&s, head);
    add_top(&s, r);
    add_summary(&s, r);
    add_times(&s, r);
    add_histogram(&s, r);
    add_curve(&s, w);
    add_published(&s, r);
    add_loadgen(&s, r);
    add_machine(&s, r);
    str_add_cstr(&s, "</body></html>\n");
    CHECK(!s.full);
    enum err code = mlperf_dir_write(arena_printf(&tmp, "%s/report.html", w->report), str_span(&s),
                                     e);
    arena_done(&tmp);
    str_done(&s);
    return code;
}

enum err mlperf_report(const struct mlperf_work *w, const json_t *result, struct errinfo *e)
{
    struct arena tmp;
    arena_init(&tmp);
    char *text = json_dumps(result, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    CHECK(text);
    enum err r = mlperf_dir_write(arena_printf(&tmp, "%s/run.json", w->report), span_of(text), e);
    if (r == ERR_OK && !w->test) /* each scenario's own, where the folder holds several */
        r = mlperf_dir_write(arena_printf(&tmp, "%s/damso_run_%s.json", w->place,
                                          w->accuracy ? "accuracy" : "performance"),
                             span_of(text), e);
    free(text); /* jansson's */
    arena_done(&tmp);
    return r == ERR_OK ? write_page(w, result, e) : r;
}
