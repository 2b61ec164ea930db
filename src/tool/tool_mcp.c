/* SPDX-License-Identifier: MIT
 * tool_mcp.c - the process that speaks with MCP servers: its loop, what it is asked and tells. */
#include "tool/tool_mcp_int.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"
#include "tool/tool_wire.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define TICK_MS 250

/* ---- telling ---- */

void mcp_answer(struct mcp_host *h, json_int_t ask, json_t *o)
{
    json_object_set_new(o, "id", json_integer(ask));
    tool_wire_answer(h->fd, o); /* that it is gone is seen where we read */
    json_decref(o);
}

void mcp_answer_error(struct mcp_host *h, json_int_t ask, enum err kind, const char *text)
{
    struct str clean;
    str_init(&clean, 4096);
    utf8_repair(&clean, span_of(text));
    mcp_answer(h, ask, json_pack("{ss si}", "error", clean.n ? clean.p : "", "kind", (int)kind));
    str_done(&clean);
}

static json_t *server_of(const struct mcp_server *s)
{
    static const char *const states[] = {"starting", "ready", "failed"};
    struct str error;
    str_init(&error, 1024);
    utf8_repair(&error, span_of(s->error));
    json_t *o = json_pack("{ss ss ss so}", "name", s->entry->name, "state", states[s->state],
                          "error", error.n ? error.p : "", "tools",
                          s->tools ? json_incref(s->tools) : json_array());
    str_done(&error);
    return o;
}

static void tell_servers(struct mcp_host *h)
{
    json_t *list = json_array();
    h->news = false;
    for (size_t i = 0; i < h->n; i++)
        json_array_append_new(list, server_of(&h->servers[i]));
    json_t *o = json_pack("{so}", "servers", list);
    tool_wire_answer(h->fd, o);
    json_decref(o);
}

/* ---- what is asked ---- */

static void take_ask(struct mcp_host *h, const json_t *o)
{
    const char *name = json_string_value(json_object_get(o, "server"));
    const char *tool = json_string_value(json_object_get(o, "tool"));
    json_t *arguments = json_object_get(o, "arguments");
    json_int_t id = json_integer_value(json_object_get(o, "id"));
    json_int_t cancel = json_integer_value(json_object_get(o, "cancel"));
    for (size_t i = 0; i < h->n && cancel; i++)
        mcp_cancel(&h->servers[i], cancel);
    if (!name || !tool || !json_is_object(arguments))
        return;
    for (size_t i = 0; i < h->n; i++) {
        if (strcmp(h->servers[i].entry->name, name) != 0)
            continue;
        mcp_call(&h->servers[i], id, tool, arguments);
        return;
    }
    mcp_answer_error(h, id, ERR_NOTFOUND, "there is no such server of tools");
}

/* ---- the loop ---- */

static bool step(struct mcp_host *h, struct tool_wire *w)
{
    struct curl_waitfd fds[1 + MCP_FDS_MAX] = {
        {.fd = h->fd, .events = CURL_WAIT_POLLIN}
    };
    size_t from[TOOL_MCP_SERVERS_MAX], count[TOOL_MCP_SERVERS_MAX], n = 1;
    int ignored;
    json_t *o;
    for (size_t i = 0; i < h->n; i++) {
        from[i] = n;
        count[i] = mcp_stdio_fds(&h->servers[i], fds + n);
        n += count[i];
    }
    if (h->news)
        tell_servers(h);
    if (curl_multi_poll(h->multi, fds, (unsigned)n, TICK_MS, &ignored) != CURLM_OK)
        return false;
    curl_multi_perform(h->multi, &ignored);
    mcp_http_ready(h);
    for (size_t i = 0; i < h->n; i++) {
        mcp_stdio_ready(&h->servers[i], fds + from[i], count[i]);
        mcp_tick(&h->servers[i], os_now_ns());
    }
    if (!fds[0].revents)
        return true;
    if (!tool_wire_take(w, &o))
        return false;
    take_ask(h, o);
    json_decref(o);
    return true;
}

_Noreturn void tool_mcp_run(int fd, const struct tool_mcp_conf *c)
{
    struct mcp_host *h = mem_alloc(sizeof *h);
    struct tool_wire w;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT,
           SIG_IGN); /* both are the server's, which ends in its own time, and this with it */
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    *h = (struct mcp_host){.fd = fd, .conf = c, .n = c->n, .multi = curl_multi_init()};
    CHECK(h->multi);
    tool_wire_init(&w, fd);
    for (size_t i = 0; i < h->n; i++) {
        struct mcp_server *s = &h->servers[i];
        *s = (struct mcp_server){
            .host = h, .entry = &c->entries[i], .in = -1, .out = -1, .err = -1};
        mcp_start(s);
    }
    while (step(h, &w)) {
    }
    for (size_t i = 0; i < h->n; i++) {
        if (c->entries[i].url)
            mcp_http_stop(&h->servers[i], true);
        else
            mcp_stdio_stop(&h->servers[i]);
    }
    _exit(0);
}
