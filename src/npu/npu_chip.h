/* SPDX-License-Identifier: MIT
 * npu_chip.h - a chip as numbers, read from a YAML file (chips/).
 *
 * Does: read and check a chip file; every number may say where it is from, how sure it is, and
 *       that it is assumed.  Numbers are an array (npu_field.def), so that a fit, a sweep and a
 *       sensitivity change any of them by its name.
 * Does not: know programs or models.
 * Owner: the caller, by npu_chip_free.  Read-only once it is read: any thread may read.
 * Source of the files' numbers: each stands beside its number. */
#ifndef NPU_CHIP_H
#define NPU_CHIP_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NPU_CHIP_BYTES_MAX ((size_t)1 << 20) /* of a chip file */
#define NPU_RUNS_MAX       64
#define NPU_CORES_MAX      1024

enum npu_field {
#define FIELD(name, key, least, most, otherwise, unit, text) NPU_##name,
#include "npu/npu_field.def"
#undef FIELD
    NPU_N_FIELDS
};

/* Number formats of a matrix unit.  NPU_INT4 is a format of weights alone in language models. */
enum npu_type { NPU_INT8, NPU_BF16, NPU_FP8, NPU_INT4, NPU_N_TYPES };

enum npu_array { NPU_SYSTOLIC_WS, NPU_SYSTOLIC_OS, NPU_DOT, NPU_N_ARRAYS };

enum npu_scenario { NPU_SINGLE_STREAM, NPU_MULTI_STREAM, NPU_OFFLINE, NPU_N_SCENARIOS };

/* Where a number is from. */
struct npu_source {
    const char *text; /* NULL: none given */
    double tolerance; /* a share; 0: exact or not said */
    bool assumed;     /* not published: a guess that reports must name */
};

/* How a benchmark is run on the chip, as its maker submitted it. */
struct npu_setup {
    const char *workload; /* "any": those that have no row of their own */
    enum npu_scenario scenario;
    int instances, cores, batch; /* cores of each instance */
};

/* A published result. */
struct npu_result {
    const char *workload;
    enum npu_scenario scenario;
    double per_s, latency_us; /* one of both; the other is 0 */
    double watts;             /* 0: not measured */
    const char *round, *division, *system;
    bool fitted; /* the chip's free numbers were fitted on it */
};

struct npu_chip {
    struct arena arena;
    const char *path, *name, *title, *vendor;
    enum npu_array array;
    bool overlapped; /* systolic_ws: the next weights load while the array works */
    bool cache;      /* shared memory is a cache: nothing is placed, all goes through it */
    bool ring;       /* links go to the next card alone, round in a ring; else to each other one */
    const char *dram_type;
    double v[NPU_N_FIELDS];
    struct npu_source source[NPU_N_FIELDS];
    double cores_read; /* core.count of the file: setups are for that many */
    const struct npu_setup *setups;
    const struct npu_result *results;
    size_t n_setups, n_results;
};

/* what: the file's name in errors.  Errors: TOOBIG; CORRUPT with the file's line and the key:
 * unknown or doubled keys, missing ones, texts for numbers, numbers out of their range, what does
 * not go together. */
enum err npu_chip_parse(struct npu_chip **out, const void *bytes, size_t n, const char *what,
                        struct errinfo *e);
void npu_chip_free(struct npu_chip *c);

const char *npu_field_key(enum npu_field f);  /* "core.count" */
const char *npu_field_unit(enum npu_field f); /* "MHz" */
const char *npu_field_text(enum npu_field f);
bool npu_field_of_links(enum npu_field f); /* says nothing of one chip alone */
/* NPU_N_FIELDS: there is none of that key. */
enum npu_field npu_field_find(const char *key);
/* Whether it is assumed, and matters to so many chips of one model. */
bool npu_chip_assumes(const struct npu_chip *c, enum npu_field f, size_t n_chips);
/* USAGE: out of the field's range, which the text says. */
enum err npu_chip_set(struct npu_chip *c, enum npu_field f, double value, struct errinfo *e);

const char *npu_type_name(enum npu_type t);
enum npu_type npu_type_find(const char *name); /* NPU_N_TYPES: none */
const char *npu_scenario_name(enum npu_scenario s);
enum npu_scenario npu_scenario_find(const char *name); /* also "MultiStream8"; N: none */

/* Derived. */
double npu_chip_macs(const struct npu_chip *c, enum npu_type t); /* a second, whole chip, peak */
double npu_chip_dram_bytes(const struct npu_chip *c);            /* a second, peak */
double npu_chip_rate(const struct npu_chip *c, enum npu_type t); /* the field RATE_* */
const struct npu_setup *npu_chip_setup(const struct npu_chip *c, const char *workload,
                                       enum npu_scenario s); /* NULL: none */

#endif
