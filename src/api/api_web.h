/* SPDX-License-Identifier: MIT
 * api_web.h - the files of the web app, which the program carries.
 *
 * Does: serve them with ETag, gzip where the client takes it, and a strict policy for the page.
 * Does not: open files; the table comes from the build (tools/embed_web.cmake). */
#ifndef API_API_WEB_H
#define API_API_WEB_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct api_call;

struct api_web_file {
    const char *path; /* "/assets/index-1a2b.js"; the page itself is "/index.html" */
    const char *type;
    const char *hash; /* of the bytes, as hexadecimal digits */
    const unsigned char *bytes;
    size_t n;
    const unsigned char *gzip; /* NULL: not smaller */
    size_t n_gzip;
    bool forever; /* its name changes with its bytes */
};

struct api_web {
    const struct api_web_file *files;
    size_t n; /* 0: the program was built without the app */
};

/* Answers with the page, `tags` at the end of its head: HTML, escaped by who made it.  They change,
 * so such a page is not kept.  404 where the program has no app. */
void api_web_page(struct api_call *c, int status, struct span tags);

#endif
