/* SPDX-License-Identifier: MIT
 * Several chips: exchanges to the picosecond by their closed forms, what chips and stages add up
 * to, and that programs with exchanges are right and repeat exactly. */
#include "npu/npu_team.h"

#include "base/num.h"
#include "base/test.h"
#include "model/model_shape.h"
#include "npu/npu_link.h"
#include "npu/npu_prog.h"
#include "npu/npu_testing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * MAX(fabs(a), fabs(b));
}

/* ATOM with a link of 100 GB/s and 2 us: 10 ps a byte. */
static struct npu_chip *toy(bool ring)
{
    struct npu_chip *c = open_chip("atom");
    c->v[NPU_PEER_GBS] = 100;
    c->v[NPU_PEER_US] = 2;
    c->ring = ring;
    return c;
}

static struct model *shape_of(const char *arch, size_t n_layer, size_t n_expert)
{
    const struct model_shape s = {.arch = arch,
                                  .dim = 2048,
                                  .ff = 8192,
                                  .n_layer = n_layer,
                                  .n_head = 16,
                                  .n_kv_head = 8,
                                  .head_dim = 128,
                                  .n_vocab = 32000,
                                  .n_expert = n_expert,
                                  .n_chosen = n_expert ? 2 : 0,
                                  .ff_expert = n_expert ? 2048 : 0,
                                  .ctx_trained = 4096};
    struct model *m;
    struct errinfo e;
    if (model_from_shape(&m, &s, "test", &e) != ERR_OK)
        fail_msg("%s", e.text);
    return m;
}

static struct npu_team_ask ask_of(size_t tensor, size_t pipeline, uint64_t n_seq, uint64_t rows)
{
    return (struct npu_team_ask){
        .ranks = {tensor,           pipeline    },
        .mix = { .group = {{n_seq, rows, rows > 1 ? 0 : 512}}, .wanted = n_seq, .out = n_seq},
        .groups = 1,
        .again = rows == 1,
        .format = NPU_BF16,
        .type = NPU_BF16,
    };
}

static struct npu_team *team_of(const struct model *m, const struct npu_chip *c,
                                const struct npu_team_ask *ask)
{
    struct npu_team *t;
    struct errinfo e;
    if (npu_team_run(&t, m, c, ask, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return t;
}

static void test_closed_forms(void **state)
{
    (void)state;
    struct npu_chip *ring = toy(true), *full = toy(false), *host = open_chip("atom");
    double bytes = 1 << 20;
    uint64_t us = 2000000, byte = 10;
    host->v[NPU_PEER_US] = 2;
    host->v[NPU_HOST_GBS] = 10; /* 100 ps a byte */
    for (uint64_t n = 2; n <= 8; n *= 2) {
        uint64_t part = (uint64_t)bytes / n;
        uint64_t once = us + (n - 1) * (uint64_t)bytes * byte;
        uint64_t twice = 2 * (us + (n - 1) * part * byte);
        assert_int_equal(npu_cross(ring, NPU_ALL_GATHER, n, bytes).ps,
                         (n - 1) * (us + part * byte));
        assert_int_equal(npu_cross(ring, NPU_ALL_REDUCE, n, bytes).ps,
                         2 * (n - 1) * (us + part * byte));
        assert_int_equal(npu_cross(ring, NPU_ALL_REDUCE, n, bytes).bytes, 2 * (n - 1) * part);
        assert_int_equal(npu_cross(ring, NPU_SEND, n, bytes).ps, us + (uint64_t)bytes * byte);
        assert_int_equal(npu_cross(full, NPU_ALL_GATHER, n, bytes).ps, us + (n - 1) * part * byte);
        assert_int_equal(npu_cross(full, NPU_ALL_REDUCE, n, bytes).ps, MIN(once, twice));
        assert_int_equal(npu_cross(full, NPU_ALL_REDUCE, n, 1024).ps, us + (n - 1) * 1024 * byte);
        assert_int_equal(npu_cross(host, NPU_ALL_GATHER, n, bytes).ps,
                         2 * us + (uint64_t)bytes * 100);
        assert_int_equal(npu_cross(host, NPU_ALL_REDUCE, n, bytes).ps,
                         4 * us + (2 * (n - 1) * part + (uint64_t)bytes) * 100);
        assert_int_equal(npu_cross(host, NPU_SEND, n, bytes).ps,
                         2 * us + 2 * (uint64_t)bytes * 100);
    }
    ring->v[NPU_PEER_GBS] = 1e-300; /* a file may say so: no number overflows */
    assert_int_equal(npu_cross(ring, NPU_ALL_GATHER, 2, bytes).ps, NPU_ADDR_MAX);
    full->v[NPU_PEER_MOST] = 4; /* a fifth goes by the host */
    assert_false(npu_way_of(full, 4).host);
    assert_true(npu_way_of(full, 5).host);
    npu_chip_free(ring);
    npu_chip_free(full);
    npu_chip_free(host);
}

/* In a program each exchange takes what the form says, to the picosecond where the launch before it
 * leaves its queue free, and else within the time from one command to the next. */
static void test_exchanges_take_that_in_a_program(void **state)
{
    (void)state;
    static const char *const names[] = {"atom", "rngd", "h100-sxm", "tpu-v3-8"};
    struct model *m = shape_of("llama", 4, 0);
    for (size_t i = 0; i < 2 * N_ELEMS(names); i++) {
        struct npu_chip *c = open_chip(names[i / 2]);
        struct npu_team_ask ask = ask_of(4, 1, 3, 1);
        ask.mix.reduce = i % 2;
        struct npu_team *t = team_of(m, c, &ask);
        const struct npu_member *x = &t->member[0];
        size_t n = 0, n_exact = 0, n_reduce = 0;
        uint64_t issue = (uint64_t)(c->v[NPU_ISSUE] * 1e6 / c->v[NPU_CLOCK]);
        uint64_t ps = 0, launch = (uint64_t)(c->v[NPU_OP_US] * 1000) * 1000;
        for (size_t k = 0; k < x->work->n_ops; k++) {
            const struct npu_op *op = &x->work->ops[k];
            if (op->kind != NPU_EXCHANGE)
                continue;
            double bytes = (double)op->m * (double)op->n * 2;
            uint64_t want = npu_cross(c, op->how, 4, bytes).ps;
            uint64_t more = x->answer.timing.op_ps[k] - want - launch;
            assert_int_equal(op->k, 4);
            assert_true(more <= issue);
            n_exact += more == 0;
            ps += want;
            n_reduce += op->how == NPU_ALL_REDUCE;
            n++;
        }
        assert_int_equal(n, ask.mix.reduce ? 4 * 2 + 1 : 4 * 4 + 1); /* and the logits */
        printf("%-12s %zu of %zu exchanges exact\n", c->name, n_exact, n);
        assert_true(launch == 0 || n_exact == n);
        assert_int_equal(n_reduce, ask.mix.reduce ? 8 : 0);
        /* No matrix unit works while chips exchange: all of that time is theirs. */
        double links = x->answer.timing.share[NPU_BY_LINKS] * (double)x->answer.timing.ps;
        assert_true(fabs(links - (double)ps) <= 1e-6 * (double)x->answer.timing.ps);
        npu_team_free(t);
        npu_chip_free(c);
    }
    model_close(m);
}

static void check_sums(const struct npu_team *t)
{
    double sum = 0, joules = 0;
    for (int k = 0; k < NPU_N_CAUSES; k++) {
        assert_true(t->answer.timing.share[k] >= -1e-12);
        sum += t->answer.timing.share[k];
    }
    for (int k = 0; k < NPU_N_ENERGIES; k++)
        joules += t->answer.energy[k];
    assert_true(near(sum, 1));
    assert_true(near(joules / t->answer.latency_s, t->answer.watts));
}

static void test_two_are_faster_than_one_and_not_twice(void **state)
{
    (void)state;
    struct model *m = shape_of("llama", 8, 0);
    static const char *const names[] = {"h100-sxm", "a100-sxm-80", "maia-100"};
    for (size_t i = 0; i < 2 * N_ELEMS(names); i++) {
        struct npu_chip *c = open_chip(names[i / 2]);
        struct npu_team_ask one = ask_of(1, 1, 4, 2048), two = ask_of(2, 1, 4, 2048);
        two.mix.reduce = i % 2;
        struct npu_team *t1 = team_of(m, c, &one), *t2 = team_of(m, c, &two);
        printf("%-12s %.3f ms, two %.3f ms, %.1f %% in links\n", c->name,
               1e3 * t1->answer.latency_s, 1e3 * t2->answer.latency_s,
               100 * t2->answer.timing.share[NPU_BY_LINKS]);
        assert_true(t2->answer.latency_s < t1->answer.latency_s);
        assert_true(t2->answer.latency_s > t1->answer.latency_s / 2);
        assert_true(t2->answer.timing.share[NPU_BY_LINKS] > 0);
        assert_true(t1->answer.timing.share[NPU_BY_LINKS] == 0);
        assert_true(t2->weights >= t1->weights && t2->memory < t1->memory);
        assert_int_equal(t2->n_members, 1); /* both are alike */
        check_sums(t1);
        check_sums(t2);
        npu_team_free(t1);
        npu_team_free(t2);
        npu_chip_free(c);
    }
    model_close(m);
}

/* Stages that are alike are simulated once; what they take adds up, with the host once. */
static void test_stages(void **state)
{
    (void)state;
    struct model *m = shape_of("llama", 8, 0);
    struct npu_chip *c = open_chip("rngd");
    struct npu_team_ask ask = ask_of(1, 4, 8, 1);
    struct npu_team *t = team_of(m, c, &ask);
    double host = c->v[NPU_HOST_US] * 1e-6, sum = host, most = 0;
    for (size_t i = 0; i < 4; i++) {
        sum += t->stage[i].latency_s - host;
        most = MAX(most, t->stage[i].latency_s - host);
        assert_int_equal(t->stage[i].from, 2 * i);
    }
    assert_int_equal(t->n_members, 3); /* the first, those between, the last */
    assert_true(near(t->answer.latency_s, sum));
    assert_true(t->answer.timing.share[NPU_BY_STAGES] > 0.7); /* three of four wait */
    assert_true(near(t->answer.energy[NPU_E_STATIC], 4 * c->v[NPU_STATIC] * sum));
    check_sums(t);

    struct npu_team_ask groups = ask;
    groups.groups = 4;
    struct npu_team *g = team_of(m, c, &groups);
    assert_true(near(g->answer.latency_s, MAX(sum, 4 * most)));
    assert_true(g->answer.per_s > 3 * t->answer.per_s);
    assert_true(g->answer.timing.share[NPU_BY_STAGES] < t->answer.timing.share[NPU_BY_STAGES]);
    check_sums(g);
    double kv = 2.0 * 8 * (512 + 1) * 8 * (128 + 128) * 2; /* two layers of 8 sequences, 16 bits */
    assert_true(fabs(g->memory - t->memory - 3 * kv) < 0.01 * kv); /* of all groups */
    npu_team_free(g);

    groups.again = false; /* reading: the first group's way, and three more behind it */
    g = team_of(m, c, &groups);
    assert_true(near(g->answer.latency_s, sum + 3 * most));
    check_sums(g);
    npu_team_free(g);
    npu_team_free(t);

    struct npu_team_ask both = ask_of(2, 2, 8, 1);
    t = team_of(m, c, &both);
    struct npu_team *again = team_of(m, c, &both);
    assert_true(t->answer.timing.share[NPU_BY_LINKS] > 0);
    assert_true(t->answer.timing.share[NPU_BY_STAGES] > 0);
    check_sums(t);
    assert_int_equal(t->answer.timing.ps, again->answer.timing.ps);
    assert_memory_equal(t->answer.energy, again->answer.energy, sizeof t->answer.energy);
    assert_memory_equal(t->answer.timing.share, again->answer.timing.share,
                        sizeof t->answer.timing.share);
    npu_team_free(again);
    npu_team_free(t);
    npu_chip_free(c);
    model_close(m);
}

/* Programs with exchanges: proved right, and what is skipped is what would have come. */
static void test_programs(void **state)
{
    (void)state;
    static const char *const names[] = {"atom",     "warboy", "x220-compact",     "rngd",
                                        "tpu-v3-8", "l4",     "cloud-ai-100-pro", "h100-sxm"};
    struct model *models[] = {shape_of("llama", 12, 0), shape_of("qwen3moe", 12, 8)};
    for (size_t i = 0; i < N_ELEMS(names); i++)
        for (size_t k = 0; k < 4; k++) {
            struct npu_chip *c = open_chip(names[i]);
            struct npu_team_ask ask = ask_of(2, 2, 2, 1);
            struct errinfo e = {0};
            uint64_t n = 0;
            ask.type = ask.format = npu_chip_rate(c, NPU_BF16) > 0 ? NPU_BF16 : NPU_INT8;
            ask.mix.reduce = k % 2;
            struct npu_team *t = team_of(models[k / 2], c, &ask);
            const struct npu_answer *a = &t->member[0].answer;
            if (npu_check(a->prog, &e) != ERR_OK)
                fail_msg("%s: %s", c->name, e.text);
            struct npu_timing_of slow = {0};
            npu_time(&slow, a->prog, 1, 1, count, &n);
            assert_int_equal(slow.ps, a->timing.ps);
            for (int cause = 0; cause < NPU_N_CAUSES; cause++)
                assert_true(fabs(slow.share[cause] - a->timing.share[cause]) < 1e-6);
            check_sums(t);
            npu_team_free(t);
            npu_chip_free(c);
        }
    model_close(models[0]);
    model_close(models[1]);
}

static void test_errors(void **state)
{
    (void)state;
    struct model *m = shape_of("llama", 8, 0);
    struct npu_chip *c = open_chip("atom");
    struct errinfo e = {0};
    struct npu_team *t;
    struct npu_team_ask ask = ask_of(1, 9, 1, 1);
    assert_int_equal(npu_team_run(&t, m, c, &ask, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "8 layers"));
    c->v[NPU_DRAM_GB] = 0.5; /* the weights are 1.0 GB and 0.13 of tables */
    ask = ask_of(1, 1, 1, 1);
    assert_int_equal(npu_team_fits(m, c, &ask, &e), ERR_TOOBIG);
    ask = ask_of(4, 1, 1, 1);
    assert_int_equal(npu_team_fits(m, c, &ask, &e), ERR_OK);
    ask = ask_of(3, 1, 1, 1); /* heads go up unevenly: 2, 3 and 3 of 8 */
    c->v[NPU_DRAM_GB] = 16;
    t = team_of(m, c, &ask);
    assert_false(t->whole_attention);
    assert_true(t->n_members > 1);
    check_sums(t);
    npu_team_free(t);
    ask = ask_of(12, 1, 1, 1); /* they do not: 12 chips, 8 heads of keys */
    t = team_of(m, c, &ask);
    assert_true(t->whole_attention);
    npu_team_free(t);
    npu_chip_free(c);

    static const char bad[] = "name: x\ntitle: x\nvendor: x\npeer:\n  kind: mesh\n";
    assert_int_equal(npu_chip_parse(&c, bad, sizeof bad - 1, "x.yaml", &e), ERR_CORRUPT);
    assert_string_equal(e.text, "x.yaml:5: peer.kind is one of full, ring");
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closed_forms),
        cmocka_unit_test(test_exchanges_take_that_in_a_program),
        cmocka_unit_test(test_two_are_faster_than_one_and_not_twice),
        cmocka_unit_test(test_stages),
        cmocka_unit_test(test_programs),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
