/* SPDX-License-Identifier: MIT
 * The operations on shared chats: links, what their readers say, and chats from elsewhere. */
#include "store/store_int.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <string.h>

static enum err store_no_share(const char *token, struct errinfo *e)
{
    return err_set(e, ERR_NOTFOUND, "there is no shared chat \"%.64s\"", token);
}

static enum err store_no_note(const char *id, struct errinfo *e)
{
    return err_set(e, ERR_NOTFOUND, "there is no note \"%.64s\"", id);
}

enum err store_op_share_add(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_share *h = &op->chats->share;
    int64_t chat, count = 0;
    bool found;
    TRY(store_chat_row(db, op->chats, &chat, e));
    struct store_stmt *q = store_start(db, STORE_SQL_SHARE_COUNT);
    store_bind_int(q, 1, chat);
    store_bind_int(q, 2, os_unix_time());
    TRY(store_number(q, &count, &found, e));
    if ((size_t)count >= STORE_SHARES_MAX) /* its owner sees all there are */
        return err_set(e, ERR_TOOBIG, "the chat has %zu links, which is the most",
                       STORE_SHARES_MAX);
    q = store_start(db, STORE_SQL_SHARE_ADD);
    store_bind_text(q, 1, h->token);
    store_bind_int(q, 2, chat);
    store_bind_text(q, 3, h->title ? h->title : "");
    store_bind_int(q, 4, h->created);
    store_bind_int(q, 5, h->expires);
    store_bind_span(q, 6, h->body);
    return store_finish(q, e);
}

enum err store_op_share_delete(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    int64_t chat;
    TRY(store_chat_row(db, op->chats, &chat, e));
    struct store_stmt *q = store_start(db, STORE_SQL_SHARE_DELETE);
    store_bind_int(q, 1, chat);
    return store_finish(q, e);
}

/* ---- reading ---- */

/* A row of SHARE_GET or SHARE_LIST. */
static void store_share_columns(struct store_stmt *q, struct arena *a, struct store_share *h)
{
    *h = (struct store_share){.token = store_column(q, 0, a),
                              .title = store_column(q, 1, a),
                              .created = store_int(q, 2),
                              .expires = store_int(q, 3),
                              .body = store_column_span(q, 4, a),
                              .comments = store_int(q, 5) != 0,
                              .n_likes = store_int(q, 6),
                              .liked = store_int(q, 7) != 0};
}

/* Runs q, NOTE_LIST or NOTE_LIST_CHAT with its first argument. */
static enum err store_read_notes(struct store_op *op, struct store_stmt *q, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    struct arena *a = op->arena;
    store_bind_text(q, 2, x->note.reader ? x->note.reader : "");
    store_bind_int(q, 3, STORE_NOTES_MAX);
    x->notes = arena_array(a, STORE_NOTES_MAX, sizeof *x->notes);
    x->n_notes = 0;
    while (x->n_notes < STORE_NOTES_MAX && store_step(q))
        x->notes[x->n_notes++] = (struct store_note){.id = store_column(q, 0, a),
                                                     .name = store_column(q, 1, a),
                                                     .text = store_column(q, 2, a),
                                                     .message = store_column(q, 3, a),
                                                     .quote = store_column(q, 4, a),
                                                     .nth = store_int(q, 5),
                                                     .created = store_int(q, 6),
                                                     .n_likes = store_int(q, 7),
                                                     .liked = store_int(q, 8) != 0,
                                                     .own = store_int(q, 9) != 0};
    return store_end(q, e);
}

enum err store_op_share_get(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    int64_t n = 0;
    struct store_stmt *q = store_start(db, STORE_SQL_SHARE_GET);
    store_bind_text(q, 1, x->id);
    store_bind_int(q, 2, os_unix_time());
    store_bind_text(q, 3, x->note.reader ? x->note.reader : "");
    bool found = store_step(q);
    if (found) {
        store_share_columns(q, op->arena, &x->share);
        n = store_int(q, 8);
    }
    TRY(store_end(q, e));
    if (!found)
        return store_no_share(x->id, e);
    q = store_start(db, STORE_SQL_NOTE_LIST);
    store_bind_int(q, 1, n);
    return store_read_notes(op, q, e);
}

enum err store_op_share_list(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    int64_t chat;
    TRY(store_chat_row(db, x, &chat, e));
    struct store_stmt *q = store_start(db, STORE_SQL_SHARE_LIST);
    store_bind_int(q, 1, chat);
    store_bind_int(q, 2, os_unix_time());
    store_bind_int(q, 3, STORE_SHARES_MAX);
    x->shares = arena_array(op->arena, STORE_SHARES_MAX, sizeof *x->shares);
    x->n_shares = 0;
    while (x->n_shares < STORE_SHARES_MAX && store_step(q))
        store_share_columns(q, op->arena, &x->shares[x->n_shares++]);
    TRY(store_end(q, e));
    q = store_start(db, STORE_SQL_NOTE_LIST_CHAT);
    store_bind_int(q, 1, chat);
    store_bind_int(q, 4, os_unix_time());
    return store_read_notes(op, q, e);
}

enum err store_op_share_set(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    int64_t chat;
    TRY(store_chat_row(db, op->chats, &chat, e));
    struct store_stmt *q = store_start(db, STORE_SQL_SHARE_COMMENTS);
    store_bind_int(q, 1, chat);
    store_bind_int(q, 2, op->chats->share.comments);
    TRY(store_finish(q, e));
    return store_op_share_list(db, op, e);
}

/* ---- what readers say ---- */

static enum err store_share_row(struct store_db *db, const char *token, int64_t *n,
                                struct errinfo *e)
{
    bool found;
    struct store_stmt *q = store_start(db, STORE_SQL_SHARE_ROW);
    store_bind_text(q, 1, token);
    store_bind_int(q, 2, os_unix_time());
    TRY(store_number(q, n, &found, e));
    return found ? ERR_OK : store_no_share(token, e);
}

/* A note of what `owner` numbers, a share or a chat; reader NULL: where `which` asks for none. */
static enum err store_note_row(struct store_db *db, enum store_sql which, int64_t owner,
                               const char *id, const char *reader, int64_t *n, struct errinfo *e)
{
    bool found;
    struct store_stmt *q = store_start(db, which);
    store_bind_int(q, 1, owner);
    store_bind_text(q, 2, id);
    if (reader)
        store_bind_text(q, 3, reader);
    TRY(store_number(q, n, &found, e));
    return found ? ERR_OK : store_no_note(id, e);
}

static enum err store_likes_room(struct store_db *db, int64_t share, int64_t note,
                                 struct errinfo *e)
{
    int64_t count = 0;
    bool found;
    struct store_stmt *q = store_start(db, STORE_SQL_LIKE_COUNT);
    store_bind_int(q, 1, share);
    store_bind_int(q, 2, note);
    TRY(store_number(q, &count, &found, e));
    return count < STORE_LIKES_MAX
               ? ERR_OK
               : err_set(e, ERR_TOOBIG, "%d readers recommend it, which is the most",
                         STORE_LIKES_MAX);
}

enum err store_op_share_like(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    int64_t share, note = 0;
    TRY(store_share_row(db, x->id, &share, e));
    if (x->at)
        TRY(store_note_row(db, STORE_SQL_NOTE_ROW, share, x->at, NULL, &note, e));
    if (x->liked)
        TRY(store_likes_room(db, share, note, e));
    struct store_stmt *q = store_start(db, x->liked ? STORE_SQL_LIKE_ADD : STORE_SQL_LIKE_DROP);
    store_bind_int(q, 1, share);
    store_bind_int(q, 2, note);
    store_bind_text(q, 3, x->note.reader);
    if (x->liked)
        store_bind_int(q, 4, os_unix_time());
    TRY(store_finish(q, e));
    return store_op_share_get(db, op, e);
}

enum err store_op_note_add(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_note *a = &op->chats->note;
    int64_t share, count = 0;
    bool found;
    TRY(store_share_row(db, op->chats->id, &share, e));
    struct store_stmt *q = store_start(db, STORE_SQL_NOTE_COUNT);
    store_bind_int(q, 1, share);
    TRY(store_number(q, &count, &found, e));
    if ((size_t)count >= STORE_NOTES_MAX)
        return err_set(e, ERR_TOOBIG, "the chat has %zu notes, which is the most", STORE_NOTES_MAX);
    q = store_start(db, STORE_SQL_NOTE_ADD);
    store_bind_text(q, 1, a->id);
    store_bind_int(q, 2, share);
    store_bind_text(q, 3, a->reader);
    store_bind_text(q, 4, a->name ? a->name : "");
    store_bind_text(q, 5, a->text ? a->text : "");
    store_bind_text(q, 6, a->message ? a->message : "");
    store_bind_text(q, 7, a->quote ? a->quote : "");
    store_bind_int(q, 8, a->nth);
    store_bind_int(q, 9, os_unix_time());
    TRY(store_finish(q, e));
    if (!q->n_changed)
        return err_set(e, ERR_USAGE, "this chat takes no notes: its owner switched them off");
    return store_op_share_get(db, op, e);
}

enum err store_op_note_delete(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_chats *x = op->chats;
    const char *reader = x->note.reader;
    int64_t owner, n;
    if (reader)
        TRY(store_share_row(db, x->id, &owner, e));
    else
        TRY(store_chat_row(db, x, &owner, e));
    TRY(store_note_row(db, reader ? STORE_SQL_NOTE_ROW_READER : STORE_SQL_NOTE_ROW_CHAT, owner,
                       x->at, reader, &n, e));
    TRY(store_row_step(db, STORE_SQL_NOTE_UNLIKE, n, e));
    return store_row_step(db, STORE_SQL_NOTE_DELETE, n, e);
}

/* ---- chats from elsewhere ---- */

enum err store_op_chat_import(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    static const char own[] = "damso:"; /* and the id of one that was exported, perhaps from here */
    struct store_chats *x = op->chats;
    const struct store_chat *c = &x->chat;
    int64_t n, head;
    struct store_stmt *q = store_start(db, STORE_SQL_CHAT_KNOWN);
    store_bind_text(q, 1, x->owner);
    store_bind_text(q, 2, x->source);
    store_bind_text(q, 3,
                    strncmp(x->source, own, sizeof own - 1) ? "" : x->source + sizeof own - 1);
    x->known = store_step(q);
    x->id = x->known ? store_column(q, 0, op->arena) : c->id;
    TRY(store_end(q, e));
    if (!x->known) {
        TRY(store_op_chat_add(db, op, e));
        TRY(store_chat_row(db, x, &n, e));
        q = store_start(db, STORE_SQL_CHAT_IMPORTED);
        store_bind_int(q, 1, n);
        store_bind_int(q, 2, c->created);
        store_bind_int(q, 3, c->updated_us);
        store_bind_int(q, 4, c->pinned);
        store_bind_int(q, 5, c->archived);
        store_bind_text(q, 6, x->source);
        TRY(store_finish(q, e));
        if (c->head) {
            TRY(store_message_row(db, n, c->head, &head, e));
            TRY(store_chat_head(db, n, head, e));
        }
    }
    return store_chat_read(db, op, e);
}
