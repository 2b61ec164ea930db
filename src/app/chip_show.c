/* SPDX-License-Identifier: MIT
 * chip_show.c - an answer as JSON. */
#include "app/chip.h"

#include "base/num.h"

#include <stdio.h>
#include <stdlib.h>

#define TOP_OPS 10

json_t *chip_assumed(const struct npu_chip *c, size_t n_chips)
{
    json_t *list = json_array();
    for (int f = 0; f < NPU_N_FIELDS; f++)
        if (npu_chip_assumes(c, (enum npu_field)f, n_chips))
            json_array_append_new(list, json_string(npu_field_key((enum npu_field)f)));
    return list;
}

struct costly {
    const struct npu_op *op;
    double ps; /* at the full clock */
    size_t n;  /* alike, taken together */
};

static int by_cost(const void *a, const void *b)
{
    double x = ((const struct costly *)a)->ps, y = ((const struct costly *)b)->ps;
    return (x < y) - (x > y);
}

/* The costliest operations, those of one name and shape as one. */
static json_t *top_ops(const struct npu_work *w, const struct npu_answer *a)
{
    struct costly *all = mem_alloc(w->n_ops * sizeof *all);
    json_t *list = json_array();
    size_t n = 0;
    double sum = 0;
    for (size_t i = 0; i < w->n_ops; i++) {
        const struct npu_op *op = &w->ops[i];
        size_t k = 0;
        while (k < n && (all[k].op->name != op->name || all[k].op->m != op->m ||
                         all[k].op->k != op->k || all[k].op->n != op->n))
            k++;
        n += k == n;
        all[k].op = all[k].op ? all[k].op : op;
        all[k].ps += (double)a->timing.op_ps[i];
        all[k].n++;
        sum += (double)a->timing.op_ps[i];
    }
    qsort(all, n, sizeof *all, by_cost);
    for (size_t i = 0; i < MIN(n, TOP_OPS); i++)
        json_array_append_new(
            list, json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f}", "name", all[i].op->name, "times",
                            (json_int_t)all[i].n, "m", (json_int_t)all[i].op->m, "k",
                            (json_int_t)all[i].op->k, "n", (json_int_t)all[i].op->n, "us",
                            npu_answer_s(a, all[i].ps) * 1e6, "share", all[i].ps / sum));
    mem_free(all);
    return list;
}

static json_t *stalls(const struct npu_timing_of *t)
{
    json_t *o = json_object();
    for (int i = 0; i < NPU_N_CAUSES; i++)
        json_object_set_new(o, npu_cause_key((enum npu_cause)i), json_real(t->share[i]));
    return o;
}

static json_t *energies(const struct npu_answer *a)
{
    json_t *o = json_object();
    double all = 0;
    for (int i = 0; i < NPU_N_ENERGIES; i++)
        all += a->energy[i];
    for (int i = 0; i < NPU_N_ENERGIES; i++)
        json_object_set_new(o, npu_energy_key((enum npu_energy)i),
                            json_real(a->joules * a->energy[i] / all));
    return o;
}

static void set(json_t *o, const char *key, double v)
{
    json_object_set_new(o, key, json_real(v));
}

static void set_rates(json_t *o, const struct chip_ask *ask, const struct chip_answer *x)
{
    const struct npu_answer *a = &x->answer;
    double tokens = x->language ? a->per_s : 0;
    if (x->language && x->prefill)
        tokens = a->per_s * (double)ask->context;
    set(o, "latency_ms", a->latency_s * 1e3);
    set(o, "per_s", a->per_s);
    set(o, "tokens_per_s", tokens);
    if (x->language) {
        set(o, x->prefill ? "ttft_ms" : "tpot_ms", a->latency_s * 1e3);
        set(o, "joules_per_token", a->watts / tokens);
        set(o, "tokens_per_joule", tokens / a->watts);
    }
    set(o, "watts", a->watts);
    set(o, "joules", a->joules);
    set(o, "joules_low", a->low);
    set(o, "joules_high", a->high);
    set(o, "utilisation", a->utilisation);
    set(o, "clock_share", a->clock);
}

json_t *chip_json(const struct npu_chip *c, const struct chip_ask *ask, const struct chip_answer *x)
{
    const struct npu_answer *a = &x->answer;
    const struct npu_prog *p = a->prog;
    json_t *o = json_pack("{s:s, s:s, s:s, s:b, s:I, s:s}", "chip", c->name, "title", c->title,
                          "workload", ask->workload, "simulated", 1, "batch",
                          (json_int_t)(x->work->batch * (x->team ? x->team->groups : 1)),
                          "computes_in", npu_type_name(x->work->type));
    if (x->language) {
        json_object_set_new(o, "phase", json_string(ask->phase));
        json_object_set_new(o, "format", json_string(npu_type_name(x->format)));
        json_object_set_new(o, "context", json_integer(ask->context));
    } else {
        json_object_set_new(o, "scenario", json_string(ask->scenario));
    }
    set_rates(o, ask, x);
    set(o, "weight_mb", p->weight_bytes / 1e6);
    set(o, "on_chip_weight_mb", p->pinned_bytes / 1e6);
    set(o, "memory_mb", (double)p->memory / 1e6);
    json_object_set_new(o, "chips", json_integer(1));
    if (x->team)
        chip_json_team(o, c, ask, x->team);
    json_object_set_new(o, "where_time_goes", stalls(&a->timing));
    json_object_set_new(o, "where_joules_go", energies(a));
    json_object_set_new(o, "costliest", top_ops(x->work, a));
    json_object_set_new(o, "assumed", chip_assumed(c, chip_n(x)));
    json_object_set_new(o, "simulation",
                        json_pack("{s:f, s:f, s:I, s:f}", "compile_ms", a->compile_s * 1e3,
                                  "simulate_ms", a->time_s * 1e3, "commands",
                                  (json_int_t)a->timing.counts.commands, "cycles_per_s",
                                  (double)a->timing.ps * c->v[NPU_CLOCK] / 1e6 / a->time_s));
    return o;
}

void chip_print_json(json_t *o)
{
    json_dumpf(o, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(8));
    putchar('\n');
    json_decref(o);
}
