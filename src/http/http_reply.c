/* SPDX-License-Identifier: MIT
 * Answers: whole, late and streamed.  How a stream sleeps: its reader finds nothing to fill and
 * suspends the connection with mu held; whoever wakes it takes mu too, so that either the reader
 * sees `woken` or the waker sees `suspended`. */
#include "http/http_in.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define HTTP_CHUNK_BYTES 16384

const char *http_param(const struct http_req *r, const char *name)
{
    return http_pair_get(http_call_of(r)->params, name, false);
}

const char *http_query(const struct http_req *r, const char *name)
{
    return http_pair_get(http_call_of(r)->query, name, false);
}

void http_queries(const struct http_req *r,
                  void (*each)(void *arg, const char *name, const char *value), void *arg)
{
    for (const struct http_pair *p = http_call_of(r)->query; p; p = p->next)
        each(arg, p->name, p->value);
}

const char *http_req_header(const struct http_req *r, const char *name)
{
    return http_pair_get(http_call_of(r)->headers, name, true);
}

enum err http_header(struct http_req *r, const char *name, const char *value)
{
    struct http_call *c = http_call_of(r);
    if (!http_is_token(name) || !http_is_value(value))
        return ERR_USAGE;
    struct http_pair *p = arena_alloc(&c->arena, sizeof(*p));
    p->name = arena_dup(&c->arena, name, strlen(name));
    p->value = arena_dup(&c->arena, value, strlen(value));
    p->next = c->extra;
    c->extra = p;
    return ERR_OK;
}

bool http_charge(struct http_req *r, size_t bytes)
{
    struct http_call *c = http_call_of(r);
    struct http_server *s = c->s;
    size_t most = s->o.bodies_bytes_max;
    pthread_mutex_lock(&s->mu);
    size_t before = atomic_load(&s->bodies_bytes); /* bodies that are read may add to it */
    bool fits = before <= most && bytes <= most - before;
    if (fits && !c->over) {
        atomic_fetch_add(&s->bodies_bytes, bytes);
        c->n_charged += bytes;
    }
    pthread_mutex_unlock(&s->mu);
    return fits;
}

void http_error_body(struct http_server *s, int status, const char *text, struct str *out)
{
    if (s->o.error_body)
        s->o.error_body(s->arg, status, text, out);
    else
        str_addf(out, "{\"error\":{\"message\":\"%s\",\"code\":%d}}", text, status);
}

/* Headers of every answer; what the handler gave goes before our defaults. */
void http_add_headers(const struct http_call *c, struct MHD_Response *m, const char *content_type)
{
    static const char *const defaults[][2] = {
        {"X-Content-Type-Options", "nosniff"    },
        {"Cache-Control",          "no-store"   },
        {"Referrer-Policy",        "no-referrer"}
    };
    if (content_type && http_is_value(content_type) && *content_type)
        MHD_add_response_header(m, "Content-Type", content_type);
    const struct http_pair *extra = c ? c->extra : NULL;
    if (c)
        MHD_add_response_header(m, "x-request-id", c->req.id);
    for (const struct http_pair *p = extra; p; p = p->next)
        MHD_add_response_header(m, p->name, p->value);
    for (size_t i = 0; i < N_ELEMS(defaults); i++) {
        if (!http_pair_get(extra, defaults[i][0], true))
            MHD_add_response_header(m, defaults[i][0], defaults[i][1]);
    }
}

void http_wake_locked(struct http_call *c)
{
    c->woken = true;
    if (!c->suspended)
        return;
    c->suspended = false;
    MHD_resume_connection(c->conn->mhd);
}

void http_gone_locked(struct http_call *c)
{
    if (c->gone)
        return;
    c->gone = true;
    http_wake_locked(c);
}

/* Hands an answer over; false (and it is not) when there is no client any more. */
static bool http_answer(struct http_call *c, int status, struct MHD_Response *m,
                        const struct http_ops *ops, void *state)
{
    CHECK(m && status >= 200 && status < 600);
    struct http_server *s = c->s;
    bool stream = ops != NULL;
    pthread_mutex_lock(&s->mu);
    bool lost = c->over || c->gone;
    CHECK(lost || !c->answered);
    if (!lost) {
        c->answered = true;
        c->answer = m;
        c->answer_status = (unsigned)status;
        if (stream) {
            c->ops = ops;
            c->state = state;
            c->sent_ns = os_now_ns();
            atomic_fetch_add(&s->n_streams, 1);
        }
        http_wake_locked(c);
    }
    pthread_mutex_unlock(&s->mu);
    if (lost)
        MHD_destroy_response(m);
    return !lost;
}

void http_reply(struct http_req *r, int status, const char *content_type, struct span body)
{
    struct http_call *c = http_call_of(r);
    struct MHD_Response *m = MHD_create_response_from_buffer(
        body.n, (void *)(uintptr_t)body.p, body.n ? MHD_RESPMEM_MUST_COPY : MHD_RESPMEM_PERSISTENT);
    CHECK(m);
    http_add_headers(c, m, content_type);
    if (http_answer(c, status, m, NULL, NULL))
        atomic_fetch_add(&c->s->bytes_out, strcmp(r->method, "HEAD") == 0 ? 0 : body.n);
}

void http_fail(struct http_req *r, int status, const char *json)
{
    http_reply(r, status, "application/json", span_of(json));
}

void http_refuse(struct http_req *r, int status, const char *text)
{
    struct str body;
    str_init(&body, 65536);
    http_error_body(http_call_of(r)->s, status, text, &body);
    http_reply(r, status, "application/json", str_span(&body));
    str_done(&body);
}

void http_later(struct http_req *r, const struct http_ops *ops, void *state)
{
    struct http_call *c = http_call_of(r);
    pthread_mutex_lock(&c->s->mu);
    CHECK(!c->answered);
    CHECK(!ops || !ops->fill);
    c->later = true;
    c->ops = ops;
    c->state = state;
    pthread_mutex_unlock(&c->s->mu);
}

void http_wake(struct http_req *r)
{
    struct http_call *c = http_call_of(r);
    pthread_mutex_lock(&c->s->mu);
    if (!c->over && (c->answered || (c->ops && c->ops->woken)))
        http_wake_locked(c);
    pthread_mutex_unlock(&c->s->mu);
}

/* Calls fill until there is something to send; false when there is not, for now. */
static bool http_stream_fill(struct http_call *c, bool *failed)
{
    struct http_server *s = c->s;
    for (;;) {
        pthread_mutex_lock(&s->mu);
        c->woken = false;
        bool gone = c->gone || s->closing, ping = c->ping;
        c->ping = false;
        pthread_mutex_unlock(&s->mu);
        *failed = gone;
        if (gone)
            return true;
        if (ping) {
            str_add_cstr(&c->out, ": keep-alive\n\n");
            return true;
        }
        enum http_fill fill = c->ops->fill(c->state, &c->out);
        if (c->out.full) {
            log_at(LOG_ERROR, "http", "stream=%s fill=too_much", c->req.id);
            *failed = true;
        }
        c->ended = fill == HTTP_END;
        if (c->out.n || c->ended || *failed)
            return true;
        CHECK(fill == HTTP_WAIT); /* MORE has appended something */
        pthread_mutex_lock(&s->mu);
        bool wait = !c->woken && !c->gone && !c->ping && !s->closing;
        if (wait) {
            c->suspended = true;
            MHD_suspend_connection(c->conn->mhd);
        }
        pthread_mutex_unlock(&s->mu);
        if (wait)
            return false;
    }
}

/* libmicrohttpd's reader of a stream. */
static ssize_t http_stream_read(void *cls, uint64_t at, char *buf, size_t max)
{
    (void)at;
    struct http_call *c = cls;
    if (c->out_sent == c->out.n) {
        str_clear(&c->out);
        c->out_sent = 0;
        bool failed = false;
        if (!c->ended && !http_stream_fill(c, &failed))
            return 0;
        if (failed)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (c->ended && c->out.n == 0)
            return MHD_CONTENT_READER_END_OF_STREAM;
    }
    size_t n = MIN(max, c->out.n - c->out_sent);
    memcpy(buf, c->out.p + c->out_sent, n);
    c->out_sent += n;
    atomic_fetch_add(&c->s->bytes_out, n);
    pthread_mutex_lock(&c->s->mu);
    c->sent_ns = os_now_ns();
    pthread_mutex_unlock(&c->s->mu);
    return (ssize_t)n;
}

bool http_stream_begin(struct http_req *r, int status, const char *content_type,
                       const struct http_ops *ops, void *state)
{
    struct http_call *c = http_call_of(r);
    CHECK(ops && ops->fill);
    struct MHD_Response *m = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, HTTP_CHUNK_BYTES,
                                                               http_stream_read, c, NULL);
    CHECK(m);
    http_add_headers(c, m, content_type);
    bool sse = content_type && strncasecmp(content_type, "text/event-stream", 17) == 0;
    if (sse) /* proxies must not collect events */
        MHD_add_response_header(m, "X-Accel-Buffering", "no");
    pthread_mutex_lock(&c->s->mu);
    c->sse = sse;
    pthread_mutex_unlock(&c->s->mu);
    return http_answer(c, status, m, ops, state);
}

enum http_next { HTTP_QUEUE, HTTP_SLEEP, HTTP_LOST, HTTP_SILENT, HTTP_WOKEN };

/* What follows after a handler or a resume, decided with mu held. */
static enum http_next http_settle_locked(struct http_call *c)
{
    struct http_server *s = c->s;
    if (c->answer) {
        c->close |= s->draining;
        if (c->ops && c->ops->fill)
            http_watch_add(c->conn);
        return HTTP_QUEUE;
    }
    if (c->gone || (s->closing && c->later))
        return HTTP_LOST;
    if (!c->later)
        return HTTP_SILENT;
    if (c->woken && c->ops && c->ops->woken) {
        c->woken = false;
        return HTTP_WOKEN;
    }
    c->suspended = true;
    http_watch_add(c->conn);
    MHD_suspend_connection(c->conn->mhd);
    return HTTP_SLEEP;
}

enum MHD_Result http_settle(struct http_call *c)
{
    struct http_server *s = c->s;
    enum http_next next;
    CHECK(!c->queued);
    for (;;) {
        pthread_mutex_lock(&s->mu);
        next = http_settle_locked(c);
        const struct http_ops *ops = c->ops;
        void *state = c->state;
        pthread_mutex_unlock(&s->mu);
        if (next != HTTP_WOKEN)
            break;
        ops->woken(state);
    }
    if (next == HTTP_SLEEP)
        return MHD_YES;
    if (next == HTTP_LOST)
        return MHD_NO; /* the connection closes; http_call_over tells gone and done */
    if (next == HTTP_SILENT)
        http_refuse(&c->req, 500, "the request was not answered");
    pthread_mutex_lock(&s->mu);
    struct MHD_Response *m = c->answer;
    c->answer = NULL;
    c->status = c->answer_status;
    pthread_mutex_unlock(&s->mu);
    CHECK(m);
    c->queued = true;
    if (c->close)
        MHD_add_response_header(m, "Connection", "close");
    enum MHD_Result ok = http_queue(c->conn, c->status, m);
    MHD_destroy_response(m);
    atomic_fetch_add(&s->n_requests[c->status / 100], 1);
    return ok;
}

void http_raw_error(struct http_conn *k, int status, const char *text)
{
    struct http_server *s = k->s;
    atomic_store(&k->told, true);
    if (s->tls_cert)
        return;
    struct str body, all;
    str_init(&body, 65536);
    str_init(&all, 70000);
    http_error_body(s, status, text, &body);
    str_addf(&all,
             "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
             "Connection: close\r\nCache-Control: no-store\r\n"
             "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\r\n",
             status, MHD_get_reason_phrase_for((unsigned)status), body.n);
    str_add_span(&all, str_span(&body));
    ssize_t n = send(k->fd, all.p, all.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n != (ssize_t)all.n)
        log_at(LOG_DEBUG, "http", "status=%d sent=no", status);
    atomic_fetch_add(&s->n_requests[status / 100], 1);
    str_done(&body);
    str_done(&all);
}

void http_sse(struct str *out, struct span event, struct span data)
{
    if (event.n) {
        str_add_cstr(out, "event: ");
        str_add_span(out, event);
        str_add_char(out, '\n');
    }
    for (size_t i = 0; i <= data.n;) {
        size_t n = 0;
        while (i + n < data.n && data.p[i + n] != '\n' && data.p[i + n] != '\r')
            n++;
        str_add_cstr(out, "data: ");
        str_add(out, data.p + i, n);
        str_add_char(out, '\n');
        i += n + 1;
        if (i < data.n && data.p[i - 1] == '\r' && data.p[i] == '\n')
            i++;
    }
    str_add_char(out, '\n');
}
