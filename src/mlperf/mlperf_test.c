/* SPDX-License-Identifier: MIT
 * mlperf_test.c - an engine that is right is VALID by LoadGen's own word; one that drops, doubles
 * or mixes up answers fails and never gets LoadGen to crash; sets that are not the benchmark's are
 * refused by the line; energy from a made-up /sys. */
#include "base/num.h"
#include "base/test.h"
#include "mlperf/mlperf_audit.h"
#include "mlperf/mlperf_log.h"
#include "mlperf/mlperf_power.h"
#include "mlperf/mlperf_run.h"
#include "mlperf/mlperf_set.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- the book, and LoadGen with an engine that is made up ---- */

enum broken { RIGHT, DROPS, DOUBLES, WRONG_QUERY, WRONG_QUESTION, NO_FIRST, ONE_TOKEN };

struct fake {
    struct mlperf_book *book;
    enum broken broken;
    size_t n;
};

static const int32_t answer[] = {5, 6, 7};

/* Answers on the stack of who asks, after a fifth of a millisecond; the 20th answer is broken. */
static void fake_ask(void *arg, size_t first, const struct mlperf_sample *s, size_t n)
{
    struct fake *f = arg;
    for (size_t i = 0; i < n; i++) {
        const struct timespec moment = {0, 200000};
        enum broken b = ++f->n == 20 ? f->broken : RIGHT;
        size_t query = first + i + (b == WRONG_QUERY ? 1000000 : 0);
        size_t question = s[i].index + (b == WRONG_QUESTION);
        nanosleep(&moment, NULL);
        if (b == DROPS)
            continue;
        if (b != NO_FIRST)
            mlperf_book_first(f->book, query, question, answer[0]);
        mlperf_book_complete(f->book, query, question, answer, b == ONE_TOKEN ? 1 : 3);
        if (b == DOUBLES)
            mlperf_book_complete(f->book, query, question, answer, 3);
    }
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* In a process of its own: LoadGen counts configurations, and a run that is stuck stays so. */
static int run_child(const char *dir, const char *scenario, enum broken broken)
{
    const struct mlperf_hear loadgen = {mlperf_shim_first, mlperf_shim_complete};
    struct mlperf_book book;
    struct fake fake = {.book = &book, .broken = broken};
    char conf[300], detail[300];
    struct errinfo e = {0};
    struct mlperf_log log;
    snprintf(conf, sizeof conf, "%s/user.conf", dir);
    snprintf(detail, sizeof detail, "%s/mlperf_log_detail.txt", dir);
    write_text(conf, "*.*.min_duration = 300\n*.*.min_query_count = 100\n*.Server.target_qps = "
                     "500\n*.Offline.target_qps = 6000\n"
                     "*.*.use_token_latencies = 1\n*.*.target_latency = 0.1\n"
                     "*.Server.target_latency_percentile = 90\n*.Server.target_latency = 0\n"
                     "*.Server.ttft_latency = 1000\n*.Server.tpot_latency = 1000\n");
    mlperf_book_init(&book, loadgen, 8);
    struct mlperf_run r = {
        .shim = {.sut_name = "fake",
                 .set_name = "numbers",
                 .n_total = 50,
                 .n_performance = 50,
                 .model = "fake",
                 .scenario = scenario,
                 .user_conf = conf,
                 .log_dir = dir},
        .book = &book,
        .ask = fake_ask,
        .ask_arg = &fake,
        .stall_ns = 500000000
    };
    if (mlperf_run_go(&r, &e) != ERR_OK) {
        printf("%s, %d: %s\n", scenario, (int)broken, e.text);
        fflush(stdout);
        return 1;
    }
    if (mlperf_log_read(&log, detail, &e) != ERR_OK || !mlperf_log_valid(&log))
        return 2;
    return 0;
}

static int run_scenario(const char *scenario, enum broken broken)
{
    char dir[] = "/tmp/mlperf_test_XXXXXX", clean[64];
    int status;
    assert_non_null(mkdtemp(dir));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(run_child(dir, scenario, broken));
    assert_true(waitpid(child, &status, 0) == child);
    snprintf(clean, sizeof clean, "rm -rf %s", dir);
    assert_int_equal(system(clean), 0);
    assert_true(WIFEXITED(status)); /* and did not crash */
    return WEXITSTATUS(status);
}

static void test_loadgen_says_valid(void **state)
{
    (void)state;
    if (!mlperf_shim_built())
        skip();
    assert_int_equal(run_scenario("SingleStream", RIGHT), 0);
    assert_int_equal(run_scenario("Offline", RIGHT), 0);
    assert_int_equal(run_scenario("Server", RIGHT), 0);
}

static void test_broken_engines_fail(void **state)
{
    (void)state;
    if (!mlperf_shim_built())
        skip();
    for (enum broken b = DROPS; b <= ONE_TOKEN; b++) {
        assert_int_equal(run_scenario("SingleStream", b), 1);
        assert_int_equal(run_scenario("Offline", b), 1);
    }
}

static size_t n_first, n_complete;

static void hear_first(uintptr_t id, const void *data, size_t bytes)
{
    (void)data;
    assert_true(id >= 100 && id < 104);
    assert_int_equal(bytes, 8);
    n_first++;
}

static void hear_complete(uintptr_t id, const void *data, size_t bytes, int64_t n_tokens)
{
    assert_true(id >= 100 && id < 104);
    assert_int_equal(bytes, 8 * n_tokens);
    assert_int_equal(((const int64_t *)data)[1], answer[1]);
    n_complete++;
}

static void test_only_what_is_right_is_heard(void **state)
{
    (void)state;
    static const char *const said[] = {"twice", "query 9", "question 8", "without a first",
                                       "1 token"};
    const struct mlperf_sample ask[4] = {
        {100, 7},
        {101, 3},
        {102, 7},
        {103, 0}
    };
    for (int i = 0; i < 5; i++) {
        struct mlperf_book b;
        struct errinfo e;
        n_first = n_complete = 0;
        mlperf_book_init(&b, (struct mlperf_hear){hear_first, hear_complete}, 8);
        assert_int_equal(mlperf_book_ask(&b, ask, 4), 0);
        mlperf_book_first(&b, 2, 7, 5);
        mlperf_book_complete(&b, 2, 7, answer, 3);
        assert_true(mlperf_book_right(&b, &e));
        if (i != 3)
            mlperf_book_first(&b, 1, 3, 5);
        if (i == 0)
            mlperf_book_complete(&b, 2, 7, answer, 3);
        mlperf_book_complete(&b, i == 1 ? 9 : 1, i == 2 ? 8 : 3, answer, i == 4 ? 1 : 3);
        assert_false(mlperf_book_right(&b, &e));
        assert_non_null(strstr(e.text, said[i]));
        assert_int_equal(n_first, i == 3 ? 1 : 2);
        assert_int_equal(n_complete, i == 0 ? 2 : 1);
        mlperf_book_done(&b);
    }
}

/* ---- sets ---- */

static enum err parse(const struct mlperf_bench *b, const char *text, struct errinfo *e, size_t *n)
{
    struct mlperf_set s;
    enum err r = mlperf_set_parse(&s, b, false, span_of(text), "file", e);
    *n = s.n;
    if (r == ERR_OK)
        mlperf_set_done(&s);
    return r;
}

#define Q1 "{\"prompt\": \"a\", \"max_tokens\": 4}\n"

static void test_sets_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said;
    } bad[] = {
        {Q1,                                                 "1 questions; two has 2"         },
        {Q1 Q1 Q1,                                           "line 3: more than the 2"        },
        {Q1 "{\"prompt\": \"a\", \"max_tokens\": 4\n",       "line 2: "                       },
        {Q1 "\n" Q1,                                         "line 2: "                       },
        {Q1 "[]\n",                                          "line 2: a question is an object"},
        {Q1 "{\"max_tokens\": 4}\n",                         "line 2: neither"                },
        {Q1 "{\"prompt\": \"a\"}\n",                         "line 2: `max_tokens`"           },
        {Q1 "{\"prompt\": \"a\", \"max_tokens\": 1}\n",      "line 2: `max_tokens`"           },
        {Q1 "{\"tok_input\": [1, -2], \"max_tokens\": 4}\n", "line 2: tok_input has"          },
        {Q1 "{\"tok_input\": [], \"max_tokens\": 4}\n",      "line 2: tok_input is"           },
        {"[" Q1 ", {\"max_tokens\": 4}]",                    "question 2: neither"            },
        {"[" Q1,                                             "line 2: "                       },
        {"",                                                 "0 questions"                    },
    };
    struct mlperf_bench two = {.name = "two", .n = 2, .n_accuracy = 2, .sha256 = ""};
    struct errinfo e;
    size_t n;
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        assert_int_equal(parse(&two, bad[i].text, &e, &n), ERR_CORRUPT);
        if (!strstr(e.text, bad[i].said))
            fail_msg("'%s' does not say '%s'", e.text, bad[i].said);
    }
    assert_int_equal(parse(&two, "{\"set\": \"x\", \"count\": 2}\n" Q1 Q1, &e, &n), ERR_OK);
    assert_int_equal(n, 2);
    two.n_max = 128;
    assert_int_equal(parse(&two, "[{\"tok_input\": [1]}, {\"tok_input\": [2, 3]}]", &e, &n),
                     ERR_OK);
    two.sha256 = "00";
    assert_int_equal(parse(&two, Q1 Q1, &e, &n), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "sha256"));
}

static void test_the_small_set(void **state)
{
    (void)state;
    const struct mlperf_bench *b;
    struct mlperf_set s;
    struct errinfo e;
    size_t korean = 0;
    assert_int_equal(mlperf_bench_find(&b, "small", &e), ERR_OK);
    assert_int_equal(mlperf_set_read(&s, b, false, "src/mlperf/small.jsonl", &e), ERR_OK);
    for (size_t i = 0; i < s.n; i++) {
        assert_non_null(s.q[i].reference);
        for (const char *p = s.q[i].prompt; *p; p++)
            if ((unsigned char)*p >= 0xea && (unsigned char)*p <= 0xed) { /* Hangul */
                korean++;
                break;
            }
    }
    assert_int_equal(s.n, 320);
    assert_int_equal(korean, 112);
    mlperf_set_done(&s);
    assert_int_equal(mlperf_bench_find(&b, "large", &e), ERR_USAGE);
    assert_int_equal(mlperf_set_read(&s, b, false, "src/mlperf/none", &e), ERR_NOTFOUND);
}

/* ---- compliance runs ---- */

#define DETAIL(scenario, key, score, verdict)                                                      \
    ":::MLLOG {\"key\": \"effective_scenario\", \"value\": \"" scenario "\"}\n"                    \
    ":::MLLOG {\"key\": \"" key "\", \"value\": " score "}\n"                                      \
    ":::MLLOG {\"key\": \"result_validity\", \"value\": \"" verdict "\"}\n"                        \
    ":::MLLOG {\"key\": \"num_errors\", \"value\": 0}\n"

/* An answer of two tokens of 4 bytes in LoadGen's log. */
#define LOGGED(question, first, a, b, count)                                                       \
    "{\"seq_id\": 0, \"qsl_idx\": " question ", \"data\": \"" a b "\", \"token_data\": \"" first   \
    "\", \"token_count\": " count "}"
#define T5 "05000000"
#define T6 "06000000"
#define T2 "02000000" /* ends an answer */

static enum err audit(const char *name, const char *answers, const char *detail,
                      struct mlperf_audit_out *out, struct errinfo *e)
{
    static const bool ends[8] = {[2] = true};
    const struct mlperf_audit_in in = {.answers = "/tmp/mlperf_audit_a",
                                       .detail = "/tmp/mlperf_audit_d",
                                       .accuracy_answers = "/tmp/mlperf_audit_aa",
                                       .performance_detail = "/tmp/mlperf_audit_pd",
                                       .token_bytes = 4,
                                       .ends = ends,
                                       .n_vocab = 8};
    write_text(in.answers, answers);
    write_text(in.detail, detail ? detail : "");
    write_text(in.accuracy_answers, "[" LOGGED("1", T5, T5, T6, "2") "]");
    write_text(in.performance_detail,
               DETAIL("Offline", "result_samples_per_second", "100", "VALID"));
    enum err r = mlperf_audit_check(mlperf_audit_find(name), &in, out, e);
    unlink(in.answers);
    unlink(in.detail);
    unlink(in.accuracy_answers);
    unlink(in.performance_detail);
    return r;
}

static bool says(const struct str *s, const char *text)
{
    return s->n && strstr(s->p, text);
}

/* The verdict on a run, which must say `said`. */
static bool passes(const char *test, const char *answers, const char *detail, const char *said)
{
    struct mlperf_audit_out out;
    struct errinfo e;
    assert_int_equal(audit(test, answers, detail, &out, &e), ERR_OK);
    if (!says(&out.accuracy, said) && !says(&out.performance, said) && !says(&out.lengths, said))
        fail_msg("%s does not say '%s'", test, said);
    bool passed = out.passed;
    mlperf_audit_done(&out);
    return passed;
}

static void test_answers_of_compliance(void **state)
{
    (void)state;
    static const char good[] = "[" LOGGED("1", T5, T5, T6, "2") "]",
                      ended[] = "[" LOGGED("1", T5, T5, T2, "2") "]",
                      first[] = "[" LOGGED("1", T6, T5, T6, "2") "]",
                      twice[] = "[" LOGGED("1", T5, T5, T2 T2, "3") "]",
                      count[] = "[" LOGGED("1", T5, T5, T6, "3") "]";
    assert_true(passes("TEST06", good, NULL, "Sample length check pass: True"));
    assert_true(passes("TEST06", ended, NULL, "EOS check pass: True"));
    assert_false(passes("TEST06", first, NULL, "First token check pass: False"));
    assert_false(passes("TEST06", twice, NULL, "EOS check pass: False"));
    assert_false(passes("TEST06", count, NULL, "Sample length check pass: False"));
    assert_false(passes("TEST09", good, NULL, "TEST FAIL"));
    static const char *const bad[] = {"[]", "{}", "[{}]", "[{\"data\": \"0\"}]"};
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        struct mlperf_audit_out out;
        struct errinfo e;
        assert_int_equal(audit("TEST06", bad[i], NULL, &out, &e), ERR_CORRUPT);
        assert_false(out.passed);
        mlperf_audit_done(&out);
    }
}

/* The verdicts are those of the official script on the same logs (docs/MLPERF.md). */
static void test_lengths_of_compliance(void **state)
{
    (void)state;
    static const struct {
        size_t even, odd; /* tokens of an answer */
        bool passes;
    } row[] = {
        {1150, 1150, false},
        {1150, 1151, true },
        {1278, 1278, true },
        {1406, 1406, true },
        {1407, 1407, false},
        {1406, 1407, false}
    };
    struct str s;
    str_init(&s, 1 << 20);
    for (size_t i = 0; i < N_ELEMS(row); i++) {
        str_clear(&s);
        for (int q = 0; q < 10; q++) {
            size_t n = q % 2 ? row[i].odd : row[i].even;
            str_addf(&s, "%s{\"seq_id\": %d, \"qsl_idx\": %d, \"data\": \"", q ? ",\n" : "[\n", q,
                     q);
            for (size_t t = 0; t < n; t++)
                str_add_cstr(&s, T5);
            str_addf(&s, "\", \"token_data\": \"" T5 "\", \"token_count\": %zu}", n);
        }
        str_add_cstr(&s, "\n]\n");
        assert_int_equal(passes("TEST09", s.p, NULL, "Mean output tokens"), row[i].passes);
    }
    str_done(&s);
}

static void test_speeds_of_compliance(void **state)
{
    (void)state;
    static const char good[] = "[" LOGGED("1", T5, T5, T6, "2") "]",
                      other[] = "[" LOGGED("1", T6, T6, T6, "2") "]",
                      near[] = DETAIL("Offline", "result_samples_per_second", "95", "VALID"),
                      slow[] = DETAIL("Offline", "result_samples_per_second", "80", "VALID"),
                      bad[] = DETAIL("Offline", "result_samples_per_second", "95", "INVALID"),
                      server[] = DETAIL("Server", "result_completed_samples_per_sec", "9", "VALID");
    assert_true(passes("TEST01", good, near, "TEST PASS"));
    assert_false(passes("TEST01", good, slow, "Test score invalid"));
    assert_false(passes("TEST01", good, bad, "Test results are invalid"));
    assert_false(passes("TEST01", good, server, "scenarios do not match"));
    assert_false(passes("TEST01", other, near, "num_perf_log_data_mismatch = 1"));
}

static void test_audit_settings(void **state)
{
    (void)state;
    struct str s;
    str_init(&s, 4096);
    mlperf_audit_conf(mlperf_audit_find("TEST09"), 6396, &s);
    assert_non_null(strstr(s.p, "*.*.min_query_count = 6396\n"));
    assert_non_null(strstr(s.p, "*.*.performance_issue_unique = 1\n"));
    assert_non_null(strstr(s.p, "*.*.test09_min_output_tokens = 1150.38\n"));
    str_clear(&s);
    mlperf_audit_conf(mlperf_audit_find("TEST06"), 10, &s);
    assert_non_null(strstr(s.p, "*.*.accuracy_log_sampling_target = 100\n"));
    assert_null(strstr(s.p, "issue_unique"));
    assert_null(mlperf_audit_find("TEST04"));
    str_done(&s);
}

/* ---- logs and energy ---- */

static void test_logs(void **state)
{
    (void)state;
    char path[] = "/tmp/mlperf_log_XXXXXX";
    struct mlperf_log l;
    struct errinfo e;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
#define LINE(key, value, error)                                                                    \
    ":::MLLOG {\"key\": \"" key "\", \"value\": " value ", \"metadata\": {\"is_error\": " error    \
    "}}\n"
    write_text(path, LINE("seed", "18446744073709551615", "false") LINE(
                         "result_validity", "\"VALID\"", "false") LINE("num_errors", "0", "false"));
    assert_int_equal(mlperf_log_read(&l, path, &e), ERR_OK);
    assert_true(mlperf_log_valid(&l) && l.ended);
    mlperf_log_done(&l);
    write_text(path, LINE("result_validity", "\"VALID\"", "false") LINE("x", "\"no\"", "true")
                         LINE("num_errors", "1", "false"));
    assert_int_equal(mlperf_log_read(&l, path, &e), ERR_OK);
    assert_false(mlperf_log_valid(&l));
    mlperf_log_done(&l);
    write_text(path, LINE("result_validity", "\"VALID\"", "false") ":::MLLOG {\"key\": ");
    assert_int_equal(mlperf_log_read(&l, path, &e), ERR_OK);
    assert_false(l.ended);
    assert_false(mlperf_log_valid(&l));
    mlperf_log_done(&l);
    write_text(path, ":::MLLOG {\"key\": \n" LINE("num_errors", "0", "false"));
    assert_int_equal(mlperf_log_read(&l, path, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, ":1: "));
    mlperf_log_done(&l);
    unlink(path);
}

static void test_energy(void **state)
{
    (void)state;
    char root[] = "/tmp/mlperf_sys_XXXXXX", text[400];
    struct mlperf_power p;
    assert_non_null(mkdtemp(root));
    mlperf_power_begin(&p, MLPERF_METER_AUTO, root, NVML_FAKE);
    assert_null(p.source);
    snprintf(text, sizeof text,
             "cd %s && for z in 0 1 0:0; do mkdir -p class/powercap/intel-rapl:$z; cd "
             "class/powercap/intel-rapl:$z; echo 900 >energy_uj; echo 1000 >max_energy_range_uj; "
             "cd ../../..; done",
             root);
    assert_int_equal(system(text), 0);
    mlperf_power_begin(&p, MLPERF_METER_AUTO, root, NVML_FAKE);
    assert_non_null(p.source);
    assert_int_equal(p.n_zones, 2); /* a part of a package is no zone of its own */
    snprintf(text, sizeof text,
             "cd %s/class/powercap && echo 950 >intel-rapl:0/energy_uj && "
             "echo 100 >intel-rapl:1/energy_uj",
             root);
    assert_int_equal(system(text), 0);
    mlperf_power_sample(&p);
    assert_true(p.joules > 249e-6 && p.joules < 251e-6); /* 50, and 200 over the end */
    snprintf(text, sizeof text,
             "cd %s/class && rm -r powercap && mkdir -p power_supply/BAT0 && cd power_supply/BAT0 "
             "&& echo Discharging >status && echo 1000000 >energy_now",
             root);
    assert_int_equal(system(text), 0);
    mlperf_power_begin(&p, MLPERF_METER_AUTO, root, NVML_FAKE);
    assert_non_null(strstr(p.source, "battery"));
    snprintf(text, sizeof text, "echo 999000 >%s/class/power_supply/BAT0/energy_now", root);
    assert_int_equal(system(text), 0);
    mlperf_power_sample(&p);
    assert_true(p.joules > 3.59 && p.joules < 3.61);
    snprintf(text, sizeof text, "rm -rf %s", root);
    assert_int_equal(system(text), 0);
}

static void test_energy_of_cards(void **state)
{
    (void)state;
    struct mlperf_power p;
    mlperf_power_begin(&p, MLPERF_METER_NVML, "/sys", NVML_FAKE);
    assert_string_equal(p.source, "NVML cards");
    mlperf_power_sample(&p);
    mlperf_power_sample(&p);
    assert_true(p.joules > 3.999 &&
                p.joules < 4.001); /* two of 2,000 mJ; the old card is left out */
    mlperf_power_end(&p);
    mlperf_power_begin(&p, MLPERF_METER_NVML, "/sys", "/nonexistent/libnvidia-ml.so.1");
    assert_null(p.source);
    mlperf_power_sample(&p);
    assert_true(p.joules <= 0);
    mlperf_power_end(&p);
    mlperf_power_begin(&p, MLPERF_METER_OFF, "/sys", NVML_FAKE);
    assert_null(p.source);
    mlperf_power_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_is_right_is_heard),
        cmocka_unit_test(test_loadgen_says_valid),
        cmocka_unit_test(test_broken_engines_fail),
        cmocka_unit_test(test_sets_are_checked),
        cmocka_unit_test(test_the_small_set),
        cmocka_unit_test(test_answers_of_compliance),
        cmocka_unit_test(test_lengths_of_compliance),
        cmocka_unit_test(test_speeds_of_compliance),
        cmocka_unit_test(test_audit_settings),
        cmocka_unit_test(test_logs),
        cmocka_unit_test(test_energy),
        cmocka_unit_test(test_energy_of_cards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
