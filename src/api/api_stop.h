/* SPDX-License-Identifier: MIT
 * api_stop.h - texts that end an answer, found as the answer comes, whatever its pieces. */
#ifndef API_API_STOP_H
#define API_API_STOP_H

#include "base/str.h"

#include <stdbool.h>

struct api_stop {
    const struct span *texts; /* [n], borrowed */
    size_t n;
    struct str held; /* may be the beginning of one of them */
};

void api_stop_init(struct api_stop *s, const struct span *texts, size_t n);
void api_stop_done(struct api_stop *s);
/* Appends to out what of the held text and piece no stop text can begin with.  The index of the
 * stop text that was found, after which nothing may be added; SIZE_MAX for none.  It is the one
 * whose last byte comes first, of several that end there the longest: so the pieces do not
 * matter. */
size_t api_stop_add(struct api_stop *s, struct span piece, struct str *out);
/* What is held: the end came, so it is no stop text. */
void api_stop_end(struct api_stop *s, struct str *out);

#endif
