/* SPDX-License-Identifier: MIT
 * api_auth.c - keys, sessions and their limits.
 *
 * A limit a minute is a bucket that holds a minute's worth and fills evenly: a burst is fine, the
 * mean is held.  Tokens are taken when an answer ends, so its bucket may go below nothing, and
 * requests are refused until it is filled again. */
#include "api/api_auth.h"

#include "api/api_bus.h"
#include "api/api_people.h"
#include "base/num.h"
#include "os/os_sys.h"
#include "store/store_key.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Of a key or of a user; 0: none. */
struct limits {
    int64_t requests_minute, tokens_minute, n_concurrent;
};

struct api_limit {
    struct api_limit *next, *above; /* above: the user's whose key it is; NULL: none */
    struct api_auth *auth;
    char id[API_USER_ID_MAX + 1];
    struct limits most;
    double requests, tokens; /* left in the buckets */
    uint64_t filled_ns;
    int64_t n_running, n_elsewhere; /* answers; elsewhere: when it was asked last */
};

struct api_auth {
    struct store_keys *keys;   /* NULL: no store */
    struct api_people *people; /* NULL: no store */
    bool needed, accounts;
    pthread_mutex_t lock;
    struct store_bus *bus;    /* NULL: limits are this server's own */
    struct api_limit *limits; /* one a key or user that was used, until the end */
};

enum err api_auth_open(struct api_auth **out, struct store *store, struct api_people *people,
                       bool needed, bool accounts, struct errinfo *e)
{
    struct api_auth *a = mem_alloc(sizeof *a);
    enum err r = store ? store_keys_open(&a->keys, store, e) : ERR_OK;
    a->needed = needed || accounts;
    a->accounts = accounts;
    a->people = people;
    pthread_mutex_init(&a->lock, NULL);
    if (r == ERR_OK && accounts && !people)
        r = err_set(e, ERR_USAGE, "accounts need a store");
    if (r == ERR_OK && needed && !accounts && (!a->keys || store_keys_count(a->keys) == 0))
        r = err_set(e, ERR_USAGE,
                    "requests from other machines need an API key, and there is none: make one "
                    "with `damso key add NAME`, or listen on 127.0.0.1");
    if (r != ERR_OK) {
        api_auth_close(a);
        a = NULL;
    }
    *out = a;
    return r;
}

void api_auth_close(struct api_auth *a)
{
    if (!a)
        return;
    store_keys_close(a->keys);
    for (struct api_limit *l = a->limits, *next; l; l = next) {
        next = l->next;
        mem_free(l);
    }
    pthread_mutex_destroy(&a->lock);
    mem_free(a);
}

static struct span key_of(const struct http_req *r)
{
    const char *bearer = http_req_header(r, "authorization");
    const char *key = http_req_header(r, "x-api-key");
    if (bearer && strncasecmp(bearer, "bearer ", 7) == 0)
        return span_of(bearer + 7 + strspn(bearer + 7, " "));
    key = key ? key : http_req_header(r, "api-key");
    return key ? span_of(key) : (struct span){"", 0};
}

/* ---- limits ---- */

/* With the lock held. */
static struct api_limit *limit_of(struct api_auth *a, const char *id, struct limits most,
                                  struct api_limit *above)
{
    struct api_limit *l = a->limits;
    while (l && strcmp(l->id, id) != 0)
        l = l->next;
    if (!l) {
        l = mem_alloc(sizeof *l);
        snprintf(l->id, sizeof l->id, "%s", id);
        l->auth = a;
        l->next = a->limits;
        l->filled_ns = os_now_ns();
        a->limits = l;
    }
    /* A limit that is new, or was changed meanwhile, begins with a full bucket. */
    if (l->most.requests_minute != most.requests_minute)
        l->requests = (double)most.requests_minute;
    if (l->most.tokens_minute != most.tokens_minute)
        l->tokens = (double)most.tokens_minute;
    l->most = most;
    l->above = above;
    return l;
}

static void fill(struct api_limit *l)
{
    uint64_t now = os_now_ns();
    double minutes = (double)(now - l->filled_ns) / 60e9;
    l->filled_ns = now;
    l->requests = fmin((double)l->most.requests_minute,
                       l->requests + minutes * (double)l->most.requests_minute);
    l->tokens = fmin((double)l->most.tokens_minute,
                     l->tokens + minutes * (double)l->most.tokens_minute);
}

static bool refuse_rate(struct api_call *c, const char *what, int64_t limit, double missing)
{
    double wait_s = missing * 60 / (double)limit;
    api_refuse(&c->fault, 429, "rate_limit_exceeded", "",
               "there are %lld %s a minute for you; try again in %.0f s", (long long)limit, what,
               ceil(wait_s));
    c->fault.retry_s = (unsigned)fmin(ceil(wait_s), 3600);
    return false;
}

/* OpenAI's headers, which its clients show and some wait by. */
static void tell(struct api_call *c, const char *what, int64_t limit, double left)
{
    char name[48], value[32];
    if (!limit)
        return;
    snprintf(name, sizeof name, "x-ratelimit-limit-%s", what);
    snprintf(value, sizeof value, "%lld", (long long)limit);
    http_header(c->req, name, value);
    snprintf(name, sizeof name, "x-ratelimit-remaining-%s", what);
    snprintf(value, sizeof value, "%.0f", fmax(floor(left), 0));
    http_header(c->req, name, value);
}

/* With the lock held: the key's, and its user's. */
static bool take_request(struct api_limit *first, struct api_call *c)
{
    for (struct api_limit *l = first; l; l = l->above) {
        fill(l);
        if (l->most.requests_minute && l->requests < 1)
            return refuse_rate(c, "requests", l->most.requests_minute, 1 - l->requests);
        if (l->most.tokens_minute && l->tokens <= 0)
            return refuse_rate(c, "tokens", l->most.tokens_minute, 1 - l->tokens);
    }
    for (struct api_limit *l = first; l; l = l->above)
        l->requests -= 1;
    tell(c, "requests", first->most.requests_minute, first->requests);
    tell(c, "tokens", first->most.tokens_minute, first->tokens);
    return true;
}

/* ---- of all servers ---- */

void api_auth_share(struct api_auth *a, struct store_bus *bus)
{
    pthread_mutex_lock(&a->lock);
    a->bus = bus;
    pthread_mutex_unlock(&a->lock);
}

/* Answers under way here have changed, of a key or a user who may have so many only; tokens are to
 * be taken.  With the lock held. */
static void share_use(const struct api_limit *l, size_t n_tokens)
{
    struct store_bus *bus = l->auth->bus;
    if (bus && l->most.n_concurrent)
        api_bus_note(bus, STORE_BUS_SLOTS, l->id, l->n_running);
    if (bus && l->most.tokens_minute && n_tokens)
        api_bus_note(bus, STORE_BUS_SPEND, l->id, (int64_t)n_tokens);
}

static bool is_limited(const struct api_limit *first)
{
    bool limited = false;
    for (const struct api_limit *l = first; l; l = l->above)
        limited |= l->most.requests_minute || l->most.tokens_minute || l->most.n_concurrent;
    return limited;
}

/* Also where the database is away: as if there were no other server. */
bool api_auth_take(struct api_call *c)
{
    if (!c->limit)
        return true;
    pthread_mutex_lock(&c->limit->auth->lock);
    bool ok = take_request(c->limit, c);
    pthread_mutex_unlock(&c->limit->auth->lock);
    return ok;
}

static bool take_answer(struct api_call *c, const int64_t *gives)
{
    const struct api_limit *l = gives[0] == 2 ? c->limit->above : c->limit;
    pthread_mutex_lock(&l->auth->lock);
    c->limit->n_elsewhere = gives[5];
    if (c->limit->above)
        c->limit->above->n_elsewhere = gives[6];
    const struct limits most = l->most;
    pthread_mutex_unlock(&l->auth->lock);
    if (gives[0])
        return refuse_rate(c, gives[1] ? "tokens" : "requests",
                           gives[1] ? most.tokens_minute : most.requests_minute,
                           (double)gives[2] / 1000);
    tell(c, "requests", most.requests_minute, (double)gives[3]);
    tell(c, "tokens", most.tokens_minute, (double)gives[4]);
    return true;
}

static void admit_asked(struct api_call *c, struct api_asked *x)
{
    bool ok = x->ask.err == ERR_OK ? take_answer(c, x->ask.gives) : api_auth_take(c);
    if (ok)
        c->route->run(c);
    else
        api_call_fail(c);
}

void api_auth_admit(struct api_call *c)
{
    struct api_limit *l = c->limit;
    if (!c->api->bus || !is_limited(l)) {
        if (api_auth_take(c))
            c->route->run(c);
        else
            api_call_fail(c);
        return;
    }
    struct api_asked *x = api_asked_new(c, STORE_BUS_LIMIT);
    const struct limits above = l->above ? l->above->most : (struct limits){0};
    api_asked_text(x, 0, l->id);
    api_asked_number(x, 1, l->most.requests_minute);
    api_asked_number(x, 2, l->most.tokens_minute);
    api_asked_text(x, 3, l->above ? l->above->id : "");
    api_asked_number(x, 4, above.requests_minute);
    api_asked_number(x, 5, above.tokens_minute);
    api_asked_run(x, admit_asked);
}

/* ---- answers under way ---- */

bool api_limit_begin(struct api_limit *first, struct api_fault *f)
{
    int64_t full = 0;
    if (!first)
        return true;
    pthread_mutex_lock(&first->auth->lock);
    for (struct api_limit *l = first; l && !full; l = l->above)
        if (l->most.n_concurrent && l->n_running + l->n_elsewhere >= l->most.n_concurrent)
            full = l->most.n_concurrent;
    for (struct api_limit *l = first; l && !full; l = l->above) {
        l->n_running++;
        share_use(l, 0);
    }
    pthread_mutex_unlock(&first->auth->lock);
    return !full || api_refuse(f, 429, "rate_limit_exceeded", "",
                               "you may have %lld requests under way, and have", (long long)full);
}

void api_limit_end(struct api_limit *first, size_t n_tokens)
{
    if (!first)
        return;
    pthread_mutex_lock(&first->auth->lock);
    for (struct api_limit *l = first; l; l = l->above) {
        CHECK(l->n_running > 0);
        l->n_running--;
        l->tokens -= (double)n_tokens;
        share_use(l, n_tokens);
    }
    pthread_mutex_unlock(&first->auth->lock);
}

/* ---- who ---- */

static bool refuse_key(struct api_call *c, enum store_verdict verdict)
{
    static const char *const texts[] = {
        [STORE_KEY_UNKNOWN] = "a good API key is needed, in Authorization: Bearer or x-api-key",
        [STORE_KEY_EXPIRED] = "this API key has expired",
        [STORE_KEY_REVOKED] = "this API key was revoked",
    };
    http_header(c->req, "WWW-Authenticate", "Bearer");
    return api_refuse(&c->fault, 401, "invalid_api_key", "", "%s", texts[verdict]);
}

/* Sets what its key and its user may, and whose it is. */
static void name_limits(struct api_auth *a, struct api_call *c, const struct store_grant *key)
{
    const struct api_who *who = c->who;
    pthread_mutex_lock(&a->lock);
    if (who)
        c->limit = limit_of(
            a, who->id,
            (struct limits){who->requests_minute, who->tokens_minute, who->n_concurrent}, NULL);
    if (key)
        c->limit = limit_of(
            a, key->id,
            (struct limits){key->requests_minute, key->tokens_minute, key->n_concurrent}, c->limit);
    pthread_mutex_unlock(&a->lock);
    c->owner = who ? who->id : c->limit->id;
    c->client = num_hash(c->owner, strlen(c->owner), 1);
}

static bool check_key(struct api_auth *a, struct api_call *c, const struct store_grant *key)
{
    struct api_who *who = arena_alloc(c->req->arena, sizeof *who);
    unsigned scopes = key->scopes;
    if (a->people && api_people_key(a->people, key->id, who)) {
        c->who = who;
        if (who->disabled)
            return api_refuse(&c->fault, 401, "disabled", "", "this account is disabled");
        if (!who->admin) /* of a user who was an admin when it was made */
            scopes &= STORE_SCOPE_CHAT | STORE_SCOPE_MODELS;
    }
    if (!(scopes & c->route->scope))
        return api_refuse(&c->fault, 403, "missing_scope", "", "this API key is not for %s %s",
                          c->route->method, c->route->path);
    name_limits(a, c, key);
    return true;
}

static bool check_session(struct api_auth *a, struct api_call *c, struct api_who *who)
{
    c->who = who;
    if (!api_people_same_origin(c->req, &c->fault))
        return false;
    if (!who->admin && !(c->route->scope & (API_CHAT | API_MODELS)))
        return api_refuse(&c->fault, 403, "not_admin", "", "%s %s is for admins", c->route->method,
                          c->route->path);
    name_limits(a, c, NULL);
    return true;
}

bool api_auth_check(struct api_auth *a, struct api_call *c)
{
    struct store_grant grant;
    struct span text = key_of(c->req);
    if (c->route->scope == API_OPEN ||
        (c->route->scope == API_METRICS && c->api->o.metrics_open && text.n == 0))
        return true;
    enum store_verdict verdict = a->keys ? store_keys_check(a->keys, text, &grant)
                                         : STORE_KEY_UNKNOWN;
    if (verdict == STORE_KEY_GOOD)
        return check_key(a, c, &grant);
    if (a->accounts && text.n == 0) {
        struct api_who *who = arena_alloc(c->req->arena, sizeof *who);
        if (api_people_session(a->people, c->req, who))
            return check_session(a, c, who);
        return api_refuse(&c->fault, 401, "login_needed", "", "log in first, or send an API key");
    }
    if (verdict == STORE_KEY_UNKNOWN && !a->needed)
        return true;
    return refuse_key(c, verdict);
}

bool api_auth_user_may(struct api_call *c)
{
    if (c->who && *c->who->session)
        return true;
    if (c->api->o.accounts)
        return api_refuse(&c->fault, 403, "no_session", "",
                          "this is for who is logged in, not for API keys");
    return api_refuse(&c->fault, 404, "no_accounts", "", "this server runs without accounts");
}

void api_auth_key_new(struct api_auth *a, struct store_key *key, char text[STORE_KEY_CHARS + 1],
                      struct arena *arena)
{
    CHECK(a->keys);
    store_keys_make(a->keys, key, text, arena);
}
