/* SPDX-License-Identifier: MIT
 * engine_arch_test.c - every family and every format against its outside reference.
 *
 * tests/data/arch (tools/arch_vectors.py) and tests/data/family (tools/family_vectors.py) have tiny
 * models of random weights and the logits that PyPI `transformers` gives in binary64, plain and
 * with keys and values rounded to binary16, which is what our pages hold; a few of its older
 * classes give the plain ones alone, and the two are the same then.  The measure is sum (a - b)^2 /
 * sum b^2 over all logits of a text.
 *
 * At the C level most positions are within 1e-13 of the rounded reference, until a key or value
 * that lies midway between two halves is rounded to the other one than in binary64; what sees it is
 * then off by some 1e-9.  So all of a text must be within 1e-7, and the nearest position of most
 * models within 1e-12.  The plain reference is within 1e-6.  Other levels, with 8-bit activations,
 * are within 1e-3. */
#include "base/arena.h"
#include "base/num.h"
#include "base/test.h"
#include "engine/engine.h"
#include "gguf/gguf_made.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_MAX      96
#define NEAR       1e-7
#define NEAR_PLAIN 1e-6
#define NEAR_Q8    1e-3
#define NEAREST    1e-12

#define FAMILIES_MAX 256

/* What was measured goes to tests/data/errors.tsv where DAMSO_WRITE_ERRORS is set, for
 * docs/MODELS.md (tools/models_doc.py). */
static FILE *errors;

static char families[FAMILIES_MAX][80]; /* files without their ending, below tests/data */
static size_t n_families;

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Every model of a folder. */
static void find_families(const char *folder)
{
    char path[64];
    struct dirent *entry;
    snprintf(path, sizeof path, "tests/data/%s", folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        size_t n = strlen(entry->d_name);
        if (n < 6 || strcmp(entry->d_name + n - 5, ".gguf") != 0)
            continue;
        assert_true(n_families < FAMILIES_MAX);
        snprintf(families[n_families++], sizeof *families, "%s/%.*s", folder, (int)MIN(n - 5, 50),
                 entry->d_name);
    }
    closedir(dir);
}

static int setup(void **state)
{
    (void)state;
    find_families("arch");
    find_families("family");
    qsort(families, n_families, sizeof *families, by_name);
    if (getenv("DAMSO_WRITE_ERRORS")) {
        errors = fopen("tests/data/errors.tsv", "w");
        assert_non_null(errors);
        fprintf(errors, "file\tarch\texact\tfast\tblocks\n");
    }
    return 0;
}

/* What a .ref file holds. */
struct ref {
    uint32_t n, n_vocab;
    int32_t *ids;          /* [n] */
    float *plain, *halves; /* [n][n_vocab] */
};

static void read_ref(struct ref *r, struct arena *a, const char *name)
{
    char path[512], magic[8];
    snprintf(path, sizeof path, "tests/data/%.80s.ref", name);
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s cannot be read", path);
    assert_int_equal(fread(magic, 1, 8, f), 8);
    assert_memory_equal(magic, "DAMSOARC", 8);
    assert_int_equal(fread(&r->n, 4, 1, f), 1);
    assert_int_equal(fread(&r->n_vocab, 4, 1, f), 1);
    assert_true(r->n >= 2 && r->n <= N_MAX && r->n_vocab <= 256);
    size_t all = (size_t)r->n * r->n_vocab;
    r->ids = arena_array(a, r->n, 4);
    r->plain = arena_array(a, all, 4);
    r->halves = arena_array(a, all, 4);
    assert_int_equal(fread(r->ids, 4, r->n, f), r->n);
    assert_int_equal(fread(r->plain, 4, all, f), all);
    assert_int_equal(fread(r->halves, 4, all, f), all);
    fclose(f);
}

static struct engine *open_engine(const struct gguf *g, enum cpu_level level)
{
    struct engine *en;
    struct errinfo e;
    struct engine_opts opts = {.out_max = N_MAX, .n_threads = 2, .level = level};
    opts.ctx = 128, opts.ctx_total = 512, opts.batch = N_MAX;
    if (engine_open(&en, g, &opts, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return en;
}

static struct gguf *open_family(const char *name)
{
    char path[512];
    struct gguf *g;
    struct errinfo e;
    snprintf(path, sizeof path, "tests/data/%.80s.gguf", name);
    if (gguf_open(&g, path, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return g;
}

/* Logits after every token, [n][n_vocab], in steps of the given number of rows. */
static float *run(struct engine *en, struct arena *a, const int32_t *ids, size_t n, size_t step)
{
    size_t vocab = engine_model(en)->n_vocab;
    float *out = arena_array(a, n * vocab, sizeof *out);
    const float *logits[N_MAX];
    struct engine_row rows[N_MAX];
    struct errinfo e;
    struct engine_seq *s = engine_seq_new(en);
    for (size_t at = 0, len; at < n; at += len) {
        len = MIN(step, n - at);
        for (size_t i = 0; i < len; i++)
            rows[i] = (struct engine_row){s, ids[at + i], true};
        assert_int_equal(engine_step(en, rows, len, logits, &e), ERR_OK);
        for (size_t i = 0; i < len; i++)
            memcpy(out + (at + i) * vocab, logits[i], vocab * sizeof *out);
    }
    engine_seq_free(s);
    return out;
}

static double nearest(const float *got, const struct ref *r)
{
    double least = 1;
    for (size_t i = 0; i < r->n; i++)
        least = MIN(least, test_nmse(got + i * r->n_vocab, r->halves + i * r->n_vocab, r->n_vocab));
    return least;
}

#define INDEXED (1u << 31) /* attention sees chosen positions */

/* What it has beside attention, and whether it has that: by the bits of enum model_mixer_kind. */
static unsigned blocks_of(const struct model *m)
{
    unsigned blocks = 0;
    for (size_t i = 0; i < m->n_layer; i++)
        blocks |= m->layers[i].mixer.kind ? 1u << m->layers[i].mixer.kind : 0;
    return blocks | (m->n_attend > 0) | (m->index_top_k ? INDEXED : 0);
}

static void note_errors(const struct gguf *g, const char *name, unsigned blocks, double exact,
                        double fast)
{
    static const char *const names[] = {
        [MODEL_CONV] = "short convolutions",
        [MODEL_SCAN] = "state spaces of channels",
        [MODEL_SCAN_HEADS] = "state spaces of heads",
        [MODEL_DELTA] = "gated delta rule",
        [MODEL_DELTA_EACH] = "delta rule with a gate a channel",
        [MODEL_WKV6] = "RWKV 6's states",
        [MODEL_GATED] = "gated linear attention",
        [MODEL_WKV7] = "RWKV 7's states",
    };
    struct span arch;
    struct errinfo e;
    assert_int_equal(gguf_need_str(g, "general.architecture", &arch, &e), ERR_OK);
    if (!errors)
        return;
    fprintf(errors, "%s\t%.*s\t%.1e\t%.1e\t", name, (int)arch.n, arch.p, exact, fast);
    for (unsigned k = 1; k < N_ELEMS(names); k++)
        fprintf(errors, "%s", blocks & 1u << k ? names[k] : "");
    fprintf(errors, "%s%s\n", blocks & INDEXED ? "attention to chosen positions" : "",
            blocks & 1 ? "" : ", no attention");
}

/* At every level of this machine; gives the distance of the C level's nearest position. */
static double check_near(const struct gguf *g, const char *name)
{
    struct arena a;
    struct ref r;
    double least = 1, exact = 0, fast = 0;
    unsigned blocks = 0;
    arena_init(&a);
    read_ref(&r, &a, name);
    size_t all = (size_t)r.n * r.n_vocab;
    for (int level = 0; level < CPU_LEVEL_N; level++) {
        if (!cpu_has((enum cpu_level)level))
            continue;
        struct engine *en = open_engine(g, (enum cpu_level)level);
        assert_int_equal(engine_model(en)->n_vocab, r.n_vocab);
        const float *got = run(en, &a, r.ids, r.n, r.n);
        double halves = test_nmse(got, r.halves, all), plain = test_nmse(got, r.plain, all);
        print_message("%-22s %-11s %8.2g, without the cache's rounding %8.2g\n", name,
                      cpu_level_name((enum cpu_level)level), halves, plain);
        bool floats = level == CPU_c || format_info(engine_model(en)->embed.format)->bits == 0;
        double near = memcmp(r.plain, r.halves, all * sizeof(float)) ? NEAR : NEAR_PLAIN;
        if (!(halves <= (floats ? near : NEAR_Q8)) || !(plain <= (floats ? NEAR_PLAIN : NEAR_Q8)))
            fail_msg("%s at the level %s is too far from its reference", name,
                     cpu_level_name((enum cpu_level)level));
        least = MIN(least, level == CPU_c ? nearest(got, &r) : 1);
        blocks = blocks_of(engine_model(en));
        *(level == CPU_c ? &exact : &fast) = MAX(level == CPU_c ? exact : fast, halves);
        engine_close(en);
    }
    note_errors(g, name, blocks, exact, fast);
    arena_done(&a);
    return least;
}

static void families_are_near(void **state)
{
    (void)state;
    size_t n_nearest = 0;
    for (size_t i = 0; i < n_families; i++) {
        struct gguf *g = open_family(families[i]);
        n_nearest += check_near(g, families[i]) < NEAREST;
        gguf_close(g);
    }
    assert_true(2 * n_nearest > n_families);
}

/* Each row of arch.def has a model here. */
static void no_family_is_left_out(void **state)
{
    (void)state;
    static const char *const names[] = {
#define ARCH(name, ...) #name,
#include "model/arch.def"
#undef ARCH
    };
    bool found[N_ELEMS(names)] = {0};
    size_t n_mine = n_families;
    find_families("encoder"); /* engine_encoder_test.c */
    for (size_t i = 0; i < n_families; i++) {
        struct gguf *g = open_family(families[i]);
        struct span arch;
        struct errinfo e;
        assert_int_equal(gguf_need_str(g, "general.architecture", &arch, &e), ERR_OK);
        for (size_t k = 0; k < N_ELEMS(names); k++)
            found[k] |= span_eq_cstr(arch, names[k]);
        gguf_close(g);
    }
    n_families = n_mine;
    for (size_t k = 0; k < N_ELEMS(names); k++)
        if (!found[k])
            fail_msg("%s has no reference", names[k]);
}

/* ---- the same bits, however the rows come ---- */

/* The text among the rows of two other sequences, in uneven pieces. */
static float *run_among(struct engine *en, struct arena *a, const int32_t *ids, size_t n)
{
    size_t vocab = engine_model(en)->n_vocab, done = 0, other_at = 0;
    float *out = arena_array(a, n * vocab, sizeof *out);
    const float *logits[N_MAX];
    struct engine_row rows[N_MAX];
    struct errinfo e;
    struct engine_seq *s[3];
    for (size_t i = 0; i < 3; i++)
        s[i] = engine_seq_new(en);
    for (size_t turn = 0; done < n; turn++) {
        size_t len = MIN(1 + turn * 5 % 7, n - done), k = 0;
        for (size_t i = 0; i < 1 + turn % 4; i++)
            rows[k++] = (struct engine_row){s[0], ids[(other_at + i) % n], false};
        for (size_t i = 0; i < len; i++)
            rows[k++] = (struct engine_row){s[1], ids[done + i], true};
        for (size_t i = 0; i < 3 * (turn % 2); i++)
            rows[k++] = (struct engine_row){s[2], ids[n - 1 - (other_at + i) % n], i == 0};
        assert_int_equal(engine_step(en, rows, k, logits, &e), ERR_OK);
        for (size_t i = 0; i < len; i++)
            memcpy(out + (done + i) * vocab, logits[i], vocab * sizeof *out);
        done += len, other_at += 3;
    }
    for (size_t i = 0; i < 3; i++)
        engine_seq_free(s[i]);
    return out;
}

static void rows_come_in_any_way(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_families; i++)
        for (int level = 0; level < CPU_LEVEL_N; level++) {
            struct arena a;
            struct ref r;
            if (!cpu_has((enum cpu_level)level))
                continue;
            arena_init(&a);
            read_ref(&r, &a, families[i]);
            struct gguf *g = open_family(families[i]);
            struct engine *en = open_engine(g, (enum cpu_level)level);
            size_t bytes = (size_t)r.n * r.n_vocab * sizeof(float);
            const float *whole = run(en, &a, r.ids, r.n, r.n);
            assert_memory_equal(run(en, &a, r.ids, r.n, 1), whole, bytes);
            assert_memory_equal(run(en, &a, r.ids, r.n, 7), whole, bytes);
            assert_memory_equal(run(en, &a, r.ids, r.n, 17), whole, bytes);
            assert_memory_equal(run_among(en, &a, r.ids, r.n), whole, bytes);
            engine_close(en);
            gguf_close(g);
            arena_done(&a);
        }
}

/* ---- hidden states ---- */

/* Of every token, [n][dim]: in uneven steps, among rows of which logits or nothing are wanted. */
static float *run_hidden(struct engine *en, struct arena *a, const int32_t *ids, size_t n)
{
    size_t dim = engine_model(en)->dim;
    float *out = arena_array(a, n * dim, sizeof *out);
    const float *got[N_MAX];
    struct engine_row rows[N_MAX];
    struct errinfo e;
    struct engine_seq *s = engine_seq_new(en), *other = engine_seq_new(en);
    for (size_t at = 0, len, k; at < n; at += len) {
        len = MIN(1 + at % 5 * 3, n - at);
        k = 0;
        rows[k++] = (struct engine_row){other, ids[at], ENGINE_LOGITS};
        rows[k++] = (struct engine_row){other, ids[n - 1 - at], ENGINE_NOTHING};
        for (size_t i = 0; i < len; i++)
            rows[k++] = (struct engine_row){s, ids[at + i], ENGINE_HIDDEN};
        assert_int_equal(engine_step(en, rows, k, got, &e), ERR_OK);
        for (size_t i = 0; i < len; i++)
            memcpy(out + (at + i) * dim, got[1 + i], dim * sizeof *out);
    }
    engine_seq_free(s);
    engine_seq_free(other);
    return out;
}

/* What the output matrix makes of them, in binary64. */
static float *head_of(const struct model *m, struct arena *a, const float *hidden, size_t n)
{
    const struct model_matrix *w = &m->output;
    float *out = arena_array(a, n * m->n_vocab, sizeof *out), row[256];
    assert_true(m->dim <= N_ELEMS(row));
    for (size_t v = 0; v < m->n_vocab; v++) {
        format_dequant(w->format, row, w->tensor->data + v * format_bytes(w->format, w->cols),
                       w->cols);
        for (size_t i = 0; i < n; i++) {
            double sum = 0, cap = (double)m->logit_cap;
            for (size_t c = 0; c < m->dim; c++)
                sum += (double)row[c] * (double)hidden[i * m->dim + c];
            sum = (sum + (m->output_bias ? (double)m->output_bias[v] : 0)) * (double)m->logit_scale;
            out[i * m->n_vocab + v] = (float)(cap > 0 ? cap * tanh(sum / cap) : sum);
        }
    }
    return out;
}

/* The reference has no hidden states, but logits, and the vocabulary is larger than the state: two
 * states with the same logits are the same. */
static void hidden_states_are_near(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_families; i++) {
        struct arena a;
        struct ref r;
        struct gguf *g = open_family(families[i]);
        arena_init(&a);
        read_ref(&r, &a, families[i]);
        for (int level = 0; level < CPU_LEVEL_N; level++) {
            if (!cpu_has((enum cpu_level)level))
                continue;
            struct engine *en = open_engine(g, (enum cpu_level)level);
            const struct model *m = engine_model(en);
            assert_true(m->n_vocab > m->dim);
            const float *hidden = run_hidden(en, &a, r.ids, r.n);
            const float *got = head_of(m, &a, hidden, r.n);
            double d = test_nmse(got, r.halves, (size_t)r.n * r.n_vocab);
            bool floats = level == CPU_c || format_info(m->embed.format)->bits == 0;
            if (!(d <= (floats ? NEAR_PLAIN : NEAR_Q8)))
                fail_msg("%s at the level %s: hidden states are off by %g", families[i],
                         cpu_level_name((enum cpu_level)level), d);
            engine_close(en);
        }
        gguf_close(g);
        arena_done(&a);
    }
}

/* ---- a llama of one format ---- */

/* Blocks to draw matrices from (tests/data/format), and the stream to draw with. */
struct pool {
    uint32_t number, elems, bytes, n_blocks, n_pool, n_values;
    uint8_t *blocks;
    uint64_t stream;
};

static void read_pool(struct pool *p, struct arena *a, const char *name)
{
    char path[512], magic[8];
    snprintf(path, sizeof path, "tests/data/format/%s.vec", name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(magic, 1, 8, f), 8);
    assert_int_equal(fread(p, 4, 6, f), 6);
    assert_true(p->bytes <= 292 && p->n_pool <= 4096);
    p->blocks = arena_array(a, p->n_pool, p->bytes);
    assert_int_equal(fread(p->blocks, p->bytes, p->n_pool, f), p->n_pool);
    p->stream = p->number;
    fclose(f);
}

static void put_matrix(struct gguf_made *f, struct pool *p, const char *name, size_t rows,
                       size_t cols)
{
    size_t n = rows * cols / p->elems;
    uint8_t *data = mem_alloc(n * p->bytes);
    for (size_t i = 0; i < n; i++)
        memcpy(data + i * p->bytes, p->blocks + num_rand(&p->stream) % p->n_pool * p->bytes,
               p->bytes);
    gguf_made_tensor(f, name, p->number, cols, rows, data);
    mem_free(data);
}

static void put_gain(struct gguf_made *f, struct pool *p, const char *name, size_t n)
{
    float *data = mem_alloc(n * sizeof *data);
    for (size_t i = 0; i < n; i++)
        data[i] = 0.5f + (float)(num_rand(&p->stream) >> 48) / 65536;
    gguf_made_tensor(f, name, GGUF_TYPE_F32, n, 0, data);
    mem_free(data);
}

/* As format_tensors of tools/arch_vectors.py draws it. */
static void put_llama(struct gguf_made *f, struct pool *p)
{
    enum { LAYERS = 2, VOCAB = 64, HEADS = 4, KV_HEADS = 2 };
    size_t dim = MAX(p->elems, 64), kv = dim / HEADS * KV_HEADS;
    const struct {
        const char *name;
        size_t rows, cols;
    } parts[] = {
        {"attn_norm",   0,   dim},
        {"attn_q",      dim, dim},
        {"attn_k",      kv,  dim},
        {"attn_v",      kv,  dim},
        {"attn_output", dim, dim},
        {"ffn_norm",    0,   dim},
        {"ffn_gate",    dim, dim},
        {"ffn_up",      dim, dim},
        {"ffn_down",    dim, dim},
    };
    gguf_made_begin(f);
    gguf_made_str(f, "general.architecture", "llama");
    gguf_made_u32(f, "llama.block_count", LAYERS);
    gguf_made_u32(f, "llama.context_length", 256);
    gguf_made_u32(f, "llama.embedding_length", (uint32_t)dim);
    gguf_made_u32(f, "llama.feed_forward_length", (uint32_t)dim);
    gguf_made_u32(f, "llama.attention.head_count", HEADS);
    gguf_made_u32(f, "llama.attention.head_count_kv", KV_HEADS);
    gguf_made_f32(f, "llama.attention.layer_norm_rms_epsilon", 1e-2f);
    put_matrix(f, p, "token_embd.weight", VOCAB, dim);
    for (int i = 0; i < LAYERS; i++)
        for (size_t k = 0; k < N_ELEMS(parts); k++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%d.%s.weight", i, parts[k].name);
            if (parts[k].rows)
                put_matrix(f, p, name, parts[k].rows, parts[k].cols);
            else
                put_gain(f, p, name, parts[k].cols);
        }
    put_gain(f, p, "output_norm.weight", dim);
    put_matrix(f, p, "output.weight", VOCAB, dim);
}

static void formats_are_near(void **state)
{
    (void)state;
    int n_nearest = 0;
    for (int i = 0; i < FORMAT_N; i++) {
        struct arena a;
        struct pool p;
        struct gguf_made f;
        struct gguf *g;
        struct errinfo e;
        char name[64];
        arena_init(&a);
        read_pool(&p, &a, format_info((enum format)i)->name);
        put_llama(&f, &p);
        const void *bytes = gguf_made_end(&f);
        if (gguf_open_bytes(&g, bytes, f.all.n, &e) != ERR_OK)
            fail_msg("%s", e.text);
        snprintf(name, sizeof name, "arch/format-%s", format_info((enum format)i)->name);
        n_nearest += check_near(g, name) < NEAREST;
        gguf_close(g);
        gguf_made_done(&f);
        arena_done(&a);
    }
    assert_true(2 * n_nearest > FORMAT_N);
}

static int teardown(void **state)
{
    (void)state;
    return errors ? fclose(errors) : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_are_near),    cmocka_unit_test(no_family_is_left_out),
        cmocka_unit_test(rows_come_in_any_way), cmocka_unit_test(hidden_states_are_near),
        cmocka_unit_test(formats_are_near),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
