/* SPDX-License-Identifier: MIT
 * models_quantize.c - the setting `quantize`: a model of floats becomes a file of another type that
 * stays in the caches' folder, so that the next start only maps it. */
#include "app/cmd.h"
#include "app/models.h"

#include "base/num.h"
#include "hf/hf.h"
#include "os/os_sys.h"
#include "quant/quant_file.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAKER 1 /* changes when files of the same key would be made otherwise */

/* The matrices are all of floats, and some not of the type already. */
static bool worth_it(const struct gguf *g, enum format type)
{
    bool other = false;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        int f = format_of(t->type);
        if (t->n_dims < 2 || span_find(t->name, SPAN("ffn_gate_inp"), 0) != SIZE_MAX)
            continue;
        if (f < 0 || format_info((enum format)f)->bits)
            return false;
        other |= f != (int)type;
    }
    return other;
}

/* Files that were made of an earlier state of the same model. */
static void drop_older(const char *dir, const char *head, const char *keep, struct arena *a)
{
    DIR *d = opendir(dir);
    for (struct dirent *f; d && (f = readdir(d));)
        if (span_starts(span_of(f->d_name), span_of(head)) && strcmp(f->d_name, keep) != 0 &&
            span_ends(span_of(f->d_name), SPAN(".gguf")) && strlen(f->d_name) == strlen(keep))
            unlink(arena_printf(a, "%s/%s", dir, f->d_name));
    if (d)
        closedir(d);
}

struct bar {
    const char *name, *type;
    bool show;
};

static bool tell(void *arg, const struct gguf_tensor *t, enum format from, enum format to,
                 size_t done, size_t n)
{
    const struct bar *b = arg;
    (void)t, (void)from, (void)to;
    if (b->show)
        fprintf(stderr, "\rquantising %s to %s, once: tensor %zu of %zu%s", b->name, b->type, done,
                n, done == n ? "\n" : "");
    return !cmd_stopped();
}

static enum err make(const struct conf *c, const char *in, const char *out, const char *name,
                     int type, struct errinfo *e)
{
    struct bar bar = {name, c->quantize, isatty(STDERR_FILENO)};
    struct quant_result result;
    const struct quant_opts o = {.type = (enum format)type,
                                 .output = -1,
                                 .embed = -1,
                                 .n_threads = c->threads ? (int)c->threads : os_n_cpus(),
                                 .progress = tell,
                                 .arg = &bar};
    TRY(os_make_folders(out, 0700, e));
    return quant_file(in, out, &o, &result, e);
}

enum err models_quantized(const struct conf *c, struct arena *a, const char **path,
                          struct errinfo *e)
{
    struct stat st;
    struct gguf *g;
    if (!c->quantize || !c->quantize[0])
        return ERR_OK;
    int type = quant_named(c->quantize);
    if (type < 0)
        return err_set(e, ERR_USAGE, "quantize: '%.32s' is none of %s", c->quantize, quant_names());
    TRY(hf_open(&g, *path, e));
    bool worth = worth_it(g, (enum format)type);
    const char *slash = strrchr(*path, '/'), *name = slash ? slash + 1 : *path;
    uint64_t change = gguf_change(g);
    gguf_close(g);
    if (!worth)
        return ERR_OK;
    change = num_hash(*path, strlen(*path), change + MAKER);
    uint64_t whose = num_hash(*path, strlen(*path), 0);
    const char *head = arena_printf(a, "%.100s-%s-%08x-", name, c->quantize, (unsigned)whose);
    const char *file = arena_printf(a, "%s%016llx.gguf", head, (unsigned long long)change);
    const char *out = arena_printf(a, "%s/%s", c->cache_dir, file);
    if (stat(out, &st) != 0) {
        TRY(make(c, *path, out, name, type, e));
        drop_older(c->cache_dir, head, file, a);
    }
    *path = out;
    return ERR_OK;
}
