/* SPDX-License-Identifier: MIT
 * os_crash.h - the last words of a process that dies of a fault.
 *
 * Does: on SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT (a CHECK) write the signal, the address, the
 *       version and where each caller stands (module + offset, for addr2line) to stderr and to a
 *       file that was opened beforehand; then let the signal do what it does.
 * Does not: write a word of any user's text, memory or path; allocate, lock or open anything when
 *       it happens; survive.
 * Threads: any may fault; the first one speaks.  A stack that overflowed is told of on the thread
 *       that called os_crash_open only: it alone has a second stack.
 * Owner: one for the process, to its end. */
#ifndef OS_OS_CRASH_H
#define OS_OS_CRASH_H

#include "base/err.h"

/* version: kept, not copied.  path: appended to, mode 0600; NULL: stderr alone.  Once a process.
 * Error: IO, naming the file; then nothing is installed. */
enum err os_crash_open(const char *version, const char *path, struct errinfo *e);

#endif
