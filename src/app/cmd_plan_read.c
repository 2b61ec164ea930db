/* SPDX-License-Identifier: MIT
 * cmd_plan_read.c - what is asked of damso plan: numbers, kinds of machines, the day's curve. */
#include "app/cmd_plan.h"

#include "base/num.h"
#include "os/os_map.h"
#include "plan/plan_share.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Requests an hour of one day, medians: ChatGPT conversations of a campus on Microsoft Azure, as
 * read from figure 2 of the README of BurstGPT (github.com/HPMLL/BurstGPT, CC-BY-4.0; Wang et al.,
 * KDD 2025).  One time zone, at work: the busiest hour has 9.6 % of the day. */
static const double burstgpt[FLEET_HOURS] = {45,  29,  17,  8,   6,   5,   5,   5,
                                             20,  106, 157, 158, 68,  92,  154, 184,
                                             187, 132, 77,  101, 118, 107, 95,  75};
#define BURSTGPT "BurstGPT, figure 2: ChatGPT conversations, medians of hours"

static enum err real(double *out, const char *option, const char *text, double least, double most,
                     struct errinfo *e)
{
    char *end;
    if (!text)
        return ERR_OK;
    errno = 0;
    double v = strtod(text, &end);
    if (errno || end == text || *end || !(v >= least && v <= most))
        return err_set(e, ERR_USAGE, "%s is from %g to %g, not %.40s", option, least, most, text);
    *out = v;
    return ERR_OK;
}

const char *cmd_plan_limit_name(int limit)
{
    static const char *const names[] = {"ttft-p90", "ttft-p99", "tpot-p90", "tpot-p99"};
    return names[limit];
}

/* ---- the curve ---- */

/* What powers of the shares can come to: all hours with requests alike; nothing but the busiest
 * ones. */
static enum err check_peak(const double curve[FLEET_HOURS], double peak, struct errinfo *e)
{
    double busiest = 0, n_busiest = 0, n_some = 0;
    for (int h = 0; h < FLEET_HOURS; h++)
        busiest = MAX(busiest, curve[h]);
    for (int h = 0; h < FLEET_HOURS; h++) {
        n_busiest += curve[h] == busiest;
        n_some += curve[h] > 0;
    }
    if (peak >= 1 / n_some && peak <= 1 / n_busiest)
        return ERR_OK;
    return err_set(e, ERR_USAGE,
                   "--peak-share %g: with this curve, in which %.0f hours have requests and %.0f "
                   "are the busiest, it is from %.4g to %.4g",
                   peak, n_some, n_busiest, 1 / n_some, 1 / n_busiest);
}

/* Shares to a power, so that the busiest hour has the share that is asked for. */
static void sharpen(double curve[FLEET_HOURS], double peak)
{
    double low = 0, high = 1e6, busiest = 0, made[FLEET_HOURS];
    for (int h = 0; h < FLEET_HOURS; h++)
        busiest = MAX(busiest, curve[h]);
    for (int i = 0; i < 100; i++) {
        double power = (low + high) / 2, sum = 0, most = 0;
        for (int h = 0; h < FLEET_HOURS; h++)
            sum += made[h] = curve[h] > 0 ? pow(curve[h] / busiest, power) : 0;
        for (int h = 0; h < FLEET_HOURS; h++) {
            made[h] /= sum;
            most = MAX(most, made[h]);
        }
        *(most < peak ? &low : &high) = power;
    }
    memcpy(curve, made, sizeof made);
}

static enum err read_curve(double curve[FLEET_HOURS], const char *path, struct errinfo *e)
{
    char line[256];
    int n = 0, at = 0;
    enum err r = ERR_OK;
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set(e, ERR_NOTFOUND, "--curve: %.300s: %s", path, strerror(errno));
    while (r == ERR_OK && fgets(line, sizeof line, f)) {
        char *end;
        at++;
        if (line[strspn(line, " \t\r\n")] == 0 || line[0] == '#')
            continue;
        double v = strtod(line, &end);
        if (n == FLEET_HOURS || end == line || end[strspn(end, " \t\r\n")] ||
            !(v >= 0 && v <= 1e12))
            r = err_set(e, ERR_CORRUPT,
                        "--curve: %.300s:%d: 24 lines of one number each are wanted, requests of "
                        "the hours from 0 to 23",
                        path, at);
        else
            curve[n++] = v;
    }
    fclose(f);
    if (r == ERR_OK && n != FLEET_HOURS)
        return err_set(e, ERR_CORRUPT, "--curve: %.300s has %d hours of 24", path, n);
    return r;
}

static enum err set_curve(struct cmd_plan_ask *a, const struct cmd_plan_options *o,
                          struct errinfo *e)
{
    double *curve = a->fleet.curve, sum = 0, peak = 0;
    a->curve_source = o->curve ? o->curve : BURSTGPT;
    memcpy(curve, burstgpt, sizeof burstgpt);
    if (o->curve)
        TRY(read_curve(curve, o->curve, e));
    for (int h = 0; h < FLEET_HOURS; h++)
        sum += curve[h];
    if (!(sum > 0))
        return err_set(e, ERR_CORRUPT, "--curve: %.300s: all hours are 0", o->curve);
    for (int h = 0; h < FLEET_HOURS; h++)
        curve[h] /= sum;
    TRY(real(&peak, "--peak-share", o->peak_share, 1.0 / 24, 1, e));
    if (peak > 0) {
        TRY(check_peak(curve, peak, e));
        sharpen(curve, peak);
    }
    return ERR_OK;
}

/* ---- kinds ---- */

struct word {
    const char *key;
    double *real;
    int64_t *whole;
    double least, most;
};

static enum err read_word(const struct word *words, size_t n, const char *text, size_t len,
                          const char *kind, struct errinfo *e)
{
    char name[64], value[64];
    const char *equals = memchr(text, '=', len);
    size_t n_key = equals ? (size_t)(equals - text) : len;
    for (size_t i = 0; i < n && equals; i++) {
        if (strlen(words[i].key) != n_key || strncmp(words[i].key, text, n_key) != 0)
            continue;
        double v = 0;
        snprintf(name, sizeof name, "%s of %.40s", words[i].key, kind);
        snprintf(value, sizeof value, "%.*s", (int)MIN(len - n_key - 1, sizeof value - 1),
                 equals + 1);
        TRY(real(&v, name, value, words[i].least, words[i].most, e));
        if (words[i].real)
            *words[i].real = v;
        else
            *words[i].whole = (int64_t)v;
        return ERR_OK;
    }
    return err_set(e, ERR_USAGE,
                   "'%.*s' of %.60s: price=, hour=, watts=, idle=, parallel=, tensor=, pipeline=, "
                   "machines=, gbit= or us= are known",
                   (int)MIN(len, 60u), text, kind);
}

static enum err read_kind(struct cmd_plan_ask *a, const char *text, struct errinfo *e)
{
    size_t i = a->n_kinds, n = strcspn(text, ",");
    int64_t tensor = 0, pipeline = 0, machines = 0;
    struct fleet_kind *k = &a->kind[i];
    *k = (struct fleet_kind){
        .name = a->name[i], .price = -1, .hour = -1, .watts = -1, .idle = -1, .machines = 1};
    const struct word words[] = {
        {"price",    &k->price, NULL,            0,    1e9           },
        {"hour",     &k->hour,  NULL,            0,    1e6           },
        {"watts",    &k->watts, NULL,            0,    1e6           },
        {"idle",     &k->idle,  NULL,            0,    1e6           },
        {"parallel", NULL,      &a->parallel[i], 1,    4096          },
        {"tensor",   NULL,      &tensor,         1,    PLAN_RANKS_MAX},
        {"pipeline", NULL,      &pipeline,       1,    PLAN_RANKS_MAX},
        {"machines", NULL,      &machines,       1,    PLAN_RANKS_MAX},
        {"gbit",     &k->gbit,  NULL,            1e-3, 1e5           },
        {"us",       &k->us,    NULL,            0,    1e6           },
    };
    if (n == 0 || n >= sizeof a->name[i])
        return err_set(e, ERR_USAGE, "'%.60s': a chip or a file of at most %zu letters", text,
                       sizeof a->name[i] - 1);
    memcpy(a->name[i], text, n);
    for (const char *at = text + n; *at; at += n) {
        at++;
        n = strcspn(at, ",");
        TRY(read_word(words, N_ELEMS(words), at, n, k->name, e));
    }
    if (k->price >= 0 && k->hour >= 0)
        return err_set(e, ERR_USAGE, "%.60s: price= to buy it or hour= to rent it, not both",
                       k->name);
    if (k->idle > k->watts && k->watts >= 0)
        return err_set(e, ERR_USAGE, "%.60s: idle= is more than watts=", k->name);
    if (!tensor && !pipeline && (machines || k->gbit > 0 || k->us > 0))
        return err_set(e, ERR_USAGE,
                       "%.60s: machines=, gbit= and us= are for tensor= or pipeline=", k->name);
    if (tensor || pipeline) {
        k->tensor = (size_t)MAX(tensor, 1);
        k->pipeline = (size_t)MAX(pipeline, 1);
        k->machines = machines ? (size_t)machines : k->tensor * k->pipeline;
    }
    if (k->tensor * k->pipeline > PLAN_RANKS_MAX)
        return err_set(e, ERR_USAGE, "%.60s: more than %d processes", k->name, PLAN_RANKS_MAX);
    a->n_kinds++;
    return ERR_OK;
}

static enum err read_kinds(struct cmd_plan_ask *a, const struct cmd_args *args, struct errinfo *e)
{
    if (args->n_left > PLAN_KINDS_MAX)
        return err_set(e, ERR_USAGE, "%d kinds of machines are more than %d", args->n_left,
                       PLAN_KINDS_MAX);
    for (int i = 0; i < args->n_left; i++)
        TRY(read_kind(a, args->left[i], e));
    return ERR_OK;
}

/* ---- all of it ---- */

static enum err read_load(struct cmd_plan_ask *a, const struct cmd_plan_options *o,
                          const struct conf *c, struct errinfo *e)
{
    struct load_opts *l = &a->fleet.load;
    bool any = false;
    TRY(load_length_read(&l->prompt, "--prompt", o->prompt, e));
    TRY(load_length_read(&l->answer, "--answer", o->answer, e));
    l->prompt.max = dry_longest(&l->prompt);
    l->answer.max = dry_longest(&l->answer);
    l->turns = 2;
    l->think_s = 60;
    TRY(real(&l->turns, "--turns", o->turns, 1, 100, e));
    TRY(real(&l->think_s, "--think", o->think, 0, 3600, e));
    l->shared = (size_t)o->shared;
    l->seed = c->seed >= 0 ? (uint64_t)c->seed : 1;
    l->queue_max = (size_t)c->queue;
    for (int i = 0; i < FLEET_LIMITS; i++) {
        a->fleet.limit_ms[i] = (double)o->limit[i];
        any |= o->limit[i] > 0;
    }
    if (!any)
        return err_set(e, ERR_USAGE,
                       "a limit is missing, in milliseconds: --ttft-p90 or --ttft-p99 of the first "
                       "token, --tpot-p90 or --tpot-p99 of each token after it");
    return ERR_OK;
}

static enum err read_spares(struct fleet_ask *f, const struct cmd_plan_options *o,
                            struct errinfo *e)
{
    f->spare = o->spare >= 0 ? (size_t)o->spare : 1;
    f->mtbf_h = 4380;
    f->mttr_h = 24;
    f->cell = (size_t)o->cell;
    f->ring_points = (size_t)o->ring;
    if (o->spare >= 0 && o->availability)
        return err_set(e, ERR_USAGE, "--spare or --availability, not both");
    TRY(real(&f->availability, "--availability", o->availability, 0.5, 0.9999999, e));
    TRY(real(&f->mtbf_h, "--mtbf", o->mtbf, 1, 1e7, e));
    TRY(real(&f->mttr_h, "--mttr", o->mttr, 0.01, 1e5, e));
    if (!o->availability && f->spare + 1 > f->cell)
        return err_set(e, ERR_USAGE, "--spare %zu leaves nothing of a --cell of %zu", f->spare,
                       f->cell);
    return ERR_OK;
}

enum err cmd_plan_read(struct cmd_plan_ask *a, const struct cmd_plan_options *o,
                       const struct cmd_args *args, struct errinfo *e)
{
    struct fleet_ask *f = &a->fleet;
    *a = (struct cmd_plan_ask){.workload = o->workload, .prompt = o->prompt, .answer = o->answer};
    if (o->users < 1)
        return err_set(e, ERR_USAGE, "--users says how many there are");
    if (!o->workload)
        return err_set(e, ERR_USAGE, "--workload is a GGUF file or a config.json: shapes suffice");
    f->users = (double)o->users;
    f->requests_day = 10;
    f->electricity = 0.2;
    f->years = 4;
    f->pue = 1.3;
    f->n_requests = (size_t)o->requests;
    a->whole = (size_t)o->whole;
    TRY(real(&f->requests_day, "--requests-a-day", o->day, 1e-3, 1e5, e));
    TRY(real(&f->electricity, "--electricity", o->electricity, 0, 1e4, e));
    TRY(real(&f->years, "--years", o->years, 0.1, 30, e));
    TRY(real(&f->pue, "--pue", o->pue, 1, 5, e));
    TRY(read_load(a, o, &args->conf, e));
    TRY(read_spares(f, o, e));
    TRY(set_curve(a, o, e));
    return read_kinds(a, args, e);
}
