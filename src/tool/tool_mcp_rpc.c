/* SPDX-License-Identifier: MIT
 * tool_mcp_rpc.c - JSON-RPC 2.0 as MCP has it: the life of a server, and requests under way. */
#include "tool/tool_mcp_int.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <stdio.h>
#include <string.h>

#define SECOND_NS 1000000000ull
#define NOT_FOUND (-32601) /* JSON-RPC: no such method */

static const char *const versions[] = {MCP_VERSION, "2025-03-26", "2024-11-05"};

/* ---- sending ---- */

static bool send_msg(struct mcp_server *s, json_t *msg, int64_t id)
{
    bool ok = s->entry->url ? mcp_http_send(s, msg, id) : mcp_stdio_send(s, msg);
    return ok;
}

static void notify(struct mcp_server *s, const char *method, json_t *params)
{
    json_t *msg = json_pack("{ss ss so*}", "jsonrpc", "2.0", "method", method, "params", params);
    send_msg(s, msg, 0);
    json_decref(msg);
}

static void rpc_free(struct mcp_rpc *r)
{
    json_decref(r->msg);
    mem_free(r);
}

static struct mcp_rpc *rpc_find(struct mcp_server *s, int64_t id)
{
    for (struct mcp_rpc *r = s->rpcs; r; r = r->next)
        if (r->id == id)
            return r;
    return NULL;
}

static void rpc_unlink(struct mcp_server *s, struct mcp_rpc *r)
{
    struct mcp_rpc **at = &s->rpcs;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    s->n_rpcs--;
}

static unsigned patience(const struct mcp_server *s, enum mcp_what what)
{
    return what == MCP_INITIALIZE ? MCP_START_S
           : what == MCP_TOOLS    ? MCP_LIST_S
                                  : s->entry->timeout_s;
}

static void rpc_send(struct mcp_server *s, struct mcp_rpc *r)
{
    r->sent = true;
    r->until_ns = os_now_ns() + patience(s, r->what) * SECOND_NS;
    int64_t id = r->id; /* r may be gone after */
    if (!send_msg(s, r->msg, id))
        mcp_lost(s, id, "it takes no more requests");
}

/* params goes.  A call waits until the server is ready. */
static void request(struct mcp_server *s, enum mcp_what what, const char *method, json_t *params,
                    json_int_t ask)
{
    struct mcp_rpc *r = mem_alloc(sizeof *r);
    uint64_t now = os_now_ns();
    *r = (struct mcp_rpc){.next = s->rpcs,
                          .id = ++s->last_id,
                          .what = what,
                          .ask = ask,
                          .until_ns = now + MCP_START_S * SECOND_NS,
                          .last_ns = now + TOOL_MCP_CALL_MAX_S * SECOND_NS};
    r->msg = json_pack("{ss sI ss so}", "jsonrpc", "2.0", "id", (json_int_t)r->id, "method", method,
                       "params", params);
    s->rpcs = r;
    s->n_rpcs++;
    if (what != MCP_CALL || s->state == MCP_READY)
        rpc_send(s, r);
}

/* ---- beginning and failing ---- */

static void stop_transport(struct mcp_server *s, bool say)
{
    if (s->entry->url)
        mcp_http_stop(s, say);
    else
        mcp_stdio_stop(s);
}

void mcp_fail(struct mcp_server *s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(s->error, sizeof s->error, fmt, args);
    va_end(args);
    log_at(LOG_WARN, "mcp", "server=%s state=failed why=\"%s\"", s->entry->name, s->error);
    s->state = MCP_FAILED;
    s->host->news = true;
    json_decref(s->listed);
    s->listed = NULL;
    stop_transport(s, false);
    while (s->rpcs) {
        struct mcp_rpc *r = s->rpcs;
        char text[500];
        snprintf(text, sizeof text, "%s: %s", s->entry->name, s->error);
        rpc_unlink(s, r);
        if (r->what == MCP_CALL)
            mcp_answer_error(s->host, r->ask, ERR_NETWORK, text);
        rpc_free(r);
    }
    s->start_ns = s->n_starts < MCP_STARTS_MAX ? os_now_ns() + (5ull << s->n_starts) * SECOND_NS
                                               : 0;
}

void mcp_start(struct mcp_server *s)
{
    s->state = MCP_STARTING;
    s->start_ns = 0;
    s->n_starts++;
    s->version[0] = '\0';
    s->session[0] = '\0';
    s->host->news = true;
    if (!s->entry->url && !mcp_stdio_start(s))
        return;
    request(s, MCP_INITIALIZE, "initialize",
            json_pack("{ss s{} s{ss ss ss}}", "protocolVersion", MCP_VERSION, "capabilities",
                      "clientInfo", "name", "damso", "title", "damso", "version", DAMSO_VERSION),
            0);
}

static void list_tools(struct mcp_server *s, const char *cursor)
{
    if (!cursor) {
        json_decref(s->listed);
        s->listed = json_array();
        s->n_pages = 0;
        s->changed = false;
        s->list_ns = os_now_ns() + MCP_LIST_GAP_S * SECOND_NS;
    }
    request(s, MCP_TOOLS, "tools/list",
            cursor ? json_pack("{ss}", "cursor", cursor) : json_object(), 0);
}

static void become_ready(struct mcp_server *s)
{
    s->state = MCP_READY;
    s->error[0] = '\0';
    s->n_starts = 1; /* it holds */
    s->host->news = true;
    for (bool again = true; again;) { /* sending may end requests */
        again = false;
        for (struct mcp_rpc *r = s->rpcs; r && !again; r = r->next) {
            if (r->sent)
                continue;
            rpc_send(s, r);
            again = true;
        }
    }
}

/* ---- answers ---- */

static void take_initialize(struct mcp_server *s, const json_t *result)
{
    const char *version = json_string_value(json_object_get(result, "protocolVersion"));
    const json_t *can = json_object_get(json_object_get(result, "capabilities"), "tools");
    size_t i = 0;
    while (version && i < N_ELEMS(versions) && strcmp(versions[i], version) != 0)
        i++;
    if (!version || i == N_ELEMS(versions)) {
        mcp_fail(s, "it speaks version %.40s of the protocol, not %s", version ? version : "(none)",
                 MCP_VERSION);
        return;
    }
    snprintf(s->version, sizeof s->version, "%s", version);
    s->lists_tools = can != NULL;
    s->tells_changes = json_is_true(json_object_get(can, "listChanged"));
    notify(s, "notifications/initialized", NULL);
    if (s->entry->url && s->tells_changes)
        mcp_http_listen(s);
    if (s->state == MCP_FAILED)
        return;
    if (s->lists_tools)
        list_tools(s, NULL);
    else
        become_ready(s);
}

static void take_tools(struct mcp_server *s, const json_t *result)
{
    const char *next = json_string_value(json_object_get(result, "nextCursor"));
    const json_t *list = json_object_get(result, "tools");
    if (!json_is_array(list)) {
        mcp_fail(s, "its list of tools is none");
        return;
    }
    bool room = mcp_add_tools(s->entry->name, list, s->listed);
    if (next && *next && room && ++s->n_pages < MCP_LIST_PAGES) {
        list_tools(s, next);
        return;
    }
    json_decref(s->tools);
    s->tools = s->listed;
    s->listed = NULL;
    s->host->news = true;
    if (s->state != MCP_READY)
        become_ready(s);
}

static void take_call(struct mcp_server *s, const struct mcp_rpc *r, const json_t *result)
{
    json_t *o = mcp_result(result);
    char text[300];
    snprintf(text, sizeof text, "%s: its answer is no result of a call", s->entry->name);
    if (o)
        mcp_answer(s->host, r->ask, o);
    else
        mcp_answer_error(s->host, r->ask, ERR_CORRUPT, text);
}

static void take_response(struct mcp_server *s, struct mcp_rpc *r, const json_t *o)
{
    const json_t *error = json_object_get(o, "error"), *result = json_object_get(o, "result");
    const char *text = json_string_value(json_object_get(error, "message"));
    char why[500];
    rpc_unlink(s, r);
    snprintf(why, sizeof why, "%s: %.400s", s->entry->name,
             text ? text : "an error without a word");
    if (error && r->what == MCP_CALL)
        mcp_answer_error(s->host, r->ask, ERR_FAILED, why);
    else if (error)
        mcp_fail(s, "%.300s", text ? text : "an error without a word");
    else if (r->what == MCP_INITIALIZE)
        take_initialize(s, result);
    else if (r->what == MCP_TOOLS)
        take_tools(s, result);
    else
        take_call(s, r, result);
    rpc_free(r);
}

/* Progress gives a call more time, but not for ever. */
static void take_progress(struct mcp_server *s, const json_t *o)
{
    const json_t *token = json_object_get(json_object_get(o, "params"), "progressToken");
    struct mcp_rpc *r = json_is_integer(token) ? rpc_find(s, json_integer_value(token)) : NULL;
    if (r && r->what == MCP_CALL && r->sent)
        r->until_ns = os_now_ns() + s->entry->timeout_s * SECOND_NS;
}

static void take_request(struct mcp_server *s, const char *method, json_t *id)
{
    json_t *msg;
    if (strcmp(method, "ping") == 0)
        msg = json_pack("{ss sO s{}}", "jsonrpc", "2.0", "id", id, "result");
    else
        msg = json_pack("{ss sO s{si ss}}", "jsonrpc", "2.0", "id", id, "error", "code", NOT_FOUND,
                        "message", "not offered");
    send_msg(s, msg, 0);
    json_decref(msg);
}

static bool take_one(struct mcp_server *s, const json_t *o)
{
    const char *method = json_string_value(json_object_get(o, "method"));
    json_t *id = json_object_get(o, "id");
    if (!json_is_object(o))
        return false;
    if (method && id && (json_is_integer(id) || json_is_string(id)))
        take_request(s, method, id);
    else if (method && strcmp(method, "notifications/tools/list_changed") == 0)
        s->changed = true;
    else if (method && strcmp(method, "notifications/progress") == 0)
        take_progress(s, o);
    if (method)
        return true;
    struct mcp_rpc *r = json_is_integer(id) ? rpc_find(s, json_integer_value(id)) : NULL;
    if (r && r->sent)
        take_response(s, r, o); /* one that was cancelled, or never asked, is passed over */
    return json_object_get(o, "result") || json_object_get(o, "error");
}

bool mcp_receive(struct mcp_server *s, struct span text)
{
    if (!mcp_nesting_ok(text))
        return false;
    json_t *o = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL), *v;
    bool good = o != NULL;
    size_t i;
    if (!json_is_array(o))
        good = good && take_one(s, o);
    json_array_foreach(json_is_array(o) ? o : NULL, i, v)
    {
        good = s->state == MCP_FAILED || take_one(s, v);
    }
    json_decref(o);
    return good;
}

/* ---- calls ---- */

void mcp_call(struct mcp_server *s, json_int_t ask, const char *tool, json_t *arguments)
{
    if (s->state == MCP_FAILED) { /* whoever asks is worth another try */
        s->n_starts = MIN(s->n_starts, (unsigned)MCP_STARTS_MAX - 1);
        mcp_start(s);
    }
    if (s->state == MCP_FAILED) {
        char text[500];
        snprintf(text, sizeof text, "%s: %s", s->entry->name, s->error);
        mcp_answer_error(s->host, ask, ERR_NETWORK, text);
        return;
    }
    request(s, MCP_CALL, "tools/call",
            json_pack("{ss sO s{sI}}", "name", tool, "arguments", arguments, "_meta",
                      "progressToken", (json_int_t)(s->last_id + 1)),
            ask);
}

static void give_up(struct mcp_server *s, struct mcp_rpc *r, const char *reason)
{
    if (!r->sent)
        return;
    notify(s, "notifications/cancelled",
           json_pack("{sI ss}", "requestId", (json_int_t)r->id, "reason", reason));
    if (s->entry->url)
        mcp_http_drop(s, r->id);
}

void mcp_cancel(struct mcp_server *s, json_int_t ask)
{
    for (struct mcp_rpc *r = s->rpcs; r; r = r->next) {
        if (r->what != MCP_CALL || r->ask != ask)
            continue;
        rpc_unlink(s, r);
        give_up(s, r, "the user stopped it");
        mcp_answer_error(s->host, ask, ERR_CANCELLED, "stopped");
        rpc_free(r);
        return;
    }
}

void mcp_lost(struct mcp_server *s, int64_t id, const char *fmt, ...)
{
    struct mcp_rpc *r = rpc_find(s, id);
    char why[400], text[500];
    va_list args;
    if (!r)
        return;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    if (r->what != MCP_CALL) {
        mcp_fail(s, "%s", why);
        return;
    }
    snprintf(text, sizeof text, "%s: %s", s->entry->name, why);
    rpc_unlink(s, r);
    mcp_answer_error(s->host, r->ask, ERR_NETWORK, text);
    rpc_free(r);
}

void mcp_lost_session(struct mcp_server *s, int64_t id)
{
    struct mcp_rpc *r = rpc_find(s, id);
    if (r && r->again) {
        mcp_lost(s, id, "it forgets its sessions");
        return;
    }
    if (r) {
        r->again = true;
        r->sent = false;
    }
    for (struct mcp_rpc *o = s->rpcs; o && r; o = o->next)
        if (o->what != MCP_CALL) { /* a list that is under way begins anew as well */
            rpc_unlink(s, o);
            rpc_free(o);
            break;
        }
    if (s->state != MCP_STARTING)
        mcp_start(s);
}

void mcp_tick(struct mcp_server *s, uint64_t now)
{
    for (struct mcp_rpc *r = s->rpcs; r; r = r->next) {
        if (now < r->until_ns && now < r->last_ns)
            continue;
        unsigned seconds = r->sent ? patience(s, r->what) : MCP_START_S;
        give_up(s, r, "it took too long");
        mcp_lost(s, r->id, "it gave no answer within %u seconds", seconds);
        break; /* the next at the next tick */
    }
    if (s->state == MCP_READY && s->changed && !s->listed && now >= s->list_ns)
        list_tools(s, NULL);
    if (s->state == MCP_FAILED && s->start_ns && now >= s->start_ns)
        mcp_start(s);
}
