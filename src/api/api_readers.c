/* SPDX-License-Identifier: MIT
 * api_readers.c - cookies and the pace of readers. */
#include "api/api_readers.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <arpa/inet.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define SLOTS  4096
#define PROBES 8
#define COOKIE "damso_reader"

/* Buckets that fill evenly. */
static const struct {
    double burst, seconds; /* for one more */
    const char *text;
} paces[API_READER_N_ACTS] = {
    [API_READER_LIKE] = {20, 3,  "recommendations"},
    [API_READER_NOTE] = {6,  30, "notes"          },
};

struct slot {
    uint64_t key; /* 0: free */
    double left;
    uint64_t filled_ns;
};

struct api_readers {
    pthread_mutex_t mu;
    uint64_t seed;
    struct slot slots[API_READER_N_ACTS][SLOTS];
};

struct api_readers *api_readers_new(void)
{
    struct api_readers *k = mem_alloc(sizeof *k);
    CHECK(getrandom(&k->seed, sizeof k->seed, 0) == sizeof k->seed);
    pthread_mutex_init(&k->mu, NULL);
    return k;
}

void api_readers_free(struct api_readers *k)
{
    if (!k)
        return;
    pthread_mutex_destroy(&k->mu);
    mem_free(k);
}

/* ---- pace ---- */

static uint64_t key_of(const struct api_readers *k, const char *address)
{
    struct in6_addr six;
    bool wide = inet_pton(AF_INET6, address, &six) == 1 && !IN6_IS_ADDR_V4MAPPED(&six);
    uint64_t key = wide ? num_hash(six.s6_addr, 8, k->seed)
                        : num_hash(address, strlen(address), k->seed);
    return key ? key : 1;
}

static double filled(const struct slot *s, enum api_reader_act act, uint64_t now)
{
    double more = (double)(now - s->filled_ns) / 1e9 / paces[act].seconds;
    return fmin(paces[act].burst, s->left + more);
}

/* The address's slot, or the fullest of those where it may be: there least is forgotten. */
static struct slot *find(struct api_readers *k, enum api_reader_act act, uint64_t key, uint64_t now)
{
    struct slot *best = NULL;
    for (size_t i = 0; i < PROBES; i++) {
        struct slot *s = &k->slots[act][(key + i) % SLOTS];
        if (s->key == key)
            return s;
        if (!best || (best->key && (!s->key || filled(s, act, now) > filled(best, act, now))))
            best = s;
    }
    *best = (struct slot){key, paces[act].burst, now};
    return best;
}

bool api_readers_take(struct api_readers *k, struct api_call *c, enum api_reader_act act)
{
    uint64_t now = os_now_ns();
    pthread_mutex_lock(&k->mu);
    struct slot *s = find(k, act, key_of(k, api_call_address(c)), now);
    s->left = filled(s, act, now);
    s->filled_ns = now;
    double missing = 1 - s->left;
    if (missing <= 0)
        s->left -= 1;
    pthread_mutex_unlock(&k->mu);
    if (missing <= 0)
        return true;
    unsigned wait_s = (unsigned)ceil(missing * paces[act].seconds);
    api_refuse(&c->fault, 429, "rate_limit_exceeded", "",
               "too many %s from here; try again in %u s", paces[act].text, wait_s);
    c->fault.retry_s = wait_s;
    return false;
}

/* ---- who ---- */

static bool is_id(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char x = p[i];
        if (!((x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z') || (x >= '0' && x <= '9')))
            return false;
    }
    return n == API_READER_CHARS;
}

const char *api_reader(const struct api_call *c)
{
    const size_t n = sizeof COOKIE - 1;
    const char *at = http_req_header(c->req, "cookie");
    while (at && *at) {
        at += strspn(at, "; ");
        size_t len = strcspn(at, ";");
        if (len > n && strncmp(at, COOKIE "=", n + 1) == 0 && is_id(at + n + 1, len - n - 1))
            return arena_dup(c->req->arena, at + n + 1, len - n - 1);
        at += len;
    }
    return NULL;
}

const char *api_reader_make(struct api_call *c)
{
    char text[160];
    const char *id = api_reader(c);
    if (id)
        return id;
    id = api_new_id(c->req->arena, "");
    snprintf(text, sizeof text,
             COOKIE "=%s; Path=/api/v1/shared; Max-Age=31536000; HttpOnly; SameSite=Strict%s", id,
             c->api->o.http.tls_cert_file ? "; Secure" : "");
    http_header(c->req, "Set-Cookie", text);
    return id;
}
