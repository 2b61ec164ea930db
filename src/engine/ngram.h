/* SPDX-License-Identifier: MIT
 * ngram.h - how a text may go on, by what it has said before.
 *
 * Does: find the longest end of the text that occurred before in it, of equal ones the latest, and
 *       give what followed there (prompt lookup: Saxena 2023).  Places that share their last tokens
 *       are chained as in LZ77's match finders, and few of them are looked at: a lookup takes
 *       microseconds, however long the text.
 * Does not: allocate after ngram_new, or know what tokens mean.
 * Owner: the caller; one thread at a time. */
#ifndef ENGINE_NGRAM_H
#define ENGINE_NGRAM_H

#include <stddef.h>
#include <stdint.h>

#define NGRAM_MIN 2  /* tokens that must have occurred */
#define NGRAM_MAX 64 /* tokens that are compared */

struct ngram;

struct ngram *ngram_new(size_t n_max); /* tokens of the text; those over it are not learnt */
void ngram_free(struct ngram *g);
void ngram_add(struct ngram *g, int32_t token);
/* Up to n tokens that may follow; gives how many: 0 where nothing occurred before.  *match: tokens
 * that the end of the text shares with the place before them. */
size_t ngram_propose(struct ngram *g, int32_t *out, size_t n, size_t *match);

#endif
