/* SPDX-License-Identifier: MIT
 * dev_ranks_test.c - shares of a plan (plan_share.h) beside each other: the bits of one process.
 *
 * Threads take the place of processes, and memory that of MPI (tests/ranks_test.py has both). */
#include "base/arena.h"
#include "base/num.h"
#include "base/test.h"
#include "dev/dev.h"
#include "gguf/gguf.h"
#include "model/model.h"

#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#define N_IDS   70 /* more than a page */
#define QUIET   20 /* tokens of the first step, of which nothing is wanted */
#define PREFILL 41
#define CTX     128
#define MOST    6 /* ranks */

/* ---- a hall where ranks meet ---- */

struct place {
    float *rows;
    sem_t full, empty; /* of what goes to the next stage */
};

struct hall {
    struct plan_ranks of;
    pthread_barrier_t meet[MOST]; /* a stage */
    struct place place[MOST];
};

struct rank {
    struct hall *hall;
    size_t n;
    struct plan *plan;
    struct dev *dev;
    struct dev_link link;
    enum cpu_level level;
    enum kern_numerics numerics;
    float *got; /* [N_IDS][n_vocab], of the first rank, and its last hidden state */
    enum err r;
    struct errinfo e;
};

static bool gather(void *arg, const struct plan_op *op, float *rows, size_t stride, size_t n_rows)
{
    struct rank *r = arg;
    size_t n = r->hall->of.tensor, me = r->n % n, first = r->n - me;
    pthread_barrier_t *meet = &r->hall->meet[first];
    r->hall->place[r->n].rows = rows;
    pthread_barrier_wait(meet);
    for (size_t t = 0; t < n; t++) {
        const float *theirs = r->hall->place[first + t].rows;
        for (size_t i = 0; i < n_rows && t != me && (me == 0 || !op->to_first); i++)
            memcpy(rows + i * stride + op->bounds[t], theirs + i * stride + op->bounds[t],
                   (op->bounds[t + 1] - op->bounds[t]) * sizeof *rows);
    }
    pthread_barrier_wait(meet);
    return true;
}

static bool send_rows(void *arg, const float *rows, size_t stride, size_t n_rows)
{
    struct rank *r = arg;
    struct place *p = &r->hall->place[r->n];
    float *copy = mem_alloc(stride * n_rows * sizeof *copy);
    memcpy(copy, rows, stride * n_rows * sizeof *copy);
    p->rows = copy;
    sem_post(&p->full);
    sem_wait(&p->empty);
    mem_free(copy);
    return true;
}

static bool receive_rows(void *arg, float *rows, size_t stride, size_t n_rows)
{
    struct rank *r = arg;
    struct place *p = &r->hall->place[r->n + r->hall->of.tensor];
    sem_wait(&p->full);
    memcpy(rows, p->rows, stride * n_rows * sizeof *rows);
    sem_post(&p->empty);
    return true;
}

/* ---- the text that all compute ---- */

static const uint32_t pages[2] = {2, 0};

static void step(struct rank *r, size_t from, size_t n)
{
    struct dev_row rows[N_IDS] = {0};
    size_t vocab = r->plan->model->n_vocab, dim = r->plan->model->dim;
    bool ends = from + n == N_IDS, quiet = from == 0;
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct dev_row){.token = (int32_t)((from + i) * 7 % vocab),
                                   .pos = (int32_t)(from + i),
                                   .pages = pages,
                                   .keep = DEV_NONE,
                                   .out = ends || quiet ? -1 : (int32_t)i,
                                   .hidden = ends ? (int32_t)i : -1};
    r->dev->step(r->dev, rows, n);
    for (size_t i = 0; i < n && r->got && !ends && !quiet; i++)
        memcpy(r->got + (from + i) * vocab, r->dev->logits + i * r->dev->logits_stride,
               vocab * sizeof(float));
    if (r->got && ends)
        memcpy(r->got + from * vocab, r->dev->hidden, MIN(dim, vocab) * sizeof(float));
}

static void *run(void *arg)
{
    struct rank *r = arg;
    const struct dev_opts o = {.n_pages = 4,
                               .n_states = 2,
                               .rows_max = N_IDS,
                               .out_max = N_IDS,
                               .n_threads = r->n ? 1 : 2,
                               .level = r->level,
                               .numerics = r->numerics,
                               .ctx_max = CTX,
                               .link = r->hall ? &r->link : NULL};
    r->r = dev_cpu_open(&r->dev, r->plan, &o, &r->e);
    if (r->r != ERR_OK)
        return NULL;
    if (r->dev->state_bytes)
        r->dev->clear_state(r->dev, 0);
    step(r, 0, QUIET);
    step(r, QUIET, PREFILL - QUIET);
    for (size_t i = PREFILL; i < N_IDS; i++)
        step(r, i, 1);
    r->dev->close(r->dev);
    return NULL;
}

/* ---- one model ---- */

static float *run_alone(struct model *m, enum cpu_level level, enum kern_numerics numerics)
{
    struct rank r = {.plan = plan_new(m), .level = level, .numerics = numerics};
    r.got = mem_alloc(N_IDS * m->n_vocab * sizeof *r.got);
    run(&r);
    if (r.r != ERR_OK)
        fail_msg("%s", r.e.text);
    plan_free(r.plan);
    return r.got;
}

static void run_hall(struct rank *ranks, size_t n)
{
    pthread_t thread[MOST];
    for (size_t i = 0; i < n; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, run, &ranks[i]), 0);
    for (size_t i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    for (size_t i = 0; i < n; i++)
        if (ranks[i].r != ERR_OK)
            fail_msg("rank %zu: %s", i, ranks[i].e.text);
}

/* The ranks' plans; false where the model is refused, which has to be said by name. */
static bool share_out(struct rank *ranks, struct hall *h, const struct model *m)
{
    size_t n = h->of.tensor * h->of.pipeline;
    for (size_t i = 0; i < n; i++) {
        ranks[i].n = i;
        ranks[i].hall = h;
        ranks[i].link = (struct dev_link){gather, send_rows, receive_rows, &ranks[i]};
        enum err r = plan_share_new(&ranks[i].plan, m, &h->of, i, &ranks[i].e);
        if (r == ERR_OK)
            continue;
        assert_int_equal(i, 0);
        assert_true(r == ERR_USAGE || strstr(ranks[i].e.text, m->arch->name));
        return false;
    }
    return true;
}

static bool same_bits(struct model *m, const char *name, const float *alone, struct plan_ranks of,
                      enum cpu_level level, enum kern_numerics numerics)
{
    struct hall h = {.of = of};
    struct rank ranks[MOST] = {0};
    size_t n = of.tensor * of.pipeline;
    if (!share_out(ranks, &h, m))
        return false;
    for (size_t i = 0; i < n; i++) {
        pthread_barrier_init(&h.meet[i], NULL, (unsigned)of.tensor);
        sem_init(&h.place[i].full, 0, 0);
        sem_init(&h.place[i].empty, 0, 0);
        ranks[i].level = level;
        ranks[i].numerics = numerics;
    }
    ranks[0].got = mem_alloc(N_IDS * m->n_vocab * sizeof(float));
    run_hall(ranks, n);
    if (memcmp(ranks[0].got, alone, N_IDS * m->n_vocab * sizeof(float)) != 0)
        fail_msg("%s: %zu x %zu at %s differs from one process", name, of.tensor, of.pipeline,
                 cpu_level_name(level));
    for (size_t i = 0; i < n; i++) {
        pthread_barrier_destroy(&h.meet[i]);
        plan_free(ranks[i].plan);
    }
    mem_free(ranks[0].got);
    return true;
}

struct counts {
    size_t models, tensor, pipeline;
};

static void check_model(const char *path, struct counts *c)
{
    static const struct plan_ranks ways[] = {
        {1, 2},
        {2, 1},
        {3, 1},
        {4, 1},
        {2, 2},
        {2, 3}
    };
    const enum cpu_level levels[] = {cpu_best(), CPU_c};
    struct gguf *g;
    struct model *m = NULL;
    struct errinfo e;
    if (gguf_open(&g, path, &e) != ERR_OK || model_open(&m, g, &e) != ERR_OK)
        fail_msg("%s", e.text);
    model_use_context(m, CTX);
    for (size_t l = 0; l < N_ELEMS(levels); l++) {
        float *alone = run_alone(m, levels[l], KERN_NATIVE);
        for (size_t i = 0; i < (l ? 2 : N_ELEMS(ways)); i++) {
            bool did = same_bits(m, path, alone, ways[i], levels[l], KERN_NATIVE);
            c->tensor += did && ways[i].tensor > 1;
            c->pipeline += did && ways[i].pipeline > 1;
        }
        mem_free(alone);
    }
    c->models++;
    model_close(m);
    gguf_close(g);
}

static void check_folder(const char *folder, struct counts *c)
{
    char path[512];
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir));) {
        size_t n = strlen(d->d_name);
        if (n < 6 || strcmp(d->d_name + n - 5, ".gguf") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, d->d_name);
        check_model(path, c);
    }
    closedir(dir);
}

static void test_families(void **state)
{
    struct counts c = {0};
    (void)state;
    check_folder("tests/data/arch", &c);
    check_folder("tests/data/family", &c);
    print_message("%zu models; %zu times by matrices, %zu times by layers\n", c.models, c.tensor,
                  c.pipeline);
    assert_true(c.models > 80 && c.tensor > 300 && c.pipeline > 150);
}

/* What is refused is refused by its name and with a way out. */
static void test_refused(void **state)
{
    struct gguf *g;
    struct model *m;
    struct plan *p;
    struct errinfo e;
    (void)state;
    assert_int_equal(gguf_open(&g, "tests/data/family/mamba.gguf", &e), ERR_OK);
    assert_int_equal(model_open(&m, g, &e), ERR_OK);
    assert_int_equal(plan_share_new(&p, m, &(struct plan_ranks){2, 1}, 0, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "mamba"));
    assert_non_null(strstr(e.text, "--pipeline-parallel"));
    assert_null(p);
    assert_int_equal(plan_share_new(&p, m, &(struct plan_ranks){1, 200}, 0, &e), ERR_USAGE);
    model_close(m);
    gguf_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
