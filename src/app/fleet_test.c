/* SPDX-License-Identifier: MIT
 * fleet_test.c - damso plan against queues that have formulas, and its sizes against what they have
 * to be. */
#include "app/fleet.h"
#include "base/num.h"
#include "base/test.h"
#include "model/model_shape.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#define STEP_MS 10.0

/* Every step takes as long as every other: a server of deterministic service. */
static const struct dev_speeds flat = {
    .name = "flat",
    .title = "flat",
    .n = 2,
    .step = {{1, STEP_MS / 1e3}, {512, STEP_MS / 1e3}},
    .busy_w = 100,
    .idle_w = 40,
    .pages = 100000
};

static struct engine *opened(size_t parallel)
{
    const struct model_shape s = {.arch = "llama",
                                  .dim = 64,
                                  .ff = 128,
                                  .n_layer = 1,
                                  .n_head = 1,
                                  .n_kv_head = 1,
                                  .head_dim = 64,
                                  .n_vocab = 32000,
                                  .ctx_trained = 4096};
    struct engine_opts o = {
        .ctx = 1024,
        .ctx_total = 1024 * 400,
        .batch = 512,
        .out_max = parallel,
        .sim = {.speeds = &flat, .name = flat.name, .clock = DEV_CLOCK_VIRTUAL, .dry = true}
    };
    struct model *m;
    struct engine *en;
    struct errinfo e;
    if (model_from_shape(&m, &s, "shape", &e) != ERR_OK ||
        engine_open_shape(&en, m, &o, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return en;
}

static struct load_opts fixed(size_t prompt, size_t answer, size_t parallel)
{
    return (struct load_opts){
        .prompt = {LOAD_FIXED, (double)prompt, 0, prompt},
        .answer = {LOAD_FIXED, (double)answer, 0, answer},
        .turns = 1,
        .seed = 3,
        .running_max = parallel,
        .queue_max = 100000
    };
}

/* ---- queues with formulas ---- */

/* M/D/1: the mean wait is rho D / (2 (1 - rho)), and a share rho of all waits. */
static void one_at_a_time_is_m_d_1(void **state)
{
    (void)state;
    struct engine *en = opened(1);
    struct load_result r;
    struct errinfo e;
    for (int i = 0; i < 2; i++) {
        double rho = i ? 0.7 : 0.4;
        struct load_opts o = fixed(1, 1, 1);
        o.rate = rho / STEP_MS * 1e3;
        o.n_requests = 30000;
        o.late[0] = (struct load_late){.ms = STEP_MS + 1e-6, .most = SIZE_MAX};
        assert_int_equal(load_run(en, &o, &r, &e), ERR_OK);
        assert_int_equal(r.n_counted, 30000);
        double wait = r.ttft.mean - STEP_MS, formula = rho * STEP_MS / (2 * (1 - rho));
        assert_true(fabs(wait / formula - 1) < 0.06);
        assert_true(fabs((double)r.n_late[0] / 30000 - rho) < 0.01);
        assert_true(fabs(r.busy_s / r.seconds - rho) < 0.01);
    }
    engine_close(en);
}

/* Erlang's C: the share that waits of M/M/c. */
static double erlang_c(int c, double a)
{
    double term = 1, sum = 0;
    for (int k = 0; k < c; k++) {
        sum += term;
        term *= a / (k + 1);
    }
    term *= c / (c - a);
    return term / (sum + term);
}

/* c at a time with a service of one length: half of the wait of M/M/c, about, and up to a step
 * until the next one begins. */
static void many_at_a_time_wait_less_than_erlang_says(void **state)
{
    (void)state;
    struct engine *en = opened(8);
    struct load_result r;
    struct errinfo e;
    struct load_opts o = fixed(1, 20, 8);
    double service = 20 * STEP_MS, a = 8 * 0.85;
    o.rate = a / service * 1e3;
    o.n_requests = 40000;
    assert_int_equal(load_run(en, &o, &r, &e), ERR_OK);
    double m_m_c = erlang_c(8, a) * service / (8 - a), wait = r.ttft.mean - STEP_MS;
    assert_true(wait > 0.35 * m_m_c && wait < 0.65 * m_m_c + STEP_MS);
    assert_true(fabs(r.tpot.p99 - STEP_MS) < 1e-6);
    engine_close(en);
}

/* The share of M/D/1 that waits no longer than x (Erlang 1909). */
static double m_d_1_within(double rate, double d, double x)
{
    double sum = 0, rho = rate * d;
    for (int k = 0; k <= (int)(x / d); k++) {
        double y = rate * (k * d - x);
        sum += pow(y, k) / tgamma(k + 1) * exp(-y);
    }
    return (1 - rho) * sum;
}

static struct fleet_ask some_ask(void)
{
    struct fleet_ask a = {.users = 1000,
                          .requests_day = 10,
                          .load = fixed(1, 1, 1),
                          .limit_ms = {4 * STEP_MS},
                          .n_requests = 1000,
                          .ring_points = 1600,
                          .cell = 24,
                          .spare = 1,
                          .electricity = 0.2,
                          .years = 4,
                          .pue = 1};
    for (int h = 0; h < FLEET_HOURS; h++)
        a.curve[h] = 1.0 / FLEET_HOURS;
    fleet_prepare(&a);
    return a;
}

/* What a replica takes until one in ten waits longer than three services: by the formula, by the
 * search, and by a fleet of which every request is simulated. */
static void a_replica_takes_what_the_formula_says(void **state)
{
    (void)state;
    struct engine *en = opened(1);
    struct fleet_ask a = some_ask();
    struct fleet_replica r, again;
    struct fleet_whole w;
    struct errinfo e;
    double low = 0, high = 1 / STEP_MS;
    for (int i = 0; i < 60; i++) {
        double mid = (low + high) / 2;
        *(m_d_1_within(mid, STEP_MS, 3 * STEP_MS) >= 0.9 ? &low : &high) = mid;
    }
    assert_int_equal(fleet_replica(&r, en, &a, &e), ERR_OK);
    assert_true(fabs(r.capacity / (1e3 * low) - 1) < 0.04);
    assert_true(r.low <= r.capacity && r.low > 0.9 * r.capacity);
    assert_true(r.run[r.n_runs - 1].ms[FLEET_TTFT_P90] > a.limit_ms[0]);
    assert_true(fabs(fleet_watts(&r, 0.5 * r.capacity) - (40 + 60 * 0.5 * r.run[5].busy)) < 3);
    a.n_requests = 400;
    assert_int_equal(fleet_whole(&w, &r, en, &a, 4, &e), ERR_OK);
    assert_true(fabs(w.found / w.planned - 1) < 0.05);
    a.n_requests = 1000;
    engine_close(en);
    en = opened(1);
    assert_int_equal(fleet_replica(&again, en, &a, &e), ERR_OK);
    assert_true(again.capacity == r.capacity && again.low == r.low);
    engine_close(en);
}

static void what_cannot_be_is_explained(void **state)
{
    (void)state;
    struct engine *en = opened(1);
    struct fleet_ask a = some_ask();
    struct fleet_replica r;
    struct errinfo e;
    a.limit_ms[FLEET_TTFT_P90] = STEP_MS / 2;
    assert_int_equal(fleet_replica(&r, en, &a, &e), ERR_OK);
    assert_true(r.capacity == 0);
    assert_non_null(strstr(r.why, "to the first token at p90, and the limit is 5"));
    engine_close(en);
}

/* A conversation's next request knows what was said, and comes after the time to think. */
static void conversations_go_on(void **state)
{
    (void)state;
    struct engine *en = opened(16);
    struct load_result r, again;
    struct errinfo e;
    struct load_opts o = fixed(128, 64, 16);
    o.rate = 5;
    o.turns = 3;
    o.think_s = 20;
    o.n_requests = 900;
    o.warm_s = 60;
    assert_int_equal(load_run(en, &o, &r, &e), ERR_OK);
    assert_int_equal(r.n_done, 900);
    assert_true(r.n_counted > 500 && r.n_counted < 850);
    double known = (double)r.n_cached / (double)r.n_prompt;
    assert_true(known > 0.5 && known < 0.9); /* of geometric lengths: some 0.75 */
    o.salt = 99; /* other tokens, so that nothing is known from before */
    assert_int_equal(load_run(en, &o, &again, &e), ERR_OK);
    /* But for a token that texts begin with by chance. */
    assert_true(again.seconds == r.seconds &&
                fabs((double)again.n_cached / (double)r.n_cached - 1) < 1e-3);
    engine_close(en);
}

/* A run that begins settled is what a long one comes to: as much is known, and the first token
 * comes as soon.  The tree has no room for all that users think about. */
static void settled_runs_are_as_long_ones(void **state)
{
    (void)state;
    struct engine *en = opened(16);
    struct load_result brief, whole;
    struct errinfo e;
    struct load_opts o = fixed(128, 64, 16);
    o.rate = 14;
    o.turns = 3;
    o.think_s = 60;
    o.n_requests = 20000;
    assert_int_equal(load_run(en, &o, &whole, &e), ERR_OK);
    o.seed = 77;
    o.settled = true;
    o.n_requests = 3000; /* some 200 s of 1400 */
    o.salt = 5;
    assert_int_equal(load_run(en, &o, &brief, &e), ERR_OK);
    double known = (double)whole.n_cached / (double)whole.n_prompt;
    assert_true(known > 0.3 && known < 0.7); /* with room for all it would be some 0.75 */
    assert_true(fabs((double)brief.n_cached / (double)brief.n_prompt - known) < 0.03);
    assert_true(fabs(brief.ttft.mean / whole.ttft.mean - 1) < 0.06);
    o.settled = false;
    o.n_requests = 500;
    o.salt = 6;
    assert_int_equal(load_run(en, &o, &brief, &e), ERR_OK);
    assert_true((double)brief.n_cached / (double)brief.n_prompt < known - 0.03); /* it is needed */
    engine_close(en);
}

/* However long what was said is, and whatever is drawn. */
static void the_context_is_never_exceeded(void **state)
{
    (void)state;
    struct engine *en = opened(16);
    struct load_result r;
    struct errinfo e;
    struct load_opts o = fixed(1, 1, 16);
    o.prompt = (struct load_length){LOAD_LOGNORMAL, 200, 1, 2000};
    o.answer = (struct load_length){LOAD_LOGNORMAL, 100, 1, 2000};
    o.rate = 5;
    o.turns = 5;
    o.think_s = 10;
    o.n_requests = 3000;
    o.settled = true;
    assert_int_equal(load_run(en, &o, &r, &e), ERR_OK);
    assert_int_equal(r.n_done, 3000);
    engine_close(en);
}

static void too_many_late_ones_end_a_run(void **state)
{
    (void)state;
    struct engine *en = opened(1);
    struct load_result r;
    struct errinfo e;
    struct load_opts o = fixed(1, 1, 1);
    o.rate = 200; /* twice what it can */
    o.n_requests = 10000;
    o.late[2] = (struct load_late){.ms = 5 * STEP_MS, .most = 50};
    assert_int_equal(load_run(en, &o, &r, &e), ERR_OK);
    assert_true(r.gave_up && r.n_late[2] == 51 && r.n_done < 1000);
    engine_close(en);
}

/* ---- sizes ---- */

static void more_users_never_need_fewer(void **state)
{
    (void)state;
    struct fleet_ask a = some_ask();
    for (int kind = 0; kind < 3; kind++) {
        uint64_t last = 0;
        a.availability = kind == 1 ? 0.9999 : 0;
        a.mtbf_h = 1000;
        a.mttr_h = 10;
        a.spare = kind == 2 ? 0 : 1;
        fleet_prepare(&a);
        for (double users = 1; users < 2e6; users = users * 1.07 + 1) {
            double rate = users / 1000;
            struct fleet_size s = fleet_size(&a, rate, users, 0.75);
            assert_true(s.total >= last);
            assert_true(s.total == s.cells * (s.serving + s.spare));
            assert_true(s.serving + s.spare <= a.cell);
            assert_true((double)(s.cells * s.serving) * 0.75 >= rate);
            assert_true(fleet_rate_of(&a, &s, rate, users, s.spare) <= 0.75 * (1 + 1e-12));
            last = s.total;
        }
    }
    assert_int_equal(fleet_size(&a, 1e9, 1e9, 1).total, 0);
    assert_int_equal(fleet_size(&a, 1, 1, 0).total, 0);
}

/* A cell that has no room for its spares, and so few users of so many requests that cells without
 * end would be tried. */
static void what_cannot_be_has_no_size(void **state)
{
    (void)state;
    struct fleet_ask a = some_ask();
    a.cell = 2;
    a.availability = 0.9999;
    a.mtbf_h = a.mttr_h = 1000;
    fleet_prepare(&a);
    assert_true(a.spares[1] > 2);
    assert_int_equal(fleet_size(&a, 1, 1, 1).total, 0);
    a.availability = 0;
    a.spare = 0;
    a.cell = 1;
    fleet_prepare(&a);
    assert_int_equal(fleet_size(&a, 1, 1, 1).total, 1);
    assert_int_equal(fleet_size(&a, 9e5, 1, 1).total, 0);
}

static void spares_are_by_the_binomial(void **state)
{
    (void)state;
    /* One of 1 + k is there: 1 - down^(k + 1); down is 0.1. */
    assert_int_equal(fleet_spares(1, 0.9 - 1e-9, 9, 1), 0);
    assert_int_equal(fleet_spares(1, 0.99 - 1e-9, 9, 1), 1);
    assert_int_equal(fleet_spares(1, 0.9991, 9, 1), 3);
    /* Two of 3: 0.9^3 + 3 x 0.9^2 x 0.1 = 0.972. */
    assert_int_equal(fleet_spares(2, 0.9719, 9, 1), 1);
    assert_int_equal(fleet_spares(2, 0.9721, 9, 1), 2);
    for (size_t n = 1; n < 60; n++)
        assert_true(fleet_spares(n, 0.9999, 4380, 24) <= fleet_spares(n + 1, 0.9999, 4380, 24));
}

/* Shares are what keys that fall on the ring say; many places make them even. */
static void the_ring_gives_its_shares(void **state)
{
    (void)state;
    enum { N = 8, KEYS = 300000 };
    size_t n[N] = {0}, most = 0;
    struct fleet_ring *r = fleet_ring_new(N, 16, 5);
    for (uint64_t i = 0; i < KEYS; i++)
        n[fleet_ring_of(r, num_hash(&i, sizeof i, 0))]++;
    for (size_t i = 0; i < N; i++)
        most = MAX(most, n[i]);
    assert_true(fabs((double)most * N / KEYS / fleet_ring_busiest(r) - 1) < 0.02);
    fleet_ring_free(r);
    assert_true(fleet_busiest(1, 16) == 1);
    assert_true(fleet_busiest(8, 16) > 1.2 && fleet_busiest(8, 1600) < 1.08);
    assert_true(fleet_busiest(24, 1) <= 1.5); /* spills over */
}

/* ---- measured machines ---- */

static const char *written(char path[32], const char *text)
{
    strcpy(path, "/tmp/damso-fleet-XXXXXX.json");
    int fd = mkstemps(path, 5);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

static void speeds_are_read(void **state)
{
    (void)state;
    char path[32], title[128];
    struct dev_speeds s;
    struct errinfo e;
    enum fleet_source source;
    written(path,
            "{\"machine\": {\"cpu\": \"X\", \"threads\": 2}, \"rows\": ["
            "{\"work\": \"prefill\", \"tokens\": 1024, \"sequences\": 1, \"at\": 0, \"tps\": 2048},"
            "{\"work\": \"decode\", \"tokens\": 64, \"sequences\": 1, \"at\": 0, \"tps\": 100},"
            "{\"work\": \"decode\", \"tokens\": 64, \"sequences\": 1, \"at\": 1000, \"tps\": 50},"
            "{\"work\": \"batch\", \"tokens\": 64, \"sequences\": 8, \"at\": 0, \"tps\": 400}]}");
    assert_int_equal(fleet_source_of(&source, path, &e), ERR_OK);
    assert_int_equal(source, FLEET_SPEEDS);
    assert_int_equal(fleet_speeds_read(&s, path, title, &e), ERR_OK);
    assert_string_equal(title, "X, 2 threads, measured");
    assert_int_equal(s.n, 3);
    assert_true(s.step[0].rows == 1 && fabs(s.step[0].s - 0.01) < 1e-12);
    assert_true(s.step[1].rows == 8 && fabs(s.step[1].s - 0.02) < 1e-12);
    assert_true(s.step[2].rows == 512 && fabs(s.step[2].s - 0.25) < 1e-12);
    assert_true(fabs(s.s_row_past - 1e-5) < 1e-12); /* 10 ms for 1000 positions */
    remove(path);
}

static void bad_files_are_named(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"rows\": []}", "{\"rows\": [{\"work\": \"decode\"}]}",
        "{\"rows\": [{\"work\": \"decode\", \"tokens\": 1, \"at\": 0, \"tps\": 5}]}"};
    char path[32], title[128];
    struct dev_speeds s;
    struct errinfo e;
    enum fleet_source source;
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        written(path, bad[i]);
        assert_int_equal(fleet_speeds_read(&s, path, title, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.text, path));
        remove(path);
    }
    assert_int_equal(fleet_source_of(&source, "/none.json", &e), ERR_NOTFOUND);
    written(path, "{}");
    assert_int_equal(fleet_source_of(&source, path, &e), ERR_CORRUPT);
    remove(path);
}

/* The best level within the limits; power between idle and busy. */
static void levels_are_read(void **state)
{
    (void)state;
    char path[32];
    struct errinfo e;
    struct fleet_ask a = some_ask();
    struct fleet_replica r;
    const struct fleet_kind k = {.name = "m", .watts = 300, .idle = 100};
    a.limit_ms[FLEET_TTFT_P90] = 100;
    written(path,
            "{\"answer\": 64, \"levels\": ["
            "{\"requests\": 100, \"errors\": 0, \"seconds\": 10, \"ttft_ms\": {\"p90\": 50}},"
            "{\"requests\": 400, \"errors\": 0, \"seconds\": 10, \"ttft_ms\": {\"p90\": 500}},"
            "{\"requests\": 200, \"errors\": 0, \"seconds\": 10, \"ttft_ms\": {\"p90\": 90}}]}");
    assert_int_equal(fleet_levels_read(&r, &k, &a, path, &e), ERR_OK);
    assert_true(r.capacity == 20 && r.low == 20 && r.n_runs == 3 && r.answer_tokens == 64);
    assert_true(fabs(fleet_watts(&r, 20) - 200) < 1e-9 && fabs(fleet_watts(&r, 0) - 100) < 1e-9);
    a.limit_ms[FLEET_TTFT_P90] = 10;
    assert_int_equal(fleet_levels_read(&r, &k, &a, path, &e), ERR_OK);
    assert_true(r.capacity == 0 && strstr(r.why, "none of its 3 levels"));
    remove(path);
}

/* Energy and money of a fleet that is counted by hand: 2 + 1 replicas that are always 40 W. */
static void money_is_counted(void **state)
{
    (void)state;
    struct fleet_ask a = some_ask();
    const struct fleet_kind bought = {.name = "m", .price = 4800, .hour = -1};
    const struct fleet_kind rented = {.name = "m", .price = -1, .hour = 1};
    struct fleet_answer x = {.kind = &bought, .machines = 1};
    x.replica = (struct fleet_replica){.capacity = 1, .low = 1, .idle_w = 40, .answer_tokens = 100};
    a.users = 1000;
    a.requests_day = 1.5 * 86.4; /* 1.5 a second */
    fleet_price(&x, &a);
    assert_true(fabs(x.peak_rate - 1.5) < 1e-9);
    assert_int_equal(x.size.total, 3);
    assert_true(fabs(x.kwh_day - 3 * 0.04 * 24) < 1e-9 && fabs(x.peak_w - 120) < 1e-9);
    assert_true(fabs(x.machines_month - 300) < 1e-9);
    assert_true(fabs(x.energy_month - x.kwh_day * 30.4375 * 0.2) < 1e-9);
    assert_true(fabs(x.million - x.month / (1.5 * 86400 * 30.4375 * 100) * 1e6) < 1e-6);
    for (size_t n = 1; n <= 4; n += 3) { /* a price is of one: a replica may be several */
        double hours = (double)(3 * n) * 24 * 30.4375;
        x = (struct fleet_answer){.kind = &rented, .replica = x.replica, .machines = n};
        fleet_price(&x, &a);
        assert_true(fabs(x.month - hours) < 1e-6 && fabs(x.elastic_month - x.month) < 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_at_a_time_is_m_d_1),
        cmocka_unit_test(many_at_a_time_wait_less_than_erlang_says),
        cmocka_unit_test(a_replica_takes_what_the_formula_says),
        cmocka_unit_test(what_cannot_be_is_explained),
        cmocka_unit_test(conversations_go_on),
        cmocka_unit_test(settled_runs_are_as_long_ones),
        cmocka_unit_test(the_context_is_never_exceeded),
        cmocka_unit_test(too_many_late_ones_end_a_run),
        cmocka_unit_test(more_users_never_need_fewer),
        cmocka_unit_test(what_cannot_be_has_no_size),
        cmocka_unit_test(spares_are_by_the_binomial),
        cmocka_unit_test(the_ring_gives_its_shares),
        cmocka_unit_test(speeds_are_read),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(levels_are_read),
        cmocka_unit_test(money_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
