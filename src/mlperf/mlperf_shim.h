/* SPDX-License-Identifier: MIT
 * mlperf_shim.h - MLCommons LoadGen for C: the only place where it is called.
 *
 * Does: run one scenario by LoadGen's own settings (mlperf.conf as built in, then a user.conf),
 * hand its queries to callbacks, take first tokens and completions from any thread. Does not: check
 * what the system under test says (mlperf_book.h does, before it comes here: LoadGen takes ids for
 * addresses). Threads: mlperf_shim_run blocks; the callbacks come from LoadGen's threads and must
 * return at once; the others may be called from any thread. Errors: a run that LoadGen could not
 * begin leaves no log: see there. Source: loadgen.h, test_settings.h of mlcommons-loadgen 6.0.17
 * (Apache-2.0), which the build fetches (tools/loadgen.sh).  Without it these functions are those
 * of mlperf_shim_off.c. */
#ifndef MLPERF_MLPERF_SHIM_H
#define MLPERF_MLPERF_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mlperf_sample {
    uintptr_t id; /* LoadGen's, never 0 */
    size_t index; /* of the question */
};

struct mlperf_shim {
    const char *sut_name, *set_name; /* for the log */
    size_t n_total, n_performance;   /* questions of the set; those that fit in memory */
    const char *model;               /* the name that mlperf.conf's rows have: "llama3_1-8b" */
    const char *scenario;            /* "SingleStream", "MultiStream", "Offline" or "Server" */
    const char *user_conf;           /* a file */
    const char *log_dir;             /* a folder that is there */
    const char *audit_conf;          /* audit.config of a compliance run; NULL: none */
    bool accuracy;                   /* every question once, answers logged */
    void (*issue)(void *arg, const struct mlperf_sample *s, size_t n);
    void *arg;
};

/* What the settings came to, before LoadGen adjusts them to the set. */
struct mlperf_limits {
    double target_qps; /* Server, Offline */
    uint64_t min_duration_ms, min_queries;
    uint64_t ttft_ns, tpot_ns; /* Server; 0: no token latencies */
    double percentile;         /* that the scenario is judged by, 0 to 1 */
    size_t whole;              /* queries come in whole passes over so many questions; 0: not */
    bool token_latencies;
};

bool mlperf_shim_built(void);
const char *mlperf_shim_version(void); /* "6.0.17"; "" where it was not built */

/* Once a process: LoadGen counts configurations.  False when user_conf cannot be read. */
bool mlperf_shim_run(const struct mlperf_shim *s,
                     void (*ready)(void *, const struct mlperf_limits *), void *ready_arg);
/* data lives until the call returns; bytes of it go to the accuracy log. */
void mlperf_shim_first(uintptr_t id, const void *data, size_t bytes);
void mlperf_shim_complete(uintptr_t id, const void *data, size_t bytes, int64_t n_tokens);
/* Ends LoadGen's logs where they are; the run's thread must not be waited for after it. */
void mlperf_shim_abort(void);

#ifdef __cplusplus
}
#endif

#endif
