/* SPDX-License-Identifier: MIT */
#include "mlperf/mlperf_audit.h"

#include "base/arena.h"
#include "base/num.h"
#include "mlperf/mlperf_log.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#define TEXT_BYTES ((size_t)1 << 16)

static const struct mlperf_audit audits[] = {
#define AUDIT(...) {__VA_ARGS__},
#include "mlperf/mlperf_audit.def"
#undef AUDIT
};

const struct mlperf_audit *mlperf_audit_find(const char *name)
{
    for (size_t i = 0; i < N_ELEMS(audits); i++)
        if (strcmp(audits[i].name, name) == 0)
            return &audits[i];
    return NULL;
}

void mlperf_audit_conf(const struct mlperf_audit *a, size_t n, struct str *out)
{
    str_addf(out, "# %s: %s.\n*.*.mode = 2\n", a->name, a->shows);
    if (a->logged)
        str_addf(out,
                 "*.*.accuracy_log_rng_seed = 720381539243781796\n"
                 "*.*.accuracy_log_sampling_target = %zu\n",
                 a->logged);
    if (a->queries)
        str_addf(out,
                 "*.*.min_query_count = %zu\n*.*.min_duration = 0\n"
                 "*.*.sample_concatenate_permutation = 0\n",
                 a->queries == MLPERF_EACH ? n : a->queries);
    if (a->checks & (MLPERF_SCORED | MLPERF_LENGTHS))
        str_addf(out, "*.*.performance_issue_unique = 1\n");
    /* Not LoadGen's; the official script reads them here. */
    if (a->checks & MLPERF_LENGTHS)
        str_addf(out, "*.*.test09_min_output_tokens = %.2f\n*.*.test09_max_output_tokens = %.2f\n",
                 a->tokens_min, a->tokens_max);
    if (a->checks & MLPERF_SCORED)
        str_addf(out, "*.*.test07_accuracy_threshold = 60.698\n");
}

/* ---- LoadGen's log of answers ---- */

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Tokens out of hex, little-endian; false when it is none. */
static bool read_tokens(const char *hex, size_t bytes, int64_t **token, size_t *n)
{
    size_t digits = strlen(hex);
    *n = digits / 2 / bytes;
    *token = NULL;
    if (digits % (2 * bytes) != 0)
        return false;
    *token = mem_alloc((*n + 1) * sizeof **token);
    for (size_t i = 0; i < *n; i++) {
        uint64_t v = 0;
        for (size_t b = bytes; b-- > 0;) {
            int high = nibble(hex[2 * (i * bytes + b)]), low = nibble(hex[2 * (i * bytes + b) + 1]);
            if (high < 0 || low < 0)
                return false;
            v = v << 8 | (uint64_t)(high << 4 | low);
        }
        (*token)[i] = bytes == 4 ? (int32_t)(uint32_t)v : (int64_t)v;
    }
    return true;
}

struct seen {
    size_t n, n_first_bad, n_end_bad, n_count_bad;
    double sum, square, least, most; /* of numbers of tokens */
};

static bool is_end(const struct mlperf_audit_in *in, int64_t token)
{
    return token >= 0 && (uint64_t)token < in->n_vocab && in->ends[token];
}

/* One answer of the log. */
static bool take_answer(const struct mlperf_audit_in *in, const json_t *o, struct seen *s)
{
    const char *data = json_string_value(json_object_get(o, "data")),
               *first = json_string_value(json_object_get(o, "token_data"));
    json_t *count = json_object_get(o, "token_count");
    int64_t *token = NULL, *told = NULL;
    size_t n = 0, n_told = 0, n_ends = 0;
    bool ok = data && read_tokens(data, in->token_bytes, &token, &n);
    if (ok && !in->offline)
        ok = first && read_tokens(first, in->token_bytes, &told, &n_told);
    if (ok) {
        bool first_bad = !in->offline && (n == 0 || n_told == 0 || told[0] != token[0]);
        /* The official script does not look at the first token, which may be an end. */
        for (size_t i = n; i-- > 1 && is_end(in, token[i]);)
            n_ends++;
        s->n++;
        s->n_first_bad += first_bad;
        s->n_end_bad += n_ends > 1;
        s->n_count_bad += json_integer_value(count) != (json_int_t)n;
        s->sum += (double)n;
        s->square += (double)n * (double)n;
        s->least = s->n == 1 ? (double)n : MIN(s->least, (double)n);
        s->most = MAX(s->most, (double)n);
    }
    mem_free(token);
    mem_free(told);
    return ok;
}

static enum err read_answers(json_t **out, const char *path, struct errinfo *e)
{
    json_error_t je;
    *out = json_load_file(path, 0, &je);
    if (!*out && json_error_code(&je) == json_error_cannot_open_file)
        return err_set(e, ERR_NOTFOUND, "%.300s: there is no such log", path);
    if (!*out)
        return err_set(e, ERR_CORRUPT, "%.300s:%d: %.100s", path, je.line, je.text);
    if (!json_is_array(*out)) {
        json_decref(*out);
        *out = NULL;
        return err_set(e, ERR_CORRUPT, "%.300s: LoadGen's log of answers is an array", path);
    }
    return ERR_OK;
}

static enum err see_answers(const struct mlperf_audit_in *in, const json_t *all, struct seen *s,
                            struct errinfo *e)
{
    for (size_t i = 0; i < json_array_size(all); i++)
        if (!take_answer(in, json_array_get(all, i), s))
            return err_set(e, ERR_CORRUPT, "%.300s: answer %zu: no tokens of %zu bytes in hex",
                           in->answers, i + 1, in->token_bytes);
    if (s->n == 0)
        return err_set(e, ERR_CORRUPT, "%.300s: LoadGen logged no answer", in->answers);
    return ERR_OK;
}

/* ---- the checks ---- */

static const char *word(bool yes)
{
    return yes ? "True" : "False";
}

static bool say_tokens(const struct mlperf_audit_in *in, const struct seen *s, struct str *out)
{
    bool passed = !s->n_first_bad && !s->n_end_bad && !s->n_count_bad;
    str_addf(out,
             "First token check pass: %s\nEOS check pass: %s\nSample length check pass: %s\n"
             "TEST06 verification %s\n",
             in->offline ? "Skipped" : word(!s->n_first_bad), word(!s->n_end_bad),
             word(!s->n_count_bad), passed ? "complete" : "failed");
    return passed;
}

static bool say_lengths(const struct mlperf_audit *a, const struct seen *s, struct str *out)
{
    double mean = s->sum / (double)s->n,
           spread = sqrt(MAX(s->square / (double)s->n - mean * mean, 0));
    bool low = mean >= a->tokens_min, high = mean <= a->tokens_max;
    str_addf(out,
             "Output Token Length Statistics\nTotal samples: %zu\nMean output tokens: %.2f\n"
             "Min output tokens: %.0f\nMax output tokens: %.0f\nStd deviation: %.2f\n"
             "Min threshold: %.2f\nMax threshold: %.2f\nMin check pass: %s\nMax check pass: %s\n\n"
             "%s\n",
             s->n, mean, s->least, s->most, spread, a->tokens_min, a->tokens_max, word(low),
             word(high), low && high ? "TEST PASS" : "TEST FAIL");
    return low && high;
}

/* The official script compares the first token; whole answers are counted beside it. */
static bool say_answers(const struct mlperf_audit_in *in, const json_t *accuracy,
                        const json_t *test, struct str *out)
{
    size_t n_same = 0, n_other = 0, n_whole = 0, n_none = 0;
    json_t *by_question = json_object();
    char key[32];
    for (size_t i = 0; i < json_array_size(accuracy); i++) {
        json_t *o = json_array_get(accuracy, i);
        snprintf(key, sizeof key, "%lld",
                 (long long)json_integer_value(json_object_get(o, "qsl_idx")));
        json_object_set(by_question, key, json_object_get(o, "data"));
    }
    for (size_t i = 0; i < json_array_size(test); i++) {
        const json_t *o = json_array_get(test, i);
        snprintf(key, sizeof key, "%lld",
                 (long long)json_integer_value(json_object_get(o, "qsl_idx")));
        const char *a = json_string_value(json_object_get(by_question, key)),
                   *b = json_string_value(json_object_get(o, "data"));
        size_t first = 2 * in->token_bytes;
        n_none += !a;
        if (!a || !b)
            continue;
        bool same = strlen(a) >= first && strncmp(a, b, first) == 0;
        n_same += same;
        n_other += !same;
        n_whole += strcmp(a, b) == 0;
    }
    bool passed = n_other == 0 && n_same > 0;
    str_addf(out,
             "num_acc_log_entries = %zu\nnum_perf_log_entries = %zu\nnum_perf_log_qsl_idx_match = "
             "%zu\nnum_perf_log_data_mismatch = %zu\nnum_missing_qsl_idxs = %zu\n"
             "same in every token = %zu\n%s\n",
             json_array_size(accuracy), json_array_size(test), n_same + n_other, n_other, n_none,
             n_whole, passed ? "TEST PASS" : "TEST FAIL");
    json_decref(by_question);
    return passed;
}

/* What a scenario is measured by: samples a second, or nanoseconds of a latency. */
static double score_of(const struct mlperf_log *log, const char *scenario)
{
    static const char *const keys[][2] = {
        {"Offline",      "result_samples_per_second"       },
        {"SingleStream", "early_stopping_latency_ss"       },
        {"MultiStream",  "early_stopping_latency_ms"       },
        {"Server",       "result_completed_samples_per_sec"},
    };
    for (size_t i = 0; i < N_ELEMS(keys); i++)
        if (strcmp(scenario, keys[i][0]) == 0)
            return mlperf_log_number(log, keys[i][1], 0);
    return 0;
}

static bool say_verdict(struct str *out, const char *fault)
{
    str_addf(out, "%s%s\n", fault ? "TEST FAIL: " : "TEST PASS", fault ? fault : "");
    return !fault;
}

static bool say_speed(const struct mlperf_log *base, const struct mlperf_log *test, struct str *out)
{
    const char *scenario = mlperf_log_text(base, "effective_scenario"),
               *other = mlperf_log_text(test, "effective_scenario");
    str_addf(out, "Verifying performance.\n");
    if (!scenario || !other || strcmp(scenario, other) != 0)
        return say_verdict(out, "Test and reference scenarios do not match!");
    if (!mlperf_log_valid(base) || !mlperf_log_valid(test))
        return say_verdict(out, mlperf_log_valid(base) ? "Test results are invalid"
                                                       : "Reference results are invalid");
    double was = score_of(base, scenario), is = score_of(test, scenario), share = 0.10;
    if (was <= 0 || is <= 0)
        return say_verdict(out, "no figure of speed in a log");
    /* A quick system's latencies, in nanoseconds, vary more. */
    if ((strcmp(scenario, "SingleStream") == 0 && was <= 200000) ||
        (strcmp(scenario, "MultiStream") == 0 && was <= 1600000))
        share = 0.20;
    str_addf(out, "Reference score = %.9g\nTest score = %.9g\n", was, is);
    bool ok = is >= was * (1 - share) && is <= was * (1 + share);
    return say_verdict(out, ok ? NULL : "Test score invalid");
}

static enum err check_speed(const struct mlperf_audit_in *in, struct mlperf_audit_out *out,
                            struct errinfo *e)
{
    struct mlperf_log base, test;
    enum err r = mlperf_log_read(&base, in->performance_detail, e);
    if (r == ERR_OK) {
        r = mlperf_log_read(&test, in->detail, e);
        if (r == ERR_OK)
            out->passed &= say_speed(&base, &test, &out->performance);
        mlperf_log_done(&test);
    }
    mlperf_log_done(&base);
    return r;
}

static enum err check_answers(const struct mlperf_audit *a, const struct mlperf_audit_in *in,
                              struct mlperf_audit_out *out, struct errinfo *e)
{
    json_t *all = NULL, *accuracy = NULL;
    struct seen s = {0};
    enum err r = read_answers(&all, in->answers, e);
    if (r == ERR_OK)
        r = see_answers(in, all, &s, e);
    if (r == ERR_OK && a->checks & MLPERF_FIRST_TOKENS)
        out->passed &= say_tokens(in, &s, &out->accuracy);
    if (r == ERR_OK && a->checks & MLPERF_LENGTHS)
        out->passed &= say_lengths(a, &s, &out->lengths);
    if (r == ERR_OK && a->checks & MLPERF_SAME_ANSWERS) {
        r = read_answers(&accuracy, in->accuracy_answers, e);
        if (r == ERR_OK)
            out->passed &= say_answers(in, accuracy, all, &out->accuracy);
    }
    json_decref(all);
    json_decref(accuracy);
    return r;
}

enum err mlperf_audit_check(const struct mlperf_audit *a, const struct mlperf_audit_in *in,
                            struct mlperf_audit_out *out, struct errinfo *e)
{
    enum err r = ERR_OK;
    str_init(&out->accuracy, TEXT_BYTES);
    str_init(&out->performance, TEXT_BYTES);
    str_init(&out->lengths, TEXT_BYTES);
    out->passed = true;
    if (a->logged)
        r = check_answers(a, in, out, e);
    if (r == ERR_OK && a->checks & MLPERF_SAME_SPEED)
        r = check_speed(in, out, e);
    out->passed &= r == ERR_OK;
    return r;
}

void mlperf_audit_done(struct mlperf_audit_out *out)
{
    str_done(&out->accuracy);
    str_done(&out->performance);
    str_done(&out->lengths);
}
