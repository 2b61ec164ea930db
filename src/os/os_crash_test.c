/* SPDX-License-Identifier: MIT
 * Faults of each kind in a child: it dies of the signal, and the file says of what and where. */
#include "base/test.h"

#include "base/num.h"
#include "os/os_crash.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64], file[80];
static volatile int zero;

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/crash_test_XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/crash.log", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(folder);
}

/* The child's last words, from the file; they are in out as one text. */
static void die(void (*how)(void), int signal, char out[8192])
{
    int end;
    struct stat st;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        if (os_crash_open("9.8.7", file, NULL) != ERR_OK)
            _exit(1);
        how();
        _exit(2);
    }
    assert_int_equal(waitpid(pid, &end, 0), pid);
    assert_true(WIFSIGNALED(end));
    assert_int_equal(WTERMSIG(end), signal);
    FILE *f = fopen(file, "rb");
    assert_non_null(f);
    size_t n = fread(out, 1, 8191, f);
    out[n] = 0;
    fclose(f);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(unlink(file), 0);
    assert_non_null(strstr(out, " version=9.8.7 thread="));
    assert_non_null(strstr(out, "\ncrash frame=1 at="));
    assert_non_null(strstr(out, " at=os_crash_test+0x")); /* module and offset */
}

__attribute__((noinline)) static void write_nowhere(void)
{
    volatile char *p = (volatile char *)(uintptr_t)(0x1234 + zero);
    *p = 1;
}

static void test_address(void **state)
{
    (void)state;
    char text[8192];
    die(write_nowhere, SIGSEGV, text);
    assert_int_equal(strncmp(text, "crash signal=SIGSEGV code=1 address=0x1234 ", 43), 0);
}

static void break_a_promise(void)
{
    CHECK(zero);
}

static void raise_fpe(void)
{
    raise(SIGFPE);
}

static void read_behind_the_end(void)
{
    FILE *f = tmpfile();
    volatile char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(f), 0);
    zero = p[0];
}

static void illegal(void)
{
#if defined(__x86_64__)
    __asm__ volatile("ud2");
#else
    raise(SIGILL);
#endif
}

static void test_each(void **state)
{
    (void)state;
    char text[8192];
    die(break_a_promise, SIGABRT, text);
    assert_non_null(strstr(text, "signal=SIGABRT code=-"));
    assert_null(strstr(text, "address="));
    die(raise_fpe, SIGFPE, text);
    assert_non_null(strstr(text, "signal=SIGFPE"));
    die(read_behind_the_end, SIGBUS, text);
    assert_non_null(strstr(text, "signal=SIGBUS"));
    die(illegal, SIGILL, text);
    assert_non_null(strstr(text, "signal=SIGILL"));
}

__attribute__((noinline)) static int go_down(int n)
{
    volatile char room[4096];
    room[n % 4096] = (char)n;
    return n == zero - 1 ? 0 : go_down(n + 1) + room[n % 4096];
}

static void overflow(void)
{
    zero = go_down(1);
}

static void test_stack(void **state)
{
    (void)state;
    char text[8192];
    if (DAMSO_SANITIZED) /* they lay the stack out in their own way */
        skip();
    die(overflow, SIGSEGV, text);
    assert_non_null(strstr(text, "signal=SIGSEGV"));
}

static void *write_there(void *arg)
{
    (void)arg;
    write_nowhere();
    return NULL;
}

static void write_in_threads(void)
{
    pthread_t t[4];
    for (size_t i = 0; i < N_ELEMS(t); i++)
        pthread_create(&t[i], NULL, write_there, NULL);
    for (size_t i = 0; i < N_ELEMS(t); i++)
        pthread_join(t[i], NULL);
}

static void test_threads(void **state)
{
    (void)state;
    char text[8192];
    die(write_in_threads, SIGSEGV, text);
    char *first = strstr(text, "signal=");
    assert_non_null(first);
    assert_null(strstr(first + 1, "signal=")); /* one speaks */
}

static void test_no_file(void **state)
{
    (void)state;
    struct errinfo e;
    assert_int_equal(os_crash_open("1", "/nonexistent/crash.log", &e), ERR_IO);
    assert_non_null(strstr(e.text, "/nonexistent/crash.log"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_address), TEST(test_each), TEST(test_stack),
                                       TEST(test_threads), TEST(test_no_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
