/* SPDX-License-Identifier: MIT
 * mlperf_audit.h - the compliance tests: their audit.config, and whether a run passes.
 *
 * Does: write the settings that a test's rules have; read what LoadGen logged of the run (and of
 *       the runs it is compared with), judge it as the official scripts do (mlcommons/inference,
 *       compliance/TESTnn/run_verification.py), and say so in their words, which the submission
 *       checker looks for.
 * Does not: run LoadGen, move files, or score answers (TEST07: a script does).
 * Source: mlcommons/inference at b66003e1 (2026-08-20), compliance/.
 * Errors: NOTFOUND, IO, TOOBIG, CORRUPT, each with the file. */
#ifndef MLPERF_MLPERF_AUDIT_H
#define MLPERF_MLPERF_AUDIT_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

/* What a test checks. */
#define MLPERF_SAME_ANSWERS 1u  /* those of the accuracy run, by their first tokens */
#define MLPERF_SAME_SPEED   2u  /* that of the performance run within 10 % */
#define MLPERF_NOT_FASTER   4u  /* than the performance run by over 10 % */
#define MLPERF_FIRST_TOKENS 8u  /* told first, and first in the answer */
#define MLPERF_ENDS         16u /* one end token at most, and at the end */
#define MLPERF_COUNTS       32u /* as many tokens as said */
#define MLPERF_LENGTHS      64u /* on the mean within the reference's */
#define MLPERF_SCORED       128u

#define MLPERF_EACH ((size_t)-1) /* as many queries as the set has questions */

struct mlperf_audit {
    const char *name;
    size_t logged, queries;
    size_t n;
    double tokens_min, tokens_max;
    unsigned checks;
    const char *shows;
};

/* NULL when there is none of this name. */
const struct mlperf_audit *mlperf_audit_find(const char *name);
/* The text of audit.config for a set of n questions. */
void mlperf_audit_conf(const struct mlperf_audit *a, size_t n, struct str *out);

struct mlperf_audit_in {
    const char *answers, *detail; /* the test's mlperf_log_accuracy.json, ... */
    const char *accuracy_answers, *performance_detail; /* of the runs it is compared with */
    bool offline;                                      /* where no first tokens are told */
    size_t token_bytes;                                /* 4 or 8 */
    const bool *ends;                                  /* [n_vocab] */
    size_t n_vocab;
};

struct mlperf_audit_out {
    struct str accuracy, performance, lengths; /* verify_*.txt; empty: the test has none */
    bool passed;
};

enum err mlperf_audit_check(const struct mlperf_audit *a, const struct mlperf_audit_in *in,
                            struct mlperf_audit_out *out, struct errinfo *e);
void mlperf_audit_done(struct mlperf_audit_out *out);

#endif
