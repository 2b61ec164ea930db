/* SPDX-License-Identifier: MIT
 * inspect_plan.c - damso inspect plan: the operations that a model becomes. */
#include "app/cmd.h"

#include "hf/hf.h"
#include "plan/plan.h"

#include <stdio.h>

enum err inspect_plan(struct cmd_args *a, struct errinfo *e)
{
    TRY(cmd_parse(a, NULL, 0, 1, 1, e));
    if (a->done)
        return ERR_OK;
    struct gguf *g;
    struct model *m;
    TRY(hf_open(&g, a->left[0], e));
    enum err r = model_open(&m, g, e);
    if (r == ERR_OK) {
        struct plan *p = plan_new(m);
        struct str out;
        str_init(&out, (size_t)64 << 20);
        plan_print(p, &out);
        fwrite(out.p, 1, out.n, stdout);
        str_done(&out);
        plan_free(p);
        model_close(m);
    }
    gguf_close(g);
    return r;
}
