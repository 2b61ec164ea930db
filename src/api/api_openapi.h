/* SPDX-License-Identifier: MIT
 * api_openapi.h - between the files that make /openapi.json. */
#ifndef API_API_OPENAPI_H
#define API_API_OPENAPI_H

#include "api/api_call.h"

/* An object; `members` are its properties, as JSON. */
struct api_openapi_schema {
    const char *name, *members;
};
/* What an endpoint below /api/v1/ takes and gives: names of schemas, or NULL. */
struct api_openapi_use {
    const char *method, *path, *takes, *gives;
};
/* Those of accounts and admins: api_openapi_people.c. */
const struct api_openapi_schema *api_openapi_people(size_t *n);
const struct api_openapi_use *api_openapi_people_uses(size_t *n);

/* What the tables are written with. */
#define API_S         "{\"type\":\"string\"}"
#define API_I         "{\"type\":\"integer\"}"
#define API_N         "{\"type\":\"number\"}"
#define API_B         "{\"type\":\"boolean\"}"
#define API_S_OR_NULL "{\"type\":[\"string\",\"null\"]}"
#define API_REF(name) "{\"$ref\":\"#/components/schemas/" name "\"}"
#define API_LIST(of)  "{\"type\":\"array\",\"items\":" of "}"

/* Adds the schemas of /api/v1. */
void api_openapi_chats_schemas(json_t *to);
/* Completes an operation of /api/v1; others stay as they are. */
void api_openapi_chats(json_t *operation, const char *method, const char *path);

#endif
