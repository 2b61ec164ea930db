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
#define CPU_SPAN         (2 * KERN_PART) /* least positions of a unit of a sequence taken apart */
#define CPU_UNITS        16 /* such units for each thread, where the sequence is long */
/* Numbers of all parts of sequences that are taken apart: one head of keys, as latent attention has
 * it, and many threads would make tens of gigabytes of a long context's.  One row is always. */
#define CPU_PARTS_MAX ((size_t)128 << 20)
/* Numbers of all scores of the rows that choose positions together; one row is always. */
#define CPU_INDEX_SCORES ((size_t)8 << 20)
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
    bool pairs_src;          /* MATMUL: it makes its source pairs (pairs.h), with a barrier */
    bool barrier_after;      /* the next operation needs what other threads wrote */
};

/* Consecutive rows of one sequence. */
struct cpu_tile {
    size_t row, n_rows;
    size_t end;  /* positions of the sequence that one of them may see */
    bool chosen; /* it is one row, which sees the positions that were chosen: `end` of them */
};

/* A layer's part of a page: where it begins, and bytes of a head's keys and values; where its index
 * keys begin. */
struct cpu_kv {
    size_t at, k_bytes, v_bytes, index_at;
};

/* One thread's memory, apart from the others'. */
struct cpu_scratch {
    void *mm;
    float *attend;
    const float **q; /* [n_q_max] and so on */
    float **out;
    int32_t *from, *to, *at;
    float *sink, *slope; /* [n_q_max] */
    float *grow;         /* [n_q_max] */
    const void **k, **v; /* [pages of the longest sequence] */
    float *left;         /* [widest row]: what a first term leaves */
    const float **taps;  /* [taps of a convolution] */
    char *taken;         /* pages of keys and values of the positions that a row sees */
    float *state;        /* a head's numbers on their way to its state: [4 * its dimensions] */
};

/* The experts of a step's rows in the layer that runs.  A slot is a row of one expert; slots are
 * ordered by expert, and those of one expert by row. */
struct cpu_routes {
    int32_t *chosen;  /* [rows][n_chosen]: experts in the order of their scores */
    float *weight;    /* [rows][n_chosen] */
    uint32_t *slot;   /* [rows][n_chosen] */
    uint32_t *row;    /* [slots] */
    uint32_t *begin;  /* [n_expert + 1]: an expert's first slot */
    uint32_t *active; /* [n_active]: the experts that have slots */
    size_t n_active;
};

struct dev_cpu {
    struct dev dev; /* first */
    const struct plan *plan;
    struct dev_opts opts;
    struct kern kern;
    const struct mm_kernel *mm;
    bool pairs; /* it computes in bfloat16 (pairs.h) */
    struct os_pool *pool;
    struct arena arena;
    struct cpu_op *ops; /* [plan->n_ops] */
    size_t tile_rows;   /* of the largest tile */
    size_t n_q_max;
    size_t split_rows; /* rows of a step whose sequences are taken apart, see run_attend */

    struct cpu_pack pack;
    char *pages; /* [n_pages][n_attend][n_kv_head]: a page of keys and one of values (kern.h) */
    size_t pages_bytes, page_bytes;
    struct cpu_kv *kv; /* [n_layer] */
    float *states;     /* [n_states][plan->state_floats] */
    size_t states_bytes;
    void *work; /* what follows points into it */
    size_t work_bytes;
    float *rows;    /* plan's buffers */
    float *logits;  /* [out_max][width] */
    float *cos_sin; /* [2][rows_max][n_rot]: of the plain and the local angles */
    float *parts;   /* [split_rows][n_head][parts of ctx_max][2 + v_dim]: attention in parts */
    struct mm_act act;
    uint32_t *pair;      /* [rows_max][columns / 2]: what a matrix in pairs meets */
    const float *slopes; /* [n_head] or NULL: of the model's heads */
    const float *ones;   /* [CPU_PIECE] */
    struct cpu_routes routes;
    int32_t *chosen;             /* [rows_max][index_top_k]: positions that a row sees, ascending */
    size_t index_rows;           /* whose scores are kept at once */
    float *index_scores;         /* [index_rows][ctx_max, in whole pages] */
    struct cpu_scratch *scratch; /* [n_threads] */

    /* the step that runs */
    const struct dev_row *step_rows;
    size_t n_rows, n_out, n_wanted; /* n_wanted: logits first, then hidden states */
    struct cpu_tile *tiles;         /* [rows_max] */
    size_t n_tiles;
    struct cpu_tile *runs; /* [rows_max]: all rows of a sequence each */
    size_t n_runs;
    size_t n_pieces;  /* of the longest sequence; 1: none is taken apart */
    size_t span;      /* positions of a piece */
    bool cut_off;     /* the other processes of a share are gone */
    uint32_t *picked; /* [rows_max]: the step's row of each that something is wanted of */
    bool adapts;      /* some row has adapters */
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

/* ---- of one step, for the files that run operations ---- */

#define CPU_PIECE 1024 /* of a row, for elementwise operations; whole blocks of 32 */

/* A thread of a step. */
struct walker {
    struct dev_cpu *d;
    int thread, n_threads;
};

/* A part of n things. */
struct share {
    size_t from, to;
};

static inline struct share share_of(const struct walker *w, size_t n)
{
    size_t t = (size_t)w->thread, of = (size_t)w->n_threads;
    return (struct share){n * t / of, n * (t + 1) / of};
}

static inline size_t count_rows(const struct dev_cpu *d, enum plan_rows rows)
{
    const size_t n[] = {
        [PLAN_ROWS_ALL] = d->n_rows, [PLAN_ROWS_WANTED] = d->n_wanted, [PLAN_ROWS_OUT] = d->n_out};
    return n[rows];
}

static inline size_t op_rows(const struct dev_cpu *d, const struct plan_op *op)
{
    return count_rows(d, op->rows);
}

static inline float *buf_row(const struct dev_cpu *d, enum plan_buf b, size_t row)
{
    return cpu_buf(d, b) + row * d->plan->width[b];
}

/* Floats from a slot's row of a spread buffer to the next one's. */
static inline size_t slot_stride(const struct dev_cpu *d, enum plan_buf b)
{
    return d->plan->width[b] / d->plan->model->n_chosen;
}

static inline float *buf_slot(const struct dev_cpu *d, enum plan_buf b, size_t slot)
{
    return cpu_buf(d, b) + slot * slot_stride(d, b);
}

/* Slots of an operation's experts: all, but of a share. */
static inline struct share slots_of(const struct dev_cpu *d, const struct plan_op *op)
{
    return (struct share){d->routes.begin[op->expert], d->routes.begin[op->expert + op->n_experts]};
}

/* Pieces of a work of `units` units; see cpu_piece_next. */
struct pieces {
    size_t units, n_threads, next; /* next: of this thread's pieces */
    bool small;                    /* a thread takes its share at once */
};

/* Below some 20 us the shared counter would cost more than it evens out. */
#define CPU_SMALL_MACS ((size_t)8 << 20)

/* Units of this thread's next piece, and the one that it begins with; 0: there is none left.  The
 * first one is the thread's own, the others are taken as they come. */
size_t cpu_piece_next(const struct walker *w, struct pieces *p, size_t *begin);

/* Weights of part i from a row on, which a panel begins with. */
static inline const void *cpu_weights_from(const struct dev_cpu *d, const struct cpu_op *co, int i,
                                           size_t row)
{
    const struct model_matrix *w = co->op->part[i].weight;
    size_t at = mm_packed_bytes(d->mm, w->format, w->cols, row);
    if (at == 0) /* as the file has them */
        at = row * format_bytes(w->format, w->cols);
    return (const char *)co->weight[i] + at;
}

/* Floats of a row's cosines and sines. */
static inline size_t cpu_angles_width(const struct dev_cpu *d)
{
    const struct model *m = d->plan->model;
    return m->n_rot > m->n_rot_local ? m->n_rot : m->n_rot_local;
}

/* 8-bit activations of n rows of k from row `at` on, as a matrix by itself (mm.h). */
static inline struct mm_act cpu_acts_part(const struct dev_cpu *d, size_t at, size_t n, size_t k)
{
    size_t before = at * mm_act_width(k);
    return (struct mm_act){.q = d->act.q + before,
                           .d = d->act.d + before / 32,
                           .sum = d->act.sum + before / 32,
                           .neg32 = d->act.neg32 + before / 32,
                           .neg16 = d->act.neg16 + before / 16,
                           .rows = n};
}

/* Behind a row or, of a picture's, behind the picture. */
static inline int32_t cpu_after(const struct dev_row *row)
{
    return row->see_to > row->pos ? row->see_to : row->pos + 1;
}

/* Does a row see chosen positions alone? */
static inline bool cpu_chooses(const struct dev_cpu *d, const struct dev_row *row)
{
    size_t most = d->plan->model->index_top_k;
    return most && (size_t)cpu_after(row) > most;
}

/* dev_cpu_step.c: a row of the result, once it is whole, in its 8-bit terms where the next MATMUL
 * reads it so. */
void cpu_quantize_dst(const struct walker *w, const struct cpu_op *co, size_t row);

/* dev_cpu_index.c */
void cpu_run_store_index(const struct walker *w, const struct cpu_op *co);
void cpu_run_index(const struct walker *w, const struct cpu_op *co);
/* The tile's chosen positions [from, to), copied to pages of the thread's own: number i of them is
 * slot i % DEV_PAGE of page i / DEV_PAGE, which are keys and, k_bytes after them, values. */
void cpu_take_chosen(const struct walker *w, const struct plan_op *op, const struct cpu_tile *tile,
                     size_t head, size_t from, size_t to);

/* dev_cpu_heads.c */
void cpu_run_heads(const struct walker *w, const struct cpu_op *co);
void cpu_run_copy(const struct walker *w, const struct cpu_op *co);
void cpu_run_temper(const struct walker *w, const struct cpu_op *co);

/* dev_cpu_vision.c */
void cpu_run_pool(const struct walker *w, const struct cpu_op *co);

/* dev_cpu_streams.c */
void cpu_run_size(const struct walker *w, const struct cpu_op *co);
void cpu_run_predict(const struct walker *w, const struct cpu_op *co);
void cpu_run_correct(const struct walker *w, const struct cpu_op *co);
void cpu_run_sparse(const struct walker *w, const struct cpu_op *co);

/* Where an operation's state begins in a slot's. */
static inline float *cpu_state_at(const struct dev_cpu *d, uint32_t slot, const struct plan_op *op)
{
    CHECK(slot < d->opts.n_states);
    return d->states + slot * d->plan->state_floats + op->state;
}

/* What a row has of input i. */
static inline const float *cpu_in_row(const struct dev_cpu *d, const struct plan_op *op, int i,
                                      size_t row)
{
    return buf_row(d, op->in[i].buf, row) + op->in[i].at;
}

/* dev_cpu_wkv.c */
void cpu_run_shift(const struct walker *w, const struct cpu_op *co);
void cpu_run_lerp(const struct walker *w, const struct cpu_op *co);
void cpu_run_wkv(const struct walker *w, const struct cpu_op *co);

/* dev_cpu_state.c.  keep: some columns of a state after a row, into the slot that is to keep it, if
 * one is: len numbers from `at` on, and n - 1 times `stride` further. */
void cpu_keep_state(const struct dev_cpu *d, const struct plan_op *op, size_t row,
                    const float *state, size_t at, size_t stride, size_t n, size_t len);
void cpu_run_conv(const struct walker *w, const struct cpu_op *co);
void cpu_run_scan(const struct walker *w, const struct cpu_op *co);
void cpu_run_deltarule(const struct walker *w, const struct cpu_op *co);
void cpu_clear_state(struct dev *dev, uint32_t slot);
void cpu_copy_state(struct dev *dev, uint32_t to, uint32_t from);

/* dev_cpu_lora.c: after a MATMUL or EXPERTS, for the rows that have adapters; and of a row's
 * embedding. */
void cpu_run_lora(const struct walker *w, const struct cpu_op *co);
void cpu_embed_lora(const struct dev_cpu *d, const struct model_matrix *table,
                    const struct dev_row *row, float *dst);

/* dev_cpu_experts.c */
void cpu_run_route(const struct walker *w, const struct cpu_op *co);
void cpu_run_spread(const struct walker *w, const struct cpu_op *co);
void cpu_run_scale_slots(const struct walker *w, const struct cpu_op *co);
void cpu_run_experts(const struct walker *w, const struct cpu_op *co);
void cpu_run_combine(const struct walker *w, const struct cpu_op *co);

/* Page `page` of those that a thread has copied. */
static inline char *cpu_taken(const struct dev_cpu *d, const struct cpu_scratch *s, int layer,
                              size_t page)
{
    return s->taken + page * (d->kv[layer].k_bytes + d->kv[layer].v_bytes);
}

/* Page `page`, layer, head: its keys; its values follow after k_bytes. */
static inline char *cpu_page(const struct dev_cpu *d, uint32_t page, int layer, size_t head)
{
    const struct cpu_kv *kv = &d->kv[layer];
    return d->pages + page * d->page_bytes + kv->at + head * (kv->k_bytes + kv->v_bytes);
}

#endif
