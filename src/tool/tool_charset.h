/* SPDX-License-Identifier: MIT
 * tool_charset.h - bytes of a page to UTF-8.
 *
 * Does: find the encoding: a byte order mark, the header, a meta element or an XML declaration at
 *       the beginning, valid UTF-8, and then Korean (CP949); take labels as browsers do (EUC-KR
 *       and its kin mean CP949, Latin-1 means Windows-1252); put U+FFFD where bytes mean nothing.
 * Threads: any. */
#ifndef TOOL_TOOL_CHARSET_H
#define TOOL_TOOL_CHARSET_H

#include "base/str.h"

/* content_type: the header, or NULL.  Appends to out, whose maximum is the limit.  NUL becomes
 * U+FFFD. */
void tool_charset_decode(struct span bytes, const char *content_type, struct str *out);

#endif
