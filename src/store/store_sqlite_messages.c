/* SPDX-License-Identifier: MIT
 * The operations on a chat's messages, in SQL.  A message's row number grows with its making, so
 * that is their order. */
#include "store/store_sqlite_int.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <string.h>

static const char *const store_roles[STORE_N_ROLES] = {"user", "assistant", "system"};
static const char *const store_statuses[STORE_N_STATUSES] = {"running", "done", "stopped", "error"};

static int store_word(const char *const *words, int n, const char *word)
{
    for (int i = 0; i < n; i++) {
        if (word && strcmp(words[i], word) == 0)
            return i;
    }
    return -1;
}

static enum err store_no_message(const char *id, struct errinfo *e)
{
    return err_set(e, ERR_NOTFOUND, "there is no message \"%.64s\" in this chat", id ? id : "");
}

/* The number that `which` asks of a message of the chat. */
static enum err store_message_ask(struct store_sqlite *s, enum store_sql which, int64_t chat,
                                  const char *id, int64_t *n, struct errinfo *e)
{
    bool found;
    sqlite3_stmt *q = store_start_sql(s, which);
    sqlite3_bind_int64(q, 1, chat);
    store_bind_text(q, 2, id);
    TRY(store_number(s, q, n, &found, e));
    return found ? ERR_OK : store_no_message(id, e);
}

enum err store_message_row(struct store_sqlite *s, int64_t chat, const char *id, int64_t *n,
                           struct errinfo *e)
{
    return store_message_ask(s, STORE_SQL_MESSAGE_ROW, chat, id, n, e);
}

/* ---- reading ---- */

static enum err store_message_columns(struct store_sqlite *s, sqlite3_stmt *q, struct arena *a,
                                      struct store_message *m, struct errinfo *e)
{
    int role = store_word(store_roles, STORE_N_ROLES, (const char *)sqlite3_column_text(q, 2));
    int status = store_word(store_statuses, STORE_N_STATUSES,
                            (const char *)sqlite3_column_text(q, 7));
    if (role < 0 || status < 0)
        return err_set(e, ERR_CORRUPT, "%s: a message has an unknown role or status", s->path);
    *m = (struct store_message){.id = store_column(q, 0, a),
                                .parent = store_column(q, 1, a),
                                .role = (enum store_role)role,
                                .status = (enum store_status)status,
                                .content = store_column_span(q, 3, a),
                                .reasoning = store_column_span(q, 4, a),
                                .model = store_column(q, 5, a),
                                .created = sqlite3_column_int64(q, 6),
                                .error = store_column(q, 8, a),
                                .usage = store_column(q, 9, a),
                                .files = store_column(q, 10, a)};
    return ERR_OK;
}

static enum err store_count(struct store_sqlite *s, int64_t chat, int64_t *n, struct errinfo *e)
{
    bool found;
    sqlite3_stmt *q = store_start_sql(s, STORE_SQL_MESSAGE_COUNT);
    sqlite3_bind_int64(q, 1, chat);
    return store_number(s, q, n, &found, e);
}

/* Runs q, whose rows are STORE_SQL_MESSAGE, into x->messages with room for `room`. */
static enum err store_read_messages(struct store_sqlite *s, struct store_op *op, sqlite3_stmt *q,
                                    size_t room, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    size_t total = 0;
    enum err err = ERR_OK;
    int rc;
    x->messages = arena_array(op->arena, room, sizeof *x->messages);
    x->n_messages = 0;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW && err == ERR_OK && x->n_messages < room) {
        total += (size_t)sqlite3_column_bytes(q, 3) + (size_t)sqlite3_column_bytes(q, 4);
        if (total > STORE_ANSWER_BYTES_MAX)
            err = err_set(e, ERR_TOOBIG, "the chat has over %zu MiB", STORE_ANSWER_BYTES_MAX >> 20);
        else
            err = store_message_columns(s, q, op->arena, &x->messages[x->n_messages++], e);
    }
    enum err end = store_end(s, q, rc, err == ERR_OK ? e : NULL);
    return err == ERR_OK ? end : err;
}

static enum err store_read_message(struct store_sqlite *s, struct store_op *op, int64_t n,
                                   struct errinfo *e)
{
    sqlite3_stmt *q = store_start_sql(s, STORE_SQL_MESSAGE_GET);
    sqlite3_bind_int64(q, 1, n);
    return store_read_messages(s, op, q, 1, e);
}

enum err store_op_chat_get(struct store_sqlite *s, struct store_op *op, struct errinfo *e)
{
    int64_t chat, count;
    TRY(store_chat_row(s, op->chats, &chat, e));
    TRY(store_count(s, chat, &count, e));
    sqlite3_stmt *q = store_start_sql(s, STORE_SQL_MESSAGE_ALL);
    sqlite3_bind_int64(q, 1, chat);
    TRY(store_read_messages(s, op, q, (size_t)count, e));
    return store_chat_read(s, op, e);
}

/* The texts of the files of the messages that were read; depth 0 is the last of them. */
static enum err store_read_files(struct store_sqlite *s, struct store_op *op, int64_t last,
                                 struct errinfo *e)
{
    struct store_chats *x = op->chats;
    size_t room = 0, total = 0;
    int rc;
    for (size_t i = 0; i < x->n_messages; i++)
        room += strcmp(x->messages[i].files, "[]") != 0 ? STORE_MESSAGE_FILES_MAX : 0;
    x->n_files = 0;
    if (!room)
        return ERR_OK;
    x->files = arena_array(op->arena, room, sizeof *x->files);
    sqlite3_stmt *q = store_start_sql(s, STORE_SQL_PATH_FILES);
    sqlite3_bind_int64(q, 1, last);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW && x->n_files < room) {
        size_t depth = (size_t)sqlite3_column_int64(q, 5);
        total += (size_t)sqlite3_column_bytes(q, 4);
        if (total > STORE_ANSWER_BYTES_MAX || depth >= x->n_messages)
            break;
        x->files[x->n_files++] = (struct store_file){.id = store_column(q, 0, op->arena),
                                                     .name = store_column(q, 1, op->arena),
                                                     .type = store_column(q, 2, op->arena),
                                                     .created = sqlite3_column_int64(q, 3),
                                                     .body = store_column_span(q, 4, op->arena),
                                                     .message = x->n_messages - 1 - depth};
    }
    TRY(store_end(s, q, rc, e));
    if (total > STORE_ANSWER_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "the chat's files have over %zu MiB",
                       STORE_ANSWER_BYTES_MAX >> 20);
    return ERR_OK;
}

/* The first column of the only row, "" without one. */
static enum err store_words(struct store_sqlite *s, sqlite3_stmt *q, struct arena *a,
                            const char **out, struct errinfo *e)
{
    int rc = sqlite3_step(q);
    *out = rc == SQLITE_ROW ? store_column(q, 0, a) : "";
    return store_end(s, q, rc, e);
}

enum err store_op_chat_path(struct store_sqlite *s, struct store_op *op, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    int64_t chat, count, last;
    const char *at = x->at, *settings;
    TRY(store_chat_row(s, x, &chat, e));
    TRY(store_chat_read(s, op, e));
    TRY(store_count(s, chat, &count, e));
    at = at ? at : x->chats[0].head;
    x->n_messages = x->n_files = 0;
    if (at) {
        TRY(store_message_row(s, chat, at, &last, e));
        sqlite3_stmt *q = store_start_sql(s, STORE_SQL_MESSAGE_PATH);
        sqlite3_bind_int64(q, 1, last);
        TRY(store_read_messages(s, op, q, (size_t)count, e));
        TRY(store_read_files(s, op, last, e));
    }
    sqlite3_stmt *q = store_start_sql(s, STORE_SQL_FOLDER_WORDS);
    sqlite3_bind_int64(q, 1, chat);
    TRY(store_words(s, q, op->arena, &x->instructions, e));
    q = store_start_sql(s, STORE_SQL_SETTINGS_GET);
    store_bind_text(q, 1, x->owner);
    TRY(store_words(s, q, op->arena, &settings, e));
    x->settings = span_of(*settings ? settings : "{}");
    return ERR_OK;
}

/* ---- adding ---- */

static enum err store_put_files(struct store_sqlite *s, const char *owner, int64_t message,
                                const struct store_message *m, struct errinfo *e)
{
    for (size_t i = 0; i < m->n_files; i++) {
        sqlite3_stmt *q = store_start_sql(s, STORE_SQL_MESSAGE_FILE);
        sqlite3_bind_int64(q, 1, message);
        sqlite3_bind_int64(q, 2, (int64_t)i);
        store_bind_text(q, 3, m->file_ids[i]);
        store_bind_text(q, 4, owner);
        TRY(store_finish(s, STORE_SQL_MESSAGE_FILE, e));
        if (!sqlite3_changes(s->lite))
            return err_set(e, ERR_NOTFOUND, "there is no file \"%.64s\"", m->file_ids[i]);
    }
    return ERR_OK;
}

static enum err store_put_message(struct store_sqlite *s, const struct store_chats *x, int64_t chat,
                                  const struct store_message *m, int64_t *n, struct errinfo *e)
{
    int64_t parent = 0;
    bool found;
    if (m->sibling)
        TRY(store_message_ask(s, STORE_SQL_MESSAGE_PARENT, chat, m->sibling, &parent, e));
    else if (m->parent)
        TRY(store_message_row(s, chat, m->parent, &parent, e));
    sqlite3_stmt *q = store_start_sql(s, STORE_SQL_MESSAGE_ADD);
    store_bind_text(q, 1, m->id);
    sqlite3_bind_int64(q, 2, chat);
    if (parent)
        sqlite3_bind_int64(q, 3, parent);
    store_bind_text(q, 4, store_roles[m->role]);
    store_bind_span(q, 5, m->content);
    store_bind_span(q, 6, m->reasoning);
    store_bind_text(q, 7, m->model ? m->model : "");
    sqlite3_bind_int64(q, 8, m->created ? m->created : os_unix_time());
    store_bind_text(q, 9, store_statuses[m->status]);
    store_bind_text(q, 10, m->error ? m->error : "");
    store_bind_text(q, 11, m->usage);
    store_bind_text(q, 12, x->default_model ? x->default_model : "");
    TRY(store_number(s, q, n, &found, e));
    TRY(store_row_step(s, STORE_SQL_TEXT_ADD, *n, e));
    return store_put_files(s, x->owner, *n, m, e);
}

enum err store_messages_put(struct store_sqlite *s, struct store_op *op, int64_t chat,
                            struct errinfo *e)
{
    const struct store_chats *x = op->chats;
    int64_t count, n = 0;
    TRY(store_count(s, chat, &count, e));
    if ((size_t)count > STORE_CHAT_MESSAGES_MAX - x->n_add)
        return err_set(e, ERR_TOOBIG, "a chat has at most %zu messages", STORE_CHAT_MESSAGES_MAX);
    for (size_t i = 0; i < x->n_add; i++)
        TRY(store_put_message(s, x, chat, &x->add[i], &n, e));
    return store_chat_head(s, chat, n, e);
}

/* What was added, as GET gives it. */
static enum err store_read_added(struct store_sqlite *s, struct store_op *op, int64_t chat,
                                 struct errinfo *e)
{
    struct store_chats *x = op->chats;
    struct store_message *all = arena_array(op->arena, x->n_add, sizeof *all);
    for (size_t i = 0; i < x->n_add; i++) {
        int64_t n;
        TRY(store_message_row(s, chat, x->add[i].id, &n, e));
        TRY(store_read_message(s, op, n, e));
        all[i] = x->messages[0];
    }
    x->messages = all;
    x->n_messages = x->n_add;
    return ERR_OK;
}

enum err store_op_messages_add(struct store_sqlite *s, struct store_op *op, struct errinfo *e)
{
    int64_t chat;
    TRY(store_chat_row(s, op->chats, &chat, e));
    TRY(store_messages_put(s, op, chat, e));
    TRY(store_chat_touch(s, chat, e));
    TRY(store_read_added(s, op, chat, e));
    return store_chat_read(s, op, e);
}

/* ---- changing ---- */

static enum err store_idle(struct store_sqlite *s, enum store_sql which, int64_t n,
                           struct errinfo *e)
{
    int64_t running = 0;
    bool found;
    sqlite3_stmt *q = store_start_sql(s, which);
    sqlite3_bind_int64(q, 1, n);
    TRY(store_number(s, q, &running, &found, e));
    return running ? err_set(e, ERR_USAGE, "the answer is still being written; stop it first")
                   : ERR_OK;
}

enum err store_op_message_set(struct store_sqlite *s, struct store_op *op, struct errinfo *e)
{
    const struct store_chats *x = op->chats;
    const struct store_message *m = &x->message;
    int64_t chat, n;
    TRY(store_chat_row(s, x, &chat, e));
    TRY(store_message_row(s, chat, x->at, &n, e));
    if (x->idle)
        TRY(store_idle(s, STORE_SQL_MESSAGE_RUNS, n, e));
    TRY(store_row_step(s, STORE_SQL_TEXT_DROP, n, e));
    sqlite3_stmt *q = store_start_sql(s, STORE_SQL_MESSAGE_SET);
    sqlite3_bind_int64(q, 1, n);
    if (x->set & STORE_SET_CONTENT)
        store_bind_span(q, 2, m->content);
    if (x->set & STORE_SET_REASONING)
        store_bind_span(q, 3, m->reasoning);
    if (x->set & STORE_SET_STATUS) {
        store_bind_text(q, 4, store_statuses[m->status]);
        store_bind_text(q, 5, m->error ? m->error : "");
    }
    if (x->set & STORE_SET_USAGE)
        store_bind_text(q, 6, m->usage);
    TRY(store_finish(s, STORE_SQL_MESSAGE_SET, e));
    TRY(store_row_step(s, STORE_SQL_TEXT_ADD, n, e));
    if (!(x->set & STORE_SET_STATUS) || m->status != STORE_RUNNING || x->idle)
        TRY(store_chat_touch(s, chat, e)); /* not for each second of an answer */
    TRY(store_read_message(s, op, n, e));
    return store_chat_read(s, op, e);
}

static enum err store_read_branch(struct store_sqlite *s, struct store_op *op, int64_t n,
                                  size_t room, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    sqlite3_stmt *q = store_start_sql(s, STORE_SQL_BRANCH_IDS);
    int rc;
    sqlite3_bind_int64(q, 1, n);
    x->messages = arena_array(op->arena, room, sizeof *x->messages);
    x->n_messages = 0;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW && x->n_messages < room)
        x->messages[x->n_messages++].id = store_column(q, 0, op->arena);
    return store_end(s, q, rc, e);
}

enum err store_op_message_delete(struct store_sqlite *s, struct store_op *op, struct errinfo *e)
{
    const struct store_chats *x = op->chats;
    int64_t chat, n, count;
    TRY(store_chat_row(s, x, &chat, e));
    TRY(store_message_row(s, chat, x->at, &n, e));
    if (x->idle)
        TRY(store_idle(s, STORE_SQL_BRANCH_RUNS, n, e));
    TRY(store_count(s, chat, &count, e));
    TRY(store_read_branch(s, op, n, (size_t)count, e));
    sqlite3_stmt *q = store_start_sql(s, STORE_SQL_BRANCH_HEAD);
    sqlite3_bind_int64(q, 1, n);
    sqlite3_bind_int64(q, 2, chat);
    TRY(store_finish(s, STORE_SQL_BRANCH_HEAD, e));
    TRY(store_row_step(s, STORE_SQL_BRANCH_TEXTS, n, e));
    TRY(store_row_step(s, STORE_SQL_BRANCH_DELETE, n, e));
    TRY(store_chat_touch(s, chat, e));
    return store_chat_read(s, op, e);
}
