/* SPDX-License-Identifier: MIT
 * sched_spec_test.c - answers with guessed tokens are those without, whatever was asked for. */
#include "engine/sched_testing.h"

#define N_JOBS 12

struct kind {
    const char *name;
    size_t ctx_total, running_max, n_prompt, n_max;
    bool penalties, ends, logprobs;
};

static const struct kind kinds[] = {
    {"one answer",       0,    1,  40, 150, false, false, false},
    {"many answers",     8192, 16, 40, 100, false, false, false},
    {"penalties",        4096, 4,  40, 100, true,  false, false},
    {"ends",             4096, 4,  40, 100, false, true,  false},
    {"logprobs",         4096, 4,  40, 100, false, false, true },
    {"the context ends", 4096, 3,  90, CTX, false, false, false},
    {"few pages",        320,  16, 10, 180, false, false, false},
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

static void guesses_change_nothing(void **state)
{
    (void)state;
    static struct ask plain[N_JOBS], guessed[N_JOBS];
    bool ends[256] = {false};
    for (int t = 0; t < 256; t += 37)
        ends[t] = true;
    for (size_t k = 0; k < N_ELEMS(kinds); k++)
        for (int guess = SCHED_SPEC_AUTO; guess <= SCHED_SPEC_ALWAYS; guess++) {
            struct server v;
            struct sched_opts o = {.queue_max = N_JOBS, .running_max = kinds[k].running_max};
            memset(plain, 0, sizeof plain);
            memset(guessed, 0, sizeof guessed);
            open_engine(&v, kinds[k].ctx_total);
            v.s = sched_new(v.en, &o);
            for (int i = 0; i < N_JOBS; i++) {
                make_job(&plain[i], &kinds[k], ends);
                copy_job(&guessed[i], &plain[i]);
            }
            run_all(&v, plain);
            assert_int_equal(sched_load(v.s).n_drafted, 0);
            sched_free(v.s);
            o.speculate = (enum sched_speculate)guess;
            v.s = sched_new(v.en, &o);
            run_all(&v, guessed);
            struct sched_load load = sched_load(v.s);
            for (int i = 0; i < N_JOBS; i++) {
                assert_same(&kinds[k], &plain[i].job, &guessed[i].job);
                assert_true(guessed[i].job.n_accepted <= guessed[i].job.n_drafted);
                job_done(&plain[i].job);
                job_done(&guessed[i].job);
            }
            print_message("%s: %llu of %llu guesses came true\n", kinds[k].name,
                          (unsigned long long)load.n_accepted, (unsigned long long)load.n_drafted);
            assert_true(guess == SCHED_SPEC_AUTO || load.n_accepted > 0);
            assert_int_equal(engine_pages_free(v.en), load.pages);
            close_server(&v);
        }
}

int main(void)
{
    rng = test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
