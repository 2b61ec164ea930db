/* SPDX-License-Identifier: MIT
 * From a request's URI to its handler. */
#include "http/http_in.h"

#include "base/num.h"

#include <string.h>
#include <strings.h>

#define HTTP_OK          ((struct http_refusal){0, NULL})
#define HTTP_QUERY_MAX   128
#define HTTP_SEGMENT_MAX 32

static int http_hex(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    ch |= 0x20;
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* Percent-decodes in[0 .. n); NULL for a broken escape, a NUL or ill-formed UTF-8. */
static char *http_decode(struct arena *a, const char *in, size_t n, bool form)
{
    char *out = arena_alloc(a, n + 1);
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++) {
        char ch = in[i];
        if (ch == '%') {
            int hi = n - i > 2 ? http_hex(in[i + 1]) : -1;
            int lo = n - i > 2 ? http_hex(in[i + 2]) : -1;
            if (hi < 0 || lo < 0 || (hi | lo) == 0)
                return NULL;
            ch = (char)(hi << 4 | lo);
            i += 2;
        } else if (form && ch == '+') {
            ch = ' ';
        }
        out[n_out++] = ch;
    }
    out[n_out] = 0;
    return utf8_valid((struct span){out, n_out}) ? out : NULL;
}

static bool http_query_read(struct http_call *c, const char *q)
{
    struct http_pair **tail = &c->query;
    for (size_t n_pairs = 0; *q; n_pairs++) {
        size_t n = strcspn(q, "&"), n_name = MIN(n, strcspn(q, "="));
        size_t skip = n_name < n ? n_name + 1 : n;
        struct http_pair *p = arena_alloc(&c->arena, sizeof(*p));
        p->name = http_decode(&c->arena, q, n_name, true);
        p->value = http_decode(&c->arena, q + skip, n - skip, true);
        if (!p->name || !p->value || n_pairs == HTTP_QUERY_MAX)
            return false;
        *tail = p;
        tail = &p->next;
        q += n + (q[n] == '&');
    }
    return true;
}

/* No '.' or '..' gets through in any spelling, though no path reaches the file system here. */
static bool http_path_plain(const char *path)
{
    for (const char *p = path; *p;) {
        p += *p == '/';
        size_t n = strcspn(p, "/");
        if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        p += n;
    }
    return true;
}

struct http_refusal http_uri_read(struct http_call *c, const char **authority)
{
    static const struct http_refusal bad = {400, "the request's path is malformed"};
    char *uri = c->uri;
    *authority = NULL;
    c->req.path = "/";
    for (const char *p = uri; *p; p++) {
        if ((unsigned char)*p <= 0x20 || *p == 0x7f || *p == '#')
            return bad;
    }
    bool plain = strncasecmp(uri, "http://", 7) == 0;
    if (plain || strncasecmp(uri, "https://", 8) == 0) {
        const char *host = uri + (plain ? 7 : 8);
        size_t n = strcspn(host, "/?");
        *authority = arena_dup(&c->arena, host, n);
        uri = host[n] == '/' ? (char *)(uintptr_t)(host + n)
                             : arena_printf(&c->arena, "/%s", host + n);
        c->uri = uri;
    }
    if (strcmp(uri, "*") == 0 && strcmp(c->req.method, "OPTIONS") == 0) {
        c->req.path = "*";
        return HTTP_OK;
    }
    size_t n = strcspn(uri, "?");
    char *path = http_decode(&c->arena, uri, n, false);
    if (*uri != '/' || !path || !http_path_plain(path))
        return bad;
    c->req.path = path;
    if (uri[n] == '?' && !http_query_read(c, uri + n + 1))
        return (struct http_refusal){400, "the request's query is malformed"};
    return HTTP_OK;
}

/* One segment of the path as it came against one of the pattern. */
static bool http_segment(struct http_call *c, struct span got, struct span want,
                         struct http_pair **params)
{
    char *value = http_decode(&c->arena, got.p, got.n, false);
    if (!value)
        return false;
    if (want.n < 3 || want.p[0] != '{')
        return span_eq_cstr(want, value);
    if (!*value)
        return false;
    struct http_pair *p = arena_alloc(&c->arena, sizeof(*p));
    p->name = arena_dup(&c->arena, want.p + 1, want.n - 2);
    p->value = value;
    p->next = *params;
    *params = p;
    return true;
}

/* Matches raw segments, so that an escaped '/' stays within its segment. */
static bool http_match(struct http_call *c, const char *pattern)
{
    const char *uri = c->uri;
    size_t n = strcspn(uri, "?");
    if (n > 1 && uri[n - 1] == '/')
        n--;
    struct http_pair *params = NULL;
    size_t i = 0, n_segments = 0;
    while (i < n && pattern[0] == '/') {
        if (n_segments++ == HTTP_SEGMENT_MAX || uri[i] != '/')
            return false;
        i++;
        pattern++;
        struct span got = {uri + i, MIN(n - i, strcspn(uri + i, "/?"))};
        struct span want = {pattern, strcspn(pattern, "/")};
        if (!http_segment(c, got, want, &params))
            return false;
        i += got.n;
        pattern += want.n;
    }
    if (i != n || *pattern)
        return false;
    c->params = params;
    return true;
}

static bool http_method_fits(const char *route, const char *method)
{
    return strcmp(route, method) == 0 || (strcmp(route, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

/* Appends a method once. */
static void http_allow(struct str *allow, const char *method)
{
    if (allow->p && strstr(allow->p, method))
        return;
    str_addf(allow, "%s%s", allow->n ? ", " : "", method);
}

/* The answer to OPTIONS: what there is, and for a named origin what its pages may send. */
static void http_options(struct http_call *c, const char *allow)
{
    http_header(&c->req, "Allow", allow);
    const char *wanted = http_pair_get(c->headers, "access-control-request-headers", true);
    if (http_pair_get(c->headers, "origin", true) &&
        http_pair_get(c->headers, "access-control-request-method", true)) {
        http_header(&c->req, "Access-Control-Allow-Methods", allow);
        http_header(&c->req, "Access-Control-Allow-Headers",
                    wanted ? wanted : "Authorization, Content-Type");
        http_header(&c->req, "Access-Control-Max-Age", "600");
    }
    http_reply(&c->req, 204, NULL, SPAN(""));
}

bool http_route_find(struct http_call *c)
{
    struct http_server *s = c->s;
    if (strcmp(c->req.path, "*") == 0) {
        http_options(c, "GET, HEAD, OPTIONS, POST");
        return false;
    }
    struct str allow;
    str_init(&allow, 256);
    for (int names = 0; names < 2; names++) {
        for (size_t i = 0; i < s->n_routes && !c->req.route; i++) {
            const struct http_route *route = &s->routes[i];
            if ((strchr(route->pattern, '{') != NULL) != names || !http_match(c, route->pattern))
                continue;
            if (http_method_fits(route->method, c->req.method))
                c->req.route = route;
            http_allow(&allow, route->method);
            if (strcmp(route->method, "GET") == 0)
                http_allow(&allow, "HEAD");
        }
    }
    if (!c->req.route && !allow.n) {
        http_refuse(&c->req, 404, "there is nothing at this path");
    } else if (!c->req.route) {
        http_allow(&allow, "OPTIONS");
        if (strcmp(c->req.method, "OPTIONS") == 0) {
            http_options(c, allow.p);
        } else {
            http_header(&c->req, "Allow", allow.p);
            http_refuse(&c->req, 405, "this path does not take this method");
        }
    }
    str_done(&allow);
    return c->req.route != NULL;
}
