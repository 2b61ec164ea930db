/* SPDX-License-Identifier: MIT
 * api_health.c - GET /health: the process lives; GET /ready: it takes
 * requests. */
#include "api/api_call.h"

void api_do_health(struct api_call *c)
{
    api_call_json(c, 200, api_pack("{ss}", "status", "ok"));
}

void api_do_ready(struct api_call *c)
{
    struct api_models *set = c->api->models;
    json_t *open = json_array();
    size_t n = api_models_n(set);
    for (size_t i = 0; i < n; i++)
        if (api_model_state(api_models_at(set, i)) == API_READY)
            json_array_append_new(open, json_string(api_models_at(set, i)->name));
    if (json_array_size(open)) {
        api_call_json(c, 200, api_pack("{ssso}", "status", "ready", "models", open));
        return;
    }
    json_decref(open);
    api_refuse(&c->fault, 503, "loading", "", "no model is open yet");
    api_call_fail(c);
}
