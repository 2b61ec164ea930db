/* SPDX-License-Identifier: MIT */
#include "os/os_child.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* What else is open would stay open by the child. */
static void keep_only(int fd)
{
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing >= 0) {
        dup2(nothing, STDIN_FILENO);
        dup2(nothing, STDOUT_FILENO);
    }
    if (fd > 3)
        close_range(3, (unsigned)fd - 1, 0);
    close_range((unsigned)fd + 1, ~0u, 0);
}

enum err os_child_fork(const int ends[2], os_child_run *run, const void *arg, pid_t *pid,
                       struct errinfo *e)
{
    *pid = fork();
    if (*pid == 0) {
        keep_only(ends[1]);
        run(ends[1], arg);
        _exit(0);
    }
    int why = errno;
    close(ends[1]);
    if (*pid > 0)
        return ERR_OK;
    close(ends[0]);
    return err_set(e, ERR_FAILED, "fork: %s", strerror(why));
}
