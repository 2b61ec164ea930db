/* SPDX-License-Identifier: MIT
 * os_sandbox.h - a server gives up files (Landlock) and system calls (seccomp).
 *
 * Does: two steps.  os_sandbox_files first, before there are threads (Landlock binds the caller
 *       and the threads it starts): only the named folders can be opened from then on, and what
 *       the C library itself reads.  os_sandbox_calls when the server listens, for all threads:
 *       no program is started, no process looked into, no further socket made to listen.
 * Does not: end the process for a call that is refused (it fails with EPERM or ENOSYS, and goes
 *       to the kernel's log), take back what is open, forbid executable memory (PCRE2 compiles),
 *       or work where the kernel cannot: then it says so and goes on.
 * Owner: struct os_sandbox is the caller's; both steps last to the end of the process. */
#ifndef OS_OS_SANDBOX_H
#define OS_OS_SANDBOX_H

#include "base/err.h"

#include <stdbool.h>

struct os_sandbox_opts {
    const char *const *read;   /* files and folders to read, NULL-terminated; NULL: none */
    const char *const *write;  /* folders to read and write below; they exist */
    const char *const *remove; /* folders from which files may be removed, if they are there */
    const char *const *run;    /* to read, and to start programs from; for a process that will */
    bool connect;              /* may open connections (to a database) */
    bool beside;               /* threads that run already keep their files: those of a library */
    const int *ports; /* with connect: by TCP only to these, 0-terminated (Landlock 4); NULL: any */
};

/* What is in force. */
struct os_sandbox {
    int landlock; /* the version of the kernel's interface; 0: files are not restricted */
    bool seccomp;
    bool connect; /* connections can be opened */
};

/* Errors: NOTFOUND (a named path is not there), USAGE (other threads run), FAILED.  A kernel
 * without Landlock is none: s->landlock stays 0. */
enum err os_sandbox_files(struct os_sandbox *s, const struct os_sandbox_opts *o, struct errinfo *e);
/* Errors: FAILED.  A kernel without seccomp is none. */
enum err os_sandbox_calls(struct os_sandbox *s, const struct os_sandbox_opts *o, struct errinfo *e);

/* "files=landlock-6 calls=seccomp connect=no", for a line of the log. */
void os_sandbox_text(const struct os_sandbox *s, char out[64]);

#endif
