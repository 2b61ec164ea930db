/* SPDX-License-Identifier: MIT
 * store_sqlite_int.h - what the files of the SQLite engine share. */
#ifndef STORE_STORE_SQLITE_INT_H
#define STORE_STORE_SQLITE_INT_H

#include "store/store_int.h"

#include <sqlite3.h>

struct store_sqlite {
    struct store_db db; /* first */
    sqlite3 *lite;
    sqlite3_stmt *sql[STORE_N_SQL];
    struct str match; /* what is looked for, as FTS5 takes it */
    int64_t data_version;
    bool backed_up; /* to the next version, in this opening */
};

/* The explanation of a result code: the file and the reason, no text of a statement. */
enum err store_sqlite_fail(struct store_sqlite *s, int rc, struct errinfo *e);

/* store_sqlite_text.c: the tokenizer "bigram" of the full-text tables. */
enum err store_sqlite_text(struct store_sqlite *s, struct errinfo *e);
/* Words (store_text_words) as FTS5 takes what is looked for. */
void store_sqlite_match(struct span words, struct str *out);

#endif
