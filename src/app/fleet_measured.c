/* SPDX-License-Identifier: MIT
 * fleet_measured.c - machines by what `damso bench` measured: steps' times out of its rows, or a
 * server's best level out of `damso bench serve`. */
#include "app/fleet.h"
#include "app/member.h"

#include "base/num.h"
#include "base/str.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum err load(json_t **out, const char *path, struct errinfo *e)
{
    json_error_t je;
    *out = json_load_file(path, JSON_REJECT_DUPLICATES, &je);
    if (*out)
        return ERR_OK;
    if (json_error_code(&je) == json_error_cannot_open_file)
        return err_set(e, ERR_NOTFOUND, "%.300s: %s", path, strerror(errno));
    return err_set(e, ERR_CORRUPT, "%.300s:%d: %.100s", path, je.line, je.text);
}

enum err fleet_source_of(enum fleet_source *out, const char *name, struct errinfo *e)
{
    json_t *o;
    *out = FLEET_CHIP;
    if (!span_ends(span_of(name), SPAN(".json")))
        return ERR_OK;
    TRY(load(&o, name, e));
    bool rows = json_is_array(json_object_get(o, "rows"));
    bool levels = json_is_array(json_object_get(o, "levels"));
    json_decref(o);
    *out = rows ? FLEET_SPEEDS : FLEET_LEVELS;
    if (!rows && !levels)
        return err_set(e, ERR_CORRUPT,
                       "%.300s: it has neither the rows of `damso bench --json` nor the levels of "
                       "`damso bench serve --json`",
                       name);
    return ERR_OK;
}

static bool is(const json_t *o, const char *key, const char *value)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s && strcmp(s, value) == 0;
}

/* ---- damso bench ---- */

#define STEP_ROWS 512.0 /* of bench's steps: longer prompts are read in several */

struct step {
    double rows, s, at;
};

/* One row of the file; s is of a step. */
static enum err step_of(struct step *out, const json_t *row, const char *path, size_t i,
                        struct errinfo *e)
{
    double tps = member_number(row, "tps"), tokens = member_number(row, "tokens"),
           seqs = member_number(row, "sequences");
    bool prefill = is(row, "work", "prefill");
    double rows = prefill ? MIN(tokens, STEP_ROWS) : is(row, "work", "batch") ? seqs : 1;
    if (!(tps > 0 && tps < 1e9 && rows >= 1 && rows <= 1e6 && member_number(row, "at") >= 0))
        return err_set(e, ERR_CORRUPT,
                       "%.300s: row %zu: tps over 0, tokens and sequences from 1 on are needed",
                       path, i + 1);
    *out = (struct step){rows, rows / tps, member_number(row, "at")};
    return ERR_OK;
}

static int by_rows(const void *a, const void *b)
{
    double x = ((const struct step *)a)->rows, y = ((const struct step *)b)->rows;
    return (x > y) - (x < y);
}

/* What a row takes more for each position before it: by the row with most of them. */
static double past_of(const struct step *s, size_t n)
{
    double most = 0, slope = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++)
            if (s[i].at > most && s[k].at == 0 && s[k].rows == s[i].rows) {
                most = s[i].at;
                slope = MAX((s[i].s - s[k].s) / (s[i].rows * s[i].at), 0);
            }
    return slope;
}

/* Steps from an empty context, ascending; a larger step that was quicker is measured noise. */
static void take_steps(struct dev_speeds *out, struct step *s, size_t n)
{
    qsort(s, n, sizeof *s, by_rows);
    for (size_t i = 0; i < n; i++) {
        size_t last = out->n;
        if (s[i].at != 0 || (last && out->step[last - 1].rows == s[i].rows))
            continue;
        out->step[last].rows = s[i].rows;
        out->step[last].s = last ? MAX(s[i].s, out->step[last - 1].s) : s[i].s;
        out->n++;
    }
    out->s_row_past = past_of(s, n);
}

static enum err read_rows(struct dev_speeds *out, const json_t *rows, const char *path,
                          struct errinfo *e)
{
    struct step step[DEV_SPEEDS_MAX];
    size_t n = json_array_size(rows);
    if (n == 0 || n > DEV_SPEEDS_MAX)
        return err_set(e, ERR_CORRUPT, "%.300s: it has no 1 to %d rows", path, DEV_SPEEDS_MAX);
    for (size_t i = 0; i < n; i++)
        TRY(step_of(&step[i], json_array_get(rows, i), path, i, e));
    take_steps(out, step, n);
    if (out->n < 2 || out->step[0].rows > 1)
        return err_set(e, ERR_CORRUPT,
                       "%.300s: speeds of prefill and of decode from an empty context are needed "
                       "(damso bench --json --prefill 512 --decode 64 --batch 16)",
                       path);
    return ERR_OK;
}

enum err fleet_speeds_read(struct dev_speeds *s, const char *path, char title[128],
                           struct errinfo *e)
{
    json_t *o;
    TRY(load(&o, path, e));
    const json_t *machine = json_object_get(o, "machine");
    const char *cpu = json_string_value(json_object_get(machine, "cpu"));
    *s = (struct dev_speeds){.name = path, .title = title};
    snprintf(title, 128, "%.90s, %.0f threads, measured", cpu ? cpu : "a machine",
             member_number(machine, "threads"));
    enum err r = read_rows(s, json_object_get(o, "rows"), path, e);
    json_decref(o);
    return r;
}

/* ---- damso bench serve ---- */

/* The percentiles of a level that limits are of.  Errors: CORRUPT, naming what it has not. */
static enum err take_level(struct fleet_run *out, const json_t *l, const struct fleet_ask *a,
                           const char *path, size_t i, struct errinfo *e)
{
    const json_t *ttft = json_object_get(l, "ttft_ms"), *tpot = json_object_get(l, "tpot_ms");
    double s = member_number(l, "seconds");
    *out = (struct fleet_run){
        .rate = s > 0 ? (member_number(l, "requests") - member_number(l, "errors")) / s : 0,
        .ms = {member_number(ttft, "p90"), member_number(ttft, "p99"), member_number(tpot, "p90"),
               member_number(tpot, "p99")},
        .ttft_p50 = member_number(ttft, "p50"),
        .tpot_p50 = member_number(tpot, "p50"),
        .within = member_number(l, "errors") == 0
    };
    for (int k = 0; k < FLEET_LIMITS; k++) {
        if (a->limit_ms[k] > 0 && !(out->ms[k] > 0 && out->ms[k] < 1e9))
            return err_set(e, ERR_CORRUPT,
                           "%.300s: level %zu: no %s_ms with p%.0f over 0, which a limit is of",
                           path, i + 1, FLEET_LIMIT_TPOT(k) ? "tpot" : "ttft",
                           100 * FLEET_LIMIT_SHARE(k));
        out->within &= a->limit_ms[k] <= 0 || out->ms[k] <= a->limit_ms[k];
    }
    if (out->rate > 0 && out->rate < 1e9)
        return ERR_OK;
    return err_set(e, ERR_CORRUPT, "%.300s: level %zu: no requests without errors, or no seconds",
                   path, i + 1);
}

static int by_rate(const void *a, const void *b)
{
    double x = ((const struct fleet_run *)a)->rate, y = ((const struct fleet_run *)b)->rate;
    return (x > y) - (x < y);
}

static void set_power(struct fleet_replica *r, const struct fleet_kind *k)
{
    double busy = MAX(k->watts, 0), most = r->n_runs ? r->run[r->n_runs - 1].rate : 0;
    r->idle_w = k->idle >= 0 ? k->idle : busy;
    for (size_t i = 0; i < r->n_runs; i++) {
        r->run[i].busy = r->run[i].rate / most;
        r->run[i].watts = r->idle_w + (busy - r->idle_w) * r->run[i].busy;
    }
}

enum err fleet_levels_read(struct fleet_replica *r, const struct fleet_kind *k,
                           const struct fleet_ask *a, const char *path, struct errinfo *e)
{
    json_t *o;
    TRY(load(&o, path, e));
    const json_t *levels = json_object_get(o, "levels");
    size_t n = json_array_size(levels);
    enum err code = ERR_OK;
    *r = (struct fleet_replica){.answer_tokens = member_number(o, "answer")};
    if (n == 0 || n > FLEET_RUNS)
        code = err_set(e, ERR_CORRUPT, "%.300s: it has no 1 to %d levels", path, FLEET_RUNS);
    for (size_t i = 0; i < n && code == ERR_OK; i++) {
        struct fleet_run *run = &r->run[r->n_runs++];
        code = take_level(run, json_array_get(levels, i), a, path, i, e);
    }
    json_decref(o);
    if (code != ERR_OK)
        return code;
    qsort(r->run, r->n_runs, sizeof *r->run, by_rate);
    for (size_t i = 0; i < r->n_runs; i++)
        if (r->run[i].within)
            r->capacity = r->low = r->run[i].rate;
    if (!(r->capacity > 0))
        snprintf(r->why, sizeof r->why, "none of its %zu levels was within the limits", n);
    set_power(r, k);
    return ERR_OK;
}
