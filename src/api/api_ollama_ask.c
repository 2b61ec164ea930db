/* SPDX-License-Identifier: MIT */
#include "api/api_ollama.h"

#include "base/num.h"

#include <stdio.h>
#include <string.h>

bool api_ollama_name(const struct api_in *in, const char **name)
{
    return api_get_text(in, "name", name) && api_get_text(in, "model", name);
}

/* ---- options ---- */

/* Most have the names that OpenAI's extensions have (api_param.def). */
static bool get_options(struct api_ask *ask, const struct api_in *in, struct arena *a)
{
    json_t *o = NULL, *none = json_object();
    int64_t mirostat = 0, n_ctx = 0, n = -1;
    if (!api_get_object(in, "options", &o)) {
        json_decref(none);
        return false;
    }
    const struct api_in sub = {o ? o : none, "options.", in->fault};
    bool ok = api_ask_common(ask, &sub, a) && api_get_int(&sub, "num_predict", -2, INT32_MAX, &n) &&
              api_get_int(&sub, "num_ctx", 0, INT32_MAX, &n_ctx) &&
              api_get_int(&sub, "mirostat", 0, 2, &mirostat);
    bool said = api_get_any(&sub, "num_predict") != NULL;
    json_decref(none);
    if (!ok)
        return false;
    if (ask->n != 1)
        return api_get_refuse(&sub, "n", "there is one answer");
    if (mirostat)
        return api_get_refuse(&sub, "mirostat", "is not among the samplers here");
    if (said) /* -1 and -2: as long as there is context */
        ask->n_max = n < 0 ? INT32_MAX : n;
    return true;
}

/* "json", a schema, or nothing. */
static bool get_format(struct api_ask *ask, const struct api_in *in)
{
    json_t *v = api_get_any(in, "format");
    if (!v || (json_is_string(v) && json_string_length(v) == 0))
        return true;
    if (ask->guide != API_FREE)
        return api_get_refuse(in, "format", "only one form of structured output at a time");
    if (json_is_object(v)) {
        ask->guide = API_SCHEMA;
        ask->schema = v;
    } else if (json_is_string(v) && strcmp(json_string_value(v), "json") == 0) {
        ask->guide = API_JSON;
    } else {
        return api_get_refuse(in, "format", "\"json\" or a JSON Schema is expected");
    }
    return true;
}

/* true, false, or how much. */
static bool get_think(struct api_ask *ask, const struct api_in *in)
{
    static const char *const words[] = {"low", "medium", "high", "max"};
    const json_t *v = api_get_any(in, "think");
    size_t i = 0;
    if (!v)
        return true;
    if (json_is_string(v)) {
        while (i < N_ELEMS(words) && strcmp(words[i], json_string_value(v)) != 0)
            i++;
        if (i < N_ELEMS(words))
            json_object_set_new(ask->kwargs, "reasoning_effort", json_string(words[i]));
    }
    if (i == N_ELEMS(words) || (!json_is_string(v) && !json_is_boolean(v)))
        return api_get_refuse(in, "think", "true, false, low, medium, high or max is expected");
    json_object_set_new(ask->kwargs, "enable_thinking", json_boolean(!json_is_false(v)));
    json_object_set_new(ask->kwargs, "thinking", json_boolean(!json_is_false(v)));
    return true;
}

static bool is_empty(const json_t *v)
{
    return !v || json_is_false(v) || (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0);
}

static bool refuse_foreign(const struct api_in *in)
{
    static const char *const members[][2] = {
        {"template",     "the model's own template is used"                  },
        {"suffix",       "inserting before a suffix is not supported"        },
        {"context",      "is no longer supported: send messages to /api/chat"},
        {"logprobs",     "are not given here; /v1/chat/completions has them" },
        {"top_logprobs", "are not given here; /v1/chat/completions has them" },
    };
    for (size_t i = 0; i < N_ELEMS(members); i++) {
        const json_t *v = api_get_any(in, members[i][0]);
        if (!is_empty(v) && !(json_is_integer(v) && json_integer_value(v) == 0))
            return api_get_refuse(in, members[i][0], "%s", members[i][1]);
    }
    return true;
}

bool api_ollama_ask(struct api_ask *ask, const struct api_in *in, struct arena *a)
{
    const char *model = NULL;
    ask->kwargs = json_object();
    if (!api_ollama_name(in, &model) || !get_options(ask, in, a) || !get_format(ask, in) ||
        !get_think(ask, in) || !refuse_foreign(in))
        return false;
    ask->model = model;
    ask->stream = true;
    return api_get_bool(in, "stream", &ask->stream);
}

/* ---- messages ---- */

/* images and a text as the parts that OpenAI's clients would send: pictures first, as Ollama has
 * it.  Base64 becomes a data address; what kind of file it is, its bytes say. */
static bool get_pictures(const struct api_in *in, const char *text, json_t **out)
{
    json_t *list = NULL, *v;
    const char *said = "";
    size_t i;
    if (!api_get_array(in, "images", &list) || !api_get_text(in, text, &said))
        return false;
    *out = json_array();
    json_array_foreach(list, i, v)
    {
        if (!json_is_string(v)) {
            json_decref(*out);
            *out = NULL;
            return api_get_refuse(in, "images", "[%zu] is no text of base64", i);
        }
        struct str url;
        str_init(&url, json_string_length(v) + 64);
        str_add_cstr(&url, "data:;base64,");
        str_add(&url, json_string_value(v), json_string_length(v));
        json_array_append_new(*out, api_pack("{sss{so}so}", "type", "image_url", "image_url", "url",
                                             api_json_text(str_span(&url)), "param",
                                             json_sprintf("%simages[%zu]", in->at, i)));
        str_done(&url);
    }
    if (*said)
        json_array_append_new(*out, api_pack("{ssss}", "type", "text", "text", said));
    return true;
}

/* A message as OpenAI's clients would send it, where it differs. */
static bool add_message(json_t *out, const json_t *message, size_t i, struct api_fault *f)
{
    static const char *const names[][2] = {
        {"tool_name", "name"             },
        {"thinking",  "reasoning_content"},
    };
    char at[32];
    snprintf(at, sizeof at, "messages[%zu].", i);
    const struct api_in in = {message, at, f};
    if (!json_is_object(message))
        return api_refuse(f, 400, "invalid_value", "messages", "messages[%zu] is not an object", i);
    json_t *m = json_copy((json_t *)(uintptr_t)message), *parts = NULL;
    if (!is_empty(api_get_any(&in, "images")) && !get_pictures(&in, "content", &parts)) {
        json_decref(m);
        return false;
    }
    if (parts)
        json_object_set_new(m, "content", parts);
    for (size_t k = 0; k < N_ELEMS(names); k++) {
        json_t *v = api_get_any(&in, names[k][0]);
        if (v)
            json_object_set(m, names[k][1], v);
    }
    json_array_append_new(out, m);
    return true;
}

bool api_ollama_chat(struct api_ask *ask, const struct api_in *in)
{
    json_t *list = NULL, *m, *copies = json_array();
    size_t i;
    bool ok = api_get_array(in, "messages", &list);
    json_array_foreach(list, i, m)
    {
        ok = ok && add_message(copies, m, i, in->fault);
    }
    ok = ok && api_ask_messages(ask, copies, in->fault);
    json_decref(copies);
    return ok && api_ask_tools(ask, in);
}

bool api_ollama_generate(struct api_ask *ask, const struct api_in *in)
{
    const char *system = NULL, *prompt = "";
    if (!api_get_text(in, "system", &system) || !api_get_text(in, "prompt", &prompt))
        return false;
    ask->messages = json_array();
    if (system && *system)
        json_array_append_new(ask->messages,
                              api_pack("{ssss}", "role", "system", "content", system));
    json_t *parts = NULL, *content = NULL;
    if (is_empty(api_get_any(in, "images")))
        content = json_string(prompt);
    else if (get_pictures(in, "prompt", &parts))
        content = api_ask_user_content(ask, parts, "images", in->fault);
    json_decref(parts);
    if (content)
        json_array_append_new(ask->messages,
                              api_pack("{ssso}", "role", "user", "content", content));
    return content;
}
