/* SPDX-License-Identifier: MIT
 * chip_validate.c - damso chip validate: every published result that chip files hold, beside what
 * is simulated and what a roofline of three numbers says; and damso chip fit.
 *
 * The roofline: a run takes `fixed` and then the longer of its operations over `rate` times the
 * peak and its bytes over `reach` times the memory's.  rate and fixed are fitted on the same two
 * results as the simulator's two numbers; reach is 0.86, what products on A100 give. */
#include "app/chip.h"

#include "base/num.h"

#include <math.h>
#include <stdio.h>

#define REACH 0.86

struct roofline {
    double rate, fixed_s;
};

struct verdict {
    const struct npu_result *result;
    double published, simulated, roofline; /* a second, or microseconds */
    double low, high;                      /* simulated, by what is assumed */
};

/* Of one input in a batch, without the fixed time. */
static double roof_time(const struct npu_chip *c, const struct npu_work *w, double rate)
{
    double peak = npu_chip_macs(c, w->type) * rate;
    double bytes = w->weight_values * w->weight_bits / 8;
    return MAX(w->macs / peak, bytes / (npu_chip_dram_bytes(c) * REACH)) / (double)w->batch;
}

static struct roofline fit_roofline(const struct npu_chip *c)
{
    struct roofline r = {.rate = 0.5};
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < c->n_results; i++) {
            const struct npu_result *x = &c->results[i];
            unsigned batch;
            npu_ask_of(c, x->workload, x->scenario, &batch);
            if (!x->fitted || !npu_work_known(x->workload))
                continue;
            struct npu_work *w = npu_work_bench(x->workload, batch, npu_bench_type(c));
            if (pass == 0 && x->per_s > 0)
                r.rate = x->per_s * w->macs / (double)w->batch / npu_chip_macs(c, w->type);
            if (pass == 1 && x->latency_us > 0)
                r.fixed_s = MAX(x->latency_us * 1e-6 - roof_time(c, w, r.rate), 0);
            npu_work_free(w);
        }
    return r;
}

static enum err ask_again(struct chip_answer *out, const struct npu_chip *c, void *arg,
                          struct errinfo *e)
{
    const struct npu_result *x = arg;
    *out = (struct chip_answer){0};
    return npu_run_bench(&out->answer, &out->work, x->workload, c, x->scenario, NULL, e);
}

/* Low and high of what is assumed. */
static void find_range(struct npu_chip *c, const struct npu_answer *a, struct verdict *v)
{
    struct npu_result x = *v->result;
    bool rate = x.per_s > 0;
    json_t *o = chip_range(c, 1, a, ask_again, &x);
    const json_t *ends = json_object_get(o, rate ? "per_s" : "latency_ms");
    v->low = json_number_value(json_array_get(ends, 0)) * (rate ? 1 : 1000);
    v->high = json_number_value(json_array_get(ends, 1)) * (rate ? 1 : 1000);
    json_decref(o);
}

static enum err judge(struct npu_chip *c, bool ranges, const struct npu_result *x,
                      const struct roofline *roof, struct verdict *v, struct errinfo *e)
{
    struct npu_answer a;
    struct npu_work *w;
    TRY(npu_run_bench(&a, &w, x->workload, c, x->scenario, NULL, e));
    double each = roof_time(c, w, roof->rate);
    double query = x->scenario == NPU_MULTI_STREAM ? 8 : 1;
    *v = (struct verdict){.result = x};
    v->published = x->per_s > 0 ? x->per_s : x->latency_us;
    v->simulated = x->per_s > 0 ? a.per_s : a.latency_s * 1e6;
    v->roofline = x->per_s > 0 ? 1 / each : (each * query + roof->fixed_s) * 1e6;
    if (ranges)
        find_range(c, &a, v);
    npu_answer_done(&a);
    npu_work_free(w);
    return ERR_OK;
}

struct tally {
    bool ranges, as_json;
    double ours, roof;
    size_t n;
};

static double share(double a, double of)
{
    return a / of - 1;
}

static void print_verdict(const struct npu_chip *c, const struct verdict *v)
{
    const struct npu_result *x = v->result;
    printf("%-18s %-15s %-13s %-6s %11.1f %11.1f %+6.1f %% %11.1f %+6.1f %%  %s", c->name,
           x->workload, npu_scenario_name(x->scenario), x->per_s > 0 ? "/s" : "us", v->published,
           v->simulated, 100 * share(v->simulated, v->published), v->roofline,
           100 * share(v->roofline, v->published), x->fitted ? "fitted   " : "predicted");
    if (v->high > 0)
        printf("  %.1f to %.1f", v->low, v->high);
    putchar('\n');
}

static json_t *verdict_json(const struct npu_chip *c, const struct verdict *v)
{
    const struct npu_result *x = v->result;
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s*, s:s, s:f, s:f, s:f, s:f, s:f, s:b}", "chip", c->name,
        "workload", x->workload, "scenario", npu_scenario_name(x->scenario), "unit",
        x->per_s > 0 ? "per_s" : "latency_us", "round", x->round, "division", x->division, "system",
        x->system, "published", v->published, "simulated", v->simulated, "error",
        share(v->simulated, v->published), "roofline", v->roofline, "roofline_error",
        share(v->roofline, v->published), "fitted", x->fitted);
    if (v->high > 0)
        json_object_set_new(o, "range", json_pack("[f, f]", v->low, v->high));
    return o;
}

static enum err validate_chip(const char *name, json_t *list, struct tally *t, struct errinfo *e)
{
    struct npu_chip *c;
    TRY(chip_open(&c, name, e));
    struct roofline roof = fit_roofline(c);
    enum err code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < c->n_results; i++) {
        struct verdict v;
        if (!npu_work_known(c->results[i].workload))
            continue;
        code = judge(c, t->ranges, &c->results[i], &roof, &v, e);
        if (code != ERR_OK)
            break;
        json_array_append_new(list, verdict_json(c, &v));
        if (!t->as_json)
            print_verdict(c, &v);
        t->ours += fabs(share(v.simulated, v.published));
        t->roof += fabs(share(v.roofline, v.published));
        t->n++;
    }
    npu_chip_free(c);
    return code;
}

enum err chip_validate(struct cmd_args *a, struct errinfo *e)
{
    struct tally t = {0};
    const struct conf_opt opts[] = {
        {.name = "json",  .flag = &t.as_json, .help = "print one JSON object"      },
        {.name = "range",
         .flag = &t.ranges,
         .help = "also what the chips' assumed numbers leave open; takes some time"},
    };
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, -1, e));
    if (a->done)
        return ERR_OK;
    if (!t.as_json)
        printf(
            "Published results of MLPerf Inference (MLCommons) beside simulated figures, which are "
            "no MLPerf results.\n%-18s %-15s %-13s %-6s %11s %11s %8s %11s\n",
            "chip", "workload", "scenario", "", "published", "simulated", "", "roofline");
    json_t *list = json_array();
    enum err code = ERR_OK;
    for (int i = 0; code == ERR_OK && i < a->n_left; i++)
        code = validate_chip(a->left[i], list, &t, e);
    for (size_t i = 0; a->n_left == 0 && code == ERR_OK && chip_name(i); i++)
        code = validate_chip(chip_name(i), list, &t, e);
    if (code != ERR_OK || !t.n) {
        json_decref(list);
        return code;
    }
    if (t.as_json)
        chip_print_json(json_pack("{s:o, s:f, s:f}", "results", list, "mean_error",
                                  t.ours / (double)t.n, "roofline_mean_error",
                                  t.roof / (double)t.n));
    else {
        printf("mean error: %.1f %%, of the roofline %.1f %%, of %zu results\n",
               100 * t.ours / (double)t.n, 100 * t.roof / (double)t.n, t.n);
        json_decref(list);
    }
    return ERR_OK;
}

enum err chip_fit(struct cmd_args *a, struct errinfo *e)
{
    struct npu_chip *c;
    TRY(cmd_parse(a, NULL, 0, 1, 1, e));
    if (a->done)
        return ERR_OK;
    TRY(chip_open(&c, a->left[0], e));
    enum err code = npu_fit(c, e);
    if (code == ERR_OK)
        printf("%s: clock.sustained %.4f, %s %.2f\n", c->name, c->v[NPU_SUSTAINED],
               npu_field_key(c->v[NPU_OP_US] > 0 ? NPU_OP_US : NPU_HOST_US),
               c->v[NPU_OP_US] > 0 ? c->v[NPU_OP_US] : c->v[NPU_HOST_US]);
    npu_chip_free(c);
    return code;
}
