/* SPDX-License-Identifier: MIT
 * sched_spec_test.c - answers with guessed tokens are those without, whatever was asked for. */
#include "engine/sched_testing.h"

#define N_JOBS 8

struct kind {
    const char *name;
    size_t ctx_total, running_max, n_prompt, n_max;
    bool penalties, ends, logprobs;
    size_t draft_total; /* tokens of context of a draft model; 0: there is none */
};

static const struct kind kinds[] = {
    {"one answer",               0,    1,  40, 150, false, false, false, 0   },
    {"many answers",             8192, 16, 40, 100, false, false, false, 0   },
    {"penalties",                4096, 4,  40, 100, true,  false, false, 0   },
    {"ends",                     4096, 4,  40, 100, false, true,  false, 0   },
    {"logprobs",                 4096, 4,  40, 100, false, false, true,  0   },
    {"the context ends",         4096, 3,  90, CTX, false, false, false, 0   },
    {"few pages",                320,  16, 10, 180, false, false, false, 0   },
    {"draft: one answer",        0,    1,  40, 150, false, false, false, 256 },
    {"draft: many answers",      8192, 16, 90, 100, true,  true,  false, 8192},
    {"draft: the context ends",  4096, 3,  90, CTX, false, false, false, 4096},
    {"draft: few pages of both", 320,  16, 10, 180, false, false, false, 320 },
};

/* A prompt that repeats itself now and then. */
static void make_job(struct ask *a, const struct kind *k, const bool *ends)
{
    make_ask(a, 1 + num_rand(&rng) % k->n_prompt, 1 + num_rand(&rng) % k->n_max);
    struct job *j = &a->job;
    j->ends = k->ends ? ends : NULL;
    j->n_min = k->ends ? num_rand(&rng) % 20 : 0;
    j->ignore_end = k->ends && num_rand(&rng) % 4 == 0;
    j->logprobs = k->logprobs;
    if (k->penalties) {
        j->sampling.repeat_penalty = 1.05f;
        j->sampling.frequency_penalty = 0.1f;
        j->sampling.dry_multiplier = 0.3f;
    }
}

static void copy_job(struct ask *to, const struct ask *from)
{
    job_init(&to->job, from->job.n_max, 0);
    to->job.prompt = from->prompt;
    to->job.n_prompt = from->job.n_prompt;
    to->job.ends = from->job.ends;
    to->job.n_min = from->job.n_min;
    to->job.ignore_end = from->job.ignore_end;
    to->job.logprobs = from->job.logprobs;
    to->job.sampling = from->job.sampling;
}

static void run_all(struct server *v, struct ask *asks)
{
    struct errinfo e;
    for (int i = 0; i < N_JOBS; i++)
        assert_int_equal(sched_push(v->s, &asks[i].job, &e), ERR_OK);
    for (int i = 0; i < N_JOBS; i++)
        wait_done(&asks[i].job);
}

static void assert_same(const struct kind *k, const struct job *a, const struct job *b)
{
    assert_int_equal(a->end, b->end);
    assert_int_equal(job_n_out(a), job_n_out(b));
    for (size_t t = 0; t < job_n_out(a); t++)
        if (a->out[t].token != b->out[t].token || a->out[t].logprob != b->out[t].logprob)
            fail_msg("%s: token %zu is another", k->name, t);
}

/* A model is its own draft model here: where it is sure of itself it is right. */
static void open_draft(struct server *v, const struct kind *k, struct engine **draft)
{
    struct errinfo e;
    const struct engine_opts o = {.ctx = CTX,
                                  .ctx_total = k->draft_total,
                                  .batch = 40,
                                  .out_max = 16,
                                  .n_threads = 1,
                                  .level = cpu_best()};
    *draft = NULL;
    if (k->draft_total && engine_open(draft, v->g, &o, &e) != ERR_OK)
        fail_msg("%s", e.text);
}

static uint64_t n_accepted; /* of all kinds */

static void check_kind(const struct kind *k, enum sched_speculate how, const bool *ends)
{
    static struct ask plain[N_JOBS], guessed[N_JOBS];
    struct server v;
    struct engine *draft;
    struct sched_opts o = {.queue_max = N_JOBS, .running_max = k->running_max};
    memset(plain, 0, sizeof plain);
    memset(guessed, 0, sizeof guessed);
    open_engine(&v, k->ctx_total);
    open_draft(&v, k, &draft);
    v.s = sched_new(v.en, &o);
    for (int i = 0; i < N_JOBS; i++) {
        make_job(&plain[i], k, ends);
        copy_job(&guessed[i], &plain[i]);
    }
    run_all(&v, plain);
    assert_int_equal(sched_load(v.s).n_drafted, 0);
    sched_free(v.s);
    o.speculate = how;
    o.draft = draft;
    v.s = sched_new(v.en, &o);
    run_all(&v, guessed);
    struct sched_load load = sched_load(v.s);
    for (int i = 0; i < N_JOBS; i++) {
        assert_same(k, &plain[i].job, &guessed[i].job);
        assert_true(guessed[i].job.n_accepted <= guessed[i].job.n_drafted);
        job_done(&plain[i].job);
        job_done(&guessed[i].job);
    }
    print_message("%s: %llu of %llu guesses came true\n", k->name,
                  (unsigned long long)load.n_accepted, (unsigned long long)load.n_drafted);
    n_accepted += load.n_accepted;
    assert_int_equal(engine_pages_free(v.en), load.pages);
    if (draft)
        assert_int_equal(engine_pages_free(draft), k->draft_total / ENGINE_PAGE);
    sched_free(v.s);
    v.s = NULL;
    engine_close(draft);
    close_server(&v);
}

static void guesses_change_nothing(void **state)
{
    (void)state;
    bool ends[256] = {false};
    for (int t = 0; t < 256; t += 37)
        ends[t] = true;
    for (size_t k = 0; k < N_ELEMS(kinds); k++) {
        check_kind(&kinds[k], SCHED_SPEC_AUTO, ends);
        check_kind(&kinds[k], SCHED_SPEC_ALWAYS, ends);
    }
    assert_true(n_accepted > 100); /* else nothing was tried here */
}

/* Greedy answers, each a few tokens a step: nearly all that a model guesses of itself is right. */
static void a_model_guesses_itself(void **state)
{
    (void)state;
    static struct ask asks[N_JOBS];
    const struct kind k = {.ctx_total = 4096, .n_prompt = 60, .n_max = 100, .draft_total = 4096};
    struct server v;
    struct engine *draft;
    open_engine(&v, k.ctx_total);
    open_draft(&v, &k, &draft);
    const struct sched_opts o = {
        .queue_max = N_JOBS, .running_max = 2, .speculate = SCHED_SPEC_ALWAYS, .draft = draft};
    v.s = sched_new(v.en, &o);
    memset(asks, 0, sizeof asks);
    for (int i = 0; i < N_JOBS; i++) {
        make_job(&asks[i], &k, NULL);
        asks[i].job.sampling.temp = 0;
    }
    run_all(&v, asks);
    struct sched_load load = sched_load(v.s);
    assert_true(load.n_drafted > load.n_answer / 2);
    assert_true((double)load.n_accepted > 0.7 * (double)load.n_drafted);
    assert_true(load.n_steps < load.n_answer);
    for (int i = 0; i < N_JOBS; i++)
        job_done(&asks[i].job);
    sched_free(v.s);
    v.s = NULL;
    engine_close(draft);
    close_server(&v);
}

int main(void)
{
    rng = test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses_change_nothing),
        cmocka_unit_test(a_model_guesses_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
