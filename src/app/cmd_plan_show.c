/* SPDX-License-Identifier: MIT
 * cmd_plan_show.c - the answers of damso plan as text and as JSON. */
#include "app/cmd_plan.h"

#include "base/num.h"

#include <stdio.h>
#include <string.h>

/* ---- JSON ---- */

static void put(json_t *o, const char *key, double v)
{
    json_object_set_new(o, key, json_real(v));
}

static void put_n(json_t *o, const char *key, uint64_t n)
{
    json_object_set_new(o, key, json_integer((json_int_t)n));
}

static json_t *run_json(const struct fleet_run *r)
{
    json_t *o = json_object();
    put(o, "rate", r->rate);
    put(o, "ttft_p50_ms", r->ttft_p50);
    put(o, "ttft_p90_ms", r->ms[FLEET_TTFT_P90]);
    put(o, "ttft_p99_ms", r->ms[FLEET_TTFT_P99]);
    put(o, "tpot_p50_ms", r->tpot_p50);
    put(o, "tpot_p90_ms", r->ms[FLEET_TPOT_P90]);
    put(o, "tpot_p99_ms", r->ms[FLEET_TPOT_P99]);
    put(o, "watts", r->watts);
    put(o, "busy", r->busy);
    put(o, "cached", r->cached);
    json_object_set_new(o, "within_limits", json_boolean(r->within));
    return o;
}

static json_t *runs_json(const struct fleet_run *r, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, run_json(&r[i]));
    return list;
}

static const char *source_name(enum fleet_source s)
{
    static const char *const names[] = {"simulated chip", "measured speeds", "measured levels"};
    return names[s];
}

/* What one of a replica's is called; NULL: a server that was measured says nothing of it. */
static const char *machines_name(const struct fleet_answer *x)
{
    return x->source == FLEET_LEVELS ? NULL : x->source == FLEET_CHIP ? "chips" : "machines";
}

static void put_replica(json_t *o, const struct fleet_answer *x)
{
    const struct fleet_replica *r = &x->replica;
    json_t *found = json_array();
    for (int i = 0; i < FLEET_SEEDS && x->source != FLEET_LEVELS; i++)
        json_array_append_new(found, json_real(r->found[i]));
    put(o, "capacity_per_s", r->capacity);
    put(o, "capacity_low_per_s", r->low);
    json_object_set_new(o, "searches_per_s", found);
    json_object_set_new(o, "runs", runs_json(r->run, r->n_runs));
    if (r->alone_tpot > 0) {
        put(o, "alone_ttft_ms", r->alone_ttft);
        put(o, "alone_tpot_ms", r->alone_tpot);
    }
    put_n(o, "simulated_runs", r->n_simulated);
    put_n(o, "simulated_requests", r->n_requests);
}

static void put_size(json_t *o, const struct fleet_answer *x, const struct fleet_ask *f)
{
    json_t *hours = json_array();
    for (int h = 0; h < FLEET_HOURS; h++)
        json_array_append_new(hours, json_integer((json_int_t)x->by_hour[h]));
    put_n(o, "replicas", x->size.total);
    put_n(o, "cells", x->size.cells);
    put_n(o, "serving_per_cell", x->size.serving);
    put_n(o, "spare_per_cell", x->size.spare);
    put(o, "busiest", x->size.busiest);
    put(o, "users_per_replica", f->users / (double)x->size.total);
    put_n(o, "replicas_for_10_percent_less", x->less.total);
    put_n(o, "replicas_for_10_percent_more", x->more.total);
    json_object_set_new(o, "replicas_by_hour", hours);
    json_object_set_new(o, "when_away", runs_json(x->down, x->n_down));
}

static void put_cost(json_t *o, const struct fleet_answer *x)
{
    put(o, "kwh_per_day", x->kwh_day);
    put(o, "peak_kw", x->peak_w / 1000);
    if (x->priced) {
        put(o, "cost_per_month", x->month);
        put(o, "machines_per_month", x->machines_month);
        put(o, "energy_per_month", x->energy_month);
        put(o, "cost_per_million_tokens", x->million);
    }
    if (x->elastic_month > 0)
        put(o, "elastic_per_month", x->elastic_month);
}

static json_t *kind_json(const struct fleet_answer *x, const struct fleet_ask *f)
{
    json_t *o = json_pack("{s:s, s:s, s:s}", "name", x->kind->name, "title", x->title, "source",
                          source_name(x->source));
    if (machines_name(x))
        put_n(o, machines_name(x), x->machines);
    put_replica(o, x);
    if (x->bench_rows > 0) {
        put(o, "bench_decode_tokens_per_s", x->bench_decode);
        put(o, "bench_prefill_tokens_per_s", x->bench_prefill);
        put(o, "bench_prefill_tokens", x->bench_rows);
    }
    if (x->error[0]) {
        json_object_set_new(o, "error", json_string(x->error));
        return o;
    }
    put_size(o, x, f);
    put_cost(o, x);
    if (x->whole.n)
        json_object_set_new(o, "whole",
                            json_pack("{s:I, s:f, s:f}", "replicas", (json_int_t)x->whole.n,
                                      "found_per_s", x->whole.found, "planned_per_s",
                                      x->whole.planned));
    return o;
}

static void put_ask(json_t *o, const struct cmd_plan_ask *a)
{
    const struct fleet_ask *f = &a->fleet;
    json_t *limits = json_object(), *curve = json_array();
    double peak = 0;
    for (int i = 0; i < FLEET_LIMITS; i++)
        if (f->limit_ms[i] > 0)
            put(limits, cmd_plan_limit_name(i), f->limit_ms[i]);
    for (int h = 0; h < FLEET_HOURS; h++) {
        json_array_append_new(curve, json_real(f->curve[h]));
        peak = MAX(peak, f->curve[h]);
    }
    put(o, "users", f->users);
    put(o, "requests_a_day", f->requests_day);
    put(o, "turns", f->load.turns);
    put(o, "think_s", f->load.think_s);
    put_n(o, "shared", f->load.shared);
    json_object_set_new(o, "limits_ms", limits);
    json_object_set_new(o, "curve", curve);
    json_object_set_new(o, "curve_source", json_string(a->curve_source));
    put(o, "peak_share", peak);
    put(o, "peak_requests_per_s", f->users * f->requests_day * peak / 3600);
    put_n(o, "cell", f->cell);
    put_n(o, "ring", f->ring_points);
    put_n(o, "requests", f->n_requests);
    put_n(o, "seed", f->load.seed);
    put(o, "electricity", f->electricity);
    put(o, "years", f->years);
    put(o, "pue", f->pue);
    if (f->availability > 0) {
        put(o, "availability", f->availability);
        put(o, "mtbf_h", f->mtbf_h);
        put(o, "mttr_h", f->mttr_h);
    } else {
        put_n(o, "spare", f->spare);
    }
}

json_t *cmd_plan_json(const struct cmd_plan_ask *a, const struct fleet_answer *x, size_t n)
{
    json_t *o = json_pack("{s:s, s:s, s:s}", "workload", a->workload, "prompt", a->prompt, "answer",
                          a->answer);
    json_t *kinds = json_array();
    put_ask(o, a);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(kinds, kind_json(&x[i], &a->fleet));
    json_object_set_new(o, "kinds", kinds);
    return o;
}

/* ---- text ---- */

static void print_ask(const struct cmd_plan_ask *a, double peak)
{
    const struct fleet_ask *f = &a->fleet;
    printf("%.0f users of %s, %g requests a day each: %.4g a second in the busiest hour (%s)\n",
           f->users, a->workload, f->requests_day, peak, a->curve_source);
    printf("limits       ");
    for (int i = 0; i < FLEET_LIMITS; i++)
        if (f->limit_ms[i] > 0)
            printf(" %s %g ms", cmd_plan_limit_name(i), f->limit_ms[i]);
    printf("\nconversations %.3g requests, %g s to think, %s tokens more each, answers of %s\n",
           f->load.turns, f->load.think_s, a->prompt, a->answer);
}

static void print_table(const struct fleet_answer *x, size_t n)
{
    printf("\n%-20s %9s %10s %12s %9s %10s %12s %10s\n", "kind", "replicas", "cells",
           "a second each", "kWh a day", "peak kW", "cost a month", "1M tokens");
    for (size_t i = 0; i < n; i++) {
        if (x[i].error[0])
            continue;
        char of[32] = "";
        if (x[i].machines > 1)
            snprintf(of, sizeof of, "%zu x ", x[i].machines);
        int left = 20 - (int)strlen(of);
        printf("%s%-*.*s %9llu %10llu %12.4g %9.4g %10.4g", of, left, left, x[i].kind->name,
               (unsigned long long)x[i].size.total, (unsigned long long)x[i].size.cells,
               x[i].replica.low, x[i].kwh_day, x[i].peak_w / 1000);
        if (x[i].priced)
            printf(" %12.0f %10.3g\n", x[i].month, x[i].million);
        else
            printf(" %12s %10s\n", "no price", "");
    }
}

static void print_downs(const struct fleet_answer *x)
{
    static const char *const names[] = {"all there", "one away", "two away"};
    for (size_t i = 0; i < x->n_down; i++) {
        const struct fleet_run *r = &x->down[i];
        printf("  %-11s %8.4g a second on the busiest: first token p99 %.0f ms, each token p99 "
               "%.1f ms, %.0f %% busy%s\n",
               names[i], r->rate, r->ms[FLEET_TTFT_P99], r->ms[FLEET_TPOT_P99], 100 * r->busy,
               r->within ? "" : "; NOT within the limits");
    }
}

static void print_kind(const struct fleet_answer *x)
{
    printf("\n%s (%s)\n", x->title, source_name(x->source));
    if (x->error[0]) {
        printf("  cannot: %s\n", x->error);
        return;
    }
    if (x->bench_rows > 0)
        printf("  bench       %.4g tokens a second one by one, %.4g of a prompt of %.0f\n",
               x->bench_decode, x->bench_prefill, x->bench_rows);
    if (x->replica.alone_tpot > 0)
        printf("  alone       first token after %.4g ms, then %.4g tokens a second\n",
               x->replica.alone_ttft, 1000 / x->replica.alone_tpot);
    printf("  a replica   ");
    if (x->machines > 1)
        printf("of %zu %s: ", x->machines, machines_name(x));
    printf("%.4g requests a second", x->replica.capacity);
    if (x->source == FLEET_LEVELS)
        printf(", its best measured level\n");
    else
        printf(" (planned with %.4g, which is less than it in 19 of 20), by %zu runs of %llu "
               "requests\n",
               x->replica.low, x->replica.n_simulated, (unsigned long long)x->replica.n_requests);
    printf("  a cell      %llu that serve and %llu to spare; the busiest has %.3f of the mean\n",
           (unsigned long long)x->size.serving, (unsigned long long)x->size.spare, x->size.busiest);
    print_downs(x);
    printf("  users       -10 %%: %llu replicas, +10 %%: %llu\n", (unsigned long long)x->less.total,
           (unsigned long long)x->more.total);
    if (x->priced && x->elastic_month > 0)
        printf("  rented      %.0f a month; %.0f if only what each hour needs is rented\n",
               x->month, x->elastic_month);
    else if (x->priced)
        printf("  bought      %.0f a month for machines, %.0f for electricity\n", x->machines_month,
               x->energy_month);
    if (x->whole.n)
        printf("  whole       %zu replicas simulated whole hold the limits to %.4g a second; "
               "planned %.4g (%+.1f %%)\n",
               x->whole.n, x->whole.found, x->whole.planned,
               100 * (x->whole.planned / x->whole.found - 1));
}

void cmd_plan_print(const struct cmd_plan_ask *a, const struct fleet_answer *x, size_t n)
{
    const struct fleet_ask *f = &a->fleet;
    double peak = 0;
    for (int h = 0; h < FLEET_HOURS; h++)
        peak = MAX(peak, f->users * f->requests_day * f->curve[h] / 3600);
    print_ask(a, peak);
    print_table(x, n);
    for (size_t i = 0; i < n; i++)
        print_kind(&x[i]);
    printf(
        "\nSimulated figures are estimates, and none is an MLPerf result; docs/SCALE.md says what "
        "they rest on.\n");
}
