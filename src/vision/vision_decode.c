/* SPDX-License-Identifier: MIT */
#include "vision/vision_decode.h"

#include "base/arena.h"
#include "base/num.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <webp/decode.h>

enum err vision_picture_init(struct vision_picture *p, size_t width, size_t height,
                             struct errinfo *e)
{
    *p = (struct vision_picture){0};
    if (width < 1 || height < 1)
        return err_set(e, ERR_CORRUPT, "the picture has no pixels");
    if (width > VISION_SIDE_MAX || height > VISION_SIDE_MAX || width > VISION_PIXELS_MAX / height)
        return err_set(e, ERR_TOOBIG, "%zu x %zu pixels are more than a side of %d or %zu in all",
                       width, height, VISION_SIDE_MAX, VISION_PIXELS_MAX);
    *p = (struct vision_picture){
        .rgb = mem_alloc(width * height * 3), .width = width, .height = height};
    return ERR_OK;
}

void vision_picture_done(struct vision_picture *p)
{
    mem_free(p->rgb);
    *p = (struct vision_picture){0};
}

void vision_over_white(uint8_t *rgb, const uint8_t *rgba, size_t n)
{
    for (size_t i = 0; i < n; i++, rgb += 3, rgba += 4)
        for (int c = 0; c < 3; c++)
            rgb[c] = (uint8_t)((rgba[c] * rgba[3] + 255 * (255 - rgba[3]) + 127) / 255);
}

static enum err decode_png(const uint8_t *bytes, size_t n, struct vision_picture *out,
                           struct errinfo *e)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_memory(&png, bytes, n))
        return err_set(e, ERR_CORRUPT, "PNG: %s", png.message);
    enum err r = vision_picture_init(out, png.width, png.height, e);
    if (r != ERR_OK) {
        png_image_free(&png);
        return r;
    }
    png.format = PNG_FORMAT_RGBA;
    png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB; /* what says nothing is no linear picture */
    uint8_t *rgba = mem_alloc(out->width * out->height * 4);
    if (!png_image_finish_read(&png, NULL, rgba, 0, NULL))
        r = err_set(e, ERR_CORRUPT, "PNG: %s", png.message);
    else
        vision_over_white(out->rgb, rgba, out->width * out->height);
    mem_free(rgba);
    png_image_free(&png);
    return r;
}

static enum err decode_webp(const uint8_t *bytes, size_t n, struct vision_picture *out,
                            struct errinfo *e)
{
    WebPBitstreamFeatures f;
    if (WebPGetFeatures(bytes, n, &f) != VP8_STATUS_OK)
        return err_set(e, ERR_CORRUPT, "WebP: the head of the file is damaged");
    if (f.has_animation)
        return err_set(e, ERR_UNSUPPORTED, "WebP: moving pictures are not supported");
    TRY(vision_picture_init(out, (size_t)f.width, (size_t)f.height, e));
    size_t width = out->width, size = width * out->height * 4;
    uint8_t *rgba = mem_alloc(size);
    bool good = WebPDecodeRGBAInto(bytes, n, rgba, size, (int)width * 4) != NULL;
    if (good)
        vision_over_white(out->rgb, rgba, width * out->height);
    mem_free(rgba);
    return good ? ERR_OK : err_set(e, ERR_CORRUPT, "WebP: the file is damaged");
}

static bool begins(const uint8_t *bytes, size_t n, const char *with, size_t len)
{
    return n >= len && memcmp(bytes, with, len) == 0;
}

enum err vision_decode(const void *bytes, size_t n, struct vision_picture *out, struct errinfo *e)
{
    const uint8_t *b = bytes;
    enum err r;
    *out = (struct vision_picture){0};
    if (n > VISION_BYTES_MAX)
        return err_set(e, ERR_TOOBIG, "a picture's file of %zu MiB is more than %zu MiB", n >> 20,
                       VISION_BYTES_MAX >> 20);
    if (begins(b, n, "\xff\xd8\xff", 3))
        r = vision_decode_jpeg(b, n, out, e);
    else if (begins(b, n, "\x89PNG\r\n\x1a\n", 8))
        r = decode_png(b, n, out, e);
    else if (begins(b, n, "RIFF", 4) && n >= 12 && memcmp(b + 8, "WEBP", 4) == 0)
        r = decode_webp(b, n, out, e);
    else
        r = err_set(e, ERR_UNSUPPORTED, "this is no JPEG, PNG or WebP file%s",
                    begins(b, n, "GIF8", 4) ? " but a GIF" : "");
    if (r != ERR_OK)
        vision_picture_done(out);
    return r;
}
