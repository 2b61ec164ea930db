/* SPDX-License-Identifier: MIT
 * engine_index_test.c - attention to chosen positions, in contexts of many pages: as dense as long
 * as all are chosen, another thing beyond, and the same bits however rows come, whatever is reused
 * and by whom it is computed.  What it computes is engine_arch_test's to say.
 *
 * The models are its tiny ones, whose files are made to say another length and another number of
 * chosen positions. */
#include "base/arena.h"
#include "base/num.h"
#include "base/test.h"
#include "engine/engine.h"

#include <string.h>

#define CTX   1024
#define N     700 /* several parts of attention */
#define TOP_K 300 /* more than one, and no whole pages */
#define TINY  8   /* the files' own */
#define MOST  "attention.indexer.top_k"

static const char *const families[] = {"deepseek32", "glm-dsa"};

struct opened {
    struct arena a;
    struct gguf *g;
    int32_t ids[N];
    size_t n_vocab;
};

/* Overwrites a key's 32-bit number: it follows the key and its type. */
static void set_key(char *file, size_t n, const char *family, const char *key, uint32_t v)
{
    char name[80];
    snprintf(name, sizeof name, "%s.%s", family, key);
    char *at = memmem(file, n, name, strlen(name));
    assert_non_null(at);
    memcpy(at + strlen(name) + 4, &v, sizeof v);
}

/* With one key of the indexer as it is given. */
static void open_family(struct opened *o, const char *family, const char *key, uint32_t v)
{
    char path[80];
    struct errinfo e;
    uint64_t rng = 7;
    arena_init(&o->a);
    snprintf(path, sizeof path, "tests/data/family/%s.gguf", family);
    size_t n;
    char *file = test_read_file(&o->a, path, &n);
    set_key(file, n, family, "context_length", CTX);
    set_key(file, n, family, key, v);
    if (gguf_open_bytes(&o->g, file, n, &e) != ERR_OK)
        fail_msg("%s", e.text);
    for (size_t i = 0; i < N; i++)
        o->ids[i] = (int32_t)(num_rand(&rng) % 64);
}

static void close_family(struct opened *o)
{
    gguf_close(o->g);
    arena_done(&o->a);
}

static struct engine *open_engine(struct opened *o, enum cpu_level level, enum kern_kv kv,
                                  int n_threads)
{
    struct engine *en;
    struct errinfo e;
    struct engine_opts opts = {.out_max = N, .n_threads = n_threads, .level = level, .kv = kv};
    opts.ctx = CTX, opts.ctx_total = 4 * CTX, opts.batch = N;
    if (engine_open(&en, o->g, &opts, &e) != ERR_OK)
        fail_msg("%s", e.text);
    o->n_vocab = engine_model(en)->n_vocab;
    return en;
}

/* Logits of all of the text, or of what is not known of it, in steps of some rows. */
static float *run(struct opened *o, struct engine *en, size_t step, size_t *known)
{
    float *out = arena_array(&o->a, N * o->n_vocab, sizeof *out);
    struct engine_row *rows = arena_array(&o->a, N, sizeof *rows);
    const float **logits = arena_array(&o->a, N, sizeof *logits);
    struct errinfo e;
    struct engine_seq *s = engine_seq_new(en);
    *known = engine_seq_reuse(s, o->ids, N);
    for (size_t at = *known, len; at < N; at += len) {
        len = MIN(step, N - at);
        for (size_t i = 0; i < len; i++)
            rows[i] = (struct engine_row){s, o->ids[at + i], ENGINE_LOGITS};
        if (engine_step(en, rows, len, logits, &e) != ERR_OK)
            fail_msg("%s", e.text);
        for (size_t i = 0; i < len; i++)
            memcpy(out + (at + i) * o->n_vocab, logits[i], o->n_vocab * sizeof *out);
    }
    engine_seq_free(s);
    return out;
}

static float *run_new(struct opened *o, enum cpu_level level, enum kern_kv kv, int n_threads,
                      size_t step)
{
    size_t known;
    struct engine *en = open_engine(o, level, kv, n_threads);
    float *out = run(o, en, step, &known);
    assert_int_equal(known, 0);
    engine_close(en);
    return out;
}

static void dense_until_then(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMS(families); i++) {
        struct opened all, some;
        open_family(&all, families[i], MOST, CTX);
        open_family(&some, families[i], MOST, TOP_K);
        const float *dense = run_new(&all, cpu_best(), KERN_KV_f16, 2, N);
        const float *chosen = run_new(&some, cpu_best(), KERN_KV_f16, 2, N);
        size_t at = TOP_K * all.n_vocab, left = (N - TOP_K) * all.n_vocab;
        assert_memory_equal(chosen, dense, at * sizeof *dense);
        assert_true(memcmp(chosen + at, dense + at, all.n_vocab * sizeof *dense) != 0);
        print_message("%s beyond: %.2g\n", families[i], test_nmse(chosen + at, dense + at, left));
        assert_true(test_nmse(chosen + at, dense + at, left) > 1e-5);
        close_family(&all);
        close_family(&some);
    }
}

/* Every format of keys and values at every level; few rows of a step are taken apart by threads. */
static void rows_come_in_any_way(void **state)
{
    (void)state;
    static const uint32_t top_k[] = {TOP_K, TINY};
    for (size_t i = 0; i < N_ELEMS(families) * N_ELEMS(top_k); i++)
        for (int level = 0; level < CPU_LEVEL_N; level++)
            for (int kv = 0; kv < KERN_KV_N; kv++) {
                struct opened o;
                if (!cpu_has((enum cpu_level)level) || (level == CPU_c && kv != KERN_KV_f16))
                    continue;
                open_family(&o, families[i % 2], MOST, top_k[i / 2]);
                size_t bytes = N * 64 * sizeof(float);
                const float *whole = run_new(&o, (enum cpu_level)level, (enum kern_kv)kv, 2, N);
                assert_int_equal(o.n_vocab, 64);
                assert_memory_equal(run_new(&o, (enum cpu_level)level, (enum kern_kv)kv, 1, 97),
                                    whole, bytes);
                if ((enum cpu_level)level == cpu_best())
                    assert_memory_equal(run_new(&o, (enum cpu_level)level, (enum kern_kv)kv, 2, 1),
                                        whole, bytes);
                close_family(&o);
            }
}

/* What is known of a text is its index keys, too. */
static void known_beginnings_hold_index_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMS(families); i++) {
        struct opened o;
        size_t known;
        open_family(&o, families[i], MOST, TINY);
        struct engine *en = open_engine(&o, cpu_best(), KERN_KV_q8, 2);
        const float *first = run(&o, en, N, &known);
        assert_int_equal(known, 0);
        const float *again = run(&o, en, 5, &known);
        assert_true(known > N - 2 * ENGINE_PAGE);
        assert_memory_equal(again + known * o.n_vocab, first + known * o.n_vocab,
                            (N - known) * o.n_vocab * sizeof *first);
        engine_close(en);
        close_family(&o);
    }
}

/* Files that make no sense, each by its words. */
static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *key, *says;
        uint32_t v;
    } cases[] = {
        {MOST,                           "top_k is 0",   0      },
        {"attention.indexer.head_count", "outside 1 to", 1 << 20},
        {"attention.indexer.head_count", "attn_q_b",     3      },
        {"attention.indexer.key_length", "rotated",      4      },
    };
    for (size_t i = 0; i < N_ELEMS(cases); i++) {
        struct opened o;
        struct engine *en;
        struct errinfo e = {0};
        struct engine_opts opts = {.n_threads = 1};
        open_family(&o, "deepseek32", cases[i].key, cases[i].v);
        assert_int_not_equal(engine_open(&en, o.g, &opts, &e), ERR_OK);
        if (!strstr(e.text, cases[i].says))
            fail_msg("%s; wanted: %s", e.text, cases[i].says);
        close_family(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_until_then),
        cmocka_unit_test(rows_come_in_any_way),
        cmocka_unit_test(known_beginnings_hold_index_keys),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
