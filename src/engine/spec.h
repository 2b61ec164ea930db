/* SPDX-License-Identifier: MIT
 * spec.h - is a guess at the next tokens worth its rows?  Estimates from what was measured.
 *
 * Does: keep what share of guesses came true, by how good they looked (a class); keep what a step
 *       costs by its rows, following what changes all of it; choose how many guessed rows give the
 *       most tokens for the time.
 * Does not: guess, or look at a clock: the caller tells what happened.
 * Speculation changes when tokens come, never which. */
#ifndef ENGINE_SPEC_H
#define ENGINE_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPEC_CLASSES 8
#define SPEC_ROWS    64 /* of a step whose cost is kept; above them nothing is guessed */

/* ---- how often guesses come true ---- */

struct spec_rate {
    float share[SPEC_CLASSES];
    float n[SPEC_CLASSES]; /* how much stands behind it */
};

/* Few facts: hopes from `low` for class 0 up to `high`. */
struct spec_rate spec_rate_new(float low, float high);
/* Another text's rates are a beginning that few facts of its own outweigh. */
struct spec_rate spec_rate_from(const struct spec_rate *r);
void spec_rate_note(struct spec_rate *r, size_t class, bool came_true);
/* The class of a guess that `match` tokens stand behind. */
size_t spec_class_of_match(size_t match);
/* The class of a guess to which a model gives a probability. */
size_t spec_class_of_p(float p);

/* ---- what a step costs ---- */

struct spec_cost {
    double ns[SPEC_ROWS + 1]; /* by rows; 0: not measured */
    uint32_t n_seen[SPEC_ROWS + 1];
    uint64_t seen_at[SPEC_ROWS + 1], n_steps;
};

void spec_cost_note(struct spec_cost *c, size_t rows, double ns);
/* Measured long ago it counts as a little less, so that it is measured again.  Between measured
 * numbers of rows it lies between their costs; beyond the largest it is taken for less than likely,
 * so that it is tried once, for at most twice its rows.  0: nothing is known.  rows over
 * SPEC_ROWS count as those. */
double spec_cost_of(const struct spec_cost *c, size_t rows);
/* How many rows beyond `rows` may be asked for at all. */
size_t spec_cost_reach(const struct spec_cost *c, size_t rows);

/* How many times as fast as without guesses is a win and no chance. */
#define SPEC_WIN 1.02

/* How many of n guessed rows to add to `rows` certain ones, each of which gives a token: gain[i] is
 * the chance that guess i gives another one, highest first. */
size_t spec_choose(const struct spec_cost *c, size_t rows, const float *gain, size_t n);

#endif
