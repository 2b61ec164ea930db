/* SPDX-License-Identifier: MIT
 * The operations on people.  Each that changes who may come in counts the version up, by which
 * servers know that their tables are old. */
#include "store/store_int.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <string.h>

#define STORE_KEY_USERS_MAX 100000
#define STORE_USER_KEYS_MAX 20

/* ---- what may be sent ---- */

static enum err store_check_user(const struct store_user *u, bool all, struct errinfo *e)
{
    TRY(store_check_text("the user's id", u->id, all, e));
    TRY(store_check_text("the user's name", u->name, all, e));
    if (u->name && strlen(u->name) > STORE_USER_NAME_MAX)
        return err_set(e, ERR_TOOBIG, "the user's name has %zu bytes, at most %zu are kept",
                       strlen(u->name), STORE_USER_NAME_MAX);
    if (u->password && strlen(u->password) > STORE_PASSWORD_HASH_MAX)
        return err_set(e, ERR_TOOBIG, "the hash of a password is too long");
    if (u->requests_minute < 0 || u->tokens_minute < 0 || u->n_concurrent < 0 || u->disabled < 0)
        return err_set(e, ERR_USAGE, "a number of a user is negative");
    return ERR_OK;
}

enum err store_check_people(const struct store_op *op, struct errinfo *e)
{
    const struct store_people *x = op->people;
    CHECK(x);
    TRY(store_check_user(&x->user, op->what == STORE_USER_ADD, e));
    TRY(store_check_text("the session's id", x->session.id, op->what == STORE_SESSION_ADD, e));
    TRY(store_check_text("the session's user", x->session.user, false, e));
    TRY(store_check_text("the session's agent", x->session.agent, false, e));
    TRY(store_check_text("the session's address", x->session.address, false, e));
    TRY(store_check_text("the link's id", x->pass.id,
                         op->what == STORE_PASS_ADD || op->what == STORE_PASS_END, e));
    TRY(store_check_text("the link's note", x->pass.note, false, e));
    if (op->what == STORE_KEY_USER_ADD)
        TRY(store_check_key(&op->key, e));
    for (size_t i = 0; i < x->n_add; i++) {
        TRY(store_check_text("the owner", x->add[i].owner, false, e));
        TRY(store_check_text("the model's name", x->add[i].model, false, e));
    }
    return ERR_OK;
}

/* ---- reading ---- */

static void store_read_token_hash(const struct store_stmt *q, int at,
                                  unsigned char out[STORE_TOKEN_HASH_BYTES])
{
    struct span x = store_span(q, at);
    memset(out, 0, STORE_TOKEN_HASH_BYTES);
    if (x.n == STORE_TOKEN_HASH_BYTES)
        memcpy(out, x.p, x.n);
}

/* Of this id, or all. */
static enum err store_read_users(struct store_db *db, struct store_op *op, const char *id,
                                 struct errinfo *e)
{
    struct store_people *x = op->people;
    int64_t room = 1;
    bool found;
    if (!id)
        TRY(store_number(store_start(db, STORE_SQL_USER_COUNT), &room, &found, e));
    struct store_stmt *q = store_start(db, STORE_SQL_USER_LIST);
    store_bind_text(q, 1, id);
    store_bind_int(q, 2, room);
    x->users = arena_array(op->arena, (size_t)room, sizeof *x->users);
    x->n_users = 0;
    while (x->n_users < (size_t)room && store_step(q))
        x->users[x->n_users++] = (struct store_user){.id = store_column(q, 0, op->arena),
                                                     .name = store_column(q, 1, op->arena),
                                                     .folded = store_column(q, 2, op->arena),
                                                     .password = store_column(q, 3, op->arena),
                                                     .admin = store_int(q, 4) != 0,
                                                     .created = store_int(q, 5),
                                                     .seen = store_int(q, 6),
                                                     .disabled = store_int(q, 7),
                                                     .requests_minute = store_int(q, 8),
                                                     .tokens_minute = store_int(q, 9),
                                                     .n_concurrent = store_int(q, 10)};
    TRY(store_end(q, e));
    return id && !x->n_users ? err_set(e, ERR_NOTFOUND, "there is no such user") : ERR_OK;
}

static enum err store_read_sessions(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_people *x = op->people;
    int64_t room = 0, now = os_unix_time();
    bool found;
    TRY(store_number(store_start(db, STORE_SQL_SESSION_COUNT), &room, &found, e));
    struct store_stmt *q = store_start(db, STORE_SQL_SESSION_LIST);
    store_bind_int(q, 1, now);
    store_bind_int(q, 2, now - STORE_SESSION_IDLE_S);
    store_bind_int(q, 3, room);
    x->sessions = arena_array(op->arena, (size_t)room, sizeof *x->sessions);
    x->n_sessions = 0;
    while (x->n_sessions < (size_t)room && store_step(q)) {
        struct store_session *s = &x->sessions[x->n_sessions++];
        s->id = store_column(q, 0, op->arena);
        s->user = store_column(q, 1, op->arena);
        store_read_token_hash(q, 2, s->hash);
        s->created = store_int(q, 3);
        s->used = store_int(q, 4);
        s->expires = store_int(q, 5);
        s->agent = store_column(q, 6, op->arena);
        s->address = store_column(q, 7, op->arena);
    }
    return store_end(q, e);
}

static enum err store_read_key_users(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_people *x = op->people;
    int64_t room = 0;
    bool found;
    TRY(store_number(store_start(db, STORE_SQL_KEY_USER_TOTAL), &room, &found, e));
    room = MIN(room, STORE_KEY_USERS_MAX);
    struct store_stmt *q = store_start(db, STORE_SQL_KEY_USER_LIST);
    store_bind_int(q, 1, room);
    x->key_users = arena_array(op->arena, (size_t)room, sizeof *x->key_users);
    x->n_key_users = 0;
    while (x->n_key_users < (size_t)room && store_step(q)) {
        struct store_key_user *k = &x->key_users[x->n_key_users++];
        k->key = store_column(q, 0, op->arena);
        k->user = store_column(q, 1, op->arena);
    }
    return store_end(q, e);
}

enum err store_op_people_get(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_people *x = op->people;
    bool found;
    TRY(store_number(store_start(db, STORE_SQL_PEOPLE_VERSION), &x->version, &found, e));
    if (!found)
        return err_set(e, ERR_CORRUPT, "%s: the version of the users is not there",
                       store_db_name(db));
    x->n_users = x->n_sessions = x->n_key_users = 0;
    if (x->version == x->known)
        return ERR_OK;
    TRY(store_read_users(db, op, NULL, e));
    TRY(store_read_sessions(db, op, e));
    return store_read_key_users(db, op, e);
}

static enum err store_bump(struct store_db *db, struct errinfo *e)
{
    return store_finish(store_start(db, STORE_SQL_PEOPLE_BUMP), e);
}

/* The user's row; good: of one that may come in. */
static enum err store_user_row(struct store_db *db, const char *id, bool good, int64_t *n,
                               struct errinfo *e)
{
    bool found;
    struct store_stmt *q = store_start(db, good ? STORE_SQL_USER_GOOD : STORE_SQL_USER_ROW);
    store_bind_text(q, 1, id ? id : "");
    TRY(store_number(q, n, &found, e));
    return found ? ERR_OK : err_set(e, ERR_NOTFOUND, "there is no such user");
}

/* The password that was checked is still the user's. */
static enum err store_password_stays(struct store_db *db, int64_t who, const char *was,
                                     struct errinfo *e)
{
    int64_t n;
    bool found = true;
    if (!was)
        return ERR_OK;
    struct store_stmt *q = store_start(db, STORE_SQL_USER_PASSWORD_IS);
    store_bind_int(q, 1, who);
    store_bind_text(q, 2, was);
    TRY(store_number(q, &n, &found, e));
    return found ? ERR_OK : err_set(e, ERR_USAGE, "the password was changed meanwhile");
}

/* ---- links ---- */

static void store_read_pass(struct store_stmt *q, struct arena *a, struct store_pass *p)
{
    *p = (struct store_pass){.id = store_column(q, 0, a),
                             .user = store_column(q, 1, a),
                             .note = store_column(q, 2, a),
                             .by = store_column(q, 3, a),
                             .admin = store_int(q, 4) != 0,
                             .n_left = store_int(q, 5),
                             .created = store_int(q, 6),
                             .expires = store_int(q, 7)};
}

enum err store_op_pass_get(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_people *x = op->people;
    struct store_stmt *q = store_start(db, STORE_SQL_PASS_GET);
    store_bind_int(q, 1, os_unix_time());
    store_bind_blob(q, 2, x->pass.hash, STORE_TOKEN_HASH_BYTES);
    x->passes = arena_alloc(op->arena, sizeof *x->passes);
    x->n_passes = store_step(q);
    if (x->n_passes)
        store_read_pass(q, op->arena, x->passes);
    TRY(store_end(q, e));
    if (!x->n_passes)
        return err_set(e, ERR_NOTFOUND, "this link is used up, has expired or was taken back");
    return x->passes[0].user ? store_read_users(db, op, x->passes[0].user, e) : ERR_OK;
}

/* Uses up the link of pass.hash; x->passes[0] is it. */
static enum err store_use_pass(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    TRY(store_op_pass_get(db, op, e));
    struct store_stmt *q = store_start(db, STORE_SQL_PASS_USE);
    store_bind_text(q, 1, op->people->passes[0].id);
    return store_finish(q, e);
}

enum err store_op_pass_list(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_people *x = op->people;
    struct store_stmt *q = store_start(db, STORE_SQL_PASS_LIST);
    store_bind_int(q, 1, os_unix_time());
    store_bind_int(q, 2, STORE_PASSES_MAX);
    x->passes = arena_array(op->arena, STORE_PASSES_MAX, sizeof *x->passes);
    x->n_passes = 0;
    while (x->n_passes < STORE_PASSES_MAX && store_step(q))
        store_read_pass(q, op->arena, &x->passes[x->n_passes++]);
    return store_end(q, e);
}

enum err store_op_pass_add(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_pass *p = &op->people->pass;
    int64_t count = 0, who = 0;
    bool found;
    TRY(store_row_step(db, STORE_SQL_PASS_SWEEP, os_unix_time(), e));
    if (p->user) {
        TRY(store_user_row(db, p->user, false, &who, e));
        TRY(store_row_step(db, STORE_SQL_PASS_USER_END, who, e));
    }
    TRY(store_number(store_start(db, STORE_SQL_PASS_COUNT), &count, &found, e));
    if ((size_t)count >= STORE_PASSES_MAX)
        return err_set(e, ERR_TOOBIG, "there are %zu links, which is the most", STORE_PASSES_MAX);
    struct store_stmt *q = store_start(db, STORE_SQL_PASS_ADD);
    store_bind_text(q, 1, p->id);
    store_bind_blob(q, 2, p->hash, STORE_TOKEN_HASH_BYTES);
    if (p->user)
        store_bind_int(q, 3, who);
    store_bind_text(q, 4, p->note ? p->note : "");
    store_bind_text(q, 5, p->by ? p->by : "");
    store_bind_int(q, 6, p->admin);
    store_bind_int(q, 7, p->n_left);
    store_bind_int(q, 8, p->created);
    store_bind_int(q, 9, p->expires);
    return store_finish(q, e);
}

enum err store_op_pass_end(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, STORE_SQL_PASS_END);
    store_bind_text(q, 1, op->people->pass.id);
    TRY(store_finish(q, e));
    return q->n_changed ? ERR_OK : err_set(e, ERR_NOTFOUND, "there is no such link");
}

enum err store_op_pass_setup_end(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    (void)op;
    return store_finish(store_start(db, STORE_SQL_PASS_SETUP_END), e);
}

/* ---- users ---- */

/* Nobody else has the name. */
static enum err store_name_free(struct store_db *db, const struct store_user *u, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, STORE_SQL_USER_FOLDED);
    store_bind_text(q, 1, u->folded);
    bool taken = store_step(q) && !span_eq_cstr(store_span(q, 0), u->id);
    TRY(store_end(q, e));
    return taken ? err_set(e, ERR_USAGE, "the name \"%.64s\" is taken", u->name) : ERR_OK;
}

/* What was made while there were no accounts. */
static enum err store_take_over(struct store_db *db, const char *user, struct errinfo *e)
{
    static const enum store_sql all[] = {STORE_SQL_TAKE_CHATS,   STORE_SQL_TAKE_FOLDERS,
                                         STORE_SQL_TAKE_FILES,   STORE_SQL_TAKE_SETTINGS,
                                         STORE_SQL_TAKE_OBJECTS, STORE_SQL_TAKE_USAGE};
    for (size_t i = 0; i < N_ELEMS(all); i++) {
        struct store_stmt *q = store_start(db, all[i]);
        store_bind_text(q, 1, user);
        TRY(store_finish(q, e));
    }
    return ERR_OK;
}

enum err store_op_user_add(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_people *x = op->people;
    struct store_user u = x->user;
    int64_t count = 0;
    bool found;
    if (x->by_pass) {
        TRY(store_use_pass(db, op, e));
        if (x->passes[0].user)
            return err_set(e, ERR_USAGE, "this link is for a user that is there");
        u.admin = x->passes[0].admin;
    }
    TRY(store_number(store_start(db, STORE_SQL_USER_COUNT), &count, &found, e));
    if ((size_t)count >= STORE_USERS_MAX)
        return err_set(e, ERR_TOOBIG, "there are %zu users, which is the most", STORE_USERS_MAX);
    if (!count && !u.admin)
        return err_set(e, ERR_USAGE, "the first user has to be an admin");
    TRY(store_name_free(db, &u, e));
    struct store_stmt *q = store_start(db, STORE_SQL_USER_ADD);
    store_bind_text(q, 1, u.id);
    store_bind_text(q, 2, u.name);
    store_bind_text(q, 3, u.folded);
    store_bind_text(q, 4, u.password ? u.password : "");
    store_bind_int(q, 5, u.admin);
    store_bind_int(q, 6, os_unix_time());
    store_bind_int(q, 7, u.requests_minute);
    store_bind_int(q, 8, u.tokens_minute);
    store_bind_int(q, 9, u.n_concurrent);
    TRY(store_finish(q, e));
    if (!count) { /* and what makes a first admin makes no second */
        TRY(store_take_over(db, u.id, e));
        TRY(store_op_pass_setup_end(db, op, e));
    }
    TRY(store_bump(db, e));
    return store_read_users(db, op, u.id, e);
}

static enum err store_set_text(struct store_db *db, enum store_sql which, int64_t n,
                               const char *text, const char *more, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, which);
    store_bind_int(q, 1, n);
    store_bind_text(q, 2, text);
    if (more)
        store_bind_text(q, 3, more);
    return store_finish(q, e);
}

static enum err store_set_number(struct store_db *db, enum store_sql which, int64_t n,
                                 int64_t number, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, which);
    store_bind_int(q, 1, n);
    store_bind_int(q, 2, number);
    return store_finish(q, e);
}

static enum err store_set_user(struct store_db *db, const struct store_people *x, int64_t n,
                               struct errinfo *e)
{
    const struct store_user *u = &x->user;
    if (x->set & STORE_USER_SET_NAME) {
        TRY(store_name_free(db, u, e));
        TRY(store_set_text(db, STORE_SQL_USER_NAME, n, u->name, u->folded, e));
    }
    if (x->set & STORE_USER_SET_PASSWORD) {
        TRY(store_set_text(db, STORE_SQL_USER_PASSWORD, n, u->password, NULL, e));
        TRY(store_row_step(db, STORE_SQL_PASS_USER_END, n, e));
    }
    if (x->set & STORE_USER_SET_ADMIN)
        TRY(store_set_number(db, STORE_SQL_USER_ADMIN, n, u->admin, e));
    if (x->set & STORE_USER_SET_DISABLED)
        TRY(store_set_number(db, STORE_SQL_USER_DISABLED, n, u->disabled, e));
    if (x->set & (STORE_USER_SET_DISABLED | STORE_USER_SET_PASSWORD))
        TRY(store_set_text(db, STORE_SQL_SESSIONS_END, n, x->keep ? x->keep : "", NULL, e));
    if (x->set & STORE_USER_SET_LIMITS) {
        struct store_stmt *q = store_start(db, STORE_SQL_USER_LIMITS);
        store_bind_int(q, 1, n);
        store_bind_int(q, 2, u->requests_minute);
        store_bind_int(q, 3, u->tokens_minute);
        store_bind_int(q, 4, u->n_concurrent);
        TRY(store_finish(q, e));
    }
    return ERR_OK;
}

enum err store_op_user_set(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_people *x = op->people, y = *x;
    int64_t n, admins = 0;
    bool found;
    if (x->by_pass) {
        TRY(store_use_pass(db, op, e));
        if (!x->passes[0].user)
            return err_set(e, ERR_USAGE, "this link makes a new user");
        y.user.id = x->passes[0].user;
    }
    TRY(store_user_row(db, y.user.id, false, &n, e));
    TRY(store_password_stays(db, n, x->was, e));
    TRY(store_set_user(db, &y, n, e));
    TRY(store_number(store_start(db, STORE_SQL_USER_ADMINS), &admins, &found, e));
    if (!admins)
        return err_set(e, ERR_USAGE, "nobody would be left who is an admin and may come in");
    TRY(store_bump(db, e));
    return store_read_users(db, op, y.user.id, e);
}

/* ---- sessions ---- */

enum err store_op_session_add(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_session *s = &op->people->session;
    int64_t who, now = os_unix_time();
    TRY(store_user_row(db, s->user, true, &who, e));
    TRY(store_password_stays(db, who, op->people->was, e));
    struct store_stmt *q = store_start(db, STORE_SQL_SESSION_SWEEP);
    store_bind_int(q, 1, now);
    store_bind_int(q, 2, now - STORE_SESSION_IDLE_S);
    TRY(store_finish(q, e));
    q = store_start(db, STORE_SQL_SESSION_ADD);
    store_bind_blob(q, 1, s->hash, STORE_TOKEN_HASH_BYTES);
    store_bind_text(q, 2, s->id);
    store_bind_int(q, 3, who);
    store_bind_int(q, 4, s->created);
    store_bind_int(q, 5, s->used);
    store_bind_int(q, 6, s->expires);
    store_bind_text(q, 7, s->agent ? s->agent : "");
    store_bind_text(q, 8, s->address ? s->address : "");
    TRY(store_finish(q, e));
    TRY(store_set_number(db, STORE_SQL_SESSION_MANY, who, STORE_SESSIONS_MAX, e));
    q = store_start(db, STORE_SQL_USER_SEEN);
    store_bind_text(q, 1, s->user);
    store_bind_int(q, 2, now);
    TRY(store_finish(q, e));
    return store_bump(db, e);
}

enum err store_op_session_end(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_session *s = &op->people->session;
    struct store_stmt *q = store_start(db, STORE_SQL_SESSION_END);
    store_bind_text(q, 1, s->id);
    store_bind_text(q, 2, s->user);
    TRY(store_finish(q, e));
    if (!q->n_changed)
        return err_set(e, ERR_NOTFOUND, "there is no such session");
    return store_bump(db, e);
}

enum err store_op_sessions_end(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_people *x = op->people;
    int64_t who;
    TRY(store_user_row(db, x->user.id, false, &who, e));
    TRY(store_set_text(db, STORE_SQL_SESSIONS_END, who, x->keep ? x->keep : "", NULL, e));
    return store_bump(db, e);
}

enum err store_op_session_used(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_session *s = &op->people->session;
    struct store_stmt *q = store_start(db, STORE_SQL_SESSION_USED);
    store_bind_text(q, 1, s->id);
    store_bind_int(q, 2, s->used);
    TRY(store_finish(q, e));
    q = store_start(db, STORE_SQL_USER_SEEN);
    store_bind_text(q, 1, s->user);
    store_bind_int(q, 2, s->used);
    return store_finish(q, e);
}

/* ---- keys and usage ---- */

/* Whoever makes keys and ends them does not fill the table, which all servers hold in memory. */
static enum err store_sweep_keys(struct store_db *db, int64_t who, struct errinfo *e)
{
    struct store_stmt *q = store_start(db, STORE_SQL_KEY_USER_SWEEP);
    store_bind_int(q, 1, who);
    store_bind_int(q, 2, os_unix_time());
    store_bind_int(q, 3, STORE_USER_KEYS_MAX);
    TRY(store_finish(q, e));
    return store_row_step(db, STORE_SQL_KEY_USER_LOST, who, e);
}

enum err store_op_key_user_add(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    int64_t who, count = 0;
    bool found;
    TRY(store_user_row(db, op->people->key_user.user, true, &who, e));
    TRY(store_sweep_keys(db, who, e));
    struct store_stmt *q = store_start(db, STORE_SQL_KEY_USER_COUNT);
    store_bind_int(q, 1, who);
    store_bind_int(q, 2, os_unix_time());
    TRY(store_number(q, &count, &found, e));
    if (count >= STORE_USER_KEYS_MAX)
        return err_set(e, ERR_TOOBIG, "a user has at most %d keys", STORE_USER_KEYS_MAX);
    TRY(store_op_key_add(db, op, e));
    q = store_start(db, STORE_SQL_KEY_USER_ADD);
    store_bind_text(q, 1, op->key.id);
    store_bind_int(q, 2, who);
    TRY(store_finish(q, e));
    return store_bump(db, e);
}

enum err store_op_usage_add(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    const struct store_people *x = op->people;
    for (size_t i = 0; i < x->n_add; i++) {
        const struct store_usage *u = &x->add[i];
        struct store_stmt *q = store_start(db, STORE_SQL_USAGE_ADD);
        store_bind_int(q, 1, u->day);
        store_bind_text(q, 2, u->owner);
        store_bind_text(q, 3, u->model);
        store_bind_int(q, 4, u->n_requests);
        store_bind_int(q, 5, u->n_prompt);
        store_bind_int(q, 6, u->n_answer);
        TRY(store_finish(q, e));
    }
    return ERR_OK;
}

enum err store_op_usage_get(struct store_db *db, struct store_op *op, struct errinfo *e)
{
    struct store_people *x = op->people;
    int64_t room = 0;
    bool found;
    struct store_stmt *q = store_start(db, STORE_SQL_USAGE_COUNT);
    store_bind_int(q, 1, x->since);
    TRY(store_number(q, &room, &found, e));
    q = store_start(db, STORE_SQL_USAGE_GET);
    store_bind_int(q, 1, x->since);
    room = MIN(room, (int64_t)STORE_USAGE_ROWS_MAX);
    store_bind_int(q, 2, room);
    x->usage = arena_array(op->arena, (size_t)room, sizeof *x->usage);
    x->n_usage = 0;
    while (x->n_usage < (size_t)room && store_step(q))
        x->usage[x->n_usage++] = (struct store_usage){.day = store_int(q, 0),
                                                      .owner = store_column(q, 1, op->arena),
                                                      .model = store_column(q, 2, op->arena),
                                                      .n_requests = store_int(q, 3),
                                                      .n_prompt = store_int(q, 4),
                                                      .n_answer = store_int(q, 5)};
    return store_end(q, e);
}
