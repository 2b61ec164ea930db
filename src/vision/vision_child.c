/* SPDX-License-Identifier: MIT */
#include "vision/vision_child.h"

#include "base/arena.h"
#include "base/log.h"
#include "base/num.h"
#include "os/os_child.h"
#include "os/os_sandbox.h"
#include "os/os_sys.h"
#include "vision/vision_decode.h"
#include "vision/vision_resize.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND_NS    1000000000ull
#define PICTURE_S    15 /* of a processor's time, and then some of the clock's */
#define CLOCK_S      45
#define MEMORY_BYTES ((rlim_t)1 << 30)
#define SIDE_MAX     4096 /* of what is asked for */

struct vision_child {
    int fd;
    pid_t pid;
    bool gone;
};

struct ask {
    uint64_t n;
    uint64_t side;
};

struct answer {
    uint64_t code;
    char text[sizeof((struct errinfo *)0)->text];
};

/* ---- moving bytes ---- */

/* To sockets alone: one whose other end is closed is an error and no signal. */
static bool put_all(int fd, const void *p, size_t n)
{
    const char *at = p;
    while (n) {
        ssize_t some = send(fd, at, n, MSG_NOSIGNAL);
        if (some < 0 && errno == EINTR)
            continue;
        if (some <= 0)
            return false;
        at += some;
        n -= (size_t)some;
    }
    return true;
}

/* False at the end, after an error, and when the time has come; 0: no such time. */
static bool get_all(int fd, void *p, size_t n, uint64_t until_ns)
{
    char *at = p;
    while (n) {
        uint64_t now = until_ns ? os_now_ns() : 0;
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (until_ns && now >= until_ns)
            return false;
        int wait = until_ns ? (int)((until_ns - now) / 1000000 + 1) : -1;
        int r = poll(&ready, 1, wait);
        if (r == 0 || (r < 0 && errno == EINTR))
            continue;
        ssize_t some = r < 0 ? -1 : read(fd, at, n);
        if (some < 0 && errno == EINTR)
            continue;
        if (some <= 0)
            return false;
        at += some;
        n -= (size_t)some;
    }
    return true;
}

/* ---- the process of a picture ---- */

static void set_limit(int what, rlim_t max)
{
    const struct rlimit limit = {.rlim_cur = max, .rlim_max = max};
    setrlimit((__rlimit_resource_t)what, &limit);
}

static void confine(bool confined)
{
    struct os_sandbox s;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    set_limit(RLIMIT_CORE, 0);
    set_limit(RLIMIT_FSIZE, 0);
    set_limit(RLIMIT_CPU, PICTURE_S);
    if (!confined)
        return;
    if (!DAMSO_SANITIZED) /* they want address space */
        set_limit(RLIMIT_AS, MEMORY_BYTES);
    set_limit(RLIMIT_NOFILE, 0);
    if (os_sandbox_calls(&s, &(struct os_sandbox_opts){0}, NULL) != ERR_OK)
        _exit(1);
}

_Noreturn static void read_picture(int out, const uint8_t *bytes, const struct ask *ask,
                                   bool confined)
{
    struct vision_picture p;
    struct errinfo e = {0};
    struct answer a = {0};
    confine(confined);
    enum err r = vision_decode(bytes, (size_t)ask->n, &p, &e);
    size_t side = (size_t)ask->side, n = side * side * 3;
    a.code = (uint64_t)r;
    memcpy(a.text, e.text, sizeof a.text);
    bool good = put_all(out, &a, sizeof a);
    if (r == ERR_OK) {
        uint8_t *rgb = mem_alloc(n);
        vision_resize(p.rgb, p.width, p.height, rgb, side, side);
        good = good && put_all(out, rgb, n);
    }
    _exit(good ? 0 : 1);
}

/* ---- the process that forks them ---- */

/* What the process of a picture answers; false: it broke, or took too long. */
static bool take_answer(int from, struct answer *a, uint8_t *rgb, size_t n)
{
    uint64_t until = os_now_ns() + CLOCK_S * SECOND_NS;
    return get_all(from, a, sizeof *a, until) && a->code < ERR_N &&
           (a->code != ERR_OK || get_all(from, rgb, n, until));
}

static void fail(struct answer *a, const char *why)
{
    *a = (struct answer){.code = ERR_FAILED};
    strncpy(a->text, why, sizeof a->text - 1);
}

static bool open_pair(int ends[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0;
}

static bool answer_one(int fd, const struct ask *ask, const uint8_t *bytes, bool confined)
{
    size_t n = (size_t)(ask->side * ask->side * 3);
    struct answer a;
    int ends[2], status;
    uint8_t *rgb = mem_alloc(n);
    if (!open_pair(ends)) { /* later pictures may find files again */
        mem_free(rgb);
        fail(&a, "the system opens no more files now");
        return put_all(fd, &a, sizeof a);
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        close(fd);
        read_picture(ends[1], bytes, ask, confined);
    }
    close(ends[1]);
    if (pid < 0) {
        fail(&a, "the system starts no more processes now");
    } else {
        if (!take_answer(ends[0], &a, rgb, n)) {
            kill(pid, SIGKILL);
            fail(&a, "the picture could not be read: its reader broke, or took too long");
        }
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
    }
    close(ends[0]);
    a.text[sizeof a.text - 1] = '\0';
    bool good = put_all(fd, &a, sizeof a) && (a.code != ERR_OK || put_all(fd, rgb, n));
    mem_free(rgb);
    return good;
}

static void run(int fd, const void *arg)
{
    const bool confined = *(const bool *)arg;
    struct os_sandbox s;
    struct errinfo e;
    struct ask ask;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* the server's, which ends in its own time, and this with it */
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    if (confined && os_sandbox_files(&s, &(struct os_sandbox_opts){0}, &e) != ERR_OK)
        log_at(LOG_WARN, "pictures", "sandbox=\"%s\"", e.text);
    bool good = true;
    while (good && get_all(fd, &ask, sizeof ask, 0)) {
        if (ask.n > VISION_BYTES_MAX || ask.side < 1 || ask.side > SIDE_MAX)
            break;
        uint8_t *bytes = mem_alloc((size_t)ask.n + 1);
        good = get_all(fd, bytes, (size_t)ask.n, 0) && answer_one(fd, &ask, bytes, confined);
        mem_free(bytes);
    }
}

/* ---- the server's side ---- */

enum err vision_child_open(struct vision_child **out, bool confined, struct errinfo *e)
{
    int ends[2];
    pid_t pid;
    *out = NULL;
    if (!open_pair(ends))
        return err_set(e, ERR_FAILED, "socketpair: %s", strerror(errno));
    TRY(os_child_fork(ends, run, &confined, &pid, e));
    struct vision_child *c = mem_alloc(sizeof *c);
    *c = (struct vision_child){.fd = ends[0], .pid = pid};
    *out = c;
    return ERR_OK;
}

void vision_child_close(struct vision_child *c)
{
    if (!c)
        return;
    close(c->fd); /* its end of what it reads: it ends */
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    mem_free(c);
}

enum err vision_child_read(struct vision_child *c, const void *bytes, size_t n, size_t side,
                           uint8_t *rgb, struct errinfo *e)
{
    struct ask ask = {n, side};
    struct answer a;
    uint64_t until = os_now_ns() + (CLOCK_S + 15) * SECOND_NS;
    CHECK(side >= 1 && side <= SIDE_MAX);
    if (n > VISION_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "a picture's file of %zu MiB is more than %zu MiB", n >> 20,
                       VISION_BYTES_MAX >> 20);
    c->gone = c->gone || !put_all(c->fd, &ask, sizeof ask) || !put_all(c->fd, bytes, n) ||
              !get_all(c->fd, &a, sizeof a, until) || a.code >= ERR_N ||
              (a.code == ERR_OK && !get_all(c->fd, rgb, side * side * 3, until));
    if (c->gone)
        return err_set(e, ERR_FAILED,
                       "the process that reads pictures has ended; the server has to be started "
                       "again");
    if (a.code != ERR_OK)
        return err_set(e, (enum err)a.code, "%.*s", (int)sizeof a.text, a.text);
    return ERR_OK;
}
