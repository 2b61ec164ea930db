/* SPDX-License-Identifier: MIT
 * cmd_eval.c - damso eval: perplexity of a text, divergence from another file, choices. */
#include "app/cmd.h"
#include "app/eval.h"

#include "base/num.h"
#include "os/os_map.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct asked {
    const char *text, *kl, *choices;
    int64_t window, stride, limit;
    bool json;
};

static double mean_kl(const struct eval_text *t)
{
    double sum = 0;
    for (size_t i = 0; i < t->n_scored; i++)
        sum += t->kl[i];
    return sum / (double)t->n_scored;
}

/* e to the mean, and its standard error by that of the mean. */
static double perplexity(double nll, size_t n)
{
    return exp(nll / (double)n);
}

static double perplexity_error(const struct eval_text *t)
{
    double n = (double)t->n_scored, mean = t->nll / n;
    double var = MAX(t->nll_square / n - mean * mean, 0) / MAX(n - 1, 1);
    return perplexity(t->nll, t->n_scored) * sqrt(var);
}

static double bits_a_byte(const struct eval_text *t)
{
    return t->nll / log(2) / (double)MAX(t->n_bytes, (size_t)1);
}

static void print_text(const struct eval_text *t)
{
    printf("text        %zu tokens, %zu scored in %zu windows of %lld, stride %lld\n", t->n_tokens,
           t->n_scored, t->n_windows, (long long)t->window, (long long)t->stride);
    printf("perplexity  %.4f +- %.4f (%.4f bits a byte)\n", perplexity(t->nll, t->n_scored),
           perplexity_error(t), bits_a_byte(t));
    if (!t->kl)
        return;
    printf("reference   perplexity %.4f, ratio %.4f\n", perplexity(t->ref_nll, t->n_scored),
           exp((t->nll - t->ref_nll) / (double)t->n_scored));
    printf("divergence  mean %.6f nats; median %.6f, 90 %% %.6f, 99 %% %.6f, most %.6f\n",
           mean_kl(t), eval_percentile(t, 0.5), eval_percentile(t, 0.9), eval_percentile(t, 0.99),
           t->kl[t->n_scored - 1]);
    printf("same token  %.2f %% of the likeliest\n",
           100 * (double)t->n_same_top / (double)t->n_scored);
}

/* JSON has no word for what is not finite. */
static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *json_of_text(const struct eval_text *t)
{
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "tokens",
                          (json_int_t)t->n_tokens, "scored", (json_int_t)t->n_scored, "windows",
                          (json_int_t)t->n_windows, "window", (json_int_t)t->window, "stride",
                          (json_int_t)t->stride, "perplexity",
                          number(perplexity(t->nll, t->n_scored)), "perplexity_error",
                          number(perplexity_error(t)), "bits_per_byte", number(bits_a_byte(t)));
    if (t->kl)
        json_object_set_new(
            o, "reference",
            json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:f}", "perplexity",
                      number(perplexity(t->ref_nll, t->n_scored)), "kl_mean", number(mean_kl(t)),
                      "kl_median", number(eval_percentile(t, 0.5)), "kl_p90",
                      number(eval_percentile(t, 0.9)), "kl_p99", number(eval_percentile(t, 0.99)),
                      "kl_max", number(t->kl[t->n_scored - 1]), "same_top",
                      (double)t->n_same_top / (double)t->n_scored));
    return o;
}

static void print_choices(const struct eval_choices *c)
{
    double n = (double)c->n;
    printf("choices     %zu questions: %.2f %% right, %.2f %% by log p a byte\n", c->n,
           100 * (double)c->n_right / n, 100 * (double)c->n_right_len / n);
}

static json_t *json_of_choices(const struct eval_choices *c)
{
    return json_pack("{s:I, s:f, s:f}", "questions", (json_int_t)c->n, "accuracy",
                     (double)c->n_right / (double)c->n, "accuracy_by_length",
                     (double)c->n_right_len / (double)c->n);
}

static enum err run_text(struct eval_model *const *models, size_t n_models,
                         const struct asked *asked, json_t *out, struct errinfo *e)
{
    struct os_map map;
    struct eval_text t = {.window = asked->window, .stride = asked->stride, .limit = asked->limit};
    TRY(os_map_open(&map, asked->text, e));
    enum err r = eval_text(models, n_models, (struct span){(const char *)map.data, map.bytes}, &t,
                           e);
    os_map_close(&map);
    if (r == ERR_OK && out)
        json_object_set_new(out, "text", json_of_text(&t));
    else if (r == ERR_OK)
        print_text(&t);
    mem_free(t.kl);
    return r;
}

static enum err run_choices(struct eval_model *m, const struct asked *asked, json_t *out,
                            struct errinfo *e)
{
    struct eval_choices c;
    TRY(eval_choices(m, asked->choices, (size_t)asked->limit, &c, e));
    if (out)
        json_object_set_new(out, "choices", json_of_choices(&c));
    else
        print_choices(&c);
    return ERR_OK;
}

/* With the model open, and the reference where one is asked for. */
static enum err run_open(struct eval_model *const *models, size_t n_models,
                         const struct asked *asked, struct errinfo *e)
{
    json_t *out = asked->json ? json_object() : NULL;
    enum err r = ERR_OK;
    if (asked->text)
        r = run_text(models, n_models, asked, out, e);
    if (r == ERR_OK && asked->choices)
        r = run_choices(models[0], asked, out, e);
    if (r == ERR_OK && out) {
        json_dumpf(out, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
    }
    json_decref(out);
    return r;
}

static enum err eval(struct cmd_args *a, const struct asked *asked, struct errinfo *e)
{
    struct eval_model model = {0}, ref = {0};
    struct eval_model *const models[2] = {&model, &ref};
    struct conf ref_conf = a->conf;
    size_t ctx = (size_t)asked->window;
    cmd_catch_stop();
    enum err r = eval_open(&model, &a->conf, ctx, NULL, e);
    if (r == ERR_OK && asked->kl) {
        ref_conf.model = asked->kl;
        r = eval_open(&ref, &ref_conf, ctx, NULL, e);
    }
    if (r == ERR_OK)
        r = run_open(models, asked->kl ? 2 : 1, asked, e);
    eval_close(&ref);
    eval_close(&model);
    return r;
}

static enum err check(const struct asked *a, struct errinfo *e)
{
    if (!a->text && !a->choices)
        return err_set(e, ERR_USAGE, "eval: say -f TEXT, --choices FILE.jsonl, or both");
    if (a->kl && !a->text)
        return err_set(e, ERR_USAGE, "--kl: needs a text, -f TEXT");
    if (a->stride >= a->window)
        return err_set(e, ERR_USAGE, "--stride: %lld is not less than the window, %lld",
                       (long long)a->stride, (long long)a->window);
    return ERR_OK;
}

enum err cmd_eval(struct cmd_args *a, struct errinfo *e)
{
    struct asked asked = {.window = 512};
    const struct conf_opt opts[] = {
        {.name = "file",
         .letter = 'f',
         .arg = "TEXT",
         .help = "a text whose tokens are to be predicted",
         .text = &asked.text},
        {.name = "kl",
         .arg = "REF.gguf",
         .help = "also how far the model is from this one",
         .text = &asked.kl},
        {.name = "choices",
         .arg = "FILE.jsonl",
         .help = "lines of {\"question\", \"choices\": [...], \"answer\": 0}",
         .text = &asked.choices},
        {.name = "window",
         .arg = "N",
         .help = "tokens of a window [512]",
         .number = &asked.window,
         .min = 2,
         .max = 1 << 20},
        {.name = "stride",
         .arg = "N",
         .help = "tokens from a window to the next [half the window]",
         .number = &asked.stride,
         .min = 1,
         .max = 1 << 20},
        {.name = "limit",
         .arg = "N",
         .help = "windows, or questions, at most; 0: all [0]",
         .number = &asked.limit,
         .max = 1 << 30},
        {.name = "json",                                        .help = "print one JSON object",         .flag = &asked.json           },
    };
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 0, e));
    if (a->done)
        return ERR_OK;
    if (!asked.stride)
        asked.stride = asked.window / 2;
    TRY(check(&asked, e));
    return eval(a, &asked, e);
}
