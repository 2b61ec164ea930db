/* SPDX-License-Identifier: MIT
 * chip.c - chips and workloads by their names. */
#include "app/chip.h"

#include "base/num.h"
#include "hf/hf.h"
#include "os/os_map.h"
#include "os/os_sys.h"

#include <stdio.h>
#include <string.h>

/* chips/NAME.yaml as the program carries them (CMakeLists.txt). */
extern const struct chip_file {
    const char *name;
    const unsigned char *bytes;
    const size_t *n;
} chip_files[];

const char *chip_name(size_t i)
{
    return chip_files[i].name;
}

static enum err none_of(const char *name, struct errinfo *e)
{
    char list[400] = "";
    for (size_t i = 0; chip_files[i].name; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "",
                 chip_files[i].name);
    return err_set(e, ERR_NOTFOUND, "there is no chip '%.60s': a file's path, or one of %s", name,
                   list);
}

enum err chip_open(struct npu_chip **out, const char *name, struct errinfo *e)
{
    struct os_map map;
    for (size_t i = 0; chip_files[i].name; i++)
        if (strcmp(chip_files[i].name, name) == 0)
            return npu_chip_parse(out, chip_files[i].bytes, *chip_files[i].n, name, e);
    if (!strchr(name, '/') && !strchr(name, '.'))
        return none_of(name, e);
    TRY(os_map_open(&map, name, e));
    enum err code = npu_chip_parse(out, map.data ? map.data : (const void *)"", map.bytes, name, e);
    os_map_close(&map);
    return code;
}

static double now(void)
{
    return (double)os_now_ns() * 1e-9;
}

/* ---- workloads ---- */

static enum err bench(struct chip_answer *out, const struct npu_chip *c, const struct chip_ask *ask,
                      struct errinfo *e)
{
    enum npu_scenario s = npu_scenario_find(ask->scenario);
    if (s == NPU_N_SCENARIOS)
        return err_set(e, ERR_USAGE,
                       "--scenario is SingleStream, MultiStream8 or Offline, not %.40s",
                       ask->scenario);
    if (!ask->batch)
        return npu_run_bench(&out->answer, &out->work, ask->workload, c, s, now, e);
    unsigned batch;
    struct npu_ask a = npu_ask_of(c, ask->workload, s, &batch);
    a.now = now;
    out->work = npu_work_bench(ask->workload, (uint64_t)ask->batch, npu_bench_type(c));
    return npu_run(&out->answer, out->work, c, &a, e);
}

static enum err one_chip(struct chip_answer *out, const struct model *m, const struct npu_chip *c,
                         const struct npu_team_ask *t, struct errinfo *e)
{
    struct plan *p = plan_new(m);
    out->work = npu_work_mix(p, &t->mix, t->format, t->type);
    plan_free(p);
    struct npu_ask a = npu_ask_once(c, now);
    return npu_run(&out->answer, out->work, c, &a, e);
}

static enum err model_run(struct chip_answer *out, const struct model *m, const struct npu_chip *c,
                          const struct chip_ask *ask, struct errinfo *e)
{
    struct npu_team_ask t = {.groups = (unsigned)MAX(ask->in_flight, 1), .now = now};
    uint64_t batch = ask->batch ? (uint64_t)ask->batch : 1, context = (uint64_t)ask->context;
    out->language = true;
    out->prefill = strcmp(ask->phase, "prefill") == 0;
    out->format = npu_type_find(ask->format);
    if (!out->prefill && strcmp(ask->phase, "decode") != 0)
        return err_set(e, ERR_USAGE, "--phase is prefill or decode, not %.40s", ask->phase);
    if (out->format == NPU_N_TYPES)
        return err_set(e, ERR_USAGE, "--format is bf16, fp8, int8 or int4, not %.40s", ask->format);
    if (strcmp(ask->collective, "gather") != 0 && strcmp(ask->collective, "reduce") != 0)
        return err_set(e, ERR_USAGE, "--collective is gather or reduce, not %.40s",
                       ask->collective);
    if (batch % t.groups)
        return err_set(e, ERR_USAGE,
                       "a batch of %llu is no %u groups of one size: --batch, --in-flight",
                       (unsigned long long)batch, t.groups);
    t.again = !out->prefill;
    t.format = out->format;
    TRY(npu_work_type(c, out->format, &t.type, e));
    uint64_t n_seq = batch / t.groups, rows = out->prefill ? context : 1;
    t.mix = (struct npu_mix){.group = {{n_seq, rows, out->prefill ? 0 : context}},
                             .wanted = n_seq,
                             .out = n_seq,
                             .reduce = strcmp(ask->collective, "reduce") == 0};
    if (ask->chips <= 1 && t.groups > 1)
        return err_set(e, ERR_USAGE, "--in-flight is of several chips' stages: --chips");
    enum err r = ask->chips > 1 ? chip_team_run(out, m, c, ask, &t, e) : one_chip(out, m, c, &t, e);
    return r == ERR_TOOBIG && !ask->quiet ? chip_team_smallest(m, c, ask, &t, e) : r;
}

static enum err language(struct chip_answer *out, const struct npu_chip *c,
                         const struct chip_ask *ask, struct errinfo *e)
{
    struct gguf *g = NULL;
    struct model *m;
    if (span_ends(span_of(ask->workload), SPAN(".json"))) {
        TRY(chip_model_config(&m, ask->workload, e));
    } else {
        TRY(hf_open(&g, ask->workload, e));
        enum err code = model_open(&m, g, e);
        if (code != ERR_OK) {
            gguf_close(g);
            return code;
        }
    }
    enum err code = model_run(out, m, c, ask, e);
    model_close(m);
    gguf_close(g);
    return code;
}

enum err chip_answer(struct chip_answer *out, const struct npu_chip *c, const struct chip_ask *ask,
                     struct errinfo *e)
{
    *out = (struct chip_answer){0};
    if (!ask->workload)
        return err_set(e, ERR_USAGE, "--workload says what the chip is to do");
    bool file = strchr(ask->workload, '/') || strchr(ask->workload, '.');
    if (!file && !npu_work_known(ask->workload)) {
        char list[200] = "";
        for (size_t i = 0; npu_work_name(i); i++)
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s, ", npu_work_name(i));
        return err_set(e, ERR_NOTFOUND,
                       "there is no workload '%.60s': %sa GGUF file or a config.json",
                       ask->workload, list);
    }
    if (!file && ask->chips > 1)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s runs on one chip, or on many that know nothing of each other: --chips "
                       "is of language models",
                       ask->workload);
    enum err code = file ? language(out, c, ask, e) : bench(out, c, ask, e);
    if (code != ERR_OK)
        chip_done(out);
    return code;
}

void chip_done(struct chip_answer *a)
{
    if (a->team) { /* all is its */
        npu_team_free(a->team);
        *a = (struct chip_answer){0};
        return;
    }
    npu_answer_done(&a->answer);
    npu_work_free(a->work);
    a->work = NULL;
}

enum err chip_begin(struct npu_chip **c, struct chip_answer *out, const char *name,
                    const struct chip_ask *ask, struct errinfo *e)
{
    if (!name)
        return err_set(e, ERR_USAGE, "--chip says which chip; damso chip list has them");
    TRY(chip_open(c, name, e));
    enum err code = chip_answer(out, *c, ask, e);
    if (code != ERR_OK)
        npu_chip_free(*c);
    return code;
}

void chip_end(struct npu_chip *c, struct chip_answer *a)
{
    chip_done(a);
    npu_chip_free(c);
}
