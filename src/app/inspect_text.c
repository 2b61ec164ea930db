/* SPDX-License-Identifier: MIT
 * inspect_text.c - damso inspect text: the bytes of token ids; and what it shares with inspect
 * tokens. */
#include "app/inspect_tok.h"
#include "hf/hf.h"

#include <jansson.h>
#include <stdio.h>

/* Bytes of an id with its comma, generously, so that any text's ids can be read back. */
#define ID_BYTES_MAX 12

static enum err read_stdin(struct str *in, struct errinfo *e)
{
    char block[16384];
    size_t n;
    while (!in->full && (n = fread(block, 1, sizeof block, stdin)) > 0)
        str_add(in, block, n);
    if (in->full)
        return err_set(e, ERR_TOOBIG, "stdin has more than %zu bytes", in->max);
    if (ferror(stdin))
        return err_set(e, ERR_IO, "stdin cannot be read");
    return ERR_OK;
}

enum err inspect_tok_open(struct inspect_tok *x, const char *path, size_t max, struct errinfo *e)
{
    *x = (struct inspect_tok){0};
    str_init(&x->in, max);
    enum err err = hf_open(&x->gguf, path, e);
    if (err == ERR_OK)
        err = tok_open(&x->tok, x->gguf, e);
    if (err == ERR_OK)
        err = read_stdin(&x->in, e);
    if (err != ERR_OK)
        inspect_tok_close(x);
    return err;
}

void inspect_tok_close(struct inspect_tok *x)
{
    tok_close(x->tok);
    if (x->gguf)
        gguf_close(x->gguf);
    str_done(&x->in);
}

static enum err take_ids(const json_t *array, struct tok_ids *ids, struct errinfo *e)
{
    if (!json_is_array(array))
        return err_set(e, ERR_USAGE, "stdin is no JSON array of token ids");
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *v = json_array_get(array, i);
        json_int_t id = json_integer_value(v);
        if (!json_is_integer(v) || id < 0 || id > INT32_MAX)
            return err_set(e, ERR_USAGE, "element %zu of the array is no token id", i);
        tok_ids_add(ids, (int32_t)id);
    }
    return ERR_OK;
}

static enum err print_text(const struct inspect_tok *x, struct errinfo *e)
{
    json_error_t why;
    struct tok_ids ids = {0};
    struct str text;
    str_init(&text, SIZE_MAX / 2);
    json_t *array = json_loadb(str_span(&x->in).p, x->in.n, 0, &why);
    enum err err = array ? take_ids(array, &ids, e)
                         : err_set(e, ERR_USAGE, "stdin is no JSON: %s", why.text);
    if (err == ERR_OK)
        err = tok_decode(x->tok, ids.id, ids.n, TOK_SPECIAL | TOK_START, &text, e);
    if (err == ERR_OK)
        fwrite(str_span(&text).p, 1, text.n, stdout);
    json_decref(array);
    tok_ids_done(&ids);
    str_done(&text);
    return err;
}

enum err inspect_text(struct cmd_args *a, struct errinfo *e)
{
    struct inspect_tok x;
    TRY(cmd_parse(a, NULL, 0, 0, 0, e));
    if (a->done)
        return ERR_OK;
    TRY(inspect_tok_open(&x, a->conf.model, TOK_TEXT_BYTES_MAX * ID_BYTES_MAX, e));
    enum err err = print_text(&x, e);
    inspect_tok_close(&x);
    return err;
}
