/* SPDX-License-Identifier: MIT
 * store_postgres_link.c - the connection to PostgreSQL: made, set up, made again. */
#include "store/store_postgres_int.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STORE_PG_VERSION_MIN 130000
#define STORE_PG_CONNECT_NS  10000000000u /* for one try */
#define STORE_PG_DOWN_NS     2000000000u /* the same once it is known to be away; and between tries */
#define STORE_PG_WAIT_NS     10000000000u /* for a server that went away */

/* ---- the address ---- */

/* libpq quotes the address, with its password, in what it says about it: up to there is enough. */
static enum err store_bad_url(char *text, struct errinfo *e)
{
    enum err err = err_set(e, ERR_USAGE, "the store's address is no PostgreSQL URL%s%.*s",
                           text ? ": " : "", text ? (int)strcspn(text, "\":\n") : 0,
                           text ? text : "");
    PQfreemem(text);
    return err;
}

enum err store_postgres_name(const char *url, struct str *out, struct errinfo *e)
{
    char *text = NULL;
    const char *host = "", *port = "", *database = "", *user = "";
    PQconninfoOption *all = PQconninfoParse(url, &text);
    if (!all)
        return store_bad_url(text, e);
    for (PQconninfoOption *o = all; o->keyword; o++) {
        const char *value = o->val ? o->val : "";
        if (strcmp(o->keyword, "host") == 0)
            host = value;
        else if (strcmp(o->keyword, "port") == 0)
            port = value;
        else if (strcmp(o->keyword, "dbname") == 0)
            database = value;
        else if (strcmp(o->keyword, "user") == 0)
            user = value;
    }
    str_addf(out, "postgres://%s%s%s%s%s/%s", user, *user ? "@" : "", host, *port ? ":" : "", port,
             database);
    PQconninfoFree(all);
    return ERR_OK;
}

static void store_need_file(struct store_needs *n, size_t *n_files, const char *path,
                            struct arena *a)
{
    if (path && *path && access(path, R_OK) == 0 && *n_files < N_ELEMS(n->files) - 1)
        n->files[(*n_files)++] = arena_dup(a, path, strlen(path));
}

struct store_needs store_postgres_needs(const char *url, struct arena *a)
{
    static const char *const files[] = {"sslrootcert", "sslcert", "sslkey", "sslcrl"};
    struct store_needs n = {.connects = true};
    const char *home = getenv("HOME"), *ports = getenv("PGPORT");
    size_t n_ports = 0, n_files = 0;
    PQconninfoOption *all = PQconninfoParse(url, NULL); /* opening it says what is wrong */
    for (PQconninfoOption *o = all; o && o->keyword; o++) {
        for (size_t i = 0; i < N_ELEMS(files); i++)
            if (strcmp(o->keyword, files[i]) == 0)
                store_need_file(&n, &n_files, o->val, a);
        if (strcmp(o->keyword, "port") == 0 && o->val)
            ports = o->val;
    }
    for (const char *p = ports ? ports : ""; *p && n_ports < N_ELEMS(n.ports) - 1;) {
        char *end;
        long port = strtol(p, &end, 10);
        if (port > 0 && port < 65536)
            n.ports[n_ports++] = (int)port;
        p = *end ? end + 1 : end;
    }
    if (!n_ports)
        n.ports[0] = 5432;
    store_need_file(&n, &n_files, "/etc/passwd", a); /* libpq looks up its user's home */
    store_need_file(&n, &n_files, getenv("PGPASSFILE"), a);
    if (home) {
        store_need_file(&n, &n_files, arena_printf(a, "%s/.pgpass", home), a);
        store_need_file(&n, &n_files, arena_printf(a, "%s/.postgresql", home), a);
    }
    PQconninfoFree(all);
    return n;
}

/* ---- one try ---- */

static void store_no_notice(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

static PGconn *store_begin_link(const struct store_postgres *s)
{
    /* The address has the last word on all but the encoding; the password is the one that the
     * first connection found (PGPASSWORD, PGPASSFILE), whose file may be out of reach later. */
    const char *names[] = {"fallback_application_name",
                           "keepalives_idle",
                           "tcp_user_timeout",
                           "gssencmode",
                           "dbname",
                           "client_encoding",
                           s->password ? "password" : NULL,
                           NULL};
    const char *values[] = {"damso", "10", "10000", "disable", s->url, "UTF8", s->password, NULL};
    PGconn *conn = PQconnectStartParams(names, values, 1);
    CHECK(conn);
    PQsetNoticeReceiver(conn, store_no_notice, NULL);
    PQsetErrorVerbosity(conn, PQERRORS_VERBOSE); /* for the SQLSTATE of a refusal */
    return conn;
}

static bool store_poll_link(PGconn *conn, uint64_t most_ns)
{
    PostgresPollingStatusType want = PGRES_POLLING_WRITING;
    uint64_t until = os_now_ns() + most_ns;
    while (PQstatus(conn) != CONNECTION_BAD && want != PGRES_POLLING_OK) {
        struct pollfd fd = {.fd = PQsocket(conn),
                            .events = want == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        uint64_t now = os_now_ns();
        if (want == PGRES_POLLING_FAILED || now >= until)
            return false;
        if (poll(&fd, 1, (int)((until - now) / 1000000) + 1) > 0)
            want = PQconnectPoll(conn);
    }
    return PQstatus(conn) == CONNECTION_OK;
}

/* Why a connection was refused, by the SQLSTATE in libpq's text; *wait: the server may be there
 * soon. */
static enum err store_refused(struct store_postgres *s, struct errinfo *e, bool *wait)
{
    static const struct {
        const char *state;
        enum err err;
        bool wait;
        const char *text;
    } known[] = {
        {"28P01: ", ERR_USAGE,    false, "the user's password is wrong"                  },
        {"28000: ", ERR_USAGE,    false, "the server lets this user not in (pg_hba.conf)"},
        {"3D000: ", ERR_NOTFOUND, false, "there is no such database; createdb makes one" },
        {"42501: ", ERR_USAGE,    false, "the user has no right to this database"        },
        {"53300: ", ERR_BUSY,     true,  "the server has too many connections"           },
        {"57P03: ", ERR_BUSY,     true,  "the server is starting or stopping"            },
    };
    const char *all = PQerrorMessage(s->conn);
    for (size_t i = 0; i < N_ELEMS(known); i++) {
        if (!strstr(all, known[i].state))
            continue;
        *wait = known[i].wait; /* once it was open, a refusal is nobody's wrong request */
        return err_set(e, s->ready && !*wait ? ERR_IO : known[i].err, "%s: %s", s->db.name,
                       known[i].text);
    }
    *wait = true;
    enum err err = s->ready ? ERR_BUSY : ERR_IO; /* later it may be there again */
    if (PQstatus(s->conn) != CONNECTION_BAD)
        return err_set(e, err, "%s: the server does not answer", s->db.name);
    /* Of libpq itself: the host, and what the system said.  One line. */
    return err_set(e, err, "%s: %.*s", s->db.name, (int)strcspn(all, "\n"), all);
}

static void store_keep_password(struct store_postgres *s)
{
    const char *password = PQpass(s->conn);
    if (s->password || !password || !*password)
        return;
    s->password = mem_alloc(strlen(password) + 1);
    strcpy(s->password, password);
}

static enum err store_set_up(struct store_postgres *s, struct errinfo *e)
{
    char text[512];
    const char *encoding = PQparameterStatus(s->conn, "server_encoding");
    int version = PQserverVersion(s->conn);
    if (version < STORE_PG_VERSION_MIN)
        return err_set(e, ERR_UNSUPPORTED, "%s: PostgreSQL %d is too old, %d is needed", s->db.name,
                       version / 10000, STORE_PG_VERSION_MIN / 10000);
    if (!encoding || strcmp(encoding, "UTF8") != 0)
        return err_set(e, ERR_UNSUPPORTED, "%s: the database's encoding is %.20s, not UTF8",
                       s->db.name, encoding ? encoding : "unknown");
    snprintf(text, sizeof text,
             "SET lock_timeout = '5s'; SET statement_timeout = '60s';"
             /* For who has nobody beside it that would end its connections (store_bus.c): the
              * search words of a long text take some seconds on a busy machine. */
             "SET idle_in_transaction_session_timeout = '15s';"
             "SELECT set_config('synchronous_commit', 'on', false) "
             "WHERE current_setting('synchronous_commit') IN ('off', 'local');"
             "SELECT set_config('damso.runner', '%lld', false);"
             "SELECT pg_advisory_lock_shared(%d, %lld)",
             (long long)s->runner, STORE_PG_LOCKS, (long long)s->runner);
    TRY(store_postgres_exec(s, text, NULL, e));
    return store_postgres_exec(s,
                               s->bus /* a row that others hold must not cost the lease */
                                   ? "SET synchronous_commit = off; SET lock_timeout = '1s'; "
                                     "LISTEN damso_events"
                                   : "LISTEN damso_keys",
                               NULL, e);
}

static enum err store_prepare_one(struct store_postgres *s, int which, const char *text,
                                  struct errinfo *e)
{
    struct str dollars;
    char name[16];
    s->n_args[which] = 0;
    str_init(&dollars, 8192);
    for (const char *p = text; *p; p++) {
        str_add_char(&dollars, *p == '?' ? '$' : *p);
        if (*p == '?')
            s->n_args[which] = MAX(s->n_args[which], (int)strtol(p + 1, NULL, 10));
    }
    CHECK(!dollars.full && s->n_args[which] <= STORE_ARGS_MAX);
    snprintf(name, sizeof name, "s%d", which);
    PGresult *res = NULL, *end;
    if (PQsendPrepare(s->conn, name, dollars.p, 0, NULL)) {
        res = store_postgres_result(s);
        while ((end = store_postgres_result(s)))
            PQclear(end);
    }
    enum err err = ERR_OK;
    if (PQresultStatus(res) != PGRES_COMMAND_OK) /* tables changed by hand: say what is missing */
        err = PQresultErrorField(res, PG_DIAG_SQLSTATE)
                  ? err_set(e, ERR_CORRUPT, "%s: %s", s->db.name,
                            PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY))
                  : store_postgres_fail(s, res, e);
    PQclear(res);
    str_done(&dollars);
    return err;
}

static enum err store_prepare_all(struct store_postgres *s, struct errinfo *e)
{
    static const char *const texts[STORE_N_SQL] = {
#define SQL(name, text)              text,
#define SQL2(name, sqlite, postgres) postgres,
#include "store/store_sql.def"
#undef SQL
#undef SQL2
    };
    for (int i = 0; i < STORE_N_SQL; i++) {
        s->n_args[i] = -1;
        if (texts[i][0])
            TRY(store_prepare_one(s, i, texts[i], e));
    }
    return ERR_OK;
}

void store_postgres_unlink(struct store_postgres *s)
{
    PQclear(s->res);
    s->res = NULL;
    PQfinish(s->conn);
    s->conn = NULL;
}

static enum err store_try_link(struct store_postgres *s, struct errinfo *e, bool *wait)
{
    *wait = false;
    store_postgres_unlink(s);
    s->conn = store_begin_link(s);
    uint64_t most_ns = s->down || s->bus ? STORE_PG_DOWN_NS : STORE_PG_CONNECT_NS;
    enum err err = store_poll_link(s->conn, most_ns) ? ERR_OK : store_refused(s, e, wait);
    if (err == ERR_OK) {
        PQsetErrorVerbosity(s->conn, PQERRORS_DEFAULT);
        PQsetnonblocking(s->conn, 0);
        store_keep_password(s);
        err = store_set_up(s, e);
        if (err == ERR_OK && s->ready && !s->bus)
            err = store_prepare_all(s, e);
        *wait = PQstatus(s->conn) != CONNECTION_OK;
    }
    if (err != ERR_OK)
        store_postgres_unlink(s);
    return err;
}

/* ---- until it is there ---- */

enum err store_postgres_link(struct store_postgres *s, struct errinfo *e)
{
    if (s->conn && PQstatus(s->conn) == CONNECTION_OK)
        return ERR_OK;
    uint64_t began = os_now_ns();
    uint64_t quiet_ns = s->bus ? STORE_PG_DOWN_NS / 10 : STORE_PG_DOWN_NS;
    if (s->down && began - s->tried_ns < quiet_ns) /* who waits is told at once */
        return err_set(e, ERR_BUSY, "%s: the server cannot be reached", s->db.name);
    bool again = s->conn || s->heard, wait;
    enum err err;
    for (long pause_ms = 20;; pause_ms = MIN(2 * pause_ms, 500)) {
        err = store_try_link(s, e, &wait);
        wait = wait && (s->ready || err != ERR_IO); /* at first only for one that says it starts */
        if (err == ERR_OK || !wait || s->down || s->bus || os_now_ns() - began > STORE_PG_WAIT_NS)
            break;
        nanosleep(&(struct timespec){0, pause_ms * 1000000}, NULL);
    }
    s->down = err != ERR_OK;
    s->tried_ns = os_now_ns();
    if (err == ERR_OK && again)
        log_at(LOG_WARN, "store", "connected=again ms=%llu",
               (unsigned long long)((os_now_ns() - began) / 1000000));
    s->heard = true; /* what was said meanwhile was not heard */
    return err;
}
