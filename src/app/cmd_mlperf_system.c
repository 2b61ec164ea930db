/* SPDX-License-Identifier: MIT
 * cmd_mlperf_system.c - the system's description, as the submission rules of MLPerf Inference name
 * its fields, out of what the machine tells of itself.
 *
 * Source: mlcommons/inference, tools/submission/submission_checker/constants.py.  What no Linux
 * tells without root is "not told"; --system FILE has it. */
#include "app/cmd_mlperf.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#define NOT_TOLD "not told by the machine"

/* The first line of a file after a key, such as /proc/cpuinfo has it; "" where there is none. */
static const char *value_of(struct arena *a, const char *file, const char *key)
{
    char line[512];
    const char *out = "";
    FILE *f = fopen(file, "re");
    while (f && !out[0] && fgets(line, sizeof line, f)) {
        size_t n = strlen(key);
        if (strncmp(line, key, n) != 0)
            continue;
        char *at = line + n;
        at += strspn(at, " \t:=\"");
        at[strcspn(at, "\n\"")] = '\0';
        out = arena_dup(a, at, strlen(at));
    }
    if (f)
        fclose(f);
    return out;
}

static const char *caches(struct arena *a)
{
    const char *out = "";
    for (int i = 0; i < 5; i++) {
        const char *dir = arena_printf(a, "/sys/devices/system/cpu/cpu0/cache/index%d", i);
        const char *level = value_of(a, arena_printf(a, "%s/level", dir), "");
        const char *type = value_of(a, arena_printf(a, "%s/type", dir), "");
        const char *size = value_of(a, arena_printf(a, "%s/size", dir), "");
        if (size[0])
            out = arena_printf(a, "%s%sL%s %s %s", out, out[0] ? ", " : "", level, type, size);
    }
    return out;
}

static const char *frequency(struct arena *a)
{
    const char *mhz = value_of(a, "/proc/cpuinfo", "cpu MHz");
    return mhz[0] ? arena_printf(a, "%s MHz (at the time of the run)", mhz) : "";
}

/* "AMD EPYC 9B45" -> "amd-epyc-9b45" */
static const char *slug(struct arena *a, const char *text)
{
    char *s = arena_dup(a, text, strlen(text)), *to = s;
    for (const char *p = text; *p; p++)
        if (isalnum((unsigned char)*p))
            *to++ = (char)tolower((unsigned char)*p);
        else if (to > s && to[-1] != '-')
            *to++ = '-';
    while (to > s && to[-1] == '-')
        to--;
    *to = '\0';
    return s[0] ? s : "cpu";
}

/* ---- storage and network ---- */

struct storage {
    double bytes;
    int n_disks, n_rotate;
};

static struct storage storage(struct arena *a)
{
    struct storage s = {0};
    glob_t g;
    if (glob("/sys/block/*/device", 0, NULL, &g) != 0)
        return s;
    for (size_t i = 0; i < g.gl_pathc; i++) {
        char *dir = g.gl_pathv[i];
        *strrchr(dir, '/') = '\0';
        if (value_of(a, arena_printf(a, "%s/removable", dir), "")[0] == '1')
            continue;
        s.bytes += 512 * strtod(value_of(a, arena_printf(a, "%s/size", dir), ""), NULL);
        s.n_rotate += value_of(a, arena_printf(a, "%s/queue/rotational", dir), "")[0] == '1';
        s.n_disks++;
    }
    globfree(&g);
    return s;
}

static void add_storage(struct arena *a, json_t *o)
{
    struct storage s = storage(a);
    const char *kind = s.n_disks == 0           ? NOT_TOLD
                       : s.n_rotate == 0        ? "SSD"
                       : s.n_rotate < s.n_disks ? "SSD and HDD"
                                                : "HDD";
    json_object_set_new(o, "host_storage_type", json_string(kind));
    json_object_set_new(
        o, "host_storage_capacity",
        json_string(s.n_disks ? arena_printf(a, "%.1f GB", s.bytes * 1e-9) : NOT_TOLD));
}

static void add_network(struct arena *a, json_t *o)
{
    glob_t g;
    const char *speed = "";
    size_t n = 0;
    if (glob("/sys/class/net/*/device", 0, NULL, &g) == 0) {
        n = g.gl_pathc;
        for (size_t i = 0; i < n; i++) {
            char *dir = g.gl_pathv[i];
            *strrchr(dir, '/') = '\0';
            const char *v = value_of(a, arena_printf(a, "%s/speed", dir), "");
            if (strtod(v, NULL) > strtod(speed, NULL))
                speed = v;
        }
        globfree(&g);
    }
    json_object_set_new(o, "host_network_card_count", json_string(arena_printf(a, "%zu", n)));
    json_object_set_new(
        o, "host_networking",
        json_string(speed[0] ? arena_printf(a, "Ethernet, %s Mbit/s", speed) : NOT_TOLD));
    json_object_set_new(o, "host_networking_topology", json_string("N/A"));
}

/* ---- all of it ---- */

/* "atom" of "atom", "chips/atom.yaml". */
static const char *device_name(struct arena *a, const char *device)
{
    const char *slash = strrchr(device, '/'), *name = slash ? slash + 1 : device;
    const char *dot = strrchr(name, '.');
    return arena_dup(a, name, dot ? (size_t)(dot - name) : strlen(name));
}

const char *mlperf_system_name(struct mlperf_work *w)
{
    if (w->conf->device[0])
        return slug(&w->arena, arena_printf(&w->arena, "simulated %s",
                                            device_name(&w->arena, w->conf->device)));
    return slug(&w->arena, arena_printf(&w->arena, "%s %dt", os_cpu_name(),
                                        w->conf->threads ? (int)w->conf->threads : os_n_cpus()));
}

static json_t *told(struct mlperf_work *w)
{
    struct arena *a = &w->arena;
    struct utsname u;
    uname(&u);
    const char *os = value_of(a, "/etc/os-release", "PRETTY_NAME");
    const char *cores = arena_printf(a, "%d", os_n_cpus());
    const char *memory = arena_printf(a, "%.1f GiB", (double)os_mem_total() / 0x1p30);
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}",
        "division", w->division, "submitter", w->submitter, "status", "rdi", "system_name",
        w->system, "system_type", "edge", "system_type_detail", "edge server", "number_of_nodes",
        "1", "host_processor_model_name", os_cpu_name(), "host_processors_per_node", "1",
        "host_processor_core_count", cores, "host_processor_frequency", frequency(a),
        "host_processor_caches", caches(a), "host_memory_capacity", memory, "framework",
        arena_printf(a, "damso %s, MLCommons LoadGen %s", DAMSO_VERSION, mlperf_shim_version()),
        "operating_system", arena_printf(a, "%s (Linux %s %s)", os, u.release, u.machine),
        "other_software_stack", "none");
    CHECK(o);
    if (w->conf->device[0])
        json_object_set_new(o, "sw_notes",
                            json_string("a chip that is simulated on the host; not a result of "
                                        "the chip"));
    return o;
}

static void add_none(json_t *o)
{
    static const char *const none[][2] = {
        {"host_processor_interconnect",       NOT_TOLD},
        {"host_memory_configuration",         NOT_TOLD},
        {"accelerators_per_node",             "0"     },
        {"accelerator_model_name",            "N/A"   },
        {"accelerator_host_interconnect",     "N/A"   },
        {"accelerator_frequency",             "N/A"   },
        {"accelerator_on-chip_memories",      "N/A"   },
        {"accelerator_memory_capacity",       "N/A"   },
        {"accelerator_memory_configuration",  "N/A"   },
        {"accelerator_interconnect",          "N/A"   },
        {"accelerator_interconnect_topology", "N/A"   },
        {"cooling",                           NOT_TOLD},
        {"hw_notes",                          ""      },
        {"sw_notes",                          ""      },
    };
    for (size_t i = 0; i < N_ELEMS(none); i++)
        if (!json_object_get(o, none[i][0]))
            json_object_set_new(o, none[i][0], json_string(none[i][1]));
}

/* The fields of --system win, but for those that name the folders. */
static enum err add_file(struct mlperf_work *w, json_t *o, struct errinfo *e)
{
    json_error_t je;
    const char *key;
    json_t *v, *file = json_load_file(w->system_file, JSON_REJECT_DUPLICATES, &je);
    enum err r = ERR_OK;
    if (!file && json_error_code(&je) == json_error_cannot_open_file)
        return err_set(e, ERR_NOTFOUND, "--system %.300s: %s", w->system_file, strerror(errno));
    if (!json_is_object(file))
        r = err_set(e, ERR_CORRUPT, "--system %.300s:%d: %.100s", w->system_file,
                    file ? 1 : je.line, file ? "it is no object" : je.text);
    json_object_foreach(file, key, v)
    {
        if (!json_is_string(v) || !json_object_get(o, key))
            r = err_set(e, ERR_CORRUPT, "--system %.300s: '%.64s' is no field with a text",
                        w->system_file, key);
        else if (strcmp(key, "division") != 0 && strcmp(key, "submitter") != 0)
            json_object_set(o, key, v);
    }
    json_decref(file);
    return r;
}

enum err mlperf_system_json(struct mlperf_work *w, json_t **out, struct errinfo *e)
{
    json_t *o = told(w);
    add_storage(&w->arena, o);
    add_network(&w->arena, o);
    add_none(o);
    enum err r = w->system_file ? add_file(w, o, e) : ERR_OK;
    if (r != ERR_OK)
        json_decref(o);
    else
        *out = o;
    return r;
}
