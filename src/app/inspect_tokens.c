/* SPDX-License-Identifier: MIT
 * inspect_tokens.c - damso inspect tokens: the ids of a text, as one JSON array. */
#include "app/inspect_tok.h"

#include "base/num.h"

#include <stdio.h>

static enum err print_tokens(const struct inspect_tok *x, struct span text, unsigned flags,
                             struct errinfo *e)
{
    struct tok_ids ids = {0};
    enum err err = tok_encode(x->tok, text, flags, &ids, e);
    if (err == ERR_OK) {
        putchar('[');
        for (size_t i = 0; i < ids.n; i++)
            printf(i ? ",%d" : "%d", ids.id[i]);
        puts("]");
    }
    tok_ids_done(&ids);
    return err;
}

enum err inspect_tokens(struct cmd_args *a, struct errinfo *e)
{
    bool special = false, bos = false;
    const struct conf_opt opts[] = {
        {.name = "special", .help = "read control tokens in the text",    .flag = &special},
        {.name = "bos",     .help = "add the tokens that the model adds", .flag = &bos    },
    };
    struct inspect_tok x;
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 0, e));
    if (a->done)
        return ERR_OK;
    TRY(inspect_tok_open(&x, a->conf.model, TOK_TEXT_BYTES_MAX, e));
    unsigned flags = (special ? TOK_SPECIAL : 0) | (bos ? TOK_BOS : 0);
    enum err err = print_tokens(&x, str_span(&x.in), flags, e);
    inspect_tok_close(&x);
    return err;
}
