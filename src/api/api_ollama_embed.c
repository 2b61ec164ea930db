/* SPDX-License-Identifier: MIT
 * api_ollama_embed.c - POST /api/embed and the older /api/embeddings. */
#include "api/api_embed.h"
#include "api/api_ollama.h"

#include "base/num.h"
#include "os/os_sys.h"

static json_t *vector_of(const struct api_embed *b, size_t i)
{
    json_t *list = json_array();
    for (size_t k = 0; k < b->dim; k++)
        json_array_append_new(list, json_real((double)b->vectors[i][k]));
    return list;
}

static json_t *whole(struct api_embed *b)
{
    json_t *all = json_array();
    uint64_t arrived_ns = b->call->req->arrived_ns;
    for (size_t i = 0; i < b->n; i++)
        json_array_append_new(all, vector_of(b, i));
    return api_pack("{sssosIsIsI}", "model", b->model_name, "embeddings", all, "total_duration",
                    (json_int_t)(os_now_ns() - arrived_ns), "load_duration",
                    (json_int_t)(b->jobs[0].pushed_ns - MIN(arrived_ns, b->jobs[0].pushed_ns)),
                    "prompt_eval_count", (json_int_t)b->n_tokens);
}

static json_t *whole_old(struct api_embed *b)
{
    return api_pack("{so}", "embedding", vector_of(b, 0));
}

static void embed(struct api_call *c, struct api_model *m)
{
    struct api_embed *b = api_embed_new(c, m, whole);
    const struct api_in in = {b->body, "", &c->fault};
    bool cut = true;
    int64_t dims = 0;
    if (api_get_bool(&in, "truncate", &cut) &&
        api_get_int(&in, "dimensions", 0, INT32_MAX, &dims)) {
        api_embed_inputs(b, &in, "input");
        api_embed_shape(b, &in, NULL, (size_t)dims);
        if (cut) /* unless the request forbids it */
            api_embed_truncate(b);
    }
    api_embed_start(b);
}

static void embed_old(struct api_call *c, struct api_model *m)
{
    struct api_embed *b = api_embed_new(c, m, whole_old);
    const struct api_in in = {b->body, "", &c->fault};
    const char *text = NULL;
    if (api_get_text(&in, "prompt", &text)) {
        api_embed_inputs(b, &in, "prompt");
        api_embed_shape(b, &in, NULL, 0);
        api_embed_truncate(b);
    }
    api_embed_start(b);
}

/* Nothing to embed: the model is opened and that is all. */
static void loaded(struct api_call *c, struct api_model *m)
{
    const char *name = json_string_value(json_object_get(c->body, "model"));
    api_call_json(c, 200, api_pack("{sss[]}", "model", name ? name : m->name, "embeddings"));
    api_model_release(m);
}

static void loaded_old(struct api_call *c, struct api_model *m)
{
    api_call_json(c, 200, api_pack("{s[]}", "embedding"));
    api_model_release(m);
}

static void begin(struct api_call *c, const char *input, api_model_then *some, api_model_then *none)
{
    const char *name = NULL;
    if (!api_call_body(c))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    const json_t *v = api_get_any(&in, input);
    bool empty = !v || (json_is_string(v) && json_string_length(v) == 0) ||
                 (json_is_array(v) && json_array_size(v) == 0);
    if (api_ollama_name(&in, &name))
        api_model_want(c, name, empty ? none : some);
    else
        api_call_fail(c);
}

void api_do_ollama_embed(struct api_call *c)
{
    begin(c, "input", embed, loaded);
}

void api_do_ollama_embeddings(struct api_call *c)
{
    begin(c, "prompt", embed_old, loaded_old);
}
