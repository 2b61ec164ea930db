/* SPDX-License-Identifier: MIT
 * os_sys.h - what the system has, what time it is, and folders. */
#ifndef OS_SYS_H
#define OS_SYS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes that a process may still take: MemAvailable, or what the control group (v1 or v2) leaves
 * of its limit when that is less. */
size_t os_mem_available(void);
size_t os_mem_total(void);
/* Bytes of this process now in memory. */
size_t os_mem_resident(void);
/* The most of them that there have been. */
size_t os_mem_resident_peak(void);

/* Bytes of the last cache that a processor reaches; 0: not known. */
size_t os_cache_bytes(void);

/* Processors that this process may run on. */
int os_n_cpus(void);

/* Keeps the calling thread on one of the processors that it may run on, thread n on another than
 * thread n + 1 while there are enough; os_unpin lets it run where it could before.  A machine that
 * others load may otherwise leave all threads on one processor.  Nothing happens where the system
 * does not want it. */
void os_pin(int n);
void os_unpin(void);

/* Lets this process have n open files, as far as the system lets it: the most that it may have. */
size_t os_files_allow(size_t n);

uint64_t os_now_ns(void); /* monotonic */
void os_sleep_until_ns(uint64_t ns);
int64_t os_unix_time(void); /* seconds since 1970 */

/* Makes the folders above a file that are not there yet, with this mode.  Error: IO, naming the
 * folder. */
enum err os_make_folders(const char *file, unsigned mode, struct errinfo *e);

/* The processor's name as the system gives it; never NULL. */
const char *os_cpu_name(void);

#endif
