/* SPDX-License-Identifier: MIT
 * api_openapi.c - GET /openapi.json: the endpoints of api_route.def, the sampling fields of
 * api_param.def and the error objects, as OpenAPI 3.1.  What the endpoints of OpenAI, Anthropic and
 * Ollama take and give is in their makers' own descriptions, which this links. */
#include "api/api_openapi.h"

#include <ctype.h>
#include <string.h>

static const struct {
    const char *name, *about;
} dialects[] = {
    [API_OPENAI] = {"OpenAI",    "https://platform.openai.com/docs/api-reference"},
    [API_ANTHROPIC] = {"Anthropic", "https://docs.anthropic.com/en/api"             },
    [API_OLLAMA] = {"Ollama",    "https://docs.ollama.com/api"                   },
};

static json_t *number_schema(const char *type, double min, double max)
{
    return api_pack("{sssfsf}", "type", type, "minimum", min, "maximum", max);
}

static json_t *sampling_schema(void)
{
    json_t *o = json_object();
#define PARAM_REAL(name, field, min, max)                                                          \
    json_object_set_new(o, #name, number_schema("number", min, max));
#define PARAM_INT(name, field, min, max)                                                           \
    json_object_set_new(o, #name, number_schema("integer", min, max));
#include "api/api_param.def"
#undef PARAM_REAL
#undef PARAM_INT
    return api_pack("{ssso}", "type", "object", "properties", o);
}

static json_t *error_schema(enum api_dialect dialect)
{
    if (dialect == API_OLLAMA)
        return api_pack("{sss[s]s{s{ss}}}", "type", "object", "required", "error", "properties",
                        "error", "type", "string");
    if (dialect == API_ANTHROPIC)
        return api_pack("{sss[ss]s{s{ss}s{sss[ss]}}}", "type", "object", "required", "type",
                        "error", "properties", "type", "const", "error", "error", "type", "object",
                        "required", "type", "message");
    return api_pack("{sss[s]s{s{sss[ssss]s{s{ss}s{ss}s{s[ss]}s{s[ss]}}}}}", "type", "object",
                    "required", "error", "properties", "error", "type", "object", "required",
                    "message", "type", "param", "code", "properties", "message", "type", "string",
                    "type", "type", "string", "param", "type", "string", "null", "code", "type",
                    "string", "null");
}

/* {name} parts of a path, and what proxies before several servers look for (docs/SCALE.md). */
static json_t *parameters(const char *method, const char *path)
{
    json_t *list = json_array();
    if (strcmp(method, "POST") == 0 && strncmp(path, "/v1/", 4) == 0)
        json_array_append_new(list,
                              api_pack("{sssssbsss{ss}}", "name", "X-Damso-Conversation", "in",
                                       "header", "required", 0, "description",
                                       "A name that all turns of a conversation share: a proxy "
                                       "sends them to the server that knows its beginning",
                                       "schema", "type", "string"));
    for (const char *at = strchr(path, '{'); at; at = strchr(at + 1, '{')) {
        size_t n = strcspn(at + 1, "}");
        json_array_append_new(list, api_pack("{sosssbs{ss}}", "name", json_stringn(at + 1, n), "in",
                                             "path", "required", 1, "schema", "type", "string"));
    }
    return list;
}

static json_t *operation(const struct api_route *r)
{
    const char *tag = dialects[r->dialect].name;
    char ref[64];
    snprintf(ref, sizeof ref, "#/components/schemas/%sError", tag);
    json_t *o = api_pack("{sss[s]sos{s{ss}s{sss{s{s{ss}}}}}}", "summary", r->summary, "tags", tag,
                         "parameters", parameters(r->method, r->path), "responses", "200",
                         "description", "The answer", "default", "description", "What went wrong",
                         "content", "application/json", "schema", "$ref", ref);
    bool sends = strcmp(r->method, "POST") == 0 || strcmp(r->method, "PUT") == 0 ||
                 strcmp(r->method, "PATCH") == 0;
    if (sends)
        json_object_set_new(o, "requestBody",
                            api_pack("{sbs{s{s{ss}}}}", "required", 1, "content",
                                     "application/json", "schema", "type", "object"));
    if (r->scope != API_OPEN)
        json_object_set_new(o, "security", api_pack("[{s[]}{s[]}]", "key", "session"));
    api_openapi_chats(o, r->method, r->path);
    return o;
}

static json_t *all_paths(void)
{
    size_t n;
    const struct api_route *routes = api_routes(&n);
    json_t *paths = json_object();
    for (size_t i = 0; i < n; i++) {
        char method[16] = "";
        for (size_t k = 0; routes[i].method[k] && k < sizeof method - 1; k++)
            method[k] = (char)tolower((unsigned char)routes[i].method[k]);
        json_t *path = json_object_get(paths, routes[i].path);
        if (!path) {
            path = json_object();
            json_object_set_new(paths, routes[i].path, path);
        }
        json_object_set_new(path, method, operation(&routes[i]));
    }
    return paths;
}

void api_do_openapi(struct api_call *c)
{
    json_t *schemas = api_pack("{so}", "Sampling", sampling_schema()), *tags = json_array();
    api_openapi_chats_schemas(schemas);
    json_array_append_new(tags, api_pack("{ss}", "name", "damso"));
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++) {
        char name[64];
        snprintf(name, sizeof name, "%sError", dialects[i].name);
        json_object_set_new(schemas, name, error_schema((enum api_dialect)i));
        json_array_append_new(tags, api_pack("{sss{ss}}", "name", dialects[i].name, "externalDocs",
                                             "url", dialects[i].about));
    }
    api_call_json(
        c, 200,
        api_pack("{sss{ssss}sososos{sos{s{ssss}s{ssssss}}}}", "openapi", "3.1.0", "info", "title",
                 "damso", "version", DAMSO_VERSION, "tags", tags, "paths", all_paths(), "security",
                 json_array(), "components", "schemas", schemas, "securitySchemes", "key", "type",
                 "http", "scheme", "bearer", "session", "type", "apiKey", "in", "cookie", "name",
                 c->api->o.proxy || c->api->o.http.tls_cert_file ? "__Host-damso" : "damso"));
}
