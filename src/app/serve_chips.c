/* SPDX-License-Identifier: MIT */
#include "app/serve_chips.h"

#include "dev/dev.h"

#include <string.h>

static void add(struct serve_chips *s, const struct npu_chip *c)
{
    enum kern_numerics n;
    size_t n_assumed = 0;
    if (s->n == SERVE_CHIPS_MAX || dev_chip_numerics(c, &n, NULL) != ERR_OK)
        return;
    for (int f = 0; f < NPU_N_FIELDS; f++)
        n_assumed += npu_chip_assumes(c, (enum npu_field)f, 1);
    s->row[s->n++] = (struct api_chip){.name = c->name,
                                       .title = c->title,
                                       .computes = kern_numerics_name(n),
                                       .watts = c->v[NPU_TDP],
                                       .memory_gb = c->v[NPU_DRAM_GB],
                                       .n_assumed = n_assumed,
                                       .chip = c};
}

enum err serve_chips_open(struct serve_chips *s, const struct npu_chip *device, struct errinfo *e)
{
    *s = (struct serve_chips){0};
    if (device)
        add(s, device);
    for (size_t i = 0; chip_name(i) && i < SERVE_CHIPS_MAX; i++) {
        TRY(chip_open(&s->chip[s->n_own], chip_name(i), e));
        const struct npu_chip *c = s->chip[s->n_own++];
        if (!device || strcmp(c->name, device->name) != 0) /* its file may have other numbers */
            add(s, c);
    }
    return ERR_OK;
}

void serve_chips_close(struct serve_chips *s)
{
    for (size_t i = 0; i < s->n_own; i++)
        npu_chip_free(s->chip[i]);
    *s = (struct serve_chips){0};
}
