/* SPDX-License-Identifier: MIT
 * gguf_type.h - the tensor types a GGUF file can hold: one list (gguf_type.def). */
#ifndef GGUF_GGUF_TYPE_H
#define GGUF_GGUF_TYPE_H

#include <stddef.h>
#include <stdint.h>

enum gguf_type {
#define TYPE(name, number, elems, bytes) GGUF_TYPE_##name = number,
#include "gguf/gguf_type.def"
#undef TYPE
    GGUF_TYPE_END
};

struct gguf_type_info {
    const char *name; /* "Q4_K" */
    uint32_t type;
    uint32_t block_elems;
    uint32_t block_bytes;
};

/* NULL for a number that is no type. */
const struct gguf_type_info *gguf_type_info(uint32_t type);
/* Bytes of n elements; n is a multiple of the block's elements. */
size_t gguf_type_bytes(uint32_t type, size_t n);

#endif
