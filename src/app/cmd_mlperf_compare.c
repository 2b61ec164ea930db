/* SPDX-License-Identifier: MIT
 * cmd_mlperf_compare.c - damso mlperf compare: runs side by side, and what forbids to compare. */
#include "app/cmd_mlperf.h"
#include "app/mlperf_published.h"

#include "base/num.h"

#include <errno.h>
#include <string.h>

#define RUNS_MAX 64

static enum err read_run(json_t **out, const char *dir, struct errinfo *e)
{
    json_error_t je;
    struct arena tmp;
    arena_init(&tmp);
    const char *path = arena_printf(&tmp, "%s/run.json", dir);
    *out = json_load_file(path, JSON_REJECT_DUPLICATES, &je);
    enum err r = ERR_OK;
    if (!*out && json_error_code(&je) == json_error_cannot_open_file)
        r = err_set(e, ERR_NOTFOUND, "%.300s: no folder that `damso mlperf run` left", path);
    else if (!*out)
        r = err_set(e, ERR_CORRUPT, "%.300s:%d: %.100s", path, je.line, je.text);
    else if (!json_is_object(json_object_get(*out, "latency_ms")) ||
             !json_is_string(json_object_get(*out, "benchmark")) ||
             !json_is_string(json_object_get(*out, "scenario")) ||
             !json_is_string(json_object_get(*out, "verdict")))
        r = err_set(e, ERR_CORRUPT, "%.300s: it has no times, or no verdict", path);
    arena_done(&tmp);
    return r;
}

static double at(const json_t *o, const char *part, const char *key)
{
    return json_number_value(json_object_get(part ? json_object_get(o, part) : o, key));
}

static void print_run(const char *dir, const json_t *o, const json_t *first)
{
    double rate = at(first, NULL, "tokens_per_s");
    printf("%-24.24s %-14s %-13s %-9s %10.1f %7.2f %9.1f %9.1f %9.2f %9.1f\n", dir,
           json_string_value(json_object_get(o, "benchmark")),
           json_string_value(json_object_get(o, "scenario")),
           json_string_value(json_object_get(o, "verdict")), at(o, NULL, "tokens_per_s"),
           rate > 0 ? at(o, NULL, "tokens_per_s") / rate : 0, at(o, "ttft_ms", "p90"),
           at(o, "ttft_ms", "p99"), at(o, "tpot_ms", "p90"), at(o, "latency_ms", "p90"));
}

static void print_warnings(char *const *dir, json_t *const *run, int n)
{
    static const char *const same[] = {"benchmark", "scenario", "mode", "set_sha256",
                                       "tokens_at_most"};
    for (int i = 1; i < n; i++)
        for (size_t k = 0; k < N_ELEMS(same); k++)
            if (!json_equal(json_object_get(run[0], same[k]), json_object_get(run[i], same[k])))
                printf("not comparable: %s and %s differ in %s\n", dir[0], dir[i], same[k]);
}

/* Beside runs of one official benchmark and scenario, and nothing else. */
static void print_published(json_t *const *run, int n)
{
    const char *bench = json_string_value(json_object_get(run[0], "benchmark")),
               *scenario = json_string_value(json_object_get(run[0], "scenario"));
    for (int i = 0; i < n; i++)
        if (!json_is_true(json_object_get(run[i], "official_benchmark")) ||
            !json_equal(json_object_get(run[i], "benchmark"),
                        json_object_get(run[0], "benchmark")) ||
            !json_equal(json_object_get(run[i], "scenario"), json_object_get(run[0], "scenario")))
            return;
    const struct mlperf_published *p = mlperf_published_next(NULL, bench, scenario);
    if (p)
        printf("published results of others for %s, %s (%s); the runs above are none\n", bench,
               scenario, MLPERF_PUBLISHED_SOURCE);
    for (; p; p = mlperf_published_next(p, bench, scenario))
        printf("%12.1f %-8s %s %s, %s, %s: %s, %s (%s)\n", p->figure, p->unit, p->round,
               p->division, p->availability, p->submitter, p->system, p->chip, p->id);
}

static void print_text(char *const *dir, json_t *const *run, int n)
{
    printf("%-24s %-14s %-13s %-9s %10s %7s %9s %9s %9s %9s\n", "run", "benchmark", "scenario",
           "verdict", "tokens/s", "of 1st", "TTFT p90", "TTFT p99", "TPOT p90", "whole p90");
    for (int i = 0; i < n; i++)
        print_run(dir[i], run[i], run[0]);
    printf("times in milliseconds. %s\n", MLPERF_DISCLAIMER);
    print_warnings(dir, run, n);
    print_published(run, n);
}

enum err mlperf_cmd_compare(struct cmd_args *a, struct errinfo *e)
{
    json_t *run[RUNS_MAX] = {NULL};
    bool json = false;
    enum err r = ERR_OK;
    const struct conf_opt opts[] = {
        {.name = "json", .help = "print a JSON array of the runs", .flag = &json},
    };
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 1, RUNS_MAX, e));
    if (a->done)
        return ERR_OK;
    for (int i = 0; i < a->n_left && r == ERR_OK; i++)
        r = read_run(&run[i], a->left[i], e);
    if (r == ERR_OK && json) {
        json_t *all = json_array();
        for (int i = 0; i < a->n_left; i++)
            json_array_append(all, run[i]);
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(all);
    } else if (r == ERR_OK)
        print_text(a->left, run, a->n_left);
    for (int i = 0; i < a->n_left; i++)
        json_decref(run[i]);
    return r;
}
