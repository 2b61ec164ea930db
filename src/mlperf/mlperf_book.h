/* SPDX-License-Identifier: MIT
 * mlperf_book.h - the book of a run: every query that LoadGen asked, and what became of it.
 *
 * Does: give each query a number; check what the engine says of it before LoadGen hears it (a
 *       number that was asked, the question that was meant, one first token, then one completion of
 *       at least two tokens); keep the times for the report.
 * Does not: begin work, wait, or judge speed: LoadGen does.
 * A claim that is wrong never reaches LoadGen, which takes ids for addresses; it is the run's
 * fault, and the run fails.
 * Threads: any; everything is under one lock.  Owner: the caller of book_init. */
#ifndef MLPERF_MLPERF_BOOK_H
#define MLPERF_MLPERF_BOOK_H

#include "base/err.h"
#include "mlperf/mlperf_shim.h"

#include <pthread.h>

struct mlperf_entry {
    uintptr_t id; /* LoadGen's */
    size_t question;
    uint64_t asked_ns, first_ns, done_ns; /* os_now_ns; 0: not yet */
    uint32_t n_tokens;
};

/* Who hears of what is right: LoadGen, or nobody (NULL) in a warm-up. */
struct mlperf_hear {
    void (*first)(uintptr_t id, const void *data, size_t bytes);
    void (*complete)(uintptr_t id, const void *data, size_t bytes, int64_t n_tokens);
};

struct mlperf_book {
    pthread_mutex_t lock;
    pthread_cond_t news;
    struct mlperf_hear hear;
    struct mlperf_entry *entry; /* [n] */
    size_t n, cap;
    size_t n_done;
    uint64_t n_tokens;
    uint64_t heard_ns; /* of the last thing that the engine said, or was asked while idle */
    struct errinfo fault;
    size_t token_bytes; /* of a token where LoadGen logs answers: 4 or 8, little-endian */
    /* Tokens of the answer to each question, kept where they are wanted; NULL: not. */
    void (*keep)(void *arg, size_t question, const int32_t *token, size_t n);
    void *keep_arg;
};

void mlperf_book_init(struct mlperf_book *b, struct mlperf_hear hear, size_t token_bytes);
void mlperf_book_done(struct mlperf_book *b);

/* n queries more; gives the number of the first, the others follow. */
size_t mlperf_book_ask(struct mlperf_book *b, const struct mlperf_sample *s, size_t n);
/* The engine's claims about a query. */
void mlperf_book_first(struct mlperf_book *b, size_t query, size_t question, int32_t token);
void mlperf_book_complete(struct mlperf_book *b, size_t query, size_t question,
                          const int32_t *token, size_t n);
/* Something went wrong that is no claim; the first fault stays. */
void mlperf_book_fail(struct mlperf_book *b, const struct errinfo *e);

/* Waits until `n_done` queries are complete, something is wrong, or the time is over. */
void mlperf_book_wait(struct mlperf_book *b, size_t n_done, uint64_t wait_ns);
/* Queries wait for the engine, and it said nothing for so long: that is a fault, too. */
void mlperf_book_watch(struct mlperf_book *b, uint64_t stall_ns);
/* False with what was wrong. */
bool mlperf_book_right(struct mlperf_book *b, struct errinfo *e);

struct mlperf_count {
    size_t asked, done;
    uint64_t tokens;
};
struct mlperf_count mlperf_book_count(struct mlperf_book *b);

#endif
