/* SPDX-License-Identifier: MIT
 * api_me.c - GET /api/v1/me: who the web app works for, and with what. */
#include "api/api_chats.h"
#include "api/api_people.h"
#include "api/api_sim.h"

static json_t *model_of(struct api_model *m)
{
    size_t ctx = m->row->ctx;
    bool open = api_model_hold(m), tools = false;
    json_t *device = NULL;
    if (open) {
        device = api_sim_device(m->engine);
        tools = chat_takes_tools(m->chat);
        ctx = engine_ctx(m->engine);
        api_model_release(m);
    }
    ctx = ctx ? ctx : api_model_about(m)->ctx;
    if (!open)
        tools = api_model_about(m)->tools;
    return api_pack("{ss ss sI sb sb sb so}", "id", m->name, "name", m->name, "context",
                    (json_int_t)ctx, "loaded", (int)open, "tools", (int)tools, "pictures",
                    (int)api_model_sees(m), "device", device ? device : json_null());
}

/* Those that one can talk with; all where there are none, and `first` is the one that is meant
 * where nothing is said. */
static json_t *models_of(struct api_models *set, const char **first)
{
    size_t n = api_models_n(set), n_text = 0;
    json_t *list = json_array();
    *first = api_models_at(set, 0)->name;
    for (size_t i = n; i-- > 0;)
        if (api_model_about(api_models_at(set, i))->text) {
            *first = api_models_at(set, i)->name;
            n_text++;
        }
    for (size_t i = 0; i < n; i++)
        if (!n_text || api_model_about(api_models_at(set, i))->text)
            json_array_append_new(list, model_of(api_models_at(set, i)));
    return list;
}

void api_do_me(struct api_call *c)
{
    struct api_models *set = c->api->models;
    const char *first;
    json_t *models = models_of(set, &first);
    const char *user = api_chats_owner(c);
    const char *role = !c->who || c->who->admin ? "admin" : "user";
    api_call_json(c, 200,
                  api_pack("{s{ss ss ss} sb sb ss so ss sb}", "user", "id", user, "name",
                           c->who ? c->who->name : user, "role", role, "accounts",
                           (int)c->api->o.accounts, "user_keys", (int)c->api->o.user_keys,
                           "version", DAMSO_VERSION, "models", models, "default_model", first,
                           "pages", (int)tool_has_pages(c->api->o.tool)));
}
