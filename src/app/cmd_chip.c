/* SPDX-License-Identifier: MIT
 * cmd_chip.c - damso chip: the same models on silicon that one does not have.  What it can do is a
 * row of chip.def and a function in chip_<name>.c. */
#include "app/chip.h"

#include "base/num.h"

static const struct cmd commands[] = {
#define CMD(name, usage, help) {#name, chip_##name, usage, help},
#include "app/chip.def"
#undef CMD
};

enum err cmd_chip(struct cmd_args *a, struct errinfo *e)
{
    return cmd_dispatch(commands, N_ELEMS(commands), a, e);
}
