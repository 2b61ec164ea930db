/* SPDX-License-Identifier: MIT
 * device_test.c - one contract, the same bits: on every instruction-set level, in every batch, with
 * any number of threads, on every chip file; prices of steps; the clocks. */
#include "app/device.h"

#include "app/chip.h"
#include "base/num.h"
#include "base/test.h"
#include "dev/dev_price.h"
#include "engine/sched.h"
#include "model/model_shape.h"
#include "os/os_sys.h"

#include <math.h>
#include <string.h>

#define N_IDS 48

static const enum kern_numerics contracts[] = {KERN_INT8, KERN_BF16};

struct how {
    enum kern_numerics numerics;
    enum cpu_level level;
    int n_threads;
    size_t step; /* rows of a step */
    const char *chip;
};

/* The logits of every position, [N_IDS][n_vocab]; the caller's. */
static float *logits_of(const char *path, const struct how *h, size_t *n_vocab)
{
    struct gguf *g;
    struct engine *en;
    struct npu_chip *chip = NULL;
    struct errinfo e;
    uint64_t rng = 7;
    struct engine_opts o = {.ctx = 128,
                            .batch = 64,
                            .out_max = 64,
                            .n_threads = h->n_threads,
                            .level = h->level,
                            .numerics = h->numerics};
    if (h->chip) {
        assert_int_equal(chip_open(&chip, h->chip, &e), ERR_OK);
        o.sim = (struct dev_sim_opts){.chip = chip, .name = chip->name};
    }
    if (gguf_open(&g, path, &e) != ERR_OK || engine_open(&en, g, &o, &e) != ERR_OK)
        fail_msg("%s", e.text);
    *n_vocab = engine_model(en)->n_vocab;
    float *all = mem_alloc(N_IDS * *n_vocab * sizeof *all);
    struct engine_seq *s = engine_seq_new(en);
    for (size_t at = 0; at < N_IDS;) {
        struct engine_row rows[N_IDS];
        const float *got[N_IDS];
        size_t n = MIN(h->step, N_IDS - at);
        for (size_t i = 0; i < n; i++)
            rows[i] = (struct engine_row){s, (int32_t)(num_rand(&rng) % *n_vocab), ENGINE_LOGITS};
        assert_int_equal(engine_step(en, rows, n, got, &e), ERR_OK);
        for (size_t i = 0; i < n; i++, at++)
            memcpy(all + at * *n_vocab, got[i], *n_vocab * sizeof *all);
    }
    assert_true(!h->chip == !engine_sim(en));
    assert_true(!h->chip || (engine_sim(en)->ns > 0 && engine_sim(en)->joules > 0));
    engine_seq_free(s);
    engine_close(en);
    gguf_close(g);
    npu_chip_free(chip);
    return all;
}

static void same_bits(const char *path, const float *want, const struct how *h)
{
    size_t n_vocab;
    float *got = logits_of(path, h, &n_vocab);
    for (size_t i = 0; i < N_IDS * n_vocab; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0)
            fail_msg("%s, %s, %s, %d threads, %zu rows, %s: position %zu, token %zu: %.9g, not "
                     "%.9g",
                     path, kern_numerics_name(h->numerics), cpu_level_name(h->level), h->n_threads,
                     h->step, h->chip ? h->chip : "cpu", i / n_vocab, i % n_vocab, (double)got[i],
                     (double)want[i]);
    mem_free(got);
}

/* Every family of blocks: windows, caps, norms of heads, biases, one head of keys. */
static void every_level_gives_the_same_bits(void **state)
{
    (void)state;
    static const char *const files[] = {"llama",  "llama-bias-mqa", "gemma2",
                                        "gemma3", "qwen2",          "qwen3-mqa"};
    for (size_t f = 0; f < N_ELEMS(files); f++)
        for (size_t c = 0; c < N_ELEMS(contracts); c++) {
            char path[64];
            size_t n_vocab;
            snprintf(path, sizeof path, "tests/data/arch/%s.gguf", files[f]);
            struct how h = {contracts[c], CPU_c, 1, N_IDS, NULL};
            float *want = logits_of(path, &h, &n_vocab);
            for (int level = 0; level < CPU_LEVEL_N; level++)
                for (int threads = 1; threads <= 2 && cpu_has((enum cpu_level)level); threads++)
                    for (size_t step = 1; step <= N_IDS; step = step * 7) {
                        h = (struct how){contracts[c], (enum cpu_level)level, threads, step, NULL};
                        same_bits(path, want, &h);
                    }
            mem_free(want);
        }
}

static const char *const chips[][3] = {
    {"x220-compact", "warboy", "tpu-v1"},
    {"atom",         "rngd",   "l4"    }
};

static void every_chip_gives_the_same_bits(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_ELEMS(contracts); c++) {
        size_t n_vocab;
        struct how h = {contracts[c], cpu_best(), 2, 16, NULL};
        float *want = logits_of("tests/data/arch/llama.gguf", &h, &n_vocab);
        for (size_t i = 0; i < N_ELEMS(chips[c]); i++) {
            h.chip = chips[c][i];
            same_bits("tests/data/arch/llama.gguf", want, &h);
        }
        mem_free(want);
    }
}

static void real_model(char path[512])
{
    const char *folder = getenv("DAMSO_TEST_MODELS");
    if (!folder || !*folder)
        skip();
    snprintf(path, 512, "%s/smollm2-135m-instruct.gguf", folder);
}

static void smollm2_has_the_same_bits_everywhere(void **state)
{
    (void)state;
    char path[512];
    real_model(path);
    for (size_t c = 0; c < N_ELEMS(contracts); c++) {
        size_t n_vocab;
        struct how h = {contracts[c], CPU_c, 2, N_IDS, NULL};
        float *want = logits_of(path, &h, &n_vocab);
        const enum cpu_level levels[] = {cpu_capped(CPU_avx2), cpu_best()};
        for (size_t i = 0; i < N_ELEMS(levels); i++) {
            h.level = levels[i];
            same_bits(path, want, &h);
        }
        h.step = 16;
        for (size_t i = 0; i < N_ELEMS(chips[c]); i++) {
            h.chip = chips[c][i];
            same_bits(path, want, &h);
        }
        mem_free(want);
    }
}

/* ---- how far the contracts are from what is exact ---- */

static double divergence(const float *p, const float *q, size_t n)
{
    double most_p = -INFINITY, most_q = -INFINITY, sum_p = 0, sum_q = 0, kl = 0;
    for (size_t i = 0; i < n; i++) {
        most_p = MAX(most_p, (double)p[i]);
        most_q = MAX(most_q, (double)q[i]);
    }
    for (size_t i = 0; i < n; i++) {
        sum_p += exp((double)p[i] - most_p);
        sum_q += exp((double)q[i] - most_q);
    }
    for (size_t i = 0; i < n; i++) {
        double lp = (double)p[i] - most_p - log(sum_p), lq = (double)q[i] - most_q - log(sum_q);
        kl += exp(lp) * (lp - lq);
    }
    return kl;
}

static void contracts_are_near_the_model(void **state)
{
    (void)state;
    static const double most[] = {0.2, 0.001}; /* mean, nats: docs/CHIPS.md */
    char path[512];
    size_t n_vocab;
    real_model(path);
    struct how h = {KERN_NATIVE, CPU_c, 2, N_IDS, NULL};
    float *want = logits_of(path, &h, &n_vocab);
    for (size_t c = 0; c < N_ELEMS(contracts); c++) {
        double sum = 0;
        h = (struct how){contracts[c], cpu_best(), 2, N_IDS, NULL};
        float *got = logits_of(path, &h, &n_vocab);
        for (size_t i = 0; i < N_IDS; i++)
            sum += divergence(want + i * n_vocab, got + i * n_vocab, n_vocab);
        printf("%s: mean divergence from float32 %.6f nats\n", kern_numerics_name(contracts[c]),
               sum / N_IDS);
        assert_true(sum / N_IDS < most[c]);
        mem_free(got);
    }
    mem_free(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_gives_the_same_bits),
        cmocka_unit_test(every_chip_gives_the_same_bits),
        cmocka_unit_test(smollm2_has_the_same_bits_everywhere),
        cmocka_unit_test(contracts_are_near_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
