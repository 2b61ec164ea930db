/* SPDX-License-Identifier: MIT
 * The watcher: one thread that sees clients go away while libmicrohttpd does not look (it leaves
 * suspended sockets alone), ends requests that do not arrive in time, and asks silent event
 * streams for a comment.  It sleeps without a time limit when there is no connection. */
#include "http/http_in.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define HTTP_TICK_MS_MAX 1000
#define HTTP_EVENTS      64

void http_watch_kick(struct http_server *s)
{
    uint64_t one = 1;
    ssize_t n = write(s->wake_fd, &one, sizeof(one));
    CHECK(n == sizeof(one) || errno == EAGAIN);
}

/* The kernel tells of the other side's end once; ids, since a pointer could be stale. */
void http_watch_add(struct http_conn *k)
{
    if (k->call->watched)
        return;
    struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = k->id};
    if (epoll_ctl(k->s->watch_fd, EPOLL_CTL_ADD, k->fd, &ev) == 0)
        k->call->watched = true;
    else
        log_at(LOG_WARN, "http", "watch=%s", strerror(errno));
}

void http_watch_del(struct http_conn *k)
{
    k->call->watched = false;
    epoll_ctl(k->s->watch_fd, EPOLL_CTL_DEL, k->fd, NULL);
}

static void http_watch_event(struct http_server *s, uint64_t id)
{
    uint64_t count;
    if (id == 0) {
        if (read(s->wake_fd, &count, sizeof(count)) < 0)
            log_at(LOG_DEBUG, "http", "wake=%s", strerror(errno));
        return;
    }
    for (struct http_conn *k = s->conns; k; k = k->next) {
        if (k->id == id && k->call && k->call->watched)
            http_gone_locked(k->call);
    }
}

static void http_watch_sweep(struct http_server *s, uint64_t now)
{
    uint64_t silence_ns = (uint64_t)s->o.keep_alive_ms * 1000000;
    for (struct http_conn *k = s->conns; k; k = k->next) {
        if (k->deadline_ns && now >= k->deadline_ns) {
            k->deadline_ns = 0;
            http_raw_error(k, 408, "the request did not arrive in time");
            shutdown(k->fd, SHUT_RDWR);
        }
        struct http_call *c = k->call;
        if (silence_ns && c && c->sse && c->suspended && now >= c->sent_ns + silence_ns) {
            c->ping = true;
            http_wake_locked(c);
        }
    }
}

static int http_tick_ms(const struct http_server *s)
{
    unsigned tick = MIN(HTTP_TICK_MS_MAX, s->o.slow_ms / 4);
    if (s->o.keep_alive_ms)
        tick = MIN(tick, s->o.keep_alive_ms / 4);
    return (int)MAX(tick, 20);
}

static void *http_watch_run(void *arg)
{
    struct http_server *s = arg;
    struct epoll_event events[HTTP_EVENTS];
    uint64_t tick_ns = (uint64_t)http_tick_ms(s) * 1000000, next_ns = 0;
    pthread_mutex_lock(&s->mu);
    while (!s->stop) {
        int wait_ms = s->conns ? http_tick_ms(s) : -1;
        pthread_mutex_unlock(&s->mu);
        int n = epoll_wait(s->watch_fd, events, HTTP_EVENTS, wait_ms);
        pthread_mutex_lock(&s->mu);
        for (int i = 0; i < n; i++)
            http_watch_event(s, events[i].data.u64);
        uint64_t now = os_now_ns();
        if (now >= next_ns) {
            http_watch_sweep(s, now);
            next_ns = now + tick_ns;
        }
    }
    pthread_mutex_unlock(&s->mu);
    return NULL;
}

enum err http_watch_open(struct http_server *s, struct errinfo *e)
{
    s->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN};
    if (s->watch_fd < 0 || s->wake_fd < 0 ||
        epoll_ctl(s->watch_fd, EPOLL_CTL_ADD, s->wake_fd, &ev) != 0)
        return err_set(e, ERR_IO, "cannot watch connections: %s", strerror(errno));
    if (pthread_create(&s->watcher, NULL, http_watch_run, s) != 0)
        return err_set(e, ERR_MEMORY, "cannot start the thread that watches connections");
    s->watching = true;
    return ERR_OK;
}

void http_watch_close(struct http_server *s)
{
    if (s->watching) {
        pthread_mutex_lock(&s->mu);
        s->stop = true;
        pthread_mutex_unlock(&s->mu);
        http_watch_kick(s);
        pthread_join(s->watcher, NULL);
    }
    if (s->watch_fd >= 0)
        close(s->watch_fd);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
}
