/* SPDX-License-Identifier: MIT */
#include "app/mlperf_published.h"

#include "base/num.h"

#include <stddef.h>
#include <string.h>

static const struct mlperf_published rows[] = {
#define PUBLISHED(...) {__VA_ARGS__},
#include "app/mlperf_published.def"
#undef PUBLISHED
};

const struct mlperf_published *mlperf_published_next(const struct mlperf_published *after,
                                                     const char *benchmark, const char *scenario)
{
    const struct mlperf_published *r = after ? after + 1 : rows;
    while (r < rows + N_ELEMS(rows) &&
           (strcmp(r->benchmark, benchmark) != 0 || strcmp(r->scenario, scenario) != 0))
        r++;
    return r < rows + N_ELEMS(rows) ? r : NULL;
}
