/* SPDX-License-Identifier: MIT
 * vec_c.c - the reference of the vector kernels: plain loops that say what each means. */
#include "kern/kern.h"

#include "base/num.h"
#include "kern/format.h"
#include "kern/kv_q4.h"

#include <math.h>

static void rmsnorm_c(float *dst, const float *src, const float *gain, size_t n, float eps)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)src[i] * (double)src[i];
    float by = (float)(1 / sqrt(sum / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++)
        dst[i] = src[i] * by * gain[i];
}

static void meannorm_c(float *dst, const float *src, const float *gain, size_t n, float eps)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)src[i];
    float mean = (float)(sum / (double)n);
    for (size_t i = 0; i < n; i++)
        squares += (double)(src[i] - mean) * (double)(src[i] - mean);
    float by = (float)(1 / sqrt(squares / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++)
        dst[i] = (src[i] - mean) * by * gain[i];
}

static void add_c(float *dst, const float *src, float by, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] += src[i] * by;
}

static void scale_c(float *dst, float by, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] *= by;
}

static void silu_mul_c(float *dst, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

static void gelu_mul_c(float *dst, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float x = gate[i];
        float u = 0.79788456f * (x + 0.044715f * x * x * x); /* sqrt(2 / pi) */
        dst[i] = x / (1 + expf(-2 * u)) * up[i]; /* 0.5 (1 + tanh u) without cancellation */
    }
}

static void gelu_erf_mul_c(float *dst, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = 0.5f * gate[i] * erfcf(gate[i] * -0.70710678f) * up[i];
}

static void relu2_mul_c(float *dst, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float x = MAX(gate[i], 0);
        dst[i] = x * x * up[i];
    }
}

static void swiglu_oai_c(float *dst, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float g = MIN(gate[i], 7), u = MIN(MAX(up[i], -7), 7);
        dst[i] = g / (1 + expf(-1.702f * g)) * (u + 1);
    }
}

static void xielu_c(float *dst, const float *src, const float *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float x = src[i], low = numbers[1] * (expm1f(MIN(x, numbers[3])) - x);
        dst[i] = (x > 0 ? numbers[0] * x * x : low) + numbers[2] * x;
    }
}

static void clamp_c(float *x, float by, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = MIN(MAX(x[i], -by), by);
}

static void mul_c(float *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] *= src[i];
}

static void sigmoid_mul_c(float *dst, const float *gate, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] /= 1 + expf(-gate[i]);
}

static void exp_c(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = expf(x[i]);
}

static void conv_c(float *dst, const float *const *x, const float *taps, size_t stride,
                   size_t n_taps, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (size_t k = 0; k < n_taps; k++)
            sum += x[k][i] * taps[k * stride + i];
        dst[i] = sum;
    }
}

static void scan_c(float *y, float *h, const struct kern_scan *s)
{
    for (size_t i = 0; i < s->n; i++) {
        double sum = 0;
        for (size_t j = 0; j < s->n_state; j++) {
            float *x = &h[j * s->stride + i];
            *x = *x * s->fade + s->b[j] * s->x[i];
            sum += (double)*x * (double)s->c[j];
        }
        y[i] = (float)sum;
    }
}

static void scan_each_c(float *y, float *h, const struct kern_scan *s)
{
    for (size_t i = 0; i < s->n; i++) {
        double sum = 0;
        for (size_t j = 0; j < s->n_state; j++) {
            float *x = &h[j * s->stride + i];
            *x = *x * expf(s->dt[i] * s->a[j * s->stride + i]) + s->b[j] * s->x[i];
            sum += (double)*x * (double)s->c[j];
        }
        y[i] = (float)sum;
    }
}

static void delta_c(float *y, float *h, const struct kern_delta *s)
{
    for (size_t i = 0; i < s->n_v; i++) {
        double said = 0, sum = 0;
        for (size_t j = 0; j < s->n_k; j++) {
            h[j * s->n_v + i] *= s->fade[j];
            said += (double)h[j * s->n_v + i] * (double)s->k[j];
        }
        float by = s->beta * (float)((double)s->v[i] - said);
        for (size_t j = 0; j < s->n_k; j++) {
            h[j * s->n_v + i] += s->k[j] * by;
            sum += (double)h[j * s->n_v + i] * (double)s->q[j];
        }
        y[i] = (float)sum;
    }
}

static void wkv6_c(float *y, float *h, const struct kern_wkv *s)
{
    for (size_t i = 0; i < s->n_v; i++) {
        double sum = 0;
        for (size_t j = 0; j < s->n_k; j++) {
            float *x = &h[j * s->n_v + i], was = *x, in = s->k[j] * s->v[i];
            *x = was * s->fade[j] + in;
            sum += (double)s->r[j] * (double)(s->first ? was + s->first[j] * in : *x);
        }
        y[i] = (float)sum;
    }
}

static void wkv7_c(float *y, float *h, const struct kern_wkv *s)
{
    for (size_t i = 0; i < s->n_v; i++) {
        double said = 0, sum = 0;
        for (size_t j = 0; j < s->n_k; j++)
            said += (double)h[j * s->n_v + i] * (double)s->away[j];
        for (size_t j = 0; j < s->n_k; j++) {
            float *x = &h[j * s->n_v + i];
            *x = *x * s->fade[j] + s->k[j] * s->v[i] - s->back[j] * (float)said;
            sum += (double)*x * (double)s->r[j];
        }
        y[i] = (float)sum;
    }
}

static void softcap_c(float *x, float cap, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = cap * tanhf(x[i] / cap);
}

static void rope_half_c(float *x, const float *cos_sin, size_t n)
{
    const float *c = cos_sin, *s = cos_sin + n / 2;
    for (size_t i = 0; i < n / 2; i++) {
        float a = x[i], b = x[i + n / 2];
        x[i] = a * c[i] - b * s[i];
        x[i + n / 2] = a * s[i] + b * c[i];
    }
}

static void rope_pair_c(float *x, const float *cos_sin, size_t n)
{
    const float *c = cos_sin, *s = cos_sin + n / 2;
    for (size_t i = 0; i < n / 2; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = a * c[i] - b * s[i];
        x[2 * i + 1] = a * s[i] + b * c[i];
    }
}

static void quantize_c(int8_t *q, float *d, float *sum32, int32_t *neg32, int32_t *neg16,
                       const float *x, size_t n)
{
    for (size_t b = 0; b < n / 32; b++, x += 32, q += 32) {
        float most = 0;
        int sum[2] = {0, 0};
        for (int i = 0; i < 32; i++)
            most = MAX(most, fabsf(x[i]));
        float inverse = most > 0 ? 127 / most : 0;
        d[b] = most / 127;
        for (int i = 0; i < 32; i++) {
            q[i] = (int8_t)rintf(x[i] * inverse);
            sum[i / 16] += q[i];
        }
        sum32[b] = d[b] * (float)(sum[0] + sum[1]);
        neg32[b] = -sum[0] - sum[1];
        neg16[2 * b] = -sum[0];
        neg16[2 * b + 1] = -sum[1];
    }
}

#include "kern/attend_c.inc"

void kern_init_c(struct kern *k)
{
    k->level = CPU_c;
#define KERN(name, args) k->name = name##_c;
#include "kern/kern.def"
#undef KERN
}
