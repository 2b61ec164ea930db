/* SPDX-License-Identifier: MIT
 * tool_mcp_stdio.c - MCP servers that are programs: a message a line on stdin and stdout. */
#include "tool/tool_mcp_int.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ERR_LINE_BYTES 500
#define ERR_BYTES_MAX  ((size_t)256 << 10) /* of one run */
#define STOP_MS        1500
#define ENV_MAX        300

/* ---- starting ---- */

/* What a program may know of ours: as the protocol's own clients do, and no secrets. */
static void make_env(const struct tool_mcp_entry *entry, const char *env[ENV_MAX],
                     char kept[10][4096])
{
    static const char *const names[] = {"PATH", "HOME",   "USER", "LOGNAME", "SHELL",
                                        "TERM", "TMPDIR", "LANG", "LC_ALL",  "TZ"};
    size_t n = 0, k = 0;
    for (size_t i = 0; i < N_ELEMS(names); i++) {
        const char *value = getenv(names[i]);
        if (!value || strlen(value) > 4000)
            continue;
        snprintf(kept[k], 4096, "%s=%s", names[i], value);
        env[n++] = kept[k++];
    }
    for (size_t i = 0; entry->env[i] && n + 1 < ENV_MAX; i++) { /* the entry's wins */
        size_t len = strcspn(entry->env[i], "=") + 1, j = 0;
        while (j < n && strncmp(env[j], entry->env[i], len) != 0)
            j++;
        env[j] = entry->env[i];
        n = MAX(n, j + 1);
    }
    env[n] = NULL;
}

/* What running programs takes: interpreters, their libraries and settings. */
static const char *const system_paths[] = {"/bin",  "/etc",  "/lib", "/lib64",    "/opt",
                                           "/proc", "/sbin", "/usr", "/dev/null", "/dev/urandom"};

/* False: what is asked for cannot be had, and nothing is started. */
static bool confine(const struct tool_mcp_entry *entry)
{
    const char *run[N_ELEMS(system_paths) + 260] = {0};
    struct os_sandbox s;
    size_t n = 0;
    for (size_t i = 0; i < N_ELEMS(system_paths); i++)
        if (access(system_paths[i], F_OK) == 0)
            run[n++] = system_paths[i];
    for (size_t i = 0; entry->read[i] && n + 1 < N_ELEMS(run); i++)
        run[n++] = entry->read[i];
    const struct os_sandbox_opts o = {.run = run, .write = entry->write};
    return os_sandbox_files(&s, &o, NULL) == ERR_OK && s.landlock > 0;
}

/* Between fork and exec, in the only thread that is left: what the C library makes safe there. */
_Noreturn static void become(const struct tool_mcp_entry *entry, const int fds[3],
                             const char *const *env)
{
    const struct rlimit none = {0};
    sigset_t empty;
    sigemptyset(&empty);
    sigprocmask(SIG_SETMASK, &empty, NULL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &none);
    if (dup2(fds[0], 0) < 0 || dup2(fds[1], 1) < 0 || dup2(fds[2], 2) < 0 ||
        (entry->cwd && chdir(entry->cwd) != 0))
        _exit(126);
    close_range(3, ~0u, CLOSE_RANGE_CLOEXEC); /* libcurl's, to servers with an address */
    if (entry->confined && !confine(entry))
        _exit(125);
    execvpe(entry->argv[0], (char *const *)(uintptr_t)entry->argv, (char *const *)(uintptr_t)env);
    _exit(127);
}

static bool pipes(int p[3][2])
{
    for (int i = 0; i < 3; i++) {
        if (pipe2(p[i], O_CLOEXEC) == 0)
            continue;
        while (i-- > 0) {
            close(p[i][0]);
            close(p[i][1]);
        }
        return false;
    }
    return true;
}

static void set_waitless(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

bool mcp_stdio_start(struct mcp_server *s)
{
    int p[3][2]; /* its stdin, stdout, stderr */
    const char *env[ENV_MAX];
    char kept[10][4096];
    if (!pipes(p)) {
        mcp_fail(s, "no pipe for it: %s", strerror(errno));
        return false;
    }
    make_env(s->entry, env, kept);
    pid_t pid = fork();
    if (pid == 0)
        become(s->entry, (int[]){p[0][0], p[1][1], p[2][1]}, env);
    close(p[0][0]);
    close(p[1][1]);
    close(p[2][1]);
    s->in = p[0][1];
    s->out = p[1][0];
    s->err = p[2][0];
    s->pid = MAX(pid, (pid_t)0);
    set_waitless(s->in);
    set_waitless(s->out);
    set_waitless(s->err);
    str_init(&s->to, MCP_WAITING_BYTES);
    str_init(&s->line, MCP_MESSAGE_BYTES);
    str_init(&s->err_line, ERR_LINE_BYTES);
    s->n_err = 0;
    if (pid < 0)
        mcp_fail(s, "no process for it: %s", strerror(errno));
    return pid > 0;
}

/* ---- ending ---- */

static void close_pipe(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* As the protocol asks: its stdin is closed; then it is told, then made to. */
static int reap(pid_t pid)
{
    int status = 0;
    for (int ms = 0; ms <= STOP_MS; ms += 10) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        if (got == pid || (got < 0 && errno != EINTR))
            break;
        if (ms == 200)
            kill(-pid, SIGTERM);
        if (ms == STOP_MS) {
            kill(-pid, SIGKILL);
            while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
            }
        }
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    kill(-pid, SIGKILL); /* what it may have started */
    return status;
}

void mcp_stdio_stop(struct mcp_server *s)
{
    close_pipe(&s->in); /* one that ended by itself has the others open still */
    close_pipe(&s->out);
    close_pipe(&s->err);
    if (s->pid)
        reap(s->pid);
    s->pid = 0;
    str_done(&s->to);
    str_done(&s->line);
    str_done(&s->err_line);
}

/* It ended by itself. */
static void ended(struct mcp_server *s)
{
    int status = 0;
    pid_t pid = s->pid;
    close_pipe(&s->in);
    s->pid = 0;
    if (pid)
        status = reap(pid);
    if (WIFSIGNALED(status))
        mcp_fail(s, "it was ended by signal %d", WTERMSIG(status));
    else if (s->entry->confined && WEXITSTATUS(status) == 125)
        mcp_fail(s,
                 "its sandbox cannot be made: a path is not there, or the kernel has no Landlock");
    else if (WEXITSTATUS(status) == 127)
        mcp_fail(s, "the program %.200s is not found or cannot be run", s->entry->argv[0]);
    else
        mcp_fail(s, "it ended with status %d", WEXITSTATUS(status));
}

/* ---- speaking ---- */

static bool flush_to(struct mcp_server *s)
{
    while (s->to.n) {
        ssize_t n = write(s->in, s->to.p, s->to.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        memmove(s->to.p, s->to.p + n, s->to.n - (size_t)n);
        s->to.n -= (size_t)n;
    }
    return true;
}

bool mcp_stdio_send(struct mcp_server *s, const json_t *msg)
{
    char *text = json_dumps(msg, JSON_COMPACT);
    if (s->in < 0 || !text) {
        free(text);
        return false;
    }
    size_t before = s->to.n;
    str_add_cstr(&s->to, text);
    str_add_char(&s->to, '\n');
    free(text);
    if (s->to.full) { /* none of it, or what follows would be in the middle of a line */
        s->to.n = before;
        s->to.full = false;
        return false;
    }
    flush_to(s); /* that it is gone is seen at its stdout */
    return true;
}

size_t mcp_stdio_fds(struct mcp_server *s, struct curl_waitfd *fds)
{
    size_t n = 0;
    if (s->entry->url || !s->pid)
        return 0;
    if (s->out >= 0)
        fds[n++] = (struct curl_waitfd){.fd = s->out, .events = CURL_WAIT_POLLIN};
    if (s->err >= 0)
        fds[n++] = (struct curl_waitfd){.fd = s->err, .events = CURL_WAIT_POLLIN};
    if (s->in >= 0 && s->to.n)
        fds[n++] = (struct curl_waitfd){.fd = s->in, .events = CURL_WAIT_POLLOUT};
    return n;
}

static bool take_lines(struct mcp_server *s, const char *p, size_t n)
{
    while (n) {
        const char *end = memchr(p, '\n', n);
        size_t len = end ? (size_t)(end - p) : n;
        str_add(&s->line, p, len);
        if (s->line.full) {
            mcp_fail(s, "it sent a message of over %zu MiB", MCP_MESSAGE_BYTES >> 20);
            return false;
        }
        p += len + (end != NULL);
        n -= len + (end != NULL);
        if (!end)
            break;
        if (s->line.n && !mcp_receive(s, str_span(&s->line)) && s->state != MCP_FAILED) {
            mcp_fail(s, "it sent a line that is no message: stdout is for messages alone");
            return false;
        }
        if (s->state == MCP_FAILED)
            return false;
        str_clear(&s->line);
    }
    return true;
}

static void log_line(struct mcp_server *s)
{
    for (size_t i = 0; i < s->err_line.n; i++) {
        unsigned char c = (unsigned char)s->err_line.p[i];
        if (c < 0x20 || c == 0x7f || c == '"')
            s->err_line.p[i] = ' ';
    }
    if (s->err_line.n && s->n_err < ERR_BYTES_MAX)
        log_at(LOG_INFO, "mcp", "server=%s says=\"%s%s\"", s->entry->name, s->err_line.p,
               s->err_line.full ? "..." : "");
    s->n_err += s->err_line.n;
    str_clear(&s->err_line);
}

static void take_err(struct mcp_server *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n')
            log_line(s);
        else
            str_add_char(&s->err_line, p[i]);
    }
}

void mcp_stdio_ready(struct mcp_server *s, const struct curl_waitfd *fds, size_t n)
{
    static char buf[1 << 16];
    for (size_t i = 0; i < n && s->pid; i++) {
        if (!fds[i].revents)
            continue;
        if (fds[i].fd == s->in) {
            flush_to(s);
            continue;
        }
        ssize_t got = read(fds[i].fd, buf, sizeof buf);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (got > 0 && fds[i].fd == s->out)
            take_lines(s, buf, (size_t)got);
        else if (got > 0)
            take_err(s, buf, (size_t)got);
        else if (fds[i].fd == s->err)
            close_pipe(&s->err);
        else
            ended(s);
    }
}
