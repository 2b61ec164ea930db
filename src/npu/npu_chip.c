/* SPDX-License-Identifier: MIT
 * npu_chip.c - what a chip's numbers are, and what follows from them. */
#include "npu/npu_chip.h"

#include "base/num.h"
#include "npu/npu_int.h"

#include <math.h>
#include <string.h>

#define NEED NAN

static const struct {
    const char *key, *unit, *text;
    double least, most, otherwise;
} fields[] = {
#define FIELD(name, key, least, most, otherwise, unit, text)                                       \
    {key, unit, text, least, most, otherwise},
#include "npu/npu_field.def"
#undef FIELD
};

static const char *const type_names[] = {"int8", "bf16", "fp8", "int4"};
static const char *const scenario_names[] = {"SingleStream", "MultiStream8", "Offline"};

const char *npu_field_key(enum npu_field f)
{
    return fields[f].key;
}

const char *npu_field_unit(enum npu_field f)
{
    return fields[f].unit;
}

const char *npu_field_text(enum npu_field f)
{
    return fields[f].text;
}

bool npu_field_of_links(enum npu_field f)
{
    return f == NPU_PEER_GBS || f == NPU_PEER_US || f == NPU_PEER_MOST;
}

bool npu_chip_assumes(const struct npu_chip *c, enum npu_field f, size_t n_chips)
{
    return c->source[f].assumed && (n_chips > 1 || !npu_field_of_links(f));
}

enum npu_field npu_field_find(const char *key)
{
    int i = 0;
    while (i < NPU_N_FIELDS && strcmp(fields[i].key, key) != 0)
        i++;
    return (enum npu_field)i;
}

double npu_field_otherwise(enum npu_field f)
{
    return fields[f].otherwise;
}

enum err npu_chip_set(struct npu_chip *c, enum npu_field f, double value, struct errinfo *e)
{
    if (!(value >= fields[f].least && value <= fields[f].most))
        return err_set(e, ERR_USAGE, "%s is %g, which is outside %g to %g%s%s", fields[f].key,
                       value, fields[f].least, fields[f].most, *fields[f].unit ? " " : "",
                       fields[f].unit);
    c->v[f] = value;
    return ERR_OK;
}

const char *npu_type_name(enum npu_type t)
{
    return type_names[t];
}

enum npu_type npu_type_find(const char *name)
{
    int i = 0;
    while (i < NPU_N_TYPES && strcmp(type_names[i], name) != 0)
        i++;
    return (enum npu_type)i;
}

const char *npu_scenario_name(enum npu_scenario s)
{
    return scenario_names[s];
}

enum npu_scenario npu_scenario_find(const char *name)
{
    int i = 0;
    if (strcmp(name, "MultiStream") == 0)
        return NPU_MULTI_STREAM;
    while (i < NPU_N_SCENARIOS && strcmp(scenario_names[i], name) != 0)
        i++;
    return (enum npu_scenario)i;
}

double npu_chip_rate(const struct npu_chip *c, enum npu_type t)
{
    static const enum npu_field rate[] = {[NPU_INT8] = NPU_RATE_INT8,
                                          [NPU_BF16] = NPU_RATE_BF16,
                                          [NPU_FP8] = NPU_RATE_FP8,
                                          [NPU_INT4] = NPU_RATE_INT4};
    return c->v[rate[t]];
}

double npu_chip_macs(const struct npu_chip *c, enum npu_type t)
{
    const double *v = c->v;
    return v[NPU_MX_ROWS] * v[NPU_MX_COLS] * v[NPU_MX_DEPTH] * v[NPU_MX_COUNT] * v[NPU_CORES] *
           v[NPU_CLOCK] * 1e6 * npu_chip_rate(c, t);
}

double npu_chip_dram_bytes(const struct npu_chip *c)
{
    return c->v[NPU_DRAM_CHANNELS] * c->v[NPU_DRAM_BITS] / 8 * c->v[NPU_DRAM_RATE] * 1e6;
}

const struct npu_setup *npu_chip_setup(const struct npu_chip *c, const char *workload,
                                       enum npu_scenario s)
{
    const struct npu_setup *any = NULL;
    for (size_t i = 0; i < c->n_setups; i++) {
        const struct npu_setup *x = &c->setups[i];
        if (x->scenario == s && strcmp(x->workload, workload) == 0)
            return x;
        if (x->scenario == s && strcmp(x->workload, "any") == 0)
            any = x;
    }
    return any;
}

void npu_chip_free(struct npu_chip *c)
{
    if (!c)
        return;
    struct arena a = c->arena; /* the chip lies in it */
    arena_done(&a);
}
