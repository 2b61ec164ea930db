/* SPDX-License-Identifier: MIT
 * chip_config.c - a language model's shape out of a Hugging Face config.json. */
#include "app/chip.h"

#include "base/num.h"
#include "model/model_shape.h"

#include <jansson.h>
#include <string.h>

/* A whole number of the file, or `otherwise` where it is not there or null; 0 as otherwise: it must
 * be. */
static enum err whole(const json_t *o, const char *path, const char *key, size_t otherwise,
                      size_t *out, struct errinfo *e)
{
    const json_t *v = json_object_get(o, key);
    *out = otherwise;
    if ((!v || json_is_null(v)) && otherwise)
        return ERR_OK;
    if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > INT32_MAX)
        return err_set(e, ERR_CORRUPT, "%s: %s is a whole number from 1 on", path, key);
    *out = (size_t)json_integer_value(v);
    return ERR_OK;
}

/* Families by the name that config.json gives them; those with the same name in arch.def have no
 * row. */
static const char *family(const char *type)
{
    static const char *const names[][2] = {
        {"mistral",     "llama" },
        {"gemma3_text", "gemma3"},
        {"smollm",      "llama" },
        {"exaone",      "llama" },
        {"solar",       "llama" },
    };
    for (size_t i = 0; i < N_ELEMS(names); i++)
        if (strcmp(type, names[i][0]) == 0)
            return names[i][1];
    return type;
}

static enum err read(struct model_shape *s, const json_t *o, const char *path, struct errinfo *e)
{
    const json_t *type = json_object_get(o, "model_type"), *window;
    size_t experts;
    if (!json_is_string(type))
        return err_set(e, ERR_CORRUPT, "%s: model_type, the family's name, is missing", path);
    s->arch = family(json_string_value(type));
    TRY(whole(o, path, "num_local_experts", 1, &experts, e));
    if (experts > 1 || json_object_get(o, "n_routed_experts"))
        return err_set(e, ERR_UNSUPPORTED, "%s: a mixture of experts is not supported yet", path);
    TRY(whole(o, path, "hidden_size", 0, &s->dim, e));
    TRY(whole(o, path, "intermediate_size", 0, &s->ff, e));
    TRY(whole(o, path, "num_hidden_layers", 0, &s->n_layer, e));
    TRY(whole(o, path, "num_attention_heads", 0, &s->n_head, e));
    TRY(whole(o, path, "num_key_value_heads", s->n_head, &s->n_kv_head, e));
    TRY(whole(o, path, "head_dim", MAX(s->dim / s->n_head, 1), &s->head_dim, e));
    TRY(whole(o, path, "vocab_size", 0, &s->n_vocab, e));
    TRY(whole(o, path, "max_position_embeddings", 4096, &s->ctx_trained, e));
    window = json_object_get(o, "sliding_window");
    s->window = json_is_integer(window) && json_integer_value(window) > 0
                    ? (uint32_t)MIN(json_integer_value(window), INT32_MAX)
                    : 0;
    s->tied = json_is_true(json_object_get(o, "tie_word_embeddings"));
    return ERR_OK;
}

enum err chip_model_config(struct model **out, const char *path, struct errinfo *e)
{
    json_error_t at;
    struct model_shape s = {0};
    json_t *o = json_load_file(path, JSON_REJECT_DUPLICATES, &at);
    if (!o && at.line < 0)
        return err_set(e, ERR_NOTFOUND, "%s: %s", path, at.text);
    if (!json_is_object(o)) {
        json_decref(o);
        return err_set(e, ERR_CORRUPT, "%s:%d: no JSON object: %s", path, at.line, at.text);
    }
    enum err code = read(&s, o, path, e);
    if (code == ERR_OK)
        code = model_from_shape(out, &s, path, e);
    json_decref(o);
    return code;
}
