/* SPDX-License-Identifier: MIT
 * cmd_mlperf_dir.c - the folder of a run: the layout of MLPerf Inference submissions (v6.0 and
 * later), and user.conf.
 *
 * Source of layout and fields: mlcommons/inference_policies, submission_rules.adoc, and the
 * submission checker of mlcommons/inference. */
#include "app/cmd_mlperf.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define TEXT_MAX ((size_t)1 << 20)

enum err mlperf_dir_write(const char *path, struct span text, struct errinfo *e)
{
    TRY(os_make_folders(path, 0777, e));
    FILE *f = fopen(path, "we");
    if (!f)
        return err_set(e, ERR_IO, "%.300s: %s", path, strerror(errno));
    bool ok = fwrite(text.p, 1, text.n, f) == text.n;
    int why = errno;
    if (fclose(f) != 0 || !ok)
        return err_set(e, ERR_IO, "%.300s: cannot be written: %s", path,
                       strerror(ok ? errno : why));
    return ERR_OK;
}

static enum err write_json(const char *path, json_t *o, struct errinfo *e)
{
    char *text = json_dumps(o, JSON_INDENT(2));
    CHECK(text);
    json_decref(o);
    enum err r = mlperf_dir_write(path, span_of(text), e);
    free(text); /* jansson's */
    return r;
}

static json_t *measurements_json(const struct mlperf_work *w)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "starting_weights_filename", w->conf->model,
                     "input_data_types", "int32", "weight_data_types",
                     "those of the GGUF file; see run.json", "weight_transformations",
                     "packed for the processor; no retraining, no pruning", "retraining", "No");
}

/* ---- the folder ---- */

/* How it was made, for people: the rules ask for this file beside user.conf. */
static enum err write_readme(const struct mlperf_work *w, struct errinfo *e)
{
    struct str s;
    struct arena tmp;
    str_init(&s, TEXT_MAX);
    arena_init(&tmp);
    str_addf(&s,
             "# %s, %s\n\nMade by damso %s with MLCommons LoadGen %s in one process:\n\n"
             "    damso mlperf run -m %s --benchmark %s --scenario %s%s%s --out DIR\n\n"
             "and `--accuracy` for the accuracy run. user.conf beside this file has every setting "
             "that is not\nLoadGen's own. ",
             w->bench->name, w->scenario, DAMSO_VERSION, mlperf_shim_version(), w->conf->model,
             w->bench->name, w->scenario, w->data ? " --data " : "", w->data ? w->data : "");
    str_addf(&s, "%s\n", MLPERF_DISCLAIMER);
    if (!w->bench->official)
        str_addf(&s, "\nThe benchmark is damso's own and unofficial: it is not MLPerf.\n");
    enum err r = mlperf_dir_write(arena_printf(&tmp, "%s/README.md", w->place), str_span(&s), e);
    arena_done(&tmp);
    str_done(&s);
    return r;
}

static enum err write_sources(const struct mlperf_work *w, struct errinfo *e)
{
    struct arena tmp;
    arena_init(&tmp);
    const char *text = arena_printf(
        &tmp,
        "# Sources\n\ndamso %s: README.md of its sources says how it is built; src/mlperf and "
        "src/app/cmd_mlperf* are what\nruns LoadGen. No other code was used.\n",
        DAMSO_VERSION);
    enum err r = mlperf_dir_write(arena_printf(&tmp, "%s/src/README.md", w->root), span_of(text),
                                  e);
    arena_done(&tmp);
    return r;
}

/* Where this run's own files go. */
static void set_places(struct mlperf_work *w)
{
    struct arena *a = &w->arena;
    w->system = mlperf_system_name(w);
    w->root = arena_printf(a, "%s/%s/%s", w->out, w->division, w->submitter);
    w->place = arena_printf(a, "%s/results/%s/%s/%s", w->root, w->system, w->bench->folder,
                            w->scenario);
    w->report = w->test ? arena_printf(a, "%s/%s", w->place, w->test->name) : w->out;
    w->logs = w->test ? arena_printf(a, "%s/performance/run_1", w->report)
                      : arena_printf(a, "%s/%s", w->place,
                                     w->accuracy ? "accuracy" : "performance/run_1");
}

enum err mlperf_dir_make(struct mlperf_work *w, struct errinfo *e)
{
    struct arena *a = &w->arena;
    struct stat st;
    json_t *system;
    set_places(w);
    const char *detail = arena_printf(a, "%s/mlperf_log_detail.txt", w->logs);
    if (stat(detail, &st) == 0)
        return err_set(e, ERR_USAGE, "--out: there is a run already: %.300s", detail);
    TRY(mlperf_system_json(w, &system, e));
    enum err r = os_make_folders(detail, 0777, e);
    if (r != ERR_OK) {
        json_decref(system);
        return r;
    }
    TRY(write_json(arena_printf(a, "%s/systems/%s.json", w->root, w->system), system, e));
    TRY(write_sources(w, e));
    TRY(write_readme(w, e));
    return write_json(arena_printf(a, "%s/measurements.json", w->place), measurements_json(w), e);
}

/* ---- user.conf ---- */

/* What the small benchmark has where mlperf.conf has nothing.  The user's file may change it. */
static void add_small(const struct mlperf_work *w, struct str *s)
{
    bool interactive = strcmp(w->scenario, "Interactive") == 0;
    str_addf(s, "*.*.use_token_latencies = 1\n"
                "*.*.min_duration = 60000\n");
    if (strcmp(w->scenario, "Offline") == 0)
        str_addf(s, "*.*.min_query_count = %zu\n", w->set.n);
    if (strcmp(w->scenario, "MultiStream") == 0)
        str_addf(s, "*.MultiStream.target_latency_percentile = 90\n"
                    "*.MultiStream.min_query_count = 100\n");
    if (strcmp(w->lg_scenario, "Server") == 0)
        str_addf(s,
                 "# The 90th percentile, so that slow machines come to an end, too; MLPerf's own "
                 "have the 99th.\n"
                 "*.Server.target_latency_percentile = 90\n"
                 "*.Server.target_latency = 0\n"
                 "*.Server.ttft_latency = %d\n"
                 "*.Server.tpot_latency = %d\n",
                 interactive ? 500 : 2000, interactive ? 100 : 200);
}

/* LoadGen makes its list of queries before the run by what is expected: it must not be too short.
 */
static void add_expected(const struct mlperf_work *w, struct str *s)
{
    if (w->warm_qps <= 0)
        return;
    str_addf(s, "# Expected by a warm-up.\n");
    if (strcmp(w->scenario, "SingleStream") == 0 || strcmp(w->scenario, "MultiStream") == 0)
        str_addf(s, "*.*.target_latency = %.3f\n", 0.7 * 1000 * w->warm_latency_s);
    else if (strcmp(w->scenario, "Offline") == 0)
        str_addf(s, "*.*.target_qps = %.3f\n", 1.2 * w->warm_qps);
    else
        str_addf(s, "*.*.target_qps = %.3f\n", 0.4 * w->warm_qps);
}

static enum err add_file(struct str *s, const char *path, struct errinfo *e)
{
    char part[4096];
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "--user-conf %.300s: %s", path,
                       strerror(errno));
    str_addf(s, "# The file given by --user-conf:\n");
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        str_add(s, part, n);
    str_add_char(s, '\n');
    bool failed = ferror(f);
    fclose(f);
    if (failed || s->full)
        return err_set(e, failed ? ERR_IO : ERR_TOOBIG,
                       "--user-conf %.300s: cannot be read, or has over 1 MiB", path);
    return ERR_OK;
}

enum err mlperf_dir_conf(const struct mlperf_work *w, struct errinfo *e)
{
    struct str s;
    struct arena tmp;
    enum err r = ERR_OK;
    str_init(&s, TEXT_MAX);
    arena_init(&tmp);
    str_addf(&s, "# %s\n",
             w->bench->official ? w->bench->name : "An unofficial benchmark of damso: not MLPerf.");
    if (!w->bench->official)
        add_small(w, &s);
    add_expected(w, &s);
    if (w->user_conf)
        r = add_file(&s, w->user_conf, e);
    /* What the command line says wins: its keys are the most exact ones. */
    if (w->min_duration_ms)
        str_addf(&s, "%s.%s.min_duration = %lld\n", w->conf_name, w->lg_scenario,
                 (long long)w->min_duration_ms);
    /* mlperf.conf says how many the benchmark's set has; LoadGen would ask for them all. */
    if (w->test && w->test->n)
        str_addf(&s, "%s.%s.performance_sample_count_override = %zu\n", w->conf_name,
                 w->lg_scenario, w->test->n);
    if (w->target_qps > 0)
        str_addf(&s, "%s.%s.target_qps = %.6f\n", w->conf_name, w->lg_scenario, w->target_qps);
    /* A compliance run leaves user.conf as the run that it belongs to has it. */
    const char *folder = w->test ? w->report : w->place;
    if (r == ERR_OK)
        r = mlperf_dir_write(arena_printf(&tmp, "%s/user.conf", folder), str_span(&s), e);
    str_clear(&s);
    if (w->test)
        mlperf_audit_conf(w->test, w->set.n, &s);
    if (r == ERR_OK && w->test)
        r = mlperf_dir_write(w->audit, str_span(&s), e);
    arena_done(&tmp);
    str_done(&s);
    return r;
}
