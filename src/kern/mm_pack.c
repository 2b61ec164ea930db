/* SPDX-License-Identifier: MIT
 * mm_pack.c - from the file's rows to panels (mm_layout.h), and the choice of kernel. */
#include "base/err.h"
#include "base/num.h"
#include "kern/contract_int.h"
#include "kern/format_code.h"
#include "kern/mm.h"
#include "kern/mm_layout.h"

#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))

const struct mm_kernel *mm_kernel(enum cpu_level level)
{
    switch (level) {
#if defined(__x86_64__)
    case CPU_avx512vnni: return &mm_kernel_avx512vnni;
    case CPU_avx512:
    case CPU_avx2: return &mm_kernel_avx2;
#elif defined(__aarch64__)
    case CPU_neon: return &mm_kernel_neon;
#endif
    default: return &mm_kernel_c;
    }
}

enum mm_act_kind mm_act_kind(const struct mm_kernel *kn, enum format f)
{
    return format_info(f)->scales == FORMAT_SCALES_F ? MM_ACT_F32 : kn->act_int;
}

size_t mm_packed_bytes(const struct mm_kernel *kn, enum format f, size_t k, size_t n_rows)
{
    size_t rows = (size_t)kn->panel_rows, bytes;
    if (kn->numerics != KERN_NATIVE)
        return contract_packed_bytes(kn->numerics, k, n_rows);
    if (rows == 1)
        return 0;
    if (!num_mul(mm_panel_bytes(format_info(f), k, rows), num_div_up(n_rows, rows), &bytes))
        return SIZE_MAX;
    return bytes;
}

size_t mm_scratch_bytes(const struct mm_kernel *kn, size_t k, size_t n_tokens)
{
    size_t rows = (size_t)kn->panel_rows;
    if (kn->numerics != KERN_NATIVE)
        return contract_scratch_bytes(k);
    if (rows == 1)
        return k * sizeof(float);
    return MAX(MM_FLOAT_BYTES, MM_TILE_BYTES + n_tokens * MM_RANGE_ROWS * sizeof(float));
}

/* The file's block as planes: dword j of a 32-element block is this row's share of vector j, in
 * the order of the planes; and its scales. */
struct split {
    uint32_t dword[8][8]; /* [32-element block][plane vector] */
    uint16_t d, m;        /* f16 bits; B: bf16 */
    uint8_t scale[16];    /* KD: signed; KN: scale | min << 4; E: e5m3 */
    uint8_t min[8];       /* KDM */
};

static uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

/* 32 bits, bit e for element e -> the dword of the 1-bit plane: bit g of byte i is element 4g + i.
 * That is an 8 x 4 transposition of bits. */
static uint32_t plane1_of_bits(uint32_t bits)
{
    uint32_t out = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t b = bits >> i & 0x11111111u; /* elements i, i + 4, ...: bits 0, 4, 8, ... */
        b = (b | b >> 3) & 0x03030303u;
        b = (b | b >> 6) & 0x000f000fu;
        b = (b | b >> 12) & 0xffu;
        out |= b << 8 * i;
    }
    return out;
}

/* q[32], of which bits `shift` and up go into planes of 1, 2 and 4 bits. */
static uint32_t plane1_of_bytes(const uint8_t *q, int shift)
{
    uint32_t out = 0;
    for (int g = 0; g < 8; g++)
        out |= (get_u32(q + 4 * g) >> shift & 0x01010101u) << g;
    return out;
}

static void plane2_of_bytes(uint32_t dst[2], const uint8_t *q, int shift)
{
    dst[0] = dst[1] = 0;
    for (int g = 0; g < 8; g++)
        dst[g / 4] |= (get_u32(q + 4 * g) >> shift & 0x03030303u) << 2 * (g % 4);
}

static void plane4_of_bytes(uint32_t dst[4], const uint8_t *q)
{
    for (int j = 0; j < 4; j++)
        dst[j] = (get_u32(q + 4 * j) & 0x0f0f0f0fu) | (get_u32(q + 16 + 4 * j) & 0x0f0f0f0fu) << 4;
}

/* Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: their bytes are in the planes' order already. */
ALWAYS void split_simple(enum format f, const uint8_t *p, bool biased8, struct split *s)
{
    bool has_m = f == FORMAT_Q4_1 || f == FORMAT_Q5_1;
    s->d = get_u16(p);
    s->m = has_m ? get_u16(p + 2) : 0;
    p += has_m ? 4 : 2;
    if (f == FORMAT_Q8_0) {
        for (int j = 0; j < 8; j++)
            s->dword[0][j] = get_u32(p + 4 * j) ^ (biased8 ? 0x80808080u : 0);
        return;
    }
    if (f == FORMAT_Q5_0 || f == FORMAT_Q5_1) {
        s->dword[0][4] = plane1_of_bits(get_u32(p));
        p += 4;
    }
    for (int j = 0; j < 4; j++)
        s->dword[0][j] = get_u32(p + 4 * j);
}

/* TQ2_0 and Q1_0, whose codes are in an order that planes are made of at once. */
ALWAYS void split_codes1_2(enum format f, const uint8_t *p, struct split *s)
{
    s->d = get_u16(f == FORMAT_TQ2_0 ? p + 64 : p);
    for (int b = 0; b < (f == FORMAT_TQ2_0 ? 8 : 4); b++)
        if (f == FORMAT_TQ2_0)
            plane2_of_bytes(s->dword[b], p + b / 4 * 32, 2 * (b % 4));
        else
            s->dword[b][0] = plane1_of_bits(get_u32(p + 2 + 4 * b));
}

ALWAYS void split_q2q3(enum format f, const uint8_t *p, struct split *s)
{
    const uint8_t *qs = p + (f == FORMAT_Q2_K ? 16 : 32);
    const uint8_t *d = p + (f == FORMAT_Q2_K ? 80 : 108);
    s->d = get_u16(d);
    if (f == FORMAT_Q2_K) {
        s->m = get_u16(d + 2);
        memcpy(s->scale, p, 16);
    } else {
        format_q3_scales(p + 96, (int8_t *)s->scale);
    }
    for (int b = 0; b < 8; b++) {
        plane2_of_bytes(s->dword[b], qs + b / 4 * 32, 2 * (b % 4));
        if (f == FORMAT_Q3_K)
            s->dword[b][2] = plane1_of_bytes(p, b);
    }
}

ALWAYS void split_q4q5_k(enum format f, const uint8_t *p, struct split *s)
{
    const uint8_t *qs = p + (f == FORMAT_Q4_K ? 16 : 48);
    s->d = get_u16(p);
    s->m = get_u16(p + 2);
    format_k4_scales(p + 4, s->scale, s->min);
    for (int b = 0; b < 8; b++) {
        const uint8_t *q = qs + b / 2 * 32;
        for (int j = 0; j < 4; j++) {
            uint32_t lo = get_u32(q + 4 * j) >> 4 * (b % 2) & 0x0f0f0f0fu;
            uint32_t hi = get_u32(q + 16 + 4 * j) >> 4 * (b % 2) & 0x0f0f0f0fu;
            s->dword[b][j] = lo | hi << 4;
        }
        if (f == FORMAT_Q5_K)
            s->dword[b][4] = plane1_of_bytes(p + 16, b);
    }
}

ALWAYS void split_q6_k(const uint8_t *p, struct split *s)
{
    s->d = get_u16(p + 208);
    memcpy(s->scale, p + 192, 16);
    for (int b = 0; b < 8; b++) {
        uint8_t low[32];
        const uint8_t *ql = p + 64 * (b / 4) + 32 * (b % 2);
        for (int e = 0; e < 32; e++)
            low[e] = ql[e] >> 4 * (b / 2 % 2) & 15;
        plane4_of_bytes(s->dword[b], low);
        plane2_of_bytes(s->dword[b] + 4, p + 128 + 32 * (b / 4), 2 * (b % 4));
    }
}

/* IQ4_NL, MXFP4 and IQ4_XS: 4-bit codes in the planes' order. */
ALWAYS void split_codes4(enum format f, const uint8_t *p, struct split *s)
{
    size_t n = 1;
    s->d = f == FORMAT_MXFP4 ? format_e8m0_bf16(p[0]) : get_u16(p);
    if (f == FORMAT_IQ4_XS) {
        format_iq4_scales(p, s->scale);
        n = 8;
    }
    p += f == FORMAT_MXFP4 ? 1 : f == FORMAT_IQ4_XS ? 8 : 2;
    for (size_t b = 0; b < n; b++)
        for (size_t j = 0; j < 4; j++)
            s->dword[b][j] = get_u32(p + 16 * b + 4 * j);
}

/* The formats of format_code.h. */
ALWAYS void split_coded(enum format f, const struct format_info *info, const uint8_t *p,
                        struct split *s)
{
    struct format_block b;
    format_decode(f, p, &b);
    s->d = b.d;
    memcpy(s->scale, b.scale, sizeof s->scale);
    for (size_t i = 0; i < info->block_elems / 32; i++) {
        const uint8_t *code = b.code + 32 * i;
        uint32_t *to = s->dword[i];
        if (info->bits == 4)
            plane4_of_bytes(to, code);
        if (info->bits == 2 || info->bits == 3)
            plane2_of_bytes(to, code, 0);
        if (info->bits == 1 || info->bits == 3)
            to[info->bits - 1] = plane1_of_bytes(code, info->bits == 3 ? 2 : 0);
    }
}

ALWAYS void split_block(enum format f, const struct format_info *info, const uint8_t *p,
                        bool biased8, struct split *s)
{
    switch (f) {
    case FORMAT_Q2_K:
    case FORMAT_Q3_K: split_q2q3(f, p, s); break;
    case FORMAT_Q4_K:
    case FORMAT_Q5_K: split_q4q5_k(f, p, s); break;
    case FORMAT_Q6_K: split_q6_k(p, s); break;
    case FORMAT_IQ4_NL:
    case FORMAT_IQ4_XS:
    case FORMAT_MXFP4: split_codes4(f, p, s); break;
    case FORMAT_TQ2_0:
    case FORMAT_Q1_0: split_codes1_2(f, p, s); break;
    case FORMAT_Q4_0:
    case FORMAT_Q4_1:
    case FORMAT_Q5_0:
    case FORMAT_Q5_1:
    case FORMAT_Q8_0: split_simple(f, p, biased8, s); break;
    default: split_coded(f, info, p, s); break;
    }
}

static void put_u16(uint8_t *p, uint16_t v)
{
    memcpy(p, &v, 2);
}

/* Row r's share of one unit. */
ALWAYS void place_split(const struct format_info *f, const struct split *s, uint8_t *unit,
                        size_t rows, size_t r)
{
    size_t subs = f->block_elems / f->sub_elems;
    uint8_t *at = unit;
    if (f->scales != FORMAT_SCALES_E) {
        put_u16(at + 2 * r, s->d);
        at += 2 * rows;
    }
    if (mm_scales_two(f->scales)) {
        put_u16(at + 2 * r, s->m);
        at += 2 * rows;
    }
    if (mm_scales_subs(f->scales))
        for (size_t i = 0; i < subs; i++)
            at[i * rows + r] = s->scale[i];
    if (f->scales == FORMAT_SCALES_KDM)
        for (size_t i = 0; i < subs; i++)
            at[(subs + i) * rows + r] = s->min[i];
    at = unit + mm_scales_bytes(f->scales, subs, rows) + 4 * r;
    for (size_t b = 0; b < f->block_elems / 32; b++)
        for (size_t j = 0; j < f->bits; j++, at += 4 * rows)
            memcpy(at, &s->dword[b][j], 4);
}

ALWAYS void pack_floats(size_t bytes, size_t k, size_t rows, const uint8_t *src, size_t n,
                        uint8_t *dst)
{
    for (size_t i = 0; i < k; i++, dst += rows * bytes)
        for (size_t r = 0; r < n; r++)
            memcpy(dst + r * bytes, src + (r * k + i) * bytes, bytes);
}

ALWAYS void pack_blocks(enum format f, const struct format_info *info, bool biased8, size_t k,
                        size_t rows, const uint8_t *src, size_t n, uint8_t *dst)
{
    const size_t n_units = k / info->block_elems, unit_bytes = mm_unit_bytes(info, rows);
    struct split s;
    for (size_t u = 0; u < n_units; u++)
        for (size_t r = 0; r < n; r++) {
            split_block(f, info, src + (r * n_units + u) * info->block_bytes, biased8, &s);
            place_split(info, &s, dst + u * unit_bytes, rows, r);
        }
}

/* One panel of n <= rows rows; rows that are not there become zeros.  Each format has a copy of
 * the loops that knows its numbers. */
static void pack_panel(const struct mm_kernel *kn, enum format f, size_t k, const uint8_t *src,
                       size_t n, uint8_t *dst)
{
    const size_t rows = (size_t)kn->panel_rows;
    if (n < rows)
        memset(dst, 0, mm_panel_bytes(format_info(f), k, rows));
    switch (f) {
#define FORMAT(name, number, elems, bytes, bits, sub, scales, codes)                               \
    case FORMAT_##name: {                                                                          \
        const struct format_info info = {                                                          \
            #name, number, elems, bytes, bits, sub, FORMAT_SCALES_##scales, FORMAT_CODES_##codes,  \
            NULL};                                                                                 \
        if (FORMAT_SCALES_##scales == FORMAT_SCALES_F)                                             \
            pack_floats(bytes, k, rows, src, n, dst);                                              \
        else                                                                                       \
            pack_blocks(FORMAT_##name, &info, kn->biased8, k, rows, src, n, dst);                  \
        break;                                                                                     \
    }
#include "kern/format.def"
#undef FORMAT
    default: CHECK(false);
    }
}

void mm_pack(const struct mm_kernel *kn, enum format f, size_t k, size_t n_rows, const void *src,
             void *dst, size_t from, size_t to)
{
    size_t rows = (size_t)kn->panel_rows;
    if (kn->numerics != KERN_NATIVE) {
        contract_pack(kn->numerics, f, k, n_rows, src, dst, from, to);
        return;
    }
    size_t panel_bytes = mm_panel_bytes(format_info(f), k, rows);
    CHECK(rows > 1 && from % rows == 0 && to <= n_rows);
    for (size_t r = from; r < to; r += rows)
        pack_panel(kn, f, k, (const uint8_t *)src + r * format_bytes(f, k), MIN(rows, to - r),
                   (uint8_t *)dst + r / rows * panel_bytes);
}
