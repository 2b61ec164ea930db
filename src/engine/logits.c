/* SPDX-License-Identifier: MIT
 * logits.c - lanes in small arrays: the loops over them have no order that a compiler must keep. */
#include "engine/logits.h"

#include "base/num.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 16

/* exp(x) for -80 <= x <= 1: 2^k e^r, |r| <= ln(2) / 2; the polynomial is expf's of the Cephes
 * library (S. Moshier). */
static inline float small_exp(float x)
{
    float k = x * 1.44269504088896341f + 12582912.0f; /* 1.5 * 2^23: rounds to an integer */
    uint32_t bits;
    memcpy(&bits, &k, sizeof bits);
    k -= 12582912.0f;
    float r = x - k * 0.693359375f + k * 2.12194440e-4f, y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1;
    bits = (bits << 23) + 0x3f800000u; /* 2^k; what is above k in `bits` is shifted out */
    float two;
    memcpy(&two, &bits, sizeof two);
    return y * two;
}

static float block_max(const float *x, size_t n)
{
    float lane[LANES], most = -INFINITY;
    for (size_t k = 0; k < LANES; k++)
        lane[k] = -INFINITY;
    for (; n >= LANES; n -= LANES, x += LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] = x[k] > lane[k] ? x[k] : lane[k];
    for (size_t k = 0; k < n; k++)
        lane[k] = x[k] > lane[k] ? x[k] : lane[k];
    for (size_t k = 0; k < LANES; k++)
        most = MAX(most, lane[k]);
    return most;
}

float logits_max(const float *x, size_t n, float *most)
{
    float all = -INFINITY;
    for (size_t at = 0, b = 0; at < n; at += LOGITS_BLOCK, b++) {
        float m = block_max(x + at, MIN(n - at, (size_t)LOGITS_BLOCK));
        all = MAX(all, m);
        if (most)
            most[b] = m;
    }
    return all;
}

/* 0 for a NaN, which is on neither side of -80.  Without a branch, which would keep the loop from
 * becoming vectors. */
static inline float exp_or_0(float x)
{
    uint32_t keep = -(uint32_t)(x > -80), bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= keep; /* e to the 0 where it will be left out */
    memcpy(&x, &bits, sizeof x);
    float e = small_exp(x);
    memcpy(&bits, &e, sizeof bits);
    bits &= keep;
    memcpy(&e, &bits, sizeof e);
    return e;
}

static double block_exp(float *dst, const float *x, size_t n, float from, float by)
{
    float lane[LANES] = {0};
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        dst[i] = exp_or_0((x[i] - from) * by);
    for (; n >= LANES; n -= LANES, dst += LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] += dst[k];
    for (size_t k = 0; k < n; k++)
        lane[k] += dst[k];
    for (size_t k = 0; k < LANES; k++)
        sum += (double)lane[k];
    return sum;
}

double logits_exp(float *dst, const float *x, size_t n, float from, float by, double *sum)
{
    double all = 0;
    for (size_t at = 0, b = 0; at < n; at += LOGITS_BLOCK, b++) {
        sum[b] = block_exp(dst + at, x + at, MIN(n - at, (size_t)LOGITS_BLOCK), from, by);
        all += sum[b];
    }
    return all;
}

float logits_log_sum(const float *x, size_t n)
{
    float most = logits_max(x, n, NULL), scratch[LOGITS_BLOCK];
    double all = 0;
    if (isinf(most))
        return most;
    for (size_t at = 0; at < n; at += LOGITS_BLOCK)
        all += block_exp(scratch, x + at, MIN(n - at, (size_t)LOGITS_BLOCK), most, 1);
    return (float)((double)most + log(all));
}
