/* SPDX-License-Identifier: MIT
 * vision_jpeg.c - JPEG by libjpeg-turbo, and the orientation that cameras write. */
#include "vision/vision_decode.h"

#include "base/arena.h"
#include "base/num.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#define SCANS_MAX   64 /* of a progressive file: more take time and say nothing */
#define ENTRIES_MAX 1024

struct reader {
    struct jpeg_decompress_struct jpeg; /* first */
    struct jpeg_error_mgr error;
    struct jpeg_progress_mgr progress;
    jmp_buf back;
    bool cut; /* the file ended too early: libjpeg would go on with grey */
    char text[JMSG_LENGTH_MAX];
    uint8_t *line;
    struct vision_picture picture;
};

static void on_error(j_common_ptr c)
{
    struct reader *r = (struct reader *)c;
    c->err->format_message(c, r->text);
    longjmp(r->back, 1);
}

static void on_message(j_common_ptr c, int level)
{
    struct reader *r = (struct reader *)c;
    if (level < 0 && (c->err->msg_code == JWRN_JPEG_EOF || c->err->msg_code == JWRN_HIT_MARKER))
        r->cut = true;
}

static void on_output(j_common_ptr c)
{
    (void)c;
}

static void on_progress(j_common_ptr c)
{
    struct reader *r = (struct reader *)c;
    if (r->jpeg.input_scan_number <= SCANS_MAX)
        return;
    snprintf(r->text, sizeof r->text, "more than %d scans", SCANS_MAX);
    longjmp(r->back, 1);
}

/* ---- orientation ---- */

struct tiff {
    const uint8_t *p;
    size_t n;
    bool big;
};

/* A number of 2 or 4 bytes; 0 beyond the end. */
static uint32_t number(const struct tiff *t, size_t at, size_t bytes)
{
    uint32_t v = 0;
    if (at > t->n || t->n - at < bytes)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | t->p[at + (t->big ? i : bytes - 1 - i)];
    return v;
}

/* 1 to 8, as EXIF has it; 1: as it is. */
static unsigned orientation(const struct jpeg_decompress_struct *jpeg)
{
    for (const struct jpeg_marker_struct *m = jpeg->marker_list; m; m = m->next) {
        if (m->marker != JPEG_APP0 + 1 || m->data_length < 14 ||
            memcmp(m->data, "Exif\0\0", 6) != 0)
            continue;
        struct tiff t = {m->data + 6, m->data_length - 6, m->data[6] == 'M'};
        size_t at = number(&t, 4, 4), n = MIN(number(&t, at, 2), ENTRIES_MAX);
        for (size_t i = 0; i < n; i++) {
            size_t entry = at + 2 + 12 * i; /* tag, type, how many, value */
            uint32_t v = number(&t, entry + 8, 2);
            if (number(&t, entry, 2) == 0x0112 && number(&t, entry + 2, 2) == 3)
                return v >= 1 && v <= 8 ? v : 1;
        }
    }
    return 1;
}

/* Where pixel (x, y) of the upright picture is in what the file has. */
static void turn(struct vision_picture *p, unsigned how)
{
    size_t w = p->width, h = p->height;
    bool sideways = how >= 5;
    size_t to_w = sideways ? h : w, to_h = sideways ? w : h;
    uint8_t *out;
    if (how == 1)
        return;
    out = mem_alloc(w * h * 3);
    for (size_t y = 0; y < to_h; y++)
        for (size_t x = 0; x < to_w; x++) {
            size_t sx = sideways ? y : x, sy = sideways ? x : y;
            if (how == 2 || how == 3 || how == 7 || how == 8)
                sx = w - 1 - sx;
            if (how == 3 || how == 4 || how == 6 || how == 7)
                sy = h - 1 - sy;
            memcpy(out + (y * to_w + x) * 3, p->rgb + (sy * w + sx) * 3, 3);
        }
    mem_free(p->rgb);
    *p = (struct vision_picture){out, to_w, to_h};
}

/* ---- pixels ---- */

/* Ink as light.  Adobe's files, which all are, have it inverted. */
static void from_ink(uint8_t *rgb, const uint8_t *cmyk, size_t n, bool inverted)
{
    for (size_t i = 0; i < n; i++, rgb += 3, cmyk += 4)
        for (int c = 0; c < 3; c++) {
            int light = inverted ? cmyk[c] : 255 - cmyk[c];
            int key = inverted ? cmyk[3] : 255 - cmyk[3];
            rgb[c] = (uint8_t)((light * key + 127) / 255);
        }
}

static enum err read_all(struct reader *r, const uint8_t *bytes, size_t n, struct errinfo *e)
{
    struct jpeg_decompress_struct *j = &r->jpeg;
    jpeg_create_decompress(j);
    j->progress = &r->progress;
    r->progress.progress_monitor = on_progress;
    jpeg_mem_src(j, bytes, n);
    jpeg_save_markers(j, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(j, TRUE);
    bool ink = j->jpeg_color_space == JCS_CMYK || j->jpeg_color_space == JCS_YCCK;
    j->out_color_space = ink ? JCS_CMYK : JCS_RGB;
    TRY(vision_picture_init(&r->picture, j->image_width, j->image_height, e));
    jpeg_start_decompress(j);
    size_t width = r->picture.width;
    r->line = ink ? mem_alloc(width * 4) : NULL;
    while (j->output_scanline < j->output_height) {
        uint8_t *to = r->picture.rgb + (size_t)j->output_scanline * width * 3;
        JSAMPROW row = ink ? r->line : to;
        if (jpeg_read_scanlines(j, &row, 1) == 1 && ink)
            from_ink(to, r->line, width, j->saw_Adobe_marker);
    }
    unsigned how = orientation(j);
    jpeg_finish_decompress(j);
    if (r->cut)
        return err_set(e, ERR_CORRUPT, "JPEG: the file ends too early, or is damaged");
    turn(&r->picture, how);
    return ERR_OK;
}

enum err vision_decode_jpeg(const uint8_t *bytes, size_t n, struct vision_picture *out,
                            struct errinfo *e)
{
    struct reader *r = mem_alloc(sizeof *r); /* what a jump leaves as it is */
    enum err code = ERR_CORRUPT;
    r->jpeg.err = jpeg_std_error(&r->error);
    r->error.error_exit = on_error;
    r->error.emit_message = on_message;
    r->error.output_message = on_output;
    if (setjmp(r->back) == 0)
        code = read_all(r, bytes, n, e);
    else
        code = err_set(e, ERR_CORRUPT, "JPEG: %.200s", r->text);
    jpeg_destroy_decompress(&r->jpeg);
    mem_free(r->line);
    if (code == ERR_OK)
        *out = r->picture;
    else
        vision_picture_done(&r->picture);
    mem_free(r);
    return code;
}
