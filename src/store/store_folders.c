/* SPDX-License-Identifier: MIT
 * The operations on folders, settings and files. */
#include "store/store_int.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <string.h>

static enum err store_none(const char *what, const char *id, struct errinfo *e)
{
    return err_set(e, ERR_NOTFOUND, "there is no %s \"%.64s\"", what, id);
}

/* ---- folders ---- */

/* Those of the owner, or the one of this id. */
static enum err store_read_folders(struct store_db *db, struct store_op *op, const char *id,
                                   struct errinfo *e)
{
    struct store_chats *x = op->chats;
    size_t room = id ? 1 : STORE_FOLDERS_MAX;
    struct store_stmt *q = store_start(db, STORE_SQL_FOLDER_LIST);
    store_bind_text(q, 1, x->owner);
    store_bind_text(q, 2, id);
    store_bind_int(q, 3, (int64_t)room);
    x->folders = arena_array(op->arena, room, sizeof *x->folders);
    x->n_folders = 0;
    while (x->n_folders < room && store_step(q))
        x->folders[x->n_folders++] = (struct store_folder){
            .id = store_column(q, 0, op->arena),
            .name = store_column(q, 1, op->arena),
            .instructions = store_column(q, 2, op->arena),
            .created = store_int(q, 3),
            .files = store_column(q, 4, op->arena)};
    TRY(store_end(q, e));
    return id && !x->n_folders ? store_none("folder", id, e) : ERR_OK;
}

enum err store_op_folder_list(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    return store_read_folders(db, op, NULL, e);
}

enum err store_op_folder_add(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_chats *x = op->chats;
    const struct store_folder *f = &x->folder;
    int64_t count = 0;
    bool found;
    struct store_stmt *q = store_start(db, STORE_SQL_FOLDER_COUNT);
    store_bind_text(q, 1, x->owner);
    TRY(store_number(q, &count, &found, e));
    if ((size_t)count >= STORE_FOLDERS_MAX)
        return err_set(e, ERR_TOOBIG, "there are %zu folders, which is the most",
                       STORE_FOLDERS_MAX);
    q = store_start(db, STORE_SQL_FOLDER_ADD);
    store_bind_text(q, 1, f->id);
    store_bind_text(q, 2, x->owner);
    store_bind_text(q, 3, f->name);
    store_bind_text(q, 4, f->instructions ? f->instructions : "");
    store_bind_int(q, 5, os_unix_time());
    TRY(store_finish(q, e));
    return store_read_folders(db, op, f->id, e);
}

enum err store_op_folder_set(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_chats *x = op->chats;
    struct store_stmt *q = store_start(db, STORE_SQL_FOLDER_SET);
    store_bind_text(q, 1, x->folder.id);
    store_bind_text(q, 2, x->owner);
    store_bind_text(q, 3, x->folder.name);
    store_bind_text(q, 4, x->folder.instructions);
    TRY(store_finish(q, e));
    return store_read_folders(db, op, x->folder.id, e);
}

static enum err store_folder_number(struct store_db *db, const struct store_chats *x, int64_t *n,
                                    struct errinfo *e)
{
    bool found;
    struct store_stmt *q = store_start(db, STORE_SQL_FOLDER_ROW);
    store_bind_text(q, 1, x->id);
    store_bind_text(q, 2, x->owner);
    TRY(store_number(q, n, &found, e));
    return found ? ERR_OK : store_none("folder", x->id, e);
}

enum err store_op_folder_file_add(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_chats *x = op->chats;
    int64_t folder, count = 0;
    bool found;
    TRY(store_folder_number(db, x, &folder, e));
    struct store_stmt *q = store_start(db, STORE_SQL_FOLDER_FILE_COUNT);
    store_bind_int(q, 1, folder);
    TRY(store_number(q, &count, &found, e));
    if ((size_t)count >= STORE_FOLDER_FILES_MAX)
        return err_set(e, ERR_TOOBIG, "the folder has %zu files, which is the most",
                       STORE_FOLDER_FILES_MAX);
    q = store_start(db, STORE_SQL_FOLDER_FILE_ADD);
    store_bind_int(q, 1, folder);
    store_bind_text(q, 2, x->file.id);
    store_bind_text(q, 3, x->owner);
    TRY(store_finish(q, e));
    if (!q->n_changed)
        return store_none("file", x->file.id, e);
    return store_read_folders(db, op, x->id, e);
}

enum err store_op_folder_file_delete(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_chats *x = op->chats;
    int64_t folder;
    TRY(store_folder_number(db, x, &folder, e));
    struct store_stmt *q = store_start(db, STORE_SQL_FOLDER_FILE_DELETE);
    store_bind_int(q, 1, folder);
    store_bind_text(q, 2, x->file.id);
    TRY(store_finish(q, e));
    if (!q->n_changed)
        return store_none("file", x->file.id, e);
    return store_read_folders(db, op, x->id, e);
}

enum err store_op_folder_delete(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, STORE_SQL_FOLDER_DELETE);
    store_bind_text(q, 1, op->chats->id);
    store_bind_text(q, 2, op->chats->owner);
    TRY(store_finish(q, e));
    return q->n_changed ? ERR_OK : store_none("folder", op->chats->id, e);
}

/* ---- settings ---- */

enum err store_op_settings_get(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, STORE_SQL_SETTINGS_GET);
    store_bind_text(q, 1, op->chats->owner);
    op->chats->settings = store_step(q) ? store_column_span(q, 0, op->arena) : SPAN("{}");
    return store_end(q, e);
}

enum err store_op_settings_put(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, STORE_SQL_SETTINGS_PUT);
    store_bind_text(q, 1, op->chats->owner);
    store_bind_span(q, 2, op->chats->settings);
    return store_finish(q, e);
}

/* ---- files ---- */

enum err store_op_file_add(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_file *f = &op->chats->file;
    struct store_stmt *q = store_start(db, STORE_SQL_FILE_ADD);
    store_bind_text(q, 1, f->id);
    store_bind_text(q, 2, op->chats->owner);
    store_bind_text(q, 3, f->name);
    store_bind_text(q, 4, f->type ? f->type : "");
    store_bind_int(q, 5, os_unix_time());
    store_bind_int(q, 6, (int64_t)f->body.n);
    store_bind_span(q, 7, f->body);
    store_bind_text(q, 8, f->source ? f->source : "");
    return store_finish(q, e);
}

enum err store_op_file_get(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_chats *x = op->chats;
    struct store_stmt *q = store_start(db, STORE_SQL_FILE_GET);
    store_bind_text(q, 1, x->id);
    store_bind_text(q, 2, x->owner);
    x->files = arena_array(op->arena, 1, sizeof *x->files);
    x->n_files = 0;
    if (store_step(q))
        x->files[x->n_files++] = (struct store_file){.id = store_column(q, 0, op->arena),
                                                     .name = store_column(q, 1, op->arena),
                                                     .type = store_column(q, 2, op->arena),
                                                     .created = store_int(q, 3),
                                                     .body = store_column_span(q, 4, op->arena),
                                                     .source = store_column(q, 5, op->arena)};
    TRY(store_end(q, e));
    return x->n_files ? ERR_OK : store_none("file", x->id, e);
}
