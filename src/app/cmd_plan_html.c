/* SPDX-License-Identifier: MIT
 * cmd_plan_html.c - the answers of damso plan as one page: no script, nothing from outside.  All is
 * drawn from the JSON of the answers. */
#include "app/cmd_plan.h"

#include "app/chip.h"
#include "app/member.h"
#include "base/num.h"

#include <math.h>

#define WIDE 920

static double at(const json_t *list, size_t i)
{
    return json_number_value(json_array_get(list, i));
}

static const char *ink(size_t i)
{
    static const char *const inks[] = {"a", "b", "c", "e", "d", "h"};
    return inks[i % N_ELEMS(inks)];
}

/* With how many of it a replica is. */
static void put_name(FILE *f, const json_t *k)
{
    double n = fmax(member_number(k, "chips"), member_number(k, "machines"));
    if (n > 1)
        fprintf(f, "%.0f x ", n);
    chip_html_text(f, member_text(k, "name"));
}

/* ---- the day ---- */

static void day(FILE *f, const json_t *o)
{
    const json_t *curve = json_object_get(o, "curve");
    double most = member_number(o, "peak_share"), w = WIDE / (double)FLEET_HOURS;
    double day = member_number(o, "users") * member_number(o, "requests_a_day");
    fputs("<h2>The day</h2><svg viewBox=\"0 0 920 180\" width=\"100%\" role=\"img\" "
          "aria-label=\"Requests a second by hour\">",
          f);
    for (size_t h = 0; h < FLEET_HOURS; h++) {
        double high = at(curve, h) / most * 140;
        fprintf(f,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                "fill=\"var(--d)\"><title>%zu h: %.4g a second</title></rect><text class=\"dim\" "
                "x=\"%.1f\" y=\"172\" text-anchor=\"middle\">%zu</text>",
                (double)h * w, 155 - high, w - 3, high, h, at(curve, h) * day / 3600,
                ((double)h + 0.5) * w, h);
    }
    fprintf(f,
            "</svg><p class=\"dim\">Requests by hour, at most %.4g a second (%.1f %% of the day): ",
            member_number(o, "peak_requests_per_s"), 100 * most);
    chip_html_text(f, member_text(o, "curve_source"));
    fputs(".</p>\n", f);
}

/* ---- cost ---- */

static double weight(const json_t *k)
{
    return json_object_get(k, "cost_per_month") ? member_number(k, "cost_per_month")
                                                : member_number(k, "kwh_per_day");
}

static void costs(FILE *f, const json_t *kinds)
{
    double most = 0;
    size_t i, n = 0;
    json_t *k;
    bool priced = false;
    json_array_foreach((json_t *)kinds, i, k)
    {
        priced |= json_object_get(k, "cost_per_month") != NULL;
        n += !json_object_get(k, "error");
    }
    const char *key = priced ? "cost_per_month" : "kwh_per_day";
    json_array_foreach((json_t *)kinds, i, k) most = MAX(most, member_number(k, key));
    if (n == 0 || !(most > 0))
        return;
    fprintf(f,
            "<h2>%s</h2><svg viewBox=\"0 0 %d %zu\" width=\"100%%\" role=\"img\" "
            "aria-label=\"%s of each kind\">",
            priced ? "Cost a month" : "kWh a day", WIDE, 8 + 28 * json_array_size(kinds),
            priced ? "Cost" : "Energy");
    json_array_foreach((json_t *)kinds, i, k)
    {
        double w = member_number(k, key) / most * 600, y = 4 + 28 * (double)i;
        fprintf(f,
                "<rect x=\"190\" y=\"%.0f\" width=\"%.1f\" height=\"20\" fill=\"var(--%s)\"/>"
                "<text x=\"%.1f\" y=\"%.0f\">%.4g</text><text x=\"0\" y=\"%.0f\">",
                y, w, ink(i), 198 + w, y + 15, member_number(k, key), y + 15);
        put_name(f, k);
        fputs("</text>", f);
    }
    fputs("</svg>\n", f);
}

static void table(FILE *f, const json_t *kinds)
{
    size_t i;
    json_t *k;
    fputs("<table><tr><th>kind</th><th>replicas</th><th>cells</th><th>a second each</th><th>kWh a "
          "day</th><th>cost a month</th><th>1M tokens</th><th>+10 % users</th></tr>",
          f);
    json_array_foreach((json_t *)kinds, i, k)
    {
        fputs("<tr><td>", f);
        put_name(f, k);
        if (json_object_get(k, "error")) {
            fputs("</td><td colspan=\"7\">", f);
            chip_html_text(f, member_text(k, "error"));
            fputs("</td></tr>", f);
            continue;
        }
        fprintf(f, "</td><td>%.0f</td><td>%.0f</td><td>%.4g</td><td>%.4g</td>",
                member_number(k, "replicas"), member_number(k, "cells"),
                member_number(k, "capacity_low_per_s"), member_number(k, "kwh_per_day"));
        if (json_object_get(k, "cost_per_month"))
            fprintf(f, "<td>%.0f</td><td>%.3g</td>", weight(k),
                    member_number(k, "cost_per_million_tokens"));
        else
            fputs("<td>no price</td><td></td>", f);
        fprintf(f, "<td>%.0f</td></tr>", member_number(k, "replicas_for_10_percent_more"));
    }
    fputs("</table>\n", f);
}

/* ---- times over rates ---- */

/* What a limit is of: "ttft-p99" is ttft_p99_ms of a run. */
static void key_of(char key[24], const char *limit)
{
    int n = snprintf(key, 24, "%s_ms", limit);
    for (int i = 0; i < n && key[i]; i++)
        key[i] = key[i] == '-' ? '_' : key[i];
}

/* Milliseconds over the share of the capacity; what is over two limits is above the picture. */
static void curve(FILE *f, const json_t *k, const char *key, double limit, size_t colour)
{
    const json_t *runs = json_object_get(k, "runs");
    double capacity = member_number(k, "capacity_per_s");
    size_t i;
    json_t *r;
    if (!(capacity > 0))
        return;
    fprintf(f, "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"var(--%s)\" points=\"",
            ink(colour));
    json_array_foreach((json_t *)runs, i, r) fprintf(
        f, "%.1f,%.1f ", 40 + MIN(member_number(r, "rate") / capacity, 1.3) / 1.3 * (WIDE - 60),
        220 - MIN(member_number(r, key) / (2 * limit), 1) * 200);
    fputs("\"/>", f);
}

static void times(FILE *f, const json_t *kinds, const char *limit, double ms)
{
    char key[24];
    size_t i;
    json_t *k;
    key_of(key, limit);
    fprintf(f,
            "<h2>%s</h2><svg viewBox=\"0 0 %d 260\" width=\"100%%\" role=\"img\" "
            "aria-label=\"%s over the rate\"><path d=\"M40 20V220H%d\" fill=\"none\" "
            "stroke=\"var(--line)\"/><path d=\"M40 120H%d\" stroke=\"var(--e)\" "
            "stroke-dasharray=\"5 4\"/><text class=\"dim\" x=\"44\" y=\"115\">limit %.4g ms</text>"
            "<text class=\"dim\" x=\"44\" y=\"16\">%.4g ms and more</text>",
            limit, WIDE, limit, WIDE - 20, WIDE - 20, ms, 2 * ms);
    for (int i_mark = 0; i_mark <= 5; i_mark++)
        fprintf(f, "<text class=\"dim\" x=\"%.0f\" y=\"238\" text-anchor=\"middle\">%d %%</text>",
                40 + 0.25 * i_mark / 1.3 * (WIDE - 60), 25 * i_mark);
    json_array_foreach((json_t *)kinds, i, k) curve(f, k, key, ms, i);
    fprintf(f,
            "<text class=\"dim\" x=\"%d\" y=\"256\" text-anchor=\"end\">of what a replica can "
            "take</text></svg><p>",
            WIDE - 20);
    json_array_foreach((json_t *)kinds, i, k)
    {
        fprintf(f,
                "<svg width=\"10\" height=\"10\"><rect width=\"10\" height=\"10\" "
                "fill=\"var(--%s)\"/></svg> ",
                ink(i));
        put_name(f, k);
        fputs(" &nbsp; ", f);
    }
    fputs("</p>\n", f);
}

/* ---- each kind ---- */

static void away(FILE *f, const json_t *k)
{
    size_t i;
    json_t *r;
    fputs("<table><tr><th>replicas of a cell away</th><th>a second on the busiest</th><th>first "
          "token p99, ms</th><th>each token p99, ms</th><th>busy</th><th>within the "
          "limits</th></tr>",
          f);
    json_array_foreach(json_object_get(k, "when_away"), i, r) fprintf(
        f,
        "<tr><td>%zu</td><td>%.4g</td><td>%.0f</td><td>%.1f</td><td>%.0f %%</td><td>%s</td></tr>",
        i, member_number(r, "rate"), member_number(r, "ttft_p99_ms"),
        member_number(r, "tpot_p99_ms"), 100 * member_number(r, "busy"),
        json_is_true(json_object_get(r, "within_limits")) ? "yes" : "no");
    fputs("</table>\n", f);
}

static void each(FILE *f, const json_t *kinds)
{
    size_t i;
    json_t *k;
    json_array_foreach((json_t *)kinds, i, k)
    {
        if (json_object_get(k, "error"))
            continue;
        fputs("<h2>", f);
        chip_html_text(f, member_text(k, "title"));
        fprintf(f,
                "</h2><p>%.0f cells of %.0f replicas that serve and %.0f to spare, %.0f users a "
                "replica. One takes %.4g requests a second; planned with %.4g, which is less than "
                "it in 19 of 20 (%s).</p>",
                member_number(k, "cells"), member_number(k, "serving_per_cell"),
                member_number(k, "spare_per_cell"), member_number(k, "users_per_replica"),
                member_number(k, "capacity_per_s"), member_number(k, "capacity_low_per_s"),
                member_text(k, "source"));
        if (json_array_size(json_object_get(k, "when_away")))
            away(f, k);
    }
}

enum err cmd_plan_html(const char *path, const json_t *o, struct errinfo *e)
{
    FILE *f;
    const json_t *kinds = json_object_get(o, "kinds");
    const char *limit;
    json_t *ms;
    TRY(chip_html_open(&f, path, e));
    chip_html_begin(f);
    fprintf(f, "<h1>%.0f users <span class=\"sim\">planned</span></h1><p>",
            member_number(o, "users"));
    chip_html_text(f, member_text(o, "workload"));
    fprintf(f,
            ", %.4g requests a day each. Figures of simulated chips are estimates; none is an "
            "MLPerf result.</p>",
            member_number(o, "requests_a_day"));
    table(f, kinds);
    costs(f, kinds);
    day(f, o);
    json_object_foreach(json_object_get(o, "limits_ms"), limit, ms)
        times(f, kinds, limit, json_number_value(ms));
    each(f, kinds);
    fputs("</body></html>\n", f);
    return chip_html_close(f, path, e);
}
