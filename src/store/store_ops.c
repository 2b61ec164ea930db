/* SPDX-License-Identifier: MIT
 * The operations on objects, items and keys (store_op.def). */
#include "store/store_int.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <string.h>

#define STORE_KEYS_MAX 100000

static const char *const store_kinds[STORE_N_KINDS] = {"response", "chat_completion"};

static void store_read_hash(struct store_stmt *q, int at, unsigned char out[STORE_HASH_BYTES])
{
    struct span hash = store_span(q, at);
    memset(out, 0, STORE_HASH_BYTES);
    if (hash.n == STORE_HASH_BYTES)
        memcpy(out, hash.p, STORE_HASH_BYTES);
}

static enum err store_not_there(struct errinfo *e)
{
    return err_set(e, ERR_NOTFOUND, "there is nothing with this id");
}

/* ---- objects ---- */

static void store_bind_name(struct store_stmt *q, const struct store_object *o)
{
    store_bind_text(q, 1, store_kinds[o->kind]);
    store_bind_text(q, 2, o->id);
    store_bind_text(q, 3, o->owner ? o->owner : "");
    store_bind_int(q, 4, os_unix_time());
}

static void store_read_object(struct store_stmt *q, enum store_kind kind, struct arena *a,
                              struct store_object *o)
{
    *o = (struct store_object){.kind = kind,
                               .id = store_column(q, 0, a),
                               .owner = store_column(q, 1, a),
                               .created = store_int(q, 2),
                               .model = store_column(q, 3, a),
                               .metadata = store_column(q, 4, a),
                               .previous = store_column(q, 5, a),
                               .expires = store_int(q, 6),
                               .body = store_column_span(q, 7, a)};
}

/* Finds the object of that name; o may be NULL.  *n is its row. */
static enum err store_find(struct store_db *db, const struct store_object *name, int64_t *n,
                           struct arena *a, struct store_object *o, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, STORE_SQL_GET);
    store_bind_name(q, name);
    bool found = store_step(q);
    if (found) {
        *n = store_int(q, 8);
        if (o)
            store_read_object(q, name->kind, a, o);
    }
    TRY(store_end(q, e));
    return found ? ERR_OK : store_not_there(e);
}

static enum err store_put_items(struct store_db *db, const struct store_object *o, int64_t n,
                                struct errinfo *e)
{
    struct store_stmt *q = store_start(db, STORE_SQL_ITEMS_CLEAR);
    store_bind_int(q, 1, n);
    TRY(store_finish(q, e));
    for (size_t i = 0; i < o->n_items; i++) {
        q = store_start(db, STORE_SQL_ITEM_PUT);
        store_bind_int(q, 1, n);
        store_bind_int(q, 2, (int64_t)i);
        store_bind_text(q, 3, o->items[i].id);
        store_bind_span(q, 4, o->items[i].body);
        TRY(store_finish(q, e));
    }
    return ERR_OK;
}

enum err store_op_put(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_object *o = &op->object;
    int64_t n = 0;
    bool found;
    struct store_stmt *q = store_start(db, STORE_SQL_PUT);
    store_bind_text(q, 1, store_kinds[o->kind]);
    store_bind_text(q, 2, o->id);
    store_bind_text(q, 3, o->owner ? o->owner : "");
    store_bind_int(q, 4, o->created);
    store_bind_text(q, 5, o->model ? o->model : "");
    store_bind_text(q, 6, o->metadata ? o->metadata : "{}");
    store_bind_text(q, 7, o->previous);
    store_bind_int(q, 8, o->expires);
    store_bind_span(q, 9, o->body);
    TRY(store_number(q, &n, &found, e));
    if (!found)
        return err_set(e, ERR_USAGE, "the id is another owner's");
    return op->keep_items ? ERR_OK : store_put_items(db, o, n, e);
}

enum err store_op_get(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    int64_t n;
    op->objects = arena_array(op->arena, 1, sizeof *op->objects);
    TRY(store_find(db, &op->object, &n, op->arena, op->objects, e));
    op->n = 1;
    return ERR_OK;
}

enum err store_op_update(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, STORE_SQL_UPDATE);
    store_bind_name(q, &op->object);
    store_bind_text(q, 5, op->object.metadata ? op->object.metadata : "{}");
    TRY(store_finish(q, e));
    return store_op_get(db, op, e);
}

enum err store_op_delete(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, STORE_SQL_DELETE);
    store_bind_name(q, &op->object);
    TRY(store_finish(q, e));
    return q->n_changed ? ERR_OK : store_not_there(e);
}

static size_t store_limit(const struct store_op *op)
{
    return op->query.limit ? op->query.limit : 20;
}

/* Whether what was read and a body of n more bytes may be one answer; one always may. */
static bool store_fits(size_t *total, struct store_stmt *q, int at, size_t n_read)
{
    *total += store_bytes(q, at);
    return n_read == 0 || *total <= STORE_ANSWER_BYTES_MAX;
}

enum err store_op_list(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_query *want = &op->query;
    int64_t n, created = want->descending ? INT64_MAX : -1;
    size_t total = 0, limit = store_limit(op);
    if (want->after) {
        struct store_object from, name = op->object;
        struct arena_mark mark = arena_mark(op->arena);
        name.id = want->after;
        TRY(store_find(db, &name, &n, op->arena, &from, e));
        created = from.created;
        arena_reset(op->arena, mark);
    }
    struct store_stmt *q = store_start(db,
                                       want->descending ? STORE_SQL_LIST_DOWN : STORE_SQL_LIST_UP);
    store_bind_text(q, 1, store_kinds[op->object.kind]);
    store_bind_text(q, 2, op->object.owner ? op->object.owner : "");
    store_bind_int(q, 3, created);
    store_bind_text(q, 4, want->after ? want->after : "");
    store_bind_int(q, 5, os_unix_time());
    store_bind_text(q, 6, want->model);
    store_bind_text(q, 7, want->metadata);
    store_bind_int(q, 8, (int64_t)limit + 1);
    op->objects = arena_array(op->arena, limit, sizeof *op->objects);
    while (!op->more && store_step(q)) {
        op->more = op->n == limit || !store_fits(&total, q, 7, op->n);
        if (!op->more)
            store_read_object(q, op->object.kind, op->arena, &op->objects[op->n++]);
    }
    return store_end(q, e);
}

/* ---- items ---- */

/* Reads up to `limit` items behind `place` into items; *more when there is another. */
static enum err store_read_items(struct store_db *db, int64_t object, int64_t place, bool down,
                                 size_t limit, struct arena *a, struct store_item *items, size_t *n,
                                 size_t *total, bool *more, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, down ? STORE_SQL_ITEMS_DOWN : STORE_SQL_ITEMS_UP);
    store_bind_int(q, 1, object);
    store_bind_int(q, 2, place);
    store_bind_int(q, 3, (int64_t)limit + 1);
    *n = 0;
    *more = false;
    while (!*more && store_step(q)) {
        *more = *n == limit || !store_fits(total, q, 1, *n);
        if (!*more) {
            items[*n].id = store_column(q, 0, a);
            items[(*n)++].body = store_column_span(q, 1, a);
        }
    }
    return store_end(q, e);
}

enum err store_op_items(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_query *want = &op->query;
    int64_t object, place = want->descending ? INT64_MAX : -1;
    size_t total = 0, limit = store_limit(op);
    bool found = true;
    TRY(store_find(db, &op->object, &object, NULL, NULL, e));
    if (want->after) {
        struct store_stmt *q = store_start(db, STORE_SQL_ITEM_PLACE);
        store_bind_int(q, 1, object);
        store_bind_text(q, 2, want->after);
        TRY(store_number(q, &place, &found, e));
    }
    if (!found)
        return store_not_there(e);
    op->items = arena_array(op->arena, limit, sizeof *op->items);
    return store_read_items(db, object, place, want->descending, limit, op->arena, op->items,
                            &op->n, &total, &op->more, e);
}

static enum err store_all_items(struct store_db *db, int64_t object, struct arena *a,
                                struct store_object *o, size_t *total, struct errinfo *e)
{
    int64_t count = 0;
    bool found, more;
    struct store_stmt *q = store_start(db, STORE_SQL_ITEMS_COUNT);
    store_bind_int(q, 1, object);
    TRY(store_number(q, &count, &found, e));
    CHECK(found && count >= 0 && (size_t)count <= STORE_ITEMS_MAX);
    struct store_item *items = arena_array(a, (size_t)count, sizeof *items);
    o->items = items;
    TRY(store_read_items(db, object, -1, false, (size_t)count, a, items, &o->n_items, total, &more,
                         e));
    if (more || *total > STORE_ANSWER_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "the conversation before has over %zu MiB",
                       STORE_ANSWER_BYTES_MAX >> 20);
    return ERR_OK;
}

enum err store_op_chain(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    size_t total = 0, limit = op->query.limit ? op->query.limit : STORE_LIST_MAX;
    struct store_object *list = arena_array(op->arena, limit, sizeof *list), name = op->object;
    size_t n = 0;
    /* A chain that leads into itself (by replacing) ends at the limit. */
    while (name.id) {
        int64_t row;
        if (n == limit)
            return err_set(e, ERR_TOOBIG, "the conversation before has over %zu answers", limit);
        enum err err = store_find(db, &name, &row, op->arena, &list[n], e);
        if (err == ERR_NOTFOUND)
            return err_set(e, err, "there is no '%.100s'", name.id);
        TRY(err);
        total += list[n].body.n;
        TRY(store_all_items(db, row, op->arena, &list[n], &total, e));
        name.id = list[n++].previous;
    }
    for (size_t i = 0; i < n / 2; i++) {
        struct store_object swap = list[i];
        list[i] = list[n - 1 - i];
        list[n - 1 - i] = swap;
    }
    op->objects = list;
    op->n = n;
    return ERR_OK;
}

/* ---- keys ---- */

enum err store_op_secret(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, STORE_SQL_SECRET_PUT);
    store_bind_blob(q, 1, op->secret, STORE_HASH_BYTES);
    TRY(store_finish(q, e));
    q = store_start(db, STORE_SQL_SECRET_GET);
    bool good = store_step(q) && store_bytes(q, 0) == STORE_HASH_BYTES;
    if (good)
        store_read_hash(q, 0, op->secret);
    TRY(store_end(q, e));
    return good ? ERR_OK
                : err_set(e, ERR_CORRUPT, "%s: the secret of the keys is damaged",
                          store_db_name(db));
}

enum err store_op_key_add(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_key *k = &op->key;
    int64_t count = 0;
    bool found;
    TRY(store_number(store_start(db, STORE_SQL_KEY_COUNT), &count, &found, e));
    if (count >= STORE_KEYS_MAX) /* with one more none would be read */
        return err_set(e, ERR_TOOBIG, "there are %d keys, which is the most", STORE_KEYS_MAX);
    struct store_stmt *q = store_start(db, STORE_SQL_KEY_ADD);
    store_bind_text(q, 1, k->id);
    store_bind_text(q, 2, k->name);
    store_bind_text(q, 3, k->scopes ? k->scopes : "");
    store_bind_blob(q, 4, k->hash, STORE_HASH_BYTES);
    store_bind_int(q, 5, k->created);
    store_bind_int(q, 6, k->expires);
    store_bind_int(q, 7, k->requests_minute);
    store_bind_int(q, 8, k->tokens_minute);
    store_bind_int(q, 9, k->n_concurrent);
    return store_finish(q, e);
}

enum err store_op_key_list(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    int64_t count = 0;
    bool found;
    TRY(store_number(store_start(db, STORE_SQL_KEY_COUNT), &count, &found, e));
    if (count > STORE_KEYS_MAX)
        return err_set(e, ERR_TOOBIG, "there are %lld keys, at most %d are read", (long long)count,
                       STORE_KEYS_MAX);
    struct store_stmt *q = store_start(db, STORE_SQL_KEY_LIST);
    op->keys = arena_array(op->arena, (size_t)count, sizeof *op->keys);
    while (op->n < (size_t)count && store_step(q)) {
        struct store_key *k = &op->keys[op->n++];
        k->id = store_column(q, 0, op->arena);
        k->name = store_column(q, 1, op->arena);
        k->scopes = store_column(q, 2, op->arena);
        store_read_hash(q, 3, k->hash);
        k->created = store_int(q, 4);
        k->expires = store_int(q, 5);
        k->revoked = store_int(q, 6);
        k->used = store_int(q, 7);
        k->requests_minute = store_int(q, 8);
        k->tokens_minute = store_int(q, 9);
        k->n_concurrent = store_int(q, 10);
    }
    return store_end(q, e);
}

enum err store_op_key_revoke(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    bool found;
    struct store_stmt *q = store_start(db, STORE_SQL_KEY_REVOKE);
    store_bind_text(q, 1, op->key.id);
    store_bind_int(q, 2, MAX(os_unix_time(), 1));
    TRY(store_number(q, &op->key.revoked, &found, e));
    return found ? ERR_OK : err_set(e, ERR_NOTFOUND, "there is no key '%.40s'", op->key.id);
}

enum err store_op_key_used(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, STORE_SQL_KEY_USED);
    store_bind_text(q, 1, op->key.id);
    store_bind_int(q, 2, op->key.used);
    return store_finish(q, e);
}
