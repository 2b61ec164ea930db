/* SPDX-License-Identifier: MIT
 * tool_mcp_fuzz.c - any bytes as what a server of tools says: a list, or the result of a call. */
#include "tool/tool_mcp_int.h"

#include "base/err.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct span text = {(const char *)data, n};
    log_level_set(LOG_ERROR);
    if (!mcp_nesting_ok(text))
        return 0;
    json_t *o = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
    json_t *tools = json_array(), *result = mcp_result(o);
    mcp_add_tools("fuzz", json_object_get(o, "tools"), tools);
    CHECK(json_array_size(tools) <= TOOL_MCP_TOOLS_MAX);
    if (result) {
        size_t kept = json_string_length(json_object_get(result, "text"));
        CHECK(kept <= TOOL_MCP_RESULT_MAX);
        CHECK((json_int_t)kept <= json_integer_value(json_object_get(result, "bytes")));
    }
    json_decref(result);
    json_decref(tools);
    json_decref(o);
    return 0;
}
