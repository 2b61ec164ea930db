/* SPDX-License-Identifier: MIT
 * hf_safetensors_fuzz.c - any bytes as a safetensors file; what opens is read to its last byte. */
#include "hf/hf_int.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile unsigned keep; /* so that the reads stay */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct hf_tensors all = {0};
    struct errinfo e = {0};
    struct arena a;
    unsigned sum = 0;
    arena_init(&a);
    struct span file = {(const char *)data, n};
    if (hf_safetensors_read(&all, &a, file, "fuzz", 0, &e) != ERR_OK) {
        if (!e.text[0])
            abort(); /* an error explains itself */
    } else {
        size_t bytes = 0;
        for (size_t i = 0; i < all.n; i++) {
            const struct hf_tensor *t = &all.t[i];
            size_t want = t->elem;
            for (int k = 0; k < t->n_dims; k++)
                want *= (size_t)t->dims[k];
            if (t->elem && want != t->bytes)
                abort(); /* shape and bytes agree */
            for (size_t k = 0; k < t->bytes; k++)
                sum += t->data[k];
            bytes += t->bytes;
        }
        if (bytes > n)
            abort(); /* no byte belongs to two */
    }
    mem_free(all.t);
    arena_done(&a);
    keep = sum;
    return 0;
}
