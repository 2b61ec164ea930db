/* SPDX-License-Identifier: MIT
 * api_picture.h - pictures of a request: parts of a message's content, and their places in the
 * prompt.
 *
 * Does: take the bytes of pictures out of data addresses and base64; make messages that hold parts
 *       of text and pictures; put what the model wants to see of a picture among a prompt's tokens.
 * Does not: fetch anything; look into the files (api_sight.h has that done).
 * Owner: the request's ask, until its generation takes them over. */
#ifndef API_API_PICTURE_H
#define API_API_PICTURE_H

#include "api/api_fault.h"
#include "base/str.h"
#include "tok/tok.h"
#include "vision/vision.h"
#include "vision/vision_prompt.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define API_PICTURES_MAX       VISION_PROMPT_MAX /* of a request */
#define API_PICTURES_BYTES_MAX ((size_t)24 << 20)

struct api_ask;
struct api_model;

struct api_picture {
    uint8_t *bytes; /* of its file; owned */
    size_t n;
    char param[96]; /* where it is in the request */
    char kind[16];  /* what the request calls it */
    uint8_t key[VISION_KEY];
    size_t at; /* its first row in the prompt */
};

/* Adds one to ask->pictures: base64, or a data address.  False with the fault. */
bool api_picture_base64(struct api_ask *ask, struct span text, const char *param, const char *kind,
                        struct api_fault *f);
bool api_picture_url(struct api_ask *ask, const json_t *url, const char *param, const char *kind,
                     struct api_fault *f);
void api_pictures_free(struct api_picture *p, size_t n); /* and p itself */

/* Whether a part of a content is a picture, by any API's name for it. */
bool api_picture_is(const json_t *part);
/* The part of a template's content that stands for a picture, which is added to ask->pictures; NULL
 * with the fault. */
json_t *api_picture_part(struct api_ask *ask, const json_t *part, const char *param,
                         struct api_fault *f);
/* A content with pictures as templates have it: parts of text and pictures.  NULL with the fault.
 */
json_t *api_picture_content(struct api_ask *ask, const json_t *content, const char *at,
                            struct api_fault *f);

/* Whether the model takes what pictures there are; false with the fault. */
bool api_picture_taken(const struct api_model *m, const struct api_ask *ask, struct api_fault *f);
/* The tokens of a rendered prompt with pictures, the control tokens and rows of them where the
 * template has their places; sets `key` and `at` of each.  False with the fault. */
bool api_picture_encode(const struct api_model *m, const struct api_ask *ask, struct span text,
                        unsigned flags, struct tok_ids *ids, struct api_fault *f);

#endif
