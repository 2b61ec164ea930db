/* SPDX-License-Identifier: MIT
 * api_tools.h - the tools of MCP servers, as chats and models know them.
 *
 * A tool has an id that is its name for models, made of its server's and its own: at most 64
 * letters, digits, _ and -, unique, and the same whenever the servers say the same. */
#ifndef API_API_TOOLS_H
#define API_API_TOOLS_H

#include "api/api_call.h"

#define API_TOOL_ID_MAX ((size_t)64)

/* [{id, server, tool, title, description, input_schema}] of the servers that are ready, in their
 * order, for the caller to let go of. */
json_t *api_tools_list(struct api *a);
/* The one with this id, borrowed from the list; NULL: there is none. */
const json_t *api_tools_find(const json_t *list, const char *id);
/* Those with ids of the array `on`, as requests have them: [{type, function: {name, description,
 * parameters}}]; NULL where there is none. */
json_t *api_tools_request(const json_t *list, const json_t *on);

#endif
