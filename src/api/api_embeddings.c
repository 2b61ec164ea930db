/* SPDX-License-Identifier: MIT
 * api_embeddings.c - POST /v1/embeddings: texts as unit vectors, by the model's hidden states.
 *
 * `pooling` (mean, cls, last) is an extension; where it is not said, the GGUF file's pooling_type
 * decides, else the mean.  `dimensions` keeps the first ones and makes their length 1 again. */
#include "api/api_embed.h"

#include "api/api_openai.h"
#include "base/num.h"

#include <sodium.h>
#include <string.h>

static json_t *as_floats(const float *v, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_real((double)v[i]));
    return list;
}

/* float32, little-endian, as base64: what OpenAI's Python client asks for. */
static json_t *as_base64(const float *v, size_t n)
{
    size_t room = sodium_base64_encoded_len(n * sizeof *v, sodium_base64_VARIANT_ORIGINAL);
    char *text = mem_alloc(room);
    sodium_bin2base64(text, room, (const unsigned char *)v, n * sizeof *v,
                      sodium_base64_VARIANT_ORIGINAL);
    json_t *s = json_string(text);
    mem_free(text);
    return s;
}

static json_t *whole(struct api_embed *b)
{
    json_t *data = json_array();
    bool base64 = b->own != NULL;
    for (size_t i = 0; i < b->n; i++) {
        json_t *v = base64 ? as_base64(b->vectors[i], b->dim) : as_floats(b->vectors[i], b->dim);
        json_array_append_new(data, api_pack("{sssIso}", "object", "embedding", "index",
                                             (json_int_t)i, "embedding", v));
    }
    return api_pack("{sssosss{sIsI}}", "object", "list", "data", data, "model", b->model_name,
                    "usage", "prompt_tokens", (json_int_t)b->n_tokens, "total_tokens",
                    (json_int_t)b->n_tokens);
}

static void embed(struct api_call *c, struct api_model *m)
{
    struct api_embed *b = api_embed_new(c, m, whole);
    const struct api_in in = {b->body, "", &c->fault};
    const char *format = "float", *pooling = NULL;
    int64_t dims = 0;
    if (api_get_text(&in, "encoding_format", &format) && api_get_text(&in, "pooling", &pooling) &&
        api_get_int(&in, "dimensions", 1, INT32_MAX, &dims)) {
        if (strcmp(format, "float") != 0 && strcmp(format, "base64") != 0)
            api_get_refuse(&in, "encoding_format", "\"%.32s\" is none of float, base64", format);
        b->own = strcmp(format, "base64") == 0 ? b : NULL;
        api_embed_inputs(b, &in, "input");
        api_embed_shape(b, &in, pooling, (size_t)dims);
    }
    api_embed_start(b);
}

void api_do_embeddings(struct api_call *c)
{
    const char *model = NULL;
    if (!api_call_body(c))
        return;
    const struct api_in in = {c->body, "", &c->fault};
    if (api_get_text(&in, "model", &model))
        api_model_want(c, model, embed);
    else
        api_call_fail(c);
}
