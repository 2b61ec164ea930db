/* SPDX-License-Identifier: MIT
 * load.h - the scheduler under a load, in the time of a simulated chip.
 *
 * Does: drive the real scheduler (admission, pages, known beginnings, prompts in parts, preemption)
 *       over an engine whose device is simulated and has its own clock: requests come by a rate or
 *       as others end, their lengths are drawn; what each waited for and what all took is counted.
 *       Conversations of several requests go on with what was said, after a time to think.
 *       The same seed gives the same result, to the nanosecond.
 * Does not: compute, where the device is dry: answers are given, not chosen.
 * Owner: the caller's thread drives everything; the engine is the caller's and used by nobody else.
 */
#ifndef ENGINE_LOAD_H
#define ENGINE_LOAD_H

#include "engine/engine.h"

enum load_kind { LOAD_FIXED, LOAD_UNIFORM, LOAD_LOGNORMAL };

/* How many tokens. */
struct load_length {
    enum load_kind kind;
    double a, b; /* FIXED: a; UNIFORM: from a to b; LOGNORMAL: median a, sigma b of the logarithm */
    size_t max;  /* never more */
};

/* "512", "128-2048", "~512" or "~512/0.8" (median and sigma, which is 1 where it is not said).
 * Error: USAGE, naming `option`. */
enum err load_length_read(struct load_length *l, const char *option, const char *text,
                          struct errinfo *e);

/* How many counted answers may be later than ms, to the first token or a token after it; one more
 * ends the run.  Those that were refused are later than anything. */
struct load_late {
    bool tpot;
    double ms; /* 0: there is no such limit */
    size_t most;
};

#define LOAD_LATES 4

struct load_opts {
    size_t n_requests;
    double rate;        /* requests a second, by a Poisson process; 0: as others end */
    size_t concurrency; /* rate 0: so many at a time */
    struct load_length prompt, answer;
    size_t shared; /* tokens that all prompts begin with */
    /* With a rate: requests of a conversation, by a geometric distribution of this mean (1 or
     * more), each after a time to think of an exponential one; `prompt` is what a request adds. */
    double turns, think_s;
    uint64_t seed, salt; /* salt: other tokens, lengths and times as they are */
    double warm_s;       /* requests of the first seconds are not counted */
    /* With a rate, and not with `mine`: it begins as if it had gone on for long, with conversations
     * whose users think, and what is known of those that were there last. */
    bool settled;
    struct load_late late[LOAD_LATES];
    /* With a rate: conversations come to several schedulers, of which this is one.  n_requests and
     * rate / turns are conversations of all of them; true: it is this one's.  May be NULL. */
    bool (*mine)(void *arg, uint64_t conversation);
    void *mine_arg;
    size_t running_max, queue_max;       /* the scheduler's */
    double limit_ttft_ms, limit_tpot_ms; /* 0: none */
    bool (*stop)(void *arg); /* asked between steps: true ends it with CANCELLED; may be NULL */
    void *stop_arg;
};

struct load_times { /* milliseconds */
    double mean, p50, p90, p95, p99, max;
};

#define LOAD_BARS 40

/* Times to the first token: bar i counts those from i to i + 1 widths; the last has all beyond. */
struct load_bars {
    double width; /* ms */
    uint32_t n[LOAD_BARS];
};

struct load_result {
    size_t n_done, n_refused, n_within;    /* n_within: done within both limits */
    size_t n_counted, n_late[LOAD_LATES];  /* after warm_s, refused ones too */
    bool gave_up;                          /* too many were late: nothing else is set */
    uint64_t n_prompt, n_cached, n_answer; /* tokens of those that were done */
    double seconds, busy_s;                /* from the first arrival to the last end; in steps */
    double joules, idle_joules;            /* of steps; of the chip at rest */
    struct load_times ttft, tpot, whole;
    struct load_bars bars;
    double running_mean, queue_mean, pages_mean; /* over time; pages: share in use */
    size_t running_most, queue_most, pages;
    size_t queue_last; /* that waited when the last one came, with a rate; set also by gave_up */
    double rows_mean;  /* of a step */
    uint64_t n_steps, n_preempted, n_prices;
};

/* The engine's device has DEV_CLOCK_VIRTUAL; out_max and batch are running_max at least.
 * Errors: CANCELLED; what a step said that could not run. */
enum err load_run(struct engine *en, const struct load_opts *o, struct load_result *r,
                  struct errinfo *e);

#endif
