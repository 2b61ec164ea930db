/* SPDX-License-Identifier: MIT
 * cmd_imatrix.c - damso imatrix: which columns of a model's matrices count, by a text. */
#include "app/cmd.h"
#include "app/eval.h"
#include "quant/quant_imatrix.h"

#include "base/num.h"
#include "os/os_map.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct asked {
    const char *text, *out;
    int64_t window, limit;
};

static void watch(void *arg, const struct model_matrix *w, size_t expert, const float *x,
                  size_t stride, size_t n_rows)
{
    size_t n = (size_t)(w->tensor->dims[2] * w->tensor->dims[3]);
    quant_collect_add(arg, w->tensor->name, w->cols, n, expert, x, stride, n_rows);
}

/* Every token once, with logits of all, so that the last layer sees them all too. */
static enum err collect(struct eval_model *m, const struct asked *a, struct quant_collect *c,
                        struct errinfo *e)
{
    struct os_map map;
    struct eval_model *const models[1] = {m};
    struct eval_text t = {.window = a->window, .stride = a->window - 1, .limit = a->limit};
    TRY(os_map_open(&map, a->text, e));
    enum err r = eval_text(models, 1, (struct span){(const char *)map.data, map.bytes}, &t, e);
    os_map_close(&map);
    if (r != ERR_OK)
        return r;
    const char *slash = strrchr(a->text, '/');
    TRY(quant_collect_write(c, a->out, span_of(slash ? slash + 1 : a->text), (uint32_t)t.n_windows,
                            (uint32_t)a->window, e));
    printf("%s: %zu matrices, %zu tokens in %zu windows of %lld; perplexity of the text %.4f\n",
           a->out, quant_collect_n(c), t.n_scored, t.n_windows, (long long)a->window,
           exp(t.nll / (double)t.n_scored));
    return ERR_OK;
}

enum err cmd_imatrix(struct cmd_args *a, struct errinfo *e)
{
    struct asked asked = {.window = 512};
    const struct conf_opt opts[] = {
        {.name = "file",
         .letter = 'f',
         .arg = "TEXT",
         .help = "a text such as the model will be used with",
         .text = &asked.text   },
        {.name = "output",
         .letter = 'o',
         .arg = "OUT.gguf",
         .help = "the importance matrix, in llama.cpp's layout",
         .text = &asked.out    },
        {.name = "window",
         .arg = "N",
         .help = "tokens that are read together [512]",
         .number = &asked.window,
         .min = 2,
         .max = 1 << 20},
        {.name = "limit",
         .arg = "N",
         .help = "windows at most; 0: all [0]",
         .number = &asked.limit,
         .max = 1 << 30},
    };
    struct eval_model m;
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 0, e));
    if (a->done)
        return ERR_OK;
    if (!asked.text || !asked.out)
        return err_set(e, ERR_USAGE, "imatrix: -f TEXT and -o OUT.gguf are needed");
    cmd_catch_stop();
    struct quant_collect *c = quant_collect_new();
    const struct dev_watch shown = {watch, c};
    enum err r = eval_open(&m, &a->conf, (size_t)asked.window, &shown, e);
    if (r == ERR_OK)
        r = collect(&m, &asked, c, e);
    eval_close(&m);
    quant_collect_free(c);
    return r;
}
