/* SPDX-License-Identifier: MIT
 * api_openai.h - pieces of answers that OpenAI's endpoints share. */
#ifndef API_API_OPENAI_H
#define API_API_OPENAI_H

#include "api/api_gen.h"

/* The model's name as the request had it, else its own. */
const char *api_openai_model(const struct api_gen *g);
const char *api_openai_fingerprint(void);
json_t *api_openai_usage(const struct api_gen *g);

/* A logprob that JSON can say: none below -9999, also where it is no number. */
double api_openai_real(float logprob);
/* {token, logprob, bytes, top_logprobs} of token i of the answer. */
json_t *api_openai_logprob(const struct api_choice *c, size_t i);
/* {"content":[...], "refusal":null} of the tokens read since the last call; NULL where none were
 * asked for. */
json_t *api_openai_logprobs_new(struct api_choice *c);
/* Those tokens were no content. */
void api_openai_logprobs_skip(struct api_choice *c);
/* What a token adds, any bytes. */
void api_openai_token(const struct api_gen *g, int32_t id, struct str *out);

/* The end of a stream that fails. */
void api_openai_stream_fail(struct api_gen *g, const struct api_fault *f, struct str *out);

#endif
