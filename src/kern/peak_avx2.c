/* SPDX-License-Identifier: MIT */
#include "kern/lanes_avx2.inc"

#define PEAK_NAME           peak_avx2
#define PEAK_DOT(acc, w, a) _mm256_add_epi16(acc, _mm256_maddubs_epi16(w, a))

#include "kern/peak.inc"
