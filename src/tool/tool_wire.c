/* SPDX-License-Identifier: MIT */
#include "tool/tool_wire.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/num.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define PART_BYTES ((size_t)60 << 10)
/* The first byte of a packet. */
#define MORE 'm'
#define LAST 'e'

bool tool_wire_pair(int ends[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    int room = 4 << 20; /* a wish */
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    return true;
}

static bool send_packet(int fd, char kind, const char *p, size_t n, int flags)
{
    struct iovec parts[2] = {
        {.iov_base = &kind,                .iov_len = 1},
        {.iov_base = (void *)(uintptr_t)p, .iov_len = n}
    };
    const struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent;
    do
        sent = sendmsg(fd, &msg, MSG_NOSIGNAL | flags);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)(n + 1);
}

static void text_of(const json_t *o, struct str *out, size_t max)
{
    str_init(out, max);
    char *text = json_dumps(o, JSON_COMPACT | JSON_ENCODE_ANY);
    CHECK(text);
    str_add_cstr(out, text);
    free(text);
}

bool tool_wire_ask(int fd, const json_t *o)
{
    struct str text;
    text_of(o, &text, TOOL_ASK_BYTES_MAX);
    bool ok = !text.full && send_packet(fd, LAST, text.p, text.n, MSG_DONTWAIT);
    int why = errno;
    str_done(&text);
    errno = why;
    return ok;
}

bool tool_wire_answer(int fd, const json_t *o)
{
    struct str text;
    bool ok = true;
    text_of(o, &text, TOOL_ANSWER_BYTES_MAX);
    CHECK(!text.full); /* who answers has limits of its own, which are less */
    for (size_t at = 0; ok && at < text.n;) {
        size_t n = MIN(PART_BYTES, text.n - at);
        ok = send_packet(fd, at + n < text.n ? MORE : LAST, text.p + at, n, 0);
        at += n;
    }
    str_done(&text);
    return ok;
}

void tool_wire_init(struct tool_wire *w, int fd)
{
    w->fd = fd;
    w->packet = mem_alloc(TOOL_ASK_BYTES_MAX + 1);
    str_init(&w->text, TOOL_ANSWER_BYTES_MAX);
}

void tool_wire_done(struct tool_wire *w)
{
    str_done(&w->text);
    mem_free(w->packet);
}

bool tool_wire_take(struct tool_wire *w, json_t **o)
{
    ssize_t n;
    *o = NULL;
    do
        n = recv(w->fd, w->packet, TOOL_ASK_BYTES_MAX + 1, 0);
    while (n < 0 && errno == EINTR);
    if (n < 2)
        return false;
    str_add(&w->text, w->packet + 1, (size_t)n - 1);
    if (w->text.full)
        return false;
    if (w->packet[0] == MORE)
        return true;
    *o = json_loadb(w->text.p, w->text.n, JSON_DECODE_ANY, NULL);
    str_clear(&w->text);
    return json_is_object(*o) || (json_decref(*o), *o = NULL, false);
}
