/* SPDX-License-Identifier: MIT
 * api_embed.h - vectors, or scores, for the inputs of one request, whichever API asks.
 *
 * Owner: itself, from api_embed_new on: it ends when the request and its jobs have ended. */
#ifndef API_API_EMBED_H
#define API_API_EMBED_H

#include "api/api_call.h"

#include <stdatomic.h>

struct api_embed {
    struct api_call *call;
    struct api_model *model;
    json_t *body;
    const char *model_name;
    json_t *(*whole)(struct api_embed *b);
    struct tok_ids *inputs; /* [n] */
    size_t *second;         /* [n] or NULL: job.second */
    struct job *jobs;       /* [n] */
    size_t n;
    enum job_pool pool;
    bool ranks;      /* the jobs' scores are wanted, and no vectors */
    size_t dim;      /* of the vectors that are given */
    float **vectors; /* [n][dim], of length 1, unless it ranks; once all is done */
    size_t n_tokens;
    bool counted; /* among its key's requests under way */
    void *own;    /* the endpoint's */
    atomic_int refs;
};

/* Takes over the call's body and the use of the model.  whole makes the answer. */
struct api_embed *api_embed_new(struct api_call *c, struct api_model *m,
                                json_t *(*whole)(struct api_embed *b));
/* The texts or token ids of a member; the call's fault says what is wrong. */
void api_embed_inputs(struct api_embed *b, const struct api_in *in, const char *name);
/* Texts longer than the context lose their end, but not the control token behind it. */
void api_embed_truncate(struct api_embed *b);
/* pooling NULL: the model's, which a reranker has not; dim 0: all. */
void api_embed_shape(struct api_embed *b, const struct api_in *in, const char *pooling, size_t dim);
/* Answers in its time, or with the call's fault. */
void api_embed_start(struct api_embed *b);

#endif
