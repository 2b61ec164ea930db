/* SPDX-License-Identifier: MIT
 * tool_mcp_http.c - MCP servers with an address: Streamable HTTP.
 *
 * Each message is a POST whose answer is JSON or a stream of events; a GET hears what the server
 * says of itself.  libcurl's callbacks only collect: what came is looked at after them. */
#include "tool/tool_mcp_int.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"
#include "tool/tool_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SECOND_NS 1000000000ull
#define LISTEN_S  10 /* between two GETs */

struct mcp_post {
    struct mcp_post *next;
    struct mcp_server *server;
    CURL *easy;
    struct curl_slist *headers;
    char *out;
    int64_t id;   /* of the request that it carries; 0: none */
    bool listens; /* the GET */
    bool over;    /* the transfer has ended */
    CURLcode rc;
    struct str body; /* what came and was not looked at */
    size_t scanned;  /* of it, without the end of an event */
    char session[256];
};

/* ---- callbacks ---- */

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct mcp_post *post = arg;
    str_add(&post->body, p, size * n);
    return post->body.full ? CURL_WRITEFUNC_ERROR : size * n;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    static const char name[] = "mcp-session-id:";
    struct mcp_post *post = arg;
    size_t len = size * n, at = sizeof name - 1, k = 0;
    if (len <= at || strncasecmp(p, name, at) != 0)
        return len;
    while (at < len && p[at] == ' ')
        at++;
    while (at < len && p[at] > 0x20 && p[at] < 0x7f && k + 1 < sizeof post->session)
        post->session[k++] = p[at++];
    post->session[k] = '\0';
    return len;
}

/* ---- sending ---- */

static void add_header(struct mcp_post *post, const char *name, const char *value)
{
    char line[400];
    snprintf(line, sizeof line, "%s: %s", name, value);
    post->headers = curl_slist_append(post->headers, line);
}

static void add_headers(struct mcp_post *post, const char *accept)
{
    const struct mcp_server *s = post->server;
    add_header(post, "Accept", accept);
    if (s->version[0])
        add_header(post, "MCP-Protocol-Version", s->version);
    if (s->session[0])
        add_header(post, "Mcp-Session-Id", s->session);
    for (size_t i = 0; s->entry->headers[i]; i++)
        post->headers = curl_slist_append(post->headers, s->entry->headers[i]);
    curl_easy_setopt(post->easy, CURLOPT_HTTPHEADER, post->headers);
}

static struct mcp_post *new_post(struct mcp_server *s)
{
    struct mcp_post *post = mem_alloc(sizeof *post);
    const char *file = tool_certificates();
    CURL *c = post->easy = curl_easy_init();
    CHECK(c);
    post->server = s;
    str_init(&post->body, MCP_MESSAGE_BYTES);
    if (file)
        curl_easy_setopt(c, CURLOPT_CAINFO, file);
    curl_easy_setopt(c, CURLOPT_URL, s->entry->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "damso/" DAMSO_VERSION);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 15L);
    curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, post);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, post);
    curl_easy_setopt(c, CURLOPT_PRIVATE, post);
    return post;
}

static void begin_post(struct mcp_post *post)
{
    post->next = post->server->posts;
    post->server->posts = post;
    CHECK(curl_multi_add_handle(post->server->host->multi, post->easy) == CURLM_OK);
}

bool mcp_http_send(struct mcp_server *s, const json_t *msg, int64_t id)
{
    struct mcp_post *post = new_post(s);
    post->out = json_dumps(msg, JSON_COMPACT);
    CHECK(post->out);
    post->id = id;
    add_header(post, "Content-Type", "application/json");
    add_headers(post, "application/json, text/event-stream");
    curl_easy_setopt(post->easy, CURLOPT_POST, 1L);
    curl_easy_setopt(post->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(post->out));
    curl_easy_setopt(post->easy, CURLOPT_POSTFIELDS, post->out);
    curl_easy_setopt(post->easy, CURLOPT_TIMEOUT, (long)(id ? TOOL_MCP_CALL_MAX_S + 10 : 30));
    begin_post(post);
    return true;
}

void mcp_http_listen(struct mcp_server *s)
{
    struct mcp_post *post = new_post(s);
    post->listens = true;
    add_headers(post, "text/event-stream");
    begin_post(post);
}

static void drop_post(struct mcp_post *post)
{
    struct mcp_post **at = &post->server->posts;
    while (*at != post)
        at = &(*at)->next;
    *at = post->next;
    curl_multi_remove_handle(post->server->host->multi, post->easy);
    curl_easy_cleanup(post->easy);
    curl_slist_free_all(post->headers);
    free(post->out);
    str_done(&post->body);
    mem_free(post);
}

/* Waits a little: the process ends. */
static void end_session(struct mcp_server *s)
{
    struct mcp_post *post = new_post(s);
    add_headers(post, "application/json");
    curl_easy_setopt(post->easy, CURLOPT_CUSTOMREQUEST, "DELETE");
    curl_easy_setopt(post->easy, CURLOPT_TIMEOUT_MS, 1000L);
    curl_easy_perform(post->easy);
    post->next = s->posts;
    s->posts = post;
    drop_post(post);
}

void mcp_http_stop(struct mcp_server *s, bool say)
{
    while (s->posts)
        drop_post(s->posts);
    if (say && s->session[0])
        end_session(s);
    s->session[0] = '\0';
}

void mcp_http_drop(struct mcp_server *s, int64_t id)
{
    struct mcp_post *post = s->posts;
    while (post && (!id || post->id != id))
        post = post->next;
    if (post)
        drop_post(post);
}

/* ---- what came ---- */

static bool is_type(const struct mcp_post *post, const char *type)
{
    char *given = NULL;
    size_t n = strlen(type);
    curl_easy_getinfo(post->easy, CURLINFO_CONTENT_TYPE, &given);
    return given && strncasecmp(given, type, n) == 0 && (!given[n] || strchr("; ", given[n]));
}

/* Where the first event's lines end, and the next begins; false: it is not whole. */
static bool find_event(struct mcp_post *post, size_t *end, size_t *next)
{
    const char *p = post->body.p;
    for (size_t i = post->scanned; i < post->body.n; i++) {
        size_t k = i + 1;
        if (p[i] != '\n')
            continue;
        if (k < post->body.n && p[k] == '\r')
            k++;
        if (k < post->body.n && p[k] == '\n') {
            *end = i + 1;
            *next = k + 1;
            return true;
        }
    }
    post->scanned = post->body.n - MIN(post->body.n, (size_t)2);
    return false;
}

/* The data of the event that comes first, which is taken out; false: there is none yet. */
static bool next_event(struct mcp_post *post, struct str *data)
{
    size_t end, next;
    if (!find_event(post, &end, &next))
        return false;
    for (size_t at = 0; at < end;) {
        const char *line = post->body.p + at, *stop = memchr(line, '\n', end - at);
        size_t n = (size_t)(stop - line), len = n;
        if (len && line[len - 1] == '\r')
            len--;
        if (len >= 5 && memcmp(line, "data:", 5) == 0) {
            size_t skip = len > 5 && line[5] == ' ' ? 6 : 5;
            if (data->n)
                str_add_char(data, '\n');
            str_add(data, line + skip, len - skip);
        }
        at += n + 1;
    }
    memmove(post->body.p, post->body.p + next, post->body.n - next);
    post->body.n -= next;
    post->scanned = 0;
    return true;
}

/* True: something was looked at, and posts may have gone. */
static bool take_event(struct mcp_post *post)
{
    struct mcp_server *s = post->server;
    struct str data;
    if (!post->body.n || !is_type(post, "text/event-stream"))
        return false;
    str_init(&data, MCP_MESSAGE_BYTES);
    bool any = next_event(post, &data);
    if (any && post->session[0] && s->state == MCP_STARTING && !s->session[0])
        snprintf(s->session, sizeof s->session, "%s", post->session);
    if (any && data.n && !mcp_receive(s, str_span(&data)))
        log_at(LOG_WARN, "mcp", "server=%s event=\"no message\"", s->entry->name);
    str_done(&data);
    return any;
}

static void take_body(struct mcp_server *s, struct mcp_post *post, long status)
{
    struct str body = post->body;
    int64_t id = post->id;
    bool json = is_type(post, "application/json");
    str_init(&post->body, 1);
    drop_post(post);
    bool good = json && body.n && mcp_receive(s, str_span(&body));
    str_done(&body);
    if (good || !id)
        ;
    else if (status >= 300 && status < 400)
        mcp_lost(s, id, "its address redirects (%ld); the entry needs where to", status);
    else if (status == 401 || status == 403)
        mcp_lost(s, id, "it asks who we are (%ld): its entry needs a header for that", status);
    else if (status < 200 || status > 299)
        mcp_lost(s, id, "it answered with status %ld", status);
    else if (json)
        mcp_lost(s, id, "its answer is no message");
    mcp_lost(s, id, "it ended its answer without a result"); /* nothing, where there was one */
}

static void end_post(struct mcp_post *post)
{
    struct mcp_server *s = post->server;
    long status = 0;
    int64_t id = post->id;
    CURLcode rc = post->rc;
    bool full = post->body.full;
    curl_easy_getinfo(post->easy, CURLINFO_RESPONSE_CODE, &status);
    if (post->listens) {
        if (rc == CURLE_OK && status == 200)
            s->list_ns = MAX(s->list_ns, os_now_ns()); /* it may have missed something */
        s->listen_ns = status == 200 ? os_now_ns() + LISTEN_S * SECOND_NS : 0;
        drop_post(post);
        return;
    }
    if (post->session[0] && s->state == MCP_STARTING && !s->session[0])
        snprintf(s->session, sizeof s->session, "%s", post->session);
    if (rc != CURLE_OK) {
        drop_post(post);
        mcp_lost(s, id, full ? "it sent a message of over 8 MiB" : "%s", curl_easy_strerror(rc));
    } else if (status == 404 && s->session[0] && id) {
        drop_post(post);
        mcp_lost_session(s, id);
    } else {
        take_body(s, post, status);
    }
}

/* One thing of one post; false: there is nothing to do. */
static bool ready_one(struct mcp_host *h)
{
    for (size_t i = 0; i < h->n; i++) {
        for (struct mcp_post *p = h->servers[i].posts; p; p = p->next) {
            if (take_event(p))
                return true;
            if (p->over) {
                end_post(p);
                return true;
            }
        }
    }
    return false;
}

void mcp_http_ready(struct mcp_host *h)
{
    int n;
    for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &n));) {
        struct mcp_post *post = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&post);
        post->over = true;
        post->rc = m->data.result;
    }
    while (ready_one(h)) {
    }
    for (size_t i = 0; i < h->n; i++) {
        struct mcp_server *s = &h->servers[i];
        if (s->listen_ns && s->state == MCP_READY && os_now_ns() >= s->listen_ns) {
            s->listen_ns = 0;
            mcp_http_listen(s);
        }
    }
}
