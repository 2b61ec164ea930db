/* SPDX-License-Identifier: MIT
 * What libmicrohttpd 0.9.75 says by itself, in our words.  Two kinds of malformed requests never
 * reach a callback.
 *
 * What it answers itself (a broken header line, a length that is no number, a bad chunk, a version
 * that is none, heads beyond its memory) it hands, with a page of HTML, to its own public function
 * MHD_queue_response.  A program's function goes before a shared library's of the same name, also
 * for the library's own calls: the one below sends our JSON instead.  Where the library would bind
 * its own, its page would be back; a test looks at each case.
 *
 * A first line without a space it closes without a word.  Then bytes have come since the last
 * request was whole, and none was made of them: we say 400 before the socket is closed. */
#include "http/http_in.h"

#include "base/num.h"

#include <dlfcn.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define HTTP_TCP_CLOSE_WAIT 8 /* of tcpi_state: the other side has said its end */

typedef enum MHD_Result http_queue_fn(struct MHD_Connection *, unsigned, struct MHD_Response *);

static http_queue_fn *http_real_queue(void)
{
    static _Atomic(http_queue_fn *) real;
    http_queue_fn *fn = atomic_load_explicit(&real, memory_order_relaxed);
    if (!fn) {
        fn = (http_queue_fn *)dlsym(RTLD_NEXT, "MHD_queue_response");
        CHECK(fn);
        atomic_store_explicit(&real, fn, memory_order_relaxed);
    }
    return fn;
}

enum MHD_Result http_queue(struct http_conn *k, unsigned status, struct MHD_Response *m)
{
    return http_real_queue()(k->mhd, status, m);
}

static const char *http_their_text(unsigned status)
{
    switch (status) {
    case 400: return "the request is malformed";
    case 413: return "the request's body is too large";
    case 414: return "the request's path is too long";
    case 431: return "the request's headers are too large";
    case 505: return "only HTTP/1.1 and HTTP/1.0 are spoken here";
    default: return MHD_get_reason_phrase_for(status);
    }
}

/* libmicrohttpd's errors come here, and nothing else: our own answers take http_queue.  "No" makes
 * it close the connection; were the answer queued, it would send the head twice for a
 * Content-Length that is no number.  With TLS there is no other way. */
enum MHD_Result MHD_queue_response(struct MHD_Connection *mhd, unsigned status,
                                   struct MHD_Response *theirs)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_conn *k = info ? info->socket_context : NULL;
    if (!k || status < 400 || status > 599)
        return http_real_queue()(mhd, status, theirs);
    if (!k->s->tls_cert) {
        http_raw_error(k, (int)status, http_their_text(status));
        shutdown(k->fd, SHUT_RDWR); /* an event, so that it closes now and not with the next one */
        return MHD_NO;
    }
    struct str body;
    str_init(&body, 65536);
    http_error_body(k->s, (int)status, http_their_text(status), &body);
    struct MHD_Response *ours = MHD_create_response_from_buffer(body.n, body.p,
                                                                MHD_RESPMEM_MUST_COPY);
    str_done(&body);
    CHECK(ours);
    http_add_headers(k->call, ours, "application/json");
    enum MHD_Result ok = http_queue(k, status, ours);
    MHD_destroy_response(ours);
    atomic_fetch_add(&k->s->n_requests[status / 100], 1);
    return ok;
}

uint64_t http_bytes_come(const struct http_conn *k)
{
    struct tcp_info t;
    socklen_t n = sizeof(t);
    memset(&t, 0, sizeof(t));
    if (getsockopt(k->fd, IPPROTO_TCP, TCP_INFO, &t, &n) != 0)
        return 0;
    /* The end of the other side counts as a byte. */
    return t.tcpi_bytes_received - (t.tcpi_bytes_received && t.tcpi_state == HTTP_TCP_CLOSE_WAIT);
}

void http_last_word(struct http_conn *k)
{
    struct http_server *s = k->s;
    if (s->tls_cert)
        return;
    pthread_mutex_lock(&s->mu);
    bool down = s->draining || s->closing;
    pthread_mutex_unlock(&s->mu);
    if (!down && !atomic_load(&k->told) && http_bytes_come(k) > k->bytes_heard)
        http_raw_error(k, 400, "the request is malformed");
    shutdown(k->fd, SHUT_WR); /* which MHD_USE_TURBO leaves to us */
}
