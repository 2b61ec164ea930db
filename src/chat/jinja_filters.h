/* SPDX-License-Identifier: MIT
 * jinja_filters.h - declares every filter and method once, from their lists. */
#ifndef CHAT_JINJA_FILTERS_H
#define CHAT_JINJA_FILTERS_H

#include "chat/jinja_int.h"

/* A filter may have several names: its declaration is repeated then. */
#define FN(text, fn, need, sig) jinja_fn_call jinja_filter_##fn;
#include "chat/jinja_filters.def"
#undef FN
#define METHOD(kind, text, fn, need, sig) jinja_fn_call jinja_method_##fn;
#include "chat/jinja_methods.def"
#undef METHOD

#define FILTER(name)                                                                               \
    enum err jinja_filter_##name(struct jinja_run *r, const struct jinja_call *c,                  \
                                 const struct jinja_val *a, struct jinja_val *out)
#define METHOD_OF(name)                                                                            \
    enum err jinja_method_##name(struct jinja_run *r, const struct jinja_call *c,                  \
                                 const struct jinja_val *a, struct jinja_val *out)

/* A filter that treats the value as str() of it: the method of that name. */
enum err jinja_as_method(struct jinja_run *r, const struct jinja_call *c, jinja_fn_call *method,
                         const struct jinja_val *a, struct jinja_val *out);
enum err jinja_join(struct jinja_run *r, struct span sep, struct jinja_val items,
                    struct jinja_val path, bool any_type, struct jinja_val *out);
enum err jinja_replace(struct jinja_run *r, struct span s, struct span old, struct span by,
                       int64_t count, struct jinja_val *out);
/* What float(text) of Python reads; false for anything else. */
bool jinja_parse_float(struct span s, double *out);

#endif
