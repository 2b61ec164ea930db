/* SPDX-License-Identifier: MIT
 * The operations on chats as a whole, in SQL. */
#include "store/store_sqlite_int.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <string.h>
#include <time.h>

static int64_t store_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static enum err store_no_chat(const char *id, struct errinfo *e)
{
    return err_set(e, ERR_NOTFOUND, "there is no chat \"%.64s\"", id);
}

enum err store_chat_row(struct store_sqlite *s, const struct store_chats *x, int64_t *n,
                        struct errinfo *e)
{
    bool found;
    sqlite3_stmt *q = store_start_sql(s, STORE_SQL_CHAT_ROW);
    store_bind_text(q, 1, x->id);
    store_bind_text(q, 2, x->owner);
    sqlite3_bind_int(q, 3, x->deleted_too);
    TRY(store_number(s, q, n, &found, e));
    return found ? ERR_OK : store_no_chat(x->id, e);
}

static void store_chat_columns(sqlite3_stmt *q, struct arena *a, struct store_chat *c)
{
    *c = (struct store_chat){.id = store_column(q, 0, a),
                             .title = store_column(q, 1, a),
                             .model = store_column(q, 2, a),
                             .folder = store_column(q, 3, a),
                             .head = store_column(q, 4, a),
                             .created = sqlite3_column_int64(q, 5),
                             .updated_us = sqlite3_column_int64(q, 6),
                             .pinned = sqlite3_column_int(q, 7) != 0,
                             .archived = sqlite3_column_int(q, 8) != 0,
                             .temporary = sqlite3_column_int(q, 9) != 0,
                             .titled = sqlite3_column_int(q, 10) != 0,
                             .deleted = sqlite3_column_int(q, 11) != 0,
                             .running = sqlite3_column_int(q, 12) != 0};
}

enum err store_chat_read(struct store_sqlite *s, struct store_op *op, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    const char *id = op->what == STORE_CHAT_ADD ? x->chat.id : x->id;
    sqlite3_stmt *q = store_start_sql(s, STORE_SQL_CHAT_GET);
    store_bind_text(q, 1, id);
    store_bind_text(q, 2, x->owner);
    sqlite3_bind_int(q, 3, x->deleted_too);
    x->chats = arena_array(op->arena, 1, sizeof *x->chats);
    x->n_chats = 0;
    int rc = sqlite3_step(q);
    if (rc == SQLITE_ROW) {
        store_chat_columns(q, op->arena, x->chats);
        x->n_chats = 1;
    }
    TRY(store_end(s, q, rc, e));
    return x->n_chats ? ERR_OK : store_no_chat(id, e);
}

/* *n is 0 for none. */
static enum err store_folder_row(struct store_sqlite *s, const char *owner, const char *id,
                                 int64_t *n, struct errinfo *e)
{
    bool found;
    *n = 0;
    if (!id || !*id)
        return ERR_OK;
    sqlite3_stmt *q = store_start_sql(s, STORE_SQL_FOLDER_ROW);
    store_bind_text(q, 1, id);
    store_bind_text(q, 2, owner);
    TRY(store_number(s, q, n, &found, e));
    return found ? ERR_OK : err_set(e, ERR_NOTFOUND, "there is no folder \"%.64s\"", id);
}

static enum err store_change(struct store_sqlite *s, enum store_sql which, int64_t chat,
                             int64_t number, const char *text, struct errinfo *e)
{
    sqlite3_stmt *q = store_start_sql(s, which);
    sqlite3_bind_int64(q, 1, chat);
    if (text)
        store_bind_text(q, 2, text);
    else if (number >= 0)
        sqlite3_bind_int64(q, 2, number);
    return store_finish(s, which, e);
}

enum err store_row_step(struct store_sqlite *s, enum store_sql which, int64_t n, struct errinfo *e)
{
    sqlite3_bind_int64(store_start_sql(s, which), 1, n);
    return store_finish(s, which, e);
}

static enum err store_set_title(struct store_sqlite *s, enum store_sql which, int64_t chat,
                                const char *title, struct errinfo *e)
{
    TRY(store_row_step(s, STORE_SQL_TITLE_DROP, chat, e));
    TRY(store_change(s, which, chat, 0, title, e));
    return store_row_step(s, STORE_SQL_TITLE_ADD, chat, e);
}

enum err store_op_chat_add(struct store_sqlite *s, struct store_op *op, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    const struct store_chat *c = &x->chat;
    int64_t folder, n = 0;
    bool found;
    TRY(store_folder_row(s, x->owner, c->folder, &folder, e));
    sqlite3_stmt *q = store_start_sql(s, STORE_SQL_CHAT_ADD);
    store_bind_text(q, 1, c->id);
    store_bind_text(q, 2, x->owner);
    store_bind_text(q, 3, c->title ? c->title : "");
    sqlite3_bind_int(q, 4, c->titled);
    store_bind_text(q, 5, c->model ? c->model : "");
    if (folder)
        sqlite3_bind_int64(q, 6, folder);
    sqlite3_bind_int64(q, 7, os_unix_time());
    sqlite3_bind_int64(q, 8, store_now_us());
    sqlite3_bind_int(q, 9, c->temporary);
    TRY(store_number(s, q, &n, &found, e));
    TRY(store_row_step(s, STORE_SQL_TITLE_ADD, n, e));
    if (x->n_add)
        TRY(store_messages_put(s, op, n, e));
    return store_chat_read(s, op, e);
}

static enum err store_set_pointers(struct store_sqlite *s, const struct store_chats *x, int64_t n,
                                   struct errinfo *e)
{
    int64_t row;
    if (x->set & STORE_SET_FOLDER) {
        TRY(store_folder_row(s, x->owner, x->chat.folder, &row, e));
        TRY(store_change(s, STORE_SQL_CHAT_FOLDER, n, row ? row : -1, NULL, e));
    }
    if (x->set & STORE_SET_HEAD) {
        TRY(store_message_row(s, n, x->chat.head, &row, e));
        TRY(store_change(s, STORE_SQL_CHAT_HEAD, n, row, NULL, e));
    }
    return ERR_OK;
}

enum err store_op_chat_set(struct store_sqlite *s, struct store_op *op, struct errinfo *e)
{
    const struct store_chats *x = op->chats;
    const struct store_chat *c = &x->chat;
    int64_t n;
    TRY(store_chat_row(s, x, &n, e));
    if (x->set & STORE_SET_TITLE)
        TRY(store_set_title(s, STORE_SQL_CHAT_TITLE, n, c->title, e));
    if (x->set & STORE_SET_UNTITLED)
        TRY(store_set_title(s, STORE_SQL_CHAT_UNTITLED, n, c->title, e));
    if (x->set & STORE_SET_PINNED)
        TRY(store_change(s, STORE_SQL_CHAT_PINNED, n, c->pinned, NULL, e));
    if (x->set & STORE_SET_ARCHIVED)
        TRY(store_change(s, STORE_SQL_CHAT_ARCHIVED, n, c->archived, NULL, e));
    if (x->set & STORE_SET_MODEL)
        TRY(store_change(s, STORE_SQL_CHAT_MODEL, n, 0, c->model ? c->model : "", e));
    TRY(store_set_pointers(s, x, n, e));
    return store_chat_read(s, op, e);
}

static enum err store_mark(struct store_sqlite *s, struct store_op *op, enum store_sql which,
                           int64_t time, struct errinfo *e)
{
    sqlite3_stmt *q = store_start_sql(s, which);
    store_bind_text(q, 1, op->chats->id);
    store_bind_text(q, 2, op->chats->owner);
    sqlite3_bind_int64(q, 3, time);
    TRY(store_finish(s, which, e));
    return sqlite3_changes(s->lite) ? ERR_OK : store_no_chat(op->chats->id, e);
}

enum err store_op_chat_delete(struct store_sqlite *s, struct store_op *op, struct errinfo *e)
{
    return store_mark(s, op, STORE_SQL_CHAT_DELETE, os_unix_time(), e);
}

enum err store_op_chat_restore(struct store_sqlite *s, struct store_op *op, struct errinfo *e)
{
    TRY(store_mark(s, op, STORE_SQL_CHAT_RESTORE, os_unix_time() - STORE_UNDO_S, e));
    return store_chat_read(s, op, e);
}

/* ---- lists ---- */

/* Reads up to the limit of chats that are not pinned. */
static enum err store_read_chats(struct store_sqlite *s, struct store_op *op, sqlite3_stmt *q,
                                 bool count_pinned, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    size_t limit = x->query.limit ? x->query.limit : 50, counted = 0;
    int rc;
    x->chats = arena_array(op->arena, STORE_LIST_MAX, sizeof *x->chats);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW && !x->more) {
        bool counts = count_pinned || !sqlite3_column_int(q, 7);
        x->more = x->n_chats == STORE_LIST_MAX || (counts && counted == limit);
        if (x->more)
            break;
        counted += counts;
        struct store_chat *c = &x->chats[x->n_chats++];
        store_chat_columns(q, op->arena, c);
        c->snippet = store_column(q, 13, op->arena);
    }
    return store_end(s, q, rc, e);
}

enum err store_op_chat_list(struct store_sqlite *s, struct store_op *op, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    const struct store_chat_query *want = &x->query;
    int64_t folder;
    struct str match;
    x->n_chats = 0;
    x->more = false;
    TRY(store_folder_row(s, x->owner, want->folder, &folder, e));
    str_init(&match, 16 * STORE_SEARCH_BYTES_MAX);
    bool find = want->text && store_sqlite_match(span_of(want->text), &match);
    sqlite3_stmt *q = store_start_sql(s, find ? STORE_SQL_CHAT_FIND : STORE_SQL_CHAT_LIST);
    store_bind_text(q, 1, x->owner);
    if (!find || want->archived) /* a search looks everywhere, unless told */
        sqlite3_bind_int(q, 2, want->archived);
    if (want->folder)
        sqlite3_bind_int64(q, 3, folder);
    sqlite3_bind_int64(q, 4, want->before_us);
    sqlite3_bind_int64(q, 5, (int64_t)STORE_LIST_MAX + 1);
    if (find)
        store_bind_span(q, 6, str_span(&match));
    enum err err = store_read_chats(s, op, q, find, e);
    str_done(&match);
    return err;
}

/* ---- for messages ---- */

enum err store_op_running_end(struct store_sqlite *s, struct store_op *op, struct errinfo *e)
{
    store_start_sql(s, STORE_SQL_TEXT_ADD_RUNNING);
    TRY(store_finish(s, STORE_SQL_TEXT_ADD_RUNNING, e));
    store_start_sql(s, STORE_SQL_RUNNING_END);
    TRY(store_finish(s, STORE_SQL_RUNNING_END, e));
    op->n = (size_t)sqlite3_changes(s->lite);
    return ERR_OK;
}

enum err store_chat_touch(struct store_sqlite *s, int64_t chat, struct errinfo *e)
{
    return store_change(s, STORE_SQL_CHAT_TOUCH, chat, store_now_us(), NULL, e);
}

enum err store_chat_head(struct store_sqlite *s, int64_t chat, int64_t message, struct errinfo *e)
{
    return store_change(s, STORE_SQL_CHAT_HEAD, chat, message, NULL, e);
}
