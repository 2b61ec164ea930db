/* SPDX-License-Identifier: MIT
 * store_db.h - what the operations are written against: the statements of store_sql.def in an open
 * database, whichever engine it has.
 *
 * Does: start a statement, bind, step through its rows, end it with the error that was met.  Errors
 *       of steps wait for store_end, so a loop over rows needs no check of its own.
 * Does not: run two statements at once (an engine may have one connection): read a row to its end,
 *       store_end, and only then start the next.  No transactions: store.c holds them.
 * Threads: one at a time.
 * Owner: what is bound stays the caller's until store_end; what a row holds lives to the next step.
 */
#ifndef STORE_STORE_DB_H
#define STORE_STORE_DB_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

#define STORE_ARGS_MAX    16 /* ?1 to ?16 */
#define STORE_COLUMNS_MAX 16

enum store_sql {
#define SQL(name, text)              STORE_SQL_##name,
#define SQL2(name, sqlite, postgres) STORE_SQL_##name,
#include "store/store_sql.def"
#undef SQL
#undef SQL2
    STORE_N_SQL
};

enum store_type {
    STORE_NULL,
    STORE_INT,
    STORE_TEXT,
    STORE_BLOB,
    /* bound only */
    STORE_WORDS, /* to be found, as store_text_words gives them */
    STORE_GRAMS, /* the pairs of characters of such words; SQLite makes its own */
    STORE_PARTS  /* the pairs that a text must have where these words are to be found */
};

struct store_value {
    enum store_type type;
    int64_t i;
    struct span bytes;
};

struct store_db;

/* A statement that runs.  Its fields are the engine's and those of the functions below. */
struct store_stmt {
    struct store_db *db;
    enum store_sql which;
    enum { STORE_IDLE, STORE_BOUND, STORE_ROWS, STORE_DONE } phase;
    struct store_value args[STORE_ARGS_MAX];
    struct store_value row[STORE_COLUMNS_MAX];
    size_t n_changed; /* rows that it changed; good after store_end */
    enum err err;
    struct errinfo e;
};

/* All is NULL until it is bound. */
struct store_stmt *store_start(struct store_db *db, enum store_sql which);
/* `at` is the number of ?N. */
void store_bind_int(struct store_stmt *q, int at, int64_t i);
void store_bind_text(struct store_stmt *q, int at, const char *text); /* NULL stays */
/* U+0000 is kept as U+FFFD: PostgreSQL has no place for it, and both engines keep the same. */
void store_bind_span(struct store_stmt *q, int at, struct span text);
void store_bind_blob(struct store_stmt *q, int at, const void *p, size_t n);
void store_bind_words(struct store_stmt *q, int at, struct span words);
/* type: STORE_GRAMS or STORE_PARTS; owner: store_text_owner, one more of them. */
void store_bind_grams(struct store_stmt *q, int at, enum store_type type, struct span words,
                      int64_t owner);

/* The next row; false at the end and for an error. */
bool store_step(struct store_stmt *q);
/* Columns of the row, from 0. */
int64_t store_int(const struct store_stmt *q, int at);                   /* also of a truth value */
size_t store_bytes(const struct store_stmt *q, int at);                  /* of a text */
struct span store_span(const struct store_stmt *q, int at);              /* until the next step */
char *store_column(const struct store_stmt *q, int at, struct arena *a); /* NULL stays */
struct span store_column_span(const struct store_stmt *q, int at, struct arena *a);

/* Ends it, also before the last row.  Errors: what a step met. */
enum err store_end(struct store_stmt *q, struct errinfo *e);
/* Runs it without looking at rows, and ends it. */
enum err store_finish(struct store_stmt *q, struct errinfo *e);
/* The first number of the only row, and ends it; *found false without a row. */
enum err store_number(struct store_stmt *q, int64_t *out, bool *found, struct errinfo *e);
/* Runs a statement whose only argument is a row's number. */
enum err store_row_step(struct store_db *db, enum store_sql which, int64_t n, struct errinfo *e);

/* The database as messages name it: a file, or an address without its password. */
const char *store_db_name(const struct store_db *db);

#endif
