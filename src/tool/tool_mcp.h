/* SPDX-License-Identifier: MIT
 * tool_mcp.h - the process beside a server that speaks with MCP servers (Model Context Protocol).
 *
 * Does: read the operator's file of servers; start those that are programs (stdio) and speak with
 *       those that have an address (Streamable HTTP); initialize, list tools and list them again
 *       when told that they changed, call them, tell of cancelling, answer pings.  From its socket
 *       it takes {id, server, tool, arguments} and {cancel: id}, and answers {id, text, bytes,
 *       failed, images} or {id, error, kind}; it sends {servers: [...]} whenever that changes.
 * Does not: offer servers anything (no roots, sampling, elicitation), speak the older transport of
 *       HTTP with SSE, follow redirects, log what is said.
 * Versions of the protocol: 2025-06-18, and 2025-03-26 and 2024-11-05 where a server is older.
 * A server that is a program gets: an environment of PATH, HOME and few more and what its entry
 * says, no privileges by setuid, its own process group, and its end with ours.
 * Limits: below, and the sizes in tool_mcp_int.h. */
#ifndef TOOL_TOOL_MCP_H
#define TOOL_TOOL_MCP_H

#include "base/arena.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define TOOL_MCP_SERVERS_MAX 32
#define TOOL_MCP_TOOLS_MAX   ((size_t)128) /* of a server */
#define TOOL_MCP_CALL_S      60  /* without a sign of progress, where the entry says none */
#define TOOL_MCP_CALL_MAX_S  600 /* of a call in all */
#define TOOL_MCP_RESULT_MAX  ((size_t)64 << 10) /* bytes of a result's text that are kept */
#define TOOL_MCP_NAME_MAX    ((size_t)48)       /* of a server */

/* An entry of the file: a program, or an address. */
struct tool_mcp_entry {
    const char *name;
    const char **argv; /* NULL-terminated; NULL: an address */
    const char **env;  /* "NAME=value", NULL-terminated */
    const char *cwd;   /* NULL: ours */
    bool confined;     /* it may open only what `read` and `write` say, and the system's own */
    const char **read, **write; /* NULL-terminated */
    const char *url;            /* NULL: a program */
    const char **headers;       /* "Name: value", NULL-terminated; never logged */
    unsigned timeout_s;
};

struct tool_mcp_conf {
    struct arena arena;
    struct tool_mcp_entry entries[TOOL_MCP_SERVERS_MAX];
    size_t n;
};

/* {"mcpServers": {NAME: {command, args, env, cwd, sandbox: {read, write}} | {url, headers}}}.  In
 * values, ${NAME} is the environment's, ${file:PATH} the first line of a file.  An entry with
 * "disabled" is passed over. Errors: NOTFOUND, TOOBIG, CORRUPT (not JSON, with the line), USAGE
 * (names the entry and member). Ends by tool_mcp_conf_done in any case. */
enum err tool_mcp_read(struct tool_mcp_conf *out, const char *path, struct errinfo *e);
void tool_mcp_conf_done(struct tool_mcp_conf *c);
/* What tool_servers gives before the process has said anything. */
json_t *tool_mcp_starting(const struct tool_mcp_conf *c);

_Noreturn void tool_mcp_run(int fd, const struct tool_mcp_conf *c);

#endif
