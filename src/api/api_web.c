/* SPDX-License-Identifier: MIT
 * api_web.c - GET /: the web app for browsers, a word for programs; GET of the app's files. */
#include "api/api_call.h"

#include <stdio.h>
#include <string.h>

/* What a page of ours may do: nothing inline, nothing from elsewhere.  Previews are frames of
 * files, which have a stricter policy of their own (api_folders.c). */
#define POLICY                                                                                     \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "        \
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; "                \
    "frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

static const struct api_web_file *find(const struct api_web *w, const char *path)
{
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->files[i].path, path) == 0)
            return &w->files[i];
    return NULL;
}

/* Whether a list of a header names it, without "q=0". */
static bool takes(const struct http_req *r, const char *header, const char *name)
{
    const char *list = http_req_header(r, header), *at = list ? strstr(list, name) : NULL;
    if (!at)
        return false;
    const char *rest = at + strlen(name), *q = strstr(rest, "q=0");
    size_t n = strcspn(rest, ",");
    bool none = q && q < rest + n && strspn(q + 2, "0.") == strcspn(q + 2, ", ");
    return !none;
}

static void give(struct api_call *c, const struct api_web_file *f)
{
    char tag[80];
    bool zip = f->gzip && takes(c->req, "accept-encoding", "gzip");
    const char *known = http_req_header(c->req, "if-none-match");
    snprintf(tag, sizeof tag, "\"%.32s%s\"", f->hash, zip ? "-gz" : "");
    http_header(c->req, "ETag", tag);
    http_header(c->req, "Vary", f->forever ? "Accept-Encoding" : "Accept, Accept-Encoding");
    http_header(c->req, "Cache-Control",
                f->forever ? "public, max-age=31536000, immutable" : "no-cache");
    if (strncmp(f->type, "text/html", 9) == 0 || strncmp(f->type, "image/svg", 9) == 0)
        http_header(c->req, "Content-Security-Policy", POLICY);
    if (known && strstr(known, tag)) {
        http_reply(c->req, 304, NULL, SPAN(""));
        return;
    }
    struct span body = {(const char *)f->bytes, f->n};
    if (zip) {
        http_header(c->req, "Content-Encoding", "gzip");
        body = (struct span){(const char *)f->gzip, f->n_gzip};
    }
    http_reply(c->req, 200, f->type, body);
}

void api_do_web(struct api_call *c)
{
    const struct api_web_file *f = find(&c->api->o.web, c->req->path);
    if (f) {
        give(c, f);
        return;
    }
    api_refuse(&c->fault, 404, "not_found", "", "there is nothing at this path");
    api_call_fail(c);
}

static void no_page(struct api_call *c)
{
    api_refuse(&c->fault, 404, "not_found", "", "this server was built without the web app");
    api_call_fail(c);
}

void api_do_page(struct api_call *c)
{
    const struct api_web_file *page = find(&c->api->o.web, "/index.html");
    if (page)
        give(c, page);
    else
        no_page(c);
}

void api_web_page(struct api_call *c, int status, struct span tags)
{
    static const char end[] = "</head>";
    const struct api_web_file *page = find(&c->api->o.web, "/index.html");
    const char *at = page ? memmem(page->bytes, page->n, end, sizeof end - 1) : NULL;
    struct str out;
    if (!at) {
        no_page(c);
        return;
    }
    size_t before = (size_t)(at - (const char *)page->bytes);
    str_init(&out, page->n + tags.n);
    str_add(&out, page->bytes, before);
    str_add_span(&out, tags);
    str_add(&out, at, page->n - before);
    http_header(c->req, "Cache-Control", "private, no-store");
    http_header(c->req, "Content-Security-Policy", POLICY);
    http_header(c->req, "X-Robots-Tag", "noindex");
    http_reply(c->req, status, page->type, str_span(&out));
    str_done(&out);
}

void api_do_home(struct api_call *c)
{
    const struct api_web_file *page = find(&c->api->o.web, "/index.html");
    if (page && takes(c->req, "accept", "text/html")) {
        give(c, page);
        return;
    }
    http_reply(
        c->req, 200, "text/plain; charset=utf-8",
        SPAN("damso is running.  Programs find OpenAI's and Anthropic's API at /v1 and Ollama's "
             "at /api; /openapi.json lists it all.\n"
             "담소가 돌아가고 있습니다. 프로그램은 /v1(OpenAI, Anthropic)과 /api(Ollama)를 쓰고, "
             "전체 목록은 /openapi.json에 있습니다.\n"));
}
