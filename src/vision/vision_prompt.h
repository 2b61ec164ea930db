/* SPDX-License-Identifier: MIT
 * vision_prompt.h - pictures' places in a prompt.
 *
 * Does: turn a rendered prompt into tokens, with the control tokens and rows of a picture where
 *       the template has a place for one, which is a VISION_BEGIN.
 * Does not: render, or look at pictures.
 * Owner: the caller, of all; any thread. */
#ifndef VISION_VISION_PROMPT_H
#define VISION_VISION_PROMPT_H

#include "tok/tok.h"
#include "vision/vision.h"

#define VISION_PROMPT_MAX 32 /* pictures of a prompt */

struct vision_place {
    uint8_t key[VISION_KEY]; /* of the picture; the caller's */
    size_t at;               /* its first row in the prompt */
};

/* Appends to ids; sets `at` of the n pictures.  *n_found: places that the text has.  Of those after
 * the n-th nothing is left; less than n: the last pictures have none.  Errors: those of
 * tok_encode; TOOBIG. */
enum err vision_prompt(const struct vision *v, const struct tok *tok, struct span text,
                       unsigned flags, struct vision_place *places, size_t n, size_t *n_found,
                       struct tok_ids *ids, struct errinfo *e);

#endif
