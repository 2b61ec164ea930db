/* SPDX-License-Identifier: MIT
 * api_ollama_pull.c - POST /api/pull.
 *
 * Requests for one name wait for one load, and the last to leave cancels it.  Its news come on the
 * loader's thread, which notes them and wakes the requests; io threads write the lines. */
#include "api/api_metrics.h"
#include "api/api_ollama.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

#define NAME_BYTES_MAX 128

struct pull {
    struct pull *next;
    struct api_pulls *set;
    char name[NAME_BYTES_MAX + 1];
    const char *sha256; /* NULL: not known */
    uint64_t bytes, bytes_total;
    bool cancelled, over;
    struct errinfo how; /* over */
    struct pull_wait *waits;
};

/* A request. */
struct pull_wait {
    struct pull_wait *next;
    struct pull *pull;
    struct api_call *call;
    bool begun; /* the first line was said */
    bool told;  /* some bytes were said: */
    uint64_t bytes;
};

struct api_pulls {
    struct api *api;
    pthread_mutex_t lock;
    struct pull *first; /* that are not over, or have requests */
};

struct api_pulls *api_pulls_new(struct api *a)
{
    struct api_pulls *p = mem_alloc(sizeof *p);
    p->api = a;
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void api_pulls_free(struct api_pulls *p)
{
    CHECK(!p->first);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

json_t *api_pulls_json(struct api_pulls *p)
{
    json_t *list = json_array();
    pthread_mutex_lock(&p->lock);
    for (const struct pull *l = p->first; l; l = l->next)
        if (!l->over)
            json_array_append_new(list, api_pack("{ss sI sI}", "name", l->name, "bytes",
                                                 (json_int_t)l->bytes, "total",
                                                 (json_int_t)l->bytes_total));
    pthread_mutex_unlock(&p->lock);
    return list;
}

/* ---- a load, with the lock held ---- */

static void end_if_done(struct pull *l)
{
    if (!l->over || l->waits)
        return;
    struct pull **at = &l->set->first;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    mem_free(l);
}

/* One that is cancelled may still end; who asks for its model then starts another. */
static struct pull *find(struct api_pulls *set, const char *name)
{
    for (struct pull *l = set->first; l; l = l->next)
        if (!l->over && !l->cancelled && strcmp(l->name, name) == 0)
            return l;
    return NULL;
}

/* On the loader's thread; takes the lock. */
static void told(void *sink, const struct api_load_news *news)
{
    struct pull *l = sink;
    struct api_pulls *set = l->set;
    if (news->row)
        api_models_add(set->api->models, news->row);
    pthread_mutex_lock(&set->lock);
    if (news->bytes || news->bytes_total) {
        l->bytes = news->bytes;
        l->bytes_total = news->bytes_total;
    }
    if (news->over && news->code != ERR_OK)
        err_note(&l->how, news->code, "%s", news->text);
    if (news->over)
        log_at(LOG_INFO, "api", "pull=%s result=%s", l->name, err_name(news->code));
    l->over = news->over;
    for (struct pull_wait *w = l->waits; w; w = w->next)
        http_wake(w->call->req);
    end_if_done(l);
    pthread_mutex_unlock(&set->lock);
}

static struct pull *begin(struct api_pulls *set, const char *name, struct errinfo *e)
{
    const struct api_loader *loader = &set->api->o.loader;
    struct pull *l = mem_alloc(sizeof *l);
    l->set = set;
    snprintf(l->name, sizeof l->name, "%s", name);
    if (loader->start(loader->arg, l->name, told, l, &l->sha256, e) != ERR_OK) {
        mem_free(l);
        return NULL;
    }
    l->next = set->first;
    set->first = l;
    return l;
}

/* ---- a request ---- */

static struct pull_wait *join(struct api_call *c, const char *name, struct errinfo *e)
{
    struct api_pulls *set = c->api->pulls;
    struct pull_wait *w = arena_alloc(c->req->arena, sizeof *w);
    pthread_mutex_lock(&set->lock);
    struct pull *l = find(set, name);
    l = l ? l : begin(set, name, e);
    if (l) {
        *w = (struct pull_wait){.next = l->waits, .pull = l, .call = c};
        l->waits = w;
    }
    pthread_mutex_unlock(&set->lock);
    return l ? w : NULL;
}

static void done(void *state)
{
    struct pull_wait *w = state;
    struct pull *l = w->pull;
    struct api_pulls *set = l->set;
    const struct api_loader *loader = &set->api->o.loader;
    pthread_mutex_lock(&set->lock);
    struct pull_wait **at = &l->waits;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    if (!l->waits && !l->over) {
        l->cancelled = true;
        loader->cancel(loader->arg, l);
    }
    end_if_done(l);
    pthread_mutex_unlock(&set->lock);
}

static void add_bytes(struct pull_wait *w, const struct pull *now, struct str *out)
{
    char text[160];
    if (w->told && w->bytes == now->bytes)
        return;
    w->told = true;
    w->bytes = now->bytes;
    snprintf(text, sizeof text, "pulling %s", now->name);
    json_t *o = api_pack("{ss}", "status", text);
    if (now->sha256) {
        snprintf(text, sizeof text, "sha256:%s", now->sha256);
        json_object_set_new(o, "digest", json_string(text));
    }
    if (now->bytes_total)
        json_object_set_new(o, "total", json_integer((json_int_t)now->bytes_total));
    json_object_set_new(o, "completed", json_integer((json_int_t)now->bytes));
    api_ollama_line(out, o);
}

/* What came was damaged: not the request, as it would be elsewhere. */
static void refuse_failed(struct api_fault *f, const struct errinfo *how)
{
    api_refuse_err(f, "model", how);
    if (how->code == ERR_CORRUPT)
        f->status = err_http(ERR_NETWORK);
}

static void add_end(struct pull_wait *w, const struct pull *now, struct str *out)
{
    struct api_fault f = {0};
    if (now->how.code == ERR_OK) {
        api_ollama_line(out, api_pack("{ss}", "status", "success"));
        return;
    }
    refuse_failed(&f, &now->how);
    api_metrics_fault(w->call->api->metrics, f.status);
    api_fault_body(&f, API_OLLAMA, out);
    str_add_char(out, '\n');
}

static struct pull snapshot(struct pull_wait *w)
{
    struct api_pulls *set = w->pull->set;
    pthread_mutex_lock(&set->lock);
    struct pull now = *w->pull;
    pthread_mutex_unlock(&set->lock);
    return now;
}

static enum http_fill fill(void *state, struct str *out)
{
    struct pull_wait *w = state;
    struct pull now = snapshot(w);
    size_t before = out->n;
    if (!w->begun)
        api_ollama_line(out, api_pack("{ss}", "status", "pulling manifest"));
    w->begun = true;
    if (now.bytes || now.bytes_total)
        add_bytes(w, &now, out);
    if (now.over) {
        add_end(w, &now, out);
        return HTTP_END;
    }
    return out->n > before ? HTTP_MORE : HTTP_WAIT;
}

static void woken(void *state)
{
    struct pull_wait *w = state;
    struct pull now = snapshot(w);
    if (!now.over)
        return;
    if (now.how.code == ERR_OK) {
        api_call_json(w->call, 200, api_pack("{ss}", "status", "success"));
    } else {
        refuse_failed(&w->call->fault, &now.how);
        api_call_fail(w->call);
    }
}

/* The name without Ollama's tag for the only one; false and the fault where it is none. */
static bool read_name(struct api_call *c, const struct api_in *in, char name[NAME_BYTES_MAX + 1])
{
    const char *given = NULL;
    if (!api_ollama_name(in, &given))
        return false;
    struct span s = span_of(given ? given : "");
    if (span_ends(s, SPAN(":latest")))
        s.n -= strlen(":latest");
    if (s.n == 0 || s.n > NAME_BYTES_MAX)
        return api_refuse(&c->fault, 400, "invalid_value", "model",
                          "model: a name of the catalogue, of at most %d bytes", NAME_BYTES_MAX);
    snprintf(name, NAME_BYTES_MAX + 1, "%.*s", (int)s.n, s.p);
    return true;
}

/* What a request says; NULL and the fault: it is refused. */
static struct pull_wait *read_pull(struct api_call *c, bool *stream)
{
    char name[NAME_BYTES_MAX + 1];
    bool insecure = false; /* changes nothing: the catalogue has the addresses */
    struct errinfo e = {0};
    const struct api_in in = {c->body, "", &c->fault};
    const struct api_loader *loader = &c->api->o.loader;
    if (!read_name(c, &in, name) || !api_get_bool(&in, "stream", stream) ||
        !api_get_bool(&in, "insecure", &insecure))
        return NULL;
    if (!loader->start) {
        api_refuse(&c->fault, 501, "unsupported", "", "%s", loader->refusal);
        return NULL;
    }
    struct pull_wait *w = join(c, name, &e);
    if (!w)
        api_refuse_err(&c->fault, "model", &e);
    return w;
}

void api_do_ollama_pull(struct api_call *c)
{
    static const struct http_ops as_stream = {.fill = fill, .done = done};
    static const struct http_ops whole = {.woken = woken, .done = done};
    bool stream = true;
    if (!api_call_body(c))
        return;
    struct pull_wait *w = read_pull(c, &stream);
    if (!w) {
        api_call_fail(c);
        return;
    }
    api_call_drop(c);
    if (stream) {
        http_stream_begin(c->req, 200, API_NDJSON, &as_stream, w); /* in a handler: true */
    } else {
        http_later(c->req, &whole, w);
        http_wake(c->req); /* it may be over */
    }
}
