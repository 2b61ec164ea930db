/* SPDX-License-Identifier: MIT
 * api_admin.c - /api/v1/admin: what the server does now and was used for, its models and keys. */
#include "api/api_chats.h"
#include "api/api_keys.h"
#include "api/api_ollama.h"
#include "api/api_people.h"

#include "base/log.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <stdlib.h>
#include <string.h>

#define USAGE_DAYS_MAX 366

/* ---- now ---- */

static void add_load(json_t *o, struct api_model *m)
{
    if (!api_model_hold(m))
        return;
    struct sched_load l = sched_load(m->sched);
    json_object_set_new(o, "context", json_integer((json_int_t)engine_ctx(m->engine)));
    api_model_release(m);
    json_object_set_new(o, "load",
                        api_pack("{sI sI sI sI sI sI sI}", "running", (json_int_t)l.running,
                                 "queued", (json_int_t)l.queued, "pages", (json_int_t)l.pages,
                                 "pages_free", (json_int_t)l.pages_free, "answer_tokens",
                                 (json_int_t)l.n_answer, "prompt_tokens", (json_int_t)l.n_prompt,
                                 "cached_tokens", (json_int_t)l.n_cached));
}

static json_t *model_of(struct api_model *m)
{
    static const char *const states[] = {[API_COLD] = "closed",
                                         [API_WANTED] = "opening",
                                         [API_READY] = "open",
                                         [API_BROKEN] = "broken"};
    const struct api_model_look look = api_model_look(m);
    const struct api_about *about = api_model_about(m);
    json_t *o = api_pack("{ss ss ss sI sI sI}", "id", m->name, "state", states[look.state],
                         "format", about->quantization, "bytes", (json_int_t)m->file_bytes,
                         "weights", (json_int_t)about->n_weights, "context",
                         (json_int_t)about->ctx);
    if (look.state == API_BROKEN)
        json_object_set_new(o, "error", json_string(look.error.text));
    if (look.state == API_READY) {
        json_object_set_new(o, "memory",
                            api_pack("{sI sI sI}", "weights", (json_int_t)look.memory.weights,
                                     "context", (json_int_t)look.memory.context, "work",
                                     (json_int_t)look.memory.work));
        json_object_set_new(o, "in_use", json_boolean(look.n_users > 0));
        add_load(o, m);
    }
    return o;
}

static json_t *offers_of(const struct api_loader *l)
{
    json_t *list = json_array();
    for (size_t i = 0; i < l->n_offers; i++) {
        const struct api_offer *x = &l->offers[i];
        json_array_append_new(list, api_pack("{ss ss ss ss ss sf sf}", "name", x->name, "title",
                                             x->title, "ko", x->about_ko ? x->about_ko : "", "en",
                                             x->about_en ? x->about_en : "", "licence",
                                             x->licence ? x->licence : "", "gb", x->gb,
                                             "memory_gib", x->memory_gib));
    }
    return list;
}

void api_do_admin_live(struct api_call *c)
{
    struct api *a = c->api;
    json_t *models = json_array();
    size_t n = api_models_n(a->models);
    struct http_stats http = http_stats(a->http);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(models, model_of(api_models_at(a->models, i)));
    json_t *o = api_pack(
        "{sf sI ss sI sI sI sI sI so so}", "now", (double)os_now_ns() / 1e9, "started",
        (json_int_t)a->started_unix, "version", DAMSO_VERSION, "parallel",
        (json_int_t)a->o.parallel, "resident", (json_int_t)os_mem_resident(), "memory",
        (json_int_t)os_mem_total(), "available", (json_int_t)os_mem_available(), "connections",
        (json_int_t)http.n_open, "models", models, "pulls", api_pulls_json(a->pulls));
    bool loads = a->o.loader.start != NULL;
    json_object_set_new(o, "loads", json_boolean(loads));
    /* The list is long and stays the same: who draws a page asks once. */
    if (http_query(c->req, "offers"))
        json_object_set_new(o, "offers", offers_of(&a->o.loader));
    c->exact = true;
    api_call_json(c, 200, o);
}

/* ---- what was used ---- */

static void give_usage(struct api_call *c, struct api_stored *s)
{
    if (!api_people_ok(c, s))
        return;
    const struct store_people *x = s->op.people;
    json_t *rows = json_array();
    for (size_t i = 0; i < x->n_usage; i++) {
        const struct store_usage *u = &x->usage[i];
        struct api_who who;
        const char *name = api_people_id(c->api->people, u->owner, &who) ? who.name : "";
        json_array_append_new(rows, api_pack("{sI ss ss ss sI sI sI}", "day", (json_int_t)u->day,
                                             "owner", u->owner, "name", name, "model", u->model,
                                             "requests", (json_int_t)u->n_requests, "prompt_tokens",
                                             (json_int_t)u->n_prompt, "answer_tokens",
                                             (json_int_t)u->n_answer));
    }
    api_call_json(c, 200,
                  api_pack("{sI sI so}", "from", (json_int_t)x->since, "to",
                           (json_int_t)(os_unix_time() / 86400), "rows", rows));
}

void api_do_admin_usage(struct api_call *c)
{
    const char *text = http_query(c->req, "days");
    struct store_people *x;
    char *end = NULL;
    long days = text ? strtol(text, &end, 10) : 30;
    if (text && (end == text || *end || days < 1 || days > USAGE_DAYS_MAX)) {
        api_refuse(&c->fault, 400, "invalid_value", "days", "days: 1 to %d is expected",
                   USAGE_DAYS_MAX);
        api_call_fail(c);
        return;
    }
    struct api_stored *s = api_people_new(c, STORE_USAGE_GET, &x);
    if (!s)
        return;
    x->since = os_unix_time() / 86400 - days + 1;
    api_stored_run(s, give_usage);
}

/* ---- models ---- */

static const char *named_model(struct api_call *c)
{
    const char *name = NULL;
    if (!api_chats_write(c, false))
        return NULL;
    const struct api_in in = {c->body, "", &c->fault};
    if (!api_get_text(&in, "model", &name) || !name) {
        api_refuse(&c->fault, 400, "invalid_value", "model", "model: is missing");
        api_call_fail(c);
        return NULL;
    }
    return arena_dup(c->req->arena, name, strlen(name));
}

static void loaded(struct api_call *c, struct api_model *m)
{
    api_model_release(m);
    log_at(LOG_INFO, "api", "load=%s by=%s", m->name, api_people_log_name(c));
    api_call_json(c, 200, model_of(m));
}

void api_do_admin_load(struct api_call *c)
{
    const char *name = named_model(c);
    if (name)
        api_model_want(c, name, loaded);
}

void api_do_admin_unload(struct api_call *c)
{
    const char *name = named_model(c);
    if (!name)
        return;
    struct api_model *m = api_models_need(c->api->models, name, &c->fault);
    if (m && !api_model_unload(m))
        api_refuse(&c->fault, 409, "model_in_use", "model",
                   "the model \"%.128s\" is not open, or is answering now", name);
    if (c->fault.status) {
        api_call_fail(c);
        return;
    }
    log_at(LOG_INFO, "api", "unload=%s by=%s", m->name, api_people_log_name(c));
    api_call_json(c, 200, api_pack("{sb}", "unloaded", 1));
}

/* ---- keys ---- */

static void give_keys(struct api_call *c, struct api_stored *s)
{
    if (!api_people_ok(c, s))
        return;
    json_t *list = json_array();
    for (size_t i = 0; i < s->op.n; i++)
        json_array_append_new(list, api_keys_json(c, &s->op.keys[i]));
    api_call_json(c, 200, api_pack("{so}", "keys", list));
}

void api_do_admin_keys(struct api_call *c)
{
    struct store_people *x;
    struct api_stored *s = api_people_new(c, STORE_KEY_LIST, &x);
    if (s)
        api_stored_run(s, give_keys);
}

void api_do_admin_key_new(struct api_call *c)
{
    api_keys_new(c, (1u << STORE_N_SCOPES) - 1, NULL);
}

void api_do_admin_key_end(struct api_call *c)
{
    api_keys_end(c);
}
