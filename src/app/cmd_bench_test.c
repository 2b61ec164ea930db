/* SPDX-License-Identifier: MIT
 * cmd_bench_test.c - what bench counts, against figures worked out by hand. */
#include "base/test.h"

#include "app/cmd_bench.h"
#include "base/num.h"
#include "plan/plan.h"

#include <string.h>

/* Two layers, 4 heads and 2 KV heads of 32, width 64, feed-forward 128, vocabulary 96; the second
 * layer sees 4 positions.  Everything Q8_0 but the output, which is F16. */
static struct model_layer layers[2];
static struct model model = {.dim = 64,
                             .ff = 128,
                             .n_layer = 2,
                             .n_head = 4,
                             .n_kv_head = 2,
                             .k_dim = 32,
                             .v_dim = 32,
                             .n_vocab = 96,
                             .n_attend = 2,
                             .layers = layers};
static struct plan_op ops[2 * 5 + 1];
static struct plan plan = {.model = &model, .ops = ops, .n_ops = 2 * 5 + 1};

/* Of a layer: q 128x64, k and v 64x64, o 64x128, gate and up 128x64, down 64x128. */
#define LAYER_MACS  (2 * 128 * 64 + 2 * 64 * 64 + 3 * 128 * 64)
#define HEAD_MACS   (96 * 64)
#define LAYER_BYTES (LAYER_MACS / 32 * 34)
#define HEAD_BYTES  (HEAD_MACS * 2)
/* Keys and values of a position, both layers, 16 bits. */
#define KV_BYTES (2 * 2 * (32 + 32) * 2)
/* Multiply-adds of a query at a position. */
#define QUERY_MACS (4 * (32 + 32))

static struct model_matrix matrix(enum format f, size_t rows, size_t cols)
{
    return (struct model_matrix){.format = f, .rows = rows, .cols = cols};
}

static struct plan_op matmul(int layer, enum plan_rows rows, const struct model_matrix *a,
                             const struct model_matrix *b, const struct model_matrix *c)
{
    return (struct plan_op){
        .kind = PLAN_MATMUL,
        .layer = layer,
        .rows = rows,
        .part = {{.weight = a}, {.weight = b}, {.weight = c}},
        .n_parts = 1 + (b != NULL) + (c != NULL)
    };
}

static int make_model(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct model_layer *l = &layers[i];
        *l = (struct model_layer){
            .n_head = 4,
            .k_dim = 32,
            .v_dim = 32,
            .q = matrix(FORMAT_Q8_0, 128, 64),
            .k = matrix(FORMAT_Q8_0, 64, 64),
            .v = matrix(FORMAT_Q8_0, 64, 64),
            .o = matrix(FORMAT_Q8_0, 64, 128),
            .ffn = {.gate = matrix(FORMAT_Q8_0, 128, 64),
                    .up = matrix(FORMAT_Q8_0, 128, 64),
                    .down = matrix(FORMAT_Q8_0, 64, 128)}
        };
        struct plan_op *op = ops + 5 * i;
        op[0] = matmul(i, PLAN_ROWS_ALL, &l->q, &l->k, &l->v);
        op[1] = (struct plan_op){.kind = PLAN_ATTEND, .layer = i, .window = i == 1 ? 4 : 0};
        op[2] = matmul(i, PLAN_ROWS_ALL, &l->o, NULL, NULL);
        op[3] = matmul(i, PLAN_ROWS_ALL, &l->ffn.gate, &l->ffn.up, NULL);
        op[4] = matmul(i, PLAN_ROWS_ALL, &l->ffn.down, NULL, NULL);
    }
    model.output = matrix(FORMAT_F16, 96, 64);
    ops[10] = matmul(-1, PLAN_ROWS_OUT, &model.output, NULL, NULL);
    return 0;
}

static struct bench_work work_of(struct bench_row r)
{
    /* The C level reads the file's own rows and computes in floats. */
    struct bench_how how = {.level = CPU_c, .batch = 8, .kv_position = KV_BYTES};
    return bench_work(&plan, &r, &how);
}

#define assert_count(a, b) assert_float_equal((float)(a), (float)(b), 0.5f)

static void decode(void **state)
{
    (void)state;
    struct bench_work w = work_of(
        (struct bench_row){.kind = BENCH_DECODE, .tokens = 3, .seqs = 1, .at = 10});
    assert_count(w.int8_macs, 0);
    assert_count(w.float_macs, 3 * (2 * LAYER_MACS + HEAD_MACS));
    assert_count(w.file_bytes, 3 * (2 * LAYER_BYTES + HEAD_BYTES));
    assert_count(w.weight_bytes, w.file_bytes);
    /* Positions 10, 11, 12 see 11, 12 and 13 of the first layer, 4 of the second. */
    assert_count(w.attend_macs, (11 + 12 + 13 + 3 * 4) * QUERY_MACS);
    assert_count(w.kv_bytes, (11 + 12 + 13 + 3 * 4) * KV_BYTES / 2);
}

static void batch(void **state)
{
    (void)state;
    struct bench_work w = work_of((struct bench_row){.kind = BENCH_BATCH, .tokens = 2, .seqs = 5});
    assert_count(w.float_macs, 2 * 5 * (2 * LAYER_MACS + HEAD_MACS));
    assert_count(w.file_bytes,
                 2 * (2 * LAYER_BYTES + HEAD_BYTES)); /* once a step, not a sequence */
    assert_count(w.attend_macs, 5 * 2 * (1 + 2) * QUERY_MACS);
    assert_count(w.kv_bytes, 5 * 2 * (1 + 2) * KV_BYTES / 2);
}

static void prefill(void **state)
{
    (void)state;
    /* Ten tokens: a step of 8 and one of 2, logits after the last. */
    struct bench_work w = work_of(
        (struct bench_row){.kind = BENCH_PREFILL, .tokens = 10, .seqs = 1});
    assert_count(w.float_macs, 10 * 2 * LAYER_MACS + HEAD_MACS);
    assert_count(w.file_bytes, 2 * 2 * LAYER_BYTES + HEAD_BYTES);
    assert_count(w.attend_macs, (55 + (1 + 2 + 3 + 7 * 4)) * QUERY_MACS);
    /* First layer: 8, then 10.  Second: all 8, then positions 5 to 9. */
    assert_count(w.kv_bytes, (8 + 10 + 8 + 5) * KV_BYTES / 2);
}

/* Of 8 experts a token meets 2; a step of 5 rows reads those that any of them meets.  States are
 * read and written by each sequence in each step. */
static void experts_and_states(void **state)
{
    (void)state;
    struct model_matrix router = matrix(FORMAT_F32, 8, 64), up = matrix(FORMAT_Q8_0, 8 * 32, 64);
    struct plan_op some[2] = {matmul(0, PLAN_ROWS_ALL, &router, NULL, NULL),
                              matmul(0, PLAN_ROWS_ALL, &up, NULL, NULL)};
    some[1].kind = PLAN_EXPERTS;
    some[1].n_experts = 8;
    struct model few = {.n_chosen = 2, .n_expert = 8};
    struct plan p = {.model = &few, .ops = some, .n_ops = 2, .state_floats = 100};
    struct bench_row r = {.kind = BENCH_BATCH, .tokens = 3, .seqs = 5};
    struct bench_how how = {.level = CPU_c, .batch = 8};
    struct bench_work w = bench_work(&p, &r, &how);
    assert_count(w.float_macs, 15 * (8 * 64 + 2 * 32 * 64));
    double met = 1 - 0.75 * 0.75 * 0.75 * 0.75 * 0.75;
    assert_count(w.file_bytes, 3 * (8 * 64 * 4 + met * 8 * 32 * 64 / 32 * 34));
    assert_count(w.state_bytes, 3 * 5 * 2 * 100 * 4);
}

static void levels(void **state)
{
    (void)state;
    enum cpu_level best = cpu_best();
    if (best == CPU_c)
        skip();
    struct bench_row r = {.kind = BENCH_DECODE, .tokens = 1, .seqs = 1};
    struct bench_how how = {.level = best, .batch = 8, .kv_position = KV_BYTES};
    struct bench_work w = bench_work(&plan, &r, &how);
    assert_count(w.int8_macs, 2 * LAYER_MACS);
    assert_count(w.float_macs, HEAD_MACS);
}

/* A machine of round numbers: 100 GMAC/s in bytes, 10 in floats, 10 GB/s. */
static void rates(void **state)
{
    (void)state;
    struct bench b = {.n_rows = 4};
    b.machine.rate[MACHINE_int8].all = 100;
    b.machine.rate[MACHINE_f32].all = 10;
    b.machine.rate[MACHINE_read].all = 10;
    struct bench_work w = {.int8_macs = 40e9,
                           .float_macs = 1e9,
                           .attend_macs = 1e9,
                           .weight_bytes = 4e9,
                           .file_bytes = 3e9,
                           .kv_bytes = 1e9};
    /* One second each. */
    b.rows[0] = (struct bench_row){
        .kind = BENCH_DECODE, .tokens = 7, .seqs = 1, .median = 7, .work = w};
    b.rows[1] = b.rows[0];
    b.rows[1].kind = BENCH_PREFILL;
    b.rows[2] = b.rows[0];
    b.rows[2].at = 100; /* and a context that costs one second more */
    b.rows[2].median = 3.5;
    b.rows[2].work.kv_bytes = 6e9;
    b.rows[2].work.attend_macs = 5e9;
    b.rows[3] = b.rows[2]; /* the same while memory was slower */
    b.rows[3].room = 17.5e9;
    bench_rates(&b);
    const struct bench_row *r = b.rows;
    assert_float_equal(r->gmacs, 42, 1e-4);
    assert_float_equal(r->gbs, 5, 1e-5);
    assert_float_equal(r->file_gbs, 4, 1e-5);
    assert_float_equal(r->matrix_share, 0.5, 1e-5);
    assert_float_equal(r->product_share, 0.6, 1e-5);
    assert_float_equal(r->read_share, 0.5, 1e-5);
    assert_float_equal(r->file_share, 0.4, 1e-5);
    assert_float_equal(r->kv_gbs, 0, 0);
    assert_float_equal(b.rows[2].kv_gbs, 5, 1e-5);
    assert_float_equal(b.rows[2].kv_share, 0.5, 1e-5);
    assert_float_equal(b.rows[2].read_share, 0.5, 1e-5);
    assert_float_equal(b.rows[3].read_share, 10 / 17.5, 1e-5);
    assert_float_equal(b.rows[3].kv_gbs, 5 / 7.5 * 17.5 / 2, 1e-5);
    assert_float_equal(b.rows[3].kv_share, 5 / 7.5, 1e-5);
    assert_float_equal(b.rows[2].attend_gmacs, 4, 1e-5);
    assert_float_equal(b.rows[2].attend_share, 0.4, 1e-5);
}

static void lists(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      ",",
                                      "1,",
                                      ",1",
                                      "1,,2",
                                      "x",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "0",
                                      "1;2",
                                      "65",
                                      "99999999999999999999",
                                      "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"};
    struct bench_list l;
    struct errinfo e;
    assert_int_equal(bench_list_read(&l, "--batch", "4,64,1", 64, &e), ERR_OK);
    assert_int_equal(l.n, 3);
    assert_true(l.v[0] == 4 && l.v[1] == 64 && l.v[2] == 1);
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        assert_int_equal(bench_list_read(&l, "--batch", bad[i], 64, &e), ERR_USAGE);
        assert_non_null(strstr(e.text, "--batch"));
    }
}

/* A model's name is other people's text. */
static void picture(void **state)
{
    (void)state;
    char path[] = "/tmp/damso-bench-XXXXXX", text[1 << 16];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct bench b = {
        .model = "a<b>&\x01\"c\xff", .n_rows = 1, .machine = {.cpu = "x<y", .threads = 2}
    };
    b.rows[0] = (struct bench_row){.kind = BENCH_BATCH,
                                   .tokens = 8,
                                   .seqs = 16,
                                   .median = 5,
                                   .product_share = 0.5,
                                   .read_share = 7};
    struct errinfo e;
    assert_int_equal(bench_draw(&b, path, &e), ERR_OK);
    FILE *f = fdopen(fd, "r");
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    fclose(f);
    remove(path);
    assert_non_null(strstr(text, "a&lt;b&gt;&amp; \"c\xef\xbf\xbd"));
    assert_non_null(strstr(text, "x&lt;y"));
    assert_non_null(strstr(text, ">decode 8 x 16<"));
    assert_non_null(strstr(text, "width=\"200.0\"")); /* half of the bar */
    assert_non_null(strstr(text, "width=\"440.0\"")); /* over the limit: a little over */
    assert_int_equal(bench_draw(&b, "/no/such/folder/x.svg", &e), ERR_IO);
    assert_non_null(strstr(e.text, "/no/such/folder/x.svg"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode),  cmocka_unit_test(batch),
        cmocka_unit_test(prefill), cmocka_unit_test(experts_and_states),
        cmocka_unit_test(levels),  cmocka_unit_test(rates),
        cmocka_unit_test(lists),   cmocka_unit_test(picture),
    };
    return cmocka_run_group_tests(tests, make_model, NULL);
}
