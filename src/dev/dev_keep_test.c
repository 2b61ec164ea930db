/* SPDX-License-Identifier: MIT
 * dev_keep_test.c - the file of prepared weights: what was written comes back, what is stale,
 * damaged, cut, foreign or of others is refused; a full disk, a small limit, a dead writer and two
 * writers at once leave no temporary file and nothing wrong. */
#include "base/arena.h"
#include "base/log.h"
#include "base/num.h"
#include "base/test.h"
#include "dev/dev_keep.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB     ((size_t)1 << 20)
#define BYTES   (9 * MIB + 12345)
#define FILE_IS (12 * MIB) /* 2 MiB before the data, whole 2 MiB */
#define WAIT_NS 60000000000u

static const char *base; /* one file system, and another */
static char dir[64], path[128];
static unsigned char *data;
static struct os_pool *pool;

static struct dev_keep keep_of(const char *name, uint64_t key)
{
    struct dev_keep k = {
        .dir = dir, .key = {key, ~key},
             .bytes = BYTES, .bytes_max = 64 * MIB
    };
    snprintf(k.name, sizeof k.name, "%s", name);
    return k;
}

static void write_whole(const struct dev_keep *k)
{
    struct dev_keep_writer *w = dev_keep_write(k, data);
    assert_non_null(w);
    assert_true(dev_keep_over(w, WAIT_NS));
    dev_keep_end(w);
}

static enum err open_kept(const struct dev_keep *k, struct dev_kept *d)
{
    struct errinfo e = {0};
    enum err r = dev_keep_open(k, d, pool, NULL, NULL, &e);
    if (r != ERR_OK) {
        assert_null(d->data);
        assert_null(d->map.data);
        assert_true(e.text[0]);
    }
    return r;
}

/* What opening gives; what it opens is what was written. */
static enum err look(const struct dev_keep *k)
{
    struct dev_kept d;
    enum err r = open_kept(k, &d);
    if (r == ERR_OK) {
        assert_int_equal((uintptr_t)d.data % 4096, 0);
        assert_memory_equal(d.data, data, k->bytes);
        assert_int_not_equal(d.map.data != NULL, d.copy != NULL); /* one of the two */
        dev_keep_close(&d);
    }
    return r;
}

/* Files of the folder, and whether one of them has `part` in its name. */
static size_t n_files(const char *part, bool *found)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    *found = false;
    for (struct dirent *x; (x = readdir(d));) {
        n += x->d_name[0] != '.';
        *found = *found || strstr(x->d_name, part);
    }
    closedir(d);
    return n;
}

static void assert_files(size_t n)
{
    bool tmp;
    assert_int_equal(n_files(".packed-", &tmp), n);
    assert_false(tmp);
}

static int each_setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s/damso-keep-XXXXXX", base);
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/a.packed", dir);
    return 0;
}

static int each_teardown(void **state)
{
    char all[128];
    (void)state;
    snprintf(all, sizeof all, "rm -rf %s", dir);
    return system(all);
}

static void test_comes_back(void **state)
{
    struct dev_keep k = keep_of("a", 1);
    (void)state;
    assert_int_equal(look(&k), ERR_NOTFOUND);
    write_whole(&k);
    assert_files(1);
    assert_int_equal(look(&k), ERR_OK);
    for (size_t n = 1; n <= 8 * MIB; n += 4 * MIB - 1) { /* pieces full and not */
        k.bytes = n;
        write_whole(&k);
        assert_int_equal(look(&k), ERR_OK);
    }
    assert_files(1);
}

/* Of another model, another layout: refused, and written over. */
static void test_stale(void **state)
{
    struct dev_keep k = keep_of("a", 1), other = keep_of("a", 2);
    (void)state;
    write_whole(&k);
    assert_int_equal(look(&other), ERR_UNSUPPORTED);
    other = k;
    other.bytes--;
    assert_int_equal(look(&other), ERR_UNSUPPORTED);
    write_whole(&other);
    assert_int_equal(look(&k), ERR_UNSUPPORTED);
    assert_int_equal(look(&other), ERR_OK);
    assert_files(1);
}

static void flip(off_t at)
{
    unsigned char c;
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c ^= 16;
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

static void test_one_bit(void **state)
{
    static const size_t at[] = {
        0,  8,    12,        16,      32,           40,      48,
        56, 4096, 4096 + 17, 2 * MIB, 5 * MIB + 77, 6 * MIB, 2 * MIB + BYTES - 1};
    struct dev_keep k = keep_of("a", 1);
    (void)state;
    write_whole(&k);
    for (size_t i = 0; i < N_ELEMS(at); i++) {
        flip((off_t)at[i]);
        assert_int_equal(look(&k), ERR_CORRUPT);
        flip((off_t)at[i]);
        assert_int_equal(look(&k), ERR_OK);
    }
}

static void test_cut(void **state)
{
    static const size_t length[] = {FILE_IS + 1, FILE_IS - 1, 5 * MIB, 2 * MIB, 4096, 63, 0};
    struct dev_keep k = keep_of("a", 1);
    (void)state;
    for (size_t i = 0; i < N_ELEMS(length); i++) {
        write_whole(&k);
        assert_int_equal(look(&k), ERR_OK);
        assert_int_equal(truncate(path, (off_t)length[i]), 0);
        assert_int_equal(look(&k), ERR_CORRUPT);
    }
}

static void test_of_others(void **state)
{
    char link_path[160];
    struct dev_keep k = keep_of("a", 1);
    (void)state;
    write_whole(&k);
    assert_int_equal(chmod(path, 0622), 0);
    assert_int_equal(look(&k), ERR_IO);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(look(&k), ERR_OK);
    snprintf(link_path, sizeof link_path, "%s/b.packed", dir);
    assert_int_equal(symlink(path, link_path), 0);
    k = keep_of("b", 1);
    assert_int_equal(look(&k), ERR_IO);
    assert_int_equal(unlink(link_path), 0);
    assert_int_equal(mkdir(link_path, 0700), 0);
    assert_int_equal(look(&k), ERR_IO);
    write_whole(&k); /* cannot take a folder's place */
    assert_int_equal(rmdir(link_path), 0);
    assert_files(1);
}

static void test_full_disk(void **state)
{
    struct rlimit was, less;
    struct statvfs fs;
    struct dev_keep k = keep_of("a", 1), big = keep_of("b", 2), gone = keep_of("c", 3);
    (void)state;
    write_whole(&k);
    getrlimit(RLIMIT_FSIZE, &was);
    signal(SIGXFSZ, SIG_IGN);
    less = (struct rlimit){7 * MIB, was.rlim_max};
    k.key[0] = 9; /* to be written over, in vain */
    for (less.rlim_cur = 0; less.rlim_cur < FILE_IS; less.rlim_cur += 4 * MIB - 1) {
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
        write_whole(&k);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
        assert_files(1);
    }
    k.key[0] = 1;
    assert_int_equal(look(&k), ERR_OK);
    assert_int_equal(statvfs(dir, &fs), 0);
    big.bytes = (size_t)fs.f_bavail * fs.f_frsize / 2 + 64 * MIB; /* not a byte is read for it */
    big.bytes_max = UINT64_MAX;
    write_whole(&big);
    assert_files(1);
    gone.dir = path; /* a file */
    write_whole(&gone);
    assert_files(1);
}

static void set_used(const char *name, time_t when)
{
    char file[160];
    struct timespec t[2] = {{.tv_sec = when}, {.tv_sec = when}};
    snprintf(file, sizeof file, "%s/%s.packed", dir, name);
    assert_int_equal(utimensat(AT_FDCWD, file, t, 0), 0);
}

/* What served longest ago leaves. */
static void test_limit(void **state)
{
    struct dev_keep a = keep_of("a", 1), b = keep_of("b", 2), c = keep_of("c", 3);
    (void)state;
    c.bytes_max = 2 * FILE_IS;
    write_whole(&a);
    write_whole(&b);
    set_used("a", 1000);
    set_used("b", 2000);
    assert_int_equal(look(&a), ERR_OK); /* now a served last */
    write_whole(&c);
    assert_int_equal(look(&a), ERR_OK);
    assert_int_equal(look(&b), ERR_NOTFOUND);
    assert_int_equal(look(&c), ERR_OK);
    write_whole(&c); /* its own place is no reason for another to leave */
    assert_files(2);
    b.bytes_max = FILE_IS - 1;
    write_whole(&b);
    assert_int_equal(look(&b), ERR_NOTFOUND);
    assert_files(2);
}

static int make_tmp(const char *name)
{
    char file[160];
    snprintf(file, sizeof file, "%s/%s", dir, name);
    int fd = open(file, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void test_other_writers(void **state)
{
    bool found;
    struct dev_keep a = keep_of("a", 1), b = keep_of("b", 2);
    (void)state;
    close(make_tmp("a.packed-Xy12Zz")); /* of a process that died */
    close(make_tmp("q.packed-Xy12Zz"));
    close(make_tmp("packed-notes")); /* not ours */
    write_whole(&a);
    assert_files(2);
    int fd = make_tmp("b.packed-Xy12Zz");
    assert_int_equal(flock(fd, LOCK_EX), 0);
    write_whole(&b); /* another one is at it */
    assert_int_equal(look(&b), ERR_NOTFOUND);
    assert_int_equal(n_files("b.packed-", &found), 3);
    assert_true(found);
    close(fd);
    write_whole(&b);
    assert_int_equal(look(&b), ERR_OK);
    assert_files(3);
}

static void test_two_at_once(void **state)
{
    struct dev_keep k = keep_of("a", 1);
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct dev_keep_writer *w[2] = {dev_keep_write(&k, data), dev_keep_write(&k, data)};
        enum err r;
        do {
            r = look(&k);
            assert_true(r == ERR_OK || r == ERR_NOTFOUND);
        } while (!dev_keep_over(w[0], 1000000) || !dev_keep_over(w[1], 1000000));
        dev_keep_end(w[0]);
        dev_keep_end(w[1]);
        assert_int_equal(look(&k), ERR_OK);
        assert_files(1);
        unlink(path);
    }
}

/* Mapped data stay when their file goes; a writer that is ended leaves all or nothing. */
static void test_ends(void **state)
{
    struct dev_kept d;
    struct dev_keep k = keep_of("a", 1);
    (void)state;
    write_whole(&k);
    assert_int_equal(open_kept(&k, &d), ERR_OK);
    unlink(path);
    assert_memory_equal(d.data, data, BYTES);
    dev_keep_close(&d);
    for (int i = 0; i < 8; i++) {
        struct dev_keep_writer *w = dev_keep_write(&k, data);
        usleep((useconds_t)i * 1000);
        dev_keep_end(w);
        enum err r = look(&k);
        assert_true(r == ERR_OK || r == ERR_NOTFOUND);
        assert_files(r == ERR_OK);
    }
    dev_keep_end(NULL);
    assert_true(dev_keep_over(NULL, 0));
}

int main(void)
{
    uint64_t rng = test_seed();
    data = mem_alloc(BYTES);
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (unsigned char)(num_rand(&rng) >> 13);
    pool = os_pool_new(2);
    log_level_set(LOG_ERROR); /* what is refused here is refused on purpose */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_comes_back, each_setup, each_teardown),
        cmocka_unit_test_setup_teardown(test_stale, each_setup, each_teardown),
        cmocka_unit_test_setup_teardown(test_one_bit, each_setup, each_teardown),
        cmocka_unit_test_setup_teardown(test_cut, each_setup, each_teardown),
        cmocka_unit_test_setup_teardown(test_of_others, each_setup, each_teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, each_setup, each_teardown),
        cmocka_unit_test_setup_teardown(test_limit, each_setup, each_teardown),
        cmocka_unit_test_setup_teardown(test_other_writers, each_setup, each_teardown),
        cmocka_unit_test_setup_teardown(test_two_at_once, each_setup, each_teardown),
        cmocka_unit_test_setup_teardown(test_ends, each_setup, each_teardown),
    };
    base = "/tmp";
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    base = "/dev/shm"; /* mostly without large pages: copied */
    if (access(base, W_OK) == 0)
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    os_pool_free(pool);
    mem_free(data);
    return failed;
}
