/* SPDX-License-Identifier: MIT
 * cmd_bench.h - what `damso bench` measures: one list of rows, which text, JSON and a picture show.
 *
 * Rows, each with the logits' hash: a fast wrong kernel is not fast.
 *   prefill  `tokens` tokens after a context of `at`, in steps of the setting `batch`; logits after
 *            the last
 *   decode   `tokens` tokens one by one after a context of `at`
 *   batch    `seqs` sequences from an empty context that decode `tokens` tokens each, together
 * A speed is the median of the runs.  What a run has to do at the least is counted from the model's
 * shape and set beside what the machine can do (machine.h): products beside its best moment, reads
 * beside what could be read just before and after the run, since a shared host's memory is now
 * faster and now slower. */
#ifndef APP_CMD_BENCH_H
#define APP_CMD_BENCH_H

#include "app/machine.h"
#include "base/err.h"
#include "base/str.h"
#include "engine/engine.h"

#include <stdbool.h>
#include <stdint.h>

#define BENCH_RUNS_MAX 1000
#define BENCH_LIST_MAX 16
#define BENCH_ROWS_MAX (2 + 3 * BENCH_LIST_MAX)

enum bench_kind { BENCH_PREFILL, BENCH_DECODE, BENCH_BATCH };

/* What a run does at the least, by the instruction it is done with. */
struct bench_work {
    double int8_macs, float_macs; /* of matrices */
    double attend_macs;           /* of attention, which computes in floats */
    double weight_bytes;          /* the matrices as they lie in memory, once a step */
    double file_bytes;            /* the same as the file has them */
    double kv_bytes;              /* keys and values that are looked at, once a step */
    double state_bytes;           /* states beside them, read and written once a step */
};

struct bench_row {
    enum bench_kind kind;
    size_t tokens, seqs, at;
    double median, min, max; /* tokens a second, of all sequences */
    double joules;           /* a token, on a simulated chip */
    uint64_t hash;           /* of the last logits of every sequence */
    /* Reads measured just before and after each run, 10^9 bytes a second (lowest, highest), and the
     * bytes that they come to in a run's time (median).  0: not measured. */
    double reads_min, reads_max, room;
    struct bench_work work;
    /* From here on by bench_rates. */
    double gmacs, gbs, file_gbs; /* 10^9 multiply-adds, bytes a second */
    double matrix_share;         /* matrices alone, of the limit of their instruction */
    double product_share;        /* with attention */
    double read_share, file_share;
    /* What the context added, beside the same row without one; 0: not known. */
    double attend_gmacs, attend_share, kv_gbs, kv_share;
};

struct bench_list {
    size_t n;
    int64_t v[BENCH_LIST_MAX];
};

struct bench {
    int64_t prefill, decode, runs;
    struct bench_list batch, at; /* at: ascending */
    const char *model;
    /* The simulated chip, whose clock the speeds are by; "": none. */
    char device[64], computes[8];
    int threads;
    size_t n_rows;
    struct bench_row rows[BENCH_ROWS_MAX];
    struct engine_memory memory;
    size_t embeddings; /* bytes of the table that is read from the file, where no matrix packs it */
    size_t resident;   /* bytes of the process that were in memory at most */
    struct machine machine;
};

/* Numbers from 1 to max with commas between them.  Error: USAGE, naming the option. */
enum err bench_list_read(struct bench_list *l, const char *option, const char *text, int64_t max,
                         struct errinfo *e);

/* Tokens of context that the longest row has, and pages that all rows find room in. */
size_t bench_ctx(const struct bench *b);
size_t bench_ctx_total(const struct bench *b, size_t ctx);

/* Runs every row, and notes the memory.  Errors: CANCELLED, those of engine_step. */
enum err bench_run(struct bench *b, struct engine *en, enum cpu_level level, struct errinfo *e);

struct bench_how {
    enum cpu_level level;
    size_t batch;       /* tokens of a prompt that a step takes */
    double kv_position; /* bytes of keys and values of a position, over all layers */
};

struct plan;
struct bench_work bench_work(const struct plan *p, const struct bench_row *r,
                             const struct bench_how *how);
/* Sets the rows beside b->machine. */
void bench_rates(struct bench *b);

/* Bytes that were counted before any was taken. */
size_t bench_accounted(const struct bench *b);

/* "prefill 512 @ 8192" */
void bench_row_name(const struct bench_row *r, char *out, size_t n);

void bench_print(const struct bench *b);
void bench_print_json(const struct bench *b);
void bench_print_machine(const struct machine *m, bool json);
/* Writes the picture.  Error: IO, naming the file. */
enum err bench_draw(const struct bench *b, const char *path, struct errinfo *e);

#endif
