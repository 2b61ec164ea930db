/* SPDX-License-Identifier: MIT
 * jinja.h - the chat templates of models: an interpreter for the Jinja that they use.
 *
 * Does: what Python's jinja2 does with trim_blocks, lstrip_blocks and loop controls, as Hugging
 *       Face transformers configures it, to the byte, for the constructs that chat templates use.
 * Does not: include, import or extend; call anything outside; read files or the clock except
 *       through `now_unix`; integers beyond 64 bits and complex numbers (an error, not a wrong
 *       result); the filters pprint, random, striptags, urlize and wordwrap; digits other than
 *       ASCII in |int and |float; thousands separators among padding zeros in str.format.
 * Limits: nesting, output size and steps, so that a hostile template ends with an error.
 * Owner: the caller of jinja_parse; a parsed template is read-only, any thread may render. */
#ifndef CHAT_JINJA_H
#define CHAT_JINJA_H

#include "base/err.h"
#include "base/str.h"

#include <jansson.h>
#include <stdint.h>

#define JINJA_SOURCE_BYTES_MAX ((size_t)1 << 20)
#define JINJA_OUTPUT_BYTES_MAX ((size_t)32 << 20)
#define JINJA_DEPTH_MAX        100
#define JINJA_STEPS_MAX        20000000

struct jinja;

/* Errors: TEMPLATE with the line, CORRUPT (not UTF-8), TOOBIG. */
enum err jinja_parse(struct jinja **out, struct span source, struct errinfo *e);
void jinja_free(struct jinja *j);

/* Renders with `vars`, a JSON object (borrowed): messages, tools, add_generation_prompt, ...
 * now_unix is what strftime_now() reads, in local time.  Errors: TEMPLATE (raise_exception's
 * message, a type error, a limit), with the line. */
enum err jinja_render(const struct jinja *j, const json_t *vars, int64_t now_unix, struct str *out,
                      struct errinfo *e);

#endif
