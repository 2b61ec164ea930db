/* SPDX-License-Identifier: MIT
 * Requests: routes, bodies, what is malformed, too large or foreign. */
#include "http/http_testing.h"

#include <curl/curl.h>

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
    assert_int_equal(ask("GET /hello HTTP/1.0\r\n\r\n", NULL), 200);
    assert_int_equal(ask("GET /hello HTTP/1.0\r\nHost: evil.example\r\n\r\n", NULL), 403);
    struct str all; /* without chunks the end is the end of the connection */
    str_init(&all, 4 << 20);
    int fd = dial();
    put(fd, "GET /big HTTP/1.0\r\n\r\n");
    while (get_n(fd, &all, 1))
        continue;
    close(fd);
    assert_true(all.n > 1600000 && !strstr(all.p, "chunked"));
    str_done(&all);
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

/* The status of an answer, which is an error in our words. */
static int expect_ours(struct answer *a)
{
    char v[256];
    assert_true(a->status >= 400 && a->status < 600);
    assert_non_null(a->body.p);
    assert_int_equal(strncmp(a->body.p, "{\"ours\":", 8), 0);
    assert_int_equal(atoi(a->body.p + 8), a->status);
    assert_string_equal(head_value(a, "Content-Type", v), "application/json");
    assert_string_equal(head_value(a, "Cache-Control", v), "no-store");
    int status = a->status;
    answer_done(a);
    return status;
}

static int ask_ours(const char *text)
{
    struct answer a;
    ask(text, &a);
    return expect_ours(&a);
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "GET\r\n\r\n",
        "GARBAGE\r\n",
        "\r\n\r\nGARBAGE\r\n\r\n",
        "{\"model\": \"x\"}\r\n\r\n",
        "GET /hello\r\n\r\n",
        " GET /hello HTTP/1.1\r\n" HOST "\r\n",
        "GET hello HTTP/1.1\r\n" HOST "\r\n",
        "G\x01T /hello HTTP/1.1\r\n" HOST "\r\n",
        "GET /hel lo HTTP/1.1\r\n" HOST "\r\n",
        "GET /hello HTTP/9.9\r\n" HOST "\r\n",
        "GET /hello XTTP/1.1\r\n" HOST "\r\n",
        "GET /hello HTTP/1.1\r\n" HOST "no colon\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" HOST "X : y\r\n\r\n",
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
        printf("%2zu: %d\n", i, ask_ours(bad[i]));
        assert_int_equal(ask_get("/hello"), 200);
    }
}

/* The same as a second request, and silence where there is nothing to say. */
static void test_malformed_later(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "GARBAGE\r\n\r\n", " \r\n\r\n", "GET /hello HTTP/1.1\r\nno colon\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: x\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n"};
    static const char good[] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc";
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        struct answer a;
        int fd = dial();
        for (int k = 0; k < 2; k++) {
            put(fd, good);
            assert_true(get_answer(fd, &a, false));
            assert_string_equal(a.body.p, "abc");
            answer_done(&a);
        }
        put(fd, bad[i]);
        assert_true(get_answer(fd, &a, false));
        expect_ours(&a);
        char more; /* and then the end: not nothing for long */
        ssize_t got = recv(fd, &more, 1, 0);
        assert_true(got == 0 || (got < 0 && errno == ECONNRESET));
        close(fd);
    }
    for (int i = 0; i < 5000 && http_stats(server).n_open; i++)
        pause_ms(1);
    assert_int_equal(http_stats(server).n_open, 0);
    for (int i = 0; i < 3; i++) { /* no request at all; half of the connection closed; the whole */
        struct answer a;
        char more;
        int fd = dial();
        if (i) {
            put(fd, i == 1 ? good : "GET /hello HTTP/1.0\r\n\r\n");
            assert_true(get_answer(fd, &a, false));
            assert_int_equal(a.status, 200);
            answer_done(&a);
        }
        shutdown(fd, SHUT_WR);
        assert_int_equal(recv(fd, &more, 1, 0), 0);
        close(fd);
    }
}

static void test_large_heads(void **state)
{
    (void)state;
    static const size_t sizes[] = {1000, 6000, 20000, 200000};
    static const int uri_want[] = {404, 414, 431, 414}, head_want[] = {200, 200, 431, 431};
    for (size_t i = 0; i < N_ELEMS(sizes); i++) {
        char *text = calloc(1, sizes[i] + 256), *x = calloc(1, sizes[i] + 1);
        memset(x, 'x', sizes[i]);
        sprintf(text, "GET /%s HTTP/1.1\r\n" HOST "\r\n", x);
        int uri = ask_ours(text);
        sprintf(text, "GET /hello HTTP/1.1\r\n" HOST "X: %s\r\n\r\n", x);
        int head = head_want[i] == 200 ? ask(text, NULL) : ask_ours(text);
        printf("%zu: uri %d head %d\n", sizes[i], uri, head);
        assert_int_equal(uri, uri_want[i]);
        assert_int_equal(head, head_want[i]);
        free(text);
        free(x);
    }
    struct str many;
    str_init(&many, 100000);
    str_add_cstr(&many, "GET /hello HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 500; i++)
        str_add_cstr(&many, "a:b\r\n");
    str_add_cstr(&many, "\r\n");
    assert_int_equal(ask_ours(many.p), 431);
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

static size_t curl_keep(char *p, size_t size, size_t n, void *out)
{
    str_add(out, p, size * n);
    return size * n;
}

static void test_tls(void **state)
{
    (void)state;
    char folder[] = "/tmp/http_test_XXXXXX", text[512], cert[64], key[64];
    assert_non_null(mkdtemp(folder));
    snprintf(cert, sizeof(cert), "%s/cert", folder);
    snprintf(key, sizeof(key), "%s/key", folder);
    snprintf(text, sizeof(text),
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
             "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout %s -out %s "
             "2>/dev/null",
             key, cert);
    assert_int_equal(system(text), 0);
    struct http_opts o = {.tls_cert_file = cert, .tls_key_file = key};
    struct errinfo e = {0};
    struct http_server *s;
    assert_int_equal(http_open(&s, &o, routes, N_ELEMS(routes), NULL, &e), ERR_OK);
    struct str out;
    str_init(&out, 4 << 20);
    CURL *c = curl_easy_init();
    curl_easy_setopt(c, CURLOPT_CAINFO, cert);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, curl_keep);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &out);
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    static const char *const paths[] = {"hello", "big", "nothing"};
    static const long want_status[] = {200, 200, 404};
    for (size_t i = 0; i < N_ELEMS(paths); i++) {
        long status = 0;
        snprintf(text, sizeof(text), "https://localhost:%u/%s", http_port(s), paths[i]);
        curl_easy_setopt(c, CURLOPT_URL, text);
        assert_int_equal(curl_easy_perform(c), CURLE_OK);
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
        assert_int_equal(status, want_status[i]);
    }
    assert_true(out.n > 1600005 && strncmp(out.p, "hello", 5) == 0);
    str_clear(&out); /* a header line without a colon, inside of the method */
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, "GET /hello HTTP/1.1\r\nbroken\r\nX:");
    assert_int_equal(curl_easy_perform(c), CURLE_OK);
    long status = 0;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    assert_int_equal(status, 400);
    assert_int_equal(strncmp(out.p, "{\"error\":", 9), 0);
    curl_easy_cleanup(c);
    str_done(&out);
    http_close(s);
    assert_true(unlink(cert) == 0 && unlink(key) == 0 && rmdir(folder) == 0);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_routes),          TEST(test_errors_are_ours), TEST(test_methods),
        TEST(test_keep_alive),      TEST(test_bodies),          TEST(test_malformed),
        TEST(test_malformed_later), TEST(test_large_heads),     TEST(test_hosts_and_origins),
        cmocka_unit_test(test_sse), TEST(test_open_errors),     cmocka_unit_test(test_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
