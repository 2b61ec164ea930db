/* SPDX-License-Identifier: MIT
 * gram.h - structured output: what text may still come, and which tokens keep it possible.
 *
 * Does: compile a JSON Schema (draft 2020-12), a GBNF grammar or a regular expression into an
 *       automaton over bytes whose edges may call other automata; follow a text through it; give
 *       the mask of all tokens that leave a way to a complete text.
 * Does not: choose tokens, repair text, or skip a keyword it does not know: that is an error which
 *       names the keyword and its JSON pointer.
 * Owner: the caller.  struct gram and struct gram_vocab are read-only for their users: any number
 *       of threads may share them.  A gram_state belongs to one thread at a time; its gram and its
 *       vocabulary must outlive it.
 *
 * The JSON that a schema allows, narrower than JSON where a model gains nothing by the freedom:
 * - Between tokens: nothing, one space, or a line feed with at most 64 spaces or 16 tabs.  None
 *   before and after the whole text.
 * - Properties come in the order of `properties`, then names that only `required` has, then others.
 * - Integers: no fraction, no exponent, no -0; at most 18 digits, 20 after the point.  Exponents
 *   (up to 289) only where no bound and no multipleOf applies.
 * - Strings that a keyword describes (pattern, format, enum, names) are written with the shortest
 *   escapes; strings without one, or with a length only, may use every escape of JSON.
 * - `format` is asserted, `pattern` is searched (ECMA-262 with its u flag), lengths are code
 * points.
 * - oneOf needs branches that are provably disjoint.
 *
 * Limits: GRAM_* below; a grammar that passes one is refused as UNSUPPORTED. */
#ifndef GRAM_GRAM_H
#define GRAM_GRAM_H

#include "base/err.h"
#include "base/str.h"
#include "tok/tok.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRAM_TEXT_BYTES_MAX ((size_t)1 << 20) /* of GBNF and of a pattern */
#define GRAM_STATES_MAX     200000            /* of the whole automaton */
#define GRAM_RULES_MAX      20000
#define GRAM_NEST_MAX       128  /* groups in groups, in patterns and GBNF */
#define GRAM_DEPTH_MAX      2000 /* open calls while text is followed: deeper text is refused */

struct gram;
struct gram_state;
struct gram_vocab;

struct gram_opts {
    bool strict; /* also demand what OpenAI's strict mode demands (USAGE where it is not so) */
};

/* opts may be NULL.  Errors: UNSUPPORTED (keyword and pointer, left recursion, a limit, a grammar
 * that no text satisfies), CORRUPT (not a schema; GBNF and regex: with line and column), USAGE
 * (strict), TOOBIG (GRAM_TEXT_BYTES_MAX).  *out is NULL after an error. */
enum err gram_from_schema(struct gram **out, const json_t *schema, const struct gram_opts *opts,
                          struct errinfo *e);
/* llama.cpp's dialect; the text is what `root` derives. */
enum err gram_from_gbnf(struct gram **out, struct span text, struct errinfo *e);
/* GBNF whose rules may use names that `parts` defines, an object of:
 *   name: {"schema": S, "strict": true|false}  a value of the JSON Schema S
 *   name: {"regex": "..."}                     a whole match
 *   name: {"control": "<|x|>"}                 the control token written so
 *   name: {"without": [...]}                   any text of UTF-8 and control tokens in which none
 *                                              of the list occurs: texts, or {"control": "<|x|>"}
 *
 * Errors in a part begin with its name; CORRUPT: a part of another form.  Parts that the grammar
 * does not use are not looked at. */
enum err gram_from_parts(struct gram **out, struct span gbnf, const json_t *parts,
                         struct errinfo *e);
/* The whole text must match. */
enum err gram_from_regex(struct gram **out, struct span pattern, struct errinfo *e);
void gram_free(struct gram *g);
uint32_t gram_n_states(const struct gram *g);

/* The tokens' bytes as tries, once a model. */
struct gram_vocab *gram_vocab_new(const struct tok *t);
void gram_vocab_free(struct gram_vocab *v);
size_t gram_vocab_words(const struct gram_vocab *v); /* of a mask: n_vocab / 32 + 1 */
/* The bytes a token adds; n == 0 for end tokens and for bytes that no text has.  A control token
 * is its written form between two bytes 0xFF, which UTF-8 never has: so a grammar of texts never
 * allows one, and one of parts says where. */
struct span gram_vocab_bytes(const struct gram_vocab *v, int32_t id);

struct gram_state *gram_start(const struct gram *g);
struct gram_state *gram_copy(const struct gram_state *s);
void gram_done(struct gram_state *s);
/* False, and the state is as before, when no text of the grammar continues this way. */
bool gram_accept_byte(struct gram_state *s, unsigned char byte);
bool gram_accept(struct gram_state *s, const void *bytes, size_t n);
/* An end token is accepted where the text is complete; other control tokens where the grammar has
 * them (gram_from_parts). */
bool gram_accept_token(struct gram_state *s, const struct gram_vocab *v, int32_t id);
/* The text may end here. */
bool gram_finished(const struct gram_state *s);
/* Sets bit id%32 of bits[id/32] for each token that gram_accept_token would accept, clears others.
 * bits: [gram_vocab_words(v)].  Not const: it learns. */
void gram_mask(struct gram_state *s, const struct gram_vocab *v, uint32_t *bits);

#endif
