/* SPDX-License-Identifier: MIT
 * engine_packed_test.c - packed weights kept from start to start: the same bits as without, also
 * after the model's file has changed behind their back, and where what is kept is damaged. */
#include "base/log.h"
#include "base/num.h"
#include "base/test.h"
#include "engine/engine.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODEL "tests/data/arch/llama.gguf"
#define CTX   128
#define VOCAB 1024 /* at most */
#define OLD   1000 /* seconds since 1970 */

static char dir[64], model[96];

struct bits {
    size_t n;
    float logits[VOCAB];
};

static struct bits run(const char *packed_dir, uint64_t bytes_min, enum cpu_level level)
{
    static const int32_t ids[] = {1, 5, 9, 2, 77, 3, 8, 64, 31, 7};
    const float *logits;
    struct bits b = {0};
    struct gguf *g;
    struct engine *en;
    struct errinfo e;
    struct engine_opts o = {.ctx = CTX,
                            .batch = 64,
                            .n_threads = 2,
                            .level = level,
                            .packed_dir = packed_dir,
                            .packed_bytes_min = bytes_min,
                            .packed_bytes_max = (uint64_t)64 << 20};
    if (gguf_open(&g, model, &e) != ERR_OK || engine_open(&en, g, &o, &e) != ERR_OK)
        fail_msg("%s", e.text);
    struct engine_seq *s = engine_seq_new(en);
    assert_int_equal(engine_prefill(en, s, ids, N_ELEMS(ids), NULL, NULL, &logits, &e), ERR_OK);
    b.n = engine_model(en)->n_vocab;
    assert_true(b.n <= VOCAB);
    memcpy(b.logits, logits, b.n * sizeof *logits);
    engine_seq_free(s);
    assert_true(engine_kept(en, 60000000000u));
    engine_close(en);
    gguf_close(g);
    return b;
}

static void assert_same(const struct bits *a, const struct bits *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->logits, b->logits, a->n * sizeof *a->logits);
}

/* The files that are kept: how many, and the last one's path. */
static size_t kept(char path[512])
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *x; (x = readdir(d));)
        if (strstr(x->d_name, ".packed")) {
            snprintf(path, 512, "%s/%s", dir, x->d_name);
            n++;
        }
    closedir(d);
    return n;
}

static void set_old(const char *path)
{
    struct timespec t[2] = {{.tv_sec = OLD}, {.tv_sec = OLD}};
    assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

/* A file that served, or was written, is no longer old. */
static bool is_old(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mtim.tv_sec == OLD;
}

static void flip(const char *path, off_t at)
{
    unsigned char c;
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c ^= 1;
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

static off_t length(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static int each_setup(void **state)
{
    char copy[256];
    (void)state;
    strcpy(dir, "/tmp/damso-packed-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(model, sizeof model, "%s/tiny.gguf", dir);
    snprintf(copy, sizeof copy, "cp " MODEL " %s", model);
    return system(copy);
}

static int each_teardown(void **state)
{
    char all[128];
    (void)state;
    snprintf(all, sizeof all, "rm -rf %s", dir);
    return system(all);
}

static void test_same_bits(void **state)
{
    char path[512];
    (void)state;
    if (cpu_best() == CPU_c)
        skip();
    struct bits plain = run(NULL, 0, cpu_best());
    struct bits below = run(dir, (uint64_t)1 << 40, cpu_best());
    assert_same(&plain, &below);
    assert_int_equal(kept(path), 0);
    struct bits first = run(dir, 0, cpu_best());
    assert_same(&plain, &first);
    assert_int_equal(kept(path), 1);
    set_old(path);
    struct bits second = run(dir, 0, cpu_best());
    assert_same(&plain, &second);
    assert_false(is_old(path)); /* it did serve */
    assert_int_equal(kept(path), 1);
}

/* The C level reads the file's rows: nothing is kept; every other level has a file of its own. */
static void test_levels(void **state)
{
    char path[512];
    size_t n = 0;
    (void)state;
    for (int level = CPU_c; level <= (int)cpu_best(); level++) {
        if (cpu_capped((enum cpu_level)level) != (enum cpu_level)level)
            continue;
        struct bits plain = run(NULL, 0, (enum cpu_level)level);
        for (int i = 0; i < 2; i++) {
            struct bits b = run(dir, 0, (enum cpu_level)level);
            assert_same(&plain, &b);
        }
        n += level != CPU_c;
        assert_int_equal(kept(path), n);
    }
}

/* Bytes of a matrix change, and the time of the file is set back. */
static void test_changed_model(void **state)
{
    char path[512];
    (void)state;
    if (cpu_best() == CPU_c)
        skip();
    set_old(model);
    struct bits before = run(dir, 0, cpu_best());
    for (off_t at = length(model) - 1; at > length(model) - 64; at--)
        flip(model, at);
    set_old(model);
    struct bits plain = run(NULL, 0, cpu_best()), after = run(dir, 0, cpu_best());
    assert_memory_not_equal(before.logits, plain.logits, plain.n * sizeof *plain.logits);
    assert_same(&plain, &after);
    assert_int_equal(kept(path), 1); /* in the place of the stale one */
    set_old(path);
    after = run(dir, 0, cpu_best());
    assert_same(&plain, &after);
    assert_false(is_old(path));
}

static void test_damaged(void **state)
{
    char path[512];
    (void)state;
    if (cpu_best() == CPU_c)
        skip();
    struct bits plain = run(dir, 0, cpu_best());
    assert_int_equal(kept(path), 1);
    for (int i = 0; i < 3; i++) {
        if (i == 2)
            assert_int_equal(truncate(path, length(path) / 2), 0);
        else
            flip(path, i ? ((off_t)2 << 20) + 1000 : 20);
        set_old(path);
        struct bits b = run(dir, 0, cpu_best()); /* packs, and writes anew */
        assert_same(&plain, &b);
        assert_false(is_old(path));
        set_old(path);
        b = run(dir, 0, cpu_best());
        assert_same(&plain, &b);
        assert_false(is_old(path));
        assert_int_equal(kept(path), 1);
    }
}

int main(void)
{
    log_level_set(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_bits, each_setup, each_teardown),
        cmocka_unit_test_setup_teardown(test_levels, each_setup, each_teardown),
        cmocka_unit_test_setup_teardown(test_changed_model, each_setup, each_teardown),
        cmocka_unit_test_setup_teardown(test_damaged, each_setup, each_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
