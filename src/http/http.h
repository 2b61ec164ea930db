/* SPDX-License-Identifier: MIT
 * http.h - a server for HTTP/1.1: routes, whole answers, late answers, streams, limits.
 *
 * Does: hold every request to limits of size and time before a handler sees it; check Host (DNS
 *       rebinding) and Origin (CORS is off unless an origin is named); find the route; say when a
 *       client has gone away, also while nothing is sent; make errors with the API's own body.
 * Does not: see JSON, open files (but the two of TLS), use a thread for a connection, or answer
 *       in silence: what cannot be served is a 4xx or 5xx.
 * Threads: handlers, fill, gone and done run on an io thread and must not block.  A request's
 *       memory belongs to the handler's thread, after http_later to the one that answers.
 *       http_wake, http_hold and http_release may be called from any thread.
 * Owner: a request lives until its answer is sent or its client is gone, and while it is held.
 * Limits: what libmicrohttpd cannot parse never reaches a handler, but is answered with 4xx and
 *       error_body as well, and the connection ends (http_theirs.c).  Two holes: over TLS a first
 *       line without a space is closed without a word, and so is one that came in the same breath
 *       as the request before it.  A client that shuts its sending side down while it waits counts
 *       as gone. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;

struct http_req {
    const char *method; /* HEAD stays HEAD; its answer loses the body by itself */
    const char *path;   /* percent-decoded, valid UTF-8, begins with '/', no query */
    const char *client; /* numeric address */
    const char *id;     /* 32 random hexadecimal digits, sent as x-request-id */
    struct span body;
    uint64_t arrived_ns;            /* os_now_ns when the request line was there */
    const struct http_route *route; /* NULL where none was found */
    struct arena *arena;            /* of the request's lifetime */
};

typedef void http_handler(struct http_req *r, void *arg);

/* pattern: "/v1/models/{name}"; a {name} is one segment, not empty.  Exact routes go before those
 * with names, then the order counts.  GET serves HEAD too.  One '/' at a path's end is ignored. */
struct http_route {
    const char *method;
    const char *pattern;
    http_handler *handler;
};

struct http_opts {
    const char *address;     /* numeric, or "localhost"; NULL: 127.0.0.1 */
    uint16_t port;           /* 0: any */
    int n_threads;           /* io threads; 0: 1 */
    size_t body_bytes_max;   /* of one request; 0: 32 MiB */
    size_t bodies_bytes_max; /* of all requests at once, with http_charge; 0: 256 MiB */
    size_t
        header_bytes_max; /* request line and headers; 0: 16 KiB; an idle connection keeps twice */
    size_t connections_max;             /* 0: 1024; more get 503 */
    unsigned idle_s;                    /* a kept connection without a request; 0: 60 */
    unsigned slow_ms;                   /* a request must be there within; 0: 30 s */
    unsigned keep_alive_ms;             /* comment in an event stream after silence; 0: none */
    const char *const *allowed_hosts;   /* names, NULL-terminated or NULL; "*": any */
    const char *const *allowed_origins; /* "https://a.example"; "*": any */
    const char *tls_cert_file, *tls_key_file; /* PEM; NULL: no TLS */
    /* Appends the JSON body of an error of this layer.  Any thread, no calls
     * back; NULL: {"error":...}. */
    void (*error_body)(void *arg, int status, const char *text, struct str *out);
};

/* routes and the strings of o must live until http_close; arg goes to handlers and error_body. */
enum err http_open(struct http_server **out, const struct http_opts *o,
                   const struct http_route *routes, size_t n_routes, void *arg, struct errinfo *e);
uint16_t http_port(const struct http_server *s);
/* Takes no more connections, closes kept ones after their answer; true when no request is left,
 * false when some are after wait_ns.  Call again to go on waiting. */
bool http_drain(struct http_server *s, uint64_t wait_ns);
/* Ends what runs as if its client had gone, waits for every `done`, frees.  NULL is fine.  Not
 * from an io thread.  Held requests may be woken and
 * released later. */
void http_close(struct http_server *s);

/* Counts memory that is made of the body among bodies_bytes_max, until the request ends; false, and
 * nothing is counted, where that is too much for now.  Any thread. */
bool http_charge(struct http_req *r, size_t bytes);

struct http_stats {
    uint64_t n_connections, n_open; /* since the start; now */
    uint64_t n_requests[6];         /* answers begun, by status / 100 */
    uint64_t n_running, n_streams;  /* requests not yet answered or streaming; streams of those */
    uint64_t n_gone;                /* clients that left before their answer's end */
    uint64_t bytes_in, bytes_out;   /* of bodies */
};

struct http_stats http_stats(struct http_server *s);

/* Readers.  NULL where there is none; the first where there are several. */
const char *http_param(const struct http_req *r, const char *name);
const char *http_query(const struct http_req *r, const char *name);      /* decoded */
const char *http_req_header(const struct http_req *r, const char *name); /* any case */
/* All pairs of the query, decoded, in their order. */
void http_queries(const struct http_req *r,
                  void (*each)(void *arg, const char *name, const char *value), void *arg);

/* A header of the answer to come.  Errors: USAGE for a name or value that is not one (CR, LF). */
enum err http_header(struct http_req *r, const char *name, const char *value);

/* One answer a request: http_reply, http_fail or http_stream_begin, in the handler or, after
 * http_later, from any thread.  body is copied.  Without a client nothing happens. */
void http_reply(struct http_req *r, int status, const char *content_type, struct span body);
void http_fail(struct http_req *r, int status, const char *json);
/* An error in the layer's own words: body by opts.error_body. */
void http_refuse(struct http_req *r, int status, const char *text);

enum http_fill {
    HTTP_MORE, /* something was appended, and there is more: call again when it is sent */
    HTTP_WAIT, /* this is all for now: call again after http_wake */
    HTTP_END   /* this is the end */
};

#define HTTP_FILL_BYTES_MAX ((size_t)16 << 20)

struct http_ops {
    /* Appends what is ready; whole events where comments may come between.  At most
     * HTTP_FILL_BYTES_MAX a call.  NULL for http_later. */
    enum http_fill (*fill)(void *state, struct str *out);
    /* After http_later: on the io thread, some time after each http_wake, until there is an
     * answer, which it may give.  May be NULL. */
    void (*woken)(void *state);
    void (*gone)(void *state); /* the client left, or http_close; at most once, before done */
    void (*done)(void *state); /* exactly once: the last call for this state */
};

/* The handler returns without an answer; one follows.  ops may be NULL.  Called again, also from
 * woken, its ops take the place of the former, whose `done` is not called. */
void http_later(struct http_req *r, const struct http_ops *ops, void *state);
/* After http_later its ops are replaced, their `done` is not called.  False: the client is gone,
 * the former ops stay (in a handler: true always). */
bool http_stream_begin(struct http_req *r, int status, const char *content_type,
                       const struct http_ops *ops, void *state);
/* There is something to fill, or to look at (woken).  Cheap, never blocks, harmless at any time
 * while r is alive. */
void http_wake(struct http_req *r);
/* r stays valid until the matching release, also after `done`; then only wake does nothing. */
void http_hold(struct http_req *r);
void http_release(struct http_req *r);

/* One server-sent event: "event: E\n" unless empty, "data: " before each line of data, "\n". */
void http_sse(struct str *out, struct span event, struct span data);

#endif
