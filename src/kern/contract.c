/* SPDX-License-Identifier: MIT
 * contract.c - names, packing, and which level's functions. */
#include "kern/contract_int.h"

#include "base/err.h"

#include <math.h>
#include <string.h>

#define CHUNK 256 /* values that are read of the file's row at a time: whole blocks */

const char *kern_numerics_name(enum kern_numerics n)
{
    static const char *const names[KERN_NUMERICS_N] = {"native", "int8", "bf16"};
    return names[n];
}

void contract_init(struct kern *k, enum cpu_level level)
{
    kern_init(k, CPU_c);
#if defined(__x86_64__)
    if (level >= CPU_avx512 && level != CPU_neon)
        contract_init_avx512(k);
    else if (level >= CPU_avx2 && level != CPU_neon)
        contract_init_avx2(k);
    else
#endif
        contract_init_c(k);
    k->level = level;
}

const struct mm_kernel *contract_mm(enum kern_numerics n, enum cpu_level level)
{
    CHECK(n != KERN_NATIVE);
#if defined(__x86_64__)
    if (level >= CPU_avx512 && level != CPU_neon)
        return n == KERN_INT8 ? &contract_int8_avx512 : &contract_bf16_avx512;
    if (level >= CPU_avx2 && level != CPU_neon)
        return n == KERN_INT8 ? &contract_int8_avx2 : &contract_bf16_avx2;
#else
    (void)level;
#endif
    return n == KERN_INT8 ? &contract_int8_c : &contract_bf16_c;
}

size_t contract_packed_bytes(enum kern_numerics n, size_t k, size_t n_rows)
{
    size_t bytes;
    bool fits = num_mul(contract_panel_bytes(n, k), num_div_up(n_rows, CONTRACT_ROWS), &bytes);
    return fits ? bytes : SIZE_MAX;
}

/* Activations of CONTRACT_TOKENS tokens, 4 bytes a column at most, and their scales. */
size_t contract_scratch_bytes(size_t k)
{
    return CONTRACT_TOKENS * (contract_width(k) + 16) * sizeof(float);
}

static void pack_int8(enum format f, size_t k, const char *src, int8_t *dst, float *scale)
{
    float x[CHUNK], most = 0;
    for (size_t i = 0; i < k; i += CHUNK) {
        size_t n = MIN(k - i, (size_t)CHUNK);
        format_dequant(f, x, src + format_bytes(f, i), n);
        for (size_t c = 0; c < n; c++)
            most = MAX(most, fabsf(x[c]));
    }
    float by = most > 0 ? 127 / most : 0;
    *scale = most / 127;
    for (size_t i = 0; i < k; i += CHUNK) {
        size_t n = MIN(k - i, (size_t)CHUNK);
        format_dequant(f, x, src + format_bytes(f, i), n);
        for (size_t c = 0; c < n; c++)
            dst[i + c] = contract_round(x[c], by);
    }
}

static void pack_bf16(enum format f, size_t k, const char *src, uint16_t *dst)
{
    float x[CHUNK];
    for (size_t i = 0; i < k; i += CHUNK) {
        size_t n = MIN(k - i, (size_t)CHUNK);
        format_dequant(f, x, src + format_bytes(f, i), n);
        for (size_t c = 0; c < n; c++)
            dst[i + c] = contract_bf16(x[c]);
    }
}

/* One panel of n <= CONTRACT_ROWS rows. */
static void pack_panel(enum kern_numerics type, enum format f, size_t k, const char *src, size_t n,
                       void *dst)
{
    size_t width = contract_width(k), bytes = format_bytes(f, k);
    memset(dst, 0, contract_panel_bytes(type, k));
    for (size_t r = 0; r < n; r++) {
        float *scale = (float *)((int8_t *)dst + CONTRACT_ROWS * width);
        if (type == KERN_INT8)
            pack_int8(f, k, src + r * bytes, (int8_t *)dst + r * width, scale + r);
        else
            pack_bf16(f, k, src + r * bytes, (uint16_t *)dst + r * width);
    }
}

void contract_pack(enum kern_numerics n, enum format f, size_t k, size_t n_rows, const void *src,
                   void *dst, size_t from, size_t to)
{
    CHECK(to <= n_rows && from % CONTRACT_ROWS == 0);
    for (size_t r = from; r < to; r += CONTRACT_ROWS)
        pack_panel(n, f, k, (const char *)src + r * format_bytes(f, k),
                   MIN(to - r, (size_t)CONTRACT_ROWS),
                   (char *)dst + r / CONTRACT_ROWS * contract_panel_bytes(n, k));
}
