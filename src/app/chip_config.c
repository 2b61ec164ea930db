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
        {"mistral",      "llama"       },
        {"mixtral",      "llama"       },
        {"gemma3_text",  "gemma3"      },
        {"smollm",       "llama"       },
        {"solar",        "llama"       },
        {"qwen2_moe",    "qwen2moe"    },
        {"qwen3_moe",    "qwen3moe"    },
        {"gpt_oss",      "gpt-oss"     },
        {"glm4_moe",     "glm4moe"     },
        {"cohere",       "command-r"   },
        {"gpt_neox",     "gptneox"     },
        {"minimax_m2",   "minimax-m2"  },
        {"ernie4_5_moe", "ernie4_5-moe"},
        {"gpt_bigcode",  "starcoder"   },
    };
    for (size_t i = 0; i < N_ELEMS(names); i++)
        if (strcmp(type, names[i][0]) == 0)
            return names[i][1];
    return type;
}

/* Experts by the names that the families' configurations give them; some write 0 for none. */
static enum err read_experts(struct model_shape *s, const json_t *o, const char *path,
                             struct errinfo *e)
{
    static const char *const counts[] = {"num_local_experts", "n_routed_experts", "num_experts",
                                         "moe_num_experts"};
    static const char *const chosen[] = {"num_experts_per_tok", "moe_k", "num_experts_per_token"};
    const char *count = NULL, *choice = chosen[0];
    for (size_t i = 0; i < N_ELEMS(counts); i++)
        if (json_integer_value(json_object_get(o, counts[i])) > 1)
            count = counts[i];
    if (!count)
        return ERR_OK;
    for (size_t i = 0; i < N_ELEMS(chosen); i++)
        if (json_object_get(o, chosen[i]))
            choice = chosen[i];
    TRY(whole(o, path, count, 0, &s->n_expert, e));
    TRY(whole(o, path, choice, 0, &s->n_chosen, e));
    TRY(whole(o, path, "moe_intermediate_size", s->ff, &s->ff_expert, e));
    s->n_dense = (size_t)MAX(json_integer_value(json_object_get(o, "first_k_dense_replace")), 0);
    size_t shared = (size_t)MAX(json_integer_value(json_object_get(o, "n_shared_experts")), 0);
    if (shared > MODEL_EXPERTS_MAX)
        return err_set(e, ERR_CORRUPT, "%s: %zu shared experts", path, shared);
    s->ff_shared = shared * s->ff_expert;
    if (!json_object_get(o, "shared_expert_intermediate_size"))
        return ERR_OK;
    return whole(o, path, "shared_expert_intermediate_size", 0, &s->ff_shared, e);
}

static enum err read(struct model_shape *s, const json_t *o, const char *path, struct errinfo *e)
{
    const json_t *type = json_object_get(o, "model_type"), *window;
    if (!json_is_string(type))
        return err_set(e, ERR_CORRUPT, "%s: model_type, the family's name, is missing", path);
    s->arch = family(json_string_value(type));
    if (json_object_get(o, "kv_lora_rank"))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: latent keys and values are not read out of a config.json: a GGUF file "
                       "of the model has them",
                       path);
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
    TRY(read_experts(s, o, path, e));
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
