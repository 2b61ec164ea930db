/* SPDX-License-Identifier: MIT */
#include "os/os_sys.h"

#include "base/arena.h"
#include "base/num.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The number after `key` in a file of "key: value kB" or bare-number lines; -1 if not there. */
static int64_t os_file_number(const char *path, const char *key)
{
    char line[256];
    int64_t found = -1;
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    size_t n = strlen(key);
    while (found < 0 && fgets(line, sizeof line, f)) {
        long long v;
        if (strncmp(line, key, n) == 0 && sscanf(line + n, " %lld", &v) == 1 && v >= 0)
            found = v;
    }
    fclose(f);
    return found;
}

/* What a control group leaves: limit - used; SIZE_MAX where there is no limit. */
static size_t os_cgroup_left(const char *limit_path, const char *used_path)
{
    int64_t limit = os_file_number(limit_path, "");
    int64_t used = os_file_number(used_path, "");
    if (limit < 0 || used < 0)
        return SIZE_MAX;
    return limit > used ? (size_t)(limit - used) : 0;
}

size_t os_mem_available(void)
{
    int64_t kib = os_file_number("/proc/meminfo", "MemAvailable:");
    size_t left = kib < 0 ? SIZE_MAX : (size_t)kib << 10;
    size_t v2 = os_cgroup_left("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current");
    size_t v1 = os_cgroup_left("/sys/fs/cgroup/memory/memory.limit_in_bytes",
                               "/sys/fs/cgroup/memory/memory.usage_in_bytes");
    left = v2 < left ? v2 : left;
    return v1 < left ? v1 : left;
}

size_t os_mem_total(void)
{
    int64_t kib = os_file_number("/proc/meminfo", "MemTotal:");
    return kib < 0 ? 0 : (size_t)kib << 10;
}

size_t os_mem_resident(void)
{
    int64_t kib = os_file_number("/proc/self/status", "VmRSS:");
    return kib < 0 ? 0 : (size_t)kib << 10;
}

size_t os_mem_resident_peak(void)
{
    int64_t kib = os_file_number("/proc/self/status", "VmHWM:");
    return kib < 0 ? 0 : (size_t)kib << 10;
}

size_t os_cache_bytes(void)
{
    static const char *const paths[] = {"/sys/devices/system/cpu/cpu0/cache/index3/size",
                                        "/sys/devices/system/cpu/cpu0/cache/index2/size"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        int64_t kib = os_file_number(paths[i], ""); /* "32768K" */
        if (kib > 0)
            return (size_t)kib << 10;
    }
    return 0;
}

static _Thread_local cpu_set_t os_before_pin;
static _Thread_local bool os_pinned;

void os_pin(int n)
{
    cpu_set_t one;
    if (os_pinned || sched_getaffinity(0, sizeof os_before_pin, &os_before_pin) != 0)
        return;
    int left = n % CPU_COUNT(&os_before_pin);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &os_before_pin) && left-- == 0)
            CPU_SET(i, &one);
    os_pinned = sched_setaffinity(0, sizeof one, &one) == 0;
}

void os_unpin(void)
{
    if (os_pinned)
        sched_setaffinity(0, sizeof os_before_pin, &os_before_pin);
    os_pinned = false;
}

int os_n_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

size_t os_files_allow(size_t n)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) != 0)
        return 0;
    if (l.rlim_cur < n) {
        l.rlim_cur = MIN((rlim_t)n, l.rlim_max);
        setrlimit(RLIMIT_NOFILE, &l);
        getrlimit(RLIMIT_NOFILE, &l);
    }
    return (size_t)l.rlim_cur;
}

uint64_t os_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void os_sleep_until_ns(uint64_t ns)
{
    struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

int64_t os_unix_time(void)
{
    return (int64_t)time(NULL);
}

const char *os_cpu_name(void)
{
    static char name[128];
    char line[512];
    if (name[0])
        return name;
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && !name[0] && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon) {
            colon[strcspn(colon, "\n")] = 0;
            snprintf(name, sizeof name, "%.100s", colon + 1 + strspn(colon + 1, " "));
        }
    }
    if (f)
        fclose(f);
    if (!name[0])
        snprintf(name, sizeof name, "unknown processor");
    return name;
}

enum err os_make_folders(const char *file, unsigned mode, struct errinfo *e)
{
    size_t n = strlen(file) + 1;
    char *path = mem_alloc(n);
    enum err r = ERR_OK;
    memcpy(path, file, n);
    for (char *p = path; *p && r == ERR_OK; p++) {
        if (*p != '/' || p == path)
            continue;
        *p = '\0';
        if (mkdir(path, mode) != 0 && errno != EEXIST)
            r = err_set(e, ERR_IO, "%s: cannot make this folder: %s", path, strerror(errno));
        *p = '/';
    }
    mem_free(path);
    return r;
}
