/* SPDX-License-Identifier: MIT
 * The PostgreSQL engine: transactions and statements over one connection (store_postgres_link.c).
 *
 * Transactions are REPEATABLE READ, so that what one server looked at and then changed was not
 * changed by another between; then, or when the connection is lost, it is run again as a whole.
 * A COMMIT without an answer: each transaction that writes notes its number in this opening's row
 * of `runners`.  A new connection asks for that row, which waits for whoever still holds it: the
 * number says whether the COMMIT was kept, so nothing is lost, and nothing is written twice. */
#include "store/store_postgres_int.h"
#include "store/store_text.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define STORE_PG_TRIES      9
#define STORE_PG_SILENT_NS  70000000000u /* above the server's own statement_timeout */
#define STORE_PG_RESOLVE_NS 30000000000u /* to find out about a COMMIT without an answer */

/* ---- errors ---- */

static const struct {
    const char *state; /* a SQLSTATE or how it begins (PostgreSQL, appendix A) */
    enum err err;
    bool retry;
    const char *text; /* NULL: about what was to be kept, not about the server */
} store_states[] = {
    {"23505", ERR_USAGE,   false, NULL                                                      },
    {"53100", ERR_IO,      false, "the server's disk is full; nothing of this was kept"     },
    {"53200", ERR_MEMORY,  false, "the server has no memory for it"                         },
    {"53300", ERR_BUSY,    true,  "the server has too many connections"                     },
    {"40",    ERR_BUSY,    true,  "others change the same too often"                        },
    {"55P03", ERR_BUSY,    true,  "another program keeps a row for too long"                },
    {"57014", ERR_BUSY,    false, "the server took over 60 s"                               },
    {"57P",   ERR_IO,      true,  "the server ends"                                         },
    {"25P03", ERR_IO,      true,  "the server was away for too long in a transaction"       },
    {"25006", ERR_IO,      false, "the server is read-only (a standby?)"                    },
    {"42501", ERR_IO,      false, "the user has no right to do this"                        },
    {"42P07", ERR_CORRUPT, false, "it has tables of another program; take an empty database"},
    {"42P01", ERR_CORRUPT, false, "a table is missing"                                      },
    {"54",    ERR_TOOBIG,  false, "a text is too long for the database"                     },
    {"58",    ERR_IO,      false, "the server could not read or write its files"            },
    {"XX00",  ERR_CORRUPT, false, "the database is damaged"                                 },
};

enum err store_postgres_fail(struct store_postgres *s, const PGresult *res, struct errinfo *e)
{
    const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    for (size_t i = 0; state && i < N_ELEMS(store_states); i++) {
        if (strncmp(state, store_states[i].state, strlen(store_states[i].state)) != 0)
            continue;
        s->retry |= store_states[i].retry;
        if (!store_states[i].text)
            return err_set(e, store_states[i].err, "an id of this is there already");
        if (store_states[i].err == ERR_TOOBIG) /* for who sent it, and may not see the address */
            return err_set(e, ERR_TOOBIG, "%s", store_states[i].text);
        return err_set(e, store_states[i].err, "%s: %s", s->db.name, store_states[i].text);
    }
    if (state)
        return err_set(e, ERR_FAILED, "%s: the server's error %s", s->db.name, state);
    s->retry = true;
    return err_set(e, ERR_IO, "%s: the connection was lost", s->db.name);
}

static bool store_is_good(const PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

PGresult *store_postgres_result(struct store_postgres *s)
{
    struct pollfd fd = {.fd = PQsocket(s->conn), .events = POLLIN};
    uint64_t until = os_now_ns() + STORE_PG_SILENT_NS;
    while (s->ready && PQisBusy(s->conn)) {
        uint64_t now = os_now_ns();
        if (now >= until) {
            shutdown(fd.fd, SHUT_RDWR); /* libpq then finds it closed */
            break;
        }
        if (poll(&fd, 1, (int)((until - now) / 1000000) + 1) > 0 && !PQconsumeInput(s->conn))
            break;
    }
    return PQgetResult(s->conn);
}

/* PQexec, with an end of its patience: the last result. */
static PGresult *store_ask(struct store_postgres *s, const char *text)
{
    PGresult *last = NULL, *res;
    if (!PQsendQuery(s->conn, text))
        return NULL;
    while ((res = store_postgres_result(s))) {
        if (last && !store_is_good(last)) { /* the first failure tells */
            PQclear(res);
            continue;
        }
        PQclear(last);
        last = res;
    }
    return last;
}

enum err store_postgres_exec(struct store_postgres *s, const char *text, int64_t *number,
                             struct errinfo *e)
{
    PGresult *res = store_ask(s, text);
    enum err err = store_is_good(res) ? ERR_OK : store_postgres_fail(s, res, e);
    if (number)
        *number = err == ERR_OK && PQntuples(res) && !PQgetisnull(res, 0, 0)
                      ? strtoll(PQgetvalue(res, 0, 0), NULL, 10)
                      : INT64_MIN;
    PQclear(res);
    return err;
}

/* ---- transactions ---- */

static bool store_postgres_in_transaction(struct store_db *db)
{
    PGTransactionStatusType t = PQtransactionStatus(((struct store_postgres *)db)->conn);
    return t == PQTRANS_INTRANS || t == PQTRANS_INERROR;
}

static enum err store_postgres_begin(struct store_db *db, bool writes, struct errinfo *e)
{
    struct store_postgres *s = (struct store_postgres *)db;
    s->retry = false;
    s->writes = writes;
    TRY(store_postgres_link(s, e));
    return store_postgres_exec(s,
                               writes ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE"
                                      : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                               NULL, e);
}

static void store_postgres_rollback(struct store_db *db)
{
    struct store_postgres *s = (struct store_postgres *)db;
    bool retry = s->retry;
    if (s->conn && store_postgres_in_transaction(db) &&
        store_postgres_exec(s, "ROLLBACK", NULL, NULL) != ERR_OK)
        store_postgres_unlink(s);
    s->retry = retry;
}

/* The number of the last batch that was kept, once nobody else holds the row. */
static enum err store_ask_batch(struct store_postgres *s, int64_t *batch, struct errinfo *e)
{
    char text[256];
    TRY(store_postgres_link(s, e));
    snprintf(text, sizeof text,
             "INSERT INTO runners (id, batch) VALUES (%lld, 0) "
             "ON CONFLICT (id) DO UPDATE SET seen = now() RETURNING batch",
             (long long)s->runner);
    return store_postgres_exec(s, text, batch, e);
}

/* After a COMMIT without an answer: OK when it was kept; an error with s->retry when not. */
static enum err store_resolve(struct store_postgres *s, struct errinfo *e)
{
    uint64_t began = os_now_ns();
    int64_t kept;
    enum err err;
    do {
        err = store_ask_batch(s, &kept, e);
        if (err != ERR_OK)
            nanosleep(&(struct timespec){0, 100000000}, NULL);
    } while (err != ERR_OK && os_now_ns() - began < STORE_PG_RESOLVE_NS);
    s->retry = err == ERR_OK && kept != s->batch;
    log_at(LOG_WARN, "store", "commit=%s", err != ERR_OK ? "unknown" : s->retry ? "lost" : "kept");
    if (err != ERR_OK)
        return err_set(e, ERR_IO,
                       "%s: the connection was lost while this was being kept; it may be there",
                       s->db.name);
    return s->retry ? err_set(e, ERR_IO, "%s: the connection was lost", s->db.name) : ERR_OK;
}

static enum err store_postgres_commit(struct store_db *db, struct errinfo *e)
{
    struct store_postgres *s = (struct store_postgres *)db;
    char text[256];
    if (s->writes) {
        snprintf(text, sizeof text,
                 "INSERT INTO runners (id, batch) VALUES (%lld, %lld) ON CONFLICT (id) "
                 "DO UPDATE SET batch = excluded.batch, seen = now()",
                 (long long)s->runner, (long long)++s->batch);
        TRY(store_postgres_exec(s, text, NULL, e));
    }
    PGresult *res = store_ask(s, "COMMIT");
    bool good = store_is_good(res), kept = good && strcmp(PQcmdStatus(res), "COMMIT") == 0;
    enum err err = kept   ? ERR_OK
                   : good ? err_set(e, ERR_FAILED, "%s: a failed transaction", s->db.name)
                          : store_postgres_fail(s, res, e);
    PQclear(res);
    if (!good && PQstatus(s->conn) != CONNECTION_OK && s->writes)
        return store_resolve(s, e);
    return err;
}

static bool store_postgres_retry(struct store_db *db, int n)
{
    struct store_postgres *s = (struct store_postgres *)db;
    if (!s->retry || n >= STORE_PG_TRIES)
        return false;
    uint64_t seed = os_now_ns();
    long pause_us = (5000 << n) / 2 + (long)(num_rand(&seed) % (5000u << n));
    nanosleep(&(struct timespec){0, pause_us * 1000}, NULL);
    return true;
}

static enum err store_postgres_mark(struct store_db *db, bool writes, struct errinfo *e)
{
    return writes ? store_postgres_exec((struct store_postgres *)db, "SAVEPOINT op", NULL, e)
                  : ERR_OK;
}

static enum err store_postgres_keep(struct store_db *db, bool writes, struct errinfo *e)
{
    return writes ? store_postgres_exec((struct store_postgres *)db, "RELEASE op", NULL, e)
                  : ERR_OK;
}

static enum err store_postgres_undo(struct store_db *db, bool writes, struct errinfo *e)
{
    struct store_postgres *s = (struct store_postgres *)db;
    if (s->retry || (!writes && PQtransactionStatus(s->conn) == PQTRANS_INERROR))
        return err_set(e, ERR_FAILED, "%s: the transaction failed", s->db.name);
    return writes ? store_postgres_exec(s, "ROLLBACK TO op; RELEASE op", NULL, e) : ERR_OK;
}

/* ---- statements ---- */

static void store_put_be(char *out, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = (char)(v >> (8 * (n - 1 - i)));
}

static int64_t store_get_be(const char *p, int n)
{
    uint64_t v = (signed char)p[0] < 0 ? ~(uint64_t)0 : 0;
    for (int i = 0; i < n; i++)
        v = v << 8 | (unsigned char)p[i];
    return (int64_t)v;
}

/* A bigint[] in PostgreSQL's binary form (array_recv, int8recv). */
static struct span store_grams_array(struct arena *a, const struct store_value *v)
{
    int64_t *grams;
    size_t n = store_text_grams(v->bytes, v->type == STORE_PARTS, &grams), size;
    grams[n++] = v->i;
    CHECK(num_mul(n, 12, &size) && num_add(size, 20, &size));
    char *p = arena_alloc(a, size);
    store_put_be(p, 1, 4); /* dimensions */
    store_put_be(p + 4, 0, 4);
    store_put_be(p + 8, 20, 4); /* int8 */
    store_put_be(p + 12, n, 4);
    store_put_be(p + 16, 1, 4);
    for (size_t i = 0; i < n; i++) {
        store_put_be(p + 20 + 12 * i, 8, 4);
        store_put_be(p + 24 + 12 * i, (uint64_t)grams[i], 8);
    }
    mem_free(grams);
    return (struct span){p, size};
}

/* Numbers as text, which any number's type takes; all else as its bytes. */
static struct span store_wire(struct arena *a, const struct store_value *v, int *binary)
{
    *binary = v->type != STORE_INT;
    switch (v->type) {
    case STORE_NULL: return (struct span){NULL, 0};
    case STORE_INT: return span_of(arena_printf(a, "%lld", (long long)v->i));
    case STORE_GRAMS:
    case STORE_PARTS: return store_grams_array(a, v);
    default: return v->bytes;
    }
}

static bool store_send_stmt(struct store_postgres *s, struct store_stmt *q)
{
    const char *values[STORE_ARGS_MAX];
    int lengths[STORE_ARGS_MAX], binary[STORE_ARGS_MAX];
    char name[16];
    for (int i = 0; i < s->n_args[q->which]; i++) {
        struct span x = store_wire(&s->db.tmp, &q->args[i], &binary[i]);
        values[i] = x.p;
        lengths[i] = (int)x.n; /* below STORE_PUT_BYTES_MAX */
    }
    snprintf(name, sizeof name, "s%d", (int)q->which);
    return PQsendQueryPrepared(s->conn, name, s->n_args[q->which], values, lengths, binary, 1) &&
           PQsetSingleRowMode(s->conn);
}

static struct store_value store_postgres_column(const PGresult *res, int at)
{
    struct store_value v = {.type = STORE_NULL, .bytes = SPAN("")};
    if (PQgetisnull(res, 0, at))
        return v;
    v.bytes = (struct span){PQgetvalue(res, 0, at), (size_t)PQgetlength(res, 0, at)};
    switch (PQftype(res, at)) { /* pg_type.dat */
    case 16:                    /* bool */
    case 21:
    case 23:
    case 20:
        v.type = STORE_INT;
        v.i = store_get_be(v.bytes.p, (int)v.bytes.n);
        break;
    case 17: v.type = STORE_BLOB; break;
    default: v.type = STORE_TEXT; break;
    }
    return v;
}

static bool store_postgres_step(struct store_db *db, struct store_stmt *q)
{
    struct store_postgres *s = (struct store_postgres *)db;
    if (q->phase == STORE_BOUND && s->n_args[q->which] < 0) /* nothing to do in this engine */
        return false;
    if (q->phase == STORE_BOUND && !store_send_stmt(s, q)) {
        q->err = store_postgres_fail(s, NULL, &q->e);
        return false;
    }
    for (;;) {
        PQclear(s->res);
        s->res = store_postgres_result(s);
        if (!s->res)
            return false;
        if (PQresultStatus(s->res) == PGRES_SINGLE_TUPLE)
            break;
        if (store_is_good(s->res))
            q->n_changed = strtoul(PQcmdTuples(s->res), NULL, 10);
        else if (q->err == ERR_OK)
            q->err = store_postgres_fail(s, s->res, &q->e);
    }
    CHECK(PQnfields(s->res) <= STORE_COLUMNS_MAX);
    for (int i = 0; i < PQnfields(s->res); i++)
        q->row[i] = store_postgres_column(s->res, i);
    return true;
}

static void store_postgres_end(struct store_db *db, struct store_stmt *q)
{
    struct store_postgres *s = (struct store_postgres *)db;
    bool more = q->phase == STORE_ROWS;
    PQclear(s->res);
    s->res = NULL;
    while (more && (s->res = store_postgres_result(s))) {
        if (PQresultStatus(s->res) != PGRES_SINGLE_TUPLE && !store_is_good(s->res) &&
            q->err == ERR_OK)
            q->err = store_postgres_fail(s, s->res, &q->e);
        PQclear(s->res);
    }
}

/* ---- life ---- */

static bool store_postgres_changed(struct store_db *db)
{
    struct store_postgres *s = (struct store_postgres *)db;
    PGnotify *note;
    if (s->conn && !PQconsumeInput(s->conn))
        log_at(LOG_WARN, "store", "connection=lost");
    if (store_postgres_link(s, NULL) != ERR_OK)
        return false;
    while ((note = PQnotifies(s->conn))) {
        s->heard |= note->be_pid != PQbackendPID(s->conn);
        PQfreemem(note);
    }
    bool heard = s->heard;
    s->heard = false;
    return heard;
}

static void store_forget(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    mem_free(text);
}

void store_postgres_free(struct store_postgres *s)
{
    store_postgres_unlink(s);
    store_forget(s->url);
    store_forget(s->password);
    store_db_done(&s->db);
    mem_free(s);
}

static void store_postgres_close(struct store_db *db)
{
    struct store_postgres *s = (struct store_postgres *)db;
    char text[96];
    snprintf(text, sizeof text, "DELETE FROM runners WHERE id = %lld", (long long)s->runner);
    if (s->ready && s->conn && PQstatus(s->conn) == CONNECTION_OK)
        store_postgres_exec(s, text, NULL, NULL);
    store_postgres_free(s);
}

static const struct store_engine store_postgres_engine = {
    .begin = store_postgres_begin,
    .commit = store_postgres_commit,
    .rollback = store_postgres_rollback,
    .retry = store_postgres_retry,
    .in_transaction = store_postgres_in_transaction,
    .mark = store_postgres_mark,
    .keep = store_postgres_keep,
    .undo = store_postgres_undo,
    .step = store_postgres_step,
    .end = store_postgres_end,
    .changed = store_postgres_changed,
    .close = store_postgres_close,
};

static char *store_copy(const char *text)
{
    return text ? strcpy(mem_alloc(strlen(text) + 1), text) : NULL;
}

struct store_postgres *store_postgres_another(struct store_db *db)
{
    const struct store_postgres *of = (const struct store_postgres *)db;
    if (db->engine != &store_postgres_engine)
        return NULL;
    struct store_postgres *s = mem_alloc(sizeof *s);
    store_db_init(&s->db, &store_postgres_engine, of->db.name);
    s->db.lease_ms = db->lease_ms;
    s->runner = of->runner;
    s->url = store_copy(of->url);
    s->password = store_copy(of->password);
    s->bus = s->ready = true;
    return s;
}

static enum err store_open_all(struct store_postgres *s, struct store_schema schema,
                               struct errinfo *e)
{
    int64_t ignored;
    TRY(store_postgres_link(s, e));
    TRY(store_postgres_migrate(s, schema, e));
    store_postgres_unlink(s);
    s->heard = false;
    s->ready = true;
    TRY(store_postgres_link(s, e));
    TRY(store_postgres_exec(s, "DELETE FROM runners WHERE seen < now() - interval '1 day'", NULL,
                            e));
    s->heard = false;
    return store_ask_batch(s, &ignored, e);
}

enum err store_postgres_open(struct store_db **out, const char *url, struct store_schema schema,
                             struct errinfo *e)
{
    struct str name;
    *out = NULL;
    str_init(&name, 1024);
    enum err err = sodium_init() < 0 ? err_set(e, ERR_FAILED, "libsodium finds no random bytes")
                                     : store_postgres_name(url, &name, e);
    if (err == ERR_OK) {
        struct store_postgres *s = mem_alloc(sizeof *s);
        store_db_init(&s->db, &store_postgres_engine, name.p);
        s->runner = (int64_t)randombytes_uniform(INT32_MAX) + 1;
        s->url = store_copy(url);
        err = store_open_all(s, schema, e);
        if (err == ERR_OK)
            *out = &s->db;
        else
            store_postgres_close(&s->db);
    }
    str_done(&name);
    return err;
}
