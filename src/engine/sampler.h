/* SPDX-License-Identifier: MIT
 * sampler.h - from logits to the next token.
 *
 * Does, in this order:
 *   a mask            tokens outside it have no chance
 *   logit bias        added to single tokens
 *   repetition        scores of tokens that occurred lately: divided by the penalty when positive,
 *                     multiplied otherwise (Keskar et al. 2019)
 *   presence, frequency   taken off once, and for each time (OpenAI's definition)
 *   DRY               a token that would prolong a repetition of `len` tokens loses
 *                     multiplier * base^(len - allowed_length) when len >= allowed_length; a
 *                     repetition does not reach over a breaker token
 *   temperature       0 or less: the likeliest token, and nothing below matters
 *   top-k, typical (Meister et al. 2022), top-p (Holtzman et al. 2019), min-p, each over the
 *                     probabilities that the step before left, renormalised
 *   a draw            by the seed: the same seed, history and logits give the same token
 * Does not: allocate after sampler_new, or know sequences: the caller tells what was accepted.
 * Owner: the caller; one thread at a time. */
#ifndef ENGINE_SAMPLER_H
#define ENGINE_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sampler_bias {
    int32_t token;
    float add; /* -INFINITY bans it */
};

struct sampler_params {
    float temp;
    int32_t top_k;                             /* 0: all */
    float top_p, min_p, typical_p;             /* 1, 0, 1: all */
    float repeat_penalty;                      /* 1: none */
    float presence_penalty, frequency_penalty; /* 0: none */
    int64_t repeat_last_n;                     /* tokens that the three look back; -1: all */
    float dry_multiplier, dry_base;            /* 0: no DRY */
    int64_t dry_allowed_length;
    int64_t dry_last_n; /* -1: all */
    uint64_t seed;
    const struct sampler_bias *bias; /* [n_bias], borrowed */
    size_t n_bias;
    const int32_t *dry_breakers; /* [n_dry_breakers], borrowed */
    size_t n_dry_breakers;
};

/* What changes nothing but the temperature, which is 1. */
struct sampler_params sampler_neutral(void);

struct sampler;

/* Room for a vocabulary; samplers that one thread uses can share it. */
struct sampler_work;
struct sampler_work *sampler_work_new(size_t n_vocab);
void sampler_work_free(struct sampler_work *w);

/* history_max: the most tokens that will be accepted.  work outlives the sampler; NULL: its own. */
struct sampler *sampler_new(const struct sampler_params *p, size_t n_vocab, size_t history_max,
                            struct sampler_work *work);
void sampler_free(struct sampler *s);

/* A token of the prompt or of the answer.  Tokens over history_max push out the oldest. */
void sampler_accept(struct sampler *s, int32_t token);
/* Forgets the history and draws anew from a seed. */
void sampler_reset(struct sampler *s, uint64_t seed);

/* The next token by logits [n_vocab]; not accepted yet.  NaN counts as -infinity.
 * mask: bit i%32 of mask[i/32] for each token that may come, [n_vocab / 32 + 1]; NULL: all may.
 * -1 when the mask leaves nothing, or only what the bias bans. */
int32_t sampler_pick(struct sampler *s, const float *logits, const uint32_t *mask);

/* What a draw chooses from, valid until the next call: likeliest first, or in the order of the
 * vocabulary where no step left anything out.  None where sampler_pick gives -1. */
struct sampler_choice {
    int32_t token;
    float score; /* logit after bias, penalties and temperature */
    float p;     /* of the draw; the sum over all is 1 */
};
size_t sampler_weigh(struct sampler *s, const float *logits, const uint32_t *mask,
                     const struct sampler_choice **out);

#endif
