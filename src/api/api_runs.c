/* SPDX-License-Identifier: MIT
 * api_runs.c - /api/v1/runs: measurements that the operator keeps in a folder (the setting runs),
 * as `damso mlperf run --out` and `damso bench serve --json` left them.  Read only.
 *
 * A run is a folder of that folder with a run.json, or a file NAME.json; its id is that name.  What
 * leads out of the folder (a link, "..") is none.  Of a file come only the members named here.
 * Limits: RUNS_MAX of a list, FILE_BYTES_MAX of a file, and READS_MAX files of READ_BYTES_MAX
 * together that are read for one list. */
#include "api/api_call.h"

#include "base/arena.h"
#include "base/num.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUNS_MAX       200
#define ENTRIES_MAX    10000 /* of the folder, looked at */
#define NAME_CHARS_MAX 100
#define FILE_BYTES_MAX ((off_t)4 << 20)
#define READS_MAX      1000
#define READ_BYTES_MAX ((off_t)64 << 20)

/* What is left of what an answer may read. */
struct allowance {
    size_t files;
    off_t bytes;
};

/* What a list has of each; a run has all of them and those below. */
static const char *const brief[] = {
    "benchmark", "official_benchmark", "scenario",     "mode",          "compliance", "verdict",
    "model",     "answered",           "tokens_per_s", "samples_per_s", "unix_time",  "machine",
    "url",       "tokens_at_most"};
static const char *const whole[] = {"why",        "set_sha256", "queries", "tokens",     "seconds",
                                    "share",      "at_once",    "limits",  "latency_ms", "ttft_ms",
                                    "tpot_ms",    "histogram",  "energy",  "build",      "judged",
                                    "disclaimer", "words",      "answer",  "levels"};

/* ---- files ---- */

/* Letters, digits and ._- and no dot first: no way out of a folder, and no hidden file. */
static bool is_name(const char *s)
{
    size_t n = strlen(s);
    if (n == 0 || n > NAME_CHARS_MAX || s[0] == '.')
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
        if (!ok)
            return false;
    }
    return true;
}

/* The whole of a plain file that is not too long; closes fd. NULL: it is none, or no JSON. */
static json_t *read_json(int fd, struct allowance *left)
{
    struct stat st;
    json_t *o = NULL;
    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
        st.st_size <= FILE_BYTES_MAX) {
        left->files--;
        left->bytes -= st.st_size;
        char *text = mem_alloc((size_t)st.st_size);
        size_t n = 0;
        for (ssize_t got = 1; got > 0 && n < (size_t)st.st_size; n += (size_t)MAX(got, 0))
            got = read(fd, text + n, (size_t)st.st_size - n);
        o = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
        mem_free(text);
    }
    close(fd);
    return o;
}

/* A run of the folder `dir` by its name; NULL: there is none. */
static json_t *read_run(int dir, const char *name, struct allowance *left)
{
    const int plain = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    size_t n = strlen(name);
    json_t *o;
    if (!is_name(name))
        return NULL;
    int sub = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_DIRECTORY);
    if (sub >= 0) {
        o = read_json(openat(sub, "run.json", plain), left);
        close(sub);
    } else {
        bool json = n > 5 && strcmp(name + n - 5, ".json") == 0;
        o = json ? read_json(openat(dir, name, plain), left) : NULL;
    }
    bool mlperf = json_is_string(json_object_get(o, "benchmark")) &&
                  json_is_string(json_object_get(o, "verdict"));
    if (mlperf || json_is_array(json_object_get(o, "levels")))
        return o;
    json_decref(o);
    return NULL;
}

/* ---- answers ---- */

static void take(json_t *to, const json_t *from, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        json_t *v = json_object_get(from, keys[i]);
        if (v)
            json_object_set(to, keys[i], v);
    }
}

static json_t *shown(const json_t *run, const char *name, bool all)
{
    bool serve = json_is_array(json_object_get(run, "levels"));
    json_t *o = api_pack("{ss ss}", "id", name, "kind", serve ? "serve" : "mlperf");
    take(o, run, brief, N_ELEMS(brief));
    if (all)
        take(o, run, whole, N_ELEMS(whole));
    else if (serve)
        json_object_set_new(
            o, "n_levels",
            json_integer((json_int_t)json_array_size(json_object_get(run, "levels"))));
    return o;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of what may be runs, sorted; gives how many. */
static size_t names_in(int dir, struct arena *a, const char **name)
{
    size_t n = 0, looked = 0;
    int copy = dup(dir); /* closedir closes it */
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d && copy >= 0)
        close(copy);
    for (struct dirent *en; d && looked < ENTRIES_MAX && (en = readdir(d));) {
        looked++;
        if (is_name(en->d_name))
            name[n++] = arena_dup(a, en->d_name, strlen(en->d_name));
    }
    if (d)
        closedir(d);
    qsort(name, n, sizeof *name, by_name);
    return n;
}

static int open_folder(const struct api_call *c)
{
    const char *folder = c->api->o.runs;
    return folder ? open(folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY) : -1;
}

void api_do_runs(struct api_call *c)
{
    struct arena *a = c->req->arena;
    json_t *list = json_array();
    struct allowance left = {READS_MAX, READ_BYTES_MAX};
    bool more = false;
    int dir = open_folder(c);
    if (dir >= 0) {
        const char **name = arena_array(a, ENTRIES_MAX, sizeof *name);
        size_t n = names_in(dir, a, name);
        for (size_t i = 0; i < n && !more; i++) {
            if (left.files == 0 || left.bytes < FILE_BYTES_MAX) {
                more = true;
                break;
            }
            json_t *run = read_run(dir, name[i], &left);
            more = run && json_array_size(list) == RUNS_MAX;
            if (run && !more)
                json_array_append_new(list, shown(run, name[i], false));
            json_decref(run);
        }
        close(dir);
    }
    api_call_json(
        c, 200,
        api_pack("{sb sb so}", "folder", c->api->o.runs != NULL, "more", more, "runs", list));
}

void api_do_run(struct api_call *c)
{
    const char *name = http_param(c->req, "id");
    int dir = open_folder(c);
    struct allowance left = {1, FILE_BYTES_MAX};
    json_t *run = dir >= 0 ? read_run(dir, name, &left) : NULL;
    if (dir >= 0)
        close(dir);
    if (!run) {
        api_refuse(&c->fault, 404, "not_found", "id", "there is no run '%.100s'", name);
        api_call_fail(c);
        return;
    }
    c->exact = true;
    json_t *o = shown(run, name, true);
    json_decref(run);
    api_call_json(c, 200, o);
}
