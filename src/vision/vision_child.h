/* SPDX-License-Identifier: MIT
 * vision_child.h - pictures' files are read in a process beside the server, each in one of its own.
 *
 * Does: fork, before there are threads, a process that can open no file; which forks one for each
 *       picture, that can make no call but to compute and to answer, and has a limit of memory and
 *       of time; give back the picture's pixels in the size that is wanted.  What becomes of a
 *       hostile file there is an error here.
 * Does not: start again when the first process ended.
 * Threads: open by one before there are others; one at a time asks.
 * Owner: the caller of vision_child_open. */
#ifndef VISION_VISION_CHILD_H
#define VISION_VISION_CHILD_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vision_child;

/* confined: within a sandbox, where the kernel can.  Errors: FAILED. */
enum err vision_child_open(struct vision_child **out, bool confined, struct errinfo *e);
void vision_child_close(struct vision_child *c); /* NULL is fine */
/* rgb [side][side][3].  Waits.  Errors: those of vision_decode; FAILED: the process broke or took
 * too long. */
enum err vision_child_read(struct vision_child *c, const void *bytes, size_t n, size_t side,
                           uint8_t *rgb, struct errinfo *e);

#endif
