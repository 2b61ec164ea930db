/* SPDX-License-Identifier: MIT
 * api_about.h - what a model's file says of itself, for lists: read without opening the model. */
#ifndef API_API_ABOUT_H
#define API_API_ABOUT_H

#include "gguf/gguf.h"

struct api_about {
    char family[64];       /* general.architecture; "" where the file cannot be read */
    char quantization[16]; /* of general.file_type: "Q4_K_M"; "unknown" */
    uint64_t n_weights;
    uint32_t ctx; /* trained with; 0: not said */
    uint32_t dim;
    bool tools; /* its template shows tools to the model */
    bool text;  /* it writes text, and is no encoder or reranker */
};

void api_about_read(struct api_about *out, const struct gguf *g);

#endif
