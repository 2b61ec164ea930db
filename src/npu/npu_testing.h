/* SPDX-License-Identifier: MIT
 * npu_testing.h - what the tests of this folder share: chips that come along, programs, and a watch
 * that counts commands. */
#ifndef NPU_NPU_TESTING_H
#define NPU_NPU_TESTING_H

#include "base/test.h"

#include "npu/npu_chip.h"
#include "npu/npu_time.h"

static inline struct npu_chip *open_chip(const char *name)
{
    char path[200];
    struct errinfo e = {0};
    struct npu_chip *c;
    snprintf(path, sizeof path, "chips/%s.yaml", name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *p = malloc(1 << 20);
    size_t n = fread(p, 1, 1 << 20, f);
    fclose(f);
    if (npu_chip_parse(&c, p, n, path, &e) != ERR_OK)
        fail_msg("%s", e.text);
    free(p);
    return c;
}

static inline struct npu_prog *program(const struct npu_chip *c, const struct npu_work *w,
                                       unsigned cores, unsigned instances)
{
    struct npu_prog *p;
    struct errinfo e;
    if (npu_compile(&p, w, c, cores, instances, &e) != ERR_OK)
        fail_msg("%s, %s: %s", c->name, w->name, e.text);
    return p;
}

/* One that is proved to be right. */
static inline struct npu_prog *right_program(const struct npu_chip *c, const struct npu_work *w,
                                             unsigned cores)
{
    struct npu_prog *p = program(c, w, cores, 1);
    struct errinfo e;
    if (npu_check(p, &e) != ERR_OK)
        fail_msg("%s, %s: %s", c->name, w->name, e.text);
    return p;
}

static inline void count(void *arg, unsigned core, enum npu_queue queue, const struct npu_cmd *c,
                         uint32_t op, uint64_t from, uint64_t to)
{
    (void)core, (void)queue, (void)c, (void)op;
    assert_true(to >= from);
    ++*(uint64_t *)arg;
}

#endif
