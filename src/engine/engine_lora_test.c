/* SPDX-License-Identifier: MIT
 * engine_lora_test.c - adapters beside weights that hold the same: W + scale * alpha / rank * B A,
 * where experts have one for each, and of embeddings the two are turned. */
#include "base/test.h"

#include "base/num.h"
#include "engine/engine.h"
#include "gguf/gguf_made.h"
#include "kern/format.h"

#include <math.h>
#include <string.h>

#define RANK  4
#define ALPHA 6.0f
#define N     80 /* more than a page */

/* Weights of halves are rounded when an adapter is added to them. */
static const struct model_file {
    const char *path, *family;
    double near;
    const char *adapted[6];
} files[] = {
    {"tests/data/arch/llama-f32.gguf",
     "llama", 1e-9,
     {"blk.0.attn_q.weight", "blk.0.attn_v.weight", "blk.0.attn_output.weight",
      "blk.0.ffn_up.weight", "blk.0.ffn_down.weight"}                        },
    {"tests/data/family/dbrx.gguf",
     "dbrx",  1e-6,
     {"token_embd.weight", "blk.0.ffn_up_exps.weight", "blk.0.ffn_gate_exps.weight",
      "blk.1.ffn_down_exps.weight", "blk.1.attn_qkv.weight", "output.weight"}},
};

static float *random_floats(struct arena *a, uint64_t *rng, size_t n)
{
    float *x = arena_array(a, n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(num_rand_unit(rng) - 0.5);
    return x;
}

static struct gguf *open_bytes(const void *bytes, size_t n)
{
    struct gguf *g;
    struct errinfo e;
    if (gguf_open_bytes(&g, bytes, n, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return g;
}

static struct gguf *open_made(struct gguf_made *f)
{
    const void *bytes = gguf_made_end(f); /* which sets the size */
    return open_bytes(bytes, f->all.n);
}

static void add_to(const struct gguf_tensor *t, size_t i, double by)
{
    float *w = (float *)(uintptr_t)t->data;
    uint16_t *half = (uint16_t *)(uintptr_t)t->data;
    if (t->type == GGUF_TYPE_F32)
        w[i] += (float)by;
    else
        half[i] = half_from_float(half_to_float(half[i]) + (float)by);
}

/* Writes a pair, and adds it times `scale` to the weights that t holds. */
static void make_pair(struct arena *a, struct gguf_made *f, uint64_t *rng,
                      const struct gguf_tensor *t, const char *weight, float scale)
{
    size_t cols = (size_t)t->dims[0], rows = (size_t)t->dims[1], each = (size_t)t->dims[2];
    float *low = random_floats(a, rng, each * cols * RANK);
    float *up = random_floats(a, rng, each * rows * RANK);
    bool embeds = strcmp(weight, "token_embd.weight") == 0;
    char name[128];
    snprintf(name, sizeof name, "%s.lora_%c", weight, embeds ? 'b' : 'a');
    if (embeds) /* [cols][RANK], its rows are those of the matrix */
        gguf_made_tensor(f, name, GGUF_TYPE_F32, RANK, cols, low);
    else
        gguf_made_stack(f, name, GGUF_TYPE_F32, cols, RANK, each, low);
    snprintf(name, sizeof name, "%s.lora_%c", weight, embeds ? 'a' : 'b');
    gguf_made_stack(f, name, GGUF_TYPE_F32, RANK, rows, each, up);
    for (size_t i = 0; i < each * rows * cols; i++) {
        size_t c = i % cols, r = i / cols, e = r / rows;
        double sum = 0;
        for (size_t k = 0; k < RANK; k++)
            sum += (double)up[r * RANK + k] *
                   (double)low[embeds ? c * RANK + k : (e * RANK + k) * cols + c];
        add_to(t, i, sum * (double)(scale * ALPHA / RANK));
    }
}

/* Writes an adapter, and adds it times `scale` to the weights that `model` holds. */
static void make(struct arena *a, struct gguf_made *f, uint64_t *rng, const struct model_file *m,
                 struct gguf *model, float scale)
{
    gguf_made_begin(f);
    gguf_made_str(f, "general.type", "adapter");
    gguf_made_str(f, "general.architecture", m->family);
    gguf_made_str(f, "adapter.type", "lora");
    gguf_made_f32(f, "adapter.lora.alpha", ALPHA);
    for (size_t i = 0; i < N_ELEMS(m->adapted) && m->adapted[i]; i++) {
        const struct gguf_tensor *t = gguf_tensor(model, m->adapted[i]);
        assert_non_null(t);
        make_pair(a, f, rng, t, m->adapted[i], scale);
    }
}

static struct engine *open_engine(const struct gguf *g, enum cpu_level level)
{
    struct engine *en;
    struct errinfo e;
    struct engine_opts o = {.out_max = N, .n_threads = 2, .level = level};
    o.ctx = 128, o.ctx_total = 2048, o.batch = 3 * N;
    if (engine_open(&en, g, &o, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return en;
}

static int32_t token(const struct engine *en, size_t i)
{
    return (int32_t)(i * 7 % engine_model(en)->n_vocab);
}

/* Logits of the last of n tokens; the sequence stays known. */
static float *run(struct engine *en, struct arena *a, const struct engine_lora *lora, size_t n,
                  size_t *known)
{
    struct engine_seq *s = engine_seq_new(en);
    const float *logits;
    struct errinfo e;
    int32_t ids[N];
    size_t vocab = engine_model(en)->n_vocab;
    for (size_t i = 0; i < n; i++)
        ids[i] = token(en, i);
    engine_seq_lora(s, lora);
    *known = engine_seq_reuse(s, ids, n);
    assert_int_equal(engine_prefill(en, s, ids + *known, n - *known, NULL, NULL, &logits, &e),
                     ERR_OK);
    float *out = arena_array(a, vocab, sizeof *out);
    memcpy(out, logits, vocab * sizeof *out);
    engine_seq_free(s);
    return out;
}

/* Two adapters, one of them by half: the merged weights' logits, and what is known is told apart.
 */
static void check_merged(const struct model_file *m)
{
    struct arena a;
    struct gguf_made made[2];
    struct errinfo e;
    uint64_t rng = test_seed();
    size_t n, known, vocab;
    arena_init(&a);
    char *plain = test_read_file(&a, m->path, &n), *merged = test_read_file(&a, m->path, &n);
    struct gguf *g = open_bytes(plain, n), *gm = open_bytes(merged, n);
    make(&a, &made[0], &rng, m, gm, 0.5f);
    make(&a, &made[1], &rng, m, gm, -1);
    for (int level = CPU_c; level < CPU_LEVEL_N; level++) {
        if (!cpu_has((enum cpu_level)level))
            continue;
        struct engine *en = open_engine(g, (enum cpu_level)level);
        struct engine *want = open_engine(gm, (enum cpu_level)level);
        struct engine_lora none =
                               {
                                   0
        },
                           both = {.n = 2, .one = {{0, 0.5f}, {1, -1}}},
                           one = {.n = 1, .one = {{0, 0.5f}}};
        for (int i = 0; i < 2; i++) {
            struct gguf *ga = open_made(&made[i]);
            if (engine_lora_add(en, ga, &e) != ERR_OK)
                fail_msg("%s", e.text);
            gguf_close(ga);
        }
        vocab = engine_model(en)->n_vocab;
        float *base = run(en, &a, &none, N, &known);
        float *got = run(en, &a, &both, N, &known);
        assert_int_equal(known, 0); /* what was read without is another text */
        float *exact = run(want, &a, &none, N, &known);
        double d = test_nmse(got, exact, vocab);
        print_message("%s %s: %.2g, without %.2g\n", m->family,
                      cpu_level_name((enum cpu_level)level), d, test_nmse(base, exact, vocab));
        assert_true(d < (level == CPU_c ? m->near : 1e-6) && test_nmse(base, exact, vocab) > 1e-3);
        float *again = run(en, &a, &both, N, &known);
        assert_true(known >= ENGINE_PAGE);
        assert_memory_equal(again, got, vocab * sizeof *got);
        run(en, &a, &one, N, &known);
        assert_int_equal(known, 0);
        again = run(en, &a, &none, N, &known);
        assert_true(known >= ENGINE_PAGE);
        assert_memory_equal(again, base, vocab * sizeof *base);
        engine_close(en);
        engine_close(want);
    }
    gguf_made_done(&made[0]);
    gguf_made_done(&made[1]);
    gguf_close(g);
    gguf_close(gm);
    arena_done(&a);
}

static void merged_weights_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMS(files); i++)
        check_merged(&files[i]);
}

/* Rows with adapters, without, and with others in one step: the bits of each by itself. */
static void check_mixed(const struct model_file *m)
{
    struct arena a;
    struct gguf_made made;
    struct errinfo e;
    uint64_t rng = test_seed();
    size_t n, known;
    arena_init(&a);
    char *plain = test_read_file(&a, m->path, &n), *merged = test_read_file(&a, m->path, &n);
    struct gguf *g = open_bytes(plain, n), *gm = open_bytes(merged, n);
    make(&a, &made, &rng, m, gm, 1);
    struct engine *en = open_engine(g, cpu_best());
    struct gguf *ga = open_made(&made);
    assert_int_equal(engine_lora_add(en, ga, &e), ERR_OK);
    const struct engine_lora kinds[] = {
        {0               },
        { .n = 1, .one = {{0, 1}}},
        { .n = 1, .one = {{0, 2}}}
    };
    struct engine_row rows[3 * 9];
    struct engine_seq *s[3];
    const float *logits[3];
    for (size_t k = 0; k < 3; k++) {
        s[k] = engine_seq_new(en);
        engine_seq_lora(s[k], &kinds[k]);
        for (size_t i = 0; i < 9; i++)
            rows[k * 9 + i] = (struct engine_row){s[k], token(en, i),
                                                  i == 8 ? ENGINE_LOGITS : ENGINE_NOTHING};
    }
    assert_int_equal(engine_step(en, rows, 27, logits, &e), ERR_OK);
    size_t vocab = engine_model(en)->n_vocab;
    float *got = arena_array(&a, 3 * vocab, sizeof *got);
    for (size_t k = 0; k < 3; k++)
        memcpy(got + k * vocab, logits[k], vocab * sizeof *got);
    for (size_t k = 0; k < 3; k++)
        engine_seq_free(s[k]);
    for (size_t k = 0; k < 3; k++) {
        float *alone = run(en, &a, &kinds[k], 9, &known);
        assert_memory_equal(alone, got + k * vocab, vocab * sizeof *got);
        assert_true(k == 0 || test_nmse(alone, got, vocab) > 1e-4);
    }
    engine_close(en);
    gguf_close(ga);
    gguf_made_done(&made);
    gguf_close(g);
    gguf_close(gm);
    arena_done(&a);
}

static void steps_mix(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMS(files); i++)
        check_mixed(&files[i]);
}

/* Adapters that do not fit, each by its words. */
static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *type, *arch, *name, *says;
        uint64_t cols;
        bool both;
    } cases[] = {
        {"model",   "llama", "blk.0.attn_q.weight",    "no LoRA adapter",      32, true },
        {"adapter", "qwen2", "blk.0.attn_q.weight",    "family qwen2",         32, true },
        {"adapter", "llama", "blk.0.attn_q.weight",    "is missing",           32, false},
        {"adapter", "llama", "blk.0.attn_q.weight",    "do not make a matrix", 31, true },
        {"adapter", "llama", "blk.9.attn_q.weight",    "no such tensor",       32, true },
        {"adapter", "llama", "blk.0.attn_norm.weight", "not supported",        32, true },
        {"adapter", "llama", "token_embd.weight",      "do not make a matrix", 32, true },
    };
    struct arena a;
    size_t n;
    arena_init(&a);
    char *plain = test_read_file(&a, files[0].path, &n);
    struct gguf *g = open_bytes(plain, n);
    struct engine *en = open_engine(g, CPU_c);
    for (size_t i = 0; i < N_ELEMS(cases); i++) {
        struct gguf_made f;
        struct errinfo e = {0};
        char name[128];
        gguf_made_begin(&f);
        gguf_made_str(&f, "general.type", cases[i].type);
        gguf_made_str(&f, "general.architecture", cases[i].arch);
        gguf_made_str(&f, "adapter.type", "lora");
        snprintf(name, sizeof name, "%s.lora_a", cases[i].name);
        gguf_made_tensor(&f, name, GGUF_TYPE_F32, cases[i].cols, RANK, NULL);
        snprintf(name, sizeof name, "%s.lora_b", cases[i].name);
        if (cases[i].both)
            gguf_made_tensor(&f, name, GGUF_TYPE_F32, RANK, 32, NULL);
        struct gguf *ga = open_made(&f);
        assert_int_not_equal(engine_lora_add(en, ga, &e), ERR_OK);
        if (!strstr(e.text, cases[i].says))
            fail_msg("%s; wanted: %s", e.text, cases[i].says);
        gguf_close(ga);
        gguf_made_done(&f);
    }
    assert_int_equal(engine_n_lora(en), 0);
    engine_close(en);
    gguf_close(g);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged_weights_agree),
        cmocka_unit_test(steps_mix),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
