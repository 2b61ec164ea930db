/* SPDX-License-Identifier: MIT
 * engine_prefix_test.c - sequences that come, grow, are cut and go in a small memory: what they
 * reuse gives the same bits as computing it, and no page is lost. */
#include "base/arena.h"
#include "base/num.h"
#include "base/test.h"
#include "engine/engine.h"
#include "engine/engine_int.h"

#include <stdio.h>
#include <string.h>

#define N_SEQS 4
#define CTX    256

static uint64_t rng;

static size_t n_known; /* tokens that were taken over */

static size_t below(size_t n)
{
    return (size_t)(num_rand(&rng) % n);
}

/* Of layers that attend, scan, convolve, follow the delta rule, and of RWKV. */
static const char *const files[] = {"arch/llama",    "family/lfm2",      "family/mamba",
                                    "family/mamba2", "family/qwen3next", "family/rwkv6",
                                    "family/rwkv7"};

struct opened {
    struct gguf *g;
    bool state; /* it has states beside pages */
    size_t ctx;
    size_t n_vocab;
    struct engine *en, *plain; /* plain: a second engine, for one sequence at a time */
};

static void open_both(struct opened *o, const char *file, size_t ctx_total)
{
    char path[80];
    struct errinfo e;
    struct engine_opts opts = {
        .ctx_total = ctx_total, .batch = 100, .n_threads = 1, .level = cpu_best()};
    o->ctx = opts.ctx = strcmp(file, files[0]) == 0 ? CTX : 128; /* the other files' */
    opts.seqs = 1; /* slots for as many sequences as there are, if they keep no marks */
    snprintf(path, sizeof path, "tests/data/%s.gguf", file);
    if (gguf_open(&o->g, path, &e) != ERR_OK || engine_open(&o->en, o->g, &opts, &e) != ERR_OK)
        fail_msg("%s", e.text);
    opts.ctx_total = opts.ctx;
    if (engine_open(&o->plain, o->g, &opts, &e) != ERR_OK)
        fail_msg("%s", e.text);
    o->state = engine_model(o->en)->has_state;
    o->n_vocab = MIN(engine_model(o->en)->n_vocab, (size_t)90);
}

static void close_both(struct opened *o)
{
    engine_close(o->en);
    engine_close(o->plain);
    gguf_close(o->g);
}

/* The logits after ids[n], computed from nothing. */
static void compute(struct opened *o, const int32_t *ids, size_t n, float *out)
{
    const float *logits;
    struct errinfo e;
    size_t vocab = engine_model(o->plain)->n_vocab;
    struct engine_seq *s = engine_seq_new(o->plain);
    assert_int_equal(engine_prefill(o->plain, s, ids, n, NULL, NULL, &logits, &e), ERR_OK);
    memcpy(out, logits, vocab * sizeof *out);
    engine_seq_free(s);
    while (o->plain->n_cached) /* nothing of it is known the next time */
        prefix_forget_one(o->plain);
}

/* Texts that often begin alike: a few stems, then a few symbols. */
static void make_text(const struct opened *o, int32_t *ids, size_t n)
{
    size_t stem = below(3), turn = 1 + below(150);
    for (size_t i = 0; i < n; i++)
        ids[i] = i < turn ? (int32_t)((i * (stem + 3) + stem) % o->n_vocab) : (int32_t)below(3);
}

static void begin(struct opened *o, struct engine_seq **s)
{
    int32_t ids[CTX];
    float want[256];
    const float *logits;
    struct errinfo e;
    size_t n = 1 + below(o->ctx);
    make_text(o, ids, n);
    *s = engine_seq_new(o->en);
    size_t known = engine_seq_reuse(*s, ids, n);
    assert_true(known < n && known == engine_seq_len(*s));
    n_known += known;
    if (below(2))
        engine_seq_mark(*s, below(n + 1));
    enum err r = engine_prefill(o->en, *s, ids + known, n - known, NULL, NULL, &logits, &e);
    if (r == ERR_BUSY) {
        engine_seq_free(*s);
        *s = NULL;
        return;
    }
    assert_int_equal(r, ERR_OK);
    compute(o, ids, n, want);
    assert_memory_equal(want, logits, engine_model(o->en)->n_vocab * sizeof *want);
}

static void grow(struct opened *o, struct engine_seq *s)
{
    float want[256];
    const float *logits;
    struct errinfo e;
    int32_t ids[CTX];
    if (engine_seq_len(s) == 0 || engine_seq_len(s) == o->ctx)
        return;
    struct engine_row row = {s, (int32_t)below(o->n_vocab), true};
    if (engine_step(o->en, &row, 1, &logits, &e) != ERR_OK) {
        assert_int_equal(e.code, ERR_BUSY);
        return;
    }
    memcpy(ids, engine_seq_tokens(s), engine_seq_len(s) * sizeof *ids);
    compute(o, ids, engine_seq_len(s), want);
    assert_memory_equal(want, logits, engine_model(o->en)->n_vocab * sizeof *want);
}

static void cut(const struct opened *o, struct engine_seq *s)
{
    size_t n = below(engine_seq_len(s) + 1);
    engine_seq_cut(s, n);
    assert_true(engine_seq_len(s) <= n);
    assert_true(o->state || engine_seq_len(s) >= n / ENGINE_PAGE * ENGINE_PAGE);
}

/* Random sequences in a memory of so many tokens. */
static void come_and_go(const char *file, size_t total, int rounds)
{
    struct opened o;
    struct engine_seq *seq[N_SEQS] = {0};
    open_both(&o, file, total);
    n_known = 0;
    for (int round = 0; round < rounds; round++) {
        struct engine_seq **s = &seq[below(N_SEQS)];
        size_t what = below(5);
        if (!*s)
            begin(&o, s);
        else if (what < 3)
            grow(&o, *s);
        else if (what == 3)
            cut(&o, *s);
        else {
            engine_seq_free(*s);
            *s = NULL;
        }
    }
    for (int i = 0; i < N_SEQS; i++)
        engine_seq_free(seq[i]);
    assert_true(n_known > 0);
    assert_int_equal(engine_pages_free(o.en), total / ENGINE_PAGE);
    assert_int_equal(o.en->n_free_states + o.en->n_marks, o.en->n_states);
    close_both(&o);
}

static void reuse_is_computing(void **state)
{
    (void)state;
    const size_t totals[] = {512, 320, 4096};
    for (size_t f = 0; f < N_ELEMS(files); f++)
        for (size_t k = 0; k < N_ELEMS(totals); k++)
            come_and_go(files[f], totals[k], f ? 200 : 400);
}

/* A conversation that comes back is known but for its last token. */
static void what_ended_is_known(void **state)
{
    (void)state;
    struct opened o;
    const float *logits;
    struct errinfo e;
    int32_t ids[150];
    open_both(&o, files[0], 1024);
    for (int i = 0; i < 150; i++)
        ids[i] = i % 90;
    for (int turn = 0; turn < 3; turn++) {
        struct engine_seq *s = engine_seq_new(o.en);
        size_t known = engine_seq_reuse(s, ids, 150);
        assert_int_equal(known, turn ? 149 : 0);
        assert_int_equal(engine_prefill(o.en, s, ids + known, 150 - known, NULL, NULL, &logits, &e),
                         ERR_OK);
        engine_seq_free(s);
    }
    struct engine_seq *s = engine_seq_new(o.en);
    ids[100] = 7; /* another ending */
    assert_int_equal(engine_seq_reuse(s, ids, 150), 100);
    engine_seq_free(s);
    close_both(&o);
}

/* The same of a model with states, which knows what was marked and where texts ended: at once all
 * but the last token of the same text, and the second text that leaves a known one leaves a mark
 * there for the third. */
static void turns_are_known(void **state)
{
    (void)state;
    for (size_t f = 1; f < N_ELEMS(files); f++) {
        struct opened o;
        const float *logits;
        struct errinfo e;
        int32_t ids[120];
        const size_t want[] = {0, 99, 0, 70, 100};
        open_both(&o, files[f], 1024);
        for (size_t turn = 0; turn < N_ELEMS(want); turn++) {
            size_t n = turn == 4 ? 120 : 100; /* the last goes on where the one before ended */
            for (size_t i = 0; i < n; i++)
                ids[i] = (int32_t)(i < 70 || turn < 2 ? i % 60 : MIN(turn, 3));
            struct engine_seq *s = engine_seq_new(o.en);
            size_t known = engine_seq_reuse(s, ids, n);
            assert_int_equal(known, want[turn]);
            engine_seq_mark(s, n - 1);
            assert_int_equal(
                engine_prefill(o.en, s, ids + known, n - known, NULL, NULL, &logits, &e), ERR_OK);
            engine_seq_free(s);
        }
        close_both(&o);
    }
}

int main(void)
{
    rng = test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reuse_is_computing),
        cmocka_unit_test(what_ended_is_known),
        cmocka_unit_test(turns_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
