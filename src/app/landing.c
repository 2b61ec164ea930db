/* SPDX-License-Identifier: MIT */
#include "app/landing.h"

#include "base/arena.h"
#include "base/num.h"
#include "os/os_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define READ_BYTES    ((size_t)1 << 20)
#define RESERVE_BYTES ((uint64_t)64 << 20) /* of the disk, left for others */
#define HASH_BYTES    crypto_hash_sha256_BYTES

static enum err io_error(const char *path, struct errinfo *e)
{
    return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
}

static char *join(const char *path, const char *tail)
{
    size_t n = strlen(path) + strlen(tail) + 1;
    char *out = mem_alloc(n);
    snprintf(out, n, "%s%s", path, tail);
    return out;
}

/* The lock is on the part itself: when another process finished and renamed it between our open
 * and our lock, the name leads elsewhere by now, and we must open again. */
static enum err open_locked(struct landing *l, struct errinfo *e)
{
    for (int i = 0; i < 10; i++) {
        struct stat mine, named;
        l->fd = open(l->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (l->fd < 0)
            return io_error(l->part, e);
        if (flock(l->fd, LOCK_EX | LOCK_NB) != 0) {
            close(l->fd);
            l->fd = -1;
            return err_set(e, ERR_BUSY, "%s: another damso is loading this file", l->part);
        }
        if (fstat(l->fd, &mine) == 0 && stat(l->part, &named) == 0 && mine.st_ino == named.st_ino &&
            mine.st_dev == named.st_dev)
            return ERR_OK;
        close(l->fd);
        l->fd = -1;
    }
    return err_set(e, ERR_BUSY, "%s: another damso is loading this file", l->part);
}

enum err landing_open(struct landing *l, const char *path, uint64_t bytes, const char *sha256,
                      struct errinfo *e)
{
    *l = (struct landing){.fd = -1, .bytes = bytes, .sha256 = sha256};
    CHECK(sodium_init() >= 0);
    l->path = join(path, "");
    l->part = join(path, ".part");
    l->mark = join(path, ".part.from");
    crypto_hash_sha256_init(&l->hash);
    enum err code = os_make_folders(path, 0777, e);
    if (code == ERR_OK)
        code = open_locked(l, e);
    if (code == ERR_OK && bytes) {
        struct stat st;
        uint64_t have = fstat(l->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
        code = landing_room(l, bytes - MIN(have, bytes), e);
    }
    if (code != ERR_OK)
        landing_close(l);
    return code;
}

enum err landing_room(const struct landing *l, uint64_t more, struct errinfo *e)
{
    struct statvfs fs;
    if (fstatvfs(l->fd, &fs) != 0)
        return ERR_OK; /* the write will tell */
    uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (left >= RESERVE_BYTES && more <= left - RESERVE_BYTES)
        return ERR_OK;
    return err_set(e, ERR_IO, "%s: %.1f MB are needed, but the disk has only %.1f MB free", l->path,
                   (double)more * 1e-6, (double)left * 1e-6);
}

bool landing_marked(const struct landing *l, char *buf, size_t n)
{
    FILE *f = fopen(l->mark, "re");
    if (!f)
        return false;
    size_t got = fread(buf, 1, n - 1, f);
    fclose(f);
    buf[got] = '\0';
    return got > 0;
}

enum err landing_mark(struct landing *l, const char *from, struct errinfo *e)
{
    if (!from) {
        if (unlink(l->mark) != 0 && errno != ENOENT)
            return io_error(l->mark, e);
        return ERR_OK;
    }
    FILE *f = fopen(l->mark, "we");
    if (!f)
        return io_error(l->mark, e);
    bool ok = fputs(from, f) >= 0;
    if (fclose(f) != 0 || !ok)
        return io_error(l->mark, e);
    return ERR_OK;
}

enum err landing_resume(struct landing *l, const char *from, struct errinfo *e)
{
    char marked[4096];
    CHECK(l->n_bytes == 0);
    if (!landing_marked(l, marked, sizeof marked) || strcmp(marked, from) != 0)
        return landing_restart(l, e);
    unsigned char *buf = mem_alloc(READ_BYTES);
    ssize_t got;
    if (lseek(l->fd, 0, SEEK_SET) < 0)
        got = -1;
    else
        while ((got = read(l->fd, buf, READ_BYTES)) > 0) {
            crypto_hash_sha256_update(&l->hash, buf, (size_t)got);
            l->n_bytes += (uint64_t)got;
        }
    mem_free(buf);
    if (got < 0)
        return io_error(l->part, e);
    return l->bytes && l->n_bytes > l->bytes ? landing_restart(l, e) : ERR_OK;
}

enum err landing_restart(struct landing *l, struct errinfo *e)
{
    if (ftruncate(l->fd, 0) != 0 || lseek(l->fd, 0, SEEK_SET) < 0)
        return io_error(l->part, e);
    l->n_bytes = 0;
    crypto_hash_sha256_init(&l->hash);
    return ERR_OK;
}

enum err landing_write(struct landing *l, const void *p, size_t n, struct errinfo *e)
{
    const unsigned char *at = p;
    if (l->bytes && n > l->bytes - l->n_bytes)
        return err_set(e, ERR_CORRUPT, "%s: the source has more than the %llu bytes expected",
                       l->path, (unsigned long long)l->bytes);
    crypto_hash_sha256_update(&l->hash, at, n);
    l->n_bytes += n;
    while (n) {
        ssize_t put = write(l->fd, at, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return io_error(l->part, e);
        at += put;
        n -= (size_t)put;
    }
    return ERR_OK;
}

static enum err check_whole(struct landing *l, landing_check *check, struct errinfo *e)
{
    unsigned char sum[HASH_BYTES];
    char hex[2 * HASH_BYTES + 1];
    if (l->bytes && l->n_bytes != l->bytes)
        return err_set(e, ERR_CORRUPT, "%s: %llu bytes arrived, %llu are expected", l->path,
                       (unsigned long long)l->n_bytes, (unsigned long long)l->bytes);
    crypto_hash_sha256_final(&l->hash, sum);
    sodium_bin2hex(hex, sizeof hex, sum, sizeof sum);
    if (l->sha256 && strcmp(hex, l->sha256) != 0)
        return err_set(e, ERR_CORRUPT,
                       "%s: the sha256 of what arrived is %s, not %s; it was thrown away", l->path,
                       hex, l->sha256);
    return check ? check(l->part, e) : ERR_OK;
}

/* The rename itself is on the disk once the folder is. */
static void sync_folder(const char *path)
{
    char *copy = join(path, "");
    char *slash = strrchr(copy, '/');
    if (slash)
        slash[slash == copy] = '\0';
    int fd = open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    mem_free(copy);
}

enum err landing_finish(struct landing *l, landing_check *check, struct errinfo *e)
{
    enum err code = check_whole(l, check, e);
    if (code != ERR_OK) {
        unlink(l->part);
        unlink(l->mark);
        return code;
    }
    if (fsync(l->fd) != 0 || rename(l->part, l->path) != 0)
        return io_error(l->part, e);
    unlink(l->mark);
    sync_folder(l->path);
    return ERR_OK;
}

void landing_close(struct landing *l)
{
    struct stat mine, named;
    if (l->fd >= 0 && fstat(l->fd, &mine) == 0 && mine.st_size == 0 && stat(l->part, &named) == 0 &&
        named.st_ino == mine.st_ino) {
        unlink(l->part);
        unlink(l->mark);
    }
    if (l->fd >= 0)
        close(l->fd);
    mem_free(l->path);
    mem_free(l->part);
    mem_free(l->mark);
    *l = (struct landing){.fd = -1};
}

enum err landing_hash_file(const char *path, char hex[65], struct errinfo *e)
{
    crypto_hash_sha256_state state;
    unsigned char sum[HASH_BYTES];
    CHECK(sodium_init() >= 0);
    crypto_hash_sha256_init(&state);
    FILE *f = fopen(path, "rbe");
    if (!f)
        return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "%s: %s", path, strerror(errno));
    unsigned char *buf = mem_alloc(READ_BYTES);
    size_t got;
    while ((got = fread(buf, 1, READ_BYTES, f)) > 0)
        crypto_hash_sha256_update(&state, buf, got);
    bool failed = ferror(f) != 0;
    mem_free(buf);
    fclose(f);
    if (failed)
        return err_set(e, ERR_IO, "%s: reading failed", path);
    crypto_hash_sha256_final(&state, sum);
    sodium_bin2hex(hex, 65, sum, sizeof sum);
    return ERR_OK;
}
