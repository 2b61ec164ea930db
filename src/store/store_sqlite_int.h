/* SPDX-License-Identifier: MIT
 * store_sqlite_int.h - what the files of the SQLite engine share. */
#ifndef STORE_STORE_SQLITE_INT_H
#define STORE_STORE_SQLITE_INT_H

#include "store/store_int.h"

#include <sqlite3.h>

enum store_sql {
#define SQL(name, text) STORE_SQL_##name,
#include "store/store_sql.def"
#undef SQL
    STORE_N_SQL
};

struct store_sqlite {
    struct store_db db; /* first */
    sqlite3 *lite;
    char *path;
    sqlite3_stmt *sql[STORE_N_SQL];
    int64_t data_version;
    bool backed_up; /* to the next version, in this opening */
};

/* The explanation of a result code: the file and the reason, no text of a statement. */
enum err store_sqlite_fail(struct store_sqlite *s, int rc, struct errinfo *e);
/* Runs a statement that gives no rows, and resets it; a result code. */
int store_sqlite_step(struct store_sqlite *s, enum store_sql which);

/* store_sqlite_ops.c */
enum err store_sqlite_op(struct store_sqlite *s, struct store_op *op, struct errinfo *e);

#endif
