/* SPDX-License-Identifier: MIT
 * sched_test.c - many answers at once are the answers that each would get alone; cancelling,
 * deadlines, a full queue, a full memory and the end of the server. */
#include "engine/sched_testing.h"

#include <math.h>

#define N_JOBS 40

/* What the answer is when nobody else is there. */
static void answer_alone(struct engine *en, struct ask *a)
{
    const float *logits;
    struct errinfo e;
    struct engine_seq *s = engine_seq_new(en);
    struct sampler *sampler = sampler_new(&a->job.sampling, engine_model(en)->n_vocab, CTX, NULL);
    for (size_t i = 0; i < a->job.n_prompt; i++)
        sampler_accept(sampler, a->prompt[i]);
    assert_int_equal(engine_prefill(en, s, a->prompt, a->job.n_prompt, NULL, NULL, &logits, &e),
                     ERR_OK);
    while (a->n_want < a->job.n_max) {
        int32_t t = a->want[a->n_want++] = sampler_pick(sampler, logits, NULL);
        sampler_accept(sampler, t);
        struct engine_row row = {s, t, true};
        if (a->n_want == a->job.n_max || engine_seq_len(s) == CTX)
            break;
        assert_int_equal(engine_step(en, &row, 1, &logits, &e), ERR_OK);
    }
    sampler_free(sampler);
    engine_seq_free(s);
}

static void together_is_alone(void **state)
{
    (void)state;
    static struct ask asks[N_JOBS];
    const size_t totals[] = {8192, 1024, 320}; /* the last makes answers wait and go on later */
    for (size_t k = 0; k < N_ELEMS(totals); k++) {
        struct server alone, v;
        struct errinfo e;
        memset(asks, 0, sizeof asks);
        open_engine(&alone, 0);
        for (int i = 0; i < N_JOBS; i++) {
            if (k < 2)
                make_ask(&asks[i], 1 + num_rand(&rng) % 120, 1 + num_rand(&rng) % 79);
            else
                make_ask(&asks[i], 1 + num_rand(&rng) % 10, 140 + num_rand(&rng) % 50);
            answer_alone(alone.en, &asks[i]);
        }
        engine_close(alone.en);
        gguf_close(alone.g);
        open_server(&v, totals[k], N_JOBS, 16);
        for (int i = 0; i < N_JOBS; i++)
            assert_int_equal(sched_push(v.s, &asks[i].job, &e), ERR_OK);
        for (int i = 0; i < N_JOBS; i++) {
            wait_done(&asks[i].job);
            assert_int_equal(asks[i].job.end, JOB_END_LENGTH);
            assert_int_equal(job_n_out(&asks[i].job), asks[i].n_want);
            for (size_t t = 0; t < asks[i].n_want; t++)
                if (asks[i].job.out[t].token != asks[i].want[t])
                    fail_msg("job %d, token %zu is another", i, t);
            job_done(&asks[i].job);
        }
        struct sched_load load = sched_load(v.s);
        assert_int_equal(load.n_done, N_JOBS);
        assert_true(k < 2 || load.n_preempted > 0);
        assert_true(sched_drain(v.s, 1000000000u));
        assert_int_equal(engine_pages_free(v.en), totals[k] / ENGINE_PAGE);
        close_server(&v);
    }
}

/* Answers of one prompt read it once, whether they come together or one after the other, and also
 * when the one that reads it goes away. */
static void equal_prompts_are_read_once(void **state)
{
    (void)state;
    static struct ask a[8];
    const size_t n_prompt = 2 * ENGINE_PAGE + 20, n_max = 5;
    for (int round = 0; round < 3; round++) {
        struct server v;
        struct errinfo e;
        size_t n_cached = 0;
        memset(a, 0, sizeof a);
        /* In the last round pages are few: 3 for each would let only 2 run at once. */
        open_server(&v, round < 2 ? 0 : 8 * ENGINE_PAGE, 8, 8);
        for (int i = 0; i < 8; i++) {
            make_ask(&a[i], n_prompt, i == 0 ? 50 : n_max);
            memcpy(a[i].prompt, a[0].prompt, sizeof a[i].prompt);
            assert_int_equal(sched_push(v.s, &a[i].job, &e), ERR_OK);
        }
        if (round == 1) {
            wait_running(&a[0].job);
            job_cancel(&a[0].job);
        }
        for (int i = 0; i < 8; i++) {
            wait_done(&a[i].job);
            assert_true(a[i].job.end == JOB_END_LENGTH || (i == 0 && round == 1));
            n_cached += a[i].job.n_cached;
            assert_true(a[i].job.n_cached <= n_prompt - 1);
        }
        size_t n_out = 0;
        for (int i = 0; i < 8; i++)
            n_out += job_n_out(&a[i].job);
        struct sched_load load = sched_load(v.s);
        assert_true(n_cached >= (round == 1 ? 6 : 7) * 2 * ENGINE_PAGE);
        if (round != 1) /* the last token of an answer is not read */
            assert_int_equal(load.n_rows, 8 * n_prompt - n_cached + n_out - 8);
        for (int i = 0; i < 8; i++)
            job_done(&a[i].job);
        close_server(&v);
    }
}

/* A job that wants its whole prompt read gets that, and writes the same answer. */
static void nothing_is_reused_where_a_job_says_so(void **state)
{
    (void)state;
    static struct ask a[3];
    struct server v;
    struct errinfo e;
    memset(a, 0, sizeof a);
    open_server(&v, 0, 3, 3);
    for (int i = 0; i < 3; i++) {
        make_ask(&a[i], 2 * ENGINE_PAGE + 20, 5);
        memcpy(a[i].prompt, a[0].prompt, sizeof a[i].prompt);
        a[i].job.sampling = a[0].job.sampling;
        a[i].job.no_reuse = i == 1;
        assert_int_equal(sched_push(v.s, &a[i].job, &e), ERR_OK);
        wait_done(&a[i].job);
        assert_true(i == 2 ? a[i].job.n_cached >= 2 * ENGINE_PAGE : a[i].job.n_cached == 0);
        for (size_t k = 0; k < 5; k++)
            assert_int_equal(a[i].job.out[k].token, a[0].job.out[k].token);
    }
    for (int i = 0; i < 3; i++)
        job_done(&a[i].job);
    close_server(&v);
}

static void jobs_end_when_asked_to(void **state)
{
    (void)state;
    struct server v;
    struct errinfo e;
    static struct ask a[4];
    memset(a, 0, sizeof a);
    open_server(&v, 0, 2, 1);
    for (int i = 0; i < 4; i++)
        make_ask(&a[i], 20, 170);
    assert_int_equal(sched_push(v.s, &a[0].job, &e), ERR_OK);
    wait_running(&a[0].job);
    assert_int_equal(sched_push(v.s, &a[1].job, &e), ERR_OK);
    a[2].job.deadline_ns = os_now_ns() + 1;
    assert_int_equal(sched_push(v.s, &a[2].job, &e), ERR_OK);
    if (sched_push(v.s, &a[3].job, &e) != ERR_OK) { /* unless one is done already */
        assert_int_equal(e.code, ERR_BUSY);
        assert_non_null(strstr(e.text, "2 requests"));
    } else {
        job_cancel(&a[3].job);
        wait_done(&a[3].job);
    }
    job_cancel(&a[1].job);
    job_cancel(&a[0].job);
    for (int i = 0; i < 3; i++)
        wait_done(&a[i].job);
    assert_int_equal(a[1].job.end, JOB_END_CANCELLED);
    assert_int_equal(a[2].job.end, JOB_END_DEADLINE);
    for (int i = 0; i < 4; i++)
        job_done(&a[i].job);
    close_server(&v);
}

static void ends_minimum_and_tops(void **state)
{
    (void)state;
    struct server v;
    struct errinfo e;
    static struct ask a, b;
    static bool ends[256];
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    open_server(&v, 0, 4, 4);
    make_ask(&a, 10, 30);
    a.job.sampling.temp = 0;
    a.job.n_top = 0;
    a.job.logprobs = true;
    assert_int_equal(sched_push(v.s, &a.job, &e), ERR_OK);
    wait_done(&a.job);
    /* The third token is made an end: once it ends the answer, once it comes before the minimum. */
    ends[a.job.out[2].token] = true;
    size_t first = 0;
    while (!ends[a.job.out[first].token])
        first++;
    for (int round = 0; round < 2; round++) {
        struct job *j = &b.job;
        job_init(j, 30, 3);
        j->prompt = a.prompt, j->n_prompt = 10, j->sampling.temp = 0, j->ends = ends;
        j->n_min = round ? 4 : 0;
        assert_int_equal(sched_push(v.s, j, &e), ERR_OK);
        wait_done(j);
        size_t n = job_n_out(j);
        assert_true(round ? n >= 4 : n == first);
        assert_true(n == 30 || j->end == JOB_END_STOP);
        for (size_t i = 0; i < n; i++) {
            bool banned = i < j->n_min && ends[j->top[3 * i].token];
            assert_int_equal(j->top[3 * i + banned].token, j->out[i].token); /* greedy */
            if (banned)
                continue;
            assert_false(ends[j->out[i].token]);
            if (i < first)
                assert_true(fabsf(j->top[3 * i].logprob - a.job.out[i].logprob) < 1e-6f);
            assert_true(j->top[3 * i + 1].logprob >= j->top[3 * i + 2].logprob);
            assert_true(j->top[3 * i].logprob <= 0);
        }
        job_done(j);
    }
    job_done(&a.job);
    close_server(&v);
}

static void the_end_of_the_server(void **state)
{
    (void)state;
    struct server v;
    struct errinfo e;
    static struct ask a[3];
    memset(a, 0, sizeof a);
    open_server(&v, 0, 8, 2);
    for (int i = 0; i < 3; i++)
        make_ask(&a[i], 20, 100);
    assert_int_equal(sched_push(v.s, &a[0].job, &e), ERR_OK);
    assert_true(sched_drain(v.s, 60000000000u));
    assert_int_equal(job_state(&a[0].job), JOB_DONE);
    assert_int_equal(sched_push(v.s, &a[1].job, &e), ERR_CANCELLED);
    close_server(&v);
    open_server(&v, 0, 8, 1);
    assert_int_equal(sched_push(v.s, &a[1].job, &e), ERR_OK);
    assert_int_equal(sched_push(v.s, &a[2].job, &e), ERR_OK);
    close_server(&v);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(job_state(&a[i].job), JOB_DONE);
        job_done(&a[i].job);
    }
}

int main(void)
{
    rng = test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(together_is_alone),
        cmocka_unit_test(equal_prompts_are_read_once),
        cmocka_unit_test(nothing_is_reused_where_a_job_says_so),
        cmocka_unit_test(jobs_end_when_asked_to),
        cmocka_unit_test(ends_minimum_and_tops),
        cmocka_unit_test(the_end_of_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
