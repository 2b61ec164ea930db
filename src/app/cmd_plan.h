/* SPDX-License-Identifier: MIT
 * cmd_plan.h - what the files of `damso plan` share beside fleet.h: what was asked in words, and
 * how the answers are shown. */
#ifndef APP_CMD_PLAN_H
#define APP_CMD_PLAN_H

#include "app/cmd.h"
#include "app/fleet.h"

#include <jansson.h>

#define PLAN_KINDS_MAX 16

struct cmd_plan_ask {
    struct fleet_ask fleet;
    const char *workload, *prompt, *answer, *curve_source;
    struct fleet_kind kind[PLAN_KINDS_MAX];
    char name[PLAN_KINDS_MAX][256];
    int64_t parallel[PLAN_KINDS_MAX]; /* 0: the setting */
    size_t n_kinds, whole;            /* whole: replicas of a fleet to simulate whole; 0: none */
};

/* "tpot-p99" */
const char *cmd_plan_limit_name(int limit);

/* The options, and the kinds "NAME,price=8000,watts=300" that are left.  Errors: USAGE, naming the
 * option and its range; NOTFOUND, CORRUPT of --curve. */
struct cmd_plan_options {
    const char *workload, *prompt, *answer, *curve, *peak_share, *day, *turns, *think,
        *availability;
    const char *mtbf, *mttr, *electricity, *years, *pue, *html;
    int64_t users, limit[FLEET_LIMITS], shared, spare, cell, ring, requests, whole;
    bool json;
};
enum err cmd_plan_read(struct cmd_plan_ask *a, const struct cmd_plan_options *o,
                       const struct cmd_args *args, struct errinfo *e);

/* One object, the answers in their order; the caller's. */
json_t *cmd_plan_json(const struct cmd_plan_ask *a, const struct fleet_answer *x, size_t n);
void cmd_plan_print(const struct cmd_plan_ask *a, const struct fleet_answer *x, size_t n);
/* One page, from the object.  Error: IO. */
enum err cmd_plan_html(const char *path, const json_t *o, struct errinfo *e);

#endif
