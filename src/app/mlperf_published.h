/* SPDX-License-Identifier: MIT
 * mlperf_published.h - results of others that MLCommons published: rows of mlperf_published.def.
 *
 * Does: give those of one benchmark and scenario; nothing else may stand beside a run of ours. */
#ifndef APP_MLPERF_PUBLISHED_H
#define APP_MLPERF_PUBLISHED_H

struct mlperf_published {
    const char *benchmark, *scenario;
    double figure;
    const char
        *unit; /* "tokens/s", more is better; "ms" of a whole answer at the 90th percentile */
    const char *round, *id, *division, *availability, *submitter, *system, *chip;
};

/* The next row of this benchmark and scenario after `after` (NULL: the first); NULL: no more. */
const struct mlperf_published *mlperf_published_next(const struct mlperf_published *after,
                                                     const char *benchmark, const char *scenario);

#define MLPERF_PUBLISHED_SOURCE "MLCommons, github.com/mlcommons/inference_results_v5.1"

#endif
