/* SPDX-License-Identifier: MIT
 * api_models.c - GET /v1/models and /v1/models/{model}, in Anthropic's form for its clients, whose
 * lists are one page here. */
#include "api/api_call.h"

static json_t *describe(struct api_model *m, const char *name)
{
    json_t *o = api_pack("{sssssIss}", "id", name, "object", "model", "created",
                         (json_int_t)m->file_unix, "owned_by", "damso");
    bool open = api_model_hold(m);
    json_object_set_new(o, "loaded", json_boolean(open));
    if (open) {
        json_object_set_new(o, "max_model_len", json_integer((json_int_t)engine_ctx(m->engine)));
        api_model_release(m);
    }
    return o;
}

/* vLLM's way: adapters stand beside the models, and name theirs. */
static void add_loras(json_t *data, const struct api_model *m)
{
    for (size_t i = 0; i < m->row->n_loras; i++)
        json_array_append_new(data, api_pack("{sssssIssss}", "id", m->row->loras[i].name, "object",
                                             "model", "created", (json_int_t)m->file_unix,
                                             "owned_by", "damso", "parent", m->name));
}

/* Anthropic's. */
static json_t *describe_short(const struct api_model *m, const char *name)
{
    return api_pack("{ssssssso}", "type", "model", "id", name, "display_name", m->name,
                    "created_at", api_json_time(m->file_unix, -1));
}

static json_t *list_short(struct api_models *set)
{
    json_t *data = json_array();
    size_t n = api_models_n(set);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(data,
                              describe_short(api_models_at(set, i), api_models_at(set, i)->name));
    return api_pack("{sosbssss}", "data", data, "has_more", 0, "first_id",
                    api_models_at(set, 0)->name, "last_id", api_models_at(set, n - 1)->name);
}

void api_do_models(struct api_call *c)
{
    struct api_models *set = c->api->models;
    if (c->dialect == API_ANTHROPIC) {
        api_call_json(c, 200, list_short(set));
        return;
    }
    json_t *data = json_array();
    size_t n = api_models_n(set);
    for (size_t i = 0; i < n; i++) {
        struct api_model *m = api_models_at(set, i);
        json_array_append_new(data, describe(m, m->name));
        add_loras(data, m);
    }
    api_call_json(c, 200, api_pack("{ssso}", "object", "list", "data", data));
}

void api_do_model(struct api_call *c)
{
    const char *name = http_param(c->req, "model");
    struct api_model *m = api_models_need(c->api->models, name, &c->fault);
    if (!m) {
        api_call_fail(c);
        return;
    }
    bool brief = c->dialect == API_ANTHROPIC;
    api_call_json(c, 200, brief ? describe_short(m, name) : describe(m, name));
}
