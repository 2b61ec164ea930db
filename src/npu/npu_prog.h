/* SPDX-License-Identifier: MIT
 * npu_prog.h - what a chip runs: streams of commands for the four queues of each core.
 *
 * A core has queues that work side by side, each in its order: load (memory to core), matrix,
 * vector, store.  Commands wait for each other by counting semaphores of their core, `take` and
 * `give`, and across cores by AWAIT: a step is through when each core that works for it has done
 * its last STORE.  That is all there is of order: what is not ordered by these may happen at once,
 * and npu_check (npu_prove.c) proves that nothing then goes wrong.
 *
 * Commands of one operation lie in a segment, which operations of the same shape share: a program
 * is a list of steps, each a segment with the addresses of its weights and tensors.  A step's
 * buffers lie in one half of each core's working memory, the next step's in the other, so that the
 * next one's weights load while this one works. */
#ifndef NPU_NPU_PROG_H
#define NPU_NPU_PROG_H

#include "npu/npu_work.h"

enum npu_cmd_kind {
    NPU_CMD_OPEN,   /* load queue: takes the step's half of the memory before AWAIT does */
    NPU_CMD_AWAIT,  /* load queue: the step before is through; then `bytes` ns more */
    NPU_CMD_LOAD,   /* `bytes` from `level` to the core */
    NPU_CMD_MATRIX, /* a tile m x k x n into the sums */
    NPU_CMD_VECTOR, /* m element passes */
    NPU_CMD_STORE,  /* `bytes` from the core to `level` */
    NPU_N_CMDS
};

enum npu_queue { NPU_Q_LOAD, NPU_Q_MATRIX, NPU_Q_VECTOR, NPU_Q_STORE, NPU_N_QUEUES };

enum npu_level {
    NPU_HERE,   /* in the core's own memory: nothing moves */
    NPU_SHARED, /* shared memory or another core's, over the chip's network */
    NPU_MEMORY, /* DRAM */
    NPU_PEER    /* STORE: other chips; addr is then how long that takes, ps (npu_link.h) */
};

enum npu_base { NPU_BASE_WEIGHT, NPU_BASE_IN, NPU_BASE_IN2, NPU_BASE_OUT, NPU_N_BASES };

/* Semaphores of a core, two sets: a step's is that of its half.  Each is taken by one queue only,
 * which stands in its name's comment: a queue that is ahead of others can then take nothing that is
 * not its. */
enum npu_sem {
    NPU_NO_SEM,
    NPU_W_FREE, /* load: slots of weights, */
    NPU_A_FREE, /* load: of inputs, */
    NPU_R_FREE, /* load: and of what the vector unit reads */
    NPU_PLACE,  /* load: of a tile in its core, where the one before keeps it to its last store */
    NPU_W_FULL, /* matrix */
    NPU_A_FULL, /* matrix */
    NPU_R_FULL, /* vector */
    NPU_O_FREE, /* matrix: slots of results, */
    NPU_T_FREE, /* matrix: and of a task's result (attention) */
    NPU_O_FULL, /* vector: results to go through it */
    NPU_P_FULL, /* matrix: the vector unit's results that it goes on with */
    NPU_V_FREE, /* vector: slots of its own results */
    NPU_S_FULL, /* store: results to go out */
    NPU_HALF,   /* load: the half itself */
    NPU_N_SEMS
};

#define NPU_TOKENS        2                   /* of a semaphore: as many as a buffer has slots */
#define NPU_BYTES_MAX     ((uint64_t)1 << 40) /* of a transfer; nanoseconds of a pause */
#define NPU_ADDR_MAX      ((uint64_t)1 << 50)
#define NPU_TILE_MACS_MAX 1e15
#define NPU_SLOTS         2 /* of each buffer: one is filled while the other is used */
#define NPU_KEYS_MAX      (1u << 20)

struct npu_cmd {
    uint8_t kind, level, base;
    uint8_t take[3], give[3];
    bool first, last; /* MATRIX: of a tile's chunks; LOAD: first: who brings what others share;
                         STORE: last: this core is then through with the step */
    uint16_t pieces;  /* LOAD, MATRIX: the buffer's size goes so often into the chunk; it streams */
    uint16_t full_m,
        full_n;            /* MATRIX: the kernel's size where it is larger than what it has to do */
    uint16_t takes, gives; /* take and give as bits, without NPU_NO_SEM: npu_cmd_tally */
    uint32_t key;          /* LOAD: of what several cores load; 0: this core alone */
    uint32_t m, k, n;      /* MATRIX, VECTOR */
    uint32_t sram, size;   /* the buffer it fills or reads, within the half */
    uint64_t bytes, addr;  /* a transfer of none is HERE */
};

struct npu_segment {
    const struct npu_cmd *cmds;
    const uint32_t *from; /* [cores * NPU_N_QUEUES + 1]: a core's queue, in order of cores */
    size_t n_cmds;
    uint32_t n_keys;
    uint32_t working; /* cores that are through with it when their last STORE is; the others have
                         no more than an AWAIT */
    uint8_t queues;   /* those with commands, of any core, as bits */
    unsigned beside;  /* tiles of a core at once */
    uint64_t half;    /* bytes of a half that its buffers use */
};

struct npu_step {
    const struct npu_segment *segment;
    uint32_t op; /* of the work */
    uint64_t base[NPU_N_BASES];
};

struct npu_prog {
    struct arena arena;
    const struct npu_work *work;
    const struct npu_chip *chip;
    unsigned cores; /* of an instance */
    const struct npu_step *steps;
    size_t n_steps, n_segments, n_cmds;
    double weight_bytes, pinned_bytes; /* of all weights; of those that stay on the chip */
    double table_bytes;                /* of embeddings, which are no product's weights */
    double peak_bytes;                 /* activations alive at once */
    uint64_t memory;                   /* bytes of DRAM: weights, tensors, keys and values */
};

/* Compiles for `cores` cores of the chip, which shares its memories with `instances` - 1 others.
 * Both must outlive the program.  Errors: TOOBIG (memory that does not suffice, with both numbers),
 * UNSUPPORTED. */
enum err npu_compile(struct npu_prog **out, const struct npu_work *w, const struct npu_chip *c,
                     unsigned cores, unsigned instances, struct errinfo *e);
void npu_prog_free(struct npu_prog *p);

/* To be called when take and give are as they should be. */
static inline void npu_cmd_tally(struct npu_cmd *c)
{
    c->takes = (uint16_t)((1u << c->take[0] | 1u << c->take[1] | 1u << c->take[2]) & ~1u);
    c->gives = (uint16_t)((1u << c->give[0] | 1u << c->give[1] | 1u << c->give[2]) & ~1u);
}

enum npu_queue npu_queue_of(enum npu_cmd_kind k);
/* How many tokens a queue's commands take, and give, at most: the first ones of the lists. */
static inline int npu_most_takes(enum npu_queue q)
{
    return q == NPU_Q_MATRIX ? 3 : q == NPU_Q_STORE ? 1 : 2;
}

static inline int npu_most_gives(enum npu_queue q)
{
    return q == NPU_Q_MATRIX ? 3 : q == NPU_Q_LOAD ? 1 : 2;
}

enum npu_queue npu_taker_of(enum npu_sem s); /* NPU_NO_SEM: NPU_N_QUEUES */

/* Whether every order that the program allows is right: no buffer is written while another command
 * uses it, nothing is used before it is loaded, no semaphore waits for ever or gets more tokens
 * than it holds.  CORRUPT names the first fault.  Walks each segment three times in a row. */
enum err npu_check(const struct npu_prog *p, struct errinfo *e);
enum err npu_check_segment(const struct npu_prog *p, const struct npu_segment *s, uint32_t op,
                           struct errinfo *e);
/* One line a command; of one operation where op >= 0. */
void npu_prog_print(const struct npu_prog *p, int op, struct str *out);

#endif
