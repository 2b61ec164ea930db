/* SPDX-License-Identifier: MIT */
#define V_VNNI
#include "kern/lanes_avx512.inc"

#define KERN_INIT kern_init_avx512vnni
#include "kern/vec.inc"
