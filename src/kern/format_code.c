/* SPDX-License-Identifier: MIT
 * format_code.c - from blocks of the IQ, TQ, FP4 and 1- and 2-bit formats to scales and codes.
 *
 * Points (format_grid.inc) are magnitudes of 8 or 4 weights; signs come beside them.  The codes of
 * G2 and G3 are so ordered that the other sign of a code is its complement. */
#include "kern/format_code.h"

#include "base/err.h"

#include <string.h>

#include "kern/format_grid.inc"

static uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get_u32(const uint8_t *p)
{
    return get_u16(p) | (uint32_t)get_u16(p + 2) << 16;
}

uint16_t format_e8m0_bf16(uint8_t e)
{
    return e < 2 ? (uint16_t)(0x20 << e) : (uint16_t)((e - 1) << 7);
}

/* From an unsigned float of 4 and 3 bits, which has subnormal values, to one of 5 and 3 bits that
 * needs none; 127 is no number. */
static uint8_t e5m3_of_e4m3(uint8_t x)
{
    x &= 0x7f;
    if (x >= 8)
        return (uint8_t)(x + (3 << 3));
    return x >= 4   ? (uint8_t)(3 << 3 | (x & 3) << 1)
           : x >= 2 ? (uint8_t)(2 << 3 | (x & 1) << 2)
                    : (uint8_t)(x << 3);
}

float format_e5m3(uint8_t x)
{
    union {
        uint32_t u;
        float f;
    } v = {(uint32_t)x << 20};
    return v.f * 0x1p116f;
}

/* Seven signs; the eighth makes their number even. */
static uint8_t even_signs(uint32_t seven)
{
    seven &= 127;
    return (uint8_t)(seven | (uint32_t)__builtin_parity(seven) << 7);
}

/* Eight 2-bit numbers as bytes. */
static uint64_t spread2(uint64_t x)
{
    x = (x | x << 24) & 0x000000ff000000ffu;
    x = (x | x << 12) & 0x000f000f000f000fu;
    return (x | x << 6) & 0x0303030303030303u;
}

/* Eight bits as bytes of 0 and 1. */
static uint64_t spread1(uint64_t x)
{
    x = x * 0x0101010101010101u & 0x8040201008040201u;
    return (x + 0x7f7f7f7f7f7f7f7fu) >> 7 & 0x0101010101010101u;
}

static void signed8(uint8_t *code, uint16_t point, uint8_t signs)
{
    uint64_t x = (spread2(point) + 0x0404040404040404u) ^ spread1(signs) * 7;
    memcpy(code, &x, 8);
}

static void signed4(uint8_t *code, uint32_t point, uint8_t signs)
{
    uint32_t x = (point & 07) | (point & 070) << 5 | (point & 0700) << 10 | (point & 07000) << 15;
    x = (x + 0x08080808u) ^ (uint32_t)spread1(signs & 15) * 15;
    memcpy(code, &x, 4);
}

/* -1, 0, 1, and an eighth more or less. */
static void shifted8(uint8_t *code, uint16_t point, bool less)
{
    uint64_t x = spread2(point) * 2 + (less ? 0 : 0x0101010101010101u);
    memcpy(code, &x, 8);
}

static uint8_t nibble(const uint8_t *p, int i)
{
    return p[i / 2] >> 4 * (i % 2) & 15;
}

/* f16 d; for each 32 elements four indices and a word of four times 7 signs and a 4-bit scale. */
static void decode_IQ2_XXS(const uint8_t *p, struct format_block *b)
{
    b->d = get_u16(p);
    p += 2;
    for (int s = 0; s < 8; s++, p += 8) {
        uint32_t word = get_u32(p + 4);
        b->scale[s] = (uint8_t)(2 * (word >> 28) + 1);
        for (int j = 0; j < 4; j++)
            signed8(b->code + 32 * s + 8 * j, grid_IQ2_XXS[p[j]], even_signs(word >> 7 * j));
    }
}

/* f16 d; for each 8 elements a 9-bit index and 7 signs; 16 4-bit scales. */
static void decode_IQ2_XS(const uint8_t *p, struct format_block *b)
{
    b->d = get_u16(p);
    for (int j = 0; j < 32; j++) {
        uint16_t q = get_u16(p + 2 + 2 * j);
        signed8(b->code + 8 * j, grid_IQ2_XS[q & 511], even_signs(q >> 9));
    }
    for (int s = 0; s < 16; s++)
        b->scale[s] = (uint8_t)(2 * nibble(p + 66, s) + 1);
}

/* f16 d; 32 low bytes of 10-bit indices; 32 bytes of signs; 8 of the indices' high bits; 16 4-bit
 * scales. */
static void decode_IQ2_S(const uint8_t *p, struct format_block *b)
{
    b->d = get_u16(p);
    for (int j = 0; j < 32; j++) {
        int high = p[66 + j / 4] >> 2 * (j % 4) & 3;
        signed8(b->code + 8 * j, grid_IQ2_S[p[2 + j] | high << 8], p[34 + j]);
    }
    for (int s = 0; s < 16; s++)
        b->scale[s] = (uint8_t)(2 * nibble(p + 74, s) + 1);
}

/* f16 d; 64 indices; for each 32 elements a word of four times 7 signs and a 4-bit scale. */
static void decode_IQ3_XXS(const uint8_t *p, struct format_block *b)
{
    b->d = get_u16(p);
    for (int s = 0; s < 8; s++) {
        uint32_t word = get_u32(p + 66 + 4 * s);
        b->scale[s] = (uint8_t)(2 * (word >> 28) + 1);
        for (int j = 0; j < 8; j++) {
            uint8_t signs = even_signs(word >> 7 * (j / 2));
            signed4(b->code + 32 * s + 4 * j, grid_IQ3_XXS[p[2 + 8 * s + j]],
                    (uint8_t)(signs >> 4 * (j % 2)));
        }
    }
}

/* f16 d; 64 low bytes and 8 bytes of ninth bits of indices; 32 bytes of signs; 8 4-bit scales. */
static void decode_IQ3_S(const uint8_t *p, struct format_block *b)
{
    b->d = get_u16(p);
    for (int j = 0; j < 64; j++) {
        int high = p[66 + j / 8] >> j % 8 & 1;
        signed4(b->code + 4 * j, grid_IQ3_S[p[2 + j] | high << 8], nibble(p + 74, j));
    }
    for (int s = 0; s < 8; s++)
        b->scale[s] = (uint8_t)(2 * nibble(p + 106, s) + 1);
}

/* f16 d; 32 low bytes of indices; for each 32 elements 16 bits: four times 3 high bits, 3 of the
 * scale, the offset's sign. */
static void decode_IQ1_S(const uint8_t *p, struct format_block *b)
{
    b->d = get_u16(p);
    for (int s = 0; s < 8; s++) {
        uint16_t word = get_u16(p + 34 + 2 * s);
        b->scale[s] = (uint8_t)(2 * (word >> 12 & 7) + 1);
        for (int j = 0; j < 4; j++) {
            int high = word >> 3 * j & 7;
            shifted8(b->code + 32 * s + 8 * j, grid_IQ1_S[p[2 + 4 * s + j] | high << 8],
                     word >> 15);
        }
    }
}

/* 32 low bytes of indices; for each 8 elements 3 high bits and the offset's sign; 8 bytes: for each
 * 64 elements four 3-bit scales and 4 bits of the f16 d. */
static void decode_IQ1_M(const uint8_t *p, struct format_block *b)
{
    b->d = 0;
    for (int k = 0; k < 4; k++) {
        uint16_t word = get_u16(p + 48 + 2 * k);
        b->d = (uint16_t)(b->d | word >> 12 << 4 * k);
        for (int s = 0; s < 4; s++)
            b->scale[4 * k + s] = (uint8_t)(2 * (word >> 3 * s & 7) + 1);
    }
    for (int j = 0; j < 32; j++) {
        uint8_t high = nibble(p + 32, j);
        shifted8(b->code + 8 * j, grid_IQ1_S[p[j] | (high & 7) << 8], high >> 3);
    }
}

/* 16 bytes: element j in the low, j + 16 in the high half of byte j. */
static void halves(const uint8_t *p, uint8_t *code, int n)
{
    for (int j = 0; j < n; j++) {
        code[j] = p[j] & 15;
        code[j + n] = p[j] >> 4;
    }
}

/* f16 d, then halves. */
static void decode_IQ4_NL(const uint8_t *p, struct format_block *b)
{
    b->d = get_u16(p);
    halves(p + 2, b->code, 16);
}

void format_iq4_scales(const uint8_t *p, uint8_t scale[8])
{
    uint16_t high = get_u16(p + 2);
    for (int s = 0; s < 8; s++)
        scale[s] = (uint8_t)((nibble(p + 4, s) | (high >> 2 * s & 3) << 4) - 32);
}

/* f16 d; 16 bits of high and 4 bytes of low bits of 6-bit scales; halves for each 32 elements. */
static void decode_IQ4_XS(const uint8_t *p, struct format_block *b)
{
    b->d = get_u16(p);
    format_iq4_scales(p, b->scale);
    for (int s = 0; s < 8; s++)
        halves(p + 8 + 16 * s, b->code + 32 * s, 16);
}

/* The digit of 3^-(1 + power) of a fraction of 256. */
static uint8_t third(uint8_t byte, int power)
{
    static const uint8_t by[5] = {1, 3, 9, 27, 81};
    return (uint8_t)((uint8_t)(byte * by[power]) * 3 >> 8);
}

/* 48 bytes of five and 4 bytes of four ternary digits, f16 d. */
static void decode_TQ1_0(const uint8_t *p, struct format_block *b)
{
    b->d = get_u16(p + 52);
    for (int e = 0; e < 160; e++)
        b->code[e] = third(p[e % 32], e / 32);
    for (int e = 0; e < 80; e++)
        b->code[160 + e] = third(p[32 + e % 16], e / 16);
    for (int e = 0; e < 16; e++)
        b->code[240 + e] = third(p[48 + e % 4], e / 4);
}

/* 64 bytes as those of Q2_K, f16 d. */
static void decode_TQ2_0(const uint8_t *p, struct format_block *b)
{
    b->d = get_u16(p + 64);
    for (int e = 0; e < 256; e++)
        b->code[e] = p[e / 128 * 32 + e % 32] >> 2 * (e % 128 / 32) & 3;
}

/* An exponent, then halves. */
static void decode_MXFP4(const uint8_t *p, struct format_block *b)
{
    b->d = format_e8m0_bf16(p[0]);
    halves(p + 1, b->code, 16);
}

/* Four scales of 16 elements each; for each 8 bytes of halves. */
static void decode_NVFP4(const uint8_t *p, struct format_block *b)
{
    b->d = 0;
    for (int s = 0; s < 4; s++) {
        b->scale[s] = p[s] == 0x7f ? 0 : e5m3_of_e4m3(p[s]);
        halves(p + 4 + 8 * s, b->code + 16 * s, 8);
    }
}

/* f16 d, a bit an element. */
static void decode_Q1_0(const uint8_t *p, struct format_block *b)
{
    b->d = get_u16(p);
    for (int e = 0; e < 128; e++)
        b->code[e] = p[2 + e / 8] >> e % 8 & 1;
}

/* f16 d, four elements a byte. */
static void decode_Q2_0(const uint8_t *p, struct format_block *b)
{
    b->d = get_u16(p);
    for (int e = 0; e < 64; e++)
        b->code[e] = p[2 + e / 4] >> 2 * (e % 4) & 3;
}

void format_decode(enum format f, const uint8_t *p, struct format_block *b)
{
    switch (f) {
#define CODED(name)                                                                                \
    case FORMAT_##name: decode_##name(p, b); break;
        FORMAT_CODED(CODED)
#undef CODED
    default: CHECK(false);
    }
}

/* The scale of sub-block s, in the order of products that PyPI `gguf` has. */
static float scale_of(const struct format_info *i, const struct format_block *b, uint32_t s)
{
    switch (i->scales) {
    case FORMAT_SCALES_KD: return half_to_float(b->d) * (float)(int8_t)b->scale[s];
    case FORMAT_SCALES_B: return bf16_to_float(b->d);
    case FORMAT_SCALES_E: return format_e5m3(b->scale[s]);
    default: return half_to_float(b->d);
    }
}

void format_dequant_coded(enum format f, float *dst, const void *src, size_t n)
{
    const struct format_info *i = format_info(f);
    const struct format_codes *c = format_codes(i->codes);
    const uint8_t *p = src;
    struct format_block b;
    for (size_t at = 0; at < n; at += i->block_elems, p += i->block_bytes) {
        format_decode(f, p, &b);
        for (uint32_t s = 0; s < i->block_elems / i->sub_elems; s++) {
            float d = scale_of(i, &b, s) * c->by;
            for (uint32_t e = s * i->sub_elems; e < (s + 1) * i->sub_elems; e++)
                dst[at + e] = d * (float)format_value(c, b.code[e]);
        }
    }
}
