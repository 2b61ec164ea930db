/* SPDX-License-Identifier: MIT
 * Statements, operations and sweeping over any engine. */
#include "store/store_int.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <string.h>

const char *store_db_name(const struct store_db *db)
{
    return db->name;
}

void store_db_init(struct store_db *db, const struct store_engine *engine, const char *name)
{
    db->engine = engine;
    db->name = mem_alloc(strlen(name) + 1);
    strcpy(db->name, name);
    db->lease_ms = STORE_LEASE_S * 1000;
    arena_init(&db->tmp);
}

void store_db_done(struct store_db *db)
{
    arena_done(&db->tmp);
    mem_free(db->name);
}

/* ---- binding ---- */

struct store_stmt *store_start(struct store_db *db, enum store_sql which)
{
    struct store_stmt *q = &db->stmt;
    CHECK(q->phase == STORE_IDLE);
    memset(q->args, 0, sizeof q->args);
    arena_done(&db->tmp);
    arena_init(&db->tmp);
    q->db = db;
    q->which = which;
    q->phase = STORE_BOUND;
    q->n_changed = 0;
    q->err = ERR_OK;
    return q;
}

static struct store_value *store_arg(struct store_stmt *q, int at, enum store_type type)
{
    CHECK(at >= 1 && at <= STORE_ARGS_MAX && q->phase == STORE_BOUND);
    struct store_value *v = &q->args[at - 1];
    v->type = type;
    return v;
}

void store_bind_int(struct store_stmt *q, int at, int64_t i)
{
    store_arg(q, at, STORE_INT)->i = i;
}

void store_bind_text(struct store_stmt *q, int at, const char *text)
{
    if (text)
        store_bind_span(q, at, span_of(text));
}

static struct span store_without_nul(struct arena *a, struct span text)
{
    struct str out;
    str_init(&out, 3 * text.n);
    for (size_t at = 0; at < text.n;) {
        const char *nul = memchr(text.p + at, 0, text.n - at);
        size_t n = nul ? (size_t)(nul - text.p) - at : text.n - at;
        str_add(&out, text.p + at, n);
        if (nul)
            str_add_cstr(&out, "\xef\xbf\xbd");
        at += n + (nul != NULL);
    }
    struct span kept = {arena_dup(a, out.p, out.n), out.n};
    str_done(&out);
    return kept;
}

void store_bind_span(struct store_stmt *q, int at, struct span text)
{
    if (text.n && memchr(text.p, 0, text.n))
        text = store_without_nul(&q->db->tmp, text);
    store_arg(q, at, STORE_TEXT)->bytes = text.n ? text : SPAN("");
}

void store_bind_blob(struct store_stmt *q, int at, const void *p, size_t n)
{
    store_arg(q, at, STORE_BLOB)->bytes = (struct span){n ? p : "", n};
}

void store_bind_words(struct store_stmt *q, int at, struct span words)
{
    store_arg(q, at, STORE_WORDS)->bytes = words;
}

void store_bind_grams(struct store_stmt *q, int at, enum store_type type, struct span words,
                      int64_t owner)
{
    struct store_value *v = store_arg(q, at, type);
    v->bytes = words;
    v->i = owner;
}

/* ---- rows ---- */

bool store_step(struct store_stmt *q)
{
    if (q->phase != STORE_BOUND && q->phase != STORE_ROWS)
        return false;
    bool row = q->db->engine->step(q->db, q);
    q->phase = row ? STORE_ROWS : STORE_DONE;
    return row;
}

static const struct store_value *store_at(const struct store_stmt *q, int at)
{
    CHECK(at >= 0 && at < STORE_COLUMNS_MAX && q->phase == STORE_ROWS);
    return &q->row[at];
}

int64_t store_int(const struct store_stmt *q, int at)
{
    const struct store_value *v = store_at(q, at);
    return v->type == STORE_INT ? v->i : 0;
}

struct span store_span(const struct store_stmt *q, int at)
{
    const struct store_value *v = store_at(q, at);
    return v->type == STORE_TEXT || v->type == STORE_BLOB ? v->bytes : SPAN("");
}

size_t store_bytes(const struct store_stmt *q, int at)
{
    return store_span(q, at).n;
}

char *store_column(const struct store_stmt *q, int at, struct arena *a)
{
    struct span x = store_span(q, at);
    return store_at(q, at)->type == STORE_NULL ? NULL : arena_dup(a, x.p, x.n);
}

struct span store_column_span(const struct store_stmt *q, int at, struct arena *a)
{
    struct span x = store_span(q, at);
    return (struct span){arena_dup(a, x.p, x.n), x.n};
}

/* ---- the end ---- */

enum err store_end(struct store_stmt *q, struct errinfo *e)
{
    q->db->engine->end(q->db, q);
    q->phase = STORE_IDLE;
    if (q->err != ERR_OK && e)
        *e = q->e;
    return q->err;
}

enum err store_finish(struct store_stmt *q, struct errinfo *e)
{
    while (store_step(q))
        ;
    return store_end(q, e);
}

enum err store_number(struct store_stmt *q, int64_t *out, bool *found, struct errinfo *e)
{
    *found = store_step(q);
    if (*found)
        *out = store_int(q, 0);
    return store_finish(q, e); /* a RETURNING is done only at its end */
}

enum err store_row_step(struct store_db *db, enum store_sql which, int64_t n, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, which);
    store_bind_int(q, 1, n);
    return store_finish(q, e);
}

/* ---- operations ---- */

enum err store_db_run(struct store_db *db, struct store_op *op, bool *lost)
{
    static enum err (*const functions[STORE_N_OPS])(struct store_db *, struct store_op *,
                                                    struct errinfo *) = {
#define STORE_OP(name, fn, writes) store_op_##fn,
#include "store/store_op.def"
#undef STORE_OP
    };
    const struct store_engine *engine = db->engine;
    bool writes = store_writes[op->what];
    enum err err = engine->mark(db, writes, &op->e);
    if (err == ERR_OK)
        err = functions[op->what](db, op, &op->e);
    CHECK(db->stmt.phase == STORE_IDLE);
    /* A full disk may have ended the transaction; then there is no mark to go back to. */
    *lost = !engine->in_transaction(db);
    if (err != ERR_OK)
        *lost = *lost || engine->undo(db, writes, NULL) != ERR_OK;
    else if (*lost || engine->keep(db, writes, &op->e) != ERR_OK) {
        *lost = true;
        err = op->e.code != ERR_OK ? op->e.code : ERR_FAILED;
    }
    return err;
}

/* ---- the schema ---- */

static const struct store_ddl store_ddls[] = {
#define DDL(version, text)              {version, text, text},
#define DDL2(version, sqlite, postgres) {version, sqlite, postgres},
#include "store/store_schema.def"
#undef DDL
#undef DDL2
};

const struct store_schema store_schema = {store_ddls, N_ELEMS(store_ddls)};

/* ---- sweeping ---- */

/* Some of what a row of statements removes, all or none; the last says how much: true when there
 * may be more. */
static bool store_sweep_some(struct store_db *db, const enum store_sql *which, size_t n,
                             int64_t before)
{
    struct errinfo e;
    bool more = false;
    enum err err = db->engine->begin(db, true, &e);
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        err = store_row_step(db, which[i], before, &e);
        more = db->stmt.n_changed >= 100;
    }
    if (err == ERR_OK)
        err = db->engine->commit(db, &e);
    if (err == ERR_OK)
        return more;
    /* A full disk, say: what has expired is not found anyway.  Another server may be at it. */
    db->engine->rollback(db);
    log_at(err == ERR_BUSY ? LOG_DEBUG : LOG_WARN, "store", "sweep=\"%s\"", e.text);
    return false;
}

/* Answers whose server is gone. */
static void store_sweep_running(struct store_db *db)
{
    struct errinfo e;
    size_t n = 0;
    enum err err = db->engine->begin(db, true, &e);
    if (err == ERR_OK)
        err = store_stop_running(db, STORE_SQL_RUNNING_LEFT, &n, &e);
    if (err == ERR_OK && n)
        err = db->engine->commit(db, &e);
    if (err == ERR_OK && n)
        log_at(LOG_WARN, "store", "stopped=%zu", n);
    db->engine->rollback(db);
}

bool store_db_sweep(struct store_db *db)
{
    static const enum store_sql objects[] = {STORE_SQL_SWEEP}, shares[] = {STORE_SQL_SWEEP_SHARES},
                                files[] = {STORE_SQL_SWEEP_FILES};
    static const enum store_sql deleted[] = {
        STORE_SQL_SWEEP_DELETED_TEXTS, STORE_SQL_SWEEP_DELETED_TITLES, STORE_SQL_SWEEP_DELETED};
    static const enum store_sql temporary[] = {STORE_SQL_SWEEP_TEMPORARY_TEXTS,
                                               STORE_SQL_SWEEP_TEMPORARY_TITLES,
                                               STORE_SQL_SWEEP_TEMPORARY};
    int64_t now = os_unix_time();
    store_sweep_running(db);
    bool more = store_sweep_some(db, objects, N_ELEMS(objects), now);
    more |= store_sweep_some(db, shares, N_ELEMS(shares), now);
    more |= store_sweep_some(db, files, N_ELEMS(files), now - STORE_ORPHAN_S);
    more |= store_sweep_some(db, deleted, N_ELEMS(deleted), now - STORE_UNDO_S);
    more |= store_sweep_some(db, temporary, N_ELEMS(temporary),
                             (now - STORE_TEMPORARY_S) * 1000000);
    return more;
}
