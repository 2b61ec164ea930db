/* SPDX-License-Identifier: MIT
 * http_fuzz.c - any bytes as a request's lines: method, URI, then "name: value" until the end.
 * What our own checks and routes make of them, without libmicrohttpd's parser before. */
#include "http/http_in.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void fuzz_handler(struct http_req *r, void *arg)
{
    (void)r;
    (void)arg;
}

static const struct http_route fuzz_routes[] = {
    {"GET",    "/",                 fuzz_handler},
    {"GET",    "/v1/models",        fuzz_handler},
    {"POST",   "/v1/models",        fuzz_handler},
    {"GET",    "/v1/models/{name}", fuzz_handler},
    {"DELETE", "/a/{x}/b/{y}",      fuzz_handler},
};
static const char *const fuzz_origins[] = {"https://a.example", NULL};

/* The next line, as text of the arena; NULL at the end. */
static char *fuzz_line(struct arena *a, const char **p, const char *end)
{
    if (*p == end)
        return NULL;
    const char *stop = memchr(*p, '\n', (size_t)(end - *p));
    size_t n = (size_t)((stop ? stop : end) - *p);
    char *line = arena_dup(a, *p, n);
    *p += n + (stop != NULL);
    return line;
}

static void fuzz_call(struct http_call *c)
{
    bool ambiguous;
    const char *authority = NULL;
    struct http_refusal no = http_guard_framing(c, &ambiguous);
    if (!no.status)
        no = http_uri_read(c, &authority);
    if (!no.status)
        no = http_guard_host(c, authority);
    if (!no.status)
        no = http_guard_origin(c);
    if (no.status) {
        if (no.status < 400 || !no.text)
            abort();
    } else if (http_route_find(c) == (c->answer != NULL) ||
               (c->req.path[0] != '/' && strcmp(c->req.path, "*") != 0)) {
        abort(); /* either a handler or an answer */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct http_server s = {.o.address = "127.0.0.1", .o.allowed_origins = fuzz_origins};
    struct http_call c = {.s = &s};
    const char *p = (const char *)data, *end = p + n;
    s.routes = fuzz_routes;
    s.n_routes = sizeof(fuzz_routes) / sizeof(fuzz_routes[0]);
    pthread_mutex_init(&s.mu, NULL);
    arena_init(&c.arena);
    c.req.arena = &c.arena;
    c.req.id = "0";
    c.req.method = fuzz_line(&c.arena, &p, end);
    c.uri = fuzz_line(&c.arena, &p, end);
    char *line;
    while ((line = fuzz_line(&c.arena, &p, end))) {
        struct http_pair *h = arena_alloc(&c.arena, sizeof(*h));
        size_t n_name = strcspn(line, ":");
        h->name = arena_dup(&c.arena, line, n_name);
        h->value = line + n_name + (line[n_name] == ':');
        h->next = c.headers;
        if (http_is_token(h->name) && http_is_value(h->value))
            c.headers = h;
    }
    if (c.req.method && c.uri && http_is_token(c.req.method))
        fuzz_call(&c);
    if (c.answer)
        MHD_destroy_response(c.answer);
    arena_done(&c.arena);
    pthread_mutex_destroy(&s.mu);
    return 0;
}
