/* SPDX-License-Identifier: MIT
 * contract.h - numeric contracts: how a model is computed so that every machine and every simulated
 * chip of one contract gives the same bits (docs/CHIPS.md has the rules). */
#ifndef KERN_CONTRACT_H
#define KERN_CONTRACT_H

enum kern_numerics {
    KERN_NATIVE, /* as this machine does it fastest (mm.h): bits differ from level to level */
    KERN_INT8,
    KERN_BF16,
    KERN_NUMERICS_N
};

const char *kern_numerics_name(enum kern_numerics n); /* "native", "int8", "bf16" */

#endif
