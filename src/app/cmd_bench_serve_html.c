/* SPDX-License-Identifier: MIT
 * cmd_bench_serve_html.c - what came of bench serve as one page: no scripts, nothing from outside.
 */
#include "app/cmd_bench_serve.h"

#include "base/arena.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <time.h>

#define PAGE_MAX ((size_t)8 << 20)
#define BARS     30
#define CHART_W  720
#define CHART_H  90

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>bench serve</title>\n<style>\n"
    ":root { color-scheme: light dark; --fg: #1f2328; --soft: #59636e; --edge: #d1d9e0;"
    " --bar: #2f6fde; --back: #fff }\n"
    "@media (prefers-color-scheme: dark) { :root { --fg: #e6edf3; --soft: #9198a1;"
    " --edge: #3d444d; --bar: #6ea8ff; --back: #0d1117 } }\n"
    "body { font: 16px/1.5 system-ui, sans-serif; color: var(--fg); background: var(--back);"
    " max-width: 800px; margin: 32px auto; padding: 0 20px }\n"
    "h1 { font-size: 26px; margin: 0 } h2 { font-size: 18px; margin: 32px 0 8px }\n"
    "table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }\n"
    "td, th { text-align: right; padding: 4px 8px; border-bottom: 1px solid var(--edge) }\n"
    "td:first-child, th:first-child { text-align: left } th { color: var(--soft); font-weight: 500"
    " }\np.dim { color: var(--soft) } svg { max-width: 100%; height: auto }\n"
    "svg.bars rect { fill: var(--bar) } svg.bars text { fill: var(--soft); font-size: 12px }\n"
    "</style></head><body>\n";

static void add_load(struct str *s, const struct serve_level *l)
{
    if (l->clients)
        str_addf(s, "%lld clients", (long long)l->clients);
    else
        str_addf(s, "%.4g a second", l->rate);
}

static void add_top(struct str *s, const struct serve_load *load)
{
    char when[64];
    time_t at = (time_t)os_unix_time();
    struct tm tm;
    gmtime_r(&at, &tm);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M UTC", &tm);
    str_add_cstr(s, head);
    str_add_cstr(s, "<h1>A server under load: ");
    str_add_html(s, load->url);
    str_addf(s,
             "</h1>\n<p class=\"dim\">%s, damso %s. Prompts of about %lld words, other ones each "
             "time, answers of %lld tokens, model ",
             when, DAMSO_VERSION, (long long)load->words, (long long)load->answer);
    str_add_html(s, load->model);
    str_addf(s,
             ". The client ran on: %s, %d threads; the server may be elsewhere.</p>\n"
             "<p>Result not verified by MLCommons Association. The figures are those that the "
             "rules of MLPerf Endpoints ask for; none is an MLPerf result unless it was submitted "
             "to MLCommons and published by it.</p>\n",
             os_cpu_name(), os_n_cpus());
}

static void add_summary(struct str *s, const struct serve_level *l, size_t n)
{
    str_add_cstr(s, "<h2>Summary</h2><table>\n<tr><th>load</th><th>requests</th><th>errors</th>"
                    "<th>tokens/s</th><th>a user (1000 / TPOT p90)</th><th>TTFT p90 ms</th>"
                    "<th>sent late p90 ms</th></tr>\n");
    for (size_t i = 0; i < n; i++) {
        str_add_cstr(s, "<tr><td>");
        add_load(s, &l[i]);
        str_addf(s,
                 "</td><td>%zu</td><td>%zu</td><td>%.1f</td><td>%.1f</td><td>%.1f</td><td>%.1f"
                 "</td></tr>\n",
                 l[i].n, l[i].n_bad, l[i].system_tps, l[i].user_tps, l[i].ttft.p90, l[i].late.p90);
    }
    str_add_cstr(s, "</table>\n");
}

static void add_times(struct str *s, const struct serve_level *l, size_t n)
{
    str_add_cstr(s, "<h2>Times in milliseconds: p50 / p90 / p99</h2><table>\n<tr><th>load</th>"
                    "<th>first token (TTFT)</th><th>each token after it (TPOT)</th><th>whole "
                    "answer</th></tr>\n");
    for (size_t i = 0; i < n; i++) {
        const struct serve_range *r[] = {&l[i].ttft, &l[i].tpot, &l[i].whole};
        str_add_cstr(s, "<tr><td>");
        add_load(s, &l[i]);
        str_add_cstr(s, "</td>");
        for (size_t k = 0; k < N_ELEMS(r); k++)
            str_addf(s, "<td>%.1f / %.1f / %.1f</td>", r[k]->p50, r[k]->p90, r[k]->p99);
        str_add_cstr(s, "</tr>\n");
    }
    str_add_cstr(s, "</table>\n");
}

/* Of whole answers, as they count: from when they were due. */
static void add_histogram(struct str *s, const struct serve_level *l)
{
    double low = INFINITY, high = 0;
    size_t bar[BARS] = {0}, most = 1;
    for (size_t i = 0; i < l->n; i++)
        if (l->request[i].ok) {
            double ms = (double)(l->request[i].done_ns - l->request[i].due_ns) * 1e-6;
            low = MIN(low, ms);
            high = MAX(high, ms);
        }
    if (high <= 0)
        return;
    double width = high > low ? (high - low) / BARS : 1;
    for (size_t i = 0; i < l->n; i++)
        if (l->request[i].ok) {
            double ms = (double)(l->request[i].done_ns - l->request[i].due_ns) * 1e-6;
            size_t at = MIN((size_t)((ms - low) / width), (size_t)BARS - 1);
            bar[at]++;
            most = MAX(most, bar[at]);
        }
    str_add_cstr(s, "<p class=\"dim\">");
    add_load(s, l);
    str_addf(s,
             "</p>\n<svg class=\"bars\" viewBox=\"0 0 %d %d\" width=\"%d\" role=\"img\" "
             "aria-label=\"Histogram of latencies\">\n",
             CHART_W, CHART_H + 20, CHART_W);
    for (size_t i = 0; i < BARS; i++) {
        double h = (double)bar[i] / (double)most * CHART_H, w = (double)CHART_W / BARS;
        str_addf(s, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", (double)i * w,
                 CHART_H - h, w - 2, h);
    }
    str_addf(s,
             "<text x=\"0\" y=\"%d\">%.1f ms</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">"
             "%.1f ms</text></svg>\n",
             CHART_H + 16, low, CHART_W, CHART_H + 16, high);
}

enum err serve_html(const char *path, const struct serve_load *load, const struct serve_level *l,
                    size_t n, struct errinfo *e)
{
    struct str s;
    str_init(&s, PAGE_MAX);
    add_top(&s, load);
    add_summary(&s, l, n);
    str_add_cstr(&s, "<h2>Pareto curve</h2>\n");
    serve_svg(&s, "", l, n);
    add_times(&s, l, n);
    str_add_cstr(&s, "<h2>Latency of whole answers</h2>\n");
    for (size_t i = 0; i < n; i++)
        add_histogram(&s, &l[i]);
    str_add_cstr(&s, "</body></html>\n");
    CHECK(!s.full);
    enum err r = serve_write(path, str_span(&s), e);
    str_done(&s);
    return r;
}

/* ---- levels of before ---- */

enum err serve_levels_read(const char *path, struct serve_level *l, size_t *n, struct errinfo *e)
{
    json_error_t je;
    enum err r = ERR_OK;
    json_t *o = json_load_file(path, JSON_REJECT_DUPLICATES, &je);
    const json_t *all = json_object_get(o, "levels");
    *n = 0;
    if (!o && json_error_code(&je) == json_error_cannot_open_file)
        return err_set(e, ERR_NOTFOUND, "%.300s: %s", path, strerror(errno));
    if (!o)
        return err_set(e, ERR_CORRUPT, "%.300s:%d: %.100s", path, je.line, je.text);
    if (json_array_size(all) == 0 || json_array_size(all) > SERVE_LEVELS_MAX)
        r = err_set(e, ERR_CORRUPT, "%.300s: it has no 1 to %d levels of `bench serve --json`",
                    path, SERVE_LEVELS_MAX);
    for (size_t i = 0; r == ERR_OK && i < json_array_size(all); i++) {
        const json_t *v = json_array_get(all, i);
        double user = json_number_value(json_object_get(v, "user_tps")),
               system = json_number_value(json_object_get(v, "system_tps"));
        if (!(user >= 0 && user < 1e9 && system >= 0 && system < 1e9))
            r = err_set(e, ERR_CORRUPT,
                        "%.300s: level %zu: no user_tps and system_tps from 0 to 1e9", path, i + 1);
        l[(*n)++] = (struct serve_level){
            .clients = json_integer_value(json_object_get(v, "clients")),
            .rate = json_number_value(json_object_get(v, "rate")),
            .user_tps = user,
            .system_tps = system};
    }
    json_decref(o);
    if (r == ERR_OK)
        serve_pareto(l, *n);
    return r;
}
