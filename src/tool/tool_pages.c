/* SPDX-License-Identifier: MIT */
#include "tool/tool_pages.h"

#include "base/arena.h"
#include "base/log.h"
#include "base/num.h"
#include "os/os_sandbox.h"
#include "os/os_sys.h"
#include "tool/tool_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS           1000000ull
#define END_MS       (TOOL_PAGE_MS + 3000) /* resolving names is not within the page's own time */
#define MEMORY_BYTES ((rlim_t)1 << 30)

struct page {
    json_int_t id;
    char *url, *languages;
    pid_t pid; /* 0: it waits */
    int out;
    struct str text;
    uint64_t until_ns;
    bool late;
};

struct pages {
    const struct tool_pages_opts *o;
    int fd;
    struct page *all[TOOL_PAGES_WAITING];
    size_t n;
};

/* ---- in a child ---- */

static void set_limit(int what, rlim_t max)
{
    const struct rlimit limit = {.rlim_cur = max, .rlim_max = max};
    setrlimit((__rlimit_resource_t)what, &limit);
}

static void confine(const struct tool_pages_opts *o)
{
    struct os_sandbox s;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    set_limit(RLIMIT_CORE, 0);
    set_limit(RLIMIT_FSIZE, 0);
    set_limit(RLIMIT_NOFILE, 64);
    set_limit(RLIMIT_CPU, TOOL_PAGE_MS / 1000);
    if (!o->confined) /* sanitizers want address space */
        return;
    set_limit(RLIMIT_AS, MEMORY_BYTES);
    if (os_sandbox_calls(&s, &(struct os_sandbox_opts){.connect = true}, NULL) != ERR_OK)
        _exit(1);
}

static json_t *answer_of(struct tool_page *p, enum err r, const struct errinfo *e)
{
    if (r != ERR_OK) { /* it may have an address that was cut within a character */
        struct str why;
        str_init(&why, 3 * sizeof e->text);
        utf8_repair(&why, span_of(e->text));
        json_t *o = json_pack("{ss si}", "error", why.n ? why.p : "", "kind", (int)r);
        str_done(&why);
        return o;
    }
    return json_pack("{ss# ss# ss# ss sb}", "url", p->url.p, (int)p->url.n, "title",
                     p->title.n ? p->title.p : "", (int)p->title.n, "text", p->text.p,
                     (int)p->text.n, "type", p->type, "cut", (int)p->cut);
}

_Noreturn static void fetch(const struct tool_pages_opts *o, const struct page *page, int out)
{
    struct tool_page p;
    struct errinfo e = {.code = ERR_OK};
    confine(o);
    enum err r = tool_page_fetch(&o->rule, page->url, page->languages, &p, &e);
    json_t *answer = answer_of(&p, r, &e);
    char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
    size_t n = text ? strlen(text) : 0;
    for (size_t at = 0; at < n;) {
        ssize_t wrote = write(out, text + at, n - at);
        if (wrote < 0 && errno != EINTR)
            break;
        at += wrote > 0 ? (size_t)wrote : 0;
    }
    _exit(text ? 0 : 1);
}

/* ---- the list ---- */

static void page_free(struct pages *k, size_t i)
{
    struct page *p = k->all[i];
    k->n--;
    memmove(&k->all[i], &k->all[i + 1], (k->n - i) * sizeof k->all[0]);
    str_done(&p->text);
    mem_free(p->url);
    mem_free(p->languages);
    mem_free(p);
}

static void fail_page(struct pages *k, json_int_t id, enum err kind, const char *why)
{
    json_t *o = json_pack("{sI ss si}", "id", id, "error", why, "kind", (int)kind);
    tool_wire_answer(k->fd, o);
    json_decref(o);
}

static size_t n_running(const struct pages *k)
{
    size_t n = 0;
    for (size_t i = 0; i < k->n; i++)
        n += k->all[i]->pid != 0;
    return n;
}

static bool start(struct pages *k, struct page *p)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    p->pid = fork();
    if (p->pid == 0) {
        close(ends[0]);
        close(k->fd);
        for (size_t i = 0; i < k->n; i++) /* what others fetch is not this one's to read */
            if (k->all[i]->pid)
                close(k->all[i]->out);
        signal(SIGTERM, SIG_DFL);
        fetch(k->o, p, ends[1]);
    }
    close(ends[1]);
    p->out = ends[0];
    p->until_ns = os_now_ns() + END_MS * MS;
    if (p->pid > 0)
        return true;
    close(ends[0]);
    p->pid = 0;
    return false;
}

static void start_waiting(struct pages *k)
{
    for (size_t i = 0; i < k->n && n_running(k) < TOOL_PAGES_RUNNING; i++) {
        struct page *p = k->all[i];
        if (p->pid || start(k, p))
            continue;
        fail_page(k, p->id, ERR_FAILED, "the system starts no more processes now");
        page_free(k, i--);
    }
}

static char *copy_of(const char *text)
{
    char *copy = mem_alloc(strlen(text) + 1);
    strcpy(copy, text);
    return copy;
}

static void take_ask(struct pages *k, const json_t *o)
{
    const char *url = json_string_value(json_object_get(o, "url"));
    const char *languages = json_string_value(json_object_get(o, "languages"));
    json_int_t id = json_integer_value(json_object_get(o, "id"));
    json_int_t cancel = json_integer_value(json_object_get(o, "cancel"));
    for (size_t i = 0; i < k->n && cancel; i++) {
        if (k->all[i]->id != cancel)
            continue;
        if (k->all[i]->pid)
            kill(k->all[i]->pid, SIGKILL);
        else
            page_free(k, i);
        break;
    }
    if (!url)
        return;
    if (k->n == TOOL_PAGES_WAITING) {
        fail_page(k, id, ERR_BUSY, "too many pages are being fetched; try again in a while");
        return;
    }
    struct page *p = k->all[k->n++] = mem_alloc(sizeof *p);
    p->id = id;
    p->url = copy_of(url);
    p->languages = copy_of(languages ? languages : "");
    str_init(&p->text, TOOL_ANSWER_BYTES_MAX - 4096);
}

/* ---- the loop ---- */

static void end_page(struct pages *k, size_t i)
{
    struct page *p = k->all[i];
    int status = 0;
    close(p->out);
    while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR) {
    }
    json_t *o = status == 0 && !p->text.full
                    ? json_loadb(p->text.p ? p->text.p : "", p->text.n, 0, NULL)
                    : NULL;
    if (json_is_object(o)) {
        json_object_set_new(o, "id", json_integer(p->id));
        tool_wire_answer(k->fd, o);
    } else if (p->late) {
        fail_page(k, p->id, ERR_NETWORK, "the page took too long");
    } else {
        log_at(LOG_WARN, "pages", "page=broken status=%d", status);
        fail_page(k, p->id, ERR_FAILED, "the page could not be read: its reader broke");
    }
    json_decref(o);
    page_free(k, i);
}

/* False at the end of what a child writes. */
static bool take_text(struct page *p)
{
    static char buf[1 << 16];
    ssize_t n = read(p->out, buf, sizeof buf);
    if (n > 0)
        str_add(&p->text, buf, (size_t)n);
    return n > 0 || (n < 0 && errno == EINTR);
}

static void end_late(struct pages *k)
{
    uint64_t now = os_now_ns();
    for (size_t i = 0; i < k->n; i++) {
        struct page *p = k->all[i];
        if (!p->pid || now < p->until_ns)
            continue;
        p->late = true;
        kill(p->pid, SIGKILL);
    }
}

static bool step(struct pages *k, struct tool_wire *w)
{
    struct pollfd fds[TOOL_PAGES_RUNNING + 1] = {
        {.fd = k->fd, .events = POLLIN}
    };
    struct page *of[TOOL_PAGES_RUNNING + 1] = {0};
    nfds_t n = 1;
    json_t *o;
    start_waiting(k);
    for (size_t i = 0; i < k->n; i++) {
        if (!k->all[i]->pid)
            continue;
        of[n] = k->all[i];
        fds[n++] = (struct pollfd){.fd = k->all[i]->out, .events = POLLIN};
    }
    int ready = poll(fds, n, n > 1 ? 500 : -1);
    if (ready < 0)
        return errno == EINTR;
    end_late(k);
    for (nfds_t i = 1; i < n; i++) {
        size_t at = 0;
        while (k->all[at] != of[i])
            at++;
        if (fds[i].revents && !take_text(of[i]))
            end_page(k, at);
    }
    if (!fds[0].revents)
        return true;
    if (!tool_wire_take(w, &o))
        return false;
    take_ask(k, o);
    json_decref(o);
    return true;
}

/* Those that a page may come from, and that of long answers about names. */
static void all_ports(const struct tool_page_rule *rule, int *out)
{
    *out++ = 53;
    for (size_t i = 0; i < rule->n_ports; i++)
        *out++ = rule->ports[i];
    for (size_t i = 0; i < rule->n_allowed; i++)
        *out++ = atoi(strrchr(rule->allowed[i], ':') + 1);
}

_Noreturn void tool_pages_run(int fd, const struct tool_pages_opts *o)
{
    struct pages k = {.o = o, .fd = fd};
    struct tool_wire w;
    struct os_sandbox s;
    struct errinfo e;
    const char *certificates[2] = {tool_certificates(), NULL};
    int ports[TOOL_PAGE_PORTS_MAX + TOOL_PAGE_ALLOWED_MAX + 2] = {0};
    if (!certificates[0] || access(certificates[0], R_OK) != 0)
        certificates[0] = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT,
           SIG_IGN); /* both are the server's, which ends in its own time, and this with it */
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    all_ports(&o->rule, ports);
    const struct os_sandbox_opts box = {.read = certificates, .connect = true, .ports = ports};
    if (o->confined && os_sandbox_files(&s, &box, &e) != ERR_OK)
        log_at(LOG_WARN, "pages", "sandbox=\"%s\"", e.text);
    tool_wire_init(&w, fd);
    while (step(&k, &w)) {
    }
    for (size_t i = 0; i < k.n; i++)
        if (k.all[i]->pid)
            kill(k.all[i]->pid, SIGKILL);
    _exit(0);
}
