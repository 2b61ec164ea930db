/* SPDX-License-Identifier: MIT
 * tool.h - what a server has done outside of itself: pages are fetched, tools of MCP servers
 * called.
 *
 * The server can neither connect nor start a program once it has started.  Two processes beside
 * it, forked before, can: one fetches pages (tool_pages.h), one speaks with MCP servers
 * (tool_mcp.h).  Here is the server's side of both.
 * Does: ask, and call back when there is an answer, a failure, or too much time has passed; know
 *       the servers' tools as they are now.
 * Does not: restart a process that ended: from then on what needs it fails, and says so; know
 *       chats, or decide what may be called.
 * Threads: open by one before there are others, run and close by it; the rest by any, and none
 *       waits. `done` comes on a thread of this module, must not wait, and may ask again.
 * Owner: the caller of tool_open. */
#ifndef TOOL_TOOL_H
#define TOOL_TOOL_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define TOOL_ARGUMENTS_BYTES_MAX ((size_t)128 << 10)

struct tool;

struct tool_opts {
    bool pages;                /* pages are fetched */
    const char *ports, *allow; /* tool_page_rule */
    const char *mcp;           /* the file of MCP servers; "": none */
    bool confined;             /* within a sandbox, where the kernel can */
};

/* Forks what the options need.  Errors: USAGE, NOTFOUND, CORRUPT (the file of MCP servers, naming
 * the entry), FAILED. */
enum err tool_open(struct tool **out, const struct tool_opts *o, struct errinfo *e);
void tool_run(struct tool *t);   /* the threads, once the server has given up its files */
void tool_close(struct tool *t); /* what is asked fails; returns after the last `done` */

bool tool_has_pages(const struct tool *t); /* NULL is fine, and has none */

/* answer: NULL with e where it failed; borrowed. */
typedef void tool_done(void *arg, const json_t *answer, const struct errinfo *e);

/* Gives the number of what was asked, for tool_cancel; 0: it was not, done is not called, and e
 * says why: BUSY, TOOBIG, UNSUPPORTED.  The answer of a page: {url, title, text, type, cut}. */
uint64_t tool_page(struct tool *t, const char *url, const char *languages, tool_done *done,
                   void *arg, struct errinfo *e);
/* The answer of a call: {text, bytes, failed, images: [{type, data}]}; text holds the first part of
 * `bytes`; failed: the tool says so. */
uint64_t tool_call(struct tool *t, const char *server, const char *tool, const json_t *arguments,
                   tool_done *done, void *arg, struct errinfo *e);
/* `done` follows soon, unless it has come.  0 is fine. */
void tool_cancel(struct tool *t, uint64_t number);

/* [{name, state, error, tools: [{name, title, description, input_schema}]}] as it is now, for the
 * caller to let go of and not to change.  state: starting, ready, failed. */
json_t *tool_servers(struct tool *t);

#endif
