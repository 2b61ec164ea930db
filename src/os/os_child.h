/* SPDX-License-Identifier: MIT
 * os_child.h - a process beside this one, forked before there are threads.
 *
 * Does: fork, and close in the child what is no business of it.
 * Does not: wait for its end, or restart it.
 * Owner: the caller, of the socket and of the process. */
#ifndef OS_CHILD_H
#define OS_CHILD_H

#include "base/err.h"

#include <sys/types.h>

typedef void os_child_run(int fd, const void *arg);

/* The child has ends[1] of a pair of sockets, standard error and nothing else, runs `run`, and
 * ends; the caller keeps ends[0].  Error: FAILED, and both ends are closed. */
enum err os_child_fork(const int ends[2], os_child_run *run, const void *arg, pid_t *pid,
                       struct errinfo *e);

#endif
