/* SPDX-License-Identifier: MIT */
#include "kern/kern.h"

#include "base/num.h"

#include <string.h>

static const struct {
    const char *name;
    size_t bits, k_sub, v_sub;
} kvs[KERN_KV_N] = {
#define KV(name, bits, k_sub, v_sub, text) {#name, bits, k_sub, v_sub},
#include "kern/kv.def"
#undef KV
};

size_t kern_k_bytes(enum kern_kv kv, size_t k_dim)
{
    size_t scales = kvs[kv].k_sub ? num_div_up(k_dim, kvs[kv].k_sub) : 0;
    return KERN_PAGE * (num_div_up(k_dim * kvs[kv].bits, 8) + scales * sizeof(uint16_t));
}

/* Bytes of a position's values, and of its scales. */
static size_t value_bytes(enum kern_kv kv, size_t v_dim, size_t *scale_bytes)
{
    size_t sub = kvs[kv].v_sub, row = kern_v_row(v_dim), scales = sub != 0;
    if (sub != 0 && sub != KERN_KV_ALL) {
        scales = num_div_up(v_dim, sub);
        row = scales * sub;
    }
    *scale_bytes = scales * sizeof(uint16_t);
    return row * kvs[kv].bits / 8;
}

size_t kern_v_bytes(enum kern_kv kv, size_t v_dim)
{
    size_t scales, row = value_bytes(kv, v_dim, &scales);
    return KERN_PAGE * (row + scales);
}

/* Columns of n rows of KERN_PAGE numbers of `size` bytes. */
static void take_columns(const struct kern_take *t, size_t before, size_t n, size_t size)
{
    const char *from = (const char *)t->from + before;
    char *to = (char *)t->to + before + t->slot * size;
    for (size_t r = 0; r < n; r++, from += KERN_PAGE * size, to += KERN_PAGE * size)
        for (size_t i = 0; i < t->n; i++)
            if (size == 2)
                memcpy(to + 2 * i, from + (size_t)2 * t->at[i], 2);
            else
                to[i] = from[t->at[i]];
}

void kern_take_k(const struct kern_take *t)
{
    size_t size = kvs[t->kv].bits == 16 ? 2 : 1, n = num_div_up(t->dim * kvs[t->kv].bits, 8 * size);
    size_t scales = kvs[t->kv].k_sub ? num_div_up(t->dim, kvs[t->kv].k_sub) : 0;
    take_columns(t, 0, n, size);
    take_columns(t, n * size * KERN_PAGE, scales, sizeof(uint16_t));
}

void kern_take_v(const struct kern_take *t)
{
    size_t scales, row = value_bytes(t->kv, t->dim, &scales), before = row * KERN_PAGE;
    for (size_t i = 0; i < t->n; i++) {
        memcpy((char *)t->to + (t->slot + i) * row, (const char *)t->from + t->at[i] * row, row);
        memcpy((char *)t->to + before + (t->slot + i) * scales,
               (const char *)t->from + before + t->at[i] * scales, scales);
    }
}

/* Floats as whole numbers of the same order; both zeros are one. */
static uint32_t order_of(float x)
{
    uint32_t bits;
    x += 0.0f;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* The k-th largest is found a byte at a time. */
void kern_choose(const float *x, size_t n, size_t k, int32_t *out)
{
    uint32_t known = 0, mask = 0;
    size_t left = k; /* of those that are alike in the known bytes */
    for (int shift = 24; shift >= 0; shift -= 8) {
        size_t count[256] = {0};
        uint32_t byte = 255;
        for (size_t i = 0; i < n; i++) {
            uint32_t o = order_of(x[i]);
            count[o >> shift & 255] += (o & mask) == known;
        }
        while (count[byte] < left)
            left -= count[byte--];
        known |= byte << shift;
        mask |= 255u << shift;
    }
    for (size_t i = 0, at = 0; i < n && at < k; i++) {
        uint32_t o = order_of(x[i]);
        bool equal = o == known && left > 0;
        left -= equal;
        if (o > known || equal)
            out[at++] = (int32_t)i;
    }
}

const char *kern_kv_name(enum kern_kv kv)
{
    return kvs[kv].name;
}

size_t kern_attend_scratch(enum kern_kv kv, size_t n_q, size_t k_dim, size_t v_dim)
{
    size_t row = kern_v_row(v_dim), scales = num_div_up(k_dim, 32) + 1;
    size_t halves = kv == KERN_KV_q4 ? KERN_PART * (k_dim + row) : 0; /* of a part, as binary16 */
    size_t turned = kv == KERN_KV_q4 ? n_q * k_dim : 0;               /* queries */
    if (kv == KERN_KV_q8) /* queries as 16-bit integers, their scales, and those of weights */
        turned = n_q * ((k_dim + 1) / 2 + scales - 1) + KERN_BLOCK;
    return turned + halves / 2 + scales * KERN_PART + KERN_BLOCK * (KERN_PART + row + 2) + 2 * n_q;
}

int kern_kv_named(const char *name)
{
    for (int i = 0; i < KERN_KV_N; i++)
        if (strcmp(kvs[i].name, name) == 0)
            return i;
    return -1;
}

void kern_init(struct kern *k, enum cpu_level level)
{
    kern_init_c(k);
    k->level = level;
#if defined(__x86_64__)
    if (level >= CPU_avx2 && level != CPU_neon)
        kern_init_avx2(k);
    if (level >= CPU_avx512 && level != CPU_neon)
        kern_init_avx512(k);
    if (level >= CPU_avx512vnni && level != CPU_neon)
        kern_init_avx512vnni(k);
#elif defined(__aarch64__)
    if (level == CPU_neon)
        kern_init_neon(k);
#endif
}
