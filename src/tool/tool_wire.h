/* SPDX-License-Identifier: MIT
 * tool_wire.h - JSON objects between the server and a process beside it, over a socket of packets.
 *
 * Does: send an object in packets, one after the other; put them together again; refuse one that
 *       is longer than its limit.
 * Threads: one at a time may send at an end, and one may take. */
#ifndef TOOL_TOOL_WIRE_H
#define TOOL_TOOL_WIRE_H

#include "base/str.h"

#include <jansson.h>
#include <stdbool.h>

#define TOOL_ASK_BYTES_MAX    ((size_t)160 << 10) /* to the process: one packet, never waits */
#define TOOL_ANSWER_BYTES_MAX ((size_t)24 << 20)  /* from it */

/* The two ends; false with errno.  Packets, closed on exec. */
bool tool_wire_pair(int ends[2]);

/* In one packet and at once, or not at all; then errno says why, 0 where it is too long. */
bool tool_wire_ask(int fd, const json_t *o);
/* In as many as it takes, waiting; false: the other end is gone. */
bool tool_wire_answer(int fd, const json_t *o);

struct tool_wire {
    int fd;
    struct str text; /* of the object that is not whole yet */
    char *packet;
};

void tool_wire_init(struct tool_wire *w, int fd);
void tool_wire_done(struct tool_wire *w); /* the fd is closed by who opened it */
/* Takes one packet, waiting for it; *o: the object that it ends, or NULL.  False: the other end is
 * gone, or has sent what is none. */
bool tool_wire_take(struct tool_wire *w, json_t **o);

#endif
