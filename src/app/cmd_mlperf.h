/* SPDX-License-Identifier: MIT
 * cmd_mlperf.h - what the files of `damso mlperf` share: one run, from its options to its report.
 *
 * The folder of a run has the layout of MLPerf Inference submissions (results/SYSTEM/BENCHMARK/
 * SCENARIO/...), with LoadGen's logs as it wrote them; run.json and report.html are ours. */
#ifndef APP_CMD_MLPERF_H
#define APP_CMD_MLPERF_H

#include "app/app_model.h"
#include "app/cmd.h"
#include "app/cmd_bench_serve.h"
#include "base/arena.h"
#include "chat/chat.h"
#include "mlperf/mlperf_audit.h"
#include "mlperf/mlperf_jobs.h"
#include "mlperf/mlperf_log.h"
#include "mlperf/mlperf_power.h"
#include "mlperf/mlperf_run.h"
#include "mlperf/mlperf_set.h"
#include "tok/tok.h"

#include <jansson.h>
#include <stdio.h>

/* What must stand beside every figure that was not submitted. */
#define MLPERF_DISCLAIMER                                                                          \
    "Result not verified by MLCommons Association. A figure of this page is not an MLPerf result " \
    "unless it was submitted to MLCommons and published by it."

struct mlperf_work {
    struct arena arena;
    const struct conf *conf;
    /* options */
    const char *scenario, *out, *user_conf, *data, *audit;
    const char *curve; /* levels of a server, for the report */
    const char *division, *submitter, *system_file, *compliance, *energy;
    enum mlperf_meter meter;
    int64_t min_duration_ms; /* 0: as the benchmark has it */
    double target_qps;       /* 0: measured before the run */
    bool accuracy;
    /* what they come to */
    const struct mlperf_bench *bench;
    struct mlperf_bench own;         /* where a compliance test has questions of its own */
    const struct mlperf_audit *test; /* the compliance test; NULL: none */
    const char *conf_name;           /* in mlperf.conf */
    const char *lg_scenario;         /* Interactive is Server with other limits */
    size_t at_once;
    struct serve_level level[SERVE_LEVELS_MAX]; /* of --curve */
    size_t n_levels;
    /* the folder */
    const char *system, *root, *place, *logs; /* place: of user.conf; logs: of LoadGen's */
    const char *report;                       /* folder of run.json and report.html */
    /* opened */
    struct mlperf_set set;
    struct mlperf_question *question; /* [set.n] */
    struct app_model model;
    struct tok *tok;
    struct chat *chat;
    bool *ends;
    /* run */
    struct mlperf_book book;
    struct mlperf_run run;
    struct mlperf_power power;
    FILE *answers; /* of an accuracy run */
    double share, shown_s;
    double warm_latency_s, warm_qps; /* of the warm-up; 0: there was none */
};

/* Makes the folders and the files that are known before the run: user.conf, the system's
 * description, measurements.json.  Errors: USAGE (there is a run already), IO. */
enum err mlperf_dir_make(struct mlperf_work *w, struct errinfo *e);
/* The system's description, as the submission rules name its fields: what the machine tells of
 * itself, then the fields of --system.  Errors: NOTFOUND, CORRUPT. */
enum err mlperf_system_json(struct mlperf_work *w, json_t **out, struct errinfo *e);
/* A name of a folder out of the processor's. */
const char *mlperf_system_name(struct mlperf_work *w);
/* After the warm-up, whose figures it holds. */
enum err mlperf_dir_conf(const struct mlperf_work *w, struct errinfo *e);
/* A file under a folder, whole.  Error: IO. */
enum err mlperf_dir_write(const char *path, struct span text, struct errinfo *e);

/* Of a compliance run: judges it, writes verify_*.txt, and moves the log of answers where the rules
 * have it.  Errors: FAILED (it does not pass), and those of mlperf_audit_check. */
enum err mlperf_verify(struct mlperf_work *w, struct errinfo *e);

/* Everything that is known of a run; why: NULL, or how it ended early.  The caller's. */
json_t *mlperf_result(struct mlperf_work *w, const struct mlperf_log *log, const char *why);
/* Writes run.json and report.html. */
enum err mlperf_report(const struct mlperf_work *w, const json_t *result, struct errinfo *e);

enum err mlperf_cmd_run(struct cmd_args *a, struct errinfo *e);
enum err mlperf_cmd_compare(struct cmd_args *a, struct errinfo *e);

#endif
