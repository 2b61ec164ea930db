/* SPDX-License-Identifier: MIT
 * store_int.h - between the queue (store.c) and an engine; no one else includes it, but tests.
 *
 * An engine is used by one thread at a time and knows neither the queue nor callbacks. */
#ifndef STORE_STORE_INT_H
#define STORE_STORE_INT_H

#include "store/store.h"

struct store_db;

struct store_engine {
    /* A transaction: what is run in it is kept by commit as a whole, or not at all. */
    enum err (*begin)(struct store_db *db, bool writes, struct errinfo *e);
    enum err (*commit)(struct store_db *db, struct errinfo *e);
    void (*rollback)(struct store_db *db); /* harmless without a transaction */
    /* One operation; when it fails nothing of it remains in the transaction.  *lost: the
     * transaction itself is gone. */
    enum err (*run)(struct store_db *db, struct store_op *op, bool *lost);
    /* True once after another process has written. */
    bool (*changed)(struct store_db *db);
    /* Removes some of what has expired; true when there may be more. */
    bool (*sweep)(struct store_db *db);
    void (*close)(struct store_db *db);
};

/* The engine's own struct begins with it. */
struct store_db {
    const struct store_engine *engine;
};

/* The steps from an empty database to the newest, in order; the version is their number. */
struct store_schema {
    const char *const *steps;
    int n_steps;
};
extern const struct store_schema store_sqlite_schema;

/* path as SQLite takes it: a file, or ":memory:". */
enum err store_sqlite_open(struct store_db **out, const char *path, struct store_schema schema,
                           struct errinfo *e);

/* Whether an operation on chats may be sent; adds its bytes to op->bytes.  store_chat.c */
enum err store_check_chats(struct store_op *op, struct errinfo *e);
/* store.c */
enum err store_check_text(const char *what, const char *text, bool must, struct errinfo *e);

#endif
