/* SPDX-License-Identifier: MIT
 * npu_array.h - cycles of a matrix unit, in closed form.
 *
 * A product is dst[m][n] = a[m][k] x w[k][n].  R rows, C columns.
 * Weight-stationary systolic: an R x C part of w stands in the array, rows of a stream through.
 *   Exposed: R cycles to load it, then M + R + C - 2 until the last result: a fold of M + 2R + C -
 * 2, and ceil(K/R) * ceil(N/C) folds one after the other (shared with SCALE-Sim, whose count is one
 *   less since it counts the last cycle's number).
 *   Overlapped: the next part loads behind the one that works: a fold issues in max(M, R).
 * Output-stationary: an R x C part of dst stands in the array: K + R + C - 2, then R to shift it
 * out. Dot: R x C results, each with `depth` products a cycle. The register-level arrays of
 * npu_array_test.c agree with all of these to the cycle. */
#ifndef NPU_NPU_ARRAY_H
#define NPU_NPU_ARRAY_H

#include "npu/npu_chip.h"

struct npu_unit {
    enum npu_array kind;
    bool overlapped;
    uint64_t rows, cols, depth, min_rows;
};

struct npu_cycles {
    uint64_t busy; /* until the next tile may enter */
    uint64_t tail; /* from then to the last result of this one */
};

struct npu_unit npu_unit_of(const struct npu_chip *c);
struct npu_cycles npu_unit_cycles(const struct npu_unit *u, uint64_t m, uint64_t k, uint64_t n);

/* One tile on all units of a core in `type`, whose rate, steps and fill the chip knows; `beside`
 * tiles are on the core at once and hide each other's steps.  Cycles of the chip's clock, the rate
 * sustained. */
struct npu_cycles npu_tile_cycles(const struct npu_chip *c, enum npu_type type, uint64_t m,
                                  uint64_t k, uint64_t n, unsigned beside);

#endif
