/* SPDX-License-Identifier: MIT
 * chip_html.c - answers as one HTML file: no script, no outside address, light and dark, for print
 * too. Everything is drawn from the JSON of the answers; texts of files are escaped. */
#include "app/chip.h"
#include "app/member.h"

#include "base/num.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char head[] =
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
    "content=\"width=device-width\"><title>damso chip</title><style>\n"
    ":root{color-scheme:light "
    "dark;--paper:light-dark(#f8f9f5,#131816);--ink:light-dark(#18211e,#e7ebe4);"
    "--ink3:light-dark(#5a6761,#909d95);--line:light-dark(#d8dfd6,#2b3631);--a:light-dark(#23665a,#"
    "8fc9b4);"
    "--b:light-dark(#2f4d80,#a3bcea);--c:light-dark(#7d5310,#dfb568);--d:light-dark(#6f9c8c,#"
    "5b8c7b);"
    "--e:light-dark(#a33527,#ef9a8a);--f:light-dark(#7f8d85,#6b7a72);--g:light-dark(#a9c7bb,#"
    "3c6355);--h:light-dark(#b9a06a,#8a7440);--i:light-dark(#c9d0ca,#3a4540);"
    "--j:light-dark(#8a5a83,#c79cc0);--k:light-dark(#d9c6d5,#4d3d4a)}\n"
    "body{background:var(--paper);color:var(--ink);font:15px/1.6 "
    "system-ui,sans-serif;max-width:960px;"
    "margin:32px auto;padding:0 18px}h1{font-size:26px;margin:0 0 "
    "4px}h2{font-size:17px;margin:34px 0 8px}"
    "p{margin:4px 0}.dim{color:var(--ink3)}table{border-collapse:collapse;width:100%;"
    "font-variant-numeric:tabular-nums}th,td{text-align:right;padding:5px 8px;border-bottom:1px "
    "solid "
    "var(--line);font-weight:400}th:first-child,td:first-child{text-align:left}th{color:var(--ink3)"
    "}"
    ".big{display:flex;gap:44px;flex-wrap:wrap;margin:18px 0}.big b{font-size:26px;display:block;"
    "font-weight:600}svg text{fill:var(--ink);font:12px system-ui,sans-serif}svg "
    ".dim{fill:var(--ink3)}"
    ".sim{border:1px solid var(--line);border-radius:4px;padding:0 "
    "6px;font-size:12px;color:var(--c)}\n"
    "</style></head><body>\n";

static const char *const colours[] = {"a", "d", "f", "b", "c", "e", "g", "h", "i", "j", "k"};

void chip_html_begin(FILE *f)
{
    fputs(head, f);
}

void chip_html_text(FILE *f, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '&': fputs("&amp;", f); break;
        case '<': fputs("&lt;", f); break;
        case '>': fputs("&gt;", f); break;
        case '"': fputs("&quot;", f); break;
        default: fputc((unsigned char)*text < 0x20 ? ' ' : *text, f);
        }
}

static void figure(FILE *f, const char *name, double v, const char *unit)
{
    fprintf(f, "<div><span class=\"dim\">%s</span><b>%.*f <small>%s</small></b></div>", name,
            v < 10     ? 3
            : v < 1000 ? 1
                       : 0,
            v, unit);
}

/* One bar of shares with a list of them beneath. */
static void shares(FILE *f, const char *title, const json_t *o)
{
    double sum = 0, x = 0;
    const char *key;
    json_t *v;
    int i = 0;
    json_object_foreach((json_t *)o, key, v) sum += json_number_value(v);
    fprintf(
        f, "<h2>%s</h2><svg viewBox=\"0 0 920 26\" width=\"100%%\" role=\"img\" aria-label=\"%s\">",
        title, title);
    json_object_foreach((json_t *)o, key, v)
    {
        double w = sum > 0 ? json_number_value(v) / sum * 920 : 0;
        if (w > 0.2)
            fprintf(f,
                    "<rect x=\"%.2f\" y=\"2\" width=\"%.2f\" height=\"22\" fill=\"var(--%s)\" "
                    "stroke=\"var(--paper)\"><title>%s</title></rect>",
                    x, w, colours[i % (int)N_ELEMS(colours)], key);
        x += w;
        i++;
    }
    fputs("</svg><table><tr><th>what</th><th>share</th></tr>", f);
    i = 0;
    json_object_foreach((json_t *)o, key, v)
    {
        if (sum > 0 && json_number_value(v) / sum >= 0.0005)
            fprintf(f,
                    "<tr><td><svg width=\"10\" height=\"10\"><rect width=\"10\" height=\"10\" "
                    "fill=\"var(--%s)\"/></svg> %s</td><td>%.1f %%</td></tr>",
                    colours[i % (int)N_ELEMS(colours)], key, 100 * json_number_value(v) / sum);
        i++;
    }
    fputs("</table>\n", f);
}

static void operations(FILE *f, const json_t *list)
{
    size_t i;
    json_t *op;
    fputs("<h2>The costliest operations</h2><table><tr><th>operation</th><th>times</th><th>m x k x "
          "n</th>"
          "<th>microseconds</th><th>share</th></tr>",
          f);
    json_array_foreach((json_t *)list, i, op)
    {
        fputs("<tr><td>", f);
        chip_html_text(f, member_text(op, "name"));
        fprintf(f,
                "</td><td>%.0f</td><td>%.0f x %.0f x %.0f</td><td>%.1f</td><td>%.1f %%</td></tr>",
                member_number(op, "times"), member_number(op, "m"), member_number(op, "k"),
                member_number(op, "n"), member_number(op, "us"), 100 * member_number(op, "share"));
    }
    fputs("</table>\n", f);
}

static void levers(FILE *f, const json_t *o)
{
    const char *key;
    json_t *v;
    if (!json_object_size(o))
        return;
    fputs("<h2>What a tenth more of each would "
          "bring</h2><table><tr><th>number</th><th>gain</th></tr>",
          f);
    json_object_foreach((json_t *)o, key, v)
        fprintf(f, "<tr><td>%s</td><td>%+.1f %%</td></tr>", key, 100 * json_number_value(v));
    fputs("</table>\n", f);
}

static void range(FILE *f, const json_t *o, const char *key, const char *name, const char *unit)
{
    const json_t *ends = json_object_get(o, key);
    fprintf(f, "<tr><td>%s</td><td>%.4g</td><td>%.4g</td><td>%s</td></tr>", name,
            json_number_value(json_array_get(ends, 0)), json_number_value(json_array_get(ends, 1)),
            unit);
}

static void ranges(FILE *f, const json_t *o)
{
    const char *key;
    json_t *v;
    if (!o)
        return;
    fputs("<h2>How sure it is</h2><p class=\"dim\">Assumed numbers at both ends of their "
          "tolerances, one at a time, the changes added as squares.</p><table><tr><th>figure</th>"
          "<th>from</th><th>to</th><th></th></tr>",
          f);
    range(f, o, "latency_ms", "latency", "ms");
    range(f, o, "per_s", "rate", "a second");
    range(f, o, "joules", "energy", "J each");
    fputs("</table><table><tr><th>assumed number</th><th>changes the rate by</th></tr>", f);
    json_object_foreach(json_object_get(o, "per_s_by"), key, v) if (json_number_value(v) >= 0.0005)
        fprintf(f, "<tr><td>%s</td><td>%.1f %%</td></tr>", key, 100 * json_number_value(v));
    fputs("</table>\n", f);
}

static void assumed(FILE *f, const json_t *o)
{
    size_t i;
    json_t *v;
    fputs("<p class=\"dim\">Assumed, not published:", f);
    json_array_foreach(json_object_get(o, "assumed"), i, v)
        fprintf(f, "%s %s", i ? "," : "", json_string_value(v));
    fputs(".</p>\n", f);
}

void chip_html_answer(FILE *f, const json_t *o, const struct npu_chip *c,
                      const struct chip_answer *x)
{
    bool language = json_object_get(o, "phase") != NULL;
    chip_html_begin(f);
    fputs("<h1>", f);
    chip_html_text(f, member_text(o, "title"));
    fputs(" <span class=\"sim\">simulated</span></h1><p>", f);
    chip_html_text(f, member_text(o, "workload"));
    fprintf(f, ", %s, batch %.0f, in %s. This is no MLPerf result.</p><div class=\"big\">",
            language ? member_text(o, "phase") : member_text(o, "scenario"),
            member_number(o, "batch"), member_text(o, "computes_in"));
    figure(f, "latency", member_number(o, "latency_ms"), "ms");
    figure(f, language ? "tokens" : "inputs",
           language ? member_number(o, "tokens_per_s") : member_number(o, "per_s"), "a second");
    figure(f, "power", member_number(o, "watts"), "W");
    figure(f, language ? "joules a token" : "joules an input",
           language ? member_number(o, "joules_per_token") : member_number(o, "joules"), "J");
    figure(f, "of the units' peak", 100 * member_number(o, "utilisation"), "%");
    fputs("</div>", f);
    assumed(f, o);
    chip_html_team(f, o);
    shares(f, "Where the matrix units' time goes", json_object_get(o, "where_time_goes"));
    shares(f, "Where the joules go", json_object_get(o, "where_joules_go"));
    chip_charts(f, c, x);
    operations(f, json_object_get(o, "costliest"));
    levers(f, json_object_get(o, "sensitivity"));
    ranges(f, json_object_get(o, "range"));
    fputs("</body></html>\n", f);
}

static double rate(const json_t *o)
{
    double t = member_number(o, "tokens_per_s");
    return t > 0 ? t : member_number(o, "per_s");
}

/* Watts to the right, rate upwards, both logarithmic: what lies up and left of all others is best.
 */
static void scatter(FILE *f, const json_t *list)
{
    double lo[2] = {INFINITY, INFINITY}, hi[2] = {0, 0};
    size_t i;
    json_t *o;
    json_array_foreach((json_t *)list, i, o)
    {
        double v[2] = {log10(member_number(o, "watts")), log10(rate(o))};
        for (int k = 0; k < 2 && rate(o) > 0; k++) {
            lo[k] = MIN(lo[k], v[k]);
            hi[k] = MAX(hi[k], v[k]);
        }
    }
    fputs(
        "<h2>Rate and power</h2><svg viewBox=\"0 0 920 420\" width=\"100%\" role=\"img\" "
        "aria-label=\"rate over power, in the table below\"><line x1=\"60\" y1=\"380\" x2=\"900\" "
        "y2=\"380\" stroke=\"var(--line)\"/><line x1=\"60\" y1=\"20\" x2=\"60\" y2=\"380\" "
        "stroke=\"var(--line)\"/><text class=\"dim\" x=\"900\" y=\"404\" "
        "text-anchor=\"end\">watts, "
        "logarithmic</text><text class=\"dim\" x=\"66\" y=\"16\">a second, logarithmic</text>",
        f);
    json_array_foreach((json_t *)list, i, o)
    {
        if (!(rate(o) > 0))
            continue;
        double x = 80 + (log10(member_number(o, "watts")) - lo[0]) / MAX(hi[0] - lo[0], 0.1) * 680;
        double y = 365 - (log10(rate(o)) - lo[1]) / MAX(hi[1] - lo[1], 0.1) * 330;
        fprintf(f,
                "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" fill=\"var(--a)\"/><text x=\"%.1f\" "
                "y=\"%.1f\"%s>",
                x, y, i % 2 ? x - 9 : x + 9, y + 4, i % 2 ? " text-anchor=\"end\"" : "");
        chip_html_text(f, member_text(o, "chip"));
        fputs("</text>", f);
    }
    fputs("</svg>\n", f);
}

void chip_html_compare(FILE *f, const json_t *list, const char *workload)
{
    size_t i;
    json_t *o;
    double chips = 1; /* of each kind: the same for all that have an answer */
    json_array_foreach((json_t *)list, i, o) chips = fmax(chips, member_number(o, "chips"));
    chip_html_begin(f);
    fputs("<h1>Chips side by side <span class=\"sim\">simulated</span></h1><p>", f);
    chip_html_text(f, workload);
    if (chips > 1)
        fprintf(f, ", on %.0f chips of each kind", chips);
    fputs(". None of it is an MLPerf result; docs/CHIPS.md says how sure it is.</p>", f);
    scatter(f, list);
    fputs("<table><tr><th>chip</th><th>latency, ms</th><th>a second</th><th>W</th><th>a "
          "joule</th><th>of "
          "peak</th><th>assumed numbers</th></tr>",
          f);
    json_array_foreach((json_t *)list, i, o)
    {
        fputs("<tr><td>", f);
        chip_html_text(f, member_text(o, "chip"));
        if (json_object_get(o, "error")) {
            fputs("</td><td colspan=\"6\">", f);
            chip_html_text(f, member_text(o, "error"));
            fputs("</td></tr>", f);
            continue;
        }
        fprintf(f,
                "</td><td>%.3f</td><td>%.1f</td><td>%.1f</td><td>%.3g</td><td>%.1f "
                "%%</td><td>%zu</td></tr>",
                member_number(o, "latency_ms"), rate(o), member_number(o, "watts"),
                rate(o) / member_number(o, "watts"), 100 * member_number(o, "utilisation"),
                json_array_size(json_object_get(o, "assumed")));
    }
    fputs("</table></body></html>\n", f);
}

static void bars(FILE *f, const json_t *o)
{
    const json_t *list = json_object_get(o, "ttft_bars");
    size_t i, n = json_array_size(list);
    double most = 1, width = member_number(o, "ttft_bar_ms");
    json_t *v;
    json_array_foreach((json_t *)list, i, v) most = fmax(most, json_number_value(v));
    fputs("<h2>Time to the first token</h2><svg viewBox=\"0 0 920 200\" width=\"100%\" "
          "role=\"img\" aria-label=\"Histogram of times to the first token\">",
          f);
    json_array_foreach((json_t *)list, i, v)
    {
        double high = json_number_value(v) / most * 160, w = 920 / (double)n;
        fprintf(f,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                "fill=\"var(--d)\"><title>%.4g to %.4g ms: %.0f</title></rect>",
                (double)i * w, 172 - high, w - 2, high, (double)i * width, (double)(i + 1) * width,
                json_number_value(v));
    }
    fprintf(f,
            "<text x=\"0\" y=\"192\">0 ms</text><text x=\"920\" y=\"192\" "
            "text-anchor=\"end\">%.4g ms and more</text></svg>",
            width * (double)n);
}

static void percentiles(FILE *f, const json_t *o)
{
    static const char *const rows[][2] = {
        {"ttft_ms",    "first token"        },
        {"tpot_ms",    "each token after it"},
        {"latency_ms", "whole answer"       }
    };
    static const char *const cols[] = {"mean", "p50", "p90", "p95", "p99", "max"};
    fputs("<table><tr><th>milliseconds</th>", f);
    for (size_t c = 0; c < N_ELEMS(cols); c++)
        fprintf(f, "<th>%s</th>", cols[c]);
    fputs("</tr>", f);
    for (size_t r = 0; r < N_ELEMS(rows); r++) {
        const json_t *t = json_object_get(o, rows[r][0]);
        fprintf(f, "<tr><td>%s</td>", rows[r][1]);
        for (size_t c = 0; c < N_ELEMS(cols); c++)
            fprintf(f, "<td>%.4g</td>", member_number(t, cols[c]));
        fputs("</tr>", f);
    }
    fputs("</table>", f);
}

void chip_html_load(FILE *f, const json_t *o)
{
    chip_html_begin(f);
    fputs("<h1>", f);
    if (member_number(o, "chips") > 1)
        fprintf(f, "%.0f x ", member_number(o, "chips"));
    chip_html_text(f, member_text(o, "title"));
    fputs(" under load <span class=\"sim\">simulated</span></h1><p>", f);
    chip_html_text(f, member_text(o, "workload"));
    fprintf(f, " in %s: %.0f requests, ", member_text(o, "computes_in"),
            member_number(o, "requests"));
    if (member_number(o, "rate") > 0)
        fprintf(f, "%.4g a second. ", member_number(o, "rate"));
    else
        fprintf(f, "%.0f at a time. ", member_number(o, "concurrency"));
    fputs("None of it is an MLPerf result.</p><div class=\"big\">", f);
    figure(f, "throughput", member_number(o, "tokens_per_s"), "tokens/s");
    figure(f, "first token, p99", member_number(json_object_get(o, "ttft_ms"), "p99"), "ms");
    figure(f, "each token, p99", member_number(json_object_get(o, "tpot_ms"), "p99"), "ms");
    figure(f, "power", member_number(o, "watts"), "W");
    figure(f, "energy", member_number(o, "joules_per_token"), "J a token");
    fputs("</div>", f);
    percentiles(f, o);
    bars(f, o);
    fprintf(f,
            "<h2>What went on</h2><table><tr><th>what</th><th></th></tr>"
            "<tr><td>answered, refused</td><td>%.0f, %.0f</td></tr>"
            "<tr><td>within the limits</td><td>%.1f %%</td></tr>"
            "<tr><td>seconds of the chip, busy</td><td>%.4g, %.1f %%</td></tr>"
            "<tr><td>answers at once, mean and most</td><td>%.1f, %.0f</td></tr>"
            "<tr><td>waiting, mean and most</td><td>%.1f, %.0f</td></tr>"
            "<tr><td>pages of context in use</td><td>%.1f %% of %.0f</td></tr>"
            "<tr><td>steps, rows of each</td><td>%.0f, %.1f</td></tr></table>",
            member_number(o, "answered"), member_number(o, "refused"),
            100 * member_number(o, "within_limits"), member_number(o, "seconds"),
            100 * member_number(o, "busy"), member_number(o, "running_mean"),
            member_number(o, "running_most"), member_number(o, "queue_mean"),
            member_number(o, "queue_most"), 100 * member_number(o, "pages_used"),
            member_number(o, "pages"), member_number(o, "steps"), member_number(o, "rows_mean"));
    fputs("</body></html>\n", f);
}

enum err chip_html_open(FILE **out, const char *path, struct errinfo *e)
{
    *out = fopen(path, "w");
    return *out ? ERR_OK : err_set(e, ERR_IO, "%s cannot be written", path);
}

enum err chip_html_close(FILE *f, const char *path, struct errinfo *e)
{
    bool bad = ferror(f) != 0;
    if (fclose(f) != 0 || bad)
        return err_set(e, ERR_IO, "%s could not be written to its end", path);
    return ERR_OK;
}
