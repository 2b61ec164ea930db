/* SPDX-License-Identifier: MIT
 * contract.h - numeric contracts: how a model is computed so that every machine and every simulated
 * chip of one contract gives the same bits.
 *
 * Does: keep weights and multiply as the contract says, and compute the rest in one stated order of
 *       float32 operations, on every instruction-set level alike (contract.inc is compiled for
 *       each; no operation is fused, no sum reordered).
 * Does not: know chips, allocate, start threads.
 *
 * INT8  a row of weights is q[k] = round(w[k] * (127 / m)), m its largest magnitude, half to even,
 *       with the scale m / 127; a token's activations likewise.  A product is the whole sum of
 *       q * q, made float32, times (activation scale * weight scale).
 * BF16  weights and activations are rounded to bfloat16, half to even.  Products are float32 (and
 *       exact, but for those below 2^-126); 16 sums take them in turns, k mod 16, ascending; these
 *       are added as (i, i + 8), (i, i + 4), (i, i + 2), (0, 1).
 * BOTH  bias and residual are added to the product in float32, in this order.  Sums of squares go
 *       into 16 sums as above.  e^x, tanh, the gates: contract.inc.  Attention: float32, dot
 *       products ascending, parts of KERN_PART positions joined in order, weights' sums binary64.
 *       Embeddings are the file's values.
 * docs/CHIPS.md says the same for people. */
#ifndef KERN_CONTRACT_H
#define KERN_CONTRACT_H

#include "cpu/cpu.h"

#include <stddef.h>
#include <stdint.h>

enum kern_numerics {
    KERN_NATIVE, /* as this machine does it fastest (mm.h): bits differ from level to level */
    KERN_INT8,
    KERN_BF16,
    KERN_NUMERICS_N
};

const char *kern_numerics_name(enum kern_numerics n); /* "native", "int8", "bf16" */

struct kern;
struct mm_kernel;

/* n is not NATIVE. */
void contract_init(struct kern *k, enum cpu_level level);
const struct mm_kernel *contract_mm(enum kern_numerics n, enum cpu_level level);

#define CONTRACT_ROWS   4  /* rows of weights that are multiplied together */
#define CONTRACT_TOKENS 16 /* tokens whose activations are prepared at once */
/* Columns whose products of INT8 an int32 surely holds. */
#define CONTRACT_INT8_COLS (INT32_MAX / (127 * 127))

/* Columns as they are kept: whole vectors. */
static inline size_t contract_width(size_t k)
{
    return (k + 63) / 64 * 64;
}

#endif
