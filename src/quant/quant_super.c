/* SPDX-License-Identifier: MIT
 * quant_super.c - the search of a super-block.
 *
 * Each sub-block alone says which scale (and minimum) it would have.  The super-block's scale is
 * then such that the largest of them is the last whole number.  In turns, every sub-block takes of
 * the whole numbers around its wish the best pair, and the super-block's scales are solved for by
 * least squares over all 256 codes. */
#include "quant/quant_super.h"

#include "base/num.h"
#include "kern/format.h"

#include <math.h>

#define SUPER_TURNS 3

struct wish {
    float d[16], m[16];
};

static float as_half(float x, uint16_t *bits)
{
    *bits = half_from_float(x);
    return half_to_float(*bits);
}

static int to_int(float x, int lo, int hi)
{
    return !(x > (float)lo) ? lo : x >= (float)hi ? hi : (int)lrintf(x);
}

/* The super-block's scales from the sub-blocks' wishes. */
static void begin(struct quant_super *s, const struct wish *wish, float *d, float *dmin)
{
    float most = 0, least = 0;
    for (int i = 0; i < QUANT_SUPER / s->sub; i++) {
        if (fabsf(wish->d[i]) > fabsf(most))
            most = wish->d[i];
        least = MIN(least, wish->m[i]);
    }
    int last = s->has_min || s->scale_lo == 0 ? s->scale_hi : s->scale_lo;
    *d = as_half(most / (float)last, &s->d);
    *dmin = as_half(-least / (float)s->scale_hi, &s->dmin);
}

/* The best whole numbers for sub-block i; gives the error. */
static float choose(struct quant_super *s, const struct wish *wish, int i, const float *x,
                    const float *w, float d, float dmin)
{
    const int at = i * s->sub;
    int scale = d != 0 ? to_int(wish->d[i] / d, s->scale_lo, s->scale_hi) : 0;
    int min = s->has_min && dmin != 0 ? to_int(-wish->m[i] / dmin, 0, s->scale_hi) : 0;
    const int wide = s->has_min ? 1 : 0;
    float best = INFINITY;
    for (int a = MAX(scale - 1, s->scale_lo); a <= MIN(scale + 1, s->scale_hi); a++)
        for (int b = MAX(min - wide, 0); b <= MIN(min + wide, s->scale_hi); b++) {
            float err = quant_error(&s->grid, x + at, w + at, s->sub, d * (float)a,
                                    -dmin * (float)b);
            if (err < best)
                best = err, s->scale[i] = a, s->min[i] = b;
        }
    return best;
}

static void put_values(struct quant_super *s, const float *x, float d, float dmin)
{
    for (int e = 0; e < QUANT_SUPER; e++) {
        float step = d * (float)s->scale[e / s->sub], low = -dmin * (float)s->min[e / s->sub];
        s->value[e] = (int8_t)quant_value(&s->grid, x[e] - low, step != 0 ? 1 / step : 0);
    }
}

/* d and dmin that are best for the values and whole numbers there are. */
static void solve(const struct quant_super *s, const float *x, const float *w, float *d,
                  float *dmin)
{
    double pp = 0, pm = 0, mm = 0, xp = 0, xm = 0;
    for (int e = 0; e < QUANT_SUPER; e++) {
        double p = (double)s->scale[e / s->sub] * s->value[e], m = -(double)s->min[e / s->sub];
        pp += (double)w[e] * p * p, pm += (double)w[e] * p * m, mm += (double)w[e] * m * m;
        xp += (double)w[e] * (double)x[e] * p, xm += (double)w[e] * (double)x[e] * m;
    }
    double det = pp * mm - pm * pm;
    if (s->has_min && det > 1e-9 * pp * mm) {
        *d = (float)((mm * xp - pm * xm) / det);
        *dmin = (float)((pp * xm - pm * xp) / det);
    } else if (pp > 0) {
        *d = (float)((xp - (double)*dmin * pm) / pp);
    }
}

void quant_super_fit(struct quant_super *s, const float *x, const float *w)
{
    struct wish wish = {{0}, {0}};
    struct quant_super best = *s;
    float least = INFINITY, d, dmin;
    for (int i = 0; i < QUANT_SUPER / s->sub; i++)
        if (s->has_min)
            quant_fit_range(x + i * s->sub, w + i * s->sub, s->sub, s->grid.hi, 1, &wish.d[i],
                            &wish.m[i]);
        else
            wish.d[i] = quant_fit_scale(&s->grid, x + i * s->sub, w + i * s->sub, s->sub);
    begin(s, &wish, &d, &dmin);
    for (int turn = 0; turn < SUPER_TURNS; turn++) {
        float err = 0;
        for (int i = 0; i < QUANT_SUPER / s->sub; i++)
            err += choose(s, &wish, i, x, w, d, dmin);
        put_values(s, x, d, dmin);
        if (!(err < least))
            break;
        least = err, best = *s;
        solve(s, x, w, &d, &dmin);
        d = as_half(d, &s->d), dmin = as_half(MAX(dmin, 0), &s->dmin);
    }
    *s = best;
}
