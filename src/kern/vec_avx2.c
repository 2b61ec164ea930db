/* SPDX-License-Identifier: MIT */
#include "kern/lanes_avx2.inc"

#define KERN_INIT kern_init_avx2
#include "kern/vec.inc"
