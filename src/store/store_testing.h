/* SPDX-License-Identifier: MIT
 * store_testing.h - what the tests of this folder share: a database of its own for each test.
 *
 * DAMSO_TEST_STORE=postgres runs them on PostgreSQL: a server for the program (tests/postgres.sh),
 * and a new database for each test.  `url` is what to open; `file` is SQLite's alone. */
#ifndef STORE_STORE_TESTING_H
#define STORE_STORE_TESTING_H

#include "base/test.h"

#include "base/num.h"
#include "store/store.h"

#include <dirent.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], file[128], url[256];
static struct store *store;
static struct errinfo e;

#define expect_ok(call)                                                                            \
    do {                                                                                           \
        e = (struct errinfo){0};                                                                   \
        if ((call) != ERR_OK)                                                                      \
            fail_msg("%s:%d: %s", __FILE__, __LINE__, e.text);                                     \
    } while (0)
#define expect_err(call, code)                                                                     \
    do {                                                                                           \
        assert_int_equal(call, code);                                                              \
        assert_true(e.text[0]);                                                                    \
    } while (0)

/* ---- PostgreSQL ---- */

static char pg_folder[64];
static int pg_port;

static inline bool on_postgres(void)
{
    const char *which = getenv("DAMSO_TEST_STORE");
    return which && strcmp(which, "postgres") == 0;
}

static inline void pg_stop(void)
{
    char command[128];
    snprintf(command, sizeof command, "tests/postgres.sh stop %s", pg_folder);
    if (system(command) != 0)
        fprintf(stderr, "%s failed\n", command);
}

/* Once; ends the program where it cannot be. */
static inline void pg_start(void)
{
    static pid_t owner;
    char command[128];
    if (owner)
        return;
    owner = getpid();
    snprintf(pg_folder, sizeof pg_folder, "/tmp/store_pg_XXXXXX");
    assert_non_null(mkdtemp(pg_folder));
    snprintf(command, sizeof command, "tests/postgres.sh start %s %d", pg_folder, (int)owner);
    FILE *f = popen(command, "r");
    bool good = f && fscanf(f, "%d", &pg_port) == 1;
    int status = f ? pclose(f) : -1;
    if (!good || status != 0) {
        rmdir(pg_folder);
        exit(status > 0 && status >> 8 == 77 ? 77 : 1); /* 77: it is to be left out */
    }
    atexit(pg_stop);
}

/* Runs SQL in a database; the first value, or "" . */
static inline const char *pg_sql(const char *database, const char *text)
{
    static char value[256];
    char to[256];
    snprintf(to, sizeof to, "postgresql://damso@/%s?host=%s/pg&port=%d", database, pg_folder,
             pg_port);
    PGconn *c = PQconnectdb(to);
    PGresult *r = PQexec(c, text);
    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(c));
    snprintf(value, sizeof value, "%s", PQntuples(r) ? PQgetvalue(r, 0, 0) : "");
    PQclear(r);
    PQfinish(c);
    return value;
}

static char pg_database[32]; /* of this test */

static inline void pg_new_database(void)
{
    static int n;
    char text[64];
    pg_start();
    snprintf(pg_database, sizeof pg_database, "test%d", ++n);
    snprintf(text, sizeof text, "CREATE DATABASE %s", pg_database);
    pg_sql("postgres", text);
    snprintf(url, sizeof url, "postgres://damso:pw@127.0.0.1:%d/%s", pg_port, pg_database);
}

/* ---- a place for each test ---- */

static inline int setup_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/store_test_XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/a/damso.db", folder);
    snprintf(url, sizeof url, "%s", file);
    if (on_postgres())
        pg_new_database();
    return 0;
}

static inline void remove_files(const char *path)
{
    char below[512];
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *x; (x = readdir(d));) {
        snprintf(below, sizeof below, "%s/%s", path, x->d_name);
        if (x->d_name[0] != '.' && unlink(below) != 0)
            remove_files(below);
    }
    closedir(d);
    assert_int_equal(rmdir(path), 0);
}

static inline int teardown_folder(void **state)
{
    (void)state;
    store_close(store);
    store = NULL;
    remove_files(folder);
    return 0;
}

static inline int setup(void **state)
{
    setup_folder(state);
    expect_ok(store_open(&store, url, &e));
    return 0;
}

/* SQL by the side, in the test's database; nobody has it open. */
static inline void exec_sql(const char *text)
{
    sqlite3 *lite;
    if (on_postgres()) {
        pg_sql(pg_database, text);
        return;
    }
    assert_int_equal(sqlite3_open(file, &lite), SQLITE_OK);
    assert_int_equal(sqlite3_exec(lite, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(lite);
}

/* ---- short forms ---- */

static inline struct store_op op_on(enum store_what what, const char *id, const char *owner)
{
    return (struct store_op){
        .what = what, .object = {.kind = STORE_RESPONSE, .id = id, .owner = owner}
    };
}

static inline enum err put(struct store *s, const char *id, const char *owner, int64_t created,
                           const char *body)
{
    struct store_op op = op_on(STORE_PUT, id, owner);
    op.object.created = created;
    op.object.model = "m";
    op.object.body = span_of(body);
    return store_run(s, &op, &e);
}

/* The body by an arena's memory, or NULL. */
static inline const char *get(struct store *s, struct arena *a, const char *id, const char *owner)
{
    struct store_op op = op_on(STORE_GET, id, owner);
    op.arena = a;
    return store_run(s, &op, &e) == ERR_OK ? op.objects[0].body.p : NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown_folder)

#endif
