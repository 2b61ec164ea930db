/* SPDX-License-Identifier: MIT
 * Only what signal-safety(7) allows happens in the handler, and backtrace(), whose library is
 * loaded by a call beforehand.  Numbers are written by hand. */
#include "os/os_crash.h"

#include "base/num.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define OS_MODULES_MAX 64
#define OS_FRAMES_MAX  64
#define OS_STACK_BYTES (64 << 10)

static const struct {
    int signal;
    const char *name;
} os_faults[] = {
    {SIGSEGV, "SIGSEGV"},
    {SIGBUS,  "SIGBUS" },
    {SIGILL,  "SIGILL" },
    {SIGFPE,  "SIGFPE" },
    {SIGABRT, "SIGABRT"},
};

/* A part of the program's code in memory, as it was when the process began. */
struct os_module {
    char name[48];
    uintptr_t base, begin, end;
};

static struct {
    const char *version;
    int fd; /* -1: stderr alone */
    struct os_module modules[OS_MODULES_MAX];
    size_t n_modules;
    atomic_flag speaking;
    _Alignas(16) char stack[OS_STACK_BYTES];
} os_crash = {.fd = -1, .speaking = ATOMIC_FLAG_INIT};

/* ---- a line, made without stdio ---- */

struct os_line {
    char text[256];
    size_t n;
};

static void os_put(struct os_line *l, const char *text)
{
    for (; *text && l->n < sizeof l->text - 1; text++)
        l->text[l->n++] = *text;
}

static void os_put_number(struct os_line *l, uint64_t v, unsigned base)
{
    char digits[24];
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do {
        digits[--at] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    if (base == 16)
        os_put(l, "0x");
    os_put(l, digits + at);
}

static void os_tell(struct os_line *l)
{
    const int fds[] = {STDERR_FILENO, os_crash.fd};
    l->text[l->n++] = '\n';
    for (size_t i = 0; i < N_ELEMS(fds); i++) {
        for (size_t at = 0; fds[i] >= 0 && at < l->n;) {
            ssize_t got = write(fds[i], l->text + at, l->n - at);
            if (got <= 0 && errno != EINTR)
                break;
            at += got > 0 ? (size_t)got : 0;
        }
    }
    l->n = 0;
}

/* ---- the handler ---- */

static void os_tell_frame(struct os_line *l, int i, uintptr_t at)
{
    os_put(l, "crash frame=");
    os_put_number(l, (uint64_t)i, 10);
    os_put(l, " at=");
    for (size_t k = 0; k < os_crash.n_modules; k++) {
        const struct os_module *m = &os_crash.modules[k];
        if (at < m->begin || at >= m->end)
            continue;
        os_put(l, m->name);
        os_put(l, "+");
        at -= m->base;
        break;
    }
    os_put_number(l, at, 16);
    os_tell(l);
}

static void os_tell_fault(int signal, const siginfo_t *info)
{
    struct os_line l = {.n = 0};
    void *frames[OS_FRAMES_MAX];
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    os_put(&l, "crash signal=");
    for (size_t i = 0; i < N_ELEMS(os_faults); i++)
        os_put(&l, os_faults[i].signal == signal ? os_faults[i].name : "");
    os_put(&l, " code=");
    os_put(&l, info->si_code < 0 ? "-" : "");
    os_put_number(&l, (uint64_t)(info->si_code < 0 ? -(int64_t)info->si_code : info->si_code), 10);
    if (info->si_code > 0) { /* made by the processor, not by kill() */
        os_put(&l, " address=");
        os_put_number(&l, (uintptr_t)info->si_addr, 16);
    }
    os_put(&l, " version=");
    os_put(&l, os_crash.version);
    os_put(&l, " thread=");
    os_put_number(&l, (uint64_t)syscall(SYS_gettid), 10);
    os_put(&l, " time=");
    os_put_number(&l, (uint64_t)now.tv_sec, 10);
    os_tell(&l);
    int n = backtrace(frames, OS_FRAMES_MAX);
    for (int i = 0; i < n; i++)
        os_tell_frame(&l, i, (uintptr_t)frames[i]);
    if (os_crash.fd >= 0)
        fsync(os_crash.fd);
}

static void os_on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    int saved = errno;
    while (
        atomic_flag_test_and_set(&os_crash.speaking)) /* another thread speaks, and then all end */
        pause();
    os_tell_fault(number, info);
    /* What would have happened without us: the signal waits, blocked, until this returns. */
    signal(number, SIG_DFL);
    raise(number);
    errno = saved;
}

/* ---- beforehand ---- */

static int os_note_module(struct dl_phdr_info *info, size_t size, void *first)
{
    (void)size;
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash ? slash + 1 : info->dlpi_name[0] ? info->dlpi_name : "?";
    if (*(bool *)first) /* the program itself comes first and has no name */
        name = program_invocation_short_name;
    *(bool *)first = false;
    for (int i = 0; i < info->dlpi_phnum && os_crash.n_modules < OS_MODULES_MAX; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
            continue;
        struct os_module *m = &os_crash.modules[os_crash.n_modules++];
        strncpy(m->name, name, sizeof m->name - 1);
        m->base = info->dlpi_addr;
        m->begin = info->dlpi_addr + p->p_vaddr;
        m->end = m->begin + p->p_memsz;
    }
    return 0;
}

enum err os_crash_open(const char *version, const char *path, struct errinfo *e)
{
    CHECK(!os_crash.version);
    if (path) {
        os_crash.fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (os_crash.fd < 0)
            return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    }
    os_crash.version = version;
    bool first = true;
    dl_iterate_phdr(os_note_module, &first);
    void *frame[1];
    backtrace(frame, 1); /* loads what it needs */
    const stack_t stack = {.ss_sp = os_crash.stack, .ss_size = sizeof os_crash.stack};
    struct sigaction act = {.sa_sigaction = os_on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&act.sa_mask);
    bool ok = sigaltstack(&stack, NULL) == 0;
    for (size_t i = 0; i < N_ELEMS(os_faults); i++)
        ok = sigaction(os_faults[i].signal, &act, NULL) == 0 && ok;
    CHECK(ok);
    return ERR_OK;
}
