/* SPDX-License-Identifier: MIT
 * cmd_mlperf_dir.c - the folder of a run: the layout of MLPerf Inference submissions, the system's
 * description out of what the machine says of itself, user.conf.
 *
 * Source of layout and fields: mlcommons/inference_policies, submission_rules.adoc, and the
 * submission checker of mlcommons/inference.  What the machine does not tell is "". */
#include "app/cmd_mlperf.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

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

/* ---- the system ---- */

/* The first line of a file after a key, such as /proc/cpuinfo has it; "" where there is none. */
static const char *value_of(struct arena *a, const char *file, const char *key)
{
    char line[512];
    const char *out = "";
    FILE *f = fopen(file, "re");
    while (f && !out[0] && fgets(line, sizeof line, f)) {
        size_t n = strlen(key);
        if (strncmp(line, key, n) != 0)
            continue;
        char *at = line + n;
        at += strspn(at, " \t:=\"");
        at[strcspn(at, "\n\"")] = '\0';
        out = arena_dup(a, at, strlen(at));
    }
    if (f)
        fclose(f);
    return out;
}

static const char *caches(struct arena *a)
{
    const char *out = "";
    for (int i = 0; i < 5; i++) {
        const char *dir = arena_printf(a, "/sys/devices/system/cpu/cpu0/cache/index%d", i);
        const char *level = value_of(a, arena_printf(a, "%s/level", dir), "");
        const char *type = value_of(a, arena_printf(a, "%s/type", dir), "");
        const char *size = value_of(a, arena_printf(a, "%s/size", dir), "");
        if (size[0])
            out = arena_printf(a, "%s%sL%s %s %s", out, out[0] ? ", " : "", level, type, size);
    }
    return out;
}

static const char *frequency(struct arena *a)
{
    const char *mhz = value_of(a, "/proc/cpuinfo", "cpu MHz");
    return mhz[0] ? arena_printf(a, "%s MHz (at the time of the run)", mhz) : "";
}

/* "AMD EPYC 9B45" -> "amd-epyc-9b45" */
static const char *slug(struct arena *a, const char *text)
{
    char *s = arena_dup(a, text, strlen(text)), *to = s;
    for (const char *p = text; *p; p++)
        if (isalnum((unsigned char)*p))
            *to++ = (char)tolower((unsigned char)*p);
        else if (to > s && to[-1] != '-')
            *to++ = '-';
    while (to > s && to[-1] == '-')
        to--;
    *to = '\0';
    return s[0] ? s : "cpu";
}

static json_t *system_json(struct mlperf_work *w)
{
    struct arena *a = &w->arena;
    struct utsname u;
    uname(&u);
    const char *os = value_of(a, "/etc/os-release", "PRETTY_NAME");
    const char *cores = arena_printf(a, "%d", os_n_cpus());
    const char *memory = arena_printf(a, "%.1f GiB", (double)os_mem_total() / 0x1p30);
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}",
        "division", "open", "submitter", "damso", "status", "rdi", "system_name", w->system,
        "system_type", "edge", "system_type_detail", "edge server", "number_of_nodes", "1",
        "host_processor_model_name", os_cpu_name(), "host_processors_per_node", "1",
        "host_processor_core_count", cores, "host_processor_frequency", frequency(a),
        "host_processor_caches", caches(a), "host_memory_capacity", memory, "framework",
        arena_printf(a, "damso %s, MLCommons LoadGen %s", DAMSO_VERSION, mlperf_shim_version()),
        "operating_system", arena_printf(a, "%s (Linux %s %s)", os, u.release, u.machine),
        "sw_notes", "");
    CHECK(o);
    static const char *const none[] = {"host_processor_interconnect",
                                       "host_memory_configuration",
                                       "host_storage_type",
                                       "host_storage_capacity",
                                       "host_networking",
                                       "host_networking_topology",
                                       "host_network_card_count",
                                       "accelerator_model_name",
                                       "accelerator_host_interconnect",
                                       "accelerator_frequency",
                                       "accelerator_on-chip_memories",
                                       "accelerator_memory_capacity",
                                       "accelerator_memory_configuration",
                                       "accelerator_interconnect",
                                       "accelerator_interconnect_topology",
                                       "cooling",
                                       "hw_notes",
                                       "other_software_stack"};
    for (size_t i = 0; i < N_ELEMS(none); i++)
        json_object_set_new(o, none[i], json_string(""));
    json_object_set_new(o, "accelerators_per_node", json_string("0"));
    return o;
}

static json_t *measurements_json(const struct mlperf_work *w)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "starting_weights_filename", w->conf->model,
                     "input_data_types", "int32", "weight_data_types",
                     "those of the GGUF file; see run.json", "weight_transformations",
                     "packed for the processor; no retraining, no pruning", "retraining", "No");
}

/* ---- the folder ---- */

enum err mlperf_dir_make(struct mlperf_work *w, struct errinfo *e)
{
    struct arena *a = &w->arena;
    struct stat st;
    w->system = slug(a, arena_printf(a, "%s %dt", os_cpu_name(),
                                     w->conf->threads ? (int)w->conf->threads : os_n_cpus()));
    w->root = arena_printf(a, "%s/open/damso", w->out);
    w->place = arena_printf(a, "%s/results/%s/%s/%s", w->root, w->system, w->bench->name,
                            w->scenario);
    w->logs = arena_printf(a, "%s/%s", w->place, w->accuracy ? "accuracy" : "performance/run_1");
    const char *detail = arena_printf(a, "%s/mlperf_log_detail.txt", w->logs);
    if (stat(detail, &st) == 0)
        return err_set(e, ERR_USAGE, "--out: there is a run already: %.300s", detail);
    TRY(os_make_folders(detail, 0777, e));
    TRY(write_json(arena_printf(a, "%s/systems/%s.json", w->root, w->system), system_json(w), e));
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
    if (w->target_qps > 0)
        str_addf(&s, "%s.%s.target_qps = %.6f\n", w->conf_name, w->lg_scenario, w->target_qps);
    if (r == ERR_OK)
        r = mlperf_dir_write(arena_printf(&tmp, "%s/user.conf", w->place), str_span(&s), e);
    arena_done(&tmp);
    str_done(&s);
    return r;
}
