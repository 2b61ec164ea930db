/* SPDX-License-Identifier: MIT
 * The table is never changed but replaced: by a thread that asks the store each second, and by
 * requests that changed it themselves.  Versions, which the store counts, keep an old one from
 * taking a newer one's place. */
#include "api/api_people.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <utf8proc.h>

#define LOOK_NS   1000000000u
#define FLUSH_NS  (5 * (uint64_t)LOOK_NS)
#define USED_S    300 /* a session's use is noted again after so long */
#define USAGE_MAX 4096

struct table {
    struct arena arena;
    int64_t version;
    struct store_user *users;       /* by id */
    struct store_user **by_name;    /* by folded */
    struct store_session *sessions; /* by hash */
    struct store_key_user *keys;    /* by key */
    size_t n_users, n_sessions, n_keys;
};

struct api_people {
    struct store *store;
    bool secure;
    pthread_t thread;
    bool running;
    pthread_mutex_t mu;
    pthread_cond_t change; /* monotonic */
    bool stop;
    struct table *table; /* under mu */
    struct arena usage_arena;
    struct store_usage usage[USAGE_MAX]; /* not in the store yet; under mu */
    size_t n_usage;
};

/* ---- the table ---- */

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct store_user *)a)->id, ((const struct store_user *)b)->id);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct store_user *const *)a)->folded,
                  (*(struct store_user *const *)b)->folded);
}

static int by_hash(const void *a, const void *b)
{
    return memcmp(((const struct store_session *)a)->hash, ((const struct store_session *)b)->hash,
                  STORE_TOKEN_HASH_BYTES);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct store_key_user *)a)->key, ((const struct store_key_user *)b)->key);
}

static int by_newest(const void *a, const void *b)
{
    const struct store_session *x = a, *y = b;
    return x->created != y->created ? (x->created < y->created ? 1 : -1) : strcmp(x->id, y->id);
}

/* Takes over the arena; NULL where the store has nothing new. */
static struct table *table_new(struct arena *a, const struct store_people *x)
{
    if (x->version == x->known) {
        arena_done(a);
        return NULL;
    }
    struct table *t = mem_alloc(sizeof *t);
    t->arena = *a;
    t->version = x->version;
    t->users = x->users;
    t->n_users = x->n_users;
    t->sessions = x->sessions;
    t->n_sessions = x->n_sessions;
    t->keys = x->key_users;
    t->n_keys = x->n_key_users;
    t->by_name = arena_array(&t->arena, t->n_users, sizeof(struct store_user *));
    if (t->n_users)
        qsort(t->users, t->n_users, sizeof *t->users, by_id);
    if (t->n_sessions)
        qsort(t->sessions, t->n_sessions, sizeof *t->sessions, by_hash);
    if (t->n_keys)
        qsort(t->keys, t->n_keys, sizeof *t->keys, by_key);
    for (size_t i = 0; i < t->n_users; i++)
        t->by_name[i] = &t->users[i];
    if (t->n_users)
        qsort(t->by_name, t->n_users, sizeof(struct store_user *), by_name);
    return t;
}

static void table_free(struct table *t)
{
    if (!t)
        return;
    arena_done(&t->arena);
    mem_free(t);
}

static void install(struct api_people *p, struct table *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&p->mu);
    struct table *old = p->table;
    bool newer = !old || t->version > old->version;
    if (newer)
        p->table = t;
    pthread_mutex_unlock(&p->mu);
    table_free(newer ? old : t);
}

static enum err look(struct api_people *p, struct errinfo *e)
{
    struct arena a;
    struct store_people x = {.known = -1};
    pthread_mutex_lock(&p->mu);
    if (p->table)
        x.known = p->table->version;
    pthread_mutex_unlock(&p->mu);
    arena_init(&a);
    struct store_op op = {.what = STORE_PEOPLE_GET, .people = &x, .arena = &a};
    enum err r = store_run(p->store, &op, e);
    if (r == ERR_OK)
        install(p, table_new(&a, &x));
    else
        arena_done(&a);
    return r;
}

/* ---- what is used ---- */

/* With the lock held: adds to the row of the same day, owner and model. */
static void count(struct api_people *p, const struct store_usage *x)
{
    size_t i = 0;
    while (i < p->n_usage &&
           (p->usage[i].day != x->day || strcmp(p->usage[i].owner, x->owner) != 0 ||
            strcmp(p->usage[i].model, x->model) != 0))
        i++;
    if (i == USAGE_MAX) /* too many at once to be told apart */
        return;
    struct store_usage *u = &p->usage[i];
    if (i == p->n_usage) {
        *u = (struct store_usage){.day = x->day,
                                  .owner = arena_dup(&p->usage_arena, x->owner, strlen(x->owner)),
                                  .model = arena_dup(&p->usage_arena, x->model, strlen(x->model))};
        p->n_usage++;
    }
    u->n_requests += x->n_requests;
    u->n_prompt += x->n_prompt;
    u->n_answer += x->n_answer;
}

void api_people_used(struct api_people *p, const char *owner, const char *model, size_t n_prompt,
                     size_t n_answer)
{
    if (!p)
        return;
    /* who chats without accounts */
    bool local = strcmp(owner, API_LOCAL) == 0;
    const struct store_usage x = {.day = os_unix_time() / 86400,
                                  .owner = local ? "" : owner,
                                  .model = model,
                                  .n_requests = 1,
                                  .n_prompt = (int64_t)n_prompt,
                                  .n_answer = (int64_t)n_answer};
    pthread_mutex_lock(&p->mu);
    count(p, &x);
    pthread_mutex_unlock(&p->mu);
}

void api_people_flush(struct api_people *p)
{
    struct errinfo e = {0};
    pthread_mutex_lock(&p->mu);
    size_t n = p->n_usage;
    struct arena a = p->usage_arena;
    struct store_usage *rows = arena_array(&a, n, sizeof *rows);
    if (n)
        memcpy(rows, p->usage, n * sizeof *rows);
    arena_init(&p->usage_arena);
    p->n_usage = 0;
    pthread_mutex_unlock(&p->mu);
    struct store_people x = {.add = rows, .n_add = n};
    struct store_op op = {.what = STORE_USAGE_ADD, .people = &x};
    if (n && store_run(p->store, &op, &e) != ERR_OK) { /* with the next ones, then */
        log_at(LOG_WARN, "api", "usage_waits=%zu why=\"%s\"", n, e.text);
        pthread_mutex_lock(&p->mu);
        for (size_t i = 0; i < n; i++)
            count(p, &rows[i]);
        pthread_mutex_unlock(&p->mu);
    }
    arena_done(&a);
}

/* ---- the thread ---- */

static void *people_main(void *arg)
{
    struct api_people *p = arg;
    uint64_t flushed_ns = os_now_ns();
    for (;;) {
        uint64_t until_ns = os_now_ns() + LOOK_NS;
        struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                                 .tv_nsec = (long)(until_ns % 1000000000)};
        pthread_mutex_lock(&p->mu);
        while (!p->stop && pthread_cond_timedwait(&p->change, &p->mu, &until) == 0)
            ;
        bool stop = p->stop;
        pthread_mutex_unlock(&p->mu);
        if (stop)
            return NULL;
        look(p, NULL); /* what cannot be read now is read with the next second */
        if (os_now_ns() - flushed_ns >= FLUSH_NS) {
            flushed_ns = os_now_ns();
            api_people_flush(p);
        }
    }
}

static bool start(struct api_people *p)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    p->running = pthread_create(&p->thread, NULL, people_main, p) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return p->running;
}

enum err api_people_open(struct api_people **out, struct store *store, bool secure,
                         struct errinfo *e)
{
    *out = NULL;
    if (sodium_init() < 0)
        return err_set(e, ERR_FAILED, "libsodium finds no random bytes");
    struct api_people *p = mem_alloc(sizeof *p);
    p->store = store;
    p->secure = secure;
    arena_init(&p->usage_arena);
    pthread_mutex_init(&p->mu, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&p->change, &clock);
    pthread_condattr_destroy(&clock);
    enum err r = look(p, e);
    if (r == ERR_OK && !start(p))
        r = err_set(e, ERR_MEMORY, "cannot start the thread that follows the users");
    if (r != ERR_OK) {
        api_people_close(p);
        return r;
    }
    *out = p;
    return ERR_OK;
}

void api_people_close(struct api_people *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->mu);
    p->stop = true;
    pthread_cond_signal(&p->change);
    pthread_mutex_unlock(&p->mu);
    if (p->running) {
        pthread_join(p->thread, NULL);
        api_people_flush(p);
    }
    table_free(p->table);
    arena_done(&p->usage_arena);
    pthread_cond_destroy(&p->change);
    pthread_mutex_destroy(&p->mu);
    mem_free(p);
}

/* ---- finding ---- */

static void copy_text(char *out, size_t n, const char *text)
{
    snprintf(out, n, "%s", text ? text : "");
}

static void copy(struct api_who *out, const struct store_user *u)
{
    *out = (struct api_who){.admin = u->admin,
                            .disabled = u->disabled != 0,
                            .created = u->created,
                            .seen = u->seen,
                            .requests_minute = u->requests_minute,
                            .tokens_minute = u->tokens_minute,
                            .n_concurrent = u->n_concurrent};
    copy_text(out->id, sizeof out->id, u->id);
    copy_text(out->name, sizeof out->name, u->name);
    copy_text(out->password, sizeof out->password, u->password);
}

/* With the lock held. */
static const struct store_user *user_of(const struct table *t, const char *id)
{
    const struct store_user wanted = {.id = id};
    return t->n_users ? bsearch(&wanted, t->users, t->n_users, sizeof wanted, by_id) : NULL;
}

size_t api_people_count(struct api_people *p)
{
    pthread_mutex_lock(&p->mu);
    size_t n = p->table->n_users;
    pthread_mutex_unlock(&p->mu);
    return n;
}

bool api_people_named(struct api_people *p, const char *folded, struct api_who *out)
{
    struct store_user wanted = {.folded = folded}, *at = &wanted, **found = NULL;
    pthread_mutex_lock(&p->mu);
    if (p->table->n_users)
        found = bsearch(&at, p->table->by_name, p->table->n_users, sizeof at, by_name);
    if (found)
        copy(out, *found);
    pthread_mutex_unlock(&p->mu);
    return found != NULL;
}

bool api_people_id(struct api_people *p, const char *id, struct api_who *out)
{
    pthread_mutex_lock(&p->mu);
    const struct store_user *u = user_of(p->table, id);
    if (u)
        copy(out, u);
    pthread_mutex_unlock(&p->mu);
    return u != NULL;
}

bool api_people_key(struct api_people *p, const char *key, struct api_who *out)
{
    const struct store_key_user wanted = {.key = key}, *found = NULL;
    const struct store_user *u = NULL;
    pthread_mutex_lock(&p->mu);
    const struct table *t = p->table;
    if (t->n_keys)
        found = bsearch(&wanted, t->keys, t->n_keys, sizeof wanted, by_key);
    if (found)
        u = user_of(t, found->user);
    if (u)
        copy(out, u);
    pthread_mutex_unlock(&p->mu);
    return u != NULL;
}

size_t api_people_sessions(struct api_people *p, const char *user, struct arena *a,
                           struct store_session **out)
{
    size_t n = 0;
    *out = arena_array(a, STORE_SESSIONS_MAX, sizeof **out);
    pthread_mutex_lock(&p->mu);
    const struct table *t = p->table;
    for (size_t i = 0; i < t->n_sessions && n < STORE_SESSIONS_MAX; i++) {
        const struct store_session *s = &t->sessions[i];
        if (strcmp(s->user, user) != 0)
            continue;
        (*out)[n] = *s;
        (*out)[n].id = arena_dup(a, s->id, strlen(s->id));
        (*out)[n].agent = arena_dup(a, s->agent, strlen(s->agent));
        (*out)[n].address = arena_dup(a, s->address, strlen(s->address));
        n++;
    }
    pthread_mutex_unlock(&p->mu);
    qsort(*out, n, sizeof **out, by_newest);
    return n;
}

/* ---- sessions ---- */

struct note {
    struct store_op op;
    struct store_people x;
    char id[API_USER_ID_MAX + 1], user[API_USER_ID_MAX + 1];
};

static void noted(struct store_op *op, void *arg)
{
    (void)op;
    mem_free(arg);
}

/* Nothing depends on it: when the store is busy, another use is noted. */
static void note_use(struct api_people *p, const struct api_who *who, int64_t now)
{
    struct note *n = mem_alloc(sizeof *n);
    memcpy(n->id, who->session, sizeof n->id);
    memcpy(n->user, who->id, sizeof n->user);
    n->x.session = (struct store_session){.id = n->id, .user = n->user, .used = now};
    n->op = (struct store_op){.what = STORE_SESSION_USED, .people = &n->x, .done = noted, .arg = n};
    if (store_send(p->store, &n->op, NULL) != ERR_OK)
        mem_free(n);
}

static const char *cookie_name(const struct api_people *p)
{
    return p->secure ? "__Host-damso" : "damso";
}

/* The value of our cookie; false without.  RFC 6265, 4.2.1: pairs with "; " between. */
static bool read_cookie(const struct api_people *p, const struct http_req *r,
                        char out[API_TOKEN_CHARS + 1])
{
    const char *at = http_req_header(r, "cookie"), *name = cookie_name(p);
    size_t n = strlen(name);
    while (at && *at) {
        at += strspn(at, "; ");
        size_t len = strcspn(at, ";");
        if (len == n + 1 + API_TOKEN_CHARS && strncmp(at, name, n) == 0 && at[n] == '=') {
            memcpy(out, at + n + 1, API_TOKEN_CHARS);
            out[API_TOKEN_CHARS] = 0;
            return true;
        }
        at += len;
    }
    return false;
}

bool api_people_unknown(struct api_people *p, const struct http_req *r)
{
    char token[API_TOKEN_CHARS + 1];
    struct store_session wanted;
    if (!p || !read_cookie(p, r, token) || !api_token_hash(token, wanted.hash))
        return false;
    pthread_mutex_lock(&p->mu);
    const struct table *t = p->table;
    bool known = t->n_sessions &&
                 bsearch(&wanted, t->sessions, t->n_sessions, sizeof wanted, by_hash);
    pthread_mutex_unlock(&p->mu);
    return !known;
}

bool api_people_session(struct api_people *p, const struct http_req *r, struct api_who *out)
{
    char token[API_TOKEN_CHARS + 1];
    struct store_session wanted = {.used = 0}, *found = NULL;
    const struct store_user *u = NULL;
    int64_t now = os_unix_time();
    bool note = false;
    if (!read_cookie(p, r, token) || !api_token_hash(token, wanted.hash))
        return false;
    pthread_mutex_lock(&p->mu);
    const struct table *t = p->table;
    if (t->n_sessions)
        found = bsearch(&wanted, t->sessions, t->n_sessions, sizeof wanted, by_hash);
    if (found && found->expires > now && found->used + STORE_SESSION_IDLE_S > now)
        u = user_of(t, found->user);
    if (u && u->disabled)
        u = NULL;
    if (u) {
        copy(out, u);
        copy_text(out->session, sizeof out->session, found->id);
        note = now - found->used >= USED_S;
        if (note)
            found->used = now;
    }
    pthread_mutex_unlock(&p->mu);
    if (note)
        note_use(p, out, now);
    return u != NULL;
}

bool api_people_same_origin(const struct http_req *r, struct api_fault *f)
{
    const char *origin = http_req_header(r, "origin"), *host = http_req_header(r, "host");
    const char *site = http_req_header(r, "sec-fetch-site");
    bool safe = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;
    if (safe)
        return true;
    if (origin) {
        const char *name = strstr(origin, "://");
        if (name && host && strcasecmp(name + 3, host) == 0)
            return true;
    } else if (!site || strcmp(site, "same-origin") == 0) {
        return true; /* no browser, or our own page */
    }
    return api_refuse(f, 403, "cross_origin", "", "this request came from another site's page");
}

/* ---- secrets and cookies ---- */

void api_token_new(char text[API_TOKEN_CHARS + 1], unsigned char hash[STORE_TOKEN_HASH_BYTES])
{
    unsigned char bits[32];
    randombytes_buf(bits, sizeof bits);
    sodium_bin2base64(text, API_TOKEN_CHARS + 1, bits, sizeof bits,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(bits, sizeof bits);
    CHECK(api_token_hash(text, hash));
}

bool api_token_hash(const char *text, unsigned char hash[STORE_TOKEN_HASH_BYTES])
{
    if (strlen(text) != API_TOKEN_CHARS)
        return false;
    return crypto_generichash(hash, STORE_TOKEN_HASH_BYTES, (const unsigned char *)text,
                              API_TOKEN_CHARS, NULL, 0) == 0;
}

void api_people_give_cookie(struct api_people *p, struct http_req *r, const char *token)
{
    char text[256];
    snprintf(text, sizeof text, "%s=%s; Path=/; Max-Age=%lld; HttpOnly; SameSite=Strict%s",
             cookie_name(p), token, (long long)API_SESSION_S, p->secure ? "; Secure" : "");
    http_header(r, "Set-Cookie", text);
}

void api_people_take_cookie(struct api_people *p, struct http_req *r)
{
    char text[256];
    snprintf(text, sizeof text, "%s=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict%s",
             cookie_name(p), p->secure ? "; Secure" : "");
    http_header(r, "Set-Cookie", text);
}

/* ---- operations ---- */

struct api_stored *api_people_new(struct api_call *c, enum store_what what, struct store_people **x)
{
    struct api_stored *s = api_stored_new(c, what, STORE_RESPONSE, NULL);
    if (!s) {
        api_call_fail(c);
        return NULL;
    }
    *x = arena_alloc(&s->arena, sizeof **x);
    s->op.people = *x;
    return s;
}

/* An operation whose changes the table is to have before it is answered. */
struct change {
    atomic_int refs; /* the request's and the store's */
    atomic_bool over;
    struct api_people *people;
    struct api_call *call;
    struct api_stored *first; /* what was done */
    api_stored_then *then;
    struct store_op op; /* reads the table anew */
    struct store_people x;
    struct arena arena;
};

static void change_unref(struct change *h)
{
    if (atomic_fetch_sub(&h->refs, 1) == 1)
        mem_free(h);
}

/* On the store's thread; the request may be gone. */
static void change_read(struct store_op *op, void *arg)
{
    struct change *h = arg;
    struct http_req *req = h->call->req;
    if (op->err == ERR_OK) /* else the table follows within the next second */
        install(h->people, table_new(&h->arena, &h->x));
    else
        arena_done(&h->arena);
    atomic_store(&h->over, true);
    http_wake(req);
    http_release(req);
    change_unref(h);
}

static void change_woken(void *state)
{
    struct change *h = state;
    struct api_call *c = h->call;
    if (!atomic_load(&h->over))
        return;
    http_later(c->req, NULL, NULL); /* from here on the request is `then`'s */
    h->then(c, h->first);
    api_stored_free(h->first);
    change_unref(h);
}

static void change_gone(void *state)
{
    struct change *h = state;
    api_call_drop(h->call);
    api_stored_free(h->first);
    change_unref(h);
}

/* Reads the table anew; `then` gets s, which is kept until it returns, or is NULL. */
static void look_then(struct api_call *c, struct api_stored *s, api_stored_then *then)
{
    static const struct http_ops ops = {.woken = change_woken, .done = change_gone};
    struct change *h = mem_alloc(sizeof *h);
    *h = (struct change){
        .people = c->api->people,
        .call = c,
        .first = s,
        .then = then,
        .op = {.what = STORE_PEOPLE_GET, .done = change_read, .arg = h}
    };
    atomic_init(&h->refs, 2);
    arena_init(&h->arena);
    /* Who only asks, which may be anybody with a cookie of their own making, has no table read
     * that is the same. */
    pthread_mutex_lock(&h->people->mu);
    h->x.known = h->people->table->version;
    pthread_mutex_unlock(&h->people->mu);
    h->op.people = &h->x;
    h->op.arena = &h->arena;
    if (s)
        atomic_fetch_add(&s->refs, 1);
    http_later(c->req, &ops, h);
    http_hold(c->req);
    if (store_send(h->people->store, &h->op, NULL) != ERR_OK)
        change_read(&(struct store_op){.err = ERR_BUSY}, h);
}

static void run_look(struct api_call *c, struct api_stored *s)
{
    api_stored_then *then = *(api_stored_then **)c->own;
    if (s->op.err == ERR_OK)
        look_then(c, s, then);
    else
        then(c, s);
}

void api_people_look(struct api_call *c, api_stored_then *then)
{
    look_then(c, NULL, then);
}

void api_people_run(struct api_stored *s, api_stored_then *then)
{
    api_stored_then **kept = arena_alloc(&s->arena, sizeof(api_stored_then *));
    *kept = then;
    s->call->own = kept;
    api_stored_run(s, run_look);
}

/* What a page tells apart, of what the store refuses by one error. */
static const char *why_not(const struct api_call *c, const struct store_people *x)
{
    struct api_who who;
    if (x->user.folded && api_people_named(c->api->people, x->user.folded, &who) &&
        strcmp(who.id, x->user.id ? x->user.id : "") != 0)
        return "name_taken";
    return x->set & (STORE_USER_SET_ADMIN | STORE_USER_SET_DISABLED) ? "last_admin" : "conflict";
}

bool api_people_ok(struct api_call *c, const struct api_stored *s)
{
    if (s->op.err == ERR_OK)
        return true;
    if (s->op.err == ERR_NOTFOUND)
        api_refuse(&c->fault, 404, "not_found", "", "%s", s->op.e.text);
    else if (s->op.err == ERR_USAGE)
        api_refuse(&c->fault, 409, why_not(c, s->op.people), "", "%s", s->op.e.text);
    else
        api_refuse_store(&c->fault, &s->op.e);
    api_call_fail(c);
    return false;
}

/* ---- names ---- */

static char *mapped(const char *text, struct arena *a, utf8proc_option_t how)
{
    utf8proc_uint8_t *out = NULL;
    if (utf8proc_map((const utf8proc_uint8_t *)text, 0, &out, how | UTF8PROC_NULLTERM) < 0)
        return NULL;
    char *kept = arena_dup(a, out, strlen((char *)out));
    free(out);
    return kept;
}

bool api_name_read(const char *text, struct arena *a, const char **out, const char **folded,
                   struct api_fault *f)
{
    struct span s = span_of(text);
    bool good = s.n && s.n <= STORE_USER_NAME_MAX && utf8_printable(s) && s.p[0] != ' ' &&
                s.p[s.n - 1] != ' ';
    if (good) {
        *out = mapped(text, a, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        *folded = mapped(text, a,
                         UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD |
                             UTF8PROC_IGNORE | UTF8PROC_STRIPCC);
        good = *out && *folded && **folded && strlen(*out) <= STORE_USER_NAME_MAX &&
               strlen(*folded) <= STORE_TEXT_BYTES_MAX;
    }
    return good || api_refuse(f, 400, "invalid_value", "name",
                              "name: 1 to %zu bytes without spaces at the ends are expected",
                              STORE_USER_NAME_MAX);
}

const char *api_people_log_name(const struct api_call *c)
{
    return *c->owner ? c->owner : "-";
}
