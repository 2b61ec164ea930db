/* SPDX-License-Identifier: MIT
 * tool_mcp_int.h - between the files of tool_mcp.h; no one else includes it.
 *
 * tool_mcp.c is the process: its loop, what it is asked, what it tells.  tool_mcp_rpc.c speaks the
 * protocol over either transport: tool_mcp_stdio.c, tool_mcp_http.c.  tool_mcp_tools.c checks what
 * servers say of their tools, and results. */
#ifndef TOOL_TOOL_MCP_INT_H
#define TOOL_TOOL_MCP_INT_H

#include "base/str.h"
#include "tool/tool_mcp.h"

#include <curl/curl.h>
#include <stdint.h>
#include <sys/types.h>

#define MCP_VERSION       "2025-06-18"
#define MCP_MESSAGE_BYTES ((size_t)8 << 20) /* of a server's */
#define MCP_NESTING_MAX   64                /* of its JSON */
#define MCP_WAITING_BYTES ((size_t)4 << 20) /* for a program that does not read */
#define MCP_START_S       60                /* programs may install themselves first */
#define MCP_LIST_S        20
#define MCP_STARTS_MAX    6 /* of a server that fails, until one holds */
#define MCP_LIST_PAGES    32
#define MCP_LIST_GAP_S    2 /* between lists, however often a server says that it changed */
#define MCP_FDS_MAX       (4 * TOOL_MCP_SERVERS_MAX)

enum mcp_state { MCP_STARTING, MCP_READY, MCP_FAILED };
enum mcp_what { MCP_INITIALIZE, MCP_TOOLS, MCP_CALL };

/* A request under way. */
struct mcp_rpc {
    struct mcp_rpc *next;
    int64_t id;
    enum mcp_what what;
    json_int_t ask;             /* CALL: the server's number */
    json_t *msg;                /* as it is sent */
    bool sent;                  /* false: until the server is ready */
    bool again;                 /* was sent once more after the session was lost */
    uint64_t until_ns, last_ns; /* without progress; in any case */
};

struct mcp_post; /* tool_mcp_http.c */

struct mcp_server {
    struct mcp_host *host;
    const struct tool_mcp_entry *entry;
    enum mcp_state state;
    char error[400];
    char version[24]; /* of the protocol; "": not known */
    json_t *tools;    /* as they are told */
    json_t *listed;   /* of the list under way; NULL: none is */
    size_t n_pages;
    bool lists_tools, tells_changes, changed;
    uint64_t list_ns; /* not before */
    int64_t last_id;
    struct mcp_rpc *rpcs;
    size_t n_rpcs;
    unsigned n_starts;
    uint64_t start_ns; /* again; 0: only when asked */

    pid_t pid; /* stdio; 0: none runs */
    int in, out, err;
    struct str to, line, err_line; /* what it has not read; what is not whole */
    size_t n_err;                  /* bytes of its stderr that were logged */

    char session[256]; /* HTTP; "": none */
    struct mcp_post *posts;
    uint64_t listen_ns; /* a GET again; 0: not */
};

struct mcp_host {
    int fd;
    CURLM *multi;
    const struct tool_mcp_conf *conf;
    struct mcp_server servers[TOOL_MCP_SERVERS_MAX];
    size_t n;
    bool news; /* what is told of servers has changed */
};

/* ---- tool_mcp_rpc.c ---- */

/* Starts it, or again.  A failure is told by its state. */
void mcp_start(struct mcp_server *s);
/* Everything that waits for it fails. */
void mcp_fail(struct mcp_server *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* arguments is borrowed. */
void mcp_call(struct mcp_server *s, json_int_t ask, const char *tool, json_t *arguments);
void mcp_cancel(struct mcp_server *s, json_int_t ask);
/* A message, or several in a list, from the server; false: it is none, and what it may be is over.
 */
bool mcp_receive(struct mcp_server *s, struct span text);
/* A request will get no answer: why. */
void mcp_lost(struct mcp_server *s, int64_t id, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The server has forgotten the session: from the beginning, and the request once more. */
void mcp_lost_session(struct mcp_server *s, int64_t id);
/* Looks at the clock. */
void mcp_tick(struct mcp_server *s, uint64_t now);

/* ---- tool_mcp.c: answers to our server ---- */

void mcp_answer(struct mcp_host *h, json_int_t ask, json_t *o); /* o goes */
void mcp_answer_error(struct mcp_host *h, json_int_t ask, enum err kind, const char *text);

/* ---- transports ---- */

bool mcp_stdio_start(struct mcp_server *s); /* false: mcp_fail was called */
void mcp_stdio_stop(struct mcp_server *s);
bool mcp_stdio_send(struct mcp_server *s, const json_t *msg);
/* Adds what is waited for; `add` gives room for four. */
size_t mcp_stdio_fds(struct mcp_server *s, struct curl_waitfd *fds);
void mcp_stdio_ready(struct mcp_server *s, const struct curl_waitfd *fds, size_t n);

/* id: of the request; 0: a notification. */
bool mcp_http_send(struct mcp_server *s, const json_t *msg, int64_t id);
void mcp_http_listen(struct mcp_server *s);           /* for what the server says of itself */
void mcp_http_stop(struct mcp_server *s, bool say);   /* say: end the session */
void mcp_http_drop(struct mcp_server *s, int64_t id); /* what is sent of this request ends */
void mcp_http_ready(struct mcp_host *h);

/* ---- tool_mcp_tools.c ---- */

/* No deeper than MCP_NESTING_MAX: jansson recurs. */
bool mcp_nesting_ok(struct span text);
/* Appends the good ones of a tools/list result to `to`; true: there was room for all. */
bool mcp_add_tools(const char *server, const json_t *list, json_t *to);
/* {text, bytes, failed, images}; NULL: it is no result of a call. */
json_t *mcp_result(const json_t *result);

#endif
