/* SPDX-License-Identifier: MIT
 * ranks.h - the processes that `mpirun -n N damso ...` starts, and bytes from one to another.
 *
 * Does: find out whether mpirun started this process, join the others (Open MPI, loaded while the
 *       program runs, so that it is needed nowhere else), and send and receive with a limit on how
 *       long nothing may come: a process that is gone, or stands still, is an error and no wait.
 * Does not: know models, devices or what the bytes mean; start or restart processes.
 * Threads: one at a time, any; ranks_hurry and ranks_broken from any.
 * Owner: the process: there is one set of ranks, from ranks_open to ranks_close.
 * Source of the binary interface: Open MPI's mpi.h, libmpi.so.40 (Open MPI 4 and 5). */
#ifndef RANKS_RANKS_H
#define RANKS_RANKS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define RANKS_MAX 256

/* What mpirun said in the environment: how many it started, 1 without it; which one this is. */
size_t ranks_started(void);
size_t ranks_number(void);
size_t ranks_on_machine(void); /* how many of them on this machine, this one included */

struct ranks_opts {
    unsigned timeout_s;   /* nothing came or went for so long: they are gone */
    bool (*hurry)(void);  /* the process is asked to end: see ranks_hurry; may be NULL */
    void (*broken)(void); /* called once, by the thread that finds out; may be NULL */
};

/* Joins the others and has said something to each of them, so that no connection is opened later,
 * when the process may not (os_sandbox.h).  Errors: NOTFOUND (Open MPI), NETWORK. */
enum err ranks_open(const struct ranks_opts *o, struct errinfo *e);
bool ranks_are_open(void);
/* Leaves them, or just goes when they are gone. */
void ranks_close(void);

/* Folders from which the library removes files of its own in ranks_close; NULL-terminated. */
extern const char *const ranks_removes[];

/* Bytes to or from a peer.  Both sides give the same numbers, in the same order. */
struct ranks_io {
    void *p; /* is only read where it sends */
    size_t bytes;
    size_t peer;
    bool sends;
};

enum ranks_patience {
    RANKS_STEP, /* amid a step: timeout_s without any progress is the end */
    RANKS_LOAD, /* a peer may take long, but is there: mpirun ends us when it dies */
    RANKS_IDLE  /* the same, and waiting costs little: it sleeps between looks */
};

/* All of them at once.  False: they are gone, now and from now on. */
bool ranks_run(const struct ranks_io *io, size_t n, enum ranks_patience p);

/* Why they are gone; "" while they are not. */
const char *ranks_why(void);
bool ranks_broken(void);
/* The process is to end: what makes no progress within half a second is given up.  mpirun, which
 * ends all when one died, leaves them a second. */
void ranks_hurry(void);

#endif
