/* SPDX-License-Identifier: MIT
 * chip_load.c - damso chip load: the server's own scheduler under a load, in the chip's time. */
#include "app/chip.h"
#include "app/dry.h"
#include "os/os_sys.h"

#include "base/num.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct ask {
    const char *workload, *rate_text, *prompt_text, *answer_text, *html;
    int64_t requests, concurrency, shared, limit_ttft, limit_tpot;
    bool json;
    struct load_opts load;
};

/* ---- what is asked ---- */

static enum err read_rate(struct ask *a, struct errinfo *e)
{
    char *end;
    if (!a->rate_text && !a->concurrency)
        return err_set(e, ERR_USAGE,
                       "--rate says how many requests come a second, --concurrency "
                       "how many are under way at a time: one of both");
    if (a->rate_text && a->concurrency)
        return err_set(e, ERR_USAGE, "--rate or --concurrency, not both");
    if (!a->rate_text)
        return ERR_OK;
    errno = 0;
    a->load.rate = strtod(a->rate_text, &end);
    if (errno || *end || !(a->load.rate >= 1e-3 && a->load.rate <= 1e6))
        return err_set(e, ERR_USAGE, "--rate is from 0.001 to 1000000 requests a second, not %.40s",
                       a->rate_text);
    return ERR_OK;
}

static enum err read_ask(struct ask *a, const struct conf *c, struct errinfo *e)
{
    struct load_opts *o = &a->load;
    if (!a->workload)
        return err_set(e, ERR_USAGE, "--workload is a GGUF file or a config.json: shapes suffice");
    TRY(read_rate(a, e));
    TRY(load_length_read(&o->prompt, "--prompt", a->prompt_text, e));
    TRY(load_length_read(&o->answer, "--answer", a->answer_text, e));
    o->prompt.max = dry_longest(&o->prompt);
    o->answer.max = dry_longest(&o->answer);
    o->n_requests = (size_t)a->requests;
    o->concurrency = (size_t)a->concurrency;
    o->shared = (size_t)a->shared;
    o->seed = c->seed >= 0 ? (uint64_t)c->seed : 1;
    o->running_max = (size_t)c->parallel;
    o->queue_max = a->concurrency ? (size_t)a->concurrency : (size_t)c->queue;
    o->limit_ttft_ms = (double)a->limit_ttft;
    o->limit_tpot_ms = (double)a->limit_tpot;
    return ERR_OK;
}

/* ---- what comes out ---- */

static json_t *times(const struct load_times *t)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "mean", t->mean, "p50", t->p50, "p90",
                     t->p90, "p95", t->p95, "p99", t->p99, "max", t->max);
}

static void put(json_t *o, const char *key, double v)
{
    json_object_set_new(o, key, json_real(v));
}

static void put_n(json_t *o, const char *key, uint64_t n)
{
    json_object_set_new(o, key, json_integer((json_int_t)n));
}

static void put_energy(json_t *o, const struct load_result *r)
{
    double joules = r->joules + r->idle_joules, answer = (double)r->n_answer;
    put(o, "watts", r->seconds > 0 ? joules / r->seconds : 0);
    put(o, "joules", joules);
    put(o, "joules_per_token", answer > 0 ? joules / answer : 0);
    put(o, "tokens_per_joule", joules > 0 ? answer / joules : 0);
}

static void put_counts(json_t *o, const struct load_result *r)
{
    put_n(o, "answered", r->n_done);
    put_n(o, "refused", r->n_refused);
    put(o, "within_limits", r->n_done ? (double)r->n_within / (double)r->n_done : 0);
    put_n(o, "prompt_tokens", r->n_prompt);
    put_n(o, "cached_tokens", r->n_cached);
    put_n(o, "answer_tokens", r->n_answer);
    put(o, "seconds", r->seconds);
    put(o, "busy", r->seconds > 0 ? r->busy_s / r->seconds : 0);
    put(o, "requests_per_s", r->seconds > 0 ? (double)r->n_done / r->seconds : 0);
    put(o, "tokens_per_s", r->seconds > 0 ? (double)r->n_answer / r->seconds : 0);
    put(o, "running_mean", r->running_mean);
    put_n(o, "running_most", r->running_most);
    put(o, "queue_mean", r->queue_mean);
    put_n(o, "queue_most", r->queue_most);
    put_n(o, "pages", r->pages);
    put(o, "pages_used", r->pages_mean);
    put_n(o, "steps", r->n_steps);
    put(o, "rows_mean", r->rows_mean);
    put_n(o, "preempted", r->n_preempted);
    put_n(o, "graphs", r->n_prices);
}

static json_t *result(const struct dry *x, const struct ask *a, const struct load_result *r,
                      double host_s)
{
    const struct load_opts *l = &a->load;
    json_t *bars = json_array();
    json_t *o = json_pack("{s:s, s:s, s:s, s:b, s:s, s:I, s:I, s:f, s:I, s:s, s:s, s:I, s:I}",
                          "chip", x->chip->name, "title", x->chip->title, "workload", a->workload,
                          "simulated", 1, "computes_in", engine_sim(x->en)->computes, "requests",
                          (json_int_t)l->n_requests, "seed", (json_int_t)l->seed, "rate", l->rate,
                          "concurrency", (json_int_t)l->concurrency, "prompt", a->prompt_text,
                          "answer", a->answer_text, "parallel", (json_int_t)l->running_max,
                          "context", (json_int_t)engine_ctx(x->en));
    put_n(o, "chips", engine_sim(x->en)->n_chips);
    put_counts(o, r);
    put_energy(o, r);
    json_object_set_new(o, "ttft_ms", times(&r->ttft));
    json_object_set_new(o, "tpot_ms", times(&r->tpot));
    json_object_set_new(o, "latency_ms", times(&r->whole));
    put(o, "limit_ttft_ms", l->limit_ttft_ms);
    put(o, "limit_tpot_ms", l->limit_tpot_ms);
    for (size_t i = 0; i < LOAD_BARS; i++)
        json_array_append_new(bars, json_integer(r->bars.n[i]));
    json_object_set_new(o, "ttft_bars", bars);
    put(o, "ttft_bar_ms", r->bars.width);
    json_object_set_new(o, "assumed", chip_assumed(x->chip, engine_sim(x->en)->n_chips));
    put(o, "host_s", host_s);
    return o;
}

static void print_times(const char *name, const struct load_times *t)
{
    printf("%-13s %10.3f  p50 %.3f  p90 %.3f  p95 %.3f  p99 %.3f  max %.3f ms\n", name, t->mean,
           t->p50, t->p90, t->p95, t->p99, t->max);
}

static void print_text(const struct dry *x, const struct ask *a, const struct load_result *r,
                       const json_t *o)
{
    const struct load_opts *l = &a->load;
    if (engine_sim(x->en)->n_chips > 1)
        printf("%zu x ", engine_sim(x->en)->n_chips);
    printf("%s: %s in %s under load, simulated (not an MLPerf result)\n", x->chip->title,
           a->workload, engine_sim(x->en)->computes);
    if (l->rate > 0)
        printf("asked         %10zu requests, %g a second, prompts %s, answers %s, seed %llu\n",
               l->n_requests, l->rate, a->prompt_text, a->answer_text, (unsigned long long)l->seed);
    else
        printf("asked         %10zu requests, %zu at a time, prompts %s, answers %s, seed %llu\n",
               l->n_requests, l->concurrency, a->prompt_text, a->answer_text,
               (unsigned long long)l->seed);
    printf("answered      %10zu in %.1f s of the chip, %zu refused by a full queue\n", r->n_done,
           r->seconds, r->n_refused);
    printf("throughput    %10.1f tokens/s written, %.1f read, %.2f requests/s\n",
           (double)r->n_answer / r->seconds, (double)(r->n_prompt - r->n_cached) / r->seconds,
           (double)r->n_done / r->seconds);
    print_times("first token", &r->ttft);
    print_times("each token", &r->tpot);
    print_times("whole answer", &r->whole);
    if (l->limit_ttft_ms > 0 || l->limit_tpot_ms > 0)
        printf("within limits %10.1f %%\n",
               r->n_done ? 100 * (double)r->n_within / (double)r->n_done : 0);
    printf("power         %10.1f W, %.4g J a token, %.3g tokens/J; busy %.1f %% of the time\n",
           json_number_value(json_object_get(o, "watts")),
           json_number_value(json_object_get(o, "joules_per_token")),
           json_number_value(json_object_get(o, "tokens_per_joule")), 100 * r->busy_s / r->seconds);
    printf("at once       %10.1f answers (most %zu), %.1f wait (most %zu), %.1f %% of %zu pages of "
           "context\n",
           r->running_mean, r->running_most, r->queue_mean, r->queue_most, 100 * r->pages_mean,
           r->pages);
    printf(
        "steps         %10llu of %.1f rows, by %llu graphs; %llu answers put back; %.1f s here\n",
        (unsigned long long)r->n_steps, r->rows_mean, (unsigned long long)r->n_prices,
        (unsigned long long)r->n_preempted, json_number_value(json_object_get(o, "host_s")));
    printf("assumed, not published: %zu numbers of the chip (damso chip run lists them)\n",
           json_array_size(json_object_get(o, "assumed")));
}

static enum err tell(const struct dry *x, const struct ask *a, const struct load_result *r,
                     double host_s, struct errinfo *e)
{
    FILE *f;
    enum err code = ERR_OK;
    json_t *o = result(x, a, r, host_s);
    if (a->html) {
        code = chip_html_open(&f, a->html, e);
        if (code == ERR_OK) {
            chip_html_load(f, o);
            code = chip_html_close(f, a->html, e);
        }
    }
    if (a->json) {
        chip_print_json(o);
        return code;
    }
    print_text(x, a, r, o);
    json_decref(o);
    return code;
}

static bool stops(void *arg)
{
    (void)arg;
    return cmd_stopped();
}

static enum err work(struct ask *a, struct conf *c, const char *chip, struct errinfo *e)
{
    struct dry x;
    struct load_result r;
    uint64_t began = os_now_ns();
    size_t ctx = a->load.prompt.max + a->load.answer.max;
    enum err code = dry_open(&x, c, chip, a->workload, ctx, e);
    cmd_catch_stop();
    a->load.stop = stops;
    if (code == ERR_OK)
        code = load_run(x.en, &a->load, &r, e);
    if (code == ERR_OK)
        code = tell(&x, a, &r, (double)(os_now_ns() - began) * 1e-9, e);
    dry_close(&x);
    return code;
}

enum err chip_load(struct cmd_args *args, struct errinfo *e)
{
    const char *chip = NULL;
    struct ask a = {.requests = 10000, .prompt_text = "~512/0.8", .answer_text = "~192/0.7"};
    const struct conf_opt opts[] = {
        CHIP_NAME_OPTION(chip),
        {.name = "workload",
                .letter = 'w',
                .arg = "W",
                .text = &a.workload,
                .help = "a GGUF file or a config.json: shapes suffice, nothing is computed"},
        {.name = "requests",
                .arg = "N",
                .number = &a.requests,
                .min = 1,
                .max = 10000000,
                .help = "requests in all [10000]"},
        {.name = "rate",
                .arg = "R",
                .text = &a.rate_text,
                .help = "requests a second, which come by a Poisson process"},
        {.name = "concurrency",
                .arg = "N",
                .number = &a.concurrency,
                .min = 1,
                .max = 100000,
                .help = "instead: so many at a time, the next one when one ends"},
        {.name = "prompt",
                .arg = "N",
                .text = &a.prompt_text,
                .help = "tokens of prompts: 512, 128-2048, ~512/0.8 (median, sigma) [~512/0.8]"},
        {.name = "answer",
                .arg = "N",
                .text = &a.answer_text,
                .help = "tokens of answers, likewise [~192/0.7]"},
        {.name = "shared",
                .arg = "N",
                .number = &a.shared,
                .min = 0,
                .max = 1 << 20,
                .help = "tokens that all prompts begin with [0]"},
        {.name = "limit-ttft-ms",
                .arg = "N",
                .number = &a.limit_ttft,
                .min = 1,
                .max = 10000000,
                .help = "count the answers whose first token came within N ms"},
        {.name = "limit-tpot-ms",
                .arg = "N",
                .number = &a.limit_tpot,
                .min = 1,
                .max = 10000000,
                .help = "and whose other tokens came within N ms each"},
        {.name = "html",                                                                      .arg = "FILE",                                                               .text = &a.html,                                                                                           .help = "write one HTML file as well"},
        {.name = "json",                                .flag = &a.json,                                .help = "print one JSON object"                        },
    };
    TRY(cmd_parse(args, opts, N_ELEMS(opts), 0, 0, e));
    if (args->done)
        return ERR_OK;
    if (!chip)
        return err_set(e, ERR_USAGE, "--chip says which chip; damso chip list has them");
    TRY(read_ask(&a, &args->conf, e));
    return work(&a, &args->conf, chip, e);
}
