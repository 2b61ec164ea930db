/* SPDX-License-Identifier: MIT
 * store_chat.c - what operations on chats may be sent. */
#include "store/store_int.h"

#include "base/num.h"

#include <string.h>

/* Text that may have lines. */
static enum err store_check_prose(const char *what, struct span text, size_t most, size_t *total,
                                  struct errinfo *e)
{
    if (text.n > most || !num_add(*total, text.n, total) || *total > STORE_PUT_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "%s has %zu bytes, at most %zu are kept", what, text.n, most);
    if (!utf8_valid(text))
        return err_set(e, ERR_USAGE, "%s is not UTF-8", what);
    return ERR_OK;
}

static enum err store_check_message(const struct store_message *m, bool whole, size_t *total,
                                    struct errinfo *e)
{
    struct span usage = span_of(m->usage ? m->usage : "");
    CHECK(m->role < STORE_N_ROLES && m->status < STORE_N_STATUSES);
    TRY(store_check_text("a message's id", m->id, whole, e));
    TRY(store_check_text("a message's parent", m->parent, false, e));
    TRY(store_check_text("a message's sibling", m->sibling, false, e));
    TRY(store_check_text("a message's model", m->model, false, e));
    TRY(store_check_text("a message's error", m->error, false, e));
    TRY(store_check_prose("a message's content", m->content, STORE_BODY_BYTES_MAX, total, e));
    TRY(store_check_prose("a message's reasoning", m->reasoning, STORE_BODY_BYTES_MAX, total, e));
    TRY(store_check_prose("a message's usage", usage, STORE_TEXT_BYTES_MAX, total, e));
    TRY(store_check_prose("a message's calls", span_of(m->calls ? m->calls : ""),
                          STORE_CALLS_BYTES_MAX, total, e));
    CHECK(m->n_kept <= STORE_MESSAGE_FILES_MAX);
    if (m->n_files > STORE_MESSAGE_FILES_MAX)
        return err_set(e, ERR_TOOBIG, "a message has %zu files, at most %zu are kept", m->n_files,
                       STORE_MESSAGE_FILES_MAX);
    for (size_t i = 0; i < m->n_files; i++)
        TRY(store_check_text("a file's id", m->file_ids[i], true, e));
    return ERR_OK;
}

static enum err store_check_parts(struct store_op *op, struct errinfo *e)
{
    const struct store_chats *x = op->chats;
    TRY(store_check_text("the title", x->chat.title, false, e));
    TRY(store_check_text("the model's name", x->chat.model, false, e));
    TRY(store_check_text("the folder", x->chat.folder, false, e));
    TRY(store_check_text("the message shown last", x->chat.head, false, e));
    TRY(store_check_text("the folder's name", x->folder.name, op->what == STORE_FOLDER_ADD, e));
    TRY(store_check_prose("a folder's instructions",
                          span_of(x->folder.instructions ? x->folder.instructions : ""),
                          STORE_PROSE_BYTES_MAX, &op->bytes, e));
    TRY(store_check_text("the file's name", x->file.name, op->what == STORE_FILE_ADD, e));
    TRY(store_check_text("the file's type", x->file.type, false, e));
    TRY(store_check_prose("the file's source", span_of(x->file.source ? x->file.source : ""),
                          STORE_PROSE_BYTES_MAX, &op->bytes, e));
    TRY(store_check_prose("the chat's tools", span_of(x->chat.tools ? x->chat.tools : ""),
                          STORE_PROSE_BYTES_MAX, &op->bytes, e));
    TRY(store_check_prose("a file", x->file.body, STORE_FILE_BYTES_MAX, &op->bytes, e));
    TRY(store_check_text("the share's title", x->share.title, false, e));
    TRY(store_check_prose("a share", x->share.body, STORE_BODY_BYTES_MAX, &op->bytes, e));
    TRY(store_check_prose("the settings", x->settings, STORE_SETTINGS_BYTES_MAX, &op->bytes, e));
    TRY(store_check_prose("what is looked for", span_of(x->query.text ? x->query.text : ""),
                          STORE_SEARCH_BYTES_MAX, &op->bytes, e));
    return store_check_text("the folder", x->query.folder, false, e);
}

static enum err store_check_note(struct store_op *op, struct errinfo *e)
{
    const struct store_note *a = &op->chats->note;
    const char *text = a->text ? a->text : "", *quote = a->quote ? a->quote : "";
    bool must = op->what == STORE_NOTE_ADD;
    TRY(store_check_text("the note's id", a->id, must, e));
    TRY(store_check_text("the reader", a->reader, must || op->what == STORE_SHARE_LIKE, e));
    TRY(store_check_text("the note's name", a->name, false, e));
    TRY(store_check_text("the note's message", a->message, false, e));
    TRY(store_check_prose("a note", span_of(text), STORE_NOTE_BYTES_MAX, &op->bytes, e));
    TRY(store_check_prose("a note's quote", span_of(quote), STORE_NOTE_BYTES_MAX, &op->bytes, e));
    return store_check_text("where the chat comes from", op->chats->source,
                            op->what == STORE_CHAT_IMPORT, e);
}

/* Those that are about no one thing, or make it. */
static bool store_needs_id(enum store_what what)
{
    switch (what) {
    case STORE_CHAT_LIST:
    case STORE_FOLDER_LIST:
    case STORE_SETTINGS_GET:
    case STORE_SETTINGS_PUT:
    case STORE_RUNNING_END:
    case STORE_RUNNING_LEFT:
    case STORE_CHAT_ADD:
    case STORE_CHAT_IMPORT:
    case STORE_FOLDER_ADD:
    case STORE_FOLDER_SET:
    case STORE_FILE_ADD: return false;
    default: return true;
    }
}

enum err store_check_chats(struct store_op *op, struct errinfo *e)
{
    const struct store_chats *x = op->chats;
    CHECK(x);
    bool any_owner = op->what == STORE_RUNNING_END || op->what == STORE_RUNNING_LEFT ||
                     op->what == STORE_SHARE_GET || op->what == STORE_SHARE_LIKE ||
                     op->what == STORE_NOTE_ADD || op->what == STORE_NOTE_DELETE;
    TRY(store_check_text("the owner", x->owner, !any_owner, e));
    TRY(store_check_text("the id", x->id, store_needs_id(op->what), e));
    TRY(store_check_text("the chat's id", x->chat.id,
                         op->what == STORE_CHAT_ADD || op->what == STORE_CHAT_IMPORT, e));
    TRY(store_check_text("the folder's id", x->folder.id,
                         op->what == STORE_FOLDER_ADD || op->what == STORE_FOLDER_SET, e));
    TRY(store_check_text("the file's id", x->file.id,
                         op->what == STORE_FILE_ADD || op->what == STORE_FOLDER_FILE_ADD ||
                             op->what == STORE_FOLDER_FILE_DELETE,
                         e));
    TRY(store_check_text("the share's token", x->share.token, op->what == STORE_SHARE_ADD, e));
    TRY(store_check_text("the message's id", x->at,
                         op->what == STORE_MESSAGE_SET || op->what == STORE_MESSAGE_DELETE ||
                             op->what == STORE_NOTE_DELETE,
                         e));
    TRY(store_check_note(op, e));
    if (x->query.limit > STORE_LIST_MAX)
        return err_set(e, ERR_USAGE, "a list gives at most %zu entries", STORE_LIST_MAX);
    if (x->n_add > STORE_CHAT_MESSAGES_MAX)
        return err_set(e, ERR_TOOBIG, "%zu messages are more than the %zu of a chat", x->n_add,
                       STORE_CHAT_MESSAGES_MAX);
    for (size_t i = 0; i < x->n_add; i++)
        TRY(store_check_message(&x->add[i], true, &op->bytes, e));
    TRY(store_check_message(&x->message, false, &op->bytes, e));
    return store_check_parts(op, e);
}
