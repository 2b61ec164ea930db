/* SPDX-License-Identifier: MIT
 * tool_html.h - the text of a web page, for a reader who sees no page.
 *
 * Does: give the title and the text of the page's main part as plain Markdown: headings, lists,
 *       tables, quotes, code; links where their address is whole.  What is not read is left out:
 *       scripts, styles, navigation, forms, what is hidden.
 * Does not: load anything, run anything, keep a tree, or recur: libxml2's parser calls back as it
 *       reads, and the text is written at once.
 * Threads: any, one a call.
 * Limits: below; what is beyond them is left out, and `cut` says so. */
#ifndef TOOL_TOOL_HTML_H
#define TOOL_TOOL_HTML_H

#include "base/str.h"

#define TOOL_HTML_DEPTH_MAX    ((size_t)512)    /* elements within each other */
#define TOOL_HTML_ELEMENTS_MAX ((size_t)200000) /* of a page */
#define TOOL_HTML_LINKS_MAX    ((size_t)60)     /* addresses that are kept */
#define TOOL_HTML_TITLE_BYTES  ((size_t)300)

struct tool_html {
    struct str title; /* one line; "" where there is none */
    struct str text;
    bool cut;
};

/* html: UTF-8 without NUL.  max_bytes: of the text. */
void tool_html_text(struct span html, size_t max_bytes, struct tool_html *out);
void tool_html_done(struct tool_html *h);

#endif
