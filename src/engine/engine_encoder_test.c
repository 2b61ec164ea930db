/* SPDX-License-Identifier: MIT
 * engine_encoder_test.c - encoders and rerankers against their outside reference.
 *
 * tests/data/encoder (tools/encoder_vectors.py) has tiny models of random weights, the hidden
 * states that PyPI `transformers` gives in binary64, plain and with keys and values rounded to
 * binary16, and the vector or score that it makes of them.  The measure is sum (a - b)^2 / sum b^2.
 */
#include "base/arena.h"
#include "base/num.h"
#include "base/test.h"
#include "engine/sched.h"
#include "os/os_sys.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N_MAX      320
#define FILES_MAX  64
#define NEAR       1e-7
#define NEAR_PLAIN 1e-6
#define NEAR_Q8    1e-3

static char files[FILES_MAX][64]; /* without their ending */
static size_t n_files;

/* What was measured goes to tests/data/errors_encoder.tsv where DAMSO_WRITE_ERRORS is set, for
 * docs/MODELS.md (tools/models_doc.py). */
static FILE *errors;

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int setup(void **state)
{
    (void)state;
    DIR *dir = opendir("tests/data/encoder");
    struct dirent *entry;
    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        size_t n = strlen(entry->d_name);
        if (n < 5 || strcmp(entry->d_name + n - 4, ".ref") != 0)
            continue;
        assert_true(n_files < FILES_MAX);
        snprintf(files[n_files++], sizeof *files, "%.*s", (int)MIN(n - 4, 60), entry->d_name);
    }
    closedir(dir);
    qsort(files, n_files, sizeof *files, by_name);
    assert_true(n_files > 0);
    if (getenv("DAMSO_WRITE_ERRORS")) {
        errors = fopen("tests/data/errors_encoder.tsv", "w");
        assert_non_null(errors);
        fprintf(errors, "file\tarch\texact\tfast\tblocks\n");
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return errors ? fclose(errors) : 0;
}

/* What a .ref file holds. */
struct ref {
    uint32_t n, dim, ranks; /* ranks: more than 1, of a pair whose second text begins there */
    int32_t ids[N_MAX];
    float *plain, *halves; /* [n][dim] */
    float *end;            /* [dim], or the score */
};

static void read_ref(struct ref *r, struct arena *a, const char *name)
{
    char path[128], magic[8];
    snprintf(path, sizeof path, "tests/data/encoder/%s.ref", name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(magic, 1, 8, f), 8);
    assert_memory_equal(magic, "DAMSOENC", 8);
    assert_int_equal(fread(&r->n, 4, 3, f), 3);
    assert_true(r->ranks < r->n);
    assert_true(r->n >= 2 && r->n <= N_MAX && r->dim <= 256);
    size_t all = (size_t)r->n * r->dim, n_end = r->ranks ? 1 : r->dim;
    r->plain = arena_array(a, all, 4);
    r->halves = arena_array(a, all, 4);
    r->end = arena_array(a, n_end, 4);
    assert_int_equal(fread(r->ids, 4, r->n, f), r->n);
    assert_int_equal(fread(r->plain, 4, all, f), all);
    assert_int_equal(fread(r->halves, 4, all, f), all);
    assert_int_equal(fread(r->end, 4, n_end, f), n_end);
    fclose(f);
}

/* One model at one level. */
struct open {
    struct arena a;
    struct ref r;
    struct gguf *g;
    struct engine *en;
};

static void open_at(struct open *o, const char *name, enum cpu_level level, size_t batch)
{
    char path[128];
    struct errinfo e;
    struct engine_opts opts = {.batch = batch, .out_max = 8, .n_threads = 2, .level = level};
    arena_init(&o->a);
    read_ref(&o->r, &o->a, name);
    snprintf(path, sizeof path, "tests/data/encoder/%s.gguf", name);
    opts.ctx_total = 4 * N_MAX; /* of models that are no encoders */
    if (gguf_open(&o->g, path, &e) != ERR_OK || engine_open(&o->en, o->g, &opts, &e) != ERR_OK)
        fail_msg("%s", e.text);
}

static void close_it(struct open *o)
{
    engine_close(o->en);
    gguf_close(o->g);
    arena_done(&o->a);
}

/* Is it computed with floats alone? */
static bool exact(const struct open *o, enum cpu_level level)
{
    return level == CPU_c || format_info(engine_model(o->en)->layers[0].o.format)->bits == 0;
}

/* Hidden states of texts, one behind the other in a step; those of text `which`. */
static float *run(struct open *o, const int32_t *const *ids, const size_t *n, size_t n_texts,
                  size_t which)
{
    static struct engine_row rows[4 * N_MAX];
    static const float *got[4 * N_MAX];
    size_t dim = engine_model(o->en)->dim, at = 0, from = 0;
    struct engine_seq *seqs[4];
    struct errinfo e;
    assert_true(n_texts <= N_ELEMS(seqs));
    for (size_t t = 0; t < n_texts; t++) {
        seqs[t] = engine_seq_new(o->en);
        if (o->r.ranks > 1)
            engine_seq_types(seqs[t], o->r.ranks);
        from = t == which ? at : from;
        for (size_t i = 0; i < n[t]; i++)
            rows[at++] = (struct engine_row){seqs[t], ids[t][i], ENGINE_HIDDEN};
    }
    if (engine_step(o->en, rows, at, got, &e) != ERR_OK)
        fail_msg("%s", e.text);
    float *out = arena_array(&o->a, n[which] * dim, sizeof *out);
    for (size_t i = 0; i < n[which]; i++)
        memcpy(out + i * dim, got[from + i], dim * sizeof *out);
    for (size_t t = 0; t < n_texts; t++)
        engine_seq_free(seqs[t]);
    return out;
}

static float *run_alone(struct open *o)
{
    const int32_t *ids = o->r.ids;
    const size_t n = o->r.n;
    return run(o, &ids, &n, 1, 0);
}

static void states_are_near(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_files; i++) {
        double slow = 0, fast = 0;
        struct open o;
        struct span arch = {"", 0};
        struct errinfo e;
        char family[64] = "";
        for (int level = 0; level < CPU_LEVEL_N; level++) {
            if (!cpu_has((enum cpu_level)level))
                continue;
            open_at(&o, files[i], (enum cpu_level)level, 4 * N_MAX);
            size_t all = (size_t)o.r.n * o.r.dim;
            const float *got = run_alone(&o);
            double halves = test_nmse(got, o.r.halves, all), plain = test_nmse(got, o.r.plain, all);
            print_message("%-22s %-11s %8.2g, without the cache's rounding %8.2g\n", files[i],
                          cpu_level_name((enum cpu_level)level), halves, plain);
            bool floats = exact(&o, (enum cpu_level)level);
            double near = memcmp(o.r.plain, o.r.halves, all * sizeof(float)) ? NEAR : NEAR_PLAIN;
            if (!(halves <= (floats ? near : NEAR_Q8)) ||
                !(plain <= (floats ? NEAR_PLAIN : NEAR_Q8)))
                fail_msg("%s at the level %s is too far from its reference", files[i],
                         cpu_level_name((enum cpu_level)level));
            *(level == CPU_c ? &slow : &fast) = MAX(level == CPU_c ? slow : fast, halves);
            assert_int_equal(gguf_need_str(o.g, "general.architecture", &arch, &e), ERR_OK);
            snprintf(family, sizeof family, "%.*s", (int)MIN(arch.n, 60), arch.p);
            close_it(&o);
        }
        if (errors)
            fprintf(errors, "encoder/%s\t%s\t%.1e\t%.1e\t\n", files[i], family, slow, fast);
    }
}

/* Among others in the step, at its beginning, middle and end: the same bits. */
static void texts_do_not_see_each_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_files; i++)
        for (int level = 0; level < CPU_LEVEL_N; level++) {
            struct open o;
            int32_t other[N_MAX];
            if (!cpu_has((enum cpu_level)level))
                continue;
            open_at(&o, files[i], (enum cpu_level)level, 4 * N_MAX);
            for (size_t k = 0; k < o.r.n; k++)
                other[k] = o.r.ids[o.r.n - 1 - k];
            const int32_t *ids[] = {other, o.r.ids + 1, other, o.r.ids};
            size_t n[] = {o.r.n, 1, o.r.n / 2, o.r.n - 3};
            const float *whole = run_alone(&o);
            size_t bytes = (size_t)o.r.n * o.r.dim * sizeof *whole;
            for (size_t at = 0; at < N_ELEMS(ids); at += 3 - at / 2) {
                const int32_t *was = ids[at];
                size_t n_was = n[at];
                ids[at] = o.r.ids;
                n[at] = o.r.n;
                assert_memory_equal(run(&o, ids, n, N_ELEMS(ids), at), whole, bytes);
                ids[at] = was;
                n[at] = n_was;
            }
            /* What follows counts, where it is seen. */
            ids[0] = o.r.ids;
            n[0] = o.r.n - 1;
            size_t last = (n[0] - 1) * o.r.dim;
            bool same = memcmp(run(&o, ids, n, 1, 0) + last, whole + last,
                               o.r.dim * sizeof *whole) == 0;
            assert_int_equal(same, !engine_model(o.en)->bidirectional);
            close_it(&o);
        }
}

/* ---- through the scheduler ---- */

static void wait_done(const struct job *j)
{
    uint64_t until = os_now_ns() + 60000000000u;
    while (job_state(j) != JOB_DONE) {
        if (os_now_ns() > until)
            fail_msg("a job did not end within a minute");
        nanosleep(&(struct timespec){0, 200000}, NULL);
    }
}

static void want(struct job *j, const struct open *o, size_t n)
{
    static const enum job_pool pools[] = {[MODEL_POOL_MEAN] = JOB_POOL_MEAN,
                                          [MODEL_POOL_CLS] = JOB_POOL_CLS,
                                          [MODEL_POOL_LAST] = JOB_POOL_LAST};
    const struct model *m = engine_model(o->en);
    job_init(j, 0, 0);
    j->prompt = o->r.ids;
    j->n_prompt = n;
    j->second = o->r.ranks > 1 ? o->r.ranks : 0;
    if (o->r.ranks)
        job_want_score(j, m);
    else
        job_want_embedding(j, pools[m->pooling], m->dim);
}

#define N_JOBS 24

/* Vectors and scores, many at once in a small batch: those of the reference, and the same bits. */
static void pooled_are_near(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_files; i++)
        for (int level = 0; level < CPU_LEVEL_N; level++) {
            struct open o;
            struct job jobs[N_JOBS];
            struct errinfo e;
            const struct sched_opts so = {.queue_max = N_JOBS, .running_max = 8};
            if (!cpu_has((enum cpu_level)level))
                continue;
            open_at(&o, files[i], (enum cpu_level)level, 64);
            struct sched *s = sched_new(o.en, &so);
            assert_int_equal(engine_model(o.en)->pooling == MODEL_POOL_RANK, o.r.ranks > 0);
            for (size_t k = 0; k < N_JOBS; k++) {
                want(&jobs[k], &o, k % 3 == 1 ? 1 + k % o.r.n : o.r.n);
                assert_int_equal(sched_push(s, &jobs[k], &e), ERR_OK);
            }
            for (size_t k = 0; k < N_JOBS; k++) {
                wait_done(&jobs[k]);
                assert_int_equal(jobs[k].end, JOB_END_LENGTH);
            }
            double near = exact(&o, (enum cpu_level)level) ? NEAR_PLAIN : NEAR_Q8;
            size_t n = o.r.ranks ? 1 : o.r.dim;
            for (size_t k = 0; k < N_JOBS; k += k % 3 ? 1 : 2) { /* those of the whole text */
                const float *got = o.r.ranks ? &jobs[k].score : jobs[k].embedding;
                if (!(test_nmse(got, o.r.end, n) <= near))
                    fail_msg("%s at the level %s: %g, and the reference is %g: off by %g", files[i],
                             cpu_level_name((enum cpu_level)level), (double)got[0],
                             (double)o.r.end[0], test_nmse(got, o.r.end, n));
                assert_memory_equal(got, o.r.ranks ? &jobs[0].score : jobs[0].embedding,
                                    n * sizeof *got);
            }
            for (size_t k = 0; k < N_JOBS; k++)
                job_done(&jobs[k]);
            sched_free(s);
            close_it(&o);
        }
}

/* ---- what is refused ---- */

static void says(const struct errinfo *e, const char *what)
{
    if (!strstr(e->text, what))
        fail_msg("\"%s\" does not say \"%s\"", e->text, what);
}

static void encoders_write_no_text(void **state)
{
    (void)state;
    struct open o;
    struct job j;
    struct errinfo e;
    const float *got;
    const struct sched_opts so = {.queue_max = 4, .running_max = 1};
    open_at(&o, "bert", cpu_best(), 64);
    struct engine_seq *seq = engine_seq_new(o.en);
    struct engine_row row = {seq, 5, ENGINE_LOGITS};
    assert_int_equal(engine_step(o.en, &row, 1, &got, &e), ERR_UNSUPPORTED);
    says(&e, "bert");
    row.want = ENGINE_HIDDEN;
    assert_int_equal(engine_step(o.en, &row, 1, &got, &e), ERR_OK);
    assert_int_equal(engine_step(o.en, &row, 1, &got, &e), ERR_USAGE);
    says(&e, "one step");
    engine_seq_free(seq);
    struct sched *s = sched_new(o.en, &so);
    job_init(&j, 4, 0);
    j.prompt = o.r.ids;
    j.n_prompt = 3;
    assert_int_equal(sched_push(s, &j, &e), ERR_UNSUPPORTED);
    says(&e, "bert");
    job_done(&j);
    sched_free(s);
    close_it(&o);
}

/* A text is one step: the batch grows with the context, and the context with what is asked. */
static void texts_fit_a_step(void **state)
{
    (void)state;
    struct errinfo e;
    struct gguf *g;
    struct engine *en;
    const size_t asked[] = {0, 100, 5000}, want_ctx[] = {128, 100, 128};
    assert_int_equal(gguf_open(&g, "tests/data/encoder/bert.gguf", &e), ERR_OK);
    for (size_t i = 0; i < N_ELEMS(asked); i++) {
        struct engine_opts opts = {.ctx = asked[i], .batch = 16, .n_threads = 1, .level = CPU_c};
        assert_int_equal(engine_open(&en, g, &opts, &e), ERR_OK);
        assert_int_equal(engine_ctx(en), want_ctx[i]);
        assert_true(engine_batch(en) >= want_ctx[i]);
        engine_close(en);
    }
    gguf_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_are_near),  cmocka_unit_test(texts_do_not_see_each_other),
        cmocka_unit_test(pooled_are_near),  cmocka_unit_test(encoders_write_no_text),
        cmocka_unit_test(texts_fit_a_step),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
