/* SPDX-License-Identifier: MIT */
#include "kern/lanes_neon.inc"

#define KERN_INIT kern_init_neon
#include "kern/vec.inc"
