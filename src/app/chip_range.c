/* SPDX-License-Identifier: MIT
 * chip_range.c - how far an answer may be off by what its chip's file only assumes.
 *
 * Each assumed number is set to both ends of its tolerance, one at a time, and everything is
 * compiled and simulated again.  What the ends add to a figure and what they take from it are
 * each summed as squares: the assumptions are taken as independent of each other.  Fitted numbers
 * stay as they are. */
#include "app/chip.h"

#include "base/num.h"

#include <math.h>

enum { LATENCY, RATE, JOULES, N_FIGURES };

static const char *const keys[N_FIGURES] = {"latency_ms", "per_s", "joules"};

static bool is_whole(enum npu_field f)
{
    static const enum npu_field whole[] = {NPU_CORES,    NPU_TILES,       NPU_TILE_MOST,
                                           NPU_MX_ROWS,  NPU_MX_COLS,     NPU_MX_DEPTH,
                                           NPU_MX_COUNT, NPU_MX_MIN_ROWS, NPU_DRAM_CHANNELS};
    for (size_t i = 0; i < N_ELEMS(whole); i++)
        if (whole[i] == f)
            return true;
    return false;
}

static void figures_of(const struct npu_answer *a, double out[N_FIGURES])
{
    out[LATENCY] = a->latency_s * 1e3;
    out[RATE] = a->per_s;
    out[JOULES] = a->joules;
}

/* The shares by which the figures change at one end of a number's tolerance; false: as at the
 * other values that it may have, there is no change or no answer. */
static bool shares_at(struct npu_chip *c, enum npu_field f, double value, chip_asker *asker,
                      void *arg, const double nominal[N_FIGURES], double share[N_FIGURES])
{
    struct chip_answer a;
    struct errinfo e;
    double before = c->v[f], there[N_FIGURES];
    value = is_whole(f) ? round(value) : value;
    if (value == before || npu_chip_set(c, f, value, &e) != ERR_OK)
        return false;
    bool ok = asker(&a, c, arg, &e) == ERR_OK;
    c->v[f] = before;
    if (!ok)
        return false;
    figures_of(&a.answer, there);
    chip_done(&a);
    for (int i = 0; i < N_FIGURES; i++)
        share[i] = there[i] / nominal[i] - 1;
    return true;
}

json_t *chip_range(struct npu_chip *c, size_t n_chips, const struct npu_answer *nominal,
                   chip_asker *asker, void *arg)
{
    double at[N_FIGURES], low[N_FIGURES] = {0}, high[N_FIGURES] = {0};
    json_t *o = json_object(), *by = json_object();
    figures_of(nominal, at);
    for (int f = 0; f < NPU_N_FIELDS; f++) {
        bool assumed = npu_chip_assumes(c, (enum npu_field)f, n_chips);
        double tolerance = assumed ? c->source[f].tolerance : 0, most = 0;
        for (int end = -1; tolerance > 0 && end <= 1; end += 2) {
            double share[N_FIGURES];
            if (!shares_at(c, (enum npu_field)f, c->v[f] * (1 + end * tolerance), asker, arg, at,
                           share))
                continue;
            for (int i = 0; i < N_FIGURES; i++)
                *(share[i] < 0 ? &low[i] : &high[i]) += share[i] * share[i];
            most = MAX(most, fabs(share[RATE]));
        }
        if (most > 0)
            json_object_set_new(by, npu_field_key((enum npu_field)f), json_real(most));
    }
    for (int i = 0; i < N_FIGURES; i++)
        json_object_set_new(
            o, keys[i],
            json_pack("[f, f]", at[i] * MAX(1 - sqrt(low[i]), 0), at[i] * (1 + sqrt(high[i]))));
    json_object_set_new(o, "per_s_by", by);
    return o;
}
