/* SPDX-License-Identifier: MIT
 * chat_parse.h - from what a model writes to content, reasoning and tool calls, as it comes.
 *
 * Does: follow the answer in the syntax that chat_open found for the model (chat_syntax.def); tell
 *       reasoning from content; stream the arguments of calls of the tools that the request names.
 * Does not: check arguments against a schema (a grammar does, chat_grammar.h), make ids of calls,
 *       look for stop texts, or fail: what cannot be parsed comes out as content, at the latest at
 *       the end.
 *
 * The pieces: one token at a time, decoded with TOK_SPECIAL, any bytes, with a word on whether
 * the token is a control token:
 *     tok_decode(tok, &id, 1, TOK_SPECIAL | (first ? TOK_START : 0), &piece, e);
 *     chat_parse_add(p, str_span(&piece), tok_is_control(tok, id));
 * Where chat_open got the vocabulary, a marker that is a control token there is only taken for one
 * when the model wrote that token, not when it spelt its name.  Other control tokens are left
 * out, as tok_decode without TOK_SPECIAL does.  End tokens need not be added, and do no harm.
 *
 * What comes out is UTF-8, never ends inside a character, and does not depend on how the text was
 * cut into pieces.  Bytes that are no UTF-8 become U+FFFD.  The rules:
 * - Only what may still become a marker is held back.
 * - White space around the marks of reasoning and around calls belongs to them and is left out.
 * - Reasoning is looked for where the answer begins; the prompt may have opened it already.
 * - A call is one when its name is that of a known tool.  Everything else is content, with its
 *   markers, in place.  Without tools there are no calls.
 * - A call that the end cut off is a call with the arguments that came.
 * - Arguments that are an object come as the model wrote them; when it wrote them as a string
 *   that holds JSON, that JSON comes; a call without any has {}.  Parameters written as
 *   XML become JSON by the types of the tool's schema.
 *
 * Owner: the caller of chat_parse_new; the chat and the tools must outlive it.  One thread. */
#ifndef CHAT_CHAT_PARSE_H
#define CHAT_CHAT_PARSE_H

#include "base/str.h"
#include "chat/chat.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Calls come one after the other: begin, arguments (any number of times), end.  `index` counts
 * from 0.  Pieces are never empty.  The spans hold during the call only. */
struct chat_parse_sink {
    void *arg;
    void (*content)(void *arg, struct span piece);
    void (*reasoning)(void *arg, struct span piece);
    void (*call_begin)(void *arg, size_t index, struct span name);
    void (*call_arguments)(void *arg, size_t index, struct span piece);
    void (*call_end)(void *arg, size_t index);
};

struct chat_parse;

/* tools: the request's (OpenAI's form, {type, function: {name, parameters}}, or {name,
 * parameters}), only those that may be called; NULL or empty: none.  prompt: the rendered text
 * that the answer continues; its end tells whether reasoning is open. */
struct chat_parse *chat_parse_new(const struct chat *c, const json_t *tools, struct span prompt,
                                  const struct chat_parse_sink *sink);
void chat_parse_add(struct chat_parse *p, struct span piece, bool is_control);
/* Hands out what was held back and ends a call that is open.  Nothing may be added afterwards.
 * cut: a limit ended the answer, so that bytes of a character that is not whole are left out. */
void chat_parse_end(struct chat_parse *p, bool cut);
void chat_parse_free(struct chat_parse *p);
size_t chat_parse_n_calls(const struct chat_parse *p); /* begun so far */

#endif
