/* SPDX-License-Identifier: MIT
 * vision_test.c - pictures against the outside reference (tools/vision_vectors.py): the image
 * processor's pixels, the projector's rows and the language model's logits of PyPI `transformers`.
 *
 * Distances are sum (a - b)^2 / sum b^2.  Weights of the reference are numbers that F16 holds. */
#include "vision/vision.h"

#include "base/arena.h"
#include "base/num.h"
#include "base/test.h"
#include "engine/engine.h"
#include "engine/sched.h"
#include "gguf/gguf_type.h"
#include "gguf/gguf_write.h"
#include "kern/format.h"
#include "kern/pairs.h"
#include "model/model.h"
#include "vision/vision_decode.h"
#include "vision/vision_resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER    "tests/data/vision/"
#define PROJECTOR FOLDER "mmproj.gguf"
#define N_MAX     96
#define NEAR      1e-6 /* keys and values are halves */
#define NEAR_Q8   1e-3
#define NEAR_BF16 1e-4 /* where the projector computes in bfloat16 (pairs.h) */
#define PIXEL     1e-6

struct ref {
    uint32_t n, n_vocab, side, n_soft, dim;
    int32_t *ids;
    float *pixels, *soft, *logits;
};

static struct arena arena;
static struct ref ref;
static struct vision *vision;
static struct gguf *gguf;
static uint8_t *file;
static size_t file_n;
static float *soft; /* as ours makes them, at the C level */
static struct engine_span span;
static int32_t ids[N_MAX];

static uint8_t *read_file(const char *name, size_t *n)
{
    char path[256];
    snprintf(path, sizeof path, FOLDER "%s", name);
    return test_read_file(&arena, path, n);
}

static const void *take(const uint8_t **at, size_t n)
{
    void *out = arena_alloc(&arena, n);
    memcpy(out, *at, n);
    *at += n;
    return out;
}

static void read_ref(void)
{
    size_t n;
    const uint8_t *at = read_file("gemma3.ref", &n);
    assert_memory_equal(at, "DAMSOVIS", 8);
    at += 8;
    memcpy(&ref.n, at, 20);
    at += 20;
    assert_true(ref.n <= N_MAX && ref.n_vocab <= 256 && ref.side <= 64 && ref.n_soft < ref.n);
    size_t pixels = (size_t)ref.side * ref.side * 3;
    assert_int_equal(
        n, 28 + 4 * (ref.n + pixels + (size_t)ref.n_soft * ref.dim + (size_t)ref.n * ref.n_vocab));
    ref.ids = (int32_t *)(uintptr_t)take(&at, ref.n * 4);
    ref.pixels = (float *)(uintptr_t)take(&at, pixels * 4);
    ref.soft = (float *)(uintptr_t)take(&at, (size_t)ref.n_soft * ref.dim * 4);
    ref.logits = (float *)(uintptr_t)take(&at, (size_t)ref.n * ref.n_vocab * 4);
}

static struct vision *open_vision(const char *path, enum cpu_level level)
{
    struct vision *v;
    struct errinfo e;
    const struct vision_opts o = {.n_threads = 2, .level = level};
    if (vision_open(&v, path, &o, &e) != ERR_OK || vision_start(v, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return v;
}

/* The picture in the projector's size. */
static uint8_t *small_picture(void)
{
    struct vision_picture p;
    struct errinfo e;
    uint8_t *rgb = arena_alloc(&arena, (size_t)ref.side * ref.side * 3);
    assert_int_equal(vision_decode(file, file_n, &p, &e), ERR_OK);
    vision_resize(p.rgb, p.width, p.height, rgb, ref.side, ref.side);
    vision_picture_done(&p);
    return rgb;
}

static int setup(void **state)
{
    struct errinfo e;
    uint8_t key[VISION_KEY];
    (void)state;
    arena_init(&arena);
    read_ref();
    file = read_file("picture.png", &file_n);
    vision = open_vision(PROJECTOR, CPU_c);
    assert_int_equal(gguf_open(&gguf, FOLDER "model.gguf", &e), ERR_OK);
    soft = arena_array(&arena, (size_t)ref.n_soft * ref.dim, sizeof *soft);
    vision_encode(vision, small_picture(), soft);
    memcpy(ids, ref.ids, ref.n * sizeof *ids);
    while (ids[span.at] >= 0)
        span.at++;
    span.n = ref.n_soft;
    span.x = soft;
    vision_key(vision, file, file_n, key);
    vision_tokens(key, ids + span.at, span.n);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    vision_close(vision);
    gguf_close(gguf);
    arena_done(&arena);
    return 0;
}

/* ---- the picture ---- */

static void test_pixels(void **state)
{
    const uint8_t *rgb = small_picture();
    size_t side = ref.side;
    double most = 0;
    (void)state;
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < side * side; i++) {
            double got = ((double)rgb[i * 3 + c] / 255 - 0.5) / 0.5;
            most = MAX(most, fabs(got - (double)ref.pixels[c * side * side + i]));
        }
    printf("pixels: at most %.1e off\n", most);
    assert_true(most < PIXEL);
}

static void test_soft(void **state)
{
    float *x = arena_array(&arena, (size_t)ref.n_soft * ref.dim, sizeof *x);
    (void)state;
    assert_int_equal(vision_side(vision), ref.side);
    assert_int_equal(vision_rows(vision), ref.n_soft);
    assert_int_equal(vision_dim(vision), ref.dim);
    for (int level = 0; level <= (int)cpu_best(); level++) {
        if (cpu_capped((enum cpu_level)level) != (enum cpu_level)level)
            continue;
        struct vision *v = open_vision(PROJECTOR, (enum cpu_level)level);
        vision_encode(v, small_picture(), x);
        double d = test_nmse(x, ref.soft, (size_t)ref.n_soft * ref.dim);
        printf("rows of the projector, %s: %.1e\n", cpu_level_name((enum cpu_level)level), d);
        assert_true(d < (pairs_can((enum cpu_level)level, 2) ? NEAR_BF16 : NEAR));
        vision_close(v);
    }
}

/* Is it a matrix of a layer, of which the file may have a scale? */
static bool may_scale(const struct gguf_tensor *t)
{
    return span_starts(t->name, SPAN("v.blk.")) && t->n_dims == 2;
}

/* Floats of the file's numbers, those of matrices halved, which is exact, and their scales of 2. */
static void write_scaled(const struct gguf *g, struct gguf_write *w)
{
    static const uint64_t one = 1;
    static const float two = 2;
    struct errinfo e;
    for (size_t i = 0; i < gguf_n_keys(g); i++)
        gguf_write_key(w, gguf_key_at(g, i));
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        gguf_write_tensor(w, t->name, GGUF_TYPE_F32, t->n_dims, t->dims);
        const char *scale = arena_printf(&arena, "%.*s.scale", (int)(t->name.n - strlen(".weight")),
                                         t->name.p);
        if (may_scale(t))
            gguf_write_tensor(w, span_of(scale), GGUF_TYPE_F32, 1, &one);
    }
    assert_int_equal(gguf_write_head(w, &e), ERR_OK);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        size_t n = (size_t)(t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3]);
        float *x = arena_array(&arena, n, sizeof *x);
        format_dequant((enum format)format_of(t->type), x, t->data, n);
        for (size_t k = 0; may_scale(t) && k < n; k++)
            x[k] /= two;
        assert_int_equal(gguf_write_data(w, x, n * sizeof *x, &e), ERR_OK);
        if (may_scale(t))
            assert_int_equal(gguf_write_data(w, &two, sizeof two, &e), ERR_OK);
    }
    assert_int_equal(gguf_write_end(w, &e), ERR_OK);
}

/* Matrices with scales beside them are the same projector. */
static void test_scales(void **state)
{
    float *x = arena_array(&arena, (size_t)ref.n_soft * ref.dim, sizeof *x);
    char folder[] = "/tmp/damso-vision-XXXXXX";
    struct gguf_write *w;
    struct errinfo e;
    struct gguf *g;
    (void)state;
    assert_non_null(mkdtemp(folder));
    const char *path = arena_printf(&arena, "%s/mmproj.gguf", folder);
    assert_int_equal(gguf_open(&g, PROJECTOR, &e), ERR_OK);
    assert_int_equal(gguf_write_new(&w, path, &e), ERR_OK);
    write_scaled(g, w);
    gguf_write_free(w);
    gguf_close(g);
    struct vision *v = open_vision(path, CPU_c);
    vision_encode(v, small_picture(), x);
    double d = test_nmse(x, ref.soft, (size_t)ref.n_soft * ref.dim);
    printf("rows of the projector, with scales: %.1e\n", d);
    assert_true(d < NEAR);
    vision_close(v);
    unlink(path);
    rmdir(folder);
}

static void test_keys(void **state)
{
    uint8_t a[VISION_KEY], b[VISION_KEY];
    int32_t t[300];
    (void)state;
    vision_key(vision, file, file_n, a);
    vision_key(vision, file, file_n - 1, b);
    assert_memory_not_equal(a, b, sizeof a);
    vision_tokens(a, t, N_ELEMS(t));
    for (size_t i = 0; i < N_ELEMS(t); i++) {
        assert_true(engine_in_span(t[i]));
        assert_int_equal(engine_begins_span(t[i]), i == 0);
    }
}

/* ---- the language model ---- */

static struct engine *open_engine(enum cpu_level level)
{
    struct engine *en;
    struct errinfo e;
    const struct engine_opts o = {.ctx = 128,
                                  .ctx_total = 512,
                                  .batch = N_MAX,
                                  .out_max = N_MAX,
                                  .n_threads = 2,
                                  .level = level};
    if (engine_open(&en, gguf, &o, &e) != ERR_OK)
        fail_msg("%s", e.text);
    return en;
}

/* Logits of ids[from, n) in steps of `step`, or more where the picture is. */
static void run_from(struct engine *en, struct engine_seq *s, size_t from, size_t step, float *out)
{
    const float *got[N_MAX];
    struct engine_row rows[N_MAX] = {0};
    struct errinfo e;
    for (size_t at = from, len; at < ref.n; at += len) {
        len = MIN(step, ref.n - at);
        if (at + len > span.at && at + len < span.at + span.n)
            len = span.at + span.n - at;
        for (size_t i = 0; i < len; i++) {
            rows[i].seq = s;
            rows[i].token = ids[at + i];
            rows[i].want = ENGINE_LOGITS;
        }
        if (engine_step(en, rows, len, got, &e) != ERR_OK)
            fail_msg("%s", e.text);
        for (size_t i = 0; i < len; i++)
            memcpy(out + (at + i) * ref.n_vocab, got[i], ref.n_vocab * sizeof *out);
    }
}

static float *run(struct engine *en, size_t step)
{
    float *out = arena_array(&arena, (size_t)ref.n * ref.n_vocab, sizeof *out);
    struct engine_seq *s = engine_seq_new(en);
    engine_seq_spans(s, &span, 1);
    run_from(en, s, 0, step, out);
    engine_seq_free(s);
    return out;
}

static void test_logits(void **state)
{
    size_t all = (size_t)ref.n * ref.n_vocab;
    (void)state;
    for (int level = 0; level <= (int)cpu_best(); level++) {
        if (cpu_capped((enum cpu_level)level) != (enum cpu_level)level)
            continue;
        struct engine *en = open_engine((enum cpu_level)level);
        float *whole = run(en, N_MAX);
        double d = test_nmse(whole, ref.logits, all);
        printf("logits, %s: %.1e\n", cpu_level_name((enum cpu_level)level), d);
        assert_true(d < (level == CPU_c ? NEAR : NEAR_Q8));
        for (size_t step = 1; step < 12; step += 3) /* the same bits, however it is read */
            assert_memory_equal(run(en, step), whole, all * sizeof *whole);
        engine_close(en);
    }
}

/* What was read of it is known again, whole, and by this picture alone. */
static void test_reuse(void **state)
{
    struct engine *en = open_engine(CPU_c);
    size_t all = (size_t)ref.n * ref.n_vocab, after = span.at + span.n;
    float *whole = run(en, N_MAX), *again = arena_array(&arena, all, sizeof *again);
    int32_t other[N_MAX];
    (void)state;
    struct engine_seq *s = engine_seq_new(en);
    engine_seq_spans(s, &span, 1);
    size_t n = engine_seq_reuse(s, ids, ref.n);
    assert_int_equal(n, ref.n - 1);
    run_from(en, s, n, 1, again);
    assert_memory_equal(again + n * ref.n_vocab, whole + n * ref.n_vocab,
                        ref.n_vocab * sizeof *whole);
    engine_seq_free(s);
    /* Another picture whose first rows have the same numbers: none of it is taken over. */
    memcpy(other, ids, sizeof other);
    other[after - 2] ^= 1;
    s = engine_seq_new(en);
    assert_int_equal(engine_seq_reuse(s, other, ref.n), span.at);
    engine_seq_free(s);
    engine_close(en);
}

static void test_refusals(void **state)
{
    struct engine *en = open_engine(CPU_c);
    const float *got[N_MAX];
    struct engine_row rows[N_MAX] = {0};
    struct errinfo e;
    (void)state;
    struct engine_seq *s = engine_seq_new(en);
    for (size_t i = 0; i < ref.n; i++)
        rows[i] = (struct engine_row){.seq = s, .token = ids[i]};
    assert_int_equal(engine_step(en, rows, ref.n, got, &e), ERR_USAGE); /* no span is said */
    assert_non_null(strstr(e.text, "no picture is at"));
    engine_seq_spans(s, &span, 1);
    assert_int_equal(engine_step(en, rows, span.at + 3, got, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "in one step"));
    rows[span.at + 1].token = 1;
    assert_int_equal(engine_step(en, rows, ref.n, got, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "where a picture is"));
    assert_int_equal(engine_seq_len(s), 0);
    engine_seq_free(s);
    engine_close(en);
}

/* ---- the scheduler ---- */

#define ANSWER 6

static void wait_done(struct job *j)
{
    while (job_state(j) != JOB_DONE)
        usleep(500);
}

static void begin_job(struct sched *s, struct job *j, const struct engine_span *spans,
                      const int32_t *prompt, size_t n)
{
    struct errinfo e;
    job_init(j, ANSWER, 0);
    j->prompt = prompt, j->n_prompt = n, j->spans = spans, j->n_spans = spans ? 1 : 0;
    if (sched_push(s, j, &e) != ERR_OK)
        fail_msg("%s", e.text);
}

/* Answers about the picture are the same alone and among others, however short steps should be. */
static void test_jobs(void **state)
{
    static const int32_t text[] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4};
    int32_t want[ANSWER];
    struct job a[3];
    (void)state;
    for (int round = 0; round < 2; round++) {
        struct engine *en = open_engine(CPU_c);
        const struct sched_opts o = {.queue_max = 8, .running_max = 4, .step_ns = 1};
        struct sched *s = sched_new(en, &o);
        begin_job(s, &a[0], &span, ids, ref.n);
        for (int i = 1; round && i < 3; i++)
            begin_job(s, &a[i], i == 2 ? &span : NULL, i == 2 ? ids : text,
                      i == 2 ? ref.n : N_ELEMS(text));
        for (int i = 0; i < (round ? 3 : 1); i++) {
            wait_done(&a[i]);
            assert_int_equal(a[i].end, JOB_END_LENGTH);
            for (size_t k = 0; i != 1 && k < ANSWER; k++) {
                if (!round)
                    want[k] = a[i].out[k].token;
                assert_int_equal(a[i].out[k].token, want[k]);
            }
            job_done(&a[i]);
        }
        sched_free(s);
        engine_close(en);
    }
}

static void test_too_large(void **state)
{
    struct engine *en = open_engine(CPU_c);
    const struct sched_opts o = {.queue_max = 8, .running_max = N_MAX - 8};
    struct sched *s = sched_new(en, &o);
    struct errinfo e;
    struct job j;
    (void)state;
    job_init(&j, 1, 0);
    j.prompt = ids, j.n_prompt = ref.n, j.spans = &span, j.n_spans = 1;
    assert_int_equal(sched_push(s, &j, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "picture"));
    job_done(&j);
    sched_free(s);
    engine_close(en);
}

/* ---- projector files that are none ---- */

/* Where `what` is in the file; it is there. */
static uint8_t *find(uint8_t *p, size_t n, const char *what)
{
    uint8_t *at = memmem(p, n, what, strlen(what));
    assert_non_null(at);
    return at;
}

static void refused(uint8_t *bytes, size_t n, const char *why)
{
    char path[] = "/tmp/damso-vision-XXXXXX";
    struct vision *v;
    struct errinfo e = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
    assert_int_not_equal(vision_open(&v, path, &(struct vision_opts){.n_threads = 1}, &e), ERR_OK);
    assert_null(v);
    if (!strstr(e.text, why))
        fail_msg("\"%s\" says nothing of \"%s\"", e.text, why);
    unlink(path);
}

static void test_broken(void **state)
{
    size_t n;
    uint8_t *p = read_file("mmproj.gguf", &n), *copy = arena_alloc(&arena, n);
    struct model *m;
    struct errinfo e;
    static const struct {
        const char *at, *as, *why;
        size_t behind; /* of `at` */
    } changes[] = {
        {"gemma3",                           "gemmaX", "'gemmaX' is not supported", 0 },
        {"clip",                             "clop",   "architecture 'clop'",       0 },
        {"clip.use_gelu",                    "",       "clip.use_gelu",             17},
        {"clip.vision.image_size",           "\x21",   "makes no sense",            26},
        {"clip.vision.attention.head_count", "\x05",   "make no sense",             36},
        {"v.patch_embd.weight",              "x",      "v.patch_embd.weight",       0 },
        {"mm.input_projection.weight",       "x",      "mm.input_projection",       0 },
        {"v.blk.1.attn_q.bias",              "x",      "has no place",              0 },
    };
    (void)state;
    for (size_t i = 0; i < N_ELEMS(changes); i++) {
        memcpy(copy, p, n);
        uint8_t *at = find(copy, n, changes[i].at) + changes[i].behind;
        memcpy(at, changes[i].as, MAX(strlen(changes[i].as), (size_t)1));
        refused(copy, n, changes[i].why);
    }
    refused(p, n / 2, "");
    assert_int_not_equal(model_open_vision(&m, gguf, &e), ERR_OK); /* a language model */
    assert_non_null(strstr(e.text, "no projector"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pixels),    cmocka_unit_test(test_soft),
        cmocka_unit_test(test_scales),    cmocka_unit_test(test_keys),
        cmocka_unit_test(test_logits),    cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_refusals),  cmocka_unit_test(test_jobs),
        cmocka_unit_test(test_too_large), cmocka_unit_test(test_broken),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
