/* SPDX-License-Identifier: MIT
 * The operations on a chat's messages.  A message's row number grows with its making, so
 * that is their order. */
#include "store/store_int.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <string.h>

static const char *const store_roles[STORE_N_ROLES] = {"user", "assistant", "system"};
static const char *const store_statuses[STORE_N_STATUSES] = {"running", "done", "stopped", "error"};

static int store_word(const char *const *words, int n, struct span word)
{
    for (int i = 0; i < n; i++) {
        if (span_eq_cstr(word, words[i]))
            return i;
    }
    return -1;
}

static enum err store_no_message(const char *id, struct errinfo *e)
{
    return err_set(e, ERR_NOTFOUND, "there is no message \"%.64s\" in this chat", id ? id : "");
}

/* The number that `which` asks of a message of the chat. */
static enum err store_message_ask(struct store_db *db, enum store_sql which, int64_t chat,
                                  const char *id, int64_t *n, struct errinfo *e)
{
    bool found;
    struct store_stmt *q = store_start(db, which);
    store_bind_int(q, 1, chat);
    store_bind_text(q, 2, id);
    TRY(store_number(q, n, &found, e));
    return found ? ERR_OK : store_no_message(id, e);
}

enum err store_message_row(struct store_db *db, int64_t chat, const char *id, int64_t *n,
                           struct errinfo *e)
{
    return store_message_ask(db, STORE_SQL_MESSAGE_ROW, chat, id, n, e);
}

/* ---- reading ---- */

static enum err store_message_columns(struct store_db *db, struct store_stmt *q, struct arena *a,
                                      struct store_message *m, struct errinfo *e)
{
    int role = store_word(store_roles, STORE_N_ROLES, store_span(q, 2));
    int status = store_word(store_statuses, STORE_N_STATUSES, store_span(q, 7));
    if (role < 0 || status < 0)
        return err_set(e, ERR_CORRUPT, "%s: a message has an unknown role or status",
                       store_db_name(db));
    *m = (struct store_message){.id = store_column(q, 0, a),
                                .parent = store_column(q, 1, a),
                                .role = (enum store_role)role,
                                .status = (enum store_status)status,
                                .content = store_column_span(q, 3, a),
                                .reasoning = store_column_span(q, 4, a),
                                .model = store_column(q, 5, a),
                                .created = store_int(q, 6),
                                .error = store_column(q, 8, a),
                                .usage = store_column(q, 9, a),
                                .files = store_column(q, 10, a),
                                .calls = store_column(q, 12, a),
                                .turn = store_int(q, 13)};
    return ERR_OK;
}

static enum err store_count(struct store_db *db, int64_t chat, int64_t *n, struct errinfo *e)
{
    bool found;
    struct store_stmt *q = store_start(db, STORE_SQL_MESSAGE_COUNT);
    store_bind_int(q, 1, chat);
    return store_number(q, n, &found, e);
}

/* Runs q, whose rows are STORE_SQL_MESSAGE, into x->messages with room for `room`. */
static enum err store_read_messages(struct store_db *db, struct store_op *op, struct store_stmt *q,
                                    size_t room, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    size_t total = 0;
    enum err err = ERR_OK;
    x->messages = arena_array(op->arena, room, sizeof *x->messages);
    x->n_messages = 0;
    while (err == ERR_OK && x->n_messages < room && store_step(q)) {
        total += store_bytes(q, 3) + store_bytes(q, 4) + store_bytes(q, 12);
        if (total > STORE_ANSWER_BYTES_MAX)
            err = err_set(e, ERR_TOOBIG, "the chat has over %zu MiB", STORE_ANSWER_BYTES_MAX >> 20);
        else
            err = store_message_columns(db, q, op->arena, &x->messages[x->n_messages++], e);
    }
    enum err end = store_end(q, err == ERR_OK ? e : NULL);
    return err == ERR_OK ? end : err;
}

static enum err store_read_message(struct store_db *db, struct store_op *op, int64_t n,
                                   struct errinfo *e)
{
    struct store_stmt *q = store_start(db, STORE_SQL_MESSAGE_GET);
    store_bind_int(q, 1, n);
    return store_read_messages(db, op, q, 1, e);
}

enum err store_op_chat_get(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    int64_t chat, count;
    TRY(store_chat_row(db, op->chats, &chat, e));
    TRY(store_count(db, chat, &count, e));
    struct store_stmt *q = store_start(db, STORE_SQL_MESSAGE_ALL);
    store_bind_int(q, 1, chat);
    TRY(store_read_messages(db, op, q, (size_t)count, e));
    return store_chat_read(db, op, e);
}

/* The texts of the files of the messages that were read; depth 0 is the last of them. */
static enum err store_read_files(struct store_db *db, struct store_op *op, int64_t last,
                                 struct errinfo *e)
{
    struct store_chats *x = op->chats;
    size_t room = 0, total = 0;
    for (size_t i = 0; i < x->n_messages; i++)
        room += strcmp(x->messages[i].files, "[]") != 0 ? STORE_MESSAGE_FILES_MAX : 0;
    x->n_files = 0;
    if (!room)
        return ERR_OK;
    x->files = arena_array(op->arena, room, sizeof *x->files);
    struct store_stmt *q = store_start(db, STORE_SQL_PATH_FILES);
    store_bind_int(q, 1, last);
    while (x->n_files < room && store_step(q)) {
        size_t depth = (size_t)store_int(q, 5);
        total += store_bytes(q, 4);
        if (total > STORE_ANSWER_BYTES_MAX || depth >= x->n_messages)
            break;
        x->files[x->n_files++] = (struct store_file){.id = store_column(q, 0, op->arena),
                                                     .name = store_column(q, 1, op->arena),
                                                     .type = store_column(q, 2, op->arena),
                                                     .created = store_int(q, 3),
                                                     .body = store_column_span(q, 4, op->arena),
                                                     .message = x->n_messages - 1 - depth,
                                                     .source = store_column(q, 6, op->arena),
                                                     .kept = (size_t)store_int(q, 7)};
    }
    TRY(store_end(q, e));
    if (total > STORE_ANSWER_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "the chat's files have over %zu MiB",
                       STORE_ANSWER_BYTES_MAX >> 20);
    return ERR_OK;
}

/* And the files of the chat's folder. */
static enum err store_read_folder_files(struct store_db *db, struct store_op *op, int64_t chat,
                                        struct errinfo *e)
{
    struct store_chats *x = op->chats;
    size_t room = x->n_files + STORE_FOLDER_FILES_MAX, total = 0;
    struct store_file *all = arena_array(op->arena, room, sizeof *all);
    if (x->n_files)
        memcpy(all, x->files, x->n_files * sizeof *all);
    x->files = all;
    struct store_stmt *q = store_start(db, STORE_SQL_FOLDER_FILES);
    store_bind_int(q, 1, chat);
    while (x->n_files < room && total <= STORE_ANSWER_BYTES_MAX && store_step(q)) {
        total += store_bytes(q, 4);
        x->files[x->n_files++] = (struct store_file){.id = store_column(q, 0, op->arena),
                                                     .name = store_column(q, 1, op->arena),
                                                     .type = store_column(q, 2, op->arena),
                                                     .created = store_int(q, 3),
                                                     .body = store_column_span(q, 4, op->arena),
                                                     .message = STORE_OF_FOLDER,
                                                     .source = store_column(q, 5, op->arena)};
    }
    return store_end(q, e);
}

/* The first column of the only row, "" without one. */
static enum err store_words(struct store_stmt *q, struct arena *a, const char **out,
                            struct errinfo *e)
{
    *out = store_step(q) ? store_column(q, 0, a) : "";
    return store_end(q, e);
}

enum err store_op_chat_path(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    int64_t chat, count, last;
    const char *at = x->at, *settings;
    TRY(store_chat_row(db, x, &chat, e));
    TRY(store_chat_read(db, op, e));
    TRY(store_count(db, chat, &count, e));
    at = at ? at : x->chats[0].head;
    x->n_messages = x->n_files = 0;
    if (at) {
        TRY(store_message_row(db, chat, at, &last, e));
        struct store_stmt *q = store_start(db, STORE_SQL_MESSAGE_PATH);
        store_bind_int(q, 1, last);
        TRY(store_read_messages(db, op, q, (size_t)count, e));
        TRY(store_read_files(db, op, last, e));
    }
    TRY(store_read_folder_files(db, op, chat, e));
    struct store_stmt *q = store_start(db, STORE_SQL_FOLDER_WORDS);
    store_bind_int(q, 1, chat);
    TRY(store_words(q, op->arena, &x->instructions, e));
    q = store_start(db, STORE_SQL_SETTINGS_GET);
    store_bind_text(q, 1, x->owner);
    TRY(store_words(q, op->arena, &settings, e));
    x->settings = span_of(*settings ? settings : "{}");
    return ERR_OK;
}

/* ---- adding ---- */

static enum err store_put_files(struct store_db *db, const char *owner, int64_t message,
                                const struct store_message *m, struct errinfo *e)
{
    for (size_t i = 0; i < m->n_files; i++) {
        struct store_stmt *q = store_start(db, STORE_SQL_MESSAGE_FILE);
        store_bind_int(q, 1, message);
        store_bind_int(q, 2, (int64_t)i);
        store_bind_text(q, 3, m->file_ids[i]);
        store_bind_text(q, 4, owner);
        TRY(store_finish(q, e));
        if (!q->n_changed)
            return err_set(e, ERR_NOTFOUND, "there is no file \"%.64s\"", m->file_ids[i]);
    }
    return ERR_OK;
}

static enum err store_put_message(struct store_db *db, const struct store_chats *x, int64_t chat,
                                  const struct store_message *m, int64_t *n, struct errinfo *e)
{
    int64_t parent = 0;
    bool found;
    if (m->sibling)
        TRY(store_message_ask(db, STORE_SQL_MESSAGE_PARENT, chat, m->sibling, &parent, e));
    else if (m->parent)
        TRY(store_message_row(db, chat, m->parent, &parent, e));
    struct store_stmt *q = store_start(db, STORE_SQL_MESSAGE_ADD);
    store_bind_text(q, 1, m->id);
    store_bind_int(q, 2, chat);
    if (parent)
        store_bind_int(q, 3, parent);
    store_bind_text(q, 4, store_roles[m->role]);
    store_bind_span(q, 5, m->content);
    store_bind_span(q, 6, m->reasoning);
    store_bind_text(q, 7, m->model ? m->model : "");
    store_bind_int(q, 8, m->created ? m->created : os_unix_time());
    store_bind_text(q, 9, store_statuses[m->status]);
    store_bind_text(q, 10, m->error ? m->error : "");
    store_bind_text(q, 11, m->usage);
    store_bind_text(q, 12, x->default_model ? x->default_model : "");
    store_bind_text(q, 13, m->calls);
    TRY(store_number(q, n, &found, e));
    TRY(store_index(db, STORE_SQL_TEXT_GET, STORE_SQL_TEXT_ADD, *n, e));
    return store_put_files(db, x->owner, *n, m, e);
}

enum err store_messages_put(struct store_db *db, struct store_op *op, int64_t chat,
                            struct errinfo *e)
{
    const struct store_chats *x = op->chats;
    int64_t count, n = 0;
    TRY(store_count(db, chat, &count, e));
    if ((size_t)count > STORE_CHAT_MESSAGES_MAX - x->n_add)
        return err_set(e, ERR_TOOBIG, "a chat has at most %zu messages", STORE_CHAT_MESSAGES_MAX);
    for (size_t i = 0; i < x->n_add; i++)
        TRY(store_put_message(db, x, chat, &x->add[i], &n, e));
    return store_chat_head(db, chat, n, e);
}

/* What was added, as GET gives it. */
static enum err store_read_added(struct store_db *db, struct store_op *op, int64_t chat,
                                 struct errinfo *e)
{
    struct store_chats *x = op->chats;
    struct store_message *all = arena_array(op->arena, x->n_add, sizeof *all);
    for (size_t i = 0; i < x->n_add; i++) {
        int64_t n;
        TRY(store_message_row(db, chat, x->add[i].id, &n, e));
        TRY(store_read_message(db, op, n, e));
        all[i] = x->messages[0];
    }
    x->messages = all;
    x->n_messages = x->n_add;
    return ERR_OK;
}

enum err store_op_messages_add(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    int64_t chat;
    TRY(store_chat_row(db, op->chats, &chat, e));
    TRY(store_messages_put(db, op, chat, e));
    TRY(store_chat_touch(db, chat, e));
    TRY(store_read_added(db, op, chat, e));
    return store_chat_read(db, op, e);
}

/* ---- changing ---- */

static enum err store_idle(struct store_db *db, enum store_sql which, int64_t n, struct errinfo *e)
{
    int64_t running = 0;
    bool found;
    struct store_stmt *q = store_start(db, which);
    store_bind_int(q, 1, n);
    TRY(store_number(q, &running, &found, e));
    return running ? err_set(e, ERR_USAGE, "the answer is still being written; stop it first")
                   : ERR_OK;
}

/* The calls are what they were when the sender looked. */
static enum err store_unchanged(struct store_db *db, int64_t n, const char *calls,
                                struct errinfo *e)
{
    struct store_stmt *q = store_start(db, STORE_SQL_MESSAGE_CALLS);
    store_bind_int(q, 1, n);
    bool same = store_step(q) && span_eq_cstr(store_span(q, 0), calls);
    TRY(store_end(q, e));
    return same ? ERR_OK : err_set(e, ERR_BUSY, "the message's calls have changed meanwhile");
}

static enum err store_mine(struct store_db *db, int64_t n, int64_t turn, struct errinfo *e)
{
    int64_t one;
    bool found;
    struct store_stmt *q = store_start(db, STORE_SQL_MESSAGE_MINE);
    store_bind_int(q, 1, n);
    store_bind_int(q, 2, turn);
    TRY(store_number(q, &one, &found, e));
    return found ? ERR_OK : err_set(e, ERR_NOTFOUND, "the answer is not written here any more");
}

static enum err store_set_kept(struct store_db *db, int64_t n, const struct store_message *m,
                               struct errinfo *e)
{
    for (size_t i = 0; i < m->n_kept; i++) {
        struct store_stmt *q = store_start(db, STORE_SQL_MESSAGE_KEPT);
        store_bind_int(q, 1, n);
        store_bind_int(q, 2, (int64_t)i);
        store_bind_int(q, 3, (int64_t)m->kept[i]);
        TRY(store_finish(q, e));
    }
    return ERR_OK;
}

enum err store_op_message_set(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_chats *x = op->chats;
    const struct store_message *m = &x->message;
    int64_t chat, n;
    TRY(store_chat_row(db, x, &chat, e));
    TRY(store_message_row(db, chat, x->at, &n, e));
    if (x->idle)
        TRY(store_idle(db, STORE_SQL_MESSAGE_RUNS, n, e));
    if (x->mine)
        TRY(store_mine(db, n, m->turn, e));
    if (m->calls_were)
        TRY(store_unchanged(db, n, m->calls_were, e));
    if (x->set & STORE_SET_KEPT)
        TRY(store_set_kept(db, n, m, e));
    TRY(store_row_step(db, STORE_SQL_TEXT_DROP, n, e));
    struct store_stmt *q = store_start(db, STORE_SQL_MESSAGE_SET);
    store_bind_int(q, 1, n);
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
    if (x->set & STORE_SET_CALLS)
        store_bind_text(q, 7, m->calls);
    store_bind_int(q, 8, !x->mine && x->set & STORE_SET_STATUS && m->status == STORE_RUNNING);
    TRY(store_finish(q, e));
    TRY(store_index(db, STORE_SQL_TEXT_GET, STORE_SQL_TEXT_ADD, n, e));
    if (!(x->set & STORE_SET_STATUS) || m->status != STORE_RUNNING || x->idle)
        TRY(store_chat_touch(db, chat, e)); /* not for each second of an answer */
    TRY(store_read_message(db, op, n, e));
    return store_chat_read(db, op, e);
}

static enum err store_read_branch(struct store_db *db, struct store_op *op, int64_t n, size_t room,
                                  struct errinfo *e)
{
    struct store_chats *x = op->chats;
    struct store_stmt *q = store_start(db, STORE_SQL_BRANCH_IDS);
    store_bind_int(q, 1, n);
    x->messages = arena_array(op->arena, room, sizeof *x->messages);
    x->n_messages = 0;
    while (x->n_messages < room && store_step(q))
        x->messages[x->n_messages++].id = store_column(q, 0, op->arena);
    return store_end(q, e);
}

enum err store_op_running_left(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    int64_t n = 0;
    bool found;
    x->n_chats = x->n_messages = 0;
    TRY(store_running(db, STORE_SQL_RUNNING_LEFT, &n, &found, e));
    if (!found)
        return ERR_OK;
    TRY(store_row_step(db, STORE_SQL_RUNNING_STOP, n, e));
    TRY(store_index(db, STORE_SQL_TEXT_GET, STORE_SQL_TEXT_ADD, n, e));
    struct store_stmt *q = store_start(db, STORE_SQL_MESSAGE_OWNER);
    store_bind_int(q, 1, n);
    if (store_step(q)) {
        x->owner = store_column(q, 0, op->arena);
        x->id = store_column(q, 1, op->arena);
    }
    TRY(store_end(q, e));
    TRY(store_read_message(db, op, n, e));
    x->deleted_too = true;
    return store_chat_read(db, op, e);
}

enum err store_op_message_delete(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_chats *x = op->chats;
    int64_t chat, n, count;
    TRY(store_chat_row(db, x, &chat, e));
    TRY(store_message_row(db, chat, x->at, &n, e));
    if (x->idle)
        TRY(store_idle(db, STORE_SQL_BRANCH_RUNS, n, e));
    TRY(store_count(db, chat, &count, e));
    TRY(store_read_branch(db, op, n, (size_t)count, e));
    struct store_stmt *q = store_start(db, STORE_SQL_BRANCH_HEAD);
    store_bind_int(q, 1, n);
    store_bind_int(q, 2, chat);
    TRY(store_finish(q, e));
    TRY(store_row_step(db, STORE_SQL_BRANCH_TEXTS, n, e));
    TRY(store_row_step(db, STORE_SQL_BRANCH_DELETE, n, e));
    TRY(store_chat_touch(db, chat, e));
    return store_chat_read(db, op, e);
}
