/* SPDX-License-Identifier: MIT
 * vision_resize.h - a picture in another size, as Pillow's bilinear filter makes it.
 *
 * The filter is a triangle over two pixels of the coarser of both grids, so that what becomes
 * smaller is averaged; lines first, then columns, each rounded to 8 bits, with weights of 22 bits:
 * the same numbers as Pillow's (resize with BILINEAR), which the models were trained with. */
#ifndef VISION_VISION_RESIZE_H
#define VISION_VISION_RESIZE_H

#include <stddef.h>
#include <stdint.h>

/* src [height][width][3] to dst [to_height][to_width][3]; sides are 1 to VISION_SIDE_MAX. */
void vision_resize(const uint8_t *src, size_t width, size_t height, uint8_t *dst, size_t to_width,
                   size_t to_height);

#endif
