/* SPDX-License-Identifier: MIT
 * cmd_bench_serve.h - what the files of `damso bench serve` share: levels of load on a server of
 * OpenAI's API, and what came of each.
 *
 * Terms as MLPerf Endpoints has them: tokens a second of the system are those of all answers over
 * the time from the first request to the last answer's end; tokens a second a user are 1000 / the
 * 90th percentile of the milliseconds a token (TPOT).
 * At a rate, a request's times count from when it was due, not from when it was sent: a server that
 * holds up those who wait would otherwise look quick (coordinated omission).  How much later they
 * were sent is told beside it. */
#ifndef APP_CMD_BENCH_SERVE_H
#define APP_CMD_BENCH_SERVE_H

#include "app/cmd.h"
#include "base/str.h"

#include <stdint.h>

#define SERVE_LEVELS_MAX   32
#define SERVE_CLIENTS_MAX  1024
#define SERVE_REQUESTS_MAX 100000

struct serve_request {
    uint64_t due_ns; /* at a rate; that of numbers of clients is began_ns */
    uint64_t began_ns, first_ns, last_ns, done_ns; /* first, last: of text; 0: there was none */
    uint64_t n_tokens;
    bool ok;
};

struct serve_range {
    double p50, p90, p99; /* milliseconds */
};

struct serve_level {
    int64_t clients; /* that ask at the same time; 0: requests come at `rate` a second */
    double rate;
    size_t n;
    struct serve_request *request; /* [n] */
    char error[200];               /* the first one's words; "" for none */
    /* set by serve_figures: */
    size_t n_bad;
    uint64_t n_tokens;
    double seconds, system_tps, user_tps;
    struct serve_range ttft, tpot, whole;
    struct serve_range late; /* sent after it was due */
    bool pareto;             /* no other level has both figures better */
};

struct serve_load {
    const char *url; /* "http://127.0.0.1:8080" */
    const char *model, *key;
    int64_t words, answer;
    int64_t connections; /* of requests at a rate: those over it wait until one is free */
    bool plain;          /* only fields that OpenAI's own API has */
    uint64_t seed;
};

/* Runs one level, whose clients or rate, n and request are set.  Errors: CANCELLED, NETWORK (no
 * request was answered: says why). */
enum err serve_run(const struct serve_load *load, struct serve_level *l, struct errinfo *e);
/* Sets what comes of the requests; then which levels are on the curve. */
void serve_figures(struct serve_level *l);
void serve_pareto(struct serve_level *l, size_t n);
/* The curve as SVG 1.1. */
void serve_svg(struct str *s, const char *title, const struct serve_level *l, size_t n);
enum err serve_write(const char *path, struct span text, struct errinfo *e);
/* A page for people: summary, curve, percentiles and histograms of the levels.  Error: IO. */
enum err serve_html(const char *path, const struct serve_load *load, const struct serve_level *l,
                    size_t n, struct errinfo *e);
/* Levels out of the JSON of bench serve, as far as the curve needs them; gives how many, at most
 * SERVE_LEVELS_MAX.  Errors: NOTFOUND, CORRUPT. */
enum err serve_levels_read(const char *path, struct serve_level *l, size_t *n, struct errinfo *e);
/* Errors: IO. */
enum err serve_draw(const char *path, const char *title, const struct serve_level *l, size_t n,
                    struct errinfo *e);

enum err cmd_bench_serve(struct cmd_args *a, struct errinfo *e);

#endif
