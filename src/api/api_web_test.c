/* SPDX-License-Identifier: MIT
 * The app's files by real requests: types, policy, ETag, gzip, and who gets the page. */
#include "base/test.h"

#include "api/api_call.h"
#include "api/api_metrics.h"
#include "base/num.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define B(text) (const unsigned char *)(text), sizeof(text) - 1

static const struct api_web_file files[] = {
    {"/assets/a-1.js",            "text/javascript; charset=utf-8", "aaaa",     B("var a"), B("ZIP"), true },
    { "/icon.svg",            "image/svg+xml",                           "bbbb", B("<svg>"),       NULL,        0, false},
    { "/index.html", "text/html; charset=utf-8",                           "cccc",   B("<p>"),       NULL,        0, false},
};

static struct api api;
static struct http_server *server;
static char answer[8192];

static void handle(struct http_req *r, void *arg)
{
    struct api_call *c = arena_alloc(r->arena, sizeof *c);
    c->api = arg;
    c->req = r;
    if (strcmp(r->path, "/") == 0)
        api_do_home(c);
    else
        api_do_web(c);
}

static const struct http_route routes[] = {
    {"GET", "/",              handle},
    {"GET", "/icon.svg",      handle},
    {"GET", "/assets/{name}", handle}
};

/* The whole answer to a request with these headers. */
static const char *get(const char *path, const char *headers)
{
    char request[512];
    size_t n = 0;
    ssize_t got;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(http_port(server))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    snprintf(request, sizeof request,
             "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n", path, headers);
    assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    while ((got = read(fd, answer + n, sizeof answer - 1 - n)) > 0)
        n += (size_t)got;
    answer[n] = 0;
    close(fd);
    return answer;
}

static void expect(const char *text)
{
    if (!strstr(answer, text))
        fail_msg("no \"%s\" in\n%s", text, answer);
}

static void expect_not(const char *text)
{
    if (strstr(answer, text))
        fail_msg("\"%s\" in\n%s", text, answer);
}

static int setup(void **state)
{
    struct errinfo e;
    (void)state;
    api.metrics = api_metrics_new();
    api.o.web = (struct api_web){files, N_ELEMS(files)};
    return http_open(&server, &(struct http_opts){0}, routes, N_ELEMS(routes), &api, &e) != ERR_OK;
}

static int teardown(void **state)
{
    (void)state;
    http_close(server);
    api_metrics_free(api.metrics);
    return 0;
}

static void test_home(void **state)
{
    (void)state;
    get("/", "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n");
    expect("200 OK");
    expect("\r\n\r\n<p>");
    expect("Content-Type: text/html; charset=utf-8\r\n");
    expect("Content-Security-Policy: default-src 'none'; script-src 'self';");
    expect("frame-ancestors 'none'\r\n");
    expect_not("unsafe");
    expect("Cache-Control: no-cache\r\n");
    expect("X-Content-Type-Options: nosniff\r\n");
    expect("Referrer-Policy: no-referrer\r\n");
    expect("ETag: \"cccc\"\r\n");
    static const char *const programs[] = {"", "Accept: */*\r\n", "Accept: text/html;q=0\r\n",
                                           "Accept: application/json\r\n"};
    for (size_t i = 0; i < N_ELEMS(programs); i++) {
        get("/", programs[i]);
        expect("Content-Type: text/plain; charset=utf-8\r\n");
        expect("damso is running");
    }
    api.o.web.n = 0; /* built without the app */
    get("/", "Accept: text/html\r\n");
    expect("damso is running");
    get("/icon.svg", "");
    expect("404 Not Found");
    api.o.web.n = N_ELEMS(files);
}

static void test_files(void **state)
{
    (void)state;
    get("/assets/a-1.js", "");
    expect("\r\n\r\nvar a");
    expect("Cache-Control: public, max-age=31536000, immutable\r\n");
    expect_not("Content-Encoding");
    get("/assets/a-1.js", "Accept-Encoding: br, gzip\r\n");
    expect("Content-Encoding: gzip\r\n");
    expect("ETag: \"aaaa-gz\"\r\n");
    expect("Vary: Accept-Encoding\r\n");
    expect("\r\n\r\nZIP");
    get("/assets/a-1.js", "Accept-Encoding: gzip;q=0, br\r\n");
    expect_not("Content-Encoding");
    get("/assets/a-1.js", "Accept-Encoding: gzip;q=0.5\r\n");
    expect("Content-Encoding: gzip\r\n");
    get("/icon.svg", "Accept-Encoding: gzip\r\n");
    expect_not("Content-Encoding");
    expect("Content-Security-Policy: default-src 'none';");
    get("/assets/b.js", "");
    expect("404 Not Found");
    get("/assets/..%2findex.html", "");
    expect_not("<p>");
    get("/assets/%2e%2e", "");
    expect_not("<p>");
}

static void test_known(void **state)
{
    (void)state;
    get("/assets/a-1.js", "If-None-Match: \"x\", \"aaaa\"\r\n");
    expect("304 Not Modified");
    expect_not("var a");
    expect("ETag: \"aaaa\"\r\n");
    /* the other coding is another thing */
    get("/assets/a-1.js", "If-None-Match: \"aaaa\"\r\nAccept-Encoding: gzip\r\n");
    expect("200 OK");
    get("/", "Accept: text/html\r\nIf-None-Match: \"cccc\"\r\n");
    expect("304 Not Modified");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_home), cmocka_unit_test(test_files),
                                       cmocka_unit_test(test_known)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
