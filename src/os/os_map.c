/* SPDX-License-Identifier: MIT */
#include "os/os_map.h"

#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define OS_LARGE_PAGE   ((size_t)2 << 20)
#define OS_LARGE_PLACES 64 /* to touch */

static uint64_t os_map_change(const struct stat *st)
{
    const uint64_t facts[] = {(uint64_t)st->st_ino,         (uint64_t)st->st_size,
                              (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec,
                              (uint64_t)st->st_ctim.tv_sec, (uint64_t)st->st_ctim.tv_nsec};
    return num_hash(facts, sizeof facts, 0);
}

enum err os_map_fd(struct os_map *m, int fd, const char *path, struct errinfo *e)
{
    struct stat st;
    *m = (struct os_map){0};
    if (fstat(fd, &st) != 0)
        return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_IO, "%s: not a regular file", path);
    m->change = os_map_change(&st);
    if (st.st_size == 0)
        return ERR_OK;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return err_set(e, ERR_IO, "%s: cannot be mapped: %s", path, strerror(errno));
    m->data = p;
    m->bytes = (size_t)st.st_size;
    return ERR_OK;
}

enum err os_map_open(struct os_map *m, const char *path, struct errinfo *e)
{
    *m = (struct os_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "%s: %s", path, strerror(errno));
    enum err r = os_map_fd(m, fd, path, e);
    close(fd);
    return r;
}

void os_map_close(struct os_map *m)
{
    if (m->data)
        munmap((void *)(uintptr_t)m->data, m->bytes);
    *m = (struct os_map){0};
}

void os_map_large(const struct os_map *m)
{
    if (m->data) /* a wish */
        madvise((void *)(uintptr_t)m->data, m->bytes, MADV_HUGEPAGE);
}

/* The sum of what is mapped in large pages within [from, to), of the system's own list. */
static size_t os_map_large_bytes(uintptr_t from, uintptr_t to)
{
    char line[512];
    size_t total = 0, kib;
    unsigned long begin, end;
    bool inside = false;
    FILE *f = fopen("/proc/self/smaps", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
            inside = begin >= from && begin < to;
        else if (inside && (sscanf(line, "FilePmdMapped: %zu kB", &kib) == 1 ||
                            sscanf(line, "ShmemPmdMapped: %zu kB", &kib) == 1))
            total += kib << 10;
    if (f)
        fclose(f);
    return total;
}

double os_map_large_share(const struct os_map *m)
{
    uintptr_t from = (uintptr_t)m->data, to = from + m->bytes;
    size_t n = m->bytes / OS_LARGE_PAGE, step = num_div_up(n, OS_LARGE_PLACES), touched = 0;
    for (size_t i = 0; i < n; i += step, touched++)
        (void)*(const volatile unsigned char *)(m->data + i * OS_LARGE_PAGE);
    return touched ? (double)os_map_large_bytes(from, to) / (double)(touched * OS_LARGE_PAGE) : 0;
}

void os_map_forget(const void *p, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = num_align((uintptr_t)p, page);
    uintptr_t to = ((uintptr_t)p + n) & ~(uintptr_t)(page - 1);
    if (to > from)
        madvise((void *)from, to - from, MADV_DONTNEED);
}

void *os_pages_alloc(size_t n)
{
    size_t bytes;
    if (!num_add(n, 2 * OS_LARGE_PAGE, &bytes))
        return NULL;
    bytes = num_align(n ? n : 1, OS_LARGE_PAGE) + OS_LARGE_PAGE;
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t skip = num_align((uintptr_t)p, OS_LARGE_PAGE) - (uintptr_t)p;
    if (skip)
        munmap(p, skip);
    if (skip < OS_LARGE_PAGE)
        munmap(p + bytes - (OS_LARGE_PAGE - skip), OS_LARGE_PAGE - skip);
    madvise(p + skip, bytes - OS_LARGE_PAGE, MADV_HUGEPAGE);
    return p + skip;
}

void os_pages_free(void *p, size_t n)
{
    if (p)
        munmap(p, num_align(n ? n : 1, OS_LARGE_PAGE));
}
