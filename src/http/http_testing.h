/* SPDX-License-Identifier: MIT
 * http_testing.h - what the tests of this folder share: a client of plain sockets, so that what
 * is malformed can be sent as well, and a server with a route for each behaviour, on a port of
 * its own at 127.0.0.1. */
#ifndef HTTP_HTTP_TESTING_H
#define HTTP_HTTP_TESTING_H

#include "base/test.h"

#include "base/num.h"
#include "http/http.h"
#include "os/os_sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define N_STREAMS 100
#define BODY_MAX  65536

static struct http_server *server;
static uint16_t port;

/* ---- the client ---- */

struct answer {
    int status;
    struct str head, body;
};

static inline void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static inline int dial_to(uint16_t to)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(to)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval limit = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static inline int dial(void)
{
    int fd = dial_to(port);
    assert_true(fd >= 0);
    return fd;
}

static inline bool put_n(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t got = send(fd, p, n, MSG_NOSIGNAL);
        if (got <= 0)
            return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

static inline bool put(int fd, const char *text)
{
    return put_n(fd, text, strlen(text));
}

/* Reads until the text is there; what follows it stays in the socket. */
static inline bool get_until(int fd, struct str *out, const char *end)
{
    size_t n = strlen(end);
    char ch;
    while (out->n < n || memcmp(out->p + out->n - n, end, n) != 0) {
        if (recv(fd, &ch, 1, 0) != 1)
            return false;
        str_add_char(out, ch);
    }
    return true;
}

static inline bool get_n(int fd, struct str *out, size_t n)
{
    char buf[4096];
    while (n) {
        ssize_t got = recv(fd, buf, MIN(n, sizeof(buf)), 0);
        if (got <= 0)
            return false;
        str_add(out, buf, (size_t)got);
        n -= (size_t)got;
    }
    return true;
}

static inline const char *head_value(const struct answer *a, const char *name, char out[256])
{
    char want[64];
    snprintf(want, sizeof(want), "\r\n%s: ", name);
    const char *at = a->head.p ? strcasestr(a->head.p, want) : NULL;
    if (!at)
        return NULL;
    at += strlen(want);
    snprintf(out, 256, "%.*s", (int)strcspn(at, "\r"), at);
    return out;
}

static inline bool get_chunk(int fd, struct str *body, bool *last)
{
    struct str line;
    str_init(&line, 64);
    bool ok = get_until(fd, &line, "\r\n");
    size_t n = ok ? strtoul(line.p, NULL, 16) : 0;
    *last = n == 0;
    str_clear(&line);
    ok = ok && get_n(fd, body, n) && get_until(fd, &line, "\r\n");
    str_done(&line);
    return ok;
}

static inline void answer_done(struct answer *a)
{
    str_done(&a->head);
    str_done(&a->body);
}

static inline bool get_head(int fd, struct answer *a)
{
    str_init(&a->head, 1 << 20);
    str_init(&a->body, 64 << 20);
    a->status = 0;
    if (!get_until(fd, &a->head, "\r\n\r\n"))
        return false;
    a->status = atoi(a->head.p + 9);
    return true;
}

static inline bool get_answer(int fd, struct answer *a, bool head_only)
{
    char value[256];
    if (!get_head(fd, a))
        return false;
    if (head_only || a->status == 204)
        return true;
    if (head_value(a, "Transfer-Encoding", value)) {
        bool last = false;
        while (!last) {
            if (!get_chunk(fd, &a->body, &last))
                return false;
        }
        return true;
    }
    return head_value(a, "Content-Length", value) && get_n(fd, &a->body, strtoul(value, NULL, 10));
}

/* One request on a connection of its own: the status, 0 without an answer. */
static inline int ask(const char *text, struct answer *keep)
{
    struct answer a;
    int fd = dial();
    put(fd, text);
    get_answer(fd, &a, strncmp(text, "HEAD", 4) == 0);
    close(fd);
    int status = a.status;
    if (keep)
        *keep = a;
    else
        answer_done(&a);
    return status;
}

#define HOST          "Host: localhost\r\n"
#define ask_get(path) ask("GET " path " HTTP/1.1\r\n" HOST "\r\n", NULL)

static inline bool peer_closed(int fd, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char ch;
    while (poll(&p, 1, wait_ms) == 1) {
        if (recv(fd, &ch, 1, 0) <= 0)
            return true;
    }
    return false;
}

/* ---- the handlers ---- */

static inline void on_echo(struct http_req *r, void *arg)
{
    (void)arg;
    http_reply(r, 200, "application/octet-stream", r->body);
}

static inline void on_params(struct http_req *r, void *arg)
{
    (void)arg;
    const char *q = http_query(r, "q"), *b = http_param(r, "b"), *h = http_req_header(r, "X-Test");
    char *text = arena_printf(r->arena, "%s|%s|%s|%s|%s", http_param(r, "a"), b ? b : "-",
                              q ? q : "-", h ? h : "-", r->client);
    http_reply(r, 200, "text/plain", span_of(text));
}

static inline void on_hello(struct http_req *r, void *arg)
{
    (void)arg;
    http_reply(r, 200, "text/plain", SPAN("hello"));
}

static inline void on_inject(struct http_req *r, void *arg)
{
    (void)arg;
    bool refused = http_header(r, "X-A", "a\r\nX-Evil: 1") == ERR_USAGE &&
                   http_header(r, "X-A\r\nX-Evil", "1") == ERR_USAGE &&
                   http_header(r, "X A", "1") == ERR_USAGE &&
                   http_header(r, "X-Good", "1") == ERR_OK &&
                   http_header(r, "Cache-Control", "max-age=5") == ERR_OK;
    http_reply(r, refused ? 200 : 500, "text/plain", SPAN(""));
}

static inline void on_silent(struct http_req *r, void *arg)
{
    (void)r;
    (void)arg;
}

/* A stream that another thread feeds: numbers 0 .. ready-1 as events. */
struct feed {
    struct http_req *r;
    atomic_size_t ready;
    size_t n_sent, n_total;
    atomic_int n_gone, n_done;
    atomic_uint_least64_t gone_ns;
};

static struct feed feeds[N_STREAMS];
static atomic_size_t n_feeds;

static inline enum http_fill feed_fill(void *state, struct str *out)
{
    struct feed *f = state;
    assert_int_equal(atomic_load(&f->n_done), 0);
    size_t ready = atomic_load(&f->ready);
    for (; f->n_sent < MIN(ready, f->n_total); f->n_sent++) {
        char text[32];
        snprintf(text, sizeof(text), "%zu", f->n_sent);
        http_sse(out, SPAN(""), span_of(text));
    }
    return f->n_sent == f->n_total ? HTTP_END : HTTP_WAIT;
}

static inline void feed_gone(void *state)
{
    struct feed *f = state;
    atomic_store(&f->gone_ns, os_now_ns());
    atomic_fetch_add(&f->n_gone, 1);
}

static inline void feed_done(void *state)
{
    struct feed *f = state;
    atomic_fetch_add(&f->n_done, 1);
}

static const struct http_ops feed_ops = {.fill = feed_fill, .gone = feed_gone, .done = feed_done};
static const struct http_ops later_ops = {.gone = feed_gone, .done = feed_done};

static inline struct feed *feed_new(struct http_req *r)
{
    size_t i = atomic_load(&n_feeds);
    assert_true(i < N_STREAMS);
    struct feed *f = &feeds[i];
    const char *n = http_query(r, "n");
    f->r = r;
    f->n_total = n ? strtoul(n, NULL, 10) : 5;
    http_hold(r);
    return f;
}

static inline void on_stream(struct http_req *r, void *arg)
{
    (void)arg;
    struct feed *f = feed_new(r);
    assert_true(http_stream_begin(r, 200, "text/event-stream", &feed_ops, f));
    atomic_fetch_add(&n_feeds, 1);
}

static inline void on_later(struct http_req *r, void *arg)
{
    (void)arg;
    struct feed *f = feed_new(r);
    http_later(r, &later_ops, f);
    atomic_fetch_add(&n_feeds, 1);
}

static inline enum http_fill endless_fill(void *state, struct str *out)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        str_add_cstr(out, "0123456789abcdef");
    return HTTP_MORE;
}

static const struct http_ops endless_ops = {
    .fill = endless_fill, .gone = feed_gone, .done = feed_done};

static inline void on_endless(struct http_req *r, void *arg)
{
    (void)arg;
    http_stream_begin(r, 200, "text/plain", &endless_ops, feed_new(r));
    atomic_fetch_add(&n_feeds, 1);
}

static inline enum http_fill big_fill(void *state, struct str *out)
{
    size_t *left = state;
    for (int i = 0; i < 1000 && *left; i++, --*left)
        str_add_cstr(out, "0123456789abcdef");
    return *left ? HTTP_MORE : HTTP_END;
}

static inline void on_big(struct http_req *r, void *arg)
{
    (void)arg;
    static const struct http_ops ops = {.fill = big_fill};
    size_t *left = arena_alloc(r->arena, sizeof(*left));
    *left = 100000;
    http_stream_begin(r, 200, "text/plain", &ops, left);
}

/* Keeps its io thread for longer than http_close waits by itself, then answers late. */
static inline void on_busy(struct http_req *r, void *arg)
{
    pause_ms(500);
    on_later(r, arg);
}

static const struct http_route routes[] = {
    {"GET",    "/busy",        on_busy   },
    {"GET",    "/",            on_hello  },
    {"GET",    "/hello",       on_hello  },
    {"POST",   "/echo",        on_echo   },
    {"GET",    "/p/{a}",       on_params },
    {"GET",    "/p/exact",     on_hello  },
    {"GET",    "/p/{a}/x/{b}", on_params },
    {"GET",    "/inject",      on_inject },
    {"GET",    "/silent",      on_silent },
    {"GET",    "/stream",      on_stream },
    {"POST",   "/later",       on_later  },
    {"DELETE", "/p/{a}",       on_hello  },
    {"GET",    "/big",         on_big    },
    {"GET",    "/endless",     on_endless},
};

static inline void error_body(void *arg, int status, const char *text, struct str *out)
{
    (void)arg;
    str_addf(out, "{\"ours\":%d,\"text\":\"%s\"}", status, text);
}

static const char *const hosts[] = {"chat.example", NULL};
static const char *const origins[] = {"https://app.example", NULL};

static inline int setup_with(unsigned slow_ms, size_t connections_max, unsigned keep_alive_ms,
                             int threads)
{
    struct http_opts o = {.body_bytes_max = BODY_MAX,
                          .slow_ms = slow_ms,
                          .connections_max = connections_max,
                          .keep_alive_ms = keep_alive_ms,
                          .n_threads = threads,
                          .idle_s = slow_ms < 1000 ? 1 : 30,
                          .allowed_hosts = hosts,
                          .allowed_origins = origins,
                          .error_body = error_body};
    struct errinfo e = {0};
    memset(feeds, 0, sizeof(feeds));
    atomic_store(&n_feeds, 0);
    if (http_open(&server, &o, routes, N_ELEMS(routes), NULL, &e) != ERR_OK)
        fail_msg("%s", e.text);
    port = http_port(server);
    return 0;
}

static inline int setup(void **state)
{
    (void)state;
    return setup_with(2000, 1000, 0, 1);
}

static inline int setup_slow(void **state)
{
    (void)state;
    return setup_with(400, 4, 200, 2);
}

static inline int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < atomic_load(&n_feeds); i++) {
        if (feeds[i].r)
            http_release(feeds[i].r);
    }
    http_close(server);
    server = NULL;
    for (size_t i = 0; i < atomic_load(&n_feeds); i++)
        assert_int_equal(atomic_load(&feeds[i].n_done), 1);
    return 0;
}

static inline void wait_feeds(size_t n)
{
    for (int i = 0; i < 5000 && atomic_load(&n_feeds) < n; i++)
        pause_ms(1);
    assert_true(atomic_load(&n_feeds) >= n);
}

static inline void wait_count(atomic_int *count, int want)
{
    for (int i = 0; i < 2000 && atomic_load(count) < want; i++)
        pause_ms(1);
    assert_int_equal(atomic_load(count), want);
}

#endif
