/* SPDX-License-Identifier: MIT
 * api_health.c - GET /health: the process lives; GET /ready: it takes
 * requests; 404 once it was told to end, which HAProxy takes for "nothing new" (disable-on-404). */
#include "api/api_bus.h"

void api_do_health(struct api_call *c)
{
    api_call_json(c, 200, api_pack("{ss}", "status", "ok"));
}

void api_do_ready(struct api_call *c)
{
    struct api_models *set = c->api->models;
    json_t *open = json_array();
    size_t n = api_models_n(set);
    bool leaving = atomic_load(&c->api->leaving);
    bool away = c->api->bus &&
                !store_bus_is_there(c->api->bus); /* from here; not from others, say */
    for (size_t i = 0; i < n && !leaving && !away; i++)
        if (api_model_state(api_models_at(set, i)) == API_READY)
            json_array_append_new(open, json_string(api_models_at(set, i)->name));
    if (json_array_size(open)) {
        api_call_json(c, 200, api_pack("{ssso}", "status", "ready", "models", open));
        return;
    }
    json_decref(open);
    if (leaving)
        api_refuse(&c->fault, 404, "leaving", "", "the server ends soon");
    else if (away)
        api_refuse(&c->fault, 503, "store_away", "", "the database does not answer");
    else
        api_refuse(&c->fault, 503, "loading", "", "no model is open yet");
    api_call_fail(c);
}
