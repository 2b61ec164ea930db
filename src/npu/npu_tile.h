/* SPDX-License-Identifier: MIT
 * npu_tile.h - how an operation is cut for the cores of a chip.  Within this module. */
#ifndef NPU_NPU_TILE_H
#define NPU_NPU_TILE_H

#include "npu/npu_prog.h"

/* Where an operation's data is. */
struct npu_where {
    enum npu_level weight, in, in2, out;
    bool in_cores, in2_cores; /* SHARED means spread over the cores, each with its part */
    bool in_rows, in2_rows;   /* and a core's part is whole rows */
    bool out_cores;           /* results stay in the core that makes them */
    bool weight_kept;         /* each core keeps the weights that it alone uses */
};

/* dst is cut into tiles of tm x tn, sums into `ks` parts that different tiles make; tiles are dealt
 * to cores in runs of equal length.  A tile's products go in chunks of tk.  1 piece: a buffer holds
 * a chunk. */
struct npu_tiling {
    uint64_t tm, tn, tk;
    uint64_t mt, nt, ks, chunks; /* tiles down, across; parts of the sums; chunks of a tile */
    uint64_t pieces;             /* a chunk streams through buffers of so many parts of it */
    bool down_first;             /* the next tile is the one below: weights stay, inputs change */
    bool keep_w, keep_a;         /* a whole tile's weights (inputs) stay for the next tile */
    bool lose_w, lose_a;         /* a cache has lost a column's weights (a row's inputs) by the time
                                    when the cores take their next tiles */
    unsigned beside;
    double cost; /* ps, about */
};

/* What bounds an operation, in about the time it takes; used to choose. */
struct npu_tiling npu_tile_search(const struct npu_chip *c, const struct npu_work *w,
                                  const struct npu_op *op, const struct npu_where *at,
                                  unsigned cores, unsigned instances);

/* Tiles that all cores work on at once, one after the other in the order of tiles. */
uint64_t npu_tile_wave(const struct npu_tiling *t, unsigned cores);

/* Whether each core makes whole rows of the result: what follows row by row finds them where they
 * are. */
bool npu_tile_rows(const struct npu_tiling *t, unsigned cores);
/* The share of what a core needs that lies in it already. */
double npu_tile_here(const struct npu_tiling *t, bool spread, bool rows, unsigned cores);

uint64_t npu_weight_bytes(const struct npu_work *w, uint64_t values);
/* Bytes of a core's working memory that a step may use. */
uint64_t npu_half_bytes(const struct npu_chip *c);

#endif
