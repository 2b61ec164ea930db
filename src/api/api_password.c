/* SPDX-License-Identifier: MIT */
#include "api/api_password.h"

#include "base/num.h"

#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

_Static_assert(API_PASSWORD_HASH == crypto_pwhash_STRBYTES, "room for libsodium's text");

struct api_passwords {
    pthread_t thread;
    bool running;
    char nobody[API_PASSWORD_HASH];
    pthread_mutex_t mu;
    pthread_cond_t work;
    struct api_password *head, **tail;
    size_t n_waiting;
    bool stop;
};

/* ---- texts ---- */

static size_t n_chars(struct span s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

bool api_password_read(struct api_password *p, const char *text, const char *param, bool fresh,
                       struct api_fault *f)
{
    size_t n = strlen(text);
    if (n == 0 || n > API_PASSWORD_BYTES_MAX)
        return api_refuse(f, 400, "invalid_value", param, "%s: 1 to %d bytes are expected", param,
                          API_PASSWORD_BYTES_MAX);
    if (!utf8_valid((struct span){text, n}))
        return api_refuse(f, 400, "invalid_value", param, "%s: it is not UTF-8", param);
    utf8proc_uint8_t *nfc = utf8proc_NFC((const utf8proc_uint8_t *)text);
    if (!nfc)
        return api_refuse(f, 500, "", "", "no memory to read the password");
    struct span s = span_of((const char *)nfc);
    bool good = s.n <= API_PASSWORD_BYTES_MAX && (!fresh || n_chars(s) >= API_PASSWORD_CHARS_MIN);
    if (good) {
        memcpy(p->text, s.p, s.n + 1);
        p->n = s.n;
    }
    sodium_memzero(nfc, s.n);
    free(nfc); /* utf8proc's malloc */
    return good || api_refuse(f, 400, "short_password", param,
                              "%s: at least %d characters, at most %d bytes", param,
                              API_PASSWORD_CHARS_MIN, API_PASSWORD_BYTES_MAX);
}

enum err api_password_hash(const struct api_password *p, char out[API_PASSWORD_HASH],
                           struct errinfo *e)
{
    if (sodium_init() < 0 ||
        crypto_pwhash_str(out, p->text, p->n, crypto_pwhash_OPSLIMIT_INTERACTIVE,
                          crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0)
        return err_set(e, ERR_MEMORY, "no memory to hash a password: it takes %u MiB",
                       (unsigned)(crypto_pwhash_MEMLIMIT_INTERACTIVE >> 20));
    return ERR_OK;
}

const char *api_password_nobody(const struct api_passwords *p)
{
    return p->nobody;
}

/* ---- the thread ---- */

static void work_on(struct api_password *p)
{
    if (*p->hash)
        p->good = crypto_pwhash_str_verify(p->hash, p->text, p->n) == 0;
    else
        p->good = api_password_hash(p, p->hash, NULL) == ERR_OK;
    sodium_memzero(p->text, sizeof p->text);
    struct http_req *req = p->call->req;
    atomic_store(&p->over, true);
    http_wake(req);
    http_release(req); /* p lies in its arena */
}

static void *passwords_main(void *arg)
{
    struct api_passwords *set = arg;
    pthread_mutex_lock(&set->mu);
    for (;;) {
        while (!set->head && !set->stop)
            pthread_cond_wait(&set->work, &set->mu);
        struct api_password *p = set->head;
        if (!p)
            break;
        set->head = p->next;
        if (!set->head)
            set->tail = &set->head;
        pthread_mutex_unlock(&set->mu);
        work_on(p);
        pthread_mutex_lock(&set->mu);
        set->n_waiting--; /* the one at work counts */
    }
    pthread_mutex_unlock(&set->mu);
    return NULL;
}

enum err api_passwords_open(struct api_passwords **out, struct errinfo *e)
{
    struct api_password nobody = {.n = 32};
    sigset_t all, old;
    *out = NULL;
    struct api_passwords *set = mem_alloc(sizeof *set);
    set->tail = &set->head;
    pthread_mutex_init(&set->mu, NULL);
    pthread_cond_init(&set->work, NULL);
    enum err r = sodium_init() < 0 ? err_set(e, ERR_FAILED, "libsodium finds no random bytes")
                                   : ERR_OK;
    if (r == ERR_OK) {
        randombytes_buf(nobody.text, nobody.n);
        r = api_password_hash(&nobody, set->nobody, e);
        sodium_memzero(&nobody, sizeof nobody);
    }
    if (r == ERR_OK) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        set->running = pthread_create(&set->thread, NULL, passwords_main, set) == 0;
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (!set->running)
            r = err_set(e, ERR_MEMORY, "cannot start the thread for passwords");
    }
    if (r != ERR_OK) {
        api_passwords_close(set);
        return r;
    }
    *out = set;
    return ERR_OK;
}

void api_passwords_close(struct api_passwords *set)
{
    if (!set)
        return;
    pthread_mutex_lock(&set->mu);
    set->stop = true;
    pthread_cond_signal(&set->work);
    pthread_mutex_unlock(&set->mu);
    if (set->running)
        pthread_join(set->thread, NULL);
    pthread_cond_destroy(&set->work);
    pthread_mutex_destroy(&set->mu);
    mem_free(set);
}

/* ---- a request that waits ---- */

static void woken(void *state)
{
    struct api_password *p = state;
    if (!atomic_load(&p->over))
        return;
    http_later(p->call->req, NULL, NULL); /* from here on the request is `then`'s */
    p->then(p->call, p);
}

static void waiter_done(void *state)
{
    api_call_drop(((struct api_password *)state)->call);
}

void api_password_run(struct api_call *c, struct api_password *p, api_password_then *then)
{
    static const struct http_ops ops = {.woken = woken, .done = waiter_done};
    struct api_passwords *set = c->api->passwords;
    p->call = c;
    p->then = then;
    p->next = NULL;
    atomic_init(&p->over, false);
    http_later(c->req, &ops, p);
    http_hold(c->req);
    pthread_mutex_lock(&set->mu);
    bool full = set->n_waiting >= API_PASSWORD_QUEUE_MAX;
    if (!full) {
        *set->tail = p;
        set->tail = &p->next;
        set->n_waiting++;
        pthread_cond_signal(&set->work);
    }
    pthread_mutex_unlock(&set->mu);
    if (!full)
        return;
    sodium_memzero(p->text, sizeof p->text);
    http_later(c->req, NULL, NULL);
    api_refuse(&c->fault, 503, "busy", "", "too many logins at once: %d wait",
               API_PASSWORD_QUEUE_MAX);
    c->fault.retry_s = 5;
    api_call_fail(c);
    http_release(c->req);
}
