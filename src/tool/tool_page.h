/* SPDX-License-Identifier: MIT
 * tool_page.h - a web page by its address, fetched under a strict rule, as text.
 *
 * Does: http and https, on the ports that are allowed, from public addresses only (tool_addr.h):
 *       every address of the name is looked at, the connection is pinned to them, and looked at
 *       again when it is made, so that a name that changes meanwhile gains nothing; each redirect
 *       (at most 5) begins anew.  No cookies, no logins, no proxy.  Limits of size (after
 *       decompression) and time; only types that are text.
 * Does not: run in the server: in a process of its own (tool_pages.h), since getaddrinfo waits and
 *       parsers have faults.
 * Threads: one in its process. */
#ifndef TOOL_TOOL_PAGE_H
#define TOOL_TOOL_PAGE_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define TOOL_PAGE_BYTES_MAX   ((size_t)4 << 20) /* of the body, and of its text */
#define TOOL_PAGE_MS          20000             /* in all */
#define TOOL_URL_BYTES_MAX    ((size_t)4096)
#define TOOL_PAGE_PORTS_MAX   16
#define TOOL_PAGE_ALLOWED_MAX 16
#define TOOL_PAGE_REDIRECTS   5

struct tool_page_rule {
    uint16_t ports[TOOL_PAGE_PORTS_MAX];
    size_t n_ports;
    /* "127.0.0.1:8000": this host and port may be anywhere, for tests and one's own network. */
    char allowed[TOOL_PAGE_ALLOWED_MAX][300];
    size_t n_allowed;
};

/* ports: "80,443"; allowed: "HOST:PORT,...", or "".  Errors: USAGE, naming the part. */
enum err tool_page_rule(const char *ports, const char *allowed, struct tool_page_rule *out,
                        struct errinfo *e);

/* The file of certificates that the environment names as for curl and OpenSSL; NULL: the system's.
 */
const char *tool_certificates(void);

struct tool_page {
    struct str url;   /* where it was in the end */
    struct str title; /* "": none */
    struct str text;  /* UTF-8 */
    const char *type; /* of the text: text/markdown or text/plain */
    bool cut;
};

/* Errors, for people: USAGE (the address), NOTFOUND, UNSUPPORTED (the type), TOOBIG, NETWORK. */
enum err tool_page_fetch(const struct tool_page_rule *rule, const char *url, const char *languages,
                         struct tool_page *out, struct errinfo *e);
void tool_page_done(struct tool_page *p);

#endif
