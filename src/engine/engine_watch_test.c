/* SPDX-License-Identifier: MIT
 * engine_watch_test.c - what a watcher of matrices' inputs is shown (dev.h): every row once a
 * matrix, of an expert those that chose it, and what the sums of `damso imatrix` need. */
#include "base/test.h"

#include "base/num.h"
#include "dev/dev.h"
#include "engine/engine.h"
#include "model/model.h"

#include <math.h>
#include <string.h>

#define ROWS 24

struct seen {
    const struct model_matrix *w;
    size_t n_rows;
    uint64_t experts; /* bits */
    double square;    /* of the first column, over all rows */
};

struct watcher {
    struct seen seen[256];
    size_t n;
};

static void watch(void *arg, const struct model_matrix *w, size_t expert, const float *x,
                  size_t stride, size_t n_rows)
{
    struct watcher *all = arg;
    size_t i = 0;
    while (i < all->n && all->seen[i].w != w)
        i++;
    assert_true(i < N_ELEMS(all->seen) && expert < 64 && stride >= w->cols);
    all->n = MAX(all->n, i + 1);
    all->seen[i].w = w;
    all->seen[i].n_rows += n_rows;
    all->seen[i].experts |= (uint64_t)1 << expert;
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < w->cols; c++)
            assert_true(isfinite(x[r * stride + c]));
        all->seen[i].square += (double)x[r * stride] * (double)x[r * stride];
    }
}

/* One step of ROWS rows that all want logits. */
static void run(const char *path, enum cpu_level level, struct watcher *all)
{
    const struct dev_watch shown = {watch, all};
    struct engine_opts o = {.ctx = 64, .batch = ROWS, .out_max = ROWS, .n_threads = 2};
    struct engine_row rows[ROWS];
    const float *logits[ROWS];
    struct engine *en;
    struct gguf *g;
    struct errinfo e;
    o.level = level, o.watch = &shown;
    assert_int_equal(gguf_open(&g, path, &e), ERR_OK);
    if (engine_open(&en, g, &o, &e) != ERR_OK)
        fail_msg("%s", e.text);
    struct engine_seq *s = engine_seq_new(en);
    for (size_t i = 0; i < ROWS; i++)
        rows[i] = (struct engine_row){s, (int32_t)(i * 7 % 60), ENGINE_LOGITS};
    assert_int_equal(engine_step(en, rows, ROWS, logits, &e), ERR_OK);
    const struct model *m = engine_model(en);
    for (size_t i = 0; i < all->n; i++) {
        bool experts = span_find(all->seen[i].w->tensor->name, SPAN("_exps."), 0) != SIZE_MAX;
        assert_int_equal(all->seen[i].n_rows, experts ? ROWS * m->n_chosen : ROWS);
        assert_true(experts || all->seen[i].experts == 1);
        all->seen[i].w = NULL; /* goes with the engine */
    }
    engine_seq_free(s);
    engine_close(en);
    gguf_close(g);
}

/* Both levels see the same of the first matrices, whose inputs no product precedes, and nearly the
 * same of all. */
static void levels_see_the_same(const char *path, size_t at_least)
{
    static struct watcher c, best;
    c = best = (struct watcher){0};
    run(path, CPU_c, &c);
    run(path, cpu_best(), &best);
    assert_true(c.n >= at_least);
    assert_int_equal(c.n, best.n);
    for (size_t i = 0; i < c.n; i++) {
        double a = c.seen[i].square, b = best.seen[i].square;
        assert_true(fabs(a - b) <= (i == 0 ? 1e-5 : 0.2) * (a + 1e-3));
    }
}

static void a_dense_model(void **state)
{
    (void)state;
    levels_see_the_same("tests/data/arch/llama.gguf", 2 * 7 + 1);
}

static void a_mixture_of_experts(void **state)
{
    static struct watcher all;
    size_t most = 0;
    (void)state;
    run("tests/data/family/hunyuan-moe.gguf", CPU_c, &all);
    for (size_t i = 0; i < all.n; i++)
        most = MAX(most, (size_t)__builtin_popcountll(all.seen[i].experts));
    assert_true(most > 1); /* several experts were chosen */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dense_model),
        cmocka_unit_test(a_mixture_of_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
