/* SPDX-License-Identifier: MIT
 * progress.h - how far a long piece of work is.
 *
 * Does: on stderr one line that is redrawn on a terminal (bar, MB, speed, time left), elsewhere a
 *       plain line each ten percent or ten seconds, whichever comes later; or, for programs, an
 *       object of JSON a line on stdout, at most four a second.
 * Does not: print on stdout but for programs, or start a thread.
 * Owner: the caller; one thread. */
#ifndef APP_PROGRESS_H
#define APP_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum progress_form {
    PROGRESS_TEXT, /* for people */
    PROGRESS_JSON  /* {"status": "loading", "completed": 12, "total": 34}; total 0: not known */
};

struct progress {
    enum progress_form form;
    const char *what; /* borrowed: "smollm2-135m-instruct" */
    uint64_t total;   /* bytes; 0: not known */
    uint64_t start;   /* bytes that were there before: no part of the speed */
    uint64_t before;  /* bytes of other files, which programs are told of together */
    uint64_t t_start_ns;
    uint64_t t_drawn_ns;
    uint64_t tenth; /* of the last plain line */
    bool tty;
    bool drawn;
};

void progress_begin(struct progress *p, enum progress_form form, const char *what, uint64_t total,
                    uint64_t start, uint64_t before);
/* Cheap: most calls draw nothing. */
void progress_update(struct progress *p, uint64_t done);
/* Draws the last state (with `done` bytes) and ends the line. */
void progress_end(struct progress *p, uint64_t done);

/* The line for programs by itself.  A reader of stdout who has gone stops the program: SIGTERM. */
void progress_say(const char *status, uint64_t done, uint64_t total);

#endif
