/* SPDX-License-Identifier: MIT
 * mlperf_set.h - the benchmarks, and the questions of one from a file.
 *
 * Does: read questions as JSON Lines (one object a line) or as one JSON array of objects, which is
 *       what MLCommons distributes for llama3.1-8b; refuse a set whose count or hash is not the
 *       benchmark's, and any question that is broken, by its line or its number.
 *       Of an object: `tok_input` (ids, as the official sets have them) or `prompt` (text for the
 *       chat template); `max_tokens` where the benchmark leaves it to the question; `reference` or
 *       `output`, what the answer is judged against, may be missing.
 *       JSON Lines may begin with an object that has `set` and `count`.
 * Does not: render templates or tokenize.
 * Owner: the caller; texts live until mlperf_set_done.
 * Limits: 4 GiB, MLPERF_QUESTIONS_MAX questions, MLPERF_TOKENS_MAX tokens of a prompt. */
#ifndef MLPERF_MLPERF_SET_H
#define MLPERF_MLPERF_SET_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define MLPERF_QUESTIONS_MAX (1 << 20)
#define MLPERF_TOKENS_MAX    (1 << 20)

struct mlperf_bench {
    const char *name, *conf_name, *interactive; /* interactive: "" where there is none */
    const char *folder;                         /* as submissions name it */
    size_t n, n_accuracy;
    size_t n_max, n_max_accuracy; /* tokens of an answer; 0: each question says */
    double temp;
    size_t token_bytes; /* in LoadGen's log of answers: 4 or 8 */
    bool marks;         /* answers are scored with their control tokens */
    const char *tests;  /* "TEST06 TEST09": compliance tests that apply */
    const char *sha256; /* of the whole file, in hex; "": none is known */
    bool official;
    const char *judged;
};

const struct mlperf_bench *mlperf_benches(size_t *n);
/* Error: USAGE, which lists them. */
enum err mlperf_bench_find(const struct mlperf_bench **out, const char *name, struct errinfo *e);

struct mlperf_text {
    const char *prompt; /* NULL: ids */
    const int32_t *id;  /* [n_id] */
    size_t n_id;
    size_t n_max;
    const char *reference; /* NULL: none */
};

struct mlperf_set {
    struct arena arena;
    struct mlperf_text *q; /* [n] */
    size_t n;
    char sha256[65];
};

/* data: the whole file; name: what errors call it; accuracy: as many as an accuracy run has.
 * Errors: CORRUPT (count, hash, a line), TOOBIG. */
enum err mlperf_set_parse(struct mlperf_set *s, const struct mlperf_bench *b, bool accuracy,
                          struct span data, const char *name, struct errinfo *e);
/* The same of a file.  Errors: also NOTFOUND, IO. */
enum err mlperf_set_read(struct mlperf_set *s, const struct mlperf_bench *b, bool accuracy,
                         const char *path, struct errinfo *e);
void mlperf_set_done(struct mlperf_set *s);

#endif
