/* SPDX-License-Identifier: MIT
 * cmd_plan.c - damso plan: how many machines or chips of which kind serve so many users within
 * limits, for what money and power. */
#include "app/cmd_plan.h"

#include "app/chip.h"
#include "base/arena.h"
#include "base/num.h"
#include "dev/dev_price.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool stops(void *arg)
{
    (void)arg;
    return cmd_stopped();
}

/* ---- one kind ---- */

static void set_title(struct fleet_answer *x, const struct npu_chip *chip, const struct conf *c)
{
    if (x->machines == 1)
        snprintf(x->title, sizeof x->title, "%s", chip->title);
    else
        snprintf(x->title, sizeof x->title, "%zu x %.80s, split by %s", x->machines, chip->title,
                 c->split);
}

/* The engine of a kind: its chip, or the speeds that were measured.  title, speeds: outlive it. */
static enum err open_kind(struct dry *d, struct fleet_answer *x, struct dev_speeds *speeds,
                          const struct cmd_plan_ask *a, const struct conf *c, struct errinfo *e)
{
    const struct load_opts *l = &a->fleet.load;
    size_t turn = l->prompt.max + l->answer.max, ctx = (size_t)((double)turn * l->turns);
    if (x->source == FLEET_CHIP) {
        TRY(dry_open(d, c, x->kind->name, a->workload, ctx, e));
        set_title(x, d->chip, c);
        return ERR_OK;
    }
    *d = (struct dry){0};
    TRY(fleet_speeds_read(speeds, x->kind->name, x->title, e));
    double n_machines = (double)x->machines, watts = MAX(x->kind->watts, 0);
    speeds->busy_w = n_machines * watts;
    speeds->idle_w = n_machines * (x->kind->idle >= 0 ? x->kind->idle : watts);
    speeds->pages = 2 * num_div_up(c->ctx ? (size_t)c->ctx : ctx, ENGINE_PAGE) *
                    (size_t)c->parallel;
    TRY(dry_open_measured(d, c, speeds, a->workload, ctx, e));
    if (!x->kind->tensor)
        return ERR_OK;
    size_t n = strlen(x->title);
    snprintf(x->title + n, sizeof x->title - n, ", %zu x: %zu stages of %zu processes", x->machines,
             x->kind->pipeline, x->kind->tensor);
    return fleet_ranks(speeds, x->kind, engine_model(d->en), e);
}

/* When replicas of a cell are away. */
static enum err downs(struct fleet_answer *x, struct engine *en, const struct fleet_ask *f,
                      struct errinfo *e)
{
    for (size_t i = 0; i < FLEET_DOWN; i++) {
        double rate = fleet_rate_of(f, &x->size, x->peak_rate, f->users, i);
        if (!isfinite(rate))
            break;
        TRY(fleet_run(&x->down[x->n_down++], &x->replica, en, f, rate, e));
    }
    return ERR_OK;
}

/* Steps as `damso bench` has them, of which nothing but the last token is wanted. */
static enum err bench(struct fleet_answer *x, const struct dev_speeds *s, struct errinfo *e)
{
    struct dev_price *p = dev_price_measured(NULL, s, SIZE_MAX, SIZE_MAX);
    struct dev_cost one, many;
    size_t rows = (size_t)s->step[s->n - 1].rows;
    enum err r = dev_price_alone(p, 1, 0, true, &one, e);
    if (r == ERR_OK)
        r = dev_price_alone(p, rows, 0, true, &many, e);
    dev_price_free(p);
    if (r != ERR_OK)
        return r;
    x->bench_rows = (double)rows;
    x->bench_decode = 1e12 / MAX((double)one.ps, 1);
    x->bench_prefill = (double)rows * 1e12 / MAX((double)many.ps, 1);
    return ERR_OK;
}

static enum err simulate(struct fleet_answer *x, struct cmd_plan_ask *a, const struct conf *c,
                         struct errinfo *e)
{
    struct dry d;
    struct dev_speeds speeds;
    struct fleet_ask *f = &a->fleet;
    enum err r = open_kind(&d, x, &speeds, a, c, e);
    f->load.running_max = (size_t)c->parallel;
    if (r == ERR_OK && d.chip && x->kind->price < 0 && d.chip->v[NPU_PRICE] > 0)
        a->kind[x->kind - a->kind].price = d.chip->v[NPU_PRICE];
    if (r == ERR_OK && x->source == FLEET_SPEEDS)
        r = bench(x, &speeds, e);
    if (r == ERR_OK)
        r = fleet_replica(&x->replica, d.en, f, e);
    if (r == ERR_OK && x->replica.capacity > 0)
        fleet_price(x, f);
    if (r == ERR_OK && x->size.total)
        r = downs(x, d.en, f, e);
    if (r == ERR_OK && x->size.total && a->whole)
        r = fleet_whole(&x->whole, &x->replica, d.en, f, a->whole, e);
    dry_close(&d);
    return r;
}

/* What is wrong with one kind is its answer; what ends all is an error. */
static enum err answer(struct fleet_answer *x, struct cmd_plan_ask *a, size_t i,
                       const struct conf *c, struct errinfo *e)
{
    struct conf own = *c;
    *x = (struct fleet_answer){.kind = &a->kind[i]};
    snprintf(x->title, sizeof x->title, "%.120s", x->kind->name);
    if (a->parallel[i])
        own.parallel = a->parallel[i];
    TRY(fleet_source_of(&x->source, x->kind->name, e));
    x->machines = x->source == FLEET_CHIP ? (size_t)c->chips : x->kind->machines;
    if (x->source == FLEET_CHIP && (x->kind->watts >= 0 || x->kind->idle >= 0))
        return err_set(e, ERR_USAGE,
                       "%.60s: watts= and idle= are of measured machines; a chip's are simulated",
                       x->kind->name);
    if (x->source != FLEET_SPEEDS && x->kind->tensor)
        return err_set(e, ERR_USAGE,
                       "%.60s: tensor= and pipeline= are of machines by `damso bench --json`",
                       x->kind->name);
    if (x->source == FLEET_LEVELS && a->parallel[i])
        return err_set(e, ERR_USAGE, "%.60s: parallel= was the server's own", x->kind->name);
    enum err r;
    if (x->source == FLEET_LEVELS) {
        r = fleet_levels_read(&x->replica, x->kind, &a->fleet, x->kind->name, e);
        if (r == ERR_OK && x->replica.capacity > 0)
            fleet_price(x, &a->fleet);
    } else {
        r = simulate(x, a, &own, e);
    }
    if (r == ERR_TOOBIG || r == ERR_MEMORY || r == ERR_UNSUPPORTED) {
        snprintf(x->error, sizeof x->error, "%.290s", e->text);
        return ERR_OK;
    }
    if (r == ERR_OK && !(x->replica.capacity > 0))
        memcpy(x->error, x->replica.why, sizeof x->error);
    else if (r == ERR_OK && !x->size.total)
        snprintf(x->error, sizeof x->error, "more than a million would be needed");
    return r;
}

/* By cost; then those without a price, by power; then those that cannot. */
static int better(const void *a, const void *b)
{
    const struct fleet_answer *x = a, *y = b;
    int rank_x = x->error[0] ? 2 : !x->priced, rank_y = y->error[0] ? 2 : !y->priced;
    double by_x = x->priced ? x->month : x->kwh_day, by_y = y->priced ? y->month : y->kwh_day;
    if (rank_x != rank_y)
        return rank_x - rank_y;
    return by_x != by_y ? (by_x > by_y) - (by_x < by_y) : strcmp(x->kind->name, y->kind->name);
}

static enum err tell(const struct cmd_plan_ask *a, const struct cmd_plan_options *o,
                     const struct fleet_answer *x, struct errinfo *e)
{
    json_t *j = cmd_plan_json(a, x, a->n_kinds);
    enum err r = o->html ? cmd_plan_html(o->html, j, e) : ERR_OK;
    if (o->json) {
        chip_print_json(j);
        return r;
    }
    cmd_plan_print(a, x, a->n_kinds);
    json_decref(j);
    return r;
}

static enum err check_cell(struct fleet_ask *f, struct errinfo *e)
{
    fleet_prepare(f);
    if (1 + f->spares[1] <= f->cell)
        return ERR_OK;
    return err_set(e, ERR_USAGE,
                   "one replica needs %zu%s spares for this --availability, which a --cell of %zu "
                   "has no room for",
                   f->spares[1], f->spares[1] == FLEET_CELL_MAX ? " or more" : "", f->cell);
}

/* Several chips of a kind are asked for, and every kind is a machine that was measured: what would
 * be said of one would be read as said of several. */
static enum err check_chips(const struct cmd_plan_ask *a, const struct conf *c, struct errinfo *e)
{
    bool chips = c->origin[CONF_ID_chips] == CONF_OPTION;
    if (!chips && c->origin[CONF_ID_split] != CONF_OPTION)
        return ERR_OK;
    for (size_t i = 0; i < a->n_kinds; i++) {
        enum fleet_source source;
        TRY(fleet_source_of(&source, a->kind[i].name, e));
        if (source == FLEET_CHIP)
            return ERR_OK;
    }
    return err_set(e, ERR_USAGE,
                   "--%s is of simulated chips, and all kinds here are measured: several machines "
                   "of one that compute a model together are FILE,tensor=N or FILE,pipeline=N",
                   chips ? "chips" : "split");
}

static enum err work(struct cmd_plan_ask *a, const struct cmd_plan_options *o, const struct conf *c,
                     struct errinfo *e)
{
    struct fleet_answer *x = mem_alloc(a->n_kinds * sizeof *x);
    enum err r = check_cell(&a->fleet, e);
    if (r == ERR_OK)
        r = check_chips(a, c, e);
    cmd_catch_stop();
    a->fleet.load.stop = stops;
    for (size_t i = 0; i < a->n_kinds && r == ERR_OK; i++) {
        fprintf(stderr, "%zu of %zu: %s\n", i + 1, a->n_kinds, a->kind[i].name);
        r = answer(&x[i], a, i, c, e);
    }
    if (r == ERR_OK) {
        qsort(x, a->n_kinds, sizeof *x, better);
        r = tell(a, o, x, e);
    }
    mem_free(x);
    return r;
}

/* ---- the command ---- */

#define LIMIT(to, text, what)                                                                      \
    {                                                                                              \
        .name = text, .arg = "MS", .number = &(to), .min = 1, .max = 10000000,                     \
        .help = "limit of the " what                                                               \
    }
#define WORDS(key, to, of, what)                                                                   \
    {                                                                                              \
        .name = key, .arg = of, .text = &(to), .help = what                                        \
    }
#define NUMBER(key, to, least, most, what)                                                         \
    {                                                                                              \
        .name = key, .arg = "N", .number = &(to), .min = (least), .max = (most), .help = what      \
    }

static enum err parse(struct cmd_plan_options *o, struct cmd_args *args, struct errinfo *e)
{
    const struct conf_opt opts[] = {
        NUMBER("users", o->users, 1, 1000000000, "users that there are"),
        {.name = "workload",
                                                                    .letter = 'w',
                                                                    .arg = "W",
                                                                    .text = &o->workload,
                                                                    .help = "a GGUF file or a config.json: shapes suffice, nothing is computed"},
        LIMIT(o->limit[FLEET_TTFT_P90], "ttft-p90", "time to the first token, of 90 in 100"),
        LIMIT(o->limit[FLEET_TTFT_P99], "ttft-p99", "time to the first token, of 99 in 100"),
        LIMIT(o->limit[FLEET_TPOT_P90], "tpot-p90", "time of each token after it, of 90 in 100"),
        LIMIT(o->limit[FLEET_TPOT_P99], "tpot-p99", "time of each token after it, of 99 in 100"),
        WORDS("requests-a-day", o->day, "X", "requests of a user and day [10]"),
        WORDS("prompt", o->prompt, "N",
              "tokens that a request adds: 512, 128-2048, ~512/0.8 (median, sigma) [~128/0.8]"),
        WORDS("answer", o->answer, "N", "tokens of answers, likewise [~192/0.7]"),
        NUMBER("shared", o->shared, 0, 1 << 20, "tokens that all conversations begin with [0]"),
        WORDS("turns", o->turns, "X", "requests of a conversation, on the mean [2]"),
        WORDS("think", o->think, "S", "seconds between an answer and the next request [60]"),
        WORDS("curve", o->curve, "FILE", "24 lines: requests of the hours from 0 to 23 [BurstGPT]"),
        WORDS("peak-share", o->peak_share, "X", "share of a day that the busiest hour has"),
        NUMBER("spare", o->spare, 0, FLEET_CELL_MAX - 1, "replicas of a cell that may fail [1]"),
        WORDS("availability", o->availability, "X",
              "instead: share of the time that enough are there (0.9999)"),
        WORDS("mtbf", o->mtbf, "H", "hours between failures of a replica [4380]"),
        WORDS("mttr", o->mttr, "H", "hours until it is back [24]"),
        NUMBER("cell", o->cell, 1, FLEET_CELL_MAX, "replicas behind one proxy at most [24]"),
        NUMBER("ring", o->ring, 1, 4096, "places of a replica on the proxy's ring [1600]"),
        WORDS("electricity", o->electricity, "P", "price of a kWh [0.2]"),
        WORDS("years", o->years, "X", "in which what is bought is paid off [4]"),
        WORDS("pue", o->pue, "X", "power of the building over that of the machines [1.3]"),
        NUMBER("requests", o->requests, 100, 1000000,
               "requests that a simulated run counts [1000]"),
        NUMBER("whole", o->whole, 2, FLEET_CELL_MAX,
               "also simulate N replicas with all their requests, to compare"),
        WORDS("html", o->html, "FILE", "write one HTML file as well"),
        {.name = "json", .flag = &o->json, .help = "print one JSON object"},
    };
    return cmd_parse(args, opts, N_ELEMS(opts), 1, -1, e);
}

enum err cmd_plan(struct cmd_args *args, struct errinfo *e)
{
    struct cmd_plan_options o = {.prompt = "~128/0.8",
                                 .answer = "~192/0.7",
                                 .spare = -1,
                                 .cell = 24,
                                 .ring = 1600,
                                 .requests = 1000};
    TRY(parse(&o, args, e));
    if (args->done)
        return ERR_OK;
    struct cmd_plan_ask *a = mem_alloc(sizeof *a);
    enum err r = cmd_plan_read(a, &o, args, e);
    if (r == ERR_OK)
        r = work(a, &o, &args->conf, e);
    mem_free(a);
    return r;
}
