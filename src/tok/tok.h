/* SPDX-License-Identifier: MIT
 * tok.h - text to token ids and back.
 *
 * Does: byte-level BPE and SentencePiece vocabularies as GGUF files describe them, control and
 *       user-defined tokens, byte fallback.
 * Does not: chat templates, or hold text (a decoder for streams is tok_stream).
 * Owner: the caller of tok_open; read-only afterwards: any thread may encode and decode.
 * Cost: encoding is O(n log n) in the text's length, whatever the text. */
#ifndef TOK_TOK_H
#define TOK_TOK_H

#include "base/err.h"
#include "base/str.h"
#include "gguf/gguf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOK_TEXT_BYTES_MAX ((size_t)64 << 20)
#define TOK_VOCAB_MAX      (1 << 24)

enum tok_flags {
    TOK_SPECIAL = 1, /* control tokens written in the text become their ids */
    TOK_BOS = 2,     /* add what the model adds (add_bos_token, add_eos_token) */
};

struct tok;

struct tok_ids {
    int32_t *id; /* [n] */
    size_t n;
    size_t cap;
};

/* Reads the tokenizer.* keys.  The gguf must outlive the tok.
 * Errors: UNSUPPORTED (names the model or pre-tokenizer and lists those known), CORRUPT. */
enum err tok_open(struct tok **out, const struct gguf *g, struct errinfo *e);
void tok_close(struct tok *t);

/* Appends the ids of `text` (any bytes).  Errors: TOOBIG. */
enum err tok_encode(const struct tok *t, struct span text, unsigned flags, struct tok_ids *out,
                    struct errinfo *e);
void tok_ids_add(struct tok_ids *ids, int32_t id);
void tok_ids_done(struct tok_ids *ids);

/* Appends the bytes of ids.  `special`: control tokens give their written form, else nothing.
 * The result of one id may be part of a character.  Ids out of range: ARG error, named. */
enum err tok_decode(const struct tok *t, const int32_t *id, size_t n, bool special, struct str *out,
                    struct errinfo *e);

int32_t tok_n_vocab(const struct tok *t);
/* Ids or -1. */
int32_t tok_bos(const struct tok *t);
int32_t tok_eos(const struct tok *t);
int32_t tok_pad(const struct tok *t);
/* True for every token that ends a turn or a text (eos, eot, eom, ...). */
bool tok_is_end(const struct tok *t, int32_t id);
bool tok_is_control(const struct tok *t, int32_t id);
/* The token's written form as the vocabulary has it (not decoded). */
struct span tok_piece(const struct tok *t, int32_t id);
/* The id whose written form is `piece`, or -1. */
int32_t tok_find(const struct tok *t, struct span piece);
/* "bpe", "spm"; and the pre-tokenizer's name */
const char *tok_model(const struct tok *t);
const char *tok_pre(const struct tok *t);

#endif
