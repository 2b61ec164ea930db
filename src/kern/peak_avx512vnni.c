/* SPDX-License-Identifier: MIT */
#include "kern/lanes_avx512.inc"

#define PEAK_NAME           peak_avx512vnni
#define PEAK_DOT(acc, w, a) _mm512_dpbusd_epi32(acc, w, a)

#include "kern/peak.inc"
