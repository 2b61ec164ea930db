/* SPDX-License-Identifier: MIT
 * mlperf_log.h - what LoadGen says of a run: its mlperf_log_detail.txt, read.
 *
 * Does: read the lines ":::MLLOG {json}" into an object of key -> the last value.
 * Does not: judge: `result_validity` is LoadGen's word; or read the summary, which is for people.
 * Limits: 1 GiB, lines of 1 MiB. */
#ifndef MLPERF_MLPERF_LOG_H
#define MLPERF_MLPERF_LOG_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>

struct mlperf_log {
    json_t *values; /* key -> value */
    json_t *errors; /* texts of lines of errors, the first 20 */
    size_t n_errors;
    bool ended; /* LoadGen closed it: it has the result */
};

/* Errors: NOTFOUND, IO, TOOBIG, CORRUPT (a line, by its number). */
enum err mlperf_log_read(struct mlperf_log *l, const char *path, struct errinfo *e);
void mlperf_log_done(struct mlperf_log *l);

/* The number under a key; `none` where there is none. */
double mlperf_log_number(const struct mlperf_log *l, const char *key, double none);
const char *mlperf_log_text(const struct mlperf_log *l, const char *key); /* NULL: none */
/* "VALID" without errors. */
bool mlperf_log_valid(const struct mlperf_log *l);

#endif
