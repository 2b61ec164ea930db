/* SPDX-License-Identifier: MIT */
#include "app/pull_child.h"

#include "app/cmd.h"
#include "os/os_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUNNING_MAX 2
/* A load that was told to end keeps what has arrived; this long it may take. */
#define END_MS 5000

extern char **environ;

struct load {
    unsigned id;
    char name[PULL_TEXT_BYTES];
    pid_t pid; /* and its group, with pip in it; 0: it waits */
    int out;   /* its stdout */
    char line[PULL_TEXT_BYTES];
    size_t n; /* bytes of a line that is not over; as much as there is room: it is too long */
};

struct pull_child {
    int server;
    const struct conf *conf;
    struct load *loads[PULL_LOADS_MAX];
    size_t n_loads;
    sigset_t none;
};

/* ---- packets ---- */

bool pull_send(int fd, enum pull_kind kind, unsigned id, const char *text, bool now)
{
    struct pull_msg msg = {.kind = kind, .id = id};
    snprintf(msg.text, sizeof msg.text, "%s", text);
    size_t n = offsetof(struct pull_msg, text) + strlen(msg.text) + 1;
    ssize_t sent;
    do
        sent = send(fd, &msg, n, MSG_NOSIGNAL | (now ? MSG_DONTWAIT : 0));
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)n;
}

bool pull_receive(int fd, struct pull_msg *msg)
{
    ssize_t n;
    do
        n = recv(fd, msg, sizeof *msg, 0);
    while (n < 0 && errno == EINTR);
    if (n <= (ssize_t)offsetof(struct pull_msg, text))
        return false;
    ((char *)msg)[n - 1] = '\0';
    return true;
}

/* ---- one load ---- */

static int spawn(const struct pull_child *p, struct load *l, int out, const char *const *argv)
{
    posix_spawn_file_actions_t io;
    posix_spawnattr_t attr;
    sigset_t usual;
    sigemptyset(&usual);
    sigaddset(&usual, SIGINT);
    sigaddset(&usual, SIGTERM);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &p->none);
    posix_spawnattr_setsigdefault(&attr, &usual);
    posix_spawn_file_actions_init(&io);
    posix_spawn_file_actions_addopen(&io, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&io, out, 1);
    posix_spawn_file_actions_addopen(&io, 2, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawn(&l->pid, "/proc/self/exe", &io, &attr, (char **)(uintptr_t)argv,
                             environ);
    posix_spawn_file_actions_destroy(&io);
    posix_spawnattr_destroy(&attr);
    return failed;
}

/* The settings of a pull are the server's, wherever those came from. */
static int start(const struct pull_child *p, struct load *l)
{
    const struct conf *c = p->conf;
    char stall[24], tries[24];
    const char *argv[20] = {"damso", "pull",    "--progress", "json",         "--stall",
                            stall,   "--tries", tries,        "--models-dir", c->models_dir};
    size_t n = 10;
    int ends[2];
    snprintf(stall, sizeof stall, "%lld", (long long)c->stall);
    snprintf(tries, sizeof tries, "%lld", (long long)c->tries);
    if (c->catalogue[0]) {
        argv[n++] = "--catalogue";
        argv[n++] = c->catalogue;
    }
    if (c->file) {
        argv[n++] = "--conf";
        argv[n++] = c->file;
    }
    argv[n++] = "--";
    argv[n] = l->name;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    int failed = spawn(p, l, ends[1], argv);
    close(ends[1]);
    l->out = ends[0];
    if (failed)
        close(ends[0]);
    return failed;
}

static void forget(struct pull_child *p, struct load *l)
{
    size_t i = 0;
    while (p->loads[i] != l)
        i++;
    p->n_loads--;
    memmove(&p->loads[i], &p->loads[i + 1], (p->n_loads - i) * sizeof p->loads[0]);
    mem_free(l);
}

static void end(struct pull_child *p, struct load *l, const char *why)
{
    pull_send(p->server, PULL_END, l->id, why, false);
    forget(p, l);
}

static void reap(struct pull_child *p, struct load *l)
{
    int status;
    char why[80] = "";
    close(l->out);
    while (waitpid(l->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status))
        snprintf(why, sizeof why, "the load was ended by signal %d", WTERMSIG(status));
    end(p, l, why);
}

/* ---- all of them ---- */

static size_t n_running(const struct pull_child *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_loads; i++)
        n += p->loads[i]->pid != 0;
    return n;
}

static bool runs(const struct pull_child *p, const char *name)
{
    for (size_t i = 0; i < p->n_loads; i++)
        if (p->loads[i]->pid && strcmp(p->loads[i]->name, name) == 0)
            return true;
    return false;
}

static void start_waiting(struct pull_child *p)
{
    for (size_t i = 0; i < p->n_loads && n_running(p) < RUNNING_MAX; i++) {
        struct load *l = p->loads[i];
        if (l->pid || runs(p, l->name))
            continue;
        int failed = start(p, l);
        if (failed) {
            l->pid = 0;
            end(p, l, strerror(failed));
            i--;
        }
    }
}

static void take_request(struct pull_child *p, const struct pull_msg *msg)
{
    struct load *l = NULL;
    for (size_t i = 0; i < p->n_loads; i++)
        if (p->loads[i]->id == msg->id)
            l = p->loads[i];
    if (msg->kind == PULL_CANCEL && l && l->pid) {
        kill(-l->pid, SIGTERM);
    } else if (msg->kind == PULL_CANCEL && l) {
        end(p, l, "cancelled");
    } else if (msg->kind == PULL_START) {
        CHECK(p->n_loads < PULL_LOADS_MAX); /* the server counts them */
        l = p->loads[p->n_loads++] = mem_alloc(sizeof *l);
        l->id = msg->id;
        snprintf(l->name, sizeof l->name, "%s", msg->text);
    }
}

/* Sends the lines that are whole; false at the output's end. */
static bool take_output(struct pull_child *p, struct load *l)
{
    char buf[4096];
    ssize_t got = read(l->out, buf, sizeof buf);
    if (got <= 0)
        return got < 0 && errno == EINTR;
    for (ssize_t i = 0; i < got; i++) {
        if (buf[i] != '\n') {
            l->line[l->n] = buf[i];
            l->n += l->n < sizeof l->line - 1;
            continue;
        }
        l->line[l->n] = '\0';
        if (l->n < sizeof l->line - 1)
            pull_send(p->server, PULL_LINE, l->id, l->line, false);
        l->n = 0;
    }
    return true;
}

/* Waits for anything; false: the server is gone, or a signal says to end. */
static bool step(struct pull_child *p)
{
    struct pollfd fds[RUNNING_MAX + 1] = {
        {.fd = p->server, .events = POLLIN}
    };
    struct load *of[RUNNING_MAX + 1] = {0};
    struct pull_msg msg;
    nfds_t n = 1;
    start_waiting(p);
    for (size_t i = 0; i < p->n_loads; i++) {
        if (!p->loads[i]->pid)
            continue;
        of[n] = p->loads[i];
        fds[n++] = (struct pollfd){.fd = p->loads[i]->out, .events = POLLIN};
    }
    if (ppoll(fds, n, NULL, &p->none) < 0)
        return errno == EINTR && !cmd_stopped();
    for (nfds_t i = 1; i < n; i++)
        if (fds[i].revents && !take_output(p, of[i]))
            reap(p, of[i]);
    if (!fds[0].revents)
        return true;
    if (!pull_receive(p->server, &msg))
        return false;
    take_request(p, &msg);
    return true;
}

/* Everything the loads still say is read, so that none waits for a full pipe. */
static void end_all(struct pull_child *p)
{
    uint64_t until_ns = os_now_ns() + (uint64_t)END_MS * 1000000;
    while (p->n_loads > n_running(p))
        for (size_t i = 0; i < p->n_loads; i++)
            if (!p->loads[i]->pid)
                end(p, p->loads[i], "cancelled");
    for (size_t i = 0; i < p->n_loads; i++)
        kill(-p->loads[i]->pid, SIGTERM);
    while (p->n_loads) {
        struct load *l = p->loads[0];
        struct pollfd fd = {.fd = l->out, .events = POLLIN};
        if (poll(&fd, 1, 100) > 0 && !take_output(p, l))
            reap(p, l);
        for (size_t i = 0; i < p->n_loads && os_now_ns() > until_ns; i++)
            kill(-p->loads[i]->pid, SIGKILL);
    }
}

_Noreturn void pull_child_run(int fd, const struct conf *c)
{
    struct pull_child p = {.server = fd, .conf = c};
    sigset_t term;
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing >= 0) { /* the server's reader sees the end of its output when the server ends */
        dup2(nothing, STDIN_FILENO);
        dup2(nothing, STDOUT_FILENO);
    }
    cmd_catch_stop();
    signal(SIGINT, SIG_IGN); /* Ctrl-C goes to the server as well, which ends in its own time */
    sigemptyset(&p.none);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM); /* comes while we wait, and never between a look and the wait */
    sigprocmask(SIG_SETMASK, &term, NULL);
    while (step(&p))
        ;
    end_all(&p);
    _exit(0);
}
