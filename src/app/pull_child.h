/* SPDX-License-Identifier: MIT
 * pull_child.h - the process beside a server that runs `damso pull NAME` for it.
 *
 * Does: take names from a socket, run at most two loads at once and none of a name twice at once,
 *       send back what each prints (cmd_pull.c, --progress json) and how it ended.  When the
 *       server's end of the socket closes, however the server died, or on SIGTERM, it ends the
 *       loads and itself.
 * Does not: use a shell, open what a name says (the catalogue does), keep anything.
 * Owner: forked by serve_pull.c before the server has threads and gives up files and calls. */
#ifndef APP_PULL_CHILD_H
#define APP_PULL_CHILD_H

#include "app/conf.h"

#define PULL_LOADS_MAX  16 /* with those that wait */
#define PULL_TEXT_BYTES 4096

enum pull_kind {
    PULL_START,  /* to the child; text: the name */
    PULL_CANCEL, /* to the child */
    PULL_LINE,   /* from it; text: what the load printed */
    PULL_END     /* from it, the last of an id; text: why, where the load could not say it */
};

/* A packet of the socket (SOCK_SEQPACKET). */
struct pull_msg {
    enum pull_kind kind;
    unsigned id; /* the server's choice, of each load another */
    char text[PULL_TEXT_BYTES];
};

/* False: the other end is gone, or with `now` it takes nothing at the moment. */
bool pull_send(int fd, enum pull_kind kind, unsigned id, const char *text, bool now);
/* Waits for one; false: the other end is gone. */
bool pull_receive(int fd, struct pull_msg *msg);

/* c: the settings that the server got; its loads get the same. */
_Noreturn void pull_child_run(int fd, const struct conf *c);

#endif
