/* SPDX-License-Identifier: MIT
 * The SQLite engine: opening, bringing up to date, transactions, statements.  WAL with
 * synchronous=FULL: a commit returns when the disk has it. */
#include "store/store_sqlite_int.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STORE_APPLICATION                                                                          \
    0x64616d73 /* "dams", in the file's head: not another program's database */
#define STORE_BUSY_MS 5000
#define STORE_WAL_MAX "67108864" /* what the log is cut to after a burst */

/* ---- errors ---- */

enum err store_sqlite_fail(struct store_sqlite *s, int rc, struct errinfo *e)
{
    int why = s->lite ? sqlite3_system_errno(s->lite) : 0;
    if (!why) /* SQLite does not note what a COMMIT met */
        why = errno;
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return err_set(e, ERR_IO, "%s: the disk is full; nothing of this was kept", s->db.name);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(e, ERR_BUSY, "%s: another program keeps the database for over %d s",
                       s->db.name, STORE_BUSY_MS / 1000);
    case SQLITE_NOMEM: return err_set(e, ERR_MEMORY, "%s: no memory for the database", s->db.name);
    case SQLITE_CORRUPT: return err_set(e, ERR_CORRUPT, "%s: the database is damaged", s->db.name);
    case SQLITE_NOTADB: return err_set(e, ERR_CORRUPT, "%s is not a database", s->db.name);
    case SQLITE_CONSTRAINT: return err_set(e, ERR_USAGE, "an id of this is there already");
    case SQLITE_TOOBIG: return err_set(e, ERR_TOOBIG, "a text is too long for the database");
    case SQLITE_READONLY:
    case SQLITE_PERM: return err_set(e, ERR_IO, "%s: %s", s->db.name, sqlite3_errstr(rc));
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return err_set(e, ERR_IO, "%s: %s%s%s", s->db.name, sqlite3_errstr(rc), why ? ": " : "",
                       why ? strerror(why) : "");
    default: return err_set(e, ERR_FAILED, "%s: %s", s->db.name, sqlite3_errstr(rc));
    }
}

static enum err store_exec(struct store_sqlite *s, const char *text, struct errinfo *e)
{
    errno = 0;
    int rc = sqlite3_exec(s->lite, text, NULL, NULL, NULL);
    return rc == SQLITE_OK ? ERR_OK : store_sqlite_fail(s, rc, e);
}

/* The first column of a statement's only row. */
static enum err store_ask(struct store_sqlite *s, const char *text, int64_t *number, char word[16],
                          struct errinfo *e)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(s->lite, text, -1, &q, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(q);
    if (rc == SQLITE_ROW && number)
        *number = sqlite3_column_int64(q, 0);
    if (rc == SQLITE_ROW && word)
        snprintf(word, 16, "%s", (const char *)sqlite3_column_text(q, 0));
    sqlite3_finalize(q);
    return rc == SQLITE_ROW ? ERR_OK : store_sqlite_fail(s, rc, e);
}

/* ---- the file ---- */

/* The file with the mode that the log beside it takes over.  A file that is there is not opened
 * here: closing it would drop the locks that this process may hold on it. */
static enum err store_make_file(const char *path, struct errinfo *e)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        TRY(os_make_folders(path, 0700, e));
        int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0 && errno != EEXIST)
            return err_set(e, ERR_IO, "cannot make the store's file %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return ERR_OK;
    }
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_IO, "%s is not a file", path);
    if ((st.st_mode & 077) && chmod(path, st.st_mode & 0700) != 0)
        return err_set(e, ERR_IO, "%s can be read by others, and the mode cannot be changed: %s",
                       path, strerror(errno));
    return ERR_OK;
}

static bool store_sync_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

/* A copy of the database before it changes its form. */
static enum err store_back_up(struct store_sqlite *s, int version, struct errinfo *e)
{
    struct arena tmp;
    arena_init(&tmp);
    char *to = arena_printf(&tmp, "%s.backup-v%d", s->db.name, version);
    char *part = arena_printf(&tmp, "%s.part", to);
    sqlite3_stmt *q = NULL;
    unlink(part);
    enum err err = store_make_file(part, e);
    if (err == ERR_OK) {
        int rc = sqlite3_prepare_v2(s->lite, "VACUUM INTO ?1", -1, &q, NULL);
        if (rc == SQLITE_OK)
            rc = sqlite3_bind_text(q, 1, part, -1, SQLITE_STATIC);
        if (rc == SQLITE_OK)
            rc = sqlite3_step(q);
        sqlite3_finalize(q);
        if (rc != SQLITE_DONE)
            err = store_sqlite_fail(s, rc, e);
        else if (!store_sync_file(part) || rename(part, to) != 0)
            err = err_set(e, ERR_IO, "%s: %s", to, strerror(errno));
    }
    if (err == ERR_OK)
        log_at(LOG_WARN, "store", "backup=%s", to);
    else
        unlink(part);
    arena_done(&tmp);
    return err;
}

/* ---- bringing it up to date ---- */

static enum err store_read_version(struct store_sqlite *s, int64_t *version, struct errinfo *e)
{
    int64_t application, n_tables;
    TRY(store_ask(s, "PRAGMA user_version", version, NULL, e));
    TRY(store_ask(s, "PRAGMA application_id", &application, NULL, e));
    TRY(store_ask(s, "SELECT count(*) FROM sqlite_schema", &n_tables, NULL, e));
    if (application != STORE_APPLICATION && (application || *version || n_tables))
        return err_set(e, ERR_CORRUPT, "%s is another program's database", s->db.name);
    return ERR_OK;
}

/* The same outside of a transaction: another program may be making the database. */
static enum err store_version(struct store_sqlite *s, int64_t *version, struct errinfo *e)
{
    TRY(store_exec(s, "BEGIN", e));
    enum err err = store_read_version(s, version, e);
    sqlite3_exec(s->lite, "ROLLBACK", NULL, NULL, NULL);
    return err;
}

/* In a transaction that only one process can hold. */
static enum err store_climb(struct store_sqlite *s, struct store_schema schema, bool *old,
                            struct errinfo *e)
{
    int64_t version;
    char text[96];
    TRY(store_read_version(s, &version, e));
    *old = version > 0 && version < store_schema_version(schema);
    if (version >= store_schema_version(schema) || (*old && !s->backed_up))
        return ERR_OK;
    for (size_t i = 0; i < schema.n_rows; i++) {
        if (schema.rows[i].version > version)
            TRY(store_exec(s, schema.rows[i].sqlite, e));
    }
    snprintf(text, sizeof text, "PRAGMA user_version = %d; PRAGMA application_id = %d",
             store_schema_version(schema), STORE_APPLICATION);
    TRY(store_exec(s, text, e));
    *old = false;
    return ERR_OK;
}

static enum err store_migrate(struct store_sqlite *s, struct store_schema schema, struct errinfo *e)
{
    bool old = true;
    int64_t version;
    TRY(store_version(s, &version, e));
    if (version > store_schema_version(schema))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s has the form %lld, and this program knows forms up to %d: take a newer "
                       "damso",
                       s->db.name, (long long)version, store_schema_version(schema));
    /* A copy cannot be made inside a transaction: look inside, copy outside, look again. */
    while (version < store_schema_version(schema) && old) {
        TRY(store_exec(s, "BEGIN IMMEDIATE", e));
        enum err err = store_climb(s, schema, &old, e);
        if (err == ERR_OK)
            err = store_exec(s, "COMMIT", e);
        if (err != ERR_OK && !sqlite3_get_autocommit(s->lite))
            sqlite3_exec(s->lite, "ROLLBACK", NULL, NULL, NULL);
        TRY(err);
        if (old) {
            TRY(store_back_up(s, (int)version, e));
            s->backed_up = true;
        }
    }
    return ERR_OK;
}

/* ---- opening ---- */

static enum err store_connect(struct store_sqlite *s, struct errinfo *e)
{
    int rc = sqlite3_open_v2(s->db.name, &s->lite,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                 SQLITE_OPEN_EXRESCODE,
                             NULL);
    if (rc != SQLITE_OK)
        return store_sqlite_fail(s, rc, e);
    sqlite3_busy_timeout(s->lite, STORE_BUSY_MS);
    sqlite3_db_config(s->lite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    TRY(store_sqlite_text(s, e));
    /* Temporary tables in memory: a sandboxed server may open no file elsewhere. */
    return store_exec(s,
                      "PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;"
                      "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;"
                      "PRAGMA journal_size_limit = " STORE_WAL_MAX,
                      e);
}

static enum err store_prepare(struct store_sqlite *s, struct errinfo *e)
{
    static const char *const texts[STORE_N_SQL] = {
#define SQL(name, text)              text,
#define SQL2(name, sqlite, postgres) sqlite,
#include "store/store_sql.def"
#undef SQL
#undef SQL2
    };
    for (int i = 0; i < STORE_N_SQL; i++) {
        int rc = sqlite3_prepare_v3(s->lite, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &s->sql[i],
                                    NULL);
        if (rc != SQLITE_OK &&
            texts[i][0]) /* tables changed by hand: the text names what is missing */
            return err_set(e, ERR_CORRUPT, "%s: %s", s->db.name, sqlite3_errmsg(s->lite));
    }
    return ERR_OK;
}

static bool store_sqlite_changed(struct store_db *db)
{
    struct store_sqlite *s = (struct store_sqlite *)db;
    int64_t before = s->data_version;
    store_ask(s, "PRAGMA data_version", &s->data_version, NULL, NULL);
    return s->data_version != before;
}

/* Two programs that make the same database at once get BUSY here without SQLite's own waiting. */
static enum err store_set_wal(struct store_sqlite *s, struct errinfo *e)
{
    char mode[16] = "";
    enum err err = ERR_BUSY;
    for (int waited_ms = 0; err == ERR_BUSY && waited_ms < STORE_BUSY_MS; waited_ms += 10) {
        if (waited_ms)
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        err = store_ask(s, "PRAGMA journal_mode = WAL", NULL, mode, e);
    }
    TRY(err);
    if (strcmp(mode, "wal") != 0)
        return err_set(e, ERR_IO, "%s: the file system keeps no write-ahead log", s->db.name);
    return ERR_OK;
}

static enum err store_open_all(struct store_sqlite *s, struct store_schema schema,
                               struct errinfo *e)
{
    bool memory = strcmp(s->db.name, ":memory:") == 0;
    if (!memory)
        TRY(store_make_file(s->db.name, e));
    TRY(store_connect(s, e));
    int64_t version;
    TRY(store_version(s, &version, e)); /* before anything is written */
    if (version <= store_schema_version(schema) && !memory)
        TRY(store_set_wal(s, e));
    TRY(store_migrate(s, schema, e));
    TRY(store_prepare(s, e));
    store_sqlite_changed(&s->db);
    return ERR_OK;
}

static void store_sqlite_close(struct store_db *db)
{
    struct store_sqlite *s = (struct store_sqlite *)db;
    for (int i = 0; i < STORE_N_SQL; i++)
        sqlite3_finalize(s->sql[i]);
    int rc = sqlite3_close(s->lite);
    CHECK(rc == SQLITE_OK);
    str_done(&s->match);
    store_db_done(&s->db);
    mem_free(s);
}

/* ---- transactions ---- */

static enum err store_sqlite_begin(struct store_db *db, bool writes, struct errinfo *e)
{
    return store_exec((struct store_sqlite *)db, writes ? "BEGIN IMMEDIATE" : "BEGIN", e);
}

static enum err store_sqlite_commit(struct store_db *db, struct errinfo *e)
{
    return store_exec((struct store_sqlite *)db, "COMMIT", e);
}

static bool store_sqlite_in_transaction(struct store_db *db)
{
    return !sqlite3_get_autocommit(((struct store_sqlite *)db)->lite);
}

static void store_sqlite_rollback(struct store_db *db)
{
    if (store_sqlite_in_transaction(db))
        store_exec((struct store_sqlite *)db, "ROLLBACK", NULL);
}

static enum err store_sqlite_mark(struct store_db *db, bool writes, struct errinfo *e)
{
    (void)writes;
    return store_exec((struct store_sqlite *)db, "SAVEPOINT op", e);
}

static enum err store_sqlite_keep(struct store_db *db, bool writes, struct errinfo *e)
{
    (void)writes;
    return store_exec((struct store_sqlite *)db, "RELEASE op", e);
}

static enum err store_sqlite_undo(struct store_db *db, bool writes, struct errinfo *e)
{
    (void)writes;
    return store_exec((struct store_sqlite *)db, "ROLLBACK TO op; RELEASE op", e);
}

/* ---- statements ---- */

/* A bind that fails (only for memory) leaves a NULL, which the NOT NULL of the column refuses. */
static void store_sqlite_bind(struct store_sqlite *s, sqlite3_stmt *q, int at,
                              const struct store_value *v)
{
    switch (v->type) {
    case STORE_NULL: break;
    case STORE_INT: sqlite3_bind_int64(q, at, v->i); break;
    case STORE_BLOB: sqlite3_bind_blob64(q, at, v->bytes.p, v->bytes.n, SQLITE_STATIC); break;
    case STORE_TEXT:
        sqlite3_bind_text64(q, at, v->bytes.p, v->bytes.n, SQLITE_STATIC, SQLITE_UTF8);
        break;
    case STORE_WORDS:
        str_clear(&s->match);
        store_sqlite_match(v->bytes, &s->match);
        sqlite3_bind_text64(q, at, s->match.p, s->match.n, SQLITE_STATIC, SQLITE_UTF8);
        break;
    case STORE_GRAMS:
    case STORE_PARTS: CHECK(!"a statement of SQLite has no such argument");
    }
}

static struct store_value store_sqlite_column(sqlite3_stmt *q, int at)
{
    struct store_value v = {.type = STORE_NULL};
    switch (sqlite3_column_type(q, at)) {
    case SQLITE_INTEGER:
        v = (struct store_value){STORE_INT, sqlite3_column_int64(q, at), {0}};
        break;
    case SQLITE_TEXT:
        v = (struct store_value){
            STORE_TEXT, 0, {(const char *)sqlite3_column_text(q, at), 0}
        };
        break;
    case SQLITE_BLOB:
        v = (struct store_value){
            STORE_BLOB, 0, {sqlite3_column_blob(q, at), 0}
        };
        break;
    }
    if (v.type == STORE_TEXT || v.type == STORE_BLOB)
        v.bytes.n = (size_t)sqlite3_column_bytes(q, at);
    if (!v.bytes.p) /* of no bytes */
        v.bytes.p = "";
    return v;
}

static bool store_sqlite_step(struct store_db *db, struct store_stmt *q)
{
    struct store_sqlite *s = (struct store_sqlite *)db;
    sqlite3_stmt *lite = s->sql[q->which];
    if (!lite) /* nothing to do in this engine */
        return false;
    int n_args = sqlite3_bind_parameter_count(lite), n_columns = sqlite3_column_count(lite);
    CHECK(n_args <= STORE_ARGS_MAX && n_columns <= STORE_COLUMNS_MAX);
    for (int i = 0; i < n_args && q->phase == STORE_BOUND; i++)
        store_sqlite_bind(s, lite, i + 1, &q->args[i]);
    errno = 0;
    int rc = sqlite3_step(lite);
    for (int i = 0; i < n_columns && rc == SQLITE_ROW; i++)
        q->row[i] = store_sqlite_column(lite, i);
    if (rc == SQLITE_DONE)
        q->n_changed = (size_t)sqlite3_changes(s->lite);
    else if (rc != SQLITE_ROW)
        q->err = store_sqlite_fail(s, rc, &q->e);
    return rc == SQLITE_ROW;
}

static void store_sqlite_end(struct store_db *db, struct store_stmt *q)
{
    sqlite3_stmt *lite = ((struct store_sqlite *)db)->sql[q->which];
    if (!lite)
        return;
    sqlite3_reset(lite);
    sqlite3_clear_bindings(lite);
}

static const struct store_engine store_sqlite_engine = {
    .begin = store_sqlite_begin,
    .commit = store_sqlite_commit,
    .rollback = store_sqlite_rollback,
    .in_transaction = store_sqlite_in_transaction,
    .mark = store_sqlite_mark,
    .keep = store_sqlite_keep,
    .undo = store_sqlite_undo,
    .step = store_sqlite_step,
    .end = store_sqlite_end,
    .changed = store_sqlite_changed,
    .close = store_sqlite_close,
};

enum err store_sqlite_open(struct store_db **out, const char *path, struct store_schema schema,
                           struct errinfo *e)
{
    struct store_sqlite *s = mem_alloc(sizeof *s);
    str_init(&s->match, 64 * STORE_SEARCH_BYTES_MAX);
    store_db_init(&s->db, &store_sqlite_engine, path);
    enum err err = store_open_all(s, schema, e);
    if (err != ERR_OK) {
        store_sqlite_close(&s->db);
        s = NULL;
    }
    *out = s ? &s->db : NULL;
    return err;
}
