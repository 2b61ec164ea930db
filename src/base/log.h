/* SPDX-License-Identifier: MIT
 * log.h - messages for people, on stderr: key=value lines.  User text is never logged above debug.
 *
 * The level comes from DAMSO_LOG=error|warn|info|debug (default warn) or log_level_set.
 * Any thread may call; a line is written with one write. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_level_set(enum log_level level);
/* Level by name; -1 for an unknown one. */
int log_level_named(const char *name);

/* fmt gives key=value pairs: log_at(LOG_INFO, "model", "file=%s bytes=%zu", ...) */
void log_at(enum log_level level, const char *topic, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
