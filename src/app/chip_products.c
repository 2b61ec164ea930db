/* SPDX-License-Identifier: MIT
 * chip_products.c - damso chip products: times of single matrix products, beside measured ones
 * where they are given. */
#include "app/chip.h"

#include "base/num.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define DIM_MAX ((uint64_t)1 << 24)

struct product {
    uint64_t m, k, n;
    double measured_us; /* 0: not given */
};

/* "m k n" or "m k n microseconds". */
static enum err read_line(const char *line, size_t at, struct product *p, struct errinfo *e)
{
    int end = 0;
    *p = (struct product){0};
    int n = sscanf(line, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %n%lf %n", &p->m, &p->k, &p->n, &end,
                   &p->measured_us, &end);
    if (n < 3 || line[end] || !p->m || !p->k || !p->n || p->m > DIM_MAX || p->k > DIM_MAX ||
        p->n > DIM_MAX || !(p->measured_us >= 0))
        return err_set(e, ERR_USAGE,
                       "line %zu of the input: m k n, each 1 to %" PRIu64
                       ", and microseconds where they were measured",
                       at, DIM_MAX);
    return ERR_OK;
}

static enum err time_one(const struct npu_chip *c, const struct product *p, enum npu_type type,
                         double *us, struct errinfo *e)
{
    struct npu_answer a;
    struct npu_ask ask = {
        .scenario = NPU_OFFLINE, .instances = 1, .cores = (unsigned)c->v[NPU_CORES], .rounds = 1};
    struct npu_work *w = npu_work_product(type, p->m, p->k, p->n);
    w->streamed = true; /* what is measured again and again is larger than the chip's memories */
    enum err code = npu_run(&a, w, c, &ask, e);
    if (code == ERR_OK) {
        *us = npu_answer_rested_s(&a, (double)a.timing.ps) * 1e6 + c->v[NPU_OP_US];
        npu_answer_done(&a);
    }
    npu_work_free(w);
    return code;
}

static enum err time_all(const struct npu_chip *c, enum npu_type type, struct errinfo *e)
{
    char line[200];
    double error = 0, bias = 0;
    size_t n = 0;
    for (size_t at = 1; fgets(line, sizeof line, stdin); at++) {
        struct product p;
        double us;
        TRY(read_line(line, at, &p, e));
        TRY(time_one(c, &p, type, &us, e));
        printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %.3f", p.m, p.k, p.n, us);
        if (p.measured_us > 0) {
            printf(" %.3f %+.4f", p.measured_us, us / p.measured_us - 1);
            error += fabs(us / p.measured_us - 1);
            bias += us / p.measured_us - 1;
            n++;
        }
        putchar('\n');
    }
    if (n)
        fprintf(stderr, "%zu products: mean absolute error %.2f %%, mean %+.2f %%\n", n,
                100 * error / (double)n, 100 * bias / (double)n);
    return ERR_OK;
}

enum err chip_products(struct cmd_args *a, struct errinfo *e)
{
    const char *name = NULL, *format = "bf16";
    const struct conf_opt opts[] = {
        CHIP_NAME_OPTION(name),
        {.name = "format", .arg = "F", .text = &format, .help = "bf16, fp8 or int8"},
    };
    struct npu_chip *c;
    enum npu_type type;
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 0, e));
    if (a->done)
        return ERR_OK;
    if (!name || npu_type_find(format) >= NPU_INT4)
        return err_set(e, ERR_USAGE, "--chip CHIP, and --format bf16, fp8 or int8");
    TRY(chip_open(&c, name, e));
    enum err code = npu_work_type(c, npu_type_find(format), &type, e);
    if (code == ERR_OK)
        code = time_all(c, type, e);
    npu_chip_free(c);
    return code;
}
