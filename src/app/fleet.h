/* SPDX-License-Identifier: MIT
 * fleet.h - how many machines or chips serve so many users: what the files of `damso plan` share.
 *
 * Does: find by the real scheduler in virtual time (load.h) what one replica of a kind can take
 *       within limits; spread a rate over replicas as the proxy's ring does, and over cells of
 *       them; count spares, energy and cost; simulate a small fleet whole beside that.
 * Does not: simulate requests that move to another replica, replicas that start late, or prices.
 * Terms: a replica is one server on one chip or machine; a cell is a proxy with its replicas; a
 *       rate is of requests a second.  Money is of any one currency.
 * Threads: none of its own.  The same seed gives the same answer. */
#ifndef APP_FLEET_H
#define APP_FLEET_H

#include "app/dry.h"

#include <stddef.h>
#include <stdint.h>

#define FLEET_HOURS    24
#define FLEET_CELL_MAX 64
#define FLEET_SEEDS    4  /* searches for a replica's capacity, of other random numbers each */
#define FLEET_RUNS     32 /* most points of a replica's curve */
#define FLEET_DOWN     3  /* all are there; a spare less; one more */

/* ---- what is asked ---- */

/* limit i is of: "ttft-p90", ttft-p99, tpot-p90, tpot-p99 */
enum { FLEET_TTFT_P90, FLEET_TTFT_P99, FLEET_TPOT_P90, FLEET_TPOT_P99, FLEET_LIMITS };
#define FLEET_LIMIT_TPOT(i)  ((i) >= FLEET_TPOT_P90)
#define FLEET_LIMIT_SHARE(i) ((i) % 2 ? 0.99 : 0.9)

struct fleet_ask {
    double users, requests_day;     /* requests a user and day */
    double curve[FLEET_HOURS];      /* shares of a day's requests, 1 together */
    struct load_opts load;          /* lengths, turns, seed, running_max, queue_max, stop */
    double limit_ms[FLEET_LIMITS];  /* 0: none */
    size_t n_requests;              /* that a run counts */
    size_t ring_points;             /* of a replica on the proxy's ring */
    size_t cell;                    /* replicas of a cell at most, with its spares */
    size_t spare;                   /* replicas of a cell that may be away */
    double availability;            /* instead of spare: share of the time that enough are there */
    double mtbf_h, mttr_h;          /* of a replica: hours between failures, until it is back */
    double electricity, years, pue; /* price of a kWh; a price is paid off; power of the building */
    /* Of a cell of m that serve, by fleet_prepare: */
    double busiest[FLEET_CELL_MAX + 1];
    size_t spares[FLEET_CELL_MAX + 1];
};

/* One kind of machine, and what is said of it; < 0: not said. */
struct fleet_kind {
    const char *name;   /* a chip, or a JSON of `damso bench` or `damso bench serve` */
    double price, hour; /* to buy one, or to have it for an hour with its power */
    double watts, idle; /* of one that was measured: busy, idle */
    /* Machines that compute a model together, of which each is as measured: processes of a stage;
     * stages; machines; the network between them.  tensor 0: one alone. */
    size_t tensor, pipeline, machines;
    double gbit, us;
};

/* ---- one replica ---- */

/* What a rate comes to. */
struct fleet_run {
    double rate;
    double ms[FLEET_LIMITS]; /* the percentiles that limits are of */
    double ttft_p50, tpot_p50;
    double watts, busy, cached; /* cached: share of prompts' tokens that were known */
    bool within;
};

struct fleet_replica {
    double capacity; /* rate at which the limits just hold: mean of the searches */
    double low;      /* 19 of 20 times it is more: what is planned with */
    double found[FLEET_SEEDS];
    double idle_w;
    struct fleet_run run[FLEET_RUNS]; /* [n_runs], rates ascending */
    size_t n_runs, n_simulated;       /* runs of the scheduler */
    uint64_t n_requests;              /* simulated in all */
    double answer_tokens;             /* of a request, mean */
    double alone_ttft, alone_tpot;    /* ms, means of requests one at a time */
    double full_s;                    /* from a request to its end, as many at a time as may be */
    char why[300];                    /* capacity 0: what keeps it from any */
};

/* Errors: CANCELLED; what a step said that could not run. */
enum err fleet_replica(struct fleet_replica *out, struct engine *en, const struct fleet_ask *a,
                       struct errinfo *e);
/* One rate more; not within when it gave up. */
enum err fleet_run(struct fleet_run *out, struct fleet_replica *r, struct engine *en,
                   const struct fleet_ask *a, double rate, struct errinfo *e);
/* By the run at this rate, between its neighbours. */
double fleet_watts(const struct fleet_replica *r, double rate);

/* A fleet of n replicas simulated whole, each request of it: the rate of all, over n, at which the
 * limits just hold on every replica, beside what is planned: capacity / n over the busiest share.
 */
struct fleet_whole {
    size_t n;
    double found, planned; /* rates of all */
};
enum err fleet_whole(struct fleet_whole *out, struct fleet_replica *r, struct engine *en,
                     const struct fleet_ask *a, size_t n, struct errinfo *e);

/* ---- measured machines ---- */

/* Steps out of the JSON of `damso bench --json`; notes: what it did not say.  Errors: NOTFOUND,
 * CORRUPT, naming what is missing. */
enum err fleet_speeds_read(struct dev_speeds *s, const char *path, char title[128],
                           struct errinfo *e);
/* Of a kind with `tensor`: sets what its machines' exchanges add; m has its angles.  Errors: USAGE,
 * naming what does not go together; those of plan_share_new. */
enum err fleet_ranks(struct dev_speeds *s, const struct fleet_kind *k, const struct model *m,
                     struct errinfo *e);
/* A replica out of the levels of `damso bench serve --json`: its best one within the limits. */
enum err fleet_levels_read(struct fleet_replica *r, const struct fleet_kind *k,
                           const struct fleet_ask *a, const char *path, struct errinfo *e);
/* What a file is. */
enum fleet_source { FLEET_CHIP, FLEET_SPEEDS, FLEET_LEVELS };
enum err fleet_source_of(enum fleet_source *out, const char *name, struct errinfo *e);

/* ---- many ---- */

struct fleet_size {
    uint64_t cells, serving, spare, total; /* serving, spare: of a cell */
    double busiest;                        /* the busiest replica's rate over the mean */
};

/* The largest of n replicas' shares of the ring, times n: the mean of some rings. */
double fleet_busiest(size_t n, size_t points);
/* Replicas beside n so that n are there for that share of the time. */
size_t fleet_spares(size_t n, double availability, double mtbf_h, double mttr_h);
/* Sets busiest and spares, from ring_points, cell and what is said of spares. */
void fleet_prepare(struct fleet_ask *a);
/* The fewest so that no replica has more than `capacity`; rate: of all, of `users`.
 * More users never need fewer.  0 in total: more than a million, capacity is 0, or a cell has no
 * room for one and its spares. */
struct fleet_size fleet_size(const struct fleet_ask *a, double rate, double users, double capacity);
/* The rate of the busiest replica when `down` of a cell are away. */
double fleet_rate_of(const struct fleet_ask *a, const struct fleet_size *s, double rate,
                     double users, size_t down);
/* The ring of n replicas, for fleet_whole: whose a conversation is. */
struct fleet_ring;
struct fleet_ring *fleet_ring_new(size_t n, size_t points, uint64_t seed);
size_t fleet_ring_of(const struct fleet_ring *r, uint64_t key);
double fleet_ring_busiest(const struct fleet_ring *r); /* share, times n */
void fleet_ring_free(struct fleet_ring *r);

/* ---- the answer of one kind ---- */

struct fleet_answer {
    const struct fleet_kind *kind;
    enum fleet_source source;
    size_t machines; /* or chips, that a replica is; each has the kind's price and power */
    char title[128], error[300]; /* error: there is no answer, and why */
    /* Of measured speeds: what `damso bench` would measure, tokens a second one by one and of the
     * longest prompt that was read in one step, with the exchanges of several machines. */
    double bench_decode, bench_prefill, bench_rows;
    struct fleet_replica replica;
    struct fleet_size size, less, more; /* for the users; a tenth less, a tenth more */
    struct fleet_run down[FLEET_DOWN];
    size_t n_down;
    uint64_t by_hour[FLEET_HOURS]; /* replicas that would do */
    double peak_rate;
    double kwh_day, peak_w;
    bool priced;
    double month, machines_month, energy_month; /* cost; 0 where not priced */
    double elastic_month;     /* rented by the hour as by_hour says; 0: not rented */
    double million;           /* cost of a million tokens of answers */
    struct fleet_whole whole; /* n 0: not asked */
};

/* Sizes, energy and cost, from replica. */
void fleet_price(struct fleet_answer *x, const struct fleet_ask *a);

#endif
