/* SPDX-License-Identifier: MIT
 * chip_compare.c - damso chip list and damso chip compare: chips side by side. */
#include "app/chip.h"

#include "base/num.h"
#include "npu/npu_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMPARED_MAX 100

enum err chip_list(struct cmd_args *a, struct errinfo *e)
{
    TRY(cmd_parse(a, NULL, 0, 0, 0, e));
    if (a->done)
        return ERR_OK;
    printf("%-18s %-38s %6s %9s %9s %9s %7s %9s %6s %s\n", "chip", "", "cores", "int8 TOPS",
           "16b TFLOPS", "GB/s", "GB", "link GB/s", "W", "assumed");
    for (size_t i = 0; chip_name(i); i++) {
        struct npu_chip *c;
        TRY(chip_open(&c, chip_name(i), e));
        char link[16] = "host";
        if (!npu_way_of(c, 2).host)
            snprintf(link, sizeof link, "%.0f", npu_way_of(c, 2).gb_s);
        json_t *assumed = chip_assumed(c, 1);
        printf("%-18s %-38s %6.0f %9.1f %9.1f %9.1f %7.0f %9s %6.0f %zu of %d numbers\n", c->name,
               c->title, c->v[NPU_CORES], 2e-12 * npu_chip_macs(c, NPU_INT8),
               2e-12 * npu_chip_macs(c, NPU_BF16), npu_chip_dram_bytes(c) / 1e9, c->v[NPU_DRAM_GB],
               link, c->v[NPU_TDP], json_array_size(assumed), NPU_N_FIELDS);
        json_decref(assumed);
        npu_chip_free(c);
    }
    return ERR_OK;
}

struct row {
    json_t *answer; /* or NULL: */
    char why[400];
    const char *name;
};

static double rate_of(const struct row *r)
{
    json_t *tokens = json_object_get(r->answer, "tokens_per_s");
    double t = json_number_value(tokens);
    return t > 0 ? t : json_number_value(json_object_get(r->answer, "per_s"));
}

static int fastest_first(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    double p = x->answer ? rate_of(x) : -1, q = y->answer ? rate_of(y) : -1;
    return (p < q) - (p > q);
}

static void add_row(struct row *r, const char *name, const struct chip_ask *ask)
{
    struct npu_chip *c;
    struct chip_answer x;
    struct errinfo e;
    r->name = name;
    if (chip_open(&c, name, &e) != ERR_OK) {
        snprintf(r->why, sizeof r->why, "%.390s", e.text);
        return;
    }
    if (chip_answer(&x, c, ask, &e) == ERR_OK) {
        r->answer = chip_json(c, ask, &x);
        double dollars = c->v[NPU_PRICE] * (double)chip_n(&x);
        if (dollars > 0)
            json_object_set_new(r->answer, "per_s_per_1000_usd",
                                json_real(rate_of(r) / dollars * 1000));
        chip_done(&x);
    } else {
        snprintf(r->why, sizeof r->why, "%.390s", e.text);
    }
    npu_chip_free(c);
}

static void print_rows(const struct row *rows, size_t n, int64_t chips)
{
    if (chips > 1)
        printf("%lld chips of each kind, ", (long long)chips);
    printf("simulated, none of it an MLPerf result\n%-18s %12s %12s %9s %12s %8s\n", "chip",
           "latency ms", "a second", "W", "a joule", "of peak");
    for (size_t i = 0; i < n; i++) {
        const json_t *o = rows[i].answer;
        if (!o) {
            printf("%-18s %s\n", rows[i].name, rows[i].why);
            continue;
        }
        double watts = json_number_value(json_object_get(o, "watts"));
        printf("%-18s %12.3f %12.1f %9.1f %12.3g %6.1f %%\n", rows[i].name,
               json_number_value(json_object_get(o, "latency_ms")), rate_of(&rows[i]), watts,
               rate_of(&rows[i]) / watts,
               100 * json_number_value(json_object_get(o, "utilisation")));
    }
}

enum err chip_compare(struct cmd_args *a, struct errinfo *e)
{
    bool as_json = false;
    const char *html = NULL;
    struct chip_ask ask = CHIP_ASK_DEFAULT;
    const struct conf_opt opts[] = {
        CHIP_ASK_OPTIONS(ask),
        {.name = "html", .arg = "FILE", .text = &html,    .help = "write one HTML file as well"},
        {.name = "json",              .flag = &as_json,              .help = "print a JSON array"},
    };
    static struct row rows[COMPARED_MAX];
    size_t n = 0;
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, COMPARED_MAX, e));
    if (a->done)
        return ERR_OK;
    if (!ask.workload)
        return err_set(e, ERR_USAGE, "--workload says what the chips are to do");
    chip_ask_settings(&ask, &a->conf);
    for (int i = 0; i < a->n_left; i++)
        add_row(&rows[n++], a->left[i], &ask);
    for (size_t i = 0; a->n_left == 0 && chip_name(i); i++)
        add_row(&rows[n++], chip_name(i), &ask);
    qsort(rows, n, sizeof *rows, fastest_first);
    if (!as_json)
        print_rows(rows, n, ask.chips);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, rows[i].answer ? rows[i].answer
                                                   : json_pack("{s:s, s:s}", "chip", rows[i].name,
                                                               "error", rows[i].why));
    enum err code = ERR_OK;
    FILE *f;
    if (html) {
        code = chip_html_open(&f, html, e);
        if (code == ERR_OK) {
            chip_html_compare(f, list, ask.workload);
            code = chip_html_close(f, html, e);
        }
    }
    if (as_json)
        chip_print_json(list);
    else
        json_decref(list);
    return code;
}
