/* SPDX-License-Identifier: MIT
 * vision_decode_fuzz.c - any bytes as a picture's file: what is read has its pixels, in any size.
 */
#include "vision/vision_decode.h"
#include "vision/vision_resize.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define TO 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct vision_picture p;
    struct errinfo e = {0};
    uint8_t small[TO * TO * 3];
    if (vision_decode(data, n, &p, &e) != ERR_OK) {
        if (!e.text[0] || p.rgb)
            abort(); /* an error explains itself, and leaves nothing */
        return 0;
    }
    if (!p.rgb || !p.width || !p.height || p.width > VISION_PIXELS_MAX / p.height)
        abort();
    vision_resize(p.rgb, p.width, p.height, small, TO, TO);
    vision_picture_done(&p);
    return 0;
}
