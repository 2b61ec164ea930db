/* SPDX-License-Identifier: MIT
 * cmd_inspect.c - damso inspect WHAT: looks into models and what is made of them.  A WHAT is a row
 * of inspect.def and a function in inspect_<name>.c. */
#include "app/cmd.h"

#include "base/num.h"

static const struct cmd inspections[] = {
#define CMD(name, usage, help) {#name, inspect_##name, usage, help},
#include "app/inspect.def"
#undef CMD
};

enum err cmd_inspect(struct cmd_args *a, struct errinfo *e)
{
    return cmd_dispatch(inspections, N_ELEMS(inspections), a, e);
}
