/* SPDX-License-Identifier: MIT
 * api_ask.c - the fields that every request for an answer may have. */
#include "api/api_ask.h"

#include "base/num.h"
#include "tok/tok.h"

#include <math.h>
#include <string.h>
#include <sys/random.h>

#define BIAS_MAX        1024
#define MODEL_BYTES_MAX 512 /* less than the store keeps */
#define SEED_BITS_53    (((uint64_t)1 << 53) - 1)

void api_ask_init(struct api_ask *ask, const struct sampler_params *defaults)
{
    *ask = (struct api_ask){
        .messages_name = "messages",
        .format_name = "response_format",
        .sampling = *defaults,
        .n = 1,
        .n_max = -1,
        .parallel_calls = true,
    };
    str_init(&ask->predicted, TOK_TEXT_BYTES_MAX);
}

void api_ask_done(struct api_ask *ask)
{
    json_decref(ask->messages);
    json_decref(ask->tools);
    json_decref(ask->kwargs);
    json_decref(ask->tool_names);
    json_decref(ask->call_names);
    str_done(&ask->predicted);
    api_pictures_free(ask->pictures, ask->n_pictures);
    ask->pictures = NULL;
    ask->n_pictures = 0;
    ask->messages = ask->tools = ask->kwargs = ask->tool_names = ask->call_names = NULL;
}

static bool get_sampling(struct api_ask *ask, const struct api_in *in)
{
    struct sampler_params *p = &ask->sampling;
    double real;
    int64_t whole;
#define PARAM_REAL(name, field, min, max)                                                          \
    real = (double)p->field;                                                                       \
    if (!api_get_real(in, #name, min, max, &real))                                                 \
        return false;                                                                              \
    p->field = (float)real;
#define PARAM_INT(name, field, min, max)                                                           \
    whole = (int64_t)p->field;                                                                     \
    if (!api_get_int(in, #name, min, max, &whole))                                                 \
        return false;                                                                              \
    p->field = (__typeof__(p->field))whole;
#include "api/api_param.def"
#undef PARAM_REAL
#undef PARAM_INT
    if (p->top_k < 0) /* vLLM's way to say "all" */
        p->top_k = 0;
    return true;
}

/* A seed may be any integer, also a negative one: its bits are the seed. */
static bool get_seed(struct api_ask *ask, const struct api_in *in)
{
    int64_t seed = 0;
    if (!api_get_int(in, "seed", INT64_MIN, INT64_MAX, &seed))
        return false;
    ask->seeded = api_get_any(in, "seed") != NULL;
    if (ask->seeded)
        ask->sampling.seed = (uint64_t)seed;
    else
        CHECK(getrandom(&ask->sampling.seed, sizeof ask->sampling.seed, 0) ==
              sizeof ask->sampling.seed);
    ask->sampling.seed &= SEED_BITS_53;
    return true;
}

/* {"50256": -100}: -100 and less bans a token, 100 and more leaves no other (OpenAI's reading). */
static bool get_bias(struct api_ask *ask, const struct api_in *in, struct arena *a)
{
    json_t *o = NULL, *v;
    const char *key;
    if (!api_get_object(in, "logit_bias", &o) || !o)
        return o == NULL && in->fault->status == 0;
    size_t n = json_object_size(o);
    if (n > BIAS_MAX)
        return api_get_refuse(in, "logit_bias", "%zu tokens are more than %d", n, BIAS_MAX);
    struct sampler_bias *bias = arena_array(a, n, sizeof *bias), *at = bias;
    json_object_foreach(o, key, v)
    {
        char *end;
        long long id = strtoll(key, &end, 10);
        if (*key == '\0' || *end || id < 0 || id > INT32_MAX)
            return api_get_refuse(in, "logit_bias", "\"%.32s\" is no token id", key);
        double add = json_is_number(v) ? json_number_value(v) : NAN;
        if (!(add >= -100 && add <= 100))
            return api_get_refuse(in, "logit_bias", "the bias of token %lld is not -100 to 100",
                                  id);
        *at++ = (struct sampler_bias){(int32_t)id, add <= -100  ? -INFINITY
                                                   : add >= 100 ? 1e6f
                                                                : (float)add};
    }
    ask->sampling.bias = bias;
    ask->sampling.n_bias = n;
    return true;
}

static bool add_stop(struct api_ask *ask, const struct api_in *in, const char *name,
                     const json_t *v)
{
    struct span s = {json_string_value(v), json_string_length(v)};
    if (!s.p)
        return api_get_refuse(in, name, "a string or an array of strings is expected");
    if (s.n > API_STOP_BYTES_MAX)
        return api_get_refuse(in, name, "a text of %zu bytes is longer than %d", s.n,
                              API_STOP_BYTES_MAX);
    if (s.n == 0) /* it would end every answer at once */
        return true;
    if (ask->n_stop == API_STOP_MAX)
        return api_get_refuse(in, name, "more than %d texts", API_STOP_MAX);
    ask->stop[ask->n_stop++] = s;
    return true;
}

bool api_ask_stop(struct api_ask *ask, const struct api_in *in, const char *name)
{
    const json_t *v = api_get_any(in, name), *one;
    size_t i;
    if (!v)
        return true;
    if (!json_is_array(v))
        return add_stop(ask, in, name, v);
    json_array_foreach(v, i, one)
    {
        if (!add_stop(ask, in, name, one))
            return false;
    }
    return true;
}

static bool get_limits(struct api_ask *ask, const struct api_in *in)
{
    static const char *const names[] = {"max_tokens", "max_completion_tokens"};
    int64_t n = 1;
    for (size_t i = 0; i < N_ELEMS(names); i++) {
        if (!api_get_int(in, names[i], 0, INT32_MAX, &ask->n_max))
            return false;
    }
    if (!api_get_int(in, "n", 1, API_N_MAX, &n) ||
        !api_get_int(in, "min_tokens", 0, INT32_MAX, &ask->n_min) ||
        !api_get_bool(in, "ignore_eos", &ask->ignore_end) ||
        !api_get_bool(in, "stream", &ask->stream))
        return false;
    ask->n = (size_t)n;
    return true;
}

static bool get_stream_options(struct api_ask *ask, const struct api_in *in)
{
    json_t *o = NULL;
    if (!api_get_object(in, "stream_options", &o))
        return false;
    if (!o)
        return true;
    if (!ask->stream)
        return api_get_refuse(in, "stream_options", "allowed only with \"stream\": true");
    const struct api_in sub = {o, "stream_options.", in->fault};
    return api_get_bool(&sub, "include_usage", &ask->include_usage);
}

/* ---- structured output ---- */

static bool set_guide(struct api_ask *ask, const struct api_in *in, const char *name,
                      enum api_guide guide)
{
    if (ask->guide != API_FREE)
        return api_get_refuse(in, name, "only one form of structured output at a time");
    ask->guide = guide;
    return true;
}

static bool get_response_format(struct api_ask *ask, const struct api_in *in)
{
    json_t *o = NULL, *wrap = NULL, *schema = NULL;
    const char *type = "";
    if (!api_get_object(in, "response_format", &o))
        return false;
    if (!o)
        return true;
    const struct api_in sub = {o, "response_format.", in->fault};
    if (!api_get_text(&sub, "type", &type))
        return false;
    if (strcmp(type, "text") == 0)
        return true;
    if (strcmp(type, "json_object") == 0) {
        /* llama-server's form has the schema right here */
        if (!api_get_object(&sub, "schema", &schema))
            return false;
        ask->schema = schema;
        return set_guide(ask, in, "response_format", schema ? API_SCHEMA : API_JSON);
    }
    if (strcmp(type, "json_schema") != 0)
        return api_get_refuse(&sub, "type", "\"%.32s\" is none of text, json_object, json_schema",
                              type);
    if (!api_get_object(&sub, "json_schema", &wrap))
        return false;
    if (!wrap)
        return api_get_refuse(&sub, "json_schema", "is missing");
    const struct api_in in2 = {wrap, "response_format.json_schema.", in->fault};
    const char *name = NULL;
    if (!api_get_text(&in2, "name", &name) || !api_get_object(&in2, "schema", &schema) ||
        !api_get_bool(&in2, "strict", &ask->strict))
        return false;
    if (!name)
        return api_get_refuse(&in2, "name", "is missing");
    ask->schema = schema;
    return set_guide(ask, in, "response_format", schema ? API_SCHEMA : API_JSON);
}

/* vLLM's guided_*, llama-server's grammar and json_schema. */
static bool get_guides(struct api_ask *ask, const struct api_in *in)
{
    static const struct {
        const char *name;
        enum api_guide guide;
    } texts[] = {
        {"guided_regex",   API_REGEX},
        {"guided_grammar", API_GBNF },
        {"grammar",        API_GBNF },
    };
    json_t *choice = NULL;
    for (size_t i = 0; i < N_ELEMS(texts); i++) {
        const char *text = NULL;
        if (!api_get_text(in, texts[i].name, &text))
            return false;
        if (!text || !*text)
            continue;
        if (!set_guide(ask, in, texts[i].name, texts[i].guide))
            return false;
        ask->guide_text = text;
    }
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "json_schema" : "guided_json";
        json_t *v = api_get_any(in, name);
        if (!v)
            continue;
        if (!json_is_object(v))
            return api_get_refuse(in, name, "a JSON Schema, an object, is expected");
        if (!set_guide(ask, in, name, API_SCHEMA))
            return false;
        ask->schema = v;
    }
    if (!api_get_array(in, "guided_choice", &choice))
        return false;
    if (!choice)
        return true;
    for (size_t i = 0; i < json_array_size(choice); i++)
        if (!json_is_string(json_array_get(choice, i)))
            return api_get_refuse(in, "guided_choice", "an array of strings is expected");
    if (json_array_size(choice) == 0)
        return api_get_refuse(in, "guided_choice", "is empty");
    ask->schema = choice;
    return set_guide(ask, in, "guided_choice", API_CHOICE);
}

/* llama-server's way: [{"id": 0, "scale": 0.5}], the number of the adapter in the setting's order.
 */
static bool get_lora(struct api_ask *ask, const struct api_in *in)
{
    json_t *list = NULL, *o;
    size_t i;
    if (!api_get_array(in, "lora", &list))
        return false;
    ask->has_lora = list != NULL;
    if (json_array_size(list) > ENGINE_LORA_MAX)
        return api_get_refuse(in, "lora", "%zu adapters are more than %d", json_array_size(list),
                              ENGINE_LORA_MAX);
    json_array_foreach(list, i, o)
    {
        int64_t id = -1;
        double scale = 1;
        const struct api_in one = {o, "lora[].", in->fault};
        if (!json_is_object(o))
            return api_get_refuse(in, "lora", "an array of {\"id\", \"scale\"} is expected");
        if (!api_get_int(&one, "id", 0, INT32_MAX, &id) ||
            !api_get_real(&one, "scale", -100, 100, &scale))
            return false;
        if (id < 0)
            return api_get_refuse(&one, "id", "is missing");
        if (scale == 0)
            continue;
        ask->lora.one[ask->lora.n].adapter = (uint32_t)id;
        ask->lora.one[ask->lora.n++].scale = (float)scale;
    }
    return true;
}

bool api_ask_common(struct api_ask *ask, const struct api_in *in, struct arena *a)
{
    const char *model = NULL;
    if (!api_get_text(in, "model", &model) || !get_sampling(ask, in) || !get_seed(ask, in) ||
        !get_bias(ask, in, a) || !api_ask_stop(ask, in, "stop") || !get_limits(ask, in) ||
        !get_stream_options(ask, in) || !get_response_format(ask, in) || !get_guides(ask, in) ||
        !get_lora(ask, in))
        return false;
    if (model && (strlen(model) > MODEL_BYTES_MAX || !utf8_printable(span_of(model))))
        return api_get_refuse(in, "model", "at most %d bytes without control characters are a name",
                              MODEL_BYTES_MAX);
    ask->model = model;
    return true;
}
