/* SPDX-License-Identifier: MIT
 * The queue and its thread.  All that waits is taken at once and shares one transaction. */
#include "store/store.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"
#include "store/store_int.h"

#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STORE_BATCH_MAX       256
#define STORE_BATCH_BYTES_MAX ((size_t)64 << 20)
#define STORE_TICK_NS         1000000000u
#define STORE_SWEEP_NS        (60 * (uint64_t)STORE_TICK_NS)

struct store {
    struct store_db *db; /* the store's thread's */
    pthread_t thread;
    uint64_t swept_ns, looked_ns;

    pthread_mutex_t watch_mu; /* before mu; held while `keys` runs */
    void (*keys)(void *arg, const struct store_key *keys, size_t n);
    void *keys_arg;
    bool keys_stale;  /* what the watcher has may be old */
    bool keys_failed; /* and could not be read the last time */

    pthread_mutex_t mu;
    pthread_cond_t work; /* monotonic */
    struct store_op *head, **tail;
    size_t n_waiting, bytes_waiting;
    bool watched, stop;
    struct store_stats stats;
};

const bool store_writes[STORE_N_OPS] = {
#define STORE_OP(name, fn, writes) writes,
#include "store/store_op.def"
#undef STORE_OP
};

/* ---- what may be sent ---- */

enum err store_check_text(const char *what, const char *text, bool must, struct errinfo *e)
{
    size_t n = text ? strlen(text) : 0;
    if (n == 0 && must)
        return err_set(e, ERR_USAGE, "%s is missing", what);
    if (n > STORE_TEXT_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "%s has %zu bytes, at most %zu are kept", what, n,
                       STORE_TEXT_BYTES_MAX);
    if (n && !utf8_printable((struct span){text, n}))
        return err_set(e, ERR_USAGE, "%s is not printable UTF-8", what);
    return ERR_OK;
}

static enum err store_check_meta(const char *text, struct errinfo *e)
{
    size_t n = text ? strlen(text) : 0;
    if (n > STORE_META_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "metadata has %zu bytes, at most %zu are kept", n,
                       STORE_META_BYTES_MAX);
    if (!text)
        return ERR_OK;
    json_t *o = json_loadb(text, n, 0, NULL); /* refuses what is not UTF-8, and U+0000 */
    bool good = json_is_object(o);
    json_decref(o);
    return good ? ERR_OK : err_set(e, ERR_USAGE, "the metadata is not a JSON object");
}

static enum err store_check_body(struct span body, size_t *total, struct errinfo *e)
{
    if (body.n > STORE_BODY_BYTES_MAX || !num_add(*total, body.n, total) ||
        *total > STORE_PUT_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "at most %zu MiB are kept of a body, %zu MiB of an object",
                       STORE_BODY_BYTES_MAX >> 20, STORE_PUT_BYTES_MAX >> 20);
    if (!utf8_valid(body))
        return err_set(e, ERR_USAGE, "a body is not UTF-8");
    return ERR_OK;
}

static enum err store_check_put(struct store_op *op, struct errinfo *e)
{
    const struct store_object *o = &op->object;
    TRY(store_check_text("the model's name", o->model, false, e));
    TRY(store_check_text("the former id", o->previous, false, e));
    TRY(store_check_body(o->body, &op->bytes, e));
    if (o->created < 0 || o->expires < 0 || o->created == INT64_MAX)
        return err_set(e, ERR_USAGE, "a time of an object lies before 1970");
    if (op->keep_items)
        return ERR_OK;
    if (o->n_items > STORE_ITEMS_MAX)
        return err_set(e, ERR_TOOBIG, "an object has %zu items, at most %zu are kept", o->n_items,
                       STORE_ITEMS_MAX);
    for (size_t i = 0; i < o->n_items; i++) {
        TRY(store_check_text("an item's id", o->items[i].id, true, e));
        TRY(store_check_body(o->items[i].body, &op->bytes, e));
    }
    return ERR_OK;
}

enum err store_check_key(const struct store_key *k, struct errinfo *e)
{
    TRY(store_check_text("the key's name", k->name, true, e));
    TRY(store_check_text("the key's scopes", k->scopes, false, e));
    if (k->created < 0 || k->expires < 0 || k->requests_minute < 0 || k->tokens_minute < 0 ||
        k->n_concurrent < 0)
        return err_set(e, ERR_USAGE, "a number of a key is negative");
    return ERR_OK;
}

static enum err store_check(struct store_op *op, struct errinfo *e)
{
    CHECK((size_t)op->what < STORE_N_OPS);
    op->bytes = 0;
    if (op->what >= STORE_PEOPLE_GET)
        return store_check_people(op, e);
    if (op->what >= STORE_CHAT_ADD)
        return store_check_chats(op, e);
    if (op->what >= STORE_KEY_ADD) {
        if (op->what == STORE_KEY_LIST)
            return ERR_OK;
        TRY(store_check_text("the key's id", op->key.id, true, e));
        return op->what == STORE_KEY_ADD ? store_check_key(&op->key, e) : ERR_OK;
    }
    if (op->what == STORE_SECRET)
        return ERR_OK;
    CHECK((size_t)op->object.kind < STORE_N_KINDS);
    TRY(store_check_text("the id", op->object.id, op->what != STORE_LIST, e));
    TRY(store_check_text("the owner", op->object.owner, false, e));
    TRY(store_check_meta(op->object.metadata, e));
    TRY(store_check_meta(op->query.metadata, e));
    TRY(store_check_text("the id to begin after", op->query.after, false, e));
    TRY(store_check_text("the model's name", op->query.model, false, e));
    if (op->query.limit > STORE_LIST_MAX)
        return err_set(e, ERR_USAGE, "a list gives at most %zu entries", STORE_LIST_MAX);
    return op->what == STORE_PUT ? store_check_put(op, e) : ERR_OK;
}

enum err store_send(struct store *s, struct store_op *op, struct errinfo *e)
{
    TRY(store_check(op, e));
    op->next = NULL;
    op->err = ERR_OK;
    op->e = (struct errinfo){0};
    pthread_mutex_lock(&s->mu);
    CHECK(!s->stop);
    bool full = s->n_waiting >= STORE_QUEUE_MAX ||
                (s->n_waiting && op->bytes > STORE_QUEUE_BYTES_MAX - s->bytes_waiting);
    if (!full) {
        *s->tail = op;
        s->tail = &op->next;
        s->n_waiting++;
        s->bytes_waiting += op->bytes;
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->mu);
    if (full)
        return err_set(e, ERR_BUSY, "the store has too much to do");
    return ERR_OK;
}

/* ---- running ---- */

struct store_batch {
    struct store_op *ops[STORE_BATCH_MAX];
    struct arena_mark marks[STORE_BATCH_MAX]; /* where an answer begins, to forget it */
    size_t n, n_commits;
};

static void store_run_one(struct store *s, struct store_batch *b, size_t i, bool *lost)
{
    struct store_op *op = b->ops[i];
    if (op->arena)
        arena_reset(op->arena, b->marks[i]);
    op->objects = NULL;
    op->items = NULL;
    op->keys = NULL;
    op->n = 0;
    op->more = false;
    op->e = (struct errinfo){0};
    op->err = store_db_run(s->db, op, lost);
}

/* One try.  *began: it came as far as the operations. */
static enum err store_try(struct store *s, struct store_batch *b, size_t from, size_t n,
                          bool writes, bool *began, struct errinfo *e)
{
    const struct store_engine *engine = s->db->engine;
    bool lost = false;
    TRY(engine->begin(s->db, writes, e));
    *began = true;
    for (size_t i = from; i < from + n; i++) {
        store_run_one(s, b, i, &lost);
        if (lost) {
            *e = b->ops[i]->e;
            return b->ops[i]->err;
        }
    }
    return engine->commit(s->db, e);
}

/* Runs ops [from, from + n) as one transaction.  False when it is lost as a whole; then each has
 * its error, and *again says whether they may be better off alone. */
static bool store_transact(struct store *s, struct store_batch *b, size_t from, size_t n,
                           bool *again)
{
    const struct store_engine *engine = s->db->engine;
    struct errinfo e;
    enum err err;
    bool writes = false, more;
    int n_tries = 0;
    *again = false;
    for (size_t i = from; i < from + n; i++)
        writes |= store_writes[b->ops[i]->what];
    do {
        e = (struct errinfo){0};
        err = store_try(s, b, from, n, writes, again, &e);
        if (err != ERR_OK)
            engine->rollback(s->db);
        more = err != ERR_OK && engine->retry && engine->retry(s->db, n_tries++);
    } while (more);
    if (err == ERR_OK) {
        b->n_commits += writes;
        return true;
    }
    for (size_t i = from; i < from + n; i++) {
        b->ops[i]->err = err;
        b->ops[i]->e = e;
    }
    return false;
}

static bool store_changes_keys(const struct store_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        enum store_what what = b->ops[i]->what;
        if ((what == STORE_KEY_ADD || what == STORE_KEY_REVOKE || what == STORE_KEY_USER_ADD) &&
            b->ops[i]->err == ERR_OK)
            return true;
    }
    return false;
}

/* Tells the watcher the keys; when they cannot be read now, with the next tick. */
static void store_tell(struct store *s, struct store_batch *b, bool changed)
{
    bool ignored;
    struct arena tmp;
    struct store_op op = {.what = STORE_KEY_LIST, .arena = &tmp};
    pthread_mutex_lock(&s->watch_mu);
    s->keys_stale |= changed;
    if (s->keys && s->keys_stale) {
        arena_init(&tmp);
        b->ops[0] = &op;
        b->marks[0] = arena_mark(&tmp);
        b->n = 1;
        if (store_transact(s, b, 0, 1, &ignored) && op.err == ERR_OK) {
            s->keys_stale = s->keys_failed = false;
            s->keys(s->keys_arg, op.keys, op.n);
        } else if (!s->keys_failed) { /* told once, not each second */
            s->keys_failed = true;
            log_at(LOG_ERROR, "store", "keys=\"%s\"", op.e.text);
        }
        arena_done(&tmp);
    }
    pthread_mutex_unlock(&s->watch_mu);
}

static void store_run_batch(struct store *s, struct store_batch *b)
{
    bool again, ignored;
    b->n_commits = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (b->ops[i]->arena)
            b->marks[i] = arena_mark(b->ops[i]->arena);
    }
    /* One that takes all down with it must not cost the others their answer. */
    if (!store_transact(s, b, 0, b->n, &again) && again && b->n > 1) {
        for (size_t i = 0; i < b->n; i++)
            store_transact(s, b, i, 1, &ignored);
    }
    bool keys = store_changes_keys(b);
    pthread_mutex_lock(&s->mu);
    s->stats.n_commits += b->n_commits;
    for (size_t i = 0; i < b->n; i++) {
        s->stats.n_ops++;
        s->stats.n_failed += b->ops[i]->err != ERR_OK;
        s->stats.n_writes += store_writes[b->ops[i]->what];
    }
    pthread_mutex_unlock(&s->mu);
    for (size_t i = 0; i < b->n; i++)
        b->ops[i]->done(b->ops[i], b->ops[i]->arg); /* the operation may be gone after this */
    if (keys)
        store_tell(s, b, true);
}

/* With mu held. */
static void store_take(struct store *s, struct store_batch *b)
{
    size_t bytes = 0;
    b->n = 0;
    while (s->head && b->n < STORE_BATCH_MAX && (b->n == 0 || bytes < STORE_BATCH_BYTES_MAX)) {
        struct store_op *op = s->head;
        s->head = op->next;
        s->n_waiting--;
        s->bytes_waiting -= op->bytes;
        bytes += op->bytes;
        b->ops[b->n++] = op;
    }
    if (!s->head)
        s->tail = &s->head;
}

/* With mu held: sleeps until there is work; while the keys are watched at most a tick. */
static void store_wait(struct store *s)
{
    uint64_t until_ns = os_now_ns() + STORE_TICK_NS;
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                             .tv_nsec = (long)(until_ns % 1000000000)};
    while (!s->head && !s->stop) {
        if (!s->watched)
            pthread_cond_wait(&s->work, &s->mu);
        else if (pthread_cond_timedwait(&s->work, &s->mu, &until) != 0)
            break;
    }
}

static void store_tick(struct store *s, struct store_batch *b)
{
    uint64_t now = os_now_ns();
    if (now - s->swept_ns >= STORE_SWEEP_NS && !store_db_sweep(s->db))
        s->swept_ns = now;
    if (now - s->looked_ns < STORE_TICK_NS)
        return;
    s->looked_ns = now;
    store_tell(s, b, s->db->engine->changed(s->db));
}

static void *store_main(void *arg)
{
    struct store *s = arg;
    struct store_batch *b = mem_alloc(sizeof *b);
    pthread_mutex_lock(&s->mu);
    while (s->head || !s->stop) {
        store_take(s, b);
        pthread_mutex_unlock(&s->mu);
        if (b->n)
            store_run_batch(s, b);
        store_tick(s, b);
        pthread_mutex_lock(&s->mu);
        store_wait(s);
    }
    pthread_mutex_unlock(&s->mu);
    mem_free(b);
    return NULL;
}

/* ---- life ---- */

static bool store_is_postgres(const char *url)
{
    struct span u = span_of(url);
    return span_starts(u, SPAN("postgres://")) || span_starts(u, SPAN("postgresql://"));
}

struct store_needs store_needs(const char *url, struct arena *a)
{
    return store_is_postgres(url) ? store_postgres_needs(url, a) : (struct store_needs){0};
}

/* A password stands before the last @ of user:password@host, or is one of the parameters. */
void store_hide_secret(char *url)
{
    if (!store_is_postgres(url))
        return;
    char *from = strstr(url, "://") + 3, *end = from + strcspn(from, "/?"), *at = NULL;
    for (char *p = from; p < end; p++)
        at = *p == '@' ? p : at;
    char *colon = at ? memchr(from, ':', (size_t)(at - from)) : NULL;
    if (colon)
        memset(colon + 1, '*', (size_t)(at - colon - 1));
    for (char *p = end; (p = strstr(p, "password=")); p += strcspn(p, "&")) {
        p += strlen("password=");
        memset(p, '*', strcspn(p, "&"));
    }
}

static enum err store_open_db(struct store_db **db, const char *url, struct errinfo *e)
{
    struct span u = span_of(url);
    if (store_is_postgres(url))
        return store_postgres_open(db, url, store_schema, e);
    if (span_starts(u, SPAN("sqlite:")))
        url += strlen("sqlite:");
    else if (span_find(u, SPAN("://"), 0) != SIZE_MAX)
        return err_set(e, ERR_UNSUPPORTED,
                       "the store '%.*s:...' is of no known engine (sqlite:, postgres:)",
                       (int)span_find(u, SPAN(":"), 0), url);
    if (!*url)
        return err_set(e, ERR_USAGE, "the store's address names no file");
    return store_sqlite_open(db, url, store_schema, e);
}

static int store_start_thread(struct store *s)
{
    sigset_t all, old; /* signals are for the program's own threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&s->thread, NULL, store_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed;
}

static void store_free(struct store *s)
{
    s->db->engine->close(s->db);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->mu);
    pthread_mutex_destroy(&s->watch_mu);
    mem_free(s);
}

enum err store_open(struct store **out, const char *url, struct errinfo *e)
{
    return store_open_leased(out, url, STORE_LEASE_S, e);
}

enum err store_open_leased(struct store **out, const char *url, unsigned lease_s, struct errinfo *e)
{
    struct store_db *db;
    *out = NULL;
    TRY(store_open_db(&db, url, e));
    db->lease_ms = (int64_t)lease_s * 1000;
    struct store *s = mem_alloc(sizeof *s);
    s->db = db;
    s->tail = &s->head;
    pthread_mutex_init(&s->mu, NULL);
    pthread_mutex_init(&s->watch_mu, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&s->work, &clock);
    pthread_condattr_destroy(&clock);
    if (store_start_thread(s) != 0) {
        store_free(s);
        return err_set(e, ERR_MEMORY, "cannot start the store's thread");
    }
    *out = s;
    return ERR_OK;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->mu);
    s->stop = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->mu);
    pthread_join(s->thread, NULL);
    store_free(s);
}

/* ---- the waiting form, the watcher, numbers ---- */

struct store_waiter {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool over;
};

static void store_wake(struct store_op *op, void *arg)
{
    struct store_waiter *w = arg;
    (void)op;
    pthread_mutex_lock(&w->mu);
    w->over = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mu);
}

enum err store_run(struct store *s, struct store_op *op, struct errinfo *e)
{
    struct store_waiter w = {.over = false};
    pthread_mutex_init(&w.mu, NULL);
    pthread_cond_init(&w.cond, NULL);
    op->done = store_wake;
    op->arg = &w;
    enum err err = store_send(s, op, e);
    if (err == ERR_OK) {
        pthread_mutex_lock(&w.mu);
        while (!w.over)
            pthread_cond_wait(&w.cond, &w.mu);
        pthread_mutex_unlock(&w.mu);
        err = op->err;
        if (e)
            *e = op->e;
    }
    pthread_cond_destroy(&w.cond);
    pthread_mutex_destroy(&w.mu);
    return err;
}

void store_watch(struct store *s, void (*keys)(void *arg, const struct store_key *keys, size_t n),
                 void *arg)
{
    pthread_mutex_lock(&s->watch_mu);
    CHECK(!keys || !s->keys);
    s->keys = keys;
    s->keys_arg = arg;
    s->keys_stale = true;
    pthread_mutex_unlock(&s->watch_mu);
    pthread_mutex_lock(&s->mu);
    s->watched = keys != NULL;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->mu);
}

struct store_db *store_its_db(struct store *s)
{
    return s->db;
}

struct store_stats store_stats(struct store *s)
{
    pthread_mutex_lock(&s->mu);
    struct store_stats t = s->stats;
    t.n_waiting = s->n_waiting;
    pthread_mutex_unlock(&s->mu);
    return t;
}
