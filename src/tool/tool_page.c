/* SPDX-License-Identifier: MIT */
#include "tool/tool_page.h"

#include "base/arena.h"
#include "base/num.h"
#include "os/os_sys.h"
#include "tool/tool_addr.h"
#include "tool/tool_charset.h"
#include "tool/tool_html.h"

#include <curl/curl.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define ADDRESSES_MAX 16

struct fetch {
    const struct tool_page_rule *rule;
    CURL *curl;
    struct str body;
    bool free_host; /* the host in hand is one that the operator allowed */
    bool refused;   /* a connection went to an address that is not public */
    uint64_t until_ns;
    struct errinfo *e;
};

/* The address in parts. */
struct target {
    char *url, *host, *port; /* libcurl's */
    unsigned number;         /* of the port */
};

/* ---- the rule ---- */

/* The next of some texts with commas between; false at the end. */
static bool next_part(const char **at, char *out, size_t room)
{
    while (**at == ',' || **at == ' ')
        (*at)++;
    size_t n = strcspn(*at, ", ");
    snprintf(out, room, "%.*s", (int)MIN(n, room - 1), *at);
    *at += n;
    return n > 0;
}

static bool read_port(const char *text, unsigned *out)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    *out = (unsigned)n;
    return *text >= '0' && *text <= '9' && !*end && !errno && n >= 1 && n <= 65535;
}

enum err tool_page_rule(const char *ports, const char *allowed, struct tool_page_rule *out,
                        struct errinfo *e)
{
    char part[300];
    unsigned port;
    *out = (struct tool_page_rule){.n_ports = 0};
    while (next_part(&ports, part, sizeof part)) {
        if (!read_port(part, &port) || out->n_ports == TOOL_PAGE_PORTS_MAX)
            return err_set(e, ERR_USAGE, "fetch_ports: \"%.40s\" is no port, or one of over %d",
                           part, TOOL_PAGE_PORTS_MAX);
        out->ports[out->n_ports++] = (uint16_t)port;
    }
    while (next_part(&allowed, part, sizeof part)) {
        const char *colon = strrchr(part, ':');
        if (!colon || colon == part || !read_port(colon + 1, &port) ||
            out->n_allowed == TOOL_PAGE_ALLOWED_MAX)
            return err_set(e, ERR_USAGE,
                           "fetch_allow: \"%.80s\" is no HOST:PORT, or one of over %d", part,
                           TOOL_PAGE_ALLOWED_MAX);
        snprintf(out->allowed[out->n_allowed++], sizeof out->allowed[0], "%s", part);
    }
    return ERR_OK;
}

static bool is_allowed(const struct tool_page_rule *rule, const struct target *t)
{
    char place[300];
    snprintf(place, sizeof place, "%.280s:%s", t->host, t->port);
    for (size_t i = 0; i < rule->n_allowed; i++)
        if (strcasecmp(rule->allowed[i], place) == 0)
            return true;
    return false;
}

static bool is_port(const struct tool_page_rule *rule, unsigned port)
{
    for (size_t i = 0; i < rule->n_ports; i++)
        if (rule->ports[i] == port)
            return true;
    return false;
}

/* ---- the address ---- */

static void target_done(struct target *t)
{
    curl_free(t->url);
    curl_free(t->host);
    curl_free(t->port);
    *t = (struct target){.url = NULL};
}

static enum err take_parts(struct fetch *f, CURLU *u, const char *url, struct target *t)
{
    char *scheme = NULL, *user = NULL, *secret = NULL;
    const unsigned how = CURLU_URLENCODE | CURLU_DEFAULT_SCHEME;
    if (strlen(url) > TOOL_URL_BYTES_MAX)
        return err_set(f->e, ERR_USAGE, "the address has over %zu bytes", TOOL_URL_BYTES_MAX);
    if (curl_url_set(u, CURLUPART_URL, url, how) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
        return err_set(f->e, ERR_USAGE, "%.200s is no address of a web page", url);
    bool web = strcasecmp(scheme, "https") == 0 || strcasecmp(scheme, "http") == 0;
    curl_free(scheme);
    if (!web)
        return err_set(f->e, ERR_USAGE, "only http and https addresses are fetched");
    bool login = curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK ||
                 curl_url_get(u, CURLUPART_PASSWORD, &secret, 0) == CURLUE_OK;
    curl_free(user);
    curl_free(secret);
    if (login)
        return err_set(f->e, ERR_USAGE, "an address with a name or password in it is not fetched");
    if (curl_url_get(u, CURLUPART_HOST, &t->host, CURLU_PUNYCODE) != CURLUE_OK ||
        curl_url_set(u, CURLUPART_HOST, t->host, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_PORT, &t->port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
        curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_URL, &t->url, CURLU_NO_DEFAULT_PORT) != CURLUE_OK ||
        !read_port(t->port, &t->number))
        return err_set(f->e, ERR_USAGE, "%.200s is no address of a web page", url);
    return ERR_OK;
}

static enum err take_target(struct fetch *f, const char *url, struct target *t)
{
    CURLU *u = curl_url();
    CHECK(u);
    enum err r = take_parts(f, u, url, t);
    curl_url_cleanup(u);
    if (r != ERR_OK)
        return r;
    f->free_host = is_allowed(f->rule, t);
    if (!f->free_host && !is_port(f->rule, t->number))
        return err_set(f->e, ERR_USAGE, "port %u is not fetched from", t->number);
    return ERR_OK;
}

/* ---- its network addresses ---- */

/* "+host:port:address,address", as CURLOPT_RESOLVE takes it. */
static enum err pin(struct fetch *f, const struct target *t, const struct addrinfo *all,
                    struct str *out)
{
    size_t n = 0;
    str_addf(out, "%s:%s:", t->host, t->port);
    for (const struct addrinfo *a = all; a; a = a->ai_next) {
        char text[64];
        tool_addr_text(a->ai_addr, text);
        if (!f->free_host && !tool_addr_public(a->ai_addr)) /* and not which: that is internal */
            return err_set(f->e, ERR_USAGE,
                           "%.200s is not on the public internet; only pages that are there are "
                           "fetched",
                           t->host);
        bool six = a->ai_family == AF_INET6;
        if (n++ < ADDRESSES_MAX)
            str_addf(out, "%s%s%s%s", n > 1 ? "," : "", six ? "[" : "", text, six ? "]" : "");
    }
    return ERR_OK;
}

static enum err resolve(struct fetch *f, const struct target *t, struct str *out)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *all = NULL;
    char host[300];
    size_t n = strlen(t->host);
    if (n >= sizeof host)
        return err_set(f->e, ERR_USAGE, "the host's name is too long");
    bool six = t->host[0] == '['; /* a numeric address of IPv6 */
    snprintf(host, sizeof host, "%.*s", (int)(six ? n - 2 : n), t->host + six);
    int rc = getaddrinfo(host, t->port, &hints, &all);
    if (rc != 0 || !all)
        return err_set(f->e, ERR_NETWORK, "%.200s is not found: %s", host, gai_strerror(rc));
    enum err r = pin(f, t, all, out);
    freeaddrinfo(all);
    return r;
}

/* The last look, at the very address that is connected to. */
static curl_socket_t on_socket(void *arg, curlsocktype what, struct curl_sockaddr *a)
{
    struct fetch *f = arg;
    (void)what;
    if (!f->free_host && !tool_addr_public(&a->addr)) {
        f->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* ---- one request ---- */

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct fetch *f = arg;
    str_add(&f->body, p, size * n);
    return f->body.full ? CURL_WRITEFUNC_ERROR : size * n;
}

const char *tool_certificates(void)
{
    const char *file = getenv("CURL_CA_BUNDLE");
    if (!file || !*file)
        file = getenv("SSL_CERT_FILE");
    return file && *file ? file : NULL;
}

static void set_curl(struct fetch *f)
{
    CURL *c = f->curl = curl_easy_init();
    CHECK(c);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_PROXY, ""); /* also not the environment's: it would resolve names */
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "damso/" DAMSO_VERSION);
    curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, f);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(c, CURLOPT_DNS_CACHE_TIMEOUT, -1L); /* what is pinned stays */
    if (tool_certificates())
        curl_easy_setopt(c, CURLOPT_CAINFO, tool_certificates());
}

static enum err judge(struct fetch *f, const struct target *t, CURLcode rc, const char *detail)
{
    if (f->body.full)
        return err_set(f->e, ERR_TOOBIG, "the page has over %zu MiB", TOOL_PAGE_BYTES_MAX >> 20);
    if (f->refused)
        return err_set(f->e, ERR_USAGE, "%.200s is not on the public internet", t->host);
    if (rc == CURLE_OPERATION_TIMEDOUT)
        return err_set(f->e, ERR_NETWORK, "%.200s took over %d seconds", t->host,
                       TOOL_PAGE_MS / 1000);
    if (rc != CURLE_OK)
        return err_set(f->e, ERR_NETWORK, "%.200s: %s", t->host,
                       *detail ? detail : curl_easy_strerror(rc));
    return ERR_OK;
}

static enum err request(struct fetch *f, const struct target *t)
{
    struct str pinned;
    char detail[CURL_ERROR_SIZE] = "";
    uint64_t now = os_now_ns();
    str_init(&pinned, 8192);
    enum err r = resolve(f, t, &pinned);
    if (r == ERR_OK && now < f->until_ns) {
        struct curl_slist *list = curl_slist_append(NULL, pinned.p);
        str_clear(&f->body);
        curl_easy_setopt(f->curl, CURLOPT_RESOLVE, list);
        curl_easy_setopt(f->curl, CURLOPT_URL, t->url);
        curl_easy_setopt(f->curl, CURLOPT_ERRORBUFFER, detail);
        curl_easy_setopt(f->curl, CURLOPT_TIMEOUT_MS, (long)((f->until_ns - now) / 1000000) + 1);
        CURLcode rc = curl_easy_perform(f->curl);
        curl_easy_setopt(f->curl, CURLOPT_RESOLVE, NULL);
        curl_easy_setopt(f->curl, CURLOPT_ERRORBUFFER, NULL);
        curl_slist_free_all(list);
        r = judge(f, t, rc, detail);
    } else if (r == ERR_OK) {
        r = judge(f, t, CURLE_OPERATION_TIMEDOUT, "");
    }
    str_done(&pinned);
    return r;
}

/* Follows redirects; t is where it ended. */
static enum err follow(struct fetch *f, const char *url, struct target *t)
{
    for (int hops = 0;; hops++) {
        long status = 0;
        char *next = NULL;
        struct target to = {.url = NULL};
        if (hops > TOOL_PAGE_REDIRECTS)
            return err_set(f->e, ERR_NETWORK, "%.200s: over %d redirects", t->host,
                           TOOL_PAGE_REDIRECTS);
        enum err r = take_target(f, url, &to);
        if (r != ERR_OK) {
            target_done(&to);
            return r;
        }
        target_done(t); /* url may be of the transfer before, which is still there */
        *t = to;
        TRY(request(f, t));
        curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(f->curl, CURLINFO_REDIRECT_URL, &next);
        if (next && status >= 300 && status < 400) {
            url = next;
            continue;
        }
        if (status == 404 || status == 410)
            return err_set(f->e, ERR_NOTFOUND, "%.200s has no such page (%ld)", t->host, status);
        if (status < 200 || status > 299)
            return err_set(f->e, ERR_NETWORK, "%.200s answered with status %ld", t->host, status);
        return ERR_OK;
    }
}

/* ---- from bytes to text ---- */

static const struct {
    const char *type;
    bool html;
} types[] = {
    {"text/html",             true },
    {"application/xhtml+xml", true },
    {"text/plain",            false},
    {"text/markdown",         false},
    {"application/json",      false},
};

static enum err find_type(const char *given, bool *html, struct errinfo *e)
{
    size_t n = strcspn(given, "; \t");
    for (size_t i = 0; i < N_ELEMS(types); i++) {
        if (strlen(types[i].type) == n && strncasecmp(types[i].type, given, n) == 0) {
            *html = types[i].html;
            return ERR_OK;
        }
    }
    return err_set(e, ERR_UNSUPPORTED, "the page is of the type %.80s, which is not read",
                   *given ? given : "that it does not say");
}

static enum err read_body(struct fetch *f, struct tool_page *out)
{
    char *type = NULL;
    bool html;
    curl_easy_getinfo(f->curl, CURLINFO_CONTENT_TYPE, &type);
    TRY(find_type(type ? type : "", &html, f->e));
    struct str text;
    str_init(&text, TOOL_PAGE_BYTES_MAX);
    tool_charset_decode(str_span(&f->body), type, &text);
    out->cut = text.full;
    out->type = html ? "text/markdown" : "text/plain";
    if (html) {
        struct tool_html page;
        tool_html_text(str_span(&text), TOOL_PAGE_BYTES_MAX, &page);
        out->cut |= page.cut;
        str_add_span(&out->title, str_span(&page.title));
        str_add_span(&out->text, str_span(&page.text));
        tool_html_done(&page);
    } else {
        str_add_span(&out->text, str_span(&text));
    }
    str_done(&text);
    if (!out->text.n)
        return err_set(f->e, ERR_NOTFOUND,
                       "there is no text in this page; it may be one that scripts write");
    return ERR_OK;
}

enum err tool_page_fetch(const struct tool_page_rule *rule, const char *url, const char *languages,
                         struct tool_page *out, struct errinfo *e)
{
    struct fetch f = {
        .rule = rule, .e = e, .until_ns = os_now_ns() + (uint64_t)TOOL_PAGE_MS * 1000000};
    struct target t = {.url = NULL};
    char accept[200];
    *out = (struct tool_page){.type = NULL};
    str_init(&out->url, TOOL_URL_BYTES_MAX * 4);
    str_init(&out->title, TOOL_HTML_TITLE_BYTES);
    str_init(&out->text, TOOL_PAGE_BYTES_MAX);
    str_init(&f.body, TOOL_PAGE_BYTES_MAX);
    set_curl(&f);
    snprintf(accept, sizeof accept, "Accept-Language: %.100s", languages);
    struct curl_slist *headers = curl_slist_append(
        NULL, "Accept: text/html,application/xhtml+xml,text/markdown,text/plain,application/json");
    if (*languages && !strpbrk(languages, "\r\n"))
        headers = curl_slist_append(headers, accept);
    curl_easy_setopt(f.curl, CURLOPT_HTTPHEADER, headers);
    enum err r = follow(&f, url, &t);
    if (r == ERR_OK)
        r = read_body(&f, out);
    str_add_cstr(&out->url, t.url ? t.url : "");
    target_done(&t);
    curl_easy_cleanup(f.curl);
    curl_slist_free_all(headers);
    str_done(&f.body);
    return r;
}

void tool_page_done(struct tool_page *p)
{
    str_done(&p->url);
    str_done(&p->title);
    str_done(&p->text);
}
