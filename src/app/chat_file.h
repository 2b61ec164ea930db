/* SPDX-License-Identifier: MIT
 * chat_file.h - conversations as JSON files: {"damso": 1, "messages": [{"role", "content"}]};
 * a content is a text, or parts as talk.h has them. */
#ifndef APP_CHAT_FILE_H
#define APP_CHAT_FILE_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>

#define CHAT_FILE_BYTES_MAX ((size_t)64 << 20)

/* Writes beside the file, then renames: a full disk loses nothing.  A file that is there already
 * is refused unless `over`. */
enum err chat_file_save(const char *path, json_t *messages, bool over, struct errinfo *e);

/* Errors: NOTFOUND, IO, TOOBIG, CORRUPT (with the line, or the message that is none). */
enum err chat_file_load(const char *path, json_t **messages, struct errinfo *e);

#endif
