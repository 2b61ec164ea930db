/* SPDX-License-Identifier: MIT
 * chip_run.c - damso chip run: one workload on one chip, and why it is not faster. */
#include "app/chip.h"
#include "app/member.h"

#include "base/num.h"
#include "npu/npu_link.h"

#include <stdio.h>

#define BATCH_MAX 4096

/* Numbers that an architect may change, and what 10 % more of each brings. */
static const enum npu_field levers[] = {NPU_CLOCK,     NPU_CORES,   NPU_MX_COLS, NPU_SRAM,
                                        NPU_VEC_LANES, NPU_LINK,    NPU_NOC,     NPU_SHARED_KIB,
                                        NPU_DRAM_RATE, NPU_HOST_US, NPU_OP_US,   NPU_TDP,
                                        NPU_PEER_GBS,  NPU_PEER_US, NPU_HOST_GBS};

/* Links are of several chips alone, the host's only where they have no other. */
static bool matters(enum npu_field f, const struct npu_team *t, const struct npu_chip *c)
{
    bool host = t && npu_way_of(c, t->n_chips).host;
    if (f == NPU_HOST_GBS || f == NPU_PEER_GBS)
        return t && host == (f == NPU_HOST_GBS);
    return t || !npu_field_of_links(f);
}

/* Per cent that a tenth more of each resource (less of each delay) brings; whole numbers grow by
 * one where a tenth is less, and the gain is scaled to a tenth. */
static json_t *sensitivities(struct npu_chip *c, const struct chip_ask *ask,
                             const struct chip_answer *now)
{
    json_t *o = json_object();
    for (size_t i = 0; i < N_ELEMS(levers); i++) {
        enum npu_field f = levers[i];
        double before = c->v[f], more = before * 1.1;
        bool whole = f == NPU_CORES || f == NPU_MX_COLS,
             delay = f == NPU_HOST_US || f == NPU_OP_US || f == NPU_PEER_US;
        struct chip_answer a;
        struct errinfo e;
        if (before == 0 || !matters(f, now->team, c))
            continue;
        if (whole)
            more = before + MAX((double)(int)(before / 10), 1);
        if (delay)
            more = before * 0.9;
        if (npu_chip_set(c, f, more, &e) == ERR_OK && chip_answer(&a, c, ask, &e) == ERR_OK) {
            double gain = (a.answer.per_s / now->answer.per_s - 1) * 0.1 /
                          (delay ? 0.1 : more / before - 1);
            json_object_set_new(o, npu_field_key(f), json_real(gain));
            chip_done(&a);
        }
        c->v[f] = before;
    }
    return o;
}

static enum err ask_again(struct chip_answer *out, const struct npu_chip *c, void *arg,
                          struct errinfo *e)
{
    return chip_answer(out, c, arg, e);
}

/* Whether so many sequences together stay within the limit; *tokens: a second. */
static bool within(const struct npu_chip *c, const struct chip_ask *ask, int64_t batch,
                   double limit_ms, double *tokens)
{
    struct chip_ask more = *ask;
    struct chip_answer a;
    struct errinfo e;
    more.batch = batch;
    if (chip_answer(&a, c, &more, &e) != ERR_OK) /* they do not fit into its memory */
        return false;
    bool ok = a.answer.latency_s * 1e3 <= limit_ms;
    if (ok)
        *tokens = a.answer.per_s * (double)(a.prefill ? ask->context : 1);
    chip_done(&a);
    return ok;
}

/* The most users at once whose tokens come within the limit, or whose prompts are read within it;
 * of groups in flight, which are of one size, a multiple. */
static json_t *users(const struct npu_chip *c, const struct chip_ask *ask, double limit_ms)
{
    int64_t groups = MAX(ask->in_flight, 1), most = BATCH_MAX / groups, good = 0, bad = 1;
    double tokens = 0;
    while (bad <= most && within(c, ask, bad * groups, limit_ms, &tokens)) {
        good = bad;
        bad *= 2;
    }
    while (bad - good > 1) {
        int64_t middle = good + (bad - good) / 2;
        if (middle <= most && within(c, ask, middle * groups, limit_ms, &tokens))
            good = middle;
        else
            bad = middle;
    }
    return json_pack("{s:f, s:I, s:f}", "limit_ms", limit_ms, "users", (json_int_t)(good * groups),
                     "tokens_per_s", tokens);
}

static void print_shares(const json_t *o, const char *title)
{
    const char *key;
    json_t *v;
    printf("%s\n", title);
    json_object_foreach((json_t *)o, key, v) if (json_real_value(v) >= 0.0005)
        printf("  %-12s %5.1f %%\n", key, 100 * json_real_value(v));
}

static void print_ops(const json_t *list)
{
    size_t i;
    json_t *op;
    printf("costliest operations\n");
    json_array_foreach((json_t *)list, i, op)
        printf("  %-12s %4lld x  %8.1f us  %4.1f %%  (%lld x %lld x %lld)\n",
               json_string_value(json_object_get(op, "name")),
               (long long)member_number(op, "times"), member_number(op, "us"),
               100 * member_number(op, "share"), (long long)member_number(op, "m"),
               (long long)member_number(op, "k"), (long long)member_number(op, "n"));
}

static void print_assumed(const json_t *list)
{
    size_t i;
    json_t *v;
    printf("assumed, not published:");
    json_array_foreach((json_t *)list, i, v) printf("%s %s", i ? "," : "", json_string_value(v));
    printf("%s\n", json_array_size(list) ? "" : " nothing");
}

static double end_of(const json_t *range, const char *key, size_t end)
{
    return json_number_value(json_array_get(json_object_get(range, key), end));
}

static void print_range(const json_t *range)
{
    if (!range)
        return;
    printf("by what is assumed, within its tolerances: %.3f to %.3f ms, %.1f to %.1f /s, "
           "%.3g to %.3g J\n",
           end_of(range, "latency_ms", 0), end_of(range, "latency_ms", 1),
           end_of(range, "per_s", 0), end_of(range, "per_s", 1), end_of(range, "joules", 0),
           end_of(range, "joules", 1));
}

static void print_text(const json_t *o, const struct chip_answer *a)
{
    double joules = 0;
    json_t *energy = json_object();
    const char *key;
    json_t *v;
    printf("%s: %s, simulated (not an MLPerf result)\n",
           json_string_value(json_object_get(o, "title")),
           json_string_value(json_object_get(o, "workload")));
    if (a->team)
        chip_print_team(o);
    printf("latency      %10.3f ms\n", member_number(o, "latency_ms"));
    if (a->language)
        printf("tokens       %10.1f /s, %.2f tokens/J\n", member_number(o, "tokens_per_s"),
               member_number(o, "tokens_per_joule"));
    else
        printf("inputs       %10.1f /s, batch %lld\n", member_number(o, "per_s"),
               (long long)member_number(o, "batch"));
    printf("power        %10.1f W, %.4g J each (%.3g to %.3g)", member_number(o, "watts"),
           member_number(o, "joules"), member_number(o, "joules_low"),
           member_number(o, "joules_high"));
    if (member_number(o, "clock_share") < 1)
        printf(", the clock held at %.0f %% by it", 100 * member_number(o, "clock_share"));
    printf("\nutilisation  %10.1f %% of the matrix units' peak in %s\n",
           100 * member_number(o, "utilisation"),
           json_string_value(json_object_get(o, "computes_in")));
    printf("memory       %10.1f MB; of %.1f MB of weights %.1f stay on the chip\n",
           member_number(o, "memory_mb"), member_number(o, "weight_mb"),
           member_number(o, "on_chip_weight_mb"));
    print_shares(json_object_get(o, "where_time_goes"), "where the matrix units' time goes");
    json_object_foreach(json_object_get(o, "where_joules_go"), key, v) joules += json_real_value(v);
    json_object_foreach(json_object_get(o, "where_joules_go"), key, v)
        json_object_set_new(energy, key, json_real(json_real_value(v) / joules));
    print_shares(energy, "where the joules go");
    json_decref(energy);
    const json_t *limit = json_object_get(o, "within_limit");
    if (limit)
        printf("within %g ms %7.0f users at once, %.1f tokens/s in all\n",
               member_number(limit, "limit_ms"), member_number(limit, "users"),
               member_number(limit, "tokens_per_s"));
    print_ops(json_object_get(o, "costliest"));
    printf("a tenth more of each brings\n");
    json_object_foreach(json_object_get(o, "sensitivity"), key, v)
        printf("  %-18s %+5.1f %%\n", key, 100 * json_real_value(v));
    print_assumed(json_object_get(o, "assumed"));
    print_range(json_object_get(o, "range"));
}

static enum err write_html(const json_t *o, const struct npu_chip *c, const struct chip_answer *x,
                           const char *path, struct errinfo *e)
{
    FILE *f;
    TRY(chip_html_open(&f, path, e));
    chip_html_answer(f, o, c, x);
    return chip_html_close(f, path, e);
}

enum err chip_run(struct cmd_args *a, struct errinfo *e)
{
    const char *name = NULL, *html = NULL;
    bool as_json = false, quick = false;
    int64_t limit = 0;
    struct chip_ask ask = CHIP_ASK_DEFAULT;
    const struct conf_opt opts[] = {
        CHIP_NAME_OPTION(name),
        CHIP_ASK_OPTIONS(ask),
        {.name = "limit-ms",
               .arg = "N",
               .number = &limit,
               .min = 1,
               .max = 1000000,
               .help = "of a language model: how many users at once have their tokens within N ms"},
        {.name = "html",     .arg = "FILE", .text = &html, .help = "write one HTML file as well"},
        {.name = "quick",
               .flag = &quick,
               .help = "leave out what a tenth more of each would bring, and the range"             },
        {.name = "json",    .flag = &as_json,                                                                      .help = "print one JSON object"             },
    };
    struct npu_chip *c;
    struct chip_answer x;
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 0, e));
    if (a->done)
        return ERR_OK;
    chip_ask_settings(&ask, &a->conf);
    TRY(chip_begin(&c, &x, name, &ask, e));
    json_t *o = chip_json(c, &ask, &x);
    ask.quiet = true; /* what is asked again says nothing of errors */
    json_object_set_new(o, "sensitivity", quick ? json_object() : sensitivities(c, &ask, &x));
    if (!quick)
        json_object_set_new(o, "range", chip_range(c, chip_n(&x), &x.answer, ask_again, &ask));
    if (limit && x.language)
        json_object_set_new(o, "within_limit", users(c, &ask, (double)limit));
    enum err code = html ? write_html(o, c, &x, html, e) : ERR_OK;
    if (as_json) {
        chip_print_json(o);
    } else {
        print_text(o, &x);
        json_decref(o);
    }
    chip_end(c, &x);
    return code;
}
