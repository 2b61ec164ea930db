/* SPDX-License-Identifier: MIT
 * api_auth.c - keys and their limits.
 *
 * A limit a minute is a bucket that holds a minute's worth and fills evenly: a burst is fine, the
 * mean is held.  Tokens are taken when an answer ends, so its bucket may go below nothing, and
 * requests are refused until it is filled again. */
#include "api/api_auth.h"

#include "base/num.h"
#include "os/os_sys.h"
#include "store/store_key.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct api_limit {
    struct api_limit *next;
    struct api_auth *auth;
    char id[STORE_KEY_ID + 1];
    struct store_grant grant;
    double requests, tokens; /* left in the buckets */
    uint64_t filled_ns;
    int64_t n_running;
};

struct api_auth {
    struct store_keys *keys; /* NULL: no store */
    bool needed;
    pthread_mutex_t lock;
    struct api_limit *limits; /* one a key that was used, until the end */
};

enum err api_auth_open(struct api_auth **out, struct store *store, bool needed, struct errinfo *e)
{
    struct api_auth *a = mem_alloc(sizeof *a);
    enum err r = store ? store_keys_open(&a->keys, store, e) : ERR_OK;
    a->needed = needed;
    pthread_mutex_init(&a->lock, NULL);
    if (r == ERR_OK && needed && (!a->keys || store_keys_count(a->keys) == 0))
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
static struct api_limit *limit_of(struct api_auth *a, const struct store_grant *g)
{
    struct api_limit *l = a->limits;
    while (l && strcmp(l->id, g->id) != 0)
        l = l->next;
    if (!l) {
        l = mem_alloc(sizeof *l);
        memcpy(l->id, g->id, sizeof l->id);
        l->auth = a;
        l->next = a->limits;
        l->filled_ns = os_now_ns();
        a->limits = l;
    }
    /* A limit that is new, or was changed meanwhile, begins with a full bucket. */
    if (l->grant.requests_minute != g->requests_minute)
        l->requests = (double)g->requests_minute;
    if (l->grant.tokens_minute != g->tokens_minute)
        l->tokens = (double)g->tokens_minute;
    l->grant = *g;
    return l;
}

static void fill(struct api_limit *l)
{
    uint64_t now = os_now_ns();
    double minutes = (double)(now - l->filled_ns) / 60e9;
    l->filled_ns = now;
    l->requests = fmin((double)l->grant.requests_minute,
                       l->requests + minutes * (double)l->grant.requests_minute);
    l->tokens = fmin((double)l->grant.tokens_minute,
                     l->tokens + minutes * (double)l->grant.tokens_minute);
}

static bool refuse_rate(struct api_call *c, const char *what, int64_t limit, double missing)
{
    double wait_s = missing * 60 / (double)limit;
    api_refuse(&c->fault, 429, "rate_limit_exceeded", "",
               "this key has %lld %s a minute; try again in %.0f s", (long long)limit, what,
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

/* With the lock held. */
static bool take_request(struct api_limit *l, struct api_call *c)
{
    fill(l);
    if (l->grant.requests_minute && l->requests < 1)
        return refuse_rate(c, "requests", l->grant.requests_minute, 1 - l->requests);
    if (l->grant.tokens_minute && l->tokens <= 0)
        return refuse_rate(c, "tokens", l->grant.tokens_minute, 1 - l->tokens);
    l->requests -= 1;
    tell(c, "requests", l->grant.requests_minute, l->requests);
    tell(c, "tokens", l->grant.tokens_minute, l->tokens);
    return true;
}

bool api_limit_begin(struct api_limit *l, struct api_fault *f)
{
    if (!l)
        return true;
    pthread_mutex_lock(&l->auth->lock);
    int64_t most = l->grant.n_concurrent;
    bool ok = !most || l->n_running < most;
    l->n_running += ok;
    pthread_mutex_unlock(&l->auth->lock);
    return ok || api_refuse(f, 429, "rate_limit_exceeded", "",
                            "this key may have %lld requests under way, and has", (long long)most);
}

void api_limit_end(struct api_limit *l, size_t n_tokens)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->auth->lock);
    CHECK(l->n_running > 0);
    l->n_running--;
    l->tokens -= (double)n_tokens;
    pthread_mutex_unlock(&l->auth->lock);
}

/* ---- keys ---- */

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

bool api_auth_check(struct api_auth *a, struct api_call *c)
{
    struct store_grant grant;
    struct span text = key_of(c->req);
    if (c->route->scope == API_OPEN)
        return true;
    enum store_verdict verdict = a->keys ? store_keys_check(a->keys, text, &grant)
                                         : STORE_KEY_UNKNOWN;
    if (verdict == STORE_KEY_UNKNOWN && !a->needed)
        return true;
    if (verdict != STORE_KEY_GOOD)
        return refuse_key(c, verdict);
    if (!(grant.scopes & c->route->scope))
        return api_refuse(&c->fault, 403, "missing_scope", "", "this API key is not for %s %s",
                          c->route->method, c->route->path);
    pthread_mutex_lock(&a->lock);
    c->limit = limit_of(a, &grant);
    bool ok = take_request(c->limit, c);
    pthread_mutex_unlock(&a->lock);
    c->owner = c->limit->id;
    c->client = num_hash(grant.id, sizeof grant.id, 1);
    return ok;
}
