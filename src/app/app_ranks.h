/* SPDX-License-Identifier: MIT
 * app_ranks.h - commands whose model several processes compute: `mpirun -n 4 damso serve ...`.
 *
 * mpirun starts the same command as often as asked.  The first process is the command; the others
 * compute their share of its model and say nothing (dev_ranks.h).  Without mpirun nothing here does
 * anything. */
#ifndef APP_APP_RANKS_H
#define APP_APP_RANKS_H

#include "app/conf.h"
#include "engine/engine.h"
#include "ranks/ranks.h"

/* In the first process: joins the others, unless that is done, and sets o->ranks and o->n_threads.
 * In another: does its work, and ends the process.  hurry, broken: ranks.h.  Errors: USAGE: numbers
 * that do not go together; those of ranks_open. */
enum err app_ranks_open(const struct conf *c, struct engine_opts *o, bool (*hurry)(void),
                        void (*broken)(void), struct errinfo *e);

/* Is this one of the others?  A command that has more to do than to open a model asks, and lets it
 * work; `serves`: it gives up files and system calls as the server does. */
bool app_ranks_is_worker(void);
enum err app_ranks_work(const struct conf *c, bool serves, struct errinfo *e);

/* Before the process ends: so do the others. */
void app_ranks_end(void);

#endif
