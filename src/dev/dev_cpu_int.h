/* SPDX-License-Identifier: MIT
 * dev_cpu_int.h - what the files of the CPU device share; nobody else includes it. */
#ifndef DEV_DEV_CPU_INT_H
#define DEV_DEV_CPU_INT_H

#include "dev/dev.h"
#include "dev/dev_cpu_pack.h"
#include "kern/mm.h"
#include "os/os_pool.h"

#define CPU_TILE_QUERIES 256 /* queries of a head's group that attend together */
#define CPU_TILE_LEAST   8 /* rows of a tile that are not cut further for the sake of more tiles */
#define CPU_SHARES       8 /* units of attention a thread has at least, where there is a choice */
#define CPU_SPAN         (2 * KERN_PART) /* positions of a unit where a sequence is taken apart */
#define CPU_OUT_TERMS    2 /* 8-bit terms of the activations that meet the output matrix */

/* A plan's operation, and what this device decided about it. */
struct cpu_op {
    const struct plan_op *op;
    const void *weight[PLAN_PARTS_MAX]; /* packed, or the file's; EMBED: packed, or NULL */
    enum mm_act_kind act;               /* MATMUL: what its source must be */
    /* 8-bit terms of a row of its source or, for what quantizes_dst, its result: the logits take
     * two, since their rounding is the largest single error and they are few rows. */
    size_t n_terms;
    enum plan_rows act_rows; /* which rows are made 8-bit: those of the MATMUL that reads them */
    bool quantizes_dst;      /* its result is made 8-bit at once, for the MATMUL that reads it */
    bool quantizes_src;      /* MATMUL: nobody did so before: it does, with a barrier of its own */
    bool barrier_after;      /* the next operation needs what other threads wrote */
};

/* Consecutive rows of one sequence. */
struct cpu_tile {
    size_t row, n_rows;
};

/* One thread's memory, apart from the others'. */
struct cpu_scratch {
    void *mm;
    float *attend;
    const float **q; /* [n_q_max] and so on */
    float **out;
    int32_t *from, *to;
    const void **k, **v; /* [pages of the longest sequence] */
    float *left;         /* [widest row]: what a first term leaves */
};

struct dev_cpu {
    struct dev dev; /* first */
    const struct plan *plan;
    struct dev_opts opts;
    struct kern kern;
    const struct mm_kernel *mm;
    struct os_pool *pool;
    struct arena arena;
    struct cpu_op *ops; /* [plan->n_ops] */
    size_t tile_rows;   /* of the largest tile */
    size_t n_q_max;
    size_t split_rows; /* rows of a step whose sequences are taken apart, see run_attend */

    struct cpu_pack pack;
    char *pages; /* [n_pages][n_layer][n_kv_head]: a page of keys and one of values (kern.h) */
    size_t pages_bytes;
    size_t k_bytes, v_bytes; /* of those two */
    void *work;              /* what follows points into it */
    size_t work_bytes;
    float *rows;    /* plan's buffers */
    float *logits;  /* [out_max][width] */
    float *cos_sin; /* [2][rows_max][n_rot]: of the plain and the local angles */
    float *parts;   /* [split_rows][n_head][parts of ctx_max][2 + v_dim]: attention in parts */
    struct mm_act act;
    struct cpu_scratch *scratch; /* [n_threads] */

    /* the step that runs */
    const struct dev_row *step_rows;
    size_t n_rows, n_out, n_wanted; /* n_wanted: logits first, then hidden states */
    struct cpu_tile *tiles;         /* [rows_max] */
    size_t n_tiles;
    size_t n_pieces; /* of the longest sequence; 1: none is taken apart */
};

static inline struct dev_cpu *dev_cpu_of(struct dev *d)
{
    return (struct dev_cpu *)d;
}

/* Rows of buffer b of the running step. */
static inline float *cpu_buf(const struct dev_cpu *d, enum plan_buf b)
{
    return b == PLAN_LOGITS ? d->logits : d->rows + d->plan->place[b] * d->n_rows;
}

void dev_cpu_step(struct dev *dev, const struct dev_row *rows, size_t n); /* dev_cpu_step.c */

/* Page `page`, layer, head: its keys; its values follow after k_bytes. */
static inline char *cpu_page(const struct dev_cpu *d, uint32_t page, int layer, size_t head)
{
    const struct model *m = d->plan->model;
    size_t at = ((size_t)page * m->n_layer + (size_t)layer) * m->n_kv_head + head;
    return d->pages + at * (d->k_bytes + d->v_bytes);
}

#endif
