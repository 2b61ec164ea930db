/* SPDX-License-Identifier: MIT
 * sched_gram_test.c - answers that follow a grammar, with a real model and its vocabulary: always
 * complete or cut by their length, the same alone and among others, and with tokens guessed ahead.
 * Needs DAMSO_TEST_MODELS, a folder with smollm2-135m-instruct.gguf. */
#include "base/arena.h"
#include "base/num.h"
#include "base/test.h"
#include "engine/sched.h"
#include "os/os_sys.h"

#include <string.h>
#include <time.h>

#define N_JOBS 16
#define N_MAX  40

static const char schema[] =
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":12},"
    "\"age\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":150}},"
    "\"required\":[\"name\",\"age\"],\"additionalProperties\":false}";
static const char regex[] = "[0-9]{3}-[0-9]{4}";

static struct {
    struct gguf *g;
    struct tok *tok;
    struct gram_vocab *vocab;
    struct engine *en;
    struct sched *s;
    bool *ends;
    struct gram *schema, *regex;
} v;

static int open_all(void **state)
{
    (void)state;
    char path[4096];
    struct errinfo e;
    const char *folder = getenv("DAMSO_TEST_MODELS");
    struct engine_opts opts = {.ctx = 512, .ctx_total = 4096, .out_max = 32, .level = cpu_best()};
    struct sched_opts so = {.queue_max = 64, .running_max = N_JOBS};
    if (!folder)
        return 0;
    snprintf(path, sizeof path, "%s/smollm2-135m-instruct.gguf", folder);
    json_t *j = json_loads(schema, 0, NULL);
    if (gguf_open(&v.g, path, &e) != ERR_OK || tok_open(&v.tok, v.g, &e) != ERR_OK ||
        engine_open(&v.en, v.g, &opts, &e) != ERR_OK ||
        gram_from_schema(&v.schema, j, NULL, &e) != ERR_OK ||
        gram_from_regex(&v.regex, span_of(regex), &e) != ERR_OK)
        fail_msg("%s", e.text);
    json_decref(j);
    v.vocab = gram_vocab_new(v.tok);
    size_t n = engine_model(v.en)->n_vocab;
    v.ends = mem_alloc(n);
    for (size_t i = 0; i < n; i++)
        v.ends[i] = tok_is_end(v.tok, (int32_t)i);
    v.s = sched_new(v.en, &so);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    sched_free(v.s);
    engine_close(v.en);
    gram_free(v.schema);
    gram_free(v.regex);
    gram_vocab_free(v.vocab);
    mem_free(v.ends);
    tok_close(v.tok);
    gguf_close(v.g);
    return 0;
}

static bool have_model(void)
{
    if (!v.s)
        print_message("DAMSO_TEST_MODELS is not set: nothing to run\n");
    return v.s != NULL;
}

struct ask {
    struct job job;
    struct tok_ids ids;
    struct str text; /* of the answer */
};

static void make_ask(struct ask *a, const char *prompt, const struct gram *g, size_t n_max)
{
    *a = (struct ask){0};
    str_init(&a->text, 4096);
    assert_int_equal(tok_encode(v.tok, span_of(prompt), 0, &a->ids, NULL), ERR_OK);
    job_init(&a->job, n_max, 0);
    a->job.prompt = a->ids.id;
    a->job.n_prompt = a->ids.n;
    a->job.ends = v.ends;
    a->job.gram = g ? gram_start(g) : NULL;
    a->job.vocab = v.vocab;
    a->job.sampling.temp = 0;
}

static void push(struct ask *a)
{
    struct errinfo e;
    assert_int_equal(sched_push(v.s, &a->job, &e), ERR_OK);
}

static void await(struct ask *a)
{
    while (job_state(&a->job) != JOB_DONE)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    for (size_t i = 0; i < job_n_out(&a->job); i++) {
        struct span b = gram_vocab_bytes(v.vocab, a->job.out[i].token);
        str_add_span(&a->text, b);
    }
}

static void drop(struct ask *a)
{
    gram_done(a->job.gram);
    job_done(&a->job);
    tok_ids_done(&a->ids);
    str_done(&a->text);
}

static void assert_person(const struct ask *a)
{
    json_t *j = json_loadb(a->text.p, a->text.n, 0, NULL);
    if (!j)
        fail_msg("not JSON: %.*s", (int)a->text.n, a->text.p);
    assert_true(json_is_string(json_object_get(j, "name")));
    assert_true(json_is_integer(json_object_get(j, "age")));
    assert_int_equal(json_object_size(j), 2);
    json_decref(j);
}

static void schemas_are_kept(void **state)
{
    (void)state;
    struct ask a[N_JOBS];
    uint64_t rng = test_seed();
    if (!have_model())
        return;
    for (int i = 0; i < N_JOBS; i++) {
        make_ask(&a[i], "Give me a person.", v.schema, N_MAX);
        a[i].job.sampling.temp = (float)(i % 4);
        a[i].job.sampling.top_k = i % 3 ? 0 : 40;
        a[i].job.sampling.seed = num_rand(&rng);
        a[i].job.n_min = i == 5 ? N_MAX : 0;
        push(&a[i]);
    }
    for (int i = 0; i < N_JOBS; i++) {
        await(&a[i]);
        assert_true(a[i].job.end == JOB_END_STOP || job_n_out(&a[i].job) == N_MAX);
        if (a[i].job.end == JOB_END_STOP)
            assert_person(&a[i]);
        drop(&a[i]);
    }
}

/* Where nothing can follow, the end may come, whatever was asked. */
static void complete_texts_end(void **state)
{
    (void)state;
    struct ask a[4];
    if (!have_model())
        return;
    for (int i = 0; i < 4; i++) {
        make_ask(&a[i], "My number is ", v.regex, i == 3 ? 2 : N_MAX);
        a[i].job.ignore_end = i == 1;
        a[i].job.n_min = i == 2 ? N_MAX : 0;
        push(&a[i]);
    }
    for (int i = 0; i < 4; i++) {
        await(&a[i]);
        assert_int_equal(a[i].job.end, i == 3 ? JOB_END_LENGTH : JOB_END_STOP);
        if (i == 3)
            assert_int_equal(job_n_out(&a[i].job), 2);
        else
            assert_int_equal(a[i].text.n, 8);
        assert_int_equal(gram_finished(a[i].job.gram), i != 3);
        drop(&a[i]);
    }
}

static const struct gram *gram_of(int i)
{
    return i % 3 == 0 ? v.schema : i % 3 == 1 ? v.regex : NULL;
}

static void alone_is_among_others(void **state)
{
    (void)state;
    static const char *const prompts[] = {"Once upon a time", "The answer is", "Write JSON:", "A"};
    struct ask alone[N_JOBS], among[N_JOBS];
    if (!have_model())
        return;
    for (int i = 0; i < N_JOBS; i++) {
        make_ask(&alone[i], prompts[i % 4], gram_of(i), N_MAX / 2);
        push(&alone[i]);
        await(&alone[i]);
    }
    for (int i = 0; i < N_JOBS; i++) {
        make_ask(&among[i], prompts[i % 4], gram_of(i), N_MAX / 2);
        push(&among[i]);
    }
    for (int i = 0; i < N_JOBS; i++) {
        await(&among[i]);
        assert_int_equal(among[i].job.end, alone[i].job.end);
        assert_int_equal(job_n_out(&among[i].job), job_n_out(&alone[i].job));
        for (size_t t = 0; t < job_n_out(&alone[i].job); t++)
            assert_int_equal(among[i].job.out[t].token, alone[i].job.out[t].token);
        drop(&among[i]);
        drop(&alone[i]);
    }
}

/* Guesses that a grammar does not allow, or that go beyond its end, change nothing. */
static void guessed_is_not_guessed(void **state)
{
    (void)state;
    static const char prompt[] =
        "Give me a person. {\"name\":\"Ann\",\"age\":31} Give me a person. "
        "{\"name\":\"Bob\",\"age\":32} Call 555-1234 or 555-1235. Give me a person or a number: ";
    struct ask plain[N_JOBS], guessed[N_JOBS];
    if (!have_model())
        return;
    for (int i = 0; i < 2 * N_JOBS; i++) {
        struct ask *a = i < N_JOBS ? &plain[i] : &guessed[i - N_JOBS];
        if (i == N_JOBS) {
            struct sched_opts so = {
                .queue_max = 64, .running_max = N_JOBS, .speculate = SCHED_SPEC_ALWAYS};
            for (int k = 0; k < N_JOBS; k++)
                await(&plain[k]);
            sched_free(v.s);
            v.s = sched_new(v.en, &so);
        }
        make_ask(a, prompt, gram_of(i % N_JOBS), N_MAX);
        a->job.sampling.temp = i % 2 ? 0.8f : 0;
        a->job.sampling.seed = (uint64_t)(i % N_JOBS);
        push(a);
    }
    for (int i = 0; i < N_JOBS; i++) {
        await(&guessed[i]);
        assert_int_equal(guessed[i].job.end, plain[i].job.end);
        assert_int_equal(job_n_out(&guessed[i].job), job_n_out(&plain[i].job));
        for (size_t t = 0; t < job_n_out(&plain[i].job); t++)
            assert_int_equal(guessed[i].job.out[t].token, plain[i].job.out[t].token);
        assert_int_equal(gram_of(i) ? gram_finished(guessed[i].job.gram) : 0,
                         gram_of(i) ? gram_finished(plain[i].job.gram) : 0);
        drop(&guessed[i]);
        drop(&plain[i]);
    }
    struct sched_load load = sched_load(v.s);
    print_message("%llu of %llu guesses came true\n", (unsigned long long)load.n_accepted,
                  (unsigned long long)load.n_drafted);
    assert_true(load.n_accepted > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schemas_are_kept),
        cmocka_unit_test(complete_texts_end),
        cmocka_unit_test(alone_is_among_others),
        cmocka_unit_test(guessed_is_not_guessed),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
