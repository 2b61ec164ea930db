/* SPDX-License-Identifier: MIT
 * Opening, draining and closing the server. */
#include "http/http_in.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Connections above the limit that are let in to be told 503; more wait in the backlog. */
#define HTTP_EXTRA_CONNS   16
#define HTTP_BACKLOG       512
#define HTTP_PEM_BYTES_MAX 65536

__attribute__((format(printf, 2, 0))) static void http_log(void *cls, const char *fmt, va_list ap)
{
    (void)cls;
    char text[256];
    vsnprintf(text, sizeof(text), fmt, ap);
    text[strcspn(text, "\r\n")] = 0;
    log_at(LOG_DEBUG, "http", "mhd=\"%s\"", text);
}

static void http_defaults(struct http_opts *o)
{
    if (!o->address || strcmp(o->address, "localhost") == 0)
        o->address = "127.0.0.1";
    o->n_threads = MAX(o->n_threads, 1);
    if (!o->body_bytes_max)
        o->body_bytes_max = (size_t)32 << 20;
    if (!o->bodies_bytes_max)
        o->bodies_bytes_max = (size_t)256 << 20;
    if (!o->header_bytes_max)
        o->header_bytes_max = (size_t)16 << 10;
    if (!o->connections_max)
        o->connections_max = 1024;
    if (!o->idle_s)
        o->idle_s = 60;
    if (!o->slow_ms)
        o->slow_ms = 30000;
}

static enum err http_listen(struct http_server *s, struct errinfo *e)
{
    char port[8];
    snprintf(port, sizeof(port), "%u", s->o.port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE},
                    *a = NULL;
    if (getaddrinfo(s->o.address, port, &hints, &a) != 0)
        return err_set(e, ERR_USAGE, "%s is not a numeric address", s->o.address);
    s->any_address = strcmp(s->o.address, "0.0.0.0") == 0 || strcmp(s->o.address, "::") == 0;
    int on = 1, fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
              bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, HTTP_BACKLOG) == 0;
    int why = errno;
    freeaddrinfo(a);
    s->listen_fd = fd;
    if (!ok)
        return err_set(e, ERR_NETWORK, "cannot listen on %s port %s: %s", s->o.address, port,
                       strerror(why));
    struct sockaddr_storage got = {0};
    socklen_t n = sizeof(got);
    CHECK(getsockname(fd, (struct sockaddr *)&got, &n) == 0);
    s->port = ntohs(got.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&got)->sin6_port
                                              : ((struct sockaddr_in *)&got)->sin_port);
    return ERR_OK;
}

static enum err http_read_pem(const char *path, char **out, struct errinfo *e)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set(e, ERR_NOTFOUND, "%s: %s", path, strerror(errno));
    char *text = mem_alloc(HTTP_PEM_BYTES_MAX + 1);
    size_t n = fread(text, 1, HTTP_PEM_BYTES_MAX, f);
    bool bad = ferror(f) || !feof(f) || n == 0;
    fclose(f);
    *out = text;
    if (bad)
        return err_set(e, ERR_CORRUPT, "%s is not a PEM file of at most %d bytes", path,
                       HTTP_PEM_BYTES_MAX);
    return ERR_OK;
}

static enum err http_read_tls(struct http_server *s, struct errinfo *e)
{
    if (!s->o.tls_cert_file && !s->o.tls_key_file)
        return ERR_OK;
    if (!s->o.tls_cert_file || !s->o.tls_key_file)
        return err_set(e, ERR_USAGE, "TLS takes both a certificate and a key");
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        return err_set(e, ERR_UNSUPPORTED, "this libmicrohttpd is built without TLS");
    TRY(http_read_pem(s->o.tls_cert_file, &s->tls_cert, e));
    return http_read_pem(s->o.tls_key_file, &s->tls_key, e);
}

static enum err http_start(struct http_server *s, struct errinfo *e)
{
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem more[4];
    size_t n = 0;
    if (!s->tls_cert) {
        flags |=
            MHD_USE_TURBO; /* the socket still speaks when we hear of its end: http_last_word */
    } else {
        flags |= MHD_USE_TLS;
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, s->tls_cert};
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, s->tls_key};
    }
    if (s->o.n_threads > 1)
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, s->o.n_threads, NULL};
    more[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    /* Twice the headers: libmicrohttpd keeps its answer's headers in the same memory, and ours is
     * the answer to what is just over the limit. */
    s->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, http_access, s, MHD_OPTION_EXTERNAL_LOGGER, http_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, s->listen_fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        2 * s->o.header_bytes_max, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)s->o.connections_max + HTTP_EXTRA_CONNS, MHD_OPTION_CONNECTION_TIMEOUT,
        s->o.idle_s, MHD_OPTION_NOTIFY_CONNECTION, http_notify_conn, s, MHD_OPTION_URI_LOG_CALLBACK,
        http_notify_uri, s, MHD_OPTION_NOTIFY_COMPLETED, http_notify_completed, s,
        MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_ARRAY, more, MHD_OPTION_END);
    if (!s->daemon)
        return err_set(e, ERR_FAILED, "libmicrohttpd does not start%s",
                       s->tls_cert ? " (certificate and key do not fit?)" : "");
    return ERR_OK;
}

static enum err http_open_parts(struct http_server *s, struct errinfo *e)
{
    if (s->o.connections_max > 100000 || s->o.header_bytes_max > ((size_t)1 << 20) ||
        s->o.header_bytes_max < 4096 || s->o.n_threads > 64)
        return err_set(e, ERR_USAGE,
                       "at most 100000 connections, 64 threads, 4 KiB to 1 MiB of headers");
    TRY(http_read_tls(s, e));
    TRY(http_listen(s, e));
    /* Signals are for the program's own threads. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    enum err err = http_watch_open(s, e);
    if (err == ERR_OK)
        err = http_start(s, e);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return err;
}

enum err http_open(struct http_server **out, const struct http_opts *o,
                   const struct http_route *routes, size_t n_routes, void *arg, struct errinfo *e)
{
    struct http_server *s = mem_alloc(sizeof(*s));
    s->o = *o;
    atomic_init(&s->refs, 1);
    s->routes = routes;
    s->n_routes = n_routes;
    s->arg = arg;
    s->listen_fd = s->watch_fd = s->wake_fd = -1;
    pthread_mutex_init(&s->mu, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&s->idle, &clock);
    pthread_condattr_destroy(&clock);
    http_defaults(&s->o);
    *out = s; /* before a handler can run that looks for it there */
    enum err err = http_open_parts(s, e);
    if (err != ERR_OK) {
        *out = NULL;
        http_close(s);
    }
    return err;
}

uint16_t http_port(const struct http_server *s)
{
    return s->port;
}

bool http_drain(struct http_server *s, uint64_t wait_ns)
{
    uint64_t until_ns = os_now_ns();
    until_ns = num_add(until_ns, wait_ns, &(size_t){0}) ? until_ns + wait_ns : UINT64_MAX;
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                             .tv_nsec = (long)(until_ns % 1000000000)};
    pthread_mutex_lock(&s->mu);
    bool first = !s->draining;
    s->draining = true;
    pthread_mutex_unlock(&s->mu);
    if (first) { /* libmicrohttpd forbids closing the socket now; this refuses as well */
        MHD_quiesce_daemon(s->daemon);
        shutdown(s->listen_fd, SHUT_RDWR);
    }
    pthread_mutex_lock(&s->mu);
    while (s->n_calls && os_now_ns() < until_ns) {
        if (pthread_cond_timedwait(&s->idle, &s->mu, &until) != 0)
            break;
    }
    bool idle = s->n_calls == 0;
    pthread_mutex_unlock(&s->mu);
    return idle;
}

/* Lets every sleeping request find out that this is the end; true when there is none left that
 * sleeps or could.  libmicrohttpd must not be stopped with a suspended connection. */
static bool http_end_calls(struct http_server *s)
{
    bool none = true;
    pthread_mutex_lock(&s->mu);
    s->closing = true;
    for (struct http_conn *k = s->conns; k; k = k->next) {
        if (k->call && (k->call->later || k->call->ops)) {
            http_gone_locked(k->call);
            none = false;
        }
    }
    pthread_mutex_unlock(&s->mu);
    return none;
}

void http_server_unref(struct http_server *s)
{
    if (atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    pthread_cond_destroy(&s->idle);
    pthread_mutex_destroy(&s->mu);
    mem_free(s);
}

void http_close(struct http_server *s)
{
    if (!s)
        return;
    if (s->daemon) {
        http_drain(s, 0);
        /* A stream whose client does not read is not suspended and ends in MHD_stop_daemon. */
        for (int i = 0; i < 200 && !http_end_calls(s); i++)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        MHD_stop_daemon(s->daemon);
    }
    http_watch_close(s);
    CHECK(s->n_calls == 0 && !s->conns);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    mem_free(s->tls_cert);
    mem_free(s->tls_key);
    http_server_unref(s);
}

struct http_stats http_stats(struct http_server *s)
{
    struct http_stats t = {.n_connections = atomic_load(&s->n_connections),
                           .n_running = atomic_load(&s->n_running),
                           .n_streams = atomic_load(&s->n_streams),
                           .n_gone = atomic_load(&s->n_gone),
                           .bytes_in = atomic_load(&s->bytes_in),
                           .bytes_out = atomic_load(&s->bytes_out)};
    for (size_t i = 0; i < N_ELEMS(t.n_requests); i++)
        t.n_requests[i] = atomic_load(&s->n_requests[i]);
    pthread_mutex_lock(&s->mu);
    t.n_open = s->n_conns;
    pthread_mutex_unlock(&s->mu);
    return t;
}
