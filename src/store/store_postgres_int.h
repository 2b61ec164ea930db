/* SPDX-License-Identifier: MIT
 * store_postgres_int.h - what the files of the PostgreSQL engine share. */
#ifndef STORE_STORE_POSTGRES_INT_H
#define STORE_STORE_POSTGRES_INT_H

#include "store/store_int.h"

#include <libpq-fe.h>

#define STORE_PG_LOCKS 1684106611 /* the first half of our advisory locks (STORE_SQL_LOCKS) */

struct store_postgres {
    struct store_db db; /* first; its name is without the password */
    char *url, *password;
    PGconn *conn;  /* NULL, or what PQstatus says */
    PGresult *res; /* the row that was read last */
    int n_args[STORE_N_SQL];
    int64_t runner, batch; /* this opening; the last transaction that wrote */
    bool bus;              /* for the bus: hears of events, keeps no waits for the disk */
    bool ready;            /* opened as a whole: a lost connection is made again */
    bool writes, retry;    /* of the transaction: it writes; it failed, and may be run again */
    bool down;             /* the server was waited for in vain */
    uint64_t tried_ns;     /* the last time */
    bool heard;            /* keys may have changed */
};

/* The next result of what was sent, NULL behind the last, as PQgetResult; a server that says
 * nothing for longer than it may work is taken for lost. */
PGresult *store_postgres_result(struct store_postgres *s);
/* The explanation of a result that is none: the database and the reason, no text of a user. */
enum err store_postgres_fail(struct store_postgres *s, const PGresult *res, struct errinfo *e);
/* Runs statements without arguments; *number: the first column of the last one's first row as a
 * number, INT64_MIN without. */
enum err store_postgres_exec(struct store_postgres *s, const char *text, int64_t *number,
                             struct errinfo *e);

/* For the bus of an open store: one more opening of the same server, without a connection yet; NULL
 * where db has another engine. */
struct store_postgres *store_postgres_another(struct store_db *db);
void store_postgres_free(struct store_postgres *s);

/* store_postgres_link.c: a connection that is good, with the session's settings and, once `ready`,
 * all statements prepared. */
enum err store_postgres_link(struct store_postgres *s, struct errinfo *e);
void store_postgres_unlink(struct store_postgres *s);
/* The address without its password, from libpq's own reading of it.  Errors: USAGE. */
enum err store_postgres_name(const char *url, struct str *out, struct errinfo *e);

/* store_postgres_schema.c: brings the tables up to date. */
enum err store_postgres_migrate(struct store_postgres *s, struct store_schema schema,
                                struct errinfo *e);

#endif
