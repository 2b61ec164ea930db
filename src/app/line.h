/* SPDX-License-Identifier: MIT
 * line.h - what a person types: lines edited by libedit on a terminal, plain lines otherwise.
 *
 * Does: history kept in a file between runs, wide characters, messages of several lines: a line
 *       that ends in a backslash goes on in the next, and what stands between two lines of three
 *       double quotes is one message.
 * Does not: interpret commands.
 * Owner: the caller; one thread.  Limit: LINE_BYTES_MAX for a message. */
#ifndef APP_LINE_H
#define APP_LINE_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

#define LINE_BYTES_MAX ((size_t)16 << 20)

struct line;

enum line_end {
    LINE_READ,
    LINE_STOPPED, /* a signal came: what was typed is dropped */
    LINE_CLOSED   /* the end of input */
};

/* `stopped` turns true when a signal asked to stop; it is asked often. */
struct line *line_open(bool (*stopped)(void));
void line_close(struct line *l);

/* Reads a message into *text, without its last line break. */
enum line_end line_read(struct line *l, struct str *text);

/* True when a person sits at a terminal. */
bool line_is_terminal(const struct line *l);

#endif
