/* SPDX-License-Identifier: MIT
 * A connection's and a request's way through libmicrohttpd: its callbacks, on the io threads. */
#include "http/http_in.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define HTTP_HEADERS_MAX 128
/* What is read and thrown away after an error, so that the client gets to see the answer. */
#define HTTP_DRAIN_MAX ((size_t)1 << 20)

static uint64_t http_ms(uint64_t ms)
{
    return ms * 1000000;
}

static struct http_conn *http_conn_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    CHECK(info && info->socket_context);
    return info->socket_context;
}

/* The request is over for libmicrohttpd: sent, or its client is gone. */
static void http_call_over(struct http_call *c, bool complete)
{
    struct http_server *s = c->s;
    pthread_mutex_lock(&s->mu);
    c->over = true;
    c->suspended = false;
    struct MHD_Response *answer = c->answer;
    c->answer = NULL;
    if (!complete || c->close || c->version_1_0)
        atomic_store(&c->conn->told, true);
    if (c->watched)
        http_watch_del(c->conn);
    const struct http_ops *ops = c->ops;
    bool streaming = ops && ops->fill;
    size_t bytes = c->body.n + c->n_charged;
    c->conn->call = NULL;
    c->conn->deadline_ns = os_now_ns() + http_ms(s->o.slow_ms) + http_ms(1000ull * s->o.idle_s);
    pthread_mutex_unlock(&s->mu);
    if (answer)
        MHD_destroy_response(answer);
    if (!complete && c->running)
        atomic_fetch_add(&s->n_gone, 1);
    if (ops && ops->gone && !complete)
        ops->gone(c->state);
    if (ops && ops->done)
        ops->done(c->state);
    if (c->running)
        atomic_fetch_sub(&s->n_running, 1);
    if (streaming)
        atomic_fetch_sub(&s->n_streams, 1);
    atomic_fetch_sub(&s->bodies_bytes, bytes);
    http_release(&c->req);
    pthread_mutex_lock(&s->mu);
    if (--s->n_calls == 0)
        pthread_cond_broadcast(&s->idle);
    pthread_mutex_unlock(&s->mu);
}

void http_release(struct http_req *r)
{
    struct http_call *c = http_call_of(r);
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    str_done(&c->body);
    str_done(&c->out);
    arena_done(&c->arena);
    http_server_unref(c->s);
    mem_free(c);
}

void http_hold(struct http_req *r)
{
    CHECK(atomic_fetch_add(&http_call_of(r)->refs, 1) > 0);
}

static void http_conn_begin(struct http_server *s, struct MHD_Connection *mhd, void **context)
{
    struct http_conn *k = mem_alloc(sizeof(*k));
    k->s = s;
    k->mhd = mhd;
    k->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    const struct sockaddr *a =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
    socklen_t n = a->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                           : sizeof(struct sockaddr_in);
    if (getnameinfo(a, n, k->client, sizeof(k->client), NULL, 0, NI_NUMERICHOST) != 0)
        k->client[0] = 0;
    k->deadline_ns = os_now_ns() + http_ms(s->o.slow_ms);
    atomic_fetch_add(&s->n_connections, 1);
    pthread_mutex_lock(&s->mu);
    k->id = ++s->next_id;
    k->extra = s->n_conns >= s->o.connections_max;
    k->next = s->conns;
    if (s->conns)
        s->conns->prev = k;
    s->conns = k;
    bool first = s->n_conns++ == 0;
    pthread_mutex_unlock(&s->mu);
    *context = k;
    if (first)
        http_watch_kick(s);
}

static void http_conn_end(struct http_server *s, struct http_conn *k)
{
    if (k->call)
        http_call_over(k->call, false);
    http_last_word(k);
    pthread_mutex_lock(&s->mu);
    if (k->next)
        k->next->prev = k->prev;
    *(k->prev ? &k->prev->next : &s->conns) = k->next;
    s->n_conns--;
    pthread_mutex_unlock(&s->mu);
    mem_free(k);
}

void http_notify_conn(void *cls, struct MHD_Connection *mhd, void **context,
                      enum MHD_ConnectionNotificationCode what)
{
    struct http_server *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        http_conn_begin(s, mhd, context);
    } else if (*context) {
        http_conn_end(s, *context);
        *context = NULL;
    }
}

static const char *http_new_id(struct arena *a)
{
    unsigned char b[16];
    char *id = arena_alloc(a, 2 * sizeof(b) + 1);
    CHECK(getrandom(b, sizeof(b), 0) == sizeof(b));
    for (size_t i = 0; i < sizeof(b); i++) {
        id[2 * i] = "0123456789abcdef"[b[i] >> 4];
        id[2 * i + 1] = "0123456789abcdef"[b[i] & 15];
    }
    return id;
}

void *http_notify_uri(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct http_server *s = cls;
    struct http_conn *k = http_conn_of(mhd);
    if (k->call)
        http_call_over(k->call, false);
    struct http_call *c = mem_alloc(sizeof(*c));
    c->s = s;
    atomic_fetch_add(&s->refs, 1);
    c->conn = k;
    arena_init(&c->arena);
    str_init(&c->body, s->o.body_bytes_max);
    str_init(&c->out, HTTP_FILL_BYTES_MAX);
    atomic_init(&c->refs, 1);
    c->uri = arena_dup(&c->arena, uri, strlen(uri));
    c->req.arena = &c->arena;
    c->req.method = c->req.path = "";
    c->req.client = arena_dup(&c->arena, k->client, strlen(k->client));
    c->req.id = http_new_id(&c->arena);
    c->req.arrived_ns = os_now_ns();
    pthread_mutex_lock(&s->mu);
    k->call = c;
    s->n_calls++;
    uint64_t deadline = c->req.arrived_ns + http_ms(s->o.slow_ms);
    k->deadline_ns = MIN(k->deadline_ns, deadline);
    pthread_mutex_unlock(&s->mu);
    return c;
}

void http_notify_completed(void *cls, struct MHD_Connection *mhd, void **context,
                           enum MHD_RequestTerminationCode why)
{
    (void)cls;
    struct http_conn *k = http_conn_of(mhd);
    if (k->call)
        http_call_over(k->call, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    *context = NULL;
}

struct http_copy {
    struct http_call *c;
    struct http_pair **tail;
    size_t n;
};

static enum MHD_Result http_copy_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                        const char *value)
{
    (void)kind;
    struct http_copy *copy = cls;
    struct arena *a = &copy->c->arena;
    if (++copy->n > HTTP_HEADERS_MAX)
        return MHD_NO;
    struct http_pair *p = arena_alloc(a, sizeof(*p));
    p->name = arena_dup(a, name, strlen(name));
    p->value = value ? arena_dup(a, value, strlen(value)) : "";
    *copy->tail = p;
    copy->tail = &p->next;
    return MHD_YES;
}

/* Everything that headers alone decide. */
static struct http_refusal http_check_head(struct http_call *c, const char *version,
                                           size_t n_headers, bool *ambiguous)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        c->conn->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (n_headers > HTTP_HEADERS_MAX || (info && info->header_size > c->s->o.header_bytes_max))
        return (struct http_refusal){431, "the request's headers are too large"};
    if (strlen(c->uri) > c->s->o.header_bytes_max / 4)
        return (struct http_refusal){414, "the request's path is too long"};
    c->version_1_0 = strcmp(version, "HTTP/1.0") == 0;
    if (!c->version_1_0 && strcmp(version, "HTTP/1.1") != 0)
        return (struct http_refusal){505, "only HTTP/1.1 and HTTP/1.0 are spoken here"};
    if (!http_is_token(c->req.method))
        return (struct http_refusal){400, "the request's method is malformed"};
    for (const struct http_pair *p = c->headers; p; p = p->next) {
        if (!http_is_token(p->name) || !http_is_value(p->value))
            return (struct http_refusal){400, "a header is malformed"};
    }
    struct http_refusal no = http_guard_framing(c, ambiguous);
    const char *authority;
    if (!no.status)
        no = http_uri_read(c, &authority);
    if (!no.status)
        no = http_guard_host(c, authority);
    if (!no.status)
        no = http_guard_origin(c);
    return no;
}

static size_t http_length_given(const struct http_call *c)
{
    const char *length = http_pair_get(c->headers, "content-length", true);
    return length ? (size_t)strtoull(length, NULL, 10) : 0;
}

/* The headers are here.  An error is told now when the body is not worth reading. */
static enum MHD_Result http_head(struct http_call *c, const char *method, const char *version)
{
    struct http_server *s = c->s;
    c->req.method = arena_dup(&c->arena, method, strlen(method));
    struct http_copy copy = {c, &c->headers, 0};
    MHD_get_connection_values(c->conn->mhd, MHD_HEADER_KIND, http_copy_header, &copy);
    bool ambiguous = false;
    c->refusal = http_check_head(c, version, copy.n, &ambiguous);
    if (!c->refusal.status) {
        if (c->conn->extra)
            c->refusal = (struct http_refusal){503, "too many connections"};
        else if (http_length_given(c) > s->o.body_bytes_max)
            c->refusal = (struct http_refusal){413, "the request's body is too large"};
    }
    c->close |= c->conn->extra;
    if (!c->refusal.status)
        return MHD_YES;
    bool big = http_length_given(c) > HTTP_DRAIN_MAX || http_pair_count(c->headers, "expect");
    if (!ambiguous && !big && c->refusal.status != 431)
        return MHD_YES;
    c->close = c->received = true;
    http_refuse(&c->req, c->refusal.status, c->refusal.text);
    return http_settle(c);
}

static enum MHD_Result http_body(struct http_call *c, const char *data, size_t n)
{
    struct http_server *s = c->s;
    atomic_fetch_add(&s->bytes_in, n);
    if (!c->refusal.status && n > s->o.body_bytes_max - c->body.n)
        c->refusal = (struct http_refusal){413, "the request's body is too large"};
    if (!c->refusal.status) {
        size_t total = atomic_fetch_add(&s->bodies_bytes, n) + n;
        str_add(&c->body, data, n);
        if (total > s->o.bodies_bytes_max)
            c->refusal = (struct http_refusal){503, "too many large requests at once"};
        return MHD_YES;
    }
    c->n_drained += n;
    if (c->n_drained <= HTTP_DRAIN_MAX)
        return MHD_YES;
    http_raw_error(c->conn, c->refusal.status, c->refusal.text);
    return MHD_NO;
}

/* All of the request is here: the deadline is met. */
static void http_run(struct http_call *c)
{
    struct http_server *s = c->s;
    pthread_mutex_lock(&s->mu);
    c->conn->deadline_ns = 0;
    bool closing = s->closing;
    pthread_mutex_unlock(&s->mu);
    c->received = c->running = true;
    c->conn->bytes_heard = http_bytes_come(c->conn);
    atomic_fetch_add(&s->n_running, 1);
    c->req.body = str_span(&c->body);
    if (closing && !c->refusal.status)
        c->refusal = (struct http_refusal){503, "the server is going down"};
    if (c->refusal.status) {
        if (c->refusal.status == 503)
            http_header(&c->req, "Retry-After", "1");
        http_refuse(&c->req, c->refusal.status, c->refusal.text);
    } else if (http_route_find(c)) {
        c->req.route->handler(&c->req, s->arg);
    }
}

enum MHD_Result http_access(void *cls, struct MHD_Connection *mhd, const char *url,
                            const char *method, const char *version, const char *data, size_t *n,
                            void **context)
{
    (void)cls;
    (void)url;
    (void)context;
    struct http_call *c = http_conn_of(mhd)->call;
    CHECK(c);
    if (!c->seen) {
        c->seen = true;
        return http_head(c, method, version);
    }
    if (*n) {
        size_t got = *n;
        *n = 0;
        return http_body(c, data, got);
    }
    if (!c->received)
        http_run(c);
    return http_settle(c);
}
