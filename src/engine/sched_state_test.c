/* SPDX-License-Identifier: MIT
 * sched_state_test.c - answers of models whose layers have states: the same as alone, however many
 * run together, are put back for want of memory and go on where others began. */
#include "engine/sched_testing.h"

#define N_JOBS  30
#define N_VOCAB 64

/* Files that know long contexts: layers that scan beside some that attend, and alone; RWKV. */
static const char *const files[] = {"family/granitehybrid", "family/mamba2", "family/rwkv7"};

static void open_state_engine(struct server *v, const char *file, size_t ctx_total, size_t seqs)
{
    char path[80];
    struct errinfo e;
    struct engine_opts opts = {.ctx = CTX,
                               .ctx_total = ctx_total,
                               .batch = 64,
                               .out_max = 20,
                               .seqs = seqs,
                               .n_threads = 2,
                               .level = cpu_best()};
    snprintf(path, sizeof path, "tests/data/%s.gguf", file);
    if (gguf_open(&v->g, path, &e) != ERR_OK || engine_open(&v->en, v->g, &opts, &e) != ERR_OK)
        fail_msg("%s", e.text);
}

/* Turns of few conversations: the same beginning, and more behind it each time. */
static void make_turn(struct ask *a, size_t i)
{
    size_t n = 20 + i / 3 * 9;
    for (size_t k = 0; k < n; k++)
        a->prompt[k] = (int32_t)((k * (i % 3 + 2) + i % 3) % N_VOCAB);
    job_init(&a->job, 8, 0);
    a->job.prompt = a->prompt;
    a->job.n_prompt = n;
    a->job.sampling.temp = 0;
    a->job.client = i % 3;
}

/* The answer that the engine gives to one sequence, the likeliest token each time. */
static void answer_alone(struct engine *en, struct ask *a)
{
    const float *logits;
    struct errinfo e;
    struct engine_seq *s = engine_seq_new(en);
    assert_int_equal(engine_prefill(en, s, a->prompt, a->job.n_prompt, NULL, NULL, &logits, &e),
                     ERR_OK);
    for (size_t i = 0; i < 8; i++) {
        size_t best = 0;
        for (size_t v = 1; v < N_VOCAB; v++)
            best = logits[v] > logits[best] ? v : best;
        a->want[i] = (int32_t)best;
        struct engine_row row = {s, (int32_t)best, ENGINE_LOGITS};
        assert_int_equal(engine_step(en, &row, 1, &logits, &e), ERR_OK);
    }
    engine_seq_free(s);
}

/* Gives how many tokens were taken over from others. */
static size_t run_all(const char *file, size_t seqs, size_t running_max)
{
    struct server v, plain;
    struct errinfo e;
    struct ask *asks = mem_alloc(N_JOBS * sizeof *asks);
    struct sched_opts o = {.queue_max = N_JOBS, .running_max = running_max};
    size_t n_cached = 0;
    open_state_engine(&v, file, 512, seqs);
    open_state_engine(&plain, file, CTX, 1);
    v.s = sched_new(v.en, &o);
    for (size_t i = 0; i < N_JOBS; i++) {
        make_turn(&asks[i], i);
        answer_alone(plain.en, &asks[i]);
        assert_int_equal(sched_push(v.s, &asks[i].job, &e), ERR_OK);
    }
    for (size_t i = 0; i < N_JOBS; i++) {
        struct job *j = &asks[i].job;
        wait_done(j);
        assert_int_equal(j->end, JOB_END_LENGTH);
        assert_int_equal(atomic_load(&j->n_out), 8);
        for (size_t k = 0; k < 8; k++)
            assert_int_equal(j->out[k].token, asks[i].want[k]);
        n_cached += j->n_cached;
        job_done(j);
    }
    close_server(&v);
    engine_close(plain.en);
    gguf_close(plain.g);
    mem_free(asks);
    return n_cached;
}

static void answers_are_those_alone(void **state)
{
    (void)state;
    for (size_t f = 0; f < N_ELEMS(files); f++) {
        run_all(files[f], 1, 8); /* 4 slots, and more jobs than may run */
        assert_true(run_all(files[f], 4, 2) > 0);
    }
}

int main(void)
{
    rng = test_seed();
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers_are_those_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
