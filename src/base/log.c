/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const log_names[] = {"error", "warn", "info", "debug"};
static enum log_level log_limit = LOG_WARN;

void log_level_set(enum log_level level)
{
    log_limit = level;
}

int log_level_named(const char *name)
{
    for (int i = 0; i <= LOG_DEBUG; i++)
        if (strcmp(name, log_names[i]) == 0)
            return i;
    return -1;
}

void log_at(enum log_level level, const char *topic, const char *fmt, ...)
{
    if (level > log_limit)
        return;
    char line[1024];
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(line, sizeof line, "ts=%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ level=%s topic=%s ",
                          now.tv_nsec / 1000000, log_names[level], topic);
    va_list ap;
    va_start(ap, fmt);
    int more = vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
    va_end(ap);
    n = more < 0 ? n : n + (size_t)more;
    if (n > sizeof line - 2)
        n = sizeof line - 2;
    line[n++] = '\n';
    fwrite(line, 1, n, stderr);
}
