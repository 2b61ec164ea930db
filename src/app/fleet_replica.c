/* SPDX-License-Identifier: MIT
 * fleet_replica.c - what one replica can take: the real scheduler at several rates, in virtual
 * time.
 */
#include "app/fleet.h"

#include "base/arena.h"
#include "base/num.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NEAR         1.01 /* a search ends when the rates are so near each other */
#define STRIDE       1.25 /* from a rate to the next, before one on the other side is found */
#define STRIDE_AGAIN 1.03 /* the same with other numbers, of which the last search's are near */
#define WARM         0.15 /* of the counted requests come before them */
#define FULL         2.0  /* and all that come within so many answers of a full chip */
#define THINK        2.0  /* or, of a fleet as a whole, within so many times to think */
#define LONG_RUN     5    /* the run that checks a capacity counts so many times the requests */
#define BACK_OFF     0.98
#define BACKS_MAX    25
#define FIRST_SEED   100
#define LIMITS       5 /* a run lasts so many times the longest limit: a queue needs time to show */
#define COUNT_MAX    50000.0
#define QUEUE_SHARE  10   /* of all requests that may wait in the end, where no limit is of waits */
#define SLOWEST      1e-4 /* of what can be done at all: slower rates are not looked at */

/* Student's t, one-sided 95 %, for FLEET_SEEDS - 1 = 3 degrees of freedom. */
#define T_95 2.353

static const double curve[] = {0.1, 0.25, 0.5, 0.7, 0.85, 1, 1.1, 1.25};

/* ---- runs ---- */

static struct load_opts opts_of(struct fleet_replica *r, const struct fleet_ask *a, double rate,
                                double n, uint64_t seed)
{
    struct load_opts o = a->load;
    double warm = n * WARM / rate + FULL * r->full_s;
    o.rate = rate;
    o.settled = true;
    o.warm_s = warm;
    o.n_requests = (size_t)(n + warm * rate);
    o.seed = num_hash(&seed, sizeof seed, o.seed);
    o.salt = num_hash(&r->n_simulated, sizeof r->n_simulated, 1); /* no text is known from before */
    r->n_simulated++;
    r->n_requests += o.n_requests;
    return o;
}

/* Requests that a run at the rate counts. */
static double count_of(const struct fleet_ask *a, double rate)
{
    double ms = MAX(a->limit_ms[FLEET_TTFT_P90], a->limit_ms[FLEET_TTFT_P99]);
    double n = ceil(MIN(rate * ms / 1e3 * LIMITS, COUNT_MAX));
    return MAX(n, (double)a->n_requests);
}

static double most_late(int limit, double n)
{
    return floor((1 - FLEET_LIMIT_SHARE(limit)) * n + 1e-9);
}

/* Ends as soon as the limits cannot hold any more: with some answers more than are expected. */
static void end_early(struct load_opts *o, const struct fleet_ask *a, double n)
{
    for (int i = 0; i < FLEET_LIMITS; i++)
        o->late[i] = (struct load_late){.tpot = FLEET_LIMIT_TPOT(i),
                                        .ms = a->limit_ms[i],
                                        .most = (size_t)(1.2 * most_late(i, n)) + 3};
}

/* Of times to the first token: without them nothing else would say that a queue grows. */
static bool waits_count(const struct fleet_ask *a)
{
    return a->limit_ms[FLEET_TTFT_P90] > 0 || a->limit_ms[FLEET_TTFT_P99] > 0;
}

static bool holds(const struct load_result *l, const struct fleet_ask *a)
{
    for (int i = 0; i < FLEET_LIMITS && !l->gave_up; i++)
        if ((double)l->n_late[i] > most_late(i, (double)l->n_counted))
            return false;
    if (!waits_count(a) && l->queue_last > MAX(a->load.running_max, l->n_counted / QUEUE_SHARE))
        return false;
    return !l->gave_up;
}

/* Whether the limits hold at the rate, by a run of `times` the requests that are asked for. */
static enum err held(bool *out, struct fleet_replica *r, struct engine *en,
                     const struct fleet_ask *a, double rate, int times, uint64_t seed,
                     struct errinfo *e)
{
    struct load_result l;
    double n = times * count_of(a, rate);
    struct load_opts o = opts_of(r, a, rate, n, seed);
    end_early(&o, a, n);
    TRY(load_run(en, &o, &l, e));
    *out = holds(&l, a);
    return ERR_OK;
}

static void note(struct fleet_run *out, struct fleet_replica *r, const struct load_result *l,
                 const struct fleet_ask *a, double rate)
{
    double done = MAX((double)l->n_done, 1);
    *out = (struct fleet_run){
        .rate = rate,
        .ms = {l->ttft.p90, l->ttft.p99, l->tpot.p90, l->tpot.p99},
        .ttft_p50 = l->ttft.p50,
        .tpot_p50 = l->tpot.p50,
        .within = holds(l, a)
    };
    out->busy = MIN(rate * l->busy_s / done, 1);
    out->cached = l->n_prompt ? (double)l->n_cached / (double)l->n_prompt : 0;
    r->answer_tokens = (double)l->n_answer / done;
    /* A run has a beginning and an end in which less is under way: joules of a request are not
     * changed by that, but those of the time would be. */
    out->watts = r->idle_w + out->busy * (l->busy_s > 0 ? l->joules / l->busy_s - r->idle_w : 0);
}

enum err fleet_run(struct fleet_run *out, struct fleet_replica *r, struct engine *en,
                   const struct fleet_ask *a, double rate, struct errinfo *e)
{
    struct load_result l;
    struct load_opts o = opts_of(r, a, rate, count_of(a, rate), 77);
    for (int i = 0; i < FLEET_LIMITS; i++)
        o.late[i] = (struct load_late){
            .tpot = FLEET_LIMIT_TPOT(i), .ms = a->limit_ms[i], .most = SIZE_MAX};
    TRY(load_run(en, &o, &l, e));
    note(out, r, &l, a, rate);
    return ERR_OK;
}

double fleet_watts(const struct fleet_replica *r, double rate)
{
    double last_rate = 0, last_w = r->idle_w;
    for (size_t i = 0; i < r->n_runs; i++) {
        const struct fleet_run *x = &r->run[i];
        if (rate <= x->rate)
            return last_w + (x->watts - last_w) * (rate - last_rate) / (x->rate - last_rate);
        last_rate = x->rate;
        last_w = x->watts;
    }
    return last_w;
}

/* ---- the search ---- */

/* Between a rate that holds and one that does not, both within a stride of `guess` or further.
 * *out 0: even rates below `least` do not hold. */
static enum err search(double *out, struct fleet_replica *r, struct engine *en,
                       const struct fleet_ask *a, double guess, double least, uint64_t seed,
                       struct errinfo *e)
{
    double low = guess, high = guess, stride = seed == FIRST_SEED ? STRIDE : STRIDE_AGAIN;
    bool ok;
    *out = 0;
    TRY(held(&ok, r, en, a, guess, 1, seed, e));
    for (bool up = ok; ok == up;) {
        double next = up ? high * stride : low / stride;
        stride = MIN(stride * stride, STRIDE);
        if (next < least)
            return ERR_OK;
        TRY(held(&ok, r, en, a, next, 1, seed, e));
        if (up) {
            low = ok ? next : high;
            high = next;
        } else {
            high = ok ? low : next;
            low = next;
        }
    }
    while (high / low > NEAR) {
        double mid = sqrt(low * high);
        TRY(held(&ok, r, en, a, mid, 1, seed, e));
        *(ok ? &low : &high) = mid;
    }
    *out = low;
    return ERR_OK;
}

/* One at a time, and as many as may be: what is possible at all. */
static enum err bounds(struct load_result *alone, double *most, struct fleet_replica *r,
                       struct engine *en, const struct fleet_ask *a, struct errinfo *e)
{
    struct load_result l;
    struct load_opts o = opts_of(r, a, 1, (double)a->n_requests, 5);
    for (int i = 0; i < FLEET_LIMITS; i++)
        o.late[i] = (struct load_late){
            .tpot = FLEET_LIMIT_TPOT(i), .ms = a->limit_ms[i], .most = SIZE_MAX};
    o.rate = o.turns = o.warm_s = 0;
    o.concurrency = o.running_max;
    o.n_requests = a->n_requests;
    TRY(load_run(en, &o, &l, e));
    *most = l.seconds > 0 ? (double)l.n_done / l.seconds : 0;
    r->full_s = l.whole.mean / 1e3;
    o.concurrency = 1;
    o.n_requests = MAX(a->n_requests / 4, (size_t)100);
    o.salt++;
    return load_run(en, &o, alone, e);
}

static void explain(struct fleet_replica *r, const struct fleet_ask *a, const struct load_result *l)
{
    const double ms[] = {l->ttft.p90, l->ttft.p99, l->tpot.p90, l->tpot.p99};
    for (int i = 0; i < FLEET_LIMITS; i++)
        if (a->limit_ms[i] > 0 && ms[i] > a->limit_ms[i]) {
            snprintf(r->why, sizeof r->why,
                     "alone on it, requests have %.4g ms %s at p%.0f, and the limit is %.4g", ms[i],
                     FLEET_LIMIT_TPOT(i) ? "a token" : "to the first token",
                     100 * FLEET_LIMIT_SHARE(i), a->limit_ms[i]);
            return;
        }
    snprintf(r->why, sizeof r->why, "no rate was found at which the limits hold");
}

/* A search counts few requests, and a queue that grows slowly is not seen in them: a long run of
 * other numbers has to hold, too. */
static enum err check(struct fleet_replica *r, struct engine *en, const struct fleet_ask *a,
                      struct errinfo *e)
{
    bool ok = false;
    for (int i = 0; i < BACKS_MAX; i++) {
        TRY(held(&ok, r, en, a, r->low, LONG_RUN, 99, e));
        if (ok)
            return ERR_OK;
        r->low *= BACK_OFF;
        r->capacity = MAX(r->capacity * BACK_OFF, r->low);
    }
    r->capacity = r->low = 0;
    snprintf(r->why, sizeof r->why, "a long run held the limits at no rate near the short ones'");
    return ERR_OK;
}

static void summarise(struct fleet_replica *r)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < FLEET_SEEDS; i++)
        sum += r->found[i] / FLEET_SEEDS;
    for (int i = 0; i < FLEET_SEEDS; i++)
        squares += (r->found[i] - sum) * (r->found[i] - sum);
    r->capacity = sum;
    r->low = MAX(sum - T_95 * sqrt(squares / (FLEET_SEEDS - 1) / FLEET_SEEDS), 0);
}

enum err fleet_replica(struct fleet_replica *out, struct engine *en, const struct fleet_ask *a,
                       struct errinfo *e)
{
    struct load_result alone;
    double most, guess;
    *out = (struct fleet_replica){.idle_w = engine_sim(en)->static_w};
    TRY(bounds(&alone, &most, out, en, a, e));
    out->alone_ttft = alone.ttft.mean;
    out->alone_tpot = alone.tpot.mean;
    guess = most * 0.7;
    alone.queue_last = 0; /* they come as others end */
    if (!holds(&alone, a)) {
        explain(out, a, &alone);
        return ERR_OK;
    }
    for (uint64_t i = 0; i < FLEET_SEEDS; i++) {
        TRY(search(&out->found[i], out, en, a, guess, most * SLOWEST, FIRST_SEED + i, e));
        if (!(out->found[i] > 0)) {
            explain(out, a, &alone);
            return ERR_OK;
        }
        guess = out->found[i];
    }
    summarise(out);
    TRY(check(out, en, a, e));
    for (size_t i = 0; i < N_ELEMS(curve) && out->capacity > 0; i++)
        TRY(fleet_run(&out->run[out->n_runs++], out, en, a, curve[i] * out->capacity, e));
    return ERR_OK;
}

/* ---- a fleet as a whole ---- */

struct share {
    const struct fleet_ring *ring;
    size_t me;
};

static bool mine(void *arg, uint64_t conversation)
{
    const struct share *s = arg;
    uint64_t key = num_hash(&conversation, sizeof conversation, 7);
    return fleet_ring_of(s->ring, key) == s->me;
}

/* Whether all replicas hold the limits when all together have the rate. */
static enum err all_held(bool *out, struct fleet_replica *r, struct engine *en,
                         const struct fleet_ask *a, const struct fleet_ring *ring, size_t n,
                         double rate, struct errinfo *e)
{
    *out = true;
    for (size_t i = 0; i < n && *out; i++) {
        struct share s = {ring, i};
        struct load_result l;
        double count = LONG_RUN * count_of(a, rate / (double)n);
        struct load_opts o = opts_of(r, a, rate, count * (double)n, 1234);
        double think = THINK * MAX(o.turns - 1, 0) * o.think_s;
        o.settled = false;
        o.warm_s += think;
        o.n_requests += (size_t)(think * rate);
        end_early(&o, a, count * 1.5);
        o.n_requests = (size_t)((double)o.n_requests / MAX(o.turns, 1));
        o.mine = mine;
        o.mine_arg = &s;
        TRY(load_run(en, &o, &l, e));
        *out = holds(&l, a);
    }
    return ERR_OK;
}

enum err fleet_whole(struct fleet_whole *out, struct fleet_replica *r, struct engine *en,
                     const struct fleet_ask *a, size_t n, struct errinfo *e)
{
    struct fleet_ring *ring = fleet_ring_new(n, a->ring_points, 0);
    double planned = r->capacity * (double)n / fleet_ring_busiest(ring);
    double low = planned / 2, high = planned * 2;
    enum err code = ERR_OK;
    while (high / low > NEAR && code == ERR_OK) {
        bool ok = false;
        double mid = sqrt(low * high);
        code = all_held(&ok, r, en, a, ring, n, mid, e);
        *(ok ? &low : &high) = mid;
    }
    *out = (struct fleet_whole){n, low, planned};
    fleet_ring_free(ring);
    return code;
}
