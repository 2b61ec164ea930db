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

/* store_sqlite_text.c: the tokenizer "bigram" of the full-text tables. */
enum err store_sqlite_text(struct store_sqlite *s, struct errinfo *e);
/* What is looked for as FTS5 takes it; false where there is no word in it. */
bool store_sqlite_match(struct span text, struct str *out);

/* store_sqlite_ops.c */
enum err store_sqlite_op(struct store_sqlite *s, struct store_op *op, struct errinfo *e);
/* Starts a statement; what was bound before is gone.  A bind that fails (only for memory) leaves a
 * NULL, which the NOT NULL of the column refuses. */
sqlite3_stmt *store_start_sql(struct store_sqlite *s, enum store_sql which);
void store_bind_text(sqlite3_stmt *q, int at, const char *text); /* NULL stays */
void store_bind_span(sqlite3_stmt *q, int at, struct span x);
char *store_column(sqlite3_stmt *q, int at, struct arena *a); /* NULL stays */
struct span store_column_span(sqlite3_stmt *q, int at, struct arena *a);
enum err store_finish(struct store_sqlite *s, enum store_sql which, struct errinfo *e);
/* Ends a statement whose last step gave rc. */
enum err store_end(struct store_sqlite *s, sqlite3_stmt *q, int rc, struct errinfo *e);
/* The only number of the only row; *found false without a row. */
enum err store_number(struct store_sqlite *s, sqlite3_stmt *q, int64_t *out, bool *found,
                      struct errinfo *e);

/* The functions of the operations on chats: store_sqlite_chats.c, store_sqlite_messages.c,
 * store_sqlite_folders.c. */
#define STORE_CHATS_FN(fn)                                                                         \
    enum err store_op_##fn(struct store_sqlite *s, struct store_op *op, struct errinfo *e)
STORE_CHATS_FN(chat_add);
STORE_CHATS_FN(chat_get);
STORE_CHATS_FN(chat_path);
STORE_CHATS_FN(chat_list);
STORE_CHATS_FN(chat_set);
STORE_CHATS_FN(chat_delete);
STORE_CHATS_FN(chat_restore);
STORE_CHATS_FN(messages_add);
STORE_CHATS_FN(message_set);
STORE_CHATS_FN(message_delete);
STORE_CHATS_FN(running_end);
STORE_CHATS_FN(folder_list);
STORE_CHATS_FN(folder_add);
STORE_CHATS_FN(folder_set);
STORE_CHATS_FN(folder_delete);
STORE_CHATS_FN(settings_get);
STORE_CHATS_FN(settings_put);
STORE_CHATS_FN(file_add);
STORE_CHATS_FN(file_get);
STORE_CHATS_FN(share_add);
STORE_CHATS_FN(share_delete);
STORE_CHATS_FN(share_get);

/* store_sqlite_chats.c.  The row number of the owner's chat op.chats.id; NOTFOUND. */
enum err store_chat_row(struct store_sqlite *s, const struct store_chats *x, int64_t *n,
                        struct errinfo *e);
/* Reads it into chats[0]. */
enum err store_chat_read(struct store_sqlite *s, struct store_op *op, struct errinfo *e);
/* A statement about one row. */
enum err store_row_step(struct store_sqlite *s, enum store_sql which, int64_t n, struct errinfo *e);
/* It changed now; this is the message shown last. */
enum err store_chat_touch(struct store_sqlite *s, int64_t chat, struct errinfo *e);
enum err store_chat_head(struct store_sqlite *s, int64_t chat, int64_t message, struct errinfo *e);
/* store_sqlite_messages.c */
enum err store_messages_put(struct store_sqlite *s, struct store_op *op, int64_t chat,
                            struct errinfo *e);
/* The row number of a message of the chat; NOTFOUND. */
enum err store_message_row(struct store_sqlite *s, int64_t chat, const char *id, int64_t *n,
                           struct errinfo *e);

#endif
