/* SPDX-License-Identifier: MIT
 * engine_test.c - sequences, pages, limits and refusals, on a tiny model with windows
 * (tests/data/arch/gemma3-plain.gguf: a vocabulary of 96, a context of 256). */
#include "base/test.h"

#include "base/num.h"
#include "engine/engine.h"
#include "gguf/gguf_made.h"

#include <string.h>

#define MODEL "tests/data/arch/gemma3-plain.gguf"
#define VOCAB 96
#define PAGE  64 /* tokens of a page */

struct opened {
    struct gguf *g;
    struct engine *en;
};

static struct gguf *open_file(void)
{
    struct gguf *g;
    struct errinfo e;
    if (gguf_open(&g, MODEL, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return g;
}

/* A llama of one layer whose feed-forward block is ff wide, all zeros. */
static void put_wide(struct gguf_made *f, uint32_t ff)
{
    enum { DIM = 32, VOCAB_WIDE = 8 };
    const struct {
        const char *name;
        uint64_t cols, rows;
    } parts[] = {
        {"token_embd",        DIM, VOCAB_WIDE},
        {"blk.0.attn_q",      DIM, DIM       },
        {"blk.0.attn_k",      DIM, DIM       },
        {"blk.0.attn_v",      DIM, DIM       },
        {"blk.0.attn_output", DIM, DIM       },
        {"blk.0.ffn_gate",    DIM, ff        },
        {"blk.0.ffn_up",      DIM, ff        },
        {"blk.0.ffn_down",    ff,  DIM       },
        {"blk.0.attn_norm",   DIM, 0         },
        {"blk.0.ffn_norm",    DIM, 0         },
        {"output_norm",       DIM, 0         },
    };
    gguf_made_begin(f);
    gguf_made_str(f, "general.architecture", "llama");
    gguf_made_u32(f, "llama.block_count", 1);
    gguf_made_u32(f, "llama.context_length", 64);
    gguf_made_u32(f, "llama.embedding_length", DIM);
    gguf_made_u32(f, "llama.feed_forward_length", ff);
    gguf_made_u32(f, "llama.attention.head_count", 1);
    gguf_made_f32(f, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    for (size_t i = 0; i < N_ELEMS(parts); i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.weight", parts[i].name);
        gguf_made_tensor(f, name, parts[i].rows ? GGUF_TYPE_Q8_0 : GGUF_TYPE_F32, parts[i].cols,
                         parts[i].rows, NULL);
    }
}

static struct opened open_model(size_t ctx, size_t ctx_total, size_t batch)
{
    struct opened o = {.g = open_file()};
    struct errinfo e;
    struct engine_opts opts = {.ctx = ctx, .ctx_total = ctx_total, .batch = batch, .n_threads = 2};
    opts.level = cpu_best();
    if (engine_open(&o.en, o.g, &opts, &e) != ERR_OK)
        fail_msg("%s", e.text);
    assert_int_equal(engine_model(o.en)->n_vocab, VOCAB);
    return o;
}

static void close_model(struct opened *o)
{
    engine_close(o->en);
    gguf_close(o->g);
}

/* A text of n tokens. */
static const int32_t *text(size_t n)
{
    static int32_t ids[256];
    uint64_t rng = 7;
    assert_true(n <= N_ELEMS(ids));
    for (size_t i = 0; i < N_ELEMS(ids); i++)
        ids[i] = (int32_t)(num_rand(&rng) % VOCAB);
    return ids;
}

static enum err prefill(struct opened *o, struct engine_seq *s, size_t from, size_t to,
                        const float **logits, struct errinfo *e)
{
    return engine_prefill(o->en, s, text(to) + from, to - from, NULL, NULL, logits, e);
}

/* ---- limits ---- */

static void a_full_context_is_an_error(void **state)
{
    (void)state;
    struct opened o = open_model(100, 0, 32);
    struct engine_seq *s = engine_seq_new(o.en);
    const float *logits;
    struct errinfo e;
    struct engine_row rows[2] = {
        {s, 1, true },
        {s, 2, false}
    };
    assert_int_equal(prefill(&o, s, 0, 101, &logits, &e), ERR_CONTEXT);
    assert_non_null(strstr(e.text, "101"));
    assert_non_null(strstr(e.text, "limit of 100"));
    assert_int_equal(engine_seq_len(s), 0);
    assert_int_equal(prefill(&o, s, 0, 99, &logits, &e), ERR_OK);
    assert_int_equal(engine_step(o.en, rows, 2, &logits, &e), ERR_CONTEXT);
    assert_non_null(strstr(e.text, "99 tokens and 2 more"));
    assert_non_null(strstr(e.text, "100"));
    assert_int_equal(engine_seq_len(s), 99);
    assert_int_equal(engine_step(o.en, rows, 1, &logits, &e), ERR_OK);
    assert_int_equal(engine_step(o.en, rows, 1, &logits, &e), ERR_CONTEXT);
    assert_int_equal(engine_seq_len(s), 100);
    engine_seq_free(s);
    close_model(&o);
}

static void no_free_page_is_busy(void **state)
{
    (void)state;
    struct opened o = open_model(2 * PAGE, 3 * PAGE, 0);
    struct engine_seq *a = engine_seq_new(o.en), *b = engine_seq_new(o.en);
    const float *logits;
    struct errinfo e;
    assert_int_equal(prefill(&o, a, 0, PAGE + 1, &logits, &e), ERR_OK);
    assert_int_equal(engine_prefill(o.en, b, text(256) + 7, PAGE, NULL, NULL, &logits, &e), ERR_OK);
    struct engine_row rows[] = {
        {a, 1, false},
        {b, 1, true }
    };
    assert_int_equal(engine_step(o.en, rows, 2, &logits, &e), ERR_BUSY);
    assert_non_null(strstr(e.text, "1 pages"));
    assert_non_null(strstr(e.text, "0 of 3"));
    assert_int_equal(engine_seq_len(a), PAGE + 1);
    assert_int_equal(engine_seq_len(b), PAGE);
    assert_int_equal(engine_step(o.en, rows, 1, &logits, &e), ERR_OK); /* its page has room */
    engine_seq_free(a);
    assert_int_equal(engine_step(o.en, rows + 1, 1, &logits, &e), ERR_OK);
    engine_seq_free(b);
    close_model(&o);
}

static void foreign_tokens_are_refused(void **state)
{
    (void)state;
    static const int32_t bad[] = {-1, VOCAB, INT32_MAX, INT32_MIN};
    struct opened o = open_model(128, 0, 0);
    struct engine_seq *s = engine_seq_new(o.en);
    const float *logits;
    struct errinfo e;
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        char number[16];
        struct engine_row rows[] = {
            {s, 1,      false},
            {s, bad[i], true }
        };
        assert_int_equal(engine_step(o.en, rows, 2, &logits, &e), ERR_USAGE);
        snprintf(number, sizeof number, "%d", bad[i]);
        assert_non_null(strstr(e.text, number));
        assert_non_null(strstr(e.text, "96"));
        assert_int_equal(engine_seq_len(s), 0);
    }
    engine_seq_free(s);
    close_model(&o);
}

static void count_call(void *arg, double share)
{
    (void)share;
    ++*(int *)arg;
}

static void memory_is_counted_before_it_is_taken(void **state)
{
    (void)state;
    int n_calls = 0;
    struct gguf *g = open_file();
    struct engine *en;
    struct errinfo e;
    struct engine_opts opts = {.ctx = 128, .n_threads = 1, .level = cpu_best(), .memory = 1};
    opts.progress = count_call, opts.progress_arg = &n_calls;
    assert_int_equal(engine_open(&en, g, &opts, &e), ERR_MEMORY);
    assert_null(en);
    assert_int_equal(n_calls, 0);
    assert_non_null(strstr(e.text, "128 tokens"));
    assert_non_null(strstr(e.text, "more than the 0 MiB"));
    opts.memory = 0;
    assert_int_equal(engine_open(&en, g, &opts, &e), ERR_OK);
    struct engine_memory m = engine_memory(en);
    assert_true(m.context > 0 && m.work > 0 && m.file == gguf_file_bytes(g));
    engine_close(en);
    /* what it took is enough, and a byte less is not */
    opts.memory = m.weights + m.context + m.work;
    assert_int_equal(engine_open(&en, g, &opts, &e), ERR_OK);
    engine_close(en);
    opts.memory--;
    assert_int_equal(engine_open(&en, g, &opts, &e), ERR_MEMORY);
    opts.ctx = 257, opts.memory = 0;
    assert_int_equal(engine_open(&en, g, &opts, &e), ERR_CONTEXT);
    assert_non_null(strstr(e.text, "257"));
    assert_non_null(strstr(e.text, "256"));
    gguf_close(g);
}

/* The contract int8 adds up products in an int32: a matrix of more columns than that surely holds
 * is refused, one of as many is not. */
static void int8_has_a_limit(void **state)
{
    static const struct {
        uint32_t ff;
        enum kern_numerics numerics;
        enum err want;
    } cases[] = {
        {133120, KERN_INT8, ERR_OK         },
        {133152, KERN_INT8, ERR_UNSUPPORTED},
        {133152, KERN_BF16, ERR_OK         }
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMS(cases); i++) {
        struct gguf_made f;
        struct gguf *g;
        struct engine *en;
        struct errinfo e;
        struct engine_opts opts = {.ctx = 64, .batch = 1, .n_threads = 1, .level = cpu_best()};
        put_wide(&f, cases[i].ff);
        const void *bytes = gguf_made_end(&f);
        assert_int_equal(gguf_open_bytes(&g, bytes, f.all.n, &e), ERR_OK);
        opts.numerics = cases[i].numerics;
        assert_int_equal(engine_open(&en, g, &opts, &e), cases[i].want);
        assert_true(en || (strstr(e.text, "ffn_down") && strstr(e.text, "133144")));
        engine_close(en);
        gguf_close(g);
        gguf_made_done(&f);
    }
}

/* ---- pages ---- */

/* All of the engine's pages are free when one sequence can have them all. */
static void assert_all_free(struct opened *o, size_t pages)
{
    struct engine_seq *s = engine_seq_new(o->en);
    const float *logits;
    struct errinfo e;
    assert_int_equal(prefill(o, s, 0, pages * PAGE, &logits, &e), ERR_OK);
    engine_seq_free(s);
}

/* A sequence that begins with the first n tokens of the text, as far as they are known. */
static struct engine_seq *begin_like(struct opened *o, size_t n)
{
    struct engine_seq *s = engine_seq_new(o->en);
    engine_seq_reuse(s, text(256), n + 1);
    return s;
}

static void pages_come_back(void **state)
{
    (void)state;
    struct opened o = open_model(256, 256, 0);
    const float *logits;
    struct errinfo e;
    assert_all_free(&o, 4);
    struct engine_seq *s = engine_seq_new(o.en);
    assert_int_equal(prefill(&o, s, 0, 150, &logits, &e), ERR_OK);
    struct engine_seq *f = begin_like(&o, 140);
    assert_int_equal(engine_seq_len(f), 2 * PAGE); /* what runs is known by whole pages */
    assert_memory_equal(engine_seq_tokens(f), text(150), 2 * PAGE * sizeof(int32_t));
    struct engine_seq *f2 = begin_like(&o, PAGE);
    engine_seq_cut(s, 100);                   /* into a page that f has too */
    assert_int_equal(engine_seq_len(s), 100); /* it got a copy of its own */
    engine_seq_free(s);
    assert_int_equal(prefill(&o, f, 2 * PAGE, 256, &logits, &e), ERR_OK);
    assert_int_equal(prefill(&o, f2, PAGE, PAGE + 1, &logits, &e), ERR_BUSY);
    engine_seq_cut(f, 0);
    assert_int_equal(prefill(&o, f2, PAGE, 256, &logits, &e), ERR_OK);
    engine_seq_free(f2);
    engine_seq_free(f);
    engine_seq_free(NULL);
    assert_all_free(&o, 4);
    close_model(&o);
}

/* Sequences that begin alike go their own ways, each as if the other were not. */
static void shared_beginnings_do_not_touch_each_other(void **state)
{
    (void)state;
    float want[VOCAB], got[VOCAB];
    struct opened o = open_model(256, 512, 16);
    const float *logits;
    struct errinfo e;
    struct engine_seq *s = engine_seq_new(o.en);
    assert_int_equal(prefill(&o, s, 0, 200, &logits, &e), ERR_OK);
    memcpy(want, logits, sizeof want);
    engine_seq_cut(s, 130);
    struct engine_seq *f = begin_like(&o, 130);
    size_t len = engine_seq_len(f);
    assert_int_equal(engine_prefill(o.en, f, text(256) + 7, 100, NULL, NULL, &logits, &e), ERR_OK);
    assert_int_equal(prefill(&o, s, engine_seq_len(s), 200, &logits, &e), ERR_OK);
    assert_memory_equal(logits, want, sizeof want);
    engine_seq_cut(f, len);
    engine_seq_free(s);
    assert_int_equal(prefill(&o, f, len, 200, &logits, &e), ERR_OK);
    memcpy(got, logits, sizeof got);
    assert_memory_equal(got, want, sizeof want);
    engine_seq_free(f);
    close_model(&o);
}

/* ---- ending a prefill ---- */

static bool stop_at(void *arg)
{
    return --*(int *)arg == 0;
}

static void a_prefill_can_be_ended_and_taken_up(void **state)
{
    (void)state;
    float want[VOCAB];
    struct opened o = open_model(256, 512, 16);
    const float *logits;
    struct errinfo e;
    struct engine_seq *s = engine_seq_new(o.en), *whole = engine_seq_new(o.en);
    assert_int_equal(prefill(&o, whole, 0, 150, &logits, &e), ERR_OK);
    memcpy(want, logits, sizeof want);
    int calls = 1;
    enum err r = engine_prefill(o.en, s, text(150), 150, stop_at, &calls, &logits, &e);
    assert_int_equal(r, ERR_CANCELLED);
    assert_int_equal(engine_seq_len(s), 0);
    calls = 4;
    r = engine_prefill(o.en, s, text(150), 150, stop_at, &calls, &logits, &e);
    assert_int_equal(r, ERR_CANCELLED);
    assert_int_equal(engine_seq_len(s), 3 * 16); /* what ran stays */
    assert_memory_equal(engine_seq_tokens(s), text(150), 3 * 16 * sizeof(int32_t));
    assert_int_equal(prefill(&o, s, 3 * 16, 150, &logits, &e), ERR_OK);
    assert_memory_equal(logits, want, sizeof want);
    engine_seq_free(whole);
    engine_seq_free(s);
    close_model(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_context_is_an_error),
        cmocka_unit_test(no_free_page_is_busy),
        cmocka_unit_test(foreign_tokens_are_refused),
        cmocka_unit_test(memory_is_counted_before_it_is_taken),
        cmocka_unit_test(int8_has_a_limit),
        cmocka_unit_test(pages_come_back),
        cmocka_unit_test(shared_beginnings_do_not_touch_each_other),
        cmocka_unit_test(a_prefill_can_be_ended_and_taken_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
