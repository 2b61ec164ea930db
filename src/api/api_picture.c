/* SPDX-License-Identifier: MIT */
#include "api/api_picture.h"

#include "api/api_ask.h"
#include "api/api_model.h"
#include "base/arena.h"
#include "base/num.h"
#include "vision/vision_decode.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define RENDERED_BYTES_MAX ((size_t)64 << 20)

/* ---- out of a request ---- */

void api_pictures_free(struct api_picture *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(p[i].bytes);
    mem_free(p);
}

static bool has_room(const struct api_ask *ask, size_t n, const char *param, struct api_fault *f)
{
    size_t bytes = n;
    for (size_t i = 0; i < ask->n_pictures; i++)
        bytes += ask->pictures[i].n;
    if (ask->n_pictures == API_PICTURES_MAX)
        return api_refuse(f, 400, "invalid_value", param, "%s: more than %d pictures", param,
                          API_PICTURES_MAX);
    if (n > VISION_BYTES_MAX || bytes > API_PICTURES_BYTES_MAX)
        return api_refuse(f, 413, "", param,
                          "%s: pictures are of at most %zu MiB, and %zu MiB together", param,
                          VISION_BYTES_MAX >> 20, API_PICTURES_BYTES_MAX >> 20);
    return true;
}

bool api_picture_base64(struct api_ask *ask, struct span text, const char *param, const char *kind,
                        struct api_fault *f)
{
    size_t most = text.n / 4 * 3 + 3, n = 0;
    const char *end = NULL;
    if (!has_room(ask, MIN(most, VISION_BYTES_MAX), param, f))
        return false;
    uint8_t *bytes = mem_alloc(most);
    int good = sodium_base642bin(bytes, most, text.p, text.n, " \r\n", &n, &end,
                                 sodium_base64_VARIANT_ORIGINAL);
    if (good != 0 || end != text.p + text.n)
        good = sodium_base642bin(bytes, most, text.p, text.n, " \r\n", &n, &end,
                                 sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    if (good != 0 || end != text.p + text.n || n == 0 || !has_room(ask, n, param, f)) {
        mem_free(bytes);
        return api_refuse(f, 400, "invalid_value", param, "%s: this is no base64", param);
    }
    ask->pictures = mem_grow(ask->pictures, (ask->n_pictures + 1) * sizeof *ask->pictures);
    struct api_picture *p = &ask->pictures[ask->n_pictures++];
    *p = (struct api_picture){.bytes = bytes, .n = n};
    snprintf(p->param, sizeof p->param, "%s", param);
    snprintf(p->kind, sizeof p->kind, "%s", kind);
    return true;
}

bool api_picture_url(struct api_ask *ask, const json_t *url, const char *param, const char *kind,
                     struct api_fault *f)
{
    struct span text = {json_string_value(url), json_string_length(url)};
    if (!json_is_string(url))
        return api_refuse(f, 400, "invalid_value", param, "%s: the %s has no address", param, kind);
    size_t comma = span_find(text, SPAN(","), 0);
    struct span head = {text.p, comma == SIZE_MAX ? 0 : comma};
    if (!span_starts(text, SPAN("data:")) || !span_ends(head, SPAN(";base64")))
        return api_refuse(f, 400, "unsupported_content", param,
                          "%s: of %s only data addresses are taken (data:image/png;base64,...): "
                          "this server fetches no pictures",
                          param, kind);
    return api_picture_base64(ask, (struct span){text.p + comma + 1, text.n - comma - 1}, param,
                              kind, f);
}

static const char *type_of(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    return type ? type : "";
}

bool api_picture_is(const json_t *part)
{
    const char *type = type_of(part);
    return strcmp(type, "image_url") == 0 || strcmp(type, "input_image") == 0 ||
           strcmp(type, "image") == 0;
}

/* Anthropic's. */
static bool add_source(struct api_ask *ask, const json_t *source, const char *param,
                       struct api_fault *f)
{
    const json_t *data = json_object_get(source, "data");
    if (strcmp(type_of(source), "base64") != 0 || !json_is_string(data))
        return api_refuse(f, 400, "unsupported_content", param,
                          "%s: only sources of type \"base64\" with data are taken, none of type "
                          "\"%.32s\"",
                          param, type_of(source));
    struct span text = {json_string_value(data), json_string_length(data)};
    return api_picture_base64(ask, text, param, "image", f);
}

json_t *api_picture_part(struct api_ask *ask, const json_t *part, const char *param,
                         struct api_fault *f)
{
    const char *type = type_of(part);
    const json_t *url = json_object_get(part, "image_url");
    bool good;
    if (strcmp(type, "image") == 0)
        good = add_source(ask, json_object_get(part, "source"), param, f);
    else
        good = api_picture_url(ask, json_is_object(url) ? json_object_get(url, "url") : url, param,
                               type, f);
    return good ? api_pack("{ss}", "type", "image") : NULL;
}

static json_t *content_part(struct api_ask *ask, const json_t *part, const char *at, size_t i,
                            struct api_fault *f)
{
    char param[96];
    struct str text;
    json_t *out = NULL;
    const char *named = json_string_value(json_object_get(part, "param")); /* Ollama's */
    if (named)
        snprintf(param, sizeof param, "%.90s", named);
    else
        snprintf(param, sizeof param, "%.70s[%zu]", at, i);
    if (api_picture_is(part))
        return api_picture_part(ask, part, param, f);
    str_init(&text, RENDERED_BYTES_MAX);
    if (api_ask_part(part, at, i, &text, f))
        out = api_pack("{ssso}", "type", "text", "text", api_json_text(str_span(&text)));
    str_done(&text);
    return out;
}

json_t *api_picture_content(struct api_ask *ask, const json_t *content, const char *at,
                            struct api_fault *f)
{
    json_t *out = json_array(), *part;
    size_t i;
    json_array_foreach(content, i, part)
    {
        json_t *one = content_part(ask, part, at, i, f);
        if (!one) {
            json_decref(out);
            return NULL;
        }
        json_array_append_new(out, one);
    }
    return out;
}

/* ---- into a prompt ---- */

bool api_picture_taken(const struct api_model *m, const struct api_ask *ask, struct api_fault *f)
{
    const struct api_picture *first = ask->pictures;
    if (!ask->n_pictures || m->vision)
        return true;
    return api_refuse(f, 400, "unsupported_content", first->param,
                      "%s: this model takes text; parts of type \"%s\" are not supported",
                      first->param, first->kind);
}

bool api_picture_encode(const struct api_model *m, const struct api_ask *ask, struct span text,
                        unsigned flags, struct tok_ids *ids, struct api_fault *f)
{
    struct vision_place places[API_PICTURES_MAX];
    const size_t n = ask->n_pictures;
    size_t n_found;
    struct errinfo e;
    for (size_t i = 0; i < n; i++) {
        struct api_picture *p = &ask->pictures[i];
        vision_key(m->vision, p->bytes, p->n, p->key);
        memcpy(places[i].key, p->key, sizeof p->key);
    }
    if (vision_prompt(m->vision, m->tok, text, flags, places, n, &n_found, ids, &e) != ERR_OK)
        return api_refuse_err(f, ask->messages_name, &e);
    for (size_t i = 0; i < n; i++)
        ask->pictures[i].at = places[i].at;
    const struct api_picture *lost = &ask->pictures[MIN(n_found, n - 1)];
    return n_found == n ||
           api_refuse(f, 400, "unsupported_content", lost->param,
                      "%s: the model's chat template has no place for this picture", lost->param);
}
