/* SPDX-License-Identifier: MIT
 * chat_grammar.h - the grammar of a whole answer: reasoning, content, calls, in the model's syntax.
 *
 * Does: write GBNF and parts for gram_from_parts, so that calls have known names and arguments that
 *       the tool's schema allows, and so that what is asked for comes (a call, a schema's value).
 * Does not: compile them, or check that gram takes the schemas of tools.  The caller does: the part
 *       of tool number I is named "tool-I" (of XML syntaxes: "tool-I-K" for its property number
 *       K), gram_from_schema says whether it will be taken; where it is UNSUPPORTED and the tool
 *       is not `strict`, the caller puts {"type": "object"} in the place of `parameters`.
 *
 * The answer is: reasoning, where the model has any and the prompt has not closed it; then
 *   AUTO      any text, and calls at its end; once a call's mark is there, it is a call
 *   NONE      any text without marks of calls
 *   REQUIRED  calls and nothing else
 * With a response schema its value stands in the place of the text.  A tool without `parameters`
 * takes {}.  A tool's `strict` demands what gram's strict does.
 * XML syntaxes: parameters come in the order of `properties`; of a string's keywords enum alone is
 * kept.  Syntaxes that allow one call an answer (harmony) have one, whatever `parallel` says.
 * Owner: the caller. */
#ifndef CHAT_CHAT_GRAMMAR_H
#define CHAT_CHAT_GRAMMAR_H

#include "chat/chat.h"

enum chat_choice { CHAT_CALLS_AUTO, CHAT_CALLS_NONE, CHAT_CALLS_REQUIRED };

struct chat_answer {
    const json_t *tools; /* as for chat_parse_new; NULL or empty: no calls */
    enum chat_choice choice;
    const json_t *only; /* names of the tools that may be called; NULL: all.  A named tool is
                           REQUIRED with one name. */
    bool parallel;
    const json_t *schema; /* of the content, or NULL */
    bool strict;          /* of that schema */
    enum chat_reasoning reasoning;
};

/* Appends the rules to gbnf and sets the parts, an empty object before.  *needed: false, and
 * nothing is written, where every text is as good as any other.
 * Errors: USAGE (a call is required and no tool may be called; a name of `only` that no tool has).
 */
enum err chat_call_grammar(const struct chat *c, const struct chat_answer *a, struct str *gbnf,
                           json_t *parts, bool *needed, struct errinfo *e);

#endif
