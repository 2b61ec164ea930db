/* SPDX-License-Identifier: MIT */
#include "store/store_key.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define STORE_USED_S 60 /* a use is noted again after so long */
#define STORE_PREFIX (sizeof(STORE_KEY_PREFIX) - 1)

static const char store_digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* ---- scopes ---- */

static const char *const store_scope_names[STORE_N_SCOPES] = {
#define SCOPE(upper, name, help) #name,
#include "store/store_scope.def"
#undef SCOPE
};

static const char store_scopes_all[] =
#define SCOPE(upper, name, help) " " #name
#include "store/store_scope.def"
#undef SCOPE
    ;

enum err store_scopes_read(const char *text, unsigned *scopes, struct errinfo *e)
{
    *scopes = 0;
    while (*(text += strspn(text, ", "))) {
        size_t n = strcspn(text, ", ");
        int i = 0;
        while (i < STORE_N_SCOPES && !span_eq_cstr((struct span){text, n}, store_scope_names[i]))
            i++;
        if (i == STORE_N_SCOPES)
            return err_set(e, ERR_USAGE, "there is no scope '%.*s'; there are:%s", (int)MIN(n, 40),
                           text, store_scopes_all);
        *scopes |= 1u << i;
        text += n;
    }
    if (*scopes == 0)
        return err_set(e, ERR_USAGE, "a key without a scope opens nothing; there are:%s",
                       store_scopes_all);
    return ERR_OK;
}

void store_scopes_text(unsigned scopes, struct str *out)
{
    const char *between = "";
    for (int i = 0; i < STORE_N_SCOPES; i++) {
        if (!(scopes >> i & 1))
            continue;
        str_addf(out, "%s%s", between, store_scope_names[i]);
        between = " ";
    }
}

/* ---- one key ---- */

static void store_hash(const unsigned char secret[STORE_HASH_BYTES], struct span text,
                       unsigned char out[STORE_HASH_BYTES])
{
    int failed = crypto_generichash(out, STORE_HASH_BYTES, (const unsigned char *)text.p, text.n,
                                    secret, STORE_HASH_BYTES);
    CHECK(failed == 0);
}

static enum err store_get_secret(struct store *s, unsigned char out[STORE_HASH_BYTES],
                                 struct errinfo *e)
{
    if (sodium_init() < 0)
        return err_set(e, ERR_FAILED, "libsodium finds no random bytes");
    struct store_op op = {.what = STORE_SECRET};
    randombytes_buf(op.secret, sizeof op.secret);
    TRY(store_run(s, &op, e));
    memcpy(out, op.secret, STORE_HASH_BYTES);
    sodium_memzero(op.secret, sizeof op.secret);
    return ERR_OK;
}

static void store_key_new(const unsigned char secret[STORE_HASH_BYTES], struct store_key *key,
                          char text[STORE_KEY_CHARS + 1], struct arena *a)
{
    memcpy(text, STORE_KEY_PREFIX, STORE_PREFIX);
    for (size_t i = STORE_PREFIX; i < STORE_KEY_CHARS; i++)
        text[i] = store_digits[randombytes_uniform(sizeof(store_digits) - 1)];
    text[STORE_KEY_CHARS] = 0;
    key->id = arena_dup(a, text + STORE_PREFIX, STORE_KEY_ID);
    store_hash(secret, (struct span){text, STORE_KEY_CHARS}, key->hash);
    key->created = os_unix_time();
    key->revoked = key->used = 0;
}

enum err store_key_make(struct store *s, struct store_key *key, char text[STORE_KEY_CHARS + 1],
                        struct arena *a, struct errinfo *e)
{
    unsigned char secret[STORE_HASH_BYTES];
    TRY(store_get_secret(s, secret, e));
    store_key_new(secret, key, text, a);
    sodium_memzero(secret, sizeof secret);
    struct store_op op = {.what = STORE_KEY_ADD, .key = *key};
    return store_run(s, &op, e);
}

/* ---- the table ---- */

struct store_row {
    struct store_grant grant;
    unsigned char hash[STORE_HASH_BYTES];
    int64_t expires, revoked, used;
};

struct store_keys {
    struct store *store;
    unsigned char secret[STORE_HASH_BYTES];
    pthread_mutex_t mu;
    struct store_row *rows; /* by id */
    size_t n_rows;
};

static int store_by_id(const void *a, const void *b)
{
    const struct store_row *x = a, *y = b;
    return strcmp(x->grant.id, y->grant.id);
}

static bool store_row_take(struct store_row *r, const struct store_key *key)
{
    if (strlen(key->id) != STORE_KEY_ID ||
        store_scopes_read(key->scopes, &r->grant.scopes, NULL) != ERR_OK)
        return false;
    if (r->grant.scopes & STORE_SCOPE_ADMIN)
        r->grant.scopes = (1u << STORE_N_SCOPES) - 1;
    memcpy(r->grant.id, key->id, STORE_KEY_ID + 1);
    r->grant.requests_minute = key->requests_minute;
    r->grant.tokens_minute = key->tokens_minute;
    r->grant.n_concurrent = key->n_concurrent;
    memcpy(r->hash, key->hash, STORE_HASH_BYTES);
    r->expires = key->expires;
    r->revoked = key->revoked;
    r->used = key->used;
    return true;
}

static void store_keys_take(void *arg, const struct store_key *keys, size_t n)
{
    struct store_keys *k = arg;
    struct store_row *rows = mem_alloc((n + 1) * sizeof *rows);
    size_t n_rows = 0;
    for (size_t i = 0; i < n; i++) {
        if (store_row_take(&rows[n_rows], &keys[i]))
            n_rows++;
        else /* made by a newer program: shut is safe */
            log_at(LOG_WARN, "store", "key=%.16s ignored=1", keys[i].id);
    }
    qsort(rows, n_rows, sizeof *rows, store_by_id);
    pthread_mutex_lock(&k->mu);
    struct store_row *old = k->rows;
    k->rows = rows;
    k->n_rows = n_rows;
    pthread_mutex_unlock(&k->mu);
    mem_free(old);
}

enum err store_keys_open(struct store_keys **out, struct store *s, struct errinfo *e)
{
    unsigned char secret[STORE_HASH_BYTES];
    struct arena tmp;
    *out = NULL;
    TRY(store_get_secret(s, secret, e));
    arena_init(&tmp);
    struct store_op op = {.what = STORE_KEY_LIST, .arena = &tmp};
    enum err err = store_run(s, &op, e);
    if (err == ERR_OK) {
        struct store_keys *k = mem_alloc(sizeof *k);
        k->store = s;
        memcpy(k->secret, secret, sizeof secret);
        pthread_mutex_init(&k->mu, NULL);
        store_keys_take(k, op.keys, op.n);
        store_watch(s, store_keys_take, k);
        *out = k;
    }
    arena_done(&tmp);
    return err;
}

void store_keys_close(struct store_keys *k)
{
    if (!k)
        return;
    store_watch(k->store, NULL, NULL);
    pthread_mutex_destroy(&k->mu);
    sodium_memzero(k->secret, sizeof k->secret);
    mem_free(k->rows);
    mem_free(k);
}

void store_keys_make(struct store_keys *k, struct store_key *key, char text[STORE_KEY_CHARS + 1],
                     struct arena *a)
{
    store_key_new(k->secret, key, text, a);
}

/* ---- checking ---- */

struct store_use {
    struct store_op op;
    char id[STORE_KEY_ID + 1];
};

static void store_use_done(struct store_op *op, void *arg)
{
    (void)op;
    mem_free(arg);
}

/* Nothing depends on it: when the store is busy, another use is noted. */
static void store_note_use(struct store *s, const char id[STORE_KEY_ID + 1], int64_t now)
{
    struct store_use *use = mem_alloc(sizeof *use);
    memcpy(use->id, id, sizeof use->id);
    use->op = (struct store_op){
        .what = STORE_KEY_USED,
        .key = {.id = use->id, .used = now},
        .done = store_use_done,
        .arg = use
    };
    if (store_send(s, &use->op, NULL) != ERR_OK)
        mem_free(use);
}

static bool store_looks_like_key(struct span text, struct store_row *wanted)
{
    if (text.n != STORE_KEY_CHARS || !span_starts(text, SPAN(STORE_KEY_PREFIX)))
        return false;
    memcpy(wanted->grant.id, text.p + STORE_PREFIX, STORE_KEY_ID);
    return !memchr(wanted->grant.id, 0, STORE_KEY_ID);
}

static enum store_verdict store_judge(const struct store_row *r, int64_t now)
{
    if (r->revoked)
        return STORE_KEY_REVOKED;
    return r->expires && r->expires <= now ? STORE_KEY_EXPIRED : STORE_KEY_GOOD;
}

enum store_verdict store_keys_check(struct store_keys *k, struct span text, struct store_grant *out)
{
    struct store_row wanted = {.used = 0};
    unsigned char hash[STORE_HASH_BYTES];
    enum store_verdict verdict = STORE_KEY_UNKNOWN;
    bool note = false;
    if (!store_looks_like_key(text, &wanted))
        return verdict;
    store_hash(k->secret, text, hash);
    int64_t now = os_unix_time();
    pthread_mutex_lock(&k->mu);
    struct store_row *r = bsearch(&wanted, k->rows, k->n_rows, sizeof wanted, store_by_id);
    if (r && sodium_memcmp(r->hash, hash, sizeof hash) == 0)
        verdict = store_judge(r, now);
    if (verdict == STORE_KEY_GOOD) {
        *out = r->grant;
        note = now - r->used >= STORE_USED_S;
        if (note)
            r->used = now;
    }
    pthread_mutex_unlock(&k->mu);
    if (note)
        store_note_use(k->store, out->id, now);
    return verdict;
}

size_t store_keys_count(struct store_keys *k)
{
    size_t n = 0;
    int64_t now = os_unix_time();
    pthread_mutex_lock(&k->mu);
    for (size_t i = 0; i < k->n_rows; i++)
        n += store_judge(&k->rows[i], now) == STORE_KEY_GOOD;
    pthread_mutex_unlock(&k->mu);
    return n;
}
