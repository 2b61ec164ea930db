/* SPDX-License-Identifier: MIT
 * cmd_quantize.c - damso quantize: a model's file with its matrices in another format. */
#include "app/cmd.h"
#include "app/models.h"
#include "quant/quant_file.h"

#include "base/num.h"
#include "os/os_sys.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEP_MAX 64

struct asked {
    const char *output, *embed, *keep, *imatrix;
    bool requantize, force, quiet;
};

static enum err read_type(const char *option, const char *text, int *out, struct errinfo *e)
{
    *out = text ? quant_named(text) : -1;
    if (text && *out < 0)
        return err_set(e, ERR_USAGE, "%s: '%.32s' is none of %s", option, text, quant_names());
    return ERR_OK;
}

/* "a,b" as patterns. */
static enum err read_keep(const char *text, struct arena *a, struct quant_opts *o,
                          struct errinfo *e)
{
    o->keep = arena_array(a, KEEP_MAX, sizeof *o->keep);
    while (text && *text) {
        size_t n = strcspn(text, ",");
        if (o->n_keep == KEEP_MAX)
            return err_set(e, ERR_USAGE, "--keep: more than %d patterns", KEEP_MAX);
        if (n)
            o->keep[o->n_keep++] = arena_dup(a, text, n);
        text += n + (text[n] == ',');
    }
    return ERR_OK;
}

static enum err check_out(const char *in, const char *out, bool force, struct errinfo *e)
{
    struct stat from, to;
    if (stat(out, &to) != 0)
        return ERR_OK;
    if (stat(in, &from) == 0 && from.st_dev == to.st_dev && from.st_ino == to.st_ino)
        return err_set(e, ERR_USAGE, "%s is the model itself; name another file", out);
    if (!force)
        return err_set(e, ERR_USAGE, "%s is there already; --force replaces it", out);
    return ERR_OK;
}

static bool show(void *arg, const struct gguf_tensor *t, enum format from, enum format to,
                 size_t done, size_t n)
{
    const struct asked *asked = arg;
    if (!asked->quiet && from != to)
        fprintf(stderr, "%5zu of %zu  %-40.*s %s -> %s\n", done, n, (int)MIN(t->name.n, 200),
                t->name.p, format_info(from)->name, format_info(to)->name);
    return !cmd_stopped();
}

static void tell(const char *out, const struct quant_result *r)
{
    printf("%s: %.1f MB of %.1f MB", out, (double)r->bytes_out / 1e6, (double)r->bytes_in / 1e6);
    if (r->matrix_elems)
        printf("; %zu matrices made, %.2f bits a weight", r->n_made,
               8 * (double)r->matrix_bytes / (double)r->matrix_elems);
    printf("; %zu tensors kept\n", r->n_kept);
    if (r->n_fallback)
        fprintf(stderr,
                "damso: %zu matrices have rows that the type's blocks do not divide, and got the "
                "next type that fits\n",
                r->n_fallback);
    if (r->n_without_importance)
        fprintf(stderr, "damso: the importance matrix does not have %zu of the matrices\n",
                r->n_without_importance);
}

static enum err quantize(struct cmd_args *a, struct asked *asked, struct arena *tmp,
                         struct errinfo *e)
{
    const char *in;
    struct quant_result result;
    struct quant_opts o = {.imatrix = asked->imatrix,
                           .allow_requantize = asked->requantize,
                           .n_threads = a->conf.threads ? (int)a->conf.threads : os_n_cpus(),
                           .progress = show,
                           .arg = asked};
    int type;
    TRY(read_type("quantize", a->left[2], &type, e));
    o.type = (enum format)type;
    TRY(read_type("--output-type", asked->output, &o.output, e));
    TRY(read_type("--embed-type", asked->embed, &o.embed, e));
    TRY(read_keep(asked->keep, tmp, &o, e));
    TRY(models_find(&a->conf, a->left[0], tmp, &in, e));
    TRY(check_out(in, a->left[1], asked->force, e));
    cmd_catch_stop();
    TRY(quant_file(in, a->left[1], &o, &result, e));
    tell(a->left[1], &result);
    return ERR_OK;
}

enum err cmd_quantize(struct cmd_args *a, struct errinfo *e)
{
    struct asked asked = {0};
    const struct conf_opt opts[] = {
        {.name = "output-type",
         .arg = "TYPE",
         .help = "of the output matrix, and of embeddings that serve as one [Q6_K, or TYPE if that "
                 "is finer]",                                                      .text = &asked.output},
        {.name = "embed-type",
         .arg = "TYPE",
         .help = "of the token embeddings [TYPE]",
         .text = &asked.embed                                                                           },
        {.name = "keep",
         .arg = "PATTERN,...",
         .help = "tensors that stay as they are, such as 'blk.0.*,*attn_v*'",
         .text = &asked.keep                                                                            },
        {.name = "imatrix",
         .arg = "FILE.gguf",
         .help = "importance of the columns, by `damso imatrix` or llama-imatrix",
         .text = &asked.imatrix                                                                         },
        {.name = "allow-requantize",
         .help = "quantise what is quantised already: it loses twice",
         .flag = &asked.requantize                                               },
        {.name = "force", .help = "replace OUT.gguf if it is there", .flag = &asked.force      },
        {.name = "quiet",                .letter = 'q',                .help = "no line a tensor",       .flag = &asked.quiet                     },
    };
    struct arena tmp;
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 3, 3, e));
    if (a->done)
        return ERR_OK;
    arena_init(&tmp);
    enum err r = quantize(a, &asked, &tmp, e);
    arena_done(&tmp);
    return r;
}
