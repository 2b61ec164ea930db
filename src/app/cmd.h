/* SPDX-License-Identifier: MIT
 * cmd.h - what a command is: a row of cmd.def and a function in cmd_<name>.c.
 *
 * A command parses its arguments first, with its own options as rows:
 *
 *     enum err cmd_run(struct cmd_args *a, struct errinfo *e)
 *     {
 *         bool raw = false;
 *         const struct conf_opt opts[] = {
 *             {.name = "raw", .help = "send the prompt without a chat template", .flag = &raw},
 *         };
 *         TRY(cmd_parse(a, opts, N_ELEMS(opts), 1, 1, e));
 *         if (a->done)
 *             return ERR_OK;
 *         ... a->conf.temp, a->left[0] ...
 *     }
 *
 * and returns an error with its explanation; main prints `damso: text` on stderr and exits with
 * the error's status.  A command with commands of its own (inspect) calls cmd_dispatch with its
 * table.  Results go to stdout by stdio: main flushes it and reports a failed write. */
#ifndef APP_CMD_H
#define APP_CMD_H

#include "app/conf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct cmd_args {
    char name[64];     /* "inspect model" */
    const char *usage; /* of the row */
    const char *help;
    int argc; /* what follows the name */
    char **argv;
    bool want_help; /* from `damso help NAME`: cmd_parse prints the help, whatever argv holds */
    /* set by cmd_parse: */
    bool done; /* the help was printed; there is nothing else to do */
    bool parsed;
    struct conf conf; /* ended by main */
    int n_left;
    char **left; /* arguments that are no options, and a NULL after them */
};

typedef enum err cmd_fn(struct cmd_args *a, struct errinfo *e);

struct cmd {
    const char *name;
    cmd_fn *fn;
    const char *usage;
    const char *help;
};

/* Reads the settings and the options; refuses fewer than min_left or more than max_left other
 * arguments (max_left < 0: any number).  Applies log_level. */
enum err cmd_parse(struct cmd_args *a, const struct conf_opt *opts, size_t n_opts, int min_left,
                   int max_left, struct errinfo *e);

/* Takes argv[0] as a name out of cmds and calls it with the rest.  Without a name, and with
 * --help, prints the list. */
enum err cmd_dispatch(const struct cmd *cmds, size_t n_cmds, struct cmd_args *a, struct errinfo *e);

/* True when a signal asked to stop; commands that run long look at it.  The first call of
 * cmd_catch_stop installs the handlers of SIGINT and SIGTERM. */
void cmd_catch_stop(void);
bool cmd_stopped(void);
/* The signal that asked, or 0; and forgets it, for commands that go on after SIGINT. */
int cmd_stop_signal(void);
void cmd_stop_clear(void);

#define CMD(name, usage, help) cmd_fn cmd_##name;
#include "app/cmd.def"
#undef CMD
#define CMD(name, usage, help) cmd_fn inspect_##name;
#include "app/inspect.def"
#undef CMD

#endif
