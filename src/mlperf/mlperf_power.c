/* SPDX-License-Identifier: MIT */
#include "mlperf/mlperf_power.h"

#include "mlperf/mlperf_nvml.h"

#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool read_number(const char *file, uint64_t *out)
{
    FILE *f = fopen(file, "re");
    bool ok = f && fscanf(f, "%" SCNu64, out) == 1;
    if (f)
        fclose(f);
    return ok;
}

/* A zone of powercap: packages only, whose sub-zones are parts of them. */
static void add_package(struct mlperf_power *p, const char *folder)
{
    char range[128];
    int i = p->n_zones;
    if (i == MLPERF_ZONES_MAX || snprintf(p->zone[i].file, sizeof p->zone[i].file, "%s/energy_uj",
                                          folder) >= (int)sizeof p->zone[i].file)
        return;
    snprintf(range, sizeof range, "%.90s/max_energy_range_uj", folder);
    if (!read_number(p->zone[i].file, &p->zone[i].last) || !read_number(range, &p->zone[i].range))
        return;
    p->source = "RAPL packages (powercap)";
    p->n_zones++;
}

/* A battery counts what is left, in microwatt hours, and only while it discharges. */
static bool add_battery(struct mlperf_power *p, const char *folder)
{
    char file[128], status[32] = "";
    snprintf(file, sizeof file, "%.90s/status", folder);
    FILE *f = fopen(file, "re");
    bool known = f && fgets(status, sizeof status, f);
    if (f)
        fclose(f);
    if (!known || strncmp(status, "Discharging", 11) != 0 ||
        snprintf(p->zone[0].file, sizeof p->zone[0].file, "%s/energy_now", folder) >=
            (int)sizeof p->zone[0].file ||
        !read_number(p->zone[0].file, &p->zone[0].last))
        return false;
    p->zone[0].range = 0;
    p->source = "battery (energy_now)";
    p->n_zones = 1;
    return true;
}

static void begin_nvml(struct mlperf_power *p, const char *file)
{
    p->nvml = mlperf_nvml_open(file);
    if (p->nvml && mlperf_nvml_energy(p->nvml, &p->nvml_last))
        p->source = "NVML cards";
}

void mlperf_power_begin(struct mlperf_power *p, enum mlperf_meter meter, const char *root,
                        const char *nvml)
{
    char pattern[256];
    glob_t g;
    *p = (struct mlperf_power){0};
    if (meter == MLPERF_METER_NVML)
        begin_nvml(p, nvml);
    if (meter != MLPERF_METER_AUTO)
        return;
    snprintf(pattern, sizeof pattern, "%s/class/powercap/intel-rapl:[0-9]*", root);
    if (glob(pattern, 0, NULL, &g) == 0) {
        for (size_t i = 0; i < g.gl_pathc; i++) {
            const char *name = strrchr(g.gl_pathv[i], '/') + 1;
            if (!strchr(strchr(name, ':') + 1, ':')) /* intel-rapl:0, not intel-rapl:0:1 */
                add_package(p, g.gl_pathv[i]);
        }
        globfree(&g);
    }
    snprintf(pattern, sizeof pattern, "%s/class/power_supply/BAT*", root);
    if (!p->source && glob(pattern, 0, NULL, &g) == 0) {
        for (size_t i = 0; i < g.gl_pathc && !add_battery(p, g.gl_pathv[i]); i++)
            ;
        globfree(&g);
    }
}

void mlperf_power_end(struct mlperf_power *p)
{
    mlperf_nvml_close(p->nvml);
    p->nvml = NULL;
}

void mlperf_power_sample(struct mlperf_power *p)
{
    uint64_t mj;
    if (p->nvml && mlperf_nvml_energy(p->nvml, &mj)) {
        if (mj > p->nvml_last)
            p->joules += 1e-3 * (double)(mj - p->nvml_last);
        p->nvml_last = mj;
    }
    for (int i = 0; i < p->n_zones; i++) {
        uint64_t now, last = p->zone[i].last, range = p->zone[i].range;
        if (!read_number(p->zone[i].file, &now))
            continue;
        if (range) /* counts up and wraps */
            p->joules += 1e-6 * (double)(now >= last ? now - last : range - last + now);
        else if (last > now) /* counts down, in microwatt hours */
            p->joules += 3600e-6 * (double)(last - now);
        p->zone[i].last = now;
    }
}
