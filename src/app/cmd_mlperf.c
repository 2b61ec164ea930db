/* SPDX-License-Identifier: MIT
 * cmd_mlperf.c - damso mlperf WHAT: a row of mlperf.def each. */
#include "app/cmd_mlperf.h"

#include "base/num.h"

static const struct cmd parts[] = {
#define CMD(name, usage, help) {#name, mlperf_cmd_##name, usage, help},
#include "app/mlperf.def"
#undef CMD
};

enum err cmd_mlperf(struct cmd_args *a, struct errinfo *e)
{
    return cmd_dispatch(parts, N_ELEMS(parts), a, e);
}
