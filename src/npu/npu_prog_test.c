/* SPDX-License-Identifier: MIT
 * Programs: that every one the compiler makes is right, that broken ones are found, and that what
 * is skipped as a repetition comes out as if it had been simulated. */
#include "base/num.h"
#include "base/test.h"
#include "model/model_shape.h"
#include "npu/npu_run.h"
#include "npu/npu_testing.h"

#include <string.h>

/* A small language model of 12 layers. */
static struct npu_work *make_lm(const struct npu_chip *c, uint64_t batch, uint64_t rows,
                                uint64_t past)
{
    struct model_shape s = {.arch = "llama",
                            .dim = 1024,
                            .ff = 2816,
                            .n_layer = 12,
                            .n_head = 16,
                            .n_kv_head = 4,
                            .head_dim = 64,
                            .n_vocab = 8000,
                            .ctx_trained = 4096};
    struct model *m;
    struct errinfo e;
    enum npu_type type, format = npu_chip_rate(c, NPU_BF16) > 0 ? NPU_BF16 : NPU_INT8;
    assert_int_equal(model_from_shape(&m, &s, "test", &e), ERR_OK);
    assert_int_equal(npu_work_type(c, format, &type, &e), ERR_OK);
    struct plan *p = plan_new(m);
    struct npu_work *w = npu_work_plan(p, batch, rows, past, format, type);
    plan_free(p);
    model_close(m);
    return w;
}

static const char *const chips[] = {"atom",   "warboy",   "x220-compact", "rngd",
                                    "tpu-v1", "tpu-v3-8", "l4",           "cloud-ai-100-pro"};

static void check_work(const struct npu_chip *c, const struct npu_work *w)
{
    npu_prog_free(right_program(c, w, (unsigned)c->v[NPU_CORES]));
}

static void test_all_programs_are_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMS(chips); i++) {
        struct npu_chip *c = open_chip(chips[i]);
        for (size_t k = 0; npu_work_name(k); k++) {
            struct npu_work *w = npu_work_bench(npu_work_name(k), 1, npu_bench_type(c));
            check_work(c, w);
            npu_work_free(w);
        }
        struct npu_work *decode = make_lm(c, 3, 1, 500), *prefill = make_lm(c, 1, 200, 0);
        check_work(c, decode);
        check_work(c, prefill);
        npu_work_free(decode);
        npu_work_free(prefill);
        npu_chip_free(c);
    }
}

/* Without the semaphore that a kind of command takes (gives), or with its buffer moved, it is
 * wrong. */
static void test_broken_programs_are_found(void **state)
{
    struct npu_chip *c = open_chip("atom");
    struct npu_work *w = npu_work_bench("resnet50", 1, NPU_INT8);
    struct npu_prog *p = program(c, w, 8, 1);
    struct errinfo e;
    size_t found[4] = {0}, tried[4] = {0};
    (void)state;
    for (size_t i = 0; i < p->n_steps; i += 7) {
        struct npu_segment broken = *p->steps[i].segment;
        struct npu_cmd *cmds = malloc(broken.n_cmds * sizeof *cmds);
        broken.cmds = cmds;
        for (int how = 0; how < 4; how++)
            for (size_t k = 1; k < broken.n_cmds; k += broken.n_cmds / 9 + 1) {
                memcpy(cmds, p->steps[i].segment->cmds, broken.n_cmds * sizeof *cmds);
                uint8_t *sem = how == 0 ? &cmds[k].take[0] : how == 1 ? &cmds[k].give[0] : NULL;
                if ((sem && *sem == NPU_NO_SEM) || (how >= 2 && cmds[k].size == 0) ||
                    (how == 1 && cmds[k].give[0] == NPU_NO_SEM))
                    continue;
                if (sem)
                    *sem = NPU_NO_SEM;
                npu_cmd_tally(&cmds[k]);
                if (how == 2) /* onto the buffer behind it */
                    cmds[k].sram += cmds[k].size / 2 + 1;
                if (how == 3)
                    cmds[k].sram = (uint32_t)broken.half;
                tried[how]++;
                found[how] += npu_check_segment(p, &broken, p->steps[i].op, &e) != ERR_OK;
            }
        free(cmds);
    }
    for (int how = 0; how < 4; how++) {
        printf("way %d: %zu of %zu found\n", how, found[how], tried[how]);
        assert_true(tried[how] > 20);
        if (how != 2) /* a buffer that moves into one of another time is no fault */
            assert_int_equal(found[how], tried[how]);
    }
    assert_true(found[2] * 3 > tried[2]);
    npu_prog_free(p);
    npu_work_free(w);
    npu_chip_free(c);
}

/* A command of the vector queue that nothing waits for, in memory of its own, is found: the step
 * behind the next one would write there. */
static void test_a_half_is_given_back_unused(void **state)
{
    struct npu_chip *c = open_chip("atom");
    struct npu_work *w = npu_work_bench("resnet50", 1, NPU_INT8);
    struct npu_prog *p = program(c, w, 8, 1);
    struct errinfo e;
    (void)state;
    struct npu_segment s = *p->steps[0].segment;
    struct npu_cmd *cmds = calloc(s.n_cmds + 1, sizeof *cmds);
    uint32_t from[8 * NPU_N_QUEUES + 1], at = s.from[NPU_Q_VECTOR + 1];
    for (unsigned i = 0; i < N_ELEMS(from); i++)
        from[i] = s.from[i] + (i > NPU_Q_VECTOR);
    memcpy(cmds, s.cmds, at * sizeof *cmds);
    memcpy(cmds + at + 1, s.cmds + at, (s.n_cmds - at) * sizeof *cmds);
    cmds[at] = (struct npu_cmd){.kind = NPU_CMD_VECTOR, .m = 1};
    s.cmds = cmds;
    s.from = from;
    s.n_cmds++;
    assert_int_equal(npu_check_segment(p, &s, 0, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "before it is through"));
    free(cmds);
    npu_prog_free(p);
    npu_work_free(w);
    npu_chip_free(c);
}

static void test_what_is_empty_is_left_out(void **state)
{
    struct npu_chip *c = open_chip("atom");
    struct npu_work *w = npu_work_new("a product, and nothing", 1, NPU_INT8);
    (void)state;
    for (uint64_t n = 0; n <= 64; n += 64) {
        int in = npu_work_tensor(w, 64 * 64), out = npu_work_tensor(w, 64 * n);
        struct npu_op *op = npu_work_op(w, n ? NPU_MATMUL : NPU_VECTOR, "step", -1, in, out);
        op->m = op->k = 64;
        op->n = n;
    }
    npu_work_done(w);
    struct npu_prog *p = right_program(c, w, 8);
    assert_int_equal(p->n_steps, 1);
    assert_int_equal(p->steps[0].op, 1);
    npu_prog_free(p);
    npu_work_free(w);
    npu_chip_free(c);
}

/* Exchanges are the first core's: the others would bring tiles of the product behind them while the
 * first may still need those of the one before. */
static void test_tiles_of_two_steps_do_not_mix(void **state)
{
    struct npu_chip *c = open_chip("atom");
    (void)state;
    for (int exchanges = 0; exchanges < 6; exchanges++) {
        struct npu_work *w = npu_work_new("products", 1, NPU_INT8);
        const uint64_t m = 64, n = 4096;
        struct errinfo e;
        for (int i = 0; i < 2 + exchanges; i++) {
            bool product = i == 0 || i == 1 + exchanges;
            int in = npu_work_tensor(w, m * n), out = npu_work_tensor(w, m * n);
            struct npu_op *op = npu_work_op(w, product ? NPU_MATMUL : NPU_EXCHANGE, "step", -1, in,
                                            out);
            op->m = m;
            op->k = product ? n : 2; /* cards */
            op->n = n;
        }
        npu_work_done(w);
        struct npu_prog *p = program(c, w, 8, 1);
        assert_int_equal(p->n_steps, 2 + exchanges);
        assert_true(p->steps[0].segment->n_keys > 1);
        /* an odd number between them: both are of one parity */
        assert_int_equal(npu_check(p, &e), exchanges % 2 ? ERR_CORRUPT : ERR_OK);
        npu_prog_free(p);
        npu_work_free(w);
    }
    npu_chip_free(c);
}

/* Frees w. */
static void check_repetitions(const struct npu_chip *c, struct npu_work *w, unsigned instances,
                              unsigned rounds)
{
    struct npu_prog *p = program(c, w, (unsigned)c->v[NPU_CORES] / instances, instances);
    uint64_t *fast_ops = calloc(w->n_ops, sizeof *fast_ops), n = 0;
    uint64_t *slow_ops = calloc(w->n_ops, sizeof *slow_ops);
    struct npu_timing_of fast = {.op_ps = fast_ops}, slow = {.op_ps = slow_ops};
    npu_time(&fast, p, instances, rounds, NULL, NULL);
    npu_time(&slow, p, instances, rounds, count, &n); /* who is watched skips nothing */
    assert_int_equal(n, slow.counts.commands);
    assert_int_equal(fast.counts.commands, slow.counts.commands);
    printf("%-16s %.3f us, %.3f us\n", c->name, (double)fast.ps / 1e6, (double)slow.ps / 1e6);
    assert_int_equal(fast.ps, slow.ps);
    assert_int_equal(fast.round_ps, slow.round_ps);
    assert_float_equal(fast.counts.activations, slow.counts.activations, 0.5);
    assert_memory_equal(fast_ops, slow_ops, w->n_ops * sizeof *fast_ops);
    double sum = 0;
    for (int k = 0; k < NPU_N_CAUSES; k++) {
        assert_float_equal(fast.share[k], slow.share[k], 1e-6);
        sum += fast.share[k];
    }
    assert_float_equal(sum, 1, 1e-9);
    free(fast_ops);
    free(slow_ops);
    npu_prog_free(p);
    npu_work_free(w);
}

static void test_repetitions_are_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMS(chips); i++) {
        struct npu_chip *c = open_chip(chips[i]);
        check_repetitions(c, make_lm(c, 2, 1, 300), 1, 1); /* layers repeat, */
        check_repetitions(c, make_lm(c, 2, 1, 300), 1, 3); /* or whole rounds */
        npu_chip_free(c);
    }
}

/* Instances share memory and network, so that one gets ahead of another. */
static void test_repetitions_of_instances_are_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMS(chips); i++) {
        struct npu_chip *c = open_chip(chips[i]);
        unsigned cores = (unsigned)c->v[NPU_CORES];
        for (unsigned n = 2; n <= MIN(cores, 8u); n *= 2)
            check_repetitions(c, npu_work_bench("ssd-mobilenet", 2, npu_bench_type(c)), n, 2);
        if (cores > 1)
            check_repetitions(c, make_lm(c, 1, 1, 300), 2, 3);
        npu_chip_free(c);
    }
}

/* One operation follows another of the same shape, or one of another kind. */
static void test_known_steps_are_exact(void **state)
{
    struct npu_chip *c = open_chip("h100-sxm");
    (void)state;
    check_repetitions(c, npu_work_bench("mobilenet", 2, NPU_INT8), 1, 3);
    check_repetitions(c, npu_work_bench("ssd-resnet34", 1, NPU_INT8), 1, 1);
    npu_chip_free(c);
}

/* The figures of the papers (npu_vision.c names them) and of MLPerf's models. */
static void test_sizes_of_networks(void **state)
{
    static const struct {
        const char *name;
        double gmac, million_weights;
    } known[] = {
        {"resnet50",       4.089,  25.50},
        {"mobilenet",      0.569,  4.21 },
        {"ssd-mobilenet",  1.237,  6.77 },
        {"ssd-resnet34",   216.5,  20   },
        {"bert-large-384", 123.21, 302  },
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMS(known); i++) {
        struct npu_work *w = npu_work_bench(known[i].name, 2, NPU_INT8);
        printf("%-15s %.3f GMAC, %.2f M weights\n", known[i].name, w->macs / 2e9,
               w->weight_values / 1e6);
        assert_true(w->macs / 2e9 > 0.99 * known[i].gmac && w->macs / 2e9 < 1.01 * known[i].gmac);
        assert_true(w->weight_values / 1e6 > 0.98 * known[i].million_weights &&
                    w->weight_values / 1e6 < 1.02 * known[i].million_weights);
        npu_work_free(w);
    }
}

/* A tile whose sums leave no room for another one beside it has all of the core's memory. */
static void test_a_tile_alone_has_the_memory(void **state)
{
    struct npu_chip *c = open_chip("a100-sxm-80");
    struct npu_work *w = npu_work_bench("resnet50", 256, NPU_INT8);
    struct npu_prog *p = right_program(c, w, (unsigned)c->v[NPU_CORES]);
    size_t alone = 0;
    (void)state;
    for (size_t i = 0; i < p->n_steps; i++) {
        const struct npu_segment *s = p->steps[i].segment;
        double sums = 0;
        for (size_t k = 0; k < s->n_cmds; k++)
            if (s->cmds[k].kind == NPU_CMD_MATRIX)
                sums = MAX(sums, 4.0 * s->cmds[k].full_m * s->cmds[k].full_n);
        bool fills = sums == c->v[NPU_ACC] * 1024; /* 256 x 128 */
        if (fills)
            assert_int_equal(s->beside, 1);
        alone += fills && (double)s->half > c->v[NPU_SRAM] * 1024 / c->v[NPU_TILES];
    }
    printf("%zu of %zu steps with one tile in all of a core's memory\n", alone, p->n_steps);
    assert_true(alone > 0);
    npu_prog_free(p);
    npu_work_free(w);
    npu_chip_free(c);
}

/* Tiles, with parts of sums, of a product of 16-bit numbers; *split: sums are in parts. */
static size_t count_tiles(const struct npu_chip *c, uint64_t m, uint64_t k, uint64_t n, bool *split)
{
    struct npu_work *w = npu_work_product(NPU_BF16, m, k, n);
    struct npu_prog *p = right_program(c, w, (unsigned)c->v[NPU_CORES]);
    size_t tiles = 0;
    const struct npu_segment *s = p->steps[0].segment;
    for (size_t i = 0; i < s->n_cmds; i++)
        tiles += s->cmds[i].kind == NPU_CMD_MATRIX && s->cmds[i].last;
    *split = p->n_steps == 2;
    npu_prog_free(p);
    npu_work_free(w);
    return tiles;
}

/* Kernels split sums where tiles leave cores without work, and no further. */
static void test_parts_of_sums_fill_the_cores(void **state)
{
    static const uint64_t n[] = {256, 512, 768, 1024, 1536, 4096, 8192, 22016};
    struct npu_chip *c = open_chip("a100-sxm-80");
    size_t n_split = 0;
    (void)state;
    for (size_t i = 0; i < N_ELEMS(n); i++)
        for (uint64_t m = 1; m <= 512; m *= 8) {
            bool split;
            size_t tiles = count_tiles(c, m, 8192, n[i], &split);
            n_split += split;
            assert_true(!split || (double)tiles <= c->v[NPU_CORES]);
        }
    bool split;
    size_t parts = count_tiles(c, 1, 8192, 768, &split); /* 12 tiles of 64 columns, or 6 of 128 */
    assert_true(split && (double)parts > c->v[NPU_CORES] / 2);
    assert_true(n_split > 4 && n_split < 4 * N_ELEMS(n));
    npu_chip_free(c);
}

/* Rows of a head are dealt out in ranges, and all of them read its keys and values: a cache that
 * holds them has them from memory once. */
static void test_a_cache_has_keys_and_values(void **state)
{
    static const char *const with[] = {"a100-sxm-80", "rngd"};
    (void)state;
    for (size_t i = 0; i < N_ELEMS(with); i++) {
        struct npu_chip *c = open_chip(with[i]);
        struct npu_work *w = make_lm(c, 1, 2048, 0);
        struct npu_prog *p = right_program(c, w, (unsigned)c->v[NPU_CORES]);
        double memory = 0, once = 0;
        for (size_t k = 0; k < p->n_steps; k++) {
            const struct npu_op *op = &w->ops[p->steps[k].op];
            const struct npu_segment *s = p->steps[k].segment;
            if (op->kind != NPU_ATTEND)
                continue;
            once += 2.0 * (double)(op->context * op->dim * op->kv_heads) * w->kv_bytes;
            for (size_t n = 0; n < s->n_cmds; n++)
                if (s->cmds[n].kind == NPU_CMD_LOAD && s->cmds[n].level == NPU_MEMORY)
                    memory += (double)s->cmds[n].bytes;
        }
        printf("%s: keys, values and queries %.2f times\n", c->name, memory / once);
        assert_true(c->cache ? memory < 1.3 * once : memory > 2 * once);
        npu_prog_free(p);
        npu_work_free(w);
        npu_chip_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_of_networks),
        cmocka_unit_test(test_all_programs_are_right),
        cmocka_unit_test(test_broken_programs_are_found),
        cmocka_unit_test(test_a_half_is_given_back_unused),
        cmocka_unit_test(test_tiles_of_two_steps_do_not_mix),
        cmocka_unit_test(test_what_is_empty_is_left_out),
        cmocka_unit_test(test_repetitions_are_exact),
        cmocka_unit_test(test_repetitions_of_instances_are_exact),
        cmocka_unit_test(test_known_steps_are_exact),
        cmocka_unit_test(test_a_tile_alone_has_the_memory),
        cmocka_unit_test(test_parts_of_sums_fill_the_cores),
        cmocka_unit_test(test_a_cache_has_keys_and_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
