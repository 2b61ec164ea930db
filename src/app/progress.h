/* SPDX-License-Identifier: MIT
 * progress.h - how far a long piece of work is, on stderr.
 *
 * Does: one line that is redrawn on a terminal (bar, MB, speed, time left); elsewhere a plain line
 *       each ten percent or ten seconds, whichever comes later.
 * Does not: print on stdout, or start a thread.
 * Owner: the caller; one thread. */
#ifndef APP_PROGRESS_H
#define APP_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what; /* borrowed: "smollm2-135m-instruct" */
    uint64_t total;   /* bytes; 0: not known */
    uint64_t start;   /* bytes that were there before: no part of the speed */
    uint64_t t_start_ns;
    uint64_t t_drawn_ns;
    uint64_t tenth; /* of the last plain line */
    bool tty;
    bool drawn;
};

void progress_begin(struct progress *p, const char *what, uint64_t total, uint64_t start);
/* Cheap: most calls draw nothing. */
void progress_update(struct progress *p, uint64_t done);
/* Draws the last state (with `done` bytes) and ends the line. */
void progress_end(struct progress *p, uint64_t done);

#endif
