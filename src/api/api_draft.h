/* SPDX-License-Identifier: MIT
 * api_draft.h - a model that guesses for another (sched.h): its file, its vocabulary and its share
 * of the memory that both may take.
 *
 * Does: count it before the other is opened, and open it with as much context afterwards.
 * Does not: guess.
 * Owner: the caller; an api_draft of zeros is none, and may be closed. */
#ifndef API_API_DRAFT_H
#define API_API_DRAFT_H

#include "base/err.h"
#include "engine/engine.h"
#include "tok/tok.h"

#define API_DRAFT_PADDING                                                                          \
    128 /* tokens at the end that one vocabulary may have and the other not                        \
         */

struct api_draft {
    struct gguf *gguf;
    struct engine *engine; /* NULL until api_draft_open */
};

/* Opens the file and counts in o->beside what the draft model will take; o is what the other is
 * opened with from then on.  Errors: those of gguf_open, engine_count. */
enum err api_draft_count(struct api_draft *d, const char *path, struct engine_opts *o,
                         struct errinfo *e);
/* Opens it for the other, whose file and vocabulary are g and tok.  out_max: answers at once.
 * Errors: USAGE, naming both files, where the vocabularies are not the same; those of tok_open,
 * engine_open. */
enum err api_draft_open(struct api_draft *d, const struct gguf *g, const struct tok *tok,
                        const struct engine *other, const struct engine_opts *o, size_t out_max,
                        struct errinfo *e);
void api_draft_close(struct api_draft *d);

#endif
