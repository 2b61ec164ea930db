/* SPDX-License-Identifier: MIT
 * mm_unpack.c - one row of a packed matrix as floats: an embedding table that is the output matrix
 * too needs to be in memory once only.  Gives the bits of format_dequant. */
#include "base/err.h"
#include "kern/format_code.h"
#include "kern/mm.h"
#include "kern/mm_layout.h"

#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))

/* A unit of a panel, and the place of a row in its vectors. */
struct unit {
    const uint8_t *at, *planes;
    size_t rows, r;
};

static uint16_t half_bits(const struct unit *u, size_t vector)
{
    uint16_t h;
    memcpy(&h, u->at + (vector * u->rows + u->r) * 2, 2);
    return h;
}

static float half_at(const struct unit *u, size_t vector)
{
    return half_to_float(half_bits(u, vector));
}

static uint32_t plane_at(const struct unit *u, size_t vector)
{
    uint32_t v;
    memcpy(&v, u->planes + (vector * u->rows + u->r) * 4, 4);
    return v;
}

/* The four codes of group g of the 32-element block whose planes begin with vector `first`. */
ALWAYS uint32_t codes_of(const struct unit *u, int bits, size_t first, size_t g)
{
    size_t rest = first + (bits >= 4 ? 4 : 0);
    uint32_t q = 0;
    if (bits == 8)
        return plane_at(u, first + g);
    if (bits >= 4)
        q = plane_at(u, first + g % 4) >> g / 4 * 4 & 0x0f0f0f0fu;
    if (bits & 2) {
        q |= (plane_at(u, rest + g / 4) >> 2 * (g % 4) & 0x03030303u) << (bits == 6 ? 4 : 0);
        rest += 2;
    }
    if (bits & 1)
        q |= (plane_at(u, rest) >> g & 0x01010101u) << (bits - 1);
    return q;
}

/* w = d q + m of sub-block s. */
ALWAYS void sub_of(const struct unit *u, enum format_scales scales, size_t subs, size_t s, float *d,
                   float *m)
{
    const size_t halves = mm_scales_two(scales) ? 2 : scales == FORMAT_SCALES_E ? 0 : 1;
    const uint8_t *bytes = u->at + 2 * halves * u->rows + u->r;
    uint8_t scale = mm_scales_subs(scales) ? bytes[s * u->rows] : 0;
    *d = scales == FORMAT_SCALES_E ? format_e5m3(scale) : half_at(u, 0);
    *m = 0;
    switch (scales) {
    case FORMAT_SCALES_DM: *m = half_at(u, 1); break;
    case FORMAT_SCALES_KD: *d *= (float)(int8_t)scale; break;
    case FORMAT_SCALES_KDM:
        *d *= (float)scale;
        *m = -(half_at(u, 1) * (float)bytes[(subs + s) * u->rows]);
        break;
    case FORMAT_SCALES_KN:
        *d *= (float)(scale & 15);
        *m = -(half_at(u, 1) * (float)(scale >> 4));
        break;
    case FORMAT_SCALES_B: *d = bf16_to_float(half_bits(u, 0)); break;
    default: break;
    }
}

ALWAYS void unpack_unit(const struct unit *u, const struct format_info *f, bool biased8, float *dst)
{
    const bool own_min = mm_scales_two(f->scales);
    const int bits = (int)f->bits, zero = own_min || bits == 8 ? 0 : 1 << (bits - 1);
    const struct format_codes *c = f->codes == FORMAT_CODES_PLAIN ? NULL : format_codes(f->codes);
    float d = 0, m = 0;
    for (size_t e = 0; e < f->block_elems; e += 4) {
        uint32_t q = codes_of(u, bits, e / 32 * (size_t)bits, e % 32 / 4);
        if (bits == 8 && biased8)
            q ^= 0x80808080u;
        if (e % f->sub_elems == 0) {
            sub_of(u, f->scales, f->block_elems / f->sub_elems, e / f->sub_elems, &d, &m);
            d *= c ? c->by : 1;
        }
        for (size_t i = 0; i < 4; i++) {
            int code = bits == 8 ? (int8_t)(q >> 8 * i) : (int)(q >> 8 * i & 255) - zero;
            if (c)
                code = format_value(c, (uint8_t)(q >> 8 * i));
            dst[e + i] = own_min ? d * (float)code + m : d * (float)code;
        }
    }
}

static void unpack_floats(enum format f, const uint8_t *panel, size_t k, size_t rows, size_t r,
                          float *dst)
{
    const size_t bytes = format_info(f)->block_bytes;
    for (size_t i = 0; i < k; i++)
        format_dequant(f, dst + i, panel + (i * rows + r) * bytes, 1);
}

void mm_unpack_row(const struct mm_kernel *kn, enum format f, size_t k, const void *packed,
                   size_t row, float *dst)
{
    const struct format_info *info = format_info(f);
    const size_t rows = (size_t)kn->panel_rows, subs = info->block_elems / info->sub_elems;
    const uint8_t *panel = (const uint8_t *)packed + row / rows * mm_panel_bytes(info, k, rows);
    CHECK(rows > 1);
    if (info->scales == FORMAT_SCALES_F) {
        unpack_floats(f, panel, k, rows, row % rows, dst);
        return;
    }
    for (size_t i = 0; i < k; i += info->block_elems, panel += mm_unit_bytes(info, rows)) {
        struct unit u = {panel, panel + mm_scales_bytes(info->scales, subs, rows), rows,
                         row % rows};
        unpack_unit(&u, info, kn->biased8, dst + i);
    }
}
