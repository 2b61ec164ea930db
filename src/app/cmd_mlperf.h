/* SPDX-License-Identifier: MIT
 * cmd_mlperf.h - what the files of `damso mlperf` share: one run, from its options to its report.
 *
 * The folder of a run has the layout of MLPerf Inference submissions (results/SYSTEM/BENCHMARK/
 * SCENARIO/...), with LoadGen's logs as it wrote them; run.json and report.html are ours. */
#ifndef APP_CMD_MLPERF_H
#define APP_CMD_MLPERF_H

#include "app/app_model.h"
#include "app/cmd.h"
#include "base/arena.h"
#include "chat/chat.h"
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
    int64_t min_duration_ms; /* 0: as the benchmark has it */
    double target_qps;       /* 0: measured before the run */
    bool accuracy;
    /* what they come to */
    const struct mlperf_bench *bench;
    const char *conf_name;   /* in mlperf.conf */
    const char *lg_scenario; /* Interactive is Server with other limits */
    size_t at_once;
    /* the folder */
    const char *system, *root, *place, *logs; /* place: of user.conf; logs: of LoadGen's */
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
/* After the warm-up, whose figures it holds. */
enum err mlperf_dir_conf(const struct mlperf_work *w, struct errinfo *e);
/* A file under a folder, whole.  Error: IO. */
enum err mlperf_dir_write(const char *path, struct span text, struct errinfo *e);

/* Everything that is known of a run; why: NULL, or how it ended early.  The caller's. */
json_t *mlperf_result(struct mlperf_work *w, const struct mlperf_log *log, const char *why);
/* Writes run.json and report.html. */
enum err mlperf_report(const struct mlperf_work *w, const json_t *result, struct errinfo *e);

enum err mlperf_cmd_run(struct cmd_args *a, struct errinfo *e);
enum err mlperf_cmd_compare(struct cmd_args *a, struct errinfo *e);

#endif
