/* SPDX-License-Identifier: MIT */
#include "gguf/gguf_type.h"

#include "base/err.h"

static const struct gguf_type_info gguf_types[GGUF_TYPE_END] = {
#define TYPE(name, number, elems, bytes) [number] = {#name, number, elems, bytes},
#include "gguf/gguf_type.def"
#undef TYPE
};

const struct gguf_type_info *gguf_type_info(uint32_t type)
{
    return type < GGUF_TYPE_END && gguf_types[type].name ? &gguf_types[type] : NULL;
}

size_t gguf_type_bytes(uint32_t type, size_t n)
{
    const struct gguf_type_info *t = gguf_type_info(type);
    CHECK(t && n % t->block_elems == 0);
    return n / t->block_elems * t->block_bytes;
}
