/* SPDX-License-Identifier: MIT
 * dev_ranks_int.h - what the first process says to the others; nobody else includes it.
 *
 * A message begins with its head and comes in one piece of up to RANKS_SHORT bytes; the rest, of a
 * longer one, in another.  All processes are of the same program on machines of the same byte
 * order: an OPEN says which, and another is refused. */
#ifndef DEV_DEV_RANKS_INT_H
#define DEV_DEV_RANKS_INT_H

#include "dev/dev.h"
#include "ranks/ranks.h"

#define RANKS_SHORT 8192

enum ranks_kind {
    RANKS_OPEN,
    RANKS_ROWS, /* a step */
    RANKS_COPY_PAGE,
    RANKS_CLEAR_STATE,
    RANKS_COPY_STATE,
    RANKS_CLOSE,
    RANKS_END
};

struct ranks_head {
    uint32_t kind;
    uint32_t n;     /* ROWS: rows */
    uint64_t bytes; /* of all, this head included */
    uint32_t to, from;
};

/* What a device is to be opened with, and what must be alike. */
struct ranks_open_body {
    struct ranks_head head;
    char version[32];
    uint64_t file_bytes, file_key;
    uint64_t n_pages, n_states, rows_max, out_max, ctx_max;
    uint64_t tensor, pipeline;
    int32_t kv, numerics, level;
};

/* An answer to it. */
struct ranks_reply {
    int32_t code; /* enum err */
    char text[sizeof((struct errinfo *)0)->text];
};

/* A row, and behind all rows the pages of each run of rows of one sequence. */
struct ranks_row {
    int32_t token, pos, out, hidden;
    uint32_t state, keep, n_pages; /* n_pages: of a run's first row; 0: the row before goes on */
};

/* The exchanges of a share, over ranks.h. */
struct ranks_link {
    struct dev_link link;
    struct plan_ranks of;
    size_t rank;
    float *packed; /* [packed_n]: parts of rows, side by side */
    size_t packed_n;
};

void ranks_link_init(struct ranks_link *l, const struct plan_ranks *of, size_t rank);
void ranks_link_done(struct ranks_link *l);
/* Floats that it packs, at most. */
size_t ranks_link_floats(const struct plan *share, const struct dev_opts *o);

/* What tells one file from another. */
uint64_t ranks_file_key(const struct model *m);

#endif
