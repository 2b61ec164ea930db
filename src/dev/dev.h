/* SPDX-License-Identifier: MIT
 * dev.h - who executes a plan.
 *
 * Does: take a plan once, then steps: rows of (token, position, pages) in, logits or hidden states
 *       out.
 * Does not: choose rows, hold sequences, or manage pages beyond their memory (engine does).
 * Owner: one thread calls a device; it uses its own threads inside. */
#ifndef DEV_DEV_H
#define DEV_DEV_H

#include "base/err.h"
#include "cpu/cpu.h"
#include "dev/dev_sim.h"
#include "kern/kern.h"
#include "plan/plan_share.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEV_PAGE KERN_PAGE /* positions of a page of keys and values */
#define DEV_NONE UINT32_MAX

/* A sequence has pages, as many as it is long, and a state, which is of one size (layers that scan:
 * model.h).  A model may have one of them alone. */

/* Adapters of a sequence, each with its weight. */
#define DEV_LORA_MAX 8

struct dev_lora {
    size_t n;
    struct {
        const struct model_lora *adapter; /* whose tensors are those of MATMUL operations */
        float scale;
    } one[DEV_LORA_MAX];
};

/* One token of a step.  Rows of one sequence stand together, in the order of their positions.  What
 * is added here has to be told to other processes, or refused (dev_ranks.c). */
struct dev_row {
    int32_t token;
    const float *x; /* in place of the token's embedding, where there is one; NULL: the token's */
    int32_t pos;
    uint32_t type; /* which of the model's token types, where it has them */
    /* Where what it sees ends: of a picture's rows where the picture does, all of which is in this
     * step; 0: with itself.  A layer's window is not wider by it. */
    int32_t see_to;
    const uint32_t *pages; /* of the sequence: page pos / DEV_PAGE holds position pos */
    /* Of models with states: the sequence's slot, which holds what it was after the row before; a
     * slot that gets a copy of what it is after this row, or DEV_NONE. */
    uint32_t state, keep;
    /* Which row of the logits, or of the hidden states; -1: none.  Each ascends along the step, and
     * a row wants one of the two at most. */
    int32_t out, hidden;
    const struct dev_lora *lora; /* or NULL */
};

/* What a device needs, in bytes, before it takes any of it. */
struct dev_need {
    size_t weights;   /* of its own, beside the mapped file */
    size_t page;      /* of one page over all layers; 0: no layer attends */
    size_t state;     /* of a sequence beside its pages; 0: the model has no such layers */
    size_t work;      /* buffers for rows_max and out_max, and scratch */
    size_t pages_max; /* that a simulated chip's memory holds beside the weights; SIZE_MAX: any */
    /* The same in bytes, of the fullest chip where there are several: its memory, weights and
     * buffers, and a page; 0: no chip. */
    double chip_all, chip_fixed, chip_page;
};

/* Is shown, by one thread amid a step, what a matrix is about to be multiplied by: rows of its
 * columns, `stride` floats apart.  expert: which of the matrix's, 0 where it has none. */
struct dev_watch {
    void (*fn)(void *arg, const struct model_matrix *w, size_t expert, const float *x,
               size_t stride, size_t n_rows);
    void *arg;
};

/* How a share's GATHER, SEND and RECEIVE are done: each is called by one thread amid a step, with
 * n_rows rows of `stride` floats.  False: the others are gone; nothing more is asked in that step,
 * whose results mean nothing. */
struct dev_link {
    bool (*gather)(void *arg, const struct plan_op *op, float *rows, size_t stride, size_t n_rows);
    bool (*send)(void *arg, const float *rows, size_t stride, size_t n_rows);
    bool (*receive)(void *arg, float *rows, size_t stride, size_t n_rows);
    void *arg;
};

/* Of a simulated chip that computes a share: the largest share of each stage, in their order.  A
 * step takes the sum of what they take one after the other, each with its exchanges; its joules are
 * those of all chips. */
struct dev_peers {
    struct plan **share; /* [n], as long as the device is open */
    size_t n, a_stage;   /* stages; chips of each */
};

/* The model, which must outlive them, is to have its angles.  Close it after an error, too.
 * Errors: as plan_share_new. */
enum err dev_peers_open(struct dev_peers *p, const struct model *m, const struct plan_ranks *of,
                        struct errinfo *e);
void dev_peers_close(struct dev_peers *p);

struct dev_opts {
    size_t n_pages;
    size_t n_states; /* slots; unused where a state has no bytes */
    size_t rows_max; /* of a step */
    size_t out_max;  /* rows of logits of a step */
    int n_threads;   /* >= 1 */
    enum cpu_level level;
    size_t ctx_max;  /* the longest sequence */
    enum kern_kv kv; /* how keys and values are kept */
    enum kern_numerics numerics;
    struct dev_sim_opts sim;
    /* Where packed weights of packed_bytes_min or more are kept from start to start, all such files
     * together within packed_bytes_max; NULL: nowhere. */
    const char *packed_dir;
    uint64_t packed_bytes_min, packed_bytes_max;
    /* Called by the opening thread as weights are prepared, from 0 to 1; may be NULL. */
    void (*progress)(void *arg, double share);
    void *progress_arg;
    const struct dev_watch *watch; /* or NULL */
    struct plan_ranks ranks;       /* processes that compute the model together (dev_ranks.h) */
    const struct dev_link *link;   /* of a share's plan; NULL: it is no share */
    const struct dev_peers *peers; /* or NULL */
};

struct dev {
    const char *name;
    /* Whether the step can be made; nothing has happened yet.  NULL: any can.  Errors: a simulated
     * chip cannot be compiled for. */
    enum err (*admit)(struct dev *d, const struct dev_row *rows, size_t n, struct errinfo *e);
    /* n rows, 1 <= n <= rows_max.  The logits of row i of out are at logits + i * logits_stride,
     * the hidden state of row i of hidden, after the model's last norm, is at hidden + i *
     * hidden_stride, until the next step. */
    void (*step)(struct dev *d, const struct dev_row *rows, size_t n);
    /* After a step: whether it was computed; once it was not, none will be.  NULL: each is. */
    enum err (*check)(struct dev *d, struct errinfo *e);
    /* What page `from` holds, over all layers, into page `to`. */
    void (*copy_page)(struct dev *d, uint32_t to, uint32_t from);
    /* The page_bytes of a page, over all layers, to be kept and brought back by the caller.  NULL:
     * this process has a part of them alone. */
    void *(*page)(struct dev *d, uint32_t page);
    /* A sequence's state begins as zeros; what slot `from` holds, into slot `to`. */
    void (*clear_state)(struct dev *d, uint32_t slot);
    void (*copy_state)(struct dev *d, uint32_t to, uint32_t from);
    /* True when nothing is left to be written of packed weights; waits for that up to wait_ns. */
    bool (*kept)(struct dev *d, uint64_t wait_ns);
    void (*close)(struct dev *d);
    const float *logits; /* [out_max][logits_stride], the first n_vocab count */
    size_t logits_stride;
    size_t page_bytes, state_bytes;
    const float *hidden; /* moves from step to step */
    size_t hidden_stride;
    const struct dev_sim *sim; /* NULL: it is no simulation */
};

/* What o asks for: several processes, a simulated chip, or the CPU. */
enum err dev_need(const struct plan *p, const struct dev_opts *o, struct dev_need *need,
                  struct errinfo *e);
enum err dev_open(struct dev **out, const struct plan *p, const struct dev_opts *o,
                  struct errinfo *e);
/* The same without the other processes: p may be a share. */
enum err dev_need_here(const struct plan *p, const struct dev_opts *o, struct dev_need *need,
                       struct errinfo *e);
enum err dev_open_here(struct dev **out, const struct plan *p, const struct dev_opts *o,
                       struct errinfo *e);

/* The CPU device.  Errors: MEMORY. */
enum err dev_cpu_need(const struct plan *p, const struct dev_opts *o, struct dev_need *need,
                      struct errinfo *e);
enum err dev_cpu_open(struct dev **out, const struct plan *p, const struct dev_opts *o,
                      struct errinfo *e);

/* A simulated chip: the CPU device computes, the chip's simulator says how long the chip would
 * take and for how many joules.  Errors: TOOBIG (the model does not fit into the chip's memory),
 * UNSUPPORTED (the chip does not compute in what `numerics` says), those of dev_cpu. */
enum err dev_chip_need(const struct plan *p, const struct dev_opts *o, struct dev_need *need,
                       struct errinfo *e);
enum err dev_chip_open(struct dev **out, const struct plan *p, const struct dev_opts *o,
                       struct errinfo *e);
/* The contract by which a chip computes language models: 16-bit floats where it has them, else
 * 8-bit integers.  UNSUPPORTED: it has neither. */
enum err dev_chip_numerics(const struct npu_chip *c, enum kern_numerics *out, struct errinfo *e);

#endif
