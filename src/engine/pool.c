/* SPDX-License-Identifier: MIT */
#include "engine/pool.h"

#include "base/arena.h"
#include "base/num.h"

#include <math.h>

#define LANES 8

/* Sums side by side, so that the compiler has vectors of them. */
static void apply(const struct model_dense *d, float *dst, const float *src)
{
    for (size_t r = 0; r < d->rows; r++) {
        const float *w = d->weight + r * d->cols;
        float sum[LANES] = {0}, all = d->bias ? d->bias[r] : 0;
        size_t c = 0;
        for (; c + LANES <= d->cols; c += LANES)
            for (size_t i = 0; i < LANES; i++)
                sum[i] += w[c + i] * src[c + i];
        for (; c < d->cols; c++)
            all += w[c] * src[c];
        for (size_t i = 0; i < LANES; i++)
            all += sum[i];
        dst[r] = all;
    }
}

void pool_dense(const struct model *m, float *v)
{
    const struct model_dense *d = m->dense;
    if (!d[0].rows)
        return;
    float *mid = mem_alloc(d[0].rows * sizeof *mid);
    apply(&d[0], mid, v);
    apply(&d[1], v, mid);
    mem_free(mid);
}

static void normalise(const struct model *m, const struct model_norm *norm, float *x, size_t n)
{
    double mean = 0, square = 0;
    for (size_t i = 0; i < n; i++)
        mean += (double)x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        square += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
    for (size_t i = 0; i < n; i++) {
        double by = 1 / sqrt(square + (double)m->norm_eps);
        x[i] = (float)(((double)x[i] - mean) * by) * norm->gain[i];
        x[i] += norm->bias ? norm->bias[i] : 0;
    }
}

float pool_score(const struct model *m, const float *x)
{
    const struct model_head *h = &m->head;
    float *mid = NULL, out[2] = {0};
    CHECK(h->out.rows >= 1 && h->out.rows <= N_ELEMS(out));
    if (h->hidden.rows) {
        mid = mem_alloc(h->hidden.rows * sizeof *mid);
        apply(&h->hidden, mid, x);
        for (size_t i = 0; i < h->hidden.rows; i++)
            mid[i] = h->norm.gain ? mid[i] * (1 + erff(mid[i] * (float)M_SQRT1_2)) / 2
                                  : tanhf(mid[i]);
        if (h->norm.gain)
            normalise(m, &h->norm, mid, h->hidden.rows);
    }
    apply(&h->out, out, mid ? mid : x);
    mem_free(mid);
    return h->out.rows == 2 ? out[0] - out[1] : out[0];
}
