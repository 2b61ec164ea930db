/* SPDX-License-Identifier: MIT
 * The operations on chats as a whole. */
#include "store/store_int.h"
#include "store/store_text.h"

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

enum err store_chat_row(struct store_db *db, const struct store_chats *x, int64_t *n,
                        struct errinfo *e)
{
    bool found;
    struct store_stmt *q = store_start(db, STORE_SQL_CHAT_ROW);
    store_bind_text(q, 1, x->id);
    store_bind_text(q, 2, x->owner);
    store_bind_int(q, 3, x->deleted_too);
    TRY(store_number(q, n, &found, e));
    return found ? ERR_OK : store_no_chat(x->id, e);
}

static void store_chat_columns(struct store_stmt *q, struct arena *a, struct store_chat *c)
{
    *c = (struct store_chat){.id = store_column(q, 0, a),
                             .title = store_column(q, 1, a),
                             .model = store_column(q, 2, a),
                             .folder = store_column(q, 3, a),
                             .head = store_column(q, 4, a),
                             .created = store_int(q, 5),
                             .updated_us = store_int(q, 6),
                             .pinned = store_int(q, 7) != 0,
                             .archived = store_int(q, 8) != 0,
                             .temporary = store_int(q, 9) != 0,
                             .titled = store_int(q, 10) != 0,
                             .deleted = store_int(q, 11) != 0,
                             .running = store_int(q, 12) != 0,
                             .tools = store_column(q, 13, a)};
}

enum err store_chat_read(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    const char *id = op->what == STORE_CHAT_ADD ? x->chat.id : x->id;
    struct store_stmt *q = store_start(db, STORE_SQL_CHAT_GET);
    store_bind_text(q, 1, id);
    store_bind_text(q, 2, x->owner);
    store_bind_int(q, 3, x->deleted_too);
    x->chats = arena_array(op->arena, 1, sizeof *x->chats);
    x->n_chats = 0;
    if (store_step(q)) {
        store_chat_columns(q, op->arena, x->chats);
        x->n_chats = 1;
    }
    TRY(store_end(q, e));
    return x->n_chats ? ERR_OK : store_no_chat(id, e);
}

/* *n is 0 for none. */
static enum err store_folder_row(struct store_db *db, const char *owner, const char *id, int64_t *n,
                                 struct errinfo *e)
{
    bool found;
    *n = 0;
    if (!id || !*id)
        return ERR_OK;
    struct store_stmt *q = store_start(db, STORE_SQL_FOLDER_ROW);
    store_bind_text(q, 1, id);
    store_bind_text(q, 2, owner);
    TRY(store_number(q, n, &found, e));
    return found ? ERR_OK : err_set(e, ERR_NOTFOUND, "there is no folder \"%.64s\"", id);
}

static enum err store_change(struct store_db *db, enum store_sql which, int64_t chat,
                             int64_t number, const char *text, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, which);
    store_bind_int(q, 1, chat);
    if (text)
        store_bind_text(q, 2, text);
    else if (number >= 0)
        store_bind_int(q, 2, number);
    return store_finish(q, e);
}

enum err store_index(struct store_db *db, enum store_sql words, enum store_sql add, int64_t n,
                     struct errinfo *e)
{
    struct str folded;
    int64_t owner = 0;
    struct store_stmt *q = store_start(db, words);
    store_bind_int(q, 1, n);
    bool there = store_step(q);
    str_init(&folded, 4 * STORE_BODY_BYTES_MAX);
    if (there) {
        store_text_words(store_span(q, 0), &folded);
        owner = store_text_owner(store_span(q, 1));
    }
    enum err err = store_end(q, e);
    if (err == ERR_OK && there) {
        q = store_start(db, add);
        store_bind_int(q, 1, n);
        store_bind_span(q, 2, str_span(&folded));
        store_bind_grams(q, 3, STORE_GRAMS, str_span(&folded), owner);
        err = store_finish(q, e);
    }
    str_done(&folded);
    return err;
}

static enum err store_set_title(struct store_db *db, enum store_sql which, int64_t chat,
                                const char *title, struct errinfo *e)
{
    TRY(store_row_step(db, STORE_SQL_TITLE_DROP, chat, e));
    TRY(store_change(db, which, chat, 0, title, e));
    return store_index(db, STORE_SQL_TITLE_GET, STORE_SQL_TITLE_ADD, chat, e);
}

enum err store_op_chat_add(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    const struct store_chat *c = &x->chat;
    int64_t folder, n = 0;
    bool found;
    TRY(store_folder_row(db, x->owner, c->folder, &folder, e));
    struct store_stmt *q = store_start(db, STORE_SQL_CHAT_ADD);
    store_bind_text(q, 1, c->id);
    store_bind_text(q, 2, x->owner);
    store_bind_text(q, 3, c->title ? c->title : "");
    store_bind_int(q, 4, c->titled);
    store_bind_text(q, 5, c->model ? c->model : "");
    if (folder)
        store_bind_int(q, 6, folder);
    store_bind_int(q, 7, os_unix_time());
    store_bind_int(q, 8, store_now_us());
    store_bind_int(q, 9, c->temporary);
    TRY(store_number(q, &n, &found, e));
    TRY(store_index(db, STORE_SQL_TITLE_GET, STORE_SQL_TITLE_ADD, n, e));
    if (x->n_add)
        TRY(store_messages_put(db, op, n, e));
    return store_chat_read(db, op, e);
}

static enum err store_set_pointers(struct store_db *db, const struct store_chats *x, int64_t n,
                                   struct errinfo *e)
{
    int64_t row;
    if (x->set & STORE_SET_FOLDER) {
        TRY(store_folder_row(db, x->owner, x->chat.folder, &row, e));
        TRY(store_change(db, STORE_SQL_CHAT_FOLDER, n, row ? row : -1, NULL, e));
    }
    if (x->set & STORE_SET_HEAD) {
        TRY(store_message_row(db, n, x->chat.head, &row, e));
        TRY(store_change(db, STORE_SQL_CHAT_HEAD, n, row, NULL, e));
    }
    return ERR_OK;
}

enum err store_op_chat_set(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_chats *x = op->chats;
    const struct store_chat *c = &x->chat;
    int64_t n;
    TRY(store_chat_row(db, x, &n, e));
    if (x->set & STORE_SET_TITLE)
        TRY(store_set_title(db, STORE_SQL_CHAT_TITLE, n, c->title, e));
    if (x->set & STORE_SET_UNTITLED)
        TRY(store_set_title(db, STORE_SQL_CHAT_UNTITLED, n, c->title, e));
    if (x->set & STORE_SET_PINNED)
        TRY(store_change(db, STORE_SQL_CHAT_PINNED, n, c->pinned, NULL, e));
    if (x->set & STORE_SET_ARCHIVED)
        TRY(store_change(db, STORE_SQL_CHAT_ARCHIVED, n, c->archived, NULL, e));
    if (x->set & STORE_SET_MODEL)
        TRY(store_change(db, STORE_SQL_CHAT_MODEL, n, 0, c->model ? c->model : "", e));
    if (x->set & STORE_SET_TOOLS)
        TRY(store_change(db, STORE_SQL_CHAT_TOOLS, n, 0, c->tools, e));
    TRY(store_set_pointers(db, x, n, e));
    return store_chat_read(db, op, e);
}

static enum err store_mark(struct store_db *db, struct store_op *op, enum store_sql which,
                           int64_t time, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, which);
    store_bind_text(q, 1, op->chats->id);
    store_bind_text(q, 2, op->chats->owner);
    store_bind_int(q, 3, time);
    TRY(store_finish(q, e));
    return q->n_changed ? ERR_OK : store_no_chat(op->chats->id, e);
}

enum err store_op_chat_delete(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    return store_mark(db, op, STORE_SQL_CHAT_DELETE, os_unix_time(), e);
}

enum err store_op_chat_restore(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    TRY(store_mark(db, op, STORE_SQL_CHAT_RESTORE, os_unix_time() - STORE_UNDO_S, e));
    return store_chat_read(db, op, e);
}

/* ---- lists ---- */

static const char *store_snippet(struct store_stmt *q, struct span words, struct arena *a)
{
    struct str out;
    struct span text = store_span(q, 14);
    if (!text.n)
        return NULL;
    str_init(&out, 1024);
    store_text_snippet(text, words, &out);
    const char *kept = arena_dup(a, out.p, out.n);
    str_done(&out);
    return kept;
}

/* Reads up to the limit of chats, of a list without words those that are not pinned. */
static enum err store_read_chats(struct store_op *op, struct store_stmt *q, struct span words,
                                 size_t limit, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    size_t counted = 0;
    x->chats = arena_array(op->arena, STORE_LIST_MAX, sizeof *x->chats);
    while (!x->more && store_step(q)) {
        bool counts = words.n || !store_int(q, 7);
        x->more = x->n_chats == STORE_LIST_MAX || (counts && counted == limit);
        if (x->more)
            break;
        counted += counts;
        struct store_chat *c = &x->chats[x->n_chats++];
        store_chat_columns(q, op->arena, c);
        c->snippet = store_snippet(q, words, op->arena);
    }
    return store_end(q, e);
}

enum err store_op_chat_list(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    const struct store_chat_query *want = &x->query;
    size_t limit = want->limit ? want->limit : 50;
    int64_t folder;
    struct str words;
    x->n_chats = 0;
    x->more = false;
    TRY(store_folder_row(db, x->owner, want->folder, &folder, e));
    str_init(&words, 4 * STORE_SEARCH_BYTES_MAX);
    bool find = want->text && store_text_words(span_of(want->text), &words);
    struct store_stmt *q = store_start(db, find ? STORE_SQL_CHAT_FIND : STORE_SQL_CHAT_LIST);
    store_bind_text(q, 1, x->owner);
    if (!find || want->archived) /* a search looks everywhere, unless told */
        store_bind_int(q, 2, want->archived);
    if (want->folder)
        store_bind_int(q, 3, folder);
    store_bind_int(q, 4, want->before_us);
    store_bind_int(q, 5, (int64_t)(find ? limit : STORE_LIST_MAX) + 1);
    if (find) {
        store_bind_words(q, 6, str_span(&words));
        store_bind_grams(q, 7, STORE_PARTS, str_span(&words), store_text_owner(span_of(x->owner)));
    }
    enum err err = store_read_chats(op, q, str_span(&words), limit, e);
    str_done(&words);
    return err;
}

/* ---- for messages ---- */

enum err store_running(struct store_db *db, enum store_sql next, int64_t *n, bool *found,
                       struct errinfo *e)
{
    struct store_stmt *q = store_start(db, next);
    store_bind_int(q, 1, db->lease_ms);
    return store_number(q, n, found, e);
}

enum err store_stop_running(struct store_db *db, enum store_sql next, size_t *n_stopped,
                            struct errinfo *e)
{
    int64_t n;
    bool found;
    for (*n_stopped = 0;; ++*n_stopped) {
        TRY(store_running(db, next, &n, &found, e));
        if (!found)
            return ERR_OK;
        TRY(store_row_step(db, STORE_SQL_RUNNING_STOP, n, e));
        TRY(store_index(db, STORE_SQL_TEXT_GET, STORE_SQL_TEXT_ADD, n, e));
    }
}

enum err store_op_running_end(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    return store_stop_running(db, STORE_SQL_RUNNING_NEXT, &op->n, e);
}

enum err store_chat_touch(struct store_db *db, int64_t chat, struct errinfo *e)
{
    return store_change(db, STORE_SQL_CHAT_TOUCH, chat, store_now_us(), NULL, e);
}

enum err store_chat_head(struct store_db *db, int64_t chat, int64_t message, struct errinfo *e)
{
    return store_change(db, STORE_SQL_CHAT_HEAD, chat, message, NULL, e);
}
