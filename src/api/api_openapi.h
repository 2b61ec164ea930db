/* SPDX-License-Identifier: MIT
 * api_openapi.h - between the files that make /openapi.json. */
#ifndef API_API_OPENAPI_H
#define API_API_OPENAPI_H

#include "api/api_call.h"

/* Adds the schemas of /api/v1. */
void api_openapi_chats_schemas(json_t *to);
/* Completes an operation of /api/v1; others stay as they are. */
void api_openapi_chats(json_t *operation, const char *method, const char *path);

#endif
