/* SPDX-License-Identifier: MIT
 * quant_fit.c - candidates, and the least-squares solution for each. */
#include "quant/quant_fit.h"

#include "base/num.h"

#include <math.h>

#define FIT_STEPS  13    /* candidates of a scale on each side */
#define FIT_FIRST  0.76f /* of what puts the largest number on the last code */
#define FIT_STEP   0.03f
#define FIT_REFINE 3

/* To the nearest whole number, of |x| < 2^22, by the adder. */
static float nearest(float x)
{
    return (x + 12582912.0f) - 12582912.0f;
}

/* What is no number becomes lo: values are looked up by the result. */
static float clamp(float x, float lo, float hi)
{
    return x > lo ? (x < hi ? x : hi) : lo;
}

int quant_value(const struct quant_grid *g, float x, float by)
{
    int v = (int)nearest(clamp(x * by, (float)g->lo, (float)g->hi));
    return g->near ? g->near[v + 128] : v;
}

/* Sums over the numbers with the values that x * by is nearest to. */
struct sums {
    float xv, vv;
};

static struct sums sums_of(const struct quant_grid *g, const float *x, const float *w, int n,
                           float by)
{
    const float lo = (float)g->lo, hi = (float)g->hi;
    struct sums s = {0, 0};
    if (g->near) {
        for (int i = 0; i < n; i++) {
            float v = (float)quant_value(g, x[i], by);
            s.xv += w[i] * x[i] * v;
            s.vv += w[i] * v * v;
        }
        return s;
    }
    for (int i = 0; i < n; i++) {
        float v = nearest(clamp(x[i] * by, lo, hi));
        s.xv += w[i] * x[i] * v;
        s.vv += w[i] * v * v;
    }
    return s;
}

/* What a scale takes off the sum of squares: the more the better. */
static float gain_of(struct sums s)
{
    return s.vv > 0 ? s.xv * s.xv / s.vv : 0;
}

float quant_fit_scale(const struct quant_grid *g, const float *x, const float *w, int n)
{
    float most = 0, best = 0, d = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(most))
            most = x[i];
    if (!(fabsf(most) > 1e-30f))
        return 0;
    for (int side = 0; side < 2; side++)
        for (int k = 0; k < FIT_STEPS; k++) {
            float by = (float)(side ? g->hi : g->lo) * (FIT_FIRST + FIT_STEP * (float)k) / most;
            struct sums s = sums_of(g, x, w, n, by);
            if (gain_of(s) > best)
                best = gain_of(s), d = s.xv / s.vv;
        }
    for (int k = 0; k < FIT_REFINE && d != 0; k++) {
        struct sums s = sums_of(g, x, w, n, 1 / d);
        if (!(gain_of(s) > best))
            break;
        best = gain_of(s), d = s.xv / s.vv;
    }
    return d;
}

/* The sums of a range's candidate: codes q of (x - from) * by. */
struct range_sums {
    float w, x, q, qq, xq;
};

static struct range_sums range_sums_of(const float *x, const float *w, int n, float hi, float from,
                                       float by)
{
    struct range_sums s = {0, 0, 0, 0, 0};
    for (int i = 0; i < n; i++) {
        float q = nearest(clamp((x[i] - from) * by, 0, hi));
        s.w += w[i];
        s.x += w[i] * x[i];
        s.q += w[i] * q;
        s.qq += w[i] * q * q;
        s.xq += w[i] * x[i] * q;
    }
    return s;
}

/* The best d and m for a candidate's codes; gives what they take off the sum of squares. */
static double solve_range(const struct range_sums *s, int negative, float *d, float *m)
{
    double det = (double)s->w * (double)s->qq - (double)s->q * (double)s->q;
    double a = 0, b = s->w > 0 ? (double)s->x / (double)s->w : 0;
    if (det > 1e-9 * (double)s->w * (double)s->qq) {
        a = ((double)s->w * (double)s->xq - (double)s->x * (double)s->q) / det;
        b = ((double)s->qq * (double)s->x - (double)s->q * (double)s->xq) / det;
    }
    if (negative && b > 0) {
        b = 0;
        a = s->qq > 0 ? (double)s->xq / (double)s->qq : 0;
    }
    *d = (float)a, *m = (float)b;
    return 2 * (a * (double)s->xq + b * (double)s->x) - a * a * (double)s->qq -
           2 * a * b * (double)s->q - b * b * (double)s->w;
}

void quant_fit_range(const float *x, const float *w, int n, int hi, int negative, float *d,
                     float *m)
{
    float lo = x[0], top = x[0];
    double best = -1;
    for (int i = 1; i < n; i++)
        lo = MIN(lo, x[i]), top = MAX(top, x[i]);
    if (negative)
        lo = MIN(lo, 0);
    *d = 0, *m = lo;
    if (!(top - lo > 1e-30f))
        return;
    for (int k = -3; k <= 9; k++) { /* a range that is cut short at both ends by some share */
        float cut = 0.012f * (float)k * (top - lo), from = lo + cut, to = top - cut, a, b;
        struct range_sums s = range_sums_of(x, w, n, (float)hi, from, (float)hi / (to - from));
        double gain = solve_range(&s, negative, &a, &b);
        if (gain > best && a > 0)
            best = gain, *d = a, *m = b;
    }
    for (int k = 0; k<FIT_REFINE && * d> 0; k++) {
        float a, b;
        struct range_sums s = range_sums_of(x, w, n, (float)hi, *m, 1 / *d);
        double gain = solve_range(&s, negative, &a, &b);
        if (!(gain > best && a > 0))
            break;
        best = gain, *d = a, *m = b;
    }
}

float quant_error(const struct quant_grid *g, const float *x, const float *w, int n, float d,
                  float m)
{
    const float by = d != 0 ? 1 / d : 0, lo = (float)g->lo, hi = (float)g->hi;
    float sum = 0;
    if (g->near) {
        for (int i = 0; i < n; i++) {
            float miss = x[i] - m - d * (float)quant_value(g, x[i] - m, by);
            sum += w[i] * miss * miss;
        }
        return sum;
    }
    for (int i = 0; i < n; i++) {
        float miss = x[i] - m - d * nearest(clamp((x[i] - m) * by, lo, hi));
        sum += w[i] * miss * miss;
    }
    return sum;
}
