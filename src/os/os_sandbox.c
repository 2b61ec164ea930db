/* SPDX-License-Identifier: MIT */
#include "os/os_sandbox.h"

#include "base/num.h"

#include <stdio.h>
#include <string.h>

void os_sandbox_text(const struct os_sandbox *s, char out[64])
{
    char files[24] = "free";
    if (s->landlock)
        snprintf(files, sizeof files, "landlock-%d", s->landlock);
    snprintf(out, 64, "files=%s calls=%s connect=%s", files, s->seccomp ? "seccomp" : "free",
             s->connect || !s->seccomp ? "yes" : "no");
}

#ifdef __linux__

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

/* ---- files ---- */

/* Of later kernels than the headers we build with (linux/landlock.h of 6.2 and 6.10). */
#define OS_LANDLOCK_TRUNCATE  ((uint64_t)1 << 14)
#define OS_LANDLOCK_IOCTL_DEV ((uint64_t)1 << 15)

/* Of the headers of 6.7, with version 4. */
#define OS_LANDLOCK_CONNECT_TCP ((uint64_t)1 << 1)
#define OS_LANDLOCK_NET_PORT    2
struct os_landlock_ruleset {
    uint64_t files, net;
};
struct os_landlock_port {
    uint64_t allowed, port;
};

#define OS_LANDLOCK_FILE_READ LANDLOCK_ACCESS_FS_READ_FILE
#define OS_LANDLOCK_READ      (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define OS_LANDLOCK_RUN       (OS_LANDLOCK_READ | LANDLOCK_ACCESS_FS_EXECUTE)
#define OS_LANDLOCK_WRITE                                                                          \
    (OS_LANDLOCK_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |            \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |  \
     LANDLOCK_ACCESS_FS_REFER | OS_LANDLOCK_TRUNCATE)

/* What the C library, TLS and name look-up read while the server runs, and os_sys.c. */
static const char *const os_system_paths[] = {
    "/dev/null",
    "/dev/urandom",
    "/dev/zero",
    "/etc/ca-certificates",
    "/etc/gai.conf",
    "/etc/gnutls",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/lib",
    "/lib64",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/run/systemd/resolve",
};

static uint64_t os_landlock_handled(int version)
{
    uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; /* all thirteen of version 1 */
    if (version >= 2)
        all |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3)
        all |= OS_LANDLOCK_TRUNCATE;
    if (version >= 5)
        all |= OS_LANDLOCK_IOCTL_DEV;
    return all;
}

static enum err os_landlock_add(int rules, const char *path, uint64_t rights, bool must,
                                struct errinfo *e)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = rights};
    struct stat st;
    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return must ? err_set(e, ERR_NOTFOUND, "%s: %s", path, strerror(errno)) : ERR_OK;
    if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode)) /* a file has no folder's rights */
        rule.allowed_access &= LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
                               LANDLOCK_ACCESS_FS_WRITE_FILE | OS_LANDLOCK_TRUNCATE;
    long failed = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    int why = errno;
    close(rule.parent_fd);
    if (failed)
        return err_set(e, ERR_FAILED, "Landlock refuses %s: %s", path, strerror(why));
    return ERR_OK;
}

static enum err os_landlock_fill(int rules, const struct os_sandbox_opts *o, uint64_t handled,
                                 struct errinfo *e)
{
    for (size_t i = 0; i < N_ELEMS(os_system_paths); i++)
        TRY(os_landlock_add(rules, os_system_paths[i], OS_LANDLOCK_READ & handled, false, e));
    for (size_t i = 0; o->read && o->read[i]; i++)
        TRY(os_landlock_add(rules, o->read[i], OS_LANDLOCK_READ & handled, true, e));
    for (size_t i = 0; o->run && o->run[i]; i++)
        TRY(os_landlock_add(rules, o->run[i], OS_LANDLOCK_RUN & handled, true, e));
    for (size_t i = 0; o->write && o->write[i]; i++)
        TRY(os_landlock_add(rules, o->write[i], OS_LANDLOCK_WRITE & handled, true, e));
    for (size_t i = 0; o->remove && o->remove[i]; i++)
        TRY(os_landlock_add(rules, o->remove[i], LANDLOCK_ACCESS_FS_REMOVE_FILE, false, e));
    return ERR_OK;
}

static enum err os_landlock_ports(int rules, const int *ports, struct errinfo *e)
{
    for (; *ports; ports++) {
        struct os_landlock_port rule = {OS_LANDLOCK_CONNECT_TCP, (uint64_t)*ports};
        if (syscall(SYS_landlock_add_rule, rules, OS_LANDLOCK_NET_PORT, &rule, 0) != 0)
            return err_set(e, ERR_FAILED, "Landlock refuses port %d: %s", *ports, strerror(errno));
    }
    return ERR_OK;
}

static int os_n_threads(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *x; d && (x = readdir(d));)
        n += x->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

enum err os_sandbox_files(struct os_sandbox *s, const struct os_sandbox_opts *o, struct errinfo *e)
{
    int n = os_n_threads();
    if (n > 1 && !o->beside)
        return err_set(e, ERR_USAGE, "%d threads run already; files must be restricted before", n);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_set(e, ERR_FAILED, "no_new_privs: %s", strerror(errno));
    s->landlock = 0;
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version <= 0)
        return ERR_OK; /* not in this kernel, or off */
    bool ports = version >= 4 && o->connect && o->ports;
    struct os_landlock_ruleset attr = {.files = os_landlock_handled((int)version),
                                       .net = ports ? OS_LANDLOCK_CONNECT_TCP : 0};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attr,
                             ports ? sizeof attr : sizeof attr.files, 0);
    if (rules < 0)
        return err_set(e, ERR_FAILED, "Landlock: %s", strerror(errno));
    enum err err = os_landlock_fill(rules, o, attr.files, e);
    if (err == ERR_OK && ports)
        err = os_landlock_ports(rules, o->ports, e);
    if (err == ERR_OK && syscall(SYS_landlock_restrict_self, rules, 0) != 0)
        err = err_set(e, ERR_FAILED, "Landlock: %s", strerror(errno));
    close(rules);
    if (err == ERR_OK)
        s->landlock = (int)version;
    return err;
}

/* ---- system calls ---- */

enum os_rule { OS_ALLOW, OS_CONNECT, OS_NEVER };

static const struct {
    const char *name;
    enum os_rule rule;
} os_calls[] = {
#define ALLOW(call)   {#call, OS_ALLOW},
#define CONNECT(call) {#call, OS_CONNECT},
#define NEVER(call)   {#call, OS_NEVER},
#include "os/os_sandbox.def"
#undef ALLOW
#undef CONNECT
#undef NEVER
};

/* Names that libseccomp or the processor do not know are left out: they give ENOSYS. */
static int os_seccomp_lists(scmp_filter_ctx f, bool connect)
{
    int rc = 0;
    for (size_t i = 0; i < N_ELEMS(os_calls) && rc == 0; i++) {
        int nr = seccomp_syscall_resolve_name(os_calls[i].name);
        bool yes = os_calls[i].rule == OS_ALLOW || (os_calls[i].rule == OS_CONNECT && connect);
        if (nr >= 0)
            rc = seccomp_rule_add(f, yes ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM), nr, 0);
    }
    return rc;
}

/* Calls that are good with some arguments only. */
static int os_seccomp_arguments(scmp_filter_ctx f, bool connect)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    static const unsigned long controls[] = {FIONBIO, FIONREAD, TCGETS, TIOCGWINSZ};
    uint64_t self = (uint64_t)getpid();
    int rc = 0;
    /* A thread; a process would need clone without CLONE_THREAD.  clone3 hides its flags behind a
     * pointer: ENOSYS, and the C library takes clone. */
    rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                           SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1, SCMP_A0(SCMP_CMP_EQ, self, 0));
    rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, self, 0));
    rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                           SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0));
    /* Limits are read (a thread's stack), not set. */
    rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0, 0));
    for (size_t i = 0; i < N_ELEMS(controls); i++)
        rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                               SCMP_A1(SCMP_CMP_EQ, controls[i], 0));
    for (size_t i = 0; i < N_ELEMS(families) && connect; i++)
        rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                               SCMP_A0(SCMP_CMP_EQ, (uint64_t)families[i], 0));
    return rc;
}

enum err os_sandbox_calls(struct os_sandbox *s, const struct os_sandbox_opts *o, struct errinfo *e)
{
    s->seccomp = false;
    s->connect = o->connect;
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0)
        return ERR_OK; /* not in this kernel */
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (!f)
        return err_set(e, ERR_FAILED, "seccomp: no filter can be made");
    int rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1); /* all threads */
    rc = rc ? rc : seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
    rc = rc ? rc : os_seccomp_lists(f, o->connect);
    rc = rc ? rc : os_seccomp_arguments(f, o->connect);
    /* Wishes, which an older kernel may not know: log what is refused; search, not walk. */
    seccomp_attr_set(f, SCMP_FLTATR_CTL_LOG, 1);
    seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    rc = rc ? rc : seccomp_load(f);
    seccomp_release(f);
    if (rc != 0)
        return err_set(e, ERR_FAILED, "seccomp: %s", strerror(-rc));
    s->seccomp = true;
    return ERR_OK;
}

#else

enum err os_sandbox_files(struct os_sandbox *s, const struct os_sandbox_opts *o, struct errinfo *e)
{
    (void)o;
    (void)e;
    s->landlock = 0;
    return ERR_OK;
}

enum err os_sandbox_calls(struct os_sandbox *s, const struct os_sandbox_opts *o, struct errinfo *e)
{
    (void)e;
    s->seccomp = false;
    s->connect = o->connect;
    return ERR_OK;
}

#endif
