/* SPDX-License-Identifier: MIT
 * api_json.h - JSON in and out: typed fields of a request, each refused by its name.
 *
 * Readers: a member that is absent or null leaves *out as it is and is fine, since SDKs send null
 * for what was not said.  They give false and set the fault for a wrong type or range.  `at` is
 * the path of the object for messages, "" at the top. */
#ifndef API_API_JSON_H
#define API_API_JSON_H

#include "api/api_fault.h"
#include "base/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api_in {
    const json_t *o; /* the object that is read */
    const char *at;  /* "messages[2]." or "" */
    struct api_fault *fault;
};

#define API_JSON_BYTES_MAX ((size_t)128 << 20) /* api_json_bytes of a body */

/* About the memory that a JSON text takes as values, without that of its strings: a value of two
 * bytes may take a hundred times as much.  Never much less. */
size_t api_json_bytes(struct span text);
/* Parses a request's body, an object.  NULL and the fault: not JSON (with line and column), nested
 * too deep, a member twice, too many values, not an object. */
json_t *api_json_parse(struct span body, struct api_fault *f);

bool api_get_int(const struct api_in *in, const char *name, int64_t min, int64_t max, int64_t *out);
bool api_get_real(const struct api_in *in, const char *name, double min, double max, double *out);
bool api_get_bool(const struct api_in *in, const char *name, bool *out);
bool api_get_text(const struct api_in *in, const char *name, const char **out);
/* Borrowed from in->o. */
bool api_get_object(const struct api_in *in, const char *name, json_t **out);
bool api_get_array(const struct api_in *in, const char *name, json_t **out);
/* Whether the member is there and not null. */
json_t *api_get_any(const struct api_in *in, const char *name);
/* Refuses the member: "messages[2].name: <text>". */
bool api_get_refuse(const struct api_in *in, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* json_pack (its format), that CHECKs what it is given. */
json_t *api_pack(const char *format, ...);
/* Appends o as compact JSON and lets go of it. */
void api_json_add(struct str *out, json_t *o);
/* The same with every digit of reals that a model or a client wrote; the former keeps those of a
 * float. */
void api_json_add_exact(struct str *out, json_t *o);
/* The event of a stream: "data: {...}\n\n", with "event: NAME\n" before unless name is NULL. */
void api_json_event(struct str *out, const char *name, json_t *o);
json_t *api_json_text(struct span s); /* s is UTF-8 */
/* RFC 3339 in UTC, with nanoseconds unless they are negative. */
json_t *api_json_time(int64_t unix_s, long ns);
/* The arguments that a model wrote for a call as an object, for APIs that have no text of them: {}
 * where they are none, which happens when its answer was cut off. */
json_t *api_json_arguments(struct span s);

#endif
