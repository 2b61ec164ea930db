/* SPDX-License-Identifier: MIT
 * vision.h - pictures as rows for a language model, by a projector file (model_open_vision).
 *
 * Does: cut a picture into patches, run the projector's plan on a device of its own, and say by
 *       which numbers a picture's rows are known in a text of tokens (engine.h).
 * Does not: read files of pictures (vision_decode.h), or keep what it made.
 * Owner: the caller; one thread at a time. */
#ifndef VISION_VISION_H
#define VISION_VISION_H

#include "base/err.h"
#include "cpu/cpu.h"

#include <stddef.h>
#include <stdint.h>

#define VISION_KEY 32

/* Control tokens that stand before and behind a picture's rows (Gemma Team 2025); the first is what
 * chat templates write where a picture is. */
#define VISION_BEGIN "<start_of_image>"
#define VISION_END   "<end_of_image>"

struct vision;

struct vision_opts {
    int n_threads; /* 0: all processors */
    enum cpu_level level;
};

/* Reads the file; takes no memory for computing yet.  Errors: those of gguf_open and
 * model_open_vision. */
enum err vision_open(struct vision **out, const char *path, const struct vision_opts *o,
                     struct errinfo *e);
/* Before the first vision_encode.  Errors: MEMORY. */
enum err vision_start(struct vision *v, struct errinfo *e);
void vision_close(struct vision *v); /* NULL is fine */

const char *vision_path(const struct vision *v); /* of its file */
size_t vision_side(const struct vision *v);      /* pixels of a picture's sides */
size_t vision_rows(const struct vision *v);      /* that a picture becomes */
size_t vision_dim(const struct vision *v);       /* numbers a row: the language model's width */
size_t vision_bytes(const struct vision *v);     /* of memory, once it is started */

/* rgb [side][side][3] to out [rows][dim]. */
void vision_encode(struct vision *v, const uint8_t *rgb, float *out);

/* What a picture's file is known by: differs for other bytes, and for other projectors. */
void vision_key(const struct vision *v, const void *bytes, size_t n, uint8_t key[VISION_KEY]);
/* Its rows in a text of tokens: n numbers as engine.h has them. */
void vision_tokens(const uint8_t key[VISION_KEY], int32_t *out, size_t n);

#endif
