/* SPDX-License-Identifier: MIT
 * quant_row.c - rows of floats to the bytes of a format. */
#include "quant/quant.h"

#include "base/err.h"
#include "base/num.h"
#include "quant/quant_fit.h"
#include "quant/quant_super.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#define ROW_BLOCK 256 /* the largest block */

static void put_half(uint8_t *p, float x)
{
    uint16_t h = half_from_float(x);
    memcpy(p, &h, 2);
}

/* What x becomes when it is stored as a half. */
static float half_of(float x)
{
    return half_to_float(half_from_float(x));
}

/* ---- codes with a table ---- */

/* The nearest value of the table to every whole number from -128 to 127. */
static int8_t near_nl[256];
static once_flag near_nl_once = ONCE_FLAG_INIT;

static void make_near_nl(void)
{
    const struct format_codes *c = format_codes(FORMAT_CODES_NL);
    for (int v = -128; v < 128; v++) {
        int best = 0;
        for (int i = 1; i < 16; i++)
            if (abs(c->value[i] - v) < abs(c->value[best] - v))
                best = i;
        near_nl[v + 128] = c->value[best];
    }
}

static const int8_t *nearest_nl(void)
{
    call_once(&near_nl_once, make_near_nl);
    return near_nl;
}

static uint8_t code_of(enum format_coding coding, int value)
{
    const struct format_codes *c = format_codes(coding);
    uint8_t i = 0;
    while (i < 15 && c->value[i] != value)
        i++;
    return i;
}

/* ---- blocks of 32 ---- */

/* Codes 0 to 31 as halves, and their fifth bits where there is a place for them. */
static void put_halves(uint8_t *dst, uint8_t *fifth, const uint8_t *q)
{
    for (int j = 0; j < 16; j++)
        dst[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
    if (!fifth)
        return;
    memset(fifth, 0, 4);
    for (int j = 0; j < 32; j++)
        fifth[j / 8] |= (uint8_t)((q[j] >> 4 & 1) << j % 8);
}

static void quant_plain(const float *x, const float *w, int bits, uint8_t *p)
{
    const int zero = 1 << (bits - 1);
    const struct quant_grid g = {-zero, zero - 1, NULL};
    float d = half_of(quant_fit_scale(&g, x, w, 32));
    uint8_t q[32];
    for (int i = 0; i < 32; i++)
        q[i] = (uint8_t)(quant_value(&g, x[i], d != 0 ? 1 / d : 0) + zero);
    put_half(p, d);
    put_halves(p + (bits == 5 ? 6 : 2), bits == 5 ? p + 2 : NULL, q);
}

static void quant_range(const float *x, const float *w, int bits, uint8_t *p)
{
    const struct quant_grid g = {0, (1 << bits) - 1, NULL};
    float d, m;
    uint8_t q[32];
    quant_fit_range(x, w, 32, g.hi, 0, &d, &m);
    d = half_of(d), m = half_of(m);
    for (int i = 0; i < 32; i++)
        q[i] = (uint8_t)quant_value(&g, x[i] - m, d != 0 ? 1 / d : 0);
    put_half(p, d);
    put_half(p + 2, m);
    put_halves(p + (bits == 5 ? 8 : 4), bits == 5 ? p + 4 : NULL, q);
}

/* Eight bits leave nothing to search. */
static void quant_Q8_0(const float *x, const float *w, uint8_t *p)
{
    const struct quant_grid g = {-127, 127, NULL};
    float most = 0;
    (void)w;
    for (int i = 0; i < 32; i++)
        most = MAX(most, fabsf(x[i]));
    float d = half_of(most / 127);
    put_half(p, d);
    for (int i = 0; i < 32; i++)
        p[2 + i] = (uint8_t)(int8_t)quant_value(&g, x[i], d != 0 ? 1 / d : 0);
}

static void quant_Q4_0(const float *x, const float *w, uint8_t *p)
{
    quant_plain(x, w, 4, p);
}

static void quant_Q5_0(const float *x, const float *w, uint8_t *p)
{
    quant_plain(x, w, 5, p);
}

static void quant_Q4_1(const float *x, const float *w, uint8_t *p)
{
    quant_range(x, w, 4, p);
}

static void quant_Q5_1(const float *x, const float *w, uint8_t *p)
{
    quant_range(x, w, 5, p);
}

static void quant_IQ4_NL(const float *x, const float *w, uint8_t *p)
{
    const struct quant_grid g = {-127, 113, nearest_nl()};
    float d = half_of(quant_fit_scale(&g, x, w, 32));
    uint8_t q[32];
    for (int i = 0; i < 32; i++)
        q[i] = code_of(FORMAT_CODES_NL, quant_value(&g, x[i], d != 0 ? 1 / d : 0));
    put_half(p, d);
    put_halves(p + 2, NULL, q);
}

/* The code whose value is nearest to x, and what it misses. */
static uint8_t nearest_fp4(float x, float *miss)
{
    const struct format_codes *c = format_codes(FORMAT_CODES_E2M1);
    float size = fabsf(x);
    uint8_t best = 0;
    for (uint8_t i = 1; i < 8; i++)
        if (fabsf((float)c->value[i] - size) < fabsf((float)c->value[best] - size))
            best = i;
    *miss = (float)c->value[best] - size;
    return (uint8_t)(best | (x < 0 && best ? 8 : 0));
}

/* A power of two: the one that holds the largest number, and the two below it. */
static void quant_MXFP4(const float *x, const float *w, uint8_t *p)
{
    float most = 0, least = INFINITY;
    uint8_t q[32];
    int top;
    for (int i = 0; i < 32; i++)
        most = MAX(most, fabsf(x[i]));
    frexpf(most / 12, &top); /* 12 2^top holds it */
    top = most > 0 ? top : -126;
    memset(p, 0, 17);
    for (int e = top; e >= top - 2; e--) {
        float err = 0, miss;
        int number = MIN(MAX(e + 128, 0), 254);
        float by = ldexpf(1, 128 - number);
        for (int i = 0; i < 32; i++) {
            q[i] = nearest_fp4(x[i] * by, &miss);
            err += w[i] * miss * miss;
        }
        err *= ldexpf(1, number - 128) * ldexpf(1, number - 128);
        if (err < least) {
            least = err;
            p[0] = (uint8_t)number;
            put_halves(p + 1, NULL, q);
        }
    }
}

/* ---- super-blocks ---- */

/* The 6-bit scales and minima of Q4_K and Q5_K. */
static void put_k4_scales(const struct quant_super *s, uint8_t packed[12])
{
    for (int j = 0; j < 4; j++) {
        packed[j] = (uint8_t)(s->scale[j] | s->scale[j + 4] >> 4 << 6);
        packed[j + 4] = (uint8_t)(s->min[j] | s->min[j + 4] >> 4 << 6);
        packed[j + 8] = (uint8_t)((s->scale[j + 4] & 15) | (s->min[j + 4] & 15) << 4);
    }
}

static void quant_k45(const float *x, const float *w, int bits, uint8_t *p)
{
    struct quant_super s = {
        .grid = {0, (1 << bits) - 1, NULL},
          .sub = 32, .scale_hi = 63, .has_min = 1
    };
    uint8_t *fifth = p + 16, *q = p + (bits == 5 ? 48 : 16);
    quant_super_fit(&s, x, w);
    memcpy(p, &s.d, 2);
    memcpy(p + 2, &s.dmin, 2);
    put_k4_scales(&s, p + 4);
    memset(p + 16, 0, bits == 5 ? 160 : 128);
    for (int e = 0; e < 256; e++) {
        q[e / 64 * 32 + e % 32] |= (uint8_t)((s.value[e] & 15) << 4 * (e / 32 % 2));
        if (bits == 5)
            fifth[e % 32] |= (uint8_t)((s.value[e] >> 4 & 1) << e / 32);
    }
}

static void quant_Q4_K(const float *x, const float *w, uint8_t *p)
{
    quant_k45(x, w, 4, p);
}

static void quant_Q5_K(const float *x, const float *w, uint8_t *p)
{
    quant_k45(x, w, 5, p);
}

static void quant_Q6_K(const float *x, const float *w, uint8_t *p)
{
    struct quant_super s = {
        .grid = {-32, 31, NULL},
          .sub = 16, .scale_lo = -128, .scale_hi = 127
    };
    quant_super_fit(&s, x, w);
    memset(p, 0, 210);
    memcpy(p + 208, &s.d, 2);
    for (int i = 0; i < 16; i++)
        p[192 + i] = (uint8_t)(int8_t)s.scale[i];
    for (int k = 0; k < 256; k++) {
        int half = k / 128, e = k % 128, q = s.value[k] + 32;
        p[64 * half + e % 64] |= (uint8_t)((q & 15) << 4 * (e / 64));
        p[128 + 32 * half + e % 32] |= (uint8_t)((q >> 4) << 2 * (e / 32));
    }
}

static void quant_Q3_K(const float *x, const float *w, uint8_t *p)
{
    struct quant_super s = {
        .grid = {-4, 3, NULL},
          .sub = 16, .scale_lo = -32, .scale_hi = 31
    };
    quant_super_fit(&s, x, w);
    memset(p, 0, 110);
    memcpy(p + 108, &s.d, 2);
    for (int j = 0; j < 16; j++) {
        int scale = s.scale[j] + 32;
        p[96 + j % 8] |= (uint8_t)((scale & 15) << 4 * (j / 8));
        p[104 + j % 4] |= (uint8_t)((scale >> 4) << 2 * (j / 4));
    }
    for (int e = 0; e < 256; e++) {
        int q = s.value[e] + 4;
        p[32 + e / 128 * 32 + e % 32] |= (uint8_t)((q & 3) << 2 * (e % 128 / 32));
        p[e % 32] |= (uint8_t)((q >> 2) << e / 32);
    }
}

static void quant_Q2_K(const float *x, const float *w, uint8_t *p)
{
    struct quant_super s = {
        .grid = {0, 3, NULL},
          .sub = 16, .scale_hi = 15, .has_min = 1
    };
    quant_super_fit(&s, x, w);
    memset(p, 0, 84);
    memcpy(p + 80, &s.d, 2);
    memcpy(p + 82, &s.dmin, 2);
    for (int i = 0; i < 16; i++)
        p[i] = (uint8_t)(s.scale[i] | s.min[i] << 4);
    for (int e = 0; e < 256; e++)
        p[16 + e / 128 * 32 + e % 32] |= (uint8_t)(s.value[e] << 2 * (e % 128 / 32));
}

static void quant_IQ4_XS(const float *x, const float *w, uint8_t *p)
{
    struct quant_super s = {
        .grid = {-127, 113, nearest_nl()},
          .sub = 32, .scale_lo = -32, .scale_hi = 31
    };
    uint16_t high = 0;
    quant_super_fit(&s, x, w);
    memset(p, 0, 136);
    memcpy(p, &s.d, 2);
    for (int i = 0; i < 8; i++) {
        int scale = s.scale[i] + 32;
        uint8_t q[32];
        high = (uint16_t)(high | scale >> 4 << 2 * i);
        p[4 + i / 2] |= (uint8_t)((scale & 15) << 4 * (i % 2));
        for (int e = 0; e < 32; e++)
            q[e] = code_of(FORMAT_CODES_NL, s.value[32 * i + e]);
        put_halves(p + 8 + 16 * i, NULL, q);
    }
    memcpy(p + 2, &high, 2);
}

/* ---- rows ---- */

typedef void quant_block(const float *x, const float *w, uint8_t *p);

static quant_block *block_of(enum format f)
{
    switch (f) {
#define QUANT_FLOAT(name, ...)
#define QUANT(name, ...)                                                                           \
    case FORMAT_##name:                                                                            \
        return quant_##name;
#include "quant/quant_type.def"
#undef QUANT
#undef QUANT_FLOAT
    default: return NULL;
    }
}

static bool is_float(enum format f)
{
    return format_info(f)->scales == FORMAT_SCALES_F;
}

bool quant_can(enum format f)
{
    return is_float(f) || block_of(f);
}

static uint16_t bf16_from_float(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static void put_floats(enum format f, const float *x, size_t n, uint8_t *dst)
{
    for (size_t i = 0; f == FORMAT_F32 && i < n; i++)
        memcpy(dst + 4 * i, x + i, 4);
    for (size_t i = 0; f != FORMAT_F32 && i < n; i++) {
        uint16_t h = f == FORMAT_F16 ? half_from_float(x[i]) : bf16_from_float(x[i]);
        memcpy(dst + 2 * i, &h, 2);
    }
}

/* What the square of each number's error counts: its column's importance.  Without one all count
 * alike: to weigh large numbers more did worse (docs/QUANTIZE.md). */
static void weigh(const float *importance, size_t n, float *w)
{
    for (size_t i = 0; i < n; i++)
        w[i] = importance ? MAX(importance[i], 1e-20f) : 1;
}

void quant_row(enum format f, const float *x, const float *importance, size_t n, void *dst)
{
    const struct format_info *info = format_info(f);
    quant_block *block = block_of(f);
    uint8_t *p = dst;
    float clean[ROW_BLOCK], w[ROW_BLOCK];
    CHECK(n % info->block_elems == 0 && quant_can(f));
    if (is_float(f)) {
        put_floats(f, x, n, dst);
        return;
    }
    for (size_t at = 0; at < n; at += info->block_elems, p += info->block_bytes) {
        for (size_t i = 0; i < info->block_elems; i++)
            clean[i] = isfinite(x[at + i]) ? x[at + i] : 0;
        weigh(importance ? importance + at : NULL, info->block_elems, w);
        block(clean, w, p);
    }
}
