/* SPDX-License-Identifier: MIT
 * fleet_size.c - rates over replicas: the proxy's ring, cells, spares. */
#include "app/fleet.h"

#include "base/arena.h"
#include "base/num.h"

#include <math.h>
#include <stdlib.h>

#define RINGS       4
#define SPARES_MAX  64
#define BALANCE     1.5 /* hash-balance-factor of deploy/haproxy: what is over it spills over */
#define SPLIT_SIGMA 3.0 /* users of a cell: so many standard deviations over the mean */
#define TOTAL_MAX   1e6

/* ---- the ring ---- */

struct point {
    uint64_t at;
    uint32_t owner;
};

struct fleet_ring {
    size_t n, n_points;
    struct point *point; /* [n_points], ascending */
};

static int by_place(const void *a, const void *b)
{
    uint64_t x = ((const struct point *)a)->at, y = ((const struct point *)b)->at;
    return (x > y) - (x < y);
}

struct fleet_ring *fleet_ring_new(size_t n, size_t points, uint64_t seed)
{
    struct fleet_ring *r = mem_alloc(sizeof *r);
    *r = (struct fleet_ring){.n = n, .n_points = n * points};
    r->point = mem_alloc(r->n_points * sizeof *r->point);
    for (size_t i = 0; i < r->n_points; i++)
        r->point[i] = (struct point){num_rand(&seed), (uint32_t)(i / points)};
    qsort(r->point, r->n_points, sizeof *r->point, by_place);
    return r;
}

void fleet_ring_free(struct fleet_ring *r)
{
    mem_free(r->point);
    mem_free(r);
}

size_t fleet_ring_of(const struct fleet_ring *r, uint64_t key)
{
    size_t low = 0, high = r->n_points;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (r->point[mid].at < key)
            low = mid + 1;
        else
            high = mid;
    }
    return r->point[low < r->n_points ? low : 0].owner;
}

double fleet_ring_busiest(const struct fleet_ring *r)
{
    double most = 0, *share = mem_alloc(r->n * sizeof *share);
    for (size_t i = 0; i < r->n_points; i++) {
        uint64_t before = r->point[i ? i - 1 : r->n_points - 1].at;
        share[r->point[i].owner] += (double)(r->point[i].at - before) * 0x1p-64; /* wraps around */
    }
    for (size_t i = 0; i < r->n; i++)
        most = MAX(most, share[i]);
    mem_free(share);
    return r->n == 1 ? 1 : most * (double)r->n;
}

double fleet_busiest(size_t n, size_t points)
{
    double sum = 0;
    for (uint64_t i = 0; i < RINGS; i++) {
        struct fleet_ring *r = fleet_ring_new(n, points, i);
        sum += fleet_ring_busiest(r);
        fleet_ring_free(r);
    }
    return MIN(sum / RINGS, BALANCE);
}

/* ---- spares ---- */

/* At least n of n + k are there. */
static double enough(size_t n, size_t k, double up)
{
    double sum = 0, log_up = log(up), log_down = log1p(-up);
    for (size_t i = 0; i <= k; i++) /* i are away */
        sum += exp(lgamma((double)(n + k + 1)) - lgamma((double)(i + 1)) -
                   lgamma((double)(n + k - i + 1)) + (double)i * log_down +
                   (double)(n + k - i) * log_up);
    return sum;
}

size_t fleet_spares(size_t n, double availability, double mtbf_h, double mttr_h)
{
    size_t k = 0;
    while (k < SPARES_MAX && enough(n, k, mtbf_h / (mtbf_h + mttr_h)) < availability)
        k++;
    return k;
}

/* ---- sizes ---- */

void fleet_prepare(struct fleet_ask *a)
{
    for (size_t m = 1; m <= a->cell; m++) {
        a->busiest[m] = fleet_busiest(m, a->ring_points);
        a->spares[m] = a->availability > 0 ? fleet_spares(m, a->availability, a->mtbf_h, a->mttr_h)
                                           : a->spare;
    }
}

/* Of a cell, of k: users come to cells by their names, so that some have more than others. */
static double cell_rate(double rate, double users, double k)
{
    double mean = users / k;
    return k > 1 ? rate / users * (mean + SPLIT_SIGMA * sqrt(mean)) : rate;
}

/* The best of all numbers of cells.  Since the need of each grows with the rate, so does the best;
 * that is why none is left out: k cells are k replicas at least, so that the search ends. */
struct fleet_size fleet_size(const struct fleet_ask *a, double rate, double users, double capacity)
{
    struct fleet_size best = {0};
    if (!(capacity > 0) || rate / capacity > TOTAL_MAX || 1 + a->spares[1] > a->cell)
        return best;
    uint64_t first = (uint64_t)(rate / capacity / (double)a->cell), last = (uint64_t)TOTAL_MAX;
    for (uint64_t k = MAX(first, (uint64_t)1); k <= last; k++) {
        double r = cell_rate(rate, users, (double)k);
        for (size_t m = 1; m + a->spares[m] <= a->cell; m++) {
            if (r * a->busiest[m] / (double)m > capacity)
                continue;
            uint64_t total = k * (m + a->spares[m]);
            if (!best.total || total < best.total)
                best = (struct fleet_size){k, m, a->spares[m], total, a->busiest[m]};
            last = MIN(last, best.total);
            break;
        }
    }
    return best.total > TOTAL_MAX ? (struct fleet_size){0} : best;
}

double fleet_rate_of(const struct fleet_ask *a, const struct fleet_size *s, double rate,
                     double users, size_t down)
{
    size_t n = (size_t)(s->serving + s->spare);
    if (down >= n)
        return INFINITY;
    return cell_rate(rate, users, (double)s->cells) * a->busiest[n - down] / (double)(n - down);
}
