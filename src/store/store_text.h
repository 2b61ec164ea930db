/* SPDX-License-Identifier: MIT
 * store_text.h - what a search takes for the same: characters, words and pairs of characters.
 *
 * Words end at spaces and control characters; case is folded, Hangul in parts is put together.
 * Does: fold.  Does not: search; each engine does that its way, over what this gives. */
#ifndef STORE_STORE_TEXT_H
#define STORE_STORE_TEXT_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The folded character at `at` (< s.n), and how many bytes of s it takes. */
int32_t store_text_char(struct span s, size_t at, size_t *len);
bool store_text_is_space(int32_t cp);
/* Where a word of `words` (store_text_words) first stands in s, in bytes; SIZE_MAX. */
size_t store_text_find(struct span s, struct span words);
/* A part of s, with the place that store_text_find gives: about 50 characters, with ... where s
 * goes on. */
void store_text_snippet(struct span s, struct span words, struct str *out);
/* The pairs of neighbours in words and the characters by themselves, each once, in order: the first
 * character * 2^21 + the second or 0.  parts: only those that a text must have in which each word
 * is found, a character by itself where it is the whole word.  The caller frees *out by mem_free;
 * there is room for one more. */
size_t store_text_grams(struct span words, bool parts, int64_t **out);
/* An owner as a number beside those: an index then finds one owner's texts among many others'. */
int64_t store_text_owner(struct span owner);
/* Appends the folded words of s with one space between; false where there is none. */
bool store_text_words(struct span s, struct str *out);

#endif
