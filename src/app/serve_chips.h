/* SPDX-License-Identifier: MIT
 * serve_chips.h - the chips that a server can price answers on: those that come along, and the one
 * of --device. */
#ifndef APP_SERVE_CHIPS_H
#define APP_SERVE_CHIPS_H

#include "api/api.h"
#include "app/chip.h"

#define SERVE_CHIPS_MAX 100

struct serve_chips {
    struct npu_chip *chip[SERVE_CHIPS_MAX]; /* those that come along */
    struct api_chip row[SERVE_CHIPS_MAX];
    size_t n_own, n;
};

/* device: NULL: none; the caller's.  Errors: those of chip_open. */
enum err serve_chips_open(struct serve_chips *s, const struct npu_chip *device, struct errinfo *e);
void serve_chips_close(struct serve_chips *s);

#endif
