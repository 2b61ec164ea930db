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
/* Appends the folded words of s with one space between; false where there is none. */
bool store_text_words(struct span s, struct str *out);

#endif
