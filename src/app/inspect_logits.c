/* SPDX-License-Identifier: MIT
 * inspect_logits.c - damso inspect logits: what the model gives after each token, as a NumPy file.
 */
#include "app/app_model.h"
#include "app/cmd.h"

#include "base/num.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "1,2,3" -> ids in a. */
static enum err read_ids(const char *text, struct arena *a, int32_t **ids, size_t *n,
                         struct errinfo *e)
{
    size_t most = strlen(text) / 2 + 1;
    *ids = arena_array(a, most, sizeof **ids);
    *n = 0;
    for (const char *p = text;;) {
        char *end;
        errno = 0;
        long v = strtol(p, &end, 10);
        if (end == p || errno || v < 0 || v > INT32_MAX || (*end && *end != ','))
            return err_set(e, ERR_USAGE, "--tokens: '%.32s' is no token id", p);
        (*ids)[(*n)++] = (int32_t)v;
        if (!*end)
            return ERR_OK;
        p = end + 1;
    }
}

/* The .npy header, version 1.0 (numpy.lib.format): padded to 64 bytes. */
static void write_header(FILE *f, size_t rows, size_t cols)
{
    char text[128];
    int n = snprintf(text, sizeof text,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", rows, cols);
    fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, f); /* 118 bytes follow */
    fprintf(f, "%s%*s\n", text, 117 - n, "");
}

static enum err write_logits(FILE *f, const struct app_model *m, const int32_t *ids, size_t n,
                             bool step, struct errinfo *e)
{
    struct engine *en = m->engine;
    size_t vocab = engine_model(en)->n_vocab, batch = step ? 1 : engine_batch(en);
    struct engine_row *rows = mem_alloc(batch * sizeof *rows);
    const float **logits = mem_alloc(batch * sizeof *logits);
    struct engine_seq *s = engine_seq_new(en);
    enum err r = ERR_OK;
    engine_seq_lora(s, &m->lora);
    write_header(f, n, vocab);
    for (size_t at = 0, len; at < n && r == ERR_OK; at += len) {
        len = MIN(batch, n - at);
        for (size_t i = 0; i < len; i++)
            rows[i] = (struct engine_row){s, ids[at + i], true};
        r = engine_step(en, rows, len, logits, e);
        for (size_t i = 0; i < len && r == ERR_OK; i++)
            fwrite(logits[i], sizeof **logits, vocab, f);
    }
    engine_seq_free(s);
    mem_free(logits);
    mem_free(rows);
    return r;
}

static enum err to_file(const struct app_model *m, const int32_t *ids, size_t n, bool step,
                        const char *path, struct errinfo *e)
{
    FILE *f = fopen(path, "wbe");
    if (!f)
        return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    enum err r = write_logits(f, m, ids, n, step, e);
    bool failed = ferror(f) != 0;
    if ((fclose(f) != 0 || failed) && r == ERR_OK)
        r = err_set(e, ERR_IO, "%s: the file could not be written whole", path);
    if (r != ERR_OK)
        remove(path);
    return r;
}

enum err inspect_logits(struct cmd_args *a, struct errinfo *e)
{
    const char *tokens = NULL, *path = NULL;
    bool step = false;
    const struct conf_opt opts[] = {
        {.name = "tokens",                      .arg = "1,2,3", .help = "the ids to run", .text = &tokens},
        {.name = "output",
         .letter = 'o',
         .arg = "FILE.npy",
         .help = "float32 [n_tokens][n_vocab]",
         .text = &path},
        {.name = "step", .help = "one token at a time, not one prefill",                                         .flag = &step                                                                },
    };
    struct arena tmp;
    struct app_model m;
    int32_t *ids;
    size_t n;
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 0, e));
    if (a->done)
        return ERR_OK;
    if (!tokens || !path)
        return err_set(e, ERR_USAGE, "inspect logits: --tokens and -o are needed");
    arena_init(&tmp);
    enum err r = read_ids(tokens, &tmp, &ids, &n, e);
    if (r == ERR_OK)
        r = app_model_open(&m, &a->conf, MIN(n, (size_t)a->conf.batch), e);
    if (r == ERR_OK) {
        r = to_file(&m, ids, n, step, path, e);
        app_model_close(&m);
    }
    arena_done(&tmp);
    return r;
}
