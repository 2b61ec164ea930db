/* SPDX-License-Identifier: MIT
 * store_int.h - inside the store: what an engine has to be, and what the operations share.
 *
 * An engine is used by one thread at a time and knows neither the queue nor operations. */
#ifndef STORE_STORE_INT_H
#define STORE_STORE_INT_H

#include "store/store_db.h"

struct store_engine {
    /* A transaction: what is run in it is kept by commit as a whole, or not at all. */
    enum err (*begin)(struct store_db *db, bool writes, struct errinfo *e);
    enum err (*commit)(struct store_db *db, struct errinfo *e);
    void (*rollback)(struct store_db *db); /* harmless without a transaction */
    /* After a failed transaction was rolled back: whether it should be run once more, `n` times
     * tried so far.  May wait; NULL: never. */
    bool (*retry)(struct store_db *db, int n);
    bool (*in_transaction)(struct store_db *db);
    /* A place in the transaction: what follows is kept by `keep`, or taken back by `undo`.
     * writes: what follows may write. */
    enum err (*mark)(struct store_db *db, bool writes, struct errinfo *e);
    enum err (*keep)(struct store_db *db, bool writes, struct errinfo *e);
    enum err (*undo)(struct store_db *db, bool writes, struct errinfo *e);
    /* Runs q->which with q->args as far as its next row, into q->row; false at the end, with
     * q->n_changed, and for an error, with q->err and q->e. */
    bool (*step)(struct store_db *db, struct store_stmt *q);
    void (*end)(struct store_db *db, struct store_stmt *q); /* also before the last row */
    /* True once after another process has written. */
    bool (*changed)(struct store_db *db);
    void (*close)(struct store_db *db);
};

/* The engine's own struct begins with it. */
struct store_db {
    const struct store_engine *engine;
    char *name;
    int64_t lease_ms;       /* store_open_leased */
    struct store_stmt stmt; /* the one that runs */
    struct arena tmp;       /* of that statement */
};

/* store_schema.def: what each version adds, in order. */
struct store_ddl {
    int version;
    const char *sqlite, *postgres; /* "": nothing */
};
struct store_schema {
    const struct store_ddl *rows;
    size_t n_rows;
};
extern const struct store_schema store_schema;
/* The newest version. */
static inline int store_schema_version(struct store_schema s)
{
    return s.n_rows ? s.rows[s.n_rows - 1].version : 0;
}

/* path as SQLite takes it: a file, or ":memory:". */
enum err store_sqlite_open(struct store_db **out, const char *path, struct store_schema schema,
                           struct errinfo *e);
/* url: postgres://... or postgresql://..., as libpq takes it. */
enum err store_postgres_open(struct store_db **out, const char *url, struct store_schema schema,
                             struct errinfo *e);

/* store_postgres_link.c, for such a url. */
struct store_needs store_postgres_needs(const char *url, struct arena *a);

/* ---- store_db.c ---- */

void store_db_init(struct store_db *db, const struct store_engine *engine, const char *name);
void store_db_done(struct store_db *db);

/* One operation of a transaction; when it fails nothing of it remains.  *lost: the transaction
 * itself is gone. */
enum err store_db_run(struct store_db *db, struct store_op *op, bool *lost);
/* Removes some of what has expired; true when there may be more. */
bool store_db_sweep(struct store_db *db);

/* ---- what may be sent ---- */

/* Whether an operation on chats may be sent; adds its bytes to op->bytes.  store_chat.c */
enum err store_check_chats(struct store_op *op, struct errinfo *e);
/* The same on people.  store_users.c */
enum err store_check_people(const struct store_op *op, struct errinfo *e);
/* store.c */
struct store_db *store_its_db(struct store *s); /* in use by the store's thread */
extern const bool store_writes[STORE_N_OPS];
enum err store_check_text(const char *what, const char *text, bool must, struct errinfo *e);
enum err store_check_key(const struct store_key *k, struct errinfo *e);

/* ---- the operations: each runs between a mark and its `keep` or `undo` ---- */

#define STORE_OP(name, fn, writes)                                                                 \
    enum err store_op_##fn(struct store_db *db, struct store_op *op, struct errinfo *e);
#include "store/store_op.def"
#undef STORE_OP

/* store_chats.c.  After `words` gave a row's text: what a search finds it by. */
enum err store_index(struct store_db *db, enum store_sql words, enum store_sql add, int64_t n,
                     struct errinfo *e);
/* Stops the answers whose row numbers `next` gives, one after the other; its ?1 is the lease. */
enum err store_stop_running(struct store_db *db, enum store_sql next, size_t *n_stopped,
                            struct errinfo *e);
/* The row number of one such answer. */
enum err store_running(struct store_db *db, enum store_sql next, int64_t *n, bool *found,
                       struct errinfo *e);
/* The row number of the owner's chat op.chats.id; NOTFOUND. */
enum err store_chat_row(struct store_db *db, const struct store_chats *x, int64_t *n,
                        struct errinfo *e);
/* Reads it into chats[0]. */
enum err store_chat_read(struct store_db *db, struct store_op *op, struct errinfo *e);
/* It changed now; this is the message shown last. */
enum err store_chat_touch(struct store_db *db, int64_t chat, struct errinfo *e);
enum err store_chat_head(struct store_db *db, int64_t chat, int64_t message, struct errinfo *e);
/* store_messages.c */
enum err store_messages_put(struct store_db *db, struct store_op *op, int64_t chat,
                            struct errinfo *e);
/* The row number of a message of the chat; NOTFOUND. */
enum err store_message_row(struct store_db *db, int64_t chat, const char *id, int64_t *n,
                           struct errinfo *e);

#endif
