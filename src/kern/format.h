/* SPDX-License-Identifier: MIT
 * format.h - the tensor formats the engine computes with, and what their bytes mean.
 *
 * The reference dequantiser here is the meaning of a format: every packed layout and every kernel
 * is checked against it. */
#ifndef KERN_FORMAT_H
#define KERN_FORMAT_H

#include <stddef.h>
#include <stdint.h>

enum format {
#define FORMAT(name, ...) FORMAT_##name,
#include "kern/format.def"
#undef FORMAT
    FORMAT_N
};

enum format_scales {
    FORMAT_SCALES_F,
    FORMAT_SCALES_D,
    FORMAT_SCALES_DM,
    FORMAT_SCALES_KD,
    FORMAT_SCALES_KDM,
    FORMAT_SCALES_KN,
    FORMAT_SCALES_B,
    FORMAT_SCALES_E
};

enum format_coding {
    FORMAT_CODES_PLAIN,
    FORMAT_CODES_ONE,
#define CODES(name, ...) FORMAT_CODES_##name,
#include "kern/format_codes.def"
#undef CODES
    FORMAT_CODES_N
};

/* A row of format_codes.def. */
struct format_codes {
    int bits, zero;
    float by;
    int8_t value[16];
};

struct format_info {
    const char *name;
    uint32_t number; /* GGUF's */
    uint32_t block_elems;
    uint32_t block_bytes;
    uint32_t bits;
    uint32_t sub_elems; /* elements that share a scale */
    enum format_scales scales;
    enum format_coding codes;
    void (*dequant)(float *dst, const void *src, size_t n); /* n a multiple of block_elems */
};

const struct format_info *format_info(enum format f);
/* The format of a GGUF type number; -1 where the engine does not compute with it. */
int format_of(uint32_t number);
/* "F32, F16, ..." */
const char *format_list(void);

/* What codes stand for; for ONE too, not for PLAIN. */
const struct format_codes *format_codes(enum format_coding c);
static inline int format_value(const struct format_codes *c, uint8_t code)
{
    return c->value[code & 15];
}

/* Bytes of n elements (a multiple of the block's elements). */
size_t format_bytes(enum format f, size_t n);
/* dst[n] = the values of n elements at src. */
void format_dequant(enum format f, float *dst, const void *src, size_t n);

/* The 6-bit scales and minima of Q4_K and Q5_K: 8 each from 12 bytes. */
void format_k4_scales(const uint8_t packed[12], uint8_t scale[8], uint8_t min[8]);
/* The 6-bit scales of Q3_K: 16, of which 32 is taken off, from 12 bytes. */
void format_q3_scales(const uint8_t packed[12], int8_t scale[16]);

/* IEEE 754 binary16 and bfloat16, round to nearest even. */
float half_to_float(uint16_t h);
uint16_t half_from_float(float f);
static inline float bf16_to_float(uint16_t b)
{
    union {
        uint32_t u;
        float f;
    } x = {(uint32_t)b << 16};
    return x.f;
}

#endif
