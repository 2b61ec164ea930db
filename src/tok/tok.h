/* SPDX-License-Identifier: MIT
 * tok.h - text to token ids and back.
 *
 * Does: the vocabularies that GGUF files describe: byte-level BPE ("gpt2"), SentencePiece BPE
 *       ("llama"), BPE of characters ("gemma4"), SentencePiece Unigram ("t5"), WordPiece with
 *       BERT's basic tokenizer ("bert") and the longest match of RWKV ("rwkv"); control and
 *       user-defined tokens, byte fallback, SentencePiece's charsmap; the same ids as the makers'
 *       own tokenizers (Hugging Face `tokenizers`, `sentencepiece`, RWKV's), so a pre-tokenizer
 *       whose published pipeline normalises to NFC does so here.
 * Does not: chat templates; the lstrip, rstrip and single_word of added tokens (GGUF does not have
 *       them).
 * Owner: the caller of tok_open; read-only afterwards: any thread may encode and decode.
 * Cost: encoding is O(n log n) in the text's length, whatever the text, and takes some 40 bytes
 *       (at most 104) of memory for each byte of the longest piece that is merged as one.
 *       Unigram takes 12 bytes for each byte of the longest text without a space.  Unigram and RWKV
 *       look at as many bytes after each as the longest token that matches there has.
 * Decoding what was encoded gives the text again, except: normalised text stays normalised,
 *       SentencePiece turns a written U+2581 into a space, and what follows.
 *       WordPiece keeps neither spaces nor, as most vocabularies ask, case and accents.
 * Text that is not UTF-8: with byte-level BPE each byte of an ill-formed sequence becomes its
 *       byte's token, unmerged, so decoding gives the same bytes again; SentencePiece reads it as
 *       U+FFFD, one for each byte, as the original does; so does BPE of characters.  WordPiece
 *       drops it.  RWKV's tokens are bytes.
 *       Some byte-level vocabularies lack tokens of rare bytes (SmolLM2: 0x04, 0xf1 and others):
 *       those bytes are left out, as in the originals, whose models name no unknown token.
 * Limits: TOK_* below. */
#ifndef TOK_TOK_H
#define TOK_TOK_H

#include "base/err.h"
#include "base/str.h"
#include "gguf/gguf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOK_TEXT_BYTES_MAX  ((size_t)16 << 20)
#define TOK_VOCAB_MAX       (1 << 24)
#define TOK_PIECE_BYTES_MAX 4096 /* a token's written form */

enum tok_flags {
    TOK_SPECIAL = 1, /* encode: control tokens written in the text become their ids;
                        decode: control tokens give their written form, else nothing */
    TOK_BOS = 2,     /* encode: add what the model adds (add_bos_token, add_eos_token); WordPiece:
                        [CLS] and [SEP] */
    TOK_START = 4,   /* decode: the ids begin a text; drops the space that SentencePiece
                        vocabularies with add_space_prefix put before it */
    TOK_MARKED = 8,  /* encode: every TOK_MARK is taken out after the control tokens were found:
                        one inside the text of a control token makes it plain text */
};

#define TOK_MARK "\xef\xb7\x90" /* U+FDD0, a noncharacter: no text for others to read has it */

/* Keys of ours, of the space that add_space_prefix adds: only a text's beginning gets it, not what
 * follows a control token; what begins with a space does not. */
#define TOK_KEY_SPACE_ONCE    "damso.tokenizer.space_prefix_once"
#define TOK_KEY_SPACE_MISSING "damso.tokenizer.space_prefix_missing"

struct tok;

struct tok_ids {
    int32_t *id; /* [n] */
    size_t n;
    size_t cap;
};

/* Reads the tokenizer.* keys.  The gguf must outlive the tok.  *out is NULL after an error.
 * Errors: UNSUPPORTED (names the model or pre-tokenizer and lists those known), CORRUPT (the
 * message names the key).  A merge of tokens that the vocabulary lacks is left out; of tokens
 * written the same the lowest id is found. */
enum err tok_open(struct tok **out, const struct gguf *g, struct errinfo *e);
void tok_close(struct tok *t);

/* Appends the ids of `text` (any bytes).  User-defined tokens are always found, the leftmost and
 * then the longest first.  Errors: TOOBIG (TOK_TEXT_BYTES_MAX). */
enum err tok_encode(const struct tok *t, struct span text, unsigned flags, struct tok_ids *out,
                    struct errinfo *e);
/* Appends two texts, in which no control token is looked for, as a model reads a pair of them:
 * "[CLS] a [SEP] b [SEP]", "<s> a </s></s> b </s>", as the file asks.  out gets no more than `most`
 * ids: b's that are too many are left out.  *second: of out, where ids of the second token type
 * begin, which WordPiece gives to b and what ends it; 0: the tokenizer gives one type to all.
 * Errors: TOOBIG, CONTEXT (a alone is too long). */
enum err tok_encode_pair(const struct tok *t, struct span a, struct span b, size_t most,
                         struct tok_ids *out, size_t *second, struct errinfo *e);
void tok_ids_add(struct tok_ids *ids, int32_t id);
void tok_ids_done(struct tok_ids *ids);

/* Appends the bytes of ids (flags TOK_SPECIAL, TOK_START).  The result of one id may be part of a
 * character.  SentencePiece: U+2581 becomes a space, the unknown token " \u2047 ".
 * Errors: USAGE (an id that the vocabulary does not have, named), TOOBIG (out is full). */
enum err tok_decode(const struct tok *t, const int32_t *id, size_t n, unsigned flags,
                    struct str *out, struct errinfo *e);

/* Decoding one id after the other into text that is UTF-8 at every moment: bytes wait until their
 * character is whole; those that nothing can complete become U+FFFD. */
struct tok_stream {
    const struct tok *tok;
    unsigned flags;
    struct str wait; /* at most the bytes of one piece and three more */
};

/* `flags` as for tok_decode; TOK_START holds for the first id only. */
void tok_stream_init(struct tok_stream *s, const struct tok *t, unsigned flags);
enum err tok_stream_add(struct tok_stream *s, int32_t id, struct str *out, struct errinfo *e);
/* What still waits, repaired.  The stream is empty afterwards. */
void tok_stream_end(struct tok_stream *s, struct str *out);
void tok_stream_done(struct tok_stream *s);

int32_t tok_n_vocab(const struct tok *t);
/* Ids or -1. */
int32_t tok_bos(const struct tok *t);
int32_t tok_eos(const struct tok *t);
/* Divides the two texts of a pair. */
int32_t tok_sep(const struct tok *t);
int32_t tok_pad(const struct tok *t);
/* True for every token that ends a turn or a text (eos, eot, eom, ...). */
bool tok_is_end(const struct tok *t, int32_t id);
bool tok_is_control(const struct tok *t, int32_t id);
/* The token's written form as the vocabulary has it (not decoded).  Ids here and above must be in
 * range. */
struct span tok_piece(const struct tok *t, int32_t id);
/* The id whose written form is `piece`, or -1. */
int32_t tok_find(const struct tok *t, struct span piece);
/* The longest control token whose written form s begins with, its bytes in *len; or -1. */
int32_t tok_control_at(const struct tok *t, struct span s, size_t *len);
/* The end of s is the beginning of some control token's written form. */
bool tok_control_begun(const struct tok *t, struct span s);
/* "bpe", "spm", "unigram", "wordpiece", "rwkv"; and the pre-tokenizer's name ("" but for bpe). */
const char *tok_model(const struct tok *t);
const char *tok_pre(const struct tok *t);

/* The name of the pre-tokenizer with these steps, patterns as tokenizer.json writes them (of
 * Oniguruma); nfc: texts are normalised; whole: a piece that is a token is not merged.  NULL: none.
 */
const char *tok_pre_named(const struct span *step, size_t n, bool nfc, bool whole);

#endif
