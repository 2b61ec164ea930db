/* SPDX-License-Identifier: MIT
 * The sandbox, each time in a child: what must fail fails without ending it, and what a server does
 * goes on. */
#include "base/test.h"

#include "base/num.h"
#include "os/os_pool.h"
#include "os/os_sandbox.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The thread sanitizer keeps a thread of its own, and Landlock is for processes with one. */
#ifdef __SANITIZE_THREAD__
#define MORE_THREADS 1
#else
#define MORE_THREADS 0
#endif

static char folder[64], to_read[80], to_write[80], other[80];
static int listener = -1;
static uint16_t port;

/* In a child: a broken promise ends it, and the parent sees it. */
#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #cond, strerror(errno));       \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)
#define MUST_FAIL(call, why)                                                                       \
    do {                                                                                           \
        errno = 0;                                                                                 \
        MUST((call) == -1 && errno == (why));                                                      \
    } while (0)

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/sandbox_test_XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(to_read, sizeof to_read, "%s/read", folder);
    snprintf(to_write, sizeof to_write, "%s/write", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    assert_true(mkdir(to_read, 0700) == 0 && mkdir(to_write, 0700) == 0 && mkdir(other, 0700) == 0);
    static const char *const places[] = {to_read, to_write, other};
    for (size_t i = 0; i < N_ELEMS(places); i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/file", places[i]);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        assert_true(fd >= 0 && write(fd, "text", 4) == 4 && close(fd) == 0);
    }
    listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    assert_true(bind(listener, (struct sockaddr *)&a, n) == 0 && listen(listener, 8) == 0 &&
                getsockname(listener, (struct sockaddr *)&a, &n) == 0);
    port = ntohs(a.sin_port);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    close(listener);
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    return 0;
}

static pid_t start(void (*child)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        child();
        _exit(0);
    }
    assert_true(pid > 0);
    return pid;
}

static void expect_end(pid_t pid)
{
    int how;
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), 0);
}

/* open(2) of a file below a folder: 0, or -1 with errno. */
static int open_in(const char *in, const char *name, int flags)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", in, name);
    int fd = open(path, flags | O_CLOEXEC, 0600);
    return fd >= 0 ? close(fd) : -1;
}

/* ---- files ---- */

static void restrict_files(struct os_sandbox *s)
{
    struct errinfo e = {0};
    const char *const read_these[] = {to_read, NULL}, *const write_these[] = {to_write, NULL};
    const struct os_sandbox_opts o = {.read = read_these, .write = write_these};
    enum err err = os_sandbox_files(s, &o, &e);
    if (err != ERR_OK)
        fprintf(stderr, "%s\n", e.text);
    MUST(err == ERR_OK);
}

static void *look_around(void *arg)
{
    (void)arg;
    char from[96], to[96];
    MUST(open_in(to_read, "file", O_RDONLY) == 0);
    MUST_FAIL(open_in(to_read, "file", O_WRONLY), EACCES);
    MUST_FAIL(open_in(to_read, "new", O_WRONLY | O_CREAT), EACCES);
    MUST(open_in(to_write, "file", O_RDWR) == 0);
    MUST(open_in(to_write, "new", O_WRONLY | O_CREAT | O_TRUNC) == 0);
    snprintf(from, sizeof from, "%s/new", to_write);
    snprintf(to, sizeof to, "%s/newer", to_write);
    MUST(rename(from, to) == 0 && unlink(to) == 0);
    MUST_FAIL(open_in(other, "file", O_RDONLY), EACCES);
    MUST_FAIL(open_in(folder, "other/file", O_RDONLY), EACCES);
    MUST_FAIL(open_in(to_read, "../other/file", O_RDONLY), EACCES);
    MUST_FAIL(open_in("/etc", "passwd", O_RDONLY), EACCES);
    MUST_FAIL(open_in("/tmp", "sandbox_test_new", O_WRONLY | O_CREAT), EACCES);
    MUST(open_in("/proc", "meminfo", O_RDONLY) == 0 &&
         open_in("/proc/self", "status", O_RDONLY) == 0);
    MUST(open_in("/dev", "urandom", O_RDONLY) == 0);
    return NULL;
}

static void child_files(void)
{
    struct os_sandbox s = {0};
    char text[64];
    pthread_t t;
    restrict_files(&s);
    os_sandbox_text(&s, text);
    fprintf(stderr, "%s\n", text);
    if (!s.landlock) {
        fprintf(stderr, "this kernel has no Landlock: nothing to look at\n");
        return;
    }
    look_around(NULL);
    MUST(pthread_create(&t, NULL, look_around, NULL) == 0 && pthread_join(t, NULL) == 0);
}

static void test_files(void **state)
{
    (void)state;
    if (MORE_THREADS)
        skip();
    expect_end(start(child_files));
}

static void child_wrong_files(void)
{
    struct os_sandbox s = {0};
    struct errinfo e = {0};
    const char *const missing[] = {"/nonexistent/folder", NULL};
    const struct os_sandbox_opts o = {.read = missing};
    enum err err = os_sandbox_files(&s, &o, &e);
    MUST(err == ERR_OK ? s.landlock == 0 : err == ERR_NOTFOUND && strstr(e.text, missing[0]));
    struct os_pool *pool = os_pool_new(2);
    MUST(os_sandbox_files(&s, &o, &e) == ERR_USAGE && strstr(e.text, "threads run"));
    os_pool_free(pool);
}

static void test_wrong_files(void **state)
{
    (void)state;
    if (MORE_THREADS)
        skip();
    expect_end(start(child_wrong_files));
}

/* ---- calls ---- */

static void look_at_calls(void)
{
    static char *const argv[] = {"true", NULL};
    int number = 0;
    MUST_FAIL(execve("/bin/true", argv, argv + 1), EPERM);
    MUST_FAIL(syscall(SYS_execveat, -1, "/bin/true", argv, argv + 1, 0), EPERM);
    MUST_FAIL(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL), ENOSYS);
    MUST_FAIL(syscall(SYS_clone3, NULL, 0), ENOSYS);
    MUST_FAIL(ptrace(PTRACE_TRACEME, 0, 0, 0), EPERM);
    MUST_FAIL(syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0), EPERM);
    MUST_FAIL(syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL), EPERM);
    MUST_FAIL(syscall(SYS_bpf, 0, NULL, 0), EPERM);
    MUST_FAIL(syscall(SYS_keyctl, 0, 0, 0), EPERM);
    MUST_FAIL(syscall(SYS_userfaultfd, 0), EPERM);
    MUST_FAIL(syscall(SYS_io_uring_setup, 1, NULL), EPERM);
    MUST_FAIL(syscall(SYS_unshare, 0), EPERM);
    MUST_FAIL(setuid(getuid()), EPERM);
    MUST_FAIL(symlink("/etc/passwd", "x"), EPERM);
    MUST_FAIL(kill(getppid(), 0), ENOSYS);
    MUST_FAIL(syscall(9999), ENOSYS);
    MUST_FAIL(bind(listener, NULL, 0), EPERM);
    MUST_FAIL(listen(listener, 1), EPERM);
    MUST_FAIL(ioctl(listener, TIOCSTI, &number), ENOSYS);
    MUST(kill(getpid(), 0) == 0);
}

static struct meeting {
    pthread_mutex_t mu;
} meeting = {PTHREAD_MUTEX_INITIALIZER};

static void *look_later(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&meeting.mu);
    pthread_mutex_unlock(&meeting.mu);
    look_at_calls();
    return NULL;
}

static void add_up(void *arg, int thread, int n)
{
    (void)n;
    __atomic_fetch_add((int *)arg, thread + 1, __ATOMIC_RELAXED);
}

static void go_on(void)
{
    int sum = 0, ends[2];
    struct os_pool *pool = os_pool_new(3);
    MUST(os_pool_threads(pool) == 3);
    os_pool_run(pool, add_up, &sum);
    os_pool_free(pool);
    MUST(sum == 6);
    void *p = mmap(NULL, 1 << 24, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(p != MAP_FAILED && munmap(p, 1 << 24) == 0);
    int fd = open("/proc/self/exe", O_RDONLY);
    p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    MUST(p != MAP_FAILED && close(fd) == 0);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && write(ends[0], "x", 1) == 1);
}

static void answer_one(void)
{
    char got[1024];
    int fd = accept(listener, NULL, NULL);
    MUST(fd >= 0 && recv(fd, got, sizeof got, 0) > 0);
    static const char text[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    MUST(send(fd, text, sizeof text - 1, MSG_NOSIGNAL) == sizeof text - 1 && close(fd) == 0);
}

static void restrict_calls(bool connect_too)
{
    struct os_sandbox s = {0};
    struct errinfo e = {0};
    char text[64];
    const struct os_sandbox_opts o = {.connect = connect_too};
    enum err err = os_sandbox_calls(&s, &o, &e);
    if (err != ERR_OK)
        fprintf(stderr, "%s\n", e.text);
    os_sandbox_text(&s, text);
    fprintf(stderr, "%s\n", text);
    MUST(err == ERR_OK && s.seccomp);
    MUST(strcmp(text, connect_too ? "files=free calls=seccomp connect=yes"
                                  : "files=free calls=seccomp connect=no") == 0);
}

static void child_calls(void)
{
    pthread_t before;
    pthread_mutex_lock(&meeting.mu);
    MUST(pthread_create(&before, NULL, look_later, NULL) == 0);
    restrict_calls(false);
    pthread_mutex_unlock(&meeting.mu);
    MUST(pthread_join(before, NULL) == 0); /* a thread that ran already is bound as well */
    look_at_calls();
    go_on();
    MUST_FAIL(socket(AF_INET, SOCK_STREAM, 0), ENOSYS);
    MUST_FAIL(connect(listener, NULL, 0), EPERM);
    answer_one();
}

static void fetch_hello(void);

static void test_calls(void **state)
{
    (void)state;
    pid_t pid = start(child_calls);
    fetch_hello();
    expect_end(pid);
}

static size_t keep(char *p, size_t size, size_t n, void *out)
{
    strncat(out, p, MIN(size * n, 63));
    return size * n;
}

/* By name and with a thread for the name: what a download does. */
static void fetch_hello(void)
{
    char url[64], got[64] = "";
    CURL *c = curl_easy_init();
    snprintf(url, sizeof url, "http://localhost:%u/", port);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, got);
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c, CURLOPT_TIMEOUT, 10L);
    CURLcode rc = curl_easy_perform(c);
    curl_easy_cleanup(c);
    if (rc != CURLE_OK)
        fprintf(stderr, "curl: %s\n", curl_easy_strerror(rc));
    MUST(rc == CURLE_OK && strcmp(got, "hello") == 0);
}

static void child_connect(void)
{
    restrict_calls(true);
    look_at_calls();
    MUST_FAIL(socket(AF_PACKET, SOCK_RAW, 0), ENOSYS);
    fetch_hello();
}

static void test_connect(void **state)
{
    (void)state;
    pid_t pid = start(child_connect);
    answer_one();
    expect_end(pid);
}

/* Connections to one port alone, where the kernel's Landlock knows of ports. */
static void child_ports(void)
{
    struct errinfo e = {0};
    struct os_sandbox s = {0};
    const int wrong[] = {port == 1 ? 2 : 1, 0}, right[] = {port, 0};
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct os_sandbox_opts o = {.connect = true, .ports = right};
    MUST(os_sandbox_files(&s, &o, &e) == ERR_OK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    MUST(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && close(fd) == 0);
    o.ports = wrong; /* and no other, from now on */
    MUST(os_sandbox_files(&s, &o, &e) == ERR_OK);
    fprintf(stderr, "landlock %d\n", s.landlock);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (s.landlock >= 4)
        MUST_FAIL(connect(fd, (struct sockaddr *)&a, sizeof a), EACCES);
}

static void test_ports(void **state)
{
    (void)state;
    if (MORE_THREADS)
        skip();
    expect_end(start(child_ports));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_files), TEST(test_wrong_files), TEST(test_calls),
                                       TEST(test_connect), TEST(test_ports)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
