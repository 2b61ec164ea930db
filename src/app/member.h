/* SPDX-License-Identifier: MIT
 * member.h - members of JSON objects for texts that are printed: what is not there is 0, or "". */
#ifndef APP_MEMBER_H
#define APP_MEMBER_H

#include <jansson.h>

static inline double member_number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static inline const char *member_text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

#endif
