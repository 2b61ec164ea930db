/* SPDX-License-Identifier: MIT
 * kern.h - the vector kernels: a table of functions for one instruction-set level.
 *
 * Does: numbers in, numbers out.  Does not: allocate, keep state, start threads.
 * kern.def lists them; the arguments mean:
 *   rmsnorm    dst[n] = src[n] / sqrt(mean(src^2) + eps) * gain[n]; dst may be src
 *   meannorm   the same of src - mean(src) (LayerNorm, Ba et al. 2016)
 *   add        dst[n] += src[n] * by
 *   scale      dst[n] *= by
 *   silu_mul   dst[n] = gate / (1 + exp(-gate)) * up; dst may be gate or up
 *   gelu_mul   dst[n] = gelu(gate) * up, the tanh form (Hendrycks and Gimpel 2016, eq. 2)
 *   gelu_erf_mul  the exact form: gate * (1 + erf(gate / sqrt 2)) / 2 * up
 *   relu2_mul  max(gate, 0)^2 * up (So et al. 2021)
 *   swiglu_oai g * sigmoid(1.702 g) * (u + 1), g = min(gate, 7), u = up within 7 (gpt-oss)
 *   xielu      x > 0: numbers[0] x^2 + numbers[2] x, else numbers[1] (e^min(x, numbers[3]) - 1 - x)
 *              + numbers[2] x (Huang and Schlag 2024)
 *   clamp      x[n] within -by and by
 *   mul        dst[n] *= src[n]
 *   sigmoid_mul  dst[n] *= 1 / (1 + exp(-gate[n]))
 *   exp        x[n] = e^x
 *   conv       dst[n] = sum of x[k][n] * taps[k * stride + n] over k, in order
 *   scan       a head's step of a state space, see struct kern_scan
 *   scan_each  the same for channels that fade by themselves
 *   delta      a head's step of the gated delta rule, see struct kern_delta
 *   wkv6, wkv7  a head's step of RWKV's states, see struct kern_wkv
 *   softcap    x[n] = cap * tanh(x / cap)
 *   rope_half  turns the pairs (x[i], x[i + n/2]) by the angles whose cosines are cos_sin[i] and
 *              sines cos_sin[n/2 + i], i < n/2 (the NeoX order)
 *   rope_pair  the same for the pairs (x[2i], x[2i + 1])
 *   quantize   x[n] as 8-bit integers with a scale for each 32, see struct mm_act; n % 32 == 0
 *   put_k, put_v  floats into a page, see struct kern_put
 *   index      a page's positions by what chooses among them, see struct kern_index
 *   attend     softmax(q K^T) V over pages, see struct kern_attend
 *   attend_parts  the same for each of n parts of KERN_PART positions alone, from number `part` on,
 *              not yet divided by the sum: dst [n][n_q][2 + v_dim] are maximum, sum, result
 *   attend_join  out of the parts 0 to n_parts - 1, [n_parts][n_q][2 + v_dim]: what attend gives,
 * to the bit; it needs no pages, and neither ranges nor scratch */
#ifndef KERN_KERN_H
#define KERN_KERN_H

#include "cpu/cpu.h"

#include <stddef.h>
#include <stdint.h>

#define KERN_PAGE   64  /* positions of a page of keys and values */
#define KERN_PART   256 /* positions of a part of attention: whole pages */
#define KERN_BLOCK  24  /* queries whose scores of a part are kept at once */
#define KERN_KV_ALL SIZE_MAX

enum kern_kv {
#define KV(name, bits, k_sub, v_sub, text) KERN_KV_##name,
#include "kern/kv.def"
#undef KV
    KERN_KV_N
};

/* A page of one head's keys: [k_dim][KERN_PAGE] numbers, then, where the format has scales,
 * [k_dim / 32, rounded up][KERN_PAGE] of them in binary16.  Of its values: [KERN_PAGE][kern_v_row]
 * numbers, then [KERN_PAGE] scales.  q4 has others (kv_q4.h).  All are multiples of 64 bytes. */
size_t kern_k_bytes(enum kern_kv kv, size_t k_dim);
size_t kern_v_bytes(enum kern_kv kv, size_t v_dim);
const char *kern_kv_name(enum kern_kv kv);
/* -1 for an unknown name. */
int kern_kv_named(const char *name);

/* Numbers from a position's values to the next one's: whole vectors of every level. */
static inline size_t kern_v_row(size_t v_dim)
{
    return (v_dim + 15) / 16 * 16;
}

/* Keys or values of n positions, slot and after of a page. */
struct kern_put {
    enum kern_kv kv;
    void *page; /* of keys for put_k, of values for put_v */
    size_t slot, n, dim;
    const float *x; /* [n][stride], the first dim of a row count */
    size_t stride;
};

/* Some queries that look at the same keys and values: heads of a group, tokens of a sequence.
 * Each query's result depends on itself and its range alone, to the bit. */
struct kern_attend {
    enum kern_kv kv;
    size_t n_q;
    size_t k_dim, v_dim;
    const float *const *q;    /* [n_q] -> [k_dim] */
    float *const *out;        /* [n_q] -> [v_dim] */
    const int32_t *from, *to; /* [n_q]: the visible positions are from <= p < to */
    size_t n_pages;
    const void *const *k; /* [n_pages]: pages of keys; those that nobody sees are not looked at */
    const void *const *v; /* [n_pages]: pages of values */
    float scale;          /* of q.k; more than 0 */
    float softcap;        /* cap of the scaled scores; 0: none */
    const float *sink;    /* [n_q] or NULL: a score beside those of the positions, of no value */
    const float *slope;   /* [n_q] or NULL: a score falls by this a position away from `at` */
    const float *grow;    /* [n_q] or NULL: the score, capped, is multiplied by this; more than 0 */
    const int32_t *at;    /* [n_q], with slope: the queries' own positions; NULL: to - 1 */
    float *scratch;       /* kern_attend_scratch floats */
};

/* score[t] = sum of weight[h] * max(q[h] . k of position t, 0) over h, in order, for the KERN_PAGE
 * positions t of a page; those that hold nothing get a score of no meaning. */
struct kern_index {
    size_t n_heads, dim;
    const float *q, *weight; /* [n_heads][dim], [n_heads] */
    const void *k;           /* a page of keys in binary16 */
};

/* The places of the k largest of n > k numbers, ascending; of equal ones the first.  NaN has a
 * place beyond the infinities. */
void kern_choose(const float *x, size_t n, size_t k, int32_t *out);

/* Copies keys or values of positions at[0] to at[n - 1] of a page to slot `slot` and after of
 * another. */
struct kern_take {
    enum kern_kv kv;
    size_t dim;
    void *to;
    const void *from;
    size_t slot, n;
    const uint8_t *at;
};
void kern_take_k(const struct kern_take *t);
void kern_take_v(const struct kern_take *t);

/* The position of query i. */
static inline int32_t kern_attend_at(const struct kern_attend *a, size_t i)
{
    return a->at ? a->at[i] : a->to[i] - 1;
}

/* h[j][i] = fade * h[j][i] + b[j] * x[i], y[i] = sum of c[j] * h[j][i] over j, for i < n and
 * j < n_state; h at h[j * stride + i].  scan: fade is one number; scan_each: e^(dt[i] * a[j *
 * stride
 * + i]).  Lanes are i, so that a number's bits depend on its own column alone. */
struct kern_scan {
    size_t n_state, n, stride;
    const float *x, *b, *c;
    float fade;
    const float *dt, *a;
};

/* h[j][i] *= fade[j]; then h[j][i] += k[j] * beta * (v[i] - sum of k[l] * h[l][i] over l); then
 * y[i] = sum of q[j] * h[j][i] over j (Yang, Kautz and Hatamizadeh 2024, eq. 10). */
struct kern_delta {
    size_t n_k, n_v;
    const float *q, *k, *v, *fade; /* [n_k], [n_k], [n_v], [n_k] */
    float beta;
};

/* wkv6 (Peng et al. 2024): y[i] = sum of r[j] * (h[j][i] + first[j] * k[j] * v[i]) over j, and then
 * h[j][i] = fade[j] * h[j][i] + k[j] * v[i]; where first is NULL, y is what r reads of that (gated
 * linear attention, Yang et al. 2024).
 * wkv7 (Peng et al. 2025): h[j][i] = fade[j] * h[j][i] + k[j] * v[i] - back[j] * sum of away[l] *
 * h[l][i] over l, and y[i] = sum of r[j] * h[j][i] over j. */
struct kern_wkv {
    size_t n_k, n_v;
    const float *r, *k, *v, *fade;    /* [n_k], [n_k], [n_v], [n_k] */
    const float *first, *away, *back; /* [n_k] */
};

/* n_q: of the largest call. */
size_t kern_attend_scratch(enum kern_kv kv, size_t n_q, size_t k_dim, size_t v_dim);

struct kern {
    enum cpu_level level;
#define KERN(name, args) void(*name) args;
#include "kern/kern.def"
#undef KERN
};

/* Fills the table for a level that this machine has (cpu_capped). */
void kern_init(struct kern *k, enum cpu_level level);

/* Each level's own part, called by kern_init only. */
void kern_init_c(struct kern *k);
void kern_init_avx2(struct kern *k);
void kern_init_avx512(struct kern *k);
void kern_init_avx512vnni(struct kern *k);
void kern_init_neon(struct kern *k);

#endif
