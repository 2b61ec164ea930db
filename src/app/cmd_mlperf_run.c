/* SPDX-License-Identifier: MIT
 * cmd_mlperf_run.c - damso mlperf run: one scenario by MLCommons LoadGen, the engine called in
 * process through the scheduler. */
#include "app/cmd_mlperf.h"

#include "api/api.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MULTI        8 /* samples of a MultiStream query, as mlperf.conf has it */
#define SMALL_CTX    512
#define OFFICIAL_CTX 3072 /* tokens of the longest prompts of the official sets, and room */
#define STALL_NS     600000000000u
#define WARM_NS      120000000000u
#define NEWS_S       5 /* between lines where stderr is no terminal */
#define TEXT_MAX     ((size_t)1 << 20)
#define POWER_ROOT   "/sys"

/* ---- options ---- */

static enum err read_qps(struct mlperf_work *w, const char *text, struct errinfo *e)
{
    char *end;
    if (!text)
        return ERR_OK;
    w->target_qps = strtod(text, &end);
    if (*end || !(w->target_qps > 0 && w->target_qps <= 1e6))
        return err_set(e, ERR_USAGE, "--target-qps: '%.32s' is no number over 0, to 1000000", text);
    return ERR_OK;
}

/* Which of LoadGen's scenarios it is, with which limits, and how much runs together. */
static enum err read_scenario(struct mlperf_work *w, struct errinfo *e)
{
    static const char *const names[] = {"SingleStream", "MultiStream", "Offline", "Server",
                                        "Interactive"};
    size_t i = 0;
    while (i < N_ELEMS(names) && strcmp(names[i], w->scenario) != 0)
        i++;
    if (i == N_ELEMS(names))
        return err_set(e, ERR_USAGE,
                       "--scenario: '%.32s' is none of SingleStream, MultiStream, Offline, Server, "
                       "Interactive",
                       w->scenario);
    bool interactive = i == 4;
    if (interactive && !w->bench->interactive[0])
        return err_set(e, ERR_USAGE, "--scenario: %s has no Interactive", w->bench->name);
    w->lg_scenario = interactive ? "Server" : names[i];
    w->conf_name = interactive ? w->bench->interactive : w->bench->conf_name;
    w->at_once = i == 0 ? 1 : i == 1 ? MULTI : (size_t)w->conf->parallel;
    if (w->target_qps > 0 && i < 2)
        return err_set(e, ERR_USAGE, "--target-qps: %s has no rate", w->scenario);
    return ERR_OK;
}

static bool names(const char *list, const char *name)
{
    const char *at = strstr(list, name);
    return at && (at[strlen(name)] == ' ' || at[strlen(name)] == '\0');
}

static enum err read_compliance(struct mlperf_work *w, struct errinfo *e)
{
    if (!w->compliance)
        return ERR_OK;
    w->test = mlperf_audit_find(w->compliance);
    if (!w->test || !names(w->bench->tests, w->test->name))
        return err_set(
            e, ERR_USAGE, "--compliance: '%.32s' does not apply to %s, whose tests are: %s",
            w->compliance, w->bench->name, w->bench->tests[0] ? w->bench->tests : "none");
    if (w->audit || w->accuracy)
        return err_set(e, ERR_USAGE, "--compliance: it has its own audit.config and no --accuracy");
    w->own = *w->bench;
    if (w->test->n)
        w->own.n = w->test->n;
    w->bench = &w->own;
    return ERR_OK;
}

static enum err read_meter(struct mlperf_work *w, struct errinfo *e)
{
    static const char *const names[] = {
        [MLPERF_METER_AUTO] = "auto", [MLPERF_METER_NVML] = "nvml", [MLPERF_METER_OFF] = "off"};
    for (size_t i = 0; i < N_ELEMS(names); i++)
        if (strcmp(names[i], w->energy) == 0) {
            w->meter = (enum mlperf_meter)i;
            return ERR_OK;
        }
    return err_set(e, ERR_USAGE, "--energy: '%.32s' is none of auto, nvml, off", w->energy);
}

/* They become names of folders. */
static enum err read_names(struct mlperf_work *w, struct errinfo *e)
{
    if (strcmp(w->division, "open") != 0 && strcmp(w->division, "closed") != 0)
        return err_set(e, ERR_USAGE, "--division: '%.32s' is neither open nor closed", w->division);
    if (!w->submitter[0] || strlen(w->submitter) > 64 ||
        w->submitter[strspn(w->submitter, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789_-")])
        return err_set(e, ERR_USAGE,
                       "--submitter: '%.64s' is no name of 1 to 64 of A-Z, a-z, 0-9, _ and -",
                       w->submitter);
    return ERR_OK;
}

static enum err read_options(struct mlperf_work *w, const char *bench, const char *qps,
                             struct errinfo *e)
{
    if (!w->scenario || !w->out)
        return err_set(e, ERR_USAGE, "mlperf run: it takes --scenario and --out");
    if (!mlperf_shim_built())
        return err_set(e, ERR_UNSUPPORTED,
                       "mlperf run: this damso was built without MLCommons LoadGen (cmake with "
                       "-DDAMSO_MLPERF=ON, and see what it says)");
    TRY(mlperf_bench_find(&w->bench, bench, e));
    TRY(read_qps(w, qps, e));
    TRY(read_scenario(w, e));
    TRY(read_names(w, e));
    TRY(read_meter(w, e));
    if (w->curve)
        TRY(serve_levels_read(w->curve, w->level, &w->n_levels, e));
    TRY(read_compliance(w, e));
    if (w->bench->official && !w->data)
        return err_set(e, ERR_USAGE,
                       "--benchmark %s: its questions are MLCommons' to give: --data FILE "
                       "(docs/MLPERF.md)",
                       w->bench->name);
    if (w->conf->n == 1)
        return err_set(e, ERR_USAGE, "-n: LoadGen's times a token take at least 2 tokens");
    return ERR_OK;
}

/* ---- questions ---- */

static enum err read_set(struct mlperf_work *w, struct errinfo *e)
{
    extern const unsigned char mlperf_small[];
    extern const size_t mlperf_small_bytes;
    if (w->data)
        return mlperf_set_read(&w->set, w->bench, w->accuracy, w->data, e);
    struct span data = {(const char *)mlperf_small, mlperf_small_bytes};
    return mlperf_set_parse(&w->set, w->bench, w->accuracy, data, "the set built in", e);
}

static enum err encode(const struct mlperf_work *w, const struct mlperf_text *t,
                       struct tok_ids *ids, struct errinfo *e)
{
    struct str text;
    int32_t bos = tok_bos(w->tok);
    json_t *messages = json_pack("[{s:s, s:s}]", "role", "user", "content", t->prompt);
    if (!messages)
        return err_set(e, ERR_CORRUPT, "a prompt is not UTF-8");
    str_init(&text, TEXT_MAX);
    enum err r = chat_render(w->chat, messages, NULL, NULL, true, os_unix_time(), &text, e);
    bool has_bos = r == ERR_OK && bos >= 0 && span_starts(str_span(&text), tok_piece(w->tok, bos));
    if (r == ERR_OK)
        r = tok_encode(w->tok, str_span(&text),
                       TOK_SPECIAL | TOK_MARKED | (has_bos ? 0u : (unsigned)TOK_BOS), ids, e);
    json_decref(messages);
    str_done(&text);
    return r;
}

static enum err make_question(struct mlperf_work *w, size_t i, struct errinfo *e)
{
    const struct mlperf_text *t = &w->set.q[i];
    struct mlperf_question *q = &w->question[i];
    struct tok_ids ids = {0};
    enum err r = ERR_OK;
    if (t->prompt)
        r = encode(w, t, &ids, e);
    else
        for (size_t k = 0; k < t->n_id; k++)
            tok_ids_add(&ids, t->id[k]);
    q->n_prompt = ids.n;
    q->n_max = w->conf->n ? MIN(t->n_max, (size_t)w->conf->n) : t->n_max;
    q->prompt = arena_array(&w->arena, ids.n, sizeof *q->prompt);
    if (ids.n)
        memcpy(q->prompt, ids.id, ids.n * sizeof *ids.id);
    tok_ids_done(&ids);
    for (size_t k = 0; k < q->n_prompt && r == ERR_OK; k++)
        if (q->prompt[k] >= tok_n_vocab(w->tok))
            r = err_set(e, ERR_CORRUPT, "question %zu: token %d is not one of the model's %d",
                        i + 1, q->prompt[k], tok_n_vocab(w->tok));
    if (r == ERR_OK && q->n_prompt + q->n_max > engine_ctx(w->model.engine))
        r = err_set(e, ERR_CONTEXT,
                    "question %zu: %zu tokens and %zu of its answer are over the context of %zu: "
                    "--ctx",
                    i + 1, q->n_prompt, q->n_max, engine_ctx(w->model.engine));
    return r;
}

static enum err open_all(struct mlperf_work *w, struct errinfo *e)
{
    struct conf c = *w->conf;
    bool small = !w->bench->official;
    TRY(read_set(w, e));
    if (c.ctx == 0)
        c.ctx = small ? SMALL_CTX : OFFICIAL_CTX + (int64_t)w->set.q[0].n_max;
    size_t each = small ? SMALL_CTX / 2 : num_align((size_t)c.ctx, ENGINE_PAGE);
    size_t total = MAX(w->at_once * each, num_align((size_t)c.ctx, ENGINE_PAGE));
    TRY(app_model_open_for(&w->model, &c, w->at_once, w->at_once, total, e));
    size_t n_vocab = engine_model(w->model.engine)->n_vocab;
    TRY(api_open_text(w->model.gguf, n_vocab, &w->tok, &w->chat, e));
    w->ends = mem_alloc(n_vocab * sizeof *w->ends);
    for (size_t i = 0; i < n_vocab; i++)
        w->ends[i] = tok_is_end(w->tok, (int32_t)i);
    w->question = arena_array(&w->arena, w->set.n, sizeof *w->question);
    for (size_t i = 0; i < w->set.n; i++)
        TRY(make_question(w, i, e));
    return ERR_OK;
}

/* ---- the engine ---- */

static struct sched *open_sched(struct mlperf_work *w)
{
    /* No guesses: the closed division's rules do not have them. */
    const struct sched_opts o = {
        .queue_max = w->at_once + 1, .running_max = w->at_once, .speculate = SCHED_SPEC_OFF};
    return sched_new(w->model.engine, &o);
}

static struct mlperf_jobs *open_jobs(struct mlperf_work *w, struct sched *s, struct mlperf_book *b)
{
    struct sampler_params sampling = sampler_neutral();
    sampling.temp = (float)w->bench->temp;
    sampling.seed = w->conf->seed >= 0 ? (uint64_t)w->conf->seed : 0;
    const struct mlperf_jobs_opts o = {.sched = s,
                                       .book = b,
                                       .question = w->question,
                                       .at_once = w->at_once,
                                       .ends = w->ends,
                                       .sampling = sampling};
    return mlperf_jobs_new(&o);
}

/* Asks n questions, `at_once` of them together, and notes the shortest latency of such a group and
 * the rate: LoadGen sizes its queries by them before the run. */
static enum err warm_up(struct mlperf_work *w, struct errinfo *e)
{
    const struct mlperf_hear nobody = {NULL, NULL};
    struct mlperf_book b;
    struct sched *s = open_sched(w);
    size_t n = MIN(w->at_once, w->set.n), groups = w->at_once == 1 ? 6 : 3;
    struct mlperf_sample *ask = mem_alloc(n * sizeof *ask);
    mlperf_book_init(&b, nobody, w->bench->token_bytes);
    struct mlperf_jobs *x = open_jobs(w, s, &b);
    enum err r = ERR_OK;
    for (size_t g = 0; g < groups && r == ERR_OK; g++) {
        for (size_t i = 0; i < n; i++)
            ask[i] = (struct mlperf_sample){1, (g * n + i) % w->set.n};
        uint64_t began = os_now_ns();
        mlperf_jobs_ask(x, mlperf_book_ask(&b, ask, n), ask, n);
        mlperf_book_wait(&b, (g + 1) * n, WARM_NS);
        double took = (double)(os_now_ns() - began) * 1e-9;
        if (!mlperf_book_right(&b, e))
            r = ERR_FAILED;
        else if (cmd_stopped())
            r = err_set(e, ERR_CANCELLED, "stopped");
        w->warm_latency_s = g ? MIN(w->warm_latency_s, took) : took;
        w->warm_qps = MAX(w->warm_qps, (double)n / took);
    }
    mlperf_jobs_free(x);
    sched_free(s);
    mlperf_book_done(&b);
    mem_free(ask);
    return r;
}

/* ---- the run ---- */

static void show(struct mlperf_work *w, const struct mlperf_progress *p, bool tty)
{
    char left[48] = "";
    if (p->left >= 0)
        snprintf(left, sizeof left, ", about %.0f s left", ceil(p->left));
    fprintf(stderr, "%s%s %s: %.0f %%, %zu of %zu queries, %.1f tokens/s%s%s",
            tty ? "\r\033[K" : "", w->bench->name, w->scenario, 100 * p->share, p->count.done,
            p->count.asked, p->seconds > 0 ? (double)p->count.tokens / p->seconds : 0, left,
            tty ? "" : "\n");
    fflush(stderr);
}

static bool tick(void *arg, const struct mlperf_progress *p)
{
    struct mlperf_work *w = arg;
    bool tty = isatty(STDERR_FILENO);
    if (p->seconds - w->shown_s >= (tty ? 0.5 : NEWS_S)) {
        show(w, p, tty);
        w->shown_s = p->seconds;
        mlperf_power_sample(&w->power);
    }
    w->share = p->share;
    return !cmd_stopped();
}

/* Answers as text beside LoadGen's log of them, for tools/mlperf_accuracy.py. */
static void keep(void *arg, size_t question, const int32_t *token, size_t n)
{
    struct mlperf_work *w = arg;
    struct str text;
    json_t *ids = json_array();
    str_init(&text, TEXT_MAX);
    tok_decode(w->tok, token, n, TOK_START | (w->bench->marks ? TOK_SPECIAL : 0u), &text, NULL);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(ids, json_integer(token[i]));
    struct str whole;
    str_init(&whole, 2 * TEXT_MAX);
    utf8_repair(&whole, str_span(&text));
    json_t *o = json_pack("{s:I, s:o, s:s, s:s?}", "qsl_idx", (json_int_t)question, "tokens", ids,
                          "text", whole.p, "reference", w->set.q[question].reference);
    CHECK(o);
    json_dumpf(o, w->answers, JSON_COMPACT);
    putc('\n', w->answers);
    json_decref(o);
    str_done(&whole);
    str_done(&text);
}

static enum err open_answers(struct mlperf_work *w, struct errinfo *e)
{
    bool scored = w->test && w->test->checks & MLPERF_SCORED;
    if (!w->accuracy && !scored)
        return ERR_OK;
    const char *path = arena_printf(&w->arena, "%s/damso_answers.jsonl",
                                    scored ? w->report : w->logs);
    w->answers = fopen(path, "we");
    if (!w->answers)
        return err_set(e, ERR_IO, "%.300s: %s", path, strerror(errno));
    w->book.keep = keep;
    w->book.keep_arg = w;
    return ERR_OK;
}

static void set_run(struct mlperf_work *w, struct mlperf_jobs *x)
{
    w->run = (struct mlperf_run){
        .shim = {.sut_name = arena_printf(&w->arena, "damso %s", DAMSO_VERSION),
                 .set_name = w->bench->name,
                 .n_total = w->set.n,
                 .n_performance = w->set.n,
                 .model = w->conf_name,
                 .scenario = w->lg_scenario,
                 .user_conf = arena_printf(&w->arena, "%s/user.conf",
                 w->test ? w->report : w->place),
                 .log_dir = w->logs,
                 .audit_conf = w->audit,
                 .accuracy = w->accuracy},
        .book = &w->book,
        .ask = mlperf_jobs_ask,
        .ask_arg = x,
        .stall_ns = STALL_NS,
        .tick = tick,
        .tick_arg = w,
    };
}

static enum err judge(const struct mlperf_work *w, const struct mlperf_log *log, struct errinfo *e)
{
    const char *first = json_string_value(json_array_get(log->errors, 0));
    if (log->n_errors || mlperf_log_number(log, "num_errors", 0) > 0)
        return err_set(e, ERR_FAILED, "LoadGen found errors: %.200s",
                       first ? first : "see its log");
    if (!log->ended && !w->accuracy)
        return err_set(e, ERR_FAILED, "LoadGen did not end its log in %.200s", w->logs);
    if (w->accuracy)
        return mlperf_book_count((struct mlperf_book *)&w->book).done >= w->set.n
                   ? ERR_OK
                   : err_set(e, ERR_FAILED, "not every question was answered");
    /* The rules do not ask of a compliance run that it is VALID, but where speeds are compared. */
    if (!mlperf_log_valid(log) && !w->test) {
        const char *why = mlperf_log_text(log, "result_invalid_reason");
        return err_set(e, ERR_FAILED, "LoadGen says INVALID: %.300s",
                       why ? why : "see mlperf_log_summary.txt");
    }
    return ERR_OK;
}

/* The verdict and the report, however the run ended. */
static enum err conclude(struct mlperf_work *w, enum err r, struct errinfo *e)
{
    struct mlperf_log log;
    struct errinfo other;
    const char *path = arena_printf(&w->arena, "%s/mlperf_log_detail.txt", w->logs);
    enum err read = mlperf_log_read(&log, path, &other);
    if (r == ERR_OK && read != ERR_OK) {
        *e = other;
        r = read;
    }
    if (r == ERR_OK)
        r = judge(w, &log, e);
    if (r == ERR_OK && w->test)
        r = mlperf_verify(w, e);
    json_t *result = mlperf_result(w, &log, r == ERR_OK ? NULL : e->text);
    enum err wrote = mlperf_report(w, result, &other);
    if (r == ERR_OK && wrote != ERR_OK) {
        *e = other;
        r = wrote;
    }
    printf("%s %s%s%s: %s\n%s/report.html\n", w->bench->name, w->scenario,
           w->accuracy ? " (accuracy)"
           : w->test   ? " "
                       : "",
           w->test ? w->test->name : "", json_string_value(json_object_get(result, "verdict")),
           w->report);
    json_decref(result);
    mlperf_log_done(&log);
    return r;
}

static enum err run(struct mlperf_work *w, struct errinfo *e)
{
    /* Offline has no first tokens for LoadGen, which would keep them and never let go of them. */
    bool offline = strcmp(w->lg_scenario, "Offline") == 0;
    const struct mlperf_hear loadgen = {offline ? NULL : mlperf_shim_first, mlperf_shim_complete};
    struct sched *s = open_sched(w);
    mlperf_book_init(&w->book, loadgen, w->bench->token_bytes);
    struct mlperf_jobs *x = open_jobs(w, s, &w->book);
    set_run(w, x);
    mlperf_power_begin(&w->power, w->meter, POWER_ROOT, MLPERF_NVML);
    enum err r = open_answers(w, e);
    if (r == ERR_OK)
        r = mlperf_run_go(&w->run, e);
    mlperf_power_sample(&w->power);
    mlperf_power_end(&w->power);
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    mlperf_jobs_free(x);
    sched_free(s);
    if (w->answers)
        fclose(w->answers);
    if (w->run.stuck)
        mlperf_run_abort(&w->run);
    r = conclude(w, r, e);
    if (w->run.stuck) { /* its thread waits for ever, and would be in the way of exit() */
        fflush(stdout);
        fprintf(stderr, "damso: %s\n", e->text);
        _exit(err_exit(r));
    }
    mlperf_book_done(&w->book);
    return r;
}

static enum err work(struct mlperf_work *w, struct errinfo *e)
{
    TRY(mlperf_dir_make(w, e));
    if (w->test)
        w->audit = arena_printf(&w->arena, "%s/audit.config", w->report);
    TRY(open_all(w, e));
    cmd_catch_stop();
    /* An accuracy run asks at the scenario's rate, too. */
    if (!w->accuracy || strcmp(w->lg_scenario, "Server") == 0)
        TRY(warm_up(w, e));
    TRY(mlperf_dir_conf(w, e));
    return run(w, e);
}

static enum err parse(struct mlperf_work *w, const char **bench, const char **qps,
                      struct cmd_args *a, struct errinfo *e)
{
    const struct conf_opt opts[] = {
        {.name = "scenario",
         .arg = "NAME",
         .help = "SingleStream, MultiStream, Offline, Server or Interactive",
         .text = &w->scenario},
        {.name = "out",
         .arg = "DIR",
         .help = "folder of logs and report, in the layout of submissions",
         .text = &w->out},
        {.name = "benchmark",
         .arg = "NAME",
         .help = "small (not MLPerf's; its questions are built in), llama3.1-8b, llama3.1-8b-edge, "
                 "llama2-70b, gpt-oss-120b [small]",                                                    .text = bench},
        {.name = "data",
         .arg = "FILE",
         .help = "the benchmark's questions (docs/MLPERF.md says which file)",
         .text = &w->data},
        {.name = "min-duration-ms",
         .arg = "N",
         .help = "milliseconds that LoadGen asks at least; submissions have 600000",
         .number = &w->min_duration_ms,
         .min = 1,
         .max = 864000000},
        {.name = "target-qps",
         .arg = "Q",
         .help = "queries a second of Server and Interactive; expected samples a second of Offline",
         .text = qps},
        {.name = "user-conf",
         .arg = "FILE",
         .help = "settings in LoadGen's form, over those of its mlperf.conf and of the benchmark",
         .text = &w->user_conf},
        {.name = "audit",
         .arg = "FILE",
         .help = "another audit.config than those of --compliance",
         .text = &w->audit},
        {.name = "compliance",
         .arg = "TEST",
         .help = "a compliance run (TEST01, TEST06, TEST07, TEST09), its audit.config and its "
                 "verdict", .text = &w->compliance},
        {.name = "energy",
         .arg = "NAME",
         .help = "auto (RAPL, or a battery), nvml (NVIDIA's cards alone), off [auto]",
         .text = &w->energy},
        {.name = "curve",
         .arg = "FILE",
         .help = "JSON of `bench serve`, whose Pareto curve the report then has",
         .text = &w->curve},
        {.name = "division",
         .arg = "NAME",
         .help = "folder of the submission: open or closed [open]",
         .text = &w->division},
        {.name = "submitter",
         .arg = "NAME",
         .help = "folder of the submission [damso]",
         .text = &w->submitter},
        {.name = "system",
         .arg = "FILE",
         .help = "JSON object of fields of the system's description that the machine does not tell",
         .text = &w->system_file},
        {.name = "accuracy",
         .help = "each question once, with its answer logged, in place of measuring speed",
         .flag = &w->accuracy                                                                           },
    };
    return cmd_parse(a, opts, N_ELEMS(opts), 0, 0, e);
}

/* What goes into run.json and the submission's files as text; settings are in UTF-8 (conf.c). */
static enum err check_texts(const struct mlperf_work *w, struct errinfo *e)
{
    const struct {
        const char *name, *text;
    } all[] = {
        {"--out",       w->out      },
        {"--division",  w->division },
        {"--submitter", w->submitter},
    };
    for (size_t i = 0; i < N_ELEMS(all); i++)
        if (all[i].text && !utf8_valid(span_of(all[i].text)))
            return err_set(e, ERR_USAGE,
                           "mlperf run: %s is not in UTF-8, and JSON, which is written here, is: "
                           "another name is needed",
                           all[i].name);
    return ERR_OK;
}

enum err mlperf_cmd_run(struct cmd_args *a, struct errinfo *e)
{
    struct mlperf_work w = {
        .conf = &a->conf, .division = "open", .submitter = "damso", .energy = "auto"};
    const char *bench = "small", *qps = NULL;
    TRY(parse(&w, &bench, &qps, a, e));
    if (a->done)
        return ERR_OK;
    TRY(check_texts(&w, e));
    TRY(read_options(&w, bench, qps, e));
    if (strcmp(a->conf.clock, "virtual") == 0)
        return err_set(e, ERR_USAGE,
                       "mlperf run: LoadGen asks by this machine's clock: --clock "
                       "paced makes answers come when the chip would give them");
    arena_init(&w.arena);
    enum err r = work(&w, e);
    mem_free(w.ends);
    chat_close(w.chat);
    tok_close(w.tok);
    if (w.model.gguf)
        app_model_close(&w.model);
    mlperf_set_done(&w.set);
    arena_done(&w.arena);
    return r;
}
