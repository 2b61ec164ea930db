/* SPDX-License-Identifier: MIT
 * catalogue_fuzz.c - any bytes as a catalogue. */
#include "app/catalogue.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct catalogue *c;
    const struct catalogue_model *m;
    struct errinfo e = {0};
    if (catalogue_parse(&c, data, n, "fuzz", &e) != ERR_OK) {
        if (!e.text[0] || c)
            abort(); /* an error explains itself */
        return 0;
    }
    for (unsigned i = 0; i < c->n_models; i++)
        if (catalogue_need(c, c->models[i].name, &m, &e) != ERR_OK || m != &c->models[i])
            abort(); /* names are there once */
    catalogue_free(c);
    return 0;
}
