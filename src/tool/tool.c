/* SPDX-License-Identifier: MIT */
#include "tool/tool.h"

#include "base/arena.h"
#include "base/log.h"
#include "base/num.h"
#include "os/os_child.h"
#include "os/os_sys.h"
#include "tool/tool_mcp.h"
#include "tool/tool_pages.h"
#include "tool/tool_wire.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECOND_NS   1000000000ull
#define PAGE_S      120 /* with the wait for others; the process has its own, less */
#define CALL_S      (TOOL_MCP_CALL_MAX_S + 15)
#define PENDING_MAX 256

struct asked {
    struct asked *next;
    uint64_t number;
    tool_done *done;
    void *arg;
    uint64_t until_ns;
};

/* One process, as the server sees it. */
struct link {
    struct tool *tool;
    const char *what; /* for people */
    int fd;           /* -1: there is none */
    pthread_t reader;
    bool reads;
    bool gone; /* under the lock */
    struct asked *asked;
    size_t n_asked;
};

struct tool {
    pthread_mutex_t lock;
    uint64_t last;
    struct link pages, mcp;
    json_t *servers; /* under the lock; never changed, only replaced */
};

/* ---- opening ---- */

static void run_pages(int fd, const void *opts)
{
    tool_pages_run(fd, opts);
}

static void run_mcp(int fd, const void *opts)
{
    tool_mcp_run(fd, opts);
}

static enum err fork_link(struct link *l, os_child_run *run, const void *opts, struct errinfo *e)
{
    int ends[2];
    pid_t pid;
    if (!tool_wire_pair(ends))
        return err_set(e, ERR_FAILED, "socketpair: %s", strerror(errno));
    TRY(os_child_fork(ends, run, opts, &pid, e));
    l->fd = ends[0];
    return ERR_OK;
}

static enum err open_all(struct tool *t, const struct tool_opts *o, struct errinfo *e)
{
    struct tool_pages_opts pages = {.confined = o->confined};
    TRY(tool_page_rule(o->ports, o->allow, &pages.rule, e));
    if (*o->mcp) {
        struct tool_mcp_conf conf;
        enum err r = tool_mcp_read(&conf, o->mcp, e);
        if (r == ERR_OK) {
            json_decref(t->servers);
            t->servers = tool_mcp_starting(&conf);
        }
        if (r == ERR_OK && conf.n)
            r = fork_link(&t->mcp, run_mcp, &conf, e);
        tool_mcp_conf_done(&conf);
        TRY(r);
    }
    if (o->pages)
        TRY(fork_link(&t->pages, run_pages, &pages, e));
    return ERR_OK;
}

enum err tool_open(struct tool **out, const struct tool_opts *o, struct errinfo *e)
{
    struct tool *t = mem_alloc(sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    t->pages = (struct link){.tool = t, .what = "the process that fetches pages", .fd = -1};
    t->mcp = (struct link){.tool = t, .what = "the process that runs tools", .fd = -1};
    t->servers = json_array();
    *out = t;
    enum err r = open_all(t, o, e);
    if (r != ERR_OK) {
        tool_close(t);
        *out = NULL;
    }
    return r;
}

bool tool_has_pages(const struct tool *t)
{
    return t && t->pages.fd >= 0;
}

/* ---- asking ---- */

static enum err may_ask(const struct link *l, struct errinfo *e)
{
    if (l->fd < 0)
        return err_set(e, ERR_UNSUPPORTED, "%s is not there: the server was started without",
                       l->what);
    if (l->gone)
        return err_set(e, ERR_FAILED, "%s has ended; the server has to be started again", l->what);
    if (l->n_asked >= PENDING_MAX)
        return err_set(e, ERR_BUSY, "%s has too much to do; try again in a while", l->what);
    return ERR_OK;
}

/* It took nothing: why. */
static void refuse(struct link *l, int why, struct errinfo *e)
{
    l->gone |= why == EPIPE || why == ECONNRESET || why == ENOTCONN;
    if (l->gone)
        may_ask(l, e);
    else
        err_note(e, ERR_BUSY, "%s takes nothing now, or this is too long for it", l->what);
}

/* o goes. */
static uint64_t ask(struct link *l, json_t *o, unsigned seconds, tool_done *done, void *arg,
                    struct errinfo *e)
{
    struct tool *t = l->tool;
    uint64_t number = 0;
    pthread_mutex_lock(&t->lock);
    if (may_ask(l, e) == ERR_OK) {
        number = ++t->last;
        json_object_set_new(o, "id", json_integer((json_int_t)number));
        errno = 0;
        if (tool_wire_ask(l->fd, o)) {
            struct asked *a = mem_alloc(sizeof *a);
            *a = (struct asked){.next = l->asked,
                                .number = number,
                                .done = done,
                                .arg = arg,
                                .until_ns = os_now_ns() + seconds * SECOND_NS};
            l->asked = a;
            l->n_asked++;
        } else {
            number = 0;
            refuse(l, errno, e);
        }
    }
    pthread_mutex_unlock(&t->lock);
    json_decref(o);
    return number;
}

uint64_t tool_page(struct tool *t, const char *url, const char *languages, tool_done *done,
                   void *arg, struct errinfo *e)
{
    json_t *o = json_pack("{ss ss}", "url", url, "languages", languages);
    if (!o || strlen(url) > TOOL_URL_BYTES_MAX) {
        json_decref(o);
        err_note(e, ERR_TOOBIG, "the address has over %zu bytes", TOOL_URL_BYTES_MAX);
        return 0;
    }
    return ask(&t->pages, o, PAGE_S, done, arg, e);
}

uint64_t tool_call(struct tool *t, const char *server, const char *tool, const json_t *arguments,
                   tool_done *done, void *arg, struct errinfo *e)
{
    json_t *o = json_pack("{ss ss sO}", "server", server, "tool", tool, "arguments", arguments);
    CHECK(o);
    return ask(&t->mcp, o, CALL_S, done, arg, e);
}

static void cancel_in(struct link *l, uint64_t number)
{
    for (struct asked *a = l->asked; a; a = a->next) {
        if (a->number != number)
            continue;
        json_t *o = json_pack("{sI}", "cancel", (json_int_t)number);
        tool_wire_ask(l->fd, o); /* or its time ends it */
        json_decref(o);
        a->until_ns = MIN(a->until_ns, os_now_ns() + 2 * SECOND_NS);
    }
}

void tool_cancel(struct tool *t, uint64_t number)
{
    pthread_mutex_lock(&t->lock);
    if (number) {
        cancel_in(&t->pages, number);
        cancel_in(&t->mcp, number);
    }
    pthread_mutex_unlock(&t->lock);
}

json_t *tool_servers(struct tool *t)
{
    if (!t)
        return json_array();
    pthread_mutex_lock(&t->lock);
    json_t *now = json_deep_copy(t->servers); /* counts of uses are not for several threads */
    pthread_mutex_unlock(&t->lock);
    return now;
}

/* ---- answers ---- */

/* Takes it out of the list; NULL: it was answered already. */
static struct asked *take_asked(struct link *l, uint64_t number)
{
    struct asked *found = NULL;
    pthread_mutex_lock(&l->tool->lock);
    for (struct asked **at = &l->asked; *at && !found; at = found ? at : &(*at)->next) {
        if ((*at)->number != number)
            continue;
        found = *at;
        *at = found->next;
        l->n_asked--;
        break;
    }
    pthread_mutex_unlock(&l->tool->lock);
    return found;
}

static void give(struct asked *a, const json_t *answer, const struct errinfo *e)
{
    a->done(a->arg, answer, e);
    mem_free(a);
}

static void take_answer(struct link *l, json_t *o)
{
    struct errinfo e = {.code = ERR_OK};
    json_t *servers = json_object_get(o, "servers");
    const char *error = json_string_value(json_object_get(o, "error"));
    json_int_t kind = json_integer_value(json_object_get(o, "kind"));
    if (json_is_array(servers)) {
        pthread_mutex_lock(&l->tool->lock);
        json_decref(l->tool->servers);
        l->tool->servers = json_incref(servers);
        pthread_mutex_unlock(&l->tool->lock);
        return;
    }
    struct asked *a = take_asked(l, (uint64_t)json_integer_value(json_object_get(o, "id")));
    if (a && error) {
        err_note(&e, kind > 0 && kind < ERR_N ? (enum err)kind : ERR_FAILED, "%s", error);
        give(a, NULL, &e);
    } else if (a) {
        give(a, o, NULL);
    }
}

/* Those whose time is over, or all. */
static void fail_late(struct link *l, bool all)
{
    uint64_t now = os_now_ns();
    for (;;) {
        struct errinfo e;
        uint64_t late = 0;
        pthread_mutex_lock(&l->tool->lock);
        for (struct asked *a = l->asked; a && !late; a = a->next)
            late = all || now >= a->until_ns ? a->number : 0;
        pthread_mutex_unlock(&l->tool->lock);
        struct asked *a = late ? take_asked(l, late) : NULL;
        if (!late)
            return;
        if (all)
            err_note(&e, ERR_FAILED, "%s has ended; the server has to be started again", l->what);
        else
            err_note(&e, ERR_NETWORK, "%s gave no answer in time", l->what);
        if (a)
            give(a, NULL, &e);
    }
}

static void *reader_main(void *arg)
{
    struct link *l = arg;
    struct tool_wire w;
    bool good = true;
    tool_wire_init(&w, l->fd);
    while (good) {
        struct pollfd fd = {.fd = l->fd, .events = POLLIN};
        json_t *o = NULL;
        int ready = poll(&fd, 1, 1000);
        if (ready > 0)
            good = tool_wire_take(&w, &o);
        if (o)
            take_answer(l, o);
        json_decref(o);
        fail_late(l, false);
    }
    tool_wire_done(&w);
    pthread_mutex_lock(&l->tool->lock);
    l->gone = true;
    for (size_t i = 0; l == &l->tool->mcp && i < json_array_size(l->tool->servers); i++) {
        json_t *s = json_array_get(l->tool->servers, i);
        json_object_set_new(s, "state", json_string("failed"));
        json_object_set_new(s, "error", json_string("the process that runs tools has ended"));
    }
    pthread_mutex_unlock(&l->tool->lock);
    fail_late(l, true);
    return NULL;
}

static void run_link(struct link *l)
{
    if (l->fd < 0)
        return;
    l->reads = pthread_create(&l->reader, NULL, reader_main, l) == 0;
    CHECK(l->reads);
}

void tool_run(struct tool *t)
{
    if (!t)
        return;
    run_link(&t->pages);
    run_link(&t->mcp);
}

static void close_link(struct link *l)
{
    if (l->fd < 0)
        return;
    shutdown(l->fd, SHUT_WR); /* the process ends what it does, and goes */
    if (l->reads)
        pthread_join(l->reader, NULL);
    close(l->fd);
}

void tool_close(struct tool *t)
{
    if (!t)
        return;
    close_link(&t->pages);
    close_link(&t->mcp);
    json_decref(t->servers);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}
