/* SPDX-License-Identifier: MIT
 * Checks that come before routes: how the body is framed, Host against DNS rebinding, Origin. */
#include "http/http_in.h"

#include "base/num.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#define HTTP_OK ((struct http_refusal){0, NULL})

const char *http_pair_get(const struct http_pair *list, const char *name, bool any_case)
{
    for (; list; list = list->next) {
        if (any_case ? strcasecmp(list->name, name) == 0 : strcmp(list->name, name) == 0)
            return list->value;
    }
    return NULL;
}

size_t http_pair_count(const struct http_pair *list, const char *name)
{
    size_t n = 0;
    for (; list; list = list->next)
        n += strcasecmp(list->name, name) == 0;
    return n;
}

/* RFC 9110, 5.6.2. */
bool http_is_token(const char *s)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    if (!*s)
        return false;
    for (; *s; s++) {
        bool letter = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z');
        if (!letter && !(*s >= '0' && *s <= '9') && !strchr(others, *s))
            return false;
    }
    return true;
}

bool http_is_value(const char *s)
{
    for (; *s; s++) {
        unsigned char ch = (unsigned char)*s;
        if ((ch < 0x20 && ch != '\t') || ch == 0x7f)
            return false;
    }
    return true;
}

/* One way to know the body's end, or none: two are how requests are smuggled (RFC 9112, 6.3). */
struct http_refusal http_guard_framing(const struct http_call *c, bool *ambiguous)
{
    size_t n_length = http_pair_count(c->headers, "content-length");
    size_t n_coding = http_pair_count(c->headers, "transfer-encoding");
    *ambiguous = true;
    if (n_length && n_coding)
        return (struct http_refusal){400, "both Content-Length and Transfer-Encoding are given"};
    if (n_length > 1 || n_coding > 1)
        return (struct http_refusal){400, "the body's length is given more than once"};
    if (n_coding) {
        const char *coding = http_pair_get(c->headers, "transfer-encoding", true);
        if (strcasecmp(coding, "chunked") != 0)
            return (struct http_refusal){501, "the only transfer coding here is chunked"};
    }
    if (n_length) {
        const char *length = http_pair_get(c->headers, "content-length", true);
        size_t n = strlen(length);
        if (n == 0 || n > 19 || strspn(length, "0123456789") != n)
            return (struct http_refusal){400, "Content-Length is not a number"};
    }
    *ambiguous = false;
    return HTTP_OK;
}

/* "name", "name:port", "[v6]:port" -> the name in lower case; false where it is none. */
static bool http_host_name(const char *host, char *name, size_t max)
{
    size_t n;
    const char *rest;
    if (*host == '[') {
        const char *end = strchr(host, ']');
        if (!end)
            return false;
        n = (size_t)(end - host) - 1;
        host++;
        rest = end + 1;
    } else {
        n = strcspn(host, ":");
        rest = host + n;
    }
    if (*rest == ':') {
        rest++;
        rest += strspn(rest, "0123456789");
    }
    if (*rest || n == 0 || n >= max)
        return false;
    if (n > 1 && host[n - 1] == '.')
        n--;
    for (size_t i = 0; i < n; i++) {
        char ch = host[i];
        name[i] = ch >= 'A' && ch <= 'Z' ? (char)(ch - 'A' + 'a') : ch;
    }
    name[n] = 0;
    return true;
}

static bool http_listed(const char *const *list, const char *name)
{
    for (; list && *list; list++) {
        if (strcmp(*list, "*") == 0 || strcasecmp(*list, name) == 0)
            return true;
    }
    return false;
}

static bool http_is_number(const char *name)
{
    struct in6_addr a;
    return inet_pton(AF_INET, name, &a) == 1 || inet_pton(AF_INET6, name, &a) == 1;
}

static struct http_refusal http_host_known(const struct http_server *s, const char *host)
{
    static const char *const loopback[] = {"localhost", "127.0.0.1", "::1", NULL};
    char name[256];
    if (!http_host_name(host, name, sizeof(name)))
        return (struct http_refusal){400, "the Host header is not a host"};
    bool known = http_listed(loopback, name) || http_listed(s->o.allowed_hosts, name) ||
                 strcasecmp(s->o.address, name) == 0 || (s->any_address && http_is_number(name));
    if (!known)
        return (struct http_refusal){403, "this host name is not served here"};
    return HTTP_OK;
}

struct http_refusal http_guard_host(const struct http_call *c, const char *authority)
{
    /* Health checks of HTTP/1.0 have none, and no browser that could be tricked is so old. */
    size_t n = http_pair_count(c->headers, "host");
    if (n == 0 && c->version_1_0 && !authority)
        return HTTP_OK;
    if (n != 1)
        return (struct http_refusal){400, "a request has one Host header"};
    struct http_refusal no = http_host_known(c->s, http_pair_get(c->headers, "host", true));
    if (!no.status && authority)
        no = http_host_known(c->s, authority);
    return no;
}

/* Our own pages and named origins pass.  Browsers send Origin with every request that could harm;
 * other programs send none. */
struct http_refusal http_guard_origin(struct http_call *c)
{
    size_t n = http_pair_count(c->headers, "origin");
    if (n == 0)
        return HTTP_OK;
    const char *origin = http_pair_get(c->headers, "origin", true);
    if (n == 1 && http_listed(c->s->o.allowed_origins, origin)) {
        http_header(&c->req, "Access-Control-Allow-Origin", origin);
        http_header(&c->req, "Access-Control-Expose-Headers", "x-request-id, Retry-After");
        http_header(&c->req, "Vary", "Origin");
        return HTTP_OK;
    }
    const char *host = http_pair_get(c->headers, "host", true);
    const char *name = strncasecmp(origin, "http://", 7) == 0    ? origin + 7
                       : strncasecmp(origin, "https://", 8) == 0 ? origin + 8
                                                                 : NULL;
    if (n == 1 && name && host && strcasecmp(name, host) == 0)
        return HTTP_OK;
    return (struct http_refusal){403, "this origin may not use this server"};
}
