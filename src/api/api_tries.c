/* SPDX-License-Identifier: MIT */
#include "api/api_tries.h"

#include "api/api_bus.h"
#include "base/arena.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETS     1024
#define WAYS     8
#define FORGET_S 3600

const struct api_tries_kind api_tries_address = {"address", 10, 900};
const struct api_tries_kind api_tries_name = {"name", 5, 60};
const struct api_tries_kind api_tries_join = {"join", 20, 900};

struct entry {
    uint64_t hash;
    uint64_t last_ns, until_ns; /* last 0: empty */
    unsigned n;
};

struct api_tries {
    unsigned char key[crypto_shorthash_KEYBYTES];
    pthread_mutex_t mu;
    struct entry of[SETS][WAYS];
};

struct api_tries *api_tries_new(void)
{
    struct api_tries *t = mem_alloc(sizeof *t);
    CHECK(sodium_init() >= 0);
    randombytes_buf(t->key, sizeof t->key);
    pthread_mutex_init(&t->mu, NULL);
    return t;
}

void api_tries_free(struct api_tries *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->mu);
    mem_free(t);
}

/* Who has one address of IPv6 has 2^64 of them. */
static void shorten(const char *what, char out[300])
{
    struct in6_addr a;
    snprintf(out, 256, "%s", what);
    if (inet_pton(AF_INET6, what, &a) != 1 || IN6_IS_ADDR_V4MAPPED(&a))
        return;
    memset(a.s6_addr + 8, 0, 8);
    inet_ntop(AF_INET6, &a, out, 256);
}

static uint64_t hash_of(const struct api_tries *t, const struct api_tries_kind *kind,
                        const char *what)
{
    uint64_t h;
    char name[300], text[400];
    _Static_assert(sizeof h == crypto_shorthash_BYTES, "SipHash gives 8 bytes");
    shorten(what, name);
    int n = snprintf(text, sizeof text, "%s %s", kind->name, name);
    crypto_shorthash((unsigned char *)&h, (const unsigned char *)text, (unsigned long long)n,
                     t->key);
    return h;
}

/* With the lock held: its place, or the one that was quiet for longest. */
static struct entry *find(struct api_tries *t, uint64_t hash, uint64_t now)
{
    struct entry *set = t->of[hash % SETS], *oldest = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].last_ns && set[i].hash == hash) {
            if (now - set[i].last_ns > FORGET_S * (uint64_t)1000000000)
                set[i].n = 0;
            return &set[i];
        }
        if (set[i].last_ns < oldest->last_ns)
            oldest = &set[i];
    }
    *oldest = (struct entry){.hash = hash};
    return oldest;
}

static bool refuse(struct api_fault *f, unsigned s)
{
    api_refuse(f, 429, "rate_limit_exceeded", "", "too many tries; try again in %u s", s);
    f->retry_s = s;
    return false;
}

bool api_tries_take(struct api_tries *t, const struct api_tries_kind *kind, const char *what,
                    struct api_fault *f)
{
    uint64_t hash = hash_of(t, kind, what), now = os_now_ns();
    pthread_mutex_lock(&t->mu);
    struct entry *x = find(t, hash, now);
    uint64_t left_ns = x->n && x->until_ns > now ? x->until_ns - now : 0;
    if (!left_ns) {
        x->n += x->n < 1000;
        x->last_ns = now;
        unsigned over = x->n > kind->n_free ? x->n - kind->n_free : 0;
        unsigned wait = over ? over > 16 ? kind->wait_max : 1u << over : 0;
        x->until_ns = now + MIN(wait, kind->wait_max) * (uint64_t)1000000000;
    }
    pthread_mutex_unlock(&t->mu);
    if (!left_ns)
        return true;
    return refuse(f, (unsigned)((left_ns + 999999999) / 1000000000));
}

void api_tries_good(struct api_tries *t, const struct api_tries_kind *kind, const char *what,
                    bool all)
{
    uint64_t hash = hash_of(t, kind, what), now = os_now_ns();
    pthread_mutex_lock(&t->mu);
    struct entry *x = find(t, hash, now);
    if (x->n)
        x->n = all ? 0 : x->n - 1;
    x->until_ns = 0;
    pthread_mutex_unlock(&t->mu);
}

/* ---- of all servers ---- */

struct asking {
    const struct api_try *tries;
    size_t n, at;
    void (*then)(struct api_call *c);
};

/* The same on all servers, which a key of its own process would not be. */
static void shared_hash(const struct api_tries_kind *kind, const char *what, char out[24])
{
    int64_t h;
    char name[300], text[400];
    shorten(what, name);
    int n = snprintf(text, sizeof text, "%s %s", kind->name, name);
    unsigned char hash[crypto_generichash_BYTES];
    crypto_generichash(hash, sizeof hash, (const unsigned char *)text, (unsigned long long)n, NULL,
                       0);
    memcpy(&h, hash, sizeof h);
    snprintf(out, 24, "%lld", (long long)h);
}

static void ask_next(struct api_call *c, struct asking *a);

static void ask_came(struct api_call *c, struct api_asked *x)
{
    struct asking *a = x->own;
    const struct api_try *t = &a->tries[a->at++];
    bool ok = x->ask.err == ERR_OK && x->ask.gives[0] > 0
                  ? refuse(&c->fault, (unsigned)((x->ask.gives[0] + 999) / 1000))
                  : api_tries_take(c->api->tries, t->kind, t->what, &c->fault);
    if (ok)
        ask_next(c, a);
    else
        api_call_fail(c);
}

static void ask_next(struct api_call *c, struct asking *a)
{
    char hash[24];
    if (a->at == a->n) {
        a->then(c);
        return;
    }
    const struct api_try *t = &a->tries[a->at];
    struct api_asked *x = api_asked_new(c, STORE_BUS_TRY);
    shared_hash(t->kind, t->what, hash);
    api_asked_text(x, 0, hash);
    api_asked_number(x, 1, t->kind->n_free);
    api_asked_number(x, 2, t->kind->wait_max);
    x->own = a;
    api_asked_run(x, ask_came);
}

void api_tries_ask(struct api_call *c, const struct api_try *tries, size_t n,
                   void (*then)(struct api_call *c))
{
    bool ok = true;
    if (c->api->bus) {
        struct asking *a = arena_alloc(c->req->arena, sizeof *a);
        struct api_try *kept = arena_array(c->req->arena, n, sizeof *kept);
        memcpy(kept, tries, n * sizeof *kept);
        *a = (struct asking){.tries = kept, .n = n, .then = then};
        ask_next(c, a);
        return;
    }
    for (size_t i = 0; ok && i < n; i++)
        ok = api_tries_take(c->api->tries, tries[i].kind, tries[i].what, &c->fault);
    if (ok)
        then(c);
    else
        api_call_fail(c);
}

void api_tries_good_all(struct api_call *c, const struct api_tries_kind *kind, const char *what,
                        bool all)
{
    char hash[24];
    api_tries_good(c->api->tries, kind, what, all);
    if (!c->api->bus)
        return;
    shared_hash(kind, what, hash);
    api_bus_note(c->api->bus, STORE_BUS_GOOD, hash, all);
}
