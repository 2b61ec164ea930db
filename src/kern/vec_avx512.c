/* SPDX-License-Identifier: MIT */
#include "kern/lanes_avx512.inc"

#define KERN_INIT kern_init_avx512
#include "kern/vec.inc"
