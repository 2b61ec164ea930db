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

size_t kern_v_bytes(enum kern_kv kv, size_t v_dim)
{
    size_t sub = kvs[kv].v_sub, row = kern_v_row(v_dim), scales = sub != 0;
    if (sub != 0 && sub != KERN_KV_ALL) {
        scales = num_div_up(v_dim, sub);
        row = scales * sub;
    }
    return KERN_PAGE * (row * kvs[kv].bits / 8 + scales * sizeof(uint16_t));
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
#elif defined(__aarch64__)
    if (level == CPU_neon)
        kern_init_neon(k);
#endif
}
