/* SPDX-License-Identifier: MIT
 * chip_print.c - damso chip print: the commands that a chip runs for a workload. */
#include "app/chip.h"

#include "base/num.h"

#include <stdio.h>

#define PRINTED_BYTES_MAX ((size_t)256 << 20)

enum err chip_print(struct cmd_args *a, struct errinfo *e)
{
    const char *name = NULL;
    int64_t op = 0;
    struct chip_ask ask = CHIP_ASK_DEFAULT;
    const struct conf_opt opts[] = {
        CHIP_NAME_OPTION(name),
        CHIP_ASK_OPTIONS(ask),
        {.name = "op",
               .arg = "N",
               .number = &op,
               .min = 1,
               .max = 1 << 20,
               .help = "of the N-th operation only"},
    };
    struct npu_chip *c;
    struct chip_answer x;
    TRY(cmd_parse(a, opts, N_ELEMS(opts), 0, 0, e));
    if (a->done)
        return ERR_OK;
    chip_ask_settings(&ask, &a->conf);
    TRY(chip_begin(&c, &x, name, &ask, e));
    struct str out;
    str_init(&out, PRINTED_BYTES_MAX);
    npu_prog_print(x.answer.prog, (int)op - 1, &out);
    fwrite(out.p ? out.p : "", 1, out.n, stdout);
    if (out.full)
        fprintf(stderr, "cut at %zu bytes; --op N prints one operation\n", PRINTED_BYTES_MAX);
    str_done(&out);
    chip_end(c, &x);
    return ERR_OK;
}
