/* SPDX-License-Identifier: MIT
 * format.c - the table of formats and the reference dequantisers. */
#include "kern/format.h"

#include "base/err.h"
#include "kern/format_code.h"

#include <string.h>

static uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static float get_half(const uint8_t *p)
{
    return half_to_float(get_u16(p));
}

float half_to_float(uint16_t h)
{
    union {
        uint32_t u;
        float f;
    } x;
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, mag = h & 0x7fff;
    if (mag >= 0x7c00) /* infinity, NaN */
        x.u = sign | 0x7f800000 | mag << 13;
    else if (mag >= 0x0400)
        x.u = sign | ((mag << 13) + (112u << 23));
    else { /* subnormal: mag * 2^-24 is exact */
        x.f = (float)mag * 0x1p-24f;
        x.u |= sign;
    }
    return x.f;
}

uint16_t half_from_float(float f)
{
    union {
        float f;
        uint32_t u;
    } x = {f}, y;
    uint16_t sign = (uint16_t)(x.u >> 16 & 0x8000);
    uint32_t mag = x.u & 0x7fffffff;
    if (mag > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (mag >> 13 & 0x1ff));
    if (mag >= 0x477ff000) /* rounds to 65536 or more */
        return sign | 0x7c00;
    if (mag < 0x38800000) { /* subnormal or zero: let the float adder round at 2^-24 */
        y.u = mag;
        y.f += 0.5f;
        return (uint16_t)(sign | (y.u - 0x3f000000));
    }
    mag += 0xfff + (mag >> 13 & 1);
    return (uint16_t)(sign | ((mag - (112u << 23)) >> 13));
}

void format_k4_scales(const uint8_t packed[12], uint8_t scale[8], uint8_t min[8])
{
    for (int j = 0; j < 4; j++) {
        scale[j] = packed[j] & 63;
        min[j] = packed[j + 4] & 63;
        scale[j + 4] = (uint8_t)((packed[j + 8] & 15) | (packed[j] >> 6) << 4);
        min[j + 4] = (uint8_t)(packed[j + 8] >> 4 | (packed[j + 4] >> 6) << 4);
    }
}

void format_q3_scales(const uint8_t packed[12], int8_t scale[16])
{
    for (int j = 0; j < 16; j++) {
        int low = j < 8 ? packed[j] & 15 : packed[j - 8] >> 4;
        int high = packed[8 + j % 4] >> 2 * (j / 4) & 3;
        scale[j] = (int8_t)((low | high << 4) - 32);
    }
}

static void dequant_F32(float *dst, const void *src, size_t n)
{
    memcpy(dst, src, n * sizeof *dst);
}

static void dequant_F16(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i++)
        dst[i] = get_half(p + 2 * i);
}

static void dequant_BF16(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i++)
        dst[i] = bf16_to_float(get_u16(p + 2 * i));
}

/* Q4_0: f16 d, 16 bytes: element j in the low, j + 16 in the high half of byte j. d (q - 8) */
static void dequant_Q4_0(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i += 32, p += 18, dst += 32) {
        float d = get_half(p);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)((p[2 + j] & 15) - 8);
            dst[j + 16] = d * (float)((p[2 + j] >> 4) - 8);
        }
    }
}

/* Q4_1: f16 d, f16 m, as Q4_0. d q + m */
static void dequant_Q4_1(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i += 32, p += 20, dst += 32) {
        float d = get_half(p), m = get_half(p + 2);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)(p[4 + j] & 15) + m;
            dst[j + 16] = d * (float)(p[4 + j] >> 4) + m;
        }
    }
}

static int fifth_bit(const uint8_t *high, int j)
{
    return (high[j / 8] >> j % 8 & 1) << 4;
}

/* Q5_0: f16 d, 32 fifth bits, then as Q4_0. d (q - 16) */
static void dequant_Q5_0(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i += 32, p += 22, dst += 32) {
        float d = get_half(p);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)(((p[6 + j] & 15) | fifth_bit(p + 2, j)) - 16);
            dst[j + 16] = d * (float)((p[6 + j] >> 4 | fifth_bit(p + 2, j + 16)) - 16);
        }
    }
}

/* Q5_1: f16 d, f16 m, 32 fifth bits, then as Q4_0. d q + m */
static void dequant_Q5_1(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i += 32, p += 24, dst += 32) {
        float d = get_half(p), m = get_half(p + 2);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)((p[8 + j] & 15) | fifth_bit(p + 4, j)) + m;
            dst[j + 16] = d * (float)(p[8 + j] >> 4 | fifth_bit(p + 4, j + 16)) + m;
        }
    }
}

/* Q8_0: f16 d, 32 signed bytes. d q */
static void dequant_Q8_0(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i += 32, p += 34, dst += 32) {
        float d = get_half(p);
        for (int j = 0; j < 32; j++)
            dst[j] = d * (float)(int8_t)p[2 + j];
    }
}

/* Q2_K: 16 bytes of scale | minimum << 4, 64 bytes of 2-bit q, f16 d, f16 dmin.  Element e of a
 * half of 128 is at byte e % 32, bits 2 (e / 32).  d scale q - dmin minimum */
static void dequant_Q2_K(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i += 256, p += 84, dst += 256) {
        float d = get_half(p + 80), dmin = get_half(p + 82);
        for (int e = 0; e < 256; e++) {
            int q = p[16 + e / 128 * 32 + e % 32] >> 2 * (e % 128 / 32) & 3;
            uint8_t s = p[e / 16];
            dst[e] = d * (float)(s & 15) * (float)q - dmin * (float)(s >> 4);
        }
    }
}

/* Q3_K: 32 bytes of third bits (bit e / 32 of byte e % 32), 64 bytes of 2-bit q as Q2_K, 12 bytes
 * of 6-bit scales, f16 d.  d scale (q - 4) */
static void dequant_Q3_K(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i += 256, p += 110, dst += 256) {
        int8_t scale[16];
        format_q3_scales(p + 96, scale);
        float d = get_half(p + 108);
        for (int e = 0; e < 256; e++) {
            int q = p[32 + e / 128 * 32 + e % 32] >> 2 * (e % 128 / 32) & 3;
            q |= (p[e % 32] >> e / 32 & 1) << 2;
            dst[e] = d * (float)scale[e / 16] * (float)(q - 4);
        }
    }
}

/* Q4_K: f16 d, f16 dmin, 12 bytes of 6-bit scales and minima, 128 bytes: sub-blocks 2c and 2c + 1
 * of 32 in the low and high halves of bytes 32 c to 32 c + 31.  d scale q - dmin minimum */
static void dequant_Q4_K(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i += 256, p += 144, dst += 256) {
        uint8_t scale[8], min[8];
        format_k4_scales(p + 4, scale, min);
        float d = get_half(p), dmin = get_half(p + 2);
        for (int e = 0; e < 256; e++) {
            int q = p[16 + e / 64 * 32 + e % 32] >> 4 * (e / 32 % 2) & 15;
            dst[e] = d * (float)scale[e / 32] * (float)q - dmin * (float)min[e / 32];
        }
    }
}

/* Q5_K: as Q4_K with 32 bytes of fifth bits (bit e / 32 of byte e % 32) before the 128. */
static void dequant_Q5_K(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i += 256, p += 176, dst += 256) {
        uint8_t scale[8], min[8];
        format_k4_scales(p + 4, scale, min);
        float d = get_half(p), dmin = get_half(p + 2);
        for (int e = 0; e < 256; e++) {
            int q = p[48 + e / 64 * 32 + e % 32] >> 4 * (e / 32 % 2) & 15;
            q |= (p[16 + e % 32] >> e / 32 & 1) << 4;
            dst[e] = d * (float)scale[e / 32] * (float)q - dmin * (float)min[e / 32];
        }
    }
}

/* Q6_K: 128 bytes of low halves, 64 of 2 high bits, 16 signed scales, f16 d.  In each half of 128,
 * element e has its low bits in byte e % 64 (half e / 64) and its high bits in byte e % 32, bits
 * 2 (e / 32).  d scale (q - 32) */
static void dequant_Q6_K(float *dst, const void *src, size_t n)
{
    const uint8_t *p = src;
    for (size_t i = 0; i < n; i += 256, p += 210, dst += 256) {
        float d = get_half(p + 208);
        for (int k = 0; k < 256; k++) {
            int half = k / 128, e = k % 128;
            int q = p[64 * half + e % 64] >> 4 * (e / 64) & 15;
            q |= (p[128 + 32 * half + e % 32] >> 2 * (e / 32) & 3) << 4;
            dst[k] = d * (float)(int8_t)p[192 + k / 16] * (float)(q - 32);
        }
    }
}

#define CODED(name)                                                                                \
    static void dequant_##name(float *dst, const void *src, size_t n)                              \
    {                                                                                              \
        format_dequant_coded(FORMAT_##name, dst, src, n);                                          \
    }
FORMAT_CODED(CODED)
#undef CODED

static const struct format_info formats[FORMAT_N] = {
#define FORMAT(name, number, elems, bytes, bits, sub, scales, codes)                               \
    {#name,         number, elems, bytes, bits, sub, FORMAT_SCALES_##scales, FORMAT_CODES_##codes, \
     dequant_##name},
#include "kern/format.def"
#undef FORMAT
};

const struct format_info *format_info(enum format f)
{
    CHECK((unsigned)f < FORMAT_N);
    return &formats[f];
}

int format_of(uint32_t number)
{
    for (int i = 0; i < FORMAT_N; i++)
        if (formats[i].number == number)
            return i;
    return -1;
}

const char *format_list(void)
{
    static const char list[] =
#define FORMAT(name, ...) " " #name
#include "kern/format.def"
#undef FORMAT
        ;
    return list + 1;
}

const struct format_codes *format_codes(enum format_coding c)
{
    static const struct format_codes one = {
        .bits = 2, .zero = 1, .by = 1, .value = {-1, 0, 1, 2}
    };
    switch (c) {
    case FORMAT_CODES_ONE: return &one;
#define CODES(name, b, z, times, ...)                                                              \
    case FORMAT_CODES_##name: {                                                                    \
        static const struct format_codes codes = {                                                 \
            .bits = b, .zero = z, .by = times, .value = {__VA_ARGS__}};                            \
        return &codes;                                                                             \
    }
#include "kern/format_codes.def"
#undef CODES
    default: CHECK(false);
    }
}

size_t format_bytes(enum format f, size_t n)
{
    const struct format_info *i = format_info(f);
    CHECK(n % i->block_elems == 0);
    return n / i->block_elems * i->block_bytes;
}

void format_dequant(enum format f, float *dst, const void *src, size_t n)
{
    const struct format_info *i = format_info(f);
    DCHECK(n % i->block_elems == 0);
    i->dequant(dst, src, n);
}
