/* SPDX-License-Identifier: MIT
 * http_in.h - what the files of this folder share; no one else includes it.
 *
 * One lock (http_server.mu) guards the list of connections and what of a call other threads
 * touch.  Order: a response's mutex inside libmicrohttpd, then mu, then the daemon's mutex; so no
 * function on responses is called with mu held. */
#ifndef HTTP_HTTP_IN_H
#define HTTP_HTTP_IN_H

#include "http/http.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

struct http_pair {
    const char *name, *value;
    struct http_pair *next;
};

struct http_refusal {
    int status; /* 0: none */
    const char *text;
};

/* A request. */
struct http_call {
    struct http_req req; /* first: a http_req is a http_call */
    struct http_server *s;
    struct http_conn *conn;
    struct arena arena;
    char *uri; /* as it came, of the arena */
    struct http_pair *headers, *query, *params, *extra;
    struct str body;
    struct http_refusal refusal; /* answered once the body is read */
    size_t n_drained;            /* bytes of the body that were not kept */
    bool seen, received, running, version_1_0;
    bool close; /* the connection ends with this answer */

    /* io thread only */
    bool queued, ended, sse;
    unsigned status;
    struct str out; /* of a stream, [out_sent .. n) still to send */
    size_t out_sent;

    /* under mu */
    bool later, answered, suspended, woken, gone, ping, over, watched;
    struct MHD_Response *answer;
    unsigned answer_status;
    const struct http_ops *ops;
    void *state;
    uint64_t sent_ns; /* of the stream's last bytes */
    size_t n_charged; /* http_charge */

    atomic_int refs;
};

struct http_conn {
    struct http_conn *prev, *next;
    struct http_server *s;
    struct MHD_Connection *mhd;
    struct http_call *call; /* the one request under way */
    uint64_t id;
    uint64_t deadline_ns; /* the next request must be there; 0: it is */
    int fd;
    bool extra;           /* above connections_max: gets 503 */
    uint64_t bytes_heard; /* that had come when the last request was whole */
    atomic_bool told;     /* its end needs no word of ours */
    char client[64];
};

struct http_server {
    struct http_opts o;
    const struct http_route *routes;
    size_t n_routes;
    void *arg;
    struct MHD_Daemon *daemon;
    char *tls_cert, *tls_key;
    int listen_fd, watch_fd, wake_fd;
    uint16_t port;
    bool any_address; /* listens on all: a Host that is a number is ours */
    bool watching;
    pthread_t watcher;

    pthread_mutex_t mu;
    pthread_cond_t idle; /* n_calls became 0 */
    struct http_conn *conns;
    size_t n_conns, n_calls;
    uint64_t next_id;
    bool draining, closing, stop;

    atomic_int refs; /* the owner and every request: a held one may outlive http_close */
    atomic_size_t bodies_bytes;
    atomic_uint_least64_t n_connections, n_streams, n_running, n_gone, bytes_in, bytes_out;
    atomic_uint_least64_t n_requests[6];
};

static inline struct http_call *http_call_of(const struct http_req *r)
{
    return (struct http_call *)(uintptr_t)r;
}

/* http.c */
void http_server_unref(struct http_server *s);

/* http_call.c */
void http_notify_conn(void *cls, struct MHD_Connection *mhd, void **context,
                      enum MHD_ConnectionNotificationCode what);
void *http_notify_uri(void *cls, const char *uri, struct MHD_Connection *mhd);
void http_notify_completed(void *cls, struct MHD_Connection *mhd, void **context,
                           enum MHD_RequestTerminationCode why);
enum MHD_Result http_access(void *cls, struct MHD_Connection *mhd, const char *url,
                            const char *method, const char *version, const char *data, size_t *n,
                            void **context);

/* http_guard.c: NULL text where all is well */
struct http_refusal http_guard_framing(const struct http_call *c, bool *ambiguous);
struct http_refusal http_guard_host(const struct http_call *c, const char *authority);
struct http_refusal http_guard_origin(struct http_call *c);
bool http_is_token(const char *s);
bool http_is_value(const char *s);
const char *http_pair_get(const struct http_pair *list, const char *name, bool any_case);
size_t http_pair_count(const struct http_pair *list, const char *name);

/* http_route.c */
/* Decodes c->uri into req.path and query; *authority is that of an absolute URI. */
struct http_refusal http_uri_read(struct http_call *c, const char **authority);
/* Finds the route, or answers 404, 405, OPTIONS itself: then false. */
bool http_route_find(struct http_call *c);

/* http_reply.c */
void http_error_body(struct http_server *s, int status, const char *text, struct str *out);
/* On an io thread, after a handler or a resume: queues the answer or suspends. */
enum MHD_Result http_settle(struct http_call *c);
/* Writes an error straight to the socket, where libmicrohttpd takes no answer. */
void http_raw_error(struct http_conn *k, int status, const char *text);
/* With mu held. */
void http_gone_locked(struct http_call *c);
void http_wake_locked(struct http_call *c);

/* c may be NULL: where no request was made of what came. */
void http_add_headers(const struct http_call *c, struct MHD_Response *m, const char *content_type);

/* http_theirs.c */
/* Hands an answer of ours to libmicrohttpd. */
enum MHD_Result http_queue(struct http_conn *k, unsigned status, struct MHD_Response *m);
/* Bytes of the other side, since the connection began. */
uint64_t http_bytes_come(const struct http_conn *k);
/* The socket is about to be closed. */
void http_last_word(struct http_conn *k);

/* http_watch.c */
enum err http_watch_open(struct http_server *s, struct errinfo *e);
void http_watch_close(struct http_server *s);
void http_watch_kick(struct http_server *s);
void http_watch_add(struct http_conn *k); /* with mu held */
void http_watch_del(struct http_conn *k); /* with mu held */

#endif
