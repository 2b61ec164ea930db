/* SPDX-License-Identifier: MIT
 * Cards that launch kernels one by one: what their cache keeps of a product, how tiles take each
 * other's place in a core, and what the card may draw before its limiter acts. */
#include "base/arena.h"
#include "base/num.h"
#include "base/test.h"
#include "npu/npu_run.h"
#include "npu/npu_testing.h"
#include "npu/npu_tile.h"

#include <math.h>

static const char *const cards[] = {"a100-sxm-80", "h100-sxm", "l4", "t4"};

static enum npu_type type_of(const struct npu_chip *c)
{
    return npu_chip_rate(c, NPU_BF16) > 0 ? NPU_BF16 : NPU_INT8;
}

static struct npu_answer run_product(const struct npu_chip *c, uint64_t m, uint64_t k, uint64_t n)
{
    struct npu_work *w = npu_work_product(type_of(c), m, k, n);
    struct npu_ask ask = npu_ask_once(c, NULL);
    struct npu_answer a;
    struct errinfo e;
    w->streamed = true;
    assert_int_equal(npu_run(&a, w, c, &ask, &e), ERR_OK);
    npu_answer_done(&a);
    npu_work_free(w);
    return a;
}

/* A column of tiles is all of one core's: its weights come from memory once, and then from the
 * cache that all cores share. */
static void test_what_fits_is_brought_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * N_ELEMS(cards); i++) {
        struct npu_chip *c = open_chip(cards[i / 2]);
        /* one column of 64 a core, or two that take turns */
        uint64_t m = i % 2 ? 256 : 777, k = 128, n = (i % 2 + 1) * 64 * (uint64_t)c->v[NPU_CORES];
        struct npu_answer a = run_product(c, m, k, n);
        double bytes = type_of(c) == NPU_BF16 ? 2 : 1;
        double once = (double)(m * k + k * n + m * n) * bytes;
        printf("%s: %.2f times\n", cards[i / 2], a.timing.counts.dram_bytes / once);
        assert_true(a.timing.counts.dram_bytes < 1.01 * once);
        npu_chip_free(c);
    }
}

/* ---- what does not fit, beside a cache that is walked through strip by strip ---- */

struct strip {
    uint64_t used, asked; /* waves up to the last one that used it, asked for it; 0: never */
    double bytes;
};

struct cache {
    double room, brought;
    struct strip *strips;
    size_t n;
};

/* A strip is lost where what was used from its last wave up to this one fills the cache. */
static void use(struct cache *k, size_t strip, uint64_t wave, double results)
{
    struct strip *s = &k->strips[strip];
    double since = 0;
    if (s->asked == wave)
        return;
    s->asked = wave;
    for (size_t i = 0; i < k->n; i++)
        if (s->used && k->strips[i].used >= s->used)
            since += k->strips[i].bytes;
    since += (double)(wave - s->used) * results;
    if (!s->used || since > k->room)
        k->brought += s->bytes;
}

/* Bytes that come from memory, where what was used longest ago goes first. */
static double brought(const struct npu_tiling *t, uint64_t at_once, double room, double row,
                      double column, double result)
{
    size_t n = t->mt + t->nt;
    struct cache k = {.room = room, .strips = mem_alloc(n * sizeof *k.strips), .n = n};
    for (size_t i = 0; i < n; i++)
        k.strips[i].bytes = i < t->mt ? row : column;
    for (uint64_t from = 0, wave = 1; from < t->mt * t->nt; from += at_once, wave++) {
        uint64_t to = MIN(from + at_once, t->mt * t->nt);
        for (int round = 0; round < 2; round++) /* ask for all, then note that they were used */
            for (uint64_t id = from; id < to; id++) {
                uint64_t i = t->down_first ? id % t->mt : id / t->nt;
                uint64_t j = t->down_first ? id / t->mt : id % t->nt;
                size_t both[] = {i, t->mt + j};
                for (int b = 0; b < 2; b++)
                    if (round == 0)
                        use(&k, both[b], wave, (double)at_once * result);
                    else
                        k.strips[both[b]].used = wave;
            }
    }
    mem_free(k.strips);
    return k.brought;
}

static void test_what_does_not_fit_is_brought_again(void **state)
{
    static const uint64_t shapes[][3] = {
        {2048, 4096,  22016},
        {2048, 11008, 4096 },
        {4096, 8192,  8192 },
        {8192, 1024,  1024 }
    };
    struct npu_chip *c = open_chip("a100-sxm-80");
    unsigned cores = (unsigned)c->v[NPU_CORES];
    const struct npu_where far = {.weight = NPU_MEMORY, .in = NPU_MEMORY, .out = NPU_MEMORY};
    size_t again = 0;
    (void)state;
    for (size_t i = 0; i < N_ELEMS(shapes); i++) {
        uint64_t m = shapes[i][0], k = shapes[i][1], n = shapes[i][2];
        struct npu_work *w = npu_work_product(NPU_BF16, m, k, n);
        struct npu_tiling t = npu_tile_search(c, w, &w->ops[0], &far, cores, 1);
        assert_int_equal(t.ks, 1);
        double row = 2.0 * (double)(t.tm * k), column = 2.0 * (double)(t.tn * k);
        double want = brought(&t, npu_tile_wave(&t, cores), c->v[NPU_SHARED_KIB] * 1024, row,
                              column, 2.0 * (double)(t.tm * t.tn)) +
                      2.0 * (double)(m * n);
        double got = run_product(c, m, k, n).timing.counts.dram_bytes;
        double once = 2.0 * (double)(m * k + k * n + m * n);
        printf("%.2f times, %.2f strip by strip\n", got / once, want / once);
        again += got > 1.5 * once;
        assert_true(got > 0.95 * want && got < 1.05 * want);
        npu_work_free(w);
    }
    assert_true(again > 0 && again < N_ELEMS(shapes));
    npu_chip_free(c);
}

/* ---- a tile's place in its core ---- */

struct watched {
    unsigned core;
    uint64_t n_loads, n_stores, stored[4096], broken, at_once;
};

static void watch(void *arg, unsigned core, enum npu_queue queue, const struct npu_cmd *c,
                  uint32_t op, uint64_t from, uint64_t to)
{
    struct watched *w = arg;
    (void)queue, (void)op;
    if (core != w->core)
        return;
    if (c->kind == NPU_CMD_STORE)
        w->stored[w->n_stores++] = to;
    if (c->kind != NPU_CMD_LOAD || c->base != NPU_BASE_WEIGHT)
        return;
    uint64_t tile = w->n_loads++;
    if (tile >= w->at_once)
        w->broken += w->n_stores <= tile - w->at_once || from < w->stored[tile - w->at_once];
}

static void test_a_tile_waits_for_its_place(void **state)
{
    struct npu_chip *c = open_chip("a100-sxm-80");
    struct npu_work *w = npu_work_product(NPU_BF16, 4096, 512, 4096);
    struct npu_prog *p = right_program(c, w, (unsigned)c->v[NPU_CORES]);
    struct watched seen = {.core = 3};
    (void)state;
    seen.at_once = p->steps[0].segment->beside;
    struct npu_timing_of t = {.op_ps = mem_alloc(w->n_ops * sizeof *t.op_ps)};
    npu_time(&t, p, 1, 1, watch, &seen);
    printf("%zu tiles, %zu at once\n", (size_t)seen.n_stores, (size_t)seen.at_once);
    assert_true(seen.n_stores == seen.n_loads && seen.n_loads > 2 * seen.at_once);
    assert_int_equal(seen.broken, 0);
    mem_free(t.op_ps);
    npu_prog_free(p);
    npu_work_free(w);
    npu_chip_free(c);
}

/* What loads nothing waits for nothing: without a cache weights and inputs may be there already. */
static void test_kernels_without_a_cache(void **state)
{
    struct npu_chip *c = open_chip("a100-sxm-80");
    struct npu_work *w = npu_work_product(NPU_BF16, 256, 16, 16384);
    (void)state;
    c->cache = false;
    c->v[NPU_KEEP] = 0.5;
    c->v[NPU_SRAM] = 656;
    c->v[NPU_SHARED_KIB] = 1024;
    npu_prog_free(right_program(c, w, 8));
    npu_work_free(w);
    npu_chip_free(c);
}

/* Any number of tiles beside each other, and sums in parts. */
static void test_kernels_of_other_cores(void **state)
{
    struct npu_chip *c = open_chip("a100-sxm-80");
    (void)state;
    for (int tiles = 1; tiles <= 8; tiles++)
        for (int i = 0; i < 3; i++) {
            uint64_t m = i == 0 ? 1 : 777, k = i == 1 ? 512 : 11008, n = 4096;
            struct npu_work *w = npu_work_product(NPU_BF16, m, k, n);
            c->v[NPU_TILES] = tiles;
            npu_prog_free(right_program(c, w, (unsigned)c->v[NPU_CORES]));
            npu_work_free(w);
        }
    npu_chip_free(c);
}

/* ---- power ---- */

/* At most so many watts until the limiter acts, and the card's own from then on; a run that draws
 * less is as long with a limiter as without. */
static void test_a_card_draws_more_for_a_while(void **state)
{
    struct npu_chip *c = open_chip("a100-sxm-80");
    struct npu_answer a = run_product(c, 8192, 8192, 8192);
    double full = (double)a.timing.ps * 1e-12, limited = npu_answer_s(&a, (double)a.timing.ps);
    double rested = npu_answer_rested_s(&a, (double)a.timing.ps), until = c->v[NPU_BURST_US] * 1e-6;
    (void)state;
    printf("%.3f ms at full clock, %.3f from a rest, %.3f\n", 1e3 * full, 1e3 * rested,
           1e3 * limited);
    assert_true(a.clock < a.burst && a.burst <= 1);
    assert_true(full < rested && rested < limited);
    assert_true(fabs(rested - (until + (full - until * a.burst) / a.clock)) < 1e-9);
    assert_true(fabs(a.latency_s - c->v[NPU_HOST_US] * 1e-6 - rested) < 1e-9);
    assert_true(a.watts < 1.03 * c->v[NPU_TDP]); /* of queries without a rest */
    c->v[NPU_BURST_US] = 0;
    a = run_product(c, 8192, 8192, 8192);
    assert_true(npu_answer_rested_s(&a, 1e9) == npu_answer_s(&a, 1e9));
    c->v[NPU_BURST] = 1e4;
    c->v[NPU_BURST_US] = 1e6;
    a = run_product(c, 8192, 8192, 8192);
    assert_true(a.burst == 1 && fabs(npu_answer_rested_s(&a, 1e9) - 1e-3) < 1e-12);
    npu_chip_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_fits_is_brought_once),
        cmocka_unit_test(test_what_does_not_fit_is_brought_again),
        cmocka_unit_test(test_a_tile_waits_for_its_place),
        cmocka_unit_test(test_kernels_without_a_cache),
        cmocka_unit_test(test_kernels_of_other_cores),
        cmocka_unit_test(test_a_card_draws_more_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
