/* SPDX-License-Identifier: MIT */
#include "app/fetch.h"

#include "app/catalogue.h"
#include "app/cmd.h"
#include "base/arena.h"
#include "base/num.h"
#include "base/str.h"
#include "os/os_sys.h"
#include "tool/tool_page.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define REDIRECTS_MAX 5
#define PAUSE_MAX_MS  30000
#define PAUSE_MS      500
#define CONNECT_MAX_S 20

/* What the header lines of the response in hand say. */
struct response {
    int status;
    char version[300];  /* a strong ETag or Last-Modified, for If-Range; "" for none */
    bool ranged;        /* Content-Range was there */
    uint64_t range_at;  /* its first byte */
    uint64_t range_all; /* its length of the whole file; 0: not said */
    int64_t length;     /* Content-Length; -1: not said */
};

struct fetch {
    const struct fetch_job *job;
    struct landing *land;
    struct response res;
    struct progress progress;
    bool showing; /* the progress line */
    bool begun;   /* the body of this response is being written */
    bool retry;   /* the error in hand may pass */
    bool moved;   /* a byte arrived in this attempt */
    bool stalled; /* none for too long: the attempt was broken off */
    uint64_t t_moved_ns;
    int wait_s;      /* Retry-After */
    enum err failed; /* in a callback */
    char version[300];
    struct errinfo *e;
};

/* ---- the response ---- */

static void trim_copy(char *out, size_t n, const char *p, size_t len)
{
    while (len && (*p == ' ' || *p == '\t')) {
        p++;
        len--;
    }
    while (len && strchr(" \t\r\n", p[len - 1]))
        len--;
    snprintf(out, n, "%.*s", (int)MIN(len, n - 1), p);
}

static void note_range(struct response *r, const char *value)
{
    unsigned long long at, to, all;
    r->ranged = true;
    if (sscanf(value, "bytes %llu-%llu/%llu", &at, &to, &all) == 3) {
        r->range_at = at;
        r->range_all = all;
    } else if (sscanf(value, "bytes %llu-%llu", &at, &to) == 2) {
        r->range_at = at;
    } else if (sscanf(value, "bytes */%llu", &all) == 1) {
        r->range_at = UINT64_MAX;
        r->range_all = all;
    } else {
        r->range_at = UINT64_MAX;
    }
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct fetch *f = arg;
    struct response *r = &f->res;
    char value[300];
    size_t len = size * n;
    const char *colon = memchr(p, ':', len);
    if (len > 5 && strncasecmp(p, "HTTP/", 5) == 0) {
        const char *space = memchr(p, ' ', len);
        *r = (struct response){.length = -1};
        trim_copy(value, sizeof value, space ? space : "", space ? len - (size_t)(space - p) : 0);
        r->status = atoi(value);
        f->begun = false;
        return len;
    }
    if (!colon)
        return len;
    size_t n_name = (size_t)(colon - p);
    trim_copy(value, sizeof value, colon + 1, len - n_name - 1);
    bool whole = len - n_name < sizeof value; /* a longer one was cut: no use as a version */
    if (n_name == 4 && strncasecmp(p, "etag", 4) == 0 && value[0] == '"' && whole)
        snprintf(r->version, sizeof r->version, "%s", value);
    else if (n_name == 13 && strncasecmp(p, "last-modified", 13) == 0 && !r->version[0] && whole)
        snprintf(r->version, sizeof r->version, "%s", value);
    else if (n_name == 13 && strncasecmp(p, "content-range", 13) == 0)
        note_range(r, value);
    else if (n_name == 14 && strncasecmp(p, "content-length", 14) == 0)
        r->length = strtoll(value, NULL, 10);
    return len;
}

/* What must hold before the first byte of a body is written. */
static enum err begin_body(struct fetch *f)
{
    const struct fetch_job *job = f->job;
    struct landing *l = f->land;
    const struct response *r = &f->res;
    uint64_t total = 0;
    char mark[2400];
    if (r->status == 206 && r->range_at != l->n_bytes) {
        f->retry = true;
        TRY(landing_restart(l, f->e));
        return err_set(f->e, ERR_NETWORK, "%s: the server sent another part than was asked for",
                       job->url);
    }
    if (r->status == 200)
        TRY(landing_restart(l, f->e));
    if (r->status == 206 && r->range_all)
        total = r->range_all;
    else if (r->length >= 0)
        total = l->n_bytes + (uint64_t)r->length;
    if (job->bytes && total && total != job->bytes)
        return err_set(f->e, ERR_CORRUPT, "%s: the server has %llu bytes, the catalogue says %llu",
                       job->url, (unsigned long long)total, (unsigned long long)job->bytes);
    if (!job->bytes && !total && !job->sha256)
        return err_set(f->e, ERR_NETWORK,
                       "%s: the server does not say how long the file is, so that nothing tells "
                       "a whole one from a part",
                       job->url);
    l->bytes = job->bytes ? job->bytes : total;
    if (l->bytes > l->n_bytes)
        TRY(landing_room(l, l->bytes - l->n_bytes, f->e));
    snprintf(mark, sizeof mark, "%s\n%s", job->url, r->version);
    TRY(landing_mark(l, mark, f->e));
    snprintf(f->version, sizeof f->version, "%s", r->version);
    if (!f->showing)
        progress_begin(&f->progress, job->form, job->title, l->bytes, l->n_bytes, job->before);
    f->showing = true;
    f->begun = true;
    return ERR_OK;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct fetch *f = arg;
    size_t len = size * n;
    if (f->res.status != 200 && f->res.status != 206)
        return len; /* the page of an error or a redirect */
    if (!f->begun)
        f->failed = begin_body(f);
    if (f->failed == ERR_OK)
        f->failed = landing_write(f->land, p, len, f->e);
    if (f->failed != ERR_OK)
        return CURL_WRITEFUNC_ERROR;
    f->moved = true;
    f->t_moved_ns = os_now_ns();
    progress_update(&f->progress, f->land->n_bytes);
    return len;
}

/* libcurl calls this about once a second while nothing arrives.  Its own check of low speed looks
 * at an average, which notices a stall late. */
static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct fetch *f = arg;
    (void)a, (void)b, (void)c, (void)d;
    if (f->showing)
        progress_update(&f->progress, f->land->n_bytes);
    f->stalled = os_now_ns() - f->t_moved_ns > (uint64_t)f->job->stall_s * 1000000000u;
    return cmd_stopped() || f->stalled;
}

/* ---- one attempt ---- */

static enum err refused(struct fetch *f)
{
    const struct fetch_job *job = f->job;
    int status = f->res.status;
    f->retry = status == 408 || status == 429 || status >= 500;
    if (status == 401 || status == 403)
        return err_set(f->e, ERR_NETWORK,
                       "%s: the server asks for a login (%d)%s%s; load the file in a browser then, "
                       "and put it at %s",
                       job->url, status, job->licence_url ? ": accept the licence at " : "",
                       job->licence_url ? job->licence_url : "", job->path);
    if (status == 404 || status == 410)
        return err_set(f->e, ERR_NOTFOUND, "%s: the server has no such file (%d)", job->url,
                       status);
    if (status == 429)
        return err_set(f->e, ERR_NETWORK, "%s: the server asks for fewer requests (429)", job->url);
    if (status >= 500)
        return err_set(f->e, ERR_NETWORK, "%s: the server is in trouble (%d)", job->url, status);
    return err_set(f->e, ERR_NETWORK, "%s: the server answered with status %d", job->url, status);
}

/* 416: nothing lies beyond what we have.  Either that is all, or it is of another file. */
static enum err range_refused(struct fetch *f)
{
    struct landing *l = f->land;
    if (f->res.ranged && f->res.range_all == l->n_bytes && l->n_bytes) {
        l->bytes = f->job->bytes ? f->job->bytes : l->n_bytes;
        return ERR_OK;
    }
    f->retry = true;
    f->version[0] = '\0';
    TRY(landing_restart(l, f->e));
    return err_set(f->e, ERR_NETWORK, "%s: the server refuses to go on (416)", f->job->url);
}

static enum err judge(struct fetch *f, CURLcode rc, const char *detail)
{
    const char *text = *detail ? detail : curl_easy_strerror(rc);
    if (cmd_stopped())
        return err_set(f->e, ERR_CANCELLED,
                       "stopped; what arrived is kept, and the next pull "
                       "goes on from there");
    if (f->failed != ERR_OK)
        return f->failed;
    if (f->stalled || rc == CURLE_OPERATION_TIMEDOUT) {
        f->retry = true;
        return err_set(f->e, ERR_NETWORK, "%s: nothing arrived for %d seconds", f->job->url,
                       f->job->stall_s);
    }
    if (rc != CURLE_OK) {
        f->retry = rc != CURLE_PEER_FAILED_VERIFICATION && rc != CURLE_UNSUPPORTED_PROTOCOL &&
                   rc != CURLE_URL_MALFORMAT && rc != CURLE_SSL_CACERT_BADFILE;
        return err_set(f->e, ERR_NETWORK, "%s: %s", f->job->url, text);
    }
    if (f->res.status == 416)
        return range_refused(f);
    if (f->res.status != 200 && f->res.status != 206)
        return refused(f);
    return f->begun ? ERR_OK : begin_body(f); /* an empty body */
}

static enum err redirect(struct fetch *f, CURL *curl, char **url)
{
    char *next = NULL;
    curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &next);
    if (!next)
        return err_set(f->e, ERR_NETWORK, "%s: a redirect to nowhere", f->job->url);
    if (!catalogue_url_ok(next, strncmp(*url, "https://", 8) == 0))
        return err_set(f->e, ERR_NETWORK, "%s: refused a redirect to %.200s, which is not https",
                       f->job->url, next);
    mem_free(*url);
    *url = mem_alloc(strlen(next) + 1);
    strcpy(*url, next);
    return ERR_OK;
}

/* Performs one request; *hop: the answer is a redirect, and *url now its target. */
static enum err request(struct fetch *f, CURL *curl, char **url, bool *hop)
{
    char detail[CURL_ERROR_SIZE] = "", range[32], if_range[320];
    struct curl_slist *headers = NULL;
    curl_off_t wait_s = 0;
    f->res = (struct response){.length = -1};
    f->begun = f->stalled = false;
    f->t_moved_ns = os_now_ns();
    f->failed = ERR_OK;
    curl_easy_setopt(curl, CURLOPT_URL, *url);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, strncmp(*url, "http://", 7) == 0 ? "*" : NULL);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
    if (f->land->n_bytes) {
        snprintf(range, sizeof range, "%llu-", (unsigned long long)f->land->n_bytes);
        snprintf(if_range, sizeof if_range, "If-Range: %s", f->version);
        if (f->version[0])
            headers = curl_slist_append(NULL, if_range);
    }
    curl_easy_setopt(curl, CURLOPT_RANGE, f->land->n_bytes ? range : NULL);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    CURLcode rc = curl_easy_perform(curl);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &wait_s);
    f->wait_s = (int)MIN(wait_s, (curl_off_t)60);
    int s = f->res.status;
    *hop = rc == CURLE_OK && (s == 301 || s == 302 || s == 303 || s == 307 || s == 308);
    return *hop ? redirect(f, curl, url) : judge(f, rc, detail);
}

static enum err attempt(struct fetch *f, CURL *curl)
{
    char *url = mem_alloc(strlen(f->job->url) + 1);
    strcpy(url, f->job->url);
    enum err code = ERR_OK;
    bool hop = true;
    f->retry = f->moved = false;
    for (int i = 0; hop && code == ERR_OK; i++) {
        if (i > REDIRECTS_MAX)
            code = err_set(f->e, ERR_NETWORK, "%s: more than %d redirects", f->job->url,
                           REDIRECTS_MAX);
        else
            code = request(f, curl, &url, &hop);
    }
    mem_free(url);
    return code;
}

/* ---- all attempts ---- */

static void pause_ms(int ms)
{
    for (; ms > 0 && !cmd_stopped(); ms -= 100)
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

static CURL *new_curl(struct fetch *f)
{
    CURL *curl = curl_easy_init();
    CHECK(curl);
    bool local = strncmp(f->job->url, "http://", 7) == 0;
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, local ? "http,https" : "https");
    if (tool_certificates()) /* a network may have certificates of its own */
        curl_easy_setopt(curl, CURLOPT_CAINFO, tool_certificates());
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "damso/" DAMSO_VERSION);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 262144L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)MIN(f->job->stall_s, CONNECT_MAX_S));
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, f);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, f);
    return curl;
}

/* Takes up what an earlier run left of this very address. */
static enum err take_up(struct fetch *f)
{
    char mark[2400];
    size_t n = strlen(f->job->url);
    bool same = landing_marked(f->land, mark, sizeof mark) && strncmp(mark, f->job->url, n) == 0 &&
                mark[n] == '\n';
    /* without a version only the hash can tell whether the rest belongs to it */
    if (!same || (!mark[n + 1] && !f->job->sha256))
        return landing_restart(f->land, f->e);
    snprintf(f->version, sizeof f->version, "%s", mark + n + 1);
    return landing_resume(f->land, mark, f->e);
}

static enum err try_all(struct fetch *f, CURL *curl)
{
    int left = f->job->tries, ms = PAUSE_MS;
    for (;;) {
        enum err code = attempt(f, curl);
        if (code == ERR_OK || !f->retry || code == ERR_CANCELLED)
            return code;
        if (f->moved) { /* it goes on, if in bits */
            left = f->job->tries;
            ms = PAUSE_MS;
        }
        if (--left <= 0)
            return code;
        if (!f->version[0] && !f->job->sha256)
            TRY(landing_restart(f->land, f->e));
        ms = MAX(ms, 1000 * f->wait_s);
        fprintf(stderr, "%sdamso: %s; trying again in %.1f s\n",
                f->showing && f->progress.drawn && f->progress.tty ? "\n" : "",
                f->e ? f->e->text : "", ms * 1e-3);
        pause_ms(ms);
        ms = MIN(2 * ms, PAUSE_MAX_MS);
    }
}

enum err fetch_file(const struct fetch_job *job, struct errinfo *e)
{
    struct landing land;
    struct fetch f = {.job = job, .land = &land, .e = e};
    CHECK(job->stall_s > 0 && job->tries > 0);
    if (!catalogue_url_ok(job->url, false))
        return err_set(e, ERR_USAGE, "%s: only https addresses are loaded", job->url);
    TRY(landing_open(&land, job->path, job->bytes, job->sha256, e));
    enum err code = take_up(&f);
    if (code == ERR_OK && !(job->bytes && land.n_bytes == job->bytes)) {
        CURL *curl = new_curl(&f);
        code = try_all(&f, curl);
        curl_easy_cleanup(curl);
    }
    if (f.showing)
        progress_end(&f.progress, land.n_bytes);
    if (code == ERR_OK)
        code = landing_finish(&land, job->check, e);
    else if (code == ERR_CORRUPT)
        landing_restart(&land, NULL);
    landing_close(&land);
    return code;
}
