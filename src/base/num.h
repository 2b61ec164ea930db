/* SPDX-License-Identifier: MIT
 * num.h - integer arithmetic that cannot wrap unseen, and a small reproducible random source. */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))
#define N_ELEMS(arr) (sizeof(arr) / sizeof((arr)[0]))

/* True and *out = a * b (a + b) when it fits; false otherwise. */
static inline bool num_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool num_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* n rounded up to a multiple of `to`, a power of two.  n <= SIZE_MAX - to. */
static inline size_t num_align(size_t n, size_t to)
{
    return (n + to - 1) & ~(to - 1);
}

static inline size_t num_div_up(size_t n, size_t d)
{
    return n / d + (n % d != 0);
}

/* splitmix64, public domain by Sebastiano Vigna (prng.di.unimi.it): one 64-bit state, any seed. */
static inline uint64_t num_rand(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [0, 1) with 53 bits. */
static inline double num_rand_unit(uint64_t *state)
{
    return (double)(num_rand(state) >> 11) * 0x1p-53;
}

/* A good 64-bit hash of n bytes (multiply-and-fold over 8-byte words); not for secrets. */
static inline uint64_t num_hash(const void *p, size_t n, uint64_t seed)
{
    const unsigned char *b = p;
    uint64_t h = seed ^ (n * 0x9e3779b97f4a7c15u);
    while (n) {
        uint64_t w = 0;
        size_t take = n < 8 ? n : 8;
        for (size_t i = 0; i < take; i++)
            w |= (uint64_t)b[i] << (8 * i);
        __uint128_t m = (__uint128_t)(h ^ w ^ 0x2d358dccaa6c78a5u) * 0x8bb84b93962eacc9u;
        h = (uint64_t)m ^ (uint64_t)(m >> 64);
        b += take;
        n -= take;
    }
    return h ^ (h >> 32);
}

/* A 64-bit checksum of many bytes, of damage and not of intent: four lanes, so that it costs less
 * than reading them from memory. */
static inline uint64_t num_sum(const void *p, size_t n)
{
    uint64_t lane[4] = {n, 0x9e3779b97f4a7c15u, 0x2d358dccaa6c78a5u, 0x8bb84b93962eacc9u};
    const unsigned char *b = p;
    for (; n >= 32; n -= 32, b += 32) {
        uint64_t w[4];
        __builtin_memcpy(w, b, sizeof w);
        for (int i = 0; i < 4; i++) {
            __uint128_t m = (__uint128_t)(lane[i] ^ w[i]) * 0xd6e8feb86659fd93u;
            lane[i] = ((uint64_t)m ^ (uint64_t)(m >> 64)) + w[i];
        }
    }
    return num_hash(lane, sizeof lane, num_hash(b, n, 1));
}

#endif
