/* SPDX-License-Identifier: MIT
 * The server on a port of its own, asked through plain sockets, so that what is malformed can be
 * sent as well. */
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
#define N_IDLE    500
#define BODY_MAX  65536

static struct http_server *server;
static uint16_t port;

/* ---- the client ---- */

struct answer {
    int status;
    struct str head, body;
};

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static int dial_to(uint16_t to)
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

static int dial(void)
{
    int fd = dial_to(port);
    assert_true(fd >= 0);
    return fd;
}

static bool put_n(int fd, const char *p, size_t n)
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

static bool put(int fd, const char *text)
{
    return put_n(fd, text, strlen(text));
}

/* Reads until the text is there; what follows it stays in the socket. */
static bool get_until(int fd, struct str *out, const char *end)
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

static bool get_n(int fd, struct str *out, size_t n)
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

static const char *head_value(const struct answer *a, const char *name, char out[256])
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

static bool get_chunk(int fd, struct str *body, bool *last)
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

static void answer_done(struct answer *a)
{
    str_done(&a->head);
    str_done(&a->body);
}

static bool get_head(int fd, struct answer *a)
{
    str_init(&a->head, 1 << 20);
    str_init(&a->body, 64 << 20);
    a->status = 0;
    if (!get_until(fd, &a->head, "\r\n\r\n"))
        return false;
    a->status = atoi(a->head.p + 9);
    return true;
}

static bool get_answer(int fd, struct answer *a, bool head_only)
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
static int ask(const char *text, struct answer *keep)
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

static bool peer_closed(int fd, int wait_ms)
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

static void on_echo(struct http_req *r, void *arg)
{
    (void)arg;
    http_reply(r, 200, "application/octet-stream", r->body);
}

static void on_params(struct http_req *r, void *arg)
{
    (void)arg;
    const char *q = http_query(r, "q"), *b = http_param(r, "b"), *h = http_req_header(r, "X-Test");
    char *text = arena_printf(r->arena, "%s|%s|%s|%s|%s", http_param(r, "a"), b ? b : "-",
                              q ? q : "-", h ? h : "-", r->client);
    http_reply(r, 200, "text/plain", span_of(text));
}

static void on_hello(struct http_req *r, void *arg)
{
    (void)arg;
    http_reply(r, 200, "text/plain", SPAN("hello"));
}

static void on_inject(struct http_req *r, void *arg)
{
    (void)arg;
    bool refused = http_header(r, "X-A", "a\r\nX-Evil: 1") == ERR_USAGE &&
                   http_header(r, "X-A\r\nX-Evil", "1") == ERR_USAGE &&
                   http_header(r, "X A", "1") == ERR_USAGE &&
                   http_header(r, "X-Good", "1") == ERR_OK &&
                   http_header(r, "Cache-Control", "max-age=5") == ERR_OK;
    http_reply(r, refused ? 200 : 500, "text/plain", SPAN(""));
}

static void on_silent(struct http_req *r, void *arg)
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

static enum http_fill feed_fill(void *state, struct str *out)
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

static void feed_gone(void *state)
{
    struct feed *f = state;
    atomic_store(&f->gone_ns, os_now_ns());
    atomic_fetch_add(&f->n_gone, 1);
}

static void feed_done(void *state)
{
    struct feed *f = state;
    atomic_fetch_add(&f->n_done, 1);
}

static const struct http_ops feed_ops = {feed_fill, feed_gone, feed_done};
static const struct http_ops later_ops = {NULL, feed_gone, feed_done};

static struct feed *feed_new(struct http_req *r)
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

static void on_stream(struct http_req *r, void *arg)
{
    (void)arg;
    struct feed *f = feed_new(r);
    assert_true(http_stream_begin(r, 200, "text/event-stream", &feed_ops, f));
    atomic_fetch_add(&n_feeds, 1);
}

static void on_later(struct http_req *r, void *arg)
{
    (void)arg;
    struct feed *f = feed_new(r);
    http_later(r, &later_ops, f);
    atomic_fetch_add(&n_feeds, 1);
}

static enum http_fill big_fill(void *state, struct str *out)
{
    size_t *left = state;
    for (int i = 0; i < 1000 && *left; i++, --*left)
        str_add_cstr(out, "0123456789abcdef");
    return *left ? HTTP_MORE : HTTP_END;
}

static void on_big(struct http_req *r, void *arg)
{
    (void)arg;
    static const struct http_ops ops = {.fill = big_fill};
    size_t *left = arena_alloc(r->arena, sizeof(*left));
    *left = 100000;
    http_stream_begin(r, 200, "text/plain", &ops, left);
}

static const struct http_route routes[] = {
    {"GET",    "/",            on_hello },
    {"GET",    "/hello",       on_hello },
    {"POST",   "/echo",        on_echo  },
    {"GET",    "/p/{a}",       on_params},
    {"GET",    "/p/exact",     on_hello },
    {"GET",    "/p/{a}/x/{b}", on_params},
    {"GET",    "/inject",      on_inject},
    {"GET",    "/silent",      on_silent},
    {"GET",    "/stream",      on_stream},
    {"POST",   "/later",       on_later },
    {"DELETE", "/p/{a}",       on_hello },
    {"GET",    "/big",         on_big   },
};

static void error_body(void *arg, int status, const char *text, struct str *out)
{
    (void)arg;
    str_addf(out, "{\"ours\":%d,\"text\":\"%s\"}", status, text);
}

static const char *const hosts[] = {"chat.example", NULL};
static const char *const origins[] = {"https://app.example", NULL};

static int setup_with(unsigned slow_ms, size_t connections_max, unsigned keep_alive_ms, int threads)
{
    struct http_opts o = {.body_bytes_max = BODY_MAX,
                          .slow_ms = slow_ms,
                          .connections_max = connections_max,
                          .keep_alive_ms = keep_alive_ms,
                          .n_threads = threads,
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

static int setup(void **state)
{
    (void)state;
    return setup_with(5000, 1000, 0, 1);
}

static int setup_slow(void **state)
{
    (void)state;
    return setup_with(400, 4, 200, 2);
}

static int teardown(void **state)
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

static void wait_feeds(size_t n)
{
    for (int i = 0; i < 5000 && atomic_load(&n_feeds) < n; i++)
        pause_ms(1);
    assert_true(atomic_load(&n_feeds) >= n);
}

static void wait_count(atomic_int *count, int want)
{
    for (int i = 0; i < 2000 && atomic_load(count) < want; i++)
        pause_ms(1);
    assert_int_equal(atomic_load(count), want);
}

/* ---- requests ---- */

static void expect_body(const char *path, const char *want)
{
    char text[512];
    struct answer a;
    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" HOST "X-Test: t\r\n\r\n", path);
    assert_int_equal(ask(text, &a), 200);
    assert_string_equal(a.body.n ? a.body.p : "", want);
    answer_done(&a);
}

static void test_routes(void **state)
{
    (void)state;
    expect_body("/", "hello");
    expect_body("/hello/", "hello");
    expect_body("/p/exact", "hello");
    expect_body("/p/one?q=a+b%26c&x", "one|-|a b&c|t|127.0.0.1");
    expect_body("/p/a%2Fb/x/%EA%B0%80", "a/b|\xea\xb0\x80|-|t|127.0.0.1");
    expect_body("http://localhost/p/abs", "abs|-|-|t|127.0.0.1");
    assert_int_equal(ask_get("/nothing"), 404);
    assert_int_equal(ask_get("/p/"), 404);
    assert_int_equal(ask_get("//hello"), 404);
    assert_int_equal(ask_get("/p/one/x"), 404);
    assert_int_equal(ask_get("/p/%2e%2e"), 400);
    assert_int_equal(ask_get("/p/../hello"), 400);
    assert_int_equal(ask_get("/p/%00"), 400);
    assert_int_equal(ask_get("/p/%4"), 400);
    assert_int_equal(ask_get("/p/%ff"), 400);
    assert_int_equal(ask_get("/p/a?q=%zz"), 400);
    assert_int_equal(ask("GET http://evil.example/hello HTTP/1.1\r\n" HOST "\r\n", NULL), 403);
    assert_int_equal(ask_get("/silent"), 500);
}

static void test_errors_are_ours(void **state)
{
    (void)state;
    struct answer a;
    char v[256];
    assert_int_equal(ask("GET /nothing HTTP/1.1\r\n" HOST "\r\n", &a), 404);
    assert_non_null(strstr(a.body.p, "{\"ours\":404,"));
    assert_string_equal(head_value(&a, "Content-Type", v), "application/json");
    assert_string_equal(head_value(&a, "X-Content-Type-Options", v), "nosniff");
    assert_string_equal(head_value(&a, "Cache-Control", v), "no-store");
    assert_string_equal(head_value(&a, "Referrer-Policy", v), "no-referrer");
    assert_int_equal(strlen(head_value(&a, "x-request-id", v)), 32);
    answer_done(&a);
}

static void test_methods(void **state)
{
    (void)state;
    struct answer a;
    char v[256];
    assert_int_equal(ask("POST /p/x HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", &a), 405);
    assert_string_equal(head_value(&a, "Allow", v), "GET, HEAD, DELETE, OPTIONS");
    answer_done(&a);
    assert_int_equal(ask("HEAD /hello HTTP/1.1\r\n" HOST "\r\n", &a), 200);
    assert_string_equal(head_value(&a, "Content-Length", v), "5");
    answer_done(&a);
    assert_int_equal(ask("OPTIONS /echo HTTP/1.1\r\n" HOST "\r\n", &a), 204);
    assert_string_equal(head_value(&a, "Allow", v), "POST, OPTIONS");
    assert_null(head_value(&a, "Access-Control-Allow-Origin", v));
    answer_done(&a);
    assert_int_equal(ask("OPTIONS * HTTP/1.1\r\n" HOST "\r\n", NULL), 204);
    assert_int_equal(ask("BREW /hello HTTP/1.1\r\n" HOST "\r\n", NULL), 405);
    assert_int_equal(ask("OPTIONS /echo HTTP/1.1\r\n" HOST "Origin: https://app.example\r\n"
                         "Access-Control-Request-Method: POST\r\n"
                         "Access-Control-Request-Headers: x-a, content-type\r\n\r\n",
                         &a),
                     204);
    assert_string_equal(head_value(&a, "Access-Control-Allow-Origin", v), "https://app.example");
    assert_string_equal(head_value(&a, "Access-Control-Allow-Headers", v), "x-a, content-type");
    assert_string_equal(head_value(&a, "Access-Control-Allow-Methods", v), "POST, OPTIONS");
    answer_done(&a);
}

static void test_keep_alive(void **state)
{
    (void)state;
    struct answer a;
    int fd = dial();
    for (int i = 0; i < 20; i++) {
        assert_true(put(fd, i % 2 ? "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
                                  : "GET /nothing HTTP/1.1\r\n" HOST "\r\n"));
        assert_true(get_answer(fd, &a, false));
        assert_int_equal(a.status, i % 2 ? 200 : 404);
        answer_done(&a);
    }
    close(fd);
    fd = dial(); /* pipelined */
    for (int i = 0; i < 10; i++)
        put(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nxyz");
    for (int i = 0; i < 10; i++) {
        assert_true(get_answer(fd, &a, false));
        assert_string_equal(a.body.p, "xyz");
        answer_done(&a);
    }
    close(fd);
}

static void test_bodies(void **state)
{
    (void)state;
    struct answer a;
    assert_int_equal(ask("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                         "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
                         &a),
                     200);
    assert_string_equal(a.body.p, "abc0123456789");
    answer_done(&a);
    for (size_t over = 0; over < 2; over++) {
        char *text = calloc(1, BODY_MAX + 256);
        int n = sprintf(text, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n",
                        BODY_MAX + over);
        memset(text + n, 'b', BODY_MAX + over);
        assert_int_equal(ask(text, &a), over ? 413 : 200);
        assert_true(over || a.body.n == BODY_MAX);
        answer_done(&a);
        n = sprintf(text,
                    "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n%zx\r\n",
                    BODY_MAX + over);
        memset(text + n, 'b', BODY_MAX + over);
        strcpy(text + n + BODY_MAX + over, "\r\n0\r\n\r\n");
        assert_int_equal(ask(text, NULL), over ? 413 : 200);
        free(text);
    }
    assert_int_equal(ask("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 999999999999\r\n\r\n", &a),
                     413);
    assert_non_null(strstr(a.body.p, "\"ours\":413"));
    answer_done(&a);
    assert_int_equal(ask("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n"
                         "Expect: 100-continue\r\n\r\n",
                         NULL),
                     413);
    assert_int_equal(ask_get("/hello"), 200);
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "GET\r\n\r\n",
        "GET /hello\r\n\r\n",
        " GET /hello HTTP/1.1\r\n" HOST "\r\n",
        "GET hello HTTP/1.1\r\n" HOST "\r\n",
        "G\x01T /hello HTTP/1.1\r\n" HOST "\r\n",
        "GET /hel lo HTTP/1.1\r\n" HOST "\r\n",
        "GET /hello HTTP/9.9\r\n" HOST "\r\n",
        "GET /hello XTTP/1.1\r\n" HOST "\r\n",
        "GET /hello HTTP/1.1\r\n" HOST "no colon\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" HOST "X : y\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" HOST ": y\r\n\r\n",
        "GET /hello HTTP/1.1\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" HOST HOST "\r\n",
        "GET /hello#x HTTP/1.1\r\n" HOST "\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: abc\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        "POST /echo HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n",
    };
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        struct answer a;
        int status = ask(bad[i], &a);
        char v[256];
        const char *close_it = head_value(&a, "Connection", v);
        printf("%2zu: %d %s %s\n", i, status, close_it ? close_it : "-",
               a.body.p && strstr(a.body.p, "ours") ? "ours" : "theirs");
        assert_true(status >= 400 && status < 600);
        assert_int_equal(ask_get("/hello"), 200);
        answer_done(&a);
    }
}

static void test_large_heads(void **state)
{
    (void)state;
    static const size_t sizes[] = {1000, 40000, 200000};
    static const int uri_want[] = {404, 414, 414}, head_want[] = {200, 431, 431};
    for (size_t i = 0; i < N_ELEMS(sizes); i++) {
        char *text = calloc(1, sizes[i] + 256), *x = calloc(1, sizes[i] + 1);
        memset(x, 'x', sizes[i]);
        sprintf(text, "GET /%s HTTP/1.1\r\n" HOST "\r\n", x);
        int uri = ask(text, NULL);
        sprintf(text, "GET /hello HTTP/1.1\r\n" HOST "X: %s\r\n\r\n", x);
        int head = ask(text, NULL);
        printf("%zu: uri %d head %d\n", sizes[i], uri, head);
        assert_true(uri == uri_want[i] || (i == 2 && (uri == 0 || uri == 431)) ||
                    (i == 1 && uri == 431));
        assert_true(head == head_want[i] || (i == 2 && head == 0));
        free(text);
        free(x);
    }
    struct str many;
    str_init(&many, 100000);
    str_add_cstr(&many, "GET /hello HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 500; i++)
        str_add_cstr(&many, "a:b\r\n");
    str_add_cstr(&many, "\r\n");
    assert_int_equal(ask(many.p, NULL), 431);
    str_done(&many);
    assert_int_equal(ask_get("/hello"), 200);
}

static int ask_host(const char *host, const char *origin)
{
    char text[512];
    snprintf(text, sizeof(text), "GET /hello HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", host,
             origin ? "Origin: " : "", origin ? origin : "", origin ? "\r\n" : "");
    return ask(text, NULL);
}

static void test_hosts_and_origins(void **state)
{
    (void)state;
    assert_int_equal(ask_host("localhost:8080", NULL), 200);
    assert_int_equal(ask_host("LocalHost.", NULL), 200);
    assert_int_equal(ask_host("127.0.0.1", NULL), 200);
    assert_int_equal(ask_host("[::1]:80", NULL), 200);
    assert_int_equal(ask_host("chat.example:443", NULL), 200);
    assert_int_equal(ask_host("evil.example", NULL), 403);
    assert_int_equal(ask_host("localhost.evil.example", NULL), 403);
    assert_int_equal(ask_host("127.0.0.1.evil.example", NULL), 403);
    assert_int_equal(ask_host("10.0.0.1", NULL), 403);
    assert_int_equal(ask_host("localhost:80:80", NULL), 400);
    assert_int_equal(ask_host("localhost@evil", NULL), 403);
    assert_int_equal(ask_host("[::1", NULL), 400);
    assert_int_equal(ask_host("localhost:99", "http://localhost:99"), 200);
    assert_int_equal(ask_host("localhost:99", "http://localhost:98"), 403);
    assert_int_equal(ask_host("localhost", "https://app.example"), 200);
    assert_int_equal(ask_host("localhost", "https://app.example.evil"), 403);
    assert_int_equal(ask_host("localhost", "http://app.example"), 403);
    assert_int_equal(ask_host("localhost", "null"), 403);
    struct answer a;
    assert_int_equal(ask("GET /inject HTTP/1.1\r\n" HOST "\r\n", &a), 200);
    char v[256];
    assert_null(head_value(&a, "X-Evil", v));
    assert_string_equal(head_value(&a, "X-Good", v), "1");
    assert_string_equal(head_value(&a, "Cache-Control", v), "max-age=5");
    answer_done(&a);
}

/* ---- streams ---- */

static void feed_push(struct feed *f, size_t n)
{
    atomic_fetch_add(&f->ready, n);
    http_wake(f->r);
}

static void test_stream(void **state)
{
    (void)state;
    struct answer a;
    int fd = dial();
    put(fd, "GET /stream?n=3 HTTP/1.1\r\n" HOST "\r\n");
    uint64_t begin_ns = os_now_ns();
    assert_true(get_head(fd, &a)); /* before the first event */
    printf("head after %.1f ms\n", (double)(os_now_ns() - begin_ns) / 1e6);
    wait_feeds(1);
    double worst_ms = 0;
    for (int i = 0; i < 3; i++) {
        bool last;
        pause_ms(20);
        begin_ns = os_now_ns();
        feed_push(&feeds[0], 1);
        str_clear(&a.body);
        assert_true(get_chunk(fd, &a.body, &last));
        worst_ms = MAX(worst_ms, (double)(os_now_ns() - begin_ns) / 1e6);
        char want[32];
        sprintf(want, "data: %d\n\n", i);
        assert_string_equal(a.body.p, want);
    }
    printf("event after at most %.1f ms\n", worst_ms);
    bool last = false;
    assert_true(get_chunk(fd, &a.body, &last) && last);
    answer_done(&a);
    wait_count(&feeds[0].n_done, 1);
    assert_int_equal(atomic_load(&feeds[0].n_gone), 0);
    http_wake(feeds[0].r);                          /* harmless */
    put(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n"); /* the connection is kept */
    assert_true(get_answer(fd, &a, false));
    assert_string_equal(a.body.p, "hello");
    answer_done(&a);
    put(fd, "GET /big HTTP/1.1\r\n" HOST "\r\nHEAD /big HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_answer(fd, &a, false));
    assert_int_equal(a.body.n, 1600000);
    answer_done(&a);
    assert_true(get_answer(fd, &a, true));
    assert_int_equal(a.status, 200);
    answer_done(&a);
    close(fd);
}

static void *feeder(void *arg)
{
    size_t n_events = *(size_t *)arg;
    for (size_t k = 0; k < n_events; k++) {
        for (size_t i = 0; i < N_STREAMS; i++)
            feed_push(&feeds[i], 1);
    }
    return NULL;
}

static void test_streams_at_once(void **state)
{
    (void)state;
    int fds[N_STREAMS];
    for (size_t i = 0; i < N_STREAMS; i++) {
        fds[i] = dial();
        put(fds[i], "GET /stream?n=40 HTTP/1.1\r\n" HOST "\r\n");
    }
    wait_feeds(N_STREAMS);
    size_t n_events = 20;
    pthread_t two[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&two[i], NULL, feeder, &n_events), 0);
    for (size_t i = 0; i < N_STREAMS; i++) {
        struct answer a;
        struct str want;
        assert_true(get_answer(fds[i], &a, false));
        str_init(&want, 4096);
        for (int k = 0; k < 40; k++)
            str_addf(&want, "data: %d\n\n", k);
        assert_string_equal(a.body.p, want.p);
        str_done(&want);
        answer_done(&a);
        close(fds[i]);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(two[i], NULL);
    for (size_t i = 0; i < N_STREAMS; i++)
        wait_count(&feeds[i].n_done, 1);
    assert_int_equal(http_stats(server).n_streams, 0);
}

static void test_gone(void **state)
{
    (void)state;
    int fds[20];
    uint64_t worst_ns = 0;
    for (size_t i = 0; i < N_ELEMS(fds); i++) {
        fds[i] = dial();
        put(fds[i], i % 2 ? "POST /later HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"
                          : "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        wait_feeds(i + 1);
    }
    pause_ms(50);
    feed_push(&feeds[0], 1);
    for (size_t i = 0; i < N_ELEMS(fds); i++) {
        uint64_t begin_ns = os_now_ns();
        close(fds[i]);
        wait_count(&feeds[i].n_gone, 1);
        wait_count(&feeds[i].n_done, 1);
        worst_ns = MAX(worst_ns, atomic_load(&feeds[i].gone_ns) - begin_ns);
        http_reply(feeds[i].r, 200, NULL, SPAN("late")); /* nobody is there: nothing happens */
    }
    printf("gone noticed after at most %.2f ms\n", (double)worst_ns / 1e6);
    assert_true(worst_ns < 2000000000);
    assert_int_equal(http_stats(server).n_gone, N_ELEMS(fds));
}

static void *answer_late(void *arg)
{
    struct feed *f = arg;
    pause_ms(30);
    http_header(f->r, "X-Late", "yes");
    http_reply(f->r, 201, "text/plain", f->r->body);
    return NULL;
}

static void test_later(void **state)
{
    (void)state;
    struct answer a;
    char v[256];
    int fd = dial();
    for (size_t i = 0; i < 3; i++) {
        pthread_t t;
        put(fd, "POST /later HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbody");
        wait_feeds(i + 1);
        pthread_create(&t, NULL, answer_late, &feeds[i]);
        assert_true(get_answer(fd, &a, false));
        pthread_join(t, NULL);
        assert_int_equal(a.status, 201);
        assert_string_equal(a.body.p, "body");
        assert_string_equal(head_value(&a, "X-Late", v), "yes");
        answer_done(&a);
        wait_count(&feeds[i].n_done, 1);
        assert_int_equal(atomic_load(&feeds[i].n_gone), 0);
    }
    /* a late answer may be a stream: its ops take the place of those of http_later */
    put(fd, "POST /later?n=2 HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbody");
    wait_feeds(4);
    assert_true(http_stream_begin(feeds[3].r, 200, "text/event-stream", &feed_ops, &feeds[3]));
    feed_push(&feeds[3], 2);
    assert_true(get_answer(fd, &a, false));
    assert_string_equal(a.body.p, "data: 0\n\ndata: 1\n\n");
    answer_done(&a);
    close(fd);
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void test_idle(void **state)
{
    (void)state;
    static int fds[N_IDLE];
    struct answer a;
    for (size_t i = 0; i < N_IDLE; i++) {
        fds[i] = dial();
        put(fds[i], "GET /hello HTTP/1.1\r\n" HOST "\r\n");
        assert_true(get_answer(fds[i], &a, false));
        answer_done(&a);
    }
    int waiting = dial(); /* and one that sleeps in a stream */
    put(waiting, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
    wait_feeds(1);
    assert_int_equal(http_stats(server).n_open, N_IDLE + 1);
    double before = cpu_seconds();
    pause_ms(2000);
    double used = cpu_seconds() - before;
    printf("%d idle connections: %.4f s of processor in 2 s\n", N_IDLE, used);
    assert_true(used < 0.2);
    for (size_t i = 0; i < N_IDLE; i += 50) {
        put(fds[i], "GET /hello HTTP/1.1\r\n" HOST "\r\n");
        assert_true(get_answer(fds[i], &a, false));
        assert_int_equal(a.status, 200);
        answer_done(&a);
    }
    for (size_t i = 0; i < N_IDLE; i++)
        close(fds[i]);
    close(waiting);
}

/* ---- limits of time and number; slow_ms is 400, connections_max 4, keep_alive_ms 200 ---- */

static void test_slow(void **state)
{
    (void)state;
    static const char *const begun[] = {
        "GET /hello HTTP/1.1\r\nHo", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n"};
    for (size_t i = 0; i < N_ELEMS(begun); i++) {
        int fd = dial();
        uint64_t begin_ns = os_now_ns();
        put(fd, begun[i]);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int n = 0;
        while (n++ < 100 && poll(&p, 1, 50) == 0) /* a byte every 50 ms keeps it "active" */
            put(fd, "x");
        struct answer a;
        get_answer(fd, &a, false);
        printf("slow: status %d after %.0f ms\n", a.status, (double)(os_now_ns() - begin_ns) / 1e6);
        assert_int_equal(a.status, 408);
        assert_non_null(strstr(a.body.p, "\"ours\":408"));
        assert_true(os_now_ns() - begin_ns < 2000000000);
        assert_true(peer_closed(fd, 1000));
        answer_done(&a);
        close(fd);
    }
    assert_int_equal(ask_get("/hello"), 200);
}

static void test_too_many(void **state)
{
    (void)state;
    int fds[4];
    for (size_t i = 0; i < N_ELEMS(fds); i++) {
        fds[i] = dial();
        put(fds[i], "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        wait_feeds(i + 1);
    }
    assert_int_equal(ask_get("/hello"), 503);
    struct str got;
    str_init(&got, 65536);
    assert_true(get_until(fds[0], &got, ": keep-alive\n\n")); /* comments in silence */
    assert_true(get_until(fds[0], &got, ": keep-alive\n\n"));
    str_done(&got);
    for (size_t i = 0; i < N_ELEMS(fds); i++)
        close(fds[i]);
    for (size_t i = 0; i < N_ELEMS(fds); i++)
        wait_count(&feeds[i].n_done, 1);
    int status = 0;
    for (int i = 0; i < 100 && status != 200; i++) {
        status = ask_get("/hello");
        pause_ms(5);
    }
    assert_int_equal(status, 200);
}

static void test_drain(void **state)
{
    (void)state;
    struct answer a;
    int fd = dial(), kept = dial();
    put(kept, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    assert_true(get_answer(kept, &a, false));
    answer_done(&a);
    put(fd, "GET /stream?n=2 HTTP/1.1\r\n" HOST "\r\n");
    wait_feeds(1);
    assert_false(http_drain(server, 20000000));
    int late = dial_to(port);
    assert_int_equal(late, -1);
    put(kept, "GET /hello HTTP/1.1\r\n" HOST "\r\n"); /* served, then closed */
    assert_true(get_answer(kept, &a, false));
    assert_int_equal(a.status, 200);
    answer_done(&a);
    assert_true(peer_closed(kept, 2000));
    feed_push(&feeds[0], 2);
    assert_true(get_answer(fd, &a, false));
    assert_string_equal(a.body.p, "data: 0\n\ndata: 1\n\n");
    answer_done(&a);
    assert_true(http_drain(server, 2000000000));
    close(fd);
    close(kept);
}

/* teardown closes the server while streams sleep and late answers are open; every done comes. */
static void test_close_with_open_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < 10; i++) {
        int fd = dial();
        put(fd, i % 2 ? "POST /later HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"
                      : "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        wait_feeds(i + 1);
    }
    http_close(server);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(atomic_load(&feeds[i].n_gone), 1);
        assert_int_equal(atomic_load(&feeds[i].n_done), 1);
        http_wake(feeds[i].r); /* held, so harmless after http_close too */
    }
    server = NULL;
}

static void test_sse(void **state)
{
    (void)state;
    struct str s;
    str_init(&s, 1000);
    http_sse(&s, SPAN("delta"), SPAN("{\"a\":1}"));
    http_sse(&s, SPAN(""), SPAN("one\ntwo\r\nthree\n"));
    http_sse(&s, SPAN(""), SPAN(""));
    assert_string_equal(s.p, "event: delta\ndata: {\"a\":1}\n\n"
                             "data: one\ndata: two\ndata: three\ndata: \n\ndata: \n\n");
    str_done(&s);
}

static void test_open_errors(void **state)
{
    (void)state;
    struct errinfo e;
    struct http_server *s;
    struct http_opts o = {.port = port};
    assert_int_equal(http_open(&s, &o, routes, 1, NULL, &e), ERR_NETWORK);
    assert_non_null(strstr(e.text, "cannot listen on 127.0.0.1"));
    o = (struct http_opts){.address = "no address"};
    assert_int_equal(http_open(&s, &o, routes, 1, NULL, &e), ERR_USAGE);
    o = (struct http_opts){.tls_cert_file = "/nonexistent", .tls_key_file = "/nonexistent"};
    assert_int_equal(http_open(&s, &o, routes, 1, NULL, &e), ERR_NOTFOUND);
    assert_null(s);
}

#define TEST(name)      cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_SLOW(name) cmocka_unit_test_setup_teardown(name, setup_slow, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_routes),
        TEST(test_errors_are_ours),
        TEST(test_methods),
        TEST(test_keep_alive),
        TEST(test_bodies),
        TEST(test_malformed),
        TEST(test_large_heads),
        TEST(test_hosts_and_origins),
        TEST(test_stream),
        TEST(test_streams_at_once),
        TEST(test_gone),
        TEST(test_later),
        TEST(test_idle),
        TEST_SLOW(test_slow),
        TEST_SLOW(test_too_many),
        TEST_SLOW(test_drain),
        TEST(test_close_with_open_requests),
        cmocka_unit_test(test_sse),
        TEST(test_open_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
