/* SPDX-License-Identifier: MIT
 * dev_keep.c - the file of prepared weights: its form, reading, writing, room in the folder.
 *
 * The file: a head; at 4 KiB a checksum for each 4 MiB of the data; at 2 MiB the data, so that
 * large pages of the file are large pages of memory; a hole up to whole 2 MiB.  All of it is
 * checked at each start: that costs no more than reading it from memory once, and does the reading
 * from disk where it is not there.  It is mapped and not read into memory of our own: so it is
 * there once for all processes, and the next start finds it.
 *
 * A writer holds a lock on its temporary file: what has none was left by a process that died. */
#include "dev/dev_keep.h"

#include "base/arena.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "os/os_sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define KEEP_VERSION  1
#define KEEP_SUMS_AT  4096
#define KEEP_DATA_AT  ((size_t)2 << 20)
#define KEEP_PIECE    ((size_t)4 << 20)
#define KEEP_PIECES   ((KEEP_DATA_AT - KEEP_SUMS_AT) / sizeof(uint64_t)) /* at most */
#define KEEP_SYNC     8 /* pieces that may wait for the disk */
#define KEEP_END      ".packed"
#define KEEP_TMP      ".packed-" /* and six characters */
#define KEEP_PATH_MAX 4400

static const char keep_magic[8] = {'D', 'A', 'M', 'S', 'O', 'P', 'W', '\n'};

struct keep_head {
    char magic[8];
    uint32_t version, order; /* 1 in the order of this machine's bytes */
    uint64_t key[2];
    uint64_t bytes, piece;
    uint64_t sums_sum; /* of the table */
    uint64_t sum;      /* of what is before */
};

static size_t n_pieces(const struct dev_keep *k)
{
    return num_div_up(k->bytes, KEEP_PIECE);
}

static size_t piece_bytes(const struct dev_keep *k, size_t i)
{
    return MIN(KEEP_PIECE, k->bytes - i * KEEP_PIECE);
}

/* k->bytes is at most KEEP_PIECES pieces. */
static size_t file_bytes(const struct dev_keep *k)
{
    return num_align(KEEP_DATA_AT + k->bytes, KEEP_DATA_AT);
}

static struct keep_head make_head(const struct dev_keep *k, const uint64_t *sums)
{
    struct keep_head h = {
        .version = KEEP_VERSION,
        .order = 1,
        .key = {k->key[0], k->key[1]},
        .bytes = k->bytes,
        .piece = KEEP_PIECE,
        .sums_sum = num_sum(sums, n_pieces(k) * sizeof *sums)
    };
    memcpy(h.magic, keep_magic, sizeof h.magic);
    h.sum = num_sum(&h, offsetof(struct keep_head, sum));
    return h;
}

static bool path_of(const struct dev_keep *k, const char *end, char out[KEEP_PATH_MAX])
{
    int n = snprintf(out, KEEP_PATH_MAX, "%s/%s%s", k->dir, k->name, end);
    return n > 0 && n < KEEP_PATH_MAX;
}

/* ---- reading ---- */

#define KEEP_LARGE 0.75 /* share of large pages from which it is not copied */

struct keep_check {
    const struct dev_keep *k;
    const unsigned char *data;
    const uint64_t *sums;
    int fd; /* copied from, or -1 */
    struct os_pool *pool;
    void (*progress)(void *arg, double share);
    void *arg;
    atomic_size_t n_done;
    atomic_bool wrong;
};

static bool get(int fd, void *p, size_t n, size_t at)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(fd, (char *)p + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static bool check_piece(const struct keep_check *c, size_t i)
{
    size_t n = piece_bytes(c->k, i);
    unsigned char *p = (unsigned char *)(uintptr_t)c->data + i * KEEP_PIECE;
    if (c->fd >= 0 && !get(c->fd, p, n, KEEP_DATA_AT + i * KEEP_PIECE))
        return false;
    return num_sum(p, n) == c->sums[i];
}

static void check_some(void *arg, int thread, int n_threads)
{
    struct keep_check *c = arg;
    size_t n = n_pieces(c->k);
    (void)n_threads;
    for (size_t i; (i = os_pool_take(c->pool, 1)) < n && !atomic_load(&c->wrong);) {
        if (!check_piece(c, i))
            atomic_store(&c->wrong, true);
        size_t done = atomic_fetch_add(&c->n_done, 1) + 1;
        if (thread == 0 && c->progress)
            c->progress(c->arg, (double)done / (double)n);
    }
}

static enum err check_head(const struct dev_keep *k, const struct os_map *m, const char *path,
                           struct errinfo *e)
{
    struct keep_head h;
    const uint64_t *sums = (const void *)(m->data + KEEP_SUMS_AT);
    if (m->bytes < KEEP_DATA_AT)
        return err_set(e, ERR_CORRUPT, "%s: %zu bytes are too few", path, m->bytes);
    memcpy(&h, m->data, sizeof h);
    if (memcmp(h.magic, keep_magic, sizeof h.magic) != 0 ||
        h.sum != num_sum(&h, offsetof(struct keep_head, sum)))
        return err_set(e, ERR_CORRUPT, "%s: the head is damaged", path);
    if (h.version != KEEP_VERSION || h.order != 1 || memcmp(h.key, k->key, sizeof h.key) != 0 ||
        h.bytes != k->bytes || h.piece != KEEP_PIECE)
        return err_set(e, ERR_UNSUPPORTED, "%s: made of another file or by another version", path);
    if (m->bytes != file_bytes(k))
        return err_set(e, ERR_CORRUPT, "%s: %zu bytes instead of %zu", path, m->bytes,
                       file_bytes(k));
    if (h.sums_sum != num_sum(sums, n_pieces(k) * sizeof *sums))
        return err_set(e, ERR_CORRUPT, "%s: the checksums are damaged", path);
    return ERR_OK;
}

static enum err open_file(const char *path, int *fd, struct errinfo *e)
{
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (*fd < 0)
        return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "%s: %s", path, strerror(errno));
    if (fstat(*fd, &st) != 0)
        return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return err_set(e, ERR_IO, "%s: others can write it", path);
    return ERR_OK;
}

/* Where the data will be, and whether they must be copied there. */
static enum err place_data(struct keep_check *c, struct dev_kept *d, int fd, struct errinfo *e)
{
    os_map_large(&d->map);
    d->data = d->map.data + KEEP_DATA_AT;
    if (os_map_large_share(&d->map) < KEEP_LARGE) {
        d->data = d->copy = os_pages_alloc(d->bytes);
        if (!d->copy)
            return err_set(e, ERR_MEMORY, "the system refuses %zu MiB", d->bytes >> 20);
        c->fd = fd;
    }
    c->data = d->data;
    c->sums = (const void *)(d->map.data + KEEP_SUMS_AT);
    return ERR_OK;
}

static enum err check_data(struct keep_check *c, const char *path, struct errinfo *e)
{
    os_pool_run(c->pool, check_some, c);
    if (atomic_load(&c->wrong))
        return err_set(e, ERR_CORRUPT, "%s: the data are damaged", path);
    CHECK(atomic_load(&c->n_done) == n_pieces(c->k));
    return ERR_OK;
}

static enum err open_all(struct keep_check *c, struct dev_kept *d, const char *path,
                         struct errinfo *e)
{
    int fd;
    enum err r = open_file(path, &fd, e);
    if (r == ERR_OK)
        r = os_map_fd(&d->map, fd, path, e);
    if (r == ERR_OK)
        r = check_head(c->k, &d->map, path, e);
    if (r == ERR_OK)
        r = place_data(c, d, fd, e);
    if (r == ERR_OK)
        r = check_data(c, path, e);
    if (r == ERR_OK)
        futimens(fd, NULL); /* served last: a wish */
    if (fd >= 0)
        close(fd);
    return r;
}

enum err dev_keep_open(const struct dev_keep *k, struct dev_kept *d, struct os_pool *pool,
                       void (*progress)(void *arg, double share), void *arg, struct errinfo *e)
{
    char path[KEEP_PATH_MAX];
    struct keep_check c = {.k = k, .fd = -1, .pool = pool, .progress = progress, .arg = arg};
    *d = (struct dev_kept){.bytes = k->bytes};
    if (k->bytes == 0 || n_pieces(k) > KEEP_PIECES || !path_of(k, KEEP_END, path))
        return err_set(e, ERR_NOTFOUND, "%s/%s: no such file", k->dir, k->name);
    enum err r = open_all(&c, d, path, e);
    if (r != ERR_OK)
        dev_keep_close(d);
    else if (d->copy)
        os_map_close(&d->map);
    return r;
}

void dev_keep_close(struct dev_kept *d)
{
    os_map_close(&d->map);
    os_pages_free(d->copy, d->bytes);
    *d = (struct dev_kept){0};
}

/* ---- room in the folder ---- */

struct keep_file {
    char name[256];
    uint64_t bytes;
    struct timespec used;
};

struct keep_folder {
    struct keep_file *file;
    size_t n;
    uint64_t bytes;
    bool busy; /* another process writes the file that we would */
};

/* A temporary file: nobody's, of a process that died, or being written. */
static void look_at_tmp(struct keep_folder *f, const struct dev_keep *k, int dir, const char *name)
{
    size_t own = strlen(k->name);
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(dir, name, 0);
    else if (strncmp(name, k->name, own) == 0 && span_starts(span_of(name + own), SPAN(KEEP_TMP)))
        f->busy = true;
    close(fd);
}

static void look_at(struct keep_folder *f, const struct dev_keep *k, int dir, const char *name)
{
    struct stat st;
    char own[DEV_KEEP_NAME + sizeof KEEP_END];
    snprintf(own, sizeof own, "%s%s", k->name, KEEP_END);
    if (!span_ends(span_of(name), SPAN(KEEP_END))) {
        size_t n = strlen(name), tail = sizeof KEEP_TMP - 1 + 6;
        if (n > tail && span_starts(span_of(name + n - tail), SPAN(KEEP_TMP)))
            look_at_tmp(f, k, dir, name);
        return;
    }
    if (strcmp(name, own) == 0 || strlen(name) >= sizeof f->file->name ||
        fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
        return;
    f->file = mem_grow(f->file, (f->n + 1) * sizeof *f->file);
    struct keep_file *x = &f->file[f->n++];
    *x = (struct keep_file){.bytes = (uint64_t)st.st_size, .used = st.st_mtim};
    memcpy(x->name, name, strlen(name) + 1);
    f->bytes += x->bytes;
}

static int by_use(const void *a, const void *b)
{
    const struct timespec *x = &((const struct keep_file *)a)->used;
    const struct timespec *y = &((const struct keep_file *)b)->used;
    if (x->tv_sec != y->tv_sec)
        return (x->tv_sec > y->tv_sec) - (x->tv_sec < y->tv_sec);
    return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* Removes what served longest ago until ours fits. */
static enum err make_room_in(const struct dev_keep *k, DIR *d, struct errinfo *e)
{
    struct keep_folder f = {0};
    uint64_t bytes = file_bytes(k);
    for (struct dirent *x; (x = readdir(d));)
        look_at(&f, k, dirfd(d), x->d_name);
    if (f.n)
        qsort(f.file, f.n, sizeof *f.file, by_use);
    for (size_t i = 0; i < f.n && !f.busy && f.bytes > k->bytes_max - bytes; i++)
        if (unlinkat(dirfd(d), f.file[i].name, 0) == 0)
            f.bytes -= f.file[i].bytes;
    mem_free(f.file);
    if (f.busy)
        return err_set(e, ERR_BUSY, "%s/%s is being written by another process", k->dir, k->name);
    return ERR_OK;
}

static enum err make_room(const struct dev_keep *k, struct errinfo *e)
{
    char path[KEEP_PATH_MAX];
    struct statvfs fs;
    uint64_t bytes = file_bytes(k), left;
    if (bytes > k->bytes_max)
        return err_set(e, ERR_TOOBIG, "%llu MiB of prepared weights are over the limit of %llu",
                       (unsigned long long)bytes >> 20, (unsigned long long)k->bytes_max >> 20);
    if (!path_of(k, KEEP_END, path))
        return err_set(e, ERR_IO, "%s: the name is too long", k->dir);
    TRY(os_make_folders(path, 0700, e));
    DIR *d = opendir(k->dir);
    if (!d)
        return err_set(e, ERR_IO, "%s: %s", k->dir, strerror(errno));
    enum err r = make_room_in(k, d, e);
    closedir(d);
    TRY(r);
    if (statvfs(k->dir, &fs) != 0)
        return err_set(e, ERR_IO, "%s: %s", k->dir, strerror(errno));
    left = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (bytes > left / 2)
        return err_set(e, ERR_IO, "%s: %llu MiB are more than half of the %llu that are free",
                       k->dir, (unsigned long long)bytes >> 20, (unsigned long long)left >> 20);
    return ERR_OK;
}

/* ---- writing ---- */

struct dev_keep_writer {
    struct dev_keep k;
    const unsigned char *data;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t change;
    bool stop, hurry, over;
};

static struct timespec after(uint64_t wait_ns)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t ns = (uint64_t)t.tv_nsec + wait_ns % 1000000000u;
    t.tv_sec += (time_t)(wait_ns / 1000000000u + ns / 1000000000u);
    t.tv_nsec = (long)(ns % 1000000000u);
    return t;
}

/* Leaves the processor to others for a while; true when it is to stop. */
static bool rests(struct dev_keep_writer *w, uint64_t ns)
{
    struct timespec until = after(ns);
    pthread_mutex_lock(&w->lock);
    while (!w->stop && !w->hurry &&
           pthread_cond_timedwait(&w->change, &w->lock, &until) != ETIMEDOUT)
        ;
    bool stop = w->stop;
    pthread_mutex_unlock(&w->lock);
    return stop;
}

static enum err put(int fd, const void *p, size_t n, size_t at, struct errinfo *e)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = pwrite(fd, (const char *)p + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return err_set(e, ERR_IO, "%s", got ? strerror(errno) : "a write came to nothing");
        done += (size_t)got;
    }
    return ERR_OK;
}

static enum err sync_now(int fd, struct errinfo *e)
{
    return fdatasync(fd) == 0 ? ERR_OK : err_set(e, ERR_IO, "%s", strerror(errno));
}

/* The data first, then what makes it count. */
static enum err write_pieces(struct dev_keep_writer *w, int fd, uint64_t *sums, struct errinfo *e)
{
    const struct dev_keep *k = &w->k;
    size_t n = n_pieces(k);
    for (size_t i = 0; i < n; i++) {
        const unsigned char *p = w->data + i * KEEP_PIECE;
        uint64_t began = os_now_ns();
        sums[i] = num_sum(p, piece_bytes(k, i));
        TRY(put(fd, p, piece_bytes(k, i), KEEP_DATA_AT + i * KEEP_PIECE, e));
        if (rests(w, os_now_ns() - began))
            return err_set(e, ERR_CANCELLED, "the process ends");
        if (i % KEEP_SYNC == KEEP_SYNC - 1)
            TRY(sync_now(fd, e));
    }
    struct keep_head head = make_head(k, sums);
    if (ftruncate(fd, (off_t)file_bytes(k)) != 0)
        return err_set(e, ERR_IO, "%s", strerror(errno));
    TRY(put(fd, sums, n * sizeof *sums, KEEP_SUMS_AT, e));
    TRY(put(fd, &head, sizeof head, 0, e));
    return sync_now(fd, e);
}

static enum err write_file(struct dev_keep_writer *w, struct errinfo *e)
{
    char path[KEEP_PATH_MAX], tmp[KEEP_PATH_MAX];
    TRY(make_room(&w->k, e));
    CHECK(path_of(&w->k, KEEP_END, path));
    if (!path_of(&w->k, KEEP_TMP "XXXXXX", tmp))
        return err_set(e, ERR_IO, "%s: the name is too long", w->k.dir);
    int fd = mkostemp(tmp, O_CLOEXEC);
    if (fd < 0)
        return err_set(e, ERR_IO, "%s: %s", tmp, strerror(errno));
    uint64_t *sums = mem_alloc(n_pieces(&w->k) * sizeof *sums);
    enum err r = flock(fd, LOCK_EX | LOCK_NB) == 0
                     ? write_pieces(w, fd, sums, e)
                     : err_set(e, ERR_IO, "%s: %s", tmp, strerror(errno));
    if (r == ERR_OK && rename(tmp, path) != 0)
        r = err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    if (r != ERR_OK)
        unlink(tmp);
    close(fd); /* the lock, too */
    mem_free(sums);
    return r;
}

static void *writer_main(void *arg)
{
    struct dev_keep_writer *w = arg;
    struct errinfo e;
    uint64_t began = os_now_ns();
    enum err r = write_file(w, &e);
    bool expected = r == ERR_OK || r == ERR_CANCELLED || r == ERR_BUSY;
    log_at(expected ? LOG_INFO : LOG_WARN, "packed", "kept=%s file=%s/%s" KEEP_END " ms=%llu%s%s%s",
           r == ERR_OK ? "yes" : "no", w->k.dir, w->k.name,
           (unsigned long long)(os_now_ns() - began) / 1000000, r == ERR_OK ? "" : " error=\"",
           r == ERR_OK ? "" : e.text, r == ERR_OK ? "" : "\"");
    pthread_mutex_lock(&w->lock);
    w->over = true;
    pthread_cond_broadcast(&w->change);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void writer_free(struct dev_keep_writer *w)
{
    pthread_cond_destroy(&w->change);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}

struct dev_keep_writer *dev_keep_write(const struct dev_keep *k, const void *data)
{
    pthread_condattr_t monotonic;
    if (k->bytes == 0 || n_pieces(k) > KEEP_PIECES)
        return NULL;
    struct dev_keep_writer *w = mem_alloc(sizeof *w);
    w->k = *k;
    w->data = data;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->change, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&w->thread, NULL, writer_main, w) != 0) {
        writer_free(w);
        return NULL;
    }
    return w;
}

bool dev_keep_over(struct dev_keep_writer *w, uint64_t wait_ns)
{
    if (!w)
        return true;
    struct timespec until = after(wait_ns);
    pthread_mutex_lock(&w->lock);
    if (wait_ns && !w->hurry) {
        w->hurry = true;
        pthread_cond_broadcast(&w->change);
    }
    while (!w->over && pthread_cond_timedwait(&w->change, &w->lock, &until) != ETIMEDOUT)
        ;
    bool over = w->over;
    pthread_mutex_unlock(&w->lock);
    return over;
}

void dev_keep_end(struct dev_keep_writer *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->change);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    writer_free(w);
}
