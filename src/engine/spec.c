/* SPDX-License-Identifier: MIT */
#include "engine/spec.h"

#include "base/num.h"

#include <math.h>

/* ---- how often guesses come true ---- */

#define RATE_MEMORY 64.0f /* guesses that a rate looks back, about */
#define RATE_PRIOR  4.0f  /* what another text's rate counts as */

struct spec_rate spec_rate_new(float low, float high)
{
    struct spec_rate r;
    for (size_t c = 0; c < SPEC_CLASSES; c++) {
        r.share[c] = low + (high - low) * (float)c / (SPEC_CLASSES - 1);
        r.n[c] = RATE_PRIOR;
    }
    return r;
}

struct spec_rate spec_rate_from(const struct spec_rate *from)
{
    struct spec_rate r = *from;
    for (size_t c = 0; c < SPEC_CLASSES; c++)
        r.n[c] = MIN(r.n[c], RATE_PRIOR);
    return r;
}

void spec_rate_note(struct spec_rate *r, size_t class, bool came_true)
{
    r->n[class] = MIN(r->n[class] + 1, RATE_MEMORY);
    r->share[class] += ((came_true ? 1.0f : 0.0f) - r->share[class]) / r->n[class];
}

size_t spec_class_of_match(size_t match)
{
    static const size_t least[SPEC_CLASSES] = {0, 3, 4, 5, 7, 10, 16, 32};
    size_t c = SPEC_CLASSES - 1;
    while (c > 0 && match < least[c])
        c--;
    return c;
}

size_t spec_class_of_p(float p)
{
    static const float least[SPEC_CLASSES] = {0, 0.3f, 0.5f, 0.65f, 0.8f, 0.9f, 0.96f, 0.99f};
    size_t c = SPEC_CLASSES - 1;
    while (c > 0 && !(p >= least[c]))
        c--;
    return c;
}

/* ---- what a step costs ---- */

#define COST_OWN  0.3  /* how far a measurement moves its own number */
#define COST_SURE 4    /* measurements before it says something of others */
#define COST_FAR  1.5  /* more than so many times what was expected counts as that */
#define COST_LESS 0.15 /* what a cost may lose by its age, */
#define COST_OLD  4096 /* and the steps that would lose it all */

void spec_cost_note(struct spec_cost *c, size_t rows, double ns)
{
    if (rows == 0 || rows > SPEC_ROWS || !(ns > 0))
        return;
    c->seen_at[rows] = ++c->n_steps;
    double *own = &c->ns[rows];
    uint32_t seen = c->n_seen[rows];
    c->n_seen[rows] += seen < COST_SURE;
    if (*own == 0) {
        *own = ns;
        return;
    }
    if (seen < COST_SURE) { /* the first may have met with anything: the least is the best guess */
        *own = MIN(*own, ns);
        return;
    }
    /* All others follow by half: the text grows, other programs come and go.  By the square root,
     * since then they are bound to where the own number is, and do not drift on noise. */
    double by = 1 + COST_OWN * (MIN(MAX(ns / *own, 1 / COST_FAR), COST_FAR) - 1);
    double half = sqrt(by);
    for (size_t r = 1; r <= SPEC_ROWS; r++)
        c->ns[r] *= r == rows ? by : half;
}

static double aged(const struct spec_cost *c, size_t rows)
{
    double age = (double)(c->n_steps - c->seen_at[rows]) / COST_OLD;
    return c->ns[rows] * (1 - MIN(age, COST_LESS));
}

/* Beyond what was measured a row costs half of what the last ones did, which is tried for once. */
static double beyond(const struct spec_cost *c, size_t last, size_t rows)
{
    double at_half = spec_cost_of(c, last - last / 2), at_last = aged(c, last);
    double a_row = last > 1 ? (at_last - at_half) / (double)(last / 2) : 0;
    return at_last + MAX(a_row, 0) / 2 * (double)(rows - last);
}

double spec_cost_of(const struct spec_cost *c, size_t rows)
{
    rows = MIN(rows, (size_t)SPEC_ROWS);
    size_t lo = rows, hi = rows;
    while (lo > 0 && c->ns[lo] == 0)
        lo--;
    while (hi <= SPEC_ROWS && c->ns[hi] == 0)
        hi++;
    if (lo == 0)
        return hi <= SPEC_ROWS ? aged(c, hi) : 0;
    if (hi == lo)
        return aged(c, lo);
    if (hi > SPEC_ROWS)
        return beyond(c, lo, rows);
    double at = (double)(rows - lo) / (double)(hi - lo), from = aged(c, lo);
    return from + at * (aged(c, hi) - from);
}

size_t spec_cost_reach(const struct spec_cost *c, size_t rows)
{
    size_t most = SPEC_ROWS;
    while (most > 0 && c->ns[most] == 0)
        most--;
    most = MIN(most * 2, (size_t)SPEC_ROWS);
    return most > rows ? most - rows : 0;
}

size_t spec_choose(const struct spec_cost *c, size_t rows, const float *gain, size_t n)
{
    double plain = spec_cost_of(c, rows), tokens = (double)rows;
    size_t most = MIN(n, spec_cost_reach(c, rows)), chosen = 0;
    if (!(plain > 0))
        return 0;
    double best = tokens / plain * SPEC_WIN;
    for (size_t k = 1; k <= most; k++) {
        tokens += (double)gain[k - 1];
        double rate = tokens / spec_cost_of(c, rows + k);
        if (rate > best) {
            best = rate;
            chosen = k;
        }
    }
    return chosen;
}
