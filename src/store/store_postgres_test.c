/* SPDX-License-Identifier: MIT
 * What is PostgreSQL's alone: addresses and refusals, forms, a server that restarts under load,
 * connections cut at the worst moments, a full disk, two servers at the same chat. */
#include "store/store_testing.h"

#include "os/os_sys.h"
#include "store/store_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static bool is_there(struct store *s, const char *id)
{
    struct arena a;
    arena_init(&a);
    bool there = get(s, &a, id, "k") != NULL;
    arena_done(&a);
    return there;
}

/* ---- addresses ---- */

static void expect_refused(const char *address, enum err code, const char *says)
{
    struct store *s;
    e = (struct errinfo){0};
    expect_err(store_open(&s, address, &e), code);
    if (!strstr(e.text, says) || strstr(e.text, "Secret"))
        fail_msg("%s", e.text);
    assert_null(s);
}

static void test_refusals(void **state)
{
    (void)state;
    char to[400];
    snprintf(to, sizeof to, "postgres://damso:Secret@127.0.0.1:%d/%s", pg_port, pg_database);
    expect_refused(to, ERR_USAGE, "password is wrong");
    snprintf(to, sizeof to, "postgres://nobody:Secret@127.0.0.1:%d/%s", pg_port, pg_database);
    expect_refused(to, ERR_USAGE, "password is wrong"); /* who is there is not told */
    snprintf(to, sizeof to, "postgres://damso:pw@127.0.0.1:%d/nowhere", pg_port);
    expect_refused(to, ERR_NOTFOUND, "no such database");
    snprintf(to, sizeof to, "%s?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt",
             url);
    expect_refused(to, ERR_IO, "certificate verify failed");
    snprintf(to, sizeof to, "%s?sslmode=verify-full&sslrootcert=%s/root.crt", url, pg_folder);
    expect_ok(store_open(&store, to, &e));
    store_close(store);
    expect_refused("postgres://damso:Secret@127.0.0.1:1/x", ERR_IO, "127.0.0.1");
    expect_refused("postgres://damso:Secret%@127.0.0.1/x", ERR_USAGE, "no PostgreSQL URL");
    expect_refused("postgres://damso:Secret@127.0.0.1:port/x", ERR_IO, "port");
    expect_refused("postgres://damso:Secret@[::1/x", ERR_USAGE, "no PostgreSQL URL");
    expect_refused("postgresql://x/?password=Secret&nothing=1", ERR_USAGE, "no PostgreSQL URL");
    snprintf(to, sizeof to, "postgresql://damso@127.0.0.1:%d/%s", pg_port, pg_database);
    setenv("PGPASSWORD", "pw", 1);
    expect_ok(store_open(&store, to, &e));
    unsetenv("PGPASSWORD"); /* kept for a new connection */
    expect_ok(put(store, "r", "k", 0, "x"));
    pg_sql("postgres", "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                       "WHERE application_name = 'damso'");
    expect_ok(put(store, "r2", "k", 0, "x"));
    assert_true(is_there(store, "r") && is_there(store, "r2"));
}

/* ---- forms ---- */

static void test_forms(void **state)
{
    (void)state;
    struct store_db *db;
    struct store_ddl rows[80];
    size_t n_rows = store_schema.n_rows;
    int n = store_schema_version(store_schema);
    char text[96], to[256];
    expect_ok(store_open(&store, url, &e));
    expect_ok(put(store, "r", "k", 0, "before"));
    store_close(store);
    store = NULL;
    memcpy(rows, store_schema.rows, n_rows * sizeof *rows);
    rows[n_rows] = (struct store_ddl){n + 1, NULL, "ALTER TABLE objects ADD extra TEXT"};
    rows[n_rows + 1] = (struct store_ddl){n + 2, NULL, "CREATE TABLE more (x TEXT); SELECT no"};
    /* a step that fails leaves all as it was */
    expect_err(store_postgres_open(&db, url, (struct store_schema){rows, n_rows + 2}, &e),
               ERR_FAILED);
    assert_int_equal(atoi(pg_sql(pg_database, "SELECT version FROM damso_schema")), n);
    snprintf(text, sizeof text, "SELECT to_regclass('backup_v%d_objects')", n);
    assert_string_equal(pg_sql(pg_database, text), "");
    expect_ok(store_postgres_open(&db, url, (struct store_schema){rows, n_rows + 1}, &e));
    db->engine->close(db);
    assert_int_equal(atoi(pg_sql(pg_database, "SELECT version FROM damso_schema")), n + 1);
    snprintf(text, sizeof text, "SELECT body FROM backup_v%d_objects", n);
    assert_string_equal(pg_sql(pg_database, text), "before");
    expect_ok(store_open(&store, url, &e)); /* during a rolling update, say */
    expect_ok(put(store, "s", "k", 0, "beside"));
    store_close(store);
    store = NULL;
    snprintf(text, sizeof text, "UPDATE damso_schema SET oldest = %d", n + 1);
    pg_sql(pg_database, text);
    snprintf(text, sizeof text, "the form %d, and this program knows forms up to %d", n + 1, n);
    expect_refused(url, ERR_UNSUPPORTED, text);

    pg_sql("postgres", "CREATE DATABASE foreigner");
    pg_sql("foreigner", "CREATE TABLE objects (x INT)");
    snprintf(to, sizeof to, "postgres://damso:pw@127.0.0.1:%d/foreigner", pg_port);
    expect_refused(to, ERR_CORRUPT, "another program");
    pg_sql("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    snprintf(to, sizeof to, "postgres://damso:pw@127.0.0.1:%d/latin", pg_port);
    expect_refused(to, ERR_UNSUPPORTED, "LATIN1");
}

/* ---- a server that goes away ---- */

#define WAITS_MS 9000 /* at least, before a write is given up */

struct load {
    pthread_t thread;
    struct store *store;
    atomic_bool stop;
    atomic_uint n; /* acknowledged */
};

static void *write_on(void *arg)
{
    struct load *l = arg;
    uint64_t kept_ns = os_now_ns();
    char id[32];
    while (!atomic_load(&l->stop)) {
        struct errinfo why = {0};
        snprintf(id, sizeof id, "r%u", l->n);
        struct store_op op = op_on(STORE_PUT, id, "k");
        op.object.body = span_of(id);
        if (store_run(l->store, &op, &why) == ERR_OK) {
            l->n++;
            kept_ns = os_now_ns();
        } else if (os_now_ns() - kept_ns < (uint64_t)WAITS_MS * 1000000) {
            fprintf(stderr, "%s\n", why.text);
            abort();
        } else { /* a machine so slow that the server is away for longer: again, until it is back */
            pause_ms(50);
        }
    }
    return NULL;
}

/* The database loses its power twice; whoever writes waits, and none of it is lost. */
static void test_restart(void **state)
{
    (void)state;
    struct load l = {.store = store};
    char command[128], id[32];
    snprintf(command, sizeof command, "tests/postgres.sh restart %s", pg_folder);
    assert_int_equal(pthread_create(&l.thread, NULL, write_on, &l), 0);
    for (int i = 0; i < 2; i++) {
        pause_ms(200);
        assert_int_equal(system(command), 0);
    }
    for (unsigned n = l.n, tries = 600; l.n < n + 2 && tries; tries--) /* the server is back */
        pause_ms(100);
    atomic_store(&l.stop, true);
    pthread_join(l.thread, NULL);
    printf("%u acknowledged, none lost\n", l.n);
    for (unsigned i = 0; i < l.n; i++) {
        snprintf(id, sizeof id, "r%u", i);
        assert_true(is_there(store, id));
    }
    assert_int_equal(atoi(pg_sql(pg_database, "SELECT count(*) FROM objects")), (int)l.n);
}

/* ---- a proxy that cuts a COMMIT ---- */

enum cut { CUT_NONE, CUT_BEFORE, CUT_AFTER, CUT_LATE };

struct proxy {
    pthread_t thread;
    int listener, port;
    _Atomic(enum cut) cut; /* at the next COMMIT */
    atomic_int n_cuts;
    atomic_bool stop;
};

static int loopback(int port, bool listens)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (listens)
        CHECK(bind(fd, (struct sockaddr *)&to, sizeof to) == 0 && listen(fd, 8) == 0);
    else
        CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

/* False when the connection is over, or was cut. */
static bool pass_on(struct proxy *p, int from, int to, bool to_server)
{
    char bytes[16384];
    ssize_t n = recv(from, bytes, sizeof bytes, 0);
    if (n <= 0)
        return false;
    enum cut cut = atomic_load(&p->cut);
    if (!to_server || cut == CUT_NONE || !memmem(bytes, (size_t)n, "COMMIT", 7))
        return send(to, bytes, (size_t)n, MSG_NOSIGNAL) == n;
    atomic_store(&p->cut, CUT_NONE);
    atomic_fetch_add(&p->n_cuts, 1);
    if (cut == CUT_LATE) { /* the server hears it when the client has long given up */
        shutdown(from, SHUT_RDWR);
        pause_ms(700);
    }
    if (cut != CUT_BEFORE) {
        CHECK(send(to, bytes, (size_t)n, MSG_NOSIGNAL) == n);
        CHECK(recv(to, bytes, sizeof bytes, 0) > 0); /* it is kept, and nobody is told */
    }
    return false;
}

static void *serve_one(void *arg)
{
    struct proxy *p = ((void **)arg)[0];
    int client = (int)(intptr_t)((void **)arg)[1], server = loopback(pg_port, false);
    struct pollfd fds[2] = {
        {client, POLLIN, 0},
        {server, POLLIN, 0}
    };
    bool on = true;
    free(arg);
    while (on && !atomic_load(&p->stop)) {
        if (poll(fds, 2, 50) <= 0)
            continue;
        if (fds[0].revents)
            on = pass_on(p, client, server, true);
        if (on && fds[1].revents)
            on = pass_on(p, server, client, false);
    }
    close(client);
    close(server);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct proxy *p = arg;
    struct pollfd fd = {p->listener, POLLIN, 0};
    while (!atomic_load(&p->stop)) {
        if (poll(&fd, 1, 50) <= 0)
            continue;
        void **one = calloc(2, sizeof *one);
        pthread_t thread;
        one[0] = p;
        one[1] = (void *)(intptr_t)accept(p->listener, NULL, NULL);
        CHECK(pthread_create(&thread, NULL, serve_one, one) == 0);
        pthread_detach(thread);
    }
    return NULL;
}

static void proxy_open(struct proxy *p)
{
    struct sockaddr_in at;
    socklen_t n = sizeof at;
    p->listener = loopback(0, true);
    CHECK(getsockname(p->listener, (struct sockaddr *)&at, &n) == 0);
    p->port = ntohs(at.sin_port);
    CHECK(pthread_create(&p->thread, NULL, accept_all, p) == 0);
}

static void test_cut_commit(void **state)
{
    (void)state;
    static struct proxy p;
    static const enum cut cuts[] = {CUT_BEFORE, CUT_AFTER, CUT_LATE};
    char to[256], id[32];
    struct arena a;
    arena_init(&a);
    proxy_open(&p);
    snprintf(to, sizeof to, "postgres://damso:pw@127.0.0.1:%d/%s?sslmode=disable", p.port,
             pg_database);
    expect_ok(store_open(&store, to, &e));
    for (int i = 0; i < 9; i++) {
        snprintf(id, sizeof id, "r%d", i);
        atomic_store(&p.cut, cuts[i % 3]);
        expect_ok(put(store, id, "k", 0, id));
        atomic_store(&p.cut, cuts[i % 3]); /* a key that is added twice is USAGE */
        struct store_op op = {
            .what = STORE_KEY_ADD, .key = {.id = id, .name = "n", .scopes = "chat"}
        };
        expect_ok(store_run(store, &op, &e));
        assert_true(is_there(store, id));
    }
    assert_int_equal(atomic_load(&p.n_cuts), 18);
    assert_int_equal(atoi(pg_sql(pg_database, "SELECT count(*) FROM keys")), 9);
    store_close(store);
    store = NULL;
    atomic_store(&p.stop, true);
    pthread_join(p.thread, NULL);
    pause_ms(100); /* the connections' own threads */
    close(p.listener);
    arena_done(&a);
}

/* ---- two servers ---- */

struct talker {
    pthread_t thread;
    struct store *store;
    char name;
};

static void *talk(void *arg)
{
    struct talker *t = arg;
    struct arena a;
    arena_init(&a);
    for (int i = 0; i < 60; i++) {
        struct errinfo why = {0};
        struct store_message m = {.id = arena_printf(&a, "%c%d", t->name, i),
                                  .role = STORE_USER,
                                  .status = STORE_FINISHED,
                                  .content = SPAN("한글")};
        struct store_chats x = {.owner = "local", .id = "c", .add = &m, .n_add = 1};
        struct store_op op = {.what = STORE_MESSAGES_ADD, .chats = &x, .arena = &a};
        if (store_run(t->store, &op, &why) != ERR_OK) {
            fprintf(stderr, "%s\n", why.text);
            abort();
        }
    }
    arena_done(&a);
    return NULL;
}

/* Both write into one chat, over and over: each waits for the other, and none gives up. */
static void test_two_servers(void **state)
{
    (void)state;
    struct talker both[2] = {{.name = 'a'}, {.name = 'b'}};
    struct arena a;
    struct store *other;
    arena_init(&a);
    expect_ok(store_open(&other, url, &e));
    struct store_chats x = {.owner = "local", .chat = {.id = "c"}};
    struct store_op op = {.what = STORE_CHAT_ADD, .chats = &x, .arena = &a};
    expect_ok(store_run(store, &op, &e));
    both[0].store = store;
    both[1].store = other;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&both[i].thread, NULL, talk, &both[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(both[i].thread, NULL);
    x.id = "c";
    op.what = STORE_CHAT_GET;
    expect_ok(store_run(store, &op, &e));
    int next[2] = {0, 0};
    assert_int_equal(x.n_messages, 120);
    for (size_t i = 0; i < x.n_messages; i++) /* each one's own are in order */
        assert_int_equal(atoi(x.messages[i].id + 1), next[x.messages[i].id[0] - 'a']++);

    /* What runs on one server is not ended by another that starts, but once the first is gone. */
    struct store_message m = {.id = "run", .role = STORE_ASSISTANT, .status = STORE_RUNNING};
    x = (struct store_chats){.owner = "local", .id = "c", .add = &m, .n_add = 1};
    op = (struct store_op){.what = STORE_MESSAGES_ADD, .chats = &x, .arena = &a};
    expect_ok(store_run(other, &op, &e));
    op = (struct store_op){.what = STORE_RUNNING_END, .chats = &x};
    expect_ok(store_run(store, &op, &e));
    assert_int_equal(op.n, 0);
    store_close(other);
    for (int i = 0; i < 100 && op.n == 0; i++) {
        expect_ok(store_run(store, &op, &e));
        pause_ms(20);
    }
    assert_int_equal(op.n, 1);

    /* And without one that starts: by sweeping. */
    struct store_db *db;
    expect_ok(store_open(&other, url, &e));
    m.id = "run2";
    x = (struct store_chats){.owner = "local", .id = "c", .add = &m, .n_add = 1};
    op = (struct store_op){.what = STORE_MESSAGES_ADD, .chats = &x, .arena = &a};
    expect_ok(store_run(other, &op, &e));
    expect_ok(store_postgres_open(&db, url, store_schema, &e));
    store_db_sweep(db);
    x = (struct store_chats){.owner = "local", .id = "c", .at = "run2"};
    op = (struct store_op){.what = STORE_CHAT_GET, .chats = &x, .arena = &a};
    expect_ok(store_run(store, &op, &e));
    assert_true(x.chats[0].running);
    store_close(other);
    for (int i = 0; i < 100 && x.chats[0].running; i++) {
        pause_ms(20);
        store_db_sweep(db);
        expect_ok(store_run(store, &op, &e));
    }
    assert_false(x.chats[0].running);
    db->engine->close(db);
    arena_done(&a);
}

/* ---- a full disk ---- */

static bool may_mount;

static void test_full_disk(void **state)
{
    (void)state;
    char space[128], text[256], id[32];
    static char body[60001];
    uint64_t seed = 1;
    if (!may_mount) {
        printf("no right to mount: left out\n");
        return;
    }
    snprintf(space, sizeof space, "%s/pg/space", pg_folder);
    snprintf(text, sizeof text, "chown postgres: %s", space);
    assert_int_equal(mkdir(space, 0700), 0);
    assert_int_equal(mount("none", space, "tmpfs", 0, "size=24m"), 0);
    assert_int_equal(system(text), 0);
    snprintf(text, sizeof text, "CREATE TABLESPACE small LOCATION '%s'", space);
    pg_sql("postgres", text);
    pg_sql("postgres", "CREATE DATABASE small TABLESPACE small");
    snprintf(text, sizeof text, "postgres://damso:pw@127.0.0.1:%d/small", pg_port);
    expect_ok(store_open(&store, text, &e));
    for (size_t i = 0; i < sizeof body - 1; i++) /* what cannot be made smaller */
        body[i] = (char)(' ' + num_rand(&seed) % 90);
    enum err err = ERR_OK;
    int n = 0;
    for (; err == ERR_OK && n < 1000; n++) {
        snprintf(id, sizeof id, "r%d", n);
        err = put(store, id, "k", n, body);
    }
    assert_int_equal(err, ERR_IO);
    printf("%d kept; %s\n", n - 1, e.text);
    assert_non_null(strstr(e.text, "disk is full; nothing of this was kept"));
    assert_true(n > 3 && !is_there(store, id));
    assert_int_equal(mount("none", space, "tmpfs", MS_REMOUNT, "size=64m"), 0);
    expect_ok(put(store, id, "k", 0, body));
    for (int i = 0; i < n; i++) {
        snprintf(id, sizeof id, "r%d", i);
        assert_true(is_there(store, id));
    }
    store_close(store);
    store = NULL;
    pg_sql("postgres", "DROP DATABASE small");
    pg_sql("postgres", "DROP TABLESPACE small");
    umount2(space, MNT_DETACH);
}

#define TEST_CLOSED(name) cmocka_unit_test_setup_teardown(name, setup_folder, teardown_folder)

int main(void)
{
    setenv("DAMSO_TEST_STORE", "postgres", 1);
    /* The server has to see what is mounted: before it starts. */
    may_mount = geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
                mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    const struct CMUnitTest tests[] = {
        TEST_CLOSED(test_refusals),   TEST_CLOSED(test_forms), TEST(test_restart),
        TEST_CLOSED(test_cut_commit), TEST(test_two_servers),  TEST_CLOSED(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
