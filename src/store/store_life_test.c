/* SPDX-License-Identifier: MIT
 * What happens to the file: kills, full disks, older and newer forms, many threads, two programs.
 */
#include "store/store_testing.h"

#include "store/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define N_THREADS 8

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* ---- a kill in the middle of writing ---- */

static char *body_of(unsigned i, char *out, size_t n_max)
{
    size_t n = 1 + (size_t)i * 7919 % (n_max - 2);
    memset(out, 'a' + (int)(i % 26), n);
    out[n] = 0;
    return out;
}

struct write_op {
    struct store_op op;
    struct store_item item;
    char id[32], body[20000];
    unsigned i;
    int fd;
};

/* Tells the parent what is kept, in one write of four bytes. */
static void tell_kept(struct store_op *op, void *arg)
{
    struct write_op *w = arg;
    if (op->err != ERR_OK || write(w->fd, &w->i, sizeof w->i) != sizeof w->i)
        _exit(3);
    free(w);
}

static _Noreturn void write_for_ever(int fd)
{
    struct store *s;
    if (store_open(&s, url, NULL) != ERR_OK)
        _exit(2);
    for (unsigned i = 0;; i++) {
        struct write_op *w = calloc(1, sizeof *w);
        w->i = i;
        w->fd = fd;
        snprintf(w->id, sizeof w->id, "r%u", i);
        w->op = op_on(STORE_PUT, w->id, "k");
        w->op.object.body = span_of(body_of(i, w->body, sizeof w->body));
        w->item = (struct store_item){"i", span_of(w->id)};
        w->op.object.items = &w->item;
        w->op.object.n_items = 1;
        w->op.done = tell_kept;
        w->op.arg = w;
        while (store_send(s, &w->op, NULL) != ERR_OK)
            pause_ms(1);
    }
}

static void test_kill(void **state)
{
    (void)state;
    uint64_t seed = test_seed();
    size_t n_all = 0;
    for (int round = 0; round < 5; round++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t pid = fork();
        if (pid == 0)
            write_for_ever(ends[1]);
        close(ends[1]);
        unsigned kept = 0, highest = 0, until = 20 + (unsigned)(num_rand(&seed) % 400), n = 0;
        while (n < until && read(ends[0], &kept, sizeof kept) == sizeof kept) {
            highest = MAX(highest, kept);
            n++;
        }
        kill(pid, SIGKILL);
        int how;
        waitpid(pid, &how, 0);
        assert_true(WIFSIGNALED(how) && n == until);
        while (read(ends[0], &kept, sizeof kept) == sizeof kept) {
            highest = MAX(highest, kept);
            n++;
        }
        close(ends[0]);
        assert_int_equal(n, highest + 1); /* kept in order */
        expect_ok(store_open(&store, url, &e));
        struct arena a;
        arena_init(&a);
        char id[32], body[20000];
        for (unsigned i = 0; i <= highest; i++) {
            snprintf(id, sizeof id, "r%u", i);
            const char *there = get(store, &a, id, "k");
            assert_non_null(there);
            assert_string_equal(there, body_of(i, body, sizeof body));
            struct store_op op = op_on(STORE_ITEMS, id, "k");
            op.arena = &a;
            expect_ok(store_run(store, &op, &e));
            assert_int_equal(op.n, 1);
        }
        arena_done(&a);
        store_close(store);
        store = NULL;
        n_all += n;
    }
    printf("%zu acknowledged, none lost\n", n_all);
}

/* ---- disks ---- */

/* A file may have 1 MiB, or as much as it likes again. */
static bool limit_file(bool on)
{
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {on ? 1 << 20 : RLIM_INFINITY, RLIM_INFINITY};
    return setrlimit(RLIMIT_FSIZE, &limit) == 0;
}

/* The disk itself has 2 MiB, or enough. */
static bool limit_disk(bool on)
{
    if (on)
        return mount("none", folder, "tmpfs", 0, "size=2m") == 0;
    return mount("none", folder, "tmpfs", MS_REMOUNT, "size=64m") == 0;
}

/* In a child: what was kept before stays, what fails says so, and with room again it goes on. */
static _Noreturn void fill_up(bool (*limit)(bool on), const char *reason)
{
    struct store *s;
    struct errinfo why = {0};
    if (!limit(true) || store_open(&s, file, &why) != ERR_OK)
        _exit(2);
    static char body[100000];
    char id[32];
    memset(body, 'b', sizeof body - 1);
    enum err err = ERR_OK;
    unsigned i = 0;
    for (; i < 1000 && err == ERR_OK; i++) {
        snprintf(id, sizeof id, "r%u", i);
        err = put(s, id, "k", i, body);
    }
    fprintf(stderr, "%s\n", e.text);
    if (err != ERR_IO || !strstr(e.text, file) || !strstr(e.text, reason))
        _exit(3);
    if (i < 3 || !limit(false))
        _exit(4);
    struct arena a;
    arena_init(&a);
    for (unsigned k = 0; k < i - 1; k++) {
        snprintf(id, sizeof id, "r%u", k);
        const char *there = get(s, &a, id, "k");
        if (!there || strcmp(there, body) != 0)
            _exit(5);
    }
    snprintf(id, sizeof id, "r%u", i - 1);
    if (get(s, &a, id, "k") || put(s, id, "k", 0, "small") != ERR_OK || !get(s, &a, id, "k"))
        _exit(6);
    arena_done(&a);
    store_close(s);
    _exit(0);
}

static _Noreturn void fill_file(void)
{
    fill_up(limit_file, strerror(EFBIG));
}

static _Noreturn void fill_disk(void)
{
    /* only root may mount, and not everywhere */
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        fprintf(stderr, "no right to mount: left out\n");
        _exit(0);
    }
    fill_up(limit_disk, "full");
}

static void expect_child(void (*fn)(void))
{
    int how;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        fn();
    waitpid(pid, &how, 0);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), 0);
}

static void test_full_disk(void **state)
{
    (void)state;
    expect_child(fill_file);
    expect_child(fill_disk);
}

/* Root may write everywhere: the child becomes nobody, to whom all belongs. */
static _Noreturn void open_what_is_forbidden(void)
{
    struct store *s;
    char other[160];
    snprintf(other, sizeof other, "%s/b/c.db", folder);
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        _exit(2);
    if (store_open(&s, other, &e) != ERR_IO || !strstr(e.text, strerror(EACCES)))
        _exit(3);
    fprintf(stderr, "%s\n", e.text);
    if (store_open(&s, file, &e) != ERR_IO || !strstr(e.text, file))
        _exit(4);
    fprintf(stderr, "%s\n", e.text);
    _exit(0);
}

static void test_read_only(void **state)
{
    (void)state;
    char above[160];
    expect_ok(store_open(&store, file, &e));
    store_close(store);
    store = NULL;
    snprintf(above, sizeof above, "%s/a", folder);
    if (geteuid() == 0)
        assert_true(chown(file, 65534, 65534) == 0 && chown(above, 65534, 65534) == 0 &&
                    chown(folder, 65534, 65534) == 0);
    assert_true(chmod(file, 0400) == 0 && chmod(above, 0500) == 0 && chmod(folder, 0500) == 0);
    expect_child(open_what_is_forbidden);
    assert_true(chmod(folder, 0700) == 0 && chmod(above, 0700) == 0);
    snprintf(above, sizeof above, "%s/a/folder", folder);
    assert_int_equal(mkdir(above, 0700), 0);
    expect_err(store_open(&store, above, &e), ERR_IO);
}

static void test_modes(void **state)
{
    (void)state;
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[160];
    struct stat st;
    mode_t old = umask(0);
    expect_ok(store_open(&store, file, &e));
    expect_ok(put(store, "r", "", 0, "x"));
    for (size_t i = 0; i < N_ELEMS(ends); i++) {
        snprintf(path, sizeof path, "%s%s", file, ends[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    snprintf(path, sizeof path, "%s/a", folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    store_close(store);
    assert_int_equal(chmod(file, 0644), 0);
    expect_ok(store_open(&store, file, &e));
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    umask(old);
}

/* ---- forms ---- */

static void test_foreign(void **state)
{
    (void)state;
    expect_ok(store_open(&store, file, &e));
    store_close(store);
    store = NULL;
    exec_sql("PRAGMA user_version = 77");
    expect_err(store_open(&store, file, &e), ERR_UNSUPPORTED);
    char known[16];
    snprintf(known, sizeof known, "up to %d", store_schema_version(store_schema));
    assert_true(strstr(e.text, "77") && strstr(e.text, known) && strstr(e.text, file));
    char other[160];
    snprintf(other, sizeof other, "%s/other.db", folder);
    sqlite3 *lite;
    assert_int_equal(sqlite3_open(other, &lite), SQLITE_OK);
    assert_int_equal(sqlite3_exec(lite, "CREATE TABLE t (x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(lite);
    expect_err(store_open(&store, other, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "another program"));
    FILE *f = fopen(other, "wb");
    for (int i = 0; i < 1000; i++)
        fputs("no database at all ", f);
    fclose(f);
    expect_err(store_open(&store, other, &e), ERR_CORRUPT);
    assert_null(store);
}

static int64_t lite_number(const char *path, const char *text)
{
    sqlite3 *lite;
    sqlite3_stmt *q;
    assert_int_equal(sqlite3_open(path, &lite), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(lite, text, -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(lite);
    return n;
}

static void test_climb(void **state)
{
    (void)state;
    struct store_ddl rows[80];
    size_t n_rows = store_schema.n_rows;
    int n = store_schema_version(store_schema);
    char backup[200];
    struct stat st;
    assert_true(n_rows + 2 <= N_ELEMS(rows));
    memcpy(rows, store_schema.rows, n_rows * sizeof *rows);
    rows[n_rows] = (struct store_ddl){n + 1, "ALTER TABLE objects ADD COLUMN extra TEXT", NULL};
    rows[n_rows + 1] = (struct store_ddl){
        n + 2, "CREATE TABLE more (x INTEGER) STRICT; SELECT nothing FROM nowhere", NULL};
    snprintf(backup, sizeof backup, "%s.backup-v%d", file, n);
    expect_ok(store_open(&store, file, &e));
    expect_ok(put(store, "r", "k", 0, "before"));
    store_close(store);
    store = NULL;
    assert_int_equal(stat(backup, &st), -1);
    struct store_db *db;
    /* a step that fails leaves all as it was */
    expect_err(store_sqlite_open(&db, file, (struct store_schema){rows, n_rows + 2}, &e),
               ERR_FAILED);
    assert_int_equal(lite_number(file, "PRAGMA user_version"), n);
    expect_ok(store_sqlite_open(&db, file, (struct store_schema){rows, n_rows + 1}, &e));
    db->engine->close(db);
    assert_int_equal(lite_number(file, "PRAGMA user_version"), n + 1);
    assert_int_equal(lite_number(file, "SELECT count(*) FROM objects WHERE extra IS NULL"), 1);
    assert_int_equal(stat(backup, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(lite_number(backup, "PRAGMA user_version"), n);
    expect_err(store_open(&store, file, &e), ERR_UNSUPPORTED);
    struct arena a; /* the copy is a whole database of the old form */
    arena_init(&a);
    expect_ok(store_open(&store, backup, &e));
    assert_string_equal(get(store, &a, "r", "k"), "before");
    arena_done(&a);
}

/* ---- many at once ---- */

struct worker {
    pthread_t thread;
    int number;
    atomic_int *left;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    struct arena a;
    struct errinfo why;
    char id[32], owner[8];
    arena_init(&a);
    snprintf(owner, sizeof owner, "k%d", w->number);
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "r%d-%d", w->number, i);
        struct store_op op = op_on(STORE_PUT, id, owner);
        op.object.body = span_of(id);
        CHECK(store_run(store, &op, &why) == ERR_OK);
        op = op_on(STORE_GET, id, owner);
        op.arena = &a;
        CHECK(store_run(store, &op, &why) == ERR_OK);
        CHECK(strcmp(op.objects[0].body.p, id) == 0);
        op = op_on(STORE_GET, id, "other");
        op.arena = &a;
        CHECK(store_run(store, &op, &why) == ERR_NOTFOUND);
    }
    arena_done(&a);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct worker w[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        w[i].number = i;
        assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(w[i].thread, NULL);
    struct store_stats t = store_stats(store);
    printf("%llu writes, %llu commits\n", (unsigned long long)t.n_writes,
           (unsigned long long)t.n_commits);
    assert_int_equal(t.n_ops, N_THREADS * 300);
    assert_int_equal(t.n_failed, N_THREADS * 100);
    assert_int_equal(t.n_writes, N_THREADS * 100);
    assert_int_equal(t.n_waiting, 0);
    assert_true(t.n_commits <= t.n_writes);
}

struct held {
    pthread_mutex_t mu;
    atomic_int n_done;
};

static void hold_the_thread(struct store_op *op, void *arg)
{
    struct held *h = arg;
    (void)op;
    pthread_mutex_lock(&h->mu);
    pthread_mutex_unlock(&h->mu);
}

static void count_done(struct store_op *op, void *arg)
{
    struct held *h = arg;
    atomic_fetch_add(&h->n_done, op->err == ERR_OK);
}

/* A full queue refuses; what waited is written with a few waits for the disk; the end of the store
 * runs what waits. */
static void test_queue(void **state)
{
    (void)state;
    struct held h = {.mu = PTHREAD_MUTEX_INITIALIZER};
    static struct store_op ops[STORE_QUEUE_MAX + 2];
    static char ids[STORE_QUEUE_MAX + 2][32];
    pthread_mutex_lock(&h.mu);
    for (size_t i = 0; i < N_ELEMS(ops); i++) {
        snprintf(ids[i], sizeof ids[i], "r%zu", i);
        ops[i] = op_on(STORE_PUT, ids[i], "");
        ops[i].done = i ? count_done : hold_the_thread;
        ops[i].arg = &h;
    }
    expect_ok(store_send(store, &ops[0], &e));
    while (store_stats(store).n_ops == 0)
        pause_ms(1);
    for (size_t i = 1; i <= STORE_QUEUE_MAX; i++)
        expect_ok(store_send(store, &ops[i], &e));
    expect_err(store_send(store, &ops[STORE_QUEUE_MAX + 1], &e), ERR_BUSY);
    pthread_mutex_unlock(&h.mu);
    while ((size_t)atomic_load(&h.n_done) < STORE_QUEUE_MAX)
        pause_ms(1);
    struct store_stats t = store_stats(store);
    assert_int_equal(t.n_writes, STORE_QUEUE_MAX + 1);
    assert_true(t.n_commits < 10);

    atomic_store(&h.n_done, 0);
    for (size_t i = 1; i <= STORE_QUEUE_MAX; i++)
        expect_ok(store_send(store, &ops[i], &e));
    store_close(store);
    store = NULL;
    assert_int_equal(atomic_load(&h.n_done), STORE_QUEUE_MAX);
    pthread_mutex_destroy(&h.mu);
}

/* One that fails leaves no mark, and those written with it stay. */
static void test_one_fails(void **state)
{
    (void)state;
    struct held h = {.mu = PTHREAD_MUTEX_INITIALIZER};
    struct store_item twice[] = {
        {"i", SPAN("1")},
        {"i", SPAN("2")}
    };
    struct store_op ops[4];
    static const char *const ids[] = {"first", "a", "bad", "b"};
    pthread_mutex_lock(&h.mu);
    for (size_t i = 0; i < 4; i++) {
        ops[i] = op_on(STORE_PUT, ids[i], "");
        ops[i].done = i ? count_done : hold_the_thread;
        ops[i].arg = &h;
    }
    ops[2].object.items = twice;
    ops[2].object.n_items = 2;
    for (size_t i = 0; i < 4; i++)
        expect_ok(store_send(store, &ops[i], &e));
    pthread_mutex_unlock(&h.mu);
    struct arena a;
    arena_init(&a);
    assert_null(get(store, &a, "bad", ""));
    assert_non_null(get(store, &a, "a", ""));
    assert_non_null(get(store, &a, "b", ""));
    assert_int_equal(ops[2].err, ERR_USAGE);
    assert_int_equal(atomic_load(&h.n_done), 2);
    pthread_mutex_destroy(&h.mu);
    arena_done(&a);
}

static void *open_alone(void *arg)
{
    struct worker *w = arg;
    struct store *s = NULL;
    struct errinfo why = {0};
    char id[32];
    if (store_open(&s, url, &why) != ERR_OK)
        fprintf(stderr, "%s\n", why.text);
    CHECK(s);
    atomic_fetch_sub(w->left, 1); /* all have it open before any goes on */
    while (atomic_load(w->left) > 0)
        pause_ms(1);
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof id, "r%d-%d", w->number, i);
        struct store_op op = op_on(STORE_PUT, id, "");
        CHECK(store_run(s, &op, &why) == ERR_OK);
    }
    store_close(s);
    return NULL;
}

/* As if several programs made the same new database and wrote. */
static void test_many_programs(void **state)
{
    (void)state;
    struct worker w[N_THREADS];
    atomic_int left = N_THREADS;
    for (int i = 0; i < N_THREADS; i++) {
        w[i].number = i;
        w[i].left = &left;
        assert_int_equal(pthread_create(&w[i].thread, NULL, open_alone, &w[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(w[i].thread, NULL);
    static const char count[] = "SELECT count(*) FROM objects";
    int64_t n = on_postgres() ? atoll(pg_sql(pg_database, count)) : lite_number(file, count);
    assert_int_equal(n, N_THREADS * 20);
}

/* Two programs write, and one of them is killed: the other goes on. */
static void test_two_programs(void **state)
{
    (void)state;
    int ends[2];
    unsigned kept;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0)
        write_for_ever(ends[1]);
    close(ends[1]);
    assert_int_equal(read(ends[0], &kept, sizeof kept), sizeof kept); /* it writes */
    expect_ok(store_open(&store, url, &e));
    char id[32];
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "mine%d", i);
        expect_ok(put(store, id, "k", 0, id));
        if (i == 50)
            kill(pid, SIGKILL);
    }
    waitpid(pid, NULL, 0);
    while (read(ends[0], &kept, sizeof kept) == sizeof kept)
        ;
    close(ends[0]);
    struct arena a;
    arena_init(&a);
    for (unsigned i = 0; i < 100 + kept; i++) {
        snprintf(id, sizeof id, i < 100 ? "mine%u" : "r%u", i < 100 ? i : i - 100);
        assert_non_null(get(store, &a, id, "k"));
    }
    printf("%u of the other\n", kept + 1);
    arena_done(&a);
}

#define TEST_CLOSED(name) cmocka_unit_test_setup_teardown(name, setup_folder, teardown_folder)

/* What is PostgreSQL's alone is in store_postgres_test.c. */
int main(void)
{
    const struct CMUnitTest both[] = {
        TEST_CLOSED(test_kill),
        TEST_CLOSED(test_many_programs),
        TEST_CLOSED(test_two_programs),
        TEST(test_threads),
        TEST(test_queue),
        TEST(test_one_fails),
    };
    const struct CMUnitTest sqlite[] = {
        TEST_CLOSED(test_full_disk), TEST_CLOSED(test_read_only), TEST_CLOSED(test_modes),
        TEST_CLOSED(test_foreign),   TEST_CLOSED(test_climb),
    };
    int failed = cmocka_run_group_tests(both, NULL, NULL);
    return on_postgres() ? failed : failed + cmocka_run_group_tests(sqlite, NULL, NULL);
}
