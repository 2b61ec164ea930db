/* SPDX-License-Identifier: MIT
 * engine_logits_test.c - both real models against their outside reference (tests/data/logits, made
 * by tools/logits_vectors.py): the same file with every tensor as F32 and float activations.
 *
 * The C level must be within a mean divergence of 1e-5 nats; every other level of this machine at
 * least as near as llama.cpp's own quantised path on the same text.  Greedy answers of the C level
 * equal the reference's for as long as its two best logits differ by more than 0.05. */
#include "base/arena.h"
#include "base/num.h"
#include "base/test.h"
#include "engine/engine.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#define N_MAX      512
#define ANSWER_MAX 64

/* Of the C level, whose tokens take six times as long as AVX2's: past one part of attention, and
 * the logits of every second position. */
#define N_C     320
#define EVERY_C 2

static const char *const models[] = {"smollm2-135m-instruct", "gemma3-270m"};
static const char *const langs[] = {"en", "ko"};

/* What a .ref file holds. */
struct ref {
    uint32_t n, top;
    float theirs;  /* mean divergence of llama.cpp's quantised path */
    int32_t *ids;  /* [n] */
    int32_t *best; /* [n][top] */
    float *logp;   /* [n][top] */
};

static void read_ref(struct ref *r, struct arena *a, const char *model, const char *lang)
{
    char path[256], magic[8];
    snprintf(path, sizeof path, "tests/data/logits/%s-%s.ref", model, lang);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(magic, 1, 8, f), 8);
    assert_memory_equal(magic, "DAMSOREF", 8);
    assert_int_equal(fread(&r->n, 4, 1, f), 1);
    assert_int_equal(fread(&r->top, 4, 1, f), 1);
    assert_int_equal(fread(&r->theirs, 4, 1, f), 1);
    assert_true(r->n <= N_MAX && r->top <= 64);
    size_t all = (size_t)r->n * r->top;
    r->ids = arena_array(a, r->n, 4);
    r->best = arena_array(a, all, 4);
    r->logp = arena_array(a, all, 4);
    assert_int_equal(fread(r->ids, 4, r->n, f), r->n);
    assert_int_equal(fread(r->best, 4, all, f), all);
    assert_int_equal(fread(r->logp, 4, all, f), all);
    fclose(f);
}

/* The divergence of one position over the best tokens and the rest. */
static double divergence(const struct ref *r, size_t at, const float *logits, size_t n_vocab)
{
    double most = -1e30, sum = 0, kl = 0, rest_p = 1, rest_q = 1;
    for (size_t i = 0; i < n_vocab; i++)
        most = MAX(most, (double)logits[i]);
    for (size_t i = 0; i < n_vocab; i++)
        sum += exp((double)logits[i] - most);
    for (size_t k = 0; k < r->top; k++) {
        double p = (double)r->logp[at * r->top + k];
        double q = (double)logits[r->best[at * r->top + k]] - most - log(sum);
        kl += exp(p) * (p - q);
        rest_p -= exp(p);
        rest_q -= exp(q);
    }
    rest_p = MAX(rest_p, 1e-12);
    return kl + rest_p * log(rest_p / MAX(rest_q, 1e-12));
}

struct opened {
    struct gguf *g;
    struct engine *en;
};

/* False, and the test is skipped, where no models are given. */
static bool open_kv(struct opened *o, const char *name, enum cpu_level level, size_t out_max,
                    enum kern_kv kv)
{
    char path[4096];
    struct errinfo e;
    const char *folder = getenv("DAMSO_TEST_MODELS");
    struct engine_opts opts = {.ctx = 1500, .out_max = out_max, .level = level, .kv = kv};
    if (!folder) {
        print_message("DAMSO_TEST_MODELS is not set: nothing to compare\n");
        return false;
    }
    snprintf(path, sizeof path, "%s/%s.gguf", folder, name);
    if (gguf_open(&o->g, path, &e) != ERR_OK || engine_open(&o->en, o->g, &opts, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return true;
}

static bool open_model(struct opened *o, const char *name, enum cpu_level level, size_t out_max)
{
    return open_kv(o, name, level, out_max, KERN_KV_f16);
}

static void close_model(struct opened *o)
{
    engine_close(o->en);
    gguf_close(o->g);
}

/* The mean of every `every`-th of the first n positions. */
static double mean_divergence(struct opened *o, const struct ref *r, size_t n, size_t every)
{
    static const float *logits[N_MAX];
    static struct engine_row rows[N_MAX];
    struct errinfo e;
    double sum = 0;
    size_t n_wanted = num_div_up(n, every);
    struct engine_seq *s = engine_seq_new(o->en);
    assert_true(n <= r->n);
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct engine_row){s, r->ids[i], i % every == 0};
    assert_int_equal(engine_step(o->en, rows, n, logits, &e), ERR_OK);
    for (size_t i = 0; i < n_wanted; i++)
        sum += divergence(r, i * every, logits[i], engine_model(o->en)->n_vocab);
    engine_seq_free(s);
    return sum / (double)n_wanted;
}

static void near_the_reference(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    for (size_t m = 0; m < N_ELEMS(models); m++)
        for (int level = 0; level < CPU_LEVEL_N; level++) {
            struct opened o;
            if (!cpu_has((enum cpu_level)level))
                continue;
            if (!open_model(&o, models[m], (enum cpu_level)level, N_MAX)) {
                arena_done(&a);
                skip();
            }
            for (size_t l = 0; l < N_ELEMS(langs); l++) {
                struct ref r;
                read_ref(&r, &a, models[m], langs[l]);
                bool c = level == CPU_c;
                double kl = mean_divergence(&o, &r, c ? N_C : r.n, c ? EVERY_C : 1);
                double bound = c ? 1e-5 : (double)r.theirs;
                print_message("%s %s %s: %.3g nats (bound %.3g)\n", models[m], langs[l],
                              cpu_level_name((enum cpu_level)level), kl, bound);
                assert_true(kl >= -1e-6 && kl <= bound);
            }
            close_model(&o);
        }
    arena_done(&a);
}

/* One prefill, steps of one, and uneven pieces among another sequence's rows: the same bits. */
static void steps_and_prefill_agree(void **state)
{
    (void)state;
    enum { N = 150 };
    struct arena a;
    struct opened o;
    struct ref r;
    struct errinfo e;
    const float *logits[2];
    arena_init(&a);
    if (!open_model(&o, models[1], cpu_best(), 2)) {
        arena_done(&a);
        skip();
    }
    size_t vocab = engine_model(o.en)->n_vocab;
    read_ref(&r, &a, models[1], "ko");
    float *want = arena_array(&a, vocab, sizeof *want);
    struct engine_seq *s = engine_seq_new(o.en), *other = engine_seq_new(o.en);
    assert_int_equal(engine_prefill(o.en, s, r.ids, N, NULL, NULL, logits, &e), ERR_OK);
    memcpy(want, logits[0], vocab * sizeof *want);
    engine_seq_cut(s, 70);
    for (size_t i = 70; i < N; i++) {
        struct engine_row row = {s, r.ids[i], i + 1 == N};
        assert_int_equal(engine_step(o.en, &row, 1, logits, &e), ERR_OK);
    }
    assert_memory_equal(want, logits[0], vocab * sizeof *want);
    struct engine_seq *fork = engine_seq_new(o.en);
    assert_int_equal(engine_seq_reuse(fork, r.ids, 130), 128);
    for (size_t i = 128; i < N; i++) {
        struct engine_row rows[9];
        size_t n = 0;
        for (; n < i % 8; n++)
            rows[n] = (struct engine_row){other, r.ids[i + n], false};
        rows[n++] = (struct engine_row){fork, r.ids[i], i + 1 == N};
        assert_int_equal(engine_step(o.en, rows, n, logits, &e), ERR_OK);
    }
    assert_memory_equal(want, logits[0], vocab * sizeof *want);
    engine_seq_free(fork);
    engine_seq_free(other);
    engine_seq_free(s);
    close_model(&o);
    arena_done(&a);
}

/* The reference's logits beside those over keys and values of another format; bound: of what the
 * reference itself differs by from more exact numbers. */
static void check_context(enum kern_kv kv, double bound_by, double bound_least)
{
    struct arena a;
    arena_init(&a);
    for (size_t m = 0; m < N_ELEMS(models); m++) {
        struct opened o;
        if (!open_kv(&o, models[m], cpu_best(), N_MAX, kv)) {
            arena_done(&a);
            skip();
        }
        for (size_t l = 0; l < N_ELEMS(langs); l++) {
            struct ref r;
            read_ref(&r, &a, models[m], langs[l]);
            double kl = mean_divergence(&o, &r, r.n, 1);
            double bound = MAX(bound_by * (double)r.theirs, bound_least);
            print_message("%s %s %s: %.3g nats (bound %.3g)\n", models[m], langs[l],
                          kern_kv_name(kv), kl, bound);
            assert_true(kl >= -1e-6 && kl <= bound);
        }
        close_model(&o);
    }
    arena_done(&a);
}

static void eight_bit_context_is_near(void **state)
{
    (void)state;
    check_context(KERN_KV_q8, 1.5, 0);
}

/* Sixteen steps are few: a bound that a wrong scale or order would pass by far. */
static void four_bit_context_is_near(void **state)
{
    (void)state;
    check_context(KERN_KV_q4, 0, 0.12);
}

/* A context of more than one part of attention, taken apart over threads in steps of one row and
 * computed in tiles in a prefill: the same bits, in both formats. */
static void long_contexts_agree(void **state)
{
    (void)state;
    enum { N = 1300, STEPS = 4 };
    static int32_t ids[N];
    uint64_t rng = 3;
    struct errinfo e;
    for (size_t i = 0; i < N; i++)
        ids[i] = (int32_t)(num_rand(&rng) % 40000);
    for (int kv = 0; kv < KERN_KV_N; kv++) {
        struct opened o;
        const float *logits;
        if (!open_kv(&o, models[0], cpu_best(), 1, (enum kern_kv)kv))
            skip();
        size_t vocab = engine_model(o.en)->n_vocab;
        float *want = mem_alloc(vocab * sizeof *want);
        struct engine_seq *s = engine_seq_new(o.en);
        assert_int_equal(engine_prefill(o.en, s, ids, N, NULL, NULL, &logits, &e), ERR_OK);
        memcpy(want, logits, vocab * sizeof *want);
        engine_seq_cut(s, N - STEPS);
        for (size_t i = N - STEPS; i < N; i++) {
            struct engine_row row = {s, ids[i], i + 1 == N};
            assert_int_equal(engine_step(o.en, &row, 1, &logits, &e), ERR_OK);
        }
        assert_memory_equal(want, logits, vocab * sizeof *want);
        engine_seq_free(s);
        mem_free(want);
        close_model(&o);
    }
}

static int32_t best_of(const float *logits, size_t n)
{
    int32_t best = 0;
    for (size_t v = 1; v < n; v++)
        best = logits[v] > logits[best] ? (int32_t)v : best;
    return best;
}

/* In one step: as long as each token is the reference's, what comes before the next one is, too. */
static void check_answer(struct opened *o, const json_t *one)
{
    const json_t *ids = json_object_get(one, "ids"), *answer = json_object_get(one, "answer");
    const json_t *margins = json_object_get(one, "margins");
    const char *text = json_string_value(json_object_get(one, "prompt"));
    struct engine_row rows[256 + ANSWER_MAX];
    const float *logits[ANSWER_MAX + 1];
    struct errinfo e;
    size_t n = json_array_size(ids), n_vocab = engine_model(o->en)->n_vocab, same = 0;
    assert_true(n > 0 && n <= 256 && json_array_size(answer) <= ANSWER_MAX);
    while (same < json_array_size(answer) &&
           json_number_value(json_array_get(margins, same)) > 0.05)
        same++;
    struct engine_seq *s = engine_seq_new(o->en);
    for (size_t i = 0; i < n + same; i++) {
        const json_t *id = i < n ? json_array_get(ids, i) : json_array_get(answer, i - n);
        rows[i] = (struct engine_row){s, (int32_t)json_integer_value(id), i + 1 >= n};
    }
    assert_int_equal(engine_step(o->en, rows, n + same, logits, &e), ERR_OK);
    for (size_t i = 0; i < same; i++) {
        int32_t best = best_of(logits[i], n_vocab), want = rows[n + i].token;
        if (best != want)
            fail_msg("%s: token %zu is %d, not %d", text, i, best, want);
    }
    print_message("%zu tokens agree: %s\n", same, text);
    engine_seq_free(s);
}

static void greedy_answers_agree(void **state)
{
    (void)state;
    for (size_t m = 0; m < N_ELEMS(models); m++) {
        char path[256];
        struct opened o;
        json_error_t err;
        snprintf(path, sizeof path, "tests/data/logits/greedy-%s.json", models[m]);
        json_t *all = json_load_file(path, 0, &err), *one;
        size_t i;
        assert_non_null(all);
        assert_int_equal(json_array_size(all), 10);
        if (!open_model(&o, models[m], CPU_c, ANSWER_MAX + 1)) {
            json_decref(all);
            skip();
        }
        json_array_foreach(all, i, one) check_answer(&o, one);
        close_model(&o);
        json_decref(all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_the_reference),       cmocka_unit_test(steps_and_prefill_agree),
        cmocka_unit_test(long_contexts_agree),      cmocka_unit_test(eight_bit_context_is_near),
        cmocka_unit_test(four_bit_context_is_near), cmocka_unit_test(greedy_answers_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
