/* SPDX-License-Identifier: MIT
 * device_test.c - one contract, the same bits: on every instruction-set level, in every batch, with
 * any number of threads, on every chip file; prices of steps; the clocks. */
#include "app/device.h"

#include "app/chip.h"
#include "base/num.h"
#include "base/test.h"
#include "dev/dev_price.h"
#include "engine/engine_cache.h"
#include "engine/load.h"
#include "engine/sched.h"
#include "model/model_shape.h"
#include "npu/npu_team.h"
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

/* Families of blocks: windows, caps, norms of heads, biases, one head of keys, slopes, sinks,
 * experts, latent attention, scores that grow, layers with heads of their own. */
static const char *const files[] = {"arch/llama",     "arch/llama-bias-mqa", "arch/gemma2",
                                    "arch/gemma3",    "arch/qwen3-mqa",      "family/mpt",
                                    "family/gpt-oss", "family/llama4",       "family/deepseek-v2",
                                    "family/grok-2",  "family/openelm"};

static void every_level_gives_the_same_bits(void **state)
{
    (void)state;
    for (size_t f = 0; f < N_ELEMS(files); f++)
        for (size_t c = 0; c < N_ELEMS(contracts); c++) {
            char path[64];
            size_t n_vocab;
            snprintf(path, sizeof path, "tests/data/%s.gguf", files[f]);
            struct how h = {contracts[c], CPU_c, 1, N_IDS, NULL};
            float *want = logits_of(path, &h, &n_vocab);
            for (int level = 0; level < CPU_LEVEL_N; level++)
                for (int threads = 1; threads <= 2 && cpu_has((enum cpu_level)level); threads++) {
                    size_t step = threads == 1 ? 1 : 7;
                    h = (struct how){contracts[c], (enum cpu_level)level, threads, step, NULL};
                    same_bits(path, want, &h);
                }
            mem_free(want);
        }
}

/* Keys and values of one way of computing are of no use to another. */
static void what_is_kept_is_of_one_contract(void **state)
{
    (void)state;
    char key[KERN_NUMERICS_N][ENGINE_CACHE_KEY];
    for (int n = 0; n < KERN_NUMERICS_N; n++) {
        struct gguf *g;
        struct engine *en;
        struct errinfo e;
        const struct engine_opts o = {
            .ctx = 64, .n_threads = 1, .level = cpu_best(), .numerics = (enum kern_numerics)n};
        if (gguf_open(&g, "tests/data/arch/llama.gguf", &e) != ERR_OK ||
            engine_open(&en, g, &o, &e) != ERR_OK)
            fail_msg("%s", e.text);
        engine_cache_key(en, key[n]);
        for (int k = 0; k < n; k++)
            assert_string_not_equal(key[n], key[k]);
        engine_close(en);
        gguf_close(g);
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

static double mean_divergence(const char *path, const float *want, enum kern_numerics n)
{
    double sum = 0;
    size_t n_vocab;
    struct how h = {n, cpu_best(), 2, N_IDS, NULL};
    float *got = logits_of(path, &h, &n_vocab);
    for (size_t i = 0; i < N_IDS; i++)
        sum += divergence(want + i * n_vocab, got + i * n_vocab, n_vocab);
    mem_free(got);
    return sum / N_IDS;
}

static void contracts_are_near_every_family(void **state)
{
    (void)state;
    for (size_t f = 0; f < N_ELEMS(files); f++) {
        char path[64];
        size_t n_vocab;
        snprintf(path, sizeof path, "tests/data/%s.gguf", files[f]);
        struct how h = {KERN_NATIVE, CPU_c, 1, N_IDS, NULL};
        float *want = logits_of(path, &h, &n_vocab);
        double bf16 = mean_divergence(path, want, KERN_BF16);
        double int8 = mean_divergence(path, want, KERN_INT8);
        printf("%s: bf16 %.6f, int8 %.6f nats\n", files[f], bf16, int8);
        assert_true(bf16 < 0.001 && int8 < 0.02);
        mem_free(want);
    }
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
        double mean = mean_divergence(path, want, contracts[c]);
        printf("%s: mean divergence from float32 %.6f nats\n", kern_numerics_name(contracts[c]),
               mean);
        assert_true(mean < most[c]);
    }
    mem_free(want);
}

/* ---- prices ---- */

static void buckets_are_powers_of_two_and_halves_between(void **state)
{
    (void)state;
    static const uint64_t want[][2] = {
        {1,    1   },
        {2,    2   },
        {3,    3   },
        {4,    4   },
        {5,    6   },
        {7,    8   },
        {9,    12  },
        {13,   16  },
        {17,   24  },
        {49,   64  },
        {1025, 1536}
    };
    for (size_t i = 0; i < N_ELEMS(want); i++)
        assert_int_equal(dev_price_bucket(want[i][0]), want[i][1]);
}

/* A shape of some size, so that a chip's numbers show. */
static struct model *shape(size_t n_layer)
{
    const struct model_shape s = {.arch = "llama",
                                  .dim = 1024,
                                  .ff = 4096,
                                  .n_layer = n_layer,
                                  .n_head = 16,
                                  .n_kv_head = 4,
                                  .head_dim = 64,
                                  .n_vocab = 32000,
                                  .ctx_trained = 4096};
    struct model *m;
    struct errinfo e;
    if (model_from_shape(&m, &s, "shape", &e) != ERR_OK)
        fail_msg("%s", e.text);
    return m;
}

/* What `damso chip run` says of a step in a bucket's own size is what the device takes for it. */
static void a_step_costs_what_chip_run_says(void **state)
{
    (void)state;
    struct npu_chip *c;
    struct errinfo e;
    struct dev_cost cost, again;
    struct model *m = shape(4);
    struct plan *p = plan_new(m);
    assert_int_equal(chip_open(&c, "atom", &e), ERR_OK);
    struct dev_price *price = dev_price_new(p, c, NPU_BF16, 512, 4096);
    const struct npu_mix mixes[] = {
        {.group = {{4, 1, 1024}, {0}}, .wanted = 4, .out = 4},
        {.group = {{0}, {1, 256, 0}},  .wanted = 1, .out = 1},
    };
    for (size_t i = 0; i < N_ELEMS(mixes); i++) {
        const struct npu_group *g = &mixes[i].group[i];
        struct npu_work *w = npu_work_plan(p, g->n_seq, g->rows, g->past, NPU_BF16, NPU_BF16);
        const struct npu_ask ask = {
            .scenario = NPU_SINGLE_STREAM, .instances = 1, .cores = 8, .rounds = 1};
        struct npu_answer a;
        assert_int_equal(npu_run(&a, w, c, &ask, &e), ERR_OK);
        assert_int_equal(dev_price_mix(price, &mixes[i], &cost, &e), ERR_OK);
        assert_int_equal(cost.ps, (uint64_t)(a.latency_s * 1e12 + 0.5));
        assert_true(fabs(cost.joules - a.joules * (double)w->tokens) < 1e-12);
        assert_int_equal(dev_price_mix(price, &mixes[i], &again, &e), ERR_OK);
        assert_memory_equal(&again, &cost, sizeof cost);
        assert_int_equal(dev_price_n(price), i + 1);
        npu_answer_done(&a);
        npu_work_free(w);
    }
    dev_price_free(price);
    plan_free(p);
    model_close(m);
    npu_chip_free(c);
}

/* The same of several chips, in stages and in each. */
static void steps_of_several_chips_cost_what_chip_run_says(void **state)
{
    (void)state;
    static const struct plan_ranks splits[] = {
        {2, 1},
        {1, 2},
        {2, 2}
    };
    struct npu_chip *c;
    struct errinfo e;
    struct model *m = shape(4);
    assert_int_equal(chip_open(&c, "atom", &e), ERR_OK);
    for (size_t i = 0; i < N_ELEMS(splits); i++) {
        const struct plan_ranks *of = &splits[i];
        struct npu_team_ask ask = {
            .ranks = *of,
            .mix = {.group = {{4, 1, 1024}}, .wanted = 4, .out = 4},
            .groups = 1,
            .again = true,
            .format = NPU_BF16,
            .type = NPU_BF16
        };
        struct dev_cost sum = {0};
        struct npu_team *t;
        assert_int_equal(npu_team_run(&t, m, c, &ask, &e), ERR_OK);
        for (size_t stage = 0; stage < of->pipeline; stage++) {
            struct plan *p;
            struct dev_cost cost;
            size_t rank = (of->pipeline - stage) * of->tensor - 1;
            assert_int_equal(plan_share_new(&p, m, of, rank, &e), ERR_OK);
            struct dev_price *price = dev_price_new(p, c, NPU_BF16, 512, 4096);
            assert_int_equal(dev_price_mix(price, &ask.mix, &cost, &e), ERR_OK);
            dev_cost_add(&sum, &cost, c, of->tensor, of->pipeline, stage == 0);
            dev_price_free(price);
            plan_free(p);
        }
        assert_true(fabs((double)sum.ps * 1e-12 / t->answer.latency_s - 1) < 1e-8);
        assert_true(fabs(sum.joules / (t->answer.joules * 4) - 1) < 1e-8);
        npu_team_free(t);
    }
    model_close(m);
    npu_chip_free(c);
}

/* Prompts beside next tokens cost more than either alone and less than both one after the other:
 * the weights are read once. */
static void a_mixed_step_reads_weights_once(void **state)
{
    (void)state;
    struct npu_chip *c;
    struct errinfo e;
    struct dev_cost both, one, two;
    struct model *m = shape(4);
    struct plan *p = plan_new(m);
    assert_int_equal(chip_open(&c, "l4", &e), ERR_OK);
    struct dev_price *price = dev_price_new(p, c, NPU_BF16, 512, 4096);
    const struct npu_mix mix = {
        .group = {{8, 1, 512}, {1, 64, 0}},
          .wanted = 9, .out = 9
    };
    struct npu_mix first = mix, second = mix;
    first.group[1].n_seq = second.group[0].n_seq = 0;
    first.wanted = first.out = 8;
    second.wanted = second.out = 1;
    assert_int_equal(dev_price_mix(price, &mix, &both, &e), ERR_OK);
    assert_int_equal(dev_price_mix(price, &first, &one, &e), ERR_OK);
    assert_int_equal(dev_price_mix(price, &second, &two, &e), ERR_OK);
    assert_true(both.ps > one.ps && both.ps > two.ps && both.ps < one.ps + two.ps);
    dev_price_free(price);
    plan_free(p);
    model_close(m);
    npu_chip_free(c);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct npu_chip *c;
    struct engine *en;
    struct errinfo e;
    assert_int_equal(chip_open(&c, "x220-compact", &e), ERR_OK);
    struct engine_opts o = {
        .ctx = 64, .numerics = KERN_INT8, .sim = {.chip = c, .name = c->name, .dry = true}
    };
    assert_int_equal(engine_open_shape(&en, shape(1000), &o, &e), ERR_TOOBIG);
    assert_non_null(strstr(e.text, "x220-compact"));
    assert_non_null(strstr(e.text, "fewer bits"));
    npu_chip_free(c);
}

/* ---- a load in the chip's time ---- */

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static void loaded(struct load_result *r, const struct load_opts *o, const char *chip)
{
    struct npu_chip *c;
    struct engine *en;
    struct errinfo e;
    assert_int_equal(chip_open(&c, chip, &e), ERR_OK);
    struct engine_opts eo = {
        .ctx = 2048,
        .ctx_total = 32768,
        .out_max = 16,
        .numerics = KERN_INT8,
        .sim = {.chip = c, .name = c->name, .clock = DEV_CLOCK_VIRTUAL, .dry = true}
    };
    if (engine_open_shape(&en, shape(4), &eo, &e) != ERR_OK || load_run(en, o, r, &e) != ERR_OK)
        fail_msg("%s", e.text);
    engine_close(en);
    npu_chip_free(c);
}

static struct load_opts some_load(void)
{
    return (struct load_opts){
        .n_requests = 300,
        .rate = 100,
        .prompt = {LOAD_LOGNORMAL, 200, 0.8, 1500},
        .answer = {LOAD_UNIFORM,   1,   60,  60  },
        .seed = 5,
        .running_max = 16,
        .queue_max = 1000,
        .stop = never
    };
}

static void a_load_is_the_same_each_time(void **state)
{
    (void)state;
    struct load_result a, b;
    struct load_opts o = some_load();
    loaded(&a, &o, "warboy");
    loaded(&b, &o, "warboy");
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(a.n_done, 300);
    assert_int_equal(a.n_refused, 0);
    assert_true(a.n_answer >= 300 && a.n_answer <= 300 * 60);
    assert_true(a.busy_s > 0 && a.busy_s <= a.seconds * (1 + 1e-9));
    assert_true(a.running_mean > 0 && a.running_most <= 16);
    assert_true(a.ttft.p50 <= a.ttft.p99 && a.ttft.p99 <= a.ttft.max);
    o.seed = 6;
    loaded(&b, &o, "warboy");
    assert_true(a.n_answer != b.n_answer);
}

/* Time of all requests under way is as long as all of them waited together (Little). */
static void waits_add_up(void **state)
{
    (void)state;
    struct load_result r;
    struct load_opts o = some_load();
    o.rate = 1000; /* more than it can do */
    loaded(&r, &o, "warboy");
    double waited = r.whole.mean * 1e-3 * (double)r.n_done;
    double there = (r.running_mean + r.queue_mean) * r.seconds;
    assert_true(fabs(waited - there) < 0.05 * there);
    assert_int_equal(r.running_most, 16);
    o.queue_max = 20;
    loaded(&r, &o, "warboy");
    assert_true(r.n_refused > 0);
    assert_int_equal(r.n_done + r.n_refused, 300);
}

/* One at a time: nothing is mixed, and nobody waits. */
static void one_at_a_time_is_no_load(void **state)
{
    (void)state;
    struct load_result r, shared;
    struct load_opts o = some_load();
    o.rate = 0;
    o.concurrency = 1;
    o.n_requests = 50;
    o.prompt = (struct load_length){LOAD_FIXED, 256, 0, 256};
    o.answer = (struct load_length){LOAD_FIXED, 16, 0, 16};
    loaded(&r, &o, "warboy");
    assert_int_equal(r.n_answer, 50 * 16);
    assert_int_equal(r.n_cached, 0);
    assert_true(fabs(r.busy_s - r.seconds) < 1e-9);
    assert_true(fabs(r.ttft.p50 + 15 * r.tpot.p50 - r.whole.p50) < 2e-6); /* whole nanoseconds */
    o.shared = 192;
    loaded(&shared, &o, "warboy");
    assert_int_equal(shared.n_cached, 49 * 192);
    assert_true(shared.ttft.p50 < r.ttft.p50);
}

/* ---- a draft model on the chip of the model it guesses for ---- */

static struct engine_opts opts_on(const struct npu_chip *c, size_t ctx)
{
    return (struct engine_opts){
        .ctx = ctx,
        .out_max = 8,
        .batch = 32,
        .n_threads = 1,
        .level = cpu_best(),
        .numerics = KERN_BF16,
        .sim = {.chip = c, .name = c->name, .clock = DEV_CLOCK_VIRTUAL}
    };
}

/* NULL: it was refused. */
static struct engine *open_on(const struct npu_chip *c, struct gguf *g, size_t ctx,
                              const struct engine_need *beside, struct errinfo *e)
{
    struct engine *en;
    struct engine_opts o = opts_on(c, ctx);
    if (beside)
        o.beside = *beside;
    return engine_open(&en, g, &o, e) == ERR_OK ? en : NULL;
}

/* The tokens of an answer, how many steps, and what both models took. */
static size_t answer_of(struct engine *en, struct engine *draft, int32_t out[40],
                        struct sched_load *load)
{
    const struct sched_opts o = {.queue_max = 1,
                                 .running_max = 1,
                                 .speculate = draft ? SCHED_SPEC_ALWAYS : SCHED_SPEC_OFF,
                                 .draft = draft,
                                 .driven = true};
    static const int32_t prompt[] = {5, 9, 13, 17, 21};
    struct sched *s = sched_new(en, &o);
    struct errinfo e;
    struct job j;
    job_init(&j, 40, 0);
    j.prompt = prompt;
    j.n_prompt = N_ELEMS(prompt);
    j.sampling.temp = 0;
    assert_int_equal(sched_push(s, &j, &e), ERR_OK);
    while (sched_turn(s))
        ;
    *load = sched_load(s);
    size_t n = job_n_out(&j);
    for (size_t i = 0; i < n; i++)
        out[i] = j.out[i].token;
    assert_true(fabs(atomic_load(&j.sim.joules) / load->sim_joules - 1) < 1e-9);
    assert_int_equal(sched_now(s) - 1, (uint64_t)(load->sim_s * 1e9 + 0.5)); /* from 1 on */
    job_done(&j);
    sched_free(s);
    return n;
}

static void a_draft_model_takes_its_time_on_the_chip(void **state)
{
    (void)state;
    struct npu_chip *c;
    struct gguf *g;
    struct errinfo e;
    struct sched_load plain, guessed;
    int32_t want[40], got[40];
    assert_int_equal(chip_open(&c, "atom", &e), ERR_OK);
    assert_int_equal(gguf_open(&g, "tests/data/arch/llama.gguf", &e), ERR_OK);
    struct engine *en = open_on(c, g, 128, NULL, &e);
    assert_non_null(en);
    size_t n = answer_of(en, NULL, want, &plain);
    struct engine *other = open_on(c, g, 128, NULL, &e), *draft = open_on(c, g, 128, NULL, &e);
    assert_non_null(other);
    assert_non_null(draft);
    assert_int_equal(answer_of(other, draft, got, &guessed), n);
    assert_memory_equal(got, want, n * sizeof *want);
    assert_true(guessed.n_accepted > 0 && guessed.n_steps < plain.n_steps);
    double both = (double)(engine_sim(other)->ns + engine_sim(draft)->ns) * 1e-9;
    assert_true(engine_sim(draft)->ns > 0);
    assert_true(fabs(guessed.sim_s / both - 1) < 1e-9);
    engine_close(en);
    engine_close(other);
    engine_close(draft);
    gguf_close(g);
    npu_chip_free(c);
}

/* A chip holds the context of both, or it is refused. */
static void a_draft_model_takes_its_room_on_the_chip(void **state)
{
    (void)state;
    struct npu_chip *c;
    struct gguf *g;
    struct errinfo e;
    assert_int_equal(chip_open(&c, "atom", &e), ERR_OK);
    assert_int_equal(gguf_open(&g, "tests/data/arch/llama.gguf", &e), ERR_OK);
    struct engine_opts o = opts_on(c, 2 * DEV_PAGE);
    struct engine_need need;
    assert_int_equal(engine_count(g, &o, &need, &e), ERR_OK);
    assert_true(need.chip_fixed > 0 && need.chip_page > 0);
    for (int room = 0; room < 3; room++) { /* for one of them; for nearly both; for both */
        double fixed = room ? 2 * need.chip_fixed : need.chip_fixed;
        double pages = room ? 2 + room + 0.5 : 2.5;
        c->v[NPU_DRAM_GB] = (fixed + pages * need.chip_page) / 1e9;
        struct engine *alone = open_on(c, g, 2 * DEV_PAGE, NULL, &e);
        struct engine *with = open_on(c, g, 2 * DEV_PAGE, &need, &e);
        assert_non_null(alone);
        assert_true(!with == (room < 2));
        if (!with)
            assert_non_null(strstr(e.text, "and a draft model"));
        engine_close(alone);
        engine_close(with);
    }
    gguf_close(g);
    npu_chip_free(c);
}

static void lengths_are_read(void **state)
{
    (void)state;
    struct load_length l;
    struct errinfo e;
    static const char *const bad[] = {"", "0", "-5", "x", "5-3", "~5/", "~5/9", "5 ", "1e9", "nan"};
    assert_int_equal(load_length_read(&l, "--prompt", "128-2048", &e), ERR_OK);
    assert_true(l.kind == LOAD_UNIFORM && l.a == 128 && l.b == 2048);
    assert_int_equal(load_length_read(&l, "--prompt", "~512/0.5", &e), ERR_OK);
    assert_true(l.kind == LOAD_LOGNORMAL && l.a == 512 && l.b == 0.5);
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        assert_int_equal(load_length_read(&l, "--prompt", bad[i], &e), ERR_USAGE);
        assert_non_null(strstr(e.text, "--prompt"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_gives_the_same_bits),
        cmocka_unit_test(what_is_kept_is_of_one_contract),
        cmocka_unit_test(every_chip_gives_the_same_bits),
        cmocka_unit_test(smollm2_has_the_same_bits_everywhere),
        cmocka_unit_test(contracts_are_near_every_family),
        cmocka_unit_test(contracts_are_near_the_model),
        cmocka_unit_test(buckets_are_powers_of_two_and_halves_between),
        cmocka_unit_test(a_step_costs_what_chip_run_says),
        cmocka_unit_test(steps_of_several_chips_cost_what_chip_run_says),
        cmocka_unit_test(a_mixed_step_reads_weights_once),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_load_is_the_same_each_time),
        cmocka_unit_test(waits_add_up),
        cmocka_unit_test(one_at_a_time_is_no_load),
        cmocka_unit_test(a_draft_model_takes_its_time_on_the_chip),
        cmocka_unit_test(a_draft_model_takes_its_room_on_the_chip),
        cmocka_unit_test(lengths_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
