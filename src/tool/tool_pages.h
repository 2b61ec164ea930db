/* SPDX-License-Identifier: MIT
 * tool_pages.h - the process beside a server that fetches pages for it, each in a process of its
 * own that has nothing: a page that breaks a parser breaks that, and is a failed page.
 *
 * Does: take {id, url, languages} from its socket, answer {id, url, title, text, type, cut} or
 *       {id, error, kind}; a few at a time, more wait; end what takes too long.  {cancel: id}
 *       ends one.  Ends when the socket's other end closes.
 * Confined, where the kernel can: it and its children read what the C library and TLS read, and
 *       nothing else, and connect to the ports that pages come from; children do not start
 *       programs, and have limits of memory, time and files.
 * Owner: forked by tool.c before the server has threads. */
#ifndef TOOL_TOOL_PAGES_H
#define TOOL_TOOL_PAGES_H

#include "tool/tool_page.h"

#define TOOL_PAGES_RUNNING 4
#define TOOL_PAGES_WAITING 32

struct tool_pages_opts {
    struct tool_page_rule rule;
    bool confined;
};

_Noreturn void tool_pages_run(int fd, const struct tool_pages_opts *o);

#endif
