/* SPDX-License-Identifier: MIT
 * pairs_avx512bf16.c - pairs.h by vdpbf16ps.
 *
 * As in attend.inc, positions are taken in parts of KERN_PART that are joined by their maxima, and
 * blocks of KERN_BLOCK queries go over a part together.  Lanes are positions in the scores,
 * dimensions in the result; a tile of sums stays in registers: 6 queries x 64 positions, or 5
 * queries x 80 dimensions.  Scores are logarithms to base 2: the queries are scaled so. */
#include "base/err.h"
#include "base/num.h"
#include "kern/lanes_avx512.inc"
#include "kern/pairs.h"

#include <string.h>

#define PAIRS_Q  6 /* queries of a tile of scores */
#define PAIRS_QV 5 /* of a tile of results */
#define PAIRS_W  (KERN_PAGE / V_LEN)
#define PAIRS_NV 5 /* vectors of a tile of results */
#define PAGES    (KERN_PART / KERN_PAGE)
#define NEVER    (-1e30f) /* the maximum of no scores */
#define LOG2_E   1.44269504f

struct part {
    const struct kern_attend *a;
    int32_t start;                   /* of its positions */
    const char *k[PAGES], *v[PAGES]; /* pages */
    size_t k_pairs, v_row;
    uint32_t *q;              /* [n_q][k_pairs] */
    float *score;             /* [KERN_BLOCK][KERN_PART] */
    uint32_t *weight;         /* [KERN_BLOCK][KERN_PART / 2] pairs of positions */
    float *o, *most, *sum;    /* of all parts so far: [n_q][v_row], [n_q], [n_q] */
    float factor[KERN_BLOCK]; /* of o, since a maximum grew */
    int t0, t1;               /* positions that some query of the block sees */
};

ALWAYS __m512bh pairs(vi x)
{
    return (__m512bh)x;
}

/* 32 floats as 16 pairs. */
ALWAYS vi to_pairs(vf low, vf high)
{
    return (vi)_mm512_cvtne2ps_pbh(high, low);
}

/* n numbers, an even number of them, times `by`, as pairs. */
static void row_to_pairs(uint32_t *to, const float *x, size_t n, vf by)
{
    size_t i = 0;
    for (; i + 2 * V_LEN <= n; i += 2 * V_LEN)
        vi_store(to + i / 2, to_pairs(vf_load(x + i) * by, vf_load(x + i + V_LEN) * by));
    if (i == n)
        return;
    __mmask32 some = (__mmask32)((1ull << (n - i)) - 1);
    vf low = _mm512_maskz_loadu_ps((__mmask16)some, x + i);
    vf high = _mm512_maskz_loadu_ps((__mmask16)(some >> 16), x + i + V_LEN);
    _mm512_mask_storeu_epi32(to + i / 2, (__mmask16)((1u << (n - i) / 2) - 1),
                             to_pairs(low * by, high * by));
}

/* ---- storing ---- */

static void put_k(const struct kern_put *p)
{
    uint32_t pair[V_LEN], *page = p->page;
    for (size_t s = 0; s < p->n; s++)
        for (size_t d = 0, n; d < p->dim; d += n) {
            n = MIN(p->dim - d, (size_t)2 * V_LEN);
            row_to_pairs(pair, p->x + s * p->stride + d, n, vf_set(1));
            for (size_t i = 0; i < n / 2; i++)
                page[(d / 2 + i) * KERN_PAGE + p->slot + s] = pair[i];
        }
}

ALWAYS vi halves(const float *x, size_t left)
{
    __mmask16 some = (__mmask16)(left >= V_LEN ? 0xffff : (1u << left) - 1);
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(some, x)));
}

/* One position: its neighbour's numbers may be another thread's. */
static void put_v_one(const struct kern_put *p, size_t slot, const float *x)
{
    size_t row = kern_v_row(p->dim);
    uint16_t *to = (uint16_t *)p->page + slot / 2 * row * 2 + slot % 2;
    uint32_t one[V_LEN];
    for (size_t d = 0; d < row; d += V_LEN) {
        vi_store(one, halves(x + d, p->dim - MIN(d, p->dim)));
        for (size_t i = 0; i < V_LEN; i++)
            to[(d + i) * 2] = (uint16_t)one[i];
    }
}

static void put_v(const struct kern_put *p)
{
    size_t row = kern_v_row(p->dim), step;
    for (size_t s = 0; s < p->n; s += step) {
        size_t slot = p->slot + s;
        const float *x = p->x + s * p->stride;
        step = slot % 2 == 0 && s + 1 < p->n ? 2 : 1;
        if (step == 1) {
            put_v_one(p, slot, x);
            continue;
        }
        uint32_t *to = (uint32_t *)p->page + slot / 2 * row;
        for (size_t d = 0; d < row; d += V_LEN) {
            size_t left = p->dim - MIN(d, p->dim);
            vi odd = halves(x + p->stride + d, left);
            vi_store(to + d, vi_or(halves(x + d, left), vi_shl(odd, 16)));
        }
    }
}

/* ---- scores ---- */

/* to[nq][stride] = sums of nq rows of n pairs with 64 columns of as many. */
ALWAYS void tile(const int nq, const uint32_t *q, size_t q_stride, size_t n, const char *cols,
                 float *to, size_t stride)
{
    vf c[PAIRS_Q][PAIRS_W];
#pragma GCC unroll 8
    for (int j = 0; j < nq; j++)
#pragma GCC unroll 4
        for (int w = 0; w < PAIRS_W; w++)
            c[j][w] = vf_set(0);
    for (size_t i = 0; i < n; i++, cols += PAIRS_W * V_LEN * 4) {
        vi b[PAIRS_W];
#pragma GCC unroll 4
        for (int w = 0; w < PAIRS_W; w++)
            b[w] = vi_load(cols + w * V_LEN * 4);
#pragma GCC unroll 8
        for (int j = 0; j < nq; j++) {
            vi x = _mm512_set1_epi32((int)q[(size_t)j * q_stride + i]);
#pragma GCC unroll 4
            for (int w = 0; w < PAIRS_W; w++)
                c[j][w] = _mm512_dpbf16_ps(c[j][w], pairs(b[w]), pairs(x));
        }
    }
#pragma GCC unroll 8
    for (int j = 0; j < nq; j++)
#pragma GCC unroll 4
        for (int w = 0; w < PAIRS_W; w++)
            vf_store(to + (size_t)j * stride + w * V_LEN, c[j][w]);
}

ALWAYS void tile_of(size_t nq, const uint32_t *q, size_t q_stride, size_t n, const char *cols,
                    float *to, size_t stride)
{
    switch (nq) {
    case 1: tile(1, q, q_stride, n, cols, to, stride); break;
    case 2: tile(2, q, q_stride, n, cols, to, stride); break;
    case 3: tile(3, q, q_stride, n, cols, to, stride); break;
    case 4: tile(4, q, q_stride, n, cols, to, stride); break;
    case 5: tile(5, q, q_stride, n, cols, to, stride); break;
    default: tile(6, q, q_stride, n, cols, to, stride); break;
    }
}

static void scores_of(const struct part *p, size_t first, size_t n)
{
    for (int page = p->t0 / KERN_PAGE; page * KERN_PAGE < p->t1; page++)
        for (size_t i = 0; i < n; i += PAIRS_Q)
            tile_of(MIN(n - i, (size_t)PAIRS_Q), p->q + (first + i) * p->k_pairs, p->k_pairs,
                    p->k_pairs, p->k[page], p->score + i * KERN_PART + page * KERN_PAGE, KERN_PART);
}

/* ---- weights ---- */

/* 2^x, x <= 0, within 1e-6 of itself: the series of e^(r ln 2). */
ALWAYS vf power(vf x)
{
    vf n = vf_round(x), r = x - n;
    vf p = vf_set(1.3333558e-3f);
    p = vf_fma(p, r, vf_set(9.6181291e-3f));
    p = vf_fma(p, r, vf_set(5.5504109e-2f));
    p = vf_fma(p, r, vf_set(2.4022651e-1f));
    p = vf_fma(p, r, vf_set(6.9314718e-1f));
    p = vf_fma(p, r, vf_set(1));
    return vf_ldexp(p, n);
}

/* Lanes of vector w whose positions are in [lo, hi). */
ALWAYS __mmask16 seen(int w, int lo, int hi)
{
    int from = MIN(MAX(lo - w * V_LEN, 0), V_LEN), to = MIN(MAX(hi - w * V_LEN, 0), V_LEN);
    return (__mmask16)(((1u << to) - 1) & ~((1u << from) - 1));
}

/* Scores of positions [lo, hi) become weights, those of the others 0, from vector w0 to w1, which
 * are even.  *most: of all scores so far; gives the weights' sum. */
ALWAYS float weigh(const float *s, uint32_t *to, int w0, int w1, int lo, int hi, const bool all,
                   float *most)
{
    vf top = vf_set(*most), sum = vf_set(0), x[2];
    for (int w = w0; w < w1; w++)
        top = all ? vf_max(top, vf_load(s + w * V_LEN))
                  : _mm512_mask_max_ps(top, seen(w, lo, hi), top, vf_load(s + w * V_LEN));
    *most = vf_hmax(top);
    top = vf_set(*most);
    for (int w = w0; w < w1; w += 2) {
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            x[i] = power(vf_load(s + (w + i) * V_LEN) - top);
            if (!all)
                x[i] = _mm512_maskz_mov_ps(seen(w + i, lo, hi), x[i]);
            sum = sum + x[i];
        }
        vi_store(to + w * V_LEN / 2, to_pairs(x[0], x[1]));
    }
    return vf_sum(sum);
}

/* What query i sees of the part. */
static void range_of(const struct part *p, size_t i, int *lo, int *hi)
{
    *lo = MIN(MAX(p->a->from[i] - p->start, 0), KERN_PART);
    *hi = MAX(MIN(p->a->to[i] - p->start, KERN_PART), *lo);
}

static void weights_of(struct part *p, size_t first, size_t n)
{
    int w0 = p->t0 / (2 * V_LEN) * 2, w1 = (p->t1 + 2 * V_LEN - 1) / (2 * V_LEN) * 2;
    for (size_t j = 0; j < n; j++) {
        float *most = &p->most[first + j], before = *most, sum;
        const float *s = p->score + j * KERN_PART;
        uint32_t *to = p->weight + j * (KERN_PART / 2);
        int lo, hi;
        range_of(p, first + j, &lo, &hi);
        if (lo <= w0 * V_LEN && hi >= w1 * V_LEN)
            sum = weigh(s, to, w0, w1, lo, hi, true, most);
        else
            sum = weigh(s, to, w0, w1, lo, hi, false, most);
        float out[V_LEN];
        vf_store(out, power(vf_set(before - *most)));
        p->factor[j] = out[0];
        p->sum[first + j] = p->sum[first + j] * out[0] + sum;
    }
}

/* ---- results ---- */

/* Sums of nq queries and nv vectors of dimensions: c += weights x a pair of positions. */
ALWAYS void values_step(vf c[PAIRS_QV][PAIRS_NV], const int nq, const int nv,
                        const uint32_t *weight, const uint32_t *v, const bool half)
{
    vi b[PAIRS_NV];
#pragma GCC unroll 8
    for (int w = 0; w < nv; w++) {
        b[w] = vi_load(v + w * V_LEN);
        if (half) /* behind the last position there may be anything */
            b[w] = vi_and(b[w], _mm512_set1_epi32(0xffff));
    }
#pragma GCC unroll 8
    for (int j = 0; j < nq; j++) {
        vi x = _mm512_set1_epi32((int)weight[j * (KERN_PART / 2)]);
#pragma GCC unroll 8
        for (int w = 0; w < nv; w++)
            c[j][w] = _mm512_dpbf16_ps(c[j][w], pairs(b[w]), pairs(x));
    }
}

/* o = o * factor + weights x values; at: the first of the dimensions. */
ALWAYS void values_tile(const struct part *p, const int nq, const int nv, size_t j0, float *o,
                        size_t at)
{
    vf c[PAIRS_QV][PAIRS_NV];
#pragma GCC unroll 8
    for (int j = 0; j < nq; j++)
#pragma GCC unroll 8
        for (int w = 0; w < nv; w++)
            c[j][w] = vf_load(o + (size_t)j * p->v_row + w * V_LEN) *
                      vf_set(p->factor[j0 + (size_t)j]);
    for (int page = p->t0 / KERN_PAGE; page * KERN_PAGE < p->t1; page++) {
        int t = MAX(p->t0 - page * KERN_PAGE, 0) / 2;
        int to = MIN(p->t1 - page * KERN_PAGE, KERN_PAGE);
        const uint32_t *weight = p->weight + j0 * (KERN_PART / 2) + page * KERN_PAGE / 2;
        const uint32_t *v = (const uint32_t *)(const void *)p->v[page] + at;
        for (; t < to / 2; t++)
            values_step(c, nq, nv, weight + t, v + (size_t)t * p->v_row, false);
        if (to % 2)
            values_step(c, nq, nv, weight + t, v + (size_t)t * p->v_row, true);
    }
#pragma GCC unroll 8
    for (int j = 0; j < nq; j++)
#pragma GCC unroll 8
        for (int w = 0; w < nv; w++)
            vf_store(o + (size_t)j * p->v_row + w * V_LEN, c[j][w]);
}

ALWAYS void values_some(const struct part *p, size_t nq, const int nv, size_t j0, float *o,
                        size_t at)
{
    switch (nq) {
    case 1: values_tile(p, 1, nv, j0, o, at); break;
    case 2: values_tile(p, 2, nv, j0, o, at); break;
    case 3: values_tile(p, 3, nv, j0, o, at); break;
    case 4: values_tile(p, 4, nv, j0, o, at); break;
    default: values_tile(p, 5, nv, j0, o, at); break;
    }
}

static void values_of(const struct part *p, size_t first, size_t n)
{
    const size_t vectors = p->v_row / V_LEN;
    for (size_t w = 0, nv; w < vectors; w += nv) {
        nv = MIN(vectors - w, (size_t)PAIRS_NV);
        for (size_t j = 0; j < n; j += PAIRS_QV) {
            float *o = p->o + (first + j) * p->v_row + w * V_LEN;
            size_t nq = MIN(n - j, (size_t)PAIRS_QV), at = w * V_LEN;
            switch (nv) {
            case 1: values_some(p, nq, 1, j, o, at); break;
            case 2: values_some(p, nq, 2, j, o, at); break;
            case 3: values_some(p, nq, 3, j, o, at); break;
            case 4: values_some(p, nq, 4, j, o, at); break;
            default: values_some(p, nq, 5, j, o, at); break;
            }
        }
    }
}

/* ---- all ---- */

static void lay_out(struct part *p, const struct kern_attend *a)
{
    *p = (struct part){.a = a, .k_pairs = a->k_dim / 2, .v_row = kern_v_row(a->v_dim)};
    p->q = (uint32_t *)a->scratch;
    p->score = a->scratch + a->n_q * p->k_pairs;
    p->weight = (uint32_t *)(p->score + KERN_BLOCK * KERN_PART);
    p->o = p->score + KERN_BLOCK * (KERN_PART + KERN_PART / 2);
    p->most = p->o + a->n_q * p->v_row;
    p->sum = p->most + a->n_q;
    memset(p->o, 0, a->n_q * p->v_row * sizeof *p->o);
    vf by = vf_set(a->scale * LOG2_E);
    for (size_t i = 0; i < a->n_q; i++) {
        p->most[i] = NEVER;
        p->sum[i] = 0;
        row_to_pairs(p->q + i * p->k_pairs, a->q[i], a->k_dim, by);
    }
}

/* Makes p part number `part` for queries [first, first + n); false: none of them sees any of it. */
static bool open_block(struct part *p, size_t part, size_t first, size_t n)
{
    p->start = (int32_t)(part * KERN_PART);
    p->t0 = KERN_PART;
    p->t1 = 0;
    for (size_t i = first; i < first + n; i++) {
        int lo, hi;
        range_of(p, i, &lo, &hi);
        p->t0 = lo < hi ? MIN(p->t0, lo) : p->t0;
        p->t1 = lo < hi ? MAX(p->t1, hi) : p->t1;
    }
    for (size_t i = 0; i < PAGES && part * PAGES + i < p->a->n_pages; i++) {
        p->k[i] = p->a->k[part * PAGES + i];
        p->v[i] = p->a->v[part * PAGES + i];
    }
    return p->t0 < p->t1;
}

static void attend(const struct kern_attend *a)
{
    struct part p;
    CHECK(a->softcap == 0 && !a->sink && !a->slope && !a->grow && a->k_dim % 2 == 0);
    lay_out(&p, a);
    for (size_t part = 0; part * PAGES < a->n_pages; part++)
        for (size_t i = 0, n; i < a->n_q; i += n) {
            n = MIN(a->n_q - i, (size_t)KERN_BLOCK);
            if (!open_block(&p, part, i, n))
                continue;
            scores_of(&p, i, n);
            weights_of(&p, i, n);
            values_of(&p, i, n);
        }
    for (size_t i = 0; i < a->n_q; i++) {
        vf by = vf_set(p.sum[i] > 0 ? 1 / p.sum[i] : 0);
        for (size_t d = 0; d < a->v_dim; d += V_LEN) {
            __mmask16 some = seen(0, 0, (int)MIN(a->v_dim - d, (size_t)V_LEN));
            _mm512_mask_storeu_ps(a->out[i] + d, some, vf_load(p.o + i * p.v_row + d) * by);
        }
    }
}

/* ---- matrices ---- */

_Static_assert(PAIRS_ROWS == PAIRS_W * V_LEN && KERN_PAGE == PAIRS_ROWS, "tile");

/* A token's sums of a panel, whose first row is r. */
static void put_sums(const struct mm_job *job, size_t token, size_t r, const float *sum)
{
    float *dst = job->dst + token * job->dst_stride + r;
    size_t n = MIN(job->n_rows - r, (size_t)PAIRS_ROWS);
    for (size_t i = 0; i < n; i += V_LEN) {
        __mmask16 some = seen(0, 0, (int)MIN(n - i, (size_t)V_LEN));
        vf x = vf_load(sum + i);
        if (job->bias)
            x = x + _mm512_maskz_loadu_ps(some, job->bias + r + i);
        if (job->add)
            x = x + _mm512_maskz_loadu_ps(some, dst + i);
        _mm512_mask_storeu_ps(dst + i, some, x);
    }
}

void pairs_row_avx512bf16(uint32_t *to, const float *x, size_t n)
{
    row_to_pairs(to, x, n, vf_set(1));
}

/* A panel stays in the second cache, and the tokens stream. */
void pairs_mm_avx512bf16(const struct mm_job *job, const uint32_t *x, size_t from, size_t to)
{
    const size_t k = job->k / 2;
    float sums[PAIRS_Q * PAIRS_ROWS];
    for (size_t r = from; r < to; r += PAIRS_ROWS)
        for (size_t t = 0, n; t < job->n_tokens; t += n) {
            const char *panel = (const char *)job->weights + r * k * sizeof(uint32_t);
            n = MIN(job->n_tokens - t, (size_t)PAIRS_Q);
            tile_of(n, x + t * k, k, k, panel, sums, PAIRS_ROWS);
            for (size_t j = 0; j < n; j++)
                put_sums(job, t + j, r, sums + j * PAIRS_ROWS);
        }
}

void pairs_use_avx512bf16(struct kern *k)
{
    k->put_k = put_k;
    k->put_v = put_v;
    k->attend = attend;
}
