/* SPDX-License-Identifier: MIT
 * api_prompt.h - texts and token ids of a request as prompts. */
#ifndef API_API_PROMPT_H
#define API_API_PROMPT_H

#include "api/api_ask.h"
#include "api/api_json.h"
#include "api/api_model.h"
#include "base/arena.h"

#define API_PROMPTS_MAX 256 /* of one request */

struct api_prompts {
    const struct api_model *model;
    struct arena *arena;
    struct tok_ids *ids; /* [n], each ended by who has them */
    size_t n;
};

/* Renders ask->messages and appends their tokens and those of ask->prefill to out; false with the
 * fault. */
bool api_prompt_chat(const struct api_model *m, const struct api_ask *ask, struct str *rendered,
                     struct tok_ids *out, struct api_fault *f);
/* A string, token ids, or an array of those; control tokens may be written in texts. */
bool api_prompts_read(struct api_prompts *p, const struct api_in *in, const char *name);
/* Appends the ids of a JSON array, each checked. */
bool api_ids_from(const json_t *list, const struct api_model *m, const struct api_in *in,
                  const char *name, struct tok_ids *ids);

#endif
