/* SPDX-License-Identifier: MIT
 * sched_prompt_test.c - what is wanted of a prompt: its logprobs, its embedding.  Both are what the
 * engine gives to one sequence alone, however many others there are and however small the memory.
 */
#include "engine/sched_testing.h"

#include <math.h>

#define N_JOBS 24
#define N_TOP  3

/* Logits or hidden states of every token. */
static float *alone(struct engine *en, const int32_t *ids, size_t n, enum engine_want want)
{
    const struct model *m = engine_model(en);
    size_t width = want == ENGINE_LOGITS ? m->n_vocab : m->dim;
    float *out = mem_alloc(n * width * sizeof *out);
    struct engine_seq *s = engine_seq_new(en);
    const float *got;
    struct errinfo e;
    for (size_t i = 0; i < n; i++) {
        struct engine_row row = {s, ids[i], want};
        assert_int_equal(engine_step(en, &row, 1, &got, &e), ERR_OK);
        memcpy(out + i * width, got, width * sizeof *out);
    }
    engine_seq_free(s);
    return out;
}

static double plain_logprob(const float *x, size_t n, int32_t token)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i]);
    return (double)x[token] - log(sum);
}

static void check_logprobs(const struct job *j, const float *logits, size_t n_vocab)
{
    for (size_t i = 1; i < j->n_prompt; i++) {
        const float *x = logits + (i - 1) * n_vocab;
        const struct job_top *top = j->prompt_top + i * N_TOP;
        assert_int_equal(j->prompt_out[i].token, j->prompt[i]);
        assert_true(fabs((double)j->prompt_out[i].logprob -
                         plain_logprob(x, n_vocab, j->prompt[i])) < 1e-5);
        for (int k = 0; k < N_TOP; k++) {
            size_t n_larger = 0;
            assert_true(fabs((double)top[k].logprob - plain_logprob(x, n_vocab, top[k].token)) <
                        1e-5);
            for (size_t v = 0; v < n_vocab; v++)
                n_larger += x[v] > x[top[k].token];
            assert_true(n_larger <= (size_t)k);
        }
    }
}

static void check_embedding(const struct job *j, const float *hidden, size_t dim)
{
    size_t from = j->pool == JOB_POOL_LAST ? j->n_prompt - 1 : 0;
    size_t to = j->pool == JOB_POOL_CLS ? 1 : j->n_prompt;
    for (size_t d = 0; d < dim; d++) {
        double sum = 0;
        for (size_t i = from; i < to; i++)
            sum += (double)hidden[i * dim + d];
        assert_true(j->embedding[d] == (float)(sum / (double)(to - from)));
    }
}

/* Every kind among the others: of embeddings, of echoes with and without an answer, and plain. */
static void make_kind(struct ask *a, int kind)
{
    size_t n_prompt = kind == 0 ? 1 + num_rand(&rng) % 3 : 1 + num_rand(&rng) % 150;
    make_ask(a, n_prompt, kind < 4 ? 0 : 1 + num_rand(&rng) % 40);
    if (kind < 3)
        job_want_embedding(&a->job, (enum job_pool)(JOB_POOL_MEAN + kind), 64);
    else if (kind < 6) {
        job_done(&a->job);
        job_init(&a->job, kind == 3 ? 0 : 4, N_TOP);
        a->job.prompt = a->prompt, a->job.n_prompt = n_prompt;
        a->job.sampling.temp = 0;
        job_want_prompt(&a->job);
    }
}

static void prompts_give_what_they_give_alone(void **state)
{
    (void)state;
    static struct ask asks[N_JOBS];
    const size_t totals[] = {8192, 512, 320};
    for (size_t k = 0; k < N_ELEMS(totals); k++) {
        struct server plain, v;
        struct errinfo e;
        memset(asks, 0, sizeof asks);
        open_engine(&plain, 0);
        open_server(&v, totals[k], N_JOBS, 16);
        const struct model *m = engine_model(plain.en);
        assert_int_equal(m->dim, 64);
        for (int i = 0; i < N_JOBS; i++) {
            make_kind(&asks[i], i % 8);
            assert_int_equal(sched_push(v.s, &asks[i].job, &e), ERR_OK);
        }
        for (int i = 0; i < N_JOBS; i++) {
            struct job *j = &asks[i].job;
            wait_done(j);
            assert_int_equal(j->end, JOB_END_LENGTH);
            assert_int_equal(job_n_out(j), j->n_max);
            enum engine_want want = j->pool ? ENGINE_HIDDEN : ENGINE_LOGITS;
            float *all = alone(plain.en, j->prompt, j->n_prompt, want);
            if (j->pool)
                check_embedding(j, all, m->dim);
            if (j->prompt_out) {
                check_logprobs(j, all, m->n_vocab);
                assert_int_equal(j->n_cached, 0);
            }
            mem_free(all);
            assert_true(j->pushed_ns <= j->started_ns && j->started_ns <= j->first_ns &&
                        j->first_ns <= j->done_ns && j->pushed_ns > 0);
            job_done(j);
        }
        assert_true(sched_drain(v.s, 1000000000u));
        assert_int_equal(engine_pages_free(v.en), totals[k] / ENGINE_PAGE);
        close_server(&v);
        engine_close(plain.en);
        gguf_close(plain.g);
    }
}

/* Without an answer the prompt may fill the context. */
static void a_prompt_may_be_all(void **state)
{
    (void)state;
    static struct ask a[2];
    struct server v;
    struct errinfo e;
    memset(a, 0, sizeof a);
    open_server(&v, 0, 4, 4);
    make_ask(&a[0], CTX, 1);
    assert_int_equal(sched_push(v.s, &a[0].job, &e), ERR_CONTEXT);
    assert_non_null(strstr(e.text, "200"));
    make_ask(&a[1], CTX, 0);
    job_want_embedding(&a[1].job, JOB_POOL_LAST, 64);
    assert_int_equal(sched_push(v.s, &a[1].job, &e), ERR_OK);
    wait_done(&a[1].job);
    assert_int_equal(a[1].job.end, JOB_END_LENGTH);
    job_done(&a[0].job);
    job_done(&a[1].job);
    struct sched_load load = sched_load(v.s);
    assert_int_equal(load.n_rows, CTX);
    assert_int_equal(load.n_prompt, CTX);
    assert_true(load.busy_ns >= load.step_ns && load.step_ns > 0 && load.n_answer == 0);
    close_server(&v);
}

int main(void)
{
    rng = test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_give_what_they_give_alone),
        cmocka_unit_test(a_prompt_may_be_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
