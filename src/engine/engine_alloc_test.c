/* SPDX-License-Identifier: MIT
 * engine_alloc_test.c - nothing is allocated on the token path: the linker sends every call of the
 * allocator in our code through the functions below (--wrap, CMakeLists.txt). */
#include "base/num.h"
#include "base/test.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/sched.h"

#include <stdatomic.h>
#include <sys/mman.h>

static atomic_long n_calls;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__real_mmap(void *at, size_t n, int prot, int flags, int fd, off_t from);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t from);

void *__wrap_malloc(size_t n)
{
    n_calls++;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    n_calls++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    n_calls++;
    return __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    n_calls++;
    return __real_aligned_alloc(align, n);
}

void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t from)
{
    n_calls++;
    return __real_mmap(at, n, prot, flags, fd, from);
}

/* Every step of the sampler that a request can switch on. */
static struct sampler_params all_steps(void)
{
    struct sampler_params p = sampler_neutral();
    p.top_k = 50, p.top_p = 0.95f, p.min_p = 0.01f, p.typical_p = 0.99f;
    p.repeat_penalty = 1.1f, p.presence_penalty = 0.1f, p.frequency_penalty = 0.1f;
    p.dry_multiplier = 0.8f;
    return p;
}

static void steps_allocate_nothing(void **state)
{
    (void)state;
    struct gguf *g;
    struct engine *en;
    struct errinfo e;
    const float *logits[2];
    struct engine_opts opts = {
        .ctx = 256, .ctx_total = 768, .out_max = 2, .n_threads = 2, .level = cpu_best()};
    struct sampler_params p = all_steps();
    assert_int_equal(gguf_open(&g, "tests/data/arch/gemma3.gguf", &e), ERR_OK);
    if (engine_open(&en, g, &opts, &e) != ERR_OK)
        fail_msg("%s", e.text);
    struct sampler *sampler = sampler_new(&p, engine_model(en)->n_vocab, 256, NULL);
    struct engine_seq *a = engine_seq_new(en), *b = engine_seq_new(en);
    struct engine_row rows[40];
    long before = atomic_load(&n_calls);
    assert_true(before > 10); /* the counter counts */
    int32_t token = 1;
    for (int i = 0; i < 200; i++) {
        size_t n = 0;
        for (int k = 0; i == 0 && k < 30; k++)
            rows[n++] = (struct engine_row){b, k, false};
        rows[n++] = (struct engine_row){a, token, true};
        assert_int_equal(engine_step(en, rows, n, logits, &e), ERR_OK);
        token = sampler_pick(sampler, logits[0], NULL);
        sampler_accept(sampler, token);
    }
    assert_int_equal(atomic_load(&n_calls), before);
    engine_seq_free(a);
    engine_seq_free(b);
    sampler_free(sampler);
    engine_close(en);
    gguf_close(g);
}

#define N_ANSWER 120

/* Called by the engine thread after each token but the last. */
struct watch {
    long calls[N_ANSWER];
    size_t n;
};

static void note_calls(void *arg)
{
    struct watch *w = arg;
    if (w->n < N_ANSWER)
        w->calls[w->n++] = atomic_load(&n_calls);
}

static void open_scheduler(struct gguf **g, struct engine **en, struct sched **s)
{
    struct errinfo e;
    struct engine_opts opts = {
        .ctx = 256, .ctx_total = 768, .out_max = 4, .n_threads = 2, .level = cpu_best()};
    struct sched_opts so = {.queue_max = 4, .running_max = 4};
    assert_int_equal(gguf_open(g, "tests/data/arch/gemma3.gguf", &e), ERR_OK);
    if (engine_open(en, *g, &opts, &e) != ERR_OK)
        fail_msg("%s", e.text);
    *s = sched_new(*en, &so);
}

/* Two answers with all that can be asked for, from when both are on their way. */
static void answers_allocate_nothing(void **state)
{
    (void)state;
    static const int32_t prompt[] = {5, 6, 7, 8};
    static bool ends[256] = {[3] = true};
    struct gguf *g;
    struct engine *en;
    struct sched *s;
    struct errinfo e;
    struct job j[2];
    static struct watch w[2];
    open_scheduler(&g, &en, &s);
    for (int i = 0; i < 2; i++) {
        job_init(&j[i], N_ANSWER, 5);
        j[i].prompt = prompt, j[i].n_prompt = N_ELEMS(prompt);
        j[i].sampling = i ? all_steps() : sampler_neutral();
        j[i].ends = ends, j[i].n_min = N_ANSWER;
        j[i].wake = note_calls, j[i].wake_arg = &w[i];
        assert_int_equal(sched_push(s, &j[i], &e), ERR_OK);
    }
    assert_true(sched_drain(s, 60000000000u));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(job_n_out(&j[i]), N_ANSWER);
        assert_int_equal(w[i].n, N_ANSWER); /* the last time it is done */
        assert_int_equal(w[i].calls[20], w[i].calls[N_ANSWER / 2]);
        job_done(&j[i]);
    }
    sched_free(s);
    engine_close(en);
    gguf_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_allocate_nothing),
        cmocka_unit_test(answers_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
