/* SPDX-License-Identifier: MIT
 * api_pages.c - POST /api/v1/pages: a web page by its address as a file for messages. */
#include "api/api_chats.h"

#include "base/num.h"
#include "tool/tool.h"

#include <stdatomic.h>
#include <string.h>

#define NAME_BYTES_MAX ((size_t)200)
#define GONE           "\n[The page goes on, but the rest was too long to be kept.]"

/* A request that waits for its page. */
struct wait {
    struct api_call *call;
    atomic_int refs; /* the request's, and the page's */
    atomic_bool over;
    atomic_ullong number;
    json_t *answer;
    struct errinfo e; /* OK: there is an answer */
};

static void wait_free(struct wait *w)
{
    if (atomic_fetch_sub(&w->refs, 1) != 1)
        return;
    struct http_req *req = w->call->req;
    json_decref(w->answer);
    http_release(req); /* w lies in its arena */
}

/* Its process reads what strangers write: what it says is looked at as theirs. */
static bool is_page(const json_t *o)
{
    return json_is_string(json_object_get(o, "url")) &&
           json_is_string(json_object_get(o, "text")) && json_is_string(json_object_get(o, "type"));
}

/* On the tools' thread. */
static void answered(void *arg, const json_t *answer, const struct errinfo *e)
{
    struct wait *w = arg;
    w->answer = is_page(answer) ? json_deep_copy(answer) : NULL;
    if (e)
        w->e = *e;
    else if (!w->answer)
        err_note(&w->e, ERR_FAILED, "what was fetched is no page");
    atomic_store(&w->over, true);
    http_wake(w->call->req);
    wait_free(w);
}

/* ---- the file ---- */

/* What the answer says besides the file. */
struct page {
    const char *url;
    bool cut;
};

static json_t *page_of(const struct store_file *f, const struct page *p)
{
    return api_pack("{ss ss ss sI ss sb}", "id", f->id, "name", f->name, "type", f->type, "size",
                    (json_int_t)f->body.n, "url", p->url, "cut", (int)p->cut);
}

static void give_file(struct api_call *c, struct api_stored *s)
{
    if (api_chats_ok(c, s))
        api_call_json(c, 200, page_of(&s->op.chats->file, c->own));
}

/* The page's title, or where it is; one line. */
static const char *name_of(struct api_stored *s, const json_t *answer)
{
    const char *url = json_string_value(json_object_get(answer, "url"));
    const json_t *title = json_object_get(answer, "title");
    struct span t = {json_string_value(title), json_string_length(title)};
    if (!t.n || !utf8_printable(t)) {
        const char *host = strstr(url, "://");
        t = span_of(host ? host + 3 : url);
    }
    t.n = t.n > NAME_BYTES_MAX ? utf8_complete((struct span){t.p, NAME_BYTES_MAX}) : t.n;
    return t.n ? arena_dup(&s->arena, t.p, t.n) : "web page";
}

static void keep(struct api_call *c, const json_t *answer)
{
    struct store_chats *x;
    struct api_stored *s = api_chats_new(c, STORE_FILE_ADD, &x);
    if (!s)
        return;
    const char *url = json_string_value(json_object_get(answer, "url"));
    struct page *p = arena_alloc(c->req->arena, sizeof *p);
    p->url = arena_dup(c->req->arena, url, strlen(url));
    p->cut = json_is_true(json_object_get(answer, "cut"));
    c->own = p;
    const json_t *text = json_object_get(answer, "text");
    str_addf(&s->body, "%s\n%s\n\n", name_of(s, answer), url);
    str_add(&s->body, json_string_value(text), json_string_length(text));
    size_t most = STORE_FILE_BYTES_MAX - sizeof GONE;
    p->cut |= s->body.n > most;
    if (s->body.n > most)
        s->body.n = utf8_complete((struct span){s->body.p, most});
    if (p->cut) /* for the model, which must not take a part for the whole */
        str_add_cstr(&s->body, GONE);
    x->file = (struct store_file){
        .id = api_new_id(&s->arena, "file-"),
        .name = name_of(s, answer),
        .type = api_stored_keep(s, json_string_value(json_object_get(answer, "type"))),
        .source = api_stored_keep(s, url),
        .body = str_span(&s->body)};
    api_stored_run(s, give_file);
}

/* ---- the request ---- */

/* What the person asked for is at fault, not this server: 422, and 502 where the other is. */
static void refuse(struct api_call *c, const struct errinfo *e)
{
    static const struct {
        enum err err;
        int status;
        const char *code; /* for programs that have words of their own */
    } kinds[] = {
        {ERR_USAGE,       422, "page_not_allowed"},
        {ERR_NOTFOUND,    422, "page_not_found"  },
        {ERR_UNSUPPORTED, 422, "page_type"       },
        {ERR_TOOBIG,      422, "page_too_large"  },
        {ERR_NETWORK,     502, "page_unreachable"},
        {ERR_BUSY,        503, "page_busy"       },
    };
    size_t i = 0;
    while (i < N_ELEMS(kinds) && kinds[i].err != e->code)
        i++;
    bool known = i < N_ELEMS(kinds);
    api_refuse(&c->fault, known ? kinds[i].status : 500, known ? kinds[i].code : "page_failed",
               "url", "%s", e->text);
    api_call_fail(c);
}

static void woken(void *state)
{
    struct wait *w = state;
    struct api_call *c = w->call;
    if (!atomic_load(&w->over))
        return;
    http_later(c->req, NULL, NULL); /* from here on the request is not ours */
    if (w->answer)
        keep(c, w->answer);
    else
        refuse(c, &w->e);
    wait_free(w);
}

static void gone(void *state)
{
    struct wait *w = state;
    tool_cancel(w->call->api->o.tool, atomic_load(&w->number));
}

static void wait_done(void *state)
{
    struct wait *w = state;
    api_call_drop(w->call);
    wait_free(w);
}

static void ask(struct api_call *c, const char *url)
{
    static const struct http_ops ops = {.woken = woken, .gone = gone, .done = wait_done};
    const char *languages = http_req_header(c->req, "accept-language");
    struct wait *w = arena_alloc(c->req->arena, sizeof *w);
    struct errinfo e;
    w->call = c;
    atomic_init(&w->refs, 2);
    http_hold(c->req);
    http_later(c->req, &ops, w);
    uint64_t number = tool_page(c->api->o.tool, url, languages ? languages : "", answered, w, &e);
    atomic_store(&w->number, number);
    if (number)
        return;
    http_later(c->req, NULL, NULL);
    refuse(c, &e);
    atomic_fetch_sub(&w->refs, 1);
    wait_free(w);
}

void api_do_pages_new(struct api_call *c)
{
    const char *url = NULL;
    if (!api_chats_write(c, false))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    bool ok = api_get_text(&in, "url", &url) && (url || api_get_refuse(&in, "url", "is missing"));
    if (ok && !tool_has_pages(c->api->o.tool))
        ok = api_refuse(&c->fault, 404, "not_found", "",
                        "this server fetches no web pages (its setting fetch_pages)");
    if (ok)
        ask(c, url);
    else
        api_call_fail(c);
}
