/* SPDX-License-Identifier: MIT
 * chat.h - from a conversation to the text that a model continues, by the model's chat template.
 *
 * Does: render the template with messages, tools, bos_token, eos_token, add_generation_prompt and
 *       further variables; find out once, at open time, what the template cannot do, and help:
 *       - it refuses the system role: the system text goes in front of the first user message;
 *       - it iterates over content: plain strings become lists of parts, and where it expects
 *         strings, text parts are joined by newlines;
 *       members of messages that are null are left out, as Hugging Face does, except content,
 *       which becomes "".
 * Does not: tokenize, keep a conversation, or parse what the model answers.
 * Without a template (base models), the text is: the system text and an empty line, then for each
 * message "User: ...", "Assistant: ..." or "Tool: ...", each followed by an empty line, and
 * "Assistant:" at the end when a generation prompt is wanted.
 * Owner: the caller of chat_open; read-only afterwards, any thread may render.
 * Limits: those of jinja.h. */
#ifndef CHAT_CHAT_H
#define CHAT_CHAT_H

#include "base/err.h"
#include "base/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct chat;

/* template_source may be empty.  bos and eos are the texts of the model's tokens, empty for none.
 * Errors: those of jinja_parse. */
enum err chat_open(struct chat **out, struct span template_source, struct span bos, struct span eos,
                   struct errinfo *e);
void chat_close(struct chat *c);

/* messages: an array of objects with role and content.  tools: an array, or NULL.  kwargs: an
 * object with further variables (enable_thinking, ...), or NULL; they win over ours.  `now` is the
 * time that templates may print.  Appends to out.
 * Errors: TEMPLATE (also for messages that are no array of objects). */
enum err chat_render(const struct chat *c, const json_t *messages, const json_t *tools,
                     const json_t *kwargs, bool add_generation_prompt, int64_t now, struct str *out,
                     struct errinfo *e);

/* What the probes found. */
bool chat_has_template(const struct chat *c);
bool chat_takes_system(const struct chat *c);
bool chat_takes_tools(const struct chat *c); /* the template shows tools to the model */
bool chat_wants_parts(const struct chat *c);

#endif
