/* SPDX-License-Identifier: MIT
 * api_gram.h - the grammars that a model's requests ask for, kept for the next who ask for them.
 *
 * A grammar learns masks as it is used (gram.h), so one that many requests share is faster than
 * one made anew.  Kept are API_GRAMS_MAX of a model, those used last.  Any thread. */
#ifndef API_API_GRAM_H
#define API_API_GRAM_H

#include "api/api_model.h"

#define API_GRAMS_MAX 32

struct api_gram {
    struct gram *gram;
    struct str key; /* what it was made of */
    struct api_gram *next;
    size_t refs;
};

/* The grammar that was made of this key, with a use of it; NULL: none is kept. */
struct api_gram *api_gram_find(struct api_model *m, struct span key);
/* Takes over the grammar, gives it with a use. */
struct api_gram *api_gram_add(struct api_model *m, struct span key, struct gram *gram);
void api_gram_drop(struct api_model *m, struct api_gram *g); /* NULL is fine */
void api_gram_clear(struct api_model *m);                    /* when nobody uses the model */

#endif
