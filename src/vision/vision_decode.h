/* SPDX-License-Identifier: MIT
 * vision_decode.h - the bytes of a picture's file as pixels: JPEG, PNG, WebP.
 *
 * Does: have libjpeg-turbo, libpng and libwebp read it; refuse sizes before memory is taken for
 *       them; lay what is transparent over white; turn a JPEG as its EXIF orientation says.
 * Does not: moving pictures (GIF, animated WebP), colour profiles.
 * Where: anybody's bytes belong into a process of their own (vision_child.h). */
#ifndef VISION_VISION_DECODE_H
#define VISION_VISION_DECODE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define VISION_BYTES_MAX  ((size_t)20 << 20) /* of a file */
#define VISION_SIDE_MAX   16384              /* pixels */
#define VISION_PIXELS_MAX ((size_t)40000000)

struct vision_picture {
    uint8_t *rgb; /* [height][width][3] */
    size_t width, height;
};

/* Errors: UNSUPPORTED (no such kind of file), TOOBIG, CORRUPT (also a file that ends too early). */
enum err vision_decode(const void *bytes, size_t n, struct vision_picture *out, struct errinfo *e);
void vision_picture_done(struct vision_picture *p);

/* ---- for the files of the kinds ---- */

/* Takes the memory.  Errors: TOOBIG. */
enum err vision_picture_init(struct vision_picture *p, size_t width, size_t height,
                             struct errinfo *e);
/* n pixels of four numbers, the last of them how opaque it is, as three, over white. */
void vision_over_white(uint8_t *rgb, const uint8_t *rgba, size_t n);
enum err vision_decode_jpeg(const uint8_t *bytes, size_t n, struct vision_picture *out,
                            struct errinfo *e);

#endif
