/* SPDX-License-Identifier: MIT
 * chat.h - from a conversation to the text that a model continues, by the model's chat template.
 *
 * Does: render the template with messages, tools, bos_token, eos_token, add_generation_prompt and
 *       further variables; find out once, at open time, what the template cannot do, and help:
 *       - it refuses the system role: the system text goes in front of the first user message;
 *       - it iterates over content: plain strings become lists of parts, and where it expects
 *         strings, text parts are joined by newlines;
 *       - it reads arguments of calls as objects, or as strings: they are given as it wants them;
 *       - it knows no tools, or writes calls in a way that chat_syntax.def does not have: a system
 *         text tells the model of the tools and how to call them, calls become the text that the
 *         model is asked to write, results become user messages;
 *       members of messages that are null are left out, as Hugging Face does, except content,
 *       which becomes "".
 *       Where the vocabulary is known, texts of control tokens inside messages, tools and kwargs
 *       get a mark (TOK_MARK, U+FDD0), so that tok_encode with TOK_MARKED reads them as plain text
 *       and nobody can write an end of a turn.  U+FDD0 that was there before is taken out.
 * Does not: tokenize or keep a conversation.  chat_parse.h parses what the model answers,
 *       chat_grammar.h makes it keep to its syntax.
 * Without a template (base models), the text is: the system text and an empty line, then for each
 * message "User: ...", "Assistant: ..." or "Tool: ...", each followed by an empty line, and
 * "Assistant:" at the end when a generation prompt is wanted.
 * Owner: the caller of chat_open; read-only afterwards, any thread may render.
 * Limits: those of jinja.h. */
#ifndef CHAT_CHAT_H
#define CHAT_CHAT_H

#include "base/err.h"
#include "base/str.h"
#include "tok/tok.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct chat;

/* template_source may be empty.  bos and eos are the texts of the model's tokens, empty for none.
 * tok, which must outlive the chat, or NULL: then nothing is marked and marks are plain text.
 * Errors: those of jinja_parse. */
enum err chat_open(struct chat **out, struct span template_source, struct span bos, struct span eos,
                   const struct tok *tok, struct errinfo *e);
void chat_close(struct chat *c);

/* messages: an array of objects with role and content.  tools: an array, or NULL.  kwargs: an
 * object with further variables (enable_thinking, ...), or NULL; they win over ours.  `now` is the
 * time that templates may print.  Appends to out.
 * Errors: TEMPLATE (also for messages that are no array of objects). */
enum err chat_render(const struct chat *c, const json_t *messages, const json_t *tools,
                     const json_t *kwargs, bool add_generation_prompt, int64_t now, struct str *out,
                     struct errinfo *e);

/* Appends text with marks in what would be a control token, as messages get them; marks that were
 * there are left out. */
void chat_guard_text(const struct chat *c, struct span text, struct str *out);
/* Another text that gets a mark where messages have it, as a control token's does: of one that
 * files call an ordinary token.  It lives as long as the chat; said before the chat is shared. */
void chat_guard_also(struct chat *c, struct span text);

/* What the probes found. */
bool chat_has_template(const struct chat *c);
bool chat_takes_system(const struct chat *c);
bool chat_takes_tools(const struct chat *c); /* the template shows tools to the model */
bool chat_wants_parts(const struct chat *c);

/* Names of variables by which the template can be told how much to think: booleans, and "low",
 * "medium" or "high". */
enum chat_switch {
    CHAT_ENABLE_THINKING = 1,
    CHAT_THINKING = 2, /* `thinking` */
    CHAT_REASONING_EFFORT = 4
};
unsigned chat_switches(const struct chat *c);
bool chat_reasons(const struct chat *c); /* the template knows marks of reasoning */

/* The name of a row of chat_syntax.def; "generic": the one that chat_render explains. */
const char *chat_syntax_name(const struct chat *c);
/* Takes another one, before the chat is shared.  Errors: USAGE (no such row). */
enum err chat_use_syntax(struct chat *c, struct span name, struct errinfo *e);

/* What the end of a rendered prompt says about the reasoning of the answer. */
enum chat_reasoning { CHAT_REASONING_NONE, CHAT_REASONING_OPEN, CHAT_REASONING_CLOSED };
enum chat_reasoning chat_prompt_reasoning(const struct chat *c, struct span prompt);

#endif
